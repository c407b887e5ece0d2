"""The intrinsic dimension of patterns beside that of the points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.geometry.point_sets import Units, refuse_large
from fastmem.inputs import Points, check_count, check_seed, check_threads, scaled
from fastmem.inputs.equal_rows import equal_rows
from fastmem.inputs.points import SomePoints
from fastmem.kernels.hamming import two_nearest
from fastmem.kernels.layout import TILE
from fastmem.machine.loops import run_loop
from fastmem.network.checking import check_network
from fastmem.network.network import Network
from fastmem.patterns.by_class import Patterns
from fastmem.shapes.landmarks import different_patterns, ones_of

POINTS = 5_000
_LEAST = 20
"""Different points without which nothing is estimated."""
_KEPT = 0.9
_BLOCK = 512
_TASK_COUNTS = 1 << 20


@dataclass(frozen=True)
class Dimensions:
    """Intrinsic dimension of the same points, as they are and by their patterns.

    Attributes
    ----------
    points : float or None
        By Euclidean distances of the points as the network sees them; None where fewer than 20
        are different, or all neighbours are equally far.
    patterns : float or None
        By Hamming distances of their sign patterns.
    n_points, n_patterns : int
        Different points and patterns that were looked at.
    n_samples : int
        Points that they are a sample of.
    """

    points: float | None
    patterns: float | None
    n_points: int
    n_patterns: int
    n_samples: int


def pattern_dimension(
    network: Network,
    X: Any,
    *,
    n_points: int = POINTS,
    seed: Any = None,
    n_threads: int | None = None,
) -> Dimensions:
    """Estimate the intrinsic dimension of patterns, and of the points beside it.

    Parameters
    ----------
    network : Network
        Its first layer makes the patterns.
    X : array-like, CSR matrix or data frame of shape (n_samples, n_features)
    n_points : int, default 5,000
        Points that are looked at; of more, a sample.
    seed : int, numpy.random.Generator, SeedSequence or None
        Of the sample.
    n_threads : int, optional
        Threads to use; all cores by default.

    Returns
    -------
    Dimensions

    Raises
    ------
    InvalidInputError
        If X or a number cannot be used.

    Notes
    -----
    TwoNN (Facco, d'Errico, Rodriguez and Laio, Estimating the intrinsic dimension of datasets by a
    minimal neighborhood information, 2017): log(r2 / r1), for distances r1 and r2 to the two
    nearest others, is exponential with the dimension as its rate. It is estimated by maximum
    likelihood, the tenth with the largest ratios censored, as the report on complexity does. Random
    hyperplanes lie between two points in proportion to their distance, so that Hamming distances
    are compared with Euclidean ones as they are. No claim on unseen accuracy comes with it.
    """
    check_network(network)
    count = check_count("n_points", n_points, _LEAST)
    threads = check_threads(n_threads)
    generator = np.random.default_rng(check_seed(seed))
    points = scaled(network.checked_points(X), network.scale)
    refuse_large(points, "distances")
    n_samples = points.n_samples
    rows = np.arange(n_samples)
    if n_samples > count:
        rows = np.sort(generator.choice(n_samples, count, replace=False))
    rows = _without_repeats(points, rows, threads)
    some = SomePoints(points, rows)
    patterns = Patterns(np.zeros(len(rows), np.uint16), 1, network.first.n_words)
    patterns.fill(some, network.first, threads)
    kept = different_patterns(patterns.tiles, len(rows))
    return Dimensions(
        points=two_nn(_euclidean(some, threads)) if len(rows) >= _LEAST else None,
        patterns=two_nn(_hamming(patterns.tiles, kept, threads)) if len(kept) >= _LEAST else None,
        n_points=len(rows),
        n_patterns=len(kept),
        n_samples=n_samples,
    )


def two_nn(least: NDArray[Any]) -> float | None:
    """The estimate from distances to the nearest other point and the next, (n, 2), above 0."""
    ratios = np.sort(np.log(least[:, 1] / least[:, 0]))
    n_kept = int(_KEPT * len(ratios))
    kept = ratios[:n_kept]
    total = float(kept.sum() + (len(ratios) - n_kept) * kept[-1])
    return (n_kept - 1) / total if total > 0 else None


def _without_repeats(points: Points, rows: NDArray[np.int64], n_threads: int) -> NDArray[np.int64]:
    """Rows without those that equal one before them."""
    equal = equal_rows(SomePoints(points, rows), n_threads)
    repeats = np.ones(len(equal.rows), bool)
    repeats[equal.starts] = False
    return np.delete(rows, equal.rows[repeats])


def _euclidean(points: Points, n_threads: int) -> NDArray[np.float64]:
    """Distances of each point to the two nearest others, (n, 2)."""
    units = Units(points, n_threads)
    moved = units.scaled(points.dense(np.arange(points.n_samples)))
    squares = np.einsum("ij,ij->i", moved, moved)
    least = np.empty((len(moved), 2))
    for start in range(0, len(moved), _BLOCK):
        own = moved[start : start + _BLOCK]
        products = squares - 2 * (own @ moved.T)
        rows = np.arange(len(own))
        products[rows, start + rows] = np.inf
        # products lose digits where points are near: a few more are measured anew
        near = np.argpartition(products, min(3, len(moved) - 2), axis=1)[:, :4]
        gaps = np.sqrt(((own[:, None] - moved[near]) ** 2).sum(axis=2))
        gaps[near == (start + rows)[:, None]] = np.inf
        least[start : start + _BLOCK] = np.sort(gaps, axis=1)[:, :2]
    return least


def _hamming(
    tiles: NDArray[np.uint64], kept: NDArray[np.int64], n_threads: int
) -> NDArray[np.int32]:
    """Distances of each kept pattern to the two nearest others, (n, 2)."""
    n, n_words = len(kept), tiles.shape[1]
    some = np.zeros((-(-n // TILE), n_words, TILE), np.uint64)
    places = np.arange(n)
    some[places // TILE, :, places % TILE] = tiles[kept // TILE, :, kept % TILE]
    ones = ones_of(some, n, n_threads)
    least = np.empty((n, 2), np.int32)
    size = max(1, _TASK_COUNTS // (n * n_words))
    run_loop(two_nearest, -(-n // size), n_threads, (some, ones, size, least))
    return least
