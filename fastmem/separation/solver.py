"""Whether a hyperplane parts two sets of vectors, and which: Newton's method, then an LP.

A support vector machine with squared hinge loss, |w|^2 / 2 + C / 2 sum max(0, 1 - s_i <w, a_i>)^2,
is solved by Newton's method with an exact line search (Mangasarian, A finite Newton method for
classification, 2002; Keerthi and DeCoste, A modified finite Newton method for fast solution of
large scale linear SVMs, 2005). Its first step is ridge regression; each next one is the ridge
regression of the rows whose margin is below 1. C grows until all margins are positive, or until the
violations show that none can be: with shares p_i of all violations, r = sum p_i s_i a_i is a point
of the convex hull of the s_i a_i, and no margin is above |r| / |w|. Where vectors are nearly
dependent, all this is done again in an orthonormal basis of theirs; what that leaves open a linear
program decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastmem.kernels.panel_products import PANEL_ROWS
from fastmem.machine.programs import solved
from fastmem.separation.products import Factor, combined, gram, times
from fastmem.vote.factor import continued

MACHINE = (10.0, 100.0, 1e3, 1e4)
"""C of support vector machines, times the mean square of a row's length, each from where the last
has ended; then"""
_HARDER = (1e6, 1e8)
_HARDEST = (1e5, 1e7, 1e9)
"""in an orthonormal basis."""
_NONE = 1e-9
"""Two sets are called inseparable if no margin is above this share of the longest vector."""
_STEPS = 40
"""Newton steps for one C: some ten are enough unless vectors are nearly dependent."""
_SHIFTS = (1e-11, 1e-11)
"""Added to the diagonal of a Gram matrix, as a share of its trace, before it is factored: three
factors of so shifted matrices make an orthonormal basis of columns whose condition is up to 1e15
(Fukaya, Kannan, Nakatsukasa, Yamamoto and Yanagisawa, Shifted Cholesky QR for computing the QR
factorization of ill-conditioned matrices, 2020)."""
_LP_VALUES = 1 << 19
"""Rows times columns that a linear program is tried with: some seconds."""
_LP_MARGIN = 1e-7


class OutOfTime(Exception):
    """The time that a search may take is over."""


def _no_limit() -> bool:
    return False


class Outcome(NamedTuple):
    """What is known of two sets of vectors.

    Attributes
    ----------
    weights : ndarray of shape (n,), float64
        All margins s_i <w, a_i> are positive where the sets are separable; else those of a soft
        margin.
    is_separable : bool
    word : str
        Who says so: "margins" (all are positive), "hull" (a convex combination is nearly 0),
        "lp" (HiGHS's word), or "open" (nobody: neither was found).
    bound : float
        No margin is above this share of the longest vector, where the word is "hull".
    """

    weights: np.ndarray
    is_separable: bool
    word: str
    bound: float = np.inf


class Solver:
    """Separates the rows of a matrix, by whatever signs they are given.

    Parameters
    ----------
    rows : ndarray of shape (m, n), float64
        One column is constant: the intercept's.
    n_threads : int
    deadline : callable
        Says whether time is over: then `OutOfTime` is raised.
    """

    def __init__(
        self, rows: np.ndarray, n_threads: int, deadline: Callable[[], bool] = _no_limit
    ) -> None:
        self._rows, self._n_threads, self._deadline = rows, n_threads, deadline
        squares = (rows * rows).sum(axis=1)
        self._longest, self._unit = float(np.sqrt(squares.max())), 1.0 / float(squares.mean())
        self._ridge: tuple[float, Factor] | None = None
        self._basis: tuple[Solver, list[Factor]] | None = None

    def separate(self, signs: np.ndarray, start: np.ndarray | None = None) -> Outcome:
        """Find weights with which all margins are positive, or why there are none.

        signs (m,) float64, +-1; start (n,) weights of most of the rows.
        """
        weights, ends = self._path(signs, MACHINE[0 if start is None else 1 :], start)
        if ends is None:
            _, ends = self._path(signs, _HARDER, weights)
        if ends is None:
            ends = self._in_a_basis(signs)
        if ends is None:
            ends = self._by_program(signs)
        return ends if ends.is_separable else ends._replace(weights=weights)

    def harder(self, signs: np.ndarray) -> np.ndarray:
        """Weights that have nearly the largest least margin, of vectors that can be parted."""
        weights, _ = self._path(signs, (*MACHINE, *_HARDER), None, until=False)
        return weights

    def _path(
        self, signs: np.ndarray, costs: tuple[float, ...], weights: np.ndarray | None,
        until: bool = True,
    ) -> tuple[np.ndarray, Outcome | None]:  # fmt: skip
        """Weights for the last of some C, and what they tell; None where they tell nothing."""
        rows = self._rows
        weights = np.zeros(rows.shape[1]) if weights is None else weights
        for cost in costs:
            weights, margins = self._newton(signs, cost * self._unit, weights, until)
            if until and (margins > 0).all():
                return weights, Outcome(weights, True, "margins")
            violations = np.maximum(0.0, 1.0 - margins)
            total = float(np.sum(violations))
            if not until or not 0 < total < np.inf:
                continue
            point = combined(rows, signs * (violations / total))
            bound = float(np.sqrt(np.sum(point * point))) / self._longest
            if bound < _NONE:
                return weights, Outcome(weights, False, "hull", bound)
        return weights, None

    def _newton(
        self, signs: np.ndarray, cost: float, weights: np.ndarray, until: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Weights, and the margins of all rows, of the support vector machine of one C.

        Or those on the way there with which all margins are positive, if ``until``.
        """
        margins = signs * times(self._rows, weights)
        active = margins < 1.0
        for _ in range(_STEPS):
            if self._deadline():
                raise OutOfTime
            target = self._ridge_of(np.flatnonzero(active), signs, cost)
            if target is None:
                break
            there = signs * times(self._rows, target)
            if np.array_equal(there < 1.0, active) or (until and (there > 0).all()):
                return target, there
            step = _exact_step(weights, target, margins, there, cost)
            if step == 1.0:
                weights, margins = target, there
            else:
                weights = weights + step * (target - weights)
                margins = margins + step * (there - margins)
            active = margins < 1.0
        return weights, signs * times(self._rows, weights)

    def _ridge_of(self, some: np.ndarray, signs: np.ndarray, cost: float) -> np.ndarray | None:
        """The ridge regression of some rows on their signs, (n,); None where it cannot be told."""
        rows, n = self._rows, self._rows.shape[1]
        if len(some) == 0:
            return None
        targets = signs[some]
        if len(some) == len(rows):  # of all classes
            if self._ridge is None or self._ridge[0] != cost:
                none = np.empty((0, min(len(rows), n)))
                self._ridge = cost, self._normal(rows, cost, none)
            factor = self._ridge[1]
            right = np.zeros((PANEL_ROWS, factor.factor.shape[1]))
            right[0, : min(len(rows), n)] = combined(rows, signs) if len(rows) > n else signs
            continued(factor.factor, right, right.shape[1], self._n_threads)
            answers = factor.solution(right[:1])[0]
        else:
            rows = rows[some]
            right = combined(rows, targets) if len(rows) > n else targets
            factor = self._normal(rows, cost, right[None])
            answers = factor.solution()[0]
        if not factor.is_definite:
            return None
        return answers if len(rows) > n else combined(rows, answers)

    def _normal(self, rows: np.ndarray, cost: float, right: np.ndarray) -> Factor:
        """The matrix of a ridge regression: products of columns, or of rows if they are fewer."""
        some = np.ascontiguousarray(rows.T) if len(rows) > rows.shape[1] else rows
        return Factor(gram(some, self._n_threads), 1.0 / cost, right, self._n_threads)

    def _in_a_basis(self, signs: np.ndarray) -> Outcome | None:
        """As `separate`, in a basis in which the columns are nearly orthonormal."""
        if self._basis is None:
            self._basis = self._orthonormal()
        solver, factors = self._basis
        weights, ends = solver._path(signs, _HARDEST, None)
        if ends is None or not ends.is_separable:
            return ends
        n = len(weights)
        for factor in reversed(factors):
            padded = np.zeros((1, factor.factor.shape[1]))
            padded[0, :n] = weights
            weights = factor.solution(padded)[0]
        margins = signs * times(self._rows, weights)
        return Outcome(weights, True, "margins") if (margins > 0).all() else None

    def _orthonormal(self) -> tuple[Solver, list[Factor]]:
        rows, factors = self._rows, []
        m, n = rows.shape
        for share in _SHIFTS:
            products = gram(np.ascontiguousarray(rows.T), self._n_threads)
            shift = share * float(np.trace(products))
            factor = Factor(products, shift, np.empty((0, n)), self._n_threads)
            size = factor.factor.shape[1]
            padded = np.zeros((-(-m // PANEL_ROWS) * PANEL_ROWS, size))
            padded[:m, :n] = rows
            continued(factor.factor, padded, size, self._n_threads)
            rows = padded[:m, :n] * np.sqrt(m)
            factors.append(factor)
        # each factor divides by sqrt(m) less than the rows were multiplied with: signs stay
        return Solver(np.ascontiguousarray(rows), self._n_threads, self._deadline), factors

    def _by_program(self, signs: np.ndarray) -> Outcome:
        """The largest t with s_i <w, a_i> >= t, |w_j| <= 1 and t <= 1, as HiGHS has it."""
        rows = self._rows
        m, n = rows.shape
        nothing = Outcome(np.zeros(n), False, "open")
        if m * n > _LP_VALUES:
            return nothing
        matrix = np.ones((m, n + 1))
        np.multiply(-signs[:, None], rows, out=matrix[:, :n])
        bounds = [(-1.0, 1.0)] * n + [(None, 1.0)]
        aim = np.zeros(n + 1)
        aim[n] = -1.0
        found = solved(
            aim, matrix, np.zeros(m), bounds, method="highs-ds", is_over=self._deadline
        )  # fmt: skip
        if found is None:
            raise OutOfTime
        if found.x is None:
            return nothing
        weights = found.x[:n].copy()
        if (signs * times(rows, weights) > 0).all():
            return Outcome(weights, True, "margins")
        is_said = found.is_optimal and -found.value <= _LP_MARGIN
        return nothing._replace(word="lp") if is_said else nothing


def _exact_step(
    weights: np.ndarray, target: np.ndarray, margins: np.ndarray, there: np.ndarray, cost: float
) -> float:
    """Where between weights (0) and target (1) the loss is least: a root of a piecewise line."""
    move = target - weights
    level = float(np.sum(weights * move))
    slope = float(np.sum(move * move))
    gaps, falls = 1.0 - margins, there - margins
    inside = (gaps > 0) | ((gaps == 0) & (falls < 0))
    level -= cost * float(np.sum(gaps[inside] * falls[inside]))
    slope += cost * float(np.sum(falls[inside] ** 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        places = gaps / falls
    turns = np.flatnonzero((places > 0) & (places < 1))
    turns = turns[np.argsort(places[turns], kind="stable")]
    sides = np.where(inside[turns], -cost, cost)  # a row leaves the loss, or enters it
    levels = level - np.concatenate([[0.0], np.cumsum(sides * gaps[turns] * falls[turns])])
    slopes = slope + np.concatenate([[0.0], np.cumsum(sides * falls[turns] ** 2)])
    ends = np.concatenate([places[turns], [1.0]])
    rising = np.flatnonzero(levels + slopes * ends >= 0)
    if not len(rising) or not slopes[rising[0]] > 0:
        return 1.0
    return float(min(1.0, max(0.0, -levels[rising[0]] / slopes[rising[0]])))
