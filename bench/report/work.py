"""What fits do, against what the machine allows: bytes of patterns, words counted, seconds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastmem
from bench import bench_counts, noisy_tables
from bench.measuring import time_alone
from bench.parts import Popcounts, watched_loops, without_bounding_tiles
from bench.report import ceilings
from bench.report.points import Point, point
from bench.report.scaling import Scale, quietly
from bench.workloads import Sizes
from fastmem.datasets import unit_moons

Data = tuple[NDArray[np.float32], NDArray[np.int64]]

FIRST_LAYER = ("pattern_words", "bound_tiles")
"""Loops that evaluate hyperplanes; all others count words."""


def fits(scale: Scale, sizes: Sizes) -> list[Point]:
    """Fits of many points of few features, on one thread: with bounding tiles, and of noisy tables.

    ``words`` of a point are those whose ones were counted, ``counting`` the seconds of the loops
    that did it, ``pattern_bytes`` what is stored of the patterns, and ``read_bytes`` what these
    loops and the first layer read or write at least.
    """
    moons = unit_moons(sizes.moons)
    X, y = noisy(sizes.noisy_rows)
    wide = {"width": sizes.width, "max_bias": 1.0}
    points: list[Point] = []
    for selection in ("random", "merge"):
        for name, context in (
            ("every point", without_bounding_tiles),
            ("bounding tiles", nullcontext),
        ):
            series = f"moons, {len(moons[0]):,}, {selection}, {name}"
            points.append(_fit(scale, series, moons, context, **wide, selection=selection))
    points.append(
        _fit(
            scale,
            f"noisy table, {len(X):,} x {X.shape[1]}",
            (X, y),
            nullcontext,
            contradictions="majority",
        )
    )
    return points + _limits(scale, sizes, sorted({p["n_words"] for p in points}))


def noisy(rows: int) -> Data:
    """Flights, late or not, by eight numbers; where they are missing, a border."""
    try:
        whole = noisy_tables.flights_8(rows)
    except ModuleNotFoundError:
        whole = noisy_tables.border_8(rows)
    return whole.X[:rows], whole.y[:rows]


def _fit(
    scale: Scale,
    series: str,
    data: Data,
    context: Callable[[], AbstractContextManager[Any]],
    **settings: Any,
) -> Point:
    X, y = data
    stages: list[dict[str, float]] = []

    def fit() -> fastmem.Network:
        network = fastmem.interpolate(X, y, seed=0, n_threads=1, **settings)
        assert network.report is not None
        stages.append(network.report.seconds)
        return network

    with quietly(), context():
        timing = scale.timing(fit)
        seconds = {name: float(np.median([run[name] for run in stages])) for name in stages[0]}
        with watched_loops() as work:
            n, m = fit().widths
    counting = {name: took for name, took in work.seconds.items() if name not in FIRST_LAYER}
    return point(
        "work", series, len(X), timing, stages=seconds, widths=[n, m], n_words=-(-n // 64),
        pattern_bytes=work.pattern_bytes, words=sum(work.words.values()),
        counting=sum(counting.values()), loops=work.seconds,
        read_bytes=X.nbytes + work.pattern_bytes,
    )  # fmt: skip


def _limits(scale: Scale, sizes: Sizes, all_words: list[int]) -> list[Point]:
    """Rates of one thread: the plain counting kernel on whole rows, the first cache, a copy."""
    points = []
    for n_words in all_words:
        work = bench_counts.counts(n_words, sizes, 1)
        ours = time_alone(work.ours.call, scale.runs)
        rate = work.operations / ours.median
        points.append(
            point("limits", f"counting whole rows of {n_words} words", n_words, ours, rate=rate)
        )
    inside = Popcounts(1, scale.popcount_repeats)
    timing = time_alone(inside, scale.runs)
    points.append(
        point("limits", "popcounts in cache", 0, timing, rate=inside.n_words / timing.median)
    )
    copied = ceilings.copy(ceilings.COPIED_AT_ONCE, scale.runs)
    rate = ceilings.COPIED_AT_ONCE / 8 / copied.median
    points.append(point("limits", "memory copy", 0, copied, rate=rate))
    return points
