"""Signs of structured rows: by transforms of their blocks, or as stored rows where few are used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.structured import StructuredHyperplanes, flips_of, sums_with_errors
from fastmem.kernels.exact import UNIT32
from fastmem.kernels.hadamard import (
    Transforms,
    collect_bits,
    structured_products,
    structured_words,
)
from fastmem.kernels.layout import TILE, WORD_BITS
from fastmem.kernels.signs import FloatFilter
from fastmem.patterns.prepared import Fill, Pass, SignLoop, kept_with_the_layer
from fastmem.patterns.stored_rows import fill_with, float_filter, made_filter
from fastmem.patterns.words import packed

_MORE_STAGES = 15
"""What a row of a transform costs beside its stages, in stages: points, signs, last pass."""
_COLLECT = 40
"""What it costs to bring one bit to its place, in stages of a row."""
_STORED_BYTES = 32 << 20
"""More weights are not computed all at once: a product takes three times as many bytes, and a fit
has 256 MB."""


class _Plan(NamedTuple):
    """How some words are written; transforms write them in place, or bits are brought there.

    Bit bits[j] of a pattern is bit sources[j] of the n_words words that the transforms write, and
    bit stored_bits[j] the j-th of the ``stored`` hyperplanes.
    """

    transforms: Transforms
    is_direct: bool
    n_words: int
    sources: np.ndarray
    bits: np.ndarray
    stored: FloatFilter | None
    stored_bits: np.ndarray


def passes(hyperplanes: StructuredHyperplanes, words: tuple[int, int]) -> Sequence[Pass]:
    """One pass over dense points that writes words[0]..words[1]-1 of their patterns."""

    def prepare(n_threads: int) -> Fill:
        plan = _plan(hyperplanes, words)
        if plan is None:
            return fill_with(float_filter(hyperplanes.explicit), words)
        loop = SignLoop(structured_words, (plan.transforms,))
        return loop if plan.is_direct else _fill_and_collect(loop, plan, words)

    return [Pass(1.0, prepare)]


def _fill_and_collect(transform: SignLoop, plan: _Plan, words: tuple[int, int]) -> Fill:
    """What writes the words of transforms to one side, and brings their bits to their places."""
    stored = None if plan.stored is None else fill_with(plan.stored, (0, len(plan.stored.panels)))

    def fill(block: np.ndarray, tiles: np.ndarray, position: int) -> int:
        column = position % TILE
        n_tiles = -(-(column + len(block)) // TILE)
        parts = np.empty((n_tiles, plan.n_words, TILE), np.uint64)
        doubtful = transform(block, parts, column)
        collect_bits(parts, plan.sources, plan.bits, tiles, position, len(block), True, *words)
        if plan.stored is not None and stored is not None:
            parts = np.empty((n_tiles, len(plan.stored.panels), TILE), np.uint64)
            doubtful += stored(block, parts, column)
            numbers = np.arange(len(plan.stored_bits))
            collect_bits(
                parts, numbers, plan.stored_bits, tiles, position, len(block), False, *words
            )
        return doubtful

    return fill


def _dense_is_cheaper(hyperplanes: StructuredHyperplanes, words: tuple[int, int]) -> bool:
    """Whether a product with the rows is faster than transforms of the blocks they are in.

    In multiply-adds of the dense kernel: an addition of a transform takes as long as one.
    """
    n, d = len(hyperplanes), hyperplanes.n_features
    signs, size = hyperplanes.signs, hyperplanes.block_rows
    rows = _rows_in(hyperplanes, words)
    if d * n * 4 > _STORED_BYTES:
        return False
    stages = len(signs[0]) * (size.bit_length() - 1) if len(signs) else 0
    generated = rows[rows >= 0]
    blocks = np.unique(generated // size)
    transform = len(blocks) * size * (stages + _MORE_STAGES)
    if not _is_direct(rows):
        transform += _COLLECT * len(rows)
    return len(generated) * d < transform


def _rows_in(hyperplanes: StructuredHyperplanes, words: tuple[int, int]) -> np.ndarray:
    return hyperplanes.rows[WORD_BITS * words[0] : WORD_BITS * words[1]]


def _is_direct(rows: np.ndarray) -> bool:
    """Whether the words of the patterns are those of the transforms, in any order."""
    first = np.repeat(rows[::WORD_BITS], WORD_BITS)[: len(rows)]
    places = np.arange(len(rows)) % WORD_BITS
    return bool((rows >= 0).all() and (rows == first // WORD_BITS * WORD_BITS + places).all())


def _made_plan(hyperplanes: StructuredHyperplanes, words: tuple[int, int]) -> _Plan | None:
    """How these words are written by transforms; None where a product with the rows is faster."""
    if _dense_is_cheaper(hyperplanes, words):
        return None
    size = hyperplanes.block_rows
    first = WORD_BITS * words[0]
    in_words = _rows_in(hyperplanes, words)
    rows = in_words.astype(np.int64)
    planes = first + np.flatnonzero(rows >= 0)  # numbers of hyperplanes
    rows = rows[rows >= 0]
    used, blocks = np.unique(rows // size, return_inverse=True)
    places = rows % size
    flips = flips_of(hyperplanes.signs[used])
    shape = (len(used), size)
    plane_of = np.full(shape, -1, np.int32)
    plane_of[blocks, places] = planes
    valid = packed(plane_of >= 0)
    targets = np.full(valid.shape, -1, np.int64)
    is_direct = _is_direct(in_words)
    if is_direct:
        targets[blocks, places // WORD_BITS] = planes // WORD_BITS
    else:
        targets[valid != 0] = np.arange(np.count_nonzero(valid))
    n = len(hyperplanes)
    biases, origin, scale = hyperplanes.biases, hyperplanes.origin, hyperplanes.scale
    shifted, errors = np.zeros(n), np.zeros(n)
    high, low = np.empty(shape), np.empty(shape)
    error = structured_products(flips, origin, high, low)
    shifted[planes], errors[planes] = sums_with_errors(
        biases[planes], high[blocks, places], low[blocks, places], error
    )
    sums = np.zeros(shape, np.float32)
    floors, largest = np.zeros(len(used)), np.zeros(len(used))
    with np.errstate(over="ignore"):
        sums[blocks, places] = size * (scale * shifted[planes])
        magnitude = np.abs(sums[blocks, places]).astype(np.float64)
        floor = 1.01 * UNIT32 * magnitude + 2.0**-148 + size * (scale * errors[planes])
    np.maximum.at(largest, blocks, magnitude)
    np.maximum.at(floors, blocks, floor)
    transforms = Transforms(
        flips, sums, floors, largest, plane_of, valid, targets, biases, origin, shifted, errors,
        scale,
    )  # fmt: skip
    stored = first + np.flatnonzero(in_words < 0)
    extra = hyperplanes.extra[-1 - hyperplanes.rows[stored]]
    return _Plan(
        transforms, is_direct, int(targets.max(initial=-1)) + 1,
        targets[blocks, places // WORD_BITS] * WORD_BITS + places % WORD_BITS, planes,
        made_filter(Hyperplanes(extra, biases[stored], origin, hyperplanes.radius))
        if len(stored) else None,
        stored,
    )  # fmt: skip


_plan = kept_with_the_layer(_made_plan)
