"""Merged cells of classes that take many neurons: each grows among its neighbours.

What such a cell costs follows what it covers, not the number of points, and the cells of a batch
grow side by side on all cores; see ``kernels.near_cells``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastmem.kernels.bounds import BoundTree
from fastmem.kernels.near_cells import (
    ACCEPTED,
    FAILED,
    Ground,
    Grown,
    Manner,
    accept_grown,
    covered_by,
    grow_near,
)
from fastmem.machine.loops import run_loop
from fastmem.patterns.bound_tree import bound_tree, in_groups, marked_below
from fastmem.second_layer.class_cover import ClassCover
from fastmem.second_layer.cover import Cover

FIRST_LOOK, LAST_LOOK = 8, 64
"""Neurons of each class when it is first and last asked whether there will be many."""
MANY = 16
"""Neurons still to come from which on neighbours are searched: a sample has said there is noise."""
MANY_BOUNDED, MANY_CHEAP = 256, 4096
"""The same where points are in bounding tiles, noisy or not, for merged cells and the paper's."""
N_OWN, N_OTHERS, MISSES = 512, 128, 128
"""Points of its class, and of all others, among and against which a cell grows at a time; and
points that it may set aside. Flights, 8 numbers, 100,000 rows: 256 and 64 instead of 512 and 128
take 1.08 times the neurons in 0.96 of the time, 512 and 256 take 0.99 in 1.2."""
BATCH = 128
"""Cells of a class that grow at a time, at most."""
OPEN_A_CELL = 64
"""Uncovered points of a class for each of them: cells of a batch should not meet."""
SHARE = 0.75
"""A cell that covers less than this share of its points alone has met another: it waits."""
MOST_AT_ONCE = 2048
"""Cells of all classes that grow at a time, at most."""
_COVERED = 2048
"""Points that a cell lists; those of a larger one are looked for anew."""
MOST_GATHERED = 64 << 20
"""Bytes of uncovered points that are copied."""


