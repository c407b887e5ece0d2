"""Mutual coverings: what the theorem says two classes need, whatever their number of points."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.frame import extent, refuse_contradictions
from fastmem.inputs import (
    InvalidInputError,
    Points,
    check_labels,
    check_points,
    check_seed,
    check_threads,
)
from fastmem.kernels.distances import (
    TILE,
    count_balls,
    count_points,
    fill_tiles,
    keep_columns,
    least_counts,
    nearest_balls,
    nearest_centres,
    widest,
)
from fastmem.kernels.threads import ranges, run_tasks

__all__ = ["MutualCovering", "mutual_covering"]

RADIUS_FACTOR = 0.25
"""The constant of the bound on the radii, which the paper does not give. Up to
sqrt(1 - log 2) / 2 = 0.277 balls of unlike classes never meet, as their centres are at most 2 R apart:
so a hyperplane can part any two of them, which the theorem needs."""
FIRST_CONSTANTS = (1.0, 1.0)
SECOND_CONSTANT = 1.0
DRAWS = 256
MAX_CENTRES = 10_000
_TASK_WORK = 1 << 23
"""Differences of coordinates a task: some milliseconds."""
_CANDIDATE_WORK = 1 << 22
_MOST_CANDIDATES = 64
_MOST_WITNESSES = 2048
_ROUND = 2.0**-53

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


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


def _bound(gaps: Any, radius: float, factor: float) -> Any:
    """Largest radius of a ball whose centre has the distance ``gaps`` from the other centres."""
    return factor * gaps / np.sqrt(1.0 + np.log(radius / np.minimum(gaps, 2.0 * radius)))


class _Class:
    """The points of one class in tiles, and the balls that cover them so far."""

    def __init__(self, points: Points, rows: Rows, n_threads: int) -> None:
        self.points, self.rows, self.n_threads = points, rows, n_threads
        self.n = len(rows)
        d = points.n_features
        self.tiles = np.zeros((-(-self.n // TILE), d, TILE), points.dtype)
        self.task = max(1, _TASK_WORK // (TILE * d)) * TILE
        self.centres = np.empty((0, d))
        self.places = np.empty(0, np.int64)  # of the centres, among this class's points
        self.gaps = np.empty(0)  # of the centres, to the other class's
        self.limits = np.empty(0)
        self.homes = np.full(self.n, -1, np.int64)
        self.distances = np.full(self.n, np.inf)

        def fill(task: tuple[int, int]) -> None:
            fill_tiles(points.dense(rows[slice(*task)]), self.tiles, task[0])

        size = max(TILE, min(self.task, points.max_block_rows // TILE * TILE))
        run_tasks(fill, ranges(self.n, size), n_threads)

    def run(self, n: int, n_centres: int, work: Callable[[int, int], object]) -> None:
        """Call work(first, last) for ranges of ``n`` points that meet ``n_centres`` centres."""
        size = max(TILE, self.task // max(1, n_centres) // TILE * TILE)
        run_tasks(lambda task: work(*task), ranges(n, size), self.n_threads)

    def coordinates(self, places: Rows) -> Floats:
        """Coordinates of points, (m, d) float64."""
        return self.points.dense(self.rows[places]).astype(np.float64)


class _Builder:
    def __init__(
        self, classes: list[_Class], radius: float, scale: float, factor: float,
        max_centres: int, generator: np.random.Generator,
    ) -> None:  # fmt: skip
        self.classes, self.scale, self.factor = classes, scale, factor
        self.radius, self.max_centres, self.generator = radius, max_centres, generator
        # the computed distance is within this share of the true one
        d = classes[0].points.n_features
        self.slack = (d + 8) * _ROUND
        self.is_complete = True

    def limits(self, gaps: Floats) -> Floats:
        """Radii that computed distances may have: those of the bound, less what rounding adds."""
        limits: Floats = _bound(gaps * (1 - self.slack), self.radius, self.factor)
        return limits * (1 - 4 * self.slack)

    def gaps_of(self, side: int, places: Rows) -> Floats:
        """Distances from points of a class to the other class's centres."""
        mine, other = self.classes[side], self.classes[1 - side]
        tiles = np.zeros((-(-len(places) // TILE), *mine.tiles.shape[1:]), mine.tiles.dtype)
        keep_columns(mine.tiles, places, tiles)
        gaps = np.full(len(places), np.inf)
        mine.run(
            len(places), len(other.centres),
            lambda a, b: nearest_centres(tiles, a, b, other.centres, self.scale, gaps),
        )  # fmt: skip
        return gaps

    def refresh(self, side: int) -> None:
        """Measure the gaps of a class's centres anew."""
        mine = self.classes[side]
        mine.gaps = self.gaps_of(side, mine.places)
        mine.limits = self.limits(mine.gaps)

    def add(self, side: int, place: int) -> None:
        """Make a point a centre."""
        mine, other = self.classes[side], self.classes[1 - side]
        where = np.array([place])
        centre = mine.coordinates(where)
        mine.centres = np.concatenate([mine.centres, centre])
        mine.places = np.concatenate([mine.places, where])
        gap = self.gaps_of(side, where)
        mine.gaps = np.concatenate([mine.gaps, gap])
        mine.limits = np.concatenate([mine.limits, self.limits(gap)])
        if len(other.places):
            tiles = np.zeros(
                (-(-len(other.places) // TILE), *other.tiles.shape[1:]), other.tiles.dtype
            )
            keep_columns(other.tiles, other.places, tiles)
            nearest_centres(tiles, 0, len(other.places), centre, self.scale, other.gaps)
            other.limits = self.limits(other.gaps)

    def n_centres(self) -> int:
        """Centres of both classes."""
        return sum(len(one.places) for one in self.classes)

    # Growth -----------------------------------------------------------------------------------

    def start(self) -> None:
        """One centre a class: the point of a sample that is farthest from the other's sample."""
        samples = [
            np.sort(self.generator.permutation(one.n)[:_MOST_WITNESSES]) for one in self.classes
        ]
        for side, one in enumerate(self.classes):
            other = self.classes[1 - side]
            budget = max(1, 8 * _CANDIDATE_WORK // (one.points.n_features * len(samples[side])))
            other.centres = other.coordinates(samples[1 - side][:budget])
            depth = self.gaps_of(side, samples[side])
            samples.append(samples[side][[int(np.argmax(depth))]])
        for side, one in enumerate(self.classes):
            one.places = samples[2 + side]
            one.centres = one.coordinates(one.places)
        for side in (0, 1):
            self.refresh(side)

    def grow(self) -> None:
        """Add centres until every point is in a ball, and stays in one."""
        while True:
            opened = [self.open_places(side) for side in (0, 1)]
            if not any(len(one) for one in opened):
                return
            parts = [_Open(self, side, opened[side]) for side in (0, 1)]
            while any(part.left for part in parts):
                if self.n_centres() >= self.max_centres:
                    self.is_complete = False
                    return
                side = int(parts[1].left > parts[0].left)
                parts[side].add_best()

    def open_places(self, side: int) -> Rows:
        """Points that are in no ball, after those are found that another ball has taken."""
        mine = self.classes[side]
        lost = (mine.homes < 0) | (mine.distances > mine.limits[mine.homes])
        places = np.flatnonzero(lost)
        self.settle(side, places)
        return places[mine.homes[places] < 0]

    def settle(self, side: int, places: Rows) -> None:
        """Give points to their nearest centre whose ball holds them, or to none."""
        mine = self.classes[side]
        everything = len(places) == mine.n
        if everything:
            tiles = mine.tiles
        else:
            tiles = np.zeros((-(-len(places) // TILE), *mine.tiles.shape[1:]), mine.tiles.dtype)
            keep_columns(mine.tiles, places, tiles)
        homes = np.full(len(places), -1, np.int64)
        gaps = np.full(len(places), np.inf)
        mine.run(
            len(places), len(mine.centres),
            lambda a, b: nearest_balls(
                tiles, a, b, mine.centres, mine.limits, self.scale, homes, gaps
            ),
        )  # fmt: skip
        mine.homes[places], mine.distances[places] = homes, gaps

    # Pruning ----------------------------------------------------------------------------------

    def prune(self) -> None:
        """Drop centres that the others make superfluous, class by class, until none is."""
        idle = 0
        side = int(self.classes[1].n < self.classes[0].n)
        while idle < 2:
            idle = 0 if self.prune_class(side) else idle + 1
            side = 1 - side

    def prune_class(self, side: int) -> bool:
        """Drop centres of one class whose points are all in other balls; whether any was."""
        mine = self.classes[side]
        m = len(mine.places)
        counts = np.zeros(mine.n, np.int32)

        def add(centres: Floats, limits: Floats, step: int) -> None:
            mine.run(
                mine.n, len(centres),
                lambda a, b: count_balls(
                    mine.tiles, a, b, centres, limits, self.scale, np.int32(step), counts
                ),
            )  # fmt: skip

        def least(which: Rows) -> NDArray[np.int32]:
            found: list[tuple[int, NDArray[np.int32]]] = []

            def work(a: int, b: int) -> None:
                low = np.full(len(which), 2**31 - 1, np.int32)
                least_counts(
                    mine.tiles, a, b, mine.centres[which], mine.limits[which], self.scale,
                    counts, low,
                )  # fmt: skip
                found.append((a, low))

            mine.run(mine.n, len(which), work)
            return np.min([low for _, low in found], axis=0)

        add(mine.centres, mine.limits, 1)
        idle = np.flatnonzero(least(np.arange(m)) > 1)
        if not len(idle):
            return False
        dropped = np.zeros(m, bool)
        for c in idle[np.argsort(mine.limits[idle], kind="stable")]:
            which = np.array([c])
            if least(which)[0] > 1:
                add(mine.centres[which], mine.limits[which], -1)
                dropped[c] = True
        kept = ~dropped
        mine.centres, mine.places = mine.centres[kept], mine.places[kept]
        mine.gaps, mine.limits = mine.gaps[kept], mine.limits[kept]
        self.refresh(1 - side)
        return True


class _Open:
    """The points of a class that are in no ball yet, in tiles of their own."""

    def __init__(self, builder: _Builder, side: int, places: Rows) -> None:
        self.builder, self.side = builder, side
        self.mine = builder.classes[side]
        self.places = places
        self.left = len(places)
        self.gather()

    def gather(self) -> None:
        """Copy the points that are left, so that later passes are shorter."""
        self.places = self.places[self.mine.homes[self.places] < 0]
        shape = (-(-len(self.places) // TILE), *self.mine.tiles.shape[1:])
        self.tiles = np.zeros(shape, self.mine.tiles.dtype)
        keep_columns(self.mine.tiles, self.places, self.tiles)

    def add_best(self) -> None:
        """Add the candidate whose ball holds most of a sample of the points that are left."""
        builder, mine = self.builder, self.mine
        left = np.flatnonzero(mine.homes[self.places] < 0)
        cells = max(1, _CANDIDATE_WORK // mine.points.n_features)
        n_candidates = min(len(left), _MOST_CANDIDATES, max(4, math.isqrt(cells // 32)))
        n_witnesses = min(len(left), _MOST_WITNESSES, max(TILE, cells // n_candidates))
        drawn = left[builder.generator.permutation(len(left))[:n_witnesses]]
        candidates = self.places[drawn[:n_candidates]]
        limits = builder.limits(builder.gaps_of(self.side, candidates))
        witnesses = np.zeros((-(-len(drawn) // TILE), *self.tiles.shape[1:]), self.tiles.dtype)
        keep_columns(self.tiles, drawn, witnesses)
        counts = np.zeros(len(candidates), np.int64)
        count_points(
            witnesses, 0, len(drawn), mine.coordinates(candidates), limits, builder.scale, counts
        )
        best = int(np.lexsort((limits, counts))[-1])
        builder.add(self.side, int(candidates[best]))
        index = len(mine.places) - 1
        homes = np.full(len(self.places), -1, np.int64)
        gaps = np.full(len(self.places), np.inf)
        mine.run(
            len(self.places), 1,
            lambda a, b: nearest_balls(
                self.tiles, a, b, mine.centres[index:], mine.limits[index:], builder.scale,
                homes, gaps,
            ),
        )  # fmt: skip
        new = np.flatnonzero((homes == 0) & (mine.homes[self.places] < 0))
        mine.homes[self.places[new]] = index
        mine.distances[self.places[new]] = gaps[new]
        self.left -= len(new)
        if self.left < len(self.places) // 2:
            self.gather()


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
    """Cover both of two classes by few balls whose radii the distance to the other class bounds."""
    points = check_points(X)
    classes, codes = check_labels(y, points.n_samples)
    threads = check_threads(n_threads)
    generator = np.random.default_rng(check_seed(seed))
    code = _covered_code(classes, covered)
    refuse_contradictions(points, (codes == code).astype(np.int64), classes, threads)
    radius = extent(points, threads).radius
    scale = 2.0 ** -math.frexp(radius)[1]
    sides = [
        _Class(points, np.flatnonzero(codes == code), threads),
        _Class(points, np.flatnonzero(codes != code), threads),
    ]
    limit = MAX_CENTRES if max_centres is None else max_centres
    builder = _Builder(sides, radius * scale, scale, radius_factor, limit, generator)
    builder.start()
    builder.grow()
    if builder.is_complete:
        builder.prune()
    for side, one in enumerate(sides):
        builder.settle(side, np.arange(one.n))
    if covered is None and len(sides[1].places) < len(sides[0].places):
        sides.reverse()
        code = 1 - code
    return _finish(sides, builder, classes[code].item(), draws)


def _covered_code(classes: NDArray[Any], covered: Any) -> int:
    """Number of the class that is X^-."""
    labels = classes.tolist()
    if covered is None and len(labels) == 2:
        return 0
    if covered in labels:
        return labels.index(covered)
    raise InvalidInputError(
        f"covered is {covered!r}; with {len(labels)} classes pass one of the labels "
        f"{', '.join(map(repr, labels[:10]))}"
    )


def _finish(
    sides: list[_Class], builder: _Builder, label: Any, draws: int
) -> MutualCovering:  # fmt: skip
    scale = builder.scale
    points = sides[0].points
    members = np.full(points.n_samples, -1, np.int64)
    vectors = builder.generator.standard_normal((points.n_features, draws))
    radii, widths, errors = [], [], []
    for one in sides:
        members[one.rows] = one.homes
        largest = np.zeros(len(one.places))
        inside = one.homes >= 0
        np.maximum.at(largest, one.homes[inside], one.distances[inside])
        largest *= 1 + 2 * builder.slack
        radii.append(largest)
        w, e = _mean_widths(one, largest, scale, vectors)
        widths.append(w)
        errors.append(e)
    ratios = [(w / one.gaps) ** 2 / one.gaps for w, one in zip(widths, sides, strict=True)]
    side = int(ratios[1].max() > ratios[0].max())
    worst = int(np.argmax(ratios[side]))
    w, e, gap = widths[side][worst], errors[side][worst], sides[side].gaps[worst]
    return MutualCovering(
        covered=label,
        delta=float(sides[0].gaps.min()) / scale,
        radius=builder.radius / scale,
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


def _mean_widths(
    one: _Class, radii: Floats, scale: float, vectors: Floats
) -> tuple[Floats, Floats]:
    """Gaussian mean widths of the balls' points about their centres, and standard errors."""
    largest = np.zeros((len(one.places), vectors.shape[1]))
    centre_products = (one.centres * scale) @ vectors
    size = max(TILE, (1 << 21) // vectors.shape[1] // TILE * TILE)
    found: dict[int, Floats] = {}

    def work(task: tuple[int, int]) -> None:
        first, last = task
        some = one.points.dense(one.rows[first:last]).astype(np.float64) * scale
        widths = np.zeros_like(largest)
        widest(
            one.tiles, first, last, one.centres, radii, scale, some @ vectors, centre_products,
            widths,
        )  # fmt: skip
        found[first] = widths

    run_tasks(work, ranges(one.n, size), one.n_threads)
    for widths in found.values():
        np.maximum(largest, widths, out=largest)
    mean: Floats = largest.mean(axis=1)
    return mean, largest.std(axis=1, ddof=1) / math.sqrt(vectors.shape[1])
