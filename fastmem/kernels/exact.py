"""What decides a sign where floats cannot: float64 with a bound, then integers."""

from __future__ import annotations

import math

import numpy as np

from fastmem.kernels.compiling import njit

UNIT32 = 2.0**-24
UNIT64 = 2.0**-53
"""Half a unit in the last place of 1: the relative error of a rounding."""

LIMBS = 84
LOWEST_EXPONENT = 1300
LIMB_MASK = np.int64(0xFFFFFFFF)


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
        gamma = 1.01 * (2 * d + 2) * UNIT64
        shifted[i] = total + rest
        error = 1.01 * UNIT64 * abs(shifted[i]) + gamma * gamma * magnitude + 1e-290
        # not finite where the products overflow: then every entry of this row is doubtful
        errors[i] = error if error < np.inf else np.inf


@njit(nogil=True, cache=True)
def _add_shifted(limbs, mantissa, exponent):
    """limbs += mantissa 2^exponent, |mantissa| < 2^54, in two's complement digits of 32 bits."""
    sign = np.int64(1)
    if mantissa < 0:
        sign = np.int64(-1)
    magnitude = mantissa * sign
    position = np.int64(exponent + LOWEST_EXPONENT)
    limb = position >> np.int64(5)
    offset = position & np.int64(31)
    low = (magnitude & LIMB_MASK) << offset
    high = (magnitude >> np.int64(32)) << offset
    limbs[limb] += sign * (low & LIMB_MASK)
    limbs[limb + 1] += sign * ((low >> np.int64(32)) + (high & LIMB_MASK))
    limbs[limb + 2] += sign * (high >> np.int64(32))


@njit(nogil=True, cache=True)
def positive_exactly(weights, point, bias):
    """<weights, point> + bias > 0 in exact arithmetic (a Kulisch accumulator)."""
    limbs = np.zeros(LIMBS, np.int64)
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
    for i in range(LIMBS):
        total = limbs[i] + carry
        digit = total & LIMB_MASK
        carry = (total - digit) >> np.int64(32)
        any_digit = any_digit or digit != 0
    return carry == 0 and any_digit


@njit(nogil=True, cache=True)
def exact_sign(weights, point, bias, origin, shifted, error):
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
    bound = 1.1 * (d + 4) * UNIT64 * magnitude + error + 1e-290
    if total > bound:
        return True
    if total < -bound:
        return False
    return positive_exactly(weights, point, bias)


@njit(nogil=True, cache=True)
def add_product(limbs, weight, value):
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
