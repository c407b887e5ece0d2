"""A certified read-out from real weights: whole numbers, and the exact gaps of all points."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmem.problem import Problem
from fastmem.separation.features import Features
from fastmem.separation.rounding import most_bits, rounded
from fastmem.separation.scores import Scores
from fastmem.separation.search import Search, Weights

_MORE_BITS = 8


class Certified(NamedTuple):
    """A read-out of whole numbers, and what it says of the points that it was made for.

    Attributes
    ----------
    features : Features
    weights : ndarray of shape (n, T), int64
    intercepts : ndarray of shape (T,), float64
    bits : int
        Of each weight.
    gaps : ndarray of shape (N,), float64
        Own score less largest other one, whose sign is exact.
    n_exact : int
        Points for which that took whole numbers of any size.
    """

    features: Features
    weights: np.ndarray
    intercepts: np.ndarray
    bits: int
    gaps: np.ndarray
    n_exact: int

    @property
    def n_wrong(self) -> int:
        """Points whose own score is not the largest."""
        return int(np.count_nonzero(~(self.gaps > 0)))


def certified(problem: Problem, search: Search, n: int, real: Weights, bits: int) -> Certified:
    """Round weights to few bits; to more while that gains a point; then such of larger margins."""
    features = search.features(n)
    most = most_bits(n, features.is_real)
    best = _rounded(problem, features, real, min(bits, most))
    if not best.n_wrong:
        return best
    finest = _rounded(problem, features, real, most)
    while best.n_wrong > finest.n_wrong:
        more = min(best.bits + _MORE_BITS, most)
        best = finest if more == most else _rounded(problem, features, real, more)
    if best.n_wrong and real.is_separated:
        harder = _rounded(problem, features, search.harder(n), most)
        best = harder if harder.n_wrong < best.n_wrong else best
    return best


def _rounded(problem: Problem, features: Features, real: Weights, bits: int) -> Certified:
    weights, intercepts = rounded(
        # the weights are for features times this power of two, which may be too large for a product
        real.weights,
        real.intercepts / features.unit,
        bits,
        not features.is_real,
    )
    scores = Scores(features, weights, intercepts)
    gaps, n_exact = scores.gaps(problem.points, problem.codes, problem.n_threads)
    return Certified(features, weights, intercepts, bits, gaps, n_exact)
