"""A first layer in the making: its hyperplanes, where more come from, and the points' patterns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.sources import row_source
from fastmem.inputs.points import fits_one_array, in_one_array
from fastmem.patterns.bounded_tiles import bounds_pay, varying_share
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.spatial_order import leaves_of
from fastmem.problem import Problem

_FEWEST_POINTS = 4000
_MOST_FEATURES = 64
_PAYS = 0.6
"""Share of hyperplanes that pass between neighbours: with more, bounds leave nearly all to count."""


class FirstLayer:
    """The hyperplanes of a fit so far, and the sign patterns of its points.

    Attributes
    ----------
    source : RowSource
        Where random hyperplanes come from.
    hyperplanes : Hyperplanes
    patterns : Patterns
        Of those hyperplanes that were there when ``fill`` was called last. Both are there from
        ``start`` on.
    """

    hyperplanes: Hyperplanes
    patterns: Patterns

    def __init__(self, problem: Problem, seed: np.random.SeedSequence | int) -> None:
        self._problem, self._points = problem, problem.points
        self.source = row_source(
            problem.settings, np.random.default_rng(seed), problem.extent, problem.norms
        )
        self._n_filled = 0

    def __len__(self) -> int:
        return len(self.hyperplanes)

    def start(self, n: int) -> None:
        """Draw the first n hyperplanes."""
        problem = self._problem
        self.hyperplanes = self.source.start(n, problem.extent.mean, problem.extent.radius)
        leaves, n_threads = None, problem.n_threads
        bounded = may_bound(problem) and bounds_pay(
            problem.points, problem.codes, self.hyperplanes
        )
        if bounded or neighbours_pay(problem, self.hyperplanes):
            self._points = in_one_array(problem.points)
            leaves = leaves_of(self._points, n_threads)
        self.patterns = Patterns(
            problem.codes, len(problem.classes), budget_bytes=problem.budget_bytes,
            leaves=leaves, n_threads=n_threads, with_bounds=bounded, points=None if leaves is None else self._points.array,
        )  # fmt: skip

    def draw(self, n: int) -> None:
        """Draw n more."""
        self.hyperplanes = self.source.more(self.hyperplanes, n)

    def join(self, others: Hyperplanes) -> None:
        """Take in other hyperplanes, after those that are there."""
        self.hyperplanes = self.hyperplanes.joined(others)

    def fill(
        self,
        progress: Callable[[int, int, int], object] = lambda done, total, neurons: None,
    ) -> None:
        """Compute the patterns' bits for all hyperplanes that are new."""
        if self._n_filled == len(self):
            return
        problem = self._problem
        self.patterns.fill(
            self._points, self.hyperplanes, problem.n_threads, self._n_filled, progress
        )
        self._n_filled = len(self)

    def keep(self, n: int) -> None:
        """Drop all hyperplanes but the first n."""
        kept = np.arange(n)
        self.hyperplanes = self.hyperplanes.subset(kept)
        self.patterns = self.patterns.picked(kept, self._problem.n_threads)
        self._n_filled = n


def may_bound(problem: Problem) -> bool:
    """Whether all that is done with the patterns of a fit can be done with bounding tiles."""
    settings = problem.settings
    return (
        settings.width is not None
        and not (settings.separates_all or settings.compact or problem.is_real)
        and problem.budget_bytes is None
    )


def neighbours_pay(problem: Problem, hyperplanes: Hyperplanes) -> bool:
    """Whether patterns should lie in a spatial order: it is asked of a sample.

    Points are looked for among neighbours where the width is found, and where merged cells turn out
    to be many.
    """
    settings, points = problem.settings, problem.points
    if (
        not fits_one_array(points)
        or points.n_samples < _FEWEST_POINTS
        or points.n_features > _MOST_FEATURES
        or problem.budget_bytes is not None
        or settings.compact
        or settings.smallest
        or not (settings.separates_all or settings.selection == "merge")
        or problem.covers_by_sums
    ):
        return False
    return varying_share(points, problem.codes, hyperplanes) < _PAYS
