"""compact=True: as few hyperplanes as pay, and masks with as few ones as will do.

1. Hyperplanes are put in order by what the neurons of the full layer need: greedy set cover of all
   pairs (neuron, point of another class that it must miss), lazily evaluated (Minoux 1978).
2. The second layer is chosen anew on the first k of them, and on the few others that the last pairs
   of points need, for several k; the k with the fewest parameters in all stays. On digits784-20k,
   n = 2,048: 248 neurons on all hyperplanes, 325 on the first 512, 527 on the first 256, where 512
   and 256 random ones take 560 and 1,026.
3. Without a margin every cell is a conjunction, count < 1. Of its mask only hyperplanes stay that
   are needed to hit every point of other classes (greedy set cover): the cell can only grow.
   Neurons all of whose points others cover by then, and hyperplanes in no mask, go.

The guarantee is untouched: in step 2 by the selection itself, on hyperplanes that separate all
points that were separated before; in step 3 because a cell keeps its points and every point of
another class keeps at least one one in the mask.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastmem.blocks import Block
from fastmem.growth import OpenPoints
from fastmem.hyperplanes import Hyperplanes, RowSource
from fastmem.inputs import Points
from fastmem.kernels.bits import WORD_BITS
from fastmem.kernels.columns import TILE_WORDS, gains, inside, strike, thin, turn
from fastmem.kernels.signs import TILE
from fastmem.kernels.threads import ranges, run_tasks
from fastmem.patterns import Patterns, packed, unpacked
from fastmem.second_layer import CoverLayer, Selector, cover_layer, failed_rows

_SAMPLE_TILES = 96
"""Tiles of points, 18,432 points, by which hyperplanes are put in order."""
_SHRINK = 0.7
_WORTH = 0.9
"""Share of the parameters that a trial may leave: fewer hyperplanes take more neurons.

