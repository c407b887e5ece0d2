"""Building a mutual covering: greedy balls, until all points are in one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmem.geometry.class_points import ClassPoints
from fastmem.geometry.point_sets import Floats, Rows, Units
from fastmem.kernels.distances import TILE, collect_open, lower_gaps, nearest_open, pair_counts

_ROUNDS = 3
_CROWDED = 0.9
"""Where more points than this are centres, nothing is gained by another round."""
_CANDIDATE_WORK = 1 << 19
_MOST_CANDIDATES = 64
_MOST_WITNESSES = 2048
_SAMPLE = 512


class CoveringBuilder:
    """Adds and drops balls of both classes.

    A side is 0 or 1, the index of a class in ``classes``; the other one is 1 - side. ``factor`` is
    the constant of the bound on the radii. ``is_complete`` says whether all points are in balls
    after `build`, which ends where there are ``max_centres`` centres.
    """

    def __init__(
        self, classes: list[ClassPoints], units: Units, factor: float, max_centres: int,
        generator: np.random.Generator,
    ) -> None:  # fmt: skip
        self.classes, self.units, self.factor = classes, units, factor
        self.max_centres, self.generator = max_centres, generator
        most = max(one.n for one in classes)
        self.found = (np.empty(most, np.int64), np.empty(most))
        self.is_complete = True

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
                self.cover_anew(side)
            self.grow()
        if best:
            self.is_complete = True
            self.restore(best)
        for one in self.classes:
            one.homes[:] = -1
            one.settle()

    def n_centres(self) -> int:
        """Centres of both classes."""
        return sum(len(one.places) for one in self.classes)

    def restore(self, centres: list[Rows]) -> None:
        """Take these centres, of each class, and no others."""
        for one, places in zip(self.classes, centres, strict=True):
            one.drop_centres()
            for place in places:
                one.append_centre(int(place), np.inf, np.inf)
        for side in (0, 1):
            self.measure_gaps(side)

    # Gaps and limits --------------------------------------------------------------------------

    def limits(self, gaps: Any) -> Any:
        """Radii that computed distances may have: those of the bound, less what rounding adds."""
        slack = self.units.slack
        return _bound(gaps * (1 - slack), self.units.radius, self.factor) * (1 - 4 * slack)

    def gaps_of(self, side: int, places: Rows) -> Floats:
        """Distances from points of a class to the other class's centres."""
        return self.classes[side].gaps_to(self.classes[1 - side].centres, places)

    def measure_gaps(self, side: int) -> None:
        """Measure the gaps of a class's centres anew."""
        mine = self.classes[side]
        mine.gaps = self.gaps_of(side, mine.places)
        mine.limits = self.limits(mine.gaps)

    def add_centre(self, side: int, place: int) -> None:
        """Make a point a centre, which may shorten radii of the other class."""
        mine, other = self.classes[side], self.classes[1 - side]
        where = np.array([place])
        gap = self.gaps_of(side, where)[0]
        mine.append_centre(place, gap, self.limits(gap))
        centres, ball = other.centres, mine.balls_around(where)
        if lower_gaps(centres.point_tiles, centres.n, ball, self.units.scale, other.gaps):
            other.limits = self.limits(other.gaps)

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
            other.drop_centres()
            for place in samples[1 - side]:
                other.append_centre(int(place), 0.0, 0.0)
            farthest = np.argmax(self.gaps_of(side, samples[side]))
            deepest.append(samples[side][[farthest]])
        self.restore(deepest)

    def grow(self) -> None:
        """Add balls until every point is in one, and stays in one."""
        while self.is_complete:
            left = [self.count_open(side) for side in (0, 1)]
            if not any(left):
                return
            while any(left):
                if self.n_centres() >= self.max_centres:
                    self.is_complete = False
                    return
                # evenly: how large balls may be is known only where both classes have centres
                side = int(left[1] * self.classes[0].n > left[0] * self.classes[1].n)
                left[side] -= self.add_best(side)

    def cover_anew(self, side: int) -> None:
        """Cover one class anew, now that the other class's centres are known."""
        mine = self.classes[side]
        mine.keep_centres(np.array([np.argmax(mine.limits)]))
        mine.homes[:] = -1
        left = self.count_open(side)
        while left:
            if self.n_centres() >= self.max_centres:
                self.is_complete = False
                return
            left -= self.add_best(side)
        self.measure_gaps(1 - side)

    def count_open(self, side: int) -> int:
        """How many points are in no ball, after others have taken what the old ball lost."""
        mine = self.classes[side]
        mine.homes[mine.distances > mine.limits[mine.homes]] = -1
        mine.settle()
        return int(np.count_nonzero(mine.homes < 0))

    def add_best(self, side: int) -> int:
        """Add the ball that holds the open point nearest to the last centre, and most others.

        Balls so grow side by side, with few gaps between them. Returns how many points it takes.
        """
        mine = self.classes[side]
        last = mine.balls_around(mine.places[-1:])
        pivot = nearest_open(
            mine.point_tiles, mine.n, last, self.units.scale, mine.homes, mine.rows
        )
        limit = float(self.limits(self.gaps_of(side, np.array([pivot])))[0])
        around, distances = self.open_within(side, pivot, 2.5 * limit)
        best = pivot
        if len(around) > 1:
            best = self.best_centre(side, around, distances, limit)
        self.add_centre(side, best)
        new, distances = self.open_within(side, best, mine.limits[-1])
        mine.homes[new] = len(mine.places) - 1
        mine.distances[new] = distances
        return len(new)

    def open_within(self, side: int, place: int, reach: float) -> tuple[Rows, Floats]:
        """Open points within a reach of a point, in the order of their rows, and distances."""
        mine = self.classes[side]
        which, distances = self.found
        ball = mine.balls_around(np.array([place]), reach)
        count = collect_open(
            mine.point_tiles, mine.n, ball, self.units.scale, mine.homes, which, distances
        )
        order = np.argsort(mine.rows[which[:count]])
        return which[order], distances[order]

    def best_centre(self, side: int, around: Rows, distances: Floats, limit: float) -> int:
        """Of some open points the one whose ball reaches the pivot and holds most of them.

        ``distances`` are those of the points ``around`` from the pivot, whose ball would be of
        radius ``limit``.
        """
        mine = self.classes[side]
        cells = _CANDIDATE_WORK // mine.n_features
        n_candidates = min(_MOST_CANDIDATES, max(4, math.isqrt(cells // 8)))
        n_witnesses = min(_MOST_WITNESSES, max(TILE, cells // n_candidates))
        drawn = self.generator.permutation(len(around))[:n_witnesses]
        close = drawn[distances[drawn] <= 1.5 * limit][:n_candidates]
        close = np.append(close, np.argmin(distances))
        limits = self.limits(self.gaps_of(side, around[close]))
        reaches = distances[close] <= limits
        close, limits = close[reaches], limits[reaches]
        counts = np.zeros(len(close), np.int64)
        witnesses, candidates = mine.coordinates(around[drawn]), mine.coordinates(around[close])
        pair_counts(witnesses, candidates, limits, self.units.scale, counts)
        return int(around[close[np.lexsort((limits, counts))[-1]]])

    # Pruning ----------------------------------------------------------------------------------

    def prune(self) -> None:
        """Drop balls that the others make superfluous, class by class, until none is."""
        stale = [True, True]  # whether radii have grown since the class was last looked at
        while any(stale):
            larger = int(self.classes[1].n > self.classes[0].n)
            side = 1 - larger if stale[1 - larger] else larger
            stale[side] = False
            stale[1 - side] |= self.prune_class(side)

    def prune_class(self, side: int) -> bool:
        """Drop balls of one class whose points are all in other balls; whether any was."""
        mine = self.classes[side]
        everything = np.arange(len(mine.places))
        counts = np.zeros(mine.n, np.int32)
        mine.add_counts(everything, 1, counts)
        idle = np.flatnonzero(mine.lowest_counts(everything, counts) > 1)
        kept = np.ones(len(everything), bool)
        for c in idle[np.lexsort((mine.rows[mine.places[idle]], mine.limits[idle]))]:
            which = np.array([c])
            if mine.lowest_counts(which, counts)[0] > 1:
                mine.add_counts(which, -1, counts)
                kept[c] = False
        if kept.all():
            return False
        mine.keep_centres(np.flatnonzero(kept))
        mine.homes[:] = -1
        mine.settle()
        self.measure_gaps(1 - side)
        return True


def _bound(gaps: Any, radius: float, factor: float) -> Any:
    """Largest radius of a ball whose centre has the distance ``gaps`` from the other centres."""
    return factor * gaps / np.sqrt(1.0 + np.log(radius / np.minimum(gaps, 2.0 * radius)))
