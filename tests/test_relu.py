"""ReLU activations: exact sums against fractions, the guarantee, files and wrong input."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from fractions import Fraction

import numpy as np
import oracle
import pytest
import scipy.sparse
from hypothesis import example, given, settings
from hypothesis import strategies as st
from interrupting import interrupt
from test_invariants import LONG_FIT, MEMORY, SETS, distinct, same_network
from test_model_file import forge, npy, refusal, without_law

import fastmem
from fastmem import datasets
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import check_points
from fastmem.kernels import relu as kernels
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.of_points import fill
from fastmem.patterns.words import new_tiles
from fastmem.second_layer.cover_layer import CoverLayer
from fastmem.second_layer.real_cover import RealClassCover
from fastmem.second_layer.real_sums import RealSums, rows_for_sums

KINDS = [("random", "gaussian"), ("merge", "gaussian"), ("merge", "structured")]
SCALES = [1e-300, 1e-290, 1e-30, 1.0, 1e30, 1e250]


def exact(X, network):
    """Bits, values and masks of a network, as the oracle takes them."""
    first = network.first
    values = oracle.relu_values(np.asarray(X), first.weights, first.biases)
    return values, oracle.unpack(network.second.masks, len(first))


def nasty(rng, n_samples, d, n, kind, scale):
    """Points and hyperplanes with many sums that float64 cannot tell from each other."""
    if kind == "grid":  # many points on hyperplanes, many equal sums
        X = rng.integers(-2, 3, (n_samples, d)).astype(float)
        weights, biases = rng.integers(-2, 3, (n, d)), rng.integers(-2, 3, n).astype(float)
    elif kind == "neighbours":  # hyperplanes pass between neighbouring floats
        X = 1.0 + rng.integers(0, 6, (n_samples, d)) * 2.0**-52
        weights = rng.choice([-1.0, 1.0], (n, d))
        biases = -weights.sum(axis=1) + rng.integers(-3, 4, n) * 2.0**-52
    elif kind == "mixed":  # coordinates of very different sizes
        X = rng.standard_normal((n_samples, d)) * 10.0 ** rng.integers(-12, 13, d)
        weights, biases = rng.standard_normal((n, d)), rng.standard_normal(n)
    else:
        X = rng.standard_normal((n_samples, d))
        weights, biases = rng.standard_normal((n, d)), rng.uniform(-1, 1, n)
    X = X * scale
    origin = X.mean(axis=0) if kind != "grid" else np.zeros(d)
    radius = float(np.abs(X - origin).max() * np.sqrt(d))
    return X, Hyperplanes(weights.astype(np.float32), biases * scale, origin, radius)


def rows_of(X, hyperplanes, is_sparse=False):
    """A layer's sums, and points as the kernels take them, in shuffled places of their tiles."""
    block = check_points(X).block(0, len(X))
    if is_sparse:
        matrix = scipy.sparse.csr_array(X)
        matrix = scipy.sparse.csr_array(
            (matrix.data, matrix.indices, matrix.indptr), (len(X), max(200, X.shape[1]))
        )
        weights = np.ones((len(hyperplanes), matrix.shape[1]), np.float32)
        weights[:, : X.shape[1]] = hyperplanes.weights
        hyperplanes = Hyperplanes(weights, hyperplanes.biases, radius=hyperplanes.radius)
        block = check_points(matrix).block(0, len(X))
    tiles = new_tiles(len(X), hyperplanes.n_words)
    fill(hyperplanes, block, tiles)
    return RealSums(hyperplanes, is_sparse), rows_for_sums(block, tiles, np.arange(len(X)))


