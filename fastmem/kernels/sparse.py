"""Sparse rows: sign patterns, mean, norms and hashes from the nonzeros alone.

Rows come as ``values`` (nonzeros,) float32 or float64, ``columns`` (nonzeros,) int32 or int64 and
``starts`` (rows + 1,) int64, starts[0] = 0: the nonzeros of row i are starts[i]..starts[i+1]-1,
their columns ascend and none is there twice. Some values may be zero.

The bits are those of ``kernels.signs``, and so are the stages that decide them. The origin is 0,
so a zero adds nothing: the mean of centred data is in the biases. For a row with z nonzeros, the
scale s (a power of two) that brings its block below 1, and the largest weight L = max |w_k|, the
sum of z products and a bias in float32 errs by at most
error <= 1.1 (m + 2) u (L |x^|_1 + |beta^|) + 2^-148 (z + 2) (1 + L),
m = min(z, DEPTH) + z / DEPTH + 4, because L |x^|_1 bounds the sum of the magnitudes. The norm of w,
as in ``kernels.signs``, would be worse: it runs over all columns, not only the row's.
"""

from __future__ import annotations

import math

import numpy as np

from fastmem.kernels.bits import trailing_zeros
from fastmem.kernels.compiling import njit
from fastmem.kernels.exact import UNIT32, exact_sign
from fastmem.kernels.layout import DEPTH, TILE, WORD_BITS
from fastmem.kernels.products import add_few_rows, add_rows, compare

_NO_BITS = np.uint64(0)
_ONE = np.uint64(1)
_ALL = np.uint64(2**64 - 1)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


@njit(nogil=True, cache=True)
def take_rows(data, indices, bounds, rows, starts, values, columns):
    """Copy rows of a CSR matrix: its arrays data, indices and bounds (N + 1,), all integers.

    rows (m,) integers; starts (m + 1,) int64 says where each goes in values and columns.
    """
    for i in range(rows.shape[0]):
        shift = bounds[rows[i]] - starts[i]
        for k in range(starts[i], starts[i + 1]):
            values[k] = data[shift + k]
            columns[k] = indices[shift + k]


@njit(nogil=True, cache=True)
def transpose(weights, rows, columns, first, last, panels):
    """panels[g, k, h] = weights[rows[g L + h], columns[k]] for first <= k < last; 0 beyond rows.

    weights (n, d) float32, rows (m,) int64, columns (c,) integers or of size 0 for all in order,
    panels (groups, c, L) float32.
    """
    groups, _, lanes = panels.shape
    for g in range(groups):
        for h in range(lanes):
            at = g * lanes + h
            for k in range(first, last):
                column = columns[k] if columns.shape[0] else k
                panels[g, k, h] = weights[rows[at], column] if at < rows.shape[0] else 0.0


@njit(nogil=True, cache=True)
def largest_weights(panels, first, last, largest):
    """Raise largest (groups, L) float64 to max |panels[g, k, h]| over first <= k < last."""
    groups, _, lanes = panels.shape
    for g in range(groups):
        for k in range(first, last):
            for h in range(lanes):
                largest[g, h] = max(largest[g, h], abs(np.float64(panels[g, k, h])))


