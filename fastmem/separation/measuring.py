"""separation_width(): the least number of random features, as a measure of a data set."""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median_low
from typing import Any

import numpy as np

from fastmem.inputs import Points, check_count
from fastmem.inputs.points import some_points
from fastmem.machine.clock import Clock
from fastmem.problem import Problem, checked_problem
from fastmem.separation.report import SeparationWidth
from fastmem.separation.search import deadline_of, search_of
from fastmem.separation.separating import forbidden
from fastmem.widths.scaling import chosen_scale

MOST = 2000
"""Points up to which all are used."""
_PARAMETERS = ("max_bias", "projection", "center", "scale")
_SAMPLE_KEY = 0x5E9A
"""Key of the sample's random numbers, apart from those of features."""


def separation_width(
    X: Any,
    y: Any,
    *,
    activation: str = "relu",
    most: int = MOST,
    trials: int = 3,
    max_width: int = 1024,
    time_limit: float | None = None,
    seed: Any = None,
    n_threads: int | None = None,
    **parameters: Any,
) -> SeparationWidth:
    """The least number of random features that make classes linearly separable.

    Parameters
    ----------
    X, y
        As for `separate`; of equal points with different labels the most frequent one counts. The
        width grows with the number of points: of more than ``most`` some are drawn, each class's
        share.
    activation : {"relu", "threshold"}
    most : int, default 2,000
    trials : int, default 3
        First layers; the median of their widths is the answer.
    max_width : int, default 1,024
    time_limit : float, optional
        Seconds for all trials; then the result depends on the machine, and ``note`` says so.
    seed, n_threads
        As for `separate`. Without a time limit the result depends on the seed alone.
    **parameters
        ``max_bias``, ``projection``, ``center`` and ``scale``, as for `separate`.

    Returns
    -------
    SeparationWidth

    Raises
    ------
    InvalidInputError
        For any argument that cannot be used.
    TypeError
        For any other parameter.
    """
    for name in parameters:
        if name not in _PARAMETERS:
            raise TypeError(
                f"separation_width() has no parameter {name!r}; pass some of "
                f"{', '.join(_PARAMETERS)}"
            )
    start = time.perf_counter()
    most, trials = check_count("most", most, 2), check_count("trials", trials, 1)
    max_width, deadline = check_count("max_width", max_width, 1), deadline_of(time_limit)
    shared = {"activation": activation, "n_threads": n_threads, "max_width": max_width}
    problem = checked_problem(
        X, y, width="auto", seed=seed, contradictions="majority", **shared, **parameters
    )
    problem, _ = chosen_scale(problem, Clock())
    key = np.random.SeedSequence(problem.settings.seed.entropy, spawn_key=(_SAMPLE_KEY,))
    sample_seed, *seeds = key.spawn(1 + trials)
    few = _sampled(problem, most, sample_seed, shared | parameters | {"scale": "none"})
    widths: list[int | None] = []
    note = "" if few is problem else f"{few.points.n_samples:,} of the points were drawn"
    for one in seeds:
        settings = replace(few.settings, seed=np.random.SeedSequence(int(one.generate_state(1)[0])))
        search = search_of(replace(few, settings=settings), max_width, deadline)
        n, found, _ = (0, None, False) if forbidden(few, search) else search.least()
        widths.append(n if found is not None and found.is_separated else None)
        if search.stopped == "time_limit":
            note = "; ".join(filter(None, [note, "the time limit ended the search"]))
            break
    known = [max_width + 1 if width is None else width for width in widths]
    middle = median_low(known)
    return SeparationWidth(
        width=None if middle > max_width else middle, widths=tuple(widths), activation=activation,
        n_samples=problem.given.n_samples, n_used=few.points.n_samples, max_width=max_width,
        seconds=time.perf_counter() - start, note=note,
    )  # fmt: skip


def _sampled(
    problem: Problem, most: int, seed: np.random.SeedSequence, parameters: dict[str, Any]
) -> Problem:
    """A problem of some of the points, each class's share of them but two at least."""
    n_samples, codes = problem.points.n_samples, problem.codes
    if n_samples <= most:
        return problem
    rows = np.random.default_rng(seed).permutation(n_samples)
    order = np.argsort(codes[rows], kind="stable")  # each class's rows, shuffled
    counts = np.bincount(codes, minlength=len(problem.classes))
    share = np.minimum(counts, np.maximum(2, counts * most // n_samples))
    starts = np.cumsum(counts) - counts
    kept = np.concatenate([order[a : a + n] for a, n in zip(starts, share, strict=True)])
    rows = np.sort(rows[kept])
    points: Points = some_points(problem.points, rows)
    source = points if points.is_sparse else points.dense(np.arange(len(rows)))
    return checked_problem(
        source, codes[rows], width="auto", contradictions="majority", seed=0, **parameters
    )
