"""The smallest list that some time finds: more candidates, and more conjunctions to choose from.

What a trial will take is told by what the last one took, and before the first one by lists of a
sixteenth and an eighth of the points. Without a time in seconds both are counted in words that are
looked at, so that the list is the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

import numpy as np

from fastmem.decision_list.candidates import Candidates, GivenColumns
from fastmem.decision_list.growth import InseparableError, Progress, Search, grow_list
from fastmem.decision_list.lists import DecisionList
from fastmem.decision_list.runs import in_runs
from fastmem.fit_memory import LIST_BYTES, MOST_CANDIDATES
from fastmem.patterns.spatial_order import sample_rows

LADDER = (
    Search((4,), 0, instead=0, slack=1.0),
    Search((4,), 0, instead=128, slack=1.0),
    Search((2, 4), 1, slack=0.5),
    Search((1, 2, 3, 4, 6), 1),
    Search((1, 2, 3, 4, 6), 64),
    Search((0, 1, 2, 3, 4, 5, 6, 8, 12), 64),
)
"""Searches, each more thorough than the one before."""
_COSTS = (1.0, 1.8, 6.0, 14.0, 40.0, 80.0)
"""What they take, about, where the first takes 1: digits784-20k, n = 4,096."""
_MORE_CANDIDATES = 1.6
"""Twice as many candidates take so many times the work, about: neurons are fewer then."""
FEWEST_CANDIDATES = 1024
FEW_CANDIDATES = 4096
_THOROUGH = 3
"""The search with which candidates are doubled, where time allows it."""
_SHRINK = 0.97
"""Twice as many candidates must shrink the list to this, or are no more doubled."""
SECONDS_PER_WORD = 0.6e-9
_WORDS_PER_BIT = 2
_CACHED_BITS = 1 << 28
"""Bits of all points that lie in a cache: words of so many, or more, take twice as long."""
BASE_SECONDS, POINT_SECONDS = 0.7, 4e-5
"""Without a time, so long as one core of some machine takes for so many words."""
_PROBED_POINTS = 16384
"""With fewer points the first trial is short in any case."""
_PARTS = 16, 8
_OVERDRAWN = 1.5
"""A trial ends where it takes so many times what is left."""


class ListTrial(NamedTuple):
    """A list that was grown: candidates, place in LADDER, estimated bits, neurons, its cost."""

    n: int
    level: int
    n_bits: float
    n_neurons: int
    cost: float


class Smallest(NamedTuple):
    """The shortest list, in runs, what its literals name, and all trials."""

    found: DecisionList
    candidates: Candidates
    trials: list[ListTrial]


class _EnoughError(Exception):
    """A trial takes too long, or is no shorter than the best."""


def smallest_list(
    candidates_of: Callable[[int], Candidates],
    codes: np.ndarray,
    n_classes: int,
    effort: float | None = None,
    n_threads: int = 1,
    on_step: Callable[[Progress], object] | None = None,
    n: int | None = None,
) -> Smallest:
    """The shortest decision list that is found within some time.

    Parameters
    ----------
    candidates_of : callable
        ``candidates_of(n)`` makes n candidates, the first of which do not depend on n.
    codes : ndarray of shape (N,), integer
        The classes of the points, 0 to n_classes - 1.
    n_classes : int
    effort : float, optional
        Seconds; the first list is grown to its end in any case. None for a time that grows with the
        points, measured by counting, so that the list is the same on every machine.
    n_threads : int
    on_step : callable, optional
        Is told how far the list is that grows; what it raises ends all.
    n : int, optional
        Candidates, where their number is given.

    Returns
    -------
    Smallest
        The estimated bits of a trial count stored rows as the candidates say.

    Raises
    ------
    InseparableError
        Where candidates cannot part points of two classes.
    """
    return _Search(candidates_of, codes, n_classes, effort, n_threads, on_step).run(n)


class _Search:
    """Trials, and what is left of the time."""

    def __init__(
        self, candidates_of: Callable[[int], Candidates], codes: np.ndarray, n_classes: int,
        effort: float | None, n_threads: int, on_step: Callable[[Progress], object] | None,
    ) -> None:  # fmt: skip
        self.candidates_of, self.codes, self.n_classes = candidates_of, codes, n_classes
        self.effort, self.n_threads, self.on_step = effort, n_threads, on_step
        self.budget = BASE_SECONDS + POINT_SECONDS * len(codes) if effort is None else effort
        self.start, self.words, self.slowness = perf_counter(), 0, 1.0
        self.trials: list[ListTrial] = []
        self.best: tuple[float, DecisionList, Candidates] | None = None
        self.at_hand: tuple[int, Candidates] | None = None

    @property
    def used(self) -> float:
        """What was used of the time, in seconds, or in what words count as seconds."""
        if self.effort is None:
            return SECONDS_PER_WORD * self.words * self.slowness
        return perf_counter() - self.start

    @property
    def best_bits(self) -> float:
        """Estimated bits of the shortest list by now."""
        return math.inf if self.best is None else self.best[0]

    def run(self, n_given: int | None = None) -> Smallest:
        """Climb until nothing gains or time is over."""
        n_points = len(self.codes)
        fitting = 1 << (8 * LIST_BYTES // n_points).bit_length() >> 1  # a power of two
        most = n_given or max(FEWEST_CANDIDATES, min(MOST_CANDIDATES, fitting))
        n, level = n_given or min(FEW_CANDIDATES, most), 1
        if n_points >= _PROBED_POINTS:
            in_time, level = self.first_trial(n)
            n = n_given or in_time
        self.grow(n, level)
        while level < _THOROUGH and self.fits(n, level + 1):
            level += 1
        if level > self.trials[-1].level:  # no trial of what is only on the way
            self.grow(n, level)
        shrinks = True
        while shrinks and 2 * n <= most and self.fits(2 * n, level):
            before = self.best_bits
            shrinks = self.grow(2 * n, level) and self.best_bits < _SHRINK * before
            n *= 2
        n = self.best[2].n_keyed if self.best else n
        while level + 1 < len(LADDER) and self.fits(n, level + 1):
            level += 1
            self.grow(n, level)
        if self.best is None:
            raise AssertionError("no list was grown")
        _, found, candidates = self.best
        found = in_runs(found, candidates, self.codes, self.n_threads)
        return Smallest(found, candidates, self.trials)

    def first_trial(self, n: int) -> tuple[int, int]:
        """What is likely to end in time: candidates, and the place in LADDER."""
        probed = min(n, FEWEST_CANDIDATES)
        candidates = self.candidates_for(probed)
        costs = []
        for part in _PARTS:
            before = self.used
            self.grow_part(candidates, sample_rows(len(self.codes), len(self.codes) // part))
            costs.append(max(self.used - before, 1e-9))
        doubled = min(max(costs[1] / costs[0], 1.0), 4.0)
        cost = costs[1] * doubled ** math.log2(_PARTS[1])
        cost *= _MORE_CANDIDATES ** math.log2(n / probed)
        while cost * _COSTS[1] > self.budget - self.used:
            if n <= FEWEST_CANDIDATES:
                return n, 0
            n, cost = n // 2, cost / _MORE_CANDIDATES
        return n, 1

    def grow_part(self, candidates: Candidates, rows: np.ndarray) -> None:
        """Grow a list of some points, to see what it takes, without those not separated."""
        words = self.words

        def look(progress: Progress) -> None:
            self.words = words + progress.work
            if self.on_step is not None:
                self.on_step(progress)

        while len(rows):
            columns = GivenColumns(candidates.at(rows), len(rows))
            codes = self.codes[rows]
            try:
                grow_list(
                    columns, codes, self.n_classes, LADDER[0], self.n_threads, after_step=look
                )
            except InseparableError as error:
                rows = np.delete(rows, error.pairs[:, 1])
            else:
                break

    def candidates_for(self, n: int) -> Candidates:
        """Candidates, the same as those of the last trial where that had as many."""
        if self.at_hand is None or self.at_hand[0] != n:
            self.at_hand = n, self.candidates_of(n)
            self.words += _WORDS_PER_BIT * n * len(self.codes)
            self.slowness = 1.0 + min(1.0, n * len(self.codes) / _CACHED_BITS)
        return self.at_hand[1]

    def fits(self, n: int, level: int) -> bool:
        """Whether a trial is likely to end in time, as the last one tells."""
        last = self.trials[-1]
        share = _COSTS[level] / _COSTS[last.level]
        share *= _MORE_CANDIDATES ** math.log2(n / last.n)
        return last.cost * share <= self.budget - self.used

    def grow(self, n: int, level: int) -> bool:
        """Grow a list; says whether it is the shortest by now."""
        before = self.used
        candidates = self.candidates_for(n)
        words = self.words
        allowed = _OVERDRAWN * (self.budget - before)
        shortest = self.best_bits

        def look(progress: Progress) -> None:
            self.words = words + progress.work
            if self.best is not None and (
                progress.n_bits >= shortest or self.used - before > allowed
            ):
                raise _EnoughError
            if self.on_step is not None:
                self.on_step(progress)

        try:
            found = grow_list(
                candidates, self.codes, self.n_classes, LADDER[level], self.n_threads,
                after_step=look,
            )  # fmt: skip
        except _EnoughError:
            return False
        n_bits = found.estimated_bits(n, self.n_classes) + candidates.stored_bits(found.literals)
        self.trials.append(ListTrial(n, level, n_bits, len(found.classes), self.used - before))
        if n_bits >= shortest:
            return False
        self.best = n_bits, found, candidates
        return True