cases = given(
    st.sampled_from(["plain", "grid", "neighbours", "mixed"]),
    st.sampled_from(SCALES),
    st.sampled_from([1, 2, 5]),
    st.sampled_from([1, 3, 64, 70]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)


@settings(max_examples=80, deadline=None)
@cases
@example("neighbours", 1.0, 2, 70, False, 0)
@example("grid", 1e250, 5, 64, True, 1)
@example("plain", 1e-300, 2, 70, False, 2)
def test_least_sums_equal_the_fractions(kind, scale, d, n, is_sparse, seed):
    rng = np.random.default_rng(seed)
    n_samples = int(rng.choice([3, 66, 70]))
    X, hyperplanes = nasty(rng, n_samples, d, n, kind, scale)
    masks = rng.uniform(size=(4, n)) < 0.6
    codes, owners = rng.integers(0, 3, n_samples), np.array([0, 1, 2, -1])
    sums, rows = rows_of(X, hyperplanes, is_sparse)
    least = np.full(4, np.inf)
    kernels.least_sums(
        sums.layer, sums.masks(oracle.pack(masks)), owners, rows, codes.astype(np.int64), least
    )
    values = oracle.relu_values(X, hyperplanes.weights, hyperplanes.biases)
    expected = oracle.relu_sums(masks, values)
    for b in range(4):
        others = expected[b][codes != owners[b]]
        assert least[b] == (oracle.round_down(min(others)) if len(others) else np.inf)


@settings(max_examples=80, deadline=None)
@cases
@example("neighbours", 1.0, 2, 70, False, 0)
@example("grid", 1.0, 5, 64, True, 1)
def test_comparisons_and_margins_have_the_sign_of_the_fractions(kind, scale, d, n, sparse, seed):
    rng = np.random.default_rng(seed)
    n_samples = int(rng.choice([3, 66]))
    X, hyperplanes = nasty(rng, n_samples, d, n, kind, scale)
    masks = rng.uniform(size=(6, n)) < 0.6
    values = oracle.relu_values(X, hyperplanes.weights, hyperplanes.biases)
    expected = oracle.relu_sums(masks, values)
    # limits at a sum, at its neighbours and far from all of them
    limits = np.array([float(expected[b, b % 3]) for b in range(6)])
    limits[2:4] = np.nextafter(limits[2:4], np.inf)
    limits[4:5] = np.nextafter(limits[4:5], 0)
    limits = np.maximum(limits, 5e-324)
    sums, rows = rows_of(X, hyperplanes, sparse)
    stack = sums.masks(oracle.pack(masks))
    below = np.empty((6, n_samples), bool)
    kernels.sums_below(sums.layer, stack, limits, rows, below)
    exactly = [Fraction(float(limit)) for limit in limits]
    truth = np.array(
        [[total < limit for total in row] for row, limit in zip(expected, exactly, strict=True)]
    )
    np.testing.assert_array_equal(below, truth)
    best = np.full((2, n_samples), -np.inf)
    blocks = np.array([0, 0, 0, 1, 1, 1])
    kernels.sum_margins(sums.layer, stack, limits, blocks, rows, False, best)
    on = np.array([truth[:3].any(axis=0), truth[3:].any(axis=0)])
    np.testing.assert_array_equal(best > 0, on)
    assert (best != 0).all()
    margins = limits[:, None] - expected.astype(float)
    close = np.array([margins[:3].max(axis=0), margins[3:].max(axis=0)])
    sizes = np.abs(hyperplanes.weights).sum(axis=1).max() * np.abs(X).max() * n
    np.testing.assert_allclose(best, close, rtol=1e-4, atol=1e-3 * max(sizes, limits.max()))
    first = np.full((1, n_samples), -np.inf)
    kernels.sum_margins(sums.layer, stack, limits, np.zeros(6, np.int64), rows, True, first)
    np.testing.assert_array_equal(first[0] > 0, on.any(axis=0))


def test_kernels_are_exact_where_floats_overflow():
    X = np.array([[1e308, 1e308], [1e308, -1e308], [-1e308, 0.0], [1e200, 1.0]])
    weights = np.array([[3.0, 3.0], [3.0, -3.0], [1.0, 1e30]], np.float32)
    hyperplanes = Hyperplanes(weights, np.array([0.0, 1e300, -1.0]), np.zeros(2), 1.0)
    masks = np.ones((1, 3), bool)
    sums, rows = rows_of(X, hyperplanes)
    expected = oracle.relu_sums(masks, oracle.relu_values(X, weights, hyperplanes.biases))[0]
    for limit in (1e200, 1e300, 1.7e308):
        below = np.empty((1, 4), bool)
        stack = sums.masks(oracle.pack(masks))
        kernels.sums_below(sums.layer, stack, np.array([limit]), rows, below)
        np.testing.assert_array_equal(below[0], [total < Fraction(limit) for total in expected])


@pytest.mark.parametrize(
    ("size", "weight", "bias", "limit", "radius"),
    [(1e37, 100.0, 1e37, 1e36, 1.0), (1e300, 1e10, 1e305, 1e303, 1e200)],
)
def test_products_that_overflow_and_cancel_leave_the_bias(size, weight, bias, limit, radius):
    """In float32 the first, in float64 the second."""
    hyperplanes = Hyperplanes(
        np.array([[weight, -weight]], np.float32), np.array([bias]), np.zeros(2), radius
    )
    sums, rows = rows_of(np.array([[size, size]]), hyperplanes)
    below = np.empty((2, 1), bool)
    stack = sums.masks(np.ones((2, 1), np.uint64))
    kernels.sums_below(sums.layer, stack, np.array([limit, 2 * bias]), rows, below)
    assert below[:, 0].tolist() == [False, True]


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["plain", "grid", "neighbours", "mixed"]),
    st.sampled_from([6, 20, 66]),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.integers(0, 2**32 - 1),
)
@example("plain", 66, 0.0, 1)
@example("grid", 66, 0.3, 2)
def test_random_selection_equals_the_oracle_for_the_same_orders(kind, n, margin, seed):
    rng = np.random.default_rng(seed)
    X, hyperplanes = nasty(rng, 60, 2, n, kind, 1.0)
    codes = rng.permutation(np.arange(60) % 3)
    points = check_points(X)
    patterns = Patterns(codes, 3, hyperplanes.n_words)
    patterns.fill(points, hyperplanes, 1)
    sums = RealSums(hyperplanes, False)
    covers = [
        RealClassCover(patterns, points, sums, code, np.random.default_rng(code), 1, margin)
        for code in range(3)
    ]
    while active := [cover for cover in covers if not cover.done]:
        RealClassCover.step_all(active)
    values = oracle.relu_values(X, hyperplanes.weights, hyperplanes.biases)
    for code, cover in enumerate(covers):
        order = np.random.default_rng(code).permutation((codes == code).sum())
        masks, thresholds, failed = oracle.cover_random_relu(
            values[codes == code], values[codes != code], order.tolist(), margin
        )
        found = np.array(cover.masks, np.uint64).reshape(len(masks), hyperplanes.n_words)
        np.testing.assert_array_equal(found, oracle.pack(masks))
        assert cover.thresholds == thresholds.tolist()
        assert sorted(cover.failed) == failed.tolist()


