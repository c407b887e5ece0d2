"""Cells that grow among neighbours: as exact as others, and the same for any number of threads."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastmem
from fastmem.inputs import check_points
from fastmem.patterns import neighbourhoods
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.spatial_order import leaves_of
from fastmem.second_layer import near_cells, selection


@pytest.fixture(scope="module", autouse=True)
def near_always():
    """Neighbours wherever they can be, however few points and neurons there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbourhoods, "NEIGHBOURS", "always")
        patch.setattr(near_cells, "MANY", -1)
        patch.setattr(near_cells, "FIRST_LOOK", 1)
        yield


def noisy(seed: int, n: int, d: int, n_classes: int, levels: int | None = None):
    """Points whose labels are mostly noise; on a grid, where many are equal, with ``levels``."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, d))
    if levels:
        X = np.round(X * levels) / levels
    y = (X[:, 0] > 0) ^ (random.random(n) < 0.2) if n_classes == 2 else random.integers(
        0, n_classes, n
    )  # fmt: skip
    y[:n_classes] = np.arange(n_classes)
    return X.astype(random.choice([np.float32, np.float64])), y.astype(int)


def same(a: fastmem.Network, b: fastmem.Network) -> bool:
    """Whether two networks are equal to the last bit."""
    return (
        np.array_equal(a.first.weights, b.first.weights)
        and np.array_equal(a.first.biases, b.first.biases)
        and np.array_equal(a.second.masks, b.second.masks)
        and np.array_equal(a.second.thresholds, b.second.thresholds)
        and np.array_equal(a.second.owners, b.second.owners)
    )


@pytest.mark.parametrize("n_classes", [2, 3, 7])
@pytest.mark.parametrize("settings", [
    {}, {"margin": 0.5}, {"margin": 1.0}, {"activation": "relu"}, {"covered": "all"},
    {"center": False}, {"complete": True, "width": 70},
], ids=str)  # fmt: skip
def test_every_point_is_right(n_classes, settings):
    X, y = noisy(n_classes, 700, 4, n_classes)
    nets = [fastmem.interpolate(X, y, seed=1, n_threads=k, **settings) for k in (1, 2, 3)]
    assert (nets[0].predict(X) == y).all()
    assert (nets[0].predict(X[::7]) == y[::7]).all()
    assert same(nets[0], nets[1])
    assert same(nets[0], nets[2])


@given(
    st.integers(0, 2**32 - 1), st.integers(2, 400), st.integers(1, 6), st.integers(2, 4),
    st.sampled_from([None, 1, 4]), st.sampled_from([10, 64, 200]), st.sampled_from([0, 0.3, 1]),
)  # fmt: skip
def test_a_given_width_fails_only_where_it_must(seed, n, d, n_classes, levels, width, margin):
    X, y = noisy(seed, max(n, n_classes), d, n_classes, levels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nets = [
            fastmem.interpolate(
                X, y, width=width, margin=margin, seed=seed, n_threads=k, covered="all"
            )
            for k in (1, 2)
        ]
    net = nets[0]
    assert same(*nets)
    phi = np.unpackbits(
        fastmem.sign_patterns(X, net.first).view(np.uint8), axis=1, bitorder="little"
    )[:, :width].astype(bool)
    fails = np.array([
        (~phi[y != y[i]] | phi[i]).all(axis=1).any() for i in range(len(X))
    ])  # fmt: skip
    assert (net.report.unseparated == np.flatnonzero(fails)).all()
    assert (net.predict(X)[~fails] == y[~fails]).all()
    # every neuron is off on all other classes
    counts = net.second.masks[:, None, :] & fastmem.sign_patterns(X, net.first)[None]
    counts = np.bitwise_count(counts).sum(axis=2)
    on = counts < net.second.thresholds[:, None]
    others = net.second.owners[:, None] != np.searchsorted(net.classes_, y)[None]
    assert not (on & others).any()
    assert on.any(axis=1).all()


def test_a_cell_may_cover_more_than_its_list_holds():
    random = np.random.default_rng(0)
    X = random.normal(size=(9000, 2)) + np.where(np.arange(9000) < 4500, -6, 6)[:, None]
    y = (np.arange(9000) >= 4500).astype(int)
    net = fastmem.interpolate(X, y, width=200, seed=0)
    assert (net.predict(X) == y).all()
    assert len(net.second) <= 3


@given(st.integers(0, 2**32 - 1), st.integers(1, 2000), st.integers(1, 5), st.integers(1, 5))
def test_a_spatial_order_keeps_every_point_and_its_number(seed, n, d, n_classes):
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, d)) * random.choice([1e-300, 1.0, 1e300])
    X[random.random(n) < 0.5] = X[0]
    codes = random.integers(0, n_classes, n).astype(np.uint16)
    points = check_points(X)
    patterns = Patterns(
        codes, n_classes, leaves=leaves_of(points, 2), n_threads=2, points=points.array
    )
    plain = Patterns(codes, n_classes)
    for code in range(n_classes):
        numbers = np.arange(patterns.class_size(code))
        assert (patterns.rows(code, numbers) == plain.rows(code, numbers)).all()
        in_order = patterns.numbers_in_order(code)
        assert (np.sort(in_order) == numbers).all()
        assert (patterns.places_of(code, in_order) == numbers).all()


def test_groups_hold_neighbours():
    random = np.random.default_rng(5)
    X = random.random((4000, 2))
    codes = np.zeros(4000, np.uint16)
    points = check_points(X)
    patterns = Patterns(codes, 1, leaves=leaves_of(points, 1), points=points.array)
    groups = X[patterns.order].reshape(250, 16, 2)
    extent = groups.max(axis=1) - groups.min(axis=1)
    assert np.median(extent) < 0.12  # 1 / sqrt(250) = 0.06


@pytest.mark.parametrize("selection", ["random", "merge"])
def test_bounds_find_the_same_open_points(selection, monkeypatch):
    """Growing a first layer by bounds changes nothing: the same pairs, so the same rows."""
    monkeypatch.setattr(near_cells, "MANY", np.inf)
    for seed in range(4):
        X, y = noisy(seed, 900, 3, 2 + seed)
        nets = []
        for choice in ("always", "never"):
            monkeypatch.setattr(neighbourhoods, "NEIGHBOURS", choice)
            nets.append(fastmem.interpolate(X, y, seed=seed, selection=selection))
        assert same(*nets)


@given(
    st.integers(0, 2**32 - 1), st.integers(4, 500), st.integers(1, 5), st.integers(2, 4),
    st.sampled_from([None, 1, 3]), st.sampled_from([0.0, 0.4]), st.sampled_from([20, 150, "auto"]),
)  # fmt: skip
def test_the_papers_selection_stays_as_it_is(seed, n, d, n_classes, levels, margin, width):
    X, y = noisy(seed, n, d, n_classes, levels)
    X[:2] += [[100], [200]]  # two labels at least are left by majority
    nets = []
    for choice in ("always", "never"):
        with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
            warnings.simplefilter("ignore")
            patch.setattr(neighbourhoods, "NEIGHBOURS", choice)
            nets.append(
                fastmem.interpolate(
                    X,
                    y,
                    width=width,
                    margin=margin,
                    selection="random",
                    seed=seed,
                    contradictions="majority" if width == "auto" else "raise",
                )
            )
    assert same(*nets)
    assert (nets[0].report.unseparated == nets[1].report.unseparated).all()


def test_batches_do_not_depend_on_what_a_launch_takes(monkeypatch):
    X, y = noisy(3, 1500, 3, 2)
    before = fastmem.interpolate(X, y, seed=0, n_threads=2)
    monkeypatch.setattr("fastmem.machine.loops._FIRST_TASKS", 1)
    monkeypatch.setattr("fastmem.machine.loops._FASTER", 1)
    assert same(before, fastmem.interpolate(X, y, seed=0, n_threads=2))


def test_cells_grow_among_all_points_where_open_ones_are_too_many_to_copy(monkeypatch):
    X, y = noisy(4, 1500, 3, 3)
    before = fastmem.interpolate(X, y, seed=0)
    monkeypatch.setattr(near_cells, "MOST_GATHERED", 0)
    net = fastmem.interpolate(X, y, seed=0)
    assert (net.predict(X) == y).all()
    assert len(net.second) < 1.2 * len(before.second)
    for module in (near_cells, selection):
        monkeypatch.setattr(module, "MOST_AT_ONCE", 1)
    assert (fastmem.interpolate(X, y, seed=0).predict(X) == y).all()
