"""Covering a class by real sums: the paper's selection with ReLU."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Self

import numpy as np

from fastmem.inputs import Points
from fastmem.kernels.layout import MASK_GROUP, TILE
from fastmem.kernels.relu import least_sums, sums_below
from fastmem.kernels.relu_exact import LEAST_POSITIVE
from fastmem.machine.threads import ranges, run_tasks
from fastmem.patterns.by_class import Patterns
from fastmem.second_layer.bounded_points import BoundedPoints
from fastmem.second_layer.bounded_sums import BoundedSums
from fastmem.second_layer.class_cover import ClassCover
from fastmem.second_layer.real_sums import RealSums, refuse_zeros, rows_for_sums

_BATCH = 1024
"""Candidates of all covers together that are looked at at once: they share activations."""


class RealClassCover(ClassCover):
    """A cover whose neurons cover points by their real sums: the paper's random selection.

    Takes the points and the first layer, which belong to ``patterns``, and, where these are
    bounding tiles, bounds on the sums; all else is as in `ClassCover`.
    """

    threshold_dtype = np.float64
    counts_ones = False
    steps_are_short = False

    def __init__(
        self,
        patterns: Patterns,
        points: Points,
        sums: RealSums,
        code: int,
        generator: np.random.Generator,
        n_threads: int,
        margin: float,
        bounds: BoundedSums | None = None,
    ) -> None:
        self.points, self.sums, self.bounds = points, sums, bounds
        n = len(sums.layer.biases)
        super().__init__(patterns, n, code, generator, n_threads, margin=margin)

    def levels(self, thresholds: np.ndarray) -> np.ndarray:
        """Sums below which a neuron covers a point: its threshold less the margin."""
        # a point with sum 0 is covered whatever the margin
        return np.maximum((1.0 - self.margin) * thresholds, LEAST_POSITIVE)

    def candidates(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """The next candidates, up to ``most``, and their masks."""
        found = self.next_candidates(min(most, self._batch))
        return found, self.masks_of(found)

    def settle(
        self, candidates: np.ndarray, masks: np.ndarray, least: np.ndarray, nearest: np.ndarray
    ) -> None:
        """Go through candidates in order: those that no earlier one covers fail or are accepted."""
        can = np.flatnonzero(least > 0)
        thresholds = least[can]
        on = np.zeros((len(least), len(candidates)), np.bool_)
        if len(can):
            on[can] = self._covers(masks[can], self.levels(thresholds), candidates)
        accepted: list[int] = []
        failed: list[int] = []
        for i in range(len(candidates)):
            if not on[accepted, i].any():
                (accepted if least[i] > 0 else failed).append(i)
        self.drop(candidates[failed], nearest[failed])
        if accepted:
            self.accept(masks[accepted], least[accepted])
        useful = len(accepted) + len(failed)
        if useful > 3 * len(candidates) // 4:
            self._batch = min(2 * self._batch, _BATCH)
        elif useful < len(candidates) // 2:
            self._batch = max(self._batch // 2, MASK_GROUP)

    def accept(self, masks: np.ndarray, thresholds: np.ndarray) -> None:
        """Add neurons, and take the points that they cover from the uncovered ones."""
        if self.bounds is not None:
            limits = self.levels(thresholds)
            gained = self.bounds.take_covered(self.code, masks, limits, self.uncovered)
            self._add(masks, thresholds, gained)
            return
        still = np.flatnonzero(self._flat)
        tasks = ranges(len(still), self.sums.task_rows(self.points, len(masks)))
        gained = np.zeros((len(tasks), len(masks)), np.int64)
        limits = self.levels(thresholds)

        def work(task: int) -> None:
            places = still[slice(*tasks[task])]
            on = self._covers(masks, limits, places)
            covered = on.any(axis=0)
            gained[task] = np.bincount(on.argmax(axis=0)[covered], minlength=len(masks))
            self._flat[places[covered]] = False

        run_tasks(work, range(len(tasks)), self.n_threads)
        self.evaluations += len(masks) * len(still)
        self._extend(masks, thresholds, gained.sum(axis=0))
        self._compact()

    @classmethod
    def step_all(cls, covers: Sequence[Self]) -> None:
        """As in the base class; all candidates share a pass over the points, and activations."""
        most = max(MASK_GROUP, _BATCH // len(covers))
        found = [cover.candidates(most) for cover in covers]
        owners = [cover for cover, (chosen, _) in zip(covers, found, strict=True) for _ in chosen]
        masks = np.concatenate([masks for _, masks in found])
        counts, nearest = cls.least_counts(owners, masks)
        # a sum is 0 where the count is, so the bits say which points cannot be covered
        can = counts > 0
        codes = np.array([cover.code for cover in owners], np.int64)
        least = np.zeros(len(masks))
        if can.any():
            given = masks[can], codes[can], nearest[can]
            one, bounds = covers[0], covers[0].bounds
            sizes = np.diff(one.patterns.starts)
            one.evaluations += int((sizes.sum() - sizes[codes[can]]).sum())
            least[can] = bounds.least_over(*given) if bounds else _least_over_others(one, *given)
        start = 0
        for cover, (candidates, masks) in zip(covers, found, strict=True):
            here = slice(start, start + len(candidates))
            cover.settle(candidates, masks, least[here], nearest[here])
            start = here.stop

    def _covers(self, masks: np.ndarray, limits: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Whether the sum of each mask and point is below the mask's limit, (B, P) bool."""
        places = places.astype(np.int64)
        block = self.points.take(self.patterns.rows(self.code, self.members[places]))
        below = np.empty((len(masks), len(places)), np.bool_)
        if isinstance(self.own, BoundedPoints):
            some = self.own.gathered(places)
            rows = rows_for_sums(block, some.tiles, np.arange(len(places)))
            sums_below(self.sums.layer, self.sums.masks(masks), limits, rows, below)
            return below
        rows = rows_for_sums(block, self.own.tiles, places)
        sums_below(self.sums.layer, self.sums.masks(masks), limits, rows, below)
        touched = slice(places.min() // TILE, places.max() // TILE + 1)
        self.own.store.release(self.own.tiles[touched])
        return below


def _least_over_others(
    one: RealClassCover, masks: np.ndarray, owners: np.ndarray, nearest: np.ndarray
) -> np.ndarray:
    """Least sums of masks over all points of classes other than their owners'.

    ``one`` of the covers knows points and patterns; ``nearest`` are positions of good points to
    begin with.
    """
    patterns, points, sums = one.patterns, one.points, one.sums
    stack = sums.masks(masks)
    least = np.full(len(masks), np.inf)

    def lower(codes: np.ndarray, places: np.ndarray, chosen: np.ndarray, mine: np.ndarray) -> None:
        rows = rows_for_sums(points.take(chosen), patterns.tiles, places)
        least_sums(sums.layer, stack, owners, rows, codes, mine)

    near = np.unique(nearest)[:_BATCH]
    lower(patterns.codes_at(near), near, patterns.rows_at(near), least)
    tasks = [
        (code, *some)
        for code in range(patterns.n_classes)
        for some in ranges(patterns.class_size(code), sums.task_rows(points, len(masks)))
    ]
    lock = threading.Lock()

    def work(task: tuple[int, int, int]) -> None:
        code, start, stop = task
        with lock:
            mine = least.copy()
        local = np.arange(start, stop)
        places = int(patterns.first_tile[code]) * TILE + local
        lower(np.full(len(local), code), places, patterns.rows(code, local), mine)
        patterns.store.release(patterns.tiles[places[0] // TILE : places[-1] // TILE + 1])
        with lock:
            np.minimum(least, mine, out=least)

    run_tasks(work, tasks, one.n_threads)
    refuse_zeros(least)
    return least
