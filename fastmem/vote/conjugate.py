"""Ridge regressions on all points, where only some are in the Gram matrix."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.butterflies import LANES
from fastmem.kernels.feature_sums import TASK_TILES, normal_products
from fastmem.kernels.panel_products import PANEL_ROWS
from fastmem.machine.loops import run_loop
from fastmem.machine.threads import ranges
from fastmem.readout.costs import MOST_COLUMNS, PART_BYTES
from fastmem.readout.waves import FeatureTiles
from fastmem.vote.factor import continued, solved


class NormalEquations:
    """(F^T F + penalty) W = F^T Y over all points, F and Y centred.

    Products with F^T F are made from the features, in float32 sums of at most 1,024 points each,
    then in float64.

    Attributes
    ----------
    mean : ndarray of shape (n,), float64
        Of the features.
    penalty : float
    """

    def __init__(
        self, features: FeatureTiles, mean: np.ndarray, penalty: float, n_threads: int
    ) -> None:
        self._features, self._n_threads = features, n_threads
        self.mean, self.penalty = mean, penalty

    def product(self, coefficients: np.ndarray) -> np.ndarray:
        """The matrix times coefficients (n, T) float64."""
        result = np.empty_like(coefficients)
        for first, last in ranges(coefficients.shape[1], MOST_COLUMNS):
            some = np.ascontiguousarray(coefficients[:, first:last])
            result[:, first:last] = self._columns(some)
        return result

    def _columns(self, coefficients: np.ndarray) -> np.ndarray:
        features = self._features
        largest = float(np.abs(coefficients).max(initial=0.0)) or 1.0
        weights = (coefficients / largest).astype(np.float32)
        exact = weights.astype(np.float64)
        shift = np.array([(self.mean * column).sum() for column in exact.T]).astype(np.float32)
        n, n_columns = weights.shape
        total = np.zeros((n, n_columns))
        ones = np.zeros(n_columns)
        task_bytes = n * (8 * n_columns + TASK_TILES * LANES)
        tasks_at_once = max(1, min(PART_BYTES // task_bytes, 64))
        for first, last in ranges(features.n_tiles, TASK_TILES * tasks_at_once):
            tiles = features.tiles(first, last)
            n_tasks = -(-(last - first) // TASK_TILES)
            sums, totals = np.empty((n_tasks, n, n_columns)), np.empty((n_tasks, n_columns))
            n_rows = min(features.n_rows - first * tiles.shape[2], (last - first) * tiles.shape[2])
            run_loop(
                normal_products, n_tasks, self._n_threads,
                (tiles, n_rows, weights, shift, sums, totals),
            )  # fmt: skip
            for part, more in zip(sums, totals, strict=True):
                total += part
                ones += more
        total -= self.mean[:, None] * ones
        return largest * (total + self.penalty * exact)


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
