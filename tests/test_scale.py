"""Points multiplied by powers of two: the same network as of points that were scaled by hand."""

from __future__ import annotations

import copy
import pickle

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st
from scipy import sparse

import fastmem
from fastmem import InvalidInputError, interpolate, load
from fastmem.inputs import check_points, scaled, spread_scale
from fastmem.inputs.points import ConvertedPoints, NarrowPoints
from fastmem.inputs.scaled_points import ScaledPoints
from fastmem.network.coverage import coverage


def assert_same_layers(a: fastmem.Network, b: fastmem.Network) -> None:
    for name in ("weights", "biases", "origin", "radius"):
        np.testing.assert_array_equal(getattr(a.first, name), getattr(b.first, name))
    for name in ("masks", "thresholds", "owners"):
        np.testing.assert_array_equal(getattr(a.second, name), getattr(b.second, name))
    assert a.covered == b.covered


def table(seed=0, n_samples=150, n_classes=3):
    """Points of six features in units from 2^-30 to 2^30, labels, and what undoes the units.

    One feature is constant, one has three values.
    """
    rng = np.random.default_rng(seed)
    units = np.array([-30, 0, 17, 3, 30, 0])
    X = rng.standard_normal((n_samples, 6)).astype(np.float32).astype(np.float64)
    X[:, 3] = rng.integers(0, 3, n_samples)
    X[:, 5] = 4.0
    y = rng.integers(0, n_classes, n_samples)
    return np.ldexp(X, units), y, np.ldexp(1.0, -units)


def as_kind(X: np.ndarray, kind: str):
    if kind == "float32":
        return X.astype(np.float32)
    if kind == "frame":
        return pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])])
    if kind == "csr":
        return sparse.csr_matrix(X)
    if kind == "wide csr":  # handed out as sparse rows
        wide = np.zeros((len(X), 400))
        wide[:, ::70] = X
        return sparse.csr_matrix(wide)
    return X[::-1].copy()[::-1] if kind == "strided" else X


def as_scale(s: np.ndarray, kind: str) -> np.ndarray:
    if kind != "wide csr":
        return s
    wide = np.ones(400)
    wide[::70] = s
    return wide


