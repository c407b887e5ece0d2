"""Gram matrices of cosine features, exact.

Products of 7 bits are added up in float32 where the sums stay below 2^24, and then in float64 below
2^53. So the order of the sums, and whether they are fused, make no difference.
"""

from __future__ import annotations

import numpy as np

from fastmem.kernels.arrays import aligned_zeros
from fastmem.kernels.butterflies import LANES
from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import DEPTH, TILE_ROWS, WORD_BITS
from fastmem.kernels.products import add_products
from fastmem.kernels.queue import take


@njit(nogil=True, cache=True)
def spread_features(queue, stop, tiles, panels, groups):
    """Copy features to where `gram_products` reads them: a worker, see ``kernels.queue``.

    tiles (n_tiles, n, LANES) int8 as ``cosines.feature_tiles`` makes them. Task t writes what
    belongs to tile t: panels[h // 64, k, h % 64] and groups[h // TILE_ROWS, k, h % TILE_ROWS],
    both float32, are feature h of point k.
    """
    n = tiles.shape[1]
    while True:
        task = take(queue)
        if task >= stop:
            return
        tile = tiles[task]
        for lane in range(LANES):
            k = task * LANES + lane
            for h in range(n):
                value = np.float32(tile[h, lane])
                panels[h // WORD_BITS, k, h % WORD_BITS] = value
                groups[h // TILE_ROWS, k, h % TILE_ROWS] = value


@njit(nogil=True, cache=True)
def gram_products(queue, stop, panels, groups, gram):
    """gram[i, j] += sum over k of row i and feature j, for i >= j: a worker, see ``kernels.queue``.

    Task w takes the features 64 w..64 w + 63. panels (n / 64, m, 64) float32 hold n features of m
    points, m at most ``cosines.EXACT_DEPTH``; groups (G, m, TILE_ROWS) float32 the rows, TILE_ROWS
    a group: the same features, then other whole numbers of at most 127 in size. gram (rows, n)
    float64. Some entries above the diagonal are added to as well.
    """
    depth = panels.shape[1]
    n_rows = gram.shape[0]
    sums = aligned_zeros(TILE_ROWS * WORD_BITS, np.float32).reshape((1, TILE_ROWS, WORD_BITS))
    while True:
        word = take(queue)
        if word >= stop:
            return
        for group in range(word * WORD_BITS // TILE_ROWS, groups.shape[0]):
            sums[:] = np.float32(0.0)
            rows = groups[group : group + 1]
            for first in range(0, depth, DEPTH):
                add_products(panels, word, first, min(first + DEPTH, depth), rows, 0, sums)
            for r in range(TILE_ROWS):
                i = group * TILE_ROWS + r
                if i < n_rows:
                    for h in range(WORD_BITS):
                        gram[i, word * WORD_BITS + h] += np.float64(sums[0, r, h])
