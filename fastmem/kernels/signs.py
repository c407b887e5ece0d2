"""Sign patterns: which side of every hyperplane each point lies on, exact to the last bit.

Layout of patterns inside fastmem (``tiles``): uint64 (n_tiles, n_words, TILE). Point p is column
p % TILE of tile p // TILE, hyperplane h is bit h % 64 of word h // 64. One word of 192 neighbouring
points is contiguous, so that every loop over points runs at full vector speed, and a whole tile
stays in the second-level cache.

A bit is defined as 1 iff the real number <w, x> + b, computed from the stored numbers, is
positive. Three stages decide it, each rigorous:

1. float32 (``pattern_words``), all entries. Let c be the origin and s the scale (a power of two)
   of the filter's frame; then s (<w, x> + b) = <w, s (x - c)> + s (b + <w, c>). With u = 2^-24,
   the stored x^ = fl(s (x - c)) and beta^ = fl(s beta) carry a relative error below 1.01 u each; a
   sum of m roundings of products adds at most gamma_m (|w|_2 |x^|_2 + |beta^|) by Cauchy-Schwarz,
   for every order of summation, fused or not. Features are summed in blocks of DEPTH, so
   m = min(d, DEPTH) + d / DEPTH + 3. Hence
   error <= 1.1 (m + 2) u (|w| r + |beta^|) + s e_beta + 2^-148 (d + 2) (1 + |w|),
   with r the largest |x^| among the points of the tile, e_beta the error of beta (below) and the
   last term for underflow. Where the bound could overflow it is infinite: all is doubtful.
2. float64 (``exact_sign``), the doubtful entries, about 1 in 2,000 at d = 784: sum of
   w_k (x_k - c_k) + beta with a running bound from the sum of the magnitudes.
3. Integer arithmetic in one long fixed-point accumulator, the entries still doubtful: the
   exponents of float32 x float64 products span 2^-1298 to 2^1152, 80 words of 32 bits hold any
   sum of them, so there is no rounding, overflow or underflow at all.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastmem.kernels.bits import trailing_zeros
from fastmem.kernels.compiling import njit
from fastmem.kernels.exact import (
    UNIT32,
    exact_sign,
)
from fastmem.kernels.layout import DEPTH, GROUPS, TILE, TILE_ROWS, WORD_BITS
from fastmem.kernels.products import add_products, sign_words
from fastmem.kernels.queue import take

_NO_BITS = np.uint64(0)
_ONE = np.uint64(1)


class RowTasks(NamedTuple):
    """Tasks of a loop over dense points, which writes some of their patterns.

    points (N, d) float32 or float64, any finite numbers; rows (m,) int32 or int64 row numbers, or
    of size 0 for all in order. Task t, tasks (T, 3) int64: the rows tasks[t, 0]..tasks[t, 1] - 1 of
    ``rows`` are written to the patterns from tasks[t, 2] on of tiles (n_tiles, n_words, TILE)
    uint64. doubts (T,) int64 take the number of doubtful bits.
    """

    points: np.ndarray
    rows: np.ndarray
    tasks: np.ndarray
    doubts: np.ndarray
    tiles: np.ndarray


class FloatFilter(NamedTuple):
    """A first layer of n hyperplanes in d dimensions, as `pattern_words` takes it.

    weights (n, d) float32 and biases (n,) float64 are the stored numbers that define a bit. What
    follows is for the float32 stage: panels (n_words, d, 64) float32 the weights with lanes
    contiguous; scaled_biases (n_words, 64) float32; norms and floors (n_words, 64) float64. Of the
    docstring above, origin (d,) float64 is c, scale s, shifted (n,) float64 beta and errors (n,)
    its error.
    """

    weights: np.ndarray
    biases: np.ndarray
    panels: np.ndarray
    scaled_biases: np.ndarray
    norms: np.ndarray
    floors: np.ndarray
    origin: np.ndarray
    shifted: np.ndarray
    errors: np.ndarray
    scale: float


class _Scratch(NamedTuple):
    """Room to work in: coordinates of a tile's points, sums, and bits of TILE_ROWS of them."""

    scaled: np.ndarray
    sums: np.ndarray
    slack: np.ndarray
    positive: np.ndarray
    doubtful: np.ndarray


@njit(nogil=True, cache=True)
def _new_scratch(d):
    return _Scratch(
        np.empty((GROUPS, d, TILE_ROWS), np.float32),
        np.empty((GROUPS if d > DEPTH else 1, TILE_ROWS, WORD_BITS), np.float32),
        np.empty(WORD_BITS, np.float32),
        np.empty(TILE_ROWS, np.uint64),
        np.empty(TILE_ROWS, np.uint64),
    )


@njit(nogil=True, cache=True)
def row_number(rows, i):
    """The row of the i-th point of `RowTasks`."""
    return np.int64(rows[i]) if rows.shape[0] else np.int64(i)


