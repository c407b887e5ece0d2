"""Ridge regressions of classes on cosine features: how wide, how smooth, on which grid.

All of it is chosen by leave-one-out errors of training points. The regression is linear, so that
these errors follow from one factor of its matrix (`factor.left_out`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastmem.inputs import Points
from fastmem.kernels.butterflies import LANES
from fastmem.kernels.panel_products import PANEL
from fastmem.readout.costs import (
    FEW,
    LEAST_WIDTH,
    MOST_LEFT_OUT,
    STEPS,
    affords,
    points_in_gram,
)
from fastmem.readout.waves import FeatureTiles
from fastmem.second_layer.random_order import RandomOrder
from fastmem.vote.conjugate import NormalEquations, refined
from fastmem.vote.elsewhere import votes_of
from fastmem.vote.factor import LeftOut, factored, left_out, solved
from fastmem.vote.gram import (
    Gram,
    centred_targets,
    covariances,
    gram_in,
    gram_room,
    mean_target,
)
from fastmem.vote.grid import Cloud, Grid, cloud_of, grid_of
from fastmem.vote.sums import FeatureSums, Recipe, SumsHere

BANDWIDTHS = (0.4, 0.8, 1.6, 3.2)
"""Spreads of projections, in radians, that are tried."""
_BETWEEN = (math.sqrt(0.5), math.sqrt(2.0))
"""Steps from the best of them that are tried."""
PENALTIES = (0.005, 0.05, 0.5, 5.0, 50.0)
"""Penalties that are tried on a sample. They are for a feature of mean square 1 whose weight has a
variance of 1 / n a priori: p n is added to the sums of squares of n such features, whatever the
number of points."""
SAMPLE = 1536
SAMPLE_WIDTH = LEAST_WIDTH
_SAMPLE_LEFT_OUT = 384
MANY = 8192
"""Points for which a larger bandwidth than the sample's is tried: more points and features than
there carry it."""
_LEFT_OUT = (256, MOST_LEFT_OUT)
"""Fewest and most points that are left out, each by itself, where there are so many; and"""
_LEFT_OUT_VALUES = 1 << 19
"""of so many features in all between."""
_MOST_WIDER = 2
"""Steps of that bandwidth up."""
_MOST_STEPS = 4
"""Steps of a penalty up or down, each a factor of three."""
_GAIN = 0.95
"""Twice as many features are tried where these leave at most this share of the error of half of
them."""
_LEFT_OUT_TARGETS = 1 << 21
"""of so many targets."""


class Choice(NamedTuple):
    """What was chosen on a sample, and its mean squared error there."""

    bandwidth: float
    penalty: float
    error: float


def _error(choice: Choice) -> float:
    return choice.error


@dataclass(frozen=True)
class Ridge:
    """A regression of the classes on cosine features.

    Attributes
    ----------
    grid : Grid
    coefficients : ndarray of shape (n, T), float64
    intercepts : ndarray of shape (T,), float64
    bandwidth, penalty : float
    rows : ndarray of shape (S,), int64
        Training points that were left out, each by itself, and
    unseen : ndarray of shape (S, T), float64
        what the regression then says of them, where
    targets : ndarray of shape (S, T), float64
        would be right.
    factor : ndarray of shape (>= n, >= n), float64
        L in the lower triangle, where L L^T is the matrix of the regression, or like it.
    features : ndarray of shape (S, n), float64
        L^-1 f for the centred features f of the points that were left out.
    mean : ndarray of shape (n,), float64
        Of the features.
    """

    grid: Grid
    coefficients: np.ndarray
    intercepts: np.ndarray
    bandwidth: float
    penalty: float
    rows: np.ndarray
    unseen: np.ndarray
    targets: np.ndarray
    factor: np.ndarray
    features: np.ndarray
    mean: np.ndarray


class Regression:
    """Ridge regressions for one data set: its points in a random order, targets and a key.

    Parameters
    ----------
    points : Points
    codes : ndarray of shape (N,), integer
        Below ``n_classes``.
    n_classes : int
    key : int
        Of the projections.
    generator : numpy.random.Generator
    n_threads : int
    """

    def __init__(
        self, points: Points, codes: np.ndarray, n_classes: int, key: int,
        generator: np.random.Generator, n_threads: int,
    ) -> None:  # fmt: skip
        self.points, self.n_classes, self.key, self.n_threads = points, n_classes, key, n_threads
        self._order, self._codes = RandomOrder(points.n_samples, generator), codes
        first = self.first_rows(SAMPLE)
        self.sample, self.sample_codes = points.at_hand(first), codes[first].astype(np.int64)
        self.cloud: Cloud = cloud_of(self.sample, first)
        self._last: tuple[tuple[int, int, int, int], Gram, FeatureTiles] | None = None

    @property
    def n_columns(self) -> int:
        """Columns that are regressed: one for two classes."""
        return 1 if self.n_classes == 2 else self.n_classes

    def choose(self) -> Choice:
        """Find bandwidth and penalty on a sample of the points."""
        middle = len(PENALTIES) // 2
        tried = [self._tried(b, PENALTIES[i]) for b in BANDWIDTHS for i in (middle - 1, middle)]
        best = min(tried, key=_error)
        # penalties go on as long as they help
        step = 1 if best.penalty == PENALTIES[middle] else -1
        place = PENALTIES.index(best.penalty) + step
        while 0 <= place < len(PENALTIES):
            trial = self._tried(best.bandwidth, PENALTIES[place])
            if trial.error >= best.error:
                break
            best, place = trial, place + step
        between = (best.bandwidth * step for step in _BETWEEN)
        return min([best, *(self._tried(b, best.penalty) for b in between)], key=_error)

    def _tried(self, bandwidth: float, penalty: float) -> Choice:
        grid = grid_of(self.cloud, bandwidth)
        trial = self.fitted(grid, SAMPLE_WIDTH, penalty, SAMPLE, _SAMPLE_LEFT_OUT, False)
        return Choice(bandwidth, penalty, trial.error)

    def regress(self, choice: Choice, width: int | None) -> Ridge:
        """Regress on ``width`` features, or on as many as leaving one out says."""
        n = -(-width // PANEL) * PANEL if width is not None else self._first_width()
        if n >= FEW and self.points.n_samples >= MANY:
            choice = self._sharpest(choice)
        bandwidth, trial = choice.bandwidth, self._at_width(n, choice.bandwidth, choice.penalty)
        while width is None and self._goes_on(trial):
            n = 2 * n
            trial = self._at_width(n, bandwidth, trial.penalty)
        kept = n if width is not None else _narrowest(trial.errors)
        self._last = None
        return self._solved(grid_of(self.cloud, bandwidth), trial, kept, bandwidth)

    def _at_width(self, n: int, bandwidth: float, penalty: float) -> Trial:
        """A regression on n features; of at most FEW the best of some penalties about one."""
        n_points = points_in_gram(n, self.points.n_samples, self.n_columns)
        n_left = max(_LEFT_OUT[0], min(_LEFT_OUT[1], _LEFT_OUT_VALUES // n))
        grid = grid_of(self.cloud, bandwidth)
        trial = self.fitted(grid, n, penalty, n_points, n_left, n > FEW)
        return self._smoothest(grid, trial) if n <= FEW else trial

    def _smoothest(self, grid: Grid, best: Trial) -> Trial:
        """The best of some penalties about that of a trial."""
        n, n_points, n_left, penalty = best.width, best.n_points, best.n_left, best.penalty
        for step in (1 / 3, 3.0):
            for _ in range(_MOST_STEPS):
                trial = self.fitted(grid, n, best.penalty * step, n_points, n_left, False)
                if trial.error >= best.error:
                    break
                best = trial
            if best.penalty != penalty:
                break
        return best

    def _sharpest(self, choice: Choice) -> Choice:
        """The sample's choice, or a larger bandwidth that more points and features carry."""
        best = self._of_many(choice.bandwidth, choice.penalty)
        for _ in range(_MOST_WIDER):
            wider = best.bandwidth * _BETWEEN[1]
            trial = min((self._of_many(wider, best.penalty * p) for p in (1.0, 3.0)), key=_error)
            if trial.error >= best.error:
                break
            best = trial
        return best

    def _of_many(self, bandwidth: float, penalty: float) -> Choice:
        grid, n = grid_of(self.cloud, bandwidth), FEW // 2
        trial = self.fitted(grid, n, penalty, MANY, _LEFT_OUT_VALUES // FEW, False)
        return Choice(bandwidth, penalty, trial.error)

    def _first_width(self) -> int:
        """Features to begin with: as many as several penalties are tried with."""
        n, n_samples = LEAST_WIDTH, self.points.n_samples
        while n < FEW and affords(2 * n, n_samples, self.n_columns):
            n *= 2
        return n

    def _goes_on(self, trial: Trial) -> bool:
        """Whether twice as many features are worth a trial: half of them were worse."""
        half = trial.errors.errors[len(trial.errors.widths) // 2 - 1].mean()
        n = 2 * trial.width
        return trial.error <= _GAIN * half and affords(n, self.points.n_samples, self.n_columns)

    def fitted(
        self, grid: Grid, n: int, penalty: float, n_points: int, n_left: int, last: bool
    ) -> Trial:
        """A regression on the first points, and its errors for some left out.

        ``last`` says that no other penalty will be asked for: one matrix less is kept.
        """
        n_points = min(n_points, self.points.n_samples)
        n_left = min(n_points, n_left, max(LANES, _LEFT_OUT_TARGETS // self.n_columns))
        assert n_left <= SAMPLE
        gram, features = self._gram(grid, n, n_points, n_left)
        if last:
            self._last = None
        level = mean_target(gram.counts)
        diagonal = penalty * n * gram.mean_square / n_points
        diagonal = diagonal if diagonal > 0 else 1.0  # no feature tells any two points apart
        matrix = gram.ridge_rows(diagonal, n_left, last)
        rows = matrix[n + self.n_columns :][:n_left]
        rows[:] = features.rows(np.arange(n_left))
        rows -= gram.mean
        factored(matrix, n, self.n_threads)
        start = n + self.n_columns
        errors, _ = left_out(
            matrix[n:start], matrix[start : start + n_left],
            centred_targets(self.sample_codes[:n_left], level), 1.0 / n_points, self.n_threads,
        )  # fmt: skip
        return Trial(matrix, gram.mean, n_points, penalty, diagonal, errors, n_left)

    def _gram(self, grid: Grid, n: int, n_points: int, n_left: int) -> tuple[Gram, FeatureTiles]:
        """The Gram matrix of the first points, and features of those that are left out."""
        key = (grid.exponent, grid.multiplier, n, n_points)
        if self._last is None or self._last[0] != key:
            self._last = None
            room = gram_room(n, self.n_classes, n_left)
            products = room[: n + self.n_classes + 1]
            sample = self._of_sample(grid, n, min(n_points, SAMPLE))
            (sample if n_points <= SAMPLE else self._sums(grid, n, n_points)).add_gram(products)
            self._last = key, gram_in(room, self._counts(n_points)), sample.features
        return self._last[1:]

    def _counts(self, n_points: int) -> np.ndarray:
        """Points of each class among the first, (K,) int64."""
        there = votes_of(self.points)
        if n_points < len(self._order):
            codes = self._codes[self.first_rows(n_points)]
        elif there is not None:
            return there.counts
        else:
            codes = self._codes
        return np.bincount(codes, minlength=self.n_classes)

    def first_rows(self, n_points: int) -> np.ndarray:
        """The first points of the random order, by row, int64."""
        return self._order.stretch(0, n_points, self.n_threads).astype(np.int64)

    def _of_sample(self, grid: Grid, n: int, n_points: int) -> SumsHere:
        """Sums over the features of the first points, SAMPLE at most."""
        rows, codes = self.first_rows(n_points), self.sample_codes[:n_points]
        return SumsHere(self.sample, codes, rows, self._recipe(grid, n), self.n_threads)

    def _sums(self, grid: Grid, n: int, n_points: int) -> FeatureSums:
        """Sums over the features of the first points, or of all."""
        is_all = n_points == len(self._order)
        rows = None if is_all else self.first_rows(n_points)
        points, recipe, there = self.points, self._recipe(grid, n), votes_of(self.points)
        if there is not None:
            row_bytes = points.row_values * points.dtype.itemsize
            if rows is None or n_points * row_bytes > n * n * np.dtype(np.float64).itemsize:
                return there.sums(rows, recipe)
            points = points.at_hand(rows)  # fewer bytes than a matrix
        codes = self._codes if rows is None else self._codes[rows]
        return SumsHere(points, codes, rows, recipe, self.n_threads)

    def _recipe(self, grid: Grid, n: int) -> Recipe:
        return Recipe(self.key, grid.exponent, grid.offsets, n, grid.multiplier)

    def _solved(self, grid: Grid, trial: Trial, n: int, bandwidth: float) -> Ridge:
        columns, n_points, width = self.n_columns, self.points.n_samples, trial.width
        mean = trial.mean[:n]
        counts = self._counts(n_points)
        level = mean_target(counts)
        start = width + columns
        answers = np.ascontiguousarray(trial.matrix[width:start, :n])
        left = np.ascontiguousarray(trial.matrix[start : start + trial.n_left, :n])
        known = self.sample_codes[: trial.n_left]
        targets = centred_targets(known, level)
        found, unseen = left_out(answers, left, targets, 1.0 / trial.n_points, self.n_threads)
        if trial.n_points == n_points:
            coefficients = solved(trial.matrix, n, answers, self.n_threads)
        else:
            features = self._sums(grid, n, n_points)
            mean, right = mean_and_right(features, counts)
            rows = self._of_sample(grid, n, len(known)).features.rows(np.arange(len(known))) - mean
            equations = NormalEquations(features, mean, trial.diagonal, rows)
            coefficients = refined(equations, right, trial.matrix, STEPS, self.n_threads)
            said = np.stack([(rows * column).sum(axis=1) for column in coefficients.T], axis=1)
            # leverages in the points of the matrix, of which all points have their share
            leverages = found.leverages * (trial.n_points / n_points)
            unseen = targets - (targets - said) / np.maximum(1.0 - leverages, 1e-9)[:, None]
        intercepts = level - np.array([(mean * column).sum() for column in coefficients.T])
        return Ridge(
            grid, coefficients, intercepts, bandwidth, trial.penalty,
            self.first_rows(len(known)), unseen + level, targets + level,
            trial.matrix, left, mean,
        )  # fmt: skip


class Trial(NamedTuple):
    """A regression whose matrix is factored, on the first points.

    Attributes
    ----------
    matrix : ndarray of shape (>= n + T, n), float64
        Its factor, and right sides.
    mean : ndarray of shape (n,), float64
        Of the features.
    n_points : int
    penalty, diagonal : float
        What was asked for, and what that adds to the matrix.
    errors : LeftOut
    n_left : int
        Points that were left out, each by itself: their rows L^-1 f end the matrix.
    """

    matrix: np.ndarray
    mean: np.ndarray
    n_points: int
    penalty: float
    diagonal: float
    errors: LeftOut
    n_left: int

    @property
    def width(self) -> int:
        """Features."""
        return len(self.mean)

    @property
    def error(self) -> float:
        """Mean squared error of the points that were left out, at full width."""
        return float(self.errors.errors[-1].mean())


def _narrowest(errors: LeftOut) -> int:
    """The least width whose error is within a standard error of the best one's.

    Breiman, Friedman, Olshen and Stone, Classification and regression trees, 1984, section 3.4.3;
    of paired differences.
    """
    means = errors.errors.mean(axis=1)
    best = int(means.argmin())
    differences = errors.errors - errors.errors[best]
    deviation = differences.std(axis=1) / np.sqrt(errors.errors.shape[1])
    return int(errors.widths[int(np.argmax(differences.mean(axis=1) <= deviation))])


def mean_and_right(features: FeatureSums, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of all features (n,), and F^T Y (n, T), centred, of classes with counts (K,) points."""
    by_class = features.by_class(len(counts))
    right = np.ascontiguousarray(covariances(by_class.T, counts).T)
    return by_class.sum(axis=1) / int(counts.sum()), right