KINDS = ["float64", "float32", "strided", "frame", "csr", "wide csr"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"width": 400, "projection": "structured", "margin": 0.5},
        {"width": 500, "activation": "relu"},
        {"compact": True, "memory_limit": "300 MB"},
        {"width": "smallest", "center": False, "selection": "random"},
    ],
    ids=str,
)
def test_a_scaled_fit_is_the_fit_of_points_scaled_by_hand(kind, settings, tmp_path):
    X, y, s = table()
    given, by_hand, scale = as_kind(X, kind), as_kind(X * s, kind), as_scale(s, kind)
    net = interpolate(given, y, scale=scale, seed=1, n_threads=2, **settings)
    hand = interpolate(by_hand, y, seed=1, n_threads=1, **settings)
    assert_same_layers(net, hand)
    np.testing.assert_array_equal(net.scale, scale)
    assert hand.scale is None and hand.report.scale.exponents is None
    unseen, unseen_by_hand = (as_kind(P, kind) for P in (table(7)[0], table(7)[0] * s))
    np.testing.assert_array_equal(net.predict(given), y)
    np.testing.assert_array_equal(net.predict(unseen), hand.predict(unseen_by_hand))
    scores = hand.decision_function(unseen_by_hand)
    np.testing.assert_array_equal(net.decision_function(unseen), scores)
    assert net.score(given, y) == 1.0
    net.save(tmp_path / "net.npz")
    for twin in (load(tmp_path / "net.npz"), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        np.testing.assert_array_equal(twin.scale, scale)
        assert twin.feature_names == net.feature_names
        np.testing.assert_array_equal(twin.decision_function(unseen), scores)


@hypothesis.given(
    seed=st.integers(0, 2**32 - 1),
    exponents=st.lists(st.integers(-500, 500), min_size=1, max_size=5),
    n_samples=st.integers(2, 40),
    single=st.booleans(),
)
@hypothesis.settings(max_examples=40, deadline=None)
def test_no_power_of_two_changes_what_is_memorised(seed, exponents, n_samples, single):
    rng = np.random.default_rng(seed)
    s = np.ldexp(1.0, exponents)
    X = rng.standard_normal((n_samples, len(s)))
    if single:
        X = X.astype(np.float32)
    y = np.arange(n_samples) % 2
    by_hand = X.astype(np.float64) * s
    net = interpolate(X, y, scale=s, seed=seed)
    hand = interpolate(by_hand, y, scale="none", seed=seed)
    assert_same_layers(net, hand)
    assert net.predict(X).tolist() == y.tolist()
    assert [net.predict(x[None])[0] for x in X] == y.tolist()


@pytest.mark.parametrize("scale", ["std", "none", "given"])
def test_float32_at_its_limits_is_memorised(scale):
    rng = np.random.default_rng(0)
    X = np.stack(
        [
            rng.uniform(-3.4e38, 3.4e38, 60),
            rng.uniform(1e-38, 2e-38, 60),
            rng.integers(0, 50, 60) * 1.4e-45,  # subnormal
            rng.integers(0, 2, 60),
        ],
        axis=1,
    ).astype(np.float32)
    y = rng.integers(0, 3, 60)
    s = np.ldexp(1.0, [100, -100, -500, 500])
    net = interpolate(X, y, scale=s if scale == "given" else scale, seed=0)
    assert net.predict(X).tolist() == y.tolist()
    assert [net.predict(x[None])[0] for x in X] == y.tolist()
    assert net.predict(sparse.csr_matrix(X)).tolist() == y.tolist()


def test_scaled_points_are_float32_only_where_that_is_exact():
    ones = np.ones((4, 2), np.float32)
    cases = [
        (ones, [20, -30], np.float32),
        (ones, [127, 0], np.float32),
        (ones, [128, 0], np.float64),
        (ones, [-126, 0], np.float32),
        (ones, [-127, 0], np.float64),
        (ones * np.float32(2.0**100), [27, 0], np.float32),
        (ones * np.float32(2.0**100), [28, 0], np.float64),
        (ones * np.float32(2.0**-140), [1, 0], np.float64),  # subnormal
        (ones.astype(np.float64), [0, 1], np.float64),
    ]
    for X, exponents, dtype in cases:
        s = np.ldexp(1.0, exponents)
        points = scaled(check_points(X), s)
        assert points.dtype == points.block(0, 4).dtype == dtype, (exponents, points.dtype)
        np.testing.assert_array_equal(points.block(0, 4), X.astype(np.float64) * s)


@pytest.mark.parametrize("kind", KINDS)
def test_scaled_points_are_handed_out_as_others_are(kind, monkeypatch):
    monkeypatch.setattr("fastmem.inputs.scaled_points.BLOCK_BYTES", 100)
    X, _, s = table()
    given, scale = check_points(as_kind(X, kind)), as_scale(s, kind)
    points = scaled(given, scale)
    assert isinstance(points, ScaledPoints)
    assert points.is_sparse == isinstance(given, NarrowPoints)
    assert (points.feature_names is None) == (kind != "frame")
    assert points.row_values == given.row_values and points.array is None
    whole = given.dense(np.arange(150)).astype(np.float64) * scale
    rows = np.array([5, 0, 149, 5])
    np.testing.assert_array_equal(points.dense(rows), whole[rows])
    block = points.block(10, 20)
    dense = block.dense() if points.is_sparse else block
    np.testing.assert_array_equal(dense, whole[10:20])
    assert not (block.values if points.is_sparse else block).flags.writeable
    assert scaled(given, None) is given


def test_a_prediction_beyond_float64_is_refused_with_its_place():
    X, y, s = table()
    net = interpolate(X, y, scale=s, seed=0)
    far = X[:5].copy()
    far[3, 0] = 1e305  # times 2^30
    sentence = r"X\[3, 0\] is 1e\+305, which is beyond float64 once .* 1.07374e\+09.*; pass a small"
    for bad in (far, sparse.csr_matrix(far), pd.DataFrame(far)):
        with pytest.raises(InvalidInputError, match=sentence):
            net.predict(bad)
    far[3, 0], far[2, 4] = 0.0, 1e305  # times 2^-30: below
    assert len(net.predict(far)) == 5
    tiny = np.full((1, 6), 5e-324)  # rounds to 0, wherever the point stands
    assert net.predict(tiny) == net.predict(np.repeat(tiny, 300, axis=0))[7]


def test_a_fit_refuses_to_round():
    X = np.array([[1.0, 3e-308], [1.0, 3.0000000000000005e-308], [2.0, 0.0]])
    with pytest.raises(InvalidInputError, match=r"X\[0, 1\] is 3e-308, which has no room .*larger"):
        interpolate(X, [0, 1, 0], scale=[1, 2.0**-20], seed=0)
    for scale in ("std", "auto", [1.0, 2.0**20]):
        assert interpolate(X, [0, 1, 0], scale=scale, seed=0).predict(X).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("scale", "sentence"),
    [
        ("standard", "scale is 'standard'.*; pass 'none', 'auto' or 'std'"),
        (None, "scale is None.*; pass 'none', 'auto', 'std' or 6 powers of two, one a feature"),
        (2.0, "scale is 2.0"),
        (True, "scale is True"),
        ([1, 2, 4, 8, 16], "scale has 5 numbers for 6 features; pass one for each"),
        ([1, 2, 3, 1, 1, 1], r"scale\[2\] is 3, which is no power of two.*the nearest power of tw"),
        ([1, 2, 0, 1, 1, 1], r"scale\[2\] is 0"),
        ([1, 2, -2, 1, 1, 1], r"scale\[2\] is -2"),
        ([1, 2, np.nan, 1, 1, 1], r"scale\[2\] is nan"),
        ([1, 2, np.inf, 1, 1, 1], r"scale\[2\] is inf"),
        ([1, 2, 2.0**501, 1, 1, 1], r"scale\[2\] is 6.5\d+e\+150"),
        ([1, 2, 2.0**-501, 1, 1, 1], r"scale\[2\] is 1.5\d+e-151"),
        ([1, 1 + 2**-52, 1, 1, 1, 1], r"scale\[1\] is 1.0000000000000002"),
        (np.array([1, 2**62 + 1, 1, 1, 1, 1]), r"scale\[1\] is 4611686018427387905"),
        (["1", "2", "1", "1", "1", "1"], "pass 'none', 'auto', 'std' or 6 powers of two, one a f"),
        ([True] * 6, "pass 'none', 'auto', 'std' or 6 powers of two, one a f"),
        ([[1] * 6], "pass 'none', 'auto', 'std' or 6 powers of two, one a f"),
        ([1, [2]], "scale is "),
        ([1j] * 6, "pass 'none', 'auto', 'std' or 6 powers of two, one a f"),
    ],
    ids=str,
)
def test_other_scales_are_refused(scale, sentence):
    X, y, _ = table()
    with pytest.raises(InvalidInputError, match=sentence):
        interpolate(X, y, scale=scale)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.uint8])
