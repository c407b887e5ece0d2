"""A first layer in the making: its hyperplanes, where more come from, and the points' patterns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.sources import row_source
from fastmem.inputs.points import in_one_array
from fastmem.patterns.bounded_tiles import bounds_pay
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.neighbourhoods import neighbours_pay
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
    points : Points
        Those of the problem, in one array once there are patterns that need it.
    """

    hyperplanes: Hyperplanes
    patterns: Patterns

    def __init__(self, problem: Problem, seed: np.random.SeedSequence | int) -> None:
        self._problem, self.points = problem, problem.points
        self.source = row_source(
            problem.settings, np.random.default_rng(seed), problem.extent, problem.norms
        )
        self._n_filled = 0

    def __len__(self) -> int:
        return len(self.hyperplanes)

    def start(self, n: int) -> None:
        """Draw the first n hyperplanes."""
        extent = self._problem.extent
        self.hyperplanes = self.source.start(n, extent.centre, extent.radius)

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
        if not self._n_filled:
            self._prepare_patterns()
        self.patterns.fill(
            self.points, self.hyperplanes, problem.n_threads, self._n_filled, progress
        )
        self._n_filled = len(self)

    def _prepare_patterns(self) -> None:
        """Make room for the first patterns, in a spatial order and as bounding tiles if it pays."""
        problem, n_threads = self._problem, self._problem.n_threads
        is_spatial, with_bounds = self._pays()
        leaves = array = None
        if is_spatial:
            self.points = in_one_array(problem.points)
            array = None if with_bounds else self.points.array
            leaves = leaves_of(self.points, n_threads)
        self.patterns = Patterns(
            problem.codes, len(problem.classes), budget_bytes=problem.budget_bytes,
            leaves=leaves, n_threads=n_threads, with_bounds=with_bounds, points=array,
        )  # fmt: skip

    def _pays(self) -> tuple[bool, bool]:
        """Whether a spatial order pays on one machine, and whether bounding tiles do."""
        problem = self._problem
        asked = problem.points, problem.codes, self.hyperplanes
        with_bounds = may_bound(problem) and bounds_pay(*asked, problem.covers_by_sums)
        is_spatial = with_bounds or (neighbours_are_asked(problem) and neighbours_pay(*asked))
        return is_spatial, with_bounds

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
        settings.compact or settings.smallest or (problem.is_real and not problem.covers_by_sums)
    )


def neighbours_are_asked(problem: Problem) -> bool:
    """Whether points are looked for among neighbours, if they are in a spatial order.

    So they are where the width is found, and where neurons turn out to be many.
    """
    settings = problem.settings
    return problem.budget_bytes is None and not (
        settings.compact or settings.smallest or problem.covers_by_sums
    )
