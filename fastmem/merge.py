"""Merged cells: neurons that are grown over several points of a class at once.

Let S be points of the covered class, u_S the AND of 1 - Phi(x) over them, and m_S the least count
of u_S over the other classes. Every point of S has count 0, so where m_S >= 1 the neuron (u_S, m_S)
covers all of S and no other class's point: the paper's architecture and its guarantee, with a cell
many times larger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fastmem.blocks import TASK_WORDS, Block, gathered, least_counts
from fastmem.kernels.cover import grow_cell
from fastmem.kernels.signs import TILE
from fastmem.kernels.threads import run_tasks

STARTS = 1
"""Cells grown for each neuron, from different points; the one that covers most is taken."""
MISSES = 64
"""Points that a cell may set aside, because with them it would reach another class.

digits784-20k, n = 2,048, nine classes, neurons and seconds of selection: 246 in 0.30 with 32
misses, 238 in 0.33 with 48, 232 in 0.35 with 64; 241 in 0.37 with 2 starts and 32 misses; 382 in
0.24 with none and 4 starts. Random selection takes 4,313 neurons and 0.14 s. The order is the same
at 70,000 points and n = 9,984: 256, 240, 234 in 3.5 to 3.6 s, 252 in 4.3 s.
"""
_NEAR = 1536
_POOL = 1 << 15
_POOL_WORDS = 1 << 24


class _NearPoints:
    """Points of other classes that came nearest to the cells of a block so far.

    The least count over a few hundred of them is nearly always the least over all. They only save
    work: what is found with them is checked against all points, so the choice of these points
    changes no result.
    """

    def __init__(self, n_words: int) -> None:
        self.tiles = np.zeros((1, n_words, TILE), np.uint64)
        self.sizes = np.zeros(1, np.int64)
        self._known: dict[int, None] = {}

    def add(self, tiles: np.ndarray, positions: np.ndarray) -> None:
        """Take in the points at ``positions``."""
        for position in np.unique(positions[positions >= 0]).tolist():
            if position in self._known:
                continue
            if len(self._known) == len(self.tiles) * TILE:
                self.tiles = np.concatenate([self.tiles, np.zeros_like(self.tiles)])
                self.sizes = np.concatenate([self.sizes, np.zeros_like(self.sizes)])
            tile, column = divmod(len(self._known), TILE)
            self.sizes[tile] = column + 1
            self.tiles[tile, :, column] = tiles[position // TILE, :, position % TILE]
            self._known[position] = None

    def forget(self) -> None:
        """Keep the latest points only, if there are many.

        Only between two neurons: while a cell is grown again and again, every point that refuted
        it must stay, or it could go round in circles.
        """
        count = len(self._known)
        if count > _NEAR:
            self.tiles, self.sizes = gathered(self.tiles, np.arange(count - _NEAR, count))
            self._known = dict.fromkeys(list(self._known)[-_NEAR:])


@dataclass(frozen=True)
class _Pool:
    """Uncovered points of a block that may join its next cell, as ``kernels.cover`` takes them."""

    block: Block
    tiles: np.ndarray
    sizes: np.ndarray
    uncovered: np.ndarray

    @classmethod
    def of(cls, block: Block, most: int) -> tuple[_Pool, Callable[[int], int]]:
        """The first ``most`` uncovered points along the order, and where each point is in it."""
        store = block.patterns.store
        in_file = store.file_bytes and np.may_share_memory(block.tiles, store.tiles)
        if block.remaining <= most and not in_file:
            return cls(block, block.tiles, block.sizes, block.uncovered), int
        chosen = np.sort(block.next_candidates(most)).astype(np.int64)
        tiles, sizes = gathered(block.tiles, chosen, store)
        uncovered = np.zeros((len(tiles), TILE), np.bool_)
        uncovered.reshape(-1)[: len(chosen)] = True
        pool = cls(block, tiles, sizes, uncovered)
        return pool, lambda point: int(np.searchsorted(chosen, point))


@dataclass
class _Cell:
    """One cell being grown: the last mask, the best one, its threshold and what it covers."""

    pool: _Pool
    start: int
    seed: int
    last: np.ndarray
    mask: np.ndarray
    threshold: int = 0
    covered: int = 0


class Merger:
    """Adds merged neurons to the blocks of a fit.

    A cell grows among the first uncovered points along its block's order, so many that all pools
    together take at most 128 MB; the best cell is the one that covers most of them. Then it covers
    what it can of the whole class.
    """

    def __init__(self, blocks: Sequence[Block], n_threads: int) -> None:
        n_words = len(blocks[0].valid)
        self.n_threads = n_threads
        self.pool_size = max(TILE, min(_POOL, _POOL_WORDS // (n_words * len(blocks))))
        self.near = {block: _NearPoints(n_words) for block in blocks}
        self._spare: list[tuple[np.ndarray, ...]] = []

    def step(self, blocks: Sequence[Block]) -> None:
        """Add one neuron to every block: the best of STARTS greedily grown cells.

        Cells are grown against the block's few near points instead of all other points, which can
        only overrate m_S: a point that was set aside would be set aside in any case. If m_S >= 1
        holds for the last mask against all points, it held at every step, so every point that
        joined was allowed to; and if m_S of the kept step is the true one, its coverage is, too,
        and no other step's was underrated. So a cell that passes both checks is what growing it
        against all points would give. Otherwise the points that refute it join the near ones, and
        it is grown anew.
        """
        cells = self._starts(blocks)
        unsettled = cells
        while unsettled:
            run_tasks(self._grow, unsettled, self.n_threads)
            unsettled = self._refuted([cell for cell in unsettled if cell.covered])
        for block in blocks:
            own = [cell for cell in cells if cell.pool.block is block]
            best = max(own, key=lambda cell: cell.covered)
            failed = np.array([cell.start for cell in own if not cell.covered], np.int64)
            block.drop(failed, np.full(len(failed), -1))
            if best.covered:
                block.accept(best.mask[None], [best.threshold])

    def _starts(self, blocks: Sequence[Block]) -> list[_Cell]:
        """Cells at the next STARTS uncovered points of every block."""
        cells = []
        for block in blocks:
            self.near[block].forget()
            pool, place_in = _Pool.of(block, self.pool_size)
            for start in block.next_candidates(STARTS):
                last, mask = np.empty((2, len(block.valid)), np.uint64)
                cells.append(_Cell(pool, int(start), place_in(int(start)), last, mask))
        new = [cell for cell in cells if not self.near[cell.pool.block].sizes.any()]
        if new:
            owners = [cell.pool.block for cell in new]
            masks = [c.pool.block.masks_of(np.array([c.start]))[0] for c in new]
            _, nearest = least_counts(owners, np.array(masks), by_range=True)
            for cell, positions in zip(new, nearest.T, strict=True):
                block = cell.pool.block
                self.near[block].add(block.patterns.tiles, positions)
                block.patterns.store.release(block.patterns.tiles)
        return cells

    def _refuted(self, cells: list[_Cell]) -> list[_Cell]:
        """Those cells that do not hold against all points; what refutes them becomes near."""
        if not cells:
            return []
        owners = [cell.pool.block for cell in cells for _ in range(2)]
        masks = np.array([mask for cell in cells for mask in (cell.last, cell.mask)])
        least, nearest = least_counts(owners, masks, by_range=True)
        refuted = []
        for i, cell in enumerate(cells):
            block = cell.pool.block
            wrong_last = least[:, 2 * i] < 1
            wrong_best = least[:, 2 * i + 1] < cell.threshold
            if wrong_last.any() or wrong_best.any():
                positions = [nearest[wrong_last, 2 * i], nearest[wrong_best, 2 * i + 1]]
                self.near[block].add(block.patterns.tiles, np.concatenate(positions))
                block.patterns.store.release(block.patterns.tiles)
                refuted.append(cell)
        return refuted

    def _grow(self, cell: _Cell) -> None:
        pool, near = cell.pool, self.near[cell.pool.block]
        space = self._spare.pop() if self._spare else _work_space(0, 0)
        if len(space[0]) < len(pool.tiles) or len(space[1]) < len(near.tiles):
            space = _work_space(len(pool.tiles), len(near.tiles))
        own, others, trial = space
        state = np.array([cell.seed, 0, 0, 0, 0])
        used = np.count_nonzero(near.sizes)
        while not grow_cell(
            pool.tiles, pool.sizes, pool.uncovered, near.tiles[:used], near.sizes[:used],
            pool.block.valid,
            own, others, trial, cell.last, cell.mask, state, MISSES, TASK_WORDS // 4,
        ):  # fmt: skip
            pass
        cell.threshold, cell.covered = int(state[2]), int(state[3])
        self._spare.append(space)


def _work_space(n_own: int, n_others: int) -> tuple[np.ndarray, ...]:
    """Counts of both sides and counts on trial: see ``grow_cell``."""
    return tuple(np.empty((n, TILE), np.int32) for n in (n_own, n_others, n_others))