@njit(nogil=True, cache=True)
def load_points(points, rows, start, stop, planes, scaled):
    """scaled[group, feature, row] = float32(scale (x - origin)); returns the largest norm."""
    d = points.shape[1]
    scale, origin = planes.scale, planes.origin
    largest = 0.0
    groups = (stop - start + TILE_ROWS - 1) // TILE_ROWS
    for group in range(groups):
        for row in range(TILE_ROWS):
            i = start + group * TILE_ROWS + row
            squares = 0.0
            if i < stop:
                point = points[row_number(rows, i)]
                for k in range(d):
                    value = np.float32(scale * (np.float64(point[k]) - origin[k]))
                    scaled[group, k, row] = value
                    squares += np.float64(value) * np.float64(value)
            else:
                for k in range(d):
                    scaled[group, k, row] = np.float32(0.0)
            if not squares <= largest:
                largest = squares
    return math.sqrt(largest) * (1.0 + 1e-9)


@njit(nogil=True, cache=True)
def fill_slack(planes, word, radius, d, slack):
    """Bounds on the errors of the sums of 64 hyperplanes; also the same for all points."""
    relative = 1.1 * (min(d, DEPTH) + (d + DEPTH - 1) // DEPTH + 5) * UNIT32
    if relative > 0.01:
        relative = np.inf
    for h in range(WORD_BITS):
        size = planes.norms[word, h] * radius + abs(np.float64(planes.scaled_biases[word, h]))
        bound = 1.0001 * (relative * size + planes.floors[word, h])
        # 2^120: no partial sum can overflow below it
        slack[h] = np.float32(bound) if size < 1.3e36 else np.float32(np.inf)


@njit(nogil=True, cache=True)
def _add_first_features(planes, word, groups, d, scaled, sums):
    """sums = biases + products of all features but those of the last DEPTH; returns how many."""
    n_blocks = (d + DEPTH - 1) // DEPTH
    for group in range(groups):
        for row in range(TILE_ROWS):
            for h in range(WORD_BITS):
                sums[group, row, h] = planes.scaled_biases[word, h]
    for first in range(0, (n_blocks - 1) * DEPTH, DEPTH):
        for group in range(groups):
            add_products(planes.panels, word, first, first + DEPTH, scaled, group, sums)
    return (n_blocks - 1) * DEPTH


@njit(nogil=True, cache=True)
def _decided(bits, doubt, point, planes, word):
    """``bits`` of one point and word, with those in ``doubt`` decided; and how many they were."""
    doubts = 0
    while doubt != _NO_BITS:
        bit = trailing_zeros(doubt)
        doubt &= doubt - _ONE
        h = word * WORD_BITS + bit
        doubts += 1
        if h < planes.biases.shape[0] and exact_sign(
            planes.weights[h], point, planes.biases[h], planes.origin, planes.shifted[h],
            planes.errors[h],
        ):  # fmt: skip
            bits |= _ONE << np.uint64(bit)
    return bits, doubts


@njit(nogil=True, cache=True, inline="always")
def _fill_tile(tasks, start, stop, place, planes, words, scratch):
    """Write words of the patterns of the points start..stop-1, which lie in one tile."""
    points, rows, tiles = tasks.points, tasks.rows, tasks.tiles
    first_word, last_word, shift = words
    d = points.shape[1]
    tile = place // TILE
    column = place - tile * TILE
    groups = (stop - start + TILE_ROWS - 1) // TILE_ROWS
    radius = load_points(points, rows, start, stop, planes, scratch.scaled)
    doubts = 0
    for word in range(first_word, last_word):
        fill_slack(planes, word, radius, d, scratch.slack)
        initial, step, last = planes.scaled_biases, 0, 0
        if d > DEPTH:
            last = _add_first_features(planes, word, groups, d, scratch.scaled, scratch.sums)
            initial, step = scratch.sums.reshape((GROUPS * TILE_ROWS, WORD_BITS)), WORD_BITS
        for group in range(groups):
            base = word * WORD_BITS if step == 0 else group * TILE_ROWS * WORD_BITS
            sign_words(
                planes.panels, word, last, d, scratch.scaled, group, initial, base, step,
                scratch.slack, scratch.positive, scratch.doubtful,
            )  # fmt: skip
            i = start + group * TILE_ROWS
            for row in range(min(TILE_ROWS, stop - i)):
                bits = scratch.positive[row]
                if scratch.doubtful[row] != _NO_BITS:
                    point = points[row_number(rows, i + row)]
                    bits, more = _decided(bits, scratch.doubtful[row], point, planes, word)
                    doubts += more
                tiles[tile, word + shift, column + group * TILE_ROWS + row] = bits
    return doubts


@njit(nogil=True, cache=True)
def pattern_words(queue, stop, tasks, planes, words):
    """Fill words of the patterns of dense points: a worker, see ``kernels.queue``.

    tasks `RowTasks`, whose patterns begin at multiples of TILE_ROWS; planes a `FloatFilter`; words
    (first, last, shift): the words first..last-1 of the hyperplanes are written to those from
    first + shift on of the patterns. ``python -m bench.bars signs`` sets it beside OpenBLAS.
    """
    scratch = _new_scratch(tasks.points.shape[1])
    while True:
        task = take(queue)
        if task >= stop:
            return
        start, end, place = tasks.tasks[task]
        doubts = 0
        while start < end:
            count = min(end - start, TILE - place % TILE)
            doubts += _fill_tile(tasks, start, start + count, place, planes, words, scratch)
            start += count
            place += count
        tasks.doubts[task] = doubts
