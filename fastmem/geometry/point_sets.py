"""Sets of points as the distance kernels take them, and the balls that hold them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.hyperplanes.extent import extent_of
from fastmem.inputs import (
    Points,
)
from fastmem.kernels.distances import (
    MARKS,
    TILE,
    fill_boxes,
    fill_tiles,
)
from fastmem.machine.threads import ranges, run_tasks

_TASK_WORK = 1 << 23
"""Differences of coordinates a task: some milliseconds."""
_SPREAD = 256
_ROUND = 2.0**-53
Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


class _Set:
    """Points in the three arrays that ``kernels.distances`` takes; see there."""

    def __init__(self, n: int, n_features: int, n_marks: int, dtype: Any) -> None:
        n_tiles = max(1, -(-n // TILE))
        self.n = n
        self.tiles = np.zeros((n_tiles, n_features, TILE), dtype)
        self.marks = np.zeros((n_tiles, n_marks, TILE), np.float32)
        self.boxes = np.zeros((n_tiles, 2, n_marks), np.float32)

    @property
    def arrays(self) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
        """What kernels take."""
        return self.tiles, self.marks, self.boxes

    def append(self, point: Floats, mark: NDArray[np.float32]) -> None:
        """Add one point; room is doubled where it is full."""
        if self.n == len(self.tiles) * TILE:
            for name in ("tiles", "marks", "boxes"):
                array = getattr(self, name)
                setattr(self, name, np.concatenate([array, np.zeros_like(array)]))
        tile, column = divmod(self.n, TILE)
        self.tiles[tile, :, column] = point
        self.marks[tile, :, column] = mark
        low = mark if column == 0 else np.minimum(self.boxes[tile, 0], mark)
        high = mark if column == 0 else np.maximum(self.boxes[tile, 1], mark)
        self.boxes[tile, 0], self.boxes[tile, 1] = low, high
        self.n += 1


class Units:
    """The mean, a scale near 1 / R, and the directions of the marks."""

    def __init__(self, points: Points, n_threads: int) -> None:
        extent = extent_of(points, n_threads)
        self.mean = extent.mean
        self.scale = 2.0 ** -max(math.frexp(extent.radius)[1], -1000)
        self.radius = extent.radius * self.scale
        # what a computed distance may be off, as a share of it
        self.slack = (points.n_features + 8) * _ROUND
        self.directions: Floats | None = None
        if points.n_features > MARKS:
            rows = np.linspace(0, points.n_samples - 1, min(_SPREAD, points.n_samples))
            some = self.moved(points.dense(rows.astype(np.int64)))
            # of the small matrix: LAPACK takes seconds for the large one where cores are busy
            squares, vectors = np.linalg.eigh(some @ some.T)
            kept = squares > 1e-6 * squares[-1]
            vectors = vectors[:, kept][:, -MARKS:] / np.sqrt(squares[kept][-MARKS:])
            self.directions = np.zeros((points.n_features, MARKS))
            # orthonormal but for rounding, so made shorter by more than that
            self.directions[:, : vectors.shape[1]] = (1 - 1e-6) * (some.T @ vectors)

    def moved(self, some: NDArray[Any]) -> Floats:
        """Scaled points about the mean, float64."""
        moved: Floats = (some.astype(np.float64) - self.mean) * self.scale
        return moved

    def marks(self, some: NDArray[Any]) -> NDArray[np.float32]:
        """Marks (rows, p) of points."""
        moved = self.moved(some)
        if self.directions is not None:
            moved = moved @ self.directions
        return moved.astype(np.float32)


class ClassPoints(_Set):
    """The points of one class, near ones in one tile, and the balls that cover them so far.

    ``rows`` are the rows of X; what is decided depends on them and on distances only, never on the
    order of the points here, which rounding may change.
    """

    def __init__(self, points: Points, rows: Rows, frame: Units, n_threads: int) -> None:
        n, d = len(rows), points.n_features
        super().__init__(n, d, min(d, MARKS), points.dtype)
        self.points, self.frame, self.n_threads = points, frame, n_threads
        self.task = max(1, _TASK_WORK // (TILE * d)) * TILE
        size = max(1, min(self.task, points.max_block_rows))
        marks = np.empty((n, min(d, MARKS)), np.float32)

        def mark(task: tuple[int, int]) -> None:
            marks[slice(*task)] = frame.marks(points.dense(rows[slice(*task)]))

        run_tasks(mark, ranges(n, size), n_threads)
        order = _by_place(marks)
        self.rows = rows[order]

        def fill(task: tuple[int, int]) -> None:
            first, last = task
            fill_tiles(points.dense(self.rows[first:last]), self.tiles, first)
            fill_tiles(marks[order[first:last]], self.marks, first)
            fill_boxes(self.marks, first, last, self.boxes)

        run_tasks(fill, ranges(n, max(TILE, size // TILE * TILE)), n_threads)
        self.homes = np.full(n, -1, np.int64)
        self.distances = np.full(n, np.inf)
        self.forget()

    def forget(self) -> None:
        """Start without centres."""
        d, n_marks = self.tiles.shape[1], self.marks.shape[1]
        self.centres = _Set(0, d, n_marks, np.float64)
        self.places = np.empty(0, np.int64)
        self.at = np.empty((0, d))
        self.at_marks = np.empty((0, n_marks), np.float32)
        self.gaps = np.empty(0)  # to the other class's centres
        self.limits = np.empty(0)

    def coordinates(self, places: Rows) -> Floats:
        """Coordinates of points, (m, d) float64."""
        tile, column = np.divmod(places, TILE)
        return self.tiles[tile, :, column].astype(np.float64)

    def marks_of(self, places: Rows) -> NDArray[np.float32]:
        """Marks of points, (m, p)."""
        tile, column = np.divmod(places, TILE)
        return np.ascontiguousarray(self.marks[tile, :, column])

    def append_centre(self, place: int, gap: float, limit: float) -> None:
        """Make a point a centre."""
        where = np.array([place])
        at, mark = self.coordinates(where), self.marks_of(where)
        self.centres.append(at[0], mark[0])
        self.places = np.append(self.places, place)
        self.gaps, self.limits = np.append(self.gaps, gap), np.append(self.limits, limit)

    def keep(self, which: Rows) -> None:
        """Keep some of the centres; points must be settled anew."""
        places, gaps, limits = self.places[which], self.gaps[which], self.limits[which]
        self.forget()
        for place, gap, limit in zip(places, gaps, limits, strict=True):
            self.append_centre(int(place), gap, limit)

    def balls(self, which: Rows | None = None) -> tuple[Floats, NDArray[np.float32], Floats]:
        """Coordinates, marks and limits of the centres."""
        places = self.places if which is None else self.places[which]
        limits = self.limits if which is None else self.limits[which]
        return self.coordinates(places), self.marks_of(places), limits

    def run(self, n_centres: int, work: Callable[[int, int], object]) -> None:
        """Call work(first, last) for ranges of points that meet ``n_centres`` centres."""
        size = max(TILE, min(self.task, 8 * self.task // max(1, n_centres)) // TILE * TILE)
        run_tasks(lambda task: work(*task), ranges(self.n, size), self.n_threads)


def _by_place(marks: NDArray[np.float32]) -> Rows:
    """Order in which each tile's points are near one another: halves along the widest mark."""
    order = np.arange(len(marks))
    todo = [(0, len(marks))]
    while todo:
        first, last = todo.pop()
        if last - first <= TILE:
            continue
        part = order[first:last]
        values = marks[part]
        axis = int(np.argmax(values.max(axis=0) - values.min(axis=0)))
        # whole tiles on the left
        half = -(-(last - first) // (2 * TILE)) * TILE
        order[first:last] = part[np.argpartition(values[:, axis], half - 1)]
        todo += [(first, first + half), (first + half, last)]
    return order
