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
2. float64 (``_exact_sign``), the doubtful entries, about 1 in 2,000 at d = 784: sum of
   w_k (x_k - c_k) + beta with a running bound from the sum of the magnitudes.
3. Integer arithmetic in one long fixed-point accumulator, the entries still doubtful: the
   exponents of float32 x float64 products span 2^-1298 to 2^1152, 80 words of 32 bits hold any
   sum of them, so there is no rounding, overflow or underflow at all.
"""

from __future__ import annotations

import math

import numpy as np

from fastmem.kernels.bits import (
    TILE_ROWS,
    WORD_BITS,
    add_products,
    sign_words,
    trailing_zeros,
)
from fastmem.kernels.compiling import njit

TILE = 192
"""Points a tile: a multiple of TILE_ROWS and of 8 (words in a vector register)."""
DEPTH = 512
"""Features summed at once: a panel of 64 hyperplanes x DEPTH (128 KB) stays in the L2 cache, and
the error bound, which grows with the length of a sum, is halved at d = 784."""

GROUPS = TILE // TILE_ROWS
_UNIT32 = 2.0**-24
_UNIT64 = 2.0**-53
_LIMBS = 84
_LOWEST_EXPONENT = 1300
_LIMB_MASK = np.int64(0xFFFFFFFF)
_NO_BITS = np.uint64(0)
_ONE = np.uint64(1)


@njit(nogil=True, cache=True)
def shifted_biases(weights, biases, origin, shifted, errors):
    """Fill shifted[i] ~ biases[i] + <weights[i], origin> and a bound on its error.

    weights (n, d) float32, biases (n,) and origin (d,) float64; shifted, errors (n,) float64. A
    compensated sum (Ogita, Rump and Oishi, Accurate sum and dot product, 2005, algorithm 5.3):
    error <= u |result| + gamma_{d+1}^2 (|b| + sum |w_k c_k|). Products of a float32 with either
    half of a float64 are exact, which replaces Dekker's splitting of both factors.
    """
    n, d = weights.shape
    for i in range(n):
        total = biases[i]
        rest = 0.0
        magnitude = abs(total)
        for k in range(d):
            w = np.float64(weights[i, k])
            if w == 0.0 or origin[k] == 0.0:
                continue
            split = 134217729.0 * origin[k]
            high = split - (split - origin[k])
            for part in (high, origin[k] - high):
                product = w * part
                before = total
                total = before + product
                back = total - before
                rest += (before - (total - back)) + (product - back)
                magnitude += abs(product)
        gamma = 1.01 * (2 * d + 2) * _UNIT64
        shifted[i] = total + rest
        error = 1.01 * _UNIT64 * abs(shifted[i]) + gamma * gamma * magnitude + 1e-290
        # not finite where the products overflow: then every entry of this row is doubtful
        errors[i] = error if error < np.inf else np.inf


@njit(nogil=True, cache=True)
def _add_shifted(limbs, mantissa, exponent):
    """limbs += mantissa 2^exponent, |mantissa| < 2^54, in two's complement digits of 32 bits."""
    sign = np.int64(1)
    if mantissa < 0:
        sign = np.int64(-1)
    magnitude = mantissa * sign
    position = np.int64(exponent + _LOWEST_EXPONENT)
    limb = position >> np.int64(5)
    offset = position & np.int64(31)
    low = (magnitude & _LIMB_MASK) << offset
    high = (magnitude >> np.int64(32)) << offset
    limbs[limb] += sign * (low & _LIMB_MASK)
    limbs[limb + 1] += sign * ((low >> np.int64(32)) + (high & _LIMB_MASK))
    limbs[limb + 2] += sign * (high >> np.int64(32))


@njit(nogil=True, cache=True)
def _positive_exactly(weights, point, bias):
    """<weights, point> + bias > 0 in exact arithmetic (a Kulisch accumulator)."""
    limbs = np.zeros(_LIMBS, np.int64)
    for k in range(weights.shape[0]):
        w = np.float64(weights[k])
        x = np.float64(point[k])
        if w == 0.0 or x == 0.0:
            continue
        w_fraction, w_exponent = math.frexp(w)
        x_fraction, x_exponent = math.frexp(x)
        w_mantissa = np.int64(w_fraction * 16777216.0)
        x_mantissa = np.int64(x_fraction * 9007199254740992.0)
        high = x_mantissa >> np.int64(26)
        low = x_mantissa - (high << np.int64(26))
        exponent = np.int64(w_exponent) - 24 + np.int64(x_exponent) - 53
        _add_shifted(limbs, w_mantissa * high, exponent + 26)
        _add_shifted(limbs, w_mantissa * low, exponent)
    if bias != 0.0:
        fraction, b_exponent = math.frexp(bias)
        _add_shifted(limbs, np.int64(fraction * 9007199254740992.0), np.int64(b_exponent) - 53)
    carry = np.int64(0)
    any_digit = False
    for i in range(_LIMBS):
        total = limbs[i] + carry
        digit = total & _LIMB_MASK
        carry = (total - digit) >> np.int64(32)
        any_digit = any_digit or digit != 0
    return carry == 0 and any_digit


