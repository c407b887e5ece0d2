"""Pieces of a fit with decision="vote": grids, samples, gaps and temperatures."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_vote import noise

import fastmem
from fastmem.inputs import check_points
from fastmem.readout import MULTIPLIERS, ReadOut
from fastmem.readout.waves import FeatureTiles, waves_of
from fastmem.vote import elsewhere, ridge
from fastmem.vote.calibration import temperature_of
from fastmem.vote.grid import cloud_of, grid_of


@given(st.integers(0, 2**32), st.integers(2, 5))
@settings(max_examples=50)
def test_gaps_say_who_wins_and_by_how_much(seed, n_classes):
    rng = np.random.default_rng(seed)
    votes = rng.integers(-2, 3, (40, n_classes))
    codes = rng.integers(0, n_classes, 40)
    gaps = elsewhere.gaps_of(votes, codes)
    np.testing.assert_array_equal(gaps <= 0, votes.argmax(axis=1) == codes)
    rows = np.flatnonzero(gaps > 0)
    raised = votes.copy()
    raised[rows, codes[rows]] += gaps[rows]
    assert (raised.argmax(axis=1)[rows] == codes[rows]).all()
    raised[rows, codes[rows]] -= 1
    assert (raised.argmax(axis=1)[rows] != codes[rows]).all()


def test_temperature_of_votes_without_a_spread():
    for votes in (np.zeros((5, 3)), np.full((5, 2), 1e300), np.eye(3) * 1e300):
        assert 0 < temperature_of(votes, np.arange(len(votes)) % votes.shape[1]) < np.inf


@pytest.mark.parametrize("factor", [0.0, 5e-324, 1e-310, 1e-30, 1.0, 1e30, 1e300, 1.7e308])
def test_grids_of_all_scales(factor):
    X = np.array([[-1.0, 0.5], [1.0, -0.5], [0.25, 1.0]]) * factor
    for bandwidth in ridge.BANDWIDTHS:
        grid = grid_of(cloud_of(check_points(X), np.arange(3)), bandwidth)
        assert np.isfinite(grid.offsets).all() and (grid.offsets == np.rint(grid.offsets)).all()
        readout = ReadOut(
            1, grid.exponent, grid.offsets, np.ones((64, 1), np.int8), np.zeros(1, np.int64),
            np.empty(0, np.int64), multiplier=grid.multiplier,
        )  # fmt: skip
        votes = readout.votes(X)
        assert len(np.unique(votes[:, 1])) == 3 or factor < 1e-300


@pytest.mark.parametrize("size", [1e-200, 0.7, 1.0, 1e200])
def test_grids_have_the_nearest_bandwidth_that_there_is(size):
    cloud = cloud_of(check_points(np.array([[-size, 0.0], [size, 0.0]])), np.arange(2))
    turn = 2.0**32 / (2 * np.pi) / 64
    steps = np.array([m * 2.0**e for m in MULTIPLIERS for e in range(-4, 3)])
    for bandwidth in np.geomspace(0.3, 3.0, 400):
        grid = grid_of(cloud, bandwidth)
        spread = grid.multiplier * np.ldexp(cloud.rms, grid.exponent + cloud.shift) / turn
        ratio = max(spread / bandwidth, bandwidth / spread)
        assert ratio < 1.1181  # the root of 5/4
        there = spread / grid.multiplier * steps / bandwidth
        assert ratio <= np.exp(np.abs(np.log(there)).min()) * (1 + 1e-9)


@pytest.mark.parametrize("multiplier", [0, 2, -1, 9, 1 << 32, None])
def test_multipliers_that_there_are_not(multiplier):
    parts = 1, 0, np.zeros(2), np.ones((64, 1), np.int8), np.zeros(1, np.int64)
    with pytest.raises(fastmem.InvalidInputError, match=r"multiplier is .*; pass 1, 3, 5 or 7"):
        ReadOut(*parts, np.empty(0, np.int64), multiplier=multiplier)


def test_a_read_out_from_before_there_were_multipliers():
    parts = 1, 20, np.zeros(2), np.ones((64, 1), np.int8), np.zeros(1, np.int64)
    readout = ReadOut(*parts, np.empty(0, np.int64))
    state = readout.__getstate__()
    assert state.pop("multiplier") == 1
    older = object.__new__(ReadOut)
    older.__setstate__(state)
    X = np.random.default_rng(0).standard_normal((9, 2))
    np.testing.assert_array_equal(older.votes(X), readout.votes(X))
    again = pickle.loads(pickle.dumps(replace(readout, multiplier=3)))
    assert again.multiplier == 3 and (again.votes(X) != readout.votes(X)).any()


def test_grams_of_two_multipliers_are_not_the_same():
    """2^e and 3 2^(e-2) share no features, though they may share a power of two."""
    X = np.random.default_rng(0).standard_normal((300, 3))
    y = (X[:, 0] > 0).astype(int)
    model = ridge.Regression(check_points(X), y, 2, 1, np.random.default_rng(0), 1)
    one = grid_of(model.cloud, 1.0)
    other = one._replace(multiplier=8 - one.multiplier)
    errors = [model.fitted(g, 64, 0.5, 300, 64, False).error for g in (one, other, one)]
    assert errors[0] == errors[2] != errors[1]


def test_a_bandwidth_between_those_of_the_first_search(monkeypatch):
    """A step up or down is taken where it is better."""
    X = np.random.default_rng(0).standard_normal((300, 3))
    model = ridge.Regression(check_points(X), X[:, 0] > 0, 2, 1, np.random.default_rng(0), 1)
    for best in (0.4, 0.5657, 0.8, 1.1314):
        monkeypatch.setattr(
            model, "_tried",
            lambda b, p, best=best: ridge.Choice(b, p, abs(np.log(b / best)) + p),
        )  # fmt: skip
        assert abs(model.choose().bandwidth / best - 1) < 1e-3


@pytest.mark.parametrize(("best", "steps"), [(0.5, 0), (0.8, 0), (1.13, 1), (1.6, 2), (9.0, 2)])
def test_a_larger_bandwidth_where_points_are_many(monkeypatch, best, steps):
    X = np.random.default_rng(0).standard_normal((300, 3))
    model = ridge.Regression(check_points(X), X[:, 0] > 0, 2, 1, np.random.default_rng(0), 1)
    monkeypatch.setattr(
        model, "_of_many",
        lambda b, p: ridge.Choice(b, p, abs(np.log(b / best)) + 0.01 * abs(np.log(p / b))),
    )  # fmt: skip
    found = model._sharpest(ridge.Choice(0.8, 0.5, 0.1))
    assert abs(found.bandwidth / 0.8 / 2 ** (steps / 2) - 1) < 1e-9


def test_a_cloud_does_not_depend_on_blocks(monkeypatch):
    X = np.rint(np.random.default_rng(0).standard_normal((200, 3)) * 1e3)
    whole = cloud_of(check_points(X), np.arange(200))
    monkeypatch.setattr("fastmem.readout.waves.BLOCK_VALUES", 100)
    parts = cloud_of(check_points(X), np.arange(200))
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(parts.rms, whole.rms, rtol=1e-12)
    np.testing.assert_allclose(whole.mean, X.mean(axis=0), rtol=1e-12)
    rms = np.sqrt(((X - X.mean(axis=0)) ** 2).sum(axis=1).mean())
    np.testing.assert_allclose(np.ldexp(whole.rms, whole.shift), rms, rtol=1e-12)


def test_regressions_on_samples_without_some_classes():
    """A class of 3 points in 10,000 is in no sample."""
    X, _ = noise(10_000, 3)
    for codes in ((np.arange(10_000) >= 9997).astype(int), np.maximum(0, np.arange(10_000) - 9995)):
        n_classes = codes.max() + 1
        regression = ridge.Regression(
            check_points(X), codes, n_classes, 1, np.random.default_rng(0), 2
        )
        choice = regression.choose()
        found = regression.regress(choice, 64)
        assert np.isfinite(choice.error) and np.isfinite(found.coefficients).all()
        assert np.isfinite(found.intercepts).all() and np.isfinite(found.unseen).all()


def test_tiles_of_wide_rows_are_made_a_few_rows_at_a_time(monkeypatch):
    """Also of points in one array, whose blocks may be as long as they are."""
    seen = []
    points = check_points(np.ones((5000, 600)))
    original = type(points).dense

    def noted(self, rows):
        seen.append(len(rows))
        return original(self, rows)

    monkeypatch.setattr(type(points), "dense", noted)
    waves = waves_of(1, 0, np.zeros(600), 64)
    FeatureTiles(points, np.arange(5000), waves, 2, 1 << 30).tiles(0, 313)
    assert max(seen) * 600 <= 1 << 21 and sum(seen) == 5000
