"""`topology`: the shapes of the classes by points, by patterns and by decision regions."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.geometry.point_sets import Units, refuse_large
from fastmem.inputs import Points, check_count, check_known_labels, check_threads, scaled
from fastmem.inputs.points import some_points
from fastmem.inputs.refusals import typed, whole
from fastmem.machine.memory import require
from fastmem.network.checking import check_network
from fastmem.network.network import Network
from fastmem.patterns.by_class import Patterns
from fastmem.shapes.bounds import least_neurons
from fastmem.shapes.landmarks import LEAST_LANDMARKS, euclidean_landmarks, hamming_landmarks
from fastmem.shapes.persistence import persistence
from fastmem.shapes.regions import region_of, why_not_convex
from fastmem.shapes.report import ClassShape, TopologyReport

LANDMARKS = 300
MOST_LANDMARKS = 2000
"""Bars of so many take some ten seconds, and ten times as long with twice as many."""
MOST_DIMENSION = 3
MAX_CELLS = 60
BOX = 1024.0


def topology(
    network: Network,
    X: Any,
    y: Any,
    *,
    landmarks: int = LANDMARKS,
    max_dimension: int = 1,
    max_cells: int = MAX_CELLS,
    box: float = BOX,
    n_threads: int | None = None,
) -> TopologyReport:
    """Count components, holes and voids of each class: of its points, patterns and region.

    Parameters
    ----------
    network : Network
        One with ``decision="cells"``. Regions are looked at where all thresholds are 1, as with
        ``compact=True``, of the classes that have neurons, with ``covered="all"`` all.
    X : array-like, CSR matrix or data frame of shape (n_samples, n_features)
        As a rule the training points.
    y : array-like of shape (n_samples,)
        Their labels.
    landmarks : int, default 300
        Points of a class that stand for all of it, from 4 to 2,000; of a class of fewer than
        three different points for each, a third of these.
    max_dimension : int, default 1
        The highest k of beta_k: 0 components, 1 holes, 2 voids; at most 3. Of voids in more than
        three features bars may take minutes.
    max_cells : int, default 60
        Cells of a class up to which all Betti numbers of its region are computed; of more, beta_0
        alone.
    box : float, default 1024
        Half of the width of the box about the points' mean in which regions are looked at, in
        multiples of the largest distance of a point from it: at least 1.
    n_threads : int, optional
        Threads to use; all cores by default. The report does not depend on it.

    Returns
    -------
    TopologyReport
        For each class that occurs in y.

    Raises
    ------
    InvalidInputError
        If the network decides by a vote or by a list, or X, y or a number cannot be used.
    ModuleNotFoundError
        If ripser (the extra ``topology``) is not installed.

    Notes
    -----
    *Points and patterns.* The landmarks are chosen from all points of the class, each the farthest
    from those before it; epsilon is the largest distance of a point to them. Bars of their Rips
    complexes with birth at most 2 epsilon and death beyond 4 epsilon count the holes of every set
    that the landmarks cover to epsilon and whose features are large against it (Chazal and Oudot,
    Towards persistence-based reconstruction in Euclidean spaces, 2008). Points only bound that
    epsilon from below: no numbers are given where a class has fewer than three different points
    for each of four landmarks, and from beta_2 on a tenth is added. Distances are of points as
    the network sees them, times its ``scale``, and of patterns in hyperplanes between them.

    *Region*: where a neuron of the class is on, in the box, far beyond the points by default. Cells
    are closed and convex, so that it has the homology of their nerve. Which cells meet is proved,
    by a point of exact signs or by multipliers whose sums are checked in whole numbers; linear
    programs (HiGHS) only propose them. Where cells of two classes overlap, one class wins: that is
    ignored here.
    """
    count = whole(landmarks, "landmarks", "", LEAST_LANDMARKS, MOST_LANDMARKS)
    dimension = whole(max_dimension, "max_dimension", "", 0, MOST_DIMENSION)
    most_cells = check_count("max_cells", max_cells, 1)
    half_width = _checked_box(box)
    threads = check_threads(n_threads)
    _refuse_other_networks(network)
    points = scaled(network.checked_points(X), network.scale)
    codes = check_known_labels(y, points.n_samples, network.classes_)
    refuse_large(points, "distances")
    _require_memory(network, points, codes)
    without_region = why_not_convex(network)
    units = Units(points, threads)
    patterns = _patterns(network, points, codes, threads)
    entries = []
    for code in np.unique(codes).tolist():
        rows = np.flatnonzero(codes == code)
        some = euclidean_landmarks(points, rows, units, count, threads)
        others = hamming_landmarks(patterns, code, max(len(some.rows), LEAST_LANDMARKS), threads)
        found = [
            persistence(metric, chosen, count, dimension)
            for metric, chosen in (("euclidean", some), ("hamming", others))
        ]
        region = None
        if not without_region:
            region = region_of(
                network, code, some_points(points, rows), units,
                max_dimension=dimension, max_cells=most_cells, box=half_width,
                n_threads=threads,
            )  # fmt: skip
        numbers = found[0].betti
        entries.append(
            ClassShape(
                label=network.classes_[code].item(),
                n_points=len(rows),
                points=found[0],
                patterns=found[1],
                region=region,
                least_neurons=None if numbers is None else least_neurons(numbers),
            )
        )
    return TopologyReport(
        n_samples=points.n_samples,
        n_features=points.n_features,
        n_hyperplanes=len(network.first),
        landmarks=count,
        max_dimension=dimension,
        max_cells=most_cells,
        classes=tuple(entries),
        without_region=without_region,
    )


def _refuse_other_networks(network: Any) -> None:
    if check_network(network).decision != "cells":
        what = "a vote" if network.decision == "vote" else "a list of neurons in order"
        raise InvalidInputError(
            f"network decides by {what}, whose classes are no unions of cells; fit with "
            f"decision='cells', compact=True and covered='all'"
        )


def _checked_box(box: Any) -> float:
    is_number = isinstance(box, int | float | np.integer | np.floating)
    if is_number and not isinstance(box, bool) and 1 <= box <= 2.0**40:
        return float(box)
    raise InvalidInputError(f"box is {typed(box)}; pass a number from 1 to 2**40")


def _require_memory(network: Network, points: Points, codes: np.ndarray) -> None:
    """Refuse what has no room: patterns of all points, and the largest class as one array."""
    largest = int(np.bincount(codes).max())
    needed = 8 * points.n_samples * network.first.n_words
    needed += largest * points.n_features * points.dtype.itemsize
    require(needed, f"the topology of {points.n_samples:,} points", "pass fewer points")


def _patterns(network: Network, points: Points, codes: np.ndarray, n_threads: int) -> Patterns:
    """The patterns of all points, by class."""
    n_classes, n_words = len(network.classes_), network.first.n_words
    patterns = Patterns(codes, n_classes, n_words)
    patterns.fill(points, network.first, n_threads)
    return patterns
