"""Merged cells: neurons that are grown over several points of a class at once.

Let S be points of the covered class, u_S the AND of 1 - Phi(x) over them, and m_S the least count
of u_S over the other classes. Every point of S has count 0, so where m_S >= 1 the neuron (u_S, m_S)
covers all of S and no other class's point: the paper's architecture and its guarantee, with a cell
many times larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from fastmem.kernels.cells import (
    UNCOVERABLE,
    UNFINISHED,
    Cell,
    Others,
    Own,
    Space,
    grow_cell,
)
from fastmem.kernels.layout import MASK_GROUP, TILE
from fastmem.machine.arrays import aligned_zeros
from fastmem.machine.loops import run_calls
from fastmem.second_layer.counting import SERIAL_SECONDS, TASK_WORDS, TiledPoints, sizes_of
from fastmem.second_layer.cover import Cover

MISSES = 64
"""Points that a cell may set aside, because with them it would reach another class.

More make fewer neurons in more steps. Growing several cells for each neuron and taking the best
does less for the same work.
"""
_NEAR = 3072
_NEAR_MARGIN = 2 * TILE, TILE
"""With a margin every cell has near points of its own, from the count of its first mask: beside
those few are worth their counts. Above the first number the latest of the second are kept."""
_POOL = 1 << 15
_POOL_WORDS = 640 << 10
"""Words of the points among which a cell grows: 5 MB, so that those of a class stay in the
third-level cache. Some thousand points do as well as a whole class, one thousand does not."""
_POOLS_WORDS = 1 << 24
_FEW = 4 * TILE
"""Points that are not worth copying."""
_AT_ONCE_BYTES = 64 << 20
MOST_NEAR = 1024
_CELLS, ALL_CELLS = 8, 32
"""Cells of a class that grow side by side at most, and of all classes."""
_LATEST, _SHARE = 16, 32
"""As many as would cover one in _SHARE of the points left, going by that many of the neurons."""
_MOST_AHEAD = 16
_LOOK_AROUND = 8
"""First masks of a class, and classes, that are counted in one pass over the patterns at most."""


def covers_at_once(n_words: int) -> int:
    """Covers that may grow at the same time, so that their near points take some 64 MB."""
    return max(2 * MASK_GROUP, _AT_ONCE_BYTES // (8 * n_words * MOST_NEAR))


class _NearPoints:
    """Points of other classes that came nearest to the cells of a class so far.

    The least count over a few hundred of them is nearly always the least over all. They only save
    work: what is found with them is checked against all points, so the choice of these points
    changes no result.

    Attributes
    ----------
    known : ndarray of int64
        Their positions in all patterns.
    others : Others
        The points as the kernel takes them.
    """

    def __init__(self, cover: Cover) -> None:
        self.known = np.empty(0, np.int64)
        self._cover = cover
        self._tiles = aligned_zeros((1, len(cover.valid), TILE), np.uint64)
        self.others = Others(self._tiles, sizes_of(0))

    def add(self, positions: np.ndarray) -> None:
        """Take in the points at ``positions`` of all patterns; some may be known already."""
        n_old = len(self.known)
        self.known = np.concatenate([self.known, positions])
        n_tiles = len(self._tiles)
        while n_tiles * TILE < len(self.known):
            n_tiles *= 2
        if n_tiles > len(self._tiles):
            larger = aligned_zeros((n_tiles, *self._tiles.shape[1:]), np.uint64)
            larger[: len(self._tiles)] = self._tiles
            self._tiles = larger
        self._cover.copy_others(positions, self._tiles, n_old)
        sizes = sizes_of(len(self.known))
        self.others = Others(self._tiles[: len(sizes)], sizes)

    def forget(self, most: int, kept: int) -> None:
        """Keep the latest ``kept`` points only, if there are more than ``most``.

        Only between two neurons: while a cell is being grown, every point that refuted it must
        stay, or it could go round in circles.
        """
        count = len(self.known)
        if count > most:
            points = TiledPoints(*self.others)
            latest = points.gathered(np.arange(count - kept, count))
            self._tiles = latest.tiles
            self.known = self.known[-kept:]
            self.others = Others(latest.tiles, latest.sizes)


class _Pool:
    """Uncovered points of a class among which its cells grow.

    The whole class where it has at most ``most`` uncovered points; else a copy of the first so
    many along its random order. A copy is taken anew when half of its points are covered.

    Attributes
    ----------
    own : Own
        The points as of the last `refresh`, as the kernel takes them.
    is_class : bool
        Whether they are the points of the cover, place by place.
    """

    def __init__(self, cover: Cover, most: int) -> None:
        self.cover, self.most = cover, most
        self._numbers = np.empty(0, np.int32)
        self._points: TiledPoints
        self._is_whole = False

    def refresh(self) -> None:
        """Take note of what is covered by now."""
        cover = self.cover
        # how many are left may take a while to find out: it is asked while it matters
        is_small = self._is_whole or cover.remaining <= self.most
        at_hand = cover.all_at_hand() if is_small else None
        self.is_class = at_hand is not None
        if at_hand is not None:
            self.own = at_hand
            return
        becomes_whole = is_small and not self._is_whole
        is_open = cover.is_open(self._numbers)
        full = len(self._numbers) if self._is_whole else self.most
        is_thin = 2 * np.count_nonzero(is_open) <= full and (full > _FEW or not self._is_whole)
        if becomes_whole or is_thin:
            chosen = cover.next_candidates(self.most).astype(np.int64)
            numbers = cover.numbers_of(chosen)
            in_order = np.argsort(numbers)
            self._points, self._numbers = cover.gathered(chosen[in_order]), numbers[in_order]
            self._is_whole = self._is_whole or becomes_whole
            is_open = np.ones(len(chosen), np.bool_)
        uncovered = np.zeros((len(self._points.tiles), TILE), np.bool_)
        uncovered.reshape(-1)[: len(is_open)] = is_open
        self.own = Own(self._points.tiles, self._points.sizes, uncovered)

    def place(self, point: int) -> int:
        """Where the class's ``point`` is among them."""
        if self.is_class:
            return point
        number = self.cover.numbers_of(np.array([point]))
        return int(np.searchsorted(self._numbers, number)[0])


