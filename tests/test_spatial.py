"""Spatial orders: leaves of a k-d tree, and points by class, leaf and row."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmem.inputs import check_points
from fastmem.patterns import spatial_order
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.spatial_order import class_order, leaves_of, sample_rows


def kinds_of_points(rng: np.random.Generator, n: int, d: int) -> dict[str, np.ndarray]:
    X = rng.standard_normal((n, d))
    return {
        "gaussian": X,
        "integers": rng.integers(0, 3, (n, d)).astype(float),
        "constant column": np.where(np.arange(d) == 0, 7.0, X),
        "one point": np.ones((n, d)),
        "two points": np.repeat([[0.0], [1.0]], [n - 1, 1], axis=0) * np.ones(d),
        "huge": X / np.abs(X).max() * 1.7e308,
        "tiny": X * 5e-324 * 100,
        "sorted": np.sort(X, axis=0),
        "one huge column": X * np.where(np.arange(d) == d - 1, 1e200, 1e-200),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_leaves_are_the_same_for_any_threads_and_equal_points(d, dtype):
    rng = np.random.default_rng(d)
    for name, X in kinds_of_points(rng, 5000, d).items():
        with np.errstate(over="ignore"):
            X = X.astype(dtype)
        if not np.isfinite(X).all():
            continue
        points = check_points(X)
        leaves = leaves_of(points, 1)
        assert leaves.dtype == np.int32 and leaves.shape == (5000,)
        assert leaves.min() >= 0 and leaves.max() < 5000 // 96, name
        np.testing.assert_array_equal(leaves, leaves_of(points, 2))
        _, first, inverse = np.unique(X, axis=0, return_index=True, return_inverse=True)
        np.testing.assert_array_equal(leaves, leaves[first][inverse.reshape(-1)])
        n_leaves, n_points = len(np.unique(leaves)), len(first)
        assert n_leaves > 1 or n_points <= 2, name


@pytest.mark.parametrize("d", [2, 3])
def test_leaves_hold_about_as_many_points_and_neighbours_are_near(d):
    X = np.random.default_rng(0).standard_normal((40_000, d))
    leaves = leaves_of(check_points(X), 1)
    sizes = np.bincount(leaves)
    assert len(sizes) == 256
    assert sizes.min() > 40_000 / 256 / 4 and sizes.max() < 40_000 / 256 * 4
    order = np.argsort(leaves, kind="stable")
    extents = [np.ptp(X[some], axis=0).prod() for some in np.array_split(order, 256)]
    assert np.median(extents) < 20 * np.ptp(X, axis=0).prod() / 256 / 2


def test_few_points_have_one_leaf():
    for n in (1, 2, 95, 191):
        assert not leaves_of(check_points(np.arange(2.0 * n).reshape(n, 2)), 2).any()


@given(n=st.integers(1, 10**6), share=st.floats(0, 1))
@settings(deadline=None)
def test_a_sample_is_ascending_and_in_range(n, share):
    count = min(n, 1 + int(share * min(n, 1000)))
    rows = sample_rows(n, count)
    assert len(rows) == count and rows[0] >= 0 and rows[-1] < n and (np.diff(rows) > 0).all()


@pytest.mark.parametrize("most_keys", [1, 1 << 21])
@pytest.mark.parametrize("part", [100, 1 << 17])
def test_the_order_is_by_class_leaf_and_row(monkeypatch, most_keys, part):
    monkeypatch.setattr(spatial_order, "_MOST_KEYS", most_keys)
    monkeypatch.setattr(spatial_order, "_PART_POINTS", part)
    rng = np.random.default_rng(1)
    for dtype in (np.uint16, np.int64):
        for n, n_classes, n_leaves in ((1, 2, 1), (3000, 2, 40), (3000, 7, 1), (5000, 300, 64)):
            codes = rng.integers(0, n_classes, n).astype(dtype)
            leaves = rng.integers(0, n_leaves, n).astype(np.int32)
            rows, numbers, places = class_order(codes, n_classes, leaves, 2)
            assert rows.dtype == numbers.dtype == places.dtype == np.int32
            np.testing.assert_array_equal(rows, np.lexsort((leaves, codes)))
            for code in np.unique(codes):
                of_class = np.flatnonzero(codes == code)
                here = slice(np.count_nonzero(codes < code), np.count_nonzero(codes <= code))
                np.testing.assert_array_equal(of_class[numbers[here]], rows[here])
                np.testing.assert_array_equal(rows[here][places[here]], of_class)


def test_patterns_take_an_order():
    rng = np.random.default_rng(2)
    codes = np.array([0] * 300 + [2] * 200, np.uint16)[rng.permutation(500)]
    leaves = rng.integers(0, 9, 500).astype(np.int32)
    plain, ordered = Patterns(codes, 4), Patterns(codes, 4, leaves=leaves)
    np.testing.assert_array_equal(plain.sizes, ordered.sizes)
    np.testing.assert_array_equal(plain.starts, ordered.starts)
    for c in range(4):
        here = slice(*ordered.starts[c : c + 2])
        np.testing.assert_array_equal(np.sort(ordered.order[here]), plain.order[here])
        assert (np.diff(leaves[ordered.order[here]]) >= 0).all()
        numbers = rng.permutation(ordered.class_size(c))
        np.testing.assert_array_equal(ordered.rows(c, numbers), plain.rows(c, numbers))
        places = ordered.places_of(c, ordered.numbers_in_order(c))
        np.testing.assert_array_equal(places, np.arange(ordered.class_size(c)))
