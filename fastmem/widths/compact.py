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

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.kernels.layout import TILE
from fastmem.network.report import Trial, n_parameters
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.words import unpacked
from fastmem.problem import Problem
from fastmem.second_layer.cover import Cover
from fastmem.second_layer.cover_layer import CoverLayer
from fastmem.second_layer.selection import Selector, cover_layer
from fastmem.widths.first_layer import FirstLayer
from fastmem.widths.open_points import OpenPoints
from fastmem.widths.thinning import hyperplane_order, thinned, without_unused

_SHRINK = 0.7
_WORTH = 0.9
"""Share of the parameters that a trial may leave: fewer hyperplanes take more neurons.

digits784-20k from n = 2,048: 350 hyperplanes and 418 neurons, 422,000 parameters; 245 and 555,
329,000; 172 and 870, 286,000; 130 and 1,285, 272,000, which is not worth it.
"""
_PAIRS = 4096
"""Unseparated pairs for which hyperplanes are chosen at a time."""
_CHOICE = 8
"""Hyperplanes to choose from, in least separating widths, where no width is given. digits784-20k:
105 hyperplanes and 1,966 neurons from 1, 146 and 871 from 8, 205 and 664 from 32."""
_START = 0.25
"""The search begins with this share of the hyperplanes in order; each trial takes _SHRINK times as
many as the last, or, where that was no better, divides by it."""


class Found(NamedTuple):
    """Some of a layer's hyperplanes, their patterns, and a second layer that was chosen on them."""

    kept: np.ndarray  # ascending, int64
    patterns: Patterns
    covers: list[Cover]


class Search:
    """The search for as few hyperplanes as pay.

    Parameters
    ----------
    layer : FirstLayer
        All hyperplanes that there are to choose from.
    covers : list of Cover
        The second layer on all of them.
    selector : Selector
        What chooses all others.

    Attributes
    ----------
    best : Found or None
        What leaves the fewest parameters of all that has been tried; None while nothing is worth
        it.
    trials : list of Trial
    """

    def __init__(self, layer: FirstLayer, covers: list[Cover], selector: Selector) -> None:
        self._layer, self._covers, self._selector = layer, covers, selector
        self._order = hyperplane_order(layer.patterns, covers, selector.n_threads)
        self._codes = [cover.code for cover in covers]
        self._least = self._parameters(len(layer), covers)
        self.best: Found | None = None
        self.trials: list[Trial] = []

    def run(self) -> None:
        """Try fewer and fewer hyperplanes, and more where fewer were no better than the first."""
        most = len(self._order)
        start = width = max(1, round(_START * most))
        while self._improves(width) and width > 1:
            width = max(1, int(_SHRINK * width))
        if len(self.trials) <= 2:
            width = start
            while width < most:
                width = min(most, math.ceil(width / _SHRINK))
                if not self._improves(width):
                    break

    def _improves(self, width: int) -> bool:
        """Choose a second layer on the first ``width`` hyperplanes; keep it if it is worth it."""
        layer, selector = self._layer, self._selector
        chosen = self._order[:width]
        kept, fewer = _separating(chosen, len(layer), layer.patterns, self._covers, selector)
        covers = selector.covers(fewer, layer.hyperplanes.subset(kept), self._codes)
        size = self._parameters(len(kept), covers)
        self.trials.append(Trial(len(kept), sum(cover.width for cover in covers), size))
        if size > _WORTH * self._least:
            return False
        self.best, self._least = Found(kept, fewer, covers), size
        return True

    def _parameters(self, width: int, covers: Sequence[Cover]) -> int:
        neurons = sum(cover.width for cover in covers)
        return n_parameters(width, neurons, self._layer.hyperplanes.n_features)


def compact(
    layer: FirstLayer, covers: list[Cover], selector: Selector
) -> tuple[Hyperplanes, CoverLayer, list[Trial]]:
    """Both layers with as few parameters as the search finds; see the module's docstring.

    ``covers`` are those of the second layer on all hyperplanes of ``layer``: what they cannot cover
    the new second layer cannot either. Also returns what was tried.
    """
    first, n_threads = layer.hyperplanes, selector.n_threads
    if not any(cover.width for cover in covers):
        # no point can be covered, and a layer has at least one hyperplane
        empty = cover_layer(covers)
        one = CoverLayer(empty.masks[:, :1], empty.thresholds, empty.owners)
        return first.subset(np.arange(1)), one, []
    search = Search(layer, covers, selector)
    search.run()
    best = search.best
    if best is None:
        every = np.arange(len(first))
        best = Found(every, layer.patterns.picked(every, n_threads), covers)
    second = cover_layer(best.covers)
    if not any(cover.margin for cover in best.covers):
        second = thinned(second, best.patterns, len(best.kept), n_threads)
    second, still = without_unused(second, len(best.kept))
    return first.subset(best.kept[still]), second, search.trials


def more_to_choose_from(problem: Problem, layer: FirstLayer) -> None:
    """Add _CHOICE - 1 times as many more hyperplanes to the least separating ones."""
    width = min(_CHOICE * len(layer), problem.most_hyperplanes)
    if width > len(layer):
        layer.draw(width - len(layer))
        layer.fill()


def _separating(
    chosen: np.ndarray, n: int, patterns: Patterns, covers: Sequence[Cover], selector: Selector
) -> tuple[np.ndarray, Patterns]:
    """Some of the n hyperplanes, among them ``chosen``, that separate what all n do.

    A few hundred hyperplanes that serve most pairs leave a few pairs unseparated; instead of ever
    more along the order, those that part these pairs are added, greedily. Returns them, ascending,
    and their patterns.
    """
    n_threads = selector.n_threads
    kept = np.sort(chosen)
    classes = []
    for cover in covers:
        numbers = np.arange(patterns.class_size(cover.code), dtype=np.int32)
        separated = np.setdiff1d(numbers, np.array(cover.failed, np.int32))
        classes.append(OpenPoints(patterns, cover.code, separated))
    while True:
        fewer = patterns.picked(kept, n_threads)
        pairs = []
        for c in classes:
            if len(c):
                selector.evaluations += c.look(fewer, len(kept), selector.seeds[c.code], n_threads)
                start = int(patterns.first_tile[c.code]) * TILE
                pairs += [(start + low, high) for low, high in c.pairs]
        if not any(len(c) for c in classes):
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