def three_classes(n_samples=120, d=4):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n_samples)
    return rng.standard_normal((n_samples, d)) + 2.0 * rng.standard_normal((3, d))[y], y


@pytest.mark.parametrize("selection", ["random", "merge"])
@pytest.mark.parametrize("covered", ["auto", "all", [0, 1]])
@pytest.mark.filterwarnings("ignore::fastmem.UnseparatedWarning")
def test_a_network_is_what_its_fractions_say(selection, covered):
    X, y = three_classes()
    network = fastmem.interpolate(
        X, y, activation="relu", selection=selection, covered=covered, width=70, seed=1
    )
    values, masks = exact(X, network)
    sums = oracle.relu_sums(masks, values)
    second = network.second
    assert second.thresholds.dtype == np.float64
    for j, owner in enumerate(second.owners):
        assert second.thresholds[j] == oracle.round_down(min(sums[j][y != owner]))
    on = sums < second.thresholds[:, None].astype(object)
    for code in network.covered:
        covers = on[second.owners == code].any(axis=0)
        expected = (y == code) & ~np.isin(np.arange(len(y)), network.report.unseparated)
        np.testing.assert_array_equal(covers, expected)
    unseen = np.random.default_rng(1).standard_normal((80, 4)) * 3
    values, _ = exact(unseen, network)
    margins = second.thresholds[:, None] - oracle.relu_sums(masks, values).astype(float)
    scores = network.decision_function(unseen)
    for code in range(3):
        own = margins[second.owners == code]
        close = own.max(axis=0) if code in network.covered else np.zeros(80)
        np.testing.assert_allclose(scores[:, code], close, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(network.predict(unseen), scores.argmax(axis=1))


@pytest.mark.filterwarnings("ignore::fastmem.UnseparatedWarning")
def test_merged_cells_are_those_of_points_with_no_one_in_the_mask():
    X, y = three_classes(400)
    network = fastmem.interpolate(X, y, activation="relu", width=100, seed=2)
    values, masks = exact(X, network)
    inside = np.array([oracle.relu_sums(mask[None], values)[0] == 0 for mask in masks])
    for code in network.covered:
        bits = values > 0
        rows = np.flatnonzero(y == code)
        rows = np.delete(rows, oracle.uncoverable(bits[y == code], bits[y != code]))
        assert inside[network.second.owners == code].any(axis=0)[rows].all()


@pytest.mark.parametrize(("selection", "projection"), KINDS)
@pytest.mark.parametrize("name", SETS)
def test_every_training_point_is_right(name, selection, projection, tmp_path):
    X, y = distinct(*SETS[name]())
    network = fastmem.interpolate(
        X, y, activation="relu", selection=selection, projection=projection, seed=1
    )
    assert len(network.report.unseparated) == 0
    np.testing.assert_array_equal(network.predict(X), y)
    for some in (slice(0, 1), slice(5, 70), slice(None, None, 3)):
        np.testing.assert_array_equal(network.predict(X[some]), y[some])
    margins = network.decision_function(X)
    for i in range(0, len(X), 1 + len(X) // 150):
        assert network.predict(X[i : i + 1])[0] == y[i]
        np.testing.assert_array_equal(network.decision_function(X[i : i + 1])[0], margins[i])
    network.save(tmp_path / "net.npz")
    loaded = fastmem.load(tmp_path / "net.npz")
    same_network(network, loaded)
    assert loaded.second.activation == "relu"
    np.testing.assert_array_equal(loaded.decision_function(X), margins)


@pytest.mark.parametrize("margin", [0.0, 0.3])
@pytest.mark.parametrize("selection", ["random", "merge"])
@pytest.mark.parametrize("name", ["two moons", "digits"])
def test_wide_layers_are_right_too(name, selection, margin):
    """Here least counts are large, and say nothing of real sums."""
    X, y = SETS[name]()
    network = fastmem.interpolate(
        X, y, activation="relu", selection=selection, margin=margin, width=2000, seed=1
    )
    np.testing.assert_array_equal(network.predict(X), y)
    counted = fastmem.interpolate(X, y, selection=selection, margin=margin, width=2000, seed=1)
    assert counted.second.thresholds.max() > 10


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["plain", "grid", "neighbours", "mixed"]),
    st.sampled_from(SCALES[1:]),
    st.integers(1, 3),
    st.sampled_from(["random", "merge"]),
    st.sampled_from(["auto", "all"]),
    st.integers(0, 2**32 - 1),
)
def test_any_points_without_contradictions_are_right(kind, scale, d, selection, covered, seed):
    rng = np.random.default_rng(seed)
    X, _ = nasty(rng, int(rng.integers(2, 40)), d, 1, kind, scale)
    X = np.unique(X, axis=0)
    y = rng.integers(0, 3, len(X))
    if len(np.unique(y)) < 2:
        return
    network = fastmem.interpolate(
        X, y, activation="relu", selection=selection, covered=covered, seed=0
    )
    np.testing.assert_array_equal(network.predict(X), y)


