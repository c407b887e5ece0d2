"""Distances from points to centres, and which balls hold which points.

Points are ``PointTiles``, TILE to a tile, and ``Balls`` are what is asked of them. A distance is
summed over the features in their order, in float64, for the columns of a tile side by side: the
same number whatever the task, the thread or the columns beside it. All of them are scaled:
``scale`` is a power of two that brings distances near 1, so that squares neither overflow nor, but
for gaps below 2^-400, vanish; those are measured again.

Every kernel walks over tiles and asks of a tile and a centre ``_is_far``, by the tile's box, and
else ``_measure_near``, for distances; what differs is what is done with them. Kernels over ranges
of points or of balls may run side by side: they write what is their range's, or an array of their
own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastmem.kernels.compiling import njit
from fastmem.kernels.queue import take

TILE = 64
"""Points a tile, fewer than in one of patterns: their sums are 512 bytes, and stay in the cache."""
MARKS = 16
"""Principal components of 20,000 digits784 leave 1 distance in 20,000 to be measured for a ball of
median radius, 1 in 1,300 for 2.5 times that radius."""
SLACK = np.float32(2.0**-16)
_TINY = 2.0**-400
_ABOVE = 2.0**500
_FEW = 6
"""Where more columns of a tile may be near, all are measured at once."""


class PointTiles(NamedTuple):
    """Points; point i is in column i % TILE of tile i // TILE.

    tiles (n_tiles, d, TILE) float32 or float64: the points by feature. marks (n_tiles, p, TILE)
    float32: at most MARKS scaled coordinates (the points' own, or their principal components) in
    which no two points are farther apart than they are, but for rounding, which is below SLACK.
    They only say which distances need not be measured. boxes (n_tiles, 2, p) float32: the least and
    the largest of each mark in the tile.
    """

    tiles: np.ndarray
    marks: np.ndarray
    boxes: np.ndarray


class Balls(NamedTuple):
    """Ball c holds the points whose scaled distance to its centre is at most limits[c].

    centres (M, d) float64, marks (M, p) float32, limits (M,) float64; of limit infinity it holds
    all points.
    """

    centres: np.ndarray
    marks: np.ndarray
    limits: np.ndarray


class BallTasks(NamedTuple):
    """Tasks of a loop over all points and balls: each takes ``size`` points, or balls.

    The points are the first n of ``points``; size is a multiple of TILE where it is one of points;
    distances are scaled by ``scale``.
    """

    points: PointTiles
    n: int
    balls: Balls
    scale: float
    size: int


class _Room(NamedTuple):
    """Room to work in: bounds (TILE,) float32 and distances (TILE,) float64 of a tile's columns."""

    bounds: np.ndarray
    distances: np.ndarray


# Filling ------------------------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def fill_tiles(points, tiles, first):
    """Copy the rows of ``points`` (rows, d) to the columns ``first``, ... of ``tiles``."""
    for i in range(points.shape[0]):
        tile = (first + i) // TILE
        column = first + i - tile * TILE
        for k in range(points.shape[1]):
            tiles[tile, k, column] = points[i, k]


@njit(nogil=True, cache=True)
def fill_boxes(marks, first, last, boxes):
    """Fill the boxes of the tiles that hold the points first..last-1; first divides by TILE."""
    for start in range(first, last, TILE):
        tile = start // TILE
        for k in range(marks.shape[1]):
            low = marks[tile, k, 0]
            high = low
            for i in range(1, min(TILE, last - start)):
                low = min(low, marks[tile, k, i])
                high = max(high, marks[tile, k, i])
            boxes[tile, 0, k] = low
            boxes[tile, 1, k] = high


# Balls over a range of points ---------------------------------------------------------------------


@njit(nogil=True, cache=True)
def nearest_balls(queue, stop, tasks, homes, gaps):
    """homes[i] = the nearest centre whose ball holds point i, gaps[i] its distance.

    A worker over `BallTasks`. Only open points (homes[i] < 0) are looked at; ties go to the first
    centre; homes int64, gaps float64.
    """
    balls = tasks.balls
    room = _new_room()
    was_open = np.empty(TILE, np.bool_)
    while True:
        task = take(queue)
        if task >= stop:
            return
        first, last = _points_of(tasks, task)
        for start in range(first, last, TILE):
            t = start // TILE
            columns = min(TILE, last - start)
            some = False
            for i in range(columns):
                was_open[i] = homes[start + i] < 0
                some |= was_open[i]
                if was_open[i]:
                    gaps[start + i] = np.inf
            if not some:
                continue
            for c in range(balls.limits.shape[0]):
                limit = balls.limits[c]
                if _holds_none(tasks, t, columns, c, room):
                    continue
                for i in range(columns):
                    distance = room.distances[i]
                    if was_open[i] and distance <= limit and distance < gaps[start + i]:
                        gaps[start + i] = distance
                        homes[start + i] = c


@njit(nogil=True, cache=True)
def count_balls(queue, stop, tasks, step, counts):
    """counts[i] += step for every ball that holds point i: a worker over `BallTasks`; int32."""
    room = _new_room()
    while True:
        task = take(queue)
        if task >= stop:
            return
        first, last = _points_of(tasks, task)
        for start in range(first, last, TILE):
            columns = min(TILE, last - start)
            for c in range(tasks.balls.limits.shape[0]):
                if _holds_none(tasks, start // TILE, columns, c, room):
                    continue
                for i in range(columns):
                    if room.distances[i] <= tasks.balls.limits[c]:
                        counts[start + i] += step


@njit(nogil=True, cache=True)
def least_counts(queue, stop, tasks, counts, least):
    """Lower least[task, c] to the smallest of ``counts`` over the points in ball c.

    A worker over `BallTasks`; counts (n,) and least (T, M) int32.
    """
    room = _new_room()
    while True:
        task = take(queue)
        if task >= stop:
            return
        first, last = _points_of(tasks, task)
        for start in range(first, last, TILE):
            columns = min(TILE, last - start)
            for c in range(tasks.balls.limits.shape[0]):
                if _holds_none(tasks, start // TILE, columns, c, room):
                    continue
                for i in range(columns):
                    if room.distances[i] <= tasks.balls.limits[c]:
                        least[task, c] = min(least[task, c], counts[start + i])


@njit(nogil=True, cache=True)
def widest(queue, stop, tasks, vectors, rows, widths):
    """Raise widths[r, c, k] to the largest scaled |<g_k, x - c>| over the points x in ball c.

    A worker over `BallTasks`, with a row r of its own, which it takes off the queue ``rows``.
    vectors (d, K) hold g_k, widths (R, M, K), both float64, for R workers. Each product is summed
    over the features in their order, of differences: no digits cancel, however small a ball.
    """
    balls, scale = tasks.balls, tasks.scale
    own = widths[take(rows) % widths.shape[0]]
    room = _new_room()
    products = np.empty(vectors.shape[1], np.float64)
    while True:
        task = take(queue)
        if task >= stop:
            return
        first, last = _points_of(tasks, task)
        for start in range(first, last, TILE):
            columns = min(TILE, last - start)
            tile = tasks.points.tiles[start // TILE]
            for c in range(balls.limits.shape[0]):
                if _holds_none(tasks, start // TILE, columns, c, room):
                    continue
                for i in range(columns):
                    if room.distances[i] > balls.limits[c]:
                        continue
                    products[:] = 0.0
                    for j in range(tile.shape[0]):
                        step = (np.float64(tile[j, i]) - balls.centres[c, j]) * scale
                        row = vectors[j]
                        for k in range(row.shape[0]):
                            products[k] += step * row[k]
                    for k in range(products.shape[0]):
                        own[c, k] = max(own[c, k], abs(products[k]))


# Centres over all points --------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def least_distances(queue, stop, tasks, gaps):
    """gaps[c] = scaled distance of centre c to the nearest of the points in its ball.

    A worker over `BallTasks`, whose size is one of balls; limits[c] where no point is in it; gaps
    (M,) float64.
    """
    points, balls = tasks.points, tasks.balls
    room = _new_room()
    while True:
        task = take(queue)
        if task >= stop:
            return
        for c in range(task * tasks.size, min((task + 1) * tasks.size, balls.limits.shape[0])):
            least = balls.limits[c]
            for start in range(0, tasks.n, TILE):
                t = start // TILE
                columns = min(TILE, tasks.n - start)
                if _is_far(points, t, balls, c, least):
                    continue
                if _measure_near(points, t, columns, balls, c, least, tasks.scale, room):
                    for i in range(columns):
                        least = min(least, room.distances[i])
            gaps[c] = least


@njit(nogil=True, cache=True)
def lower_gaps(points, n, ball, scale, gaps):
    """gaps[i] = min(gaps[i], scaled distance of point i < n to the centre); gaps float64.

    ``ball`` is one, whose limit does not matter. Returns how many are lower now.
    """
    lower = 0
    room = _new_room()
    for start in range(0, n, TILE):
        t = start // TILE
        columns = min(TILE, n - start)
        reach = 0.0
        for i in range(columns):
            reach = max(reach, gaps[start + i])
        if _is_far(points, t, ball, 0, reach):
            continue
        if _measure_near(points, t, columns, ball, 0, reach, scale, room):
            for i in range(columns):
                lower += room.distances[i] < gaps[start + i]
                gaps[start + i] = min(gaps[start + i], room.distances[i])
    return lower


@njit(nogil=True, cache=True)
def nearest_open(points, n, ball, scale, homes, ranks):
    """Index of the open point (homes[i] < 0) nearest to the centre, or -1 if the ball holds none.

    ``ball`` is one; homes, ranks (n,) int64; ties go to the lowest rank.
    """
    room = _new_room()
    found = -1
    least = ball.limits[0]
    for start in range(0, n, TILE):
        t = start // TILE
        columns = min(TILE, n - start)
        if _is_far(points, t, ball, 0, least) or not _any_open(homes, start, columns):
            continue
        if _measure_near(points, t, columns, ball, 0, least, scale, room):
            for i in range(columns):
                if homes[start + i] >= 0:
                    continue
                distance = room.distances[i]
                is_tie = distance == least and found >= 0
                if distance < least or (is_tie and ranks[start + i] < ranks[found]):
                    least = distance
                    found = start + i
    return found


@njit(nogil=True, cache=True)
def collect_open(points, n, ball, scale, homes, which, gaps):
    """List the open points (homes[i] < 0) in the ball: indices and distances; returns how many.

    ``ball`` is one; homes, which (n,) int64, gaps (n,) float64.
    """
    room = _new_room()
    reach = ball.limits[0]
    count = 0
    for start in range(0, n, TILE):
        t = start // TILE
        columns = min(TILE, n - start)
        if _is_far(points, t, ball, 0, reach) or not _any_open(homes, start, columns):
            continue
        if _measure_near(points, t, columns, ball, 0, reach, scale, room):
            for i in range(columns):
                if homes[start + i] < 0 and room.distances[i] <= reach:
                    which[count] = start + i
                    gaps[count] = room.distances[i]
                    count += 1
    return count


@njit(nogil=True, cache=True)
def pair_counts(points, centres, limits, scale, counts):
    """counts[c] = rows of ``points`` (rows, d) in ball c; counts (M,) int64.

    centres (M, d), limits (M,) float64: without marks or tiles, for a few points.
    """
    for c in range(centres.shape[0]):
        total = 0
        limit = limits[c] * limits[c]
        for i in range(points.shape[0]):
            square = 0.0
            for k in range(points.shape[1]):
                step = (np.float64(points[i, k]) - centres[c, k]) * scale
                square += step * step
            total += square <= limit
        counts[c] = total


# One tile and one centre --------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def _new_room():
    return _Room(np.empty(TILE, np.float32), np.empty(TILE, np.float64))


@njit(nogil=True, cache=True)
def _points_of(tasks, task):
    """The points first..last-1 of a task."""
    return task * tasks.size, min((task + 1) * tasks.size, tasks.n)


@njit(nogil=True, cache=True)
def _holds_none(tasks, t, columns, c, room):
    """Whether ball c holds none of the first columns of tile t; else their distances are measured.

    They are right where they are at most the ball's limit, else above it.
    """
    limit = tasks.balls.limits[c]
    if _is_far(tasks.points, t, tasks.balls, c, limit):
        return True
    return not _measure_near(tasks.points, t, columns, tasks.balls, c, limit, tasks.scale, room)


@njit(nogil=True, cache=True)
def _is_far(points, t, balls, c, reach):
    """Whether no point of tile t is within ``reach`` of centre c, by the tile's box.

    Most tiles are: element by element it costs a few additions, and no view of an array.
    """
    total = np.float32(0.0)
    for k in range(balls.marks.shape[1]):
        mark = balls.marks[c, k]
        below = points.boxes[t, 0, k] - mark
        above = mark - points.boxes[t, 1, k]
        step = max(np.float32(0.0), max(below, above))
        total += step * step
    return math.sqrt(total) > reach + SLACK


@njit(nogil=True, cache=True)
def _measure_near(points, t, columns, balls, c, reach, scale, room):
    """Measure the first columns of tile t from centre c.

    ``room.distances`` are right where they are at most ``reach``, else above it. Returns False
    where no point is that near: they are then not filled.
    """
    tile, marks = points.tiles[t], points.marks[t]
    centre, mark = balls.centres[c], balls.marks[c]
    out = room.distances
    if tile.shape[0] <= 2 * marks.shape[0]:
        _measure(tile, columns, centre, scale, out)
        return True
    bounds = room.bounds
    _lower_bounds(marks, mark, bounds)
    near = 0
    for i in range(columns):
        near += bounds[i] <= reach
    if near == 0:
        return False
    if near > _FEW:
        _measure(tile, columns, centre, scale, out)
        return True
    for i in range(columns):
        if bounds[i] <= reach:
            out[i] = _measure_column(tile, i, centre, scale)
        else:
            out[i] = np.inf
    return True


@njit(nogil=True, cache=True)
def _measure_column(tile, column, centre, scale):
    """Scaled distance of one column of ``tile`` (d, TILE) to ``centre`` (d,)."""
    total = 0.0
    for k in range(tile.shape[0]):
        step = (np.float64(tile[k, column]) - centre[k]) * scale
        total += step * step
    distance = math.sqrt(total)
    if distance < _TINY:
        total = 0.0
        for k in range(tile.shape[0]):
            step = (np.float64(tile[k, column]) - centre[k]) * scale * _ABOVE
            total += step * step
        distance = math.sqrt(total) / _ABOVE
    return distance


@njit(nogil=True, cache=True)
def _measure(tile, columns, centre, scale, out):
    """out[i] = scale |x_i - centre| for the first columns of ``tile`` (d, TILE); centre (d,)."""
    for i in range(TILE):
        out[i] = 0.0
    for k in range(tile.shape[0]):
        value = centre[k]
        row = tile[k]
        for i in range(TILE):
            step = (np.float64(row[i]) - value) * scale
            out[i] += step * step
    for i in range(TILE):
        out[i] = math.sqrt(out[i])
    for i in range(columns):
        if out[i] < _TINY:
            out[i] = _measure_column(tile, i, centre, scale)


@njit(nogil=True, cache=True)
def _lower_bounds(marks, mark, out):
    """out[i] <= distance of column i of ``marks`` (p, TILE) to ``mark``; out (TILE,) float32."""
    for i in range(TILE):
        out[i] = np.float32(0.0)
    for k in range(marks.shape[0]):
        value = mark[k]
        row = marks[k]
        for i in range(TILE):
            step = row[i] - value
            out[i] += step * step
    for i in range(TILE):
        out[i] = math.sqrt(out[i]) - SLACK


@njit(nogil=True, cache=True)
def _any_open(homes, start, columns):
    """Whether one of homes[start : start + columns] is negative."""
    lowest = homes[start]
    for i in range(1, columns):
        lowest = min(lowest, homes[start + i])
    return lowest < 0