def test_powers_of_two_of_any_type_are_taken(dtype):
    X, y, _ = table()
    s = np.array([1, 2, 4, 8, 16, 128]).astype(dtype)
    net = interpolate(X, y, scale=s.tolist() if dtype == np.int64 else s, seed=0)
    assert net.scale.dtype == np.float64 and net.scale.tolist() == [1, 2, 4, 8, 16, 128]
    with pytest.raises(ValueError, match="read-only"):
        net.scale[0] = 2


def test_ones_change_nothing_at_all():
    X, y, _ = table()
    plain = interpolate(X, y, seed=0, scale="none")
    ones = interpolate(X, y, seed=0, scale=np.ones(6))
    assert_same_layers(plain, ones)
    assert ones.scale is None and ones.summary == plain.summary
    assert str(ones.report.scale) == "not scaled"


# Standard deviations --------------------------------------------------------------------------


@hypothesis.given(
    seed=st.integers(0, 2**32 - 1), n_samples=st.integers(1, 30), d=st.integers(1, 6),
    magnitude=st.integers(-290, 290), kind=st.sampled_from(["float64", "csr"]),
)  # fmt: skip
@hypothesis.settings(max_examples=60, deadline=None)
def test_std_takes_the_nearest_powers_of_two(seed, n_samples, d, magnitude, kind):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, d)) * 10.0 ** rng.integers(-3, 4, d)
    X += rng.integers(-2, 3, d) * 1e4
    X[rng.random((n_samples, d)) < 0.3] = 0.0
    spread = np.log2(np.where(X.std(axis=0) > 0, X.std(axis=0), 1.0))
    shift = np.where(X.std(axis=0) > 0, np.rint(magnitude * np.log2(10)), 0)
    found = np.log2(spread_scale(check_points(as_kind(np.ldexp(X, shift.astype(int)), kind))))
    wanted = np.clip(-spread - shift, -500, 500)
    assert (np.abs(found - wanted) <= 0.5 + 1e-6).all()


