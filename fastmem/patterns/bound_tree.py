"""Trees of bounds over a fit's patterns."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.bounds import FAN, BoundTree, bound_nodes
from fastmem.kernels.layout import TILE
from fastmem.machine.arrays import aligned_zeros
from fastmem.machine.loops import run_calls
from fastmem.machine.threads import ranges

_TASK_WORDS = 1 << 22


def bound_tree(
    tiles: np.ndarray, first_tiles: np.ndarray, sizes: np.ndarray, n_threads: int
) -> BoundTree:
    """The tree over points by class, which should lie in a spatial order.

    tiles (n_tiles, n_words, TILE) uint64; first_tiles, sizes (K,) int64: the tile at which each
    class begins, and its number of points.
    """
    levels = [sizes]
    while (levels[-1] > FAN).any():
        levels.append(np.where(levels[-1] > FAN, -(-levels[-1] // FAN), 0))
    n_nodes = np.array(levels)
    n_tiles = -(-n_nodes // TILE)
    first = np.zeros_like(n_nodes)
    first[0] = first_tiles
    above = n_tiles[1:].ravel()
    first[1:] = (np.cumsum(above) - above).reshape(n_tiles[1:].shape)
    n_words = tiles.shape[1]
    ands, ors = (aligned_zeros((max(1, above.sum()), n_words, TILE), np.uint64) for _ in range(2))
    size = max(1, _TASK_WORDS // (FAN * n_words))
    for level in range(1, len(n_nodes)):
        lower = (tiles, tiles) if level == 1 else (ands, ors)
        calls = [
            (*lower, first[level - 1, code], n_nodes[level - 1, code], ands, ors,
             first[level, code], start, stop)
            for code in range(len(sizes))
            for start, stop in ranges(int(n_nodes[level, code]), size)
        ]  # fmt: skip
        run_calls(bound_nodes, calls, n_threads)
    tops = (n_nodes > 0).sum(axis=0) - 1
    return BoundTree(tiles, ands, ors, first, n_nodes, np.maximum(tops, 0))


def node_sizes(tree: BoundTree) -> np.ndarray:
    """How many points are below each node, (m * TILE,) int32."""
    counts = np.zeros(len(tree.ands) * TILE, np.int32)
    for code in range(len(tree.tops)):
        below = np.ones(int(tree.n_nodes[0, code]), np.int32)
        for level in range(1, int(tree.tops[code]) + 1):
            below = np.add.reduceat(below, np.arange(0, len(below), FAN), dtype=np.int32)
            start = int(tree.first[level, code]) * TILE
            counts[start : start + len(below)] = below
    return counts
