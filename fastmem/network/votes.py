"""Votes for classes: those of a read-out, and what the neurons that are on add to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.inputs.points import SparseRows
from fastmem.kernels.gains import add_gains
from fastmem.kernels.layout import TILE
from fastmem.machine.threads import ranges, run_tasks
from fastmem.patterns.of_points import tiles_of_blocks
from fastmem.patterns.words import padded
from fastmem.readout import NEVER, ReadOut, probabilities
from fastmem.readout.waves import rows_at_once
from fastmem.second_layer.cover_layer import CoverLayer

_TASK_ROWS = 16 * TILE
_TASK_VOTES = 1 << 20
"""Votes of a task at most: 8 MB, where there are many classes."""


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
        self._n_classes = max(2, readout.weights.shape[1])

    def codes(self, points: Points, n_threads: int) -> np.ndarray:
        """The class with most votes of each point, of equals the first; (N,) intp."""
        codes = np.empty(points.n_samples, np.intp)

        def keep(start: int, stop: int, votes: np.ndarray) -> None:
            codes[start:stop] = votes.argmax(axis=1)

        self._stream(points, n_threads, keep)
        return codes

    def scores(self, points: Points, n_threads: int) -> np.ndarray:
        """All votes, (N, K) float64; -inf for a class that no point has."""
        scores = np.empty((points.n_samples, self._n_classes))

        def keep(start: int, stop: int, votes: np.ndarray) -> None:
            scores[start:stop] = np.where(votes > NEVER // 2, votes, -np.inf)

        self._stream(points, n_threads, keep)
        return scores

    def probabilities(self, points: Points, n_threads: int) -> np.ndarray:
        """Probabilities of all classes, (N, K) float64."""
        shares = np.empty((points.n_samples, self._n_classes))
        temperature = self._readout.temperature

        def keep(start: int, stop: int, votes: np.ndarray) -> None:
            shares[start:stop] = probabilities(votes, temperature)

        self._stream(points, n_threads, keep)
        return shares

    def sure_codes(
        self, points: Points, n_threads: int, least: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `codes`; and which points have a probability below ``least``, or are beyond reach."""
        codes = np.empty(points.n_samples, np.intp)
        unsure = np.empty(points.n_samples, np.bool_)
        temperature = self._readout.temperature

        def keep(start: int, stop: int, votes: np.ndarray) -> None:
            codes[start:stop] = votes.argmax(axis=1)
            unsure[start:stop] = probabilities(votes, temperature).max(axis=1) < least
            parts = [self._readout.is_beyond(rows) for rows in _dense(points, start, stop)]
            unsure[start:stop] |= np.concatenate(parts)

        self._stream(points, n_threads, keep)
        return codes, unsure

    def _stream(
        self, points: Points, n_threads: int, keep: Callable[[int, int, np.ndarray], object]
    ) -> None:
        """Call keep(start, stop, votes), on several threads, for all ranges of points.

        votes (stop - start, max(2, K)) int64.
        """
        rows = max(TILE, min(_TASK_ROWS, _TASK_VOTES // self._n_classes))
        if not self._n_neurons:
            size = min(rows, max(TILE, points.max_block_rows))

            def work(task: tuple[int, int]) -> None:
                keep(*task, self._read(points, *task))

            run_tasks(work, ranges(points.n_samples, size), n_threads)
            return

        def use(start: int, stop: int, tiles: np.ndarray) -> None:
            votes = self._read(points, start, stop)
            add_gains(tiles, self._masks, self._thresholds, self._owners, self._gains, votes)
            keep(start, stop, votes)

        tiles_of_blocks(points, self._first, n_threads, use, rows)

    def _read(self, points: Points, start: int, stop: int) -> np.ndarray:
        """The read-out's votes alone."""
        parts = [self._readout.votes(rows) for rows in _dense(points, start, stop)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _dense(points: Points, start: int, stop: int) -> Iterator[np.ndarray]:
    """The points start..stop-1, sparse ones some at a time."""
    if not points.is_sparse:
        yield points.block(start, stop)
        return
    for a, b in ranges(stop - start, rows_at_once(points)):
        rows = points.block(start + a, start + b)
        assert isinstance(rows, SparseRows)
        yield rows.dense()
