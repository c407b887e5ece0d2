"""Sparse rows: the bits of the dense definition, from the nonzeros alone."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse as sp
from test_signs import on_hyperplanes

import fastmem
from fastmem import ContradictionError, Hyperplanes, sign_patterns
from fastmem.hyperplanes.extent import extent_of
from fastmem.inputs import InvalidInputError, check_points
from fastmem.inputs.contradictions import refuse_contradictions
from fastmem.patterns import sparse_rows
from fastmem.patterns.of_points import fill


def sparse_points(rng, n_samples, d, share, dtype, scale=1.0):
    """Points of which a share of the coordinates is not zero, dense and as CSR."""
    X = (scale * rng.standard_normal((n_samples, d))).astype(dtype)
    X[rng.uniform(size=X.shape) > share] = 0
    return X, sp.csr_array(X)


@settings(max_examples=40, deadline=None)
@given(
    n_samples=st.sampled_from([1, 2, 63, 193]),
    n=st.sampled_from([1, 63, 64, 65, 130]),
    d=st.integers(128, 300),
    dtype=st.sampled_from([np.float32, np.float64]),
    scale=st.sampled_from([1.0, 1e-30, 1e30]),
    share=st.sampled_from([0.0, 0.02, 0.1]),
    few_lanes=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@example(193, 130, 200, np.float64, 1.0, 0.05, True, 0)
def test_sparse_patterns_equal_exact_arithmetic(
    n_samples, n, d, dtype, scale, share, few_lanes, seed
):
    rng = np.random.default_rng(seed)
    X, csr = sparse_points(rng, n_samples, d, share, dtype, scale)
    weights, biases = on_hyperplanes(rng, X, n, scale)
    expected = oracle.pack(oracle.exact_bits_filtered(X, weights, biases))
    planes = Hyperplanes(weights, biases, rng.standard_normal(d), scale)
    room = sparse_rows.PANEL_BYTES
    try:
        if few_lanes:
            sparse_rows.PANEL_BYTES = 2 * 64 * d  # two groups of 16 hyperplanes at once
        found = sign_patterns(csr, planes, n_threads=1)
    finally:
        sparse_rows.PANEL_BYTES = room
    if np.count_nonzero(X) * 8 <= X.size:
        assert check_points(csr).is_sparse
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("lanes", [16, 64])
@pytest.mark.parametrize("size", [511, 512, 513, 1300])
def test_long_rows_are_exact_too(size, lanes, monkeypatch):
    rng = np.random.default_rng(size)
    X = np.zeros((9, 12_000), np.float32)
    X[:, rng.choice(12_000, size, replace=False)] = rng.standard_normal((9, size))
    X[3] = 0
    weights, biases = on_hyperplanes(rng, X, 70, 1.0)
    monkeypatch.setattr(sparse_rows, "PANEL_BYTES", 4 * lanes * 12_000)
    found = sign_patterns(sp.csr_array(X), Hyperplanes(weights, biases))
    np.testing.assert_array_equal(found, sign_patterns(X, Hyperplanes(weights, biases)))


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(np.float32, 1e37), (np.float32, 1e-44), (np.float64, 1e290), (np.float64, 5e-323)],
)
def test_sparse_patterns_are_exact_where_floats_overflow_or_vanish(dtype, scale):
    rng = np.random.default_rng(5)
    X, csr = sparse_points(rng, 20, 150, 0.08, dtype, scale)
    weights, biases = on_hyperplanes(rng, X, 40, scale)
    weights[::5] *= np.float32(3e37)
    biases[:2] = 1e300, -1e300
    expected = oracle.pack(oracle.exact_bits(X, weights, biases))
    np.testing.assert_array_equal(sign_patterns(csr, Hyperplanes(weights, biases)), expected)


def test_partial_sums_that_overflow_decide_nothing():
    weights = np.zeros((2, 200), np.float32)
    weights[0, 10:18] = 4 * [3e38] + 4 * [-3.2e38]  # the first four are infinite in float32
    weights[1] = -weights[0]
    csr = sp.csr_array((np.ones(8, np.float32), np.arange(10, 18), [0, 8]), (1, 200))
    assert sign_patterns(csr, Hyperplanes(weights, np.zeros(2))).tolist() == [[2]]


def test_few_sparse_bits_need_the_exact_stage():
    rng = np.random.default_rng(2)
    X = sp.random(400, 50_000, 80 / 50_000, "csr", np.float32, rng)
    planes = Hyperplanes(rng.standard_normal((128, 50_000), np.float32), rng.uniform(-1, 1, 128))
    tiles = np.zeros((3, 2, 192), np.uint64)
    assert 0 < fill(planes, check_points(X).block(0, 400), tiles) < 0.001 * 400 * 128


def test_extent_is_that_of_the_dense_points():
    rng = np.random.default_rng(3)
    X, csr = sparse_points(rng, 500, 300, 0.05, np.float64)
    X[:, 7] = 100.0  # far from 0, where |x|^2 - 2 <x, c> + |c|^2 cancels
    found, expected = (extent_of(check_points(x), 2) for x in (sp.csr_array(X), X))
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12, atol=1e-14)
    assert found.norm == pytest.approx(expected.norm, rel=1e-12)
    assert expected.radius * (1 - 1e-9) <= found.radius <= 1.01 * expected.radius
    assert not check_points(X).is_sparse and check_points(sp.csr_array(X)).is_sparse


def test_equal_sparse_points_are_found_however_they_are_stored():
    # rows 0 and 2 are equal: an explicit zero, and a duplicate entry
    data = [1.0, 2.0, 0.0, 5.0, 1.0, 1.5, 0.5]
    columns = [3, 150, 160, 3, 3, 150, 150]
    matrix = sp.csr_matrix((data, columns, [0, 3, 4, 7]), (3, 200))
    assert not matrix.has_canonical_format
    points = check_points(matrix)
    assert points.is_sparse
    np.testing.assert_array_equal(points.dense(np.arange(3)), matrix.toarray())
    with pytest.raises(ContradictionError, match=r"rows 0 .* and 2") as caught:
        refuse_contradictions(points, np.array([0, 0, 1]), np.array(["a", "b"]), 1)
    assert caught.value.pairs == [(0, 2)] and caught.value.count == 2
    refuse_contradictions(points, np.array([0, 1, 0]), np.array(["a", "b"]), 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint8, np.int64])
def test_sparse_blocks_are_the_rows(dtype):
    rng = np.random.default_rng(4)
    X = (9 * rng.uniform(size=(50, 200)) * (rng.uniform(size=(50, 200)) < 0.1)).astype(dtype)
    points = check_points(sp.csr_array(X))
    some = rng.integers(0, 50, 30)
    np.testing.assert_array_equal(points.take(some).dense(), X[some])
    np.testing.assert_array_equal(points.block(7, 31).dense(), X[7:31])
    assert len(points.block(60, 70)) == 0
    for array in (points.take(some).values, points.block(0, 3).columns):
        assert not array.flags.writeable


def test_duplicates_whose_sum_is_infinite_are_refused():
    matrix = sp.csr_matrix(([1e308, 1e308], [5, 5], [0, 2]), (1, 200))
    with pytest.raises(InvalidInputError, match=r"X\[0, 5\] is inf"):
        check_points(matrix)


@pytest.mark.parametrize("selection", ["merge", "random"])
def test_invariants_1_and_3_hold_for_sparse_points(selection, tmp_path):
    rng = np.random.default_rng(6)
    X, csr = sparse_points(rng, 600, 400, 0.03, np.float32)
    y = rng.integers(0, 3, 600)
    nets = [
        fastmem.interpolate(csr, y, selection=selection, seed=0, n_threads=threads)
        for threads in (1, 3)
    ]
    np.testing.assert_array_equal(nets[0].first.weights, nets[1].first.weights)
    np.testing.assert_array_equal(nets[0].second.masks, nets[1].second.masks)
    nets[0].save(tmp_path / "net.npz")
    for net in (nets[0], fastmem.load(tmp_path / "net.npz")):
        for form in (csr, X, csr.tocsc()):
            assert (net.predict(form) == y).all()
        one = [net.predict(csr[[i]])[0] for i in range(50)]
        assert one == y[:50].tolist()
