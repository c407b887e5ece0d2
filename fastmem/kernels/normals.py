"""Gaussian weights that are computed from a key, a row and a column, and so need not be stored.

The 64 bits of entry (row, column) are SplitMix64's (Steele, Lea and Flood, Fast splittable
pseudorandom number generators, 2014): output ``column`` of the generator whose seed is made of the
key and the row. Their upper 53 bits are the middle of an interval of 2^-53, which the inverse of
the normal distribution function turns into a Gaussian number: Wichura's AS 241 (PPND16, 1988;
relative error about 1e-16), rounded to float32.

Only + - * / and sqrt of IEEE float64 are used, which every machine rounds alike, in an order that
no compiler may change (no contraction, no libm): the same key gives the same weights everywhere.
Kernels divide as NumPy does: Python's check for zero would keep them from running on vectors.
"""

from __future__ import annotations

import math

import numpy as np

from fastmem.kernels.compiling import njit

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_ONE = np.uint64(1)
_HALF_RANGE = np.int64(1 << 53)
_UNIT = 2.0**-54
_LN2 = 0.6931471805599453
_SQRT_2 = 1.4142135623730951
_52, _BIAS = np.int64(52), np.int64(1023)
_FRACTION, _EXPONENT_0 = np.int64((1 << 52) - 1), np.int64(1023 << 52)
_AT_ONCE = 16
"""Columns whose weights are made in one go, in the first-level cache."""


@njit(nogil=True, cache=True, error_model="numpy")
def _mix(word):
    word = (word ^ (word >> _30)) * _MIX_1
    word = (word ^ (word >> _27)) * _MIX_2
    return word ^ (word >> _31)


@njit(nogil=True, cache=True, error_model="numpy")
def mixed_words(key, first, words):
    """words[i] = output first + i of SplitMix64 with the seed ``key``, a uint64; words uint64."""
    for i in range(words.shape[0]):
        words[i] = _mix(key + (np.uint64(first + i) + _ONE) * _STEP)


@njit(nogil=True, cache=True, error_model="numpy")
def _centred(seed, column):
    """Uniform on (-1/2, 1/2): an odd multiple of 2^-54."""
    bits = _mix(seed + (np.uint64(column) + _ONE) * _STEP)
    return np.float64(np.int64(bits >> _11) * np.int64(2) + np.int64(1) - _HALF_RANGE) * _UNIT


@njit(nogil=True, cache=True, error_model="numpy")
def _logarithm(bits, numbers, i):
    """Natural logarithm of numbers[i] by atanh's series; relative error below 1e-14.

    numbers (m,) float64, normal and in (0, 1); bits the same memory as int64. Leaves the fraction.
    """
    exponent = (bits[i] >> _52) - _BIAS
    bits[i] = (bits[i] & _FRACTION) | _EXPONENT_0
    fraction = numbers[i]  # from 1 to 2
    if fraction > _SQRT_2:
        fraction *= 0.5
        exponent += 1
    s = (fraction - 1.0) / (fraction + 1.0)
    r = s * s
    series = 1.0 / 17.0
    series = series * r + 1.0 / 15.0
    series = series * r + 1.0 / 13.0
    series = series * r + 1.0 / 11.0
    series = series * r + 1.0 / 9.0
    series = series * r + 1.0 / 7.0
    series = series * r + 1.0 / 5.0
    series = series * r + 1.0 / 3.0
    series = series * r + 1.0
    return np.float64(exponent) * _LN2 + 2.0 * s * series


@njit(nogil=True, cache=True, error_model="numpy")
def _central(q):
    """AS 241 for |q| <= 0.425, q = p - 1/2."""
    r = 0.180625 - q * q
    above = 2509.0809287301226727 * r + 33430.575583588128105
    above = above * r + 67265.770927008700853
    above = above * r + 45921.953931549871457
    above = above * r + 13731.693765509461125
    above = above * r + 1971.5909503065514427
    above = above * r + 133.14166789178437745
    above = above * r + 3.387132872796366608
    below = 5226.495278852545925 * r + 28729.085735721942674
    below = below * r + 39307.89580009271061
    below = below * r + 21213.794301586595867
    below = below * r + 5394.1960214247511077
    below = below * r + 687.1870074920579083
    below = below * r + 42.313330701600911252
    below = below * r + 1.0
    return q * above / below


@njit(nogil=True, cache=True, error_model="numpy")
def _near_tail(r):
    """AS 241 for |q| > 0.425 and r = sqrt(-log(1/2 - |q|)) <= 5."""
    r = r - 1.6
    above = 7.7454501427834140764e-4 * r + 0.0227238449892691845833
    above = above * r + 0.24178072517745061177
    above = above * r + 1.27045825245236838258
    above = above * r + 3.64784832476320460504
    above = above * r + 5.7694972214606914055
    above = above * r + 4.6303378461565452959
    above = above * r + 1.42343711074968357734
    below = 1.05075007164441684324e-9 * r + 5.475938084995344946e-4
    below = below * r + 0.0151986665636164571966
    below = below * r + 0.14810397642748007459
    below = below * r + 0.68976733498510000455
    below = below * r + 1.6763848301838038494
    below = below * r + 2.05319162663775882187
    below = below * r + 1.0
    return above / below


