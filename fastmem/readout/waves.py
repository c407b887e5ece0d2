"""Cosine features of checked points: in blocks of rows, by the kernels that make them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmem.inputs import Points, SparseRows, block_rows
from fastmem.kernels.butterflies import LANES
from fastmem.kernels.cosines import RowsToDo, Waves, feature_tiles, sign_flips
from fastmem.machine.arrays import frozen
from fastmem.machine.loops import run_loop
from fastmem.machine.threads import ranges
from fastmem.readout.costs import BLOCK_VALUES

ROUNDS = 3
_TASK_SUMS = 4_000_000
"""Sums of features that a task makes at least, where there are so many."""
_NO_ROWS = frozen(np.empty(0, np.int64))


def waves_of(key: int, exponent: int, offsets: np.ndarray, n: int, multiplier: int = 1) -> Waves:
    """What `kernels.cosines` needs to make n features; offsets (d,) float64."""
    size = block_rows(len(offsets))
    flips = np.empty((-(-n // size), ROUNDS, size), np.uint32)
    sign_flips(np.uint64(key), flips)
    step = float(np.ldexp(1.0, exponent))
    return Waves(frozen(flips), frozen(offsets), step, multiplier, n)


def run_over(
    worker: Any,
    points: np.ndarray,
    waves: Waves,
    others: tuple[Any, ...],
    n_threads: int,
    n_columns: int = 0,
) -> None:
    """Call worker(queue, stop, todo, waves, *others) with all of ``points`` (m, d) as its tasks.

    n_columns : what each feature is multiplied with there.
    """
    # a sum of a transform takes the time of some 16 products
    sums = _TASK_SUMS // (1 + n_columns // 16)
    rows = max(1, sums // (LANES * max(waves.n, waves.flips.shape[2]))) * LANES
    tasks = np.array(ranges(len(points), rows), np.int64).reshape(-1, 2)
    run_loop(worker, len(tasks), n_threads, (RowsToDo(points, _NO_ROWS, tasks), waves, *others))


def rows_at_once(points: Points) -> int:
    """Rows of points that are made dense at a time: whatever they are stored in, the same."""
    return max(LANES, BLOCK_VALUES // points.n_features // LANES * LANES)


def dense_block(points: Points, start: int, stop: int) -> np.ndarray:
    """Rows ``start`` to ``stop`` (exclusive) of points as an ndarray, `rows_at_once` at most."""
    block = points.block(start, stop)
    return block.dense() if isinstance(block, SparseRows) else block


class FeatureTiles:
    """Cosine features of some rows of points, LANES points a tile; kept where they take few bytes.

    ``rows`` None are all, in their order.

    Attributes
    ----------
    n_rows, n_tiles, n_waves : int
    """

    def __init__(
        self, points: Points, rows: np.ndarray | None, waves: Waves, n_threads: int,
        most_bytes: int,
    ) -> None:  # fmt: skip
        self._points, self._rows, self._waves, self._n_threads = points, rows, waves, n_threads
        self.n_rows = points.n_samples if rows is None else len(rows)
        self.n_tiles, self.n_waves = -(-self.n_rows // LANES), waves.n
        self._n_kept = min(self.n_tiles, most_bytes // (LANES * waves.n))
        self._kept: np.ndarray | None = None

    def tiles(self, first: int, last: int) -> np.ndarray:
        """The tiles first..last-1, (last - first, n, LANES) int8."""
        if self._kept is None and self._n_kept:
            self._kept = self._made(0, self._n_kept)
        if self._kept is not None and last <= self._n_kept:
            return self._kept[first:last]
        return self._made(first, last)

    def _made(self, first: int, last: int) -> np.ndarray:
        made = np.empty((last - first, self._waves.n, LANES), np.int8)
        block_tiles = max(1, rows_at_once(self._points) // LANES)
        for start, stop in ranges(last - first, block_tiles):
            some = slice((first + start) * LANES, min((first + stop) * LANES, self.n_rows))
            if self._rows is None:
                block = dense_block(self._points, some.start, some.stop)
            else:
                block = self._points.dense(self._rows[some])
            run_over(feature_tiles, block, self._waves, (made[start:stop],), self._n_threads)
        return made

    def rows(self, chosen: np.ndarray) -> np.ndarray:
        """Features of some of the rows, by their places among them; (len(chosen), n) int8."""
        found = np.empty((len(chosen), self.n_waves), np.int8)
        for tile in np.unique(chosen // LANES):
            here = np.flatnonzero(chosen // LANES == tile)
            found[here] = self.tiles(tile, tile + 1)[0][:, chosen[here] % LANES].T
        return found
