"""A first layer in the making: its hyperplanes, where more come from, and the points' patterns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.sources import row_source
from fastmem.inputs.points import in_one_array
from fastmem.patterns.bounded_tiles import bounds_pay
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.spatial_order import leaves_of
from fastmem.problem import Problem


class FirstLayer:
    """The hyperplanes of a fit so far, and the sign patterns of its points.

    Attributes
    ----------
    source : RowSource
        Where random hyperplanes come from.
    hyperplanes : Hyperplanes
        There from ``start`` on.
    patterns : Patterns
        Of those hyperplanes that were there when ``fill`` was called last, and from then on.
    """

    hyperplanes: Hyperplanes
    patterns: Patterns

    def __init__(self, problem: Problem, seed: np.random.SeedSequence | int) -> None:
        self._problem = problem
        self.source = row_source(
            problem.settings, np.random.default_rng(seed), problem.extent, problem.norms
        )
        self._n_filled = 0
        self._may_bound = may_bound(problem)
        self._points = problem.points

    def __len__(self) -> int:
        return len(self.hyperplanes)

    def start(self, n: int) -> None:
        """Draw the first n hyperplanes."""
        extent = self._problem.extent
        self.hyperplanes = self.source.start(n, extent.mean, extent.radius)

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
        self._prepare_patterns()
        n_threads = self._problem.n_threads
        self.patterns.fill(self._points, self.hyperplanes, n_threads, self._n_filled, progress)
        self._n_filled = len(self)

    def _prepare_patterns(self) -> None:
        """Make room for patterns, as bounding tiles once these are found to pay."""
        problem = self._problem
        pays = self._may_bound and bounds_pay(problem.points, problem.codes, self.hyperplanes)
        if pays is not None:
            self._may_bound = False  # is not asked again
        if self._n_filled and not pays:
            return
        if pays:
            self._points = in_one_array(problem.points)
        leaves = leaves_of(self._points, problem.n_threads) if pays else None
        self.patterns = Patterns(
            problem.codes, len(problem.classes), budget_bytes=problem.budget_bytes,
            leaves=leaves, n_threads=problem.n_threads, with_bounds=leaves is not None,
        )  # fmt: skip

    def keep(self, n: int) -> None:
        """Drop all hyperplanes but the first n."""
        kept = np.arange(n)
        self.hyperplanes = self.hyperplanes.subset(kept)
        self.patterns = self.patterns.picked(kept, self._problem.n_threads)
        self._n_filled = n


def may_bound(problem: Problem) -> bool:
    """Whether all that is done with the patterns of a fit can be done with bounding tiles."""
    settings = problem.settings
    return problem.budget_bytes is None and not (
        settings.compact or settings.smallest or problem.is_real
    )
