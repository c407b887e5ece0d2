"""objective="bytes": the decision list whose file is smallest, and the layers it is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import numpy as np

from fastmem.decision_list.candidates import RowCandidates
from fastmem.decision_list.effort import LADDER, smallest_list
from fastmem.decision_list.growth import InseparableError, Progress, grow_list
from fastmem.hyperplanes.keyed import KeyedHyperplanes, keyed_candidates
from fastmem.inputs import InvalidInputError, Points, exponents_of, spread_scale
from fastmem.inputs.points import some_points
from fastmem.inputs.scaled_points import MAX_EXPONENT
from fastmem.machine.clock import Clock
from fastmem.network.lists import list_layers
from fastmem.network.report import ListReport, Scaling
from fastmem.problem import Problem
from fastmem.second_layer.cover_layer import CoverLayer

_SEED = 0x1157
"""Key of a list's random numbers."""
_KEYS = np.uint64(1 << 16)
"""Keys that rows come from: a file holds two bytes of one, and not eight."""


class Form(NamedTuple):
    """Of what kind rows are: entries of each, and how far biases reach, in standard deviations."""

    n_entries: int
    width: float


FORMS = (Form(5, 0.5), Form(3, 1.0), Form(3, 0.5), Form(10, 0.5), Form(10, 1.0))
"""What is tried on a sample; the first of them where the others gain little."""
_MOST_ENTRIES = 256
"""Entries of a row where points have few that are not 0."""
_LOOKED_AT = 256
_GAIN = 0.98
"""Share of the first one's bits that another must not exceed."""
SAMPLE, CANDIDATES = 4096, 1024
"""Points and hyperplanes of that sample."""
_FARTHEST = 2.0**100
_EXPONENTS = 60
"""Points whose radius is beyond 2 to the power of plus or minus so much are scaled."""


class ListFit(NamedTuple):
    """What a fit with objective="bytes" comes to."""

    problem: Problem
    scaling: Scaling
    first: KeyedHyperplanes
    second: CoverLayer
    default: int
    report: ListReport


def fit_list(
    problem: Problem, clock: Clock, tell: Callable[[str, int, int, int], object]
) -> ListFit:
    """Find the smallest decision list that is right at all points of a problem.

    Raises
    ------
    InvalidInputError
        Where points are beyond what hyperplanes of few entries reach, or tell apart.
    """
    settings = problem.settings
    sequence = np.random.SeedSequence(settings.seed.entropy, spawn_key=(_SEED,))
    key_seed, sample_seed, row_seed = sequence.spawn(3)
    key = int(key_seed.generate_state(1, np.uint64)[0] % _KEYS)
    with clock.stage("probe"):
        problem, scaling, form = _chosen(problem, key, np.random.default_rng(sample_seed))
    codes, n_classes = problem.codes, len(problem.classes)

    def candidates_of(n: int) -> RowCandidates:
        rows = _rows(problem.points, key, n, form, settings.n_threads)
        generator = np.random.default_rng(row_seed)
        return RowCandidates(rows, problem.points, generator, settings.n_threads)

    n_points = len(codes)
    steps = count(1)

    def step(progress: Progress) -> None:
        tell("points", n_points - progress.n_open, n_points, next(steps))

    with clock.stage("list"):
        try:
            found, candidates, trials = smallest_list(
                candidates_of, codes, n_classes, settings.effort, settings.n_threads, step,
                settings.n_candidates,
            )  # fmt: skip
        except InseparableError as error:
            raise InvalidInputError(
                f"objective is 'bytes', but hyperplanes of {form.n_entries} entries tell too few "
                f"of the points apart, whose {problem.points.n_features:,} columns are mostly "
                f"equal; pass objective='neurons', compact=True for a small network"
            ) from error
    assert isinstance(candidates, RowCandidates)
    hyperplanes = candidates.hyperplanes
    assert isinstance(hyperplanes, KeyedHyperplanes)
    first, second = list_layers(hyperplanes, found.starts, found.literals, found.classes)
    best = min(trials, key=lambda trial: trial.n_bits)
    report = ListReport(
        n_candidates=best.n, neurons=len(found.classes), literals=len(found.literals),
        estimated_bits=best.n_bits, trials=tuple((t.n, t.n_bits) for t in trials),
    )  # fmt: skip
    return ListFit(problem, scaling, first, second, found.default, report)


