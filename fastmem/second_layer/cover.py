"""A covered class whose neurons are being chosen, wherever its points are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from fastmem.kernels.cells import Own
from fastmem.kernels.cover import accept_in_order
from fastmem.kernels.layout import MASK_GROUP
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.words import valid_bits
from fastmem.second_layer.counting import TiledPoints

_BATCH = 64


class Cover(ABC):
    """The neurons of one covered class, while they are being chosen.

    Selection goes by what is asked here alone, so that it does not depend on where the points are:
    `ClassCover` has them in memory or in a file, `fastmem.distributed` on other machines. Points of
    the class go by their place, which may change whenever neurons are added, and by their number
    within the class, on which results depend.

    Attributes
    ----------
    patterns : Patterns or PatternsElsewhere
    code : int
        The class.
    threshold_dtype : type
        Of its neurons' thresholds: counts here, sums where a subclass says so.
    counts_ones : bool
        Whether counts, and not real sums, decide what a neuron covers.
    steps_are_short : bool
        Whether Ctrl-C can wait for a step on one thread, where there are not many points.
    valid : ndarray of shape (n_words,), uint64
        The ones of a full mask.
    margin : float
        A neuron covers the points that lie within it by this share of its threshold.
    only_inside : bool
        A neuron covers only the points that have no one of its mask.
    masks, thresholds : list
        Of the neurons so far, and
    gained : list of int
        how many points each was the first to cover.
    failed : list of int
        Points (numbers within the class) with m = 0, and
    witnesses : list of int
        for each the position, in all patterns, of a point of another class whose pattern lies
        below its own.
    """

    threshold_dtype: ClassVar[type] = np.int32
    counts_ones: ClassVar[bool] = True
    steps_are_short: ClassVar[bool] = True
    patterns: Patterns | PatternsElsewhere
    gained: list[int]
    remaining: int

    def __init__(
        self, code: int, n_hyperplanes: int, n_threads: int, margin: float, only_inside: bool
    ) -> None:
        self.code, self.n_threads = code, n_threads
        self.margin, self.only_inside = margin, only_inside
        self.valid = valid_bits(n_hyperplanes)
        self.masks: list[np.ndarray] = []
        self.thresholds: list[float] = []
        self.failed: list[int] = []
        self.witnesses: list[int] = []
        self.evaluations = 0
        self._batch = MASK_GROUP

    @property
    def width(self) -> int:
        """Neurons so far."""
        return len(self.thresholds)

    @property
    def n_tried(self) -> int:
        """Points that were tried so far: those of neurons, and those that failed."""
        return self.width + len(self.failed)

    @property
    @abstractmethod
    def done(self) -> bool:
        """Whether every point is covered or has failed."""

    @property
    def known_remaining(self) -> int:
        """``remaining``, the points that are neither covered nor failed, as far as is known."""
        return self.remaining

    @classmethod
    @abstractmethod
    def expect(cls, covers: Sequence[Self], count: int) -> None:
        """Make the next candidates of several covers ready, if that takes a while."""

    @abstractmethod
    def next_candidates(self, count: int) -> np.ndarray:
        """The next uncovered points along the random order, by place."""

    @abstractmethod
    def numbers_of(self, places: np.ndarray) -> np.ndarray:
        """Numbers of points within the class."""

    @abstractmethod
    def is_open(self, numbers: np.ndarray) -> np.ndarray:
        """Whether points that were candidates, by number, are uncovered still; bool."""

    @abstractmethod
    def masks_of(self, candidates: np.ndarray) -> np.ndarray:
        """1 - Phi of points, (len(candidates), n_words) uint64."""

    @abstractmethod
    def gathered(self, candidates: np.ndarray) -> TiledPoints:
        """Copies of points."""

    @abstractmethod
    def all_at_hand(self) -> Own | None:
        """The points of the class, place by place in the order of their numbers.

        As a kernel takes them; None where it cannot.
        """

    @abstractmethod
    def copy_others(self, positions: np.ndarray, tiles: np.ndarray, first: int) -> None:
        """Copy points that `least_counts` has named to ``first``, ... of other tiles.

        They go by position in all patterns.
        """

    @abstractmethod
    def accept(self, masks: np.ndarray, thresholds: np.ndarray) -> None:
        """Add neurons, and take the points that they cover from the uncovered ones."""

    @abstractmethod
    def accept_grown(
        self, masks: np.ndarray, thresholds: np.ndarray, counts: Sequence[np.ndarray]
    ) -> None:
        """Add neurons whose counts of `all_at_hand` are known, see `cover_grown`."""

    @abstractmethod
    def drop(self, candidates: np.ndarray, witnesses: np.ndarray) -> None:
        """Give up points with m = 0."""

    @classmethod
    @abstractmethod
    def least_counts(
        cls,
        owners: Sequence[Self],
        masks: np.ndarray,
        by_range: bool = False,
        levels: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """For each mask the least count over classes other than its owner's, and its position.

        owners (B,), one for each mask. Returns two int64 arrays of shape (B,): of the points with
        the least count the first is named where the count is 0. With ``by_range`` of shape
        (ranges, B), one pair for each range of points. Then counts below ``levels`` (B,) int64
        are told for all ranges; others are wanted only if they are the least.
        """

    def levels(self, thresholds: np.ndarray) -> np.ndarray:
        """Counts, int64, below which a neuron covers a point: its threshold less the margin."""
        thresholds = thresholds.astype(np.int64)
        if self.only_inside:
            return np.minimum(thresholds, 1)
        return np.minimum(thresholds, np.int64((1.0 - self.margin) * thresholds) + 1)

    def ask_random(self) -> tuple[np.ndarray, np.ndarray]:
        """The next few candidates of the paper's selection, and their masks."""
        candidates = self.next_candidates(self._batch)
        return candidates, self.masks_of(candidates)

    def settle_random(
        self, candidates: np.ndarray, masks: np.ndarray, least: np.ndarray, nearest: np.ndarray
    ) -> None:
        """Accept candidates whose `least_counts` are known in order, or give them up.

        Each unless an earlier one of the same batch covers it.
        """
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

    def step_random(self) -> None:
        """The paper's selection, Algorithm 1 lines 8 to 13, for the next few candidates.

        Drawing from the uncovered points again and again equals walking a random permutation and
        skipping what is covered. So the next candidates are counted in one pass, and accepted in
        order. The batch grows while most candidates are accepted, and never changes the result.
        """
        candidates, masks = self.ask_random()
        counted = self.least_counts([self] * len(candidates), masks)
        self.settle_random(candidates, masks, *counted)

    @classmethod
    def step_all(cls, covers: Sequence[Self]) -> None:
        """The paper's selection for the next few candidates of each cover; all are of one kind."""
        for cover in covers:
            cover.step_random()


