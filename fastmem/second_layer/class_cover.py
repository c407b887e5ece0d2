"""The neurons of one covered class while they are being chosen: counts, coverage, what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from fastmem.kernels.cells import cover_grown
from fastmem.kernels.cover import accept_in_order
from fastmem.kernels.layout import MASK_GROUP, TILE
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.words import valid_bits
from fastmem.second_layer.bounded_points import BoundedPoints, all_points, class_points
from fastmem.second_layer.counting import TiledPoints, least_over
from fastmem.second_layer.random_order import random_order

_BATCH = 64
_COMPACT_BYTES = 64 << 20
_SPARSE = 8
"""Once so many points along a spatial order's random one are covered for each that is not, it is
looked through as a whole: one by one they lie anywhere in memory."""


class ClassCover:
    """The neurons of one covered class, while they are being chosen.

    Points go by their place in ``own``, which holds the class's points and, once most are covered,
    only the uncovered ones; and by their number within the class, on which results depend.

    Attributes
    ----------
    code : int
        The class.
    threshold_dtype : type
        Of its neurons' thresholds: counts here, sums where a subclass says so.
    counts_ones : bool
        Whether counts, and not real sums, decide what a neuron covers.
    steps_are_short : bool
        Whether Ctrl-C can wait for a step on one thread, where there are not many points.
    own : TiledPoints or BoundedPoints
        Points of the class.
    members : ndarray of int32
        Number within the class of each point in ``own``.
    uncovered : ndarray of shape (n_tiles, TILE), bool
        Points that no neuron covers yet and that may still be covered.
    margin : float
        A neuron covers the points that lie within it by this share of its threshold.
    only_inside : bool
        A neuron covers only the points that have no one of its mask.
    names_witnesses : bool
        Whether it matters which witnesses are named: the first by class and number are.
    failed : list of int
        Points (numbers within the class) with m = 0, and
    witnesses : list of int
        for each the position, in all patterns, of a point of another class whose pattern lies
        below its own.
    """

    threshold_dtype: ClassVar[type] = np.int32
    counts_ones: ClassVar[bool] = True
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
        self.names_witnesses = members is not None
        self.skip = patterns.first_tile[code : code + 2].astype(np.int64)
        self.own: TiledPoints | BoundedPoints = class_points(patterns, code)
        self.valid = valid_bits(n_hyperplanes)
        self.members = patterns.numbers_in_order(code)
        # numbers, until there is a copy of a few points
        self.order = random_order(len(self.members), generator, n_threads)
        self._is_copy = False
        self._walked = 0
        self.uncovered = np.zeros((self.own.n_tiles, TILE), np.bool_)
        self._flat = self.uncovered.reshape(-1)
        if members is None:
            self._flat[: len(self.members)] = True
        else:
            self._flat[patterns.places_of(code, members)] = True
        self.remaining = len(self.members) if members is None else len(members)
        self.masks: list[np.ndarray] = []
        self.thresholds: list[float] = []
        self.gained: list[int] = []
        self.failed: list[int] = []
        self.witnesses: list[int] = []
        self.evaluations = 0
        self._batch = MASK_GROUP
        self._compact()

    @property
    def done(self) -> bool:
        """Whether every point is covered or has failed."""
        return self.remaining == 0

    @property
    def goes_by_number(self) -> bool:
        """Whether the points in ``own`` are in the order of their numbers."""
        return self._is_copy or self.patterns.numbers is None

    @property
    def width(self) -> int:
        """Neurons so far."""
        return len(self.thresholds)

    def next_candidates(self, count: int) -> np.ndarray:
        """The next uncovered points along the random order."""
        if not self.goes_by_number and _SPARSE * self.remaining < len(self.order) - self._walked:
            self._drop_covered()
        found: list[np.ndarray] = []
        at = self._walked
        missing = count
        while missing and at < len(self.order):
            stretch = self.order[at : at + max(256, 4 * missing)]
            if not self.goes_by_number:
                stretch = self.patterns.places_of(self.code, stretch)
            here = np.flatnonzero(self._flat[stretch])
            if at == self._walked:
                # the points before the first that is left never come back
                self._walked += int(here[0]) if len(here) else len(stretch)
            found.append(stretch[here[:missing]])
            missing -= len(found[-1])
            at += len(stretch)
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def _drop_covered(self) -> None:
        """Keep in the random order, which holds numbers, what is uncovered."""
        is_open = np.zeros(len(self.members), np.bool_)
        is_open[self.members[np.flatnonzero(self._flat)]] = True
        ahead = self.order[self._walked :]
        self.order, self._walked = ahead[is_open[ahead]], 0

    def is_open(self, numbers: np.ndarray) -> np.ndarray:
        """Whether points, by their numbers within the class, are uncovered still; bool."""
        if not self._is_copy:
            places = self.patterns.places_of(self.code, numbers)
            of_class: np.ndarray = self._flat[places]
            return of_class
        places = np.minimum(np.searchsorted(self.members, numbers), len(self.members) - 1)
        result: np.ndarray = (self.members[places] == numbers) & self._flat[places]
        return result

    def masks_of(self, candidates: np.ndarray) -> np.ndarray:
        """1 - Phi of points, (len(candidates), n_words) uint64."""
        return self.own.masks_of(candidates, self.valid)

    def levels(self, thresholds: np.ndarray) -> np.ndarray:
        """Counts, int64, below which a neuron covers a point: its threshold less the margin."""
        thresholds = thresholds.astype(np.int64)
        if self.only_inside:
            return np.minimum(thresholds, 1)
        return np.minimum(thresholds, np.int64((1.0 - self.margin) * thresholds) + 1)

    def accept(self, masks: np.ndarray, thresholds: np.ndarray) -> None:
        """Add neurons, and take the points that they cover from the uncovered ones."""
        levels = self.levels(thresholds)
        gained = self.own.take_covered(masks, levels, self.uncovered, self.n_threads)
        self._add(masks, thresholds, gained)

    def accept_grown(
        self, masks: np.ndarray, thresholds: np.ndarray, counts: Sequence[np.ndarray]
    ) -> None:
        """Add neurons whose counts of the points in ``own`` are known, see `cover_grown`."""
        levels = self.levels(thresholds)
        gained = [
            cover_grown(known, level, self.uncovered)
            for known, level in zip(counts, levels, strict=True)
        ]
        self._add(masks, thresholds, np.array(gained))

    def _add(self, masks: np.ndarray, thresholds: np.ndarray, gained: np.ndarray) -> None:
        self.evaluations += len(masks) * len(self.members)
        self._extend(masks, thresholds, gained)
        self._compact()

    def open_places(self) -> np.ndarray:
        """The points in ``own`` that are uncovered, ascending int64."""
        return np.flatnonzero(self._flat)

    def positions(self, places: np.ndarray) -> np.ndarray:
        """Where points in ``own`` are in all patterns, int64."""
        if self._is_copy:
            places = self.patterns.places_of(self.code, self.members[places])
        return places.astype(np.int64) + TILE * int(self.skip[0])

    def add(
        self, masks: np.ndarray, thresholds: np.ndarray, gained: np.ndarray, covered: np.ndarray
    ) -> None:
        """Add neurons, each with the points that it is the first to cover; all of them by place."""
        self._flat[covered] = False
        self._extend(masks, thresholds, gained)

    def _extend(self, masks: np.ndarray, thresholds: np.ndarray, gained: np.ndarray) -> None:
        self.masks.extend(masks)
        self.thresholds.extend(thresholds.tolist())
        self.gained.extend(gained.tolist())
        self.remaining -= int(gained.sum())

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
            self._batch = max(self._batch // 2, MASK_GROUP)

    @classmethod
    def step_all(cls, covers: Sequence[Self]) -> None:
        """The paper's selection for the next few candidates of each cover; all are of one kind."""
        for cover in covers:
            cover.step_random()

    def _compact(self) -> None:
        """Keep the uncovered points only, once they are less than half of those in ``own``."""
        if (
            isinstance(self.own, BoundedPoints)  # where covered tiles cost next to nothing
            or self.own.n_tiles < 4
            or 2 * self.remaining > len(self.members)
            or self.remaining * len(self.valid) * 8 > _COMPACT_BYTES // self.patterns.n_classes
        ):
            return
        kept = np.flatnonzero(self._flat)
        if self.goes_by_number:
            numbers = self.members[kept]
        else:
            numbers = np.sort(self.members[kept])
            kept = self.patterns.places_of(self.code, numbers).astype(np.int64)
            self.order = self.patterns.places_of(self.code, self.order)
        own = self.own.gathered(kept)
        place = np.full(len(self._flat), -1, np.int32)
        place[kept] = np.arange(len(kept))
        self.order = place[self.order]
        self.order = self.order[self.order >= 0]
        self._is_copy = True
        self._walked = 0
        self.own, self.members = own, numbers
        self.uncovered = np.zeros((own.n_tiles, TILE), np.bool_)
        self._flat = self.uncovered.reshape(-1)
        self._flat[: len(kept)] = True


def least_counts(
    owners: Sequence[ClassCover],
    masks: np.ndarray,
    by_range: bool = False,
    levels: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """For each mask the least count over the classes other than its owner's, and its position.

    See `least_over`; owners (B,), one for each mask. Where that is asked by range, counts below
    ``levels`` (B,) int64 are told for all ranges; others are wanted only if they are the least.
    """
    patterns = owners[0].patterns
    skip = np.array([owner.skip for owner in owners])
    for owner in owners:
        owner.evaluations += len(patterns.order) - patterns.class_size(owner.code)
    points = all_points(patterns)
    if isinstance(points, BoundedPoints):
        firsts = owners[0].names_witnesses
        return points.least_over(masks, skip, owners[0].n_threads, by_range, levels, firsts)
    return least_over(points, masks, skip, owners[0].n_threads, by_range)