class Outlook:
    """Whether covers will take many neurons, by what the latest of those they have cover.

    Parameters
    ----------
    is_bounded : bool
        Whether the points are in bounding tiles.
    are_merged : bool
        Whether neurons are merged cells.
    """

    def __init__(self, is_bounded: bool, are_merged: bool) -> None:
        self._look_at, self._many = FIRST_LOOK, MANY
        if is_bounded:
            self._many = MANY_BOUNDED if are_merged else MANY_CHEAP

    def is_open(self) -> bool:
        """Whether that is to be looked at again."""
        return self._look_at <= LAST_LOOK

    def behind(self, covers: Sequence[Cover]) -> list[Cover]:
        """Covers that have not as many neurons, and failed points, as the next look asks for.

        If merged covers wait for each other there, it does not depend on the steps in which they
        advanced what is seen.
        """
        return [cover for cover in covers if cover.n_tried < self._look_at]

    @property
    def most_tried(self) -> int:
        """Neurons and failed points of a cover at the next look."""
        return self._look_at

    def many(self, covers: Sequence[Cover]) -> bool:
        """Look, if the neurons have doubled since it was last done; False if it was not."""
        if self.behind(covers):
            return False
        self._look_at *= 2
        expected = 0.0
        for cover in covers:
            latest = cover.gained[len(cover.gained) // 2 :]
            share = len(cover.failed) / cover.n_tried
            gain = share + (1 - share) * sum(latest) / max(1, len(latest))
            expected += cover.remaining / gain
        return expected >= self._many


class NearCells:
    """Adds neurons to the covers of a fit whose patterns are in a spatial order.

    Merged ones, or the paper's, each of which has the mask of one point: those are accepted one
    after the other along the random order, as they are without a tree.
    """

    def __init__(self, covers: Sequence[ClassCover], are_merged: bool) -> None:
        cover = covers[0]
        self.n_threads, self.valid = cover.n_threads, cover.valid
        self.tree = cover.patterns.tree(cover.n_threads)
        self._share = SHARE if are_merged else 0.0
        n_own = N_OWN if are_merged else 0
        self.manner = Manner(n_own, N_OTHERS, MISSES, cover.margin, cover.only_inside)
        self._gather(covers)

    def _gather(self, covers: Sequence[ClassCover]) -> None:
        """Copy what is uncovered, for searches in which no point is passed over, if that is little.

        Else cells grow among all points of their class.
        """
        places, chosen = {}, [np.empty(0, np.int64)] * len(self.tree.tops)
        for cover in covers:
            some = cover.open_places()
            positions = cover.positions(some)
            order = np.argsort(positions)  # the spatial one
            places[cover.code], chosen[cover.code] = some[order], positions[order]
        sizes = np.array([len(some) for some in chosen], np.int64)
        tree = self.tree
        if 8 * len(self.valid) * sizes.sum() <= MOST_GATHERED:
            tree = self.gathered(chosen, sizes)
            chosen = [
                start + np.arange(size) for start, size in zip(tree.first[0], sizes, strict=True)
            ]
        uncovered = np.zeros(tree.points.shape[0] * tree.points.shape[2], np.bool_)
        # from places in a cover to positions here, and back
        self._here: dict[int, np.ndarray] = {}
        self._place_of = np.full(len(uncovered), -1, np.int32)
        for cover in covers:
            some, positions = places[cover.code], chosen[cover.code]
            uncovered[positions] = True
            self._place_of[positions] = some
            self._here[cover.code] = np.full(int(some.max(initial=-1)) + 1, -1, np.int32)
            self._here[cover.code][some] = positions
        n_open = marked_below(tree, uncovered)
        self.ground = Ground(self.tree, tree, self.valid, uncovered, n_open)
        self._n_gathered = int(sizes.sum())
        self._closed = np.empty(self._n_gathered, np.int64)

    def gathered(self, chosen: Sequence[np.ndarray], sizes: np.ndarray) -> BoundTree:
        """A tree over some points of each class, by their positions; sizes (K,) int64."""
        points, first = in_groups(self.tree.points, chosen, self.n_threads)
        return bound_tree(points, first, sizes, self.n_threads)

    def grow(self, starts: np.ndarray, codes: np.ndarray) -> tuple[Grown, np.ndarray, np.ndarray]:
        """Cells from points, by their positions and classes, int64; the longer lists, see below.

        Those of `accept_grown`.
        """
        grown = new_cells(starts, codes, len(self.valid))
        parts = tuple(self.ground), tuple(self.manner), tuple(grown)
        run_loop(grow_near, len(starts), self.n_threads, parts)
        is_long = grown.n_covered > grown.covered.shape[1]
        ends = np.cumsum(np.where(is_long, grown.n_covered, 0))
        starts, more = np.concatenate([[0], ends]), np.empty(ends[-1], np.int64)
        for task in np.flatnonzero(is_long):
            covered_by(*parts, task, more[starts[task] : starts[task + 1]])
        return grown, more, starts

    def step(self, covers: Sequence[ClassCover]) -> None:
        """Grow a batch of cells in every cover, and take those that hold in order."""
        is_new = any(cover.code not in self._here for cover in covers)
        if is_new or 2 * sum(cover.remaining for cover in covers) < self._n_gathered:
            self._gather(covers)
        most = max(1, min(BATCH, MOST_AT_ONCE // len(covers)))
        found = [
            cover.next_candidates(max(1, min(most, cover.remaining // OPEN_A_CELL)))
            for cover in covers
        ]
        starts = [
            self._here[cover.code][places] for cover, places in zip(covers, found, strict=True)
        ]
        codes = np.repeat([cover.code for cover in covers], [len(places) for places in found])
        grown, *longer = self.grow(np.concatenate(starts).astype(np.int64), codes.astype(np.int64))
        n = len(codes)
        outcomes, gained = np.zeros(n, np.int8), np.zeros(n, np.int64)
        n_closed_here = accept_grown(
            tuple(self.ground), tuple(grown), *longer, self._share, outcomes, gained, self._closed
        )
        self.note_closed(self._closed[:n_closed_here])
        n_closed = np.where(outcomes == FAILED, 1, gained)
        ends = np.cumsum(n_closed)
        stop = 0
        for cover, candidates in zip(covers, found, strict=True):
            start, stop = stop, stop + len(candidates)
            here = slice(start, stop)
            cover.evaluations += int(grown.looked[here].sum())
            failed = outcomes[here] == FAILED
            cover.drop(candidates[failed], grown.witnesses[here][failed])
            new = start + np.flatnonzero(outcomes[here] == ACCEPTED)
            if len(new):
                closed = self._closed[ends[start] - n_closed[start] : ends[stop - 1]]
                closed = closed[np.repeat(outcomes[here] != FAILED, n_closed[here])]
                cover.add(
                    grown.masks[new], grown.thresholds[new], gained[new], self._place_of[closed]
                )

    def note_closed(self, positions: np.ndarray) -> None:
        """Points, by their positions in the own tree, are not uncovered any more."""


def new_cells(starts: np.ndarray, codes: np.ndarray, n_words: int, most_missing: int = 0) -> Grown:
    """Room for cells that begin at points, by their positions and classes, int64."""
    n = len(starts)
    thresholds, witnesses, n_covered, looked, n_missing = np.zeros((5, n), np.int64)
    return Grown(
        starts, codes, np.empty((n, n_words), np.uint64), thresholds, witnesses, n_covered, looked,
        np.empty((n, _COVERED), np.int64), np.empty((n, most_missing), np.int64), n_missing,
    )  # fmt: skip
