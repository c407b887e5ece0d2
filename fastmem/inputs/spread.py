"""How far the features of points spread, and the powers of two that make them spread alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastmem.inputs.points import Points, row_ranges
from fastmem.inputs.refusals import refuse
from fastmem.inputs.scaled_points import MAX_EXPONENT
from fastmem.machine.arrays import frozen

_LEAST_NORMAL = -1022
"""Exponent of the least number of float64 that has all its digits."""
_DIGITS = 30
"""Binary digits of whole numbers whose sums fit 64 bits for 2^32 rows."""


@dataclass(frozen=True, eq=False)
class Ranges:
    """What values the features have: all (n_features,) float64.

    Attributes
    ----------
    low, high : ndarray
        The least and the largest.
    least : ndarray
        The least magnitude above 0; infinite where all are 0.
    """

    low: np.ndarray
    high: np.ndarray
    least: np.ndarray


def spread_scale(points: Points) -> np.ndarray:
    """Powers of two nearest to 1 / standard deviation, one a feature; 1 for a constant feature.

    None makes a coordinate smaller than a number of float64 that has all its digits, so that all
    products are exact. It depends neither on the order of the rows nor on where they are.

    Parameters
    ----------
    points : Points

    Returns
    -------
    ndarray of shape (n_features,), float64
    """
    ranges = ranges_of(points)
    exponents = spread_exponents(points, ranges)
    at_least = np.where(
        np.isfinite(ranges.least), np.minimum(0, _LEAST_NORMAL + 1 - np.frexp(ranges.least)[1]), 0
    )
    return frozen(np.ldexp(1.0, np.maximum(exponents, at_least)))


def scale_without_labels(points: Points, scale: str | np.ndarray) -> np.ndarray | None:
    """Powers of two that a checked ``scale`` stands for, or None; "auto" would need labels."""
    if not isinstance(scale, str):
        return scale
    if scale == "auto":
        refuse(
            "scale is 'auto', which needs labels to measure; pass 'none', 'std' or powers of two, "
            "one a feature"
        )
    return spread_scale(points) if scale == "std" else None


def spread_exponents(points: Points, ranges: Ranges) -> np.ndarray:
    """Exponents of the powers of two nearest to 1 / standard deviation; 0 for constants.

    Deviations are from the middle between the extremes and divided by the range, so that no square
    overflows; a standard deviation is at least the range / sqrt(2 N), so little cancels.
    """
    middle = ranges.low / 2 + ranges.high / 2
    reach = ranges.high / 2 - ranges.low / 2
    varies = reach > 0
    # a power of two, so that a subnormal reach can be inverted
    shift = np.where(varies, np.frexp(reach)[1], 0)
    if points.elsewhere is not None:
        whole = points.elsewhere.spread_sums(middle, shift)
    else:
        whole = spread_sums(points, middle, shift)
    sums, squares = np.ldexp(whole[0], -_DIGITS) + np.ldexp(whole[1], -2 * _DIGITS)
    mean = sums / points.n_samples
    variance = np.maximum(squares / points.n_samples - mean * mean, 0.0)
    varies &= variance > 0
    with np.errstate(divide="ignore"):
        logarithm = np.where(varies, np.log2(np.where(varies, variance, 1.0)) / 2 + shift, 0.0)
    exponents: np.ndarray = np.clip(np.rint(-logarithm), -MAX_EXPONENT, MAX_EXPONENT).astype(int)
    return exponents


def spread_sums(points: Points, middle: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Sums of shares s = (x - middle) / 2^shift, none beyond 1, and of their squares, a column.

    As whole numbers, (2, 2, d) int64: [0] counts 2^-30 and [1] the 2^-60 that are left; [:, 0] of
    the shares and [:, 1] of the squares. They add up to the same in whatever order.
    """
    d = points.n_features
    sums = np.zeros((2, 2, d), np.int64)
    for start, stop in row_ranges(points):
        block = points.block(start, stop)
        if points.is_sparse:
            shares = np.ldexp(block.values - middle[block.columns], -shift[block.columns])
            left = (stop - start) - np.bincount(block.columns, minlength=d)
            zeros = np.where(left > 0, np.ldexp(-middle, -shift), 0.0)
            for i in range(2):
                for j, digits in enumerate(_whole(shares if i == 0 else shares * shares)):
                    # whole numbers below 2^53, as a block has less than 2^22 values
                    stored = np.bincount(block.columns, digits, d).astype(np.int64)
                    sums[j, i] += stored + left * _whole(zeros if i == 0 else zeros * zeros)[j]
        else:
            shares = np.ldexp(block - middle, -shift)
            for i in range(2):
                for j, digits in enumerate(_whole(shares if i == 0 else shares * shares)):
                    sums[j, i] += digits.sum(axis=0)
    return sums


def _whole(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers from -1 to 1 as whole multiples of 2^-30, and of the 2^-60 that are left; int64."""
    digits = np.rint(np.ldexp(shares, 2 * _DIGITS)).astype(np.int64)
    return digits >> _DIGITS, digits & ((1 << _DIGITS) - 1)


def ranges_of(points: Points) -> Ranges:
    """Look once at all points."""
    if points.elsewhere is not None:
        return Ranges(*points.elsewhere.ranges())
    d = points.n_features
    low, high, least = np.full(d, np.inf), np.full(d, -np.inf), np.full(d, np.inf)
    stored = np.zeros(d, np.int64)
    for start, stop in row_ranges(points):
        block = points.block(start, stop)
        if points.is_sparse:
            values = block.values.astype(np.float64)
            sizes = np.where(values == 0, np.inf, np.abs(values))
            np.minimum.at(low, block.columns, values)
            np.maximum.at(high, block.columns, values)
            np.minimum.at(least, block.columns, sizes)
            stored += np.bincount(block.columns, minlength=d)
        else:
            low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
            sizes = np.abs(block)
            least = np.minimum(least, sizes.min(axis=0, where=sizes > 0, initial=np.inf))
    if points.is_sparse:  # what is not stored is 0
        some = stored < points.n_samples
        low[some], high[some] = np.minimum(low[some], 0.0), np.maximum(high[some], 0.0)
    return Ranges(low, high, least)