@njit(nogil=True, cache=True)
def sparse_pattern_words(values, columns, starts, panels, largest, biases, first, tiles, position):
    """Fill the bits first..first + groups L - 1 of the patterns of sparse rows.

    panels (groups, c, L) float32: weight of hyperplane first + g L + h at column k is
    panels[g, k, h]; L is 64 or 16, ``first`` a multiple of L. largest (groups, L) float64 bounds
    their magnitudes, biases (groups, L) float64; padding has weights 0 and bias -1. Row i is
    written to the pattern ``position + i`` of ``tiles`` (n_tiles, n_words, TILE) uint64; no other
    bits change. Returns the number of doubtful bits.
    """
    rows = starts.shape[0] - 1
    groups, _, lanes = panels.shape
    count = starts[rows]
    scaled = np.empty(count, np.float32)
    top = 0.0
    most = 0
    for k in range(count):
        top = max(top, abs(np.float64(values[k])))
    for i in range(rows):
        most = max(most, starts[i + 1] - starts[i])
    scale = 1.0
    if top > 0.0:
        scale = math.ldexp(1.0, -max(min(math.frexp(top)[1], 1000), -1000))
    for k in range(count):
        scaled[k] = np.float32(scale * np.float64(values[k]))
    sums = np.empty(WORD_BITS, np.float32)
    part = np.empty(WORD_BITS, np.float32)
    slack = np.zeros(WORD_BITS, np.float32)
    initial = np.empty(WORD_BITS, np.float32)
    words = np.empty(2, np.uint64)
    weights = np.empty(most, np.float32)
    zeros = np.zeros(most)
    lane_bits = _ALL >> np.uint64(WORD_BITS - lanes)
    doubts = 0
    for group in range(groups):
        hyperplane = first + group * lanes
        word = hyperplane // WORD_BITS
        shift = np.uint64(hyperplane - word * WORD_BITS)
        sums[:] = np.float32(-1.0)
        for h in range(lanes):
            initial[h] = np.float32(scale * biases[group, h])
        for i in range(rows):
            begin = starts[i]
            end = starts[i + 1]
            size = end - begin
            length = 0.0
            for k in range(begin, end):
                length += abs(np.float64(scaled[k]))
            n_blocks = size // DEPTH
            relative = 1.1001 * (min(size, DEPTH) + n_blocks + 6) * UNIT32
            if relative > 0.01:
                relative = np.inf
            floor = 2.0**-147 * (size + 2)
            for h in range(lanes):
                bound = largest[group, h] * length + abs(np.float64(initial[h]))
                limit = relative * bound + floor * (1.0 + largest[group, h])
                # 2^120: no partial sum can overflow below it
                slack[h] = np.float32(limit) if bound < 1.3e36 else np.float32(np.inf)
                sums[h] = initial[h]
            if lanes == WORD_BITS and size <= DEPTH:
                add_rows(panels, group, columns, scaled, begin, end, sums)
            else:
                for start in range(begin, end, DEPTH):
                    for h in range(lanes):
                        part[h] = np.float32(0.0)
                    stop = min(start + DEPTH, end)
                    if lanes == WORD_BITS:
                        add_rows(panels, group, columns, scaled, start, stop, part)
                    else:
                        add_few_rows(panels, group, columns, scaled, start, stop, part)
                    for h in range(lanes):
                        sums[h] += part[h]
            compare(sums, slack, words)
            bits = words[0]
            doubt = words[1]
            while doubt != _NO_BITS:
                bit = trailing_zeros(doubt)
                doubt &= doubt - _ONE
                doubts += 1
                for k in range(size):
                    weights[k] = panels[group, columns[begin + k], bit]
                bias = biases[group, bit]
                if exact_sign(weights[:size], values[begin:end], bias, zeros[:size], bias, 0.0):
                    bits |= _ONE << np.uint64(bit)
            place = position + i
            tile = place // TILE
            column = place - tile * TILE
            if lanes == WORD_BITS:
                tiles[tile, word, column] = bits
            else:
                kept = tiles[tile, word, column] & ~(lane_bits << shift)
                tiles[tile, word, column] = kept | bits << shift  # 0 beyond the lanes
    return doubts


@njit(nogil=True, cache=True)
def raise_sparse_extremes(values, columns, starts, extremes, counts):
    """As ``kernels.rows.raise_extremes``, of what is stored, which counts (d,) int64 counts."""
    for k in range(starts[-1]):
        column, value = columns[k], np.float64(values[k])
        extremes[0, column] = max(extremes[0, column], -value)
        extremes[1, column] = max(extremes[1, column], value)
        counts[column] += 1


@njit(nogil=True, cache=True)
def add_whole_sparse_columns(values, columns, starts, middle, scales, sums):
    """As ``kernels.rows.add_whole_columns``, less what rows of zeros alone would add."""
    for k in range(starts[-1]):
        column = columns[k]
        away = np.float64(values[k]) - middle[column]
        sums[column] += np.int64(np.rint(away * scales[column]))
        sums[column] -= np.int64(np.rint(-middle[column] * scales[column]))


@njit(nogil=True, cache=True)
def largest_sparse_squares(values, columns, starts, origin, squares, scale):
    """As ``kernels.rows.largest_squares``, with squares = |scale origin|^2, to rounding errors.

    |x - c|^2 = |c|^2 + sum over the nonzeros of x (x - 2 c), which cancels where x is near c: the
    result is at least 2^-40 of what was cancelled, too large rather than too small.
    """
    about_zero = 0.0
    about_origin = 0.0
    for i in range(starts.shape[0] - 1):
        zero_sum = 0.0
        origin_sum = squares
        for k in range(starts[i], starts[i + 1]):
            value = scale * np.float64(values[k])
            zero_sum += value * value
            origin_sum += value * (value - 2.0 * (scale * origin[columns[k]]))
        about_zero = max(about_zero, zero_sum)
        about_origin = max(about_origin, origin_sum, 2.0**-40 * zero_sum)
    return about_zero, about_origin


@njit(nogil=True, cache=True)
def sparse_fingerprints(values, columns, starts, out):
    """out[i] = 64-bit hash of row i; equal points have equal hashes, explicit zeros or not."""
    number = np.empty(1, np.float64)
    word = number.view(np.uint64)
    for i in range(starts.shape[0] - 1):
        state = _MULTIPLIER
        for k in range(starts[i], starts[i + 1]):
            if values[k] != 0.0:
                number[0] = np.float64(values[k])
                state = (state ^ np.uint64(columns[k])) * _MULTIPLIER
                state ^= state >> _SHIFT
                state = (state ^ word[0]) * _MULTIPLIER
                state ^= state >> _SHIFT
        out[i] = state
