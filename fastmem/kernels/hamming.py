"""Hamming distances of sign patterns: in how many hyperplanes' signs two points differ.

|p xor q| = |p| + |q| - 2 |p and q|, and `counts.count_mask` counts the last for a whole tile.
``tiles`` are as in ``kernels.signs``, the first n columns of them points; ``ones`` (n,) int32 holds
|q| of each.
"""

from __future__ import annotations

import numpy as np

from fastmem.kernels.compiling import njit
from fastmem.kernels.counts import count_mask
from fastmem.kernels.layout import TILE
from fastmem.kernels.queue import take

FAR = np.int32(2**31 - 1)


@njit(nogil=True, cache=True)
def count_ones(queue, stop, tiles, ones):
    """Fill ``ones``: a worker, whose tasks are tiles."""
    everything = np.full(tiles.shape[1], ~np.uint64(0), np.uint64)
    counts = np.empty(TILE, np.int32)
    while True:
        tile = take(queue)
        if tile >= stop:
            return
        count_mask(tiles[tile], everything, counts)
        first = tile * TILE
        for i in range(min(TILE, ones.shape[0] - first)):
            ones[first + i] = counts[i]


@njit(nogil=True, cache=True)
def lower_to_pattern(queue, stop, tiles, ones, pattern, own, nearest):
    """nearest[i] = min(nearest[i], distance of point i to a pattern): a worker over tiles.

    pattern (n_words,) uint64 with ``own`` ones, int32; nearest (n,) int32.
    """
    counts = np.empty(TILE, np.int32)
    while True:
        tile = take(queue)
        if tile >= stop:
            return
        count_mask(tiles[tile], pattern, counts)
        first = tile * TILE
        for i in range(min(TILE, ones.shape[0] - first)):
            distance = ones[first + i] + own - np.int32(2) * counts[i]
            nearest[first + i] = min(nearest[first + i], distance)


@njit(nogil=True, cache=True)
def two_nearest(queue, stop, tiles, ones, size, least):
    """least[i] = distances of point i to the nearest other point and to the next, ascending.

    A worker whose tasks are ``size`` points; least (n, 2) int32, FAR where there is none.
    """
    n, n_words = ones.shape[0], tiles.shape[1]
    counts = np.empty(TILE, np.int32)
    pattern = np.empty(n_words, np.uint64)
    while True:
        task = take(queue)
        if task >= stop:
            return
        for i in range(task * size, min((task + 1) * size, n)):
            for word in range(n_words):
                pattern[word] = tiles[i // TILE, word, i % TILE]
            nearest = FAR
            second = FAR
            for tile in range(tiles.shape[0]):
                count_mask(tiles[tile], pattern, counts)
                first = tile * TILE
                for k in range(min(TILE, n - first)):
                    if first + k == i:
                        continue
                    distance = ones[first + k] + ones[i] - np.int32(2) * counts[k]
                    if distance < second:
                        second = max(nearest, distance)
                        nearest = min(nearest, distance)
            least[i, 0] = nearest
            least[i, 1] = second