def test_constant_features_stay_as_they_are():
    X = np.array([[1e300, 0.0, -5e-324, 7.0], [1e300, 0.0, -5e-324, 7.1]])
    assert spread_scale(check_points(X)).tolist() == [1, 1, 1, 2.0**4]


def test_std_is_the_same_however_points_are_stored(monkeypatch):
    X, _, _ = table(n_samples=500)
    scale = spread_scale(check_points(X))
    for kind in KINDS[1:5]:
        np.testing.assert_array_equal(spread_scale(check_points(as_kind(X, kind))), scale)
    assert isinstance(check_points(as_kind(X, "frame")), ConvertedPoints)
    monkeypatch.setattr("fastmem.inputs.points._TASK_VALUES", 100)  # many ranges of rows
    np.testing.assert_array_equal(spread_scale(check_points(X)), scale)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_by_standard_deviations_says_what_it_did(kind):
    X, y, s = table()
    net = interpolate(as_kind(X, kind), y, scale="std", seed=0)
    assert net.predict(as_kind(X, kind)).tolist() == y.tolist()
    low, high = np.log2(net.scale.min()), np.log2(net.scale.max())
    assert (low, high) == (-30, 30)
    assert str(net.report.scale) == "scaled by powers of two from 2^-30 to 2^30"
    assert net.summary["scale"] == str(net.report.scale)
    assert net.report.scale.asked == "std"


# Measured -------------------------------------------------------------------------------------


def test_auto_leaves_features_that_spread_alike():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 4)) * [1, 2, 4, 5], rng.integers(0, 2, 200)
    plain, auto = interpolate(X, y, seed=0, scale="none"), interpolate(X, y, seed=0)
    assert_same_layers(plain, auto)
    assert auto.scale is None and auto.report.scale.without is None
    assert str(auto.report.scale) == "not scaled"


@pytest.mark.parametrize("kind", KINDS[:5])
def test_auto_measures_units_that_differ(kind):
    rng = np.random.default_rng(0)
    X, _, s = table(1, 1500, 2)
    by_hand = X * s
    y = (by_hand[:, :3] @ [1, 1, 1] + 0.1 * rng.standard_normal(1500) > 0).astype(int)
    net = interpolate(as_kind(X, kind), y, seed=0, scale="auto")
    scaling = net.report.scale
    assert scaling.with_it <= 0.8 * scaling.without
    assert net.predict(as_kind(X, kind)).tolist() == y.tolist()
    assert str(scaling) == (
        f"scaled by powers of two from 2^-30 to 2^30: {scaling.with_it} hyperplanes of a sample "
        f"against more than {scaling.without}"
    )
    again = interpolate(as_kind(X, kind), y, seed=0, scale="auto", n_threads=1)
    assert_same_layers(net, again)
    assert again.report.scale == scaling
    std = interpolate(as_kind(X, kind), y, seed=0, scale="std")
    assert_same_layers(net, std)


