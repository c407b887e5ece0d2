"""What is to be memorised, and how: the one object that every stage of a fit is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fastmem.fit_memory import FitShape, fit_bytes, require_for_fit
from fastmem.hyperplanes.extent import Extent, extent_of
from fastmem.hyperplanes.sources import bias_norms
from fastmem.inputs import (
    Points,
    Settings,
    check_interpolate,
    check_labels,
    check_memory,
    check_points,
    exactly_scaled,
    spread_scale,
)
from fastmem.inputs.contradictions import refuse_contradictions


@dataclass(frozen=True, eq=False)
class Problem:
    """Points with their labels, and the settings of a fit; made by `checked_problem`.

    Attributes
    ----------
    points : Points
        Scaled, where they are.
    classes : ndarray of shape (K,)
        The labels, sorted.
    codes : ndarray of shape (n_samples,), uint16 or int64
        The label of each point is ``classes[code]``.
    settings : Settings
    extent : Extent
        Where the points are.
    shape : FitShape
        What the memory of the fit depends on.
    scale : ndarray of shape (n_features,), float64, or None
        The powers of two by which the points are multiplied.
    """

    points: Points
    classes: np.ndarray
    codes: np.ndarray
    settings: Settings
    extent: Extent
    shape: FitShape
    scale: np.ndarray | None = None

    @property
    def n_threads(self) -> int:
        """Threads to use."""
        return self.settings.n_threads

    @property
    def budget_bytes(self) -> int | None:
        """Bytes of sign patterns that may be in memory; None without a limit."""
        return self.shape.budget_bytes

    @property
    def most_hyperplanes(self) -> int:
        """Where a first layer stops growing in any case."""
        return self.settings.max_width or 2**62

    @property
    def to_cover(self) -> Sequence[int]:
        """Codes of the classes to be covered, ascending."""
        covered = self.settings.covered
        return range(len(self.classes)) if isinstance(covered, str) else covered

    @property
    def leave_one_out(self) -> bool:
        """Whether one of them, the hardest, is to be left out."""
        return self.settings.covered == "auto" and self.settings.margin == 0

    @property
    def is_real(self) -> bool:
        """Whether neurons add up real activations, max(W x + b, 0), and not signs."""
        return self.settings.activation == "relu"

    @property
    def covers_by_sums(self) -> bool:
        """Whether real sums decide which points a neuron covers while neurons are chosen.

        So it is in the paper's selection. Merged cells grow by counts: what has count 0 has sum 0.
        """
        return self.is_real and self.settings.selection == "random"

    @property
    def only_inside(self) -> bool:
        """Whether a neuron covers only points that have no one of its mask."""
        return self.is_real or (self.settings.compact and not self.settings.margin)

    @cached_property
    def norms(self) -> np.ndarray | None:
        """Norms of some points, where biases are to keep to them; see `bias_norms`."""
        return bias_norms(self.settings, self.points, self.extent)

    @property
    def measures_scale(self) -> bool:
        """Whether a sample of the points is to tell if they should be scaled."""
        return isinstance(self.settings.scale, str) and self.settings.scale == "auto"

    def times(self, scale: np.ndarray) -> Problem:
        """The problem with its points multiplied by a scale, where they were as they came."""
        points, kept = _times(self.points, scale)
        extent = self.extent if kept is None else extent_of(points, self.n_threads)
        return replace(self, points=points, extent=extent, scale=kept)

    def estimated_bytes(self, width: int) -> int:
        """Memory that the fit takes at most with so many hyperplanes; see `fit_bytes`."""
        return fit_bytes(self.shape, self.settings, width)


def checked_problem(X: Any, y: Any, **parameters: Any) -> Problem:
    """Check all that `fastmem.interpolate` is given, and look once at all points.

    Parameters
    ----------
    X, y, **parameters
        As of `fastmem.interpolate`.

    Raises
    ------
    InvalidInputError
        For any argument that cannot be used.
    NotEnoughMemoryError
        If the fit would take more memory than is free.
    ContradictionError
        If the width is to be found, and two equal points have different labels.
    """
    points = check_points(X)
    classes, codes = check_labels(y, points.n_samples, narrow=True)
    settings = check_interpolate(
        classes, points.n_features, is_sparse=points.is_sparse, **parameters
    )
    shape = FitShape(
        points.n_samples, points.n_features, points.row_values, points.is_sparse, len(classes),
        check_memory(settings.memory_limit, points.n_samples),
    )  # fmt: skip
    require_for_fit(shape, settings)
    # NumPy sorts 16 bits by their digits, which is faster than comparing
    codes = codes.astype(np.uint16 if len(classes) <= 1 << 16 else np.int64, copy=False)
    if settings.width is None:
        refuse_contradictions(points, codes, classes, settings.n_threads)
    scale = None if isinstance(settings.scale, str) else settings.scale  # "auto" begins with none
    if isinstance(settings.scale, str) and settings.scale == "std":
        scale = spread_scale(points)
    points, scale = _times(points, scale)
    extent = extent_of(points, settings.n_threads)
    return Problem(points, classes, codes, settings, extent, shape, scale)


def _times(points: Points, scale: np.ndarray | None) -> tuple[Points, np.ndarray | None]:
    """Points times a scale, and the scale, or None for it where it changes nothing."""
    if scale is None or (scale == 1.0).all():
        return points, None
    return exactly_scaled(points, scale), scale
