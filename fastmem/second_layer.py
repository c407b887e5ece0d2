"""Second layer: which cells of the tessellation cover a class and miss all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fastmem.kernels.bits import WORD_BITS
from fastmem.kernels.cover import GROUP, complements, cover, grow_cell, minima
from fastmem.kernels.signs import TILE
from fastmem.kernels.threads import ranges, run_tasks
from fastmem.patterns import Patterns

STARTS = 4
"""Cells grown for each neuron, from different points; the one that covers most is taken.

On digits784-20k, n = 2,048, class 1: 68 neurons with 1, 61 with 4, 54 with 16, in 1, 3 and 10
times the time.
"""
_BATCH = 64
_TASK_WORDS = 400_000_000
"""A task of 4e8 popcounts lasts some 30 ms, the longest that Ctrl-C has to wait."""
_NEVER = np.int64(2**62)


@dataclass(frozen=True, eq=False)
class CoverLayer:
    """The second layer: neuron j is on for x iff ``thresholds[j] > |masks[j] and Phi(x)|``.

    Attributes
    ----------
    masks : ndarray of shape (m, ceil(n / 64)), uint64
        Bit k of word i is the (negative) weight of hyperplane 64 i + k.
    thresholds : ndarray of shape (m,), int32
        At least 1.
    owners : ndarray of shape (m,), int32
        Index into ``classes_`` of the class that the neuron covers; ascending. In a block, the
        neurons that covered most training points come first.
    """

    masks: np.ndarray
    thresholds: np.ndarray
    owners: np.ndarray

    def __len__(self) -> int:
        return len(self.thresholds)


def valid_bits(n: int) -> np.ndarray:
    """Words whose first n bits are one, (ceil(n / 64),) uint64."""
    words = np.full(-(-n // WORD_BITS), 2**64 - 1, np.uint64)
    if n % WORD_BITS:
        words[-1] = (1 << n % WORD_BITS) - 1
    return words


def padded(rows: np.ndarray) -> np.ndarray:
    """A copy with rows of zeros up to a multiple of GROUP."""
    out = np.zeros((-(-len(rows) // GROUP) * GROUP, *rows.shape[1:]), rows.dtype)
    out[: len(rows)] = rows
    return out


class Block:
    """The neurons of one covered class, while they are being chosen.

    Attributes
    ----------
    code : int
        The class.
    uncovered : ndarray of shape (tiles of the class, TILE), bool
        Points of the class that no neuron covers yet and that may still be covered.
    failed : list of int
        Points (numbers within the class) with m = 0, and
    witnesses : list of int
        for each a position of another class's point whose pattern lies below its own.
    """

    def __init__(
        self,
        patterns: Patterns,
        n_hyperplanes: int,
        code: int,
        generator: np.random.Generator,
        n_threads: int,
        members: np.ndarray | None = None,
    ) -> None:
        self.patterns, self.code, self.n_threads = patterns, code, n_threads
        self.first, self.last = (int(t) for t in patterns.first_tile[code : code + 2])
        self.valid = valid_bits(n_hyperplanes)
        size = patterns.class_size(code)
        self.order = generator.permutation(size)
        self.uncovered = np.zeros((self.last - self.first, TILE), np.bool_)
        self._flat = self.uncovered.reshape(-1)
        self._flat[slice(size) if members is None else members] = True
        self.masks: list[np.ndarray] = []
        self.thresholds: list[int] = []
        self.gained: list[int] = []
        self.failed: list[int] = []
        self.witnesses: list[int] = []
        self.evaluations = 0
        self.remaining = int(np.count_nonzero(self._flat[:size]))
        self._walked = 0
        self._batch = GROUP

    @property
    def done(self) -> bool:
        """Whether every point is covered or has failed."""
        return self.remaining == 0

    @property
    def width(self) -> int:
        """Neurons so far."""
        return len(self.thresholds)

    def next_candidates(self, count: int) -> np.ndarray:
        """The next uncovered points (numbers within the class) along the random order."""
        found: list[np.ndarray] = []
        at = self._walked
        missing = count
        while missing and at < len(self.order):
            stretch = self.order[at : at + max(256, 4 * missing)]
            here = np.flatnonzero(self._flat[stretch])
            if at == self._walked:
                # the points before the first that is left never come back
                self._walked += int(here[0]) if len(here) else len(stretch)
            found.append(stretch[here[:missing]])
            missing -= len(found[-1])
            at += len(stretch)
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def masks_of(self, candidates: np.ndarray) -> np.ndarray:
        """1 - Phi of points of the class, padded to a multiple of GROUP."""
        masks = np.empty((len(candidates), len(self.valid)), np.uint64)
        complements(
            self.patterns.tiles, candidates + self.first * TILE, self.valid, masks
        )
        return padded(masks)

    def least_counts(self, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each mask the least count over the other classes, and the position it is at."""
        tiles, sizes = self.patterns.tiles, self.patterns.sizes
        skip = np.array([self.first, self.last], np.int64)
        tasks = self._tile_ranges(len(sizes), len(masks))
        least = np.full((len(tasks), len(masks)), _NEVER)
        nearest = np.full((len(tasks), len(masks)), -1, np.int64)

        def work(task: int) -> None:
            minima(tiles, sizes, *tasks[task], masks, skip, least[task], nearest[task])

        run_tasks(work, range(len(tasks)), self.n_threads)
        self.evaluations += len(masks) * (
            len(self.patterns.order) - self.patterns.class_size(self.code)
        )
        best = least.argmin(axis=0)
        columns = np.arange(len(masks))
        return least[best, columns], nearest[best, columns]

    def accept(self, masks: np.ndarray, thresholds: Sequence[int]) -> None:
        """Add neurons, and take the points that they cover from the uncovered ones."""
        stack = padded(masks)
        levels = padded(np.asarray(thresholds, np.int64))
        tiles = self.patterns.tiles[self.first : self.last]
        sizes = self.patterns.sizes[self.first : self.last]
        tasks = self._tile_ranges(len(sizes), len(stack))
        gained = np.zeros((len(tasks), len(stack)), np.int64)

        def work(task: int) -> None:
            cover(tiles, sizes, *tasks[task], stack, levels, self.uncovered, gained[task])

        run_tasks(work, range(len(tasks)), self.n_threads)
        self.evaluations += len(masks) * self.patterns.class_size(self.code)
        self.masks.extend(masks)
        self.thresholds.extend(int(m) for m in thresholds)
        totals = gained.sum(axis=0)[: len(masks)]
        self.gained.extend(int(g) for g in totals)
        self.remaining -= int(totals.sum())

    def drop(self, candidates: np.ndarray, witnesses: np.ndarray) -> None:
        """Give up points with m = 0."""
        self.failed.extend(int(c) for c in candidates)
        self.witnesses.extend(int(w) for w in witnesses)
        self._flat[candidates] = False
        self.remaining -= len(candidates)

    def step_random(self) -> None:
        """The paper's selection, Algorithm 1 lines 8 to 13, for the next few candidates.

        Drawing from the uncovered points again and again equals walking a random permutation and
        skipping what is covered. So the next candidates are counted in one pass, and accepted in
        order, each unless an earlier one of the same batch covers it. The batch grows while most
        candidates are accepted, and never changes the result.
        """
        candidates = self.next_candidates(self._batch)
        masks = self.masks_of(candidates)
        least, nearest = self.least_counts(masks)
        least, nearest, masks = (a[: len(candidates)] for a in (least, nearest, masks))
        uncoverable = least == 0
        patterns = self.valid & ~masks
        accepted: list[int] = []
        for i in np.flatnonzero(~uncoverable):
            counts = np.bitwise_count(masks[accepted] & patterns[i]).sum(axis=1)
            if not np.any(counts < least[accepted]):
                accepted.append(int(i))
        self.drop(candidates[uncoverable], nearest[uncoverable])
        if accepted:
            self.accept(masks[accepted], least[accepted].tolist())
        useful = len(accepted) + np.count_nonzero(uncoverable)
        if useful > 3 * len(candidates) // 4:
            self._batch = min(2 * self._batch, _BATCH)
        elif useful < len(candidates) // 2:
            self._batch = max(self._batch // 2, GROUP)

    def _tile_ranges(self, n_tiles: int, n_masks: int) -> list[tuple[int, int]]:
        words = n_masks * TILE * len(self.valid)
        return ranges(n_tiles, max(1, min(_TASK_WORDS // words, -(-n_tiles // (2 * self.n_threads)))))


def step_merge(blocks: Sequence[Block], n_threads: int) -> None:
    """Add one merged neuron to every block: the best of STARTS greedily grown cells."""
    patterns = blocks[0].patterns
    tiles, sizes = patterns.tiles, patterns.sizes
    tasks = [(block, int(c)) for block in blocks for c in block.next_candidates(STARTS)]
    masks = np.empty((len(tasks), tiles.shape[1]), np.uint64)
    reached = np.zeros((len(tasks), 2), np.int64)
    spare: list[np.ndarray] = []

    def work(index: int) -> None:
        block, candidate = tasks[index]
        counts = spare.pop() if spare else np.empty((len(sizes), TILE), np.int32)
        reached[index] = grow_cell(
            tiles, sizes, block.first, block.last, block.uncovered,
            block.first * TILE + candidate, block.valid, counts, masks[index],
        )  # fmt: skip
        spare.append(counts)

    run_tasks(work, range(len(tasks)), n_threads)
    for block in blocks:
        own = [i for i, (owner, _) in enumerate(tasks) if owner is block]
        block.evaluations += len(own) * len(patterns.order)
        failed = [i for i in own if reached[i, 1] == 0]
        if failed:
            block.drop(np.array([tasks[i][1] for i in failed]), np.full(len(failed), -1))
        best = max(own, key=lambda i: reached[i, 1])
        if reached[best, 1]:
            block.accept(masks[best : best + 1], [reached[best, 0]])


def choose_neurons(
    blocks: list[Block],
    selection: str,
    n_threads: int,
    leave_one_out: bool,
    progress: Callable[[int, int, int], None],
) -> tuple[list[Block], int]:
    """Run the blocks to their ends; returns those that the network keeps, and the counts made.

    With ``leave_one_out`` (covered="auto") the class with most failures is left out, of equals the
    one whose block is widest. All blocks advance together, so that this is known as soon as all
    others are done and none of their points failed: the widest block is never finished.
    """
    total = sum(block.remaining for block in blocks)
    while True:
        active = [block for block in blocks if not block.done]
        if not active or (leave_one_out and _is_widest(active, blocks)):
            break
        if selection == "merge":
            step_merge(active, n_threads)
        else:
            for block in active:
                block.step_random()
        progress(
            total - sum(b.remaining for b in blocks), total, sum(b.width for b in blocks)
        )
    evaluations = sum(block.evaluations for block in blocks)
    if leave_one_out:
        left = max(blocks, key=lambda b: (len(b.failed), b.remaining > 0, b.width, b.code))
        blocks = [block for block in blocks if block is not left]
    return blocks, evaluations


def _is_widest(active: list[Block], blocks: list[Block]) -> bool:
    others = [block for block in blocks if block.done]
    return (
        len(active) == 1
        and not any(block.failed for block in others)
        and all(active[0].width >= block.width for block in others)
    )


def cover_layer(blocks: Sequence[Block]) -> CoverLayer:
    """The chosen neurons, block by block, those that cover most first."""
    masks, thresholds, owners = [], [], []
    for block in sorted(blocks, key=lambda b: b.code):
        for j in np.argsort(-np.array(block.gained, np.int64), kind="stable"):
            masks.append(block.masks[j])
            thresholds.append(block.thresholds[j])
            owners.append(block.code)
    n_words = len(blocks[0].valid)
    return CoverLayer(
        np.array(masks, np.uint64).reshape(len(masks), n_words),
        np.array(thresholds, np.int32),
        np.array(owners, np.int32),
    )


def failed_rows(blocks: Sequence[Block]) -> np.ndarray:
    """Rows, in the user's data, of the points that cannot be covered; ascending int64."""
    failed = [b.patterns.rows(b.code, np.array(b.failed, np.int64)) for b in blocks]
    return np.sort(np.concatenate(failed))