def _rows(points: Points, key: int, n: int, form: Form, n_threads: int) -> KeyedHyperplanes:
    """The first n rows of a key, about an origin of one number."""
    return keyed_candidates(
        key, n, form.n_entries, points, width=form.width, bits=0, n_threads=n_threads
    )


def _chosen(
    problem: Problem, key: int, generator: np.random.Generator
) -> tuple[Problem, Scaling, Form]:
    """The problem, scaled if that takes fewer bits of a sample, and the form of its rows."""
    settings = problem.settings
    rows = _sample(problem.codes, generator)
    codes = np.unique(problem.codes[rows], return_inverse=True)[1]

    def bits_of(points: Points, form: Form) -> float:
        return _bits(some_points(points, rows), codes, key, form)

    name = settings.scale if isinstance(settings.scale, str) else "given"
    chosen = _held(problem)
    bits = [bits_of(chosen.points, FORMS[0])]
    if problem.measures_scale:
        scale = spread_scale(problem.points)
        if len(set(exponents_of(scale))) > 1:
            other = problem.times(scale)
            scaled_bits = bits_of(other.points, FORMS[0])
            if scaled_bits < _GAIN * bits[0]:
                chosen, bits = other, [scaled_bits]
    forms = FORMS + _longer_forms(chosen.points)
    bits += [bits_of(chosen.points, form) for form in forms[1:]]
    least = int(np.argmin(bits))
    form = forms[least if bits[least] < _GAIN * bits[0] else 0]
    kept = None if chosen.scale is None else tuple(exponents_of(chosen.scale))
    return chosen, Scaling(name, kept), form


def _longer_forms(points: Points) -> tuple[Form, ...]:
    """Rows of which about one entry meets one of a point, where the others miss most points."""
    n_samples, d = points.n_samples, points.n_features
    n_values = float(points.row_values)
    if not points.is_sparse:
        some = points.dense(np.arange(0, n_samples, max(1, n_samples // _LOOKED_AT)))
        n_values = float(np.count_nonzero(some) / len(some))
    n_entries = min(d, _MOST_ENTRIES, math.ceil(d / max(n_values, 1e-9)))
    return (Form(n_entries, 0.5), Form(n_entries, 1.0)) if n_entries > FORMS[-1].n_entries else ()


def _sample(codes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Some rows, ascending, of two classes at least."""
    if len(codes) <= SAMPLE:
        return np.arange(len(codes))
    rows = generator.choice(len(codes), SAMPLE, replace=False)
    if (codes[rows] == codes[rows[0]]).all():
        rows[0] = np.flatnonzero(codes != codes[rows[1]])[0]
    return np.sort(rows)


def _bits(points: Points, codes: np.ndarray, key: int, form: Form) -> float:
    """Estimated bits of a quick list for a sample."""
    candidates = RowCandidates(
        _rows(points, key, CANDIDATES, form, 1), points, np.random.default_rng(0), 1
    )
    n_classes = int(codes.max()) + 1
    try:
        found = grow_list(candidates, codes, n_classes, LADDER[0], 1)
    except InseparableError:
        return np.inf
    own = found.estimated_bits(CANDIDATES, n_classes)
    return own + candidates.stored_bits(found.literals)


def _held(problem: Problem) -> Problem:
    """The problem, all of it times one power of two where float32 would not hold its spread.

    Raises
    ------
    InvalidInputError
        Where no power of two that a scale may be brings it near enough.
    """
    farthest = problem.extent.norm + problem.extent.radius
    exponent = int(np.frexp(problem.extent.radius)[1]) if problem.extent.radius > 0 else 0
    if abs(exponent) > _EXPONENTS and problem.scale is None:
        power = int(np.clip(-exponent, -MAX_EXPONENT, MAX_EXPONENT))
        farthest = float(np.ldexp(farthest, power))
        problem = problem.times(np.full(problem.points.n_features, 2.0**power))
    if not farthest < _FARTHEST:
        raise InvalidInputError(
            f"X has points {problem.extent.norm:.3g} away from 0, where objective is 'bytes', "
            f"whose hyperplanes keep to numbers of float32; multiply X by a power of two"
        )
    return problem
