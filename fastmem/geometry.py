"""Mutual coverings: what the theorem says two classes need, whatever their number of points."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.frame import ContradictionError, extent, refuse_contradictions
from fastmem.inputs import (
    InvalidInputError,
    Points,
    check_count,
    check_label,
    check_labels,
    check_points,
    check_radius_factor,
    check_seed,
    check_threads,
)
from fastmem.kernels.distances import (
    MARKS,
    TILE,
    collect_open,
    count_balls,
    fill_boxes,
    fill_tiles,
    least_counts,
    least_distance,
    lower_gaps,
    nearest_balls,
    pair_counts,
    widest,
)
from fastmem.kernels.threads import ranges, run_tasks

__all__ = ["MutualCovering", "mutual_covering"]

RADIUS_FACTOR = 0.25
"""The constant of the bound on the radii, which the paper does not give. Up to
sqrt(1 - log 2) / 2 = 0.277 balls of unlike classes never meet, as their centres are at most 2 R
apart: so a hyperplane can part any two of them, which the theorem needs."""
FIRST_CONSTANTS = (1.97, 305.0)
SECOND_CONSTANT = 0.409
"""Both fitted to 23 data sets by ``python -m fastmem.experiments.theory --out DIR``."""
DRAWS = 256
_ROUNDS = 3
_CROWDED = 0.9
"""Where more points than this are centres, nothing is gained by another round."""
MAX_CENTRES = 10_000
_TASK_WORK = 1 << 23
"""Differences of coordinates a task: some milliseconds."""
_CANDIDATE_WORK = 1 << 19
_MOST_CANDIDATES = 64
_MOST_WITNESSES = 2048
_SAMPLE = 512
_SPREAD = 256
_MOST_DENSE_BYTES = 1 << 32
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


def _bound(gaps: Any, radius: float, factor: float) -> Any:
    """Largest radius of a ball whose centre has the distance ``gaps`` from the other centres."""
    return factor * gaps / np.sqrt(1.0 + np.log(radius / np.minimum(gaps, 2.0 * radius)))


class _Set:
    """Points in the three arrays that ``kernels.distances`` takes; see there."""

    def __init__(self, n: int, n_features: int, n_marks: int, dtype: Any) -> None:
        n_tiles = max(1, -(-n // TILE))
        self.n = n
        self.tiles = np.zeros((n_tiles, n_features, TILE), dtype)
        self.marks = np.zeros((n_tiles, n_marks, TILE), np.float32)
        self.boxes = np.zeros((n_tiles, 2, n_marks), np.float32)

    @property
    def arrays(self) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
        """What kernels take."""
        return self.tiles, self.marks, self.boxes

    def append(self, point: Floats, mark: NDArray[np.float32]) -> None:
        """Add one point; room is doubled where it is full."""
        if self.n == len(self.tiles) * TILE:
            for name in ("tiles", "marks", "boxes"):
                array = getattr(self, name)
                setattr(self, name, np.concatenate([array, np.zeros_like(array)]))
        tile, column = divmod(self.n, TILE)
        self.tiles[tile, :, column] = point
        self.marks[tile, :, column] = mark
        low = mark if column == 0 else np.minimum(self.boxes[tile, 0], mark)
        high = mark if column == 0 else np.maximum(self.boxes[tile, 1], mark)
        self.boxes[tile, 0], self.boxes[tile, 1] = low, high
        self.n += 1


class _Frame:
    """The mean, a scale near 1 / R, and the directions of the marks."""

    def __init__(self, points: Points, n_threads: int) -> None:
        where = extent(points, n_threads)
        self.mean = where.mean
        self.scale = 2.0 ** -max(math.frexp(where.radius)[1], -1000)
        self.radius = where.radius * self.scale
        # what a computed distance may be off, as a share of it
        self.slack = (points.n_features + 8) * _ROUND
        self.directions: Floats | None = None
        if points.n_features > MARKS:
            rows = np.linspace(0, points.n_samples - 1, min(_SPREAD, points.n_samples))
            some = self.moved(points.dense(rows.astype(np.int64)))
            # of the small matrix: LAPACK takes seconds for the large one where cores are busy
            squares, vectors = np.linalg.eigh(some @ some.T)
            kept = squares > 1e-6 * squares[-1]
            vectors = vectors[:, kept][:, -MARKS:] / np.sqrt(squares[kept][-MARKS:])
            self.directions = np.zeros((points.n_features, MARKS))
            # orthonormal but for rounding, so made shorter by more than that
            self.directions[:, : vectors.shape[1]] = (1 - 1e-6) * (some.T @ vectors)

    def moved(self, some: NDArray[Any]) -> Floats:
        """Scaled points about the mean, float64."""
        moved: Floats = (some.astype(np.float64) - self.mean) * self.scale
        return moved

    def marks(self, some: NDArray[Any]) -> NDArray[np.float32]:
        """Marks (rows, p) of points."""
        moved = self.moved(some)
        if self.directions is not None:
            moved = moved @ self.directions
        return moved.astype(np.float32)


class _Class(_Set):
    """The points of one class, near ones in one tile, and the balls that cover them so far.

    ``rows`` are the rows of X; what is decided depends on them and on distances only, never on the
    order of the points here, which rounding may change.
    """

    def __init__(self, points: Points, rows: Rows, frame: _Frame, n_threads: int) -> None:
        n, d = len(rows), points.n_features
        super().__init__(n, d, min(d, MARKS), points.dtype)
        self.points, self.frame, self.n_threads = points, frame, n_threads
        self.task = max(1, _TASK_WORK // (TILE * d)) * TILE
        size = max(1, min(self.task, points.max_block_rows))
        marks = np.empty((n, min(d, MARKS)), np.float32)

        def mark(task: tuple[int, int]) -> None:
            marks[slice(*task)] = frame.marks(points.dense(rows[slice(*task)]))

        run_tasks(mark, ranges(n, size), n_threads)
        order = _by_place(marks)
        self.rows = rows[order]

        def fill(task: tuple[int, int]) -> None:
            first, last = task
            fill_tiles(points.dense(self.rows[first:last]), self.tiles, first)
            fill_tiles(marks[order[first:last]], self.marks, first)
            fill_boxes(self.marks, first, last, self.boxes)

        run_tasks(fill, ranges(n, max(TILE, size // TILE * TILE)), n_threads)
        self.homes = np.full(n, -1, np.int64)
        self.distances = np.full(n, np.inf)
        self.forget()

    def forget(self) -> None:
        """Start without centres."""
        d, n_marks = self.tiles.shape[1], self.marks.shape[1]
        self.centres = _Set(0, d, n_marks, np.float64)
        self.places = np.empty(0, np.int64)
        self.at = np.empty((0, d))
        self.at_marks = np.empty((0, n_marks), np.float32)
        self.gaps = np.empty(0)  # to the other class's centres
        self.limits = np.empty(0)

    def coordinates(self, places: Rows) -> Floats:
        """Coordinates of points, (m, d) float64."""
        tile, column = np.divmod(places, TILE)
        return self.tiles[tile, :, column].astype(np.float64)

    def marks_of(self, places: Rows) -> NDArray[np.float32]:
        """Marks of points, (m, p)."""
        tile, column = np.divmod(places, TILE)
        return np.ascontiguousarray(self.marks[tile, :, column])

    def append_centre(self, place: int, gap: float, limit: float) -> None:
        """Make a point a centre."""
        where = np.array([place])
        at, mark = self.coordinates(where), self.marks_of(where)
        self.centres.append(at[0], mark[0])
        self.places = np.append(self.places, place)
        self.gaps, self.limits = np.append(self.gaps, gap), np.append(self.limits, limit)

    def keep(self, which: Rows) -> None:
        """Keep some of the centres; points must be settled anew."""
        places, gaps, limits = self.places[which], self.gaps[which], self.limits[which]
        self.forget()
        for place, gap, limit in zip(places, gaps, limits, strict=True):
            self.append_centre(int(place), gap, limit)

    def balls(self, which: Rows | None = None) -> tuple[Floats, NDArray[np.float32], Floats]:
        """Coordinates, marks and limits of the centres."""
        places = self.places if which is None else self.places[which]
        limits = self.limits if which is None else self.limits[which]
        return self.coordinates(places), self.marks_of(places), limits

    def run(self, n_centres: int, work: Callable[[int, int], object]) -> None:
        """Call work(first, last) for ranges of points that meet ``n_centres`` centres."""
        size = max(TILE, min(self.task, 8 * self.task // max(1, n_centres)) // TILE * TILE)
        run_tasks(lambda task: work(*task), ranges(self.n, size), self.n_threads)


def _by_place(marks: NDArray[np.float32]) -> Rows:
    """Order in which each tile's points are near one another: halves along the widest mark."""
    order = np.arange(len(marks))
    todo = [(0, len(marks))]
    while todo:
        first, last = todo.pop()
        if last - first <= TILE:
            continue
        part = order[first:last]
        values = marks[part]
        axis = int(np.argmax(values.max(axis=0) - values.min(axis=0)))
        # whole tiles on the left
        half = -(-(last - first) // (2 * TILE)) * TILE
        order[first:last] = part[np.argpartition(values[:, axis], half - 1)]
        todo += [(first, first + half), (first + half, last)]
    return order


class _Builder:
    """Adds and drops centres of both classes."""

    def __init__(
        self, classes: list[_Class], frame: _Frame, factor: float, max_centres: int,
        generator: np.random.Generator,
    ) -> None:  # fmt: skip
        self.classes, self.frame, self.factor = classes, frame, factor
        self.scale = frame.scale
        self.max_centres, self.generator = max_centres, generator
        most = max(one.n for one in classes)
        self.room = (np.empty(most, np.int64), np.empty(most))
        self.is_complete = True

    def limits(self, gaps: Any) -> Any:
        """Radii that computed distances may have: those of the bound, less what rounding adds."""
        slack = self.frame.slack
        return _bound(gaps * (1 - slack), self.frame.radius, self.factor) * (1 - 4 * slack)

    def gap_of(self, side: int, at: Floats, mark: NDArray[np.float32]) -> float:
        """Distance from a point to the other class's centres."""
        other = self.classes[1 - side]
        return least_distance(
            *other.centres.arrays, other.centres.n, other.homes, False, other.places, at, mark,
            self.scale, np.inf,
        )[0]  # fmt: skip

    def gaps_of(self, side: int, places: Rows) -> Floats:
        """Distances from points of a class to the other class's centres."""
        mine = self.classes[side]
        at, marks = mine.coordinates(places), mine.marks_of(places)
        gaps = np.empty(len(places))

        def work(task: tuple[int, int]) -> None:
            for i in range(*task):
                gaps[i] = self.gap_of(side, at[i], marks[i])

        run_tasks(work, ranges(len(places), 256), mine.n_threads)
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
        at, mark = mine.coordinates(where)[0], mine.marks_of(where)[0]
        gap = self.gap_of(side, at, mark)
        mine.append_centre(place, gap, self.limits(gap))
        if lower_gaps(*other.centres.arrays, other.centres.n, at, mark, self.scale, other.gaps):
            other.limits = self.limits(other.gaps)

    def n_centres(self) -> int:
        """Centres of both classes."""
        return sum(len(one.places) for one in self.classes)

    def build(self) -> None:
        """Grow a covering, then cover each class anew and prune while that makes it smaller."""
        self.start()
        self.grow()
        best: list[Rows] = []
        fewest = self.max_centres + 1
        for _ in range(_ROUNDS):
            if not self.is_complete:
                break
            self.prune()
            if self.n_centres() >= fewest:
                break
            fewest, best = self.n_centres(), [one.places for one in self.classes]
            if fewest > _CROWDED * sum(one.n for one in self.classes):
                break
            for side in (0, 1):
                self.rebuild(side)
            self.grow()
        if best:
            self.is_complete = True
            for one, places in zip(self.classes, best, strict=True):
                one.forget()
                for place in places:
                    one.append_centre(int(place), np.inf, np.inf)
            for side in (0, 1):
                self.refresh(side)
        for side, one in enumerate(self.classes):
            one.homes[:] = -1
            self.settle(side)

    # Growth -----------------------------------------------------------------------------------

    def start(self) -> None:
        """One centre a class: the point of a sample that is farthest from the other's sample."""
        samples = []
        for one in self.classes:
            in_order = np.argsort(one.rows, kind="stable")
            samples.append(in_order[self.generator.permutation(one.n)[:_SAMPLE]])
        deepest = []
        for side in (0, 1):
            other = self.classes[1 - side]
            other.forget()
            for place in samples[1 - side]:
                other.append_centre(int(place), 0.0, 0.0)
            deepest.append(int(samples[side][np.argmax(self.gaps_of(side, samples[side]))]))
        for one, place in zip(self.classes, deepest, strict=True):
            one.forget()
            one.append_centre(place, np.inf, np.inf)
        for side in (0, 1):
            self.refresh(side)

    def grow(self) -> None:
        """Add centres until every point is in a ball, and stays in one."""
        while self.is_complete:
            left = [self.open_points(side) for side in (0, 1)]
            if not any(left):
                return
            while any(left):
                if self.n_centres() >= self.max_centres:
                    self.is_complete = False
                    return
                # evenly: how large balls may be is known only where both classes have centres
                side = int(left[1] * self.classes[0].n > left[0] * self.classes[1].n)
                left[side] -= self.add_best(side)

    def rebuild(self, side: int) -> None:
        """Cover one class anew, now that the other class's centres are known."""
        mine = self.classes[side]
        mine.keep(np.array([np.argmax(mine.limits)]))
        mine.homes[:] = -1
        left = self.open_points(side)
        while left:
            if self.n_centres() >= self.max_centres:
                self.is_complete = False
                return
            left -= self.add_best(side)
        self.refresh(1 - side)

    def open_points(self, side: int) -> int:
        """How many points are in no ball, after others have taken what the old ball lost."""
        mine = self.classes[side]
        mine.homes[mine.distances > mine.limits[mine.homes]] = -1
        self.settle(side)
        return int(np.count_nonzero(mine.homes < 0))

    def settle(self, side: int) -> None:
        """Give open points to their nearest centre whose ball holds them, or to none."""
        mine = self.classes[side]
        at, marks, limits = mine.balls()
        mine.run(
            len(at),
            lambda first, last: nearest_balls(
                *mine.arrays, first, last, at, marks, limits, self.scale, mine.homes,
                mine.distances,
            ),
        )  # fmt: skip

    def near_open(self, side: int, place: int, reach: float) -> tuple[Rows, Floats]:
        """Open points within a reach of a point, in the order of their rows, and distances."""
        mine = self.classes[side]
        where = np.array([place])
        n = collect_open(
            *mine.arrays, mine.n, mine.homes, mine.coordinates(where)[0], mine.marks_of(where)[0],
            reach, self.scale, self.room[0], self.room[1],
        )  # fmt: skip
        order = np.argsort(mine.rows[self.room[0][:n]])
        return self.room[0][order], self.room[1][order]

    def add_best(self, side: int) -> int:
        """Add the ball that holds the open point nearest to the last centre, and most others.

        Balls so grow side by side, with few gaps between them. Returns how many points it takes.
        """
        mine = self.classes[side]
        last = mine.places[-1:]
        _, pivot = least_distance(
            *mine.arrays, mine.n, mine.homes, True, mine.rows, mine.coordinates(last)[0],
            mine.marks_of(last)[0], self.scale, np.inf,
        )  # fmt: skip
        limit = float(self.limits(self.gaps_of(side, np.array([pivot])))[0])
        around, gaps = self.near_open(side, pivot, 2.5 * limit)
        best = pivot
        if len(around) > 1:
            best = self.best_of(side, around, gaps, limit)
        self.add(side, best)
        new, gaps = self.near_open(side, best, mine.limits[-1])
        mine.homes[new] = len(mine.places) - 1
        mine.distances[new] = gaps
        return len(new)

    def best_of(self, side: int, around: Rows, gaps: Floats, limit: float) -> int:
        """Of some open points the one whose ball reaches the pivot and holds most of them."""
        mine = self.classes[side]
        cells = _CANDIDATE_WORK // mine.points.n_features
        n_candidates = min(_MOST_CANDIDATES, max(4, math.isqrt(cells // 8)))
        n_witnesses = min(_MOST_WITNESSES, max(TILE, cells // n_candidates))
        drawn = self.generator.permutation(len(around))[:n_witnesses]
        close = drawn[gaps[drawn] <= 1.5 * limit][:n_candidates]
        close = np.append(close, np.argmin(gaps))
        limits = self.limits(self.gaps_of(side, around[close]))
        reaches = gaps[close] <= limits
        close, limits = close[reaches], limits[reaches]
        counts = np.zeros(len(close), np.int64)
        pair_counts(
            mine.coordinates(around[drawn]), mine.coordinates(around[close]), limits, self.scale,
            counts,
        )  # fmt: skip
        return int(around[close[np.lexsort((limits, counts))[-1]]])

    # Pruning ----------------------------------------------------------------------------------

    def prune(self) -> None:
        """Drop centres that the others make superfluous, class by class, until none is."""
        stale = [True, True]  # whether radii have grown since the class was last looked at
        while any(stale):
            larger = int(self.classes[1].n > self.classes[0].n)
            side = 1 - larger if stale[1 - larger] else larger
            stale[side] = False
            stale[1 - side] |= self.prune_class(side)

    def prune_class(self, side: int) -> bool:
        """Drop centres of one class whose points are all in other balls; whether any was."""
        mine = self.classes[side]
        counts = np.zeros(mine.n, np.int32)

        def add(which: Rows, step: int) -> None:
            at, marks, limits = mine.balls(which)
            mine.run(
                len(which),
                lambda first, last: count_balls(
                    *mine.arrays, first, last, at, marks, limits, self.scale, np.int32(step),
                    counts,
                ),
            )  # fmt: skip

        def least(which: Rows) -> NDArray[np.int32]:
            at, marks, limits = mine.balls(which)
            found: list[NDArray[np.int32]] = []

            def work(first: int, last: int) -> None:
                low = np.full(len(which), 2**31 - 1, np.int32)
                least_counts(*mine.arrays, first, last, at, marks, limits, self.scale, counts, low)
                found.append(low)

            mine.run(len(which), work)
            lowest: NDArray[np.int32] = np.min(found, axis=0)
            return lowest

        everything = np.arange(len(mine.places))
        add(everything, 1)
        idle = np.flatnonzero(least(everything) > 1)
        kept = np.ones(len(everything), bool)
        for c in idle[np.lexsort((mine.rows[mine.places[idle]], mine.limits[idle]))]:
            which = np.array([c])
            if least(which)[0] > 1:
                add(which, -1)
                kept[c] = False
        if kept.all():
            return False
        mine.keep(np.flatnonzero(kept))
        mine.homes[:] = -1
        self.settle(side)
        self.refresh(1 - side)
        return True


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
    _refuse_large(points)
    code = _covered_code(classes, covered)
    _refuse_equal_points(points, codes, code, classes, threads)
    frame = _Frame(points, threads)
    sides = [
        _Class(points, np.flatnonzero(codes == code), frame, threads),
        _Class(points, np.flatnonzero(codes != code), frame, threads),
    ]
    builder = _Builder(sides, frame, factor, limit, generator)
    builder.build()
    if covered is None and len(sides[1].places) < len(sides[0].places):
        sides.reverse()
        code = 1 - code
    return _finish(sides, builder, classes[code].item(), n_draws)


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


def _refuse_large(points: Points) -> None:
    size = points.n_samples * points.n_features * points.dtype.itemsize
    if points.is_sparse and size > _MOST_DENSE_BYTES:
        raise InvalidInputError(
            f"X is a sparse matrix of {points.n_samples:,} rows and {points.n_features:,} columns, "
            f"which would take {size / 2**30:.1f} GiB as the dense array that coverings need, more "
            f"than {_MOST_DENSE_BYTES >> 30} GiB; pass fewer rows or columns"
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
        largest *= 1 + 2 * builder.frame.slack
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
        radius=builder.frame.radius / scale,
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
    at, marks, _ = one.balls()
    largest = np.zeros((len(at), vectors.shape[1]))
    size = max(TILE, min(one.task, (1 << 21) // vectors.size * TILE))
    lock = threading.Lock()

    def work(task: tuple[int, int]) -> None:
        widths = np.zeros_like(largest)
        widest(*one.arrays, *task, at, marks, radii, scale, vectors, widths)
        with lock:
            np.maximum(largest, widths, out=largest)

    run_tasks(work, ranges(one.n, size), one.n_threads)
    mean: Floats = largest.mean(axis=1)
    return mean, largest.std(axis=1, ddof=1) / math.sqrt(vectors.shape[1])
