"""A covered class whose points are on shards."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Self

import numpy as np

from fastmem.distributed.fleet import Fleet, in_order
from fastmem.distributed.shard import NEVER, Nearest
from fastmem.distributed.window import Window
from fastmem.kernels.cells import Own
from fastmem.patterns.words import tiles_of
from fastmem.second_layer.counting import TiledPoints
from fastmem.second_layer.cover import Cover, PatternsElsewhere

_NAMED_BYTES = 64 << 20
"""Patterns of points that shards have named are kept up to so many bytes, then fetched anew."""


class NamedPoints:
    """Patterns of points of all classes that shards have named."""

    def __init__(self, fleet: Fleet, n_words: int) -> None:
        self.fleet = fleet
        self._most = max(1, _NAMED_BYTES // (8 * n_words))
        self._known: OrderedDict[int, np.ndarray] = OrderedDict()

    def keep(self, found: Nearest) -> None:
        """Take in what a shard has named."""
        for position, pattern in zip(found.positions.tolist(), found.patterns, strict=True):
            self._known[position] = pattern
        while len(self._known) > self._most:
            self._known.popitem(last=False)

    def patterns(self, positions: np.ndarray) -> np.ndarray:
        """Patterns of some of them, one row each, uint64."""
        if all(position in self._known for position in positions.tolist()):
            return np.array([self._known[position] for position in positions.tolist()])
        return in_order(self.fleet.ask(("patterns_at", positions))[0])[1]


class RemoteCover(Cover):
    """The neurons of one covered class whose points are on shards, while they are being chosen.

    Points go by number. The next open points along the random order are here, in a window that is
    kept current as neurons are added; so the shards need not be asked what is covered, but are told
    of new neurons with the next question.

    Attributes
    ----------
    n_members : int
        Points that are to be covered.
    generator : numpy.random.Generator
        What the random order is drawn with.
    """

    steps_are_short = False
    generator: np.random.Generator

    def __init__(
        self,
        patterns: PatternsElsewhere,
        named: NamedPoints,
        window: Window,
        code: int,
        n_hyperplanes: int,
        n_threads: int,
        margin: float,
        only_inside: bool,
    ) -> None:
        super().__init__(code, n_hyperplanes, n_threads, margin, only_inside)
        self.patterns, self._named, self._window = patterns, named, window
        self._fleet = named.fleet
        self.n_members = window.n_members
        self._gained: list[int] = []
        self._id = self._fleet.new_cover()
        self._fleet.tell("open_class", self._id, code, window.members)

    @property
    def gained(self) -> list[int]:  # type: ignore[override]
        """How many points each neuron was the first to cover; the shards are asked."""
        self._fleet.flush()
        return self._gained

    @property
    def remaining(self) -> int:  # type: ignore[override]
        """Points that are neither covered nor failed; the shards are asked."""
        self._fleet.flush()
        return self.known_remaining

    @property
    def known_remaining(self) -> int:
        """The same, but for what the latest neurons cover."""
        return self.n_members - sum(self._gained) - len(self.failed)

    def left(self) -> np.ndarray:
        """Numbers of the points that are neither covered nor failed, ascending int64."""
        pieces = self._fleet.ask(("left", self._id))[0]
        return np.setdiff1d(np.concatenate(pieces), self.failed, assume_unique=True)

    @property
    def done(self) -> bool:
        """Whether every point is covered or has failed."""
        self.expect([self], 1)
        return self._window.n_open == 0

    def next_candidates(self, count: int) -> np.ndarray:
        """The next uncovered points along the random order, by number."""
        self.expect([self], count)
        return self._window.next_open(count)

    def numbers_of(self, places: np.ndarray) -> np.ndarray:
        """The points go by number."""
        return places

    def is_open(self, numbers: np.ndarray) -> np.ndarray:
        """Whether points that were candidates are uncovered still; bool."""
        return self._window.is_open(numbers)

    def masks_of(self, candidates: np.ndarray) -> np.ndarray:
        """1 - Phi of points, (len(candidates), n_words) uint64."""
        masks: np.ndarray = self.valid & ~self._window.patterns(candidates)
        return masks

    def gathered(self, candidates: np.ndarray) -> TiledPoints:
        """Copies of points."""
        return self._window.gathered(candidates)

    def all_at_hand(self) -> Own | None:
        """They are not."""
        return None

    def copy_others(self, positions: np.ndarray, tiles: np.ndarray, first: int) -> None:
        """Copy points that `least_counts` has named to ``first``, ... of other tiles."""
        if len(positions):
            some = tiles_of(self._named.patterns(positions))
            TiledPoints(some, np.empty(0, np.int64)).copy_to(
                np.arange(len(positions)), tiles, first
            )

    def accept(self, masks: np.ndarray, thresholds: np.ndarray) -> None:
        """Add neurons; the shards will be told."""
        levels = self.levels(thresholds)
        self._window.take_covered(masks, levels, self.n_threads)
        self._fleet.tell("cover", self._id, masks, levels, then=self._count)
        self.masks.extend(masks)
        self.thresholds.extend(thresholds.tolist())
        self.evaluations += len(masks) * self.patterns.class_size(self.code)

    def accept_grown(
        self, masks: np.ndarray, thresholds: np.ndarray, counts: Sequence[np.ndarray]
    ) -> None:
        """As `accept`."""
        self.accept(masks, thresholds)

    def _count(self, replies: Sequence[np.ndarray]) -> None:
        self._gained.extend(np.sum(replies, axis=0).tolist())

    def drop(self, candidates: np.ndarray, witnesses: np.ndarray) -> None:
        """Give up points with m = 0, which no neuron will cover: the shards need not know."""
        self.failed.extend(int(c) for c in candidates)
        self.witnesses.extend(int(w) for w in witnesses)
        self._window.close(candidates)

    @classmethod
    def least_counts(
        cls,
        owners: Sequence[Self],
        masks: np.ndarray,
        by_range: bool = False,
        levels: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As in the base class, in one round; a range is what a shard tells of a mask."""
        one = owners[0]
        patterns = one.patterns
        n_points = sum(patterns.class_size(code) for code in range(patterns.n_classes))
        for owner in owners:
            owner.evaluations += n_points - patterns.class_size(owner.code)
        codes = np.array([owner.code for owner in owners], np.int64)
        if not by_range:
            found = one._fleet.ask(("least", masks, codes))[0]
            least, nearest = (np.array(some) for some in zip(*found, strict=True))
            # of equal counts the first position
            order = np.lexsort((nearest, least), axis=0)[0]
            columns = np.arange(len(masks))
            return least[order, columns], nearest[order, columns]
        told = one._fleet.ask(("nearest", masks, codes, levels))[0]
        by_mask = list(zip(*told, strict=True))
        n_ranges = 1 + max(sum(len(some.counts) for some in of_mask) for of_mask in by_mask)
        least, nearest = np.full((n_ranges, len(masks)), NEVER), np.full((n_ranges, len(masks)), -1)
        for i, of_mask in enumerate(by_mask):
            for some in of_mask:
                one._named.keep(some)
            counts = np.concatenate([some.counts for some in of_mask])
            least[: len(counts), i] = counts
            nearest[: len(counts), i] = np.concatenate([some.positions for some in of_mask])
            lowest = min(some.least for some in of_mask)
            if levels is None or lowest >= levels[i]:
                least[-1, i] = lowest
        return least, nearest

    @classmethod
    def step_all(cls, covers: Sequence[Self]) -> None:
        """As in the base class: candidates of all covers are counted in one round."""
        cls.expect(covers, covers[0]._batch)
        asked = [cover.ask_random() for cover in covers]
        owners = [cover for cover, (some, _) in zip(covers, asked, strict=True) for _ in some]
        least, nearest = cls.least_counts(owners, np.concatenate([masks for _, masks in asked]))
        start = 0
        for cover, (candidates, masks) in zip(covers, asked, strict=True):
            here = slice(start, start + len(candidates))
            start = here.stop
            cover.settle_random(candidates, masks, least[here], nearest[here])

    @classmethod
    def expect(cls, covers: Sequence[Self], count: int) -> None:
        """Fetch open points until every window has so many, or all that are left."""
        while True:
            few = [cover for cover in covers if cover._window.lacks(count)]
            if not few:
                return
            long = [c for c in few if c._window.is_long(c.known_remaining + len(c.failed))]
            if long:
                told = long[0]._fleet.ask(*[("left", c._id) for c in long])
                for cover, pieces in zip(long, told, strict=True):
                    cover._window.narrow(np.concatenate(pieces))
                continue
            wanted = [c._window.stretch(count, c.known_remaining) for c in few]
            commands = [("peek", c._id, some) for c, some in zip(few, wanted, strict=True)]
            for cover, some, pieces in zip(few, wanted, few[0]._fleet.ask(*commands), strict=True):
                which, patterns = in_order(pieces)
                cover._window.take_in(some[which], patterns)
