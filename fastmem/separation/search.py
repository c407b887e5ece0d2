"""The least number of features that separate the classes, and weights that do.

Points that decide are few. So weights are found for some of the points, and all others are looked
at once they are: those on the wrong side join, and it begins again. What some points forbid all do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmem.inputs.refusals import refuse, typed
from fastmem.machine.memory import require
from fastmem.problem import Problem
from fastmem.separation.features import Features
from fastmem.separation.products import columns_of, multiplied, times
from fastmem.separation.report import TriedWidth
from fastmem.separation.solver import MACHINE, RIDGE, Outcome, OutOfTime, Solver
from fastmem.widths.first_layer import FirstLayer

FIRST_WIDTH = 8
FINENESS = 64
"""The least width is found up to a share of 1 / so much."""
MOST_WIDTH = 4096
"""Features up to which "auto" goes on, unless ``max_width`` says otherwise: a test at so many takes
minutes."""
_FIRST_ROWS = 2048
_ROUNDS = 40
"""How often points on the wrong side may join for one width."""
_MOST_VALUES = 1 << 23
"""Features of the points that weights are found for, at most, unless a width needs more."""


class Weights(NamedTuple):
    """Real weights of all classes, and what is known of them.

    Attributes
    ----------
    weights : ndarray of shape (n, T), float64
        T is 1 for two classes. They are for features times ``Features.unit``.
    intercepts : ndarray of shape (T,), float64
    outcomes : tuple of Outcome
        Of each column, among the points that weights were found for.
    is_separated : bool
        Whether all margins of all points are positive, in float64.
    word : str
        As of `TriedWidth`.
    bound : float or None
    """

    weights: np.ndarray
    intercepts: np.ndarray
    outcomes: tuple[Outcome, ...]
    is_separated: bool
    word: str
    bound: float | None


class Search:
    """Tests of widths for one data set; features are the first rows of one source.

    Parameters
    ----------
    problem : Problem
    rows_seed, sample_seed : numpy.random.SeedSequence
        Of the hyperplanes, and of the points that weights are found for first.
    most : int
        The largest width.
    deadline : callable
        Says whether time is over.

    Attributes
    ----------
    tried : list of TriedWidth
    stopped : str
        As of `SeparationReport`.
    """

    def __init__(
        self, problem: Problem, rows_seed: np.random.SeedSequence,
        sample_seed: np.random.SeedSequence, most: int, deadline: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._problem, self._most, self._deadline = problem, most, deadline
        self._layer = FirstLayer(problem, rows_seed)
        n_classes = len(problem.classes)
        columns = [1] if n_classes == 2 else range(n_classes)
        self._columns = list(columns)
        self._order = _stratified(problem.codes, n_classes, np.random.default_rng(sample_seed))
        self._rows = np.empty(0, np.int64)
        self._values = np.empty((0, 0))
        self._margins = np.empty(0)
        self.tried: list[TriedWidth] = []
        self.stopped = ""
        self._last_failed = 0

    def features(self, n: int) -> Features:
        """The first n features."""
        self._draw(n)
        first = self._layer.hyperplanes
        if len(first) > n:
            first = first.subset(np.arange(n))
        return Features(first, self._problem.settings.activation)

    def least(self) -> tuple[int, Weights, bool]:
        """The least width, its weights, and whether it is the least; or where the search ended."""
        n, found = min(FIRST_WIDTH, self._most), self._try(min(FIRST_WIDTH, self._most), True)
        below = 0
        while not found.is_separated:
            if self.stopped or n >= self._most:
                self.stopped = self.stopped or "max_width"
                return n, self._soft(n, found), False
            below, n = n, min(2 * n, self._most)
            found = self._try(n, True)
        while n - below > max(1, n // FINENESS) and not self.stopped:
            middle = (below + n) // 2
            trial = self._try(middle, True)
            if trial.is_separated:
                n, found = middle, trial
            elif not self.stopped:
                below = middle
        return n, found, not self.stopped

    def at(self, n: int) -> Weights:
        """Weights for one width, soft ones of the classes that it does not separate."""
        return self._soft(n, self._try(n, False))

    def harder(self, n: int) -> Weights:
        """Weights for a width that separates, with a larger least margin."""
        return self._solve(n, every=True, hard=True)

    def _soft(self, n: int, found: Weights) -> Weights:
        if found.weights.shape[1] == len(self._columns):
            return found
        self._deadline = _never
        return self._solve(n, every=False)

    def _try(self, n: int, only_all: bool) -> Weights:
        """Test a width; with ``only_all`` its weights are of use only where all are separated."""
        start = time.perf_counter()
        try:
            found = self._solve(n, every=not only_all)
        except OutOfTime:
            self.stopped = "time_limit"
            nothing = np.empty((n, 0))
            return Weights(nothing, np.empty(0), (), False, "open", None)
        seconds = time.perf_counter() - start
        self.tried.append(TriedWidth(n, found.is_separated, found.word, found.bound, seconds))
        return found

    def _solve(self, n: int, every: bool, hard: bool = False) -> Weights:
        features = self.features(n)
        problem = self._problem
        most = max(_FIRST_ROWS, 3 * n + 40, _MOST_VALUES // n if every else 0)
        self._take_rows(min(problem.points.n_samples, most), n)
        found = self._of_rows(n, every, hard)
        for _ in range(_ROUNDS):
            if not found.outcomes or len(self._rows) == problem.points.n_samples:
                break
            if not any(one.is_separable for one in found.outcomes):
                break
            wrong = self._wrong(features, found, n, every)
            if not len(wrong):
                break
            self._join(wrong, n)
            found = self._of_rows(n, every, hard)
        else:  # still some on the wrong side
            return found._replace(is_separated=False, word="open")
        return found

    def _of_rows(self, n: int, every: bool, hard: bool) -> Weights:
        """Weights for the points that are looked at; of no class where one is not separable."""
        signs = _signs(self._problem.codes[self._rows], self._columns)
        values = self._values[:, :n]
        mean, spread = values.mean(axis=0), values.std(axis=0)
        spread = np.where(spread > 0, spread, np.inf)
        rows = np.ones((len(values), n + 1))
        np.subtract(values, mean, out=rows[:, :n])
        rows[:, :n] /= spread
        solver = Solver(rows, self._problem.n_threads, self._deadline)
        if every and not hard and (soft := self._by_largest(solver, signs)) is not None:
            return self._in_features(soft, mean, spread)
        order = np.roll(np.arange(len(self._columns)), -self._last_failed)
        outcomes: dict[int, Outcome] = {}
        for k in order.tolist():
            outcomes[k] = solver.separate(signs[:, k])
            if hard:
                outcomes[k] = outcomes[k]._replace(weights=solver.harder(signs[:, k]))
            if not outcomes[k].is_separable:
                self._last_failed = k
                if not every:
                    failed = outcomes[k]
                    bound = failed.bound if np.isfinite(failed.bound) else None
                    nothing = np.empty((n, 0))
                    return Weights(nothing, np.empty(0), (), False, failed.word, bound)
        found = [outcomes[k] for k in range(len(order))]
        self._margins = np.min(
            [signs[:, k] * times(rows, one.weights) for k, one in outcomes.items()], axis=0
        )
        return self._in_features(found, mean, spread)

    def _by_largest(self, solver: Solver, signs: np.ndarray) -> list[Outcome] | None:
        """Weights whose largest score is every point's own, found with little effort, or None."""
        for cost in RIDGE:
            weights = solver.ridge(signs, cost)
            if weights is not None and self._is_right(solver, weights, signs):
                return [Outcome(column, True, "margins") for column in weights.T]
        if signs.shape[1] == 1:
            return None
        weights = np.zeros((solver.width, signs.shape[1]))
        for cost in MACHINE:
            for k in range(signs.shape[1]):
                weights[:, k] = solver.machine(signs[:, k], cost, weights[:, k])
            if self._is_right(solver, weights, signs):
                return [Outcome(column, True, "margins") for column in weights.T]
        return None

    def _is_right(self, solver: Solver, weights: np.ndarray, signs: np.ndarray) -> bool:
        scores = np.stack([solver.scores(column) for column in weights.T], axis=1)
        self._margins = _margins(scores, signs)
        return bool((self._margins > 0).all())

    def _in_features(self, found: list[Outcome], mean: np.ndarray, spread: np.ndarray) -> Weights:
        """Weights for features as they are, from those for centred ones of spread 1."""
        n = len(mean)
        weights = np.stack([one.weights[:n] / spread for one in found], axis=1)
        shifts = [float(np.sum(column * mean)) for column in weights.T]
        intercepts = np.array([one.weights[n] for one in found]) - np.array(shifts)
        failures = [one for one in found if not one.is_separable]
        if not failures:
            return Weights(weights, intercepts, tuple(found), True, "margins", None)
        bound = max(one.bound for one in failures)
        known = bound if np.isfinite(bound) else None
        return Weights(weights, intercepts, tuple(found), False, failures[0].word, known)

    def _wrong(self, features: Features, found: Weights, n: int, every: bool) -> np.ndarray:
        """Points with the least margins, all of them at most 0; ascending.

        A margin is the own score less the largest other one; or, where each class is to be
        separated from all others, the least of all columns that are.
        """
        problem, most = self._problem, n + 20
        columns = columns_of(found.weights.T, found.intercepts)
        sought = np.array([one.is_separable for one in found.outcomes])
        rows, margins = np.empty(0, np.int64), np.empty(0)
        for start, stop, values, _ in features.blocks(problem.points, problem.n_threads):
            scores = multiplied(values * features.unit, columns, problem.n_threads)
            signs = _signs(problem.codes[start:stop], self._columns)
            by_largest = every and sought.all()
            here = (
                _margins(scores, signs) if by_largest else (signs * scores)[:, sought].min(axis=1)
            )
            wrong = np.flatnonzero(~(here > 0))
            rows = np.concatenate([rows, start + wrong])
            margins = np.concatenate([margins, here[wrong]])
            worst = np.argsort(margins, kind="stable")[:most]
            rows, margins = rows[worst], margins[worst]
        return np.setdiff1d(rows, self._rows)

    def _draw(self, n: int) -> None:
        layer = self._layer
        if not hasattr(layer, "hyperplanes"):
            layer.start(n)
        elif len(layer) < n:
            layer.draw(n - len(layer))

    def _take_rows(self, m: int, n: int) -> None:
        """See to it that at least m points are looked at, and have n features."""
        if len(self._rows) < m:
            self._check_memory(m, n)
            free = self._order[~np.isin(self._order, self._rows)]
            self._rows = np.sort(np.concatenate([self._rows, free[: m - len(self._rows)]]))
            self._values = np.empty((0, 0))
        self._fill(n)

    def _join(self, rows: np.ndarray, n: int) -> None:
        """Take in points, in place of others where there would be too many."""
        most = max(_MOST_VALUES // n, 4 * n + 40)
        kept = self._rows
        if len(kept) + len(rows) > most:
            nearest = np.argsort(self._margins, kind="stable")
            kept = kept[nearest[: max(0, most - len(rows))]]
        self._rows = np.union1d(kept, rows)
        self._values = np.empty((0, 0))
        self._fill(n)

    def _fill(self, n: int) -> None:
        if len(self._values) == len(self._rows) and self._values.shape[1] >= n:
            return
        problem = self._problem
        self._values = self.features(n).of_points(problem.points, self._rows, problem.n_threads)

    def _check_memory(self, m: int, n: int) -> None:
        needed = 8 * (4 * m * n + 3 * n * n)
        what = f"a separation by {n:,} features"
        require(needed, what, "pass a smaller width or max_width, or fewer points")


def search_of(problem: Problem, most: int, deadline: Callable[[], bool]) -> Search:
    """A search for a problem, with the random numbers of its seed."""
    rows_seed, sample_seed = problem.settings.seed.spawn(2)
    return Search(problem, rows_seed, sample_seed, most, deadline)


def deadline_of(time_limit: Any) -> Callable[[], bool]:
    """What says whether a number of seconds from now is over; never for None.

    Raises
    ------
    InvalidInputError
        For what is neither.
    """
    if time_limit is None:
        return _never
    is_real = isinstance(time_limit, int | float | np.integer | np.floating)
    if not is_real or isinstance(time_limit, bool) or not 0 <= time_limit < math.inf:
        refuse(f"time_limit is {typed(time_limit)}; pass None or a number of seconds, at least 0")
    end = time.perf_counter() + float(time_limit)
    return lambda: time.perf_counter() > end


def _never() -> bool:
    return False


def _signs(codes: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """Signs of points of these classes for each column, (m, T) float64: +1 for its own class."""
    return np.where(codes[:, None] == np.array(columns), 1.0, -1.0)


def _margins(scores: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Own score less the largest other one, (m,), of scores and signs (m, T)."""
    if scores.shape[1] == 1:
        return (scores * signs)[:, 0]
    own = np.where(signs > 0, scores, -np.inf).max(axis=1)
    others = np.where(signs > 0, -np.inf, scores).max(axis=1)
    return own - others


def _stratified(codes: np.ndarray, n_classes: int, generator: np.random.Generator) -> np.ndarray:
    """All points, int64, in a random order in which each class comes first as often as others."""
    order = generator.permutation(len(codes))
    if len(codes) <= _FIRST_ROWS:
        return order
    rank = np.empty(len(codes), np.int64)  # of a point in its class
    own = codes[order]
    by_class = np.argsort(own, kind="stable")
    counts = np.bincount(own, minlength=n_classes)
    starts = np.cumsum(counts) - counts
    rank[by_class] = np.arange(len(codes)) - np.repeat(starts, counts)
    quota = _FIRST_ROWS // (2 * n_classes)
    early = rank < max(2, quota)
    return np.concatenate([order[early], order[~early]])
