"""Decision regions of a network whose cells are convex, by the nerves of their cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastmem.geometry.point_sets import Units
from fastmem.inputs import Points
from fastmem.inputs.points import SomePoints
from fastmem.machine.threads import ranges
from fastmem.network.network import Network
from fastmem.network.neurons_on import neurons_on
from fastmem.second_layer.cover_layer import CoverLayer
from fastmem.shapes.cells import Cells
from fastmem.shapes.nerve import betti_numbers, nerve, spanning_pairs
from fastmem.shapes.report import Region

_AT_ONCE = 1 << 24
"""Answers, of points times neurons, that are looked at together."""
_MOST_SEEN = 4_096
"""Sets of neurons that are kept of those that points turn on: the largest."""
_PROGRAMS = 100
"""Linear programs for each of ``max_cells``; some 2 ms each, in few dimensions."""


def why_not_convex(network: Network) -> str:
    """Why the cells of a network are not all convex and closed, and what to do; "" if they are."""
    if network.second.activation == "relu":
        return "neurons add up real activations; fit with activation='threshold' and compact=True"
    above = int(np.count_nonzero(network.second.thresholds != 1))
    if above:
        return (
            f"{above:,} of {len(network.second):,} neurons have a threshold above 1, whose cells "
            f"are not convex; fit with compact=True, covered='all' and no margin"
        )
    return ""


def region_of(
    network: Network,
    code: int,
    points: Points,
    units: Units,
    *,
    max_dimension: int,
    max_cells: int,
    box: float,
    n_threads: int,
) -> Region | None:
    """The shape of the union of the cells of one class; None where it has none.

    Parameters
    ----------
    network : Network
        With convex cells.
    code : int
        The class.
    points : Points
        Its points, scaled: they prove which cells meet.
    units : Units
        Of all points.
    max_dimension : int
    max_cells : int
        Of more, only beta_0 is asked.
    box : float
        Half of the box's width, in radii of the data.
    n_threads : int
    """
    own = np.flatnonzero(network.second.owners == code)
    if not len(own):
        return None
    second = CoverLayer(
        network.second.masks[own], network.second.thresholds[own], network.second.owners[own]
    )
    radius = units.radius / units.scale or 1.0
    seen = _seen(network, second, points, n_threads)
    cells = Cells(network.first, second, units.mean, radius, box, seen, _PROGRAMS * max_cells)
    vertices = [i for i in range(len(cells)) if cells.meet((i,))]
    levels: list[list[tuple[int, ...]]] = [[(i,) for i in vertices]]
    reason = ""
    # in many dimensions one point is often in all of them
    have_common = len(vertices) > 0 and bool(cells.decide(tuple(vertices)))
    if len(vertices) > max_cells or max_dimension == 0 or have_common:
        levels.append([] if have_common else spanning_pairs(cells, vertices))
    else:
        levels = nerve(cells, vertices, max_dimension + 2, network.first.n_features)
    betti: tuple[int, ...] | None = betti_numbers(levels)
    if have_common:
        betti = (1,) + (0,) * max_dimension
    elif len(vertices) > max_cells and max_dimension > 0:
        reason = (
            f"there are {len(vertices):,} cells, of which only the components are counted: pass "
            f"max_cells={len(vertices)} for all"
        )
    if cells.n_undecided:
        betti = None
        reason = f"{cells.n_undecided} sets of cells meet or miss by less than float64 tells"
        if cells.is_exhausted:
            reason = (
                f"{cells.n_programs:,} linear programs did not decide which of {len(vertices):,} "
                f"cells meet: pass more than max_cells={max_cells}"
            )
    place = {i: k for k, i in enumerate(vertices)}
    return Region(
        neurons=tuple(int(own[i]) for i in vertices),
        n_empty=len(own) - len(vertices),
        have_common=have_common,
        simplices=tuple(
            tuple(tuple(place[i] for i in simplex) for simplex in level) for level in levels[1:]
        ),
        betti=betti,
        n_programs=cells.n_programs,
        n_undecided=cells.n_undecided,
        half_width=cells.half_width,
        reason=reason,
    )


def _seen(
    network: Network, second: CoverLayer, points: Points, n_threads: int
) -> NDArray[np.bool_]:
    """Different sets of neurons that points turn on, (m, S)."""
    found = np.zeros((len(second), 0), np.bool_)
    for start, stop in ranges(points.n_samples, max(1, _AT_ONCE // len(second))):
        block = SomePoints(points, np.arange(start, stop))
        on = neurons_on(block, network.first, second, n_threads)
        found = np.unique(np.concatenate([found, on], axis=1), axis=1)
        largest = np.argsort(-found.sum(axis=0), kind="stable")
        found = found[:, largest[:_MOST_SEEN]]
    return found
