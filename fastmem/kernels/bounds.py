"""Bounds on counts for many points at once: a tree over patterns that lie in a spatial order.

A node bounds FAN columns below it: the AND of their patterns, and the OR. For every mask u and
every point q below, |u and AND| <= |u and q| <= |u and OR|, so most points need no look.

Columns, points as well as nodes, lie in blocks (n_blocks, n_words, width) uint64: tiles, whose
width is TILE, or groups of siblings, whose width is FAN and which are read at once. The position of
a column, width * block + column, is the same in both. A class begins a new tile, or group, on each
level. One whose points are all in one group has no nodes: its top is level 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmem.kernels.bits import trailing_zeros
from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import WORD_BITS
from fastmem.kernels.siblings import FAN, columns_below

_EMPTY = np.uint64(0)
_NEVER = np.int64(1 << 40)
_STACK = 1024
"""More than FAN nodes on each level of the highest tree."""
_FULL = np.uint64(2**64 - 1)
MOST_GROUPS = 1024
"""Nodes that `near_points` goes into at most on each level."""
BLOCK = FAN * FAN
"""Points below a group of nodes of level 1: they are there all together, or not."""
_MOST_MISSING = 256
_LEVEL_SHIFT = 40
_IN_LEVEL = (1 << _LEVEL_SHIFT) - 1
_CODE_SHIFT = 32
_GROUP = (1 << _CODE_SHIFT) - 1


class BoundTree(NamedTuple):
    """A tree over the patterns of all classes.

    points (n_blocks, n_words, width) uint64: level 0. ands, ors (m, n_words, FAN) uint64: the nodes
    of levels 1, 2, ... first (n_levels, K) int64: the position at which a level of a class begins,
    a multiple of FAN; n_nodes (n_levels, K) int64: how many nodes, or points, it has. tops (K,)
    int64: the level whose nodes are one group.

    Where a part of the points is somewhere else, absent (b,) bool says for each group of level 1,
    by its place in ands, whether its nodes and the points below are not there; else b = 0. Searches
    take note of those that they would have gone into, and their results are then good for nothing.
    """

    points: np.ndarray
    ands: np.ndarray
    ors: np.ndarray
    first: np.ndarray
    n_nodes: np.ndarray
    tops: np.ndarray
    absent: np.ndarray


class Room(NamedTuple):
    """Where searches of a tree work; see `new_room`.

    counts, any_counts (FAN,) int64: of siblings. stack (_STACK,) int64: nodes to go into. groups
    (most,) int64: what is to be looked at on a level; found, keys, sizes (FAN * most,) int64: its
    nodes or points, how far they are, and how many points they hold. tally (2 n + 1,) int64, all
    zero between two searches: points by how far they are. looked (1,) int64 grows by the columns
    that are counted. missing (most,) int64: the first n_missing (1,) int64 of the groups that were
    absent, and how many were met since that was last set to 0.
    """

    counts: np.ndarray
    any_counts: np.ndarray
    stack: np.ndarray
    groups: np.ndarray
    found: np.ndarray
    keys: np.ndarray
    sizes: np.ndarray
    tally: np.ndarray
    looked: np.ndarray
    missing: np.ndarray
    n_missing: np.ndarray


@njit(nogil=True, cache=True)
def new_room(tree):
    """Room for searches of a tree."""
    most = MOST_GROUPS + tree.tops.shape[0]
    n_found = FAN * most
    return Room(
        np.empty(FAN, np.int64), np.empty(FAN, np.int64), np.empty(_STACK, np.int64),
        np.empty(most, np.int64), np.empty(n_found, np.int64), np.empty(n_found, np.int64),
        np.empty(n_found, np.int64), np.zeros(2 * tree.points.shape[1] * WORD_BITS + 1, np.int64),
        np.zeros(1, np.int64), np.empty(_MOST_MISSING, np.int64), np.zeros(1, np.int64),
    )  # fmt: skip


@njit(nogil=True, cache=True)
def bound_nodes(lower_ands, lower_ors, first_lower, n_lower, ands, ors, first, start, stop):
    """Make the nodes start..stop-1 of one class and level from the columns below.

    lower_ands, lower_ors: blocks, the same where they are points, with ``n_lower`` columns from the
    position ``first_lower`` on; nodes go to the positions from ``first`` on of ands and ors.
    """
    n_words, width = ands.shape[1], lower_ands.shape[2]
    for node in range(start, stop):
        block, column = divmod(first_lower + node * FAN, width)
        count = min(FAN, n_lower - node * FAN)
        to_block, to_column = divmod(first + node, FAN)
        for word in range(n_words):
            all_of, any_of = _FULL, _EMPTY
            for i in range(column, column + count):
                all_of &= lower_ands[block, word, i]
                any_of |= lower_ors[block, word, i]
            ands[to_block, word, to_column] = all_of
            ors[to_block, word, to_column] = any_of


@njit(nogil=True, cache=True)
def gather_groups(blocks, positions, out, first):
    """Copy the columns at ``positions`` (P,) int64 to ``first``, ... of other blocks."""
    width, out_width = blocks.shape[2], out.shape[2]
    for i in range(positions.shape[0]):
        block, column = divmod(positions[i], width)
        out_block, out_column = divmod(first + i, out_width)
        for word in range(blocks.shape[1]):
            out[out_block, word, out_column] = blocks[block, word, column]


@njit(nogil=True, cache=True, inline="always")
def _count(blocks, position, n, mask, limit, counts):
    """Which of the n columns from a position on have counts below ``limit``, as bits."""
    width = np.uint64(blocks.shape[2])
    block = np.uint64(position) // width
    offset = np.int64(block * width) * (blocks.shape[1] - 1) + position
    bits = columns_below(blocks, offset, blocks.shape[2], mask, limit, counts)
    return bits & ((np.int64(1) << n) - 1)


@njit(nogil=True, cache=True)
def _is_missing(absent, place, missing, n_missing):
    """Whether a group of level 1 is absent, of which note is taken; see BoundTree and Room.

    Asked before `_lower_bounds`, and not there: that would double the time of searches.
    """
    if not absent[place]:
        return False
    n_known = min(n_missing[0], missing.shape[0])
    for i in range(n_known):
        if missing[i] == place:
            return True
    if n_known < missing.shape[0]:
        missing[n_known] = place
    n_missing[0] += 1
    return True


@njit(nogil=True, cache=True, inline="always")
def _lower_bounds(tree, code, level, group, mask, limit, room):
    """room.counts = counts, up to ``limit``, of a group's ANDs, or on level 0 of its points.

    Returns the position of the first, and which are below ``limit``, as bits.
    """
    position = tree.first[level, code] + group * FAN
    n = min(FAN, tree.n_nodes[level, code] - group * FAN)
    room.looked[0] += FAN
    blocks = tree.points if level == 0 else tree.ands
    return position, _count(blocks, position, n, mask, limit, room.counts)


@njit(nogil=True, cache=True)
def below(tree, skip, mask, level, found, room):
    """Positions of points of classes other than ``skip`` whose count is less than ``level``.

    At most len(found) of them, in an order of the tree's own; returns how many. mask (n_words,)
    uint64, found int64.
    """
    is_partial = tree.absent.shape[0] > 0
    stack = room.stack
    n_found = 0
    for code in range(tree.tops.shape[0]):
        if code == skip or tree.n_nodes[0, code] == 0:
            continue
        stack[0] = tree.tops[code] << _LEVEL_SHIFT
        depth = 1
        while depth:
            depth -= 1
            at, group = stack[depth] >> _LEVEL_SHIFT, stack[depth] & _IN_LEVEL
            if is_partial and at == 1:
                place = tree.first[1, code] // FAN + group
                if _is_missing(tree.absent, place, room.missing, room.n_missing):
                    continue
            position, bits = _lower_bounds(tree, code, at, group, mask, level, room)
            while bits:
                i = trailing_zeros(np.uint64(bits))
                bits &= bits - 1
                if at == 0:
                    if n_found == found.shape[0]:
                        return n_found
                    found[n_found] = position + i
                    n_found += 1
                else:
                    stack[depth] = (at - 1) << _LEVEL_SHIFT | (group * FAN + i)
                    depth += 1
    return n_found


@njit(nogil=True, cache=True)
def least_count(tree, skip, mask, limit, room):
    """The least count over the points of classes other than ``skip``, and the position of one.

    Where all counts are at least ``limit``: limit and -1.
    """
    is_partial = tree.absent.shape[0] > 0
    counts, stack = room.counts, room.stack
    nearest = np.int64(-1)
    for code in range(tree.tops.shape[0]):
        if code == skip or tree.n_nodes[0, code] == 0:
            continue
        stack[0] = tree.tops[code] << _LEVEL_SHIFT
        depth = 1
        while depth:
            depth -= 1
            at, group = stack[depth] >> _LEVEL_SHIFT, stack[depth] & _IN_LEVEL
            if is_partial and at == 1:
                place = tree.first[1, code] // FAN + group
                if _is_missing(tree.absent, place, room.missing, room.n_missing):
                    continue
            position, bits = _lower_bounds(tree, code, at, group, mask, limit, room)
            while bits:
                i = trailing_zeros(np.uint64(bits))
                bits &= bits - 1
                if at == 0:
                    if counts[i] < limit:
                        limit, nearest = counts[i], position + i
                    if limit == 0:
                        return limit, nearest
                else:
                    stack[depth] = (at - 1) << _LEVEL_SHIFT | (group * FAN + i)
                    depth += 1
    return limit, nearest


@njit(nogil=True, cache=True)
def lowest_below(tree, skip, mask, numbers, room):
    """Position of a point of classes other than ``skip`` whose count is 0; -1 if there is none.

    Of the first class that has one, the one of the lowest of ``numbers``, which are by position.
    """
    is_partial = tree.absent.shape[0] > 0
    stack = room.stack
    lowest = np.int64(-1)
    for code in range(tree.tops.shape[0]):
        if code == skip or tree.n_nodes[0, code] == 0 or lowest >= 0:
            continue
        stack[0] = tree.tops[code] << _LEVEL_SHIFT
        depth = 1
        while depth:
            depth -= 1
            at, group = stack[depth] >> _LEVEL_SHIFT, stack[depth] & _IN_LEVEL
            if is_partial and at == 1:
                place = tree.first[1, code] // FAN + group
                if _is_missing(tree.absent, place, room.missing, room.n_missing):
                    continue
            position, bits = _lower_bounds(tree, code, at, group, mask, 1, room)
            while bits:
                i = trailing_zeros(np.uint64(bits))
                bits &= bits - 1
                place = position + i
                if at > 0:
                    stack[depth] = (at - 1) << _LEVEL_SHIFT | (group * FAN + i)
                    depth += 1
                elif lowest < 0 or numbers[place] < numbers[lowest]:
                    lowest = place
    return lowest


@njit(nogil=True, cache=True)
def inside(tree, code, mask, level, uncovered, n_open, found, room):
    """Positions of uncovered points of a class whose count is less than ``level``.

    uncovered bool by position; n_open (m * FAN,) int32: uncovered points below each node. Returns
    how many there are; only the first len(found) are written.
    """
    is_partial = tree.absent.shape[0] > 0
    stack = room.stack
    n_found = 0
    stack[0] = tree.tops[code] << _LEVEL_SHIFT
    depth = 1
    while depth:
        depth -= 1
        at, group = stack[depth] >> _LEVEL_SHIFT, stack[depth] & _IN_LEVEL
        if is_partial and at == 1:
            place = tree.first[1, code] // FAN + group
            if _is_missing(tree.absent, place, room.missing, room.n_missing):
                continue
        position, bits = _lower_bounds(tree, code, at, group, mask, level, room)
        while bits:
            i = trailing_zeros(np.uint64(bits))
            bits &= bits - 1
            place = position + i
            if at == 0:
                if uncovered[place]:
                    if n_found < found.shape[0]:
                        found[n_found] = place
                    n_found += 1
            elif n_open[place]:
                stack[depth] = (at - 1) << _LEVEL_SHIFT | (group * FAN + i)
                depth += 1
    return n_found


@njit(nogil=True, cache=True)
def near_points(tree, codes, skip, mask, least, want, uncovered, n_open, room):
    """Points whose counts, of at least ``least``, are small; returns how many, ``want`` at most.

    Of the classes codes[0]..codes[1]-1 other than ``skip``; where uncovered is not of size 0, only
    of uncovered points. Their positions go to the front of room.found, in no order.

    From level to level only the nodes that look nearest are gone into, by |mask and AND| +
    |mask and OR|, so that a point far from the middle of its node may be overlooked.
    """
    is_partial = tree.absent.shape[0] > 0
    only_open = uncovered.shape[0] > 0
    counts, any_counts = room.counts, room.any_counts
    top = np.int64(0)
    for code in range(codes[0], codes[1]):
        if code != skip:
            top = max(top, tree.tops[code])
    n_groups, n_found = 0, 0
    for level in range(top, -1, -1):
        for code in range(codes[0], codes[1]):
            if code != skip and tree.tops[code] == level and tree.n_nodes[0, code]:
                room.groups[n_groups] = code << _CODE_SHIFT
                n_groups += 1
        n_found = 0
        for j in range(n_groups):
            code, group = room.groups[j] >> _CODE_SHIFT, room.groups[j] & _GROUP
            if is_partial and level == 1:
                place = tree.first[1, code] // FAN + group
                if _is_missing(tree.absent, place, room.missing, room.n_missing):
                    continue
            position, bits = _lower_bounds(tree, code, level, group, mask, _NEVER, room)
            if level > 0:
                _count(tree.ors, position, FAN, mask, _NEVER, room.any_counts)
            while bits:
                i = trailing_zeros(np.uint64(bits))
                bits &= bits - 1
                place = position + i
                if level == 0:
                    if counts[i] < least or (only_open and not uncovered[place]):
                        continue
                    room.found[n_found] = place
                    room.keys[n_found], room.sizes[n_found] = counts[i], 1
                else:
                    node = group * FAN + i
                    size = (
                        np.int64(n_open[place])
                        if only_open
                        else _node_size(tree, code, level, node)
                    )
                    if size == 0:
                        continue
                    room.found[n_found] = code << _CODE_SHIFT | node
                    room.keys[n_found], room.sizes[n_found] = counts[i] + any_counts[i], size
                n_found += 1
        # more than is wanted where nodes are large: the nearest of their points are looked for
        factor = np.int64(1) << (min(2 * level + 1, 8) if level else 0)
        n_found = _preferred(room, n_found, factor * want, n_found if level == 0 else MOST_GROUPS)
        if level > 0:
            n_groups = n_found
            room.groups[:n_groups] = room.found[:n_groups]
    return n_found


@njit(nogil=True, cache=True)
def _node_size(tree, code, level, node):
    """How many points are below a node."""
    size = np.int64(1) << (4 * level)
    return min(size, tree.n_nodes[0, code] - node * size)


@njit(nogil=True, cache=True)
def _preferred(room, n_found, want, most):
    """Keep what has the smallest keys, until it holds ``want`` points or is ``most``."""
    tally = room.tally
    last = np.int64(0)
    for j in range(n_found):
        tally[room.keys[j]] += room.sizes[j]
        last = max(last, room.keys[j])
    limit, left = np.int64(0), want
    while limit <= last and tally[limit] < left:
        left -= tally[limit]
        limit += 1
    tally[: last + 1] = 0
    kept = 0
    # first those that are surely wanted: of others, as many as there is room for
    for is_last in range(2):
        for j in range(kept, n_found):
            key = room.keys[j]
            if kept == most or (is_last and (left <= 0 or key != limit)):
                continue
            if not is_last and key >= limit:
                continue
            if is_last:
                left -= room.sizes[j]
            place, size = room.found[j], room.sizes[j]
            room.found[j], room.keys[j], room.sizes[j] = (
                room.found[kept], room.keys[kept], room.sizes[kept],
            )  # fmt: skip
            room.found[kept], room.keys[kept], room.sizes[kept] = place, key, size
            kept += 1
    return kept
