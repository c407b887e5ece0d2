"""Sign patterns against exact rational arithmetic, with points placed on hyperplanes."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastmem import Hyperplanes, sign_patterns
from fastmem.kernels import bits, exact
from fastmem.kernels.layout import TILE
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.of_points import fill
from fastmem.patterns.words import new_tiles, rows_of

SIZES = [0, 1, 63, 64, 65]
SCALES = [1.0, 1e-9, 1e-30, 1e30]


def on_hyperplanes(rng, points, n, scale):
    """Hyperplanes of which a third pass exactly through a point, and a third very nearly."""
    d = points.shape[1]
    weights = rng.standard_normal((n, d)).astype(np.float32)
    biases = scale * rng.uniform(-1, 1, n)
    for h in range(n if len(points) else 0):
        point = points[rng.integers(len(points))].astype(np.float64)
        if h % 3 == 0:
            k = rng.integers(d)
            weights[h] = 0
            weights[h, k] = rng.choice([-1, 1])
            biases[h] = -weights[h, k] * point[k]
        elif h % 3 == 1:
            biases[h] = -np.sum(weights[h] * point)
            if h % 2:
                biases[h] = np.nextafter(biases[h], rng.choice([-np.inf, np.inf]))
    return weights, biases


@settings(max_examples=60, deadline=None)
@given(
    n_samples=st.sampled_from([*SIZES, 7, 193]),
    n=st.sampled_from([1, 2, 63, 64, 65, 130]),
    d=st.integers(1, 5),
    dtype=st.sampled_from([np.float32, np.float64]),
    scale=st.sampled_from(SCALES),
    offset=st.sampled_from([0.0, 1.0, 1e6]),
    framed=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@example(193, 130, 2, np.float64, 1e-9, 1e6, True, 0)
def test_patterns_equal_exact_rational_arithmetic(
    n_samples, n, d, dtype, scale, offset, framed, seed
):
    rng = np.random.default_rng(seed)
    X = (scale * (rng.standard_normal((n_samples, d)) + offset)).astype(dtype)
    weights, biases = on_hyperplanes(rng, X, n, scale)
    frame = (X.mean(axis=0, dtype=np.float64), scale) if framed and n_samples else ()
    found = sign_patterns(X, Hyperplanes(weights, biases, *frame), n_threads=1)
    expected = oracle.pack(oracle.exact_bits_filtered(X, weights, biases))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("d", [511, 512, 513, 1100])
def test_patterns_are_exact_beyond_one_block_of_features(d):
    rng = np.random.default_rng(d)
    X = rng.standard_normal((13, d)).astype(np.float32)
    weights, biases = on_hyperplanes(rng, X, 70, 1.0)
    expected = oracle.pack(oracle.exact_bits_filtered(X, weights, biases))
    np.testing.assert_array_equal(sign_patterns(X, Hyperplanes(weights, biases)), expected)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(np.float32, 1e37), (np.float32, 1e-44), (np.float64, 1e290), (np.float64, 5e-323)],
)
def test_patterns_are_exact_where_floats_overflow_or_vanish(dtype, scale):
    rng = np.random.default_rng(5)
    X = (scale * rng.uniform(-3, 3, (20, 3))).astype(dtype)
    weights, biases = on_hyperplanes(rng, X, 40, scale)
    expected = oracle.pack(oracle.exact_bits(X, weights, biases))
    for radius in (1.0, float(np.abs(X).max())):
        planes = Hyperplanes(weights, biases, np.zeros(3), radius)
        np.testing.assert_array_equal(sign_patterns(X, planes), expected)


def test_huge_weights_overflow_float32_and_stay_exact():
    rng = np.random.default_rng(6)
    X = rng.standard_normal((9, 4)).astype(np.float32)
    weights = (3e38 * rng.uniform(-1, 1, (66, 4))).astype(np.float32)
    biases = 1e300 * rng.standard_normal(66) * (rng.uniform(size=66) < 0.5)
    expected = oracle.pack(oracle.exact_bits(X, weights, biases))
    np.testing.assert_array_equal(sign_patterns(X, Hyperplanes(weights, biases)), expected)


def test_zero_hyperplanes_give_zero_bits():
    planes = Hyperplanes(np.zeros((2, 3), np.float32), np.array([0.0, 1.0]))
    np.testing.assert_array_equal(sign_patterns(np.ones((2, 3)), planes), [[2], [2]])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(width=32, allow_nan=False, allow_infinity=False),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
        min_size=1,
        max_size=6,
    ),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
)
def test_the_long_accumulator_is_exact_for_any_floats(terms, bias, cancel):
    w = np.array([t[0] for t in terms], np.float32)
    x = np.array([t[1] for t in terms])
    if cancel:
        w, x = np.concatenate([w, -w]), np.concatenate([x, x])
    expected = bool(oracle.exact_bits(x[None], w[None], np.array([bias]))[0, 0])
    assert exact.positive_exactly(w, x, bias) == expected


def test_the_compensated_bias_is_within_its_bound():
    from fractions import Fraction

    rng = np.random.default_rng(0)
    weights = rng.standard_normal((50, 9)).astype(np.float32)
    origin = rng.standard_normal(9) * 10.0 ** rng.integers(-8, 9, 9)
    biases = -(weights.astype(float) @ origin) + 1e-12 * rng.standard_normal(50)
    for array in (weights, biases, origin):
        array.flags.writeable = False
    shifted, errors = np.empty(50), np.empty(50)
    exact.shifted_biases(weights, biases, origin, shifted, errors)
    for i in range(50):
        value = Fraction(biases[i]) + sum(
            Fraction(float(w)) * Fraction(c) for w, c in zip(weights[i], origin, strict=True)
        )
        assert abs(value - Fraction(shifted[i])) <= Fraction(errors[i])
        assert errors[i] <= 1e-12 * max(abs(shifted[i]), 1e-12)


@pytest.mark.parametrize(
    ("weights", "point", "bias", "shifted", "error"),
    [
        # the bias of the frame is wrong by its error, which would turn the sign
        ([1.0], [0.0], -1e-3, 1e-3, 2e-3),
        # four products of 0.75 2^-1074 round up to 2^-1074 each; exactly the sum is 0
        ([0.75] * 4, [5e-324] * 4, -3 * 5e-324, -3 * 5e-324, 0.0),
        # 1 + 2^-60 - 1 in an order that loses 2^-60, with the sign turned
        ([-1.0, -1.0], [1.0, 2.0**-60], 1.0, 1.0, 0.0),
    ],
)
def test_float64_decides_only_what_its_error_allows(weights, point, bias, shifted, error):
    w, x = np.array(weights, np.float32), np.array(point)
    assert not exact.exact_sign(w, x, bias, np.zeros(len(x)), shifted, error)


def test_few_bits_need_the_exact_stage():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((192, 784)).astype(np.float32) / 28
    planes = Hyperplanes(
        rng.standard_normal((640, 784)).astype(np.float32), rng.uniform(-1, 1, 640)
    )
    doubtful = fill(planes, _frozen(X), new_tiles(192, 10))
    assert 0 < doubtful < 0.002 * 192 * 640


@pytest.mark.parametrize("n_samples", [1, 6, 191, 192, 193, 400])
def test_patterns_by_class_are_those_of_the_rows(n_samples):
    rng = np.random.default_rng(n_samples)
    X = rng.standard_normal((n_samples, 3))
    codes = rng.integers(0, 3, n_samples)
    planes = Hyperplanes(rng.standard_normal((70, 3)).astype(np.float32), rng.uniform(-1, 1, 70))
    from fastmem.inputs import check_points

    patterns = Patterns(codes, 3)
    half = Hyperplanes(planes.weights[:65], planes.biases[:65])
    patterns.fill(check_points(X), half, 2)
    patterns.fill(check_points(X), planes, 2, 65)
    expected = sign_patterns(X, planes)
    for code in range(3):
        tiles = patterns.tiles[patterns.first_tile[code] : patterns.first_tile[code + 1]]
        size = patterns.class_size(code)
        rows = patterns.rows(code, np.arange(size))
        assert (codes[rows] == code).all()
        np.testing.assert_array_equal(rows_of(tiles, size), expected[rows])
        assert not rows_of(tiles, len(tiles) * TILE)[size:].any()


def test_popcount_and_trailing_zeros_see_bit_63():
    from numba import njit

    count = njit(lambda w: bits.popcount(w))
    zeros = njit(lambda w: bits.trailing_zeros(w))
    for word in (1, 1 << 63, 2**64 - 1, 0xF0F0 << 40):
        assert count(np.uint64(word)) == word.bit_count()
        assert zeros(np.uint64(word)) == (word & -word).bit_length() - 1
    assert count(np.uint64(0)) == 0


def _frozen(array):
    array.flags.writeable = False
    return array
