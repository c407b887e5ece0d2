"""Hyperplanes in order of need, and masks with as few ones as will do."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from fastmem.kernels.columns import TILE_WORDS, gains, inside, strike, thin_mask, transpose_tiles
from fastmem.kernels.layout import TILE, WORD_BITS
from fastmem.machine.threads import ranges, run_tasks
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.words import packed, unpacked
from fastmem.second_layer.cover import Cover
from fastmem.second_layer.cover_layer import CoverLayer

_SAMPLE_TILES = 96
"""Tiles of points, 18,432 points, by which hyperplanes are put in order."""
_SET_COVERS = 4
"""Set covers that put hyperplanes in order, one after the other."""
_COUNTED_AT_ONCE = 64


def hyperplane_order(patterns: Patterns, covers: Sequence[Cover], n_threads: int) -> np.ndarray:
    """Hyperplanes, those that the neurons of ``covers`` need most first; int64.

    By greedy set cover of the pairs of a neuron and a point that it must miss. The second set cover
    begins where no pair is left for the first, and so on, so that a longer order leaves every
    neuron more choice.
    """
    n_tiles = len(patterns.sizes)
    which = np.unique(np.linspace(0, n_tiles - 1, _SAMPLE_TILES).astype(np.int64))
    columns = _columns(patterns, which, n_threads)
    masks = np.array([mask for cover in covers for mask in cover.masks])
    owners = [cover.code for cover in covers for _ in cover.masks]
    must_hit = _others(patterns, which, np.array(owners))
    usable = np.ascontiguousarray(unpacked(masks, len(columns)).T)
    order: list[int] = []
    for _ in range(_SET_COVERS):
        left = np.setdiff1d(np.arange(len(columns)), order)
        order += _set_cover(columns, left, must_hit.copy(), usable, n_threads)
    return np.array(order, np.int64)


def _set_cover(
    columns: np.ndarray, left: np.ndarray, missed: np.ndarray, usable: np.ndarray, n_threads: int
) -> list[int]:
    """Hyperplanes among ``left`` that hit what the neurons miss still, the most pairs first.

    Arguments as of ``kernels.columns.gains``; ``missed`` is written to.
    """
    counts = np.empty(len(left), np.int64)

    def count(task: tuple[int, int]) -> None:
        some = slice(*task)
        gains(columns, left[some], missed, usable, counts[some])

    run_tasks(count, ranges(len(left), _COUNTED_AT_ONCE), n_threads)
    chosen: list[int] = []
    # gains only fall: one that is still the largest when it is counted anew is the largest
    heap = [(-int(gain), int(h), 0) for gain, h in zip(counts, left, strict=True) if gain]
    heapq.heapify(heap)
    one, gain = np.empty(1, np.int64), np.empty(1, np.int64)
    while heap:
        _, h, counted_at = heapq.heappop(heap)
        if counted_at == len(chosen):
            chosen.append(h)
            strike(columns[h], missed, usable[h])
            continue
        one[0] = h
        gains(columns, one, missed, usable, gain)
        if gain[0]:
            heapq.heappush(heap, (-int(gain[0]), h, len(chosen)))
    return chosen


def thinned(layer: CoverLayer, patterns: Patterns, n: int, n_threads: int) -> CoverLayer:
    """Conjunctions of few hyperplanes, without those whose points others cover."""
    which = np.arange(len(patterns.sizes))
    columns = _columns(patterns, which, n_threads)
    masks = layer.masks.copy()

    def work(j: int) -> None:
        missed = _others(patterns, which, layer.owners[j : j + 1])[0]
        if not thin_mask(columns, missed, masks[j]):
            raise AssertionError("a neuron is on for a point of another class")

    run_tasks(work, range(len(layer)), n_threads)
    kept: list[int] = []
    for code in np.unique(layer.owners):
        kept += _needed(patterns, columns, masks, np.flatnonzero(layer.owners == code), int(code))
    return CoverLayer(masks[kept], np.ones(len(kept), np.int32), layer.owners[kept])


def without_unused(layer: CoverLayer, n: int) -> tuple[CoverLayer, np.ndarray]:
    """The layer on the hyperplanes that some mask uses, and which these are."""
    ones = unpacked(layer.masks, n)
    still = np.flatnonzero(ones.any(axis=0))
    return CoverLayer(packed(ones[:, still]), layer.thresholds, layer.owners), still


def _needed(
    patterns: Patterns, columns: np.ndarray, masks: np.ndarray, neurons: np.ndarray, code: int
) -> list[int]:
    """The needed ones of ``neurons``, all of one class, those that cover most first."""
    first, last = (TILE_WORDS * int(t) for t in patterns.first_tile[code : code + 2])
    own = _points_of(patterns, np.arange(first // TILE_WORDS, last // TILE_WORDS))
    on = np.tile(own, (len(neurons), 1))
    for points, mask in zip(on, masks[neurons], strict=True):
        inside(columns, first, last, mask, points)
    times = np.zeros(len(own) * WORD_BITS, np.int32)
    for points in on:
        times += unpacked(points[None], len(times))[0]
    sizes = np.bitwise_count(on).sum(axis=1)
    kept = []
    for j in np.argsort(sizes, kind="stable"):
        covers = unpacked(on[j : j + 1], len(times))[0]
        if (times[covers] > 1).all():
            times[covers] -= 1
        else:
            kept.append(int(neurons[j]))
    return kept[::-1]


def _columns(patterns: Patterns, which: np.ndarray, n_threads: int) -> np.ndarray:
    """The tiles ``which`` by hyperplane; see ``kernels.columns``."""
    tiles, sizes = patterns.tiles, patterns.sizes
    columns = np.empty((tiles.shape[1] * WORD_BITS, TILE_WORDS * len(which)), np.uint64)

    def work(task: tuple[int, int]) -> None:
        transpose_tiles(tiles, sizes, which, columns, *task)
        patterns.store.release(tiles[which[task[0]] : which[task[1] - 1] + 1])

    run_tasks(work, ranges(len(which), max(1, len(which) // (4 * n_threads))), n_threads)
    return columns


def _points_of(patterns: Patterns, which: np.ndarray) -> np.ndarray:
    """All points of the tiles ``which``, (3 len(which),) words."""
    return packed(np.arange(TILE) < patterns.sizes[which, None]).ravel()


def _others(patterns: Patterns, which: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """For each owner (a class) the points of other classes, (len(owners), 3 len(which)) words."""
    points = np.tile(_points_of(patterns, which), (len(owners), 1))
    code = np.searchsorted(patterns.first_tile, which, side="right") - 1
    points[owners[:, None] == np.repeat(code, TILE_WORDS)] = 0
    return points
