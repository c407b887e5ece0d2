"""decision="vote": a read-out that predicts, and cells that memorise what it gets wrong.

The grid, the scale of the features, their number and the penalty are chosen by leave-one-out errors
of training points (`ridge`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastmem.inputs import Points, exactly_scaled, exponents_of, spread_scale
from fastmem.machine.clock import Clock
from fastmem.network.report import Scaling, VoteReport
from fastmem.problem import Problem
from fastmem.readout import ReadOut, both_columns
from fastmem.vote.calibration import temperature_of
from fastmem.vote.elsewhere import misread, votes_of
from fastmem.vote.exceptions import Exceptions, memorised
from fastmem.vote.ridge import SAMPLE, Choice, Regression, Ridge
from fastmem.vote.rounding import rounded
from fastmem.widths.first_layer import FirstLayer

_SEED = 0x70FE
"""Key of the read-out's random numbers, apart from those of the exceptions."""


class VoteFit(NamedTuple):
    """What a fit with decision="vote" comes to."""

    problem: Problem
    scaling: Scaling
    readout: ReadOut
    exceptions: Exceptions
    report: VoteReport


def fit_vote(
    problem: Problem,
    clock: Clock,
    tell: Callable[[str, int, int, int], object],
    make_layer: Callable[[Problem, np.random.SeedSequence], FirstLayer] = FirstLayer,
) -> VoteFit:
    """Fit a read-out to a problem, and memorise its exceptions."""
    seed = np.random.SeedSequence(problem.settings.seed.entropy, spawn_key=(_SEED,))
    key = int(seed.generate_state(1, np.uint64)[0])
    with clock.stage("probe"):
        problem, scaling, regression, choice = _chosen(problem, seed, key)
    with clock.stage("read-out"):
        ridge = regression.regress(choice, problem.settings.votes_width)
        known = problem.codes[ridge.rows].astype(np.int64)
        alone = _rounded(ridge, key, known)
        alone = replace(alone, reach=_reach(problem, ridge))
        there = votes_of(problem.points)
        if there is not None:
            wrong = there.misread(alone)
        else:
            wrong = misread(problem.points, problem.codes, alone, problem.n_threads)
    exceptions = memorised(problem, wrong, clock, tell, make_layer)
    readout = replace(alone, gains=exceptions.gains)
    unseen = both_columns(ridge.unseen)
    report = VoteReport(
        width=len(readout), bandwidth=ridge.bandwidth, penalty=ridge.penalty,
        right=problem.points.n_samples - len(wrong.rows),
        exceptions=len(exceptions.second),
        left_out=float(np.mean(unseen.argmax(axis=1) == known)),
        n_left_out=len(ridge.rows),
    )  # fmt: skip
    return VoteFit(problem, scaling, readout, exceptions, report)


def _chosen(
    problem: Problem, seed: np.random.SeedSequence, key: int
) -> tuple[Problem, Scaling, Regression, Choice]:
    """The better of the points as they are and scaled, where that is asked."""

    def regression_of(points: Points, codes: np.ndarray) -> Regression:
        generator = np.random.default_rng(seed)
        return Regression(points, codes, len(problem.classes), key, generator, problem.n_threads)

    asked = problem.settings.scale
    plain = regression_of(problem.points, problem.codes)
    choice = plain.choose()
    if not problem.measures_scale:
        name = asked if isinstance(asked, str) else "given"
        kept = None if problem.scale is None else tuple(exponents_of(problem.scale))
        return problem, Scaling(name, kept), plain, choice
    sample = Points(plain.sample.dense(plain.first_rows(SAMPLE)))
    scale = spread_scale(sample)
    if len(set(exponents_of(scale))) == 1:
        return problem, Scaling("auto"), plain, choice
    if (
        regression_of(exactly_scaled(sample, scale), plain.sample_codes).choose().error
        >= choice.error
    ):
        return problem, Scaling("auto"), plain, choice
    problem = problem.times(spread_scale(problem.points))
    kept = None if problem.scale is None else tuple(exponents_of(problem.scale))
    scaled = regression_of(problem.points, problem.codes)
    return problem, Scaling("auto", kept), scaled, scaled.choose()


def _rounded(ridge: Ridge, key: int, codes: np.ndarray) -> ReadOut:
    """Weights of 7 bits at most, intercepts in their unit; codes (S,) are of ``ridge.rows``."""
    weights, unit, intercepts = rounded(ridge)
    intercepts = np.clip(np.rint(intercepts), -(2.0**61), 2.0**61)
    return ReadOut(
        key, ridge.grid.exponent, ridge.grid.offsets, weights, intercepts.astype(np.int64),
        np.empty(0, np.int64), temperature_of(both_columns(ridge.unseen * unit), codes),
        multiplier=ridge.grid.multiplier,
    )  # fmt: skip


def _reach(problem: Problem, ridge: Ridge) -> float:
    """A distance from the grid's offsets within which all points are."""
    mean, radius = problem.extent.mean, problem.extent.radius
    with np.errstate(over="ignore", invalid="ignore"):
        away = np.ldexp(mean, ridge.grid.exponent) - ridge.grid.offsets
        largest = float(np.abs(away).max(initial=0.0)) or 1.0
        shift = float(np.sqrt(((away / largest) ** 2).sum())) * largest
        reach = (1.0 + 1e-6) * (float(np.ldexp(radius, ridge.grid.exponent)) + shift) + 1.0
    part, exponent = np.frexp(reach)  # a few bits, rounded up, take less room in a file
    return float(np.ldexp(np.ceil(part * 256), exponent - 8)) if reach < np.inf else np.inf
