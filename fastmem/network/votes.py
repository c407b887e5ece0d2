"""Votes for classes: those of a read-out, and what the neurons that are on add to them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.inputs.points import SparseRows
from fastmem.kernels.gains import add_gains
from fastmem.kernels.layout import TILE
from fastmem.machine.threads import ranges, run_tasks
from fastmem.patterns.of_points import tiles_of_blocks
from fastmem.patterns.words import padded
from fastmem.readout import ReadOut
from fastmem.second_layer.cover_layer import CoverLayer

_SPARSE_VALUES = 1 << 21
"""Values of sparse points that are made dense at a time: 16 MB."""
_TASK_ROWS = 16 * TILE


class Votes:
    """Votes of points for all classes, whole numbers.

    Parameters
    ----------
    first, second
        The layers that memorise exceptions.
    readout : ReadOut
        Whose gains are the second layer's neurons'.
    """

    def __init__(self, first: Hyperplanes, second: CoverLayer, readout: ReadOut) -> None:
        self._first, self._readout, self._n_neurons = first, readout, len(second)
        self._masks = padded(second.masks)
        self._thresholds = padded(second.thresholds.astype(np.int64))
        self._owners = padded(second.owners.astype(np.int64))
        self._gains = padded(readout.gains)

    def stream(
        self, points: Points, n_threads: int, keep: Callable[[int, int, np.ndarray], object]
    ) -> None:
        """Call keep(start, stop, votes), on several threads, for all ranges of points.

        votes (stop - start, max(2, K)) int64.
        """
        if not self._n_neurons:
            size = min(_TASK_ROWS, max(TILE, points.max_block_rows))

            def work(task: tuple[int, int]) -> None:
                keep(*task, self._read(points, *task))

            run_tasks(work, ranges(points.n_samples, size), n_threads)
            return

        def use(start: int, stop: int, tiles: np.ndarray) -> None:
            votes = self._read(points, start, stop)
            add_gains(tiles, self._masks, self._thresholds, self._owners, self._gains, votes)
            keep(start, stop, votes)

        tiles_of_blocks(points, self._first, n_threads, use, _TASK_ROWS)

    def _read(self, points: Points, start: int, stop: int) -> np.ndarray:
        """The read-out's votes alone."""
        if not points.is_sparse:
            return self._readout.votes(points.block(start, stop))
        size = max(1, _SPARSE_VALUES // points.n_features)
        parts = []
        for a, b in ranges(stop - start, size):
            rows = points.block(start + a, start + b)
            assert isinstance(rows, SparseRows)
            parts.append(self._readout.votes(rows.dense()))
        return np.concatenate(parts)
