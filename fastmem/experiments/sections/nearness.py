"""How near the classes are to each other, and how many dimensions the points have."""

from __future__ import annotations

import numpy as np

from fastmem.experiments.complexity_report import Gap
from fastmem.experiments.gap import DIMENSION_POINTS, class_gap, dimension_estimates
from fastmem.experiments.sections.study import Skip, Study, plain
from fastmem.inputs import check_points

LEAST_DIFFERENT = 250
"""Points from which on a dimension is estimated."""


def gap(study: Study) -> Gap:
    """The least distance of points of different classes."""
    usable, classes = study.usable, study.classes
    rows = np.sort(usable.rows)
    points = check_points(usable.sample(len(rows))[0])
    if points.is_sparse:
        raise Skip("points are sparse")
    # a point's nearest may have been left out: then any point of another class will do
    place = np.full(len(usable.codes), -1, np.int64)
    place[rows] = np.arange(len(rows))
    codes = usable.codes[rows]
    near = place[study.hardness.nearest[rows]]
    one, another = np.flatnonzero(codes == codes[0])[0], np.flatnonzero(codes != codes[0])[0]
    near[near < 0] = np.where(codes[near < 0] == codes[0], another, one)
    delta, pair, is_exact = class_gap(points, codes, near, study.n_threads)
    found = [int(rows[i]) for i in pair]
    return Gap(delta, found, [plain(classes[usable.codes[i]]) for i in found], is_exact)


def dimension(study: Study) -> dict[str, float]:
    """The intrinsic dimension of the points, by several estimators."""
    X, _ = study.dense_sample(DIMENSION_POINTS)
    different = np.unique(X.dense(np.arange(X.n_samples)).astype(np.float64), axis=0)
    if len(different) < LEAST_DIFFERENT:
        raise Skip(f"fewer than {LEAST_DIFFERENT} different points")
    if X.n_features == 1:
        raise Skip("a single feature leaves nothing to estimate")
    try:
        found, failed = dimension_estimates(different)
    except ModuleNotFoundError as missing:
        raise Skip(
            'scikit-dimension is not installed: pip install "fastmem-nets[study]"'
        ) from missing
    study.skipped.update({f"dimension by {name}": why for name, why in failed.items()})
    return found
