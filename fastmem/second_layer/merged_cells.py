"""Merged cells: neurons that are grown over several points of a class at once.

Let S be points of the covered class, u_S the AND of 1 - Phi(x) over them, and m_S the least count
of u_S over the other classes. Every point of S has count 0, so where m_S >= 1 the neuron (u_S, m_S)
covers all of S and no other class's point: the paper's architecture and its guarantee, with a cell
many times larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from fastmem.kernels.cover import GROUP, gather, grow_cell
from fastmem.kernels.layout import TILE
from fastmem.machine.arrays import aligned_zeros
from fastmem.machine.threads import run_tasks
from fastmem.second_layer.class_cover import (
    SERIAL_SECONDS,
    TASK_WORDS,
    ClassCover,
    gathered,
    least_counts,
)

MISSES = 64
"""Points that a cell may set aside, because with them it would reach another class.

Neurons of digits784-20k at n = 2,048 for the classes 1, 5 and 8: 125 with 16 misses, 114 with 32,
111 with 64, 106 with 128, in 0.6, 0.8, 1 and 1.5 times the steps. Growing several cells for each
neuron and taking the best does less for the same work: 241 neurons with 2 starts and 32 misses for
nine classes where 64 misses give 232.
"""
_NEAR = 3072
_POOL = 1 << 15
_POOL_WORDS = 640 << 10
"""Words of the points among which a cell grows: 5 MB, so that those of a class stay in the
third-level cache. digits784-70k at n = 9,984: 273 neurons among 7,000 points a class, 271 among 4,096, 290
among 2,048, 334 among 1,024."""
_POOLS_WORDS = 1 << 24
_AT_ONCE_BYTES = 64 << 20
MOST_NEAR = 1024


def covers_at_once(n_words: int) -> int:
    """Covers that may grow at the same time, so that their near points take some 64 MB."""
    return max(2 * GROUP, _AT_ONCE_BYTES // (8 * n_words * MOST_NEAR))


class _NearPoints:
    """Points of other classes that came nearest to the cells of a class so far.

    The least count over a few hundred of them is nearly always the least over all. They only save
    work: what is found with them is checked against all points, so the choice of these points
    changes no result.
    """

    def __init__(self, n_words: int) -> None:
        self.known = np.empty(0, np.int64)
        self._tiles = aligned_zeros((1, n_words, TILE), np.uint64)

    def add(self, tiles: np.ndarray, positions: np.ndarray) -> None:
        """Take in the points at ``positions`` of ``tiles``, none of which is known yet."""
        n_old = len(self.known)
        self.known = np.concatenate([self.known, positions])
        n_tiles = len(self._tiles)
        while n_tiles * TILE < len(self.known):
            n_tiles *= 2
        if n_tiles > len(self._tiles):
            larger = aligned_zeros((n_tiles, *self._tiles.shape[1:]), np.uint64)
            larger[: len(self._tiles)] = self._tiles
            self._tiles = larger
        gather(tiles, positions, self._tiles, n_old)

    def used(self) -> tuple[np.ndarray, np.ndarray]:
        """Tiles that hold points, and their sizes."""
        n_tiles = -(-len(self.known) // TILE)
        sizes = np.full(n_tiles, TILE, np.int64)
        sizes[-1:] = len(self.known) - (n_tiles - 1) * TILE
        return self._tiles[:n_tiles], sizes

    def forget(self) -> None:
        """Keep the latest points only, if there are many.

        Only between two neurons: while a cell is being grown, every point that refuted it must
        stay, or it could go round in circles.
        """
        count = len(self.known)
        if count > _NEAR:
            self._tiles, _ = gathered(self._tiles, np.arange(count - _NEAR, count))
            self.known = self.known[-_NEAR:]


class _Pool:
    """Uncovered points of a cover among which its cells grow, as ``kernels.cover`` takes them.

    The whole class where it has at most ``most`` uncovered points; else a copy of the first so
    many along the cover's order, taken anew when half of them are covered.
    """

    def __init__(self, cover: ClassCover, most: int) -> None:
        self.cover, self.most = cover, most
        self._numbers = np.empty(0, np.int32)
        self._is_whole = False

    def refresh(self) -> None:
        """Take note of what is covered by now."""
        cover = self.cover
        store = cover.patterns.store
        in_file = store.file_bytes and np.may_share_memory(cover.tiles, store.tiles)
        becomes_whole = cover.remaining <= self.most and not self._is_whole
        if cover.remaining <= self.most and not in_file:
            self.tiles, self.sizes, self.uncovered = cover.tiles, cover.sizes, cover.uncovered
            self._numbers = cover.members
            return
        is_open = cover.is_open(self._numbers)
        if becomes_whole or (2 * np.count_nonzero(is_open) <= self.most and not self._is_whole):
            chosen = np.sort(cover.next_candidates(self.most)).astype(np.int64)
            self.tiles, self.sizes = gathered(cover.tiles, chosen, store)
            self._is_whole = becomes_whole
            self._numbers = cover.members[chosen]
            is_open = np.ones(len(chosen), np.bool_)
        self.uncovered = np.zeros((len(self.tiles), TILE), np.bool_)
        self.uncovered.reshape(-1)[: len(is_open)] = is_open

    def place(self, point: int) -> int:
        """Where the cover's ``point`` is among them."""
        return int(np.searchsorted(self._numbers, self.cover.members[point]))


