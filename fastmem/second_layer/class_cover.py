"""The neurons of one covered class while they are being chosen: counts, coverage, what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fastmem.kernels.cover import GROUP, accept_in_order, complements, cover, gather, minima
from fastmem.kernels.layout import TILE
from fastmem.machine.arrays import aligned_zeros
from fastmem.machine.threads import ranges, run_tasks
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.tile_store import TileStore
from fastmem.patterns.words import padded, valid_bits

TASK_WORDS = 400_000_000
"""A task of 4e8 popcounts lasts some 30 ms, the longest that Ctrl-C has to wait."""
SERIAL_SECONDS = 2e-4
"""Less work is not worth starting threads for: the start of one takes 50 us and more."""
_SERIAL_WORDS = 4_000_000
_BATCH = 64
_NEVER = np.int64(2**62)
_RANGES = 1024
"""Places that refute a cell at most at once: on digits784-70k at n = 10,240, cells are sent back
699 times with one for each of the 365 tiles, 844 times with 256."""
_COMPACT_BYTES = 64 << 20


def gathered(
    tiles: np.ndarray, positions: np.ndarray, store: TileStore | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Copies of the patterns at ``positions``, ascending, in tiles, and the sizes of these.

    The tiles may be those of ``store``, to which they are released.
    """
    n_tiles = max(1, -(-len(positions) // TILE))
    copies = aligned_zeros((n_tiles, tiles.shape[1], TILE), np.uint64)
    if store is None or not store.file_bytes:
        gather(tiles, positions, copies, 0)
    else:
        for start, stop in ranges(len(positions), TILE):
            some = positions[start:stop]
            gather(tiles, some, copies, start)
            store.release(tiles[some[0] // TILE : some[-1] // TILE + 1])
    sizes = np.full(n_tiles, TILE, np.int64)
    sizes[-1] = len(positions) - (n_tiles - 1) * TILE
    return copies, sizes


class ClassCover:
    """The neurons of one covered class, while they are being chosen.

    Points are numbered by their place in ``tiles``, which holds the class's patterns and, once
    most are covered, only the uncovered ones.

    Attributes
    ----------
    code : int
        The class.
    threshold_dtype : type
        Of its neurons' thresholds: counts here, sums where a subclass says so.
    steps_are_short : bool
        Whether Ctrl-C can wait for a step on one thread, where there are not many points.
    tiles, sizes : ndarrays
        Patterns of the class, as in ``kernels.signs``.
    members : ndarray of int32
        Number within the class of each point in ``tiles``.
    uncovered : ndarray of shape (n_tiles, TILE), bool
        Points that no neuron covers yet and that may still be covered.
    margin : float
        A neuron covers the points that lie within it by this share of its threshold.
    only_inside : bool
        A neuron covers only the points that have no one of its mask.
    failed : list of int
        Points (numbers within the class) with m = 0, and
    witnesses : list of int
        for each the position, in all patterns, of a point of another class whose pattern lies
        below its own.
    """

    threshold_dtype: ClassVar[type] = np.int32
    steps_are_short: ClassVar[bool] = True

    def __init__(
        self,
        patterns: Patterns,
        n_hyperplanes: int,
        code: int,
        generator: np.random.Generator,
        n_threads: int,
        members: np.ndarray | None = None,
        margin: float = 0.0,
        only_inside: bool = False,
    ) -> None:
        self.patterns, self.code, self.n_threads = patterns, code, n_threads
        self.margin, self.only_inside = margin, only_inside
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
        self.thresholds: list[float] = []
        self.gained: list[int] = []
        self.failed: list[int] = []
        self.witnesses: list[int] = []
        self.evaluations = 0
        self._batch = GROUP
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

    def is_open(self, numbers: np.ndarray) -> np.ndarray:
        """Whether points, by their numbers within the class, are uncovered still; bool."""
        places = np.minimum(np.searchsorted(self.members, numbers), len(self.members) - 1)
        result: np.ndarray = (self.members[places] == numbers) & self._flat[places]
        return result

    def masks_of(self, candidates: np.ndarray) -> np.ndarray:
        """1 - Phi of points, (len(candidates), n_words) uint64."""
        masks = np.empty((len(candidates), len(self.valid)), np.uint64)
        complements(self.tiles, candidates.astype(np.int64), self.valid, masks)
        self.patterns.store.release(self.tiles)
        return masks

    def levels(self, thresholds: np.ndarray) -> np.ndarray:
        """Counts, int64, below which a neuron covers a point: its threshold less the margin."""
        thresholds = thresholds.astype(np.int64)
        if self.only_inside:
            return np.minimum(thresholds, 1)
        return np.minimum(thresholds, np.int64((1.0 - self.margin) * thresholds) + 1)

    def accept(self, masks: np.ndarray, thresholds: np.ndarray) -> None:
        """Add neurons, and take the points that they cover from the uncovered ones."""
        stack = padded(masks)
        levels = padded(self.levels(thresholds))
        words = len(stack) * TILE * len(self.valid)
        store = self.patterns.store
        tasks = ranges(len(self.tiles), max(1, min(TASK_WORDS // words, store.tiles_at_once)))
        gained = np.zeros((len(tasks), len(stack)), np.int64)

        def work(task: int) -> None:
            cover(self.tiles, self.sizes, *tasks[task], stack, levels, self.uncovered, gained[task])
            store.release(self.tiles[slice(*tasks[task])])

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
        accepted = np.empty(len(candidates), np.bool_)
        accept_in_order(masks, self.valid, self.levels(least), accepted)
        self.drop(candidates[uncoverable], nearest[uncoverable])
        if accepted.any():
            self.accept(masks[accepted], least[accepted])
        useful = np.count_nonzero(accepted | uncoverable)
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
        tiles, sizes = gathered(self.tiles, kept, self.patterns.store)
        place = np.full(len(self._flat), -1, np.int32)
        place[kept] = np.arange(len(kept))
        self.order = place[self.order]
        self.order = self.order[self.order >= 0]
        self._walked = 0
        self.tiles, self.sizes, self.members = tiles, sizes, self.members[kept]
        self.uncovered = np.zeros((len(tiles), TILE), np.bool_)
        self._flat = self.uncovered.reshape(-1)
        self._flat[: len(kept)] = True


def least_counts(
    owners: Sequence[ClassCover], masks: np.ndarray, by_range: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """For each mask the least count over the classes other than its cover's, and its position.

    Returns two int64 arrays of shape (len(masks),). With ``by_range`` of shape (ranges,
    len(masks)): one pair for each of up to 1,024 ranges of tiles.

    All tiles are counted. Bounds from pivots, delta(a, x) >= delta(p, x) - delta(p, a), would be
    exact but do not pay against whole tiles at full vector speed: on digits784-20k, with points
    sorted by nearest pivot and each candidate's minimum known in advance, the 4 nearest of 256
    pivots leave 40 % of the points but 97 % of the tiles (n = 2,048; 98 % at n = 9,984), 1,024
    pivots 26 % and 93 %; and picking single points out of tiles costs more than it saves.
    """
    patterns, n_threads = owners[0].patterns, owners[0].n_threads
    tiles, sizes = patterns.tiles, patterns.sizes
    stack = padded(masks)
    # padding skips every tile
    skip = np.tile(np.array([0, len(sizes)], np.int64), (len(stack), 1))
    skip[: len(masks)] = [owner.skip for owner in owners]
    if len(stack) * len(sizes) * TILE * tiles.shape[1] < _SERIAL_WORDS:
        n_threads = 1
    most = patterns.store.tiles_at_once
    size = max(1, min(TASK_WORDS // (len(stack) * TILE * tiles.shape[1]), most))
    size = min(size, -(-len(sizes) // (2 * n_threads)))
    step = min(size, -(-len(sizes) // _RANGES)) if by_range else size
    tasks = ranges(len(sizes), size // step * step)
    least = np.full((-(-len(sizes) // step), len(stack)), _NEVER)
    nearest = np.full(least.shape, -1, np.int64)

    def work(task: tuple[int, int]) -> None:
        minima(tiles, sizes, *task, step, stack, skip, least, nearest)
        patterns.store.release(tiles[slice(*task)])

    run_tasks(work, tasks, n_threads)
    for owner in owners:
        owner.evaluations += len(patterns.order) - patterns.class_size(owner.code)
    least, nearest = least[:, : len(masks)], nearest[:, : len(masks)]
    if by_range:
        return least, nearest
    columns = np.arange(len(masks))
    best = least.argmin(axis=0)
    return least[best, columns], nearest[best, columns]
