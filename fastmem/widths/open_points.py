"""Points that are not known to be separated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmem.kernels.layout import TILE
from fastmem.kernels.open_points import look_for_lower
from fastmem.machine.loops import run_loop
from fastmem.machine.threads import ranges
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.words import valid_bits
from fastmem.second_layer.cover import Cover, PatternsElsewhere
from fastmem.second_layer.random_order import random_order
from fastmem.second_layer.selection import new_cover

MANY = 0.05
"""Share of failing points above which random rows are added as long as they help."""
_PROBE = 256
"""Open points of a class looked at before a whole run over it: while more of them fail than MANY
says, the run would only find that out again, one sweep a point."""
_TASK_POINTS = 256
_TOGETHER = 16
"""Classes that are looked at in the same rounds."""


class OpenPoints:
    """The points of one class that are not known to be separated, and pairs that fail.

    Attributes
    ----------
    code : int
        The class.
    members : ndarray of int32, or None
        These points, by their numbers within the class; None for all of a class elsewhere.
    failing : int
        How many of them fail, as far as is known.
    pairs : list of (int, int)
        Points that fail and, for each, the position in all patterns of one whose pattern lies
        below its own.
    """

    def __init__(
        self,
        patterns: Patterns | PatternsElsewhere,
        code: int,
        members: np.ndarray | None = None,
    ) -> None:
        self.code = code
        self._class_size = patterns.class_size(code)
        if members is None and isinstance(patterns, Patterns):
            members = np.arange(self._class_size, dtype=np.int32)
        self.members = members
        self.failing = len(self)
        self.pairs: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return self._class_size if self.members is None else len(self.members)

    def look(
        self,
        patterns: Patterns | PatternsElsewhere,
        width: int,
        seed: np.random.SeedSequence,
        n_threads: int,
    ) -> int:
        """Find out which members ``width`` hyperplanes separate; returns the counts made."""
        if isinstance(patterns, Patterns) and patterns.is_spatial and not patterns.is_bounded:
            return self._look_by_bounds(patterns, width, seed, n_threads)
        return _look_together([self], patterns, width, [seed], n_threads)

    def _take_probe(
        self, cover: Cover, probe: np.ndarray, least: np.ndarray, at: np.ndarray
    ) -> bool:
        """Take note of the first points that were looked at; whether many of them fail."""
        fails = np.flatnonzero(least == 0)
        share = len(fails) / len(probe)
        if share > MANY:
            self.failing = int(np.ceil(share * len(self)))
            numbers = cover.numbers_of(probe[fails]).tolist()
            self.pairs = list(zip(numbers, at[fails].tolist(), strict=True))
        return share > MANY

    def _take_all(self, cover: Cover) -> None:
        """Take note of all that failed in a whole run."""
        self.members = np.sort(np.array(cover.failed, np.int32))
        self.failing = len(self.members)
        self.pairs = list(zip(cover.failed, cover.witnesses, strict=True))

    def _look_by_bounds(
        self, patterns: Patterns, width: int, seed: np.random.SeedSequence, n_threads: int
    ) -> int:
        """As `look`, each point by itself: bounds leave little to count."""
        order = random_order(patterns.class_size(self.code), np.random.default_rng(seed), n_threads)
        is_open = np.zeros(len(order), np.bool_)
        is_open[self.members] = True
        order = order[is_open[order]]
        probe = order[:_PROBE]
        witnesses, looked = self._lower(patterns, width, probe, n_threads)
        fails = np.flatnonzero(witnesses >= 0)
        share = len(fails) / len(probe)
        if share > MANY:
            self.failing = int(np.ceil(share * len(self)))
            self.pairs = [(int(probe[i]), int(witnesses[i])) for i in fails]
            return looked
        rest = order[_PROBE:]
        others, more = self._lower(patterns, width, rest, n_threads)
        witnesses = np.concatenate([witnesses, others])
        fails = np.flatnonzero(witnesses >= 0)
        self.members = np.sort(order[fails])
        self.failing = len(fails)
        self.pairs = [(int(order[i]), int(witnesses[i])) for i in fails]
        return looked + more

    def _lower(
        self, patterns: Patterns, width: int, numbers: np.ndarray, n_threads: int
    ) -> tuple[np.ndarray, int]:
        """Positions of points of other classes whose patterns lie below, -1 where there is none.

        And the counts made.
        """
        witnesses = np.full(len(numbers), -1, np.int64)
        n_tasks = -(-len(numbers) // _TASK_POINTS)
        looked = np.zeros(n_tasks, np.int64)
        if len(numbers):
            start = int(patterns.first_tile[self.code]) * TILE
            positions = start + patterns.places_of(self.code, numbers).astype(np.int64)
            run_loop(
                look_for_lower, n_tasks, n_threads,
                (tuple(patterns.tree(n_threads)), self.code, valid_bits(width), positions,
                 patterns.numbers_by_position, _TASK_POINTS, witnesses, looked),
            )  # fmt: skip
        return witnesses, int(looked.sum())


def look_at_all(
    classes: Sequence[OpenPoints],
    patterns: Patterns | PatternsElsewhere,
    width: int,
    seeds: Sequence[np.random.SeedSequence],
    n_threads: int,
) -> int:
    """`OpenPoints.look` of several classes, all of which have members.

    Where points are elsewhere, several together: they take the rounds that one would take.
    """
    if isinstance(patterns, Patterns):
        return sum(
            c.look(patterns, width, seed, n_threads) for c, seed in zip(classes, seeds, strict=True)
        )
    return sum(
        _look_together(classes[a:b], patterns, width, seeds[a:b], n_threads)
        for a, b in ranges(len(classes), _TOGETHER)
    )


def _look_together(
    classes: Sequence[OpenPoints],
    patterns: Patterns | PatternsElsewhere,
    width: int,
    seeds: Sequence[np.random.SeedSequence],
    n_threads: int,
) -> int:
    covers = [
        new_cover(patterns, width, c.code, np.random.default_rng(seed), n_threads, c.members)
        for c, seed in zip(classes, seeds, strict=True)
    ]
    kind: Any = type(covers[0])  # all are of one
    kind.expect(covers, _PROBE)
    probes = [cover.next_candidates(_PROBE) for cover in covers]
    owners = np.repeat(np.arange(len(covers)), [len(probe) for probe in probes])
    masks = [cover.masks_of(probe) for cover, probe in zip(covers, probes, strict=True)]
    least, nearest = kind.least_counts([covers[i] for i in owners], np.concatenate(masks))
    whole: list[tuple[OpenPoints, Cover]] = []
    for i, (c, cover, probe) in enumerate(zip(classes, covers, probes, strict=True)):
        if not c._take_probe(cover, probe, least[owners == i], nearest[owners == i]):
            whole.append((c, cover))
    while active := [cover for _, cover in whole if not cover.done]:
        kind.step_all(active)
    for c, cover in whole:
        c._take_all(cover)
    return sum(cover.evaluations for cover in covers)
