"""Sums of ReLU activations, stages 2 and 3: one point and one mask.

2. float64, u = 2^-53, only terms whose bit is one: z_h errs by at most
   e_h = 1.1 (d + 4) u (|w|_2 r + |beta|) + e_beta, again by Cauchy-Schwarz, and the sum of t of
   them, where what comes out negative becomes 0, by sum of e_h + 1.1 (t + 4) u times itself.
3. Where stage 2 leaves both sides of what is asked for: integer arithmetic in one fixed-point
   accumulator for all the t (d + 1) products of the sum.
"""

from __future__ import annotations

import math

import numpy as np

from fastmem.kernels.bits import trailing_zeros
from fastmem.kernels.compiling import njit
from fastmem.kernels.exact import LIMB_MASK, LIMBS, LOWEST_EXPONENT, UNIT64, add_product
from fastmem.kernels.layout import TILE, WORD_BITS

LEAST_POSITIVE = 2.0**-1050
"""The least threshold."""
_LARGEST = (2.0**24 - 1.0) * 2.0**1000
_NO_BITS = np.uint64(0)
_ONE = np.uint64(1)


@njit(nogil=True, cache=True)
def _radius(layer, rows, i):
    """At least |x - c|_2 of point i."""
    start = rows.starts[i]
    size = rows.starts[i + 1] - start
    squares = 0.0
    for k in range(size):
        moved = rows.values[start + k]
        if rows.columns.shape[0] == 0:
            moved -= layer.origin[k]
        squares += (layer.scale * moved) ** 2
    # 2^-500: squares below 2^-1022 vanish
    return (math.sqrt(squares) * (1.0 + 1e-9) + 2.0**-500 * size) / layer.scale


@njit(nogil=True, cache=True)
def _product(layer, rows, i, h):
    """z_h of point i in float64."""
    weights = layer.weights[h]
    start = rows.starts[i]
    size = rows.starts[i + 1] - start
    values = rows.values[start : start + size]
    total = layer.shifted[h]
    if rows.columns.shape[0]:
        columns = rows.columns[start : start + size]
        for k in range(size):
            total += np.float64(weights[columns[k]]) * values[k]
        return total
    origin = layer.origin
    total_1 = total_2 = total_3 = 0.0
    # four sums at once, or each addition would wait for the one before
    for k in range(0, size - 3, 4):
        total += np.float64(weights[k]) * (values[k] - origin[k])
        total_1 += np.float64(weights[k + 1]) * (values[k + 1] - origin[k + 1])
        total_2 += np.float64(weights[k + 2]) * (values[k + 2] - origin[k + 2])
        total_3 += np.float64(weights[k + 3]) * (values[k + 3] - origin[k + 3])
    for k in range(size - size % 4, size):
        total += np.float64(weights[k]) * (values[k] - origin[k])
    return total + (total_1 + (total_2 + total_3))


@njit(nogil=True, cache=True)
def interval(layer, rows, i, words, limit):
    """Numbers low <= S <= high for point i and a mask; where S >= limit, perhaps only low <= S."""
    tile = rows.places[i] // TILE
    column = rows.places[i] - tile * TILE
    radius = _radius(layer, rows, i)
    total = errors = bound = 0.0
    count = 0
    for word in range(words.shape[0]):
        bits = words[word] & rows.tiles[tile, word, column]
        while bits != _NO_BITS:
            h = word * WORD_BITS + trailing_zeros(bits)
            bits &= bits - _ONE
            product = _product(layer, rows, i, h)
            error = layer.slopes[h] * radius + layer.floors[h]
            if abs(product) < np.inf and error < np.inf:
                total += max(product, 0.0)
                errors += error
            else:
                errors = np.inf
            count += 1
            bound = 1.01 * errors + 1.1 * (count + 4) * UNIT64 * total
            if total - bound >= limit:
                return total - bound, np.inf
    return total - bound, total + bound


@njit(nogil=True, cache=True)
def exact_sum(layer, rows, i, words):
    """S of point i and a mask rounded down to a float64; the largest one where it is beyond.

    A limb takes 2^30 products, of which a weight makes two.
    """
    tile = rows.places[i] // TILE
    column = rows.places[i] - tile * TILE
    start = rows.starts[i]
    is_sparse = rows.columns.shape[0] > 0
    limbs = np.zeros(LIMBS, np.int64)
    for word in range(words.shape[0]):
        bits = words[word] & rows.tiles[tile, word, column]
        while bits != _NO_BITS:
            h = word * WORD_BITS + trailing_zeros(bits)
            bits &= bits - _ONE
            for k in range(rows.starts[i + 1] - start):
                feature = np.int64(rows.columns[start + k]) if is_sparse else np.int64(k)
                weight = np.float64(layer.weights[h, feature])
                value = rows.values[start + k]
                if weight != 0.0 and value != 0.0:
                    add_product(limbs, weight, value)
            if layer.biases[h] != 0.0:
                add_product(limbs, 1.0, layer.biases[h])
    top = -1
    carry = np.int64(0)
    for j in range(LIMBS):
        total = limbs[j] + carry
        limbs[j] = total & LIMB_MASK
        carry = (total - limbs[j]) >> np.int64(32)
        if limbs[j] != 0:
            top = j
    if top < 0:
        return 0.0
    # the highest 53 bits are in three limbs; what is below them is cut off
    mantissa = limbs[top]
    length = 0
    while mantissa >> np.int64(length) != 0:
        length += 1
    missing = 53 - length
    mantissa = mantissa << np.int64(missing)
    place = top - 1
    while missing > 0:
        digit = limbs[place] if place >= 0 else np.int64(0)
        if missing >= 32:
            mantissa |= digit << np.int64(missing - 32)
        else:
            mantissa |= digit >> np.int64(32 - missing)
        missing -= 32
        place -= 1
    exponent = 32 * top - LOWEST_EXPONENT + length - 53
    if exponent > 971:
        return 1.7976931348623157e308
    if exponent < -1074:
        mantissa = mantissa >> np.int64(min(-1074 - exponent, 60))
        exponent = -1074
    return math.ldexp(np.float64(mantissa), exponent)


@njit(nogil=True, cache=True)
def is_below(layer, rows, i, words, limit):
    """Whether S < limit, a float64 of at least 0."""
    low, high = interval(layer, rows, i, words, limit)
    if low >= limit:
        return False
    if high < limit:
        return True
    return exact_sum(layer, rows, i, words) < limit


@njit(nogil=True, cache=True)
def rounded_down(number):
    """A float64 rounded down as thresholds are; what is negative or NaN becomes 0."""
    if not number >= LEAST_POSITIVE:
        return 0.0
    if number >= _LARGEST:
        return _LARGEST
    fraction, exponent = math.frexp(number)
    return math.ldexp(math.floor(fraction * 16777216.0), exponent - 24)
