"""Merged cells that grow among the neighbours of their first point.

A cell grows as in ``kernels.cells``: by the uncovered point of its class of smallest positive
count, as long as m_S stays at least ``level``. Only, which points come next is asked of a tree of
bounds (``kernels.bounds``) and not read off all points: first those near the first point, then, if
all of them have been tried, those near the cell. So too the points of other classes: the cell is
grown against those near it, then the tree says which others it reaches, and these join. So it is
what growing it against all points would give, and its cost follows what it covers.

Cells of a batch grow side by side from one state; ``accept_grown`` takes them in order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmem.kernels.arrays import aligned_zeros
from fastmem.kernels.bounds import (
    FAN,
    BoundTree,
    below,
    gather_groups,
    inside,
    least_count,
    near_points,
    new_room,
)
from fastmem.kernels.cells import grow_cell
from fastmem.kernels.compiling import njit
from fastmem.kernels.counts import count_mask
from fastmem.kernels.layout import TILE, WORD_BITS
from fastmem.kernels.queue import take

_ALL = np.int64(1 << 62)
_FIRST_MISSES = 4
"""Points set aside before a cell is first looked at: what refutes it is mostly known by then."""
_REFUTING = 64
"""Points that join at once, of those that a cell must miss and does not."""


class Ground(NamedTuple):
    """What cells grow on; a launch only reads it.

    all, own `BoundTree`: over all points; and over those of the covered classes that were uncovered
    when it was made, or over all once more. valid (n_words,) uint64, the ones of a full mask.
    uncovered bool, by position in ``own``; n_open (m * FAN,) int32: uncovered points below each of
    its nodes.
    """

    all: BoundTree
    own: BoundTree
    valid: np.ndarray
    uncovered: np.ndarray
    n_open: np.ndarray


class Manner(NamedTuple):
    """How cells grow; margin and only_inside as of ``ClassCover``.

    Among ``n_own`` points of their class at a time, not at all where these are none, and against
    ``n_others`` of all others to begin with; ``misses`` points may be set aside.
    """

    n_own: int
    n_others: int
    misses: int
    margin: float
    only_inside: bool


class Grown(NamedTuple):
    """A batch of S cells: positions and codes (S,) int64, the points that they start from.

    masks (S, n_words) uint64 and thresholds (S,) int64: the neurons. witnesses (S,) int64: the
    position of a point of another class with count 0, where the start cannot be covered; else -1.
    looked (S,) int64: points and nodes counted.
    covered (S, most) int64: positions of the uncovered points that it covers, the first of
    n_covered (S,) int64.
    missing (S, any) int64: the first n_missing (S,) int64 of the groups of ``Ground.all`` that are
    absent and were needed. Where there are any, nothing else is known of a cell.
    """

    positions: np.ndarray
    codes: np.ndarray
    masks: np.ndarray
    thresholds: np.ndarray
    witnesses: np.ndarray
    n_covered: np.ndarray
    looked: np.ndarray
    covered: np.ndarray
    missing: np.ndarray
    n_missing: np.ndarray


@njit(nogil=True, cache=True)
def cover_level(threshold, margin, only_inside):
    """Count below which a neuron covers a point: its threshold less the margin."""
    if only_inside:
        return min(threshold, np.int64(1))
    return min(threshold, np.int64((1.0 - margin) * threshold) + 1)


@njit(nogil=True, cache=True)
def _new_tiles(n_points, n_words):
    n_tiles = (n_points + TILE - 1) // TILE
    return aligned_zeros(n_tiles * n_words * TILE, np.uint64).reshape((n_tiles, n_words, TILE))


@njit(nogil=True, cache=True)
def _tile_sizes(n_points):
    n_tiles = max(1, (n_points + TILE - 1) // TILE)
    sizes = np.full(n_tiles, np.int64(TILE))
    sizes[-1] = n_points - (n_tiles - 1) * TILE
    return sizes


@njit(nogil=True, cache=True)
def _joined_by(others, n_others, tree, positions):
    """``others``, with room for and with the points at ``positions`` of a tree after the first."""
    count = n_others + positions.shape[0]
    if count > others.shape[0] * TILE:
        larger = _new_tiles(2 * count, others.shape[1])
        larger[: others.shape[0]] = others
        others = larger
    gather_groups(tree.points, positions, others, n_others)
    return others


@njit(nogil=True, cache=True)
def _least_of(tiles, n_points, mask):
    """The least count of a mask over the first points of tiles."""
    counts = np.empty(TILE, np.int32)
    least = np.int64(1) << 40
    for tile in range((n_points + TILE - 1) // TILE):
        count_mask(tiles[tile], mask, counts)
        for i in range(min(TILE, n_points - tile * TILE)):
            least = min(least, np.int64(counts[i]))
    return least


@njit(nogil=True, cache=True)
def grow_near(queue, stop, ground, manner, grown):
    """Grow the cells of a batch, a task each: a worker, see ``kernels.queue``."""
    ground, manner, grown = Ground(*ground), Manner(*manner), Grown(*grown)
    tree, own_tree = ground.all, ground.own
    n_words = ground.valid.shape[0]
    most = n_words * WORD_BITS + manner.misses + 3
    own = _new_tiles(manner.n_own + 1, n_words)
    others = _new_tiles(4 * manner.n_others, n_words)
    room = new_room(tree)
    open_own = np.zeros((own.shape[0], TILE), np.bool_)
    space_own = aligned_zeros(own.shape[0] * TILE, np.int32).reshape((own.shape[0], TILE))
    least_own = np.empty(own.shape[0], np.int32)
    refuting = np.empty(_REFUTING, np.int64)
    aside = np.empty(manner.misses + 2, np.int64)
    tried, joined = np.empty(most, np.int64), np.empty(most, np.bool_)
    numbers = np.empty(3, np.int64)
    mask = np.empty(n_words, np.uint64)
    base = np.empty(n_words, np.uint64)
    all_codes = (np.int64(0), np.int64(tree.tops.shape[0]))
    nothing = np.empty(0, np.bool_)
    no_counts = np.empty(0, np.int32)
    while True:
        task = take(queue)
        if task >= stop:
            return
        start, code = grown.positions[task], grown.codes[task]
        room.looked[0], room.n_missing[0] = 0, 0
        block, column = divmod(start, own_tree.points.shape[2])
        for word in range(n_words):
            base[word] = ground.valid[word] & ~own_tree.points[block, word, column]
        least, witness = least_count(tree, code, base, _ALL if manner.margin else 1, room)
        grown.witnesses[task] = witness if least == 0 else -1
        if least == 0 and room.n_missing[0] == 0:
            grown.looked[task] = room.looked[0]
            continue
        level = max(1, np.int64(np.ceil(manner.margin * least)))
        n_aside = 0
        while True:
            n_others = near_points(
                tree, all_codes, code, base, 0, manner.n_others, nothing, no_counts, room
            )
            gather_groups(tree.points, room.found[:n_others], others, 0)
            if manner.n_own == 0:
                break
            n_own = near_points(
                own_tree, (code, code + 1), -1, base, 1, manner.n_own + n_aside, ground.uncovered,
                ground.n_open, room,
            )  # fmt: skip
            if room.n_missing[0]:
                break
            pool = 0
            for j in range(n_own):
                is_new = True
                for a in range(n_aside):
                    is_new &= room.found[j] != aside[a]
                if is_new:
                    room.found[pool] = room.found[j]
                    pool += 1
            pool = min(pool, manner.n_own)
            if pool == 0:
                break
            # the cell so far stands first, as a point without ones
            own[0, :, 0] = 0
            pool_places = room.found[:pool].copy()
            gather_groups(own_tree.points, pool_places, own, 1)
            open_own[:] = True
            open_own[0, 0] = False
            sizes_own = _tile_sizes(pool + 1)
            n_tiles = sizes_own.shape[0]
            tried[0], joined[0] = 0, True
            numbers[0], numbers[1] = 1, 0
            left = manner.misses - n_aside
            allowed = min(_FIRST_MISSES, left)
            while True:
                sizes_others = _tile_sizes(n_others)
                m_tiles = sizes_others.shape[0]
                counts = np.empty((2, m_tiles, TILE), np.int32)
                grow_cell(
                    (base, mask, tried, joined, numbers[0:1], numbers[1:2], numbers[2:3]),
                    (own[:n_tiles], sizes_own, open_own[:n_tiles]),
                    (others[:m_tiles], sizes_others),
                    (space_own, counts[0], counts[1], least_own),
                    level, allowed, _ALL,
                )  # fmt: skip
                n_refuting = below(tree, code, mask, level, refuting, room)
                if room.n_missing[0]:
                    break
                if n_refuting == 0:
                    if allowed == left:
                        break
                    allowed = left
                    continue
                others = _joined_by(others, n_others, tree, refuting[:n_refuting])
                n_others += n_refuting
                if n_refuting == _REFUTING:
                    n_near = near_points(
                        tree, all_codes, code, mask, 0, manner.n_others, nothing, no_counts, room
                    )
                    others = _joined_by(others, n_others, tree, room.found[:n_near])
                    n_others += n_near
            if room.n_missing[0]:
                break
            base[:] = mask
            for step in range(1, numbers[0]):
                if not joined[step]:
                    aside[n_aside] = pool_places[tried[step] - 1]
                    n_aside += 1
            if n_aside > manner.misses or pool < manner.n_own:
                break
        threshold = _least_of(others, n_others, base)
        if threshold > level or manner.n_own == 0:
            threshold, _ = least_count(tree, code, base, threshold, room)
        grown.masks[task] = base
        grown.thresholds[task] = threshold
        limit = cover_level(threshold, manner.margin, manner.only_inside)
        grown.n_covered[task] = inside(
            own_tree, code, base, limit, ground.uncovered, ground.n_open, grown.covered[task], room
        )
        grown.looked[task] = room.looked[0]
        grown.n_missing[task] = room.n_missing[0]
        for i in range(min(room.n_missing[0], grown.missing.shape[1])):
            grown.missing[task, i] = room.missing[i]


@njit(nogil=True, cache=True)
def covered_by(ground, manner, grown, task, found):
    """Positions of all uncovered points that a cell covers, into found (n_covered[task],) int64."""
    ground, manner, grown = Ground(*ground), Manner(*manner), Grown(*grown)
    limit = cover_level(grown.thresholds[task], manner.margin, manner.only_inside)
    inside(
        ground.own, grown.codes[task], grown.masks[task], limit, ground.uncovered, ground.n_open,
        found, new_room(ground.all),
    )  # fmt: skip


@njit(nogil=True, cache=True)
def close_points(ground, codes, positions):
    """Note that points, by their classes and positions in ``own``, are not uncovered any more."""
    ground = Ground(*ground)
    for i in range(positions.shape[0]):
        _close(ground.own, codes[i], positions[i], ground.uncovered, ground.n_open)


@njit(nogil=True, cache=True)
def _close(tree, code, position, uncovered, n_open):
    """Note that a point is not uncovered any more."""
    uncovered[position] = False
    local = position - tree.first[0, code]
    for level in range(1, tree.tops[code] + 1):
        local //= FAN
        n_open[tree.first[level, code] + local] -= 1


ACCEPTED, LATER, FAILED, COVERED = range(4)
"""What becomes of a cell."""


@njit(nogil=True, cache=True)
def accept_grown(ground, grown, more, more_starts, share, outcomes, gained, closed):
    """Take the cells of a batch in order, and the points that they cover from the uncovered ones.

    A cell whose start an earlier one covers is COVERED; one that covers less than ``share`` of what
    it would have covered alone is left for LATER, unless it is the first of its class. Those that
    cover more than their lists hold have longer ones in ``more`` int64, that of cell s from
    more_starts[s] to more_starts[s + 1] - 1. outcomes (S,) int8, gained (S,) int64; closed int64
    takes the positions of all points that were covered, or failed, cell by cell; returns how many.
    """
    ground, grown = Ground(*ground), Grown(*grown)
    tree, uncovered, n_open = ground.own, ground.uncovered, ground.n_open
    has_one = np.zeros(tree.tops.shape[0], np.bool_)
    n_closed = 0
    for task in range(grown.positions.shape[0]):
        code, start = grown.codes[task], grown.positions[task]
        gained[task] = 0
        if not uncovered[start]:
            outcomes[task] = COVERED
            continue
        if grown.witnesses[task] >= 0:
            outcomes[task] = FAILED
            _close(tree, code, start, uncovered, n_open)
            closed[n_closed] = start
            n_closed += 1
            continue
        count = grown.n_covered[task]
        places = grown.covered[task]
        if count > places.shape[0]:
            places = more[more_starts[task] : more_starts[task + 1]]
        fresh = 0
        for j in range(count):
            fresh += uncovered[places[j]]
        if fresh < share * grown.n_covered[task] and has_one[code]:
            outcomes[task] = LATER
            continue
        has_one[code] = True
        for j in range(count):
            if uncovered[places[j]]:
                _close(tree, code, places[j], uncovered, n_open)
                closed[n_closed] = places[j]
                n_closed += 1
        outcomes[task] = ACCEPTED
        gained[task] = fresh
    return n_closed
