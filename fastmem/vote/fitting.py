"""decision="vote": a read-out that predicts, and cells that memorise what it gets wrong.

The grid, the scale of the features, their number and the penalty are chosen by leave-one-out errors
of training points (`ridge`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastmem.inputs import exponents_of, spread_scale
from fastmem.machine.clock import Clock
from fastmem.network.report import Scaling, VoteReport
from fastmem.problem import Problem
from fastmem.readout import ReadOut, both_columns
from fastmem.vote.calibration import temperature_of
from fastmem.vote.exceptions import Exceptions, memorised
from fastmem.vote.ridge import Choice, Regression, Ridge
from fastmem.vote.rounding import rounded

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
    problem: Problem, clock: Clock, tell: Callable[[str, int, int, int], object]
) -> VoteFit:
    """Fit a read-out to a problem, and memorise its exceptions."""
    seed = np.random.SeedSequence(problem.settings.seed.entropy, spawn_key=(_SEED,))
    key = int(seed.generate_state(1, np.uint64)[0])
    with clock.stage("probe"):
        problem, scaling, regression, choice = _chosen(problem, seed, key)
    with clock.stage("read-out"):
        ridge = regression.regress(choice, problem.settings.votes_width)
        alone = _rounded(ridge, key, problem.codes.astype(np.int64)[ridge.rows])
        votes = alone.votes_of(problem.points, problem.n_threads)
    exceptions = memorised(problem, votes, clock, tell)
    readout = replace(alone, gains=exceptions.gains)
    codes = problem.codes.astype(np.int64)
    unseen = both_columns(ridge.unseen)
    report = VoteReport(
        width=len(readout), bandwidth=ridge.bandwidth, penalty=ridge.penalty,
        right=int((votes.argmax(axis=1) == codes).sum()),
        exceptions=len(exceptions.second),
        left_out=float(np.mean(unseen.argmax(axis=1) == codes[ridge.rows])),
        n_left_out=len(ridge.rows),
    )  # fmt: skip
    return VoteFit(problem, scaling, readout, exceptions, report)


def _chosen(
    problem: Problem, seed: np.random.SeedSequence, key: int
) -> tuple[Problem, Scaling, Regression, Choice]:
    """The better of the points as they are and scaled, where that is asked."""

    def regression_of(problem: Problem) -> Regression:
        generator = np.random.default_rng(seed)
        return Regression(
            problem.points, problem.codes, len(problem.classes), key, generator, problem.n_threads
        )

    asked = problem.settings.scale
    plain = regression_of(problem)
    choice = plain.choose()
    if not problem.measures_scale:
        name = asked if isinstance(asked, str) else "given"
        kept = None if problem.scale is None else tuple(exponents_of(problem.scale))
        return problem, Scaling(name, kept), plain, choice
    scale = spread_scale(problem.points)
    if len(set(exponents_of(scale))) == 1:
        return problem, Scaling("auto"), plain, choice
    scaled_problem = problem.times(scale)
    scaled = regression_of(scaled_problem)
    scaled_choice = scaled.choose()
    if scaled_choice.error < choice.error and scaled_problem.scale is not None:
        exponents = tuple(exponents_of(scaled_problem.scale))
        return scaled_problem, Scaling("auto", exponents), scaled, scaled_choice
    return problem, Scaling("auto"), plain, choice


def _rounded(ridge: Ridge, key: int, codes: np.ndarray) -> ReadOut:
    """Weights of 7 bits, and intercepts in their unit; codes (S,) int64 are of ``ridge.rows``."""
    weights, unit, intercepts = rounded(ridge)
    intercepts = np.clip(np.rint(intercepts), -(2.0**61), 2.0**61)
    return ReadOut(
        key, ridge.grid.exponent, ridge.grid.offsets, weights, intercepts.astype(np.int64),
        np.empty(0, np.int64), temperature_of(both_columns(ridge.unseen * unit), codes),
    )  # fmt: skip
