"""Building a mutual covering: greedy balls, until all points are in one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.geometry.point_sets import (
    ClassPoints,
    Floats,
    Rows,
    Units,
)
from fastmem.kernels.distances import (
    TILE,
    collect_open,
    count_balls,
    least_counts,
    least_distance,
    lower_gaps,
    nearest_balls,
    pair_counts,
)
from fastmem.machine.threads import ranges, run_tasks

_ROUNDS = 3
_CROWDED = 0.9
"""Where more points than this are centres, nothing is gained by another round."""
_CANDIDATE_WORK = 1 << 19
_MOST_CANDIDATES = 64
_MOST_WITNESSES = 2048
_SAMPLE = 512


def _bound(gaps: Any, radius: float, factor: float) -> Any:
    """Largest radius of a ball whose centre has the distance ``gaps`` from the other centres."""
    return factor * gaps / np.sqrt(1.0 + np.log(radius / np.minimum(gaps, 2.0 * radius)))


class CoveringBuilder:
    """Adds and drops centres of both classes."""

    def __init__(
        self, classes: list[ClassPoints], frame: Units, factor: float, max_centres: int,
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
