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
from fastmem.machine.clock import Clock
from fastmem.network.report import GrowthStep
from fastmem.problem import Problem
from fastmem.second_layer.cover_layer import CoverLayer
from fastmem.second_layer.selection import Selector, cover_layer, failed_rows
from fastmem.vote.elsewhere import Misread, numbers_of, pairs_on, votes_of
from fastmem.widths.first_layer import FirstLayer
from fastmem.widths.growth import separate
from fastmem.widths.thinning import without_unused

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
    wrong: Misread,
    clock: Clock,
    tell: Callable[[str, int, int, int], object],
    make_layer: Callable[[Problem, np.random.SeedSequence], FirstLayer] = FirstLayer,
) -> Exceptions:
    """Memorise the points of a problem that votes get wrong."""
    rows_seed, growth_seed, selection_seed = problem.settings.seed.spawn(3)
    if not len(wrong.rows):
        return _none(problem)
    problem = replace(problem, settings=replace(problem.settings, covered="all"))
    settings = problem.settings
    layer = make_layer(problem, rows_seed)
    with clock.stage("hyperplanes"):
        assert settings.width is not None
        layer.start(min([settings.width, *[n for most, n in _WIDTHS if len(wrong.rows) <= most]]))
    with clock.stage("patterns"):
        layer.fill(lambda *done: tell("patterns", *done))
    members = _members(problem, wrong)
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
        is_kept = ~np.isin(wrong.rows, failed)
        gains = gains_of(
            problem.points, Misread(*(some[is_kept] for some in wrong)), layer.hyperplanes, second,
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


def gains_of(
    points: Points, wrong: Misread, first: Hyperplanes, second: CoverLayer, n_threads: int
) -> np.ndarray:
    """What neurons must add so that all of some points get their own class, (m,) int64.

    Neuron after neuron adds what the points that it is on for still lack; 0 for one that is not
    needed any more.
    """
    there = votes_of(points)
    if there is not None:
        neurons, places = there.pairs_on(wrong, first, second)
    else:
        neurons, places = pairs_on(points, wrong, first, second, n_threads)
    order = np.argsort(neurons, kind="stable")
    bounds = np.searchsorted(neurons[order], np.arange(len(second) + 1))
    places = places[order]
    gains, lacking = np.zeros(len(second), np.int64), wrong.gaps.copy()
    for neuron in range(len(second)):
        on = places[bounds[neuron] : bounds[neuron + 1]]
        gains[neuron] = lacking[on].max(initial=0)
        lacking[on] -= gains[neuron]
    return gains


def _members(problem: Problem, wrong: Misread) -> dict[int, np.ndarray]:
    """Numbers of points within their classes, int32, by code; of the classes that have any."""
    there = votes_of(problem.points)
    if there is not None:
        numbers = there.numbers(wrong.rows)
    else:
        numbers = numbers_of(problem.codes, wrong.rows)
    numbers = numbers.astype(np.int32)
    return {int(code): numbers[wrong.codes == code] for code in np.unique(wrong.codes)}


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