class FitPatterns(Protocol):
    """Sign patterns of the points of a fit, sorted by class, wherever they are.

    `Patterns` has them in memory or in a file.

    Attributes
    ----------
    doubtful : int
        Bits that took an exact computation.
    """

    doubtful: int

    @property
    def n_classes(self) -> int:
        """Number of classes."""

    @property
    def n_words(self) -> int:
        """Words of a pattern."""

    @property
    def file_bytes(self) -> int:
        """Size of the temporary file that they are in, 0 if there is none."""

    @property
    def is_spatial(self) -> bool:
        """Whether points next to each other in their class are neighbours in space.

        Or, elsewhere, whether they would be so on one machine.
        """

    @property
    def is_bounded(self) -> bool:
        """Whether they are bounding tiles, or would be so on one machine."""

    def class_size(self, code: int) -> int:
        """Number of points of a class."""

    def rows_of(self, codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Rows, in the user's data, of points by their classes and their numbers in these."""

    def rows_at(self, positions: np.ndarray) -> np.ndarray:
        """Rows, in the user's data, of the points at positions that covers have named."""


class PatternsElsewhere(FitPatterns, Protocol):
    """Patterns of points that are on other machines."""

    def cover(
        self,
        n_hyperplanes: int,
        code: int,
        generator: np.random.Generator,
        n_threads: int,
        members: np.ndarray | None = None,
        margin: float = 0.0,
        only_inside: bool = False,
    ) -> Cover:
        """A cover of a class; parameters as of `ClassCover`."""

    def among_neighbours(
        self, covers: list[Cover]
    ) -> tuple[list[Cover], Callable[[Sequence[Any]], object]]:
        """The covers in the state they are in, and what lets them advance among neighbours.

        By merged cells, those of ``NearCells``.
        """
