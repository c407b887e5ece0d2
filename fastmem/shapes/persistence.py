"""Betti numbers of a class from the Rips complexes of its landmarks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.shapes.landmarks import POINTS_A_LANDMARK, Landmarks
from fastmem.shapes.report import Bar, Persistence
from fastmem.shapes.rips import rips_bars

_OF = {
    "euclidean": ("points", "more points"),
    "hamming": ("patterns", "a network of more hyperplanes (width=2048, not compact)"),
}
_DEAREST = 1
"""Dimension up to which complexes are looked at to the end: for voids, all those of 8 epsilon would
take many times as long as those of 4."""
_VOID_SLACK = 1.1
"""Points are never farther from the landmarks than those of the whole shape are. Voids, born last
of all, come out right with so much more epsilon: of a shell 8 of 8 times by points and by patterns,
without it 7 and 4 (``python -m bench.topology --only voids``)."""
_ABOVE = _VOID_SLACK + 2.0**-20
"""The complexes are cut off above what is counted, after rounding to float32."""


def persistence(metric: str, found: Landmarks, asked: int, max_dimension: int) -> Persistence:
    """Betti numbers of what the landmarks stand for.

    Parameters
    ----------
    metric : str
        What distances are.
    found : Landmarks
    asked : int
        Landmarks that were asked for.
    max_dimension : int
    """
    epsilon = float(found.radii[-1])
    diagrams, cut = _diagrams(found.distances, max_dimension, epsilon)
    reason = _reason(metric, found, asked)
    numbers = sure = stable = None
    if not reason:
        numbers = _alive(diagrams, epsilon, 4)
        sure = _alive(diagrams[: _DEAREST + 1], epsilon, 8)
        half = -(-len(found.rows) // 2)
        radius = float(found.radii[half - 1])
        fewer, _ = _diagrams(found.distances[:half, :half], max_dimension, radius)
        stable = _alive(fewer, radius, 4) == numbers
    return Persistence(
        metric=metric,
        n_different=found.n_different,
        landmarks=tuple(found.rows.tolist()),
        epsilon=epsilon,
        bars=tuple(_bars(diagram) for diagram in diagrams),
        cut=cut,
        betti=numbers,
        betti_sure=sure,
        is_stable=stable,
        reason=reason,
    )


def _diagrams(
    distances: NDArray[Any], max_dimension: int, epsilon: float
) -> tuple[list[NDArray[Any]], float | None]:
    """For each dimension the bars, (m, 2) float64, of the Rips complexes, and where they end.

    From voids on they are cut off above what is counted.
    """
    if len(distances) == 1:  # which ripser takes for no square matrix
        return [np.array([[0.0, np.inf]])] + [np.empty((0, 2))] * max_dimension, None
    # float32 inside: a power of two brings distances of any magnitude near 1
    exponent = int(np.frexp(distances.max())[1])
    near_one = np.ldexp(distances, -exponent)
    low = min(max_dimension, _DEAREST)
    found = rips_bars(near_one, low)
    cut = None
    if max_dimension > low:
        cut = 4 * epsilon * _ABOVE
        end = math.ldexp(cut, -exponent)
        more = rips_bars(near_one, max_dimension, end)
        found = found + more[low + 1 :]
    return [np.ldexp(diagram.astype(np.float64), exponent) for diagram in found], cut


def _alive(diagrams: list[NDArray[Any]], epsilon: float, factor: int) -> tuple[int, ...]:
    """Bars of each dimension that are born by 2 epsilon and die after ``factor`` epsilon."""
    numbers = []
    for k, bars in enumerate(diagrams):
        radius = epsilon * (_VOID_SLACK if k > 1 else 1.0)
        is_counted = (bars[:, 0] <= 2 * radius) & (bars[:, 1] > factor * radius)
        numbers.append(int(np.count_nonzero(is_counted)))
    return tuple(numbers)


def _reason(metric: str, found: Landmarks, asked: int) -> str:
    """Why the landmarks do not allow to count, or ""."""
    n, used = found.n_different, len(found.rows)
    what, more = _OF[metric]
    if n < POINTS_A_LANDMARK * used:
        return f"{n:,} different {what} are too few for {used} landmarks: take {more}"
    # beyond it all landmarks are near one of them, and every complex is a cone
    if 4 * found.radii[-1] >= found.distances.max(axis=1).min():
        return (
            f"{used} landmarks leave {what} too far from the nearest for the extent of the class: "
            + ("take more points" if used < asked else f"pass more than landmarks={asked}")
        )
    return ""


def _bars(diagram: NDArray[Any]) -> tuple[Bar, ...]:
    """Bars of one dimension as plain numbers, longest first."""
    order = np.argsort(diagram[:, 0] - diagram[:, 1], kind="stable")
    return tuple(
        (birth, None if death == np.inf else death) for birth, death in diagram[order].tolist()
    )
