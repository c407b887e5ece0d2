"""Components and holes of each class, and the dimension of patterns beside that of points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastmem.experiments.complexity_points import rows_of
from fastmem.experiments.sections.study import Skip, Study
from fastmem.inputs import check_points
from fastmem.shapes import Dimensions, Persistence, TopologyReport, pattern_dimension
from fastmem.shapes import topology as shapes_of

MOST_CLASSES = 20
LANDMARKS = 300
FEWEST_LANDMARKS = 20
POINTS_A_LANDMARK = 8
"""With three of them the hole of a thin ring of 1,500 points is missed once in five times, with
eight never; of 300 points any number of landmarks misses it."""
FEWEST_COUNTED = 1_000
"""Points of a class from which on its bars are counted."""
BARS_KEPT = 40
"""Of a dimension: as many as can be told apart in a picture."""


def topology(study: Study) -> TopologyReport:
    """Betti numbers of the classes' points and patterns, with their longest bars."""
    network, X, y = study.wide
    if check_points(X).is_sparse:
        raise Skip("points are sparse")
    labels, codes = np.unique(y, return_inverse=True)
    if len(labels) > MOST_CLASSES:
        raise Skip(f"{len(labels)} classes are more than {MOST_CLASSES}")
    found = []
    for code in range(len(labels)):
        rows = np.flatnonzero(codes == code)
        # by as many landmarks as the points of this class allow
        landmarks = min(LANDMARKS, max(FEWEST_LANDMARKS, len(rows) // POINTS_A_LANDMARK))
        try:
            found.append(
                shapes_of(
                    network, rows_of(X, rows), y[rows], landmarks=landmarks,
                    n_threads=study.n_threads,
                )
            )  # fmt: skip
        except ModuleNotFoundError as missing:
            raise Skip(str(missing)) from missing
        study.tell("topology", code + 1, len(labels), 0)
    return replace(
        found[0],
        n_samples=len(y),
        landmarks=max(one.landmarks for one in found),
        classes=tuple(
            replace(
                entry,
                points=_thinned(entry.points, entry.n_points),
                patterns=_thinned(entry.patterns, entry.n_points),
            )
            for one in found
            for entry in one.classes
        ),
    )


def patterns(study: Study) -> Dimensions:
    """The intrinsic dimension of sign patterns, and of the points beside it."""
    network, X, _ = study.wide
    if check_points(X).is_sparse:
        raise Skip("points are sparse")
    seed = study.seeds.several("patterns", 1)[0]
    found = pattern_dimension(network, X, seed=seed, n_threads=study.n_threads)
    if found.points is None and found.patterns is None:
        raise Skip("fewer than twenty points differ, or all neighbours are equally far")
    return found


def _thinned(found: Persistence, n_points: int) -> Persistence:
    """Without the rows of landmarks, and with the longest bars, uncounted where points are few."""
    bars = tuple(
        tuple(
            (float(f"{birth:.7g}"), None if death is None else float(f"{death:.7g}"))
            for birth, death in some[:BARS_KEPT]
        )
        for some in found.bars
    )
    found = replace(found, landmarks=(), bars=bars)
    if n_points >= FEWEST_COUNTED:
        return found
    why = f"fewer than {FEWEST_COUNTED:,} points say too little of a shape, look at the bars"
    return replace(found, betti=None, betti_sure=None, is_stable=None, reason=why)
