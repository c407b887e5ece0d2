"""Ridge regressions of classes on cosine features: how wide, how smooth, on which grid.

All of it is chosen by leave-one-out errors of training points. The regression is linear, so that
these errors follow from one factor of its matrix (`factor.left_out`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastmem.inputs import Points
from fastmem.kernels.panel_products import PANEL
from fastmem.readout.waves import FeatureTiles, waves_of
from fastmem.vote.conjugate import NormalEquations, refined
from fastmem.vote.factor import LeftOut, factored, left_out, solved
from fastmem.vote.gram import Gram, gram_of
from fastmem.vote.grid import Cloud, Grid, cloud_of, grid_of

BANDWIDTHS = (0.4, 0.8, 1.6, 3.2)
"""Spreads of projections, in radians, that are tried."""
PENALTIES = (0.005, 0.05, 0.5, 5.0, 50.0)
"""Penalties that are tried on a sample. They are for a feature of mean square 1 whose weight has a
variance of 1 / n a priori: p n is added to the sums of squares of n such features, whatever the
number of points."""
SAMPLE = 1536
SAMPLE_WIDTH = 256
_SAMPLE_LEFT_OUT = 384
_LEFT_OUT = (256, 1024)
"""Fewest and most points that are left out, each by itself, where there are so many; and"""
_LEFT_OUT_VALUES = 1 << 19
"""of so many features in all between."""
MOST_WIDTH = 4096
_FEWEST = 4096
"""Points that a Gram matrix holds at least, where there are so many."""
_STEPS = 5
"""Of conjugate gradients: as good as the exact solution on unseen points of digits784."""
_STEP_COST = 3
"""What a multiplication costs in such a step, in those of a Gram matrix."""
_COST_A_POINT, _COST = 2_200_000, 2_000_000_000
"""Multiplications that a fit may take."""
_GAIN = 0.95
"""Twice as many features are tried as long as they leave at most this share of the error."""
_FEATURE_BYTES = 96 << 20


class Choice(NamedTuple):
    """What was chosen on a sample, and its mean squared error there."""

    bandwidth: float
    penalty: float
    error: float


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
    factor : ndarray of shape (n, n), float64
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
        self.order = generator.permutation(points.n_samples)
        self.codes = codes.astype(np.int64)[self.order]
        self.cloud: Cloud = cloud_of(self._dense(SAMPLE))
        self._last: tuple[tuple[int, int, int], Gram, FeatureTiles] | None = None

    @property
    def n_columns(self) -> int:
        """Columns that are regressed: one for two classes."""
        return 1 if self.n_classes == 2 else self.n_classes

    def choose(self) -> Choice:
        """Find bandwidth and penalty on a sample of the points."""
        best = Choice(BANDWIDTHS[0], PENALTIES[0], np.inf)
        for bandwidth in BANDWIDTHS:
            grid = grid_of(self.cloud, bandwidth)
            for penalty in PENALTIES:
                trial = self.fitted(grid, SAMPLE_WIDTH, penalty, SAMPLE, _SAMPLE_LEFT_OUT)
                error = float(trial.errors.errors[-1].mean())
                if error < best.error:
                    best = Choice(bandwidth, penalty, error)
        return best

    def regress(self, choice: Choice, width: int | None) -> Ridge:
        """Regress on ``width`` features, or on as many as leaving one out says."""
        grid = grid_of(self.cloud, choice.bandwidth)
        penalty = choice.penalty
        n = SAMPLE_WIDTH if width is None else -(-width // PANEL) * PANEL
        last: Trial | None = None
        while True:
            n_points = self._points_in_gram(n)
            n_left = max(_LEFT_OUT[0], min(_LEFT_OUT[1], _LEFT_OUT_VALUES // n))
            trial = min(
                (self.fitted(grid, n, p, n_points, n_left) for p in _near(penalty, n)),
                key=lambda t: t.error,
            )
            is_worse = last is not None and trial.error > _GAIN * last.error
            penalty = trial.penalty
            if width is not None or is_worse or not self._affords(2 * n):
                break
            last, n = trial, 2 * n
        kept = n if width is not None else _narrowest(trial.errors)
        if last is not None and is_worse and kept <= len(last.gram.sums):
            trial = last  # its penalty belongs to that width
            kept = min(kept, len(last.gram.sums))
        return self._solved(grid, trial, kept, choice.bandwidth)

    def fitted(self, grid: Grid, n: int, penalty: float, n_points: int, n_left: int) -> Trial:
        """A regression on the first points, and its errors for some left out."""
        n_points = min(n_points, self.points.n_samples)
        gram, features = self._gram(grid, n, n_points)
        n_left = min(n_points, n_left)
        targets = self._targets(gram.counts)
        level = max(penalty * n * gram.mean_square / n_points, 1e-300)
        matrix = gram.ridge_rows(level, targets, n_left)
        places = np.arange(n_left)
        start = n + self.n_columns
        matrix[start : start + n_left] = features.rows(places)
        matrix[start : start + n_left] -= gram.mean
        factored(matrix, n, self.n_threads)
        errors, _ = left_out(
            matrix[n:start], matrix[start : start + n_left], targets[self.codes[:n_left]],
            1.0 / n_points,
        )  # fmt: skip
        return Trial(gram, penalty, level, matrix, errors, n_left)

    def _dense(self, count: int) -> np.ndarray:
        return self.points.dense(self.order[:count]).astype(np.float64)

    def _gram(self, grid: Grid, n: int, n_points: int) -> tuple[Gram, FeatureTiles]:
        key = (grid.exponent, n, n_points)
        if self._last is None or self._last[0] != key:
            features = self._features(grid, n, n_points)
            gram = gram_of(features, self.codes[:n_points], self.n_classes, self.n_threads)
            self._last = key, gram, features
        return self._last[1:]

    def _features(self, grid: Grid, n: int, n_points: int) -> FeatureTiles:
        waves = waves_of(self.key, grid.exponent, grid.offsets, n)
        rows = self.order[:n_points]
        return FeatureTiles(self.points, rows, waves, self.n_threads, _FEATURE_BYTES)

    def _targets(self, counts: np.ndarray) -> np.ndarray:
        """Centred targets of each class, (K, T)."""
        targets = np.array([[-0.5], [0.5]]) if self.n_columns == 1 else np.eye(self.n_classes)
        return targets - (counts[:, None] * targets).sum(axis=0) / int(counts.sum())

    def _points_in_gram(self, n: int) -> int:
        """Points of the Gram matrix: all, or fewer where steps on all then cost less."""
        n_points = self.points.n_samples
        fewer = max(_FEWEST, 2 * n)
        with_steps = fewer * n // 2 + 2 * _STEPS * _STEP_COST * n_points * self.n_columns
        return fewer if with_steps < n_points * n // 2 else n_points

    def _affords(self, n: int) -> bool:
        n_points = self.points.n_samples
        cost = self._points_in_gram(n) * n * n // 2 + 2 * n**3 // 3
        return n <= MOST_WIDTH and cost <= _COST_A_POINT * n_points + _COST

    def _solved(self, grid: Grid, trial: Trial, n: int, bandwidth: float) -> Ridge:
        columns, n_points = self.n_columns, self.points.n_samples
        width = len(trial.gram.sums)
        factor = trial.matrix[:n, :n] if n == width else np.ascontiguousarray(trial.matrix[:n, :n])
        rows = np.ascontiguousarray(trial.matrix[width : width + columns, :n])
        seen = int(trial.gram.counts.sum())
        mean = trial.gram.mean[:n]
        counts = np.bincount(self.codes, minlength=self.n_classes)
        targets = self._targets(counts)
        if seen == n_points:
            coefficients = solved(factor, n, rows)
        else:
            features = self._features(grid, n, n_points)
            mean, right = feature_sums(features, self.codes, targets, self.n_threads)
            equations = NormalEquations(features, mean, trial.level, self.n_threads)
            coefficients = refined(equations, right, factor, _STEPS, self.n_threads)
        shares = counts / n_points
        plain = np.array([[-0.5], [0.5]]) if columns == 1 else np.eye(self.n_classes)
        level = (shares[:, None] * plain).sum(axis=0)
        start, n_left = width + columns, trial.n_left
        left = np.ascontiguousarray(trial.matrix[start : start + n_left, :n])
        seen_targets = self._targets(trial.gram.counts)[self.codes[:n_left]]
        unseen = left_out(rows, left, seen_targets, 1.0 / seen)[1]
        intercepts = level - np.array([(mean * column).sum() for column in coefficients.T])
        return Ridge(
            grid, coefficients, intercepts, bandwidth, trial.penalty,
            self.order[:n_left], unseen + level, seen_targets + level, factor, left, mean,
        )  # fmt: skip


class Trial(NamedTuple):
    """A regression whose matrix is factored; level is what its diagonal holds of the penalty."""

    gram: Gram
    penalty: float
    level: float
    matrix: np.ndarray
    errors: LeftOut
    n_left: int

    @property
    def error(self) -> float:
        """Mean squared error of the points that were left out, at full width."""
        return float(self.errors.errors[-1].mean())


def _near(penalty: float, n: int) -> tuple[float, ...]:
    """Penalties that are tried at a width."""
    return (penalty,) if n > 1024 else (penalty, penalty / 3, penalty * 3)


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


def feature_sums(
    features: FeatureTiles, codes: np.ndarray, targets: np.ndarray, n_threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of all features (n,), and F^T Y (n, T) for centred targets of each class (K, T)."""
    n_classes = len(targets)
    sums = np.zeros((features.n_waves, n_classes))
    for start in range(0, features.n_tiles, 64):
        tiles = features.tiles(start, min(start + 64, features.n_tiles))
        here = codes[start * 16 : start * 16 + tiles.shape[0] * 16]
        flat = tiles.transpose(0, 2, 1).reshape(-1, features.n_waves)[: len(here)]
        order = np.argsort(here, kind="stable")
        known, first = np.unique(here[order], return_index=True)
        sums[:, known] += np.add.reduceat(flat[order], first, axis=0, dtype=np.int64).T
    mean = sums.sum(axis=1) / features.n_rows
    right = np.zeros((features.n_waves, targets.shape[1]))
    for code in range(n_classes):
        right += sums[:, code, None] * targets[code]
    return mean, right