def test_auto_keeps_what_is_easier_as_it_is():
    """One feature tells all, and nine that do not hardly vary."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 10)) * 2.0**-12
    y = rng.integers(0, 2, 600)
    X[:, 0] = y + 0.1 * rng.standard_normal(600)
    plain, auto = interpolate(X, y, seed=0, scale="none"), interpolate(X, y, seed=0)
    assert_same_layers(plain, auto)
    scaling = auto.report.scale
    assert scaling.exponents is None and scaling.without < scaling.with_it / 0.8
    assert str(scaling).startswith("not scaled: ")


@pytest.mark.parametrize(
    "settings", [{"width": 40}, {"width": 40, "margin": 1.0}, {"projection": "structured"}], ids=str
)
def test_auto_meets_contradictions_and_lonely_classes(settings):
    X, y, _ = table(n_samples=1200)
    y[0] = 7  # a class of one point
    if "width" in settings:
        X[1], y[1], y[2] = X[2], 0, 1
    with pytest.warns(fastmem.UnseparatedWarning) if "width" in settings else nothing():
        net = interpolate(X, y, scale="auto", seed=0, **settings)
    wrong = np.flatnonzero(net.predict(X) != y)
    assert np.isin(wrong, net.report.unseparated).all()


def test_auto_does_not_touch_what_is_said_in_the_units_of_the_points():
    """A largest bias is in these units, and rare words are not blown up."""
    X, y, _ = table(n_samples=300)
    assert interpolate(X, y, seed=0).scale is not None
    for settings in ({"max_bias": 3.0}, {"scale": "none"}):
        with pytest.warns(fastmem.UnseparatedWarning):
            assert interpolate(X, y, seed=0, width=100, **settings).scale is None
    wide = interpolate(as_kind(X, "wide csr"), y, seed=0)
    assert wide.scale is None and str(wide.report.scale) == "not scaled"


def nothing():
    from contextlib import nullcontext

    return nullcontext()


# Where else points go --------------------------------------------------------------------------


def test_coverage_counts_scaled_points():
    X, y, s = table()
    net, hand = interpolate(X, y, scale=s, seed=0), interpolate(X * s, y, seed=0)
    np.testing.assert_array_equal(coverage(net, X, y), coverage(hand, X * s, y))


def test_pictures_show_the_cells_of_scaled_points():
    pytest.importorskip("matplotlib")
    from fastmem.plots import canvas, cells, regions, supports

    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((80, 2)) * [1, 4096], rng.integers(0, 2, 80)
    s = np.array([1, 2.0**-12])
    net, hand = interpolate(X, y, scale=s, seed=0), interpolate(X * s, y, seed=0)
    low, high = np.array([-2.0, -8192.0]), np.array([2.0, 8192.0])
    grid = canvas.grid_blocks(low * s, high * s, 40)[0][0]
    wanted = fastmem.sign_patterns(grid, hand.first)
    found = fastmem.sign_patterns(scaled(check_points(grid / s), net.scale), net.first)
    np.testing.assert_array_equal(found, wanted)
    chosen = list(range(len(net.second)))
    on = supports._are_on(net, grid / s, chosen)
    np.testing.assert_array_equal(on, supports._are_on(hand, grid, chosen))
    lines = canvas.hyperplanes_in_view(net, low, high, 20, np.random.default_rng(1))
    for segment in lines:  # on the hyperplane: one of the values is 0 there
        values = (net.first.weights.astype(float) @ (segment.mean(axis=0) * s)) + net.first.biases
        assert np.abs(values).min() < 1e-9
    X /= [1, 4096]
    net = interpolate(X, y, scale=[64, 64], seed=0)
    hand = interpolate(X * 64, y, scale="none", seed=0)
    low, high = np.array([-2.0, -2.0]), np.array([2.0, 2.0])
    here = cells._cells(net, check_points(X), y, low, high, 30)
    there = cells._cells(hand, check_points(X * 64), y, low * 64, high * 64, 30)
    assert here[3] == there[3] and len(np.unique(here[1])) > 100
    np.testing.assert_array_equal(here[0], there[0])
    here, there = (
        regions._regions(net, low, high, 30),
        regions._regions(hand, low * 64, high * 64, 30),
    )
    np.testing.assert_array_equal(here[0], there[0])
    np.testing.assert_array_equal(here[1], there[1])
