"""The least number of features that separate the classes, and weights that do.

Points that decide are few. So weights are found for some of the points, and all others are looked
at once they are: those on the wrong side join, and it begins again. What some points forbid all do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmem.inputs.refusals import refuse, typed
from fastmem.machine.memory import require
from fastmem.machine.threads import ranges
from fastmem.problem import Problem
from fastmem.separation.features import Features
from fastmem.separation.products import columns_of, multiplied, times
from fastmem.separation.report import TriedWidth
from fastmem.separation.ridge import bent_regression
from fastmem.separation.solver import Outcome, OutOfTime, Solver
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
_BLOCK_VALUES = 1 << 21
_MOST_VALUES = 1 << 23
"""Features of the points that weights are found for, at most, unless a width needs more."""


class Weights(NamedTuple):
    """Real weights of all classes, and what is known of them.

    Attributes
    ----------
    weights : ndarray of shape (n, T), float64
        T is 1 for two classes. They are for features times ``Features.unit``.
    intercepts : ndarray of shape (T,), float64
    is_separated : bool
        Whether all margins of all points are positive, in float64.
    word : str
        As of `TriedWidth`.
    bound : float or None
    """

    weights: np.ndarray
    intercepts: np.ndarray
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
        self._start = time.perf_counter()

    def features(self, n: int) -> Features:
        """The first n features."""
        self._draw(n)
        first = self._layer.hyperplanes
        if len(first) > n:
            first = first.subset(np.arange(n))
        return Features(first, self._problem.settings.activation)

    def least(self) -> tuple[int, Weights, bool]:
        """The least width, its weights, and whether it is the least; or where the search ended."""
        n, found = min(FIRST_WIDTH, self._most), self._try(min(FIRST_WIDTH, self._most))
        below = 0
        while not found.is_separated:
            if self.stopped or n >= self._most:
                self.stopped = self.stopped or "max_width"
                return n, self._regressed(n)._replace(word=found.word, bound=found.bound), False
            below, n = n, min(2 * n, self._most)
            found = self._try(n)
        while n - below > max(1, n // FINENESS) and not self.stopped:
            middle = (below + n) // 2
            trial = self._try(middle)
            if trial.is_separated:
                n, found = middle, trial
            elif not self.stopped:
                below = middle
        return n, found, not self.stopped

    def at(self, n: int) -> Weights:
        """Weights for one width, whether or not it separates all points."""
        soft = self._regressed(n)
        if soft.is_separated:
            self.tried.append(TriedWidth(n, True, "margins", None, self._since()))
            return soft
        found = self._try(n)
        if found.is_separated:
            return found
        # of several classes each may be inseparable from the others, and yet its score the largest
        word = found.word if len(self._columns) == 1 else "open"
        return soft._replace(word=word, bound=found.bound)

    def _regressed(self, n: int) -> Weights:
        """A ridge regression on all points, bent to be right on those that it can be."""
        problem = self._problem
        self._start = time.perf_counter()
        self._check_memory(min(problem.points.n_samples, _MOST_VALUES // n), n)
        self._take_rows(min(problem.points.n_samples, max(_FIRST_ROWS, _MOST_VALUES // n)), n)
        values = self._values[:, :n]
        mean, spread = _moments(values)
        features = self.features(n)
        is_all = len(self._rows) == problem.points.n_samples

        def blocks() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
            if is_all:  # these are at hand
                ranges_ = ranges(len(values), max(1, _BLOCK_VALUES // n))
                parts = ((start, values[start:stop]) for start, stop in ranges_)
            else:
                every = features.blocks(problem.points, problem.n_threads)
                parts = ((start, some * features.unit) for start, _, some, _ in every)
            for start, some in parts:
                signs = _signs(problem.codes[start : start + len(some)], self._columns)
                yield start, _centred(some, mean, spread), signs

        sizes = n + 1, len(self._columns)
        found = bent_regression(blocks, sizes, problem.n_threads, self._deadline)
        outcomes = [Outcome(column, not found.n_wrong, "open") for column in found.weights.T]
        return _in_features(outcomes, mean, spread)

    def harder(self, n: int) -> Weights:
        """Weights for a width that separates, with a larger least margin."""
        return self._solve(n, hard=True)

    def _since(self) -> float:
        return time.perf_counter() - self._start

    def _try(self, n: int) -> Weights:
        """Test a width: whether each class is separated from all others."""
        self._start = time.perf_counter()
        try:
            found = self._solve(n)
        except OutOfTime:
            self.stopped = "time_limit"
            nothing = np.empty((n, 0))
            return Weights(nothing, np.empty(0), False, "open", None)
        tried = TriedWidth(n, found.is_separated, found.word, found.bound, self._since())
        self.tried.append(tried)
        return found

    def _solve(self, n: int, hard: bool = False) -> Weights:
        features = self.features(n)
        n_points = self._problem.points.n_samples
        self._take_rows(min(n_points, max(_FIRST_ROWS, 3 * n + 40)), n)
        moments = _moments(self._values[:, :n])
        outcomes: dict[int, Outcome] = {}
        for _ in range(_ROUNDS):
            failed = self._separate_rows(n, moments, outcomes)
            if failed is not None:
                bound = failed.bound if np.isfinite(failed.bound) else None
                return Weights(np.empty((n, 0)), np.empty(0), False, failed.word, bound)
            found = _in_features([outcomes[k] for k in range(len(outcomes))], *moments)
            if len(self._rows) == n_points:
                break
            wrong = self._wrong(features, found, n)
            if not len(wrong):
                break
            self._join(wrong, n)
        else:  # still some on the wrong side
            return found._replace(is_separated=False, word="open")
        return self._widened(n, moments, outcomes) if hard else found

    def _separate_rows(
        self, n: int, moments: tuple[np.ndarray, np.ndarray], outcomes: dict[int, Outcome]
    ) -> Outcome | None:
        """Renew the outcomes of classes that the rows at hand need; or one that cannot be."""
        rows = _centred(self._values[:, :n], *moments)
        signs = _signs(self._problem.codes[self._rows], self._columns)
        solver = Solver(rows, self._problem.n_threads, self._deadline)
        self._margins = np.full(len(rows), np.inf)
        # what has failed last fails soonest
        for k in np.roll(np.arange(len(self._columns)), -self._last_failed).tolist():
            before = outcomes[k].weights if k in outcomes else None
            margins = None if before is None else signs[:, k] * times(rows, before)
            if margins is None or not (margins > 0).all():
                one = solver.separate(signs[:, k], before)
                if not one.is_separable:
                    self._last_failed = k
                    return one
                outcomes[k] = one
                margins = signs[:, k] * times(rows, one.weights)
            self._margins = np.minimum(self._margins, margins)
        return None

    def _widened(
        self, n: int, moments: tuple[np.ndarray, np.ndarray], outcomes: dict[int, Outcome]
    ) -> Weights:
        """Weights of larger margins for the same rows."""
        rows = _centred(self._values[:, :n], *moments)
        signs = _signs(self._problem.codes[self._rows], self._columns)
        solver = Solver(rows, self._problem.n_threads)
        found = [
            outcomes[k]._replace(weights=solver.harder(signs[:, k])) for k in range(len(outcomes))
        ]
        return _in_features(found, *moments)

    def _wrong(self, features: Features, found: Weights, n: int) -> np.ndarray:
        """Points with the least margins of any class, all of them at most 0; ascending."""
        problem, most = self._problem, n + 20
        columns = columns_of(found.weights.T, found.intercepts)
        rows, margins = np.empty(0, np.int64), np.empty(0)
        for start, stop, values, _ in features.blocks(problem.points, problem.n_threads):
            scores = multiplied(values * features.unit, columns, problem.n_threads)
            here = (_signs(problem.codes[start:stop], self._columns) * scores).min(axis=1)
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


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of columns (m, n), which is infinite where all are the same."""
    mean, spread = values.mean(axis=0), values.std(axis=0)
    same = (values == values[:1]).all(axis=0)  # rounding of the mean may make a spread of them
    return mean, np.where(same | ~(spread > 0), np.inf, spread)


def _centred(values: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and spread 1, and one of ones after them."""
    rows = np.ones((len(values), len(mean) + 1))
    np.subtract(values, mean, out=rows[:, :-1])
    rows[:, :-1] /= spread
    return rows


def _in_features(found: list[Outcome], mean: np.ndarray, spread: np.ndarray) -> Weights:
    """Weights for features as they are, from those for centred ones of spread 1."""
    n = len(mean)
    weights = np.stack([one.weights[:n] / spread for one in found], axis=1)
    shifts = [float(np.sum(column * mean)) for column in weights.T]
    intercepts = np.array([one.weights[n] for one in found]) - np.array(shifts)
    return Weights(weights, intercepts, all(one.is_separable for one in found), "margins", None)


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
