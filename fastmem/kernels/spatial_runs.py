"""Neighbours within a leaf of a spatial order: its points are split down to a few."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.compiling import njit
from fastmem.kernels.queue import take
from fastmem.kernels.spatial import select


@njit(nogil=True, cache=True)
def split_runs(queue, stop, points, starts, offsets, size, rows):
    """Bring neighbours together in runs of rows: a worker, see ``kernels.queue``.

    points (N, d) float32 or float64; rows (N,) int32 or int64, of which run r has those from
    starts[r] to starts[r + 1] - 1, starts (R + 1,) int64. A run is split at the middle of the axis
    along which it is spread most, and so on, until no part reaches over a multiple of ``size``,
    counted from offsets[r] (R,) int64 at the run's begin. A task is a run.
    """
    d = points.shape[1]
    stack = np.empty((128, 2), np.int64)
    while True:
        run = take(queue)
        if run >= stop:
            return
        mine = rows[starts[run] : starts[run + 1]]
        count, offset = mine.shape[0], offsets[run]
        if offset // size == (offset + count - 1) // size:
            continue
        near = np.empty((count, d), points.dtype)
        for i in range(count):
            near[i] = points[mine[i]]
        order, values = np.arange(count), np.empty(count, points.dtype)
        stack[0, 0], stack[0, 1] = 0, count
        depth = 1
        while depth:
            depth -= 1
            first, last = stack[depth]
            if (offset + first) // size == (offset + last - 1) // size:
                continue
            axis = _widest(near, order[first:last])
            if axis < 0:
                continue
            middle = (offset + (first + last + size) // 2) // size * size - offset
            middle += size * ((middle <= first) - np.int64(middle >= last))
            for i in range(first, last):
                values[i] = near[order[i], axis]
            select(values, order, first, last - 1, middle)
            # the larger part first: the stack holds as many as the run can be halved
            if middle - first < last - middle:
                stack[depth, 0], stack[depth, 1] = middle, last
                stack[depth + 1, 0], stack[depth + 1, 1] = first, middle
            else:
                stack[depth, 0], stack[depth, 1] = first, middle
                stack[depth + 1, 0], stack[depth + 1, 1] = middle, last
            depth += 2
        before = mine.copy()
        for i in range(count):
            mine[i] = before[order[i]]


@njit(nogil=True, cache=True)
def _widest(points, chosen):
    """The axis along which points are spread most; -1 where all are equal."""
    axis, most = -1, 0.0
    for k in range(points.shape[1]):
        low = high = points[chosen[0], k]
        for i in chosen:
            low, high = min(low, points[i, k]), max(high, points[i, k])
        # halves do not overflow
        spread = np.float64(high) / 2 - np.float64(low) / 2
        if spread > most:
            axis, most = k, spread
    return axis
