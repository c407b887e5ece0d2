"""Scores of an integer read-out of features, and which of them is the largest: exactly.

The score of a class is the real number t + sum of v_h a_h(x) that the stored numbers define. It is
computed in float64 with a bound on the error; where that leaves open which class has the largest,
or whether a margin is positive, whole numbers of any size decide. So a label depends on the point
alone, not on the points beside it, the number of threads or the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from fastmem.inputs import Points
from fastmem.kernels.exact import UNIT64
from fastmem.machine.threads import ranges
from fastmem.readout import both_columns
from fastmem.separation.features import Features
from fastmem.separation.products import columns_of, multiplied

_EXACT_VALUES = 1 << 16
"""Products of whole numbers of any size that are made at a time."""


class Scores:
    """The scores of all classes.

    Parameters
    ----------
    features : Features
    weights : ndarray of shape (n, K), int64
        Of at most 53 bits; K is 1 for two classes: the second class's score, where the first's is
        0.
    intercepts : ndarray of shape (K,), float64
    """

    def __init__(self, features: Features, weights: np.ndarray, intercepts: np.ndarray) -> None:
        self._features, self._weights, self._intercepts = features, weights, intercepts
        sizes = np.abs(weights).astype(np.float64)
        self._columns = columns_of(weights.T.astype(np.float64), intercepts)
        n = len(weights)
        rounding = 1.2 * (n + 2) * UNIT64
        with np.errstate(over="ignore", invalid="ignore"):
            slopes = (features.slopes + rounding * features.norms)[:, None] * sizes
            floors = (features.floors + rounding * features.levels)[:, None] * sizes
            self._slopes = 1.01 * slopes.sum(axis=0)
            self._floors = 1.01 * floors.sum(axis=0) + rounding * np.abs(intercepts) + 1e-290
        if not features.is_real and (sizes.sum(axis=0) + np.abs(intercepts)).max() < 2.0**53:
            self._floors = np.zeros(len(intercepts))  # sums of whole numbers, all of them exact

    @property
    def n_classes(self) -> int:
        """Columns of the scores."""
        return max(2, self._weights.shape[1])

    def codes(self, points: Points, n_threads: int) -> np.ndarray:
        """The class with the largest score of each point, of equals the first; (N,) intp."""
        codes = np.empty(points.n_samples, np.intp)
        for start, stop, scores, errors in self._blocks(points, n_threads):
            codes[start:stop] = self._largest(points, start, scores, errors)
        return codes

    def values(self, points: Points, n_threads: int) -> np.ndarray:
        """Scores of all points, (N, max(2, K)) float64, the largest where `codes` says it is."""
        found = np.empty((points.n_samples, self.n_classes))
        for start, stop, scores, errors in self._blocks(points, n_threads):
            codes = self._largest(points, start, scores, errors)
            wrong = np.flatnonzero(scores.argmax(axis=1) != codes)
            scores[wrong, codes[wrong]] = np.nextafter(scores[wrong].max(axis=1), np.inf)
            found[start:stop] = scores
        return found

    def gaps(self, points: Points, codes: np.ndarray, n_threads: int) -> tuple[np.ndarray, int]:
        """The own score less the largest other one of each point, and how many exact sums it took.

        Returns (N,) float64, whose signs are exact: 0 or below where the own one is not the
        largest.
        """
        gaps, n_exact = np.empty(points.n_samples), 0
        for start, stop, scores, errors in self._blocks(points, n_threads):
            own = codes[start:stop].astype(np.int64)
            here = np.arange(stop - start)
            best, slack = scores[here, own], errors[here, own]
            with np.errstate(invalid="ignore"):
                others, bounds = best[:, None] - scores, slack[:, None] + errors
                others[here, own] = np.inf
                bounds[here, own] = 0.0
                gap = others.min(axis=1)
                sure = (others > bounds).all(axis=1) | (others < -bounds).any(axis=1)
            for i in np.flatnonzero(~sure):
                exact = self.exact(points, start + int(i))
                mine = exact.pop(int(own[i]))
                sign = mine - max(exact)
                size = max(abs(float(gap[i])), 5e-324) if np.isfinite(gap[i]) else 5e-324
                gap[i] = size if sign > 0 else -size if sign < 0 else 0.0
                n_exact += 1
            gaps[start:stop] = gap
        return gaps, n_exact

    def _blocks(
        self, points: Points, n_threads: int
    ) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        """Ranges start..stop-1, with scores and bounds on their errors, (m, max(2, K)) float64."""
        for start, stop, values, radii in self._features.blocks(points, n_threads):
            with np.errstate(over="ignore", invalid="ignore"):
                errors = radii[:, None] * self._slopes + self._floors
            scores = multiplied(values, self._columns, n_threads)
            yield start, stop, both_columns(scores), both_columns(errors)

    def _largest(
        self, points: Points, start: int, scores: np.ndarray, errors: np.ndarray
    ) -> np.ndarray:
        codes = scores.argmax(axis=1)
        here = np.arange(len(scores))
        with np.errstate(invalid="ignore"):
            ahead = scores[here, codes][:, None] - scores
            sure = ahead > errors[here, codes][:, None] + errors
        sure[here, codes] = True
        # equal sums of whole numbers without errors are equal
        exact = (errors == 0).all(axis=1)
        for i in np.flatnonzero(~sure.all(axis=1) & ~exact):
            sums = self.exact(points, start + int(i))
            codes[i] = sums.index(max(sums))
        return codes

    def exact(self, points: Points, row: int) -> list[Fraction]:
        """The scores of one point as the numbers that they are."""
        first = self._features.first
        point = points.dense(np.array([row]))[0].astype(np.float64)
        totals = [Fraction(float(t)) for t in self._intercepts]
        whole, exponent = whole_numbers(point)
        for start, stop in ranges(len(first), max(1, _EXACT_VALUES // len(point))):
            weights, exponents = whole_numbers(first.weights[start:stop].astype(np.float64))
            sums = (weights * whole).sum(axis=1)
            for h in range(start, stop):
                z = sums[h - start] * Fraction(2) ** (exponent + exponents)
                z += Fraction(float(first.biases[h]))
                if z <= 0:
                    continue
                feature = z if self._features.is_real else 1
                for c in range(len(totals)):
                    totals[c] += int(self._weights[h, c]) * feature
        return totals if len(totals) > 1 else [Fraction(0), *totals]


def whole_numbers(numbers: np.ndarray) -> tuple[np.ndarray, int]:
    """Floats as whole numbers, of Python's type, and the exponent of the power of two they lack."""
    fractions, exponents = np.frexp(numbers)
    mantissas = np.ldexp(fractions, 53).astype(np.int64).astype(object)
    used = exponents[fractions != 0]
    least = int(used.min()) if used.size else 0
    shifts = np.where(fractions != 0, exponents - least, 0).astype(np.int64).astype(object)
    return mantissas << shifts, least - 53
