"""Merged cells: a neuron's mask grows over several points of its class, one after the other.

S is the set of points that have joined, the first of which is given; u_S the AND of 1 - Phi(x) over
them; m_S the least of |u_S and Phi(x+)| over the points x+ of other classes. Again and again the
uncovered point of smallest count |u_S and Phi(x)| among those with count >= 1 (of equals the first)
is tried: it joins S if m_S stays at least ``level``, else it is set aside. The cell is finished
when ``misses`` + 1 points have been set aside, or none is left. A point set aside need not be tried
again: m_S only falls.

Each step reads only the words in which the mask changes, so that setting a point aside is cheap.

Positions are TILE * tile + column, as everywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmem.kernels.bits import popcount
from fastmem.kernels.compiling import njit
from fastmem.kernels.counts import count_mask
from fastmem.kernels.layout import TILE

UNFINISHED, FINISHED, UNCOVERABLE = range(3)
"""Outcomes of growing a cell."""
_EMPTY = np.uint64(0)
_MANY = np.int32(2**31 - 1)
_LATEST = 16
"""Points that last kept others from joining, which are asked first: many points are set aside by
few, and one point costs a hundredth of a tile."""
_OUT = np.int32(2**29)
"""Added to the count of a point that may not join; half as much is beyond every count."""


class Own(NamedTuple):
    """Points of the covered class that may join.

    tiles (n_tiles, n_words, TILE) uint64, sizes (n_tiles,) int64, uncovered (n_tiles, TILE) bool.
    """

    tiles: np.ndarray
    sizes: np.ndarray
    uncovered: np.ndarray


class Others(NamedTuple):
    """Points of other classes.

    tiles (n_tiles, n_words, TILE) uint64, full but for the last; sizes (n_tiles,) int64.
    """

    tiles: np.ndarray
    sizes: np.ndarray


class Cell(NamedTuple):
    """A cell and what was decided: it can be gone on with, also against more points of others.

    valid, mask (n_words,) uint64: the ones of a full mask, and u_S. tried (most,) int64: the
    positions of the points tried, in order, the first of S at the head; joined (most,) bool:
    whether each joined. At most every one of the first mask and ``misses`` + 2 more are tried.
    n_tried, n_seen (1,) int64: how many points were tried, and how many of the others all of that
    was decided against. outcome (1,) int64: UNFINISHED, FINISHED or UNCOVERABLE.
    """

    valid: np.ndarray
    mask: np.ndarray
    tried: np.ndarray
    joined: np.ndarray
    n_tried: np.ndarray
    n_seen: np.ndarray
    outcome: np.ndarray


class Space(NamedTuple):
    """Where `grow_cell` works: at least as many tiles as there are.

    own, others, trial (n_tiles, TILE) int32: counts of both sides, and of the others if the point
    on trial joined; nearest (n_tiles,) int32: the least positive count in each tile of ``own``.
    """

    own: np.ndarray
    others: np.ndarray
    trial: np.ndarray
    nearest: np.ndarray


@njit(nogil=True, cache=True)
def grow_cell(cell, own, others, space, level, misses, budget):
    """Go on with a cell: it is UNFINISHED after some ``budget`` words, FINISHED or UNCOVERABLE.

    Where it is FINISHED, ``space.own`` has the counts of its mask, see `cover_grown`.

    Plain tuples of the fields of a `Cell`, `Own`, `Others` and `Space`, which Numba takes over in a
    fifth of the time of named ones: small fits make hundreds of calls of a few microseconds.

    A point where m_S < ``level`` for S = {that point} cannot be covered. Given more others than
    last time, it goes back to the first decision that they overturn, so that the result is the one
    for all of them.
    """
    cell, own, others, space = Cell(*cell), Own(*own), Others(*others), Space(*space)
    cell.outcome[0] = FINISHED
    if not _replay(cell, own, others, level):
        cell.outcome[0] = UNCOVERABLE
    else:
        _count(cell, own, others, space)
        if _n_aside(cell) <= misses and not _extend(
            cell, own, others, space, level, misses, budget
        ):
            cell.outcome[0] = UNFINISHED


@njit(nogil=True, cache=True)
def cover_grown(counts, level, uncovered):
    """Clear ``uncovered`` (n_tiles, TILE) bool where a count is below ``level``; returns how many.

    counts (n_tiles, TILE) int32: those that `grow_cell` leaves in ``own`` of its `Space`, with
    _OUT added for points that were set aside.
    """
    gained = 0
    for tile in range(uncovered.shape[0]):
        still, row = uncovered[tile], counts[tile]
        for i in range(TILE):
            count = row[i] - _OUT if row[i] >= _OUT // 2 else row[i]
            covered = still[i] and count < level
            gained += covered
            still[i] = still[i] and not covered
    return gained


@njit(nogil=True, cache=True)
def _n_aside(cell):
    count = 0
    for step in range(cell.n_tried[0]):
        count += not cell.joined[step]
    return count


@njit(nogil=True, cache=True, inline="always")
def _replay(cell, own, others, level):
    """Make u_S anew, up to the first point that others not seen so far do not let join.

    Returns False if that is the first of all.
    """
    n_words = own.tiles.shape[1]
    n_others = np.int64(0)
    for tile in range(others.sizes.shape[0]):
        n_others += others.sizes[tile]
    mask = cell.mask
    for word in range(n_words):
        mask[word] = cell.valid[word]
    smaller = np.empty(n_words, np.uint64)
    for step in range(cell.n_tried[0]):
        if not cell.joined[step]:
            continue
        tile = cell.tried[step] // TILE
        column = cell.tried[step] - tile * TILE
        for word in range(n_words):
            smaller[word] = mask[word] & ~own.tiles[tile, word, column]
        if not _stays_off(others.tiles, cell.n_seen[0], n_others, smaller, level):
            if step == 0:
                return False
            cell.joined[step] = False
            cell.n_tried[0] = step + 1
            break
        mask[:] = smaller
    cell.n_seen[0] = n_others
    return True


@njit(nogil=True, cache=True)
def _stays_off(tiles, first, last, mask, level):
    """Whether the points first..last-1 of ``tiles`` all have at least ``level`` ones in mask."""
    for point in range(first, last):
        tile = point // TILE
        column = point - tile * TILE
        count = np.int64(0)
        for word in range(mask.shape[0]):
            count += np.int64(popcount(tiles[tile, word, column] & mask[word]))
            if count >= level:
                break
        if count < level:
            return False
    return True


@njit(nogil=True, cache=True, inline="always")
def _count(cell, own, others, space):
    """Fill ``space`` with the counts of u_S; points that may not join have one beyond _OUT / 2."""
    for tile in range(others.tiles.shape[0]):
        count_mask(others.tiles[tile], cell.mask, space.others[tile])
    for tile in range(own.tiles.shape[0]):
        row, still = space.own[tile], own.uncovered[tile]
        count_mask(own.tiles[tile], cell.mask, row)
        for i in range(TILE):
            row[i] += _OUT if not still[i] or i >= own.sizes[tile] else np.int32(0)
    for step in range(cell.n_tried[0]):
        if not cell.joined[step]:
            aside = cell.tried[step]
            space.own[aside // TILE, aside % TILE] += _OUT
    for tile in range(own.tiles.shape[0]):
        space.nearest[tile] = _least_positive(space.own[tile])


@njit(nogil=True, cache=True, inline="always")
def _extend(cell, own, others, space, level, misses, budget):
    """Try one point after the other; returns whether the cell is finished."""
    own_tiles, own_counts, nearest = own.tiles, space.own, space.nearest
    other_tiles, other_sizes, other_counts = others.tiles, others.sizes, space.others
    mask, all_trials = cell.mask, space.trial
    n_own, n_words = own_tiles.shape[0], own_tiles.shape[1]
    n_others = other_tiles.shape[0]
    n_aside = _n_aside(cell)
    delta = np.empty(n_words, np.uint64)
    changed = np.empty(n_words, np.int64)
    latest = np.empty(_LATEST, np.int64)
    n_latest = 0
    spent = 0  # without the counts: every call takes a step
    refuting = 0
    while spent < budget:
        near_tile = 0
        for tile in range(n_own):
            if nearest[tile] < nearest[near_tile]:
                near_tile = tile
        count = nearest[near_tile]
        if count >= _OUT // 2:
            return True
        row = own_counts[near_tile]
        column = 0
        while row[column] != count:
            column += 1
        n_changed = 0
        for word in range(n_words):
            delta[word] = mask[word] & own_tiles[near_tile, word, column]
            if delta[word] != _EMPTY:
                changed[n_changed] = word
                n_changed += 1
        joins = True
        for r in range(n_latest):
            position = latest[r]
            tile, at = position // TILE, position % TILE
            lower = other_counts[tile, at]
            for j in range(n_changed):
                ones = other_tiles[tile, changed[j], at] & delta[changed[j]]
                lower -= np.int32(popcount(ones))
            spent += n_changed
            if lower < level:
                _to_front(latest, r, position)
                joins = False
                break
        for t in range(n_others if joins else 0):
            # what refuted the last point often refutes the next
            tile = (refuting + t) % n_others
            trial = all_trials[tile]
            _lower(other_tiles[tile], delta, changed, n_changed, other_counts[tile], trial)
            spent += n_changed * TILE
            least = _least(trial, other_sizes[tile])
            if least < level:
                refuting = tile
                at = 0
                while trial[at] != least:
                    at += 1
                _to_front(latest, min(n_latest, _LATEST - 1), tile * TILE + at)
                n_latest = min(n_latest + 1, _LATEST)
                joins = False
                break
        step = cell.n_tried[0]
        cell.tried[step] = near_tile * TILE + column
        cell.joined[step] = joins
        cell.n_tried[0] = step + 1
        if not joins:
            row[column] += _OUT
            nearest[near_tile] = _least_positive(row)
            n_aside += 1
            if n_aside > misses:
                return True
            continue
        other_counts[:n_others] = all_trials[:n_others]
        for tile in range(n_own):
            row = own_counts[tile]
            _lower(own_tiles[tile], delta, changed, n_changed, row, row)
            nearest[tile] = _least_positive(row)
        spent += (n_changed + 1) * TILE * n_own
        for j in range(n_changed):
            mask[changed[j]] ^= delta[changed[j]]
    return False


@njit(nogil=True, cache=True)
def _to_front(latest, place, position):
    """Put a position at the head of ``latest``, and all up to ``place`` one further back."""
    for r in range(place, 0, -1):
        latest[r] = latest[r - 1]
    latest[0] = position


@njit(nogil=True, cache=True)
def _lower(words, delta, changed, n_changed, before, after):
    """after[i] = before[i] - |delta and column i| for one tile.

    words (n_words, TILE) uint64; before, after (TILE,) int32. Only the words changed[:n_changed]
    of ``delta`` are not zero.
    """
    for i in range(TILE):
        after[i] = before[i]
    for j in range(0, n_changed - 1, 2):
        d0, d1 = delta[changed[j]], delta[changed[j + 1]]
        even, odd = words[changed[j]], words[changed[j + 1]]
        for i in range(TILE):
            after[i] -= np.int32(popcount(even[i] & d0) + popcount(odd[i] & d1))
    if n_changed % 2:
        d0 = delta[changed[n_changed - 1]]
        last = words[changed[n_changed - 1]]
        for i in range(TILE):
            after[i] -= np.int32(popcount(last[i] & d0))


@njit(nogil=True, cache=True)
def _least(counts, size):
    least = _MANY
    for i in range(size):
        least = min(least, counts[i])
    return least


@njit(nogil=True, cache=True)
def _least_positive(counts):
    least = _MANY
    for i in range(TILE):
        least = min(least, counts[i] if counts[i] > 0 else _MANY)
    return least
