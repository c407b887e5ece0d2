"""Whole numbers near real coefficients, as a quadratic form measures it."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.compiling import njit


@njit(nogil=True, cache=True, error_model="numpy")
def nearest_plane(factor, n, columns, most, rounded, left):
    """Round columns w to whole numbers q for which (w - q)^T L L^T (w - q) is small.

    One number after another, from the last on, takes up what rounding those after it has left, by
    the nearest plane algorithm (Babai, On Lovasz' lattice reduction and the nearest lattice point
    problem, 1986).

    factor (>= n, >= n) float64, L in its lower triangle; columns (K, n) float64; most: the largest
    size of a whole number; rounded (K, n) int8: q; left (K, n) float64: L^T (w - q).
    """
    left[:] = 0.0
    for i in range(n - 1, -1, -1):
        row = factor[i]
        for c in range(columns.shape[0]):
            errors = left[c]
            whole = np.rint(columns[c, i] + errors[i] / row[i])
            whole = min(max(whole, -np.float64(most)), np.float64(most))
            rounded[c, i] = np.int8(whole)
            error = columns[c, i] - whole
            for k in range(i + 1):
                errors[k] += error * row[k]
