"""What a sample says of points and their neighbours: whether a spatial order will pay."""

from __future__ import annotations

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.inputs.points import fits_one_array
from fastmem.kernels.layout import TILE, WORD_BITS
from fastmem.patterns.of_points import fill
from fastmem.patterns.spatial_order import sample_rows
from fastmem.patterns.words import new_tiles, rows_of, unpacked

NEIGHBOURS = "measured"
"""Whether patterns are in a spatial order where neighbours are looked for: as ``MODE``."""
FEW_FEATURES = 64
"""With more, points have no near neighbours to share bounds with."""
_FEWER_FEATURES = 40
"""The same for fits of some thousand points, of which asking would take 2 %."""
FEWEST_NEIGHBOURS = 4000
_NEIGHBOURS_PAY = 0.6
"""Share of hyperplanes that vary among the points of a tile: groups of 16 of them are closer."""
_NOISY = 2
"""Of ``_QUERIES`` points so many have another label than their neighbour, or neurons are few."""
_QUERIES = 64
_ASKED_POINTS = 2048
_PLACES = 12
_NEIGHBOURS = 16
_ASKED_HYPERPLANES = 256
_ASKED_VALUES = 1 << 19
"""Coordinates that are compared to find neighbours: some ms."""


def neighbours_pay(points: Points, codes: np.ndarray, hyperplanes: Hyperplanes) -> bool:
    """Whether neurons will be so many that it pays to look for them among neighbours.

    Labels are noisy, or borders long, and bounds on a few neighbours leave most points uncounted.
    """
    if NEIGHBOURS != "measured":
        return NEIGHBOURS == "always" and fits_one_array(points)
    n_samples, d = points.n_samples, points.n_features
    if not fits_one_array(points) or n_samples < FEWEST_NEIGHBOURS or d > _FEWER_FEATURES:
        return False
    return (
        varying_share(points, codes, hyperplanes) < _NEIGHBOURS_PAY
        and labels_that_differ(points, codes) >= _NOISY
    )


def labels_that_differ(points: Points, codes: np.ndarray) -> int:
    """How many of some points have another label than their nearest neighbour in a sample."""
    n_samples = points.n_samples
    rows = sample_rows(n_samples, min(_ASKED_POINTS, n_samples // 8))
    # coordinate by coordinate, so that the sums, and with them networks, are the same everywhere
    with np.errstate(over="ignore", invalid="ignore"):
        coordinates = points.take(rows).T.astype(np.float32)
        asked = np.linspace(0, len(rows) - 1, _QUERIES).astype(np.int64)
        squares = np.zeros((_QUERIES, len(rows)), np.float32)
        gaps = np.empty_like(squares)
        for column in coordinates:
            np.subtract(column, column[asked, None], out=gaps)
            gaps *= gaps
            squares += gaps
    squares[np.arange(_QUERIES), asked] = np.inf
    nearest = rows[squares.argmin(axis=1)]
    return int(np.count_nonzero(codes[nearest] != codes[rows[asked]]))


def varying_share(points: Points, codes: np.ndarray, hyperplanes: Hyperplanes) -> float:
    """Share of the hyperplanes that pass between the points of a tile, as a sample tells.

    Of N points of a class a tile has 192, so that 16 neighbours among N / 12 points are as far from
    one another. Points are dense; codes (N,) their classes. At most 256 hyperplanes are asked.
    """
    n_samples, d = points.n_samples, points.n_features
    count = min(n_samples * _NEIGHBOURS // TILE, _ASKED_VALUES // (_PLACES * d))
    rows = sample_rows(n_samples, count)
    with np.errstate(over="ignore"):
        coordinates = points.take(rows).T.astype(np.float32)
    groups = _neighbours(coordinates, codes[rows])
    n_asked = min(_ASKED_HYPERPLANES, len(hyperplanes))
    tiles = new_tiles(len(groups) * _NEIGHBOURS, -(-n_asked // WORD_BITS))
    fill(hyperplanes.subset(np.arange(n_asked)), points.take(rows[groups.reshape(-1)]), tiles)
    bits = unpacked(rows_of(tiles, len(groups) * _NEIGHBOURS), n_asked)
    bits = bits.reshape(len(groups), _NEIGHBOURS, n_asked)
    varies = bits.any(axis=1) & ~bits.all(axis=1)
    return float(varies.mean())


def _neighbours(coordinates: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """For some of the points, (d, m), the nearest ones of the same class, (_PLACES, _NEIGHBOURS).

    Where a class has too few, also others.
    """
    m = coordinates.shape[1]
    found = np.empty((_PLACES, _NEIGHBOURS), np.int64)
    with np.errstate(over="ignore", invalid="ignore"):
        for place in range(_PLACES):
            one = (2 * place + 1) * m // (2 * _PLACES)
            squares = np.where(codes == codes[one], np.float32(0), np.float32(np.inf))
            for row in coordinates:
                gaps = row - row[one]
                squares += gaps * gaps
            found[place] = np.argpartition(squares, _NEIGHBOURS - 1)[:_NEIGHBOURS]
    return found
