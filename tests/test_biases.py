"""Hyperplanes where the points are, also where a few points are far out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import fastmem
from fastmem import InvalidInputError, interpolate
from fastmem.hyperplanes.extent import extent_of, sample_norms
from fastmem.hyperplanes.seeded import SeededHyperplanes
from fastmem.hyperplanes.structured import StructuredHyperplanes
from fastmem.inputs import check_points
from fastmem.sklearn import HyperplanePatterns


def cloud(n_samples=400, d=6, far=0.0, seed=0):
    """Gaussian points, some of them far out, with labels that chance gives."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, d))
    X[:3] += far
    return X, rng.integers(0, 2, n_samples)


def distances(net: fastmem.Network, centre: np.ndarray) -> np.ndarray:
    """From the centre to each hyperplane, in units of the rows' usual norm."""
    weights = net.first.weights.astype(np.float64)
    return np.abs(weights @ centre + net.first.biases) / np.linalg.norm(weights, axis=1)


KINDS = {
    "kept": ({}, 6, SeededHyperplanes),
    "structured": ({"projection": "structured"}, 6, StructuredHyperplanes),
    "computed": ({"projection": "gaussian", "memory_limit": "257 MiB"}, 60_000, SeededHyperplanes),
}


@pytest.mark.parametrize(("settings", "d", "kind"), KINDS.values(), ids=KINDS.keys())
def test_outliers_do_not_drive_the_hyperplanes_away(settings, d, kind):
    X, y = cloud(60 if d > 100 else 400, d)
    X *= np.sqrt(6 / d)
    X[:3, 0] += 1e4
    common = {"width": 320, "seed": 1, "scale": "none"} | settings
    with pytest.warns(fastmem.UnseparatedWarning):
        nets = {m: interpolate(X, y, max_bias=m, **common) for m in ("auto", "norms", "radius")}
    assert all(type(net.first) is kind for net in nets.values())
    assert [net.report.biases for net in nets.values()] == ["norms", "norms", "uniform"]
    np.testing.assert_array_equal(nets["auto"].first.biases, nets["norms"].first.biases)
    radius = np.linalg.norm(X - X.mean(axis=0), axis=1).max()
    for net in nets.values():
        assert net.report.max_bias == pytest.approx(radius)
        assert net.summary["max_bias"] == net.report.max_bias
    assert nets["auto"].summary["biases"] == "norms" and "biases" not in nets["radius"].summary
    if d < 100:
        usual = np.median(np.linalg.norm(X - np.median(X, axis=0), axis=1))
        middle = np.median(X, axis=0)
        near = {m: np.mean(distances(net, middle) < 3 * usual) for m, net in nets.items()}
        assert near["radius"] < 0.05
        left = {m: len(net.report.unseparated) for m, net in nets.items()}
        assert left["auto"] < left["radius"]


def test_points_without_outliers_keep_their_networks_bit_for_bit():
    X, y = cloud()
    nets = [interpolate(X, y, max_bias=m, seed=1) for m in ("auto", "radius")]
    for name in ("weights", "biases"):
        np.testing.assert_array_equal(*(getattr(net.first, name) for net in nets))
    assert nets[0].report.biases == "uniform"


@pytest.mark.parametrize("projection", ["gaussian", "structured"])
def test_norms_are_drawn_alike_however_points_are_stored(projection):
    X, y = cloud(2000, far=50.0)
    X = X.astype(np.float32).astype(np.float64)
    common = {"width": 200, "seed": 3, "max_bias": "norms", "projection": projection}
    nets = [
        interpolate(points, y, n_threads=threads, **common)
        for points, threads in [
            (X, 1), (X, 2), (X.astype(np.float32), 1), (sparse.csr_matrix(X), 1),
            (np.asfortranarray(X), 2),
        ]
    ]  # fmt: skip
    for net in nets[1:]:
        np.testing.assert_array_equal(net.first.biases, nets[0].first.biases)
        np.testing.assert_array_equal(net.second.masks, nets[0].second.masks)
    planes = HyperplanePatterns(
        200, max_bias="norms", projection=projection, random_state=3
    ).fit(X).hyperplanes_  # fmt: skip
    np.testing.assert_array_equal(planes.biases, nets[0].first.biases)


@pytest.mark.parametrize("magnitude", [1e-310, 1.0, 1e290])
@pytest.mark.parametrize("center", [True, False])
def test_the_norms_of_a_sample_are_those_of_its_points(magnitude, center, monkeypatch):
    monkeypatch.setattr("fastmem.hyperplanes.extent._SAMPLE_VALUES", 20)
    X = cloud(1500, 3)[0] * magnitude
    extent = extent_of(check_points(X), 1)
    centre = extent.mean if center else np.zeros(3)
    norms = sample_norms(check_points(X), centre)
    rows = np.arange(1024) * 1500 // 1024
    wanted = np.linalg.norm((X[rows] - centre) / magnitude, axis=1)
    np.testing.assert_allclose(norms / magnitude, wanted, rtol=1e-3 if magnitude < 1 else 1e-12)
    assert norms.max() <= 1.001 * (extent.radius if center else extent.norm)


def test_most_points_in_one_place_leave_room_for_the_others():
    """The median norm is nearly 0: most, but not all, hyperplanes go through the one place."""
    rng = np.random.default_rng(0)
    X = np.zeros((500, 3))
    X[:150] = rng.standard_normal((150, 3))
    X[150:] += 1e-9 * rng.standard_normal((350, 3))
    y = rng.integers(0, 2, 500)
    net = interpolate(X, y, seed=0, scale="none")
    assert net.report.biases == "norms"
    np.testing.assert_array_equal(net.predict(X), y)


def test_equal_points_and_two_points_are_no_outliers():
    for X in (np.zeros((3, 2)), np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])):
        with pytest.warns(fastmem.UnseparatedWarning):
            net = interpolate(X, [0, 1, 1], width=20, seed=0)
        assert np.isfinite(net.first.biases).all()


def test_misspelt_biases_are_refused():
    X, y = cloud()
    with pytest.raises(InvalidInputError, match=r"max_bias is 'norm'.*did you mean 'norms'"):
        interpolate(X, y, max_bias="norm")
