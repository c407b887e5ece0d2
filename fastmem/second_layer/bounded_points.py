"""Points as bounding tiles: counts, minima and cover with few looks at single points.

The same results as `counting.TiledPoints` gives for them; of several points that share a least
count, and that is not 0, any may be named.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmem.kernels.bounded_cover import (
    cover_bounded,
    first_zeros,
    lower_bounds,
    scan_least,
    scan_minima,
)
from fastmem.kernels.layout import TILE
from fastmem.machine.arrays import aligned_zeros
from fastmem.machine.loops import run_loop
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.words import padded
from fastmem.second_layer.counting import TiledPoints, sizes_of

_TASK_WORDS = 1 << 21
"""Words of masks, times tiles, that a task takes: if all are scanned, some tens of ms."""
_TASKS = 64
_SERIAL_WORDS = 4_000_000
_SERIAL_BOUNDS = 1_000_000
_SERIAL_SCANS = 1_000
"""Fewer words of summaries, bounds or scans of tiles are not worth starting threads for."""
_RANGES = 1024
"""Places that refute a cell at most at once."""
_NEVER = np.int64(2**62)


class BoundedPoints:
    """Points of some tiles, first..last - 1, of a fit whose patterns are bounding tiles.

    Places count from the first of these tiles on.
    """

    def __init__(self, patterns: Patterns, first: int, last: int) -> None:
        assert patterns.bounded is not None
        self._patterns, self._tiles = patterns, patterns.bounded
        self._first, self._last = first, last

    @property
    def n_tiles(self) -> int:
        """How many tiles there are."""
        return self._last - self._first

    def masks_of(self, places: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """See `TiledPoints`."""
        return self._tiles.masks_of(places.astype(np.int64) + TILE * self._first, valid)

    def gathered(self, places: np.ndarray) -> TiledPoints:
        """Copies of the points at ``places``, in that order."""
        n_tiles = max(1, -(-len(places) // TILE))
        copies = aligned_zeros((n_tiles, self._tiles.n_words, TILE), np.uint64)
        self.copy_to(places, copies, 0)
        return TiledPoints(copies, sizes_of(len(places)), self._patterns.store)

    def copy_to(self, places: np.ndarray, tiles: np.ndarray, first: int) -> None:
        """Copy the points at ``places`` to ``first``, ... of other tiles."""
        self._tiles.unpack(places.astype(np.int64) + TILE * self._first, tiles, first)

    def least_over(
        self,
        masks: np.ndarray,
        skip: np.ndarray,
        n_threads: int,
        by_range: bool = False,
        levels: np.ndarray | None = None,
        firsts: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `counting.least_over`; all points of the fit.

        By range, counts below ``levels`` (B,) int64 are told for all ranges; others may be, and the
        least of all is. With ``firsts``, not by range, the first point by class and number is named
        of those that have a count of 0.
        """
        bounded = tuple(self._tiles.bounded)
        n_masks, n_tiles = len(masks), len(self._tiles.bounded.sizes)
        n_groups = len(self._tiles.bounded.all_of)
        stack = padded(masks)
        bounds = np.empty((len(stack), n_tiles), np.int32)
        few = 1 if n_groups * TILE * stack.size < _SERIAL_WORDS else n_threads
        run_loop(lower_bounds, n_groups, few, (bounded, stack, bounds))
        skip = np.ascontiguousarray(skip, np.int64)
        known, where = np.full(n_masks, _NEVER), np.full(n_masks, -1, np.int64)
        looks = bounded, masks, skip, bounds
        few = 1 if bounds.size < _SERIAL_BOUNDS else n_threads
        run_loop(scan_least, n_masks, few, (*looks, known, where))
        size = max(1, min(-(-n_tiles // _TASKS), _TASK_WORDS // stack.size))
        if by_range:
            size = max(1, -(-n_tiles // _RANGES))
        n_tasks = -(-n_tiles // size)
        least = np.full((n_tasks + 1, n_masks), _NEVER)
        nearest = np.full(least.shape, -1, np.int64)
        if levels is None:
            levels = np.zeros(n_masks, np.int64)
        n_scans = np.count_nonzero(bounds[:n_masks] < np.maximum(known, levels)[:, None])
        few = 1 if n_scans < _SERIAL_SCANS else n_threads
        run_loop(scan_minima, n_tasks, few, (*looks, size, levels, known, least, nearest))
        # where it is below its level, it is found again
        least[-1] = np.where(known < levels, _NEVER, known)
        nearest[-1] = np.where(known < levels, -1, where)
        if by_range:
            return least, nearest
        columns = np.arange(n_masks)
        best = least.argmin(axis=0)
        least, nearest = least[best, columns], nearest[best, columns]
        if firsts and not least.all():
            self._name_firsts(looks, least == 0, nearest, n_threads)
        return least, nearest

    def _name_firsts(
        self, looks: tuple[Any, ...], wanted: np.ndarray, nearest: np.ndarray, n_threads: int
    ) -> None:
        """Write to ``nearest`` the first points, by class and number, of count 0."""
        patterns = self._patterns
        assert patterns.numbers is not None
        run_loop(
            first_zeros, len(wanted), n_threads,
            (*looks, wanted, patterns.numbers, patterns.starts, patterns.first_tile, nearest),
        )  # fmt: skip

    def take_covered(
        self, masks: np.ndarray, levels: np.ndarray, uncovered: np.ndarray, n_threads: int
    ) -> np.ndarray:
        """See `TiledPoints`."""
        if self._last == self._first:
            return np.zeros(len(masks), np.int64)
        stack, limits = padded(masks), padded(levels)
        n_tasks = (self._last - 1) // TILE - self._first // TILE + 1
        gained = np.zeros((n_tasks, len(stack)), np.int64)
        if 2 * n_tasks * TILE * stack.size < _SERIAL_WORDS:
            n_threads = 1
        tiles = tuple(self._tiles.bounded), self._first, self._last
        run_loop(cover_bounded, n_tasks, n_threads, (*tiles, stack, limits, uncovered, gained))
        totals: np.ndarray = gained.sum(axis=0)[: len(masks)]
        return totals


def all_points(patterns: Patterns) -> TiledPoints | BoundedPoints:
    """All points of a fit, whichever way their patterns are kept."""
    if patterns.bounded:
        return BoundedPoints(patterns, 0, len(patterns.sizes))
    return TiledPoints(patterns.tiles, patterns.sizes, patterns.store)


def class_points(patterns: Patterns, code: int) -> TiledPoints | BoundedPoints:
    """The points of a class."""
    first, last = (int(tile) for tile in patterns.first_tile[code : code + 2])
    if patterns.bounded:
        return BoundedPoints(patterns, first, last)
    here = slice(first, last)
    return TiledPoints(patterns.tiles[here], patterns.sizes[here], patterns.store)
