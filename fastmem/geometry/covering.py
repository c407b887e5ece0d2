"""`mutual_covering` and what it returns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import ContradictionError, InvalidInputError
from fastmem.geometry.building import CoveringBuilder
from fastmem.geometry.class_points import ClassPoints
from fastmem.geometry.point_sets import Floats, Rows, Units, refuse_large
from fastmem.inputs import (
    Points,
    check_count,
    check_label,
    check_labels,
    check_points,
    check_radius_factor,
    check_seed,
    check_threads,
)
from fastmem.inputs.contradictions import refuse_contradictions

RADIUS_FACTOR = 0.25
"""The constant of the bound on the radii, which the paper does not give. Up to
sqrt(1 - log 2) / 2 = 0.277 balls of unlike classes never meet, as their centres are at most 2 R
apart: so a hyperplane can part any two of them, which the theorem needs."""
FIRST_CONSTANTS = (1.97, 305.0)
SECOND_CONSTANT = 0.409
"""Both fitted to 23 data sets by ``python -m fastmem.experiments.theory --out DIR``."""
DRAWS = 256
MAX_CENTRES = 10_000


@dataclass(frozen=True, eq=False)
class MutualCovering:
    """Balls around points of each of two classes that together hold the class.

    Attributes
    ----------
    covered : label
        The class that is X^-; all other points are X^+.
    n_negative, n_positive : int
        M^- and M^+, the numbers of balls.
    delta : float
        Least distance between centres of unlike classes.
    radius : float
        R, the largest distance of a point from the mean of all points.
    omega : float
        Largest w^2(X_l - c_l) / d^3(c_l, centres of the other class) over all balls l, where X_l
        are the points of the ball's class in it and w is the Gaussian mean width.
    omega_error : float
        Standard error of ``omega`` from the Gaussian vectors drawn; the largest of many estimates
        is also biased upwards, by about as much.
    centres_negative, centres_positive : ndarray of shape (M,), int64
        Rows of X.
    radii_negative, radii_positive : ndarray of shape (M,), float64
    gaps_negative, gaps_positive : ndarray of shape (M,), float64
        d(c_l, centres of the other class).
    mean_widths_negative, mean_widths_positive : ndarray of shape (M,), float64
        w(X_l - c_l), estimated.
    members : ndarray of shape (n_samples,), int64
        Which ball each point was given to: the nearest centre whose ball may reach it, as an index
        into the centres of the point's class; -1 where the covering is not complete.
    is_complete : bool
        Whether all points are in a ball; not so where ``max_centres`` ended the work. The numbers
        of balls are then what the part that was covered needs.
    radius_factor : float
        The constant in the bound on the radii.
    """

    covered: Any
    delta: float
    radius: float
    omega: float
    omega_error: float
    centres_negative: Rows
    centres_positive: Rows
    radii_negative: Floats
    radii_positive: Floats
    gaps_negative: Floats
    gaps_positive: Floats
    mean_widths_negative: Floats
    mean_widths_positive: Floats
    members: Rows = field(repr=False)
    is_complete: bool
    radius_factor: float

    @property
    def n_negative(self) -> int:
        """M^-, the number of balls that cover X^-."""
        return len(self.centres_negative)

    @property
    def n_positive(self) -> int:
        """M^+, the number of balls that cover X^+."""
        return len(self.centres_positive)

    @property
    def n_uncovered(self) -> int:
        """Points in no ball: 0 if the covering is complete."""
        return int(np.count_nonzero(self.members < 0))

    @property
    def separation_term(self) -> float:
        """R / delta log(2 M^- M^+)."""
        count = 2.0 * self.n_negative * self.n_positive
        return self.radius / self.delta * math.log(count)

    @property
    def width_term(self) -> float:
        """R omega."""
        return self.radius * self.omega

    def predicted_widths(
        self,
        first_constants: tuple[float, float] = FIRST_CONSTANTS,
        second_constant: float = SECOND_CONSTANT,
    ) -> tuple[float, float]:
        """Widths that the theorem predicts, up to constants that the paper does not give.

        Parameters
        ----------
        first_constants : (float, float)
            Factors of R / delta log(2 M^- M^+) and of R omega in the first width.
        second_constant : float
            Factor of M^- in the second width.

        Returns
        -------
        (float, float)
            Hyperplanes and neurons.

        Notes
        -----
        The defaults were fitted to the measured widths of the data sets of
        ``python -m fastmem.experiments.theory``.
        """
        first = first_constants[0] * self.separation_term + first_constants[1] * self.width_term
        return first, second_constant * self.n_negative


def mutual_covering(
    X: Any,
    y: Any,
    *,
    covered: Any = None,
    seed: Any = None,
    n_threads: int | None = None,
    radius_factor: float = RADIUS_FACTOR,
    max_centres: int | None = None,
    draws: int = DRAWS,
) -> MutualCovering:
    """Cover each of two classes by few balls whose radii the distance to the other class bounds.

    Parameters
    ----------
    X : array-like or CSR matrix of shape (n_samples, n_features)
        Points, as `fastmem.interpolate` takes them. They are copied once; a sparse matrix becomes
        dense, where that takes at most 4 GiB.
    y : array-like of shape (n_samples,)
        Labels, at least two classes.
    covered : label, optional
        The class X^-; the points of all other classes are X^+. By default, for two classes only,
        the class that needs fewer balls.
    seed : int, numpy.random.Generator, SeedSequence or None
        The same data, parameters and seed give the same covering, whatever ``n_threads``.
    n_threads : int, optional
        Threads to use; all cores by default.
    radius_factor : float, default 0.25
        The constant of the bound on the radii, above 0 and at most 1; the paper does not give it.
        Up to 0.277 balls of unlike classes never meet.
    max_centres : int, optional
        Where the work ends in any case, 10,000 by default. The result then says
        ``is_complete=False``: some points are in no ball, and all counts are too small.
    draws : int, default 256
        Gaussian vectors for the mean widths.

    Returns
    -------
    MutualCovering

    Raises
    ------
    InvalidInputError
        For any argument that cannot be used, with the place and the remedy.
    ContradictionError
        If a point of X^- equals a point of X^+.

    Notes
    -----
    Dirksen, Finke and Genzel (arXiv 2310.00327, JMLR 25(347), 2024), the definition of a mutual
    covering and the theorem on the network's size: centres C^- in X^- and C^+ in X^+ with

        r_l^- <= kappa d(c_l^-, C^+) / sqrt(log(e R / d(c_l^-, C^+))),

    and the same with the classes exchanged, such that the balls hold all points of their class.
    The conditions hold for the real numbers: whether a ball holds a point is decided with the
    error bound of the computed distances on the safe side.

    The distances that bound the radii are those to the other class's *centres*, so both coverings
    depend on each other. Centres are added where points are in no ball yet, each time the ball that
    holds the open point nearest to the last centre and most others; a new centre shortens radii of
    the other class, and the points that its balls lose are open again. In the end each class is
    covered anew with the other class's centres known, and superfluous balls are dropped, while that
    gives fewer. All points are used, none is sampled; only the candidates for a centre are. The
    covering is small, not smallest, which would be NP-hard: below it has 78 balls a line, where 77
    are the fewest that stand opposite each other.

    Each added ball costs a pass over boxes of 64 neighbouring points, and distances are measured in
    those few that it may reach.

    Examples
    --------
    >>> from fastmem.datasets import parallel_lines
    >>> from fastmem.geometry import mutual_covering
    >>> X, y = parallel_lines(2000, gap=0.1)
    >>> covering = mutual_covering(X, y, seed=0)
    >>> covering.n_negative, covering.n_positive
    (78, 78)
    """
    points = check_points(X)
    classes, codes = check_labels(y, points.n_samples)
    threads = check_threads(n_threads)
    generator = np.random.default_rng(check_seed(seed))
    factor = check_radius_factor(radius_factor)
    limit = MAX_CENTRES if max_centres is None else check_count("max_centres", max_centres, 2)
    n_draws = check_count("draws", draws, 2)
    refuse_large(points, "coverings")
    code = _covered_code(classes, covered)
    _refuse_equal_points(points, codes, code, classes, threads)
    units = Units(points, threads)
    sides = [
        ClassPoints(points, np.flatnonzero(codes == code), units, threads),
        ClassPoints(points, np.flatnonzero(codes != code), units, threads),
    ]
    builder = CoveringBuilder(sides, units, factor, limit, generator)
    builder.build()
    if covered is None and len(sides[1].places) < len(sides[0].places):
        builder.classes.reverse()
        code = 1 - code
    return _covering_of(builder, classes[code].item(), n_draws)


def _covered_code(classes: NDArray[Any], covered: Any) -> int:
    """Number of the class that is X^-."""
    if covered is None:
        if len(classes) == 2:
            return 0
        labels = ", ".join(repr(label) for label in classes[:10].tolist())
        more = ", ..." if len(classes) > 10 else ""
        raise InvalidInputError(
            f"y holds {len(classes)} classes ({labels}{more}) and a mutual covering is of two; "
            f"pass one of them as covered=, and all others together are the other class"
        )
    return check_label("covered", covered, classes)


def _refuse_equal_points(
    points: Points, codes: NDArray[np.intp], code: int, classes: NDArray[Any], n_threads: int
) -> None:
    """Raise ContradictionError where a point of X^- equals one of X^+."""
    try:
        refuse_contradictions(points, (codes == code).astype(np.int64), classes[:2], n_threads)
    except ContradictionError as found:
        pairs, count = found.pairs, found.count
    else:
        return
    named = ", ".join(
        f"rows {i} ({classes[codes[i]]}) and {j} ({classes[codes[j]]})" for i, j in pairs
    )
    more = ", ..." if count > 2 * len(pairs) else ""
    raise ContradictionError(
        f"X holds {count} points that equal a point of the other class ({named}{more}), so that no "
        f"balls part them; remove or relabel them",
        pairs,
        count,
    )


def _covering_of(builder: CoveringBuilder, label: Any, draws: int) -> MutualCovering:
    """What a builder has built, in the units of X; the first of its classes is X^-."""
    sides, units = builder.classes, builder.units
    scale = units.scale
    members = np.full(sum(one.n for one in sides), -1, np.int64)
    vectors = builder.generator.standard_normal((sides[0].n_features, draws))
    radii, widths, errors = [], [], []
    for one in sides:
        members[one.rows] = one.homes
        largest = np.zeros(len(one.places))
        inside = one.homes >= 0
        np.maximum.at(largest, one.homes[inside], one.distances[inside])
        largest *= 1 + 2 * units.slack
        radii.append(largest)
        drawn = one.widths(largest, vectors)
        widths.append(drawn.mean(axis=1))
        errors.append(drawn.std(axis=1, ddof=1) / math.sqrt(draws))
    ratios = [(w / one.gaps) ** 2 / one.gaps for w, one in zip(widths, sides, strict=True)]
    side = int(ratios[1].max() > ratios[0].max())
    worst = int(np.argmax(ratios[side]))
    w, e, gap = widths[side][worst], errors[side][worst], sides[side].gaps[worst]
    return MutualCovering(
        covered=label,
        delta=float(sides[0].gaps.min()) / scale,
        radius=units.radius / scale,
        omega=float(ratios[side][worst]) * scale,
        omega_error=float(2 * (w / gap) * (e / gap) / gap) * scale,
        centres_negative=sides[0].rows[sides[0].places],
        centres_positive=sides[1].rows[sides[1].places],
        radii_negative=radii[0] / scale,
        radii_positive=radii[1] / scale,
        gaps_negative=sides[0].gaps / scale,
        gaps_positive=sides[1].gaps / scale,
        mean_widths_negative=widths[0] / scale,
        mean_widths_positive=widths[1] / scale,
        members=members,
        is_complete=builder.is_complete,
        radius_factor=builder.factor,
    )
