"""Rows of few entries from a key: what they are, and their bits by hyperplane."""

from __future__ import annotations

import copy
import pickle
from fractions import Fraction

import numpy as np
import oracle
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse as sp

from fastmem import Hyperplanes, sign_patterns
from fastmem.hyperplanes.keyed import (
    CoarseOrigin,
    KeyedHyperplanes,
    coarse_origin,
    keyed_candidates,
)
from fastmem.inputs import InvalidInputError, check_points, scaled
from fastmem.inputs import points as points_module
from fastmem.patterns import bit_columns as bit_columns_module
from fastmem.patterns.bit_columns import bit_columns
from fastmem.patterns.words import unpacked

PINNED_ROWS = [[0, 0, 0, 1, 1], [0, 0, 0, -1, -1], [0, -3, -1, 0, 0], [-2, 1, -1, 0, 0]]
PINNED_BIASES = [
    "-0x1.1fd400c000000p+1",
    "0x1.1fd400c000000p+1",
    "0x1.17c00f4000000p+1",
    "0x1.37bbd10000000p-1",
]


def planes_of(d, n=130, n_entries=5, n_extra=2, seed=0, key=77, scale=1.0):
    """Generated rows of both signs, in no order, and some that are stored between them."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(4 * n)[:n].astype(np.int32)
    rows[rng.choice(n, min(n, n_extra), replace=False)] = -1
    n_extra = np.count_nonzero(rows < 0)
    rows[rows < 0] = -1 - np.arange(n_extra)
    extra = rng.standard_normal((n_extra, d)).astype(np.float32)
    extra[:, : d // 2] = 0
    center = coarse_origin(scale * rng.standard_normal(d), 2)
    reach = float(np.float32(scale))
    return KeyedHyperplanes(
        key, rows, n_entries, reach, center, extra, scale * rng.uniform(-1, 1, n_extra)
    )


def columns_of(X, planes, n_threads=1, scale=None):
    points = scaled(check_points(X), scale)
    columns, touched = bit_columns(planes, points, n_threads)
    assert columns.shape == (len(planes), -(-points.n_samples // 64))
    bits = unpacked(columns, columns.shape[1] * 64)
    n = points.n_samples
    assert not bits[:, n:].any()
    return bits[:, :n].T, touched


def placed(rng, points, planes):
    """Points of which some are moved along a feature until they are on, or nearly on, a plane."""
    weights, biases = planes.weights.astype(np.float64), planes.biases
    for i in range(len(points)):
        h = rng.integers(len(planes))
        some = np.flatnonzero(weights[h])
        if len(some) and i % 3:
            k = rng.choice(some)
            rest = np.sum(weights[h] * points[i]) - weights[h, k] * points[i, k] + biases[h]
            points[i, k] = -rest / weights[h, k]
            if i % 3 == 1:
                points[i, k] = np.nextafter(points[i, k], rng.choice([-np.inf, np.inf]))
    return points


@settings(max_examples=60, deadline=None)
@given(
    n_samples=st.sampled_from([1, 63, 64, 65, 130]),
    n=st.sampled_from([1, 2, 64, 70]),
    d=st.integers(1, 7),
    n_entries=st.sampled_from([1, 2, 10]),
    dtype=st.sampled_from([np.float32, np.float64]),
    scale=st.sampled_from([1.0, 1e-9, 1e-37, 1e30]),
    offset=st.sampled_from([0.0, 1.0, 1e6]),
    is_sparse=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@example(130, 70, 2, 10, np.float64, 1e-9, 1e6, False, 0)
@example(65, 64, 7, 2, np.float32, 1e30, 0.0, True, 1)
def test_bits_equal_exact_rational_arithmetic(
    n_samples, n, d, n_entries, dtype, scale, offset, is_sparse, seed
):
    rng = np.random.default_rng(seed)
    d += 130 * is_sparse
    planes = planes_of(d, n, n_entries, seed=seed, scale=scale)
    X = scale * (rng.standard_normal((n_samples, d)) + offset)
    if is_sparse:
        X[rng.random(X.shape) < 0.9] = 0
    X = placed(rng, X, planes).astype(dtype)
    assert check_points(sp.csr_matrix(X)).is_sparse == is_sparse
    found, touched = columns_of(sp.csr_matrix(X) if is_sparse else X, planes)
    expected = oracle.exact_bits_filtered(X, planes.weights, planes.biases)
    np.testing.assert_array_equal(found, expected)
    below = oracle.exact_bits_filtered(X, -planes.weights, -planes.biases)
    np.testing.assert_array_equal(touched, (~expected & ~below).any(axis=0))


@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.float32, 3e38), (np.float64, 1.7e308), (np.float64, 5e-324)]
)
def test_bits_are_exact_where_floats_overflow_or_vanish(dtype, scale):
    rng = np.random.default_rng(3)
    X = (scale * rng.integers(-1, 2, (70, 3))).astype(dtype)
    planes = planes_of(3, 40, 4)
    found, _ = columns_of(X, planes)
    np.testing.assert_array_equal(found, oracle.exact_bits(X, planes.weights, planes.biases))


def test_points_on_planes_are_seen():
    """Whole numbers about an origin of whole numbers, and no reach: sums are often exactly 0."""
    center = CoarseOrigin(1.0, 1.0, np.array([0, 1, 2, 0], np.uint8))
    planes = KeyedHyperplanes(5, np.arange(40, dtype=np.int32), 3, 0.0, center)
    X = np.random.default_rng(0).integers(0, 5, (4, 4)).astype(np.float32)
    found, touched = columns_of(X, planes)
    sums = X.astype(int) @ planes.weights.astype(int).T + planes.biases.astype(int)
    np.testing.assert_array_equal(found, sums > 0)
    np.testing.assert_array_equal(touched, (sums == 0).any(axis=0))
    assert touched.any()
    assert not touched.all()


@pytest.mark.parametrize("is_sparse", [False, True])
def test_all_ways_to_bits_agree(is_sparse):
    rng = np.random.default_rng(2)
    d = 140
    X = rng.standard_normal((3000, d))
    X[rng.random(X.shape) < 0.8] = 0
    given = sp.csr_matrix(X) if is_sparse else X
    planes = planes_of(d, 200, 6, n_extra=3)
    found, _ = columns_of(given, planes)
    np.testing.assert_array_equal(found, unpacked(sign_patterns(given, planes), 200))
    np.testing.assert_array_equal(found, columns_of(given, planes.explicit)[0])
    np.testing.assert_array_equal(found, columns_of(given, planes, n_threads=3)[0])
    factors = 2.0 ** rng.integers(-3, 4, d)
    np.testing.assert_array_equal(
        columns_of(given, planes, scale=factors)[0], columns_of(X * factors, planes)[0]
    )


@pytest.mark.parametrize("is_sparse", [False, True])
def test_many_features_are_taken_in_parts(is_sparse, monkeypatch):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((150, 190))
    X[rng.random(X.shape) < 0.9] = 0
    given = sp.csr_matrix(X) if is_sparse else X[:, ::-1]  # copied out in blocks
    for n_extra in (0, 2):
        planes = planes_of(190, 70, 5, n_extra=n_extra)
        whole = columns_of(given, planes)
        monkeypatch.setattr(bit_columns_module, "_MOST_FEATURES", 20)
        monkeypatch.setattr(points_module, "BLOCK_BYTES", 190 * 8 * 10)
        parts = columns_of(given, planes)
        monkeypatch.undo()
        for one, other in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(one, other)


def test_rows_are_those_of_the_definition():
    """In Python's integers and fractions."""

    def mix(word):
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
        return word ^ word >> 31

    step = 0x9E3779B97F4A7C15
    d, s, key = 11, 7, 2**64 - 3
    planes = planes_of(d, 30, s, key=key)
    for h in np.flatnonzero(planes.rows >= 0):
        number = int(planes.rows[h])
        turned = -1 if number % 2 else 1
        seed = mix(mix((key + step) % 2**64) ^ (number // 2 + 1) * 0x94D049BB133111EB % 2**64)
        words = [mix((seed + (j + 1) * step) % 2**64) for j in range(s + 1)]
        row = np.zeros(d)
        for word in words[:s]:
            row[(word >> 32) * d >> 32] += -turned if word & 1 else turned
        np.testing.assert_array_equal(planes.weights[h], row)
        unit = turned * (Fraction(2 * (words[s] >> 40) + 1, 2**24) - 1)
        codes = planes.center.codes
        about = float(Fraction(planes.center.low) * int(row.sum())) + float(
            Fraction(planes.center.step) * int(row @ codes)
        )
        assert planes.biases[h] == -(about + float(Fraction(planes.reach) * unit))


def test_rows_are_these_on_every_machine():
    center = CoarseOrigin(0.25, 0.5, np.array([0, 1, 2, 3, 0], np.uint8))
    planes = KeyedHyperplanes(12345, np.array([0, 1, 2, 10**9], np.int32), 4, 1.5, center)
    assert planes.weights.astype(int).tolist() == PINNED_ROWS
    assert [bias.hex() for bias in planes.biases] == PINNED_BIASES


def test_a_mirrored_row_is_minus_the_row():
    planes = planes_of(9, 40, 4, n_extra=0).numbered(np.arange(80, dtype=np.int32))
    np.testing.assert_array_equal(planes.weights[::2], -planes.weights[1::2])
    np.testing.assert_array_equal(planes.biases[::2], -planes.biases[1::2])


def test_layers_are_taken_apart_and_put_together():
    planes = planes_of(9, 40, 4, n_extra=3)
    kept = np.flatnonzero(np.arange(40) % 3)
    some = planes.subset(kept)
    assert isinstance(some, KeyedHyperplanes)
    np.testing.assert_array_equal(some.weights, planes.weights[kept])
    np.testing.assert_array_equal(some.biases, planes.biases[kept])
    longer = planes.extended(planes.weights[:2] + 1, np.array([0.5, 0.25]))
    assert isinstance(longer, KeyedHyperplanes)
    np.testing.assert_array_equal(longer.weights[40:], planes.weights[:2] + 1)
    np.testing.assert_array_equal(longer.biases, [*planes.biases, 0.5, 0.25])
    for again in (pickle.loads(pickle.dumps(planes)), copy.deepcopy(planes)):
        np.testing.assert_array_equal(again.weights, planes.weights)
        np.testing.assert_array_equal(again.biases, planes.biases)
    moved = planes.about(np.ones(9), 3.0)
    np.testing.assert_array_equal(moved.weights, planes.weights)
    np.testing.assert_array_equal(moved.biases, planes.biases)


@pytest.mark.parametrize("bits", [0, 1, 2, 8])
def test_an_origin_has_so_many_bits(bits):
    mean = np.random.default_rng(0).uniform(-3, 5, 50)
    center = coarse_origin(mean, bits)
    assert center.codes.max(initial=0) < 1 << bits
    if bits:
        assert abs(center.point - mean).max() <= 1.01 * 8 / ((1 << bits) - 1) / 2
    else:
        assert len(set(center.point)) == 1


def test_candidates_are_the_same_for_all_kinds_of_points():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (200, 130)) * (rng.random((200, 130)) < 0.2) * 1.0
    dense = keyed_candidates(3, 50, 5, check_points(X), bits=2)
    assert dense.rows.tolist() == list(range(0, 100, 2))
    for other in (X.astype(np.float32), sp.csr_matrix(X), np.asfortranarray(X)):
        again = keyed_candidates(3, 50, 5, check_points(other), bits=2, n_threads=2)
        np.testing.assert_array_equal(again.biases, dense.biases)
    share = unpacked(sign_patterns(X, dense), 50).mean()
    assert 0.25 < share < 0.75


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key": -1}, "key is"),
        ({"rows": np.arange(3)}, "rows is"),
        ({"rows": np.array([0, -1], np.int32)}, "negative numbers of rows"),
        ({"rows": np.empty(0, np.int32)}, "at least one row"),
        ({"n_entries": 0}, "n_entries is"),
        ({"n_entries": 2**16}, "n_entries is"),
        ({"reach": 0.1}, "reach is 0.1"),
        ({"reach": np.inf}, "reach is inf"),
        ({"reach": "far"}, "reach is 'far'"),
        ({"reach": -1.0}, "reach is -1.0"),
        ({"extra": np.zeros((0, 3), np.float32), "extra_biases": np.zeros(0)}, "center has 4"),
        ({"extra": np.zeros((1, 4), np.float32), "extra_biases": np.zeros(0)}, "extra_biases"),
    ],
)
def test_what_is_no_layer_is_refused(change, words):
    center = CoarseOrigin(0.0, 0.0, np.zeros(4, np.uint8))
    right = {
        "key": 1, "rows": np.arange(3, dtype=np.int32), "n_entries": 2, "reach": 0.5,
        "center": center,
    }  # fmt: skip
    KeyedHyperplanes(**right)
    with pytest.raises(InvalidInputError, match=words):
        KeyedHyperplanes(**{**right, **change})


@pytest.mark.parametrize(
    "numbers",
    [(0.1, 0.0, np.zeros(2, np.uint8)), (0.0, -1.0, np.zeros(2, np.uint8)), (0.0, 0.0, [0, 1])],
)
def test_what_is_no_origin_is_refused(numbers):
    with pytest.raises(InvalidInputError, match=r"low is|step is|codes is"):
        CoarseOrigin(*numbers)


def test_a_layer_of_another_kind_has_columns_too():
    X = np.random.default_rng(1).standard_normal((70, 3))
    planes = Hyperplanes(np.eye(3, dtype=np.float32), -X[5], X.mean(axis=0), 1.0)
    found, touched = columns_of(X, planes)
    np.testing.assert_array_equal(found, X[5] < X)
    assert touched.all()
