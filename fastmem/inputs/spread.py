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
    products are exact. Sums are made for fixed ranges of rows and added in order.

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
    sums, squares = np.zeros((2, points.n_features))
    for start, stop in row_ranges(points):
        block = points.block(start, stop)
        if points.is_sparse:
            shares = np.ldexp(block.values - middle[block.columns], -shift[block.columns])
            zeros = np.ldexp(-middle, -shift)
            counts = np.bincount(block.columns, minlength=points.n_features)
            left = (stop - start) - counts
            sums += np.bincount(block.columns, shares, points.n_features) + left * zeros
            squares += np.bincount(block.columns, shares * shares, points.n_features)
            squares += left * (zeros * zeros)
        else:
            shares = np.ldexp(block - middle, -shift)
            sums += shares.sum(axis=0)
            squares += np.einsum("ij,ij->j", shares, shares)
    mean = sums / points.n_samples
    variance = np.maximum(squares / points.n_samples - mean * mean, 0.0)
    varies &= variance > 0
    with np.errstate(divide="ignore"):
        logarithm = np.where(varies, np.log2(np.where(varies, variance, 1.0)) / 2 + shift, 0.0)
    exponents: np.ndarray = np.clip(np.rint(-logarithm), -MAX_EXPONENT, MAX_EXPONENT).astype(int)
    return exponents


def ranges_of(points: Points) -> Ranges:
    """Look once at all points."""
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