@pytest.mark.parametrize("selection", ["random", "merge"])
def test_threads_and_the_form_of_the_input_change_nothing(selection):
    X, y = SETS["digits"]()
    X = np.concatenate([X, np.zeros((len(X), 200))], axis=1)
    arguments = {"activation": "relu", "selection": selection, "seed": 3, "width": 200}
    arguments |= {"projection": "gaussian", "center": False}
    networks = [fastmem.interpolate(X, y, **arguments, n_threads=n) for n in (1, 2, 3)]
    csr = scipy.sparse.csr_array(X)
    assert check_points(csr).is_sparse
    networks.append(fastmem.interpolate(csr, y, **arguments))
    for other in networks[1:]:
        same_network(networks[0], other)
    margins = [networks[0].decision_function(X[:500], n_threads=n) for n in (1, 3)]
    np.testing.assert_array_equal(*margins)
    np.testing.assert_array_equal(networks[0].predict(csr), networks[0].predict(X))


@pytest.mark.parametrize("selection", ["random", "merge"])
@pytest.mark.parametrize("width", [1, 5, 20, 65])
def test_unseparated_points_are_the_wrong_ones(selection, width):
    rng = np.random.default_rng(width)
    X, y = rng.standard_normal((400, 4)), rng.integers(0, 3, 400)
    with pytest.warns(fastmem.UnseparatedWarning) as caught:
        network = fastmem.interpolate(
            X, y, activation="relu", selection=selection, covered=[0, 1], width=width, seed=3
        )
    wrong = np.flatnonzero(network.predict(X) != y)
    np.testing.assert_array_equal(wrong, network.report.unseparated)
    assert str(caught[0].message).startswith(f"{len(wrong)} of 400")
    # points with m = 0, but not all of them: another point's neuron may cover one
    bits = oracle.exact_bits_filtered(X, network.first.weights, network.first.biases)
    zero = [
        np.flatnonzero(y == code)[oracle.uncoverable(bits[y == code], bits[y != code])]
        for code in (0, 1)
    ]
    assert np.isin(wrong, np.concatenate(zero)).all()
    if width >= 20:
        assert len(wrong) < len(np.concatenate(zero))


