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

STARTS = 4
"""Cells grown for each neuron, from different points; the one that covers most is taken.

On digits784-20k, n = 2,048, class 1: 68 neurons with 1, 61 with 4, 54 with 16, in 1, 3 and 10
times the time.
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
        self._next = 0

    def add(self, tiles: np.ndarray, positions: np.ndarray) -> None:
        """Take in the points at ``positions``; the oldest leave when there are too many."""
        fresh = [int(p) for p in np.unique(positions) if p >= 0 and int(p) not in self._known]
        for position in fresh:
            if self._next == len(self.tiles) * TILE:
                if self._next < _NEAR:
                    self.tiles = np.concatenate([self.tiles, np.zeros_like(self.tiles)])
                    self.sizes = np.concatenate([self.sizes, np.zeros_like(self.sizes)])
                else:
                    self._next = 0
            tile, column = divmod(self._next, TILE)
            if self.sizes[tile] == TILE:
                del self._known[next(iter(self._known))]
            self.sizes[tile] = max(self.sizes[tile], column + 1)
            self.tiles[tile, :, column] = tiles[position // TILE, :, position % TILE]
            self._known[position] = None
            self._next += 1


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
        if block.remaining <= most:
            return cls(block, block.tiles, block.sizes, block.uncovered), int
        chosen = np.sort(block.next_candidates(most)).astype(np.int64)
        tiles, sizes = gathered(block.tiles, chosen)
        uncovered = np.zeros((len(tiles), TILE), np.bool_)
        uncovered.reshape(-1)[: len(chosen)] = True
        pool = cls(block, tiles, sizes, uncovered)
        return pool, lambda point: int(np.searchsorted(chosen, point))


@dataclass
class _Cell:
    """One cell being grown."""

    pool: _Pool
    seed: int
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
        self._spare: list[tuple[np.ndarray, np.ndarray]] = []

    def step(self, blocks: Sequence[Block]) -> None:
        """Add one neuron to every block: the best of STARTS greedily grown cells.

        Cells are grown against the block's few near points instead of all other points. That can
        only overrate a cell: each m_S is at least the true one at every step, so every coverage is
        too. Hence, if the m_S of the most promising cell holds against all points, it is what
        growing all cells against all points would have chosen; if not, the points that refute it
        join the near ones and that cell is grown anew.
        """
        cells = self._starts(blocks)
        to_grow = cells
        unsettled = [block for block in blocks if any(c.pool.block is block for c in cells)]
        while unsettled:
            run_tasks(self._grow, to_grow, self.n_threads)
            best = [
                max((c for c in cells if c.pool.block is block), key=lambda c: c.covered)
                for block in unsettled
            ]
            masks = np.array([cell.mask for cell in best])
            least, nearest = least_counts(unsettled, masks, by_range=True)
            to_grow, unsettled = [], []
            for i, cell in enumerate(best):
                block = cell.pool.block
                if least[:, i].min() == cell.threshold:
                    block.accept(cell.mask[None], [cell.threshold])
                    continue
                refuting = least[:, i] < cell.threshold
                self.near[block].add(block.patterns.tiles, nearest[refuting, i])
                to_grow.append(cell)
                unsettled.append(block)

    def _starts(self, blocks: Sequence[Block]) -> list[_Cell]:
        """STARTS uncovered points of every block to grow from, those with m = 0 dropped."""
        candidates = [(b, int(c)) for b in blocks for c in b.next_candidates(STARTS)]
        masks = {(b, c): b.masks_of(np.array([c]))[0] for b, c in candidates}
        unknown = [(b, c) for b, c in candidates if c not in b.coverable]
        if unknown:
            owners = [b for b, _ in unknown]
            least, nearest = least_counts(owners, np.array([masks[key] for key in unknown]))
            for (block, c), count, witness in zip(unknown, least, nearest, strict=True):
                self.near[block].add(block.patterns.tiles, np.array([witness]))
                if count:
                    block.coverable.add(c)
                else:
                    block.drop(np.array([c]), np.array([witness]))
        pools = {b: _Pool.of(b, self.pool_size) for b in blocks if b.remaining}
        cells = []
        for block, c in candidates:
            if c in block.coverable:
                pool, place_in = pools[block]
                cells.append(_Cell(pool, place_in(c), masks[block, c]))
        return cells

    def _grow(self, cell: _Cell) -> None:
        pool, near = cell.pool, self.near[cell.pool.block]
        counts = self._spare.pop() if self._spare else (_counts(0), _counts(0))
        own, others = (
            have if len(have) >= len(tiles) else _counts(len(tiles))
            for have, tiles in zip(counts, (pool.tiles, near.tiles), strict=True)
        )
        state = np.array([cell.seed, 0, 0, 0])
        mask = np.empty_like(cell.mask)
        while not grow_cell(
            pool.tiles, pool.sizes, pool.uncovered, near.tiles, near.sizes, pool.block.valid, own,
            others, mask, cell.mask, state, TASK_WORDS // 4,
        ):  # fmt: skip
            pass
        cell.threshold, cell.covered = int(state[2]), int(state[3])
        self._spare.append((own, others))


def _counts(n_tiles: int) -> np.ndarray:
    return np.empty((n_tiles, TILE), np.int32)