@njit(nogil=True, cache=True, error_model="numpy")
def _far_tail(r):
    """AS 241 for r > 5: once in 4e10 numbers."""
    r = r - 5.0
    above = 2.01033439929228813265e-7 * r + 2.71155556874348757815e-5
    above = above * r + 0.0012426609473880784386
    above = above * r + 0.026532189526576123093
    above = above * r + 0.29656057182850489123
    above = above * r + 1.7848265399172913358
    above = above * r + 5.4637849111641143699
    above = above * r + 6.6579046435011037772
    below = 2.04426310338993978564e-15 * r + 1.4215117583164458887e-7
    below = below * r + 1.8463183175100546818e-5
    below = below * r + 7.868691311456132591e-4
    below = below * r + 0.0148753612908506148525
    below = below * r + 0.13692988092273580531
    below = below * r + 0.59983220655588793769
    below = below * r + 1.0
    return above / below


@njit(nogil=True, cache=True, error_model="numpy")
def normals(centred, values, places, tails):
    """values[i] = inverse normal distribution function at 1/2 + centred[i], all (m,) float64.

    places (m,) int64 and tails (m,) float64 are work space.
    """
    bits = tails.view(np.int64)
    # all as if central, at full vector speed; then the 15 % that are not
    for i in range(centred.shape[0]):
        values[i] = _central(centred[i])
    count = 0
    for i in range(centred.shape[0]):
        places[count] = i
        tails[count] = 0.5 - abs(centred[i])
        count += abs(centred[i]) > 0.425
    for i in range(count):
        tails[i] = math.sqrt(-_logarithm(bits, tails, i))
    largest = 0.0
    for i in range(count):
        largest = max(largest, tails[i])
    if largest > 5.0:
        for i in range(count):
            tails[i] = _near_tail(tails[i]) if tails[i] <= 5.0 else _far_tail(tails[i])
    else:
        for i in range(count):
            tails[i] = _near_tail(tails[i])
    for i in range(count):
        place = places[i]
        values[place] = tails[i] if centred[place] > 0.0 else -tails[i]


@njit(nogil=True, cache=True, error_model="numpy")
def row_seeds(key, numbers, seeds, signs):
    """Seeds of rows: ``numbers`` (m,) int64, at least 0; 2 k is the k-th row, 2 k + 1 minus it.

    key uint64; fills seeds (m,) uint64 and signs (m,) float32.
    """
    for i in range(numbers.shape[0]):
        number = numbers[i]
        seeds[i] = _mix(_mix(key + _STEP) ^ (np.uint64(number >> np.int64(1)) + _ONE) * _MIX_2)
        signs[i] = np.float32(1.0) if number & np.int64(1) == 0 else np.float32(-1.0)


@njit(nogil=True, cache=True, error_model="numpy")
def row_uniforms(seeds, place, values):
    """values[i] = uniform number in (-1/2, 1/2) of a row, (m,) float64, an odd multiple of 2^-54.

    seeds (m,) uint64 of ``row_seeds``; place, an int64 of at least 0, tells several numbers of a
    row apart: they are those of the columns -1, -2, ..., which no weight has.
    """
    for i in range(seeds.shape[0]):
        values[i] = _centred(seeds[i], np.int64(-1) - place)


@njit(nogil=True, cache=True, error_model="numpy")
def normal_panels(seeds, signs, columns, first, last, panels):
    """panels[g, k, h] = weight of row g L + h at columns[k], for first <= k < last.

    seeds, signs (groups L,), sign 0 for rows of zeros; columns (c,) int64 or of
    size 0 for all in order; panels (groups, c, L) float32.
    """
    groups, _, lanes = panels.shape
    size = _AT_ONCE * lanes
    centred, values, tails = np.empty(size), np.empty(size), np.empty(size)
    places = np.empty(size, np.int64)
    for g in range(groups):
        own = seeds[g * lanes : g * lanes + lanes]
        sign = signs[g * lanes : g * lanes + lanes]
        for start in range(first, last, _AT_ONCE):
            stop = min(start + _AT_ONCE, last)
            for k in range(start, stop):
                column = columns[k] if columns.shape[0] else k
                here = centred[(k - start) * lanes : (k - start + 1) * lanes]
                for h in range(lanes):
                    here[h] = _centred(own[h], column)
            used = (stop - start) * lanes
            normals(centred[:used], values[:used], places[:used], tails[:used])
            for k in range(start, stop):
                panel = panels[g, k]
                here = values[(k - start) * lanes : (k - start + 1) * lanes]
                for h in range(lanes):
                    panel[h] = sign[h] * np.float32(here[h])


@njit(nogil=True, cache=True, error_model="numpy")
def normal_rows(seeds, signs, weights):
    """weights (m, d) float32 = all columns of the rows of ``seeds`` and ``signs`` (m,)."""
    m, d = weights.shape
    size = min(d, 1024)
    centred, values, tails = np.empty(size), np.empty(size), np.empty(size)
    places = np.empty(size, np.int64)
    for i in range(m):
        for start in range(0, d, size):
            used = min(size, d - start)
            for k in range(used):
                centred[k] = _centred(seeds[i], start + k)
            normals(centred[:used], values[:used], places[:used], tails[:used])
            for k in range(used):
                weights[i, start + k] = signs[i] * np.float32(values[k])
