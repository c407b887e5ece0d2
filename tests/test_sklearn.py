"""The scikit-learn estimators keep scikit-learn's conventions and fastmem's promises."""

from __future__ import annotations

import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks

from fastmem.sklearn import HyperplanePatterns, InterpolatingClassifier


@pytest.mark.filterwarnings("ignore::fastmem.sklearn.ContradictionWarning")
@parametrize_with_checks([InterpolatingClassifier(), HyperplanePatterns(n_hyperplanes=70)])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)
