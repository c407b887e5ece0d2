"""Counts of stacks of masks over a set of points: their minima, and which points they cover.

A set of points is their patterns in tiles, all of a fit or some of a class; nothing else of the
second layer looks inside. Work is cut into tasks for several threads, short enough for Ctrl-C.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmem.kernels.cover import TileTasks, complements, cover, gather, minima
from fastmem.kernels.layout import TILE
from fastmem.machine.arrays import aligned_zeros
from fastmem.machine.loops import run_loop
from fastmem.machine.threads import ranges
from fastmem.patterns.tile_store import TileStore
from fastmem.patterns.words import padded

TASK_WORDS = 400_000_000
"""Popcounts of a task: some tens of milliseconds, the longest that Ctrl-C has to wait."""
SERIAL_SECONDS = 2e-4
"""Less work is not worth starting threads for."""
_SERIAL_WORDS = 4_000_000
_LOOP_WORDS = 1_000_000
"""Popcounts of a task of a loop."""
_TASKS = 16
"""Tasks a thread at most, where each begins with minima of its own: it looks for places anew."""
_NEVER = np.int64(2**62)
_RANGES = 1024
"""Places that refute a cell at most at once: fewer, and cells are sent back more often."""


_NO_FILE = TileStore(0, 0)


class TiledPoints(NamedTuple):
    """Points by their patterns.

    Attributes
    ----------
    tiles : ndarray of shape (n_tiles, n_words, TILE), uint64
    sizes : ndarray of shape (n_tiles,), int64
        How many columns of each tile are points.
    store : TileStore
        To which tiles are released that are its own.
    """

    tiles: np.ndarray
    sizes: np.ndarray
    store: TileStore = _NO_FILE

    @property
    def n_tiles(self) -> int:
        """How many tiles there are."""
        return len(self.sizes)

    def masks_of(self, places: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """1 - Phi of the points at ``places``, (len(places), n_words) uint64.

        valid (n_words,) uint64: the ones of a full mask.
        """
        masks = np.empty((len(places), len(valid)), np.uint64)
        complements(self.tiles, places.astype(np.int64), valid, masks)
        self.store.release(self.tiles)
        return masks

    def gathered(self, places: np.ndarray) -> TiledPoints:
        """Copies of the points at ``places``, ascending int64."""
        n_tiles = max(1, -(-len(places) // TILE))
        copies = aligned_zeros((n_tiles, self.tiles.shape[1], TILE), np.uint64)
        if not self.store.file_bytes:
            gather(self.tiles, places, copies, 0)
        else:
            for start, stop in ranges(len(places), TILE):
                some = places[start:stop]
                gather(self.tiles, some, copies, start)
                self.store.release(self.tiles[some[0] // TILE : some[-1] // TILE + 1])
        return TiledPoints(copies, sizes_of(len(places)), self.store)

    def copy_to(self, places: np.ndarray, tiles: np.ndarray, first: int) -> None:
        """Copy the points at ``places``, int64, to ``first``, ... of other tiles."""
        gather(self.tiles, places, tiles, first)
        self.store.release(self.tiles)

    def take_covered(
        self, masks: np.ndarray, levels: np.ndarray, uncovered: np.ndarray, n_threads: int
    ) -> np.ndarray:
        """See `take_covered`."""
        return take_covered(self, masks, levels, uncovered, n_threads)

    def _run(
        self, worker: Any, masks: np.ndarray, size: int, n_threads: int, arguments: tuple[Any, ...]
    ) -> None:
        """Run a worker of ``kernels.cover`` over tasks of ``size`` tiles."""
        tasks = tuple(TileTasks(self.tiles, self.sizes, masks, size))
        launches: dict[str, Any] = {}
        if self.store.file_bytes:

            def release(first: int, last: int) -> None:
                self.store.release(self.tiles[first * size : last * size])

            launches = {"most": max(1, self.store.tiles_at_once // size), "after": release}
        n_tasks = -(-len(self.sizes) // size)
        run_loop(worker, n_tasks, n_threads, (tasks, *arguments), **launches)


def _task_tiles(masks: np.ndarray) -> int:
    """Tiles that a task takes: some 50 us, so that cores share them evenly."""
    return max(1, _LOOP_WORDS // (masks.size * TILE))


def sizes_of(n_points: int) -> np.ndarray:
    """How many points each tile holds that is filled in order; at least one tile, int64."""
    n_tiles = max(1, -(-n_points // TILE))
    sizes = np.full(n_tiles, TILE, np.int64)
    sizes[-1] = n_points - (n_tiles - 1) * TILE
    return sizes


def least_over(
    points: TiledPoints,
    masks: np.ndarray,
    skip: np.ndarray,
    n_threads: int,
    by_range: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The least count of each mask over the points, and its position, -1 where there is none.

    masks (B, n_words) uint64; skip (B, 2) int64: the tiles skip[b, 0] up to skip[b, 1] - 1 do not
    count for mask b. Returns two int64 arrays of shape (B,). With ``by_range`` of shape (ranges,
    B): one pair for each of up to 1,024 ranges of tiles.

    All tiles are counted. Bounds from pivots, delta(a, x) >= delta(p, x) - delta(p, a), are exact
    but leave nearly all tiles; and picking single points out of tiles costs more than it saves
    against whole tiles at full vector speed.
    """
    tiles, sizes, _ = points
    stack = padded(masks)
    # padding skips every tile
    skipped = np.zeros((len(stack), 2), np.int64)
    skipped[:, 1] = len(sizes)
    skipped[: len(masks)] = skip
    if len(stack) * len(sizes) * TILE * tiles.shape[1] < _SERIAL_WORDS:
        n_threads = 1
    size = max(_task_tiles(stack), -(-len(sizes) // (_TASKS * n_threads)))
    step = -(-len(sizes) // _RANGES) if by_range else size
    size = -(-size // step) * step
    least = np.full((-(-len(sizes) // step), len(stack)), _NEVER)
    nearest = np.full(least.shape, -1, np.int64)
    points._run(minima, stack, size, n_threads, (skipped, step, least, nearest))
    least, nearest = least[:, : len(masks)], nearest[:, : len(masks)]
    if by_range:
        return least, nearest
    columns = np.arange(len(masks))
    best = least.argmin(axis=0)
    return least[best, columns], nearest[best, columns]


def take_covered(
    points: TiledPoints,
    masks: np.ndarray,
    levels: np.ndarray,
    uncovered: np.ndarray,
    n_threads: int,
) -> np.ndarray:
    """Clear ``uncovered`` where a count is below its mask's level; how many each mask is first at.

    masks (B, n_words) uint64, levels (B,) int64, uncovered (n_tiles, TILE) bool; returns int64 of
    shape (B,).
    """
    tiles, sizes, _ = points
    stack, limits = padded(masks), padded(levels)
    if len(stack) * len(sizes) * TILE * tiles.shape[1] < _SERIAL_WORDS:
        n_threads = 1
    size = _task_tiles(stack)
    gained = np.zeros((-(-len(sizes) // size), len(stack)), np.int64)
    points._run(cover, stack, size, n_threads, (limits, uncovered, gained))
    totals: np.ndarray = gained.sum(axis=0) if len(gained) > 1 else gained[0]
    totals = totals[: len(masks)]
    return totals
