"""Real sums over bounding tiles: the same thresholds, covers and networks as point by point."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import oracle
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_bounded import a_problem, assert_same_networks, points_and_planes
from test_relu import nasty

from fastmem.datasets import clusters, unit_moons
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import check_points
from fastmem.kernels.layout import TILE
from fastmem.kernels.relu_boxes import error_of
from fastmem.kernels.relu_exact import LEAST_POSITIVE
from fastmem.patterns import spatial_order
from fastmem.patterns.by_class import Patterns
from fastmem.second_layer import bounded_points, bounded_sums
from fastmem.second_layer.bounded_sums import BoundedSums
from fastmem.second_layer.real_sums import RealSums

KINDS = ["plain", "grid", "neighbours", "mixed"]
WIDE_KINDS = ["normal", "grid", "dense", "repeated", "huge", "tiny", "outlier"]


@pytest.fixture(autouse=True)
def as_if_there_were_many_points():
    """Leaves of few points, boxes of few tiles, and threads for little work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spatial_order, "_LEAF_POINTS", 8)
        patch.setattr(bounded_sums, "_SERIAL_BOXES", 0)
        for name in ("_SERIAL_WORDS", "_SERIAL_BOUNDS", "_SERIAL_SCANS"):
            patch.setattr(bounded_points, name, 0)
        yield


def bounded_sums_of(X, codes, hyperplanes, n_threads=2):
    """Bounds on the real sums of points, and their patterns."""
    points = check_points(X)
    leaves = spatial_order.leaves_of(points, n_threads)
    patterns = Patterns(
        codes.astype(np.uint16), int(codes.max()) + 1, leaves=leaves, with_bounds=True
    )
    patterns.fill(points, hyperplanes, n_threads)
    return BoundedSums(patterns, points, RealSums(hyperplanes, False), n_threads), patterns


def masks_at(rng, bits, count):
    """Masks of some points, and others; every one has ones."""
    masks = ~bits[rng.integers(0, len(bits), count)]
    masks[count // 2 :] = rng.random((count - count // 2, bits.shape[1])) < 0.4
    masks[:, 0] |= ~masks.any(axis=1)
    return masks


def assert_least_and_cover(X, codes, hyperplanes, rng, n_masks):
    """Least sums, and covers with limits at sums and next to them, are those of the fractions."""
    values = oracle.relu_values(X.astype(float), hyperplanes.weights, hyperplanes.biases)
    masks = masks_at(rng, values > 0, n_masks)
    sums = oracle.relu_sums(masks, values)
    bounds, patterns = bounded_sums_of(X, codes, hyperplanes)
    n_classes = patterns.n_classes
    owners = rng.integers(0, n_classes, n_masks)
    expected = [oracle.round_down(min(sums[b][codes != owners[b]])) for b in range(n_masks)]
    others = [c for c in range(n_classes) if patterns.class_size(c)]
    nearest = np.array(
        [TILE * int(patterns.first_tile[next(c for c in others if c != o)]) for o in owners]
    )
    can = np.array(expected) > 0
    if can.any():
        least = bounds.least_over(oracle.pack(masks)[can], owners[can], nearest[can])
        assert least.tolist() == [e for e, some in zip(expected, can, strict=True) if some]
    code = int(rng.choice(others))
    rows = patterns.rows(code, patterns.numbers_in_order(code))
    limits = np.array([float(sums[b][rng.choice(rows)]) for b in range(n_masks)])
    limits[::3] = np.nextafter(limits[::3], np.inf)
    limits = np.clip(limits, LEAST_POSITIVE, np.finfo(float).max)
    n_tiles = int(np.diff(patterns.first_tile)[code])
    uncovered = np.zeros((n_tiles, TILE), bool)
    uncovered.reshape(-1)[: len(rows)] = left = rng.random(len(rows)) < 0.8
    gained = bounds.take_covered(code, oracle.pack(masks), limits, uncovered)
    for b in range(n_masks):
        below = np.array([sums[b][row] < Fraction(float(limits[b])) for row in rows])
        assert gained[b] == np.count_nonzero(left & below)
        left = left & ~below
    np.testing.assert_array_equal(uncovered.reshape(-1)[: len(rows)], left)
    assert not uncovered.reshape(-1)[len(rows) :].any()


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.sampled_from([1e-300, 1e-30, 1.0, 1e30, 1e250]),
    st.sampled_from([1, 2, 5]),
    st.sampled_from([1, 3, 64, 70]),
    st.integers(2, 450),
    st.integers(0, 2**32 - 1),
)
@example("neighbours", 1.0, 2, 70, 500, 0)
@example("grid", 1.0, 1, 64, 700, 1)
@example("plain", 1.0, 2, 70, 700, 2)
@example("mixed", 1e30, 5, 3, 193, 3)
def test_least_sums_and_covers_are_those_of_the_fractions(kind, scale, d, n, n_samples, seed):
    rng = np.random.default_rng(seed)
    X, hyperplanes = nasty(rng, n_samples, d, n, kind, scale)
    codes = rng.integers(0, 3, n_samples)
    codes[:2] = [0, 2]
    assert_least_and_cover(X, codes, hyperplanes, rng, 7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 3, 17])