@njit(nogil=True, cache=True)
def _exact_sign(weights, point, bias, origin, shifted, error):
    """Stages 2 and 3 of the module's docstring for one hyperplane and one point."""
    d = weights.shape[0]
    total = shifted
    magnitude = abs(shifted)
    total_1 = total_2 = total_3 = magnitude_1 = magnitude_2 = magnitude_3 = 0.0
    # four sums at once, or each addition would wait for the one before
    for k in range(0, d - 3, 4):
        term = np.float64(weights[k]) * (np.float64(point[k]) - origin[k])
        term_1 = np.float64(weights[k + 1]) * (np.float64(point[k + 1]) - origin[k + 1])
        term_2 = np.float64(weights[k + 2]) * (np.float64(point[k + 2]) - origin[k + 2])
        term_3 = np.float64(weights[k + 3]) * (np.float64(point[k + 3]) - origin[k + 3])
        total += term
        total_1 += term_1
        total_2 += term_2
        total_3 += term_3
        magnitude += abs(term)
        magnitude_1 += abs(term_1)
        magnitude_2 += abs(term_2)
        magnitude_3 += abs(term_3)
    for k in range(d - d % 4, d):
        term = np.float64(weights[k]) * (np.float64(point[k]) - origin[k])
        total += term
        magnitude += abs(term)
    total += total_1 + (total_2 + total_3)
    magnitude += magnitude_1 + (magnitude_2 + magnitude_3)
    bound = 1.1 * (d + 4) * _UNIT64 * magnitude + error + 1e-290
    if total > bound:
        return True
    if total < -bound:
        return False
    return _positive_exactly(weights, point, bias)


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


@njit(nogil=True, cache=True)
def pattern_words(
    points, weights, biases, panels, scaled_biases, norms, floors, origin, shifted, errors, scale,
    first_word, last_word, tiles, position, shift,
):  # fmt: skip
    """Fill the words first_word..last_word-1 of the patterns of ``points``; returns doubtful bits.

    They are written to the words first_word + shift and so on of ``tiles``.

    points (rows, d) float32 or float64, any finite numbers; row i is written to the pattern
    ``position + i`` of ``tiles`` (n_tiles, n_words, TILE) uint64; position is a multiple of
    TILE_ROWS. weights (n, d) float32, biases (n,) float64 are the stored numbers that define a
    bit; the rest is the filter's frame (hyperplanes.py builds it): panels (n_words, d, 64) float32
    the weights with lanes contiguous, scaled_biases (n_words, 64) float32, norms and floors
    (n_words, 64) float64, origin (d,), shifted and errors (n,) float64.

    Against OpenBLAS sgemm alone, same process, same blocks, no signs and no packing: 0.64 x its
    time at 20,000 x 784 x 2,048, 0.63 x at 9,984 hyperplanes, 0.6 x at d = 64 and d = 2 (AVX-512
    processor, OpenBLAS held to its AVX2 kernels); 1.05 to 1.16 x where OpenBLAS uses AVX-512.
    """
    rows, d = points.shape
    n = weights.shape[0]
    n_blocks = (d + DEPTH - 1) // DEPTH
    roundings = min(d, DEPTH) + n_blocks + 3
    relative = 1.1 * (roundings + 2) * _UNIT32
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
        radius = _load_points(points, start, stop, origin, scale, scaled)
        for word in range(first_word, last_word):
            for h in range(WORD_BITS):
                size = norms[word, h] * radius + abs(np.float64(scaled_biases[word, h]))
                bound = 1.0001 * (relative * size + floors[word, h])
                # 2^120: no partial sum can overflow below it
                slack[h] = np.float32(bound) if size < 1.3e36 else np.float32(np.inf)
            initial, step = scaled_biases, 0
            if n_blocks > 1:
                initial, step = sums.reshape((GROUPS * TILE_ROWS, WORD_BITS)), WORD_BITS
                for group in range(groups):
                    for row in range(TILE_ROWS):
                        for h in range(WORD_BITS):
                            sums[group, row, h] = scaled_biases[word, h]
                for block in range(n_blocks - 1):
                    for group in range(groups):
                        add_products(
                            panels, word, block * DEPTH, block * DEPTH + DEPTH, scaled, group, sums
                        )
            last_block = (n_blocks - 1) * DEPTH
            for group in range(groups):
                base = word * WORD_BITS if step == 0 else group * TILE_ROWS * WORD_BITS
                sign_words(
                    panels, word, last_block, d, scaled, group, initial, base, step, slack,
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
                        if h < n and _exact_sign(
                            weights[h], points[i + row], biases[h], origin, shifted[h], errors[h]
                        ):
                            bits |= _ONE << np.uint64(bit)
                    tiles[tile, word + shift, column + group * TILE_ROWS + row] = bits
        start = stop
    return doubts
