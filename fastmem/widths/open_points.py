"""Points that are not known to be separated."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.layout import TILE
from fastmem.kernels.open_points import look_for_lower
from fastmem.machine.loops import run_loop
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.words import valid_bits
from fastmem.second_layer.cover import PatternsElsewhere
from fastmem.second_layer.random_order import random_order
from fastmem.second_layer.selection import new_cover

MANY = 0.05
"""Share of failing points above which random rows are added as long as they help."""
_PROBE = 256
"""Open points of a class looked at before a whole run over it: while more of them fail than MANY
says, the run would only find that out again, one sweep a point."""
_TASK_POINTS = 256


class OpenPoints:
    """The points of one class that are not known to be separated, and pairs that fail.

    Attributes
    ----------
    code : int
        The class.
    members : ndarray of int32
        These points, by their numbers within the class.
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
        if members is None:
            members = np.arange(patterns.class_size(code), dtype=np.int32)
        self.members = members
        self.failing = len(self.members)
        self.pairs: list[tuple[int, int]] = []

    def look(
        self,
        patterns: Patterns | PatternsElsewhere,
        width: int,
        seed: np.random.SeedSequence,
        n_threads: int,
    ) -> int:
        """Find out which members ``width`` hyperplanes separate; returns the counts made."""
        is_tree = patterns.is_spatial and not patterns.is_bounded
        if isinstance(patterns, Patterns) and is_tree:
            return self._look_by_bounds(patterns, width, seed, n_threads)
        cover = new_cover(
            patterns, width, self.code, np.random.default_rng(seed), n_threads, self.members
        )
        probe = cover.next_candidates(_PROBE)
        least, nearest = cover.least_counts([cover] * len(probe), cover.masks_of(probe))
        fails = np.flatnonzero(least == 0)
        share = len(fails) / len(probe)
        if share > MANY:
            self.failing = int(np.ceil(share * len(self.members)))
            numbers = cover.numbers_of(probe[fails]).tolist()
            self.pairs = list(zip(numbers, nearest[fails].tolist(), strict=True))
            return cover.evaluations
        while not cover.done:
            cover.step_random()
        self.members = np.sort(np.array(cover.failed, np.int32))
        self.failing = len(self.members)
        self.pairs = list(zip(cover.failed, cover.witnesses, strict=True))
        return cover.evaluations

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
            self.failing = int(np.ceil(share * len(self.members)))
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
