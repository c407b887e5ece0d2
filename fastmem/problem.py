"""What is to be memorised, and how: the one object that every stage of a fit is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fastmem.errors import NotEnoughMemoryError
from fastmem.fit_memory import FitShape, fit_bytes, require_elsewhere, require_for_fit
from fastmem.hyperplanes.extent import Extent, extent_of
from fastmem.hyperplanes.sources import bias_norms
from fastmem.inputs import (
    InvalidInputError,
    Points,
    Settings,
    check_interpolate,
    check_labels,
    check_memory,
    check_points,
    exactly_scaled,
    spread_scale,
)
from fastmem.inputs.contradictions import contradicting, overruled, refuse_contradictions
from fastmem.inputs.equal_rows import EqualRows, equal_rows, look_repeated
from fastmem.inputs.points import some_points
from fastmem.machine.arithmetic import keeps_subnormals


@dataclass(frozen=True, eq=False)
class GivenRows:
    """What became of the rows and labels that the user gave.

    Attributes
    ----------
    n_samples : int
    classes : ndarray of shape (n_classes,)
        All labels, sorted.
    kept : ndarray of int64
        Those, by their places in ``classes``, that points have after contradictions were settled.
    relabelled : ndarray of int64
        Rows whose label gave way to a more frequent one of equal points, ascending.
    point_of : ndarray of shape (n_samples,) or None
        The problem's point of each row, where equal points count once.
    """

    n_samples: int
    classes: np.ndarray
    kept: np.ndarray
    relabelled: np.ndarray
    point_of: np.ndarray | None

    def rows_of(self, points: np.ndarray) -> np.ndarray:
        """Return all rows of some of the problem's points, ascending int64."""
        if self.point_of is None:
            return np.sort(points).astype(np.int64)
        chosen = np.zeros(int(self.point_of.max()) + 1, bool)
        chosen[points] = True
        return np.flatnonzero(chosen[self.point_of])


