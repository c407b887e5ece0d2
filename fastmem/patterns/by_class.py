"""Sign patterns of a labelled data set, sorted by class."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from functools import cached_property

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.kernels.bounds import BoundTree
from fastmem.kernels.columns import copy_columns
from fastmem.kernels.layout import TILE, TILE_ROWS, WORD_BITS
from fastmem.machine.arrays import aligned_zeros
from fastmem.machine.threads import ranges, run_tasks
from fastmem.patterns.bound_tree import bound_tree
from fastmem.patterns.bounded_tiles import BoundedTiles
from fastmem.patterns.of_points import passes, pattern_threads, task_rows
from fastmem.patterns.prepared import Fill, SignLoop
from fastmem.patterns.spatial_order import class_order, split_leaves
from fastmem.patterns.tile_store import TileStore

_TASK_PRODUCTS = 2_000_000
"""Multiply-adds of a task of a loop, or those of a tile."""
_MOST_PRODUCTS = 4_000_000_000
"""Multiply-adds of a task at most: Ctrl-C waits for one or two."""


class Patterns:
    """Sign patterns of a labelled data set, sorted by class; every class starts a new tile.

    Attributes
    ----------
    tiles : ndarray of shape (n_tiles, n_words, TILE), uint64
        Layout as in ``kernels.signs``.
    sizes : ndarray of shape (n_tiles,), int64
        Points in each tile; the columns after them are zero.
    first_tile : ndarray of shape (K + 1,), int64
        Tiles first_tile[c]..first_tile[c+1]-1 hold class c; none where it has no points.
    store : TileStore
        Where the tiles are; ``budget_bytes`` of them may be in memory.
    order, starts : ndarrays of shape (N,) and (K + 1,), int32 and int64
        order[starts[c] + j] is the row, in the user's data, of the j-th point of class c. They
        are by row, or, given the ``leaves`` (N,) int32 of a spatial order, by leaf and row.
        ``points`` (N, d) bring neighbours together within leaves too.
    numbers, places : ndarrays of shape (N,), as order, or None
        In a spatial order the points keep their numbers, which are their ranks by row within the
        class: numbers[starts[c] + j] is that of the j-th point, places the reverse.
    bounded : BoundedTiles or None
        The patterns instead of ``tiles``, if they are to be ``with_bounds``, once they are filled.
    """

    def __init__(
        self,
        codes: np.ndarray,
        n_classes: int,
        n_words: int = 0,
        budget_bytes: int | None = None,
        leaves: np.ndarray | None = None,
        n_threads: int = 1,
        with_bounds: bool = False,
        points: np.ndarray | None = None,
    ) -> None:
        counts = np.zeros(n_classes, np.int64)
        for a, b in ranges(len(codes), 1 << 20):  # all codes at once would be copied as int64
            counts += np.bincount(codes[a:b], minlength=n_classes)
        self.numbers: np.ndarray | None = None
        self.places: np.ndarray | None = None
        self._begin(counts, n_words, budget_bytes)
        self._with_bounds = with_bounds
        if leaves is None:
            self.order = np.argsort(codes, kind="stable").astype(
                np.int32 if len(codes) < 1 << 31 else np.int64
            )
        else:
            order = class_order(codes, n_classes, leaves, n_threads)
            self.order, self.numbers, self.places = order
        if leaves is not None and points is not None:
            keys = codes[order.rows].astype(np.int64) << 32 | leaves[order.rows]
            split_leaves(order, points, keys, self.starts, n_threads)

    def _begin(self, counts: np.ndarray, n_words: int = 0, budget_bytes: int | None = None) -> None:
        """Say where the tiles of each class are, by its number of points, and make room."""
        self.bounded: BoundedTiles | None = None
        self._tree: BoundTree | None = None
        self._with_bounds = False
        self.doubtful = 0
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        n_tiles = -(-counts // TILE)
        self.first_tile = np.concatenate([[0], np.cumsum(n_tiles)]).astype(np.int64)
        self.sizes = np.full(self.first_tile[-1], TILE, np.int64)
        is_there = counts > 0  # a class without points has no tile: the one before is another's
        self.sizes[self.first_tile[1:][is_there] - 1] -= (n_tiles * TILE - counts)[is_there]
        self.store = TileStore(len(self.sizes), n_words, budget_bytes)

    @property
    def tiles(self) -> np.ndarray:
        """The patterns; see the class."""
        return self.store.tiles

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.starts) - 1

    def class_size(self, code: int) -> int:
        """Number of points of a class."""
        return int(self.starts[code + 1] - self.starts[code])

    @property
    def n_words(self) -> int:
        """Words of a pattern."""
        return self.bounded.n_words if self.bounded else int(self.tiles.shape[1])

    @property
    def is_spatial(self) -> bool:
        """Whether points next to each other in their class are neighbours in space."""
        return self.numbers is not None

    @property
    def is_bounded(self) -> bool:
        """Whether the patterns are bounding tiles."""
        return self.bounded is not None

    @property
    def file_bytes(self) -> int:
        """Size of the temporary file that they are in, 0 if there is none."""
        return self.store.file_bytes

    def tree(self, n_threads: int) -> BoundTree:
        """Bounds on groups of points that follow one another; worth it in a spatial order."""
        if self._tree is None:
            tiles = self.tiles
            if self.bounded is not None:
                tiles = aligned_zeros((len(self.sizes), self.n_words, TILE), np.uint64)
                for start, stop, tile in zip(
                    self.starts, self.starts[1:], self.first_tile, strict=False
                ):
                    first = int(tile) * TILE
                    places = np.arange(first, first + int(stop - start))
                    self.bounded.unpack(places, tiles, first)
            begins = TILE * self.first_tile[:-1]
            self._tree = bound_tree(tiles, begins, np.diff(self.starts), n_threads)
        return self._tree

    def rows(self, code: int, numbers: np.ndarray) -> np.ndarray:
        """Rows, in the user's data, of points of a class by their numbers."""
        return self.order[self.starts[code] + self.places_of(code, numbers)]

    def rows_of(self, codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """As `rows`, of points of several classes; codes and numbers (m,) of integers."""
        starts = self.starts[codes]
        places = numbers if self.places is None else self.places[starts + numbers]
        return self.order[starts + places]

    def places_of(self, code: int, numbers: np.ndarray) -> np.ndarray:
        """Where points of a class, by their numbers, are in its order."""
        if self.places is None:
            return numbers
        start, stop = self.starts[code : code + 2]
        places: np.ndarray = self.places[start:stop][numbers]
        return places

    def numbers_in_order(self, code: int) -> np.ndarray:
        """The number of each point of a class, in its order."""
        if self.numbers is None:
            return np.arange(self.class_size(code), dtype=np.int32)
        start, stop = self.starts[code : code + 2]
        return self.numbers[start:stop]

    @cached_property
    def numbers_by_position(self) -> np.ndarray:
        """The number of the point at each position of the tiles, int32; 0 where there is none."""
        numbers = np.zeros(len(self.sizes) * TILE, np.int32)
        for code in range(self.n_classes):
            start = int(self.first_tile[code]) * TILE
            numbers[start : start + self.class_size(code)] = self.numbers_in_order(code)
        return numbers

    def codes_at(self, positions: np.ndarray) -> np.ndarray:
        """Classes of the points at ``positions`` of the tiles, int64."""
        return np.searchsorted(self.first_tile, positions // TILE, side="right") - 1

    def rows_at(self, positions: np.ndarray) -> np.ndarray:
        """Rows, in the user's data, of the points at ``positions`` of the tiles."""
        code = self.codes_at(positions)
        return self.order[self.starts[code] + positions - self.first_tile[code] * TILE]

    def picked(self, hyperplanes: np.ndarray, n_threads: int) -> Patterns:
        """The bits of some hyperplanes, int64, in memory; all else is shared."""
        fewer = copy.copy(self)
        n_words = -(-len(hyperplanes) // WORD_BITS)
        fewer.store, fewer._tree = TileStore(len(self.sizes), n_words, None), None

        def work(task: tuple[int, int]) -> None:
            copy_columns(self.tiles, *task, hyperplanes, fewer.tiles)
            self.store.release(self.tiles[slice(*task)])

        size = max(1, min(self.store.tiles_at_once, 100_000 // len(hyperplanes)))
        run_tasks(work, ranges(len(self.sizes), size), n_threads)
        return fewer

    def fill(
        self,
        points: Points,
        hyperplanes: Hyperplanes,
        n_threads: int,
        first: int = 0,
        progress: Callable[[int, int, int], object] = lambda done, total, neurons: None,
    ) -> None:
        """Compute the bits of the hyperplanes first..n-1, keeping those before.

        ``progress(points done, points in all, 0)`` is called on the calling thread.
        """
        self._tree = None
        if self._with_bounds and points.array is not None:
            self.bounded = None  # all bits are computed anew, and the old ones take no room
            self.bounded = BoundedTiles(self.sizes, hyperplanes.n_words)
            self.bounded.fill(
                points.array, self.order, self.starts, self.first_tile, hyperplanes, n_threads,
                lambda n_done: progress(n_done, len(self.order), 0),
            )  # fmt: skip
            self.doubtful = self.bounded.doubtful
            return
        first_word = first // WORD_BITS
        n_words = hyperplanes.n_words
        if n_words != self.tiles.shape[1]:
            self.store.widen(n_words, first_word)
        n_new = WORD_BITS * (n_words - first_word)
        n_threads = pattern_threads(points, n_new, n_threads)
        before = 0.0
        for one in passes(hyperplanes, points, first_word):
            fill = one.prepare(n_threads)

            def tell(n_done: int, before=before, share=one.share) -> None:
                progress(int(before + share * n_done), len(self.order), 0)

            if isinstance(fill, SignLoop) and points.array is not None:
                self._fill_by_loop(points.array, fill, n_new, n_threads, tell)
            else:
                self._fill_by_blocks(points, fill, n_new, n_threads, tell)
            before += one.share * len(self.order)
        progress(len(self.order), len(self.order), 0)

    def _fill_by_loop(
        self,
        points: np.ndarray,
        fill: SignLoop,
        n_new: int,
        n_threads: int,
        tell: Callable[[int], object],
    ) -> None:
        """Write ``n_new`` bits of each point by launches of a loop, whose tasks are tiles."""
        size = _task_points(n_new * (points.shape[1] + 16))
        tasks = np.concatenate([
            _tile_tasks(int(start), int(stop), int(tile), size)
            for start, stop, tile in zip(
                self.starts, self.starts[1:], self.first_tile, strict=False
            )
        ])  # fmt: skip

        def after(first: int, last: int) -> None:
            end = tasks[last - 1, 2] + size
            self.store.release(self.tiles[tasks[first, 2] // TILE : -(-end // TILE)])
            tell(int(tasks[last - 1, 1]))

        self.doubtful += fill.run(
            points, self.order, tasks, self.tiles, n_threads,
            most=max(1, self.store.tiles_at_once * TILE // size), after=after,
        )  # fmt: skip

    def _fill_by_blocks(
        self,
        points: Points,
        fill: Fill,
        n_new: int,
        n_threads: int,
        tell: Callable[[int], object],
    ) -> None:
        """Write ``n_new`` bits of points that come in blocks, a block a task."""
        tiles = self.tiles
        size = task_rows(points, n_new)
        tasks = [
            (code, start, stop)
            for code in range(self.n_classes)
            for start, stop in ranges(self.class_size(code), size)
        ]
        caller = threading.get_ident()
        lock = threading.Lock()
        done = 0

        def work(task: tuple[int, int, int]) -> None:
            nonlocal done
            code, start, stop = task
            place = int(self.starts[code]) + start
            block = points.take(self.order[place : place + stop - start])
            position = int(self.first_tile[code]) * TILE + start
            doubtful = fill(block, tiles, position)
            self.store.release(tiles[position // TILE : -(-(position + stop - start) // TILE)])
            with lock:
                self.doubtful += doubtful
                done += stop - start
            if threading.get_ident() == caller:
                tell(done)

        run_tasks(work, tasks, n_threads)


def _task_points(products: int) -> int:
    """Points of a task, of so many multiply-adds each: whole tiles, unless one lasts too long."""
    if TILE * products <= _MOST_PRODUCTS:
        return max(1, _TASK_PRODUCTS // (TILE * products)) * TILE
    return max(1, _MOST_PRODUCTS // (TILE_ROWS * products)) * TILE_ROWS


def _tile_tasks(start: int, stop: int, tile: int, size: int) -> np.ndarray:
    """Tasks of `RowTasks`: the points start..stop-1, from ``tile`` on, ``size`` points each."""
    first = np.arange(start, stop, size, dtype=np.int64)
    last = np.minimum(first + size, stop)
    return np.stack([first, last, first - start + tile * TILE], axis=1)
