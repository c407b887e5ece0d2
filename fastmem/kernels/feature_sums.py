"""Sums over tiles of cosine features: what a ridge regression on them needs.

Tiles as ``cosines.feature_tiles`` makes them: (n_tiles, n, LANES) int8, whose lanes beyond the last
point are zero.
"""

from __future__ import annotations

import numpy as np

from fastmem.kernels.arrays import aligned_zeros
from fastmem.kernels.butterflies import LANES
from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import WORD_BITS
from fastmem.kernels.queue import take
from fastmem.kernels.wave_products import TILES, add_slopes, add_votes

TASK_TILES = 64
"""Tiles of a task."""
MOST_RESIDUAL = 2047
"""Largest size of a residual, a whole number: TASK_TILES products of it with features, which is how
many are added up in a lane, are below 2^24, so that float32 holds their sums exactly."""


@njit(nogil=True, cache=True)
def _load(tile, first, features):
    """features (64 LANES,) float32 = 64 rows of a tile (n, LANES) int8 from ``first`` on."""
    for h in range(WORD_BITS):
        for lane in range(LANES):
            features[h * LANES + lane] = np.float32(tile[first + h, lane])


@njit(nogil=True, cache=True)
def _add_up(slopes, sums):
    """sums[h, c] += all lanes of slopes[h, c] in float64, from the first on; clears slopes."""
    for h in range(slopes.shape[0]):
        for c in range(slopes.shape[1]):
            total = 0.0
            for lane in range(LANES):
                total += np.float64(slopes[h, c, lane])
                slopes[h, c, lane] = np.float32(0.0)
            sums[h, c] += total


@njit(nogil=True, cache=True)
def _residuals(tile, count, weights, shift, scale, features, votes, total, largest):
    """votes (K, LANES) = rint((F w - shift) scale) of a tile's ``count`` points, 0 beyond them.

    Adds them up in total (K,) float64, and keeps their largest size in largest (K,) float32;
    features (64 LANES,) float32 is room to work in.
    """
    for first in range(0, weights.shape[0], WORD_BITS):
        _load(tile, first, features)
        add_votes(features, weights, first, votes)
    for c in range(votes.shape[0]):
        for lane in range(LANES):
            if lane < count:
                vote = np.rint((votes[c, lane] - shift[c]) * scale[c])
                votes[c, lane] = vote
                total[c] += np.float64(vote)
                largest[c] = max(largest[c], abs(vote))
            else:
                votes[c, lane] = np.float32(0.0)


@njit(nogil=True, cache=True)
def class_sums(queue, stop, tiles, codes, sums):
    """sums[h, codes[i]] += feature h of point i, for all points: a worker, see ``kernels.queue``.

    tiles of m points; codes (m,) int64, below K; sums (n, K) int64. Task w takes the features 64 w
    to 64 w + 63.
    """
    n_points = codes.shape[0]
    while True:
        word = take(queue)
        if word >= stop:
            return
        for t in range(tiles.shape[0]):
            start = t * LANES
            count = min(LANES, n_points - start)
            for h in range(word * WORD_BITS, (word + 1) * WORD_BITS):
                for lane in range(count):
                    sums[h, codes[start + lane]] += np.int64(tiles[t, h, lane])


@njit(nogil=True, cache=True)
def normal_products(queue, stop, tiles, n_rows, weights, shift, scale, results):
    """F^T r of r = rint((F w - shift) scale) over all points: a worker, see ``kernels.queue``.

    F (n_rows, n) are the features in ``tiles``. Task t takes the tiles from TASK_TILES t on.
    weights (n, K), shift and scale (K,) float32, scale of powers of two. results = sums, totals,
    largest: sums[t] (n, K) float64 takes the task's products, totals[t] (K,) float64 its sums of r,
    and largest[t] (K,) float32 the largest size of r. All of them are whole numbers, and exact
    where that is MOST_RESIDUAL at most: then the order of the points makes no difference.
    """
    sums, totals, largest = results
    n, n_columns = weights.shape
    votes = aligned_zeros(TILES * n_columns * LANES, np.float32)
    votes = votes.reshape((TILES, n_columns, LANES))
    slopes = aligned_zeros(n * n_columns * LANES, np.float32).reshape((n, n_columns, LANES))
    size = WORD_BITS * LANES
    features = aligned_zeros(TILES * size, np.float32)
    while True:
        task = take(queue)
        if task >= stop:
            return
        sums[task] = 0.0
        totals[task] = 0.0
        largest[task] = np.float32(0.0)
        end = min((task + 1) * TASK_TILES, tiles.shape[0])
        for begin in range(task * TASK_TILES, end, TILES):
            votes[:] = np.float32(0.0)
            count = min(TILES, end - begin)
            for t in range(count):
                _residuals(
                    tiles[begin + t], n_rows - (begin + t) * LANES, weights, shift, scale,
                    features[:size], votes[t], totals[task], largest[task],
                )  # fmt: skip
            for first in range(0, n, WORD_BITS):
                for t in range(count):
                    _load(tiles[begin + t], first, features[t * size : (t + 1) * size])
                add_slopes(features, votes, first, slopes)
        _add_up(slopes, sums[task])
