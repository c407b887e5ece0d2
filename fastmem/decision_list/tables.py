"""Logarithms, powers and lengths of codes that are the same numbers on every machine."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastmem.kernels.open_conjunctions import MOST_LITERALS
from fastmem.machine.arrays import frozen

FRACTION = 24
"""Bits behind the point of every logarithm."""
_MANTISSA = 31
_QUARTERS = 4


def log2_of(numbers: np.ndarray) -> np.ndarray:
    """log2 of whole numbers below 2^31, to within 2^-23; float64.

    By squaring integers, since libraries round logarithms in different ways; of 0 it is 0.
    """
    numbers = np.maximum(np.asarray(numbers, np.uint64), np.uint64(1))
    whole = np.frexp(numbers.astype(np.float64))[1].astype(np.int64) - 1  # exact below 2^53
    mantissa = numbers << (_MANTISSA - whole).astype(np.uint64)
    result = whole << FRACTION
    for bit in range(FRACTION - 1, -1, -1):
        mantissa = (mantissa * mantissa) >> np.uint64(_MANTISSA)
        doubled = mantissa >> np.uint64(_MANTISSA + 1)
        result += doubled.astype(np.int64) << bit
        mantissa >>= doubled
    return result / float(1 << FRACTION)


def powers_of(most: int, quarters: tuple[int, ...]) -> np.ndarray:
    """(0..most)^(e / 4) for each e of ``quarters``, (E, most + 1) float64.

    By square roots and products, which IEEE 754 rounds in one way only.
    """
    numbers = np.arange(most + 1, dtype=np.float64)
    root = np.sqrt(np.sqrt(numbers))
    powers = np.ones((len(quarters), most + 1))
    for row, exponent in zip(powers, quarters, strict=True):
        for _ in range(exponent // _QUARTERS):
            row *= numbers
        for _ in range(exponent % _QUARTERS):
            row *= root
    return powers


@lru_cache(maxsize=64)
def conjunction_bits(n: int, n_classes: int) -> np.ndarray:
    """Estimated bits of a conjunction of k of 2 n literals, (k_most + 1,) float64, k_most <= 2 n.

    log2 C(2 n, k) + 2 log2(k + 1) + log2 K: which literals, how many, which class.
    """
    most = min(2 * n, MOST_LITERALS)
    sets = 1
    shifts, tops = np.empty((2, most + 1), np.int64)
    for k in range(most + 1):
        shifts[k] = max(0, sets.bit_length() - _MANTISSA)
        tops[k] = sets >> int(shifts[k])
        sets = sets * (2 * n - k) // (k + 1)
    lengths = shifts + log2_of(tops)
    lengths += 2.0 * log2_of(np.arange(1, most + 2)) + log2_of(np.array([n_classes]))
    return frozen(lengths)
