"""Whole numbers in place of real weights: few bits each, and as many more as points need."""

from __future__ import annotations

import math

import numpy as np

LEAST_BITS = 2
MOST_BITS = 53


def rounded(
    weights: np.ndarray, intercepts: np.ndarray, bits: int, whole_intercepts: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of ``bits`` bits, sign included, one unit for all classes; and what they add.

    Parameters
    ----------
    weights : ndarray of shape (n, T), float64
    intercepts : ndarray of shape (T,), float64
    bits : int
    whole_intercepts : bool
        Whether features are 0 or 1, so that scores can be whole numbers.

    Returns
    -------
    ndarray of shape (n, T), int64
    ndarray of shape (T,), float64
    """
    largest = float(np.abs(weights).max(initial=0.0))
    if not largest > 0:
        return np.zeros(weights.shape, np.int64), np.sign(intercepts)
    most = (1 << (bits - 1)) - 1
    # divided first: a unit below 2^-1022 would have few digits
    whole = np.rint(weights / largest * most).astype(np.int64)
    levels = intercepts / largest * most
    return whole, np.rint(levels) if whole_intercepts else levels


def most_bits(n: int, is_real: bool) -> int:
    """Bits up to which sums of n weights are exact in float64 where features are 0 or 1."""
    return MOST_BITS if is_real else MOST_BITS - math.ceil(math.log2(n + 1)) - 1
