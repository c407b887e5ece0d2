"""Rows of a few entries +-1 from a key, and bit columns: 64 points side by side through each row.

Row k of a key with s entries in d dimensions: SplitMix64 (Steele, Lea and Flood, 2014) with the
seed that ``normals.row_seeds`` makes of key and row gives s + 1 words w_0, ..., w_s. Entry j stands
at column (w_j >> 32) d >> 32 and is +1 where the lowest bit of w_j is 0, else -1; entries at one
column are added. The last word gives u = (2 (w_s >> 40) + 1) / 2^24 - 1, on (-1, 1). With an origin
low + step code_c, code_c whole numbers, the bias is

    - ((low * sum of the entries + step * sum of entries times codes) + reach * u).

low, step and reach are float32 numbers, so that each product is exact in float64 and only the two
sums are rounded: no compiler that fuses them can change a bias. Row 2 k + 1 is minus row 2 k.

Bits are those of ``kernels.signs``, 1 iff <w, x> + b > 0 as real numbers, and decided as there: by
float32 with a bound, then by ``kernels.exact``. For 64 points whose feature c stays within
|x^_c| <= m_c, where x^ = fl(scale (x - origin)), the sum of s products and a bias errs by at most
1.1 (s + 5) u (sum |w_j| m_(c_j) + |beta^|) + scale e_beta + 2^-148 (s + 2) (1 + sum |w_j|).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmem.kernels.bits import trailing_zeros
from fastmem.kernels.compiling import njit
from fastmem.kernels.exact import UNIT32, exact_sign, shifted_biases
from fastmem.kernels.layout import WORD_BITS
from fastmem.kernels.normals import mixed_words, row_seeds
from fastmem.kernels.products import add_rows, compare

_NO_BITS = np.uint64(0)
_ONE = np.uint64(1)
_ALL = np.uint64(2**64 - 1)
_32, _40 = np.uint64(32), np.uint64(40)


class ShortRows(NamedTuple):
    """n hyperplanes by their entries that are not zero.

    starts (n + 1,) int64: row h has the entries starts[h]..starts[h + 1] - 1 of columns int32,
    places among the u features in use, and weights float32. biases (n,) float64. What follows is
    for the filter: origin (u,) float64, shifted and errors (n,) float64 as of `FloatFilter`, floors
    (n,) float64 the part of the bound that no point changes, scale a power of two.
    """

    starts: np.ndarray
    columns: np.ndarray
    weights: np.ndarray
    biases: np.ndarray
    origin: np.ndarray
    shifted: np.ndarray
    errors: np.ndarray
    floors: np.ndarray
    scale: float


class Block(NamedTuple):
    """64 points, u features: scaled (1, u, 64) float32, values (u, 64), largest (u,) float64."""

    scaled: np.ndarray
    values: np.ndarray
    largest: np.ndarray


@njit(nogil=True, cache=True)
def keyed_entries(key, numbers, n_features, columns, weights, units):
    """Entries of rows from a key; see the top of this file.

    key uint64; numbers (m,) int64, at least 0; n_features below 2^31. Fills columns (m, s) int32,
    weights (m, s) float32 and units (m,) float64, whose signs are turned for odd numbers.
    """
    m, s = columns.shape
    seeds, signs = np.empty(m, np.uint64), np.empty(m, np.float32)
    row_seeds(key, numbers, seeds, signs)
    words = np.empty(s + 1, np.uint64)
    for i in range(m):
        mixed_words(seeds[i], 0, words)
        for j in range(s):
            columns[i, j] = np.int32(((words[j] >> _32) * np.uint64(n_features)) >> _32)
            weights[i, j] = signs[i] if words[j] & _ONE == _NO_BITS else -signs[i]
        odd = np.int64(words[s] >> _40) * np.int64(2) + np.int64(1) - np.int64(1 << 24)
        units[i] = np.float64(signs[i]) * (np.float64(odd) * 2.0**-24)


@njit(nogil=True, cache=True)
def keyed_biases(columns, weights, units, codes, low, step, reach, biases):
    """Biases (m,) float64 of the rows of `keyed_entries`; codes (d,) uint8 of the origin."""
    for i in range(columns.shape[0]):
        total = np.int64(0)
        coded = np.int64(0)
        for j in range(columns.shape[1]):
            sign = np.int64(weights[i, j])
            total += sign
            coded += sign * np.int64(codes[columns[i, j]])
        biases[i] = -((low * np.float64(total) + step * np.float64(coded)) + reach * units[i])


@njit(nogil=True, cache=True)
def fill_filter(rows):
    """Fill shifted, errors and floors of `ShortRows`, whose other fields are there."""
    for h in range(rows.biases.shape[0]):
        begin, end = rows.starts[h], rows.starts[h + 1]
        centre = rows.origin[rows.columns[begin:end]]
        own = rows.weights[begin:end].reshape((1, end - begin))
        shifted_biases(
            own, rows.biases[h : h + 1], centre, rows.shifted[h : h + 1], rows.errors[h : h + 1]
        )
        total = 0.0
        for k in range(begin, end):
            total += abs(np.float64(rows.weights[k]))
        floor = 2.0**-148 * (end - begin + 2) * (1.0 + total)
        rows.floors[h] = rows.scale * rows.errors[h] + floor


class _Scratch(NamedTuple):
    """Room for the sums of 64 points, bounds on their errors, and what `compare` says of them."""

    sums: np.ndarray
    slack: np.ndarray
    words: np.ndarray


@njit(nogil=True, cache=True)
def new_scratch():
    """Room that `row_word` needs."""
    return _Scratch(
        np.empty(WORD_BITS, np.float32), np.empty(WORD_BITS, np.float32), np.empty(2, np.uint64)
    )


@njit(nogil=True, cache=True)
def new_block(n_used):
    """Room for 64 points of ``n_used`` features."""
    return Block(
        np.zeros((1, n_used, WORD_BITS), np.float32),
        np.zeros((n_used, WORD_BITS)),
        np.zeros(n_used),
    )


@njit(nogil=True, cache=True)
def load_dense(points, start, stop, used, rows, block):
    """Put the points start..stop-1, at most 64, side by side."""
    for k in range(used.shape[0]):
        column = used[k]
        origin = rows.origin[k]
        scaled, values = block.scaled[0, k], block.values[k]
        largest = np.float32(0.0)
        for i in range(stop - start):
            value = np.float64(points[start + i, column])
            near = np.float32(rows.scale * (value - origin))
            values[i] = value
            scaled[i] = near
            largest = max(largest, abs(near))
        block.largest[k] = np.float64(largest)


@njit(nogil=True, cache=True)
def load_sparse(points, start, stop, rows, block):
    """Put the sparse points start..stop-1, at most 64, side by side; 0 where nothing is stored."""
    entries, places, bounds = points
    for k in range(rows.origin.shape[0]):
        near = np.float32(rows.scale * (0.0 - rows.origin[k]))
        block.values[k] = 0.0
        block.scaled[0, k] = near
        block.largest[k] = abs(np.float64(near))
    for i in range(start, stop):
        for k in range(bounds[i], bounds[i + 1]):
            place = places[k]
            if place >= 0:
                value = np.float64(entries[k])
                near = np.float32(rows.scale * (value - rows.origin[place]))
                block.values[place, i - start] = value
                block.scaled[0, place, i - start] = near
                block.largest[place] = max(block.largest[place], abs(np.float64(near)))


@njit(nogil=True, cache=True)
def _side(rows, h, block, i):
    """On which side of the hyperplane h point i of a block is: 1, -1, or 0 on it."""
    begin, end = rows.starts[h], rows.starts[h + 1]
    size = end - begin
    point, centre = np.empty(size), np.empty(size)
    for k in range(size):
        column = rows.columns[begin + k]
        point[k] = block.values[column, i]
        centre[k] = rows.origin[column]
    weights = rows.weights[begin:end]
    bias, shifted = rows.biases[h], rows.shifted[h]
    if exact_sign(weights, point, bias, centre, shifted, rows.errors[h]):
        return 1
    if exact_sign(-weights, point, -bias, centre, -shifted, rows.errors[h]):
        return -1
    return 0


@njit(nogil=True, cache=True)
def row_word(rows, h, block, valid, scratch):
    """Bits of the hyperplane h for the points ``valid`` of a block; and whether one is on it."""
    begin, end = rows.starts[h], rows.starts[h + 1]
    initial = np.float32(rows.scale * rows.shifted[h])
    size = abs(np.float64(initial))
    for k in range(begin, end):
        size += abs(np.float64(rows.weights[k])) * block.largest[rows.columns[k]]
    relative = 1.1 * (end - begin + 5) * UNIT32
    limit = np.float32(np.inf)
    # 2^120: no partial sum can overflow below it
    if size < 1.3e36 and relative < 0.01:
        limit = np.float32(1.0001 * (relative * size + rows.floors[h]))
    for i in range(WORD_BITS):
        scratch.sums[i] = initial
        scratch.slack[i] = limit
    add_rows(block.scaled, 0, rows.columns, rows.weights, begin, end, scratch.sums)
    compare(scratch.sums, scratch.slack, scratch.words)
    bits = scratch.words[0]
    doubt = scratch.words[1] & valid
    touches = False
    while doubt != _NO_BITS:
        i = trailing_zeros(doubt)
        doubt &= doubt - _ONE
        side = _side(rows, h, block, i)
        if side > 0:
            bits |= _ONE << np.uint64(i)
        elif side == 0:
            touches = True
    return bits & valid, touches


@njit(nogil=True, cache=True)
def first_bits(count):
    """A word whose lowest ``count`` bits, 1 to 64, are 1."""
    return _ALL >> np.uint64(WORD_BITS - count)


@njit(nogil=True, cache=True)
def _fill_word(rows, block, count, word, columns, touched, scratch):
    """Word ``word`` of all bit columns from ``count`` points of a block."""
    valid = first_bits(count)
    for h in range(rows.biases.shape[0]):
        bits, touches = row_word(rows, h, block, valid, scratch)
        columns[h, word] = bits
        if touches:
            touched[h] = True


@njit(nogil=True, cache=True)
def dense_columns(points, used, rows, word, columns, touched):
    """Bit columns of dense points: point i is bit i % 64 of the words word + i // 64.

    points (m, d) float32 or float64; used (u,) int64 features, rows `ShortRows` in these; columns
    (n, W) uint64, bits beyond the points are 0; touched (n,) bool is set where a point lies exactly
    on the hyperplane.
    """
    block, scratch = new_block(used.shape[0]), new_scratch()
    for start in range(0, points.shape[0], WORD_BITS):
        stop = min(start + WORD_BITS, points.shape[0])
        load_dense(points, start, stop, used, rows, block)
        _fill_word(rows, block, stop - start, word + start // WORD_BITS, columns, touched, scratch)


@njit(nogil=True, cache=True)
def sparse_columns(values, places, bounds, rows, word, columns, touched):
    """As `dense_columns`, of sparse points: those of ``kernels.sparse``.

    places (nonzeros,) int32: where each column is among the features in use, or -1.
    """
    n_points = bounds.shape[0] - 1
    block, scratch = new_block(rows.origin.shape[0]), new_scratch()
    for start in range(0, n_points, WORD_BITS):
        stop = min(start + WORD_BITS, n_points)
        load_sparse((values, places, bounds), start, stop, rows, block)
        _fill_word(rows, block, stop - start, word + start // WORD_BITS, columns, touched, scratch)
