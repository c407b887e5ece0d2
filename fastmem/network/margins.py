"""Margins of second layers."""

from __future__ import annotations

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.kernels.relu import (
    sum_margins,
)
from fastmem.machine.threads import ranges
from fastmem.second_layer.real_sums import (
    RealSums,
    rows_for_sums,
)


class RealMargins:
    """Margins of the neurons of a second layer with real thresholds: see ``sum_margins``.

    Parameters
    ----------
    first : Hyperplanes
    masks : ndarray of shape (m, n_words), uint64
    thresholds : ndarray of shape (m,), float64
    blocks : ndarray of shape (m,), int64
        Rows of the result to which neurons belong.
    is_sparse : bool
        Whether points come as `SparseRows`.
    """

    def __init__(
        self,
        first: Hyperplanes,
        masks: np.ndarray,
        thresholds: np.ndarray,
        blocks: np.ndarray,
        is_sparse: bool,
    ) -> None:
        self._sums = RealSums(first, is_sparse)
        self._masks = self._sums.masks(masks)
        self._thresholds, self._blocks = thresholds.copy(), blocks.astype(np.int64)

    def task_rows(self, points: Points) -> int:
        """Points for which ``of`` should be called at once."""
        return self._sums.task_rows(points, len(self._thresholds))

    def of(
        self, points: Points, start: int, stop: int, tiles: np.ndarray, stop_when_on: bool,
        n_blocks: int,
    ) -> np.ndarray:  # fmt: skip
        """Margins, (n_blocks, stop - start) float64, of the points start..stop-1.

        ``tiles`` are the patterns of these points.
        """
        best = np.empty((n_blocks, stop - start))
        for first, last in ranges(stop - start, self.task_rows(points)):
            here = np.full((n_blocks, last - first), -np.inf)
            rows = rows_for_sums(
                points.block(start + first, start + last), tiles, np.arange(first, last)
            )
            sum_margins(
                self._sums.layer, self._masks, self._thresholds, self._blocks, rows, stop_when_on,
                here,
            )  # fmt: skip
            best[:, first:last] = here
        return best
