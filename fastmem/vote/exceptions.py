"""Exceptions: cells that memorise the training points which a read-out gets wrong.

A cell is off on all training points of other classes, so that on training points its neuron only
raises their own class: what was right stays right. How much each must raise it follows from the
votes, neuron by neuron. All of it is of whole numbers, so the network is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.inputs.points import SomePoints
from fastmem.machine.clock import Clock
from fastmem.machine.threads import ranges
from fastmem.network.neurons_on import neurons_on
from fastmem.network.report import GrowthStep
from fastmem.patterns.by_class import Patterns
from fastmem.problem import Problem
from fastmem.second_layer.cover_layer import CoverLayer
from fastmem.second_layer.selection import Selector, cover_layer, failed_rows
from fastmem.widths.first_layer import FirstLayer
from fastmem.widths.growth import separate
from fastmem.widths.thinning import without_unused

_ON_BYTES = 32 << 20
_WIDTHS = ((16, 128), (64, 256))
"""Up to so many wrong points take so many hyperplanes, more take all. What narrow cells cost goes
with their number: make_classification with 10 % flips, 4,200 points, 100 neurons, gets 0.924 of
unseen points right with 512, 0.922 with 256 and 0.916 with 128; breast cancer and digits, with up
to 4, the same with each. A narrow layer takes less time to predict, and fewer bytes."""


class Exceptions(NamedTuple):
    """Layers that memorise some points.

    Attributes
    ----------
    first : Hyperplanes
    second : CoverLayer
    gains : ndarray of shape (m,), int64
        What each neuron adds to the votes of its class.
    unseparated : ndarray of int64
        Points, by row, that ``max_width`` has left without a cell.
    growth : list of GrowthStep
    evaluations, candidates, doubtful_bits, file_bytes, n_words : int
        As of `FitReport`.
    """

    first: Hyperplanes
    second: CoverLayer
    gains: np.ndarray
    unseparated: np.ndarray
    growth: list[GrowthStep]
    evaluations: int
    candidates: int
    doubtful_bits: int
    file_bytes: int
    n_words: int


def memorised(
    problem: Problem,
    gaps: np.ndarray,
    clock: Clock,
    tell: Callable[[str, int, int, int], object],
) -> Exceptions:
    """Memorise all points of a problem that votes get wrong, by `gaps_of` (N,) them."""
    codes = problem.codes.astype(np.int64)
    wrong = np.flatnonzero(gaps > 0)
    rows_seed, growth_seed, selection_seed = problem.settings.seed.spawn(3)
    if not len(wrong):
        return _none(problem)
    problem = replace(problem, settings=replace(problem.settings, covered="all"))
    settings = problem.settings
    layer = FirstLayer(problem, rows_seed)
    with clock.stage("hyperplanes"):
        assert settings.width is not None
        layer.start(min([settings.width, *[n for most, n in _WIDTHS if len(wrong) <= most]]))
    with clock.stage("patterns"):
        layer.fill(lambda *done: tell("patterns", *done))
    members = _numbers(layer.patterns, codes, wrong)
    with clock.stage("growth"):
        growth, evaluations, _ = separate(
            problem, layer, growth_seed, lambda *done: tell("hyperplanes", *done), members
        )
    with clock.stage("selection"):
        selector = Selector(
            settings.selection, settings.margin, True,
            selection_seed.spawn(len(problem.classes)), settings.n_threads,
            lambda *done: tell("neurons", *done),
        )  # fmt: skip
        covers = selector.covers(layer.patterns, layer.hyperplanes, list(members), members=members)
        second = cover_layer(covers)
        # a point is inside where it has no one of the mask: the least of the cells that cover it
        second = replace(second, thresholds=np.ones(len(second), np.int32))
        failed = failed_rows(covers)
    with clock.stage("gains"):
        kept = np.setdiff1d(wrong, failed)
        gains = gains_of(
            problem.points, kept, codes[kept], gaps[kept], layer.hyperplanes, second,
            problem.n_threads,
        )  # fmt: skip
        needed = gains > 0
        second = CoverLayer(second.masks[needed], second.thresholds[needed], second.owners[needed])
        first, second = _only_used(layer.hyperplanes, second)
    return Exceptions(
        first, second, gains[needed], failed, growth,
        evaluations + selector.evaluations, selector.candidates, layer.patterns.doubtful,
        layer.patterns.file_bytes, layer.patterns.n_words,
    )  # fmt: skip


def gaps_of(votes: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """How much each point's own class lacks to win: at most 0 where it does. (N,) int64.

    Of equal votes the first class wins.
    """
    rows = np.arange(len(codes))
    own = votes[rows, codes]
    others = votes.copy()
    others[rows, codes] = np.iinfo(np.int64).min
    rival = others.argmax(axis=1)
    return others[rows, rival] - own + (rival < codes)


def gains_of(
    points: Points,
    rows: np.ndarray,
    codes: np.ndarray,
    gaps: np.ndarray,
    first: Hyperplanes,
    second: CoverLayer,
    n_threads: int,
) -> np.ndarray:
    """What neurons must add so that all of some points get their own class, (m,) int64.

    rows, codes and gaps (R,) int64 of these points. Neuron after neuron adds what the points that
    it is on for still lack; 0 for one that is not needed any more.
    """
    gains = np.zeros(len(second), np.int64)
    for code in np.unique(codes):
        here = np.flatnonzero(codes == code)
        neurons = np.flatnonzero(second.owners == code)
        own = CoverLayer(second.masks[neurons], second.thresholds[neurons], second.owners[neurons])
        pairs = []
        for start, stop in ranges(len(here), max(1, _ON_BYTES // max(1, len(neurons)))):
            some = SomePoints(points, rows[here[start:stop]])
            which, places = np.nonzero(neurons_on(some, first, own, n_threads))
            pairs.append(np.stack([which, places + start]))
        which, places = np.concatenate(pairs, axis=1)
        order = np.argsort(which, kind="stable")
        which, places = which[order], places[order]
        bounds = np.searchsorted(which, np.arange(len(neurons) + 1))
        lacking = gaps[here].copy()
        for j, neuron in enumerate(neurons.tolist()):
            on = places[bounds[j] : bounds[j + 1]]
            gain = max(0, int(lacking[on].max(initial=0)))
            gains[neuron] = gain
            lacking[on] -= gain
    return gains


def _numbers(patterns: Patterns, codes: np.ndarray, rows: np.ndarray) -> dict[int, np.ndarray]:
    """Numbers of rows within their classes, int32, by code; of the classes that have any."""
    rank = np.empty(len(codes), np.int32)
    order = np.argsort(codes, kind="stable")
    rank[order] = np.arange(len(codes)) - patterns.starts[codes[order]]
    return {int(c): rank[rows[codes[rows] == c]] for c in np.unique(codes[rows])}


def _none(problem: Problem) -> Exceptions:
    first, second = _unused(problem.points.n_features)
    nothing = np.empty(0, np.int64)
    return Exceptions(first, second, nothing, nothing, [], 0, 0, 0, 0, first.n_words)


def _unused(d: int) -> tuple[Hyperplanes, CoverLayer]:
    """A first layer for no neurons: one row of zeros, which is on nowhere and takes no bytes."""
    first = Hyperplanes(np.zeros((1, d), np.float32), np.array([-1.0]), np.zeros(d), 0.0)
    masks, numbers = np.empty((0, first.n_words), np.uint64), np.empty(0, np.int32)
    return first, CoverLayer(masks, numbers, numbers)


def _only_used(first: Hyperplanes, second: CoverLayer) -> tuple[Hyperplanes, CoverLayer]:
    """Both layers without hyperplanes that no mask has, whose biases take room in a file."""
    if not len(second):
        return _unused(first.n_features)
    second, used = without_unused(second, len(first))
    return first.subset(used), second
