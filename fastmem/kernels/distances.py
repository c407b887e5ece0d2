"""Distances from points to centres, and which balls hold which points.

A set of points is three arrays, point i in column i % TILE of tile i // TILE:

- ``tiles`` (n_tiles, d, TILE) float32 or float64: the points by feature. A distance is summed over
  the features in their order, in float64, for the columns side by side: the same number whatever
  the task, the thread or the columns beside it;
- ``marks`` (n_tiles, p, TILE) float32: at most 16 coordinates (the points' own, or their principal
  components) in which no two points are farther apart than they are, but for rounding, which is
  below ``SLACK``. They only say which distances need not be measured;
- ``boxes`` (n_tiles, 2, p) float32: the least and the largest of each mark in the tile.

``scale`` is a power of two that brings distances near 1, so that squares neither overflow nor, but
for gaps below 2^-400, vanish; those are measured again. Centres are (M, d) float64 and (M, p)
float32. Ball c holds the points whose scaled distance is at most limits[c].
"""

from __future__ import annotations

import math

import numpy as np

from fastmem.kernels.compiling import njit

TILE = 64
"""Points a tile: their sums are 512 bytes, and stay in the first-level cache."""
MARKS = 16
"""Principal components of 20,000 digits784 leave 1 distance in 20,000 to be measured for a ball of
median radius, 1 in 1,300 for 2.5 times that radius."""
SLACK = np.float32(2.0**-16)
_TINY = 2.0**-400
_ABOVE = 2.0**500
_FEW = 6
"""Columns from which on all are measured at once."""


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
def _is_far(box, mark, reach):
    """Whether no point of a box (2, p) is within ``reach`` of ``mark`` (p,)."""
    total = np.float32(0.0)
    for k in range(mark.shape[0]):
        step = max(np.float32(0.0), max(box[0, k] - mark[k], mark[k] - box[1, k]))
        total += step * step
    return math.sqrt(total) > reach + SLACK


@njit(nogil=True, cache=True)
def _bounds(marks, mark, out):
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
def _measure_near(tile, marks, box, columns, centre, mark, reach, scale, bounds, out):
    """Fill ``out`` with distances, right where they are at most ``reach``; else above it.

    Returns False where no column is that near: ``out`` is then not filled. bounds (TILE,) float32
    and out (TILE,) float64 are room to work in.
    """
    if _is_far(box, mark, reach):
        return False
    if tile.shape[0] <= 2 * marks.shape[0]:
        _measure(tile, columns, centre, scale, out)
        return True
    _bounds(marks, mark, bounds)
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
def _any_open(homes, start, columns):
    """Whether one of homes[start : start + columns] is negative."""
    lowest = homes[start]
    for i in range(1, columns):
        lowest = min(lowest, homes[start + i])
    return lowest < 0


@njit(nogil=True, cache=True)
def least_distance(tiles, marks, boxes, last, homes, is_open, ranks, centre, mark, scale, best):
    """The point nearest to ``centre`` among 0..last-1: its distance, if below ``best``, and index.

    With ``is_open`` only points whose homes[i] (int64) is negative count. Ties go to the lowest
    ranks[i] (int64). Returns (best, -1) if there is none.
    """
    bounds = np.empty(TILE, np.float32)
    out = np.empty(TILE, np.float64)
    found = -1
    for start in range(0, last, TILE):
        t = start // TILE
        columns = min(TILE, last - start)
        if _is_far(boxes[t], mark, best) or (is_open and not _any_open(homes, start, columns)):
            continue
        if _measure_near(
            tiles[t], marks[t], boxes[t], columns, centre, mark, best, scale, bounds, out
        ):
            for i in range(columns):
                if is_open and homes[start + i] >= 0:
                    continue
                j = start + i
                if out[i] < best or (out[i] == best and found >= 0 and ranks[j] < ranks[found]):
                    best = out[i]
                    found = j
    return best, found


@njit(nogil=True, cache=True)
def lower_gaps(tiles, marks, boxes, last, centre, mark, scale, gaps):
    """gaps[i] = min(gaps[i], scaled distance of point i < last to ``centre``); gaps float64.

    Returns how many are lower now.
    """
    lower = 0
    bounds = np.empty(TILE, np.float32)
    out = np.empty(TILE, np.float64)
    for start in range(0, last, TILE):
        t = start // TILE
        columns = min(TILE, last - start)
        reach = 0.0
        for i in range(columns):
            reach = max(reach, gaps[start + i])
        if _measure_near(
            tiles[t], marks[t], boxes[t], columns, centre, mark, reach, scale, bounds, out
        ):
            for i in range(columns):
                lower += out[i] < gaps[start + i]
                gaps[start + i] = min(gaps[start + i], out[i])
    return lower


