"""Networks with a read-out hold nothing that no prediction needs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import fastmem
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import check_points
from fastmem.patterns.words import unpacked
from fastmem.vote.grid import cloud_of, grid_of


def two_clouds(n=60, d=3, apart=8.0, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    X = rng.standard_normal((n, d))
    X[:, 0] += apart * y
    return X, y


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("projection", ["gaussian", "structured"])
def test_no_hyperplane_takes_room_where_there_are_no_exceptions(kind, projection):
    X, y = two_clouds()
    if kind == "sparse":
        X = sparse.hstack([sparse.csr_matrix(X), sparse.csr_matrix((60, 5000))]).tocsr()
    network = fastmem.interpolate(X, y, decision="vote", projection=projection, seed=0)
    assert network.widths == (1, 0) and network.report.vote.exceptions == 0
    assert type(network.first) is Hyperplanes
    assert not network.first.weights.any() and not network.first.origin.any()
    assert network.second.masks.shape == (0, 1)
    assert not fastmem.sign_patterns(X, network.first).any()
    assert network.nbytes < network.readout.weights.nbytes + 1100
    assert network.predict(X).tolist() == y.tolist()


@pytest.mark.parametrize("projection", ["gaussian", "structured"])
def test_every_hyperplane_is_in_a_mask(projection):
    rng = np.random.default_rng(0)
    X, y = two_clouds(200)
    y[rng.permutation(200)[:6]] ^= 1
    network = fastmem.interpolate(X, y, decision="vote", projection=projection, seed=0)
    assert 0 < len(network.second) <= 6 and len(network.first) <= 128
    assert unpacked(network.second.masks, len(network.first)).any(axis=0).all()
    assert network.predict(X).tolist() == y.tolist()
    X[0] += 1e6  # the origin tells nothing but how to be fast
    patterns = fastmem.sign_patterns(X, network.first)
    exact = network.first.about(np.zeros(3), 1e9)
    np.testing.assert_array_equal(patterns, fastmem.sign_patterns(X, exact))
    assert type(exact) is type(network.first) and exact.radius == 1e9


@pytest.mark.parametrize("d", [1, 2, 10])
def test_exceptions_take_structured_hyperplanes_unless_told_otherwise(d):
    X, _ = two_clouds(90, d)
    y = np.random.default_rng(1).integers(0, 2, 90)
    network = fastmem.interpolate(X, y, decision="vote", seed=0)
    assert network.report.projection == "structured"
    assert type(network.first) is fastmem.StructuredHyperplanes
    assert network.predict(X).tolist() == y.tolist()


@pytest.mark.parametrize("place", [0.0, 3.0, 1e4, -1e9])
@pytest.mark.parametrize("size", [1e-200, 1.0, 1e150])
def test_offsets_are_near_the_mean_and_of_few_bits(place, size):
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((100, 5)) * [1, 2, 3, 4, 5] + place) * size
    cloud = cloud_of(check_points(rows), np.arange(len(rows)))
    grid = grid_of(cloud, 1.0)
    on_grid = np.ldexp(rows, grid.exponent) - grid.offsets
    centred = np.ldexp(rows - rows.mean(axis=0), grid.exponent)
    assert np.abs(on_grid).max() < 2.0**30
    # at most half of what the points are away from their mean
    spread = np.sqrt((centred**2).sum(axis=1).mean())
    assert np.abs(on_grid.mean(axis=0)).max() <= spread / 2 * 1.001
    unit = 2.0 ** np.floor(np.log2(spread))
    assert (grid.offsets % unit == 0).all()


def test_offsets_of_equal_points_are_whole():
    grid = grid_of(cloud_of(check_points(np.full((9, 3), 0.1)), np.arange(9)), 1.0)
    assert (grid.offsets == np.rint(grid.offsets)).all() and np.isfinite(grid.offsets).all()
