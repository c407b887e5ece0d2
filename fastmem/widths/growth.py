"""width="auto", complete=True: add hyperplanes until every point that must be covered can be.

A point x of a covered class is separated when no other class has a point whose pattern lies below
its own, that is when m(x) >= 1. Whatever a neuron covers is separated, so a random selection run
(``second_layer.selection``) decides it for a whole class at the price of its few neurons; and what
is separated stays so when rows are added. Each round therefore looks only at the points still open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.kernels.layout import WORD_BITS
from fastmem.network.report import GrowthStep
from fastmem.patterns.of_points import fill
from fastmem.patterns.words import new_tiles, rows_of, unpacked
from fastmem.problem import Problem
from fastmem.widths.first_layer import FirstLayer
from fastmem.widths.open_points import MANY, OpenPoints, look_at_all

_HELPS = 0.75
"""Random rows help if they leave at most this share of the failing points."""
_PAIRS = 1024
_PAIR_VALUES = 1 << 21
"""Values of the pairs' points at either end: they take no more than some 32 MB."""
_CANDIDATES = 4


class Separation(NamedTuple):
    """How far a first layer separates the classes.

    Attributes
    ----------
    steps : list of GrowthStep
    evaluations : int
        Counts made.
    left_out : int or None
        The one class that has points which cannot be covered, where one is to be left out, and all
        others can.
    """

    steps: list[GrowthStep]
    evaluations: int
    left_out: int | None


def separate(
    problem: Problem,
    layer: FirstLayer,
    seed: np.random.SeedSequence,
    progress: Callable[[int, int, int], object],
    members: Mapping[int, np.ndarray] | None = None,
) -> Separation:
    """Grow a first layer, and its patterns, until the problem's classes can be covered.

    Given ``members``, int32 numbers of points within their classes by code, only these points.

    Where one is to be left out, all but the one that is hardest to separate. Begins with the rows
    that are there, stops at ``max_width``.

    A width that was given and is to be completed has had its random rows: all others are targeted.

    Targeted rows pass between a point and the other point whose pattern lies below it: for every
    such pair a few candidates are made and the greedy choice of those that part most of the failing
    pairs is kept, so each round separates all pairs it sees.
    """
    generator = np.random.default_rng(seed.spawn(1)[0])
    kind = layer.source.kind
    layer.fill()
    if members is None:
        classes = [OpenPoints(layer.patterns, code) for code in problem.to_cover]
    else:
        classes = [OpenPoints(layer.patterns, *some) for some in members.items()]
    total = sum(len(c) for c in classes)
    steps: list[GrowthStep] = []
    evaluations = 0
    last_failing = np.inf
    while True:
        layer.fill()
        width = len(layer)
        some = [c for c in classes if len(c)]
        seeds = seed.spawn(len(some))
        evaluations += look_at_all(some, layer.patterns, width, seeds, problem.n_threads)
        needed = _without_the_hardest(classes) if problem.leave_one_out else classes
        open_points = sum(len(c) for c in needed)
        steps.append(GrowthStep(width, kind, open_points))
        progress(total - open_points, total, 0)
        left = problem.most_hyperplanes - width
        if open_points == 0 or left <= 0:
            hardest = [c.code for c in classes if c not in needed and len(c)]
            is_told = open_points == 0 and problem.leave_one_out
            return Separation(steps, evaluations, hardest[0] if is_told and hardest else None)
        failing = sum(c.failing for c in needed)
        size = min(left, max(WORD_BITS, width // 4 // WORD_BITS * WORD_BITS))
        helps = failing > MANY * total and failing <= _HELPS * last_failing
        if helps and not problem.settings.complete:
            kind = layer.source.kind
            layer.draw(size)
        else:
            kind = "targeted"
            layer.join(targeted_rows(problem, layer, needed, size, generator))
        last_failing = failing


def _without_the_hardest(classes: Sequence[OpenPoints]) -> list[OpenPoints]:
    hardest = max(classes, key=lambda c: (c.failing, c.code))
    return [c for c in classes if c is not hardest]


def targeted_rows(
    problem: Problem,
    layer: FirstLayer,
    classes: Sequence[OpenPoints],
    most: int,
    generator: np.random.Generator,
) -> Hyperplanes:
    """Rows that part failing pairs of ``classes``, at most ``most``.

    By greedy set cover over candidates. The layer's patterns say where the pairs' points are.
    """
    points, patterns, source, extent = problem.points, layer.patterns, layer.source, problem.extent
    pairs = [(c.code, low, high) for c in classes for low, high in c.pairs]
    if len(pairs) > _PAIRS:
        chosen = generator.choice(len(pairs), _PAIRS, replace=False)
        pairs = [pairs[i] for i in np.sort(chosen)]
    pairs = pairs[: max(1, _PAIR_VALUES // points.row_values)]
    n_targets = min(most, len(pairs), source.max_targets)
    codes, lows, highs = np.array(pairs, np.int64).T
    low_rows, high_rows = patterns.rows_of(codes, lows), patterns.rows_at(highs)
    points = points.at_hand(np.concatenate([low_rows, high_rows]))
    ends = np.stack([low_rows, high_rows], axis=1)[:n_targets]
    targets = (points.dense(pair).astype(np.float64) for pair in ends)
    trial = source.between(targets, generator, _CANDIDATES, extent.centre, extent.radius)
    parted = ~_bits(points.take(low_rows), trial) & _bits(points.take(high_rows), trial)
    left = np.ones(len(pairs), np.bool_)
    chosen_rows: list[int] = []
    while len(chosen_rows) < most and left[:n_targets].any():
        best = int(np.argmax(parted[left].sum(axis=0)))
        chosen_rows.append(best)
        left &= ~parted[:, best]
    return trial.subset(np.sort(np.array(chosen_rows)))


def _bits(block: np.ndarray, hyperplanes: Hyperplanes) -> np.ndarray:
    """Signs of a block of points, bool (len(block), n)."""
    tiles = new_tiles(len(block), hyperplanes.n_words)
    fill(hyperplanes, block, tiles)
    return unpacked(rows_of(tiles, len(block)), len(hyperplanes))
