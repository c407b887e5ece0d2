"""Second layer: which cells of the tessellation cover a class and miss all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fastmem.inputs import InvalidInputError
from fastmem.kernels.bits import WORD_BITS
from fastmem.kernels.cover import GROUP, complements, cover, gather, grow_cell, minima
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
_RANGES = 32
_POOL = 1 << 15
_POOL_WORDS = 1 << 24
_NEAR = 1536
_COMPACT_BYTES = 64 << 20


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

    def __post_init__(self) -> None:
        for name, dtype, n_dimensions in (
            ("masks", np.uint64, 2),
            ("thresholds", np.int32, 1),
            ("owners", np.int32, 1),
        ):
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.dtype != dtype:
                raise InvalidInputError(f"{name} is no {np.dtype(dtype)} array; convert it")
            if array.ndim != n_dimensions or len(array) != len(self.masks):
                raise InvalidInputError(
                    f"{name} has shape {array.shape} where masks has {self.masks.shape}; pass one "
                    f"row, threshold and owner for each neuron"
                )

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


def gathered(tiles: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Copies of the patterns at ``positions``, in tiles, and the sizes of these."""
    n_tiles = max(1, -(-len(positions) // TILE))
    copies = np.zeros((n_tiles, tiles.shape[1], TILE), np.uint64)
    gather(tiles, positions, copies)
    sizes = np.full(n_tiles, TILE, np.int64)
    sizes[-1] = len(positions) - (n_tiles - 1) * TILE
    return copies, sizes


class Block:
    """The neurons of one covered class, while they are being chosen.

    Points are numbered by their place in ``tiles``, which holds the class's patterns and, once
    most are covered, only the uncovered ones.

    Attributes
    ----------
    code : int
        The class.
    tiles, sizes : ndarrays
        Patterns of the class, as in ``kernels.signs``.
    members : ndarray of int32
        Number within the class of each point in ``tiles``.
    uncovered : ndarray of shape (n_tiles, TILE), bool
        Points that no neuron covers yet and that may still be covered.
    failed : list of int
        Points (numbers within the class) with m = 0, and
    witnesses : list of int
        for each the position, in all patterns, of a point of another class whose pattern lies
        below its own.
    coverable : set of int
        Points known to have m >= 1, because a cell was started from them.
    near : _NearPoints
        The other classes' points that matter most.
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
        self.skip = patterns.first_tile[code : code + 2].astype(np.int64)
        self.tiles = patterns.tiles[self.skip[0] : self.skip[1]]
        self.sizes = patterns.sizes[self.skip[0] : self.skip[1]]
        self.valid = valid_bits(n_hyperplanes)
        self.members = np.arange(patterns.class_size(code), dtype=np.int32)
        self.order = generator.permutation(self.members)
        self._walked = 0
        self.uncovered = np.zeros((len(self.tiles), TILE), np.bool_)
        self._flat = self.uncovered.reshape(-1)
        self._flat[slice(len(self.members)) if members is None else members] = True
        self.remaining = len(self.members) if members is None else len(members)
        self.masks: list[np.ndarray] = []
        self.thresholds: list[int] = []
        self.gained: list[int] = []
        self.failed: list[int] = []
        self.witnesses: list[int] = []
        self.evaluations = 0
        self._batch = GROUP
        self.coverable: set[int] = set()
        self.near = _NearPoints(self.tiles.shape[1])
        self._compact()

    @property
    def done(self) -> bool:
        """Whether every point is covered or has failed."""
        return self.remaining == 0

    @property
    def width(self) -> int:
        """Neurons so far."""
        return len(self.thresholds)

    def next_candidates(self, count: int) -> np.ndarray:
        """The next uncovered points along the random order."""
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
        """1 - Phi of points, (len(candidates), n_words) uint64."""
        masks = np.empty((len(candidates), len(self.valid)), np.uint64)
        complements(self.tiles, candidates.astype(np.int64), self.valid, masks)
        return masks

    def accept(self, masks: np.ndarray, thresholds: Sequence[int]) -> None:
        """Add neurons, and take the points that they cover from the uncovered ones."""
        stack = padded(masks)
        levels = padded(np.asarray(thresholds, np.int64))
        words = len(stack) * TILE * len(self.valid)
        tasks = ranges(len(self.tiles), max(1, _TASK_WORDS // words))
        gained = np.zeros((len(tasks), len(stack)), np.int64)

        def work(task: int) -> None:
            cover(self.tiles, self.sizes, *tasks[task], stack, levels, self.uncovered, gained[task])

        run_tasks(work, range(len(tasks)), self.n_threads)
        self.evaluations += len(masks) * len(self.members)
        self.masks.extend(masks)
        self.thresholds.extend(int(m) for m in thresholds)
        totals = gained.sum(axis=0)[: len(masks)]
        self.gained.extend(int(g) for g in totals)
        self.remaining -= int(totals.sum())
        self._compact()

    def drop(self, candidates: np.ndarray, witnesses: np.ndarray) -> None:
        """Give up points with m = 0."""
        self.failed.extend(int(c) for c in self.members[candidates])
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
        least, nearest = least_counts([self] * len(candidates), masks)
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

    def _compact(self) -> None:
        """Keep the uncovered points only, once they are less than half of those in ``tiles``."""
        n_words = self.tiles.shape[1]
        if (
            len(self.tiles) < 4
            or 2 * self.remaining > len(self.members)
            or self.remaining * n_words * 8 > _COMPACT_BYTES // self.patterns.n_classes
        ):
            return
        kept = np.flatnonzero(self._flat)
        tiles, sizes = gathered(self.tiles, kept)
        place = np.full(len(self._flat), -1, np.int32)
        place[kept] = np.arange(len(kept))
        self.order = place[self.order]
        self.order = self.order[self.order >= 0]
        self._walked = 0
        self.coverable = {int(place[c]) for c in self.coverable if place[c] >= 0}
        self.tiles, self.sizes, self.members = tiles, sizes, self.members[kept]
        self.uncovered = np.zeros((len(tiles), TILE), np.bool_)
        self._flat = self.uncovered.reshape(-1)
        self._flat[: len(kept)] = True


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


def least_counts(
    owners: Sequence[Block], masks: np.ndarray, by_range: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """For each mask the least count over the classes other than its block's, and its position.

    Returns two int64 arrays of shape (len(masks),). With ``by_range`` of shape (ranges,
    len(masks)): one pair for each of up to 32 ranges of tiles.
    """
    patterns, n_threads = owners[0].patterns, owners[0].n_threads
    tiles, sizes = patterns.tiles, patterns.sizes
    stack = padded(masks)
    # padding skips every tile
    skip = np.tile(np.array([0, len(sizes)], np.int64), (len(stack), 1))
    skip[: len(masks)] = [block.skip for block in owners]
    words = len(stack) * TILE * tiles.shape[1]
    n_ranges = _RANGES if by_range else 2 * n_threads
    tasks = ranges(len(sizes), max(1, min(_TASK_WORDS // words, -(-len(sizes) // n_ranges))))
    least = np.full((len(tasks), len(stack)), _NEVER)
    nearest = np.full((len(tasks), len(stack)), -1, np.int64)

    def work(task: int) -> None:
        minima(tiles, sizes, *tasks[task], stack, skip, least[task], nearest[task])

    run_tasks(work, range(len(tasks)), n_threads)
    for block in owners:
        block.evaluations += len(patterns.order) - patterns.class_size(block.code)
    least, nearest = least[:, : len(masks)], nearest[:, : len(masks)]
    if by_range:
        return least, nearest
    columns = np.arange(len(masks))
    best = least.argmin(axis=0)
    return least[best, columns], nearest[best, columns]


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


def pool_size(n_words: int, n_blocks: int) -> int:
    """Points of a class that may join a cell: all pools together take at most 128 MB."""
    return max(TILE, min(_POOL, _POOL_WORDS // (n_words * n_blocks)))


def step_merge(blocks: Sequence[Block], n_threads: int, most: int) -> None:
    """Add one merged neuron to every block: the best of STARTS greedily grown cells.

    A cell grows among the first ``most`` uncovered points along the block's order, and the best
    cell is the one that covers most of them; then it covers what it can of the whole class.

    Cells are grown against the block's few near points instead of all other points. That can only
    overrate a cell: each m_S is at least the true one at every step, so every coverage is too.
    Hence, if the m_S of the most promising cell holds against all points, it is what growing all
    cells against all points would have chosen; if not, the points that refute it join the near
    ones and that cell is grown anew.
    """
    cells = _starts(blocks, most)
    spare: list[tuple[np.ndarray, np.ndarray]] = []

    def grow(cell: _Cell) -> None:
        pool, block = cell.pool, cell.pool.block
        own, others = spare.pop() if spare else (_no_counts(0), _no_counts(0))
        if len(own) < len(pool.tiles):
            own = _no_counts(len(pool.tiles))
        if len(others) < len(block.near.tiles):
            others = _no_counts(len(block.near.tiles))
        state = np.array([cell.seed, 0, 0, 0])
        mask = np.empty_like(cell.mask)
        finished = False
        while not finished:
            finished = grow_cell(
                pool.tiles, pool.sizes, pool.uncovered, block.near.tiles, block.near.sizes,
                block.valid, own, others, mask, cell.mask, state, _TASK_WORDS // 4,
            )  # fmt: skip
        cell.threshold, cell.covered = int(state[2]), int(state[3])
        spare.append((own, others))

    to_grow = cells
    open_blocks = [block for block in blocks if any(c.pool.block is block for c in cells)]
    while open_blocks:
        run_tasks(grow, to_grow, n_threads)
        best = [
            max((c for c in cells if c.pool.block is block), key=lambda c: c.covered)
            for block in open_blocks
        ]
        masks = np.array([cell.mask for cell in best])
        least, nearest = least_counts(open_blocks, masks, by_range=True)
        to_grow, open_blocks = [], []
        for i, cell in enumerate(best):
            block = cell.pool.block
            if least[:, i].min() == cell.threshold:
                block.accept(cell.mask[None], [cell.threshold])
                continue
            refuting = least[:, i] < cell.threshold
            block.near.add(block.patterns.tiles, nearest[refuting, i])
            to_grow.append(cell)
            open_blocks.append(block)


def _starts(blocks: Sequence[Block], most: int) -> list[_Cell]:
    """STARTS uncovered points of every block to grow from, those with m = 0 dropped."""
    candidates = [(b, int(c)) for b in blocks for c in b.next_candidates(STARTS)]
    masks = {(b, c): b.masks_of(np.array([c]))[0] for b, c in candidates}
    unknown = [(b, c) for b, c in candidates if c not in b.coverable]
    if unknown:
        owners = [b for b, _ in unknown]
        least, nearest = least_counts(owners, np.array([masks[key] for key in unknown]))
        for (block, c), count, witness in zip(unknown, least, nearest, strict=True):
            place = np.array([witness])
            block.near.add(block.patterns.tiles, place)
            if count:
                block.coverable.add(c)
            else:
                block.drop(np.array([c]), place)
    pools = {b: _Pool.of(b, most) for b in blocks if b.remaining}
    cells = []
    for block, c in candidates:
        if c in block.coverable:
            pool, place_in = pools[block]
            cells.append(_Cell(pool, place_in(c), masks[block, c]))
    return cells


def _no_counts(n_tiles: int) -> np.ndarray:
    return np.empty((n_tiles, TILE), np.int32)


def choose_neurons(
    blocks: list[Block],
    selection: str,
    n_threads: int,
    leave_one_out: bool,
    progress: Callable[[int, int, int], object],
) -> tuple[list[Block], int]:
    """Run the blocks to their ends; returns those that the network keeps, and the counts made.

    With ``leave_one_out`` (covered="auto") the class with most failures is left out, of equals the
    one whose block is widest. All blocks advance together, so that this is known as soon as all
    others are done and none of their points failed: the widest block is never finished.
    """
    total = sum(block.remaining for block in blocks)
    most = pool_size(len(blocks[0].valid), len(blocks))
    while True:
        active = [block for block in blocks if not block.done]
        if not active or (leave_one_out and _is_widest(active, blocks)):
            break
        if selection == "merge":
            step_merge(active, n_threads, most)
        else:
            for block in active:
                block.step_random()
        progress(total - sum(b.remaining for b in blocks), total, sum(b.width for b in blocks))
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
    return np.sort(np.concatenate(failed)).astype(np.int64)
