"""The neurons of one covered class while they are being chosen: counts, coverage, what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, TypeGuard

import numpy as np

from fastmem.kernels.cells import Own, cover_grown
from fastmem.kernels.layout import TILE
from fastmem.patterns.by_class import Patterns
from fastmem.second_layer.bounded_points import BoundedPoints, all_points, class_points
from fastmem.second_layer.counting import TiledPoints, least_over
from fastmem.second_layer.cover import Cover
from fastmem.second_layer.random_order import random_order

_COMPACT_BYTES = 64 << 20
_SPARSE = 8
"""Once so many points along a spatial order's random one are covered for each that is not, it is
looked through as a whole: one by one they lie anywhere in memory."""


class ClassCover(Cover):
    """The neurons of one covered class whose points are here, while they are being chosen.

    Points go by their place in ``own``, which holds the class's points and, once most are covered,
    only the uncovered ones; and by their number within the class, on which results depend.

    Attributes
    ----------
    own : TiledPoints or BoundedPoints
        Points of the class.
    members : ndarray of int32
        Number within the class of each point in ``own``.
    uncovered : ndarray of shape (n_tiles, TILE), bool
        Points that no neuron covers yet and that may still be covered.
    names_witnesses : bool
        Whether it matters which witnesses are named: the first by class and number are.
    """

    patterns: Patterns

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
        super().__init__(code, n_hyperplanes, n_threads, margin, only_inside)
        self.patterns = patterns
        self.names_witnesses = members is not None
        self.skip = patterns.first_tile[code : code + 2].astype(np.int64)
        self.own: TiledPoints | BoundedPoints = class_points(patterns, code)
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
        self.gained: list[int] = []
        self._compact()

    def take_over(self, other: Cover) -> None:
        """Begin with the neurons and failed points of another cover of the class.

        The members are the points that it has left.
        """
        self.masks, self.thresholds, self.gained = other.masks, other.thresholds, other.gained
        self.failed, self.witnesses = other.failed, other.witnesses
        self.evaluations = other.evaluations

    @property
    def done(self) -> bool:
        """Whether every point is covered or has failed."""
        return self.remaining == 0

    @property
    def goes_by_number(self) -> bool:
        """Whether the points in ``own`` are in the order of their numbers."""
        return self._is_copy or self.patterns.numbers is None

    @classmethod
    def expect(cls, covers: Sequence[Self], count: int) -> None:
        """As in the base class: they are at hand."""

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

    def numbers_of(self, places: np.ndarray) -> np.ndarray:
        """Numbers of points within the class."""
        numbers: np.ndarray = self.members[places]
        return numbers

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

    def gathered(self, candidates: np.ndarray) -> TiledPoints:
        """Copies of points in ``own``."""
        return self.own.gathered(candidates)

    def all_at_hand(self) -> Own | None:
        """What is in ``own``, as a kernel takes it; None where it is not in the order of numbers.

        Nor where it is not in memory, tile by tile.
        """
        own = self.own
        if not self.goes_by_number or not _in_memory(own):
            return None
        return Own(own.tiles, own.sizes, self.uncovered)

    def copy_others(self, positions: np.ndarray, tiles: np.ndarray, first: int) -> None:
        """Copy points, by position in all patterns, to ``first``, ... of other tiles."""
        all_points(self.patterns).copy_to(positions, tiles, first)

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

    @classmethod
    def least_counts(
        cls,
        owners: Sequence[Self],
        masks: np.ndarray,
        by_range: bool = False,
        levels: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As in the base class."""
        patterns = owners[0].patterns
        skip = np.array([owner.skip for owner in owners])
        for owner in owners:
            owner.evaluations += len(patterns.order) - patterns.class_size(owner.code)
        points = all_points(patterns)
        if isinstance(points, BoundedPoints):
            firsts = owners[0].names_witnesses
            return points.least_over(masks, skip, owners[0].n_threads, by_range, levels, firsts)
        return least_over(points, masks, skip, owners[0].n_threads, by_range)


def _in_memory(points: TiledPoints | BoundedPoints) -> TypeGuard[TiledPoints]:
    """Whether points are tiles that a kernel may read as it likes."""
    if isinstance(points, BoundedPoints):
        return False
    store = points.store
    return not (store.file_bytes and np.may_share_memory(points.tiles, store.tiles))