digits784-20k from n = 2,048: 350 hyperplanes and 418 neurons, 422,000 parameters; 245 and 555,
329,000; 172 and 870, 286,000; 130 and 1,285, 272,000, which is not worth it.
"""
_COVERS = 4
_PAIRS = 4096
_CHOICE = 8
"""Hyperplanes to choose from, in least separating widths, where no width is given. digits784-20k:
105 hyperplanes and 1,966 neurons from 1, 146 and 871 from 8, 205 and 664 from 32."""
_START = 0.25
"""The search begins with this share of the hyperplanes in order; each trial takes 0.7 times as
many, or as few."""


@dataclass(frozen=True)
class Trial:
    """One width that was tried: hyperplanes, neurons and parameters of the network.

    Attributes
    ----------
    width, neurons, n_parameters : int
        As ``Network.widths`` and ``Network.n_parameters``.
    """

    width: int
    neurons: int
    n_parameters: int


def n_parameters(width: int, neurons: int, n_features: int) -> int:
    """Weights and biases of all three layers: n (d + 1) + m (n + 1) + m."""
    return width * (n_features + 1) + neurons * (width + 2)


def compact(
    first: Hyperplanes, patterns: Patterns, blocks: list[Block], selector: Selector, n_threads: int
) -> tuple[Hyperplanes, CoverLayer, np.ndarray, list[Trial]]:
    """Both layers with as few parameters as the search finds; see the module's docstring.

    ``blocks`` are those of the layer on all hyperplanes. Also returns the rows that cannot be
    covered, which are those of ``blocks``, and what was tried.
    """
    codes = [block.code for block in blocks]
    failed = failed_rows(blocks)
    if not any(block.width for block in blocks):
        # no point can be covered, and a layer has at least one hyperplane
        empty = cover_layer(blocks)
        one = CoverLayer(empty.masks[:, :1], empty.thresholds, empty.owners)
        return first.subset(np.arange(1)), one, failed, []
    order = hyperplane_order(patterns, blocks, n_threads)
    least = n_parameters(len(first), sum(block.width for block in blocks), first.n_features)
    trials: list[Trial] = []
    best: tuple[np.ndarray, Patterns, list[Block]] | None = None

    def improves(width: int) -> bool:
        nonlocal best, least
        kept, fewer = _separating(order[:width], len(first), patterns, blocks, selector)
        chosen = selector.blocks(fewer, first.subset(kept), codes)
        neurons = sum(block.width for block in chosen)
        size = n_parameters(len(kept), neurons, first.n_features)
        trials.append(Trial(len(kept), neurons, size))
        if size > _WORTH * least:
            return False
        best, least = (kept, fewer, chosen), size
        return True

    start = width = max(1, round(_START * len(order)))
    while improves(width) and width > 1:
        width = max(1, int(_SHRINK * width))
    if len(trials) <= 2:
        # fewer were no better than the first: perhaps more are
        width = start
        while width < len(order):
            width = min(len(order), int(np.ceil(width / _SHRINK)))
            if not improves(width):
                break
    if best is None:
        kept = np.arange(len(first))
        best = kept, patterns.picked(kept, n_threads), blocks
    kept, fewer, chosen = best
    layer = cover_layer(chosen)
    if not any(block.margin for block in chosen):
        layer = _thinned(layer, fewer, len(kept), n_threads)
    layer, still = _without_unused(layer, len(kept))
    return first.subset(kept[still]), layer, failed, trials


def more_to_choose_from(
    points: Points,
    first: Hyperplanes,
    patterns: Patterns,
    rows: RowSource,
    max_width: int | None,
    n_threads: int,
) -> Hyperplanes:
    """The least separating layer and _CHOICE - 1 times as many more rows, and their patterns."""
    n = len(first)
    width = min(_CHOICE * n, max_width or 2**62)
    if width > n:
        first = rows.more(first, width - n)
        patterns.fill(points, first, n_threads, n)
    return first


def _separating(
    chosen: np.ndarray, n: int, patterns: Patterns, blocks: Sequence[Block], selector: Selector
) -> tuple[np.ndarray, Patterns]:
    """Some of the n hyperplanes, among them ``chosen``, that separate what all n do.

    A few hundred hyperplanes that serve most pairs leave a few pairs unseparated; instead of ever
    more along the order, those that part these pairs are added, greedily. Returns them, ascending,
    and their patterns.
    """
    kept = np.sort(chosen)
    classes = []
    for block in blocks:
        some = OpenPoints(patterns, block.code)
        some.members = np.setdiff1d(some.members, np.array(block.failed, np.int32))
        classes.append(some)
    while True:
        fewer = patterns.picked(kept, selector.n_threads)
        pairs = []
        for some in classes:
            if len(some.members):
                seed = selector.seeds[some.code]
                selector.evaluations += some.look(fewer, len(kept), seed, selector.n_threads)
                start = int(patterns.first_tile[some.code]) * TILE
                pairs += [(start + low, high) for low, high in some.pairs]
        if not any(len(some.members) for some in classes):
            return kept, fewer
        low, high = np.array(pairs[:_PAIRS], np.int64).T
        parts = ~_bits_at(patterns, low, n) & _bits_at(patterns, high, n)
        more: list[int] = []
        while len(parts):
            more.append(int(parts.sum(axis=0).argmax()))
            parts = parts[~parts[:, more[-1]]]
        kept = np.union1d(kept, more)


def _bits_at(patterns: Patterns, positions: np.ndarray, n: int) -> np.ndarray:
    """Bits of the patterns at ``positions``, bool (len(positions), n)."""
    words = patterns.tiles[positions // TILE, :, positions % TILE]
    return unpacked(words, n)


def hyperplane_order(patterns: Patterns, blocks: Sequence[Block], n_threads: int) -> np.ndarray:
    """Hyperplanes, those that the neurons of ``blocks`` need most first; int64.

    Four covers after one another: the second begins where no pair is left for the first, and so
    on, so that a longer order leaves every neuron more choice.
    """
    n_tiles = len(patterns.sizes)
    which = np.unique(np.linspace(0, n_tiles - 1, _SAMPLE_TILES).astype(np.int64))
    columns = _columns(patterns, which, n_threads)
    masks = np.array([mask for block in blocks for mask in block.masks])
    owners = [block.code for block in blocks for _ in block.masks]
    must_hit = _others(patterns, which, np.array(owners))
    n = len(columns)
    usable = np.ascontiguousarray(unpacked(masks, n).T)
    order: list[int] = []
    for _ in range(_COVERS):
        missed = must_hit.copy()
        left = np.setdiff1d(np.arange(n), order)
        total = np.empty(len(left), np.int64)

        def count(
            task: tuple[int, int],
            left: np.ndarray = left,
            total: np.ndarray = total,
            missed: np.ndarray = missed,
        ) -> None:
            some = slice(*task)
            gains(columns, left[some], missed, usable, total[some])

        run_tasks(count, ranges(len(left), 64), n_threads)
        # gains only fall: one that is still the largest when it is counted anew is the largest
        heap = [(-int(g), int(h), len(order)) for g, h in zip(total, left, strict=True) if g]
        heapq.heapify(heap)
        one, gain = np.empty(1, np.int64), np.empty(1, np.int64)
        while heap:
            _, h, stamp = heapq.heappop(heap)
            if stamp == len(order):
                order.append(h)
                strike(columns[h], missed, usable[h])
                continue
            one[0] = h
            gains(columns, one, missed, usable, gain)
            if gain[0]:
                heapq.heappush(heap, (-int(gain[0]), h, len(order)))
    return np.array(order, np.int64)


def _columns(patterns: Patterns, which: np.ndarray, n_threads: int) -> np.ndarray:
    """The tiles ``which`` by hyperplane; see ``kernels.columns``."""
    tiles, sizes = patterns.tiles, patterns.sizes
    columns = np.empty((tiles.shape[1] * WORD_BITS, TILE_WORDS * len(which)), np.uint64)

    def work(task: tuple[int, int]) -> None:
        turn(tiles, sizes, which, columns, *task)
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


def _thinned(layer: CoverLayer, patterns: Patterns, n: int, n_threads: int) -> CoverLayer:
    """Conjunctions of few hyperplanes, without those whose points others cover."""
    which = np.arange(len(patterns.sizes))
    columns = _columns(patterns, which, n_threads)
    masks = layer.masks.copy()

    def work(j: int) -> None:
        missed = _others(patterns, which, layer.owners[j : j + 1])[0]
        if not thin(columns, missed, masks[j]):
            raise AssertionError("a neuron is on for a point of another class")

    run_tasks(work, range(len(layer)), n_threads)
    kept: list[int] = []
    for code in np.unique(layer.owners):
        kept += _needed(patterns, columns, masks, np.flatnonzero(layer.owners == code), int(code))
    return CoverLayer(masks[kept], np.ones(len(kept), np.int32), layer.owners[kept])


def _needed(
    patterns: Patterns, columns: np.ndarray, masks: np.ndarray, block: np.ndarray, code: int
) -> list[int]:
    """Neurons of a block, those that cover most first, without those that are not needed."""
    first, last = (TILE_WORDS * int(t) for t in patterns.first_tile[code : code + 2])
    own = _points_of(patterns, np.arange(first // TILE_WORDS, last // TILE_WORDS))
    on = np.tile(own, (len(block), 1))
    for points, mask in zip(on, masks[block], strict=True):
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
            kept.append(int(block[j]))
    return kept[::-1]


def _without_unused(layer: CoverLayer, n: int) -> tuple[CoverLayer, np.ndarray]:
    """The layer on the hyperplanes that some mask uses, and which these are."""
    ones = unpacked(layer.masks, n)
    still = np.flatnonzero(ones.any(axis=0))
    return CoverLayer(packed(ones[:, still]), layer.thresholds, layer.owners), still
