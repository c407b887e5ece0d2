"""Distances from points to centres, and which balls hold which points.

``tiles`` holds points by feature: (n_tiles, d, TILE) float32 or float64, point i in column
i % TILE of tile i // TILE. A tile meets all centres while it is in the cache, and each distance is
summed over the features in their order, in float64, for TILE points side by side: the same number
whatever the task, the thread or the other centres. ``scale`` is a power of two that brings
distances near 1, so that squares neither overflow nor, but for gaps below 2^-500, vanish; those
are measured again.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

TILE = 64
"""Points a tile: their sums are 512 bytes, and stay in the first-level cache."""
_TINY = 2.0**-400
_ABOVE = 2.0**500


@njit(nogil=True, cache=True)
def fill_tiles(points, tiles, first):
    """Copy the rows of ``points`` (rows, d) to the columns ``first``, ... of ``tiles``."""
    for i in range(points.shape[0]):
        tile = (first + i) // TILE
        column = first + i - tile * TILE
        for k in range(points.shape[1]):
            tiles[tile, k, column] = points[i, k]


@njit(nogil=True, cache=True)
def keep_columns(tiles, which, out):
    """Copy the columns ``which`` (m,) int64 of ``tiles`` to the columns 0..m-1 of ``out``."""
    for i in range(which.shape[0]):
        source, column = which[i] // TILE, which[i] % TILE
        for k in range(tiles.shape[1]):
            out[i // TILE, k, i % TILE] = tiles[source, k, column]


@njit(nogil=True, cache=True)
def _measure(tile, centre, scale, out):
    """out[i] = scale |x_i - centre| for the TILE columns of ``tile`` (d, TILE); centre (d,)."""
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
    for i in range(TILE):
        if out[i] < _TINY:
            total = 0.0
            for k in range(tile.shape[0]):
                step = (np.float64(tile[k, i]) - centre[k]) * scale * _ABOVE
                total += step * step
            out[i] = math.sqrt(total) / _ABOVE


@njit(nogil=True, cache=True)
def nearest_centres(tiles, first, last, centres, scale, gaps):
    """gaps[i] = least scaled distance of point i, first <= i < last, to ``centres`` (M, d).

    ``first`` is a multiple of TILE; gaps float64, one a point of ``tiles``, is lowered only.
    """
    out = np.empty(TILE, np.float64)
    for start in range(first, last, TILE):
        columns = min(TILE, last - start)
        tile = tiles[start // TILE]
        for c in range(centres.shape[0]):
            _measure(tile, centres[c], scale, out)
            for i in range(columns):
                gaps[start + i] = min(gaps[start + i], out[i])


@njit(nogil=True, cache=True)
def nearest_balls(tiles, first, last, centres, limits, scale, homes, gaps):
    """homes[i] = the nearest centre whose ball holds point i, gaps[i] its distance; else untouched.

    Ball c has the radius limits[c]. As for ``nearest_centres``; only centres nearer than gaps[i]
    are taken, ties go to the first; homes int64.
    """
    out = np.empty(TILE, np.float64)
    for start in range(first, last, TILE):
        columns = min(TILE, last - start)
        tile = tiles[start // TILE]
        for c in range(centres.shape[0]):
            _measure(tile, centres[c], scale, out)
            for i in range(columns):
                if out[i] <= limits[c] and out[i] < gaps[start + i]:
                    gaps[start + i] = out[i]
                    homes[start + i] = c


@njit(nogil=True, cache=True)
def count_points(tiles, first, last, centres, limits, scale, counts):
    """counts[c] += points first..last-1 in the ball of centre c; counts (M,) int64."""
    out = np.empty(TILE, np.float64)
    for start in range(first, last, TILE):
        columns = min(TILE, last - start)
        tile = tiles[start // TILE]
        for c in range(centres.shape[0]):
            _measure(tile, centres[c], scale, out)
            inside = 0
            for i in range(columns):
                inside += out[i] <= limits[c]
            counts[c] += inside


@njit(nogil=True, cache=True)
def count_balls(tiles, first, last, centres, limits, scale, step, counts):
    """counts[i] += step for every ball that holds point i, first <= i < last; counts int32."""
    out = np.empty(TILE, np.float64)
    for start in range(first, last, TILE):
        columns = min(TILE, last - start)
        tile = tiles[start // TILE]
        for c in range(centres.shape[0]):
            _measure(tile, centres[c], scale, out)
            for i in range(columns):
                if out[i] <= limits[c]:
                    counts[start + i] += step


@njit(nogil=True, cache=True)
def least_counts(tiles, first, last, centres, limits, scale, counts, least):
    """Lower least[c] to the smallest of ``counts`` over the points in ball c; least (M,) int32."""
    out = np.empty(TILE, np.float64)
    for start in range(first, last, TILE):
        columns = min(TILE, last - start)
        tile = tiles[start // TILE]
        for c in range(centres.shape[0]):
            _measure(tile, centres[c], scale, out)
            for i in range(columns):
                if out[i] <= limits[c]:
                    least[c] = min(least[c], counts[start + i])


@njit(nogil=True, cache=True)
def widest(tiles, first, last, centres, limits, scale, products, centre_products, widths):
    """widths[c, k] = largest |<g_k, x - c>| over the points x first..last-1 in ball c.

    products (last - first, K) are <g_k, x>, centre_products (M, K) <g_k, c>, widths (M, K), all
    float64; widths is raised only.
    """
    out = np.empty(TILE, np.float64)
    for start in range(first, last, TILE):
        columns = min(TILE, last - start)
        tile = tiles[start // TILE]
        for c in range(centres.shape[0]):
            _measure(tile, centres[c], scale, out)
            for i in range(columns):
                if out[i] <= limits[c]:
                    row = products[start + i - first]
                    for k in range(widths.shape[1]):
                        width = abs(row[k] - centre_products[c, k])
                        widths[c, k] = max(widths[c, k], width)
