"""Where points are: the same however they are stored, ordered or divided."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from fastmem.hyperplanes import extent
from fastmem.inputs import check_points


def found(X, n_threads=1):
    return extent.extent_of(check_points(X), n_threads)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 5), st.integers(0, 10**6),
    st.sampled_from([0.0, 1.0, -1e9, 1e-20]), st.sampled_from([1.0, 1e-3, 1e30]),
    st.floats(0.1, 1.0),
)  # fmt: skip
def test_the_mean_is_near_and_depends_on_no_order_or_form(n, d, seed, shift, size, density):
    rng = np.random.default_rng(seed)
    X = (shift + size * rng.standard_normal((n, d))) * (rng.random((n, d)) < density)
    dense = found(X)
    mean = np.array([math.fsum(column) / n for column in X.T])
    width = X.max(axis=0) - X.min(axis=0)
    # and what float64 rounds in the middle of a column, twice
    assert (np.abs(dense.mean - mean) <= width * 2.0**-31 + np.abs(X).max(axis=0) * 2.0**-51).all()
    for same in (X[rng.permutation(n)], sparse.csr_matrix(X), np.asfortranarray(X)):
        np.testing.assert_array_equal(found(same).mean, dense.mean)


def test_far_points_have_their_mean_among_them():
    """Of times in seconds since 1970, say, that are a tenth of a second apart."""
    X = 1.7e9 + np.arange(20.0)[:, None] / 10
    assert abs(found(X).mean[0] - X.mean()) < 1e-6
    assert abs(found(X).radius - 0.95) < 1e-6


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_ranges_of_rows_do_not_matter(monkeypatch, n_threads):
    X = np.random.default_rng(0).standard_normal((500, 3))
    expected = found(X)
    monkeypatch.setattr(
        extent, "row_ranges", lambda points: [(k, min(k + 7, 500)) for k in range(0, 500, 7)]
    )
    again = found(X, n_threads)
    np.testing.assert_array_equal(again.mean, expected.mean)
    assert again.radius == expected.radius and again.norm == expected.norm
