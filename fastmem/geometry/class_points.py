"""The points of one class, the balls that cover them, and what is measured of both on all cores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.geometry.point_sets import Floats, PointSet, Rows, Units
from fastmem.inputs import Points
from fastmem.kernels.distances import (
    TILE,
    Balls,
    BallTasks,
    count_balls,
    fill_boxes,
    fill_tiles,
    least_counts,
    least_distances,
    nearest_balls,
    widest,
)
from fastmem.kernels.queue import new_queue
from fastmem.machine.threads import ranges, run_loop, run_tasks

_TASK_WORK = 1 << 23
"""Differences of coordinates a task: some milliseconds."""
_TASK_CENTRES = 256
_TASK_PRODUCTS = 1 << 27


class ClassPoints(PointSet):
    """The points of one class, near ones in one tile, and the balls that cover them so far.

    What is decided depends on rows of X and on distances only, never on the places of the points
    here, which rounding may change.

    Attributes
    ----------
    rows : ndarray of shape (n,), int64
        Rows of X; a point's place is its index here.
    homes : ndarray of shape (n,), int64
        The ball that each point was given to, or -1: the point is open.
    distances : ndarray of shape (n,), float64
        Scaled distances to the centres of these balls; infinite for open points.
    places : ndarray of shape (M,), int64
        Which points are the balls' centres.
    gaps, limits : ndarray of shape (M,), float64
        Scaled distances of the centres to the other class's centres, and the balls' radii.
    centres : PointSet
        The M centres.
    """

    def __init__(self, points: Points, rows: Rows, units: Units, n_threads: int) -> None:
        n, d = len(rows), points.n_features
        super().__init__(n, d, points.dtype)
        self.units, self.n_features, self.n_threads = units, d, n_threads
        self.task_points = max(1, _TASK_WORK // (TILE * d)) * TILE
        self._fill(points, rows)
        self.homes = np.full(n, -1, np.int64)
        self.distances = np.full(n, np.inf)
        self.drop_centres()

    def _fill(self, points: Points, rows: Rows) -> None:
        """Copy the points in the order of their places."""
        size = max(1, min(self.task_points, points.max_block_rows))
        marks = np.empty((self.n, self.marks.shape[1]), np.float32)

        def mark(task: tuple[int, int]) -> None:
            marks[slice(*task)] = self.units.marks(points.dense(rows[slice(*task)]))

        run_tasks(mark, ranges(self.n, size), self.n_threads)
        order = _by_place(marks)
        self.rows = rows[order]

        def fill(task: tuple[int, int]) -> None:
            first, last = task
            fill_tiles(points.dense(self.rows[first:last]), self.tiles, first)
            fill_tiles(marks[order[first:last]], self.marks, first)
            fill_boxes(self.marks, first, last, self.boxes)

        run_tasks(fill, ranges(self.n, max(TILE, size // TILE * TILE)), self.n_threads)

    # Balls ------------------------------------------------------------------------------------

    def drop_centres(self) -> None:
        """Start without balls."""
        self.centres = PointSet(0, self.n_features, np.float64)
        self.places = np.empty(0, np.int64)
        self.gaps = np.empty(0)
        self.limits = np.empty(0)

    def append_centre(self, place: int, gap: float, limit: float) -> None:
        """Make a point a centre."""
        where = np.array([place])
        self.centres.append(self.coordinates(where)[0], self.marks_of(where)[0])
        self.places = np.append(self.places, place)
        self.gaps, self.limits = np.append(self.gaps, gap), np.append(self.limits, limit)

    def keep_centres(self, which: Rows) -> None:
        """Keep some of the balls; points must be settled anew."""
        places, gaps, limits = self.places[which], self.gaps[which], self.limits[which]
        self.drop_centres()
        for place, gap, limit in zip(places, gaps, limits, strict=True):
            self.append_centre(int(place), gap, limit)

    def balls(self, which: Rows | slice = slice(None)) -> Balls:
        """Some of the balls, or all."""
        return self.balls_around(self.places[which], self.limits[which])

    def balls_around(self, places: Rows, limits: Floats | float = np.inf) -> Balls:
        """Balls around any points; without limits each of them holds all points."""
        limits = np.broadcast_to(limits, places.shape)
        return Balls(
            self.coordinates(places), self.marks_of(places), np.ascontiguousarray(limits, float)
        )

    # Measured on all cores --------------------------------------------------------------------

    def gaps_to(self, centres: PointSet, places: Rows) -> Floats:
        """Distances from points of this class to the nearest of the other class's centres."""
        balls = self.balls_around(places)
        tasks = BallTasks(centres.point_tiles, centres.n, balls, self.units.scale, _TASK_CENTRES)
        gaps = np.empty(len(places))
        run_loop(least_distances, -(-len(places) // tasks.size), self.n_threads, (tasks, gaps))
        return gaps

    def settle(self) -> None:
        """Give open points to the nearest centre whose ball holds them, or to none."""
        self._run(nearest_balls, self._tasks(self.balls()), self.homes, self.distances)

    def add_counts(self, which: Rows, step: int, counts: NDArray[np.int32]) -> None:
        """counts[i] += step for each of some balls that holds point i; counts (n,)."""
        self._run(count_balls, self._tasks(self.balls(which)), np.int32(step), counts)

    def lowest_counts(self, which: Rows, counts: NDArray[np.int32]) -> NDArray[np.int32]:
        """The smallest of ``counts`` in each of some balls; (m,), 2^31 - 1 where one is empty."""
        tasks = self._tasks(self.balls(which))
        least = np.full((-(-self.n // tasks.size), len(which)), 2**31 - 1, np.int32)
        self._run(least_counts, tasks, counts, least)
        lowest: NDArray[np.int32] = least.min(axis=0)
        return lowest

    def widths(self, radii: Floats, vectors: Floats) -> Floats:
        """Largest |<g, x - c>| over the points x in each ball, of radii (M,), for each vector g.

        vectors (d, K); widths (M, K).
        """
        tasks = self._tasks(self.balls_around(self.places, radii))
        size = max(TILE, min(self.task_points, _TASK_PRODUCTS // (TILE * vectors.size) * TILE))
        # a row a worker, not a task: there may be thousands of tasks, and a row takes megabytes
        n_rows = min(self.n_threads, -(-self.n // size))
        largest = np.zeros((n_rows, len(self.places), vectors.shape[1]))
        self._run(widest, tasks._replace(size=size), vectors, new_queue(), largest)
        widths: Floats = largest.max(axis=0)
        return widths

    def _tasks(self, balls: Balls) -> BallTasks:
        """Ranges of points that meet balls."""
        size = min(self.task_points, 8 * self.task_points // max(1, len(balls.limits)))
        size = max(TILE, size // TILE * TILE)
        return BallTasks(self.point_tiles, self.n, balls, self.units.scale, size)

    def _run(self, worker: Any, tasks: BallTasks, *arguments: Any) -> None:
        run_loop(worker, -(-self.n // tasks.size), self.n_threads, (tasks, *arguments))


def _by_place(marks: NDArray[Any]) -> Rows:
    """Order in which each tile's points are near one another: halves along the widest mark.

    marks (n, p) float32.
    """
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