def _work_space(n_own: int, n_others: int) -> Space:
    own, others, trial = (aligned_zeros((n, TILE), np.int32) for n in (n_own, n_others, n_others))
    return Space(own, others, trial, np.empty(n_own, np.int32))


_NO_SPACE = _work_space(0, 0)


class _GrowingCell:
    """A cell that grows, what it grows against, and what was found of it.

    Attributes
    ----------
    cover : Cover
        Whose neuron it becomes.
    near : _NearPoints
    start : int
        The point of the class that it grows from.
    cell : Cell
    level : int
        It keeps at least so large a least count.
    least : int
        Its least count over all other points, once it is settled; 0 where ``start`` cannot be
        covered, and -1 before.
    own : Own
        The points among which it grows.
    space : Space
        Where it grows; once it is settled, with its counts.
    """

    def __init__(self, cover: Cover) -> None:
        self.cover = cover
        self.near = _NearPoints(cover)
        self.space = _NO_SPACE

    def begin(self, start: int, pool: _Pool) -> None:
        """Begin anew from a point, among those of a pool."""
        cover = self.cover
        if cover.margin:
            self.near.forget(*_NEAR_MARGIN)
        else:
            self.near.forget(_NEAR, _NEAR)
        self.start, self.own = start, pool.own
        self.first_mask = cover.masks_of(np.array([start]))[0]
        # every point that joins takes a one from the mask
        most = int(np.bitwise_count(self.first_mask).sum()) + MISSES + 2
        tried, joined = np.empty(most, np.int64), np.empty(most, np.bool_)
        tried[0], joined[0] = pool.place(start), True
        numbers = np.array([1, 0, UNFINISHED])
        self.cell = Cell(
            cover.valid, self.first_mask.copy(), tried, joined,
            numbers[0:1], numbers[1:2], numbers[2:3],
        )  # fmt: skip
        self.level, self.least = 1, -1

    @property
    def number(self) -> int:
        """Number within the class of the point that it grows from."""
        return int(self.cover.numbers_of(np.array([self.start]))[0])

    @property
    def is_settled(self) -> bool:
        """Whether it holds against all other points, or ``start`` cannot be covered."""
        return self.least >= 0

    def look_around(self, least: int, nearest: np.ndarray) -> None:
        """Begin with what was counted of its first mask: the least count, and what is nearest."""
        self.near.add(nearest)
        self.level = max(1, int(np.ceil(self.cover.margin * least)))

    def call(self) -> tuple[Any, ...]:
        """Arguments of `grow_cell`, which goes on with the cell as far as the near points tell."""
        parts = self.cell, self.own, self.near.others, self.space
        return *map(tuple, parts), self.level, MISSES, TASK_WORDS // 4

    def claims(self, other: _GrowingCell) -> bool:
        """Whether its neuron covers the point that another cell of the class grows from."""
        inside = self.cell.mask & ~other.first_mask
        level = self.cover.levels(np.array([self.least]))[0]
        return bool(np.bitwise_count(inside).sum() < level)


