"""The nerve of cells, and the Betti numbers of complexes over the field of two elements."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise, product

import numpy as np
from numpy.typing import NDArray

from fastmem.shapes.cells import Cells

Simplex = tuple[int, ...]
_DIAGONALS = 3
"""Dimension up to which bounds are also taken between the axes."""
_BOUNDED = 8
"""Dimension up to which cells are bounded: there are as many programs for each as directions."""


def nerve(cells: Cells, vertices: Sequence[int], most: int, dimension: int) -> list[list[Simplex]]:
    """All sets of at most ``most`` cells that have a common point, by size from 1.

    Parameters
    ----------
    cells : Cells
        In R^dimension.
    vertices : sequence of int
        Cells that are not empty, ascending.
    most : int

    Returns
    -------
    list of list of tuple of int
        Ascending; not all where ``cells`` may solve no further program.

    Notes
    -----
    Convex sets in R^d meet if every d + 1 of them do (Helly, 1923), so that larger sets need no
    look.
    """
    levels: list[list[Simplex]] = [[(i,) for i in vertices]]
    while len(levels) < most:
        known = set(levels[-1])
        size = len(levels) + 1
        found = []
        by_start: dict[Simplex, list[int]] = {}
        for simplex in levels[-1]:
            by_start.setdefault(simplex[:-1], []).append(simplex[-1])
        for start, ends in by_start.items():
            for pair in combinations(ends, 2):
                candidate = start + pair
                if size > 2 and not all(
                    candidate[:i] + candidate[i + 1 :] in known for i in range(size - 2)
                ):
                    continue
                if size > dimension + 1 or cells.meet(candidate):
                    found.append(candidate)
                if cells.n_undecided and cells.is_exhausted:
                    return [*levels, found]
        levels.append(found)
    return levels


def spanning_pairs(cells: Cells, vertices: Sequence[int]) -> list[Simplex]:
    """Pairs of cells with a common point that connect the components, and no others."""
    home = {i: i for i in vertices}

    def root(i: int) -> int:
        while home[i] != i:
            home[i] = home[home[i]]
            i = home[i]
        return i

    found = []

    def join(i: int, j: int) -> None:
        if root(i) != root(j):
            home[root(j)] = root(i)
            found.append((i, j))

    for point in cells.seen.T:  # what is known already costs nothing
        for i, j in pairwise(np.flatnonzero(point).tolist()):
            join(i, j)
    # first as many programs as bounds would take: where most cells meet, a few connect all
    directions = _directions(cells.dimension)
    patience = cells.n_programs + 2 * len(directions) * len(vertices)
    apart = np.zeros((len(vertices), len(vertices)), bool)
    has_bounds = not directions
    for i, j in combinations(range(len(vertices)), 2):
        one, other = vertices[i], vertices[j]
        if apart[i, j] or root(one) == root(other):
            continue
        if cells.n_programs >= patience and not has_bounds:
            apart, has_bounds = _apart_by_bounds(cells, vertices, directions), True
            if apart[i, j]:
                continue
        if cells.meet((one, other)):
            join(one, other)
        if cells.n_undecided and cells.is_exhausted:
            break
    return sorted(found)


def _directions(dimension: int) -> list[Simplex]:
    """One of each two opposite directions in which cells are bounded."""
    if dimension <= _DIAGONALS:
        return [u for u in product((-1, 0, 1), repeat=dimension) if u > (0,) * dimension]
    if dimension <= _BOUNDED:
        return [tuple(row) for row in np.eye(dimension, dtype=int).tolist()]
    return []


def _apart_by_bounds(
    cells: Cells, vertices: Sequence[int], directions: Sequence[Simplex]
) -> NDArray[np.bool_]:
    """Which pairs of cells are apart in one of some directions, (m, m)."""
    apart = np.zeros((len(vertices), len(vertices)), bool)
    for u in directions:
        direction = np.array(u)
        highs = np.array([cells.upper_bound(i, direction) for i in vertices])
        lows = -np.array([cells.upper_bound(i, -direction) for i in vertices])
        apart |= highs[:, None] < lows
    return apart | apart.T


def betti_numbers(levels: Sequence[Sequence[Simplex]]) -> tuple[int, ...]:
    """Betti numbers of a complex over the field of two elements.

    Parameters
    ----------
    levels : sequence of sequence of tuple of int
        levels[k] are the simplices of k + 1 vertices, these ascending.

    Returns
    -------
    tuple of int
        beta_0, ..., beta_(K-2) for K levels: the last one only fills holes.
    """
    ranks = [0] + [_boundary_rank(lower, upper) for lower, upper in pairwise(levels)]
    return tuple(len(levels[k]) - ranks[k] - ranks[k + 1] for k in range(len(levels) - 1))


def _boundary_rank(lower: Sequence[Simplex], upper: Sequence[Simplex]) -> int:
    """Rank of the boundary of simplices in terms of those of one vertex fewer."""
    places = {simplex: 1 << i for i, simplex in enumerate(lower)}
    pivots: dict[int, int] = {}
    for simplex in upper:
        column = 0
        for i in range(len(simplex)):
            column ^= places[simplex[:i] + simplex[i + 1 :]]
        while column:
            top = column.bit_length()
            if top not in pivots:
                pivots[top] = column
                break
            column ^= pivots[top]
    return len(pivots)