@dataclass(frozen=True, eq=False)
class Problem:
    """Points with their labels, and the settings of a fit; made by `checked_problem`.

    Attributes
    ----------
    points : Points
        The rows that the user gave, or, where at least half of them are repeats, each point once
        with each of its labels; scaled, where they are.
    classes : ndarray of shape (K,)
        The labels of the points, sorted.
    codes : ndarray of shape (n_samples,), uint16 or int64
        The label of each point is ``classes[code]``.
    settings : Settings
    extent : Extent
        Where the points are.
    shape : FitShape
        What the memory of the fit depends on.
    given : GivenRows
    scale : ndarray of shape (n_features,), float64, or None
        The powers of two by which the points are multiplied.
    """

    points: Points
    classes: np.ndarray
    codes: np.ndarray
    settings: Settings
    extent: Extent
    shape: FitShape
    given: GivenRows
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
    def rounds(self) -> Callable[[], int] | None:
        """What tells how often other machines were asked so far; None where points are here."""
        elsewhere = self.points.elsewhere
        return None if elsewhere is None else elsewhere.n_rounds

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
    def rows_of_classes(self) -> np.ndarray:
        """Rows that the user gave of each class, once contradictions were settled; (K,) int64."""
        counts = np.zeros(len(self.given.classes), np.int64)
        codes = self.codes if self.given.point_of is None else self.codes[self.given.point_of]
        counts[self.given.kept] = np.bincount(codes, minlength=len(self.classes))
        return counts

    @property
    def measures_scale(self) -> bool:
        """Whether a sample of the points is to tell if they should be scaled."""
        # a number for the largest bias speaks of points as they are; and rare words stay rare
        settings = self.settings
        is_auto = isinstance(settings.scale, str) and settings.scale == "auto"
        return is_auto and settings.max_bias is None and not self.points.is_sparse

    def times(self, scale: np.ndarray) -> Problem:
        """The problem with its points multiplied by a scale, where they were as they came."""
        assert self.scale is None, "a scale was there already"
        points, kept = _times(self.points, scale)
        extent = self.extent if kept is None else extent_of(points, self.n_threads)
        return replace(self, points=points, extent=extent, scale=kept)

    def estimated_bytes(self, width: int) -> int:
        """Memory that the fit takes at most with so many hyperplanes; see `fit_bytes`."""
        return fit_bytes(self.shape, self.settings, width)

    def contradictory(self, points: np.ndarray) -> np.ndarray:
        """Return those of some points that equal a point of another label."""
        if self.settings.by_majority or self.settings.separates_all:
            return points[:0]
        return points[contradicting(self.points, self.codes, points, self.n_threads)]


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
        If every point is to be covered, and two equal points have different labels that are not to
        be settled.
    """
    points = check_points(X)
    classes, codes = check_labels(y, points.n_samples, narrow=True)
    # NumPy sorts 16 bits by their digits, which is faster than comparing
    codes = codes.astype(np.uint16 if len(classes) <= 1 << 16 else np.int64, copy=False)
    return problem_of(points, classes, codes, **parameters)


def problem_of(
    points: Points, classes: np.ndarray, codes: np.ndarray, **parameters: Any
) -> Problem:
    """As `checked_problem`, given checked points and labels, uint16 or int64.

    Points may be elsewhere. Of the labels of these only ``codes[rows]`` is asked, which fetches
    them.
    """
    settings = check_interpolate(
        classes, points.n_features, is_sparse=points.is_sparse, **parameters
    )
    if settings.activation == "relu" and not keeps_subnormals():
        raise InvalidInputError(
            "activation is 'relu', whose sums may be as small as 5e-324, but this thread takes "
            "such numbers for 0, as a library compiled with -ffast-math makes it; fit in another "
            "thread or process, or pass 'threshold'"
        )
    shape = FitShape(
        points.n_samples, points.n_features, points.row_values, points.is_sparse, len(classes),
        check_memory(settings.memory_limit, points.n_samples),
    )  # fmt: skip
    repeats = False
    try:
        _require_memory(points, shape, settings)
    except NotEnoughMemoryError:  # but equal points may be many, and count once
        repeats = look_repeated(points)
        if not repeats:
            raise
    given = GivenRows(
        points.n_samples, classes, np.arange(len(classes)), np.empty(0, np.int64), None
    )
    if settings.separates_all or settings.by_majority or repeats or look_repeated(points):
        points, codes, settings, given = _once(points, codes, settings, given)
        classes = given.classes[given.kept]
        shape = shape._replace(
            n_samples=points.n_samples, n_classes=len(classes),
            n_rows=0 if given.point_of is None else given.n_samples,
        )  # fmt: skip
        if repeats:
            _require_memory(points, shape, settings)
    scale = None if isinstance(settings.scale, str) else settings.scale  # "auto" begins with none
    if isinstance(settings.scale, str) and settings.scale == "std":
        scale = spread_scale(points)
    points, scale = _times(points, scale)
    extent = extent_of(points, settings.n_threads)
    return Problem(points, classes, codes, settings, extent, shape, given, scale)


def _require_memory(points: Points, shape: FitShape, settings: Settings) -> None:
    if points.elsewhere is None:
        require_for_fit(shape, settings)
    else:
        require_elsewhere(shape, settings, points.elsewhere.rooms)


def _once(
    points: Points, codes: np.ndarray, settings: Settings, given: GivenRows
) -> tuple[Points, np.ndarray, Settings, GivenRows]:
    """Settle or refuse contradictions; where most rows are repeats, each point once with a label.

    Returns points, codes among the classes that are kept, settings for these, and what became of
    the rows.
    """
    equal = equal_rows(points, settings.n_threads)
    if settings.by_majority:
        relabelled, winners = overruled(equal, codes)
        if len(relabelled):
            kept, codes = _relabelled(points, codes, relabelled, winners)
            settings = _without_lost_classes(settings, kept)
            given = replace(given, kept=kept, relabelled=relabelled)
    elif settings.separates_all:
        refuse_contradictions(points, codes, given.classes, settings.n_threads, equal)
    if 2 * equal.n_repeats >= points.n_samples:
        first, point_of = _distinct(equal, codes)
        if points.elsewhere is not None:
            points, codes = points.elsewhere.once(first)
        else:
            points, codes = some_points(points, first), codes[first]
        given = replace(given, point_of=point_of)
    return points, codes, settings, given


def _times(points: Points, scale: np.ndarray | None) -> tuple[Points, np.ndarray | None]:
    """Points times a scale, and the scale, or None for it where it changes nothing."""
    if scale is None or (scale == 1.0).all():
        return points, None
    return exactly_scaled(points, scale), scale


def _relabelled(
    points: Points, codes: np.ndarray, rows: np.ndarray, winners: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give rows other labels: the codes that still occur, int64, and all as places among them."""
    if points.elsewhere is not None:
        kept, codes = points.elsewhere.relabel(rows, winners)
    else:
        codes = codes.copy()
        codes[rows] = winners
        occurs = np.bincount(codes) > 0
        kept = np.flatnonzero(occurs)
        codes = (np.cumsum(occurs) - 1).astype(codes.dtype)[codes]
    if len(kept) == 1:
        raise InvalidInputError(
            "all points have one class once equal points have their most frequent label; "
            "pass features that tell the classes apart"
        )
    return kept, codes


def _without_lost_classes(settings: Settings, kept: np.ndarray) -> Settings:
    """Return settings whose classes to cover are those among ``kept``, by their new codes."""
    if isinstance(settings.covered, str):
        return settings
    places = {code: place for place, code in enumerate(kept.tolist())}
    return replace(settings, covered=tuple(places[c] for c in settings.covered if c in places))


def _distinct(equal: EqualRows, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each point with each of its labels, and the point of each row."""
    rows, firsts = equal.rows, np.repeat(equal.rows[equal.starts], equal.sizes)
    mine = codes[rows]
    if (mine != np.repeat(mine[equal.starts], equal.sizes)).any():
        group = np.repeat(np.arange(len(equal.starts)), equal.sizes)
        order = np.lexsort((mine, group))  # stable
        rows = rows[order]
        starts = np.ones(len(rows), bool)
        starts[1:] = (np.diff(group[order]) != 0) | (np.diff(mine[order].astype(np.int64)) != 0)
        firsts = rows[starts][np.cumsum(starts) - 1]
    first_of = np.arange(len(codes), dtype=rows.dtype)
    first_of[rows] = firsts
    first = np.flatnonzero(first_of == np.arange(len(codes), dtype=rows.dtype))
    number = np.empty(len(codes), rows.dtype)
    number[first] = np.arange(len(first), dtype=rows.dtype)
    return first.astype(rows.dtype), number[first_of]
