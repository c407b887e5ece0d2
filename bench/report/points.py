"""Points: what a study measured at one place, and lines of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bench.measuring import Timing

Point = dict[str, Any]
"""What was measured at one place of a study, ready to be written as JSON."""


def point(panel: str, series: str, x: float, timing: Timing, **more: Any) -> Point:
    """Make a point: its picture, its line, its place, and the median of its seconds."""
    return {
        "panel": panel,
        "series": series,
        "x": x,
        "seconds": timing.median,
        "low": min(timing.seconds),
        "high": max(timing.seconds),
        "runs": len(timing.seconds),
        **more,
    }


TIMES = [
    "merge",
    "merge, all classes covered",
    "random",
    "predict, merge",
    "dense NumPy, authors' steps",
    "dense NumPy, tuned",
    "sgemm of the first layer",
    "memory copy, points and patterns",
]
"""Lines of seconds, in the order of tables; a study need not have all of them."""


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Fit y ~ x ** exponent by least squares on the upper half of the range, in logarithms.

    Parameters
    ----------
    x, y : sequence of float, ascending in x, positive

    Returns
    -------
    float
        NaN for fewer than two points.
    """
    if len(x) < 2:
        return math.nan
    log_x, log_y = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    upper = log_x >= (log_x[0] + log_x[-1]) / 2
    upper[-2:] = True  # two points at least
    return float(np.polyfit(log_x[upper], log_y[upper], 1)[0])


def line(points: Iterable[Point], series: str, key: str = "seconds") -> tuple[list[Any], list[Any]]:
    """Collect x and a value of the points of one series that have it."""
    own = [p for p in points if p["series"] == series and p.get(key) is not None]
    return [p["x"] for p in own], [p[key] for p in own]
