"""Ridge regressions on all points, where only some are in the Gram matrix."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.feature_sums import MOST_RESIDUAL
from fastmem.kernels.panel_products import PANEL_ROWS
from fastmem.machine.threads import ranges
from fastmem.readout.costs import MOST_COLUMNS
from fastmem.vote.factor import continued, solved
from fastmem.vote.sums import FeatureSums

_SOME = 64
_HEADROOM = 4.0
"""Times the largest value of so many points is room for those of all; where it is too little, more
is made, which takes the time of another product."""
_MOST_DIGITS = 60


class NormalEquations:
    """(F^T F + penalty) W = F^T Y over all points, F and Y centred.

    Products with F^T F are made from the features: F W, of which each point's values are rounded to
    12 bits, and then sums of whole numbers, which no order of the points changes. Rounding acts as
    noise of the targets would, of less than a hundredth of their spread.

    Parameters
    ----------
    features : FeatureSums
    mean : ndarray of shape (n,), float64
        Of the features.
    penalty : float
    some : ndarray of shape (S, n), float64
        Centred features of some points, by which units for rounding are found.
    """

    def __init__(
        self, features: FeatureSums, mean: np.ndarray, penalty: float, some: np.ndarray
    ) -> None:
        self._features, self._some = features, some[:_SOME]
        self.mean, self.penalty = mean, penalty

    def product(self, coefficients: np.ndarray) -> np.ndarray:
        """The matrix times coefficients (n, T) float64."""
        result = np.empty_like(coefficients)
        for first, last in ranges(coefficients.shape[1], MOST_COLUMNS):
            some = np.ascontiguousarray(coefficients[:, first:last])
            result[:, first:last] = self._columns(some)
        return result

    def _columns(self, coefficients: np.ndarray) -> np.ndarray:
        largest = float(np.abs(coefficients).max(initial=0.0)) or 1.0
        weights = (coefficients / largest).astype(np.float32)
        exact = weights.astype(np.float64)
        shift = np.array([(self.mean * column).sum() for column in exact.T]).astype(np.float32)
        sizes = [float(np.abs((self._some * column).sum(axis=1)).max()) for column in exact.T]
        exponents = _digits(_HEADROOM * np.array(sizes))
        while True:
            scale = np.ldexp(1.0, exponents).astype(np.float32)
            found = self._features.normal(weights, shift, scale)
            beyond = found.largest > MOST_RESIDUAL
            if not beyond.any():
                break
            exponents = np.where(beyond, exponents + _digits(found.largest), exponents)
        total = np.ldexp(found.sums - self.mean[:, None] * found.totals, -exponents)
        return largest * (total + self.penalty * exact)


def _digits(sizes: np.ndarray) -> np.ndarray:
    """The most binary digits that numbers (K,) may be shifted by to be MOST_RESIDUAL at most."""
    digits = np.floor(np.log2(MOST_RESIDUAL / np.maximum(sizes.astype(np.float64), 1e-30)))
    return np.minimum(digits, _MOST_DIGITS).astype(np.int64)


def refined(
    equations: NormalEquations, right: np.ndarray, factor: np.ndarray, steps: int, n_threads: int
) -> np.ndarray:
    """Solve normal equations by some steps of conjugate gradients, each column by itself.

    Parameters
    ----------
    equations : NormalEquations
    right : ndarray of shape (n, T), float64
        F^T Y.
    factor : ndarray of shape (>= n, n), float64
        Cholesky factor of a matrix like theirs, for preconditioning.
    steps, n_threads : int

    Returns
    -------
    ndarray of shape (n, T), float64
    """
    result = np.zeros_like(right)
    rest = right.copy()
    step = direction = _preconditioned(factor, rest, n_threads)
    slope = (rest * step).sum(axis=0)
    for i in range(steps):
        image = equations.product(direction)
        curve = (direction * image).sum(axis=0)
        length = np.where(curve > 0, slope / np.where(curve > 0, curve, 1.0), 0.0)
        result += length * direction
        if i == steps - 1:
            break
        rest -= length * image
        step = _preconditioned(factor, rest, n_threads)
        before, slope = slope, (rest * step).sum(axis=0)
        direction = (
            step + np.where(before > 0, slope / np.where(before > 0, before, 1.0), 0.0) * direction
        )
    return result


def _preconditioned(factor: np.ndarray, right: np.ndarray, n_threads: int) -> np.ndarray:
    n, n_columns = right.shape
    rows = np.zeros((-(-n_columns // PANEL_ROWS) * PANEL_ROWS, n))
    rows[:n_columns] = right.T
    continued(factor, rows, n, n_threads)
    return solved(factor, n, rows[:n_columns], n_threads)