@pytest.mark.parametrize("selection", ["random", "merge"])
@pytest.mark.parametrize("margin", [0.5, 1.0])
def test_a_margin_is_a_share_of_the_real_threshold(selection, margin):
    X, y = three_classes()
    settings = {"activation": "relu", "selection": selection, "width": 200, "seed": 4}
    network = fastmem.interpolate(X, y, margin=margin, **settings)
    assert network.score(X, y) == 1.0
    values, masks = exact(X, network)
    second = network.second
    limits = [Fraction(float(t)) * Fraction(1 - margin) for t in second.thresholds]
    sums = oracle.relu_sums(masks, values)
    deep = np.array([[s <= limit for s in row] for row, limit in zip(sums, limits, strict=True)])
    assert (deep & (second.owners[:, None] == y)).any(axis=0).all()
    narrow = fastmem.interpolate(X, y, covered="all", **settings)
    assert len(narrow.second) < len(second)


@pytest.mark.parametrize(
    "arguments",
    [
        {"compact": True},
        {"compact": True, "margin": 0.5},
        {"width": "smallest"},
        {"width": "smallest", "selection": "random"},
        {"compact": True, "width": 300, "projection": "structured"},
        {"width": 300, "memory_limit": "300 MB"},
    ],
)
def test_other_options_keep_the_guarantee(arguments, tmp_path):
    X, y = SETS["digits"]()
    network = fastmem.interpolate(X, y, activation="relu", seed=0, **arguments)
    assert network.score(X, y) == 1.0
    network.save(tmp_path / "net.npz")
    assert fastmem.load(tmp_path / "net.npz").score(X, y) == 1.0


