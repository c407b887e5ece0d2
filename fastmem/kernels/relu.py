"""Sums of ReLU activations: S = <u, max(W x + b, 0)> of a mask u and a point x, compared exactly.

Layout of ``tiles``, points and masks as in ``kernels.signs`` and ``kernels.cover``. Which terms of
a sum count is said by the exact bits, so that S is a sum of positive numbers, and 0 exactly where
the count |u and Phi(x)| is 0.

Everything that is decided about a sum is decided for the real number that the stored weights,
biases and coordinates define, as a sign pattern's bit is. Two stages do it, each rigorous:

1. float64, with u = 2^-53. Let c be the origin of the filter's frame, z_h = beta_h +
   <w_h, x - c>, beta_h = b_h + <w_h, c>. As computed, z_h errs by at most
   e_h = 1.1 (d + 4) u (|beta_h| + |w_h|_2 r) + e_beta (``kernels.signs``, with |w|_2 r for the sum
   of the magnitudes, by Cauchy-Schwarz), r >= |x - c|_2. A z_h that comes out negative becomes 0,
   which is nearer to the true one. A sum of t such terms, all >= 0, rounds by at most
   1.01 t u times itself, in any order. So S is within
   s = 1.01 sum e_h + 1.1 (t + 4) u S^ of the computed S^. Terms are added in ascending order of
   hyperplanes. As they are >= 0, S^ - s of the first few bounds S from below: that is what ends
   nearly every sum early, after one to twenty of some hundred terms, with no loss.
2. Where S^ - s and S^ + s are on different sides of what is asked for: integer arithmetic in one
   fixed-point accumulator for all the t (d + 1) products of the sum.

NaN and infinities, which an overflow may leave, fail every comparison of stage 1 and reach stage 2.

Thresholds are ``floor_sum``s: sums rounded down to 24 significant bits (0 below 2^-1000). That
is far coarser than s, so that stage 1 decides nearly all of them, too: stage 2 would have to decide
nearly all roundings to 53 bits. And as rounding down is monotone, the least of the rounded sums is
the rounded least sum, whatever the order in which points are looked at.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from fastmem.kernels.bits import WORD_BITS, trailing_zeros
from fastmem.kernels.signs import _LIMB_MASK, _LIMBS, _LOWEST_EXPONENT, TILE, _add_shifted

LEAST_POSITIVE = 2.0**-1000
"""The least threshold."""
_LARGEST = (2.0**24 - 1.0) * 2.0**1000
_UNIT64 = 2.0**-53
_NO_BITS = np.uint64(0)
_ONE = np.uint64(1)
_TINY = 2.0**-1074


class Layer(NamedTuple):
    """Hyperplanes, and the frame of stage 1.

    weights (n, d) float32; biases (n,), origin (d,) float64: the stored numbers, and c, which is 0
    for sparse rows. shifted, slopes, floors (n,) float64: beta_h, and the two parts of
    e_h <= slopes_h r + floors_h. scale: power of two that brings the points to norm 1.
    """

    weights: np.ndarray
    biases: np.ndarray
    origin: np.ndarray
    shifted: np.ndarray
    slopes: np.ndarray
    floors: np.ndarray
    scale: float


class Rows(NamedTuple):
    """Points: the values of row i are values[starts[i]:starts[i + 1]], float64.

    columns int32 says where they stand; of size 0 it stands for all columns in order.
    """

    values: np.ndarray
    columns: np.ndarray
    starts: np.ndarray


class Terms(NamedTuple):
    """Work space: one point, its pattern, and those of its terms that were computed already.

    pattern (n_words,) uint64; moved (d,) float64, the coordinates of x - c; known (n,) int64, the
    point for which terms and errors, (n,) float64, were computed last.
    """

    pattern: np.ndarray
    moved: np.ndarray
    known: np.ndarray
    terms: np.ndarray
    errors: np.ndarray


@njit(nogil=True, cache=True)
def _new_terms(layer, rows, n_words):
    n = layer.weights.shape[0]
    most = 0
    for i in range(rows.starts.shape[0] - 1):
        most = max(most, rows.starts[i + 1] - rows.starts[i])
    return Terms(
        np.empty(n_words, np.uint64), np.empty(most, np.float64), np.full(n, -1, np.int64),
        np.empty(n, np.float64), np.empty(n, np.float64),
    )  # fmt: skip


@njit(nogil=True, cache=True)
def _load(layer, rows, i, tiles, place, terms):
    """Bring point i and its pattern, at ``place`` of tiles, to the work space; returns r."""
    tile = place // TILE
    column = place - tile * TILE
    for word in range(tiles.shape[1]):
        terms.pattern[word] = tiles[tile, word, column]
    start = rows.starts[i]
    size = rows.starts[i + 1] - start
    moved = terms.moved[:size]
    if rows.columns.shape[0]:
        moved[:] = rows.values[start : start + size]
    else:
        for k in range(size):
            moved[k] = rows.values[start + k] - layer.origin[k]
    squares = squares_1 = squares_2 = squares_3 = 0.0
    scale = layer.scale
    # four sums at once, or each addition would wait for the one before
    for k in range(0, size - 3, 4):
        squares += (scale * moved[k]) ** 2
        squares_1 += (scale * moved[k + 1]) ** 2
        squares_2 += (scale * moved[k + 2]) ** 2
        squares_3 += (scale * moved[k + 3]) ** 2
    for k in range(size - size % 4, size):
        squares += (scale * moved[k]) ** 2
    squares += squares_1 + (squares_2 + squares_3)
    # 2^-500: squares below 2^-1022 vanish
    return (math.sqrt(squares) * (1.0 + 1e-9) + 2.0**-500 * size) / scale


@njit(nogil=True, cache=True)
def _compute_term(layer, rows, i, h, radius, terms):
    """Put max(z_h, 0) of point i, and the bound on its error, into the work space."""
    weights = layer.weights[h]
    start = rows.starts[i]
    size = rows.starts[i + 1] - start
    moved = terms.moved
    total = layer.shifted[h]
    total_1 = total_2 = total_3 = 0.0
    if rows.columns.shape[0]:
        for k in range(size):
            total += np.float64(weights[rows.columns[start + k]]) * moved[k]
    else:
        for k in range(0, size - 3, 4):
            total += np.float64(weights[k]) * moved[k]
            total_1 += np.float64(weights[k + 1]) * moved[k + 1]
            total_2 += np.float64(weights[k + 2]) * moved[k + 2]
            total_3 += np.float64(weights[k + 3]) * moved[k + 3]
        for k in range(size - size % 4, size):
            total += np.float64(weights[k]) * moved[k]
        total += total_1 + (total_2 + total_3)
    error = layer.slopes[h] * radius + layer.floors[h]
    terms.terms[h] = total if 0.0 < total < np.inf else 0.0
    terms.errors[h] = error if abs(total) < np.inf and error < np.inf else np.inf
    terms.known[h] = i


@njit(nogil=True, cache=True)
def _partial_sum(layer, rows, i, radius, mask, limit, terms):
    """(S^, s) of point i and a mask, or those of its first terms once they show S >= limit."""
    total = errors = bound = 0.0
    count = 0
    for word in range(mask.shape[0]):
        bits = mask[word] & terms.pattern[word]
        while bits != _NO_BITS:
            h = word * WORD_BITS + trailing_zeros(bits)
            bits &= bits - _ONE
            if terms.known[h] != i:
                _compute_term(layer, rows, i, h, radius, terms)
            total += terms.terms[h]
            errors += terms.errors[h]
            count += 1
            bound = 1.01 * errors + 1.1 * (count + 4) * _UNIT64 * total
            if total - bound >= limit:
                return total, bound
    return total, bound


@njit(nogil=True, cache=True)
def _down(number):
    """A float64 of at least 0 rounded down as thresholds are."""
    if not number >= LEAST_POSITIVE:
        return 0.0
    if number >= _LARGEST:
        return _LARGEST
    fraction, exponent = math.frexp(number)
    return math.ldexp(math.floor(fraction * 16777216.0), exponent - 24)


@njit(nogil=True, cache=True)
def _add_product(limbs, weight, value):
    """limbs += weight value, a float32 and a float64, exactly."""
    w_fraction, w_exponent = math.frexp(weight)
    x_fraction, x_exponent = math.frexp(value)
    w_mantissa = np.int64(w_fraction * 16777216.0)
    x_mantissa = np.int64(x_fraction * 9007199254740992.0)
    high = x_mantissa >> np.int64(26)
    low = x_mantissa - (high << np.int64(26))
    exponent = np.int64(w_exponent) - 24 + np.int64(x_exponent) - 53
    _add_shifted(limbs, w_mantissa * high, exponent + 26)
    _add_shifted(limbs, w_mantissa * low, exponent)


@njit(nogil=True, cache=True)
def _exact_sum(layer, rows, i, mask, terms):
    """S rounded down to a float64; the largest one where it is beyond.

    A limb takes 2^30 products, of which a weight makes two.
    """
    limbs = np.zeros(_LIMBS, np.int64)
    sparse = rows.columns.shape[0] > 0
    for word in range(mask.shape[0]):
        bits = mask[word] & terms.pattern[word]
        while bits != _NO_BITS:
            h = word * WORD_BITS + trailing_zeros(bits)
            bits &= bits - _ONE
            start = rows.starts[i]
            for k in range(rows.starts[i + 1] - start):
                column = np.int64(rows.columns[start + k]) if sparse else np.int64(k)
                weight = np.float64(layer.weights[h, column])
                value = rows.values[start + k]
                if weight != 0.0 and value != 0.0:
                    _add_product(limbs, weight, value)
            if layer.biases[h] != 0.0:
                _add_product(limbs, 1.0, layer.biases[h])
    top = -1
    carry = np.int64(0)
    for j in range(_LIMBS):
        total = limbs[j] + carry
        limbs[j] = total & _LIMB_MASK
        carry = (total - limbs[j]) >> np.int64(32)
        if limbs[j] != 0:
            top = j
    if top < 0:
        return 0.0
    # the highest 53 bits are in three limbs; what is below them is cut off
    high = limbs[top]
    length = 0
    while high >> np.int64(length) != 0:
        length += 1
    missing = 53 - length
    mantissa = high << np.int64(missing)
    place = top - 1
    while missing > 0:
        digit = limbs[place] if place >= 0 else np.int64(0)
        if missing >= 32:
            mantissa |= digit << np.int64(missing - 32)
        else:
            mantissa |= digit >> np.int64(32 - missing)
        missing -= 32
        place -= 1
    exponent = 32 * top - _LOWEST_EXPONENT + length - 53
    if exponent > 971:
        return 1.7976931348623157e308
    if exponent < -1074:
        cut = min(np.int64(-1074 - exponent), np.int64(60))
        mantissa = mantissa >> cut
        exponent = -1074
    return math.ldexp(np.float64(mantissa), exponent)


@njit(nogil=True, cache=True)
def _floor_sum(layer, rows, i, radius, mask, limit, terms):
    """S rounded down as thresholds are where it is below limit, else some number >= limit."""
    total, bound = _partial_sum(layer, rows, i, radius, mask, limit, terms)
    if total - bound >= limit:
        return limit
    low, high = _down(total - bound), _down(total + bound)
    if low == high:
        return low
    return _down(_exact_sum(layer, rows, i, mask, terms))


@njit(nogil=True, cache=True)
def least_sums(layer, rows, codes, tiles, places, masks, owners, least):
    """Lower least[b] to the least sum of mask b over the points of other classes, rounded down.

    ``rows`` holds points of classes ``codes`` (P,) int64, and ``places`` (P,) int64 their places
    in ``tiles``. masks (B, n_words) uint64; owners (B,) int64, the class of each mask; least (B,)
    float64.
    """
    terms = _new_terms(layer, rows, tiles.shape[1])
    for i in range(codes.shape[0]):
        radius = _load(layer, rows, i, tiles, places[i], terms)
        for b in range(masks.shape[0]):
            if owners[b] != codes[i]:
                found = _floor_sum(layer, rows, i, radius, masks[b], least[b], terms)
                least[b] = min(least[b], found)


@njit(nogil=True, cache=True)
def sums_below(layer, rows, tiles, places, masks, limits, below):
    """below[b, i] = whether the sum of mask b and point i is below limits[b].

    As ``least_sums``; limits (B,) float64, below (B, P) bool.
    """
    terms = _new_terms(layer, rows, tiles.shape[1])
    for i in range(places.shape[0]):
        radius = _load(layer, rows, i, tiles, places[i], terms)
        for b in range(masks.shape[0]):
            limit = limits[b]
            total, bound = _partial_sum(layer, rows, i, radius, masks[b], limit, terms)
            if total - bound >= limit:
                below[b, i] = False
            elif total + bound < limit:
                below[b, i] = True
            else:
                below[b, i] = _exact_sum(layer, rows, i, masks[b], terms) < limit


@njit(nogil=True, cache=True)
def sum_margins(layer, rows, tiles, places, masks, thresholds, blocks, best):
    """best[k, i] = max over the neurons b of block k of thresholds[b] - the sum of point i.

    As ``least_sums``; thresholds (B,) float64, blocks (B,) int64 the row of ``best`` that neuron b
    belongs to; best (n_blocks, P) float64 is filled by the caller with -inf. The sign is exact:
    positive where a neuron of the block is on, else negative; where the difference is too small for
    float64 to tell, it is the number next to 0 on that side. The terms of a sum are added in one
    order, so the result depends on the point alone. A neuron is left as soon as its partial sum
    shows that it is not the best.
    """
    terms = _new_terms(layer, rows, tiles.shape[1])
    for i in range(places.shape[0]):
        radius = _load(layer, rows, i, tiles, places[i], terms)
        for b in range(masks.shape[0]):
            reached = best[blocks[b], i]
            threshold = thresholds[b]
            # S >= limit leaves threshold - S <= reached: the difference is rounded up
            limit = threshold - reached
            limit += 2.5e-16 * abs(limit)
            total, bound = _partial_sum(layer, rows, i, radius, masks[b], limit, terms)
            if total - bound >= limit:
                continue
            margin = threshold - total
            if total + bound < threshold:
                is_on = True
            elif total - bound >= threshold:
                is_on = False
            else:
                is_on = _exact_sum(layer, rows, i, masks[b], terms) < threshold
            if is_on:
                margin = max(margin, _TINY)
            else:
                margin = min(margin, -_TINY)
            best[blocks[b], i] = max(reached, margin)
