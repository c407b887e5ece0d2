"""scale="auto": whether powers of two, one a feature, make the points easier to separate.

Neither always does: of scikit-learn's digits the pixels that hardly vary are the least telling, and
scaling blows them up; in tables of several units the one with the largest numbers drowns all
others. So a sample of the training points is separated both ways, and the points are scaled only
where that takes clearly fewer hyperplanes.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import median_low

import numpy as np

from fastmem.hyperplanes.extent import extent_of
from fastmem.inputs import Points, exponents_of, spread_scale
from fastmem.inputs.contradictions import settled
from fastmem.inputs.equal_rows import equal_rows
from fastmem.inputs.points import SomePoints
from fastmem.kernels.layout import WORD_BITS
from fastmem.machine.clock import Clock
from fastmem.network.report import Scaling
from fastmem.problem import Problem
from fastmem.second_layer.random_order import MOST_SHUFFLED
from fastmem.widths.first_layer import FirstLayer
from fastmem.widths.growth import separate

SAMPLE = 1000
"""Points that are separated both ways."""
RUNS = 3
"""Times that is done each way, until most agree: one width may be twice another by chance."""
ALIKE = 3
"""Exponents of the features may differ by so many: a factor of 8 between their spreads."""
PAYS = 0.8
"""Points are scaled where that takes at most so large a share of the hyperplanes: between that and
1 lie chance, and data whose least telling features grow (`python -m bench.scaling_study`)."""
_LOOKED_AT = 1 << 18
"""Points among which the sample is taken where they are too many to be shuffled. Each class has its
share, if it has a point in some 100,000."""
_SEED = 0x5CA1E
"""Key of the sample's random numbers, apart from those of the fit."""


def chosen_scale(problem: Problem, clock: Clock) -> tuple[Problem, Scaling]:
    """Scale a problem's points where "auto" finds that it pays; other problems stay as they are.

    What is measured is a stage of the clock.
    """
    asked = problem.settings.scale
    if not problem.measures_scale:
        name = asked if isinstance(asked, str) else "given"
        kept = None if problem.scale is None else tuple(exponents_of(problem.scale))
        return problem, Scaling(name, kept)
    seed = np.random.SeedSequence(problem.settings.seed.entropy, spawn_key=(_SEED,))
    rows_seed, *seeds = seed.spawn(1 + 2 * RUNS)
    raw = _sample(problem, np.random.default_rng(rows_seed))
    if raw is None:
        return problem, Scaling("auto")
    scale = spread_scale(raw.points)
    exponents = exponents_of(scale)
    if max(exponents) - min(exponents) <= ALIKE:
        return problem, Scaling("auto")
    with clock.stage("scale"):
        scaled = raw.times(scale)
        widths: list[tuple[int, int]] = []
        pays = [0, 0]  # runs in which it does not, and does
        while 2 * max(pays) < RUNS:
            width, _ = _separating_width(scaled, seeds.pop(), None)
            # no more hyperplanes are drawn than it takes to know
            unscaled, is_separated = _separating_width(raw, seeds.pop(), math.ceil(width / PAYS))
            widths.append((unscaled, width))
            pays[not is_separated] += 1
        without, with_it = map(median_low, zip(*widths, strict=True))
        if pays[0] > pays[1]:
            return problem, Scaling("auto", None, without, with_it)
        problem = problem.times(spread_scale(problem.points))
    assert problem.scale is not None
    return problem, Scaling("auto", tuple(exponents_of(problem.scale)), without, with_it)


def _sample(problem: Problem, generator: np.random.Generator) -> Problem | None:
    """Some of the points, of each class its share, without contradictions; None if of one class."""
    n_samples = problem.points.n_samples
    if n_samples > MOST_SHUFFLED:
        rows = generator.permutation(np.unique(generator.integers(n_samples, size=_LOOKED_AT)))
    else:
        rows = generator.permutation(n_samples)
    codes = problem.codes[rows]
    if len(rows) > SAMPLE:
        order = np.argsort(codes, kind="stable")  # each class's rows, shuffled
        counts = np.bincount(codes, minlength=len(problem.classes))
        share = np.minimum(counts, np.maximum(2, counts * SAMPLE // len(rows)))
        starts = np.cumsum(counts) - counts
        chosen = np.concatenate([order[a : a + n] for a, n in zip(starts, share, strict=True)])
        rows, codes = rows[chosen], codes[chosen]
    order = np.argsort(rows)
    rows, codes = rows[order], codes[order]
    points: Points = SomePoints(problem.points, rows)
    if not points.is_sparse:
        points = Points(problem.points.take(rows))
    agreed = settled(equal_rows(points, problem.n_threads), codes)
    known, places = np.unique(agreed, return_inverse=True)
    if len(known) < 2:
        return None
    settings = replace(
        problem.settings, width=None, smallest=False, covered="auto", margin=0.0, compact=False,
        max_width=None, max_bias=None, biases="auto", memory_limit=None,
    )  # fmt: skip
    return Problem(
        points, known, places.astype(codes.dtype), settings,
        extent_of(points, problem.n_threads), problem.shape._replace(
            n_samples=len(rows), row_values=points.row_values,
            n_classes=len(known), budget_bytes=None,
        ),
        problem.given,
    )  # fmt: skip


def _separating_width(
    problem: Problem, seed: np.random.SeedSequence, most: int | None
) -> tuple[int, bool]:
    """Hyperplanes that separate all points of a problem, or ``most``; and whether they do."""
    rows_seed, growth_seed = seed.spawn(2)
    problem = replace(problem, settings=replace(problem.settings, max_width=most))
    layer = FirstLayer(problem, rows_seed)
    layer.start(min(WORD_BITS, problem.most_hyperplanes))
    steps = separate(problem, layer, growth_seed, lambda done, total, neurons: None).steps
    return len(layer), steps[-1].open_points == 0
