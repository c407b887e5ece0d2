"""A spatial order of points: those that lie next to each other get numbers next to each other."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastmem.inputs import Points
from fastmem.kernels.siblings import FAN
from fastmem.kernels.spatial import count_keys, descend, place_keys, split_nodes
from fastmem.kernels.spatial_runs import split_runs
from fastmem.machine.loops import run_loop

_LEAF_SAMPLE = 8
"""Points of the sample a leaf."""
_LEAF_POINTS = 96
"""Points a leaf at least, on average: half a tile."""
_MOST_LEVELS = 14
_SAMPLE_VALUES = 1 << 22
_TOP_LEVELS = 4
"""Levels of the tree that are split one after the other; below them each part by itself."""
_TASK_POINTS = 1 << 14
_MOST_KEYS = 1 << 21
"""Keys that are counted; more are sorted by comparing."""
_PARTS = 16
"""Parts that are sorted at the same time, at most, whatever the number of threads."""
_PART_POINTS = 1 << 17


def sample_rows(n_samples: int, count: int) -> np.ndarray:
    """Rows of a sample, ascending int64: one of each of ``count`` ranges, the same in every call.

    Not the first of each: data may repeat with a period.
    """
    i = np.arange(count, dtype=np.int64)
    starts = i * n_samples // count
    widths = (i + 1) * n_samples // count - starts
    rows: np.ndarray = starts + ((i * 2654435761 % 2**32) * widths >> 32)
    return rows


class LeafTree(NamedTuple):
    """A k-d tree: points go from node i to 2 i, or, from the cut on, to 2 i + 1.

    Attributes
    ----------
    axes : ndarray of shape (2^depth,), int32
        Along which each node is split, and
    cuts : ndarray of shape (2^depth,), of the points' dtype
        where.
    depth : int
    """

    axes: np.ndarray
    cuts: np.ndarray
    depth: int

    @property
    def n_leaves(self) -> int:
        """Leaves, of which some may be empty."""
        return 1 << self.depth

    def leaves_of(self, points: np.ndarray, n_threads: int) -> np.ndarray:
        """The leaf that each point lies in, (n_samples,) int32; points (n_samples, d)."""
        leaves = np.zeros(len(points), np.int32)
        n_tasks = -(-len(points) // _TASK_POINTS)
        if self.depth and n_tasks:
            run_loop(descend, n_tasks, n_threads, (points, *self, _TASK_POINTS, leaves))
        return leaves


def leaf_tree(points: Points, n_threads: int) -> LeafTree:
    """A tree whose leaves next to each other in number are mostly next to each other in space.

    It is that of a sample of the points, which are dense, and depends on them alone.
    """
    n_samples, d = points.n_samples, points.n_features
    most = min(n_samples // _LEAF_POINTS, _SAMPLE_VALUES // (_LEAF_SAMPLE * d))
    depth = min(_MOST_LEVELS, max(most, 1).bit_length() - 1)
    axes, cuts = np.zeros(1 << depth, np.int32), np.zeros(1 << depth, points.dtype)
    if depth:
        # kernels are compiled for arrays that may be written to
        sample = np.array(points.take(sample_rows(n_samples, _LEAF_SAMPLE << depth)), order="C")
        rows = np.arange(len(sample), dtype=np.int32)
        bounds = np.zeros((2 << depth, 2), np.int32)
        bounds[1, 1] = len(sample)
        tree = sample, rows, np.empty_like(rows), bounds, axes, cuts
        top = min(depth, _TOP_LEVELS)
        for level in range(top):
            run_loop(split_nodes, 1 << level, n_threads, (*tree, 1 << level, 1))
        if depth > top:
            run_loop(split_nodes, 1 << top, n_threads, (*tree, 1 << top, depth - top))
    return LeafTree(axes, cuts, depth)


def leaves_of(points: Points, n_threads: int) -> np.ndarray:
    """The leaf of its own tree that each point lies in, (n_samples,) int32."""
    array = points.array
    if array is None:
        raise ValueError("a spatial order needs dense points in one array")
    return leaf_tree(points, n_threads).leaves_of(array, n_threads)


class ClassOrder(NamedTuple):
    """Points by class, leaf and row.

    Attributes
    ----------
    rows : ndarray of shape (n_samples,)
        All rows in this order; int32, or int64 beyond 2^31 points, as both others.
    numbers : ndarray of shape (n_samples,)
        The number of each of these points: its rank by row within its class.
    places : ndarray of shape (n_samples,)
        The reverse: where in the order of its class the point of each number is, class by class.
    """

    rows: np.ndarray
    numbers: np.ndarray
    places: np.ndarray


def class_order(
    codes: np.ndarray, n_classes: int, leaves: np.ndarray, n_threads: int
) -> ClassOrder:
    """Put points in order by their class, leaf and row.

    codes (n_samples,) uint16 or int64, leaves (n_samples,) int32.
    """
    n_samples = len(codes)
    kind = np.int32 if n_samples < 1 << 31 else np.int64
    n_leaves = int(leaves.max(initial=0)) + 1
    n_keys = n_classes * n_leaves
    order = ClassOrder(*(np.empty(n_samples, kind) for _ in range(3)))
    if n_keys > _MOST_KEYS:
        _sort_by_comparing(codes, n_classes, leaves, order)
        return order
    n_parts = max(1, min(_PARTS, n_samples // _PART_POINTS, _MOST_KEYS // n_keys))
    size = -(-n_samples // n_parts)
    counts = np.zeros((n_parts, n_keys), np.int64)
    keys = codes, leaves, n_leaves, size
    run_loop(count_keys, n_parts, n_threads, (*keys, counts))
    # by key, and of equal keys by part
    totals = counts.sum(axis=0)
    firsts = np.cumsum(totals) - totals
    by_class = counts.reshape(n_parts, n_classes, n_leaves).sum(axis=2)
    starts = np.cumsum(by_class.sum(axis=0)) - by_class.sum(axis=0)
    ranks = np.cumsum(by_class, axis=0) - by_class
    next_places = np.cumsum(counts, axis=0)
    next_places += firsts - counts
    run_loop(
        place_keys, n_parts, n_threads, (*keys, next_places, ranks, starts, *map(np.asarray, order))
    )
    return order


def _sort_by_comparing(
    codes: np.ndarray, n_classes: int, leaves: np.ndarray, order: ClassOrder
) -> None:
    order.rows[:] = np.lexsort((leaves, codes))
    sizes = np.bincount(codes, minlength=n_classes)
    within = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    by_row = np.argsort(codes, kind="stable")
    numbers = np.empty(len(codes), order.numbers.dtype)
    numbers[by_row] = within
    order.numbers[:] = numbers[order.rows]
    places = np.empty(len(codes), order.places.dtype)
    places[order.rows] = within
    order.places[:] = places[by_row]


def split_leaves(
    order: ClassOrder, points: np.ndarray, keys: np.ndarray, starts: np.ndarray, n_threads: int
) -> None:
    """Bring neighbours together within the leaves too, for groups of points that share bounds.

    points (n_samples, d) float32 or float64; keys (n_samples,) of each place, equal in a leaf of a
    class only; starts (K + 1,) int64: where classes begin.
    """
    rows, numbers, places = order
    n_samples = len(rows)
    firsts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    offsets = firsts - starts[np.searchsorted(starts, firsts, side="right") - 1]
    run_starts = np.concatenate([firsts, [n_samples]])
    rank = np.empty_like(numbers)
    rank[rows] = numbers
    in_neighbourhoods(points, run_starts, offsets, rows, n_threads)
    numbers[:] = rank[rows]
    for start, stop in pairwise(starts):
        places[start:stop][numbers[start:stop]] = np.arange(stop - start, dtype=places.dtype)


def in_neighbourhoods(
    points: np.ndarray,
    starts: np.ndarray,
    offsets: np.ndarray,
    rows: np.ndarray,
    n_threads: int,
) -> None:
    """Bring neighbours together in runs of rows; see `split_runs`."""
    run_loop(split_runs, len(offsets), n_threads, (points, starts, offsets, FAN, rows))