@pytest.mark.parametrize("kind", WIDE_KINDS)
def test_points_of_all_sizes_and_hyperplanes_through_them(kind, d, dtype):
    if kind == "huge" and dtype == np.float64:
        pytest.skip("the oracle's rounding is of float64")
    rng = np.random.default_rng([d, len(kind)])
    for n_samples, n in ((TILE, 10), (450, 65 if d < 17 else 20)):
        X, planes = points_and_planes(rng, kind, n_samples, d, n, dtype)
        codes = (X[:, 0] > np.median(X[:, 0])).astype(int)  # whole tiles are far from others
        codes[:2] = [0, 1]
        assert_least_and_cover(X, codes, planes, rng, 9)


def test_most_boxes_are_decided_without_a_look_at_points(monkeypatch):
    """And what is computed is far from the bounds on its error."""
    rng = np.random.default_rng(0)
    X, y = unit_moons(20_000, seed=0)
    _, planes = points_and_planes(rng, "normal", 10, 2, 300, np.float32)
    planes = planes.extended(planes.weights, rng.uniform(-1, 1, len(planes)))
    bounds, patterns = bounded_sums_of(X, y, planes)
    values = np.maximum(X.astype(float) @ planes.weights.T.astype(float) + planes.biases, 0)
    masks = values[rng.choice(np.flatnonzero(y == 0), 20)] == 0
    sums = masks @ values.T
    nearest = np.full(20, TILE * int(patterns.first_tile[1]))
    monkeypatch.setattr(bounded_sums, "_TASKS", 3)
    least = bounds.least_over(oracle.pack(masks), np.zeros(20, np.int64), nearest)
    np.testing.assert_allclose(least, sums[:, y == 1].min(axis=1), rtol=1e-6)
    uncovered = np.zeros((int(patterns.first_tile[1]), TILE), bool)
    uncovered.reshape(-1)[: patterns.class_size(0)] = True
    gained = bounds.take_covered(0, oracle.pack(masks), least, uncovered)
    assert gained.sum() == (sums[:, y == 0] < least[:, None]).any(axis=0).sum()


# Networks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", range(6))
def test_networks_of_random_problems_are_the_same(block, monkeypatch):
    for seed in range(12 * block, 12 * (block + 1)):
        monkeypatch.setattr(bounded_sums, "_TASKS", [1, 64][seed % 2])
        monkeypatch.setattr(bounded_sums, "_MOST_MASKS", [1, 40, 256][seed % 3])
        monkeypatch.setattr(bounded_sums, "FAN", [1, 3, 16][seed // 3 % 3])
        X, y, parameters = a_problem(3000 + seed)
        parameters |= {"selection": "random", "activation": "relu"}
        assert_same_networks(X, y, parameters, (seed, parameters))


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("width", [30, 200])
def test_networks_of_many_points_are_the_same(width, margin):
    """Some points fail, and some of these are covered by the neurons of others."""
    rng = np.random.default_rng(0)
    X, y = unit_moons(12_000, seed=1)
    y[rng.integers(0, len(y), 40)] ^= 1
    X[:40] = X[40:80]
    if margin:
        X, y = X[::6], y[::6]
    parameters = {"width": width, "margin": margin, "seed": 3, "covered": "all"}
    parameters |= {"selection": "random", "activation": "relu"}
    assert_same_networks(X, y, parameters, None)


def test_networks_of_clusters_of_three_classes_are_the_same():
    X, y = clusters(3000, 4, 5, seed=2)
    y = y + (X[:, 0] > np.median(X[:, 0]))
    for parameters in ({"width": 300}, {"width": 40, "complete": True}, {"covered": "all"}):
        parameters |= {"selection": "random", "activation": "relu", "seed": 1}
        assert_same_networks(X, y, parameters, parameters)


def test_a_class_of_one_tile_and_one_of_one_point():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((TILE + 1, 2))
    y = np.zeros(len(X), int)
    y[TILE] = 1
    X[TILE] = 5.0
    parameters = {"width": 50, "selection": "random", "activation": "relu", "seed": 0}
    assert_same_networks(X, y, parameters | {"covered": "all"}, None)


def test_a_frame_s_points_are_brought_to_one_array():
    X, y = unit_moons(3000, seed=0)
    columns = np.asfortranarray(X.astype(float))
    assert check_points(columns).array is None
    parameters = {"width": 100, "selection": "random", "activation": "relu", "seed": 0}
    assert_same_networks(columns, y, parameters, None)


def test_errors_are_bounded_where_sums_cancel_and_overflow():
    """A hyperplane far beyond all others, whose products cancel to nothing but their rounding."""
    X = np.array([[1.0, 1.0], [1.0 + 2.0**-52, 1.0], [3.0, 2.0], [2.0, 3.0]] * 60)
    X += np.arange(len(X))[:, None] // 4 * 2.0**-40
    weights = np.array([[3e37, -3e37], [1.0, 1.0], [-1.0, 0.5]], np.float32)
    biases = np.array([0.0, -1.5, 0.25])
    rng = np.random.default_rng(0)
    for origin, radius in ((np.zeros(2), 4.0), (X.mean(axis=0), 1e-3), (X[0], 1e300)):
        planes = Hyperplanes(weights, biases, origin, radius)
        assert_least_and_cover(X, np.arange(len(X)) % 2, planes, rng, 6)


def test_the_error_says_when_it_knows_nothing():
    _, planes = points_and_planes(np.random.default_rng(0), "normal", 5, 2, 9, np.float64)
    layer = RealSums(planes, False)
    masks = layer.masks(np.ones((1, 1), np.uint64))
    usual = error_of(layer.layer, masks, 0, 1.0)
    assert 0 < usual < 1e-9
    for radius in (np.inf, np.nan, 2.0**300):
        assert error_of(layer.layer, masks, 0, radius) == np.inf
