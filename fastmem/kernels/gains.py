"""What neurons that are on add to the votes of their classes."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.compiling import njit
from fastmem.kernels.counts import count_group, group_counts
from fastmem.kernels.layout import MASK_GROUP, TILE


@njit(nogil=True, cache=True)
def add_gains(tiles, masks, thresholds, owners, gains, votes):
    """votes[p, owners[j]] += gains[j] for every neuron j that is on for point p.

    tiles (n_tiles, n_words, TILE) uint64 as in ``kernels.signs``; masks (B, n_words) uint64, B a
    multiple of MASK_GROUP; thresholds (B,) int64, 0 for the padding; owners and gains (B,) int64;
    votes (m, K) int64, m points from the first on.
    """
    counts = group_counts()
    n_points = votes.shape[0]
    for tile in range(tiles.shape[0]):
        first = tile * TILE
        size = min(TILE, n_points - first)
        for group in range(0, masks.shape[0], MASK_GROUP):
            count_group(tiles[tile], TILE, masks, group, counts)
            for q in range(MASK_GROUP):
                threshold = np.uint64(thresholds[group + q])
                row = counts[q]
                any_on = False
                for i in range(TILE):
                    any_on |= row[i] < threshold
                if any_on:
                    owner, gain = owners[group + q], gains[group + q]
                    for i in range(size):
                        if row[i] < threshold:
                            votes[first + i, owner] += gain
