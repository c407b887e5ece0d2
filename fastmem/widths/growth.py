"""width="auto": add hyperplanes until every point that must be covered can be.

A point x of a covered class is separated when no other class has a point whose pattern lies below
its own, that is when m(x) >= 1. Whatever a neuron covers is separated, so a random selection run
(second_layer.py) decides it for a whole class at the price of its few neurons; and what is
separated stays so when rows are added. Each round therefore looks only at the points still open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fastmem.hyperplanes.extent import Extent
from fastmem.hyperplanes.gaussian import RowSource
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.kernels.layout import WORD_BITS
from fastmem.network.report import GrowthStep
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.passes import fill
from fastmem.patterns.words import new_tiles, rows_of, unpacked
from fastmem.widths.open_points import MANY, OpenPoints

_HELPS = 0.75
"""Random rows help if they leave at most this share of the failing points."""
_PAIRS = 1024
_CANDIDATES = 4


def separate(
    points: Points,
    patterns: Patterns,
    source: RowSource,
    extent: Extent,
    codes: Sequence[int],
    leave_one_out: bool,
    seed: np.random.SeedSequence,
    max_width: int | None,
    n_threads: int,
    progress: Callable[[int, int, int], object],
) -> tuple[Hyperplanes, list[GrowthStep], int]:
    """Grow the first layer, and ``patterns`` with it, until ``codes`` can be covered.

    With ``leave_one_out`` all but one of them (the one that is hardest to separate). Stops at
    ``max_width`` rows. Returns the hyperplanes, the steps and the counts made.

    Targeted rows pass between a point and the other point whose pattern lies below it: for every
    such pair a few candidates are made and the greedy choice of
    those that part most of the failing pairs is kept, so each round separates all pairs it sees.
    """
    generator = np.random.default_rng(seed.spawn(1)[0])
    hyperplanes = source.start(min(WORD_BITS, max_width or WORD_BITS), extent.mean, extent.radius)
    known = 0
    kind = source.kind
    classes = [OpenPoints(patterns, code) for code in codes]
    total = sum(len(c.members) for c in classes)
    steps: list[GrowthStep] = []
    evaluations = 0
    last_failing = np.inf
    while True:
        patterns.fill(points, hyperplanes, n_threads, known)
        known = len(hyperplanes)
        for c in classes:
            if len(c.members):
                evaluations += c.look(patterns, known, seed.spawn(1)[0], n_threads)
        needed = classes
        if leave_one_out:
            hardest = max(classes, key=lambda c: (c.failing, c.code))
            needed = [c for c in classes if c is not hardest]
        open_points = sum(len(c.members) for c in needed)
        steps.append(GrowthStep(known, kind, open_points))
        progress(total - open_points, total, 0)
        room = (max_width or 2**62) - known
        if open_points == 0 or room <= 0:
            return hyperplanes, steps, evaluations
        failing = sum(c.failing for c in needed)
        size = min(room, max(WORD_BITS, known // 4 // WORD_BITS * WORD_BITS))
        if failing > MANY * total and failing <= _HELPS * last_failing:
            kind = source.kind
            hyperplanes = source.more(hyperplanes, size)
        else:
            kind = "targeted"
            more = _targeted_rows(points, patterns, needed, size, source, extent, generator)
            hyperplanes = hyperplanes.joined(more)
        last_failing = failing


def _targeted_rows(
    points: Points,
    patterns: Patterns,
    classes: list[OpenPoints],
    most: int,
    source: RowSource,
    extent: Extent,
    generator: np.random.Generator,
) -> Hyperplanes:
    """Rows that part failing pairs, at most ``most``: greedy set cover over candidates."""
    pairs = [(c.code, low, high) for c in classes for low, high in c.pairs]
    if len(pairs) > _PAIRS:
        chosen = generator.choice(len(pairs), _PAIRS, replace=False)
        pairs = [pairs[i] for i in np.sort(chosen)]
    # so many pairs that they take no more than some 32 MB
    pairs = pairs[: max(1, 2**21 // points.row_values)]
    n_targets = min(most, len(pairs), source.max_targets)
    low_rows = np.array([patterns.rows(code, np.array(low)) for code, low, _ in pairs])
    high_rows = patterns.rows_at(np.array([high for _, _, high in pairs]))
    targets = list(zip(low_rows[:n_targets], high_rows[:n_targets], strict=True))
    ends = (points.dense(np.array(pair)).astype(np.float64) for pair in targets)
    trial = source.between(ends, generator, _CANDIDATES, extent.mean, extent.radius)
    parted = ~_bits(points.take(low_rows), trial) & _bits(points.take(high_rows), trial)
    left = np.ones(len(pairs), np.bool_)
    chosen_rows: list[int] = []
    while len(chosen_rows) < most and left[:n_targets].any():
        best = int(np.argmax(parted[left].sum(axis=0)))
        chosen_rows.append(best)
        left &= ~parted[:, best]
    return trial.subset(np.sort(np.array(chosen_rows)))


def _bits(block: np.ndarray, hyperplanes: Hyperplanes) -> np.ndarray:
    tiles = new_tiles(len(block), hyperplanes.n_words)
    fill(hyperplanes, block, tiles)
    return unpacked(rows_of(tiles, len(block)), len(hyperplanes))
