"""Which points cannot be covered: some point of another class has a pattern below their own."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.bounds import BoundTree, lowest_below, new_room
from fastmem.kernels.compiling import njit
from fastmem.kernels.queue import take


@njit(nogil=True, cache=True)
def look_for_lower(queue, stop, tree, code, valid, positions, numbers, size, witnesses, looked):
    """Look for points of other classes below those of a class: a worker, see ``kernels.queue``.

    tree `BoundTree`; valid (n_words,) uint64, the ones of a full mask; positions (P,) int64 of the
    points of class ``code``; numbers, integers, by position. Task t has the points
    t size..(t + 1) size - 1. witnesses (P,) int64 take the position of a point of another class
    whose pattern lies below: of the first class, and there of the lowest number; -1 without one.
    looked (tasks,) int64: points and nodes counted.
    """
    tree = BoundTree(*tree)
    n_words = valid.shape[0]
    mask, room = np.empty(n_words, np.uint64), new_room(tree)
    while True:
        task = take(queue)
        if task >= stop:
            return
        for i in range(task * size, min((task + 1) * size, positions.shape[0])):
            block, column = divmod(positions[i], tree.points.shape[2])
            for word in range(n_words):
                mask[word] = valid[word] & ~tree.points[block, word, column]
            witnesses[i] = lowest_below(tree, code, mask, numbers, room)
        looked[task] = room.looked[0]
        room.looked[0] = 0
