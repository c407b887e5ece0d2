"""Passes over the points themselves: their mean, their largest norm, and equal rows."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.compiling import njit

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


@njit(nogil=True, cache=True)
def raise_extremes(points, extremes):
    """Extremes of columns: extremes[0] = max(extremes[0], -x) and extremes[1] = max(.., x).

    points (rows, d) float32 or float64, extremes (2, d) float64.
    """
    for i in range(points.shape[0]):
        for k in range(points.shape[1]):
            value = np.float64(points[i, k])
            extremes[0, k] = max(extremes[0, k], -value)
            extremes[1, k] = max(extremes[1, k], value)


@njit(nogil=True, cache=True)
def add_whole_columns(points, middle, scales, sums):
    """sums += (points - middle) * scales, rounded to whole numbers, summed over the rows.

    points (rows, d) float32 or float64, middle and scales (d,) float64, sums (d,) int64. Sums of
    whole numbers are the same in any order.
    """
    for i in range(points.shape[0]):
        for k in range(points.shape[1]):
            away = np.float64(points[i, k]) - middle[k]
            sums[k] += np.int64(np.rint(away * scales[k]))


@njit(nogil=True, cache=True)
def largest_squares(points, origin, scale):
    """Largest |scale x|^2 and largest |scale (x - origin)|^2 over the rows x."""
    about_zero = 0.0
    about_origin = 0.0
    for i in range(points.shape[0]):
        zero_sum = 0.0
        origin_sum = 0.0
        for k in range(points.shape[1]):
            value = scale * np.float64(points[i, k])
            moved = value - scale * origin[k]
            zero_sum += value * value
            origin_sum += moved * moved
        about_zero = max(about_zero, zero_sum)
        about_origin = max(about_origin, origin_sum)
    return about_zero, about_origin


@njit(nogil=True, cache=True)
def fingerprints(points, out):
    """out[i] = 64-bit hash of the real numbers in row i; equal points have equal hashes.

    points (rows, d) float32 or float64, out (rows,) uint64. Both zeros hash alike.
    """
    number = np.empty(1, np.float64)
    word = number.view(np.uint64)
    for i in range(points.shape[0]):
        state = _MULTIPLIER
        for k in range(points.shape[1]):
            number[0] = np.float64(points[i, k]) + 0.0
            state = (state ^ word[0]) * _MULTIPLIER
            state ^= state >> _SHIFT
        out[i] = state
