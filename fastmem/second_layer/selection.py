"""Second layer: which cells of the tessellation cover a class and miss all others."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.kernels.layout import MASK_GROUP, TILE
from fastmem.machine.threads import run_tasks
from fastmem.patterns.by_class import Patterns
from fastmem.second_layer.bounded_sums import BoundedSums
from fastmem.second_layer.class_cover import ClassCover
from fastmem.second_layer.counting import TASK_WORDS
from fastmem.second_layer.cover import Cover, PatternsElsewhere
from fastmem.second_layer.cover_layer import CoverLayer
from fastmem.second_layer.merged_cells import Merger, covers_at_once
from fastmem.second_layer.near_cells import MOST_AT_ONCE, NearCells, Outlook
from fastmem.second_layer.real_cover import RealClassCover
from fastmem.second_layer.real_sums import RealSums

_APART_WORDS = {"merge": (1 << 18, 3 << 20), "random": (1 << 15, TASK_WORDS // 16)}
"""Words of patterns from which on and up to which covers advance side by side. With fewer, threads
wait for Python's lock more than they compute: up to 1.9 times the time. With more, a step of one
takes longer than Ctrl-C may wait; beyond the third-level cache merged cells are better counted all
together."""


class Selector:
    """Chooses second layers for one fit: the same settings, seeds and account for all.

    Given ``points``, neurons cover them by real sums, else by counts.

    Attributes
    ----------
    evaluations, candidates : int
        Counts made so far, and points from which a neuron was tried.
    """

    def __init__(
        self,
        selection: str,
        margin: float,
        only_inside: bool,
        seeds: Sequence[np.random.SeedSequence],
        n_threads: int,
        progress: Callable[[int, int, int], object],
        points: Points | None = None,
    ) -> None:
        self.selection, self.margin, self.only_inside = selection, margin, only_inside
        self.seeds, self.n_threads, self.progress = seeds, n_threads, progress
        self.points = points
        self.evaluations = self.candidates = 0

    def covers(
        self,
        patterns: Patterns | PatternsElsewhere,
        first: Hyperplanes,
        codes: Sequence[int],
        leave_one_out: bool = False,
        members: Mapping[int, np.ndarray] | None = None,
    ) -> list[Cover]:
        """Cover the classes ``codes`` by the hyperplanes ``first``, which ``patterns`` are of.

        Or, of each, only ``members``, int32 numbers of points within their classes by code.
        """
        some = members or {}
        generators = {code: np.random.default_rng(self.seeds[code]) for code in codes}
        covers: list[Cover]
        if self.points is None or not isinstance(patterns, Patterns):
            covers = [
                new_cover(
                    patterns, len(first), code, generators[code], self.n_threads,
                    some.get(code), self.margin, self.only_inside,
                )
                for code in codes
            ]  # fmt: skip
        else:
            sums = RealSums(first, self.points.is_sparse)
            bounds = None
            if patterns.bounded is not None:
                bounds = BoundedSums(patterns, self.points, sums, self.n_threads)
            covers = [
                RealClassCover(
                    patterns, self.points, sums, code, generators[code], self.n_threads,
                    self.margin, bounds,
                )
                for code in codes
            ]  # fmt: skip
        kept, spent = choose_neurons(
            covers, self.selection, self.n_threads, leave_one_out, self.progress
        )
        self.evaluations += spent
        self.candidates += sum(cover.width + len(cover.failed) for cover in covers)
        return kept


def new_cover(
    patterns: Patterns | PatternsElsewhere,
    n_hyperplanes: int,
    code: int,
    generator: np.random.Generator,
    n_threads: int,
    members: np.ndarray | None = None,
    margin: float = 0.0,
    only_inside: bool = False,
) -> Cover:
    """A cover of a class whose points are wherever ``patterns`` are; see `ClassCover`."""
    make = partial(ClassCover, patterns) if isinstance(patterns, Patterns) else patterns.cover
    return make(n_hyperplanes, code, generator, n_threads, members, margin, only_inside)


def choose_neurons(
    covers: list[Cover],
    selection: str,
    n_threads: int,
    leave_one_out: bool,
    progress: Callable[[int, int, int], object],
) -> tuple[list[Cover], int]:
    """Run the covers to their ends; returns those that the network keeps, and the counts made.

    With ``leave_one_out`` (covered="auto") the class with most failures is left out, of equals the
    one whose cover is widest. All covers advance together, so that this is known as soon as all
    others are done and none of their points failed: the widest cover is never finished.
    """
    total = sum(cover.remaining for cover in covers)
    are_merged = selection == "merge"
    merger = Merger(covers) if are_merged else None
    step: Callable[[Sequence[Any]], object]
    step = first_step = merger.step if merger else type(covers[0]).step_all
    patterns = covers[0].patterns
    is_asked = patterns.is_spatial and covers[0].counts_ones
    # from elsewhere points among neighbours are not found, and the paper's neurons the same without
    is_asked = is_asked and (are_merged or isinstance(patterns, Patterns))
    outlook = Outlook(patterns.is_bounded, are_merged) if is_asked else None
    most = MASK_GROUP if are_merged else 1
    at_once = covers_at_once(len(covers[0].valid)) if are_merged else len(covers)
    apart = covers[0].steps_are_short and _are_worth_threads(patterns, selection)

    def tell() -> None:
        left = sum(c.known_remaining for c in covers)
        progress(total - left, total, sum(c.width for c in covers))

    while True:
        active: list[Any] = [cover for cover in covers if not cover.done]
        if not active or (leave_one_out and _is_widest(active, covers)):
            break
        if outlook and outlook.many(active):
            covers, step = _among_neighbours(covers, are_merged)
            active = [cover for cover in covers if not cover.done]
            apart, at_once, outlook = False, MOST_AT_ONCE, None
        elif outlook and not outlook.is_open():
            outlook, step = None, first_step
        if outlook and merger:
            active = outlook.behind(active)
            step = partial(merger.step, most_tried=outlook.most_tried)
        active = active[:at_once]
        if apart and not outlook and n_threads > 1 and len(active) >= 2 * n_threads:
            _side_by_side(step, active, most, n_threads, tell)
        else:
            step(active)
            tell()
    evaluations = sum(cover.evaluations for cover in covers)
    if leave_one_out:
        left = max(covers, key=lambda c: (len(c.failed), c.remaining > 0, c.width, c.code))
        covers = [cover for cover in covers if cover is not left]
    return covers, evaluations


def _among_neighbours(
    covers: list[Cover], are_merged: bool
) -> tuple[list[Cover], Callable[[Sequence[Any]], object]]:
    """The covers, and what lets them advance by cells that grow among neighbours."""
    patterns = covers[0].patterns
    if not isinstance(patterns, Patterns):
        return patterns.among_neighbours(covers)
    here = [cover for cover in covers if isinstance(cover, ClassCover) and not cover.done]
    return covers, NearCells(here, are_merged).step


def _are_worth_threads(patterns: Patterns | PatternsElsewhere, selection: str) -> bool:
    """Whether covers may advance side by side, by the size of the patterns."""
    if not isinstance(patterns, Patterns):
        return False
    least_words, most_words = _APART_WORDS[selection]
    return least_words <= len(patterns.sizes) * TILE * patterns.n_words <= most_words


def _side_by_side(
    step: Callable[[Sequence[Any]], object],
    covers: list[Cover],
    most: int,
    n_threads: int,
    tell: Callable[[], object],
) -> None:
    """Advance groups of up to ``most`` covers, each on one thread, while all threads have enough.

    Covers do not depend on each other, so that no thread waits for another until few are left.
    """
    ready = deque(covers)
    n_active = len(covers)
    caller = threading.get_ident()
    lock = threading.Lock()
    ended = False
    for cover in covers:
        cover.n_threads = 1

    def work(_: int) -> None:
        nonlocal n_active, ended
        group: list[Cover] = []
        try:
            while True:
                with lock:
                    ready.extend(cover for cover in group if not cover.done)
                    n_active -= sum(cover.done for cover in group)
                    ended = ended or not ready or n_active < 2 * n_threads
                    if ended:
                        return
                    size = min(most, n_active // n_threads, len(ready))
                    group = [ready.popleft() for _ in range(size)]
                step(group)
                if threading.get_ident() == caller:
                    tell()
        except BaseException:
            ended = True
            raise

    run_tasks(work, range(n_threads), n_threads)
    for cover in covers:
        cover.n_threads = n_threads


def _is_widest(active: Sequence[Cover], covers: Sequence[Cover]) -> bool:
    others = [cover for cover in covers if cover.done]
    return (
        len(active) == 1
        and not any(cover.failed for cover in others)
        and all(active[0].width >= cover.width for cover in others)
    )


def cover_layer(covers: Sequence[Cover]) -> CoverLayer:
    """The chosen neurons, cover by cover, those that cover most first."""
    masks, thresholds, owners = [], [], []
    for cover in sorted(covers, key=lambda c: c.code):
        for j in np.argsort(-np.array(cover.gained, np.int64), kind="stable"):
            masks.append(cover.masks[j])
            thresholds.append(cover.thresholds[j])
            owners.append(cover.code)
    n_words = len(covers[0].valid)
    return CoverLayer(
        np.array(masks, np.uint64).reshape(len(masks), n_words),
        np.array(thresholds, covers[0].threshold_dtype),
        np.array(owners, np.int32),
    )


def failed_rows(covers: Sequence[Cover]) -> np.ndarray:
    """Rows, in the user's data, of the points that cannot be covered; ascending int64."""
    numbers = np.concatenate([np.array(cover.failed, np.int64) for cover in covers])
    codes = np.repeat([cover.code for cover in covers], [len(cover.failed) for cover in covers])
    return np.sort(covers[0].patterns.rows_of(codes, numbers)).astype(np.int64)