class _Growth:
    """What the neurons of one class grow among, and the cells that grow at present.

    Attributes
    ----------
    pool : _Pool
    cells : list of _GrowingCell
        In the order in which they become neurons.
    """

    def __init__(self, cover: Cover, pool_size: int, most_cells: int) -> None:
        self.cover = cover
        self.pool = _Pool(cover, pool_size)
        self.cells: list[_GrowingCell] = []
        self._known = [_GrowingCell(cover)]
        self._most_cells = most_cells
        self._ahead: dict[int, tuple[int, np.ndarray]] = {}
        self._n_ahead = 1

    def begin(self, most_tried: int | None) -> None:
        """Begin cells from the next uncovered points, all among those uncovered now.

        So many that the cover's neurons and failed points will not be more than ``most_tried``.
        """
        self.pool.refresh()
        count = cells_at_once(self.cover, self._most_cells)
        if most_tried is not None:
            count = min(count, most_tried - self.cover.n_tried)
        starts = self.cover.next_candidates(count)
        while len(self._known) < len(starts):
            self._known.append(_GrowingCell(self.cover))
        self.cells = self._known[: len(starts)]
        for cell, start in zip(self.cells, starts, strict=True):
            cell.begin(int(start), self.pool)

    @property
    def looks_around(self) -> bool:
        """Whether first masks of the new cells must be counted, and are not yet."""
        wanted = bool(self.cover.margin) or not len(self.cells[0].near.known)
        return wanted and any(cell.number not in self._ahead for cell in self.cells)

    def next_starts(self) -> np.ndarray:
        """Points whose first masks are counted together: of new cells, and some that follow.

        They follow unless a neuron covers them meanwhile. More, while nearly all were needed.
        """
        wanted = self.cover.next_candidates(max(len(self.cells), self._n_ahead))
        numbers = self.cover.numbers_of(wanted).tolist()
        kept = {number: self._ahead[number] for number in numbers if number in self._ahead}
        n_vain = len(self._ahead) - len(kept)
        if 2 * n_vain > self._n_ahead:
            self._n_ahead = max(1, self._n_ahead // 2)
        elif 4 * n_vain <= self._n_ahead and self.cover.margin and self.cover.width:
            self._n_ahead = min(2 * self._n_ahead, _MOST_AHEAD)
        self._ahead = kept
        is_new = [number not in kept for number in numbers]
        return wanted[is_new]

    def look_ahead(self, start: int, least: np.ndarray, nearest: np.ndarray) -> None:
        """Keep what was counted of a first mask, by ranges: the least count, and what is nearest.

        least, nearest (ranges,) int64: see `least_over`.
        """
        nearest, counts = nearest[nearest >= 0], least[nearest >= 0]
        if self.cover.margin and len(nearest) > TILE:
            nearest = nearest[np.argpartition(counts, TILE)[:TILE]]
        number = int(self.cover.numbers_of(np.array([start]))[0])
        self._ahead[number] = int(least.min()), nearest

    def look_around(self) -> None:
        """Let new cells begin with what was counted of their first masks, if anything was."""
        for cell in self.cells:
            found = self._ahead.pop(cell.number, None)
            if found is not None:
                cell.look_around(*found)

    def finish(self) -> None:
        """Make the settled cells neurons in order, but for those whose start is covered by then."""
        failed = [cell.start for cell in self.cells if not cell.least]
        if failed:
            self.cover.drop(np.array(failed), np.full(len(failed), -1))
        chosen: list[_GrowingCell] = []
        for cell in self.cells:
            if cell.least and not any(earlier.claims(cell) for earlier in chosen):
                chosen.append(cell)
        if chosen:
            masks = np.array([cell.cell.mask for cell in chosen])
            thresholds = np.array([cell.least for cell in chosen])
            if self.pool.is_class:
                counts = [cell.space.own for cell in chosen]
                self.cover.accept_grown(masks, thresholds, counts)
            else:
                self.cover.accept(masks, thresholds)
        self.cells = []


def cells_at_once(cover: Cover, most: int) -> int:
    """Cells of a class that grow side by side, from what is uncovered at one time.

    One, unless there is a margin, which makes cells small and many, and the latest neurons say that
    all of them together cover little of what is left: then they are seldom in each other's way. The
    number depends on nothing else, so that the network does not depend on the threads.
    """
    latest = cover.gained[-_LATEST:]
    if not cover.margin or not latest:
        return 1
    share = cover.remaining * len(latest) // (_SHARE * sum(latest))
    return min(most, max(1, share))


class Merger:
    """Adds merged neurons to the covers of a fit.

    A cell grows among a pool of its class's uncovered points; then it covers what it can of the
    whole class. All pools together take at most 128 MB.
    """

    def __init__(self, covers: Sequence[Cover]) -> None:
        n_words = len(covers[0].valid)
        words = min(_POOL_WORDS, _POOLS_WORDS // len(covers))
        self._pool_size = max(TILE, min(_POOL, words // n_words))
        self._most_cells = max(1, min(_CELLS, ALL_CELLS // len(covers)))
        self._growths: dict[Cover, _Growth] = {}
        self._spare: list[Space] = []
        self._pace = np.inf

    def step(self, covers: Sequence[Cover], most_tried: int | None = None) -> None:
        """Grow cells in every cover, as far as their near points tell, and settle those that hold.

        Cells are grown against their few near points instead of all other points, which can only
        overrate m_S: a point that was set aside would be set aside in any case. If the last u_S
        holds against all points, it did so at every step, so every point that joined was allowed
        to: the cell is what growing it against all points would give. Otherwise the points that
        refute it join the near ones, and in the next step it goes back to where they would have
        mattered. Covers do not wait for each other, so that full groups of masks are counted.
        Calls with other covers may run at the same time on other threads.

        No cover will have tried more than ``most_tried`` points, if that is given.
        """
        for cover in covers:
            if cover not in self._growths:
                self._growths[cover] = _Growth(cover, self._pool_size, self._most_cells)
        growths = [self._growths[cover] for cover in covers]
        new = [growth for growth in growths if not growth.cells]
        for growth in new:
            growth.begin(most_tried)
        self._look_around(new)
        cells = [cell for growth in growths for cell in growth.cells if not cell.is_settled]
        self._grow(cells, covers[0].n_threads)
        self._settle(cells)
        for growth in growths:
            if all(cell.is_settled for cell in growth.cells):
                used = growth.cells
                growth.finish()
            else:
                used = [cell for cell in growth.cells if not cell.is_settled]
            self._spare += [cell.space for cell in used]
        for cover in covers:
            if cover.done:
                del self._growths[cover]

    def _look_around(self, growths: list[_Growth]) -> None:
        """Count the first masks of cells over all other points; what is nearest becomes near.

        A first mask depends on nothing but its point, so those of the points that follow are
        counted with it: stacks of full groups, which read the patterns once.
        """
        unknown = [growth for growth in growths if growth.looks_around]
        while unknown:
            some = [(growth, growth.next_starts()) for growth in unknown[:_LOOK_AROUND]]
            unknown = unknown[_LOOK_AROUND:]
            pairs = [(growth, int(start)) for growth, starts in some for start in starts]
            masks = np.concatenate([growth.cover.masks_of(starts) for growth, starts in some])
            covers = [growth.cover for growth, _ in pairs]
            least, nearest = covers[0].least_counts(covers, masks, by_range=True)
            for i, (growth, start) in enumerate(pairs):
                growth.look_ahead(start, least[:, i], nearest[:, i])
        for growth in growths:
            growth.look_around()

    def _settle(self, cells: list[_GrowingCell]) -> None:
        """Count the masks of cells over all other points: those that hold are settled.

        What refutes the others becomes near.
        """
        for cell in cells:
            if cell.cell.outcome[0] == UNCOVERABLE:
                cell.least = 0
        cells = [cell for cell in cells if not cell.is_settled]
        if not cells:
            return
        masks = np.array([cell.cell.mask for cell in cells])
        covers = [cell.cover for cell in cells]
        levels = np.array([cell.level for cell in cells])
        least, nearest = covers[0].least_counts(covers, masks, by_range=True, levels=levels)
        for i, cell in enumerate(cells):
            wrong = least[:, i] < cell.level
            if wrong.any():
                # never known ones, against which the cell was grown
                cell.near.add(nearest[wrong, i])
            else:
                cell.least = int(least[:, i].min())

    def _grow(self, cells: Sequence[_GrowingCell], n_threads: int) -> None:
        """Go on with the cells, side by side where that is worth it."""
        start = perf_counter()
        if self._pace * len(cells) < SERIAL_SECONDS:
            n_threads = 1
        for cell in cells:
            cell.space = self._space(cell)
        calls = [cell.call() for cell in cells]
        while calls:
            run_calls(grow_cell, calls, n_threads)
            calls = [call for call in calls if Cell(*call[0]).outcome[0] == UNFINISHED]
        took = (perf_counter() - start) * min(n_threads, len(cells)) / len(cells)
        self._pace = took if np.isinf(self._pace) else 0.9 * self._pace + 0.1 * took

    def _space(self, cell: _GrowingCell) -> Space:
        n_own, n_others = len(cell.own.tiles), len(cell.near.others.tiles)
        try:
            space = self._spare.pop()
        except IndexError:
            space = _NO_SPACE
        if len(space.own) < n_own or len(space.others) < n_others:
            space = _work_space(n_own, n_others)
        return space
