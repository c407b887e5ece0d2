"""A k-d tree over points, and a stable counting sort: what brings neighbours together.

The nodes of the tree are numbered from 1, the children of node i are 2 i and 2 i + 1. Points whose
coordinate ``axes[i]`` is below ``cuts[i]`` go to the first of them. The leaves of a tree of depth k
are the nodes 2^k, ..., 2^(k + 1) - 1: neighbours in number are mostly neighbours in space.
"""

from __future__ import annotations

import numpy as np

from fastmem.kernels.compiling import njit
from fastmem.kernels.queue import take

_AT_ONCE = 64
_ASKED = 512
"""Points of a node, up to twice as many, that say where it is split."""


@njit(nogil=True, cache=True)
def split_nodes(queue, stop, sample, rows, spare, bounds, axes, cuts, first, levels):
    """Split the nodes first + task, ``levels`` levels down: a worker, see ``kernels.queue``.

    sample (m, d) float32 or float64; rows, spare (m,) int32: the points of ``sample`` by node,
    which are moved, and room; bounds (nodes, 2) int32: node i holds rows[bounds[i, 0]] up to
    rows[bounds[i, 1] - 1]. axes (nodes,) int32 and cuts (nodes,), as ``sample``, are filled.

    A node is split at the median of the axis along which its points are spread most, where it has
    many by some of them. Where the least value is as frequent as all up to the median, the next
    larger one is the cut. Nodes with equal points only have all of them in the second child.
    """
    d = sample.shape[1]
    values, order = np.empty(2 * _ASKED, sample.dtype), np.zeros(2 * _ASKED, np.int64)
    lows = np.empty(d, sample.dtype)
    highs = np.empty(d, sample.dtype)
    while True:
        task = take(queue)
        if task >= stop:
            return
        for level in range(levels):
            for node in range((first + task) << level, (first + task + 1) << level):
                start, end = bounds[node]
                middle = start
                axes[node] = 0
                cuts[node] = 0
                if end > start:
                    asked = rows[start : end : max(1, (end - start) // _ASKED)]
                    axis, cut = _choose_cut(sample, asked, lows, highs, values, order)
                    axes[node] = axis
                    cuts[node] = cut
                    middle = _part(sample, rows, spare, start, end, axis, cut)
                bounds[2 * node, 0], bounds[2 * node, 1] = start, middle
                bounds[2 * node + 1, 0], bounds[2 * node + 1, 1] = middle, end


@njit(nogil=True, cache=True)
def _choose_cut(sample, asked, lows, highs, values, order):
    """Where to split a node by the points ``asked`` of the sample: an axis and a cut."""
    lows[:] = sample[asked[0]]
    highs[:] = lows
    for i in range(1, asked.shape[0]):
        for k in range(sample.shape[1]):
            x = sample[asked[i], k]
            lows[k] = min(lows[k], x)
            highs[k] = max(highs[k], x)
    axis = 0
    for k in range(1, lows.shape[0]):
        # halves do not overflow
        if highs[k] / 2 - lows[k] / 2 > highs[axis] / 2 - lows[axis] / 2:
            axis = k
    for i in range(asked.shape[0]):
        values[i] = sample[asked[i], axis]
    middle = asked.shape[0] // 2
    select(values, order, 0, asked.shape[0] - 1, middle)
    cut = values[middle]
    if cut == lows[axis]:
        cut = highs[axis]
        for i in range(asked.shape[0]):
            if lows[axis] < values[i] < cut:
                cut = values[i]
    return axis, cut


@njit(nogil=True, cache=True)
def _part(sample, rows, spare, start, end, axis, cut):
    """Bring the points of rows[start:end] below the cut to the front; where the others begin."""
    middle, last = start, start
    for i in range(start, end):
        row = rows[i]
        # no branch, which would be guessed wrong half of the time
        rows[middle] = row
        spare[last] = row
        is_below = sample[row, axis] < cut
        middle += is_below
        last += not is_below
    rows[middle:end] = spare[start:last]
    return middle


@njit(nogil=True, cache=True)
def select(values, order, first, last, middle):
    """Move values[first..last], and ``order`` with them, by Hoare's selection.

    None before ``middle`` is larger than any from it on.
    """
    while first < last:
        a, b, c = values[first], values[(first + last) // 2], values[last]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = first, last
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if middle <= j:
            last = j
        elif middle >= i:
            first = i
        else:
            break


@njit(nogil=True, cache=True)
def descend(queue, stop, points, axes, cuts, depth, size, leaves):
    """The leaf of each point, from 0: a worker, see ``kernels.queue``; a task is ``size`` points.

    points (N, d) float32 or float64, axes and cuts as of `split_nodes`, leaves (N,) int32.
    """
    d = np.uint64(points.shape[1])
    flat = points.reshape(points.size)
    n_leaves = np.int32(1 << depth)
    nodes = np.empty(_AT_ONCE, np.int32)
    while True:
        task = take(queue)
        if task >= stop:
            return
        end = min((task + 1) * size, points.shape[0])
        for first in range(task * size, end, _AT_ONCE):
            count = min(_AT_ONCE, end - first)
            start = np.uint64(first) * d
            nodes[:] = 1
            for _ in range(depth):
                # several points at once, without a branch: the loop is one over vectors
                for j in range(count):
                    node = np.uint64(nodes[j])
                    x = flat[start + np.uint64(j) * d + np.uint64(axes[node])]
                    nodes[j] = np.int32(2) * nodes[j] + np.int32(x >= cuts[node])
            for j in range(count):
                leaves[first + j] = nodes[j] - n_leaves


@njit(nogil=True, cache=True)
def count_keys(queue, stop, codes, leaves, n_leaves, size, counts):
    """How often each key occurs in each part: a worker, see ``kernels.queue``.

    The key of point i is codes[i] * n_leaves + leaves[i]; codes (N,) uint16 or int64, leaves (N,)
    int32; task t counts the part t of ``size`` points in counts[t] (keys,) int64, which is zero.
    """
    while True:
        task = take(queue)
        if task >= stop:
            return
        count = counts[task]
        for i in range(task * size, min((task + 1) * size, codes.shape[0])):
            count[np.int64(codes[i]) * n_leaves + leaves[i]] += 1


@njit(nogil=True, cache=True)
def place_keys(
    queue, stop, codes, leaves, n_leaves, size, next_places, ranks, starts, rows, numbers, places
):
    """Bring the points of each part to their places: a worker, as `count_keys`.

    next_places (parts, keys) int64: where the first point of each key of each part belongs, which
    moves on; ranks (parts, K) int64: how many of each class are in earlier parts, which grows;
    starts (K,) int64: points of earlier classes. rows, numbers, places (N,) int32 or int64: the row
    at each place and its rank within its class; and the place, from its class's start on, of the
    point of each rank.
    """
    while True:
        task = take(queue)
        if task >= stop:
            return
        following, rank = next_places[task], ranks[task]
        for i in range(task * size, min((task + 1) * size, codes.shape[0])):
            code = np.int64(codes[i])
            key = code * n_leaves + leaves[i]
            place = following[key]
            following[key] = place + 1
            number = rank[code]
            rank[code] = number + 1
            rows[place] = i
            numbers[place] = number
            places[starts[code] + number] = place - starts[code]
