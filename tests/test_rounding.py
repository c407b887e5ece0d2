"""Weights of a read-out as few whole numbers, against dense sums."""

from __future__ import annotations

import numpy as np
import pytest

import fastmem
from fastmem.kernels.rounding import nearest_plane
from fastmem.vote import fitting, rounding


def a_factor(n, seed=0):
    """Of a Gram matrix of few directions, as those of cosine features are."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((3 * n, 8)) @ rng.standard_normal((8, n))
    return np.linalg.cholesky(features.T @ features + 0.1 * np.eye(n))


@pytest.mark.parametrize("most", [1, 7, 127])
@pytest.mark.parametrize(("n", "n_columns"), [(1, 1), (7, 3), (64, 2)])
def test_each_number_takes_up_what_those_after_it_left(n, n_columns, most):
    factor = a_factor(n)
    columns = np.random.default_rng(1).uniform(-most - 0.5, most + 0.5, (n_columns, n))
    kept, rest = columns.copy(), np.triu(np.full((n, n), np.nan), 1)  # the upper half is not read
    rounded, left = np.empty((n_columns, n), np.int8), np.full((n_columns, n), np.nan)
    nearest_plane(np.tril(factor) + rest, n, columns, most, rounded, left)
    np.testing.assert_array_equal(columns, kept)
    for c in range(n_columns):
        whole = np.zeros(n)
        for i in range(n - 1, -1, -1):
            later = factor[i + 1 :, i] @ (columns[c] - whole)[i + 1 :]
            whole[i] = np.clip(np.rint(columns[c, i] + later / factor[i, i]), -most, most)
        np.testing.assert_array_equal(rounded[c], whole)
        np.testing.assert_allclose(left[c], factor.T @ (columns[c] - whole), atol=1e-9)
    free = np.abs(rounded) < most
    assert (np.abs(left) <= np.diag(factor) * (0.5 + 1e-9))[free].all()


def test_what_is_left_is_shorter_than_of_plain_rounding():
    factor = a_factor(64)
    columns = np.random.default_rng(1).uniform(-20, 20, (10, 64))
    rounded, left = np.empty((10, 64), np.int8), np.empty((10, 64))
    nearest_plane(factor, 64, columns, 127, rounded, left)
    plain = (columns - np.rint(columns)) @ factor
    assert (left**2).sum() < 0.5 * (plain**2).sum()


def test_the_weights_are_as_small_as_points_left_out_allow(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 4))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    largest = []
    for allowed in (-1.0, 0.003, 1e9):
        monkeypatch.setattr(rounding, "_MORE", allowed)
        network = fastmem.interpolate(X, y, decision="vote", width=128, seed=0)
        largest.append(np.abs(network.readout.weights).max())
        assert network.predict(X).tolist() == y.tolist()
    assert largest[0] == 127 and largest[2] == 7
    assert 7 <= largest[1] <= 63


def test_intercepts_are_those_of_the_rounded_weights(monkeypatch):
    """What the features' mean times the rounding errors comes to."""
    seen = {}

    def spy(ridge):
        seen["ridge"], seen["result"] = ridge, rounding.rounded(ridge)
        return seen["result"]

    monkeypatch.setattr(fitting, "rounded", spy)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 3)), rng.integers(0, 3, 200)
    fastmem.interpolate(X, y, decision="vote", width=64, seed=0)
    ridge, (weights, unit, intercepts) = seen["ridge"], seen["result"]
    level = ridge.intercepts + ridge.mean @ ridge.coefficients
    np.testing.assert_allclose(intercepts, unit * level - ridge.mean @ weights, rtol=1e-9)
    # features of points that were left out, from the factor
    assert ridge.features.shape == (len(ridge.rows), 64)
    assert ridge.targets.shape == ridge.unseen.shape == (len(ridge.rows), 3)
