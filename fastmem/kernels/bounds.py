"""Bounds on counts for many points at once: a tree over patterns that lie in a spatial order.

A node bounds FAN columns below it: the AND of their patterns, and the OR. For every mask u and every
point q below, |u and AND| <= |u and q| <= |u and OR|, so most points need no look. The nodes of a
level lie in tiles as points do, and every class begins a new tile on each level; groups of FAN
siblings never cross the end of a tile.

Positions are TILE * tile + column, on each level. A class whose points are all in one group has no
nodes: its top is level 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmem.kernels.bits import popcount
from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import TILE, WORD_BITS

FAN = 16
"""Children of a node. A divisor of TILE, and two vector registers of words: larger nodes leave more
points, smaller ones make more nodes."""
_EMPTY = np.uint64(0)
_NEVER = np.int64(1 << 40)
_STACK = 1024
"""More than FAN nodes on each level of the highest tree."""
_FULL = np.uint64(2**64 - 1)
MOST_GROUPS = 1024
"""Nodes that `near_points` goes into at most on each level."""
_LEVEL_SHIFT = 40
_IN_LEVEL = (1 << _LEVEL_SHIFT) - 1
_CODE_SHIFT = 32
_GROUP = (1 << _CODE_SHIFT) - 1


class BoundTree(NamedTuple):
    """A tree over the patterns of all classes.

    tiles (n_tiles, n_words, TILE) uint64: level 0, the points. ands, ors (m, n_words, TILE) uint64:
    the nodes of levels 1, 2, ... first (n_levels, K) int64: the tile at which a level of a class
    begins; n_nodes (n_levels, K) int64: how many nodes, or points, it has. tops (K,) int64: the
    level whose nodes are one group.
    """

    tiles: np.ndarray
    ands: np.ndarray
    ors: np.ndarray
    first: np.ndarray
    n_nodes: np.ndarray
    tops: np.ndarray


class Room(NamedTuple):
    """Where searches of a tree work; see `new_room`.

    counts, any_counts (FAN,) int64: of siblings. stack (_STACK,) int64: nodes to go into. groups
    (most,) int64: what is to be looked at on a level; found, keys, sizes (FAN * most,) int64: its
    nodes or points, how far they are, and how many points they hold. tally (2 n + 1,) int64, all
    zero between two searches: points by how far they are. looked (1,) int64 grows by the columns
    that are counted.
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


@njit(nogil=True, cache=True)
def new_room(tree):
    """Room for searches of a tree."""
    most = MOST_GROUPS + tree.tops.shape[0]
    n_found = FAN * most
    return Room(
        np.empty(FAN, np.int64), np.empty(FAN, np.int64), np.empty(_STACK, np.int64),
        np.empty(most, np.int64), np.empty(n_found, np.int64), np.empty(n_found, np.int64),
        np.empty(n_found, np.int64), np.zeros(2 * tree.tiles.shape[1] * WORD_BITS + 1, np.int64),
        np.zeros(1, np.int64),
    )  # fmt: skip


@njit(nogil=True, cache=True)
def bound_nodes(lower_ands, lower_ors, first_lower, n_lower, ands, ors, first, start, stop):
    """Make the nodes start..stop-1 of one class and level from the columns below.

    lower_ands, lower_ors (m, n_words, TILE) uint64, the same array where they are points, whose
    ``n_lower`` columns begin at tile ``first_lower``; nodes go to the tiles from ``first`` on.
    """
    n_words = ands.shape[1]
    for node in range(start, stop):
        tile = first_lower + node * FAN // TILE
        column = node * FAN % TILE
        count = min(FAN, n_lower - node * FAN)
        to_tile, to_column = first + node // TILE, node % TILE
        for word in range(n_words):
            all_of, any_of = _FULL, _EMPTY
            for i in range(column, column + count):
                all_of &= lower_ands[tile, word, i]
                any_of |= lower_ors[tile, word, i]
            ands[to_tile, word, to_column] = all_of
            ors[to_tile, word, to_column] = any_of


@njit(nogil=True, cache=True)
def count_siblings(tiles, tile, column, mask, limit, counts):
    """counts[i] = |mask and column + i of a tile|, i < FAN: mask (n_words,), counts (FAN,) int64.

    Ends as soon as all counts have reached ``limit``.
    """
    n_words = mask.shape[0]
    for i in range(FAN):
        counts[i] = 0
    for word in range(0, n_words - 1, 2):
        a, b = mask[word], mask[word + 1]
        least = limit
        for i in range(FAN):
            counts[i] += np.int64(
                popcount(tiles[tile, word, column + i] & a)
                + popcount(tiles[tile, word + 1, column + i] & b)
            )
            least = min(least, counts[i])
        if least >= limit:
            return
    if n_words % 2:
        a = mask[n_words - 1]
        for i in range(FAN):
            counts[i] += np.int64(popcount(tiles[tile, n_words - 1, column + i] & a))


