"""Decision lists, grown neuron by neuron: the one that takes the fewest bits a point comes first.

For each class that has open points one conjunction is kept at hand. What other classes' neurons
claim leaves it as it is, without points of other classes and with as many of its own; only grown
anew it may be shorter. So a step grows the conjunctions of the class that the last neuron was of,
of those that wait longest, and of the one that is the best by now (lazy greedy choice, Minoux,
1978), each by several exponents, and takes the one with the least bits / coverage^gamma.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastmem.decision_list.candidates import Candidates, points_of
from fastmem.decision_list.lists import DecisionList, Neuron, new_list
from fastmem.decision_list.open_sample import OpenSample
from fastmem.decision_list.tables import conjunction_bits, log2_of, powers_of
from fastmem.fit_memory import LIST_BYTES
from fastmem.kernels.conjunctions import Grown, grow_conjunctions
from fastmem.kernels.layout import WORD_BITS
from fastmem.kernels.open_conjunctions import MOST_LITERALS, Tables, inside_all
from fastmem.machine.loops import run_loop
from fastmem.patterns.words import packed, valid_bits

_FEWEST_SAMPLED = 4096
_MOST_TASKS = 256
_RENEWED = 3
"""A sample is drawn anew where one in so many of its points is left."""
_STEP_WORK = 200_000
"""Words that could be looked at while a neuron is taken."""
_LEAST_SPARE = 1024
_WHOLE_WORDS = 1 << 24
"""Words of columns at all points that are kept."""
_MOST_KEPT = 64
"""Classes whose points are kept as words: of a million points each takes 125 KB."""
_ROUNDS = 64


class Search(NamedTuple):
    """How much is tried.

    Attributes
    ----------
    quarters : tuple of int
        The exponents e by which conjunctions grow, times four.
    renewed : int
        Conjunctions of other classes that a step grows anew.
    gamma : float
        Coverage counts to this power.
    counted : int
        Points of a class, and of the others, that are counted for a literal, about.
    instead : int
        One literal takes the place of one or two of a grown conjunction where no more than so many
        points, which it has to miss, depend on these; 0 for none. Flights, n = 1,024: 0.64 s and
        12,148 bytes with 0; 0.70 and 9,722 with 32; 0.84 and 9,566 with 128; 1.04 and 9,341
        with 512.
    slack : float
        A step takes those of other classes, too, that it has grown, where their log2 of bits /
        coverage^gamma is at most this above the best: the next step has more to grow side by side.
    """

    quarters: tuple[int, ...] = (4,)
    renewed: int = 0
    gamma: float = 0.8
    counted: int = 4096
    instead: int = 512
    slack: float = 0.0


DEFAULT = Search()


class Progress(NamedTuple):
    """How far a list is: estimated bits by now, words looked at, points that are open."""

    n_bits: float
    work: int
    n_open: int


class _Conjunction(NamedTuple):
    score: float
    literals: np.ndarray
    step: int  # at which it was grown


class _StuckError(Exception):
    """No literal parts a point from some of other classes."""


class InseparableError(Exception):
    """Points of different classes have equal bits at all candidates, and no row can be added."""

    def __init__(self, pairs: np.ndarray) -> None:
        super().__init__(pairs)
        self.pairs = pairs

    def __str__(self) -> str:
        return f"{len(self.pairs)} pairs of points are not separated"


def grow_list(
    candidates: Candidates,
    codes: np.ndarray,
    n_classes: int,
    search: Search = DEFAULT,
    n_threads: int = 1,
    sample_bytes: int = LIST_BYTES,
    after_step: Callable[[Progress], object] | None = None,
) -> DecisionList:
    """Grow a decision list that is right at all points.

    Parameters
    ----------
    candidates : Candidates
        Where there are no rows for points that none separates, some are added.
    codes : ndarray of shape (N,), integer
        The classes of the points, 0 to n_classes - 1.
    n_classes : int
    search : Search
    n_threads : int
        The list does not depend on it.
    sample_bytes : int
        Room for the bits of the points that conjunctions grow among: where all points need more, it
        is a sample, and what conjunctions get wrong beside it joins it.
    after_step : callable, optional
        Is told how far it is; what it raises ends the growth.

    Returns
    -------
    DecisionList

    Raises
    ------
    InseparableError
        Where candidates cannot part points of two classes.
    """
    growth = _Growth(candidates, codes, n_classes, search, n_threads, sample_bytes)
    while np.count_nonzero(growth.n_open) > 1:
        growth.take_step()
        if after_step is not None:
            after_step(Progress(growth.n_bits, growth.work, int(growth.n_open.sum())))
    return new_list(growth.found, int(np.argmax(growth.n_open)))


class _Growth:
    """One list, while it grows."""

    def __init__(
        self, candidates: Candidates, codes: np.ndarray, n_classes: int, search: Search,
        n_threads: int, sample_bytes: int,
    ) -> None:  # fmt: skip
        self.candidates, self.codes, self.n_classes = candidates, codes, n_classes
        self.search, self.n_threads, self.sample_bytes = search, n_threads, sample_bytes
        self.bits = conjunction_bits(candidates.n_keyed, n_classes)
        self.log_bits = np.full(MOST_LITERALS + 1, np.inf)
        scaled = np.rint(self.bits[1:] * 65536).astype(np.int64)
        self.log_bits[1 : len(self.bits)] = log2_of(np.minimum(scaled, 2**31 - 1))
        self.found: list[Neuron] = []
        self.at_hand: dict[int, _Conjunction] = {}
        self.n_open = np.bincount(codes, minlength=n_classes)
        self.open = valid_bits(len(codes))
        # where there is a sample: columns at all points, and the points of a class
        self.whole: dict[int, np.ndarray] = {}
        self.own: dict[int, np.ndarray] = {}
        self.step = self.work = 0
        self.n_bits = 0.0
        self._begin(self._drawn())

    # The sample ----------------------------------------------------------------------------

    def _begin(self, numbers: np.ndarray) -> None:
        """Grow among these points from now on, with rows that separate them."""
        all_points = len(numbers) == len(self.codes)
        n_spare = 0 if self._is_all_open(len(numbers)) else max(_LEAST_SPARE, len(numbers) // 4)
        arguments = (
            self.candidates, None if all_points else numbers, self.codes, self.n_classes,
            self.n_threads, n_spare,
        )  # fmt: skip
        for _ in range(_ROUNDS):
            self.__dict__.pop("sample", None)  # there is room for one
            self.sample = OpenSample(*arguments)
            pairs = self.sample.unseparated()
            if len(pairs) == 0:
                break
            if not self.candidates.part(pairs):
                raise InseparableError(pairs)
        else:
            raise InseparableError(pairs)
        self.n_drawn = self.sample.n_open
        most = len(self.sample.numbers)
        self.logs = log2_of(np.arange(most + 1))
        self.tables = Tables(
            self.logs, powers_of(most, self.search.quarters), self.candidates.sides.copy(),
            self.candidates.n_keyed, self.search.counted, self.log_bits, self.search.gamma,
            self.search.instead,
        )  # fmt: skip
        self.at_hand.clear()

    def _is_all_open(self, size: int) -> bool:
        return size == int(self.n_open.sum())

    def _drawn(self) -> np.ndarray:
        """Numbers of open points to grow among, ascending."""
        numbers = points_of(self.open)
        most = max(_FEWEST_SAMPLED, 8 * self.sample_bytes // len(self.candidates.sides))
        if len(numbers) <= most:
            return numbers
        # by class, so that each has its share, and at least one point
        order = numbers[np.argsort(self.codes[numbers], kind="stable")]
        sizes = np.bincount(self.codes[numbers], minlength=self.n_classes)
        firsts = (np.cumsum(sizes) - sizes)[sizes > 0]
        even = np.arange(most, dtype=np.int64) * len(order) // most
        return np.sort(order[np.union1d(even, firsts)])

    # Steps ---------------------------------------------------------------------------------

    def take_step(self) -> None:
        """Add a neuron, or a point to the sample, or draw the sample anew, or add candidates."""
        try:
            self._step()
        except _StuckError:
            pairs = self.sample.stuck(self.candidates.sides)
            if len(pairs) == 0 or not self.candidates.part(pairs):
                raise InseparableError(pairs) from None
            self._begin(self.sample.open_numbers)

    def _step(self) -> None:
        sample = self.sample
        live = np.flatnonzero(sample.data.sizes).tolist()
        is_sampled = not self._is_all_open(sample.n_open)
        if is_sampled and (len(live) < 2 or _RENEWED * sample.n_open < self.n_drawn):
            self._begin(self._drawn())
            return
        missing = [c for c in live if c not in self.at_hand]
        waiting = sorted((c for c in live if c in self.at_hand), key=self._since)
        self._grow(missing + waiting[: self.search.renewed])
        code = self._best()
        while self.at_hand[code].step != self.step:
            self._grow([code])
            code = self._best()
        enough = self.at_hand[code].score + self.search.slack
        while True:
            literals = self.at_hand.pop(code).literals
            if is_sampled:
                self._accept_everywhere(code, literals)
            else:
                self._accept(code, literals, sample.claim(code, literals))
            if is_sampled or not self.at_hand or np.count_nonzero(self.n_open) < 2:
                break
            code = self._best()
            if self.at_hand[code].step != self.step or self.at_hand[code].score > enough:
                break
        if not is_sampled:
            sample.compact()
        self.step += 1

    def _accept(self, code: int, literals: np.ndarray, coverage: int) -> None:
        self.n_open[code] -= coverage
        self.n_bits += float(self.bits[len(literals)])
        self.work += _STEP_WORK
        self.found.append(Neuron(np.sort(literals), code, coverage))

    def _since(self, code: int) -> tuple[int, int]:
        return self.at_hand[code].step, code

    def _best(self) -> int:
        """The class of the best conjunction at hand."""
        if not self.at_hand:
            raise _StuckError
        return min(self.at_hand, key=lambda code: (self.at_hand[code].score, code))

    def _grow(self, classes: list[int]) -> None:
        """Grow conjunctions of these classes; what is at hand gives way to what is better."""
        n_exponents = len(self.search.quarters)
        for start in range(0, len(classes), _MOST_TASKS):
            some = np.array(classes[start : start + _MOST_TASKS], np.int64)
            grown = self._grown(
                np.repeat(some, n_exponents), np.tile(np.arange(n_exponents), len(some)), None
            )
            scores = self._scores(grown.n_literals, grown.coverage).reshape(len(some), -1)
            for row, code in enumerate(some.tolist()):
                task = int(np.argmin(scores[row])) + row * n_exponents
                score = float(scores.flat[task])
                before = self.at_hand.get(code)
                if before is not None and before.score <= score:
                    self.at_hand[code] = before._replace(step=self.step)
                elif np.isfinite(score):
                    literals = grown.literals[task, : grown.n_literals[task]].copy()
                    self.at_hand[code] = _Conjunction(score, literals, self.step)

    def _scores(self, lengths: np.ndarray, coverage: np.ndarray) -> np.ndarray:
        return self.log_bits[lengths] - self.search.gamma * self.logs[coverage]

    def _grown(self, classes: np.ndarray, exponents: np.ndarray, begun: np.ndarray | None) -> Grown:
        """Conjunctions of these classes, grown on from literals if some are given."""
        n_tasks = len(classes)
        literals = np.empty((n_tasks, MOST_LITERALS), np.int32)
        n_literals = np.zeros(n_tasks, np.int64)
        if begun is not None:
            literals[:, : len(begun)], n_literals[:] = begun, len(begun)
        coverage, work = np.zeros((2, n_tasks), np.int64)
        grown = Grown(classes, exponents, literals, n_literals, coverage, work)
        run_loop(grow_conjunctions, n_tasks, self.n_threads, (self.sample.data, self.tables, grown))
        self.work += int(work.sum())
        return grown

    # Points beside the sample --------------------------------------------------------------

    def _accept_everywhere(self, code: int, literals: np.ndarray) -> None:
        """Take a neuron that is right at all points, or grow it on, or improve the sample."""
        if code not in self.own:
            if len(self.own) == _MOST_KEPT:
                self.own.clear()
            self.own[code] = packed((self.codes == code)[None])[0]
        own = self.own[code]
        places = 2 * np.arange(MOST_LITERALS, dtype=np.int32)
        while True:
            columns = self._everywhere(literals >> 1)
            if columns is None:
                return
            short = places[: len(literals)] + (literals & 1)
            wrong = self.open & ~own
            if inside_all(columns, short, len(short), wrong) == 0:
                break
            numbers = points_of(wrong)
            most = min(len(numbers), WORD_BITS)
            some = numbers[np.arange(most) * len(numbers) // most]
            if not self.sample.add(some):
                self._begin(np.union1d(self.sample.open_numbers, some))
                return
            grown = self._grown(np.array([code]), np.zeros(1, np.int64), literals)
            literals = grown.literals[0, : grown.n_literals[0]].copy()
            if len(literals) == 0:
                raise _StuckError
        inside = self.open & own
        coverage = inside_all(columns, short, len(short), inside)
        self.open &= ~inside
        self.sample.claim(code, literals)
        self._accept(code, literals, int(coverage))

    def _everywhere(self, numbers: np.ndarray) -> np.ndarray | None:
        """Columns of candidates at all points; None where a point was found to lie on one.

        Then the mirror is no complement, and what was grown with it is void.
        """
        missing = np.setdiff1d(numbers, list(self.whole))
        if len(missing):
            if (len(self.whole) + len(missing)) * len(self.open) > _WHOLE_WORDS:
                self.whole.clear()
                missing = np.unique(numbers)
            sides = self.tables.sides[missing].copy()
            columns = self.candidates.columns(missing)
            self.whole.update(zip(missing.tolist(), columns, strict=True))
            if (self.candidates.sides[missing] != sides).any():
                self.tables.sides[:] = self.candidates.sides
                self.at_hand.clear()
                return None
        return np.stack([self.whole[k] for k in numbers.tolist()])
