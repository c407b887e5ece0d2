"""width="auto": add hyperplanes until every point that must be covered can be.

A point x of a covered class is separated when no other class has a point whose pattern lies below
its own, that is when m(x) >= 1. Whatever a neuron covers is separated, so a random selection run
(second_layer.py) decides it for a whole class at the price of its few neurons; and what is
separated stays so when rows are added. Each round therefore looks only at the points still open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fastmem.blocks import Block, least_counts
from fastmem.frame import Extent
from fastmem.hyperplanes import Hyperplanes, RowSource
from fastmem.inputs import Points
from fastmem.kernels.bits import WORD_BITS
from fastmem.patterns import Patterns, new_tiles, rows_of, unpacked

_PROBE = 256
"""Open points of a class looked at before a whole run over it: while most of them fail, the run
would only find that out again, one sweep a point."""
_MANY = 0.05
"""Share of failing points above which random rows are added as long as they help."""
_HELPS = 0.75
"""Random rows help if they leave at most this share of the failing points."""
_PAIRS = 1024
_CANDIDATES = 4


@dataclass(frozen=True)
class GrowthStep:
    """One round of growth: what was added, and what was open after it.

    Attributes
    ----------
    width : int
        Hyperplanes after the step.
    kind : {"gaussian", "structured", "targeted"}
        How its rows were chosen.
    open_points : int
        Points of the classes to cover that are not known to be separated after it.
    """

    width: int
    kind: str
    open_points: int


class OpenPoints:
    """The points of one class that are not known to be separated, and pairs that fail.

    Attributes
    ----------
    members : ndarray of int32
        These points, by their numbers within the class.
    failing : int
        How many of them fail, as far as is known.
    pairs : list of (int, int)
        Points that fail and, for each, the position in all patterns of one whose pattern lies
        below its own.
    """

    def __init__(self, patterns: Patterns, code: int) -> None:
        self.code = code
        self.members = np.arange(patterns.class_size(code), dtype=np.int32)
        self.failing = len(self.members)
        self.pairs: list[tuple[int, int]] = []

    def look(self, patterns: Patterns, width: int, seed, n_threads: int) -> int:
        """Find out which members are separated; returns the counts made."""
        block = Block(
            patterns, width, self.code, np.random.default_rng(seed), n_threads, self.members
        )
        probe = block.next_candidates(_PROBE)
        least, nearest = least_counts([block] * len(probe), block.masks_of(probe))
        fails = np.flatnonzero(least == 0)
        share = len(fails) / len(probe)
        if share > _MANY:
            self.failing = int(np.ceil(share * len(self.members)))
            self.pairs = [(int(block.members[probe[i]]), int(nearest[i])) for i in fails]
            return block.evaluations
        while not block.done:
            block.step_random()
        self.members = np.sort(np.array(block.failed, np.int32))
        self.failing = len(self.members)
        self.pairs = list(zip(block.failed, block.witnesses, strict=True))
        return block.evaluations


def separate(
    points: Points,
    patterns: Patterns,
    rows: RowSource,
    where: Extent,
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

    Targeted rows pass between a point and the other point whose pattern lies below it (DESIGN's
    targeted completion): for every such pair a few candidates are made and the greedy choice of
    those that part most of the failing pairs is kept, so each round separates all pairs it sees.
    """
    generator = np.random.default_rng(seed.spawn(1)[0])
    hyperplanes = rows.start(min(WORD_BITS, max_width or WORD_BITS), where.mean, where.radius)
    known = 0
    kind = rows.kind
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
        if failing > _MANY * total and failing <= _HELPS * last_failing:
            kind = rows.kind
            hyperplanes = rows.more(hyperplanes, size)
        else:
            kind = "targeted"
            more = _targeted_rows(points, patterns, needed, size, rows, where, generator)
            hyperplanes = hyperplanes.joined(more)
        last_failing = failing


def _targeted_rows(
    points: Points,
    patterns: Patterns,
    classes: list[OpenPoints],
    most: int,
    rows: RowSource,
    where: Extent,
    generator: np.random.Generator,
) -> Hyperplanes:
    """Rows that part failing pairs, at most ``most``: greedy set cover over candidates."""
    pairs = [(c.code, low, high) for c in classes for low, high in c.pairs]
    if len(pairs) > _PAIRS:
        chosen = generator.choice(len(pairs), _PAIRS, replace=False)
        pairs = [pairs[i] for i in np.sort(chosen)]
    # so many pairs that they take no more than some 32 MB
    pairs = pairs[: max(1, 2**21 // points.row_values)]
    n_targets = min(most, len(pairs), rows.max_targets)
    low_rows = np.array([patterns.rows(code, np.array(low)) for code, low, _ in pairs])
    high_rows = patterns.rows_at(np.array([high for _, _, high in pairs]))
    targets = list(zip(low_rows[:n_targets], high_rows[:n_targets], strict=True))
    trial = rows.between(points, targets, generator, _CANDIDATES, where.mean, where.radius)
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
    hyperplanes.fill(block, tiles)
    return unpacked(rows_of(tiles, len(block)), len(hyperplanes))
