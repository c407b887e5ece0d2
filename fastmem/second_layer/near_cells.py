"""Merged cells of classes that take many neurons: each grows among its neighbours.

What such a cell costs follows what it covers, not the number of points, and the cells of a batch
grow side by side on all cores; see ``kernels.near_cells``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastmem.kernels.near_cells import (
    ACCEPTED,
    FAILED,
    Ground,
    Grown,
    Manner,
    accept_grown,
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
        self._tree = cover.patterns.tree(cover.n_threads)
        self._share = SHARE if are_merged else 0.0
        n_own = N_OWN if are_merged else 0
        self._manner = Manner(n_own, N_OTHERS, MISSES, cover.margin, cover.only_inside)
        self._gather(covers)

    def _gather(self, covers: Sequence[ClassCover]) -> None:
        """Copy what is uncovered, for searches in which no point is passed over, if that is little.

        Else cells grow among all points of their class.
        """
        tree, n_threads = self._tree, covers[0].n_threads
        places, chosen = {}, [np.empty(0, np.int64)] * len(tree.tops)
        for cover in covers:
            some = cover.open_places()
            positions = cover.positions(some)
            order = np.argsort(positions)  # the spatial one
            places[cover.code], chosen[cover.code] = some[order], positions[order]
        sizes = np.array([len(some) for some in chosen], np.int64)
        if 8 * tree.points.shape[1] * sizes.sum() <= MOST_GATHERED:
            points, first = in_groups(tree.points, chosen, n_threads)
            tree = bound_tree(points, first, sizes, n_threads)
            chosen = [start + np.arange(size) for start, size in zip(first, sizes, strict=True)]
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
        self._ground = Ground(self._tree, tree, covers[0].valid, uncovered, n_open)
        self._n_gathered = int(sizes.sum())
        self._closed = np.empty(self._n_gathered, np.int64)

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
        n = len(codes)
        thresholds, witnesses, n_covered, looked = np.zeros((4, n), np.int64)
        grown = Grown(
            np.concatenate(starts).astype(np.int64), codes.astype(np.int64),
            np.empty((n, len(self._ground.valid)), np.uint64), thresholds, witnesses, n_covered,
            looked, np.empty((n, _COVERED), np.int64),
        )  # fmt: skip
        parts = tuple(self._ground), tuple(self._manner), tuple(grown)
        run_loop(grow_near, n, covers[0].n_threads, parts)
        outcomes, gained = np.zeros(n, np.int8), np.zeros(n, np.int64)
        accept_grown(*parts, self._share, outcomes, gained, self._closed)
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
