"""Trees of bounds over a fit's patterns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastmem.kernels.bounds import FAN, BoundTree, bound_nodes, gather_groups
from fastmem.machine.arrays import aligned_zeros
from fastmem.machine.loops import run_calls
from fastmem.machine.threads import ranges

_TASK_WORDS = 1 << 22


def bound_tree(
    points: np.ndarray, first: np.ndarray, sizes: np.ndarray, n_threads: int
) -> BoundTree:
    """The tree over points by class, which should lie in a spatial order.

    points (n_blocks, n_words, width) uint64; first, sizes (K,) int64: the position at which each
    class begins, a multiple of FAN, and its number of points.
    """
    firsts, n_nodes, tops = tree_shape(first, sizes)
    shape = n_groups(n_nodes), points.shape[1], FAN
    ands, ors = (aligned_zeros(shape, np.uint64) for _ in range(2))
    add_nodes(points, ands, ors, firsts, n_nodes, n_threads)
    return BoundTree(points, ands, ors, firsts, n_nodes, tops, np.empty(0, np.bool_))


def tree_shape(first: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the levels of a tree begin, how many nodes they have, and their tops: see BoundTree."""
    levels = [sizes]
    while (levels[-1] > FAN).any():
        levels.append(np.where(levels[-1] > FAN, -(-levels[-1] // FAN), 0))
    n_nodes = np.array(levels, np.int64)
    firsts = np.zeros_like(n_nodes)
    firsts[0] = first
    above = -(-n_nodes[1:].ravel() // FAN)
    firsts[1:] = FAN * (np.cumsum(above) - above).reshape(n_nodes[1:].shape)
    tops = (n_nodes > 0).sum(axis=0) - 1
    return firsts, n_nodes, np.maximum(tops, 0)


def n_groups(n_nodes: np.ndarray) -> int:
    """Groups of nodes, on all levels but that of the points."""
    return max(1, int((-(-n_nodes[1:] // FAN)).sum()))


def add_nodes(
    points: np.ndarray,
    ands: np.ndarray,
    ors: np.ndarray,
    firsts: np.ndarray,
    n_nodes: np.ndarray,
    n_threads: int,
    lowest: int = 1,
) -> None:
    """Make the nodes of the levels from ``lowest`` on of what is below them."""
    n_words = points.shape[1]
    size = max(1, _TASK_WORDS // (FAN * max(1, n_words)))
    for level in range(lowest, len(n_nodes)):
        lower = (points, points) if level == 1 else (ands, ors)
        calls = [
            (*lower, firsts[level - 1, code], n_nodes[level - 1, code], ands, ors,
             firsts[level, code], start, stop)
            for code in range(n_nodes.shape[1])
            for start, stop in ranges(int(n_nodes[level, code]), size)
        ]  # fmt: skip
        run_calls(bound_nodes, calls, n_threads)


def in_groups(
    blocks: np.ndarray, positions: Sequence[np.ndarray], n_threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Copies of columns, some of each class, in groups: and the positions where classes begin."""
    sizes = np.array([len(some) for some in positions], np.int64)
    n_groups = -(-sizes // FAN)
    first = FAN * (np.cumsum(n_groups) - n_groups)
    copies = aligned_zeros((max(1, int(n_groups.sum())), blocks.shape[1], FAN), np.uint64)
    size = max(1, _TASK_WORDS // (FAN * max(1, blocks.shape[1]))) * FAN
    calls = [
        (blocks, some[start:stop], copies, int(at) + start)
        for some, at in zip(positions, first, strict=True)
        for start, stop in ranges(len(some), size)
    ]
    run_calls(gather_groups, calls, n_threads)
    return copies, first


def marked_below(tree: BoundTree, marks: np.ndarray) -> np.ndarray:
    """How many points below each node are marked, (m * FAN,) int32; marks bool by position."""
    counts = np.zeros(len(tree.ands) * FAN, np.int32)
    for code in range(len(tree.tops)):
        first, n_points = int(tree.first[0, code]), int(tree.n_nodes[0, code])
        below = marks[first : first + n_points].astype(np.int32)
        for level in range(1, int(tree.tops[code]) + 1):
            below = np.add.reduceat(below, np.arange(0, len(below), FAN), dtype=np.int32)
            start = int(tree.first[level, code])
            counts[start : start + len(below)] = below
    return counts