@njit(nogil=True, cache=True, inline="always")
def _lower_bounds(tree, code, level, group, mask, limit, room):
    """room.counts = counts, up to ``limit``, of a group's ANDs, or on level 0 of its points.

    Returns tile, column and how many there are.
    """
    tile = tree.first[level, code] + group * FAN // TILE
    column = group * FAN % TILE
    words = tree.tiles if level == 0 else tree.ands
    count_siblings(words, tile, column, mask, limit, room.counts)
    room.looked[0] += FAN
    return tile, column, min(FAN, tree.n_nodes[level, code] - group * FAN)


@njit(nogil=True, cache=True)
def below(tree, skip, mask, level, found, room):
    """Positions of points of classes other than ``skip`` whose count is less than ``level``.

    At most len(found) of them, in an order of the tree's own; returns how many. mask (n_words,)
    uint64, found int64.
    """
    counts, stack = room.counts, room.stack
    n_found = 0
    for code in range(tree.tops.shape[0]):
        if code == skip or tree.n_nodes[0, code] == 0:
            continue
        stack[0] = tree.tops[code] << _LEVEL_SHIFT
        depth = 1
        while depth:
            depth -= 1
            at, group = stack[depth] >> _LEVEL_SHIFT, stack[depth] & _IN_LEVEL
            tile, column, n = _lower_bounds(tree, code, at, group, mask, level, room)
            for i in range(n):
                if counts[i] >= level:
                    continue
                if at == 0:
                    if n_found == found.shape[0]:
                        return n_found
                    found[n_found] = tile * TILE + column + i
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
    counts, stack = room.counts, room.stack
    position = np.int64(-1)
    for code in range(tree.tops.shape[0]):
        if code == skip or tree.n_nodes[0, code] == 0:
            continue
        stack[0] = tree.tops[code] << _LEVEL_SHIFT
        depth = 1
        while depth:
            depth -= 1
            at, group = stack[depth] >> _LEVEL_SHIFT, stack[depth] & _IN_LEVEL
            tile, column, n = _lower_bounds(tree, code, at, group, mask, limit, room)
            for i in range(n):
                if counts[i] >= limit:
                    continue
                if at == 0:
                    limit, position = counts[i], tile * TILE + column + i
                    if limit == 0:
                        return limit, position
                else:
                    stack[depth] = (at - 1) << _LEVEL_SHIFT | (group * FAN + i)
                    depth += 1
    return limit, position


@njit(nogil=True, cache=True)
def lowest_below(tree, skip, mask, numbers, room):
    """Position of a point with count 0: of the first class that has one, other than ``skip``, the
    one of the lowest of ``numbers`` (n_tiles * TILE,), which are by position; else -1.
    """
    counts, stack = room.counts, room.stack
    position = np.int64(-1)
    for code in range(tree.tops.shape[0]):
        if code == skip or tree.n_nodes[0, code] == 0 or position >= 0:
            continue
        stack[0] = tree.tops[code] << _LEVEL_SHIFT
        depth = 1
        while depth:
            depth -= 1
            at, group = stack[depth] >> _LEVEL_SHIFT, stack[depth] & _IN_LEVEL
            tile, column, n = _lower_bounds(tree, code, at, group, mask, 1, room)
            for i in range(n):
                if counts[i]:
                    continue
                place = tile * TILE + column + i
                if at > 0:
                    stack[depth] = (at - 1) << _LEVEL_SHIFT | (group * FAN + i)
                    depth += 1
                elif position < 0 or numbers[place] < numbers[position]:
                    position = place
    return position


@njit(nogil=True, cache=True)
def inside(tree, code, mask, level, uncovered, n_open, found, room):
    """Positions of uncovered points of a class whose count is less than ``level``.

    uncovered (n_tiles * TILE,) bool by position; n_open (m * TILE,) int32: uncovered points below
    each node. Returns how many there are; only the first len(found) are written.
    """
    counts, stack = room.counts, room.stack
    n_found = 0
    stack[0] = tree.tops[code] << _LEVEL_SHIFT
    depth = 1
    while depth:
        depth -= 1
        at, group = stack[depth] >> _LEVEL_SHIFT, stack[depth] & _IN_LEVEL
        tile, column, n = _lower_bounds(tree, code, at, group, mask, level, room)
        for i in range(n):
            if counts[i] >= level:
                continue
            place = tile * TILE + column + i
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

    Of the classes codes[0]..codes[1]-1 other than ``skip``; where uncovered (n_tiles * TILE,) is
    not of size 0, only of uncovered points. Their positions go to the front of room.found, in no
    order. From level to level only the nodes that look nearest are gone into, by |mask and AND| +
    |mask and OR|, so that a point far from the middle of its node may be overlooked.
    """
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
            tile, column, n = _lower_bounds(tree, code, level, group, mask, _NEVER, room)
            if level > 0:
                count_siblings(tree.ors, tile, column, mask, _NEVER, room.any_counts)
            for i in range(n):
                place = tile * TILE + column + i
                if level == 0:
                    if counts[i] < least or (only_open and not uncovered[place]):
                        continue
                    room.found[n_found] = place
                    room.keys[n_found], room.sizes[n_found] = counts[i], 1
                else:
                    node = group * FAN + i
                    size = np.int64(n_open[place]) if only_open else _node_size(
                        tree, code, level, node
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