@njit(nogil=True, cache=True)
def collect_open(tiles, marks, boxes, last, homes, centre, mark, reach, scale, which, gaps):
    """List the open points (homes[i] < 0) within ``reach``: indices and distances; how many."""
    bounds = np.empty(TILE, np.float32)
    out = np.empty(TILE, np.float64)
    n = 0
    for start in range(0, last, TILE):
        t = start // TILE
        columns = min(TILE, last - start)
        if _is_far(boxes[t], mark, reach) or not _any_open(homes, start, columns):
            continue
        if _measure_near(
            tiles[t], marks[t], boxes[t], columns, centre, mark, reach, scale, bounds, out
        ):
            for i in range(columns):
                if homes[start + i] < 0 and out[i] <= reach:
                    which[n] = start + i
                    gaps[n] = out[i]
                    n += 1
    return n


@njit(nogil=True, cache=True)
def nearest_balls(
    tiles, marks, boxes, first, last, centres, centre_marks, limits, scale, homes, gaps
):
    """homes[i] = the nearest centre whose ball holds point i, gaps[i] its distance.

    For the points first..last-1, where ``first`` is a multiple of TILE. Only open points
    (homes[i] < 0) are looked at; ties go to the first centre; homes int64, gaps float64.
    """
    bounds = np.empty(TILE, np.float32)
    out = np.empty(TILE, np.float64)
    was_open = np.empty(TILE, np.bool_)
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
        for c in range(centres.shape[0]):
            if _measure_near(
                tiles[t], marks[t], boxes[t], columns, centres[c], centre_marks[c], limits[c],
                scale, bounds, out,
            ):  # fmt: skip
                for i in range(columns):
                    if was_open[i] and out[i] <= limits[c] and out[i] < gaps[start + i]:
                        gaps[start + i] = out[i]
                        homes[start + i] = c


@njit(nogil=True, cache=True)
def pair_counts(points, centres, limits, scale, counts):
    """counts[c] = rows of ``points`` (rows, d) in ball c; counts (M,) int64."""
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


@njit(nogil=True, cache=True)
def count_balls(
    tiles, marks, boxes, first, last, centres, centre_marks, limits, scale, step, counts
):
    """counts[i] += step for every ball that holds point i, first <= i < last; counts int32."""
    bounds = np.empty(TILE, np.float32)
    out = np.empty(TILE, np.float64)
    for start in range(first, last, TILE):
        t = start // TILE
        columns = min(TILE, last - start)
        for c in range(centres.shape[0]):
            if _measure_near(
                tiles[t], marks[t], boxes[t], columns, centres[c], centre_marks[c], limits[c],
                scale, bounds, out,
            ):  # fmt: skip
                for i in range(columns):
                    if out[i] <= limits[c]:
                        counts[start + i] += step


@njit(nogil=True, cache=True)
def least_counts(
    tiles, marks, boxes, first, last, centres, centre_marks, limits, scale, counts, least
):
    """Lower least[c] to the smallest of ``counts`` over the points in ball c; least (M,) int32."""
    bounds = np.empty(TILE, np.float32)
    out = np.empty(TILE, np.float64)
    for start in range(first, last, TILE):
        t = start // TILE
        columns = min(TILE, last - start)
        for c in range(centres.shape[0]):
            if _measure_near(
                tiles[t], marks[t], boxes[t], columns, centres[c], centre_marks[c], limits[c],
                scale, bounds, out,
            ):  # fmt: skip
                for i in range(columns):
                    if out[i] <= limits[c]:
                        least[c] = min(least[c], counts[start + i])


@njit(nogil=True, cache=True)
def widest(tiles, marks, boxes, first, last, centres, centre_marks, limits, scale, vectors, widths):
    """widths[c, k] = scaled largest |<g_k, x - c>| over the points x first..last-1 in ball c.

    vectors (d, K) hold g_k, widths (M, K), both float64; widths is raised only. Each product is
    summed over the features in their order, of differences: no digits cancel, however small a ball.
    """
    bounds = np.empty(TILE, np.float32)
    out = np.empty(TILE, np.float64)
    products = np.empty(vectors.shape[1], np.float64)
    for start in range(first, last, TILE):
        t = start // TILE
        columns = min(TILE, last - start)
        for c in range(centres.shape[0]):
            if _measure_near(
                tiles[t], marks[t], boxes[t], columns, centres[c], centre_marks[c], limits[c],
                scale, bounds, out,
            ):  # fmt: skip
                for i in range(columns):
                    if out[i] <= limits[c]:
                        products[:] = 0.0
                        for j in range(tiles.shape[1]):
                            step = (np.float64(tiles[t, j, i]) - centres[c, j]) * scale
                            row = vectors[j]
                            for k in range(row.shape[0]):
                                products[k] += step * row[k]
                        for k in range(products.shape[0]):
                            widths[c, k] = max(widths[c, k], abs(products[k]))
