"""Ridge regressions on all points, where only some are in the Gram matrix."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.butterflies import LANES
from fastmem.kernels.feature_sums import TASK_TILES, normal_products
from fastmem.kernels.panel_products import PANEL_ROWS
from fastmem.machine.arrays import frozen
from fastmem.machine.loops import run_loop
from fastmem.machine.threads import ranges
from fastmem.readout.waves import FeatureTiles
from fastmem.vote.factor import continued, solved

_PARTS_BYTES = 32 << 20
_MOST_COLUMNS = 16
"""Columns at a time: a thread needs n x 64 bytes for each."""


class NormalEquations:
    """(F^T F + penalty) W = F^T Y over all points, F and Y centred.

    Products are made from the features, in float32 sums of at most 1,024 points each, then in
    float64.

    Attributes
    ----------
    mean : ndarray of shape (n,), float64
        Of the features.
    right : ndarray of shape (n, T), float64
        F^T Y.
    penalty : float
    """

    def __init__(
        self,
        features: FeatureTiles,
        codes: np.ndarray,
        targets: np.ndarray,
        penalty: float,
        n_threads: int,
    ) -> None:
        """Codes (N,) int64 are places in targets (K, T) float64, which are centred."""
        self._features, self._n_threads, self.penalty = features, n_threads, penalty
        self._same = frozen(np.zeros(features.n_rows, np.int64))
        ones = np.ones((len(targets), 1))
        table = np.concatenate([-targets, -ones], axis=1)
        sums, _ = self._products(np.zeros((features.n_waves, table.shape[1])), codes, table)
        self.mean = sums[:, -1] / features.n_rows
        self.right = np.ascontiguousarray(sums[:, :-1])

    def product(self, coefficients: np.ndarray) -> np.ndarray:
        """The matrix times coefficients (n, T) float64."""
        shift = np.array([[(self.mean * column).sum() for column in coefficients.T]])
        total, ones = self._products(coefficients, self._same, shift)
        total -= self.mean[:, None] * ones
        return total + self.penalty * coefficients

    def _products(
        self, coefficients: np.ndarray, codes: np.ndarray, table: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """F^T (F w - Y), (n, T), and sums of F w - Y, (T,), some columns at a time."""
        sums = np.empty_like(coefficients)
        ones = np.empty(coefficients.shape[1])
        for first, last in ranges(coefficients.shape[1], _MOST_COLUMNS):
            some = slice(first, last)
            sums[:, some], ones[some] = self._columns(coefficients[:, some], codes, table[:, some])
        return sums, ones

    def _columns(
        self, coefficients: np.ndarray, codes: np.ndarray, table: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        features = self._features
        largest = float(max(np.abs(coefficients).max(), np.abs(table).max())) or 1.0
        weights = np.ascontiguousarray(coefficients / largest, np.float32)
        targets = np.ascontiguousarray(table / largest, np.float32)
        n, n_columns = weights.shape
        total, ones = np.zeros((n, n_columns)), np.zeros(n_columns)
        tasks_at_once = max(1, min(_PARTS_BYTES // (8 * n * n_columns), 64))
        for first, last in ranges(features.n_tiles, TASK_TILES * tasks_at_once):
            tiles = features.tiles(first, last)
            n_tasks = -(-(last - first) // TASK_TILES)
            sums, totals = np.empty((n_tasks, n, n_columns)), np.empty((n_tasks, n_columns))
            here = codes[first * LANES : last * LANES]
            run_loop(
                normal_products, n_tasks, self._n_threads,
                (tiles, here, weights, targets, sums, totals),
            )  # fmt: skip
            for part, more in zip(sums, totals, strict=True):
                total += part
                ones += more
        return largest * total, largest * ones


def refined(
    equations: NormalEquations, factor: np.ndarray, steps: int, n_threads: int
) -> np.ndarray:
    """Solve normal equations by some steps of conjugate gradients, each column by itself.

    Parameters
    ----------
    equations : NormalEquations
    factor : ndarray of shape (>= n, n), float64
        Cholesky factor of a matrix like theirs, for preconditioning.
    steps, n_threads : int

    Returns
    -------
    ndarray of shape (n, T), float64
    """
    right = equations.right
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
    return solved(factor, n, rows[:n_columns])
