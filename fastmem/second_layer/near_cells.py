"""Merged cells of noisy classes: each grows among its neighbours, many side by side.

See ``kernels.near_cells``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastmem.kernels.layout import TILE
from fastmem.kernels.cover import gather
from fastmem.kernels.near_cells import (
    ACCEPTED,
    FAILED,
    Ground,
    Grown,
    Manner,
    accept_grown,
    grow_near,
)
from fastmem.machine.arrays import aligned_zeros
from fastmem.machine.loops import run_loop
from fastmem.patterns.bounds import bound_tree, node_sizes
from fastmem.second_layer.class_cover import ClassCover

N_OWN, N_OTHERS, MISSES = 256, 128, 64
BATCH = 128
OPEN_A_CELL = 64
SHARE = 0.5
_COVERED = 2048


class NearMerger:
    """Adds merged neurons to the covers of a fit, many at a time."""

    def __init__(self, covers: Sequence[ClassCover]) -> None:
        cover = covers[0]
        patterns = cover.patterns
        self._covers = covers
        self._tree = bound_tree(
            patterns.tiles, patterns.first_tile[:-1], cover.n_threads, np.diff(patterns.starts)
        )
        self._manner = Manner(N_OWN, N_OTHERS, MISSES, cover.margin, cover.only_inside)
        self.stats = np.zeros(4, np.int64)
        self._n_own = 0
        self._gather()

    def _gather(self) -> None:
        """Copy what is uncovered still."""
        covers, tree = self._covers, self._tree
        n_classes = len(tree.tops)
        sizes = np.zeros(n_classes, np.int64)
        self._places = {}
        for cover in covers:
            self._places[cover.code] = np.flatnonzero(cover._flat)
            sizes[cover.code] = len(self._places[cover.code])
        n_tiles = -(-sizes // TILE)
        first = np.cumsum(n_tiles) - n_tiles
        tiles = aligned_zeros((max(1, n_tiles.sum()), tree.tiles.shape[1], TILE), np.uint64)
        uncovered = np.zeros(len(tiles) * TILE, np.bool_)
        self._at = {}
        for cover in covers:
            places, start = self._places[cover.code], int(first[cover.code]) * TILE
            gather(tree.tiles, places + int(cover.skip[0]) * TILE, tiles, start)
            uncovered[start : start + len(places)] = True
            self._at[cover.code] = start
        own = bound_tree(tiles, first, covers[0].n_threads, sizes)
        self._ground = Ground(tree, own, covers[0].valid, uncovered, node_sizes(own))
        self._n_own = int(sizes.sum())
        self._closed = np.empty(self._n_own, np.int64)

    def step(self, covers: Sequence[ClassCover]) -> None:
        """Grow a batch of cells of every cover."""
        if 2 * sum(cover.remaining for cover in covers) < self._n_own:
            self._covers = covers
            self._gather()
        found = [
            cover.next_candidates(max(1, min(BATCH, cover.remaining // OPEN_A_CELL)))
            for cover in covers
        ]
        sizes = [len(places) for places in found]
        codes = np.repeat([cover.code for cover in covers], sizes)
        n = len(codes)
        starts = [
            np.searchsorted(self._places[cover.code], places) + self._at[cover.code]
            for cover, places in zip(covers, found, strict=True)
        ]
        grown = Grown(
            np.concatenate(starts), codes, np.empty((n, len(self._ground.valid)), np.uint64),
            np.zeros(n, np.int64), np.empty(n, np.int64), np.empty((n, _COVERED), np.int64),
            np.zeros(n, np.int64),
        )  # fmt: skip
        ground, manner = tuple(self._ground), tuple(self._manner)
        run_loop(grow_near, n, covers[0].n_threads, (ground, manner, tuple(grown)))
        outcomes, gained = np.zeros(n, np.int8), np.zeros(n, np.int64)
        n_closed = accept_grown(
            ground, manner, tuple(grown), SHARE, outcomes, gained, self._closed
        )
        self.stats += np.bincount(outcomes, minlength=4)
        closed = np.sort(self._closed[:n_closed])
        stop = 0
        for cover, size, places in zip(covers, sizes, found, strict=True):
            here, stop = slice(stop, stop + size), stop + size
            new = np.flatnonzero(outcomes[here] == ACCEPTED) + here.start
            failed = np.flatnonzero(outcomes[here] == FAILED)
            cover.masks.extend(grown.masks[new])
            cover.thresholds.extend(grown.thresholds[new].tolist())
            cover.gained.extend(gained[new].tolist())
            cover.remaining -= int(gained[new].sum())
            cover.drop(places[failed], grown.witnesses[here][failed])
            own = self._places[cover.code]
            start = self._at[cover.code]
            mine = closed[(closed >= start) & (closed < start + len(own))]
            cover._flat[own[mine - start]] = False