@dataclass(eq=False)
class _Cell:
    """One cell being grown from the point ``start`` of its cover; see ``kernels.cover``."""

    cover: ClassCover
    pool: _Pool
    start: int
    level: int = 1
    mask: np.ndarray = field(init=False)
    log: np.ndarray = field(init=False)
    state: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.mask = self.cover.masks_of(np.array([self.start]))[0]
        # every point that joins takes a one from the mask
        self.log = np.empty(int(np.bitwise_count(self.mask).sum()) + MISSES + 2, np.int64)
        self.state = np.array([self.pool.place(self.start), 0, 0, 0])

    @property
    def failed(self) -> bool:
        """Whether the first point cannot be covered."""
        return bool(self.state[3])


class Merger:
    """Adds merged neurons to the covers of a fit.

    A cell grows among a pool of its cover's uncovered points; then it covers what it can of the
    whole class. All pools together take at most 128 MB.
    """

    def __init__(self, covers: Sequence[ClassCover]) -> None:
        n_words = len(covers[0].valid)
        words = min(_POOL_WORDS, _POOLS_WORDS // len(covers))
        pool_size = max(TILE, min(_POOL, words // n_words))
        self.pools = {cover: _Pool(cover, pool_size) for cover in covers}
        self.near: dict[ClassCover, _NearPoints] = {}
        self._cells: dict[ClassCover, _Cell] = {}
        self._spare: list[tuple[np.ndarray, ...]] = []
        self._pace = np.inf

    def step(self, covers: Sequence[ClassCover]) -> None:
        """Grow a cell in every cover, as far as its near points tell, and settle those that hold.

        Cells are grown against the cover's few near points instead of all other points, which can
        only overrate m_S: a point that was set aside would be set aside in any case. If the last
        u_S holds against all points, it did so at every step, so every point that joined was
        allowed to: the cell is what growing it against all points would give. Otherwise the points
        that refute it join the near ones, and in the next step it goes back to where they would
        have mattered. Covers do not wait for each other, so that full groups of masks are counted.
        Calls with other covers may run at the same time on other threads.
        """
        new = [cover for cover in covers if cover not in self._cells]
        for cover in new:
            if cover not in self.near:
                self.near[cover] = _NearPoints(len(cover.valid))
            self.near[cover].forget()
            self.pools[cover].refresh()
            self._cells[cover] = _Cell(cover, self.pools[cover], int(cover.next_candidates(1)[0]))
        self._look_around([self._cells[b] for b in new if b.margin or not len(self.near[b].known)])
        cells = [self._cells[cover] for cover in covers]
        worth_it = self._pace * len(cells) > SERIAL_SECONDS
        run_tasks(self._grow, cells, covers[0].n_threads if worth_it else 1)
        for cell in cells:
            if cell.failed:
                cell.cover.drop(np.array([cell.start]), np.array([-1]))
                del self._cells[cell.cover]
        self._settle([cell for cell in cells if not cell.failed])
        for cover in covers:
            if cover.done:
                del self.near[cover], self.pools[cover]

    def _look_around(self, cells: list[_Cell]) -> None:
        """Count the first masks of cells over all other points; what is nearest becomes near."""
        if not cells:
            return
        masks = np.array([cell.mask for cell in cells])
        least, nearest = least_counts([cell.cover for cell in cells], masks, by_range=True)
        for i, cell in enumerate(cells):
            near = self.near[cell.cover]
            new = nearest[:, i][nearest[:, i] >= 0]
            self._learn(cell.cover, new[~np.isin(new, near.known)])
            cell.level = max(1, int(np.ceil(cell.cover.margin * least[:, i].min())))

    def _settle(self, cells: list[_Cell]) -> None:
        """Count the masks of cells over all other points: those that hold become neurons.

        What refutes the others becomes near.
        """
        if not cells:
            return
        masks = np.array([cell.mask for cell in cells])
        least, nearest = least_counts([cell.cover for cell in cells], masks, by_range=True)
        for i, cell in enumerate(cells):
            wrong = least[:, i] < cell.level
            if wrong.any():
                # never known ones, against which the cell was grown
                self._learn(cell.cover, nearest[wrong, i])
            else:
                cell.cover.accept(cell.mask[None], least[:, i].min(keepdims=True))
                del self._cells[cell.cover]

    def _learn(self, cover: ClassCover, positions: np.ndarray) -> None:
        patterns = cover.patterns
        self.near[cover].add(patterns.tiles, positions)
        patterns.store.release(patterns.tiles)

    def _grow(self, cell: _Cell) -> None:
        start = perf_counter()
        tiles, sizes = self.near[cell.cover].used()
        try:
            space = self._spare.pop()
        except IndexError:
            space = _work_space(0, 0)
        pool = cell.pool
        if len(space[0]) < len(pool.tiles) or len(space[1]) < len(tiles):
            space = _work_space(len(pool.tiles), len(tiles))
        own, others, trial, nearest = space
        while not grow_cell(
            pool.tiles, pool.sizes, pool.uncovered, tiles, sizes, cell.cover.valid,
            own, others, trial, nearest,
            cell.mask, cell.log, cell.state, cell.level, MISSES, TASK_WORDS // 4,
        ):  # fmt: skip
            pass
        self._spare.append(space)
        took = perf_counter() - start
        self._pace = took if np.isinf(self._pace) else 0.9 * self._pace + 0.1 * took


def _work_space(n_own: int, n_others: int) -> tuple[np.ndarray, ...]:
    """Counts of both sides, counts on trial, least counts of tiles: see ``grow_cell``."""
    sizes = (n_own, n_others, n_others)
    own, others, trial = (aligned_zeros((n, TILE), np.int32) for n in sizes)
    return own, others, trial, np.empty(n_own, np.int32)
