"""Signs of dense points for rows that are computed from a key: some rows at a time."""

from __future__ import annotations

from collections.abc import Sequence

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.seeded import SeededHyperplanes
from fastmem.kernels.layout import WORD_BITS
from fastmem.machine.threads import ranges
from fastmem.patterns.prepared import Fill, Pass
from fastmem.patterns.stored_rows import fill_with, made_filter

PART_BYTES = 32 << 20
"""Weights that are computed and kept for one pass over dense points; with their copies in the
filter's order, and those made on the way, four times as much."""


def passes(hyperplanes: SeededHyperplanes, words: tuple[int, int]) -> Sequence[Pass]:
    """Passes with the weights of as many hyperplanes as PART_BYTES hold."""
    size = max(1, PART_BYTES // (4 * WORD_BITS * hyperplanes.n_features))
    n_words = words[1] - words[0]

    def one(start: int, stop: int) -> Pass:
        some = slice(WORD_BITS * (words[0] + start), WORD_BITS * (words[0] + stop))

        def prepare(n_threads: int) -> Fill:
            weights, biases = hyperplanes.weights_of(some), hyperplanes.biases[some]
            part = Hyperplanes(weights, biases, hyperplanes.origin, hyperplanes.radius)
            return fill_with(made_filter(part), (0, part.n_words), words[0] + start)

        return Pass((stop - start) / n_words, prepare)

    return [one(start, stop) for start, stop in ranges(n_words, size)]
