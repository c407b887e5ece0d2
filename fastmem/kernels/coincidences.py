"""How far the patterns of points coincide with what neurons store, from counts of ones."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.compiling import njit
from fastmem.kernels.counts import count_group, count_mask, group_counts
from fastmem.kernels.layout import MASK_GROUP, TILE


@njit(nogil=True, cache=True)
def coincidences(tiles, sizes, neurons, n, best, largest):
    """The largest margin and the largest coincidence of each block of neurons, for each point.

    With q the zeros of a point's pattern among ``n`` bits and u a mask, the coincidence of both is
    |q and u|^2 / (|q or u| min(|q|, |u|)), from 0 to 1: 1 iff q = u, 0 where one is empty. It is
    one division of two whole numbers below 2^53, so that it is the same everywhere.

    tiles (n_tiles, n_words, TILE) uint64 and sizes (n_tiles,) int64 as in ``kernels.cover``;
    neurons (masks (B, n_words) uint64, their ones (B,) int64, thresholds (B,) int64, blocks (B,)
    int64), B a multiple of MASK_GROUP, blocks -1 for padding. best (n_blocks, n_tiles * TILE) int64
    is filled by the caller with the least value, largest of that shape, float64, with -1.
    """
    masks, ones, thresholds, blocks = neurons
    counts = group_counts()
    on = np.empty(TILE, np.int32)
    everything = np.full(tiles.shape[1], ~np.uint64(0))
    for tile in range(sizes.shape[0]):
        size, start = sizes[tile], tile * TILE
        count_mask(tiles[tile], everything, on)
        for first in range(0, masks.shape[0], MASK_GROUP):
            count_group(tiles[tile], TILE, masks, first, counts)
            for k in range(MASK_GROUP):
                block = blocks[first + k]
                if block < 0:
                    continue
                mask_size, row = ones[first + k], counts[k]
                for i in range(size):
                    count = np.int64(row[i])
                    zeros, both = n - np.int64(on[i]), mask_size - count
                    below = (zeros + mask_size - both) * min(zeros, mask_size)
                    share = np.float64(both * both) / np.float64(below) if below else 0.0
                    place = start + i
                    best[block, place] = max(best[block, place], thresholds[first + k] - count)
                    largest[block, place] = max(largest[block, place], share)