@pytest.mark.filterwarnings("ignore::fastmem.UnseparatedWarning")
def test_random_selection_needs_about_as_many_neurons_as_with_thresholds():
    """Moons of the published grid, n = 200: means of 20 seeds."""
    X, y = datasets.two_moons(1000)
    X = (X / np.linalg.norm(X, axis=1).max()).astype(np.float32)
    widths = {
        activation: [
            len(
                fastmem.interpolate(
                    X, y, width=200, max_bias=1.0, selection="random", covered=[1], seed=seed,
                    activation=activation,
                ).second
            )
            for seed in range(20)
        ]
        for activation in ("threshold", "relu")
    }  # fmt: skip
    ratio = np.mean(widths["relu"]) / np.mean(widths["threshold"])
    assert 0.6 < ratio < 1.3


def test_what_a_network_says_of_itself():
    X, y = three_classes()
    network = fastmem.interpolate(X, y, activation="relu", width=100, seed=3)
    assert "100 hyperplanes with ReLU" in repr(network)
    assert network.report.activation == "relu"
    assert network.summary["activation"] == "relu"
    n, m = network.widths
    assert network.n_parameters == 100 * 5 + m * 102
    ones = oracle.unpack(network.second.masks, 100).sum()
    assert network.n_nonzero == 100 * 5 + ones + 2 * m
    plain = fastmem.interpolate(X, y, width=100, seed=3)
    assert plain.report.activation == "threshold" and "ReLU" not in repr(plain)
    assert network.predict(X[:0]).shape == (0,)
    assert np.isfinite(network.decision_function(np.full((1, 4), 1e300))).all()
    assert network.predict(np.full((3, 4), 1.7e308)).shape == (3,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"activation": "ReLU"}, ["activation is 'ReLU'", "did you mean 'relu'?"]),
        ({"activation": None}, ["activation is None", "pass 'threshold' or 'relu'"]),
        ({"activation": "relu", "width": 10**6, "memory_limit": "1 GB"}, ["too many", "memory"]),
    ],
)
def test_wrong_input_is_refused(arguments, words):
    X, y = three_classes(d=200)
    with pytest.raises(fastmem.InvalidInputError) as caught:
        fastmem.interpolate(X, y, **arguments)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("selection", ["random", "merge"])
def test_sums_too_small_for_a_threshold_are_refused(selection):
    X, y = np.arange(40.0)[:, None] * 5e-324, np.arange(40) // 3 % 2
    with pytest.raises(fastmem.InvalidInputError, match="multiply X by a power of two"):
        fastmem.interpolate(X, y, activation="relu", selection=selection, seed=0)
    X *= 2.0**40
    network = fastmem.interpolate(X, y, activation="relu", selection=selection, seed=0)
    np.testing.assert_array_equal(network.predict(X), y)


def test_layers_that_do_not_fit_are_refused():
    masks, owners = np.ones((2, 1), np.uint64), np.zeros(2, np.int32)
    for wrong in ([0.0, 1.0], [-1.0, 1.0], [np.nan, 1.0], [np.inf, 1.0]):
        with pytest.raises(fastmem.InvalidInputError, match="not positive and finite"):
            CoverLayer(masks, np.array(wrong), owners)
    with pytest.raises(fastmem.InvalidInputError, match="int32 or float64"):
        CoverLayer(masks, np.ones(2, np.float32), owners)


