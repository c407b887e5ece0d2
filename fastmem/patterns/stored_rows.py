"""Signs of rows whose weights are stored: all in one pass, by the filter of ``kernels.signs``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.kernels.exact import shifted_biases
from fastmem.kernels.layout import WORD_BITS
from fastmem.kernels.signs import FloatFilter, pattern_words
from fastmem.patterns.prepared import Pass, SignLoop, kept_with_the_layer


def passes(hyperplanes: Hyperplanes, words: tuple[int, int]) -> Sequence[Pass]:
    """One pass over dense points that writes words[0]..words[1]-1 of their patterns."""
    return [Pass(1.0, lambda n_threads: fill_with(float_filter(hyperplanes), words))]


def fill_with(planes: FloatFilter, words: tuple[int, int], shift: int = 0) -> SignLoop:
    """What writes words of the patterns of dense points, ``shift`` words farther on."""
    return SignLoop(pattern_words, (planes, (*words, shift)))


def made_filter(hyperplanes: Hyperplanes) -> FloatFilter:
    """What ``kernels.signs`` needs to know of a first layer; see there."""
    weights, biases = hyperplanes.weights, hyperplanes.biases
    n, d = weights.shape
    words = hyperplanes.n_words
    padding = words * WORD_BITS - n
    scale = hyperplanes.scale
    shifted, errors = np.empty(n), np.empty(n)
    shifted_biases(weights, biases, hyperplanes.origin, shifted, errors)
    panels = np.zeros((words, d, WORD_BITS), np.float32)
    whole = n // WORD_BITS
    panels[:whole] = weights[: whole * WORD_BITS].reshape(whole, WORD_BITS, d).transpose(0, 2, 1)
    if padding:
        panels[whole, :, : WORD_BITS - padding] = weights[whole * WORD_BITS :].T
    norms = np.zeros(words * WORD_BITS)
    scaled_biases = np.full(words * WORD_BITS, -1.0, np.float32)
    floors = np.zeros(words * WORD_BITS)
    with np.errstate(over="ignore", invalid="ignore"):
        norms[:n] = np.sqrt(np.einsum("ij,ij->i", weights, weights, dtype=np.float64)) * (1 + 1e-9)
        scaled_biases[:n] = scale * shifted
        floors[:n] = scale * errors + 2.0**-148 * (d + 2) * (1 + norms[:n])
    shape = (words, WORD_BITS)
    return FloatFilter(
        weights, biases, panels, scaled_biases.reshape(shape), norms.reshape(shape),
        floors.reshape(shape), hyperplanes.origin, shifted, errors, scale,
    )  # fmt: skip


float_filter = kept_with_the_layer(made_filter)
