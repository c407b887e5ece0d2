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

from collections.abc import Sequence

import numpy as np

from fastmem.hyperplanes.gaussian import RowSource
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.kernels.layout import TILE
from fastmem.network.report import Trial, n_parameters
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.words import unpacked
from fastmem.second_layer.class_cover import ClassCover
from fastmem.second_layer.cover_layer import CoverLayer
from fastmem.second_layer.selection import Selector, cover_layer, failed_rows
from fastmem.widths.open_points import OpenPoints
from fastmem.widths.thinning import (
    hyperplane_order,
    thinned,
    without_unused,
)

_SHRINK = 0.7
_WORTH = 0.9
"""Share of the parameters that a trial may leave: fewer hyperplanes take more neurons.

digits784-20k from n = 2,048: 350 hyperplanes and 418 neurons, 422,000 parameters; 245 and 555,
329,000; 172 and 870, 286,000; 130 and 1,285, 272,000, which is not worth it.
"""
_PAIRS = 4096
_CHOICE = 8
"""Hyperplanes to choose from, in least separating widths, where no width is given. digits784-20k:
105 hyperplanes and 1,966 neurons from 1, 146 and 871 from 8, 205 and 664 from 32."""
_START = 0.25
"""The search begins with this share of the hyperplanes in order; each trial takes 0.7 times as
many, or as few."""


def compact(
    first: Hyperplanes,
    patterns: Patterns,
    covers: list[ClassCover],
    selector: Selector,
    n_threads: int,
) -> tuple[Hyperplanes, CoverLayer, np.ndarray, list[Trial]]:
    """Both layers with as few parameters as the search finds; see the module's docstring.

    ``covers`` are those of the layer on all hyperplanes. Also returns the rows that cannot be
    covered, which are those of ``covers``, and what was tried.
    """
    codes = [cover.code for cover in covers]
    failed = failed_rows(covers)
    if not any(cover.width for cover in covers):
        # no point can be covered, and a layer has at least one hyperplane
        empty = cover_layer(covers)
        one = CoverLayer(empty.masks[:, :1], empty.thresholds, empty.owners)
        return first.subset(np.arange(1)), one, failed, []
    order = hyperplane_order(patterns, covers, n_threads)
    least = n_parameters(len(first), sum(cover.width for cover in covers), first.n_features)
    trials: list[Trial] = []
    best: tuple[np.ndarray, Patterns, list[ClassCover]] | None = None

    def improves(width: int) -> bool:
        nonlocal best, least
        kept, fewer = _separating(order[:width], len(first), patterns, covers, selector)
        chosen = selector.covers(fewer, first.subset(kept), codes)
        neurons = sum(cover.width for cover in chosen)
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
        best = kept, patterns.picked(kept, n_threads), covers
    kept, fewer, chosen = best
    layer = cover_layer(chosen)
    if not any(cover.margin for cover in chosen):
        layer = thinned(layer, fewer, len(kept), n_threads)
    layer, still = without_unused(layer, len(kept))
    return first.subset(kept[still]), layer, failed, trials


def more_to_choose_from(
    points: Points,
    first: Hyperplanes,
    patterns: Patterns,
    source: RowSource,
    max_width: int | None,
    n_threads: int,
) -> Hyperplanes:
    """The least separating layer and _CHOICE - 1 times as many more rows, and their patterns."""
    n = len(first)
    width = min(_CHOICE * n, max_width or 2**62)
    if width > n:
        first = source.more(first, width - n)
        patterns.fill(points, first, n_threads, n)
    return first


def _separating(
    chosen: np.ndarray, n: int, patterns: Patterns, covers: Sequence[ClassCover], selector: Selector
) -> tuple[np.ndarray, Patterns]:
    """Some of the n hyperplanes, among them ``chosen``, that separate what all n do.

    A few hundred hyperplanes that serve most pairs leave a few pairs unseparated; instead of ever
    more along the order, those that part these pairs are added, greedily. Returns them, ascending,
    and their patterns.
    """
    kept = np.sort(chosen)
    classes = []
    for cover in covers:
        some = OpenPoints(patterns, cover.code)
        some.members = np.setdiff1d(some.members, np.array(cover.failed, np.int32))
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
