"""Betti numbers of a class from the Rips complexes of its landmarks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.machine.extras import needs
from fastmem.shapes.landmarks import Landmarks
from fastmem.shapes.report import Bar, Persistence

LEAST_LANDMARKS = 4
"""Half of them are two, which have a distance."""
_OF = {
    "euclidean": ("points", "more points"),
    "hamming": ("patterns", "a network of more hyperplanes (width=2048, not compact)"),
}
_POINTS_A_LANDMARK = 3
"""Different points for each landmark at least: or epsilon says how dense the sample is, and nothing
of the shape."""
_DEAREST = 1
"""Dimension up to which complexes are looked at to the end: beyond, a bar may take minutes."""
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
    cut = 8 * epsilon * _ABOVE if max_dimension > _DEAREST and epsilon > 0 else None
    diagrams = _diagrams(found.distances, max_dimension, cut)
    reason = _reason(metric, found, asked)
    half = -(-len(found.rows) // 2)
    numbers = None if reason else _alive(diagrams, epsilon, 4)
    stable = None
    if numbers is not None:
        radius = float(found.radii[half - 1])
        fewer = _diagrams(
            found.distances[:half, :half],
            max_dimension,
            None if cut is None else 4 * _ABOVE * radius,
        )
        stable = _alive(fewer, radius, 4) == numbers
    return Persistence(
        metric=metric,
        n_different=found.n_different,
        landmarks=tuple(found.rows.tolist()),
        epsilon=epsilon,
        bars=tuple(_bars(diagram) for diagram in diagrams),
        cut=cut,
        betti=numbers,
        betti_sure=None if reason else _alive(diagrams, epsilon, 8),
        is_stable=stable,
        reason=reason,
    )


@needs("topology")
def _diagrams(distances: NDArray[Any], max_dimension: int, cut: float | None) -> list[NDArray[Any]]:
    """For each dimension the bars, (m, 2) float64, of the Rips complexes up to a length."""
    if len(distances) == 1:  # which ripser takes for no square matrix
        return [np.array([[0.0, np.inf]])] + [np.empty((0, 2))] * max_dimension
    from ripser import ripser

    end = np.inf if cut is None else cut
    found = ripser(distances, maxdim=max_dimension, thresh=end, distance_matrix=True)
    return [diagram.astype(np.float64) for diagram in found["dgms"]]


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
    if n < _POINTS_A_LANDMARK * used:
        what, more = _OF[metric]
        few = n // _POINTS_A_LANDMARK
        fewer = f"pass landmarks={few} or fewer, or " if few >= LEAST_LANDMARKS else "take "
        return f"{n:,} different {what} are too few for {used} landmarks: {fewer}{more}"
    # beyond it all landmarks are near one of them, and every complex is a cone
    if 4 * found.radii[-1] >= found.distances.max(axis=1).min():
        return (
            f"{used} landmarks leave points too far from the nearest for the extent of the class: "
            f"pass more than landmarks={asked}"
        )
    return ""


def _bars(diagram: NDArray[Any]) -> tuple[Bar, ...]:
    """Bars of one dimension as plain numbers, longest first."""
    order = np.argsort(diagram[:, 0] - diagram[:, 1], kind="stable")
    return tuple(
        (birth, None if death == np.inf else death) for birth, death in diagram[order].tolist()
    )
