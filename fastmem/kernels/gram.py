"""Gram matrices of cosine features, exact.

Products of 7 bits are added up in int32 where the sums stay below 2^31, and then in float64 below
2^53. So the order of the sums makes no difference.
"""

from __future__ import annotations

import numpy as np

from fastmem.kernels.arrays import aligned_zeros
from fastmem.kernels.butterflies import LANES
from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import DEPTH, TILE_ROWS, WORD_BITS
from fastmem.kernels.products import add_products
from fastmem.kernels.queue import take

MOST_POINTS = 1 << 17
"""Sums of so many products of 7 bits stay below 2^31."""


@njit(nogil=True, cache=True)
def spread_features(queue, stop, tiles, panels, groups):
    """Copy features to where `gram_products` reads them: a worker, see ``kernels.queue``.

    tiles (n_tiles, n, LANES) int8 as ``cosines.feature_tiles`` makes them. Task t writes what
    belongs to tile t: panels[h // 64, k // 2, h % 64, k % 2] and
    groups[h // TILE_ROWS, k // 2, h % TILE_ROWS, k % 2], both int16, are feature h of point k.
    """
    n = tiles.shape[1]
    while True:
        task = take(queue)
        if task >= stop:
            return
        tile = tiles[task]
        start = task * LANES // 2
        for h in range(n):
            panel, group = panels[h // WORD_BITS], groups[h // TILE_ROWS]
            column, row = h % WORD_BITS, h % TILE_ROWS
            for k in range(LANES // 2):
                for half in range(2):
                    value = np.int16(tile[h, 2 * k + half])
                    panel[start + k, column, half] = value
                    group[start + k, row, half] = value


@njit(nogil=True, cache=True)
def gram_products(queue, stop, panels, groups, gram):
    """gram[i, j] += sum over k of row i and feature j, for i >= j: a worker, see ``kernels.queue``.

    Task w takes the features 64 w..64 w + 63. panels (n / 64, m / 2, 64) hold n features of m
    points, m at most MOST_POINTS; groups (G, m / 2, TILE_ROWS) the rows, TILE_ROWS a group: the
    same features, then other whole numbers of at most 127 in size. Both int32, each two int16 of
    `spread_features`. gram (rows, n) float64. Some entries above the diagonal are added to as well.
    """
    depth = panels.shape[1]
    n_rows = gram.shape[0]
    sums = aligned_zeros(TILE_ROWS * WORD_BITS, np.int32).reshape((1, TILE_ROWS, WORD_BITS))
    while True:
        word = take(queue)
        if word >= stop:
            return
        for group in range(word * WORD_BITS // TILE_ROWS, groups.shape[0]):
            sums[:] = np.int32(0)
            rows = groups[group : group + 1]
            for first in range(0, depth, DEPTH):
                add_products(panels, word, first, min(first + DEPTH, depth), rows, 0, sums)
            for r in range(TILE_ROWS):
                i = group * TILE_ROWS + r
                if i < n_rows:
                    for h in range(WORD_BITS):
                        gram[i, word * WORD_BITS + h] += np.float64(sums[0, r, h])
