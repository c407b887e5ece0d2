"""Landmarks of one class: points each of which is the farthest from those before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.geometry.class_points import ClassPoints
from fastmem.geometry.point_sets import Floats, Rows, Units
from fastmem.inputs import Points
from fastmem.inputs.equal_rows import equal_rows
from fastmem.inputs.points import SomePoints
from fastmem.kernels.distances import lower_gaps
from fastmem.kernels.hamming import FAR, count_ones, lower_to_pattern
from fastmem.kernels.layout import TILE
from fastmem.machine.loops import run_loop
from fastmem.patterns.by_class import Patterns

LEAST_LANDMARKS = 4
"""Half of them are two, which have a distance."""
POINTS_A_LANDMARK = 3
"""Different points for each landmark at least: or epsilon says how dense the sample is, and nothing
of the shape."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Landmarks of one class.

    Attributes
    ----------
    rows : ndarray of shape (L,), int64
        Rows of X.
    radii : ndarray of shape (L,), float64
        radii[k] is the largest distance of a point of the class from the first k + 1 landmarks.
    distances : ndarray of shape (L, L), float64
    n_different : int
        Different points of the class, or patterns.
    """

    rows: Rows
    radii: Floats
    distances: Floats
    n_different: int


def farthest(
    rows: Rows, gaps: NDArray[Any], lower: Callable[[int], object], count: int
) -> tuple[Rows, Floats]:
    """Places of at most ``count`` landmarks, and their radii.

    rows (n,) says which row of X is at each place; of points equally far the first row is taken.
    lower(place) lowers gaps (n,) to the distances from a place. Where all points are landmarks the
    search ends.
    """
    places, radii = [int(np.argmin(rows))], []
    while True:
        lower(places[-1])
        most = gaps.max()
        radii.append(float(most))
        if most == 0 or len(places) == count:
            return np.array(places), np.array(radii)
        ties = np.flatnonzero(gaps == most)
        places.append(int(ties[np.argmin(rows[ties])]))


def euclidean_landmarks(
    points: Points, rows: Rows, units: Units, count: int, n_threads: int
) -> Landmarks:
    """Landmarks among the rows of one class, by Euclidean distances.

    Of ``count`` as many as its different points can do with, or all where they are very few.
    """
    from scipy.spatial.distance import pdist, squareform

    n_different = len(rows) - equal_rows(SomePoints(points, rows), n_threads).n_repeats
    most = n_different // POINTS_A_LANDMARK
    count = min(count, most) if most >= LEAST_LANDMARKS else count
    members = ClassPoints(points, rows, units, n_threads)
    gaps = np.full(members.n, np.inf)

    def lower(place: int) -> None:
        ball = members.balls_around(np.array([place]))
        lower_gaps(members.point_tiles, members.n, ball, units.scale, gaps)

    places, radii = farthest(members.rows, gaps, lower, count)
    chosen = units.scaled(members.coordinates(places))
    distances = squareform(pdist(chosen))
    return Landmarks(
        members.rows[places], radii / units.scale, distances / units.scale, n_different
    )


def hamming_landmarks(patterns: Patterns, code: int, count: int, n_threads: int) -> Landmarks:
    """Landmarks among the points of one class, by the Hamming distances of their patterns."""
    n = patterns.class_size(code)
    rows = patterns.order[patterns.starts[code] : patterns.starts[code + 1]].astype(np.int64)
    tiles = patterns.tiles[patterns.first_tile[code] : patterns.first_tile[code + 1]]
    ones = ones_of(tiles, n, n_threads)
    gaps = np.full(n, FAR, np.int32)

    def lower(place: int) -> None:
        pattern = tiles[place // TILE, :, place % TILE].copy()
        run_loop(lower_to_pattern, len(tiles), n_threads, (tiles, ones, pattern, ones[place], gaps))

    places, radii = farthest(rows, gaps, lower, count)
    chosen = tiles[places // TILE, :, places % TILE]
    distances = np.array(
        [np.bitwise_count(chosen ^ one).sum(axis=1, dtype=np.int64) for one in chosen], np.float64
    )
    return Landmarks(rows[places], radii, distances, len(different_patterns(tiles, n)))


def ones_of(tiles: NDArray[np.uint64], n: int, n_threads: int) -> NDArray[np.int32]:
    """How many ones the first n patterns of some tiles have."""
    ones = np.empty(n, np.int32)
    run_loop(count_ones, len(tiles), n_threads, (tiles, ones))
    return ones


def different_patterns(tiles: NDArray[np.uint64], n: int) -> Rows:
    """The first places of different patterns among the first n, ascending; by a hash of 64 bits."""
    hashes = np.full((len(tiles), TILE), _MULTIPLIER)
    for word in range(tiles.shape[1]):
        hashes = (hashes ^ tiles[:, word]) * _MULTIPLIER
        hashes ^= hashes >> np.uint64(29)
    return np.sort(np.unique(hashes.reshape(-1)[:n], return_index=True)[1])
