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

_NO_BITS = np.uint64(0)
_ONE = np.uint64(1)


@njit(nogil=True, cache=True)
def _load_points(points, start, stop, origin, scale, scaled):
    """scaled[group, feature, row] = float32(scale (x - origin)); returns the largest norm."""
    d = points.shape[1]
    largest = 0.0
    groups = (stop - start + TILE_ROWS - 1) // TILE_ROWS
    for group in range(groups):
        for row in range(TILE_ROWS):
            i = start + group * TILE_ROWS + row
            squares = 0.0
            if i < stop:
                for k in range(d):
                    value = np.float32(scale * (np.float64(points[i, k]) - origin[k]))
                    scaled[group, k, row] = value
                    squares += np.float64(value) * np.float64(value)
            else:
                for k in range(d):
                    scaled[group, k, row] = np.float32(0.0)
            if not squares <= largest:
                largest = squares
    return math.sqrt(largest) * (1.0 + 1e-9)


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


@njit(nogil=True, cache=True)
def pattern_words(points, planes, first_word, last_word, tiles, position, shift):
    """Fill the words first_word..last_word-1 of the patterns of ``points``; returns doubtful bits.

    They are written to the words first_word + shift and so on of ``tiles``.

    points (rows, d) float32 or float64, any finite numbers; planes a `FloatFilter`; row i is
    written to the pattern ``position + i`` of ``tiles`` (n_tiles, n_words, TILE) uint64; position
    is a multiple of TILE_ROWS.

    Against OpenBLAS sgemm alone, same process, same blocks, no signs and no packing: 0.64 x its
    time at 20,000 x 784 x 2,048, 0.63 x at 9,984 hyperplanes, 0.6 x at d = 64 and d = 2 (AVX-512
    processor, OpenBLAS held to its AVX2 kernels); 1.05 to 1.16 x where OpenBLAS uses AVX-512.
    """
    rows, d = points.shape
    n = planes.biases.shape[0]
    n_blocks = (d + DEPTH - 1) // DEPTH
    roundings = min(d, DEPTH) + n_blocks + 3
    relative = 1.1 * (roundings + 2) * UNIT32
    if relative > 0.01:
        relative = np.inf
    scaled = np.empty((GROUPS, d, TILE_ROWS), np.float32)
    sums = np.empty((GROUPS if n_blocks > 1 else 1, TILE_ROWS, WORD_BITS), np.float32)
    slack = np.empty(WORD_BITS, np.float32)
    positive = np.empty(TILE_ROWS, np.uint64)
    doubtful = np.empty(TILE_ROWS, np.uint64)
    doubts = 0
    start = 0
    while start < rows:
        place = position + start
        tile = place // TILE
        column = place - tile * TILE
        stop = min(rows, start + TILE - column)
        groups = (stop - start + TILE_ROWS - 1) // TILE_ROWS
        radius = _load_points(points, start, stop, planes.origin, planes.scale, scaled)
        for word in range(first_word, last_word):
            for h in range(WORD_BITS):
                size = planes.norms[word, h] * radius
                size += abs(np.float64(planes.scaled_biases[word, h]))
                bound = 1.0001 * (relative * size + planes.floors[word, h])
                # 2^120: no partial sum can overflow below it
                slack[h] = np.float32(bound) if size < 1.3e36 else np.float32(np.inf)
            initial, step = planes.scaled_biases, 0
            if n_blocks > 1:
                initial, step = sums.reshape((GROUPS * TILE_ROWS, WORD_BITS)), WORD_BITS
                for group in range(groups):
                    for row in range(TILE_ROWS):
                        for h in range(WORD_BITS):
                            sums[group, row, h] = planes.scaled_biases[word, h]
                for block in range(n_blocks - 1):
                    for group in range(groups):
                        add_products(
                            planes.panels,
                            word,
                            block * DEPTH,
                            block * DEPTH + DEPTH,
                            scaled,
                            group,
                            sums,
                        )
            last_block = (n_blocks - 1) * DEPTH
            for group in range(groups):
                base = word * WORD_BITS if step == 0 else group * TILE_ROWS * WORD_BITS
                sign_words(
                    planes.panels, word, last_block, d, scaled, group, initial, base, step, slack,
                    positive, doubtful,
                )  # fmt: skip
                i = start + group * TILE_ROWS
                for row in range(min(TILE_ROWS, stop - i)):
                    bits = positive[row]
                    doubt = doubtful[row]
                    while doubt != _NO_BITS:
                        bit = trailing_zeros(doubt)
                        doubt &= doubt - _ONE
                        h = word * WORD_BITS + bit
                        doubts += 1
                        if h < n and exact_sign(
                            planes.weights[h], points[i + row], planes.biases[h], planes.origin,
                            planes.shifted[h], planes.errors[h],
                        ):  # fmt: skip
                            bits |= _ONE << np.uint64(bit)
                    tiles[tile, word + shift, column + group * TILE_ROWS + row] = bits
        start = stop
    return doubts