@pytest.mark.parametrize("projection", ["gaussian", "structured"])
def test_damaged_files_are_refused(projection, tmp_path):
    X, y = three_classes()
    path = tmp_path / "net.npz"
    network = without_law(
        fastmem.interpolate(X, y, activation="relu", projection=projection, width=100, seed=3)
    )
    network.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {i.filename.removesuffix(".npy"): archive.read(i) for i in archive.infolist()}
    version = {"gaussian": 4, "structured": 5}[projection]
    assert members["format_version"] == npy(np.array(version, np.int64))
    thresholds = network.second.thresholds
    for value in (0.0, -1.0, np.nan, np.inf):
        wrong = thresholds.copy()
        wrong[1] = value
        forge(path, members | {"thresholds": npy(wrong)})
        assert "where they are positive" in refusal(path)
    forge(path, members | {"thresholds": npy(np.ones(len(thresholds), np.int32))})
    assert "thresholds has dtype int32" in refusal(path)
    forge(path, members | {"thresholds": npy(thresholds[1:])})
    assert "shape" in refusal(path)
    # the thresholds of one kind in a file of the other
    forge(path, members | {"format_version": npy(np.array(version // 4 + version % 4))})
    assert "thresholds has dtype float" in refusal(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert "digest differs" in refusal(path)


def test_hyperplanes_that_are_not_stored_cannot_be_saved_with_real_thresholds(tmp_path):
    none = np.empty((0, 2), np.float32)
    first = fastmem.SeededHyperplanes(7, np.arange(0, 8, 2, dtype=np.int32), none, np.zeros(4))
    second = CoverLayer(np.ones((1, 1), np.uint64), np.ones(1), np.zeros(1, np.int32))
    network = fastmem.Network(np.array([0, 1]), first, second, (0,))
    with pytest.raises(fastmem.ModelFileError, match="not stored"):
        network.save(tmp_path / "net.npz")


RELU = 'selection=sys.argv[1], activation="relu"'


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's account")
@pytest.mark.parametrize("selection", ["random", "merge"])
def test_memory_is_the_patterns_and_a_bounded_rest(selection):
    """As ``test_invariant_4``: 300,000 points, 4,096 hyperplanes."""
    code = MEMORY.replace("selection=sys.argv[1]", RELU)
    done = subprocess.run(
        [sys.executable, "-c", code, selection, "0"], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 256 << 20


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("selection", ["random", "merge"])
def test_ctrl_c_ends_a_long_fit(selection, tmp_path):
    code = LONG_FIT.replace("selection=sys.argv[1]", RELU)
    child = subprocess.Popen(
        [sys.executable, "-c", code, selection, "2", str(tmp_path / "net.npz")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "go\n"
    interrupt(child, after=3.0, most=2.5)
    assert child.returncode == 3
    assert not list(tmp_path.iterdir())


def test_no_kernel_reads_out_of_bounds(tmp_path):
    """Fits and predictions of awkward sizes with Numba's bounds checks on."""
    code = """
import numpy as np, scipy.sparse, fastmem
rng = np.random.default_rng(0)
for n_samples in (2, 6, 63, 64, 65, 193):
    for d in (1, 65, 140):
        X = rng.standard_normal((n_samples, d))
        y = np.arange(n_samples) % min(3, n_samples)
        if d == 140:
            X = scipy.sparse.csr_array(np.where(rng.uniform(size=X.shape) < 0.1, X, 0.0))
            X[[0], [3]] = 0.0
        for selection in ("random", "merge"):
            net = fastmem.interpolate(X, y, selection=selection, activation="relu", seed=0)
            assert net.score(X, y) == 1
            net.decision_function(X[:1])
"""
    environment = os.environ | {
        "NUMBA_BOUNDSCHECK": "1",
        # kernels cached without the checks must not be found
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONWARNINGS": "ignore",
    }
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=1000)


def test_a_thread_that_takes_subnormal_numbers_for_zero_is_refused(monkeypatch):
    """A point whose sum is 0 would never be covered, and selection never end."""
    import fastmem
    from fastmem import problem
    from fastmem.machine.arithmetic import keeps_subnormals

    assert keeps_subnormals()
    monkeypatch.setattr(problem, "keeps_subnormals", lambda: False)
    X, y = np.array([[0.0], [1.0]]), [0, 1]
    with pytest.raises(fastmem.InvalidInputError, match="takes such numbers for 0"):
        fastmem.interpolate(X, y, activation="relu")
    assert fastmem.interpolate(X, y, seed=0).score(X, y) == 1
