"""Kernels of the vote against the dense oracle, also as plain Python."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numba.core import config

from fastmem.inputs import check_points
from fastmem.kernels import (
    cosines,
    feature_sums,
    gains,
    gram,
    panel_products,
    products,
    wave_products,
)
from fastmem.kernels.butterflies import LANES
from fastmem.kernels.cosines import RowsToDo
from fastmem.kernels.layout import TILE, TILE_ROWS
from fastmem.kernels.left_out import left_out_errors
from fastmem.kernels.panel_products import PANEL, PANEL_ROWS
from fastmem.machine.arrays import aligned_zeros
from fastmem.machine.loops import run_loop
from fastmem.patterns.words import padded
from fastmem.readout import ReadOut
from fastmem.readout.waves import FeatureTiles, run_over, waves_of
from fastmem.vote import factor
from fastmem.vote.gram import gram_in, gram_room
from fastmem.vote.ridge import mean_and_right
from fastmem.vote.sums import Recipe, SumsHere

EXPONENT = 22


def some_waves(key, d, n, exponent=EXPONENT, offsets=None, multiplier=1):
    return waves_of(key, exponent, np.zeros(d) if offsets is None else offsets, n, multiplier)


def tiles_of(X, waves, n_threads=2):
    tiles = np.full((-(-len(X) // LANES), waves.n, LANES), 99, np.int8)
    run_over(cosines.feature_tiles, X, waves, (tiles,), n_threads)
    return tiles


def by_row(tiles, n_rows):
    return tiles.transpose(0, 2, 1).reshape(-1, tiles.shape[1])[:n_rows]


def random_tiles(rng, n_points, n):
    """Features in tiles, zeros beyond the last point; and as rows (n_points, n) int64."""
    tiles = rng.integers(-127, 128, (-(-n_points // LANES), n, LANES)).astype(np.int8)
    if n_points % LANES:
        tiles[-1, :, n_points % LANES :] = 0
    return tiles, by_row(tiles, n_points).astype(np.int64)


# Features ----------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    d=st.sampled_from([1, 2, 63, 64, 65, 100, 200]),
    n_words=st.integers(1, 5),
    n_points=st.sampled_from([1, 15, 16, 17, 40]),
    dtype=st.sampled_from([np.float32, np.float64]),
    key=st.integers(0, 2**64 - 1),
    exponent=st.sampled_from([-3, 10, 22, 30, 40]),
    multiplier=st.sampled_from([1, 3, 5, 7]),
)
def test_features_are_those_of_the_dense_oracle(
    d, n_words, n_points, dtype, key, exponent, multiplier
):
    rng = np.random.default_rng(key)
    X = rng.standard_normal((n_points, d)).astype(dtype)
    offsets = np.rint(rng.standard_normal(d) * 2.0 ** rng.uniform(0, exponent + 3))
    waves = some_waves(key, d, 64 * n_words, exponent, offsets, multiplier)
    expected = oracle.cosine_features(
        oracle.grid_points(X, exponent, offsets, multiplier), oracle.wave_rows(key, d, waves.n)
    )
    tiles = tiles_of(X, waves)
    np.testing.assert_array_equal(by_row(tiles, n_points), expected)
    assert not tiles[-1, :, (n_points - 1) % LANES + 1 :].any()


@pytest.mark.parametrize("multiplier", [1, 7])
@pytest.mark.parametrize("exponent", [-1074, -1000, 0, 31, 1000, 1023])
def test_features_of_extreme_numbers(exponent, multiplier):
    info = np.finfo(np.float64)
    values = [0.0, -0.0, info.max, info.min, info.tiny, 5e-324, 1.0, -1.0, 0.5, 1.5, 2.5, 2.0**30]
    X = np.array([*values, 2.0**31, -(2.0**30) - 0.5, 1e300, -1e-300])[:, None]
    offsets = np.array([0.0])
    waves = some_waves(7, 1, 64, exponent, offsets, multiplier)
    expected = oracle.cosine_features(
        oracle.grid_points(X, exponent, offsets, multiplier), oracle.wave_rows(7, 1, 64)
    )
    np.testing.assert_array_equal(by_row(tiles_of(X, waves), len(X)), expected)


def test_features_are_waves_of_sizes_from_1_to_127():
    """The parabola is within 0.06 of the sine."""
    X = np.arange(256.0)[:, None]
    waves = some_waves(3, 1, 64, 18)
    found = by_row(tiles_of(X, waves), 256).astype(int)
    assert np.abs(found).max() <= 127 and np.abs(found).min() == 1
    angles = oracle.grid_points(X, 18, np.zeros(1)) @ oracle.wave_rows(3, 1, 64).T
    angles = (angles + np.arange(1, 65) * oracle.GOLDEN) % 2**32 / 2**32
    assert np.abs(found / 127 - np.sin(2 * np.pi * angles)).max() < 0.08


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("n_columns", [1, 3, 17])
@pytest.mark.parametrize(("d", "n"), [(3, 64), (70, 1024), (5, 1088), (130, 2112)])
def test_votes_are_integer_products(d, n, n_columns, n_threads):
    rng = np.random.default_rng(n + d)
    X = rng.standard_normal((333, d))
    weights = rng.choice([-127, 127], (n, n_columns)).astype(np.int8)
    weights[: n // 2] = rng.integers(-127, 128, (n // 2, n_columns))
    levels = rng.integers(-(2**61), 2**61, n_columns)
    readout = ReadOut(5, EXPONENT, np.zeros(d), weights, levels, np.empty(0, np.int64))
    features = oracle.cosine_features(
        oracle.grid_points(X, EXPONENT, np.zeros(d)), oracle.wave_rows(5, d, n)
    )
    votes = features @ weights.astype(np.int64) + levels
    if n_columns == 1:
        votes = np.concatenate([np.zeros_like(votes), votes], axis=1)
    np.testing.assert_array_equal(readout.votes(X, n_threads), votes)


def test_votes_of_the_largest_weights_are_exact():
    """Sums of 1,024 products stay below 2^24, and more are added as integers."""
    X = np.zeros((20, 1))
    n = 65536
    readout = ReadOut(
        0, 0, np.zeros(1), np.full((n, 1), 127, np.int8), np.zeros(1, np.int64),
        np.empty(0, np.int64),
    )  # fmt: skip
    features = oracle.cosine_features(np.zeros((1, 1), np.int64), np.zeros((n, 1), np.int64))[0]
    signs = np.where(features > 0, 127, -127).astype(np.int8)[:, None]
    aligned = ReadOut(0, 0, np.zeros(1), signs, np.zeros(1, np.int64), np.empty(0, np.int64))
    assert (readout.votes(X)[:, 1] == 127 * features.sum()).all()
    assert (aligned.votes(X)[:, 1] == 127 * np.abs(features).sum()).all()
    assert 127 * np.abs(features).sum() > 2**24


def test_rows_to_do_in_any_order():
    rng = np.random.default_rng(0)
    X, rows = rng.standard_normal((100, 3)), rng.permutation(100)[:37]
    waves = some_waves(9, 3, 128)
    tiles = np.empty((3, 128, LANES), np.int8)
    tasks = np.array([[0, 16], [16, 37]])
    run_loop(cosines.feature_tiles, 2, 2, (RowsToDo(X, rows, tasks), waves, tiles))
    np.testing.assert_array_equal(by_row(tiles, 37), by_row(tiles_of(X, waves), 100)[rows])


@pytest.mark.parametrize("most_bytes", [0, 3 * 16 * 64, 1 << 20])
def test_tiles_that_are_kept_and_made_again_are_the_same(most_bytes):
    rng = np.random.default_rng(1)
    points = check_points(rng.standard_normal((150, 4)))
    rows = rng.permutation(150)[:131]
    waves = some_waves(2, 4, 64)
    features = FeatureTiles(points, rows, waves, 2, most_bytes)
    expected = by_row(tiles_of(points.block(0, 150), waves), 150)[rows]
    assert features.n_tiles == 9
    for first, last in [(0, 9), (0, 2), (2, 3), (2, 4), (8, 9), (5, 8)]:
        found = by_row(features.tiles(first, last), 131 - 16 * first if last == 9 else 1 << 20)
        np.testing.assert_array_equal(found, expected[16 * first : 16 * last])
    chosen = np.array([130, 0, 16, 15, 77, 0])
    np.testing.assert_array_equal(features.rows(chosen), expected[chosen])


# Products ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_columns", [1, 2, 5, 33])
def test_products_with_weights_and_residuals(n_columns):
    rng = np.random.default_rng(n_columns)
    size = 64 * LANES
    features = aligned_zeros(wave_products.TILES * size, np.float32)
    features[:] = rng.integers(-127, 128, len(features))
    weights = rng.integers(-127, 128, (192, n_columns)).astype(np.float32)
    votes = rng.integers(-99, 99, (n_columns, LANES)).astype(np.float32)
    slopes = rng.integers(-99, 99, (192, n_columns, LANES)).astype(np.float32)
    rows = features.reshape(-1, 64, LANES).astype(np.int64)
    more = np.einsum("hl,hc->cl", rows[0], weights[64:128].astype(np.int64))
    expected, before, change = votes + more, slopes.copy(), np.zeros(slopes.shape)
    residuals = rng.integers(-9, 9, (len(rows), n_columns, LANES)).astype(np.float32)
    change[64:128] = np.einsum("thl,tcl->hcl", rows, residuals)

    @cosines.njit()
    def both(features, weights, votes, residuals, slopes):
        wave_products.add_votes(features[:size], weights, 64, votes)
        wave_products.add_slopes(features, residuals, 64, slopes)

    both(features, weights, votes, residuals, slopes)
    np.testing.assert_array_equal(votes, expected)
    np.testing.assert_array_equal(slopes, before + change)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize(
    ("n_points", "n", "n_columns"), [(1, 64, 1), (1500, 128, 1), (2050, 64, 5)]
)
def test_normal_products_are_those_of_the_normal_equations(n_points, n, n_columns, n_threads):
    rng = np.random.default_rng(n_points)
    tiles, F = random_tiles(rng, n_points, n)
    weights = rng.integers(-8, 9, (n, n_columns)) / 8
    shift = rng.integers(-8, 9, n_columns) / 8
    n_tasks = -(-len(tiles) // feature_sums.TASK_TILES)
    rest = F @ weights - shift
    sums, totals = np.empty((n_tasks, n, n_columns)), np.empty((n_tasks, n_columns))
    largest = np.empty((n_tasks, n_columns), np.float32)
    scale = np.ldexp(1.0, 10 - np.frexp(np.abs(rest).max(axis=0))[1]).astype(np.float32)
    others = (weights.astype(np.float32), shift.astype(np.float32), scale)
    run_loop(
        feature_sums.normal_products, n_tasks, n_threads,
        (tiles, n_points, *others, (sums, totals, largest)),
    )  # fmt: skip
    whole = np.rint(rest * scale).astype(np.int64)
    np.testing.assert_array_equal(totals.sum(axis=0), whole.sum(axis=0))
    np.testing.assert_array_equal(sums.sum(axis=0), F.T.astype(np.int64) @ whole)
    np.testing.assert_array_equal(largest.max(axis=0), np.abs(whole).max(axis=0))


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(("n_points", "n", "K"), [(1, 64, 2), (100, 192, 3), (1100, 64, 70)])
def test_gram_matrices_and_sums_by_class(n_points, n, K, n_threads):
    rng = np.random.default_rng(n_points)
    X, codes = rng.standard_normal((n_points, 3)), rng.integers(0, K, n_points)
    waves = some_waves(11, 3, n)
    F = by_row(tiles_of(X, waves), n_points).astype(np.int64)
    recipe = Recipe(11, EXPONENT, np.zeros(3), n, 1)
    features = SumsHere(check_points(X), codes, None, recipe, n_threads)
    room = gram_room(n, K, 5)
    features.add_gram(room[: n + K + 1])
    found = gram_in(room, np.bincount(codes, minlength=K))
    indicators = (codes[:, None] == np.arange(K)).astype(np.int64)
    np.testing.assert_array_equal(np.tril(found.products[:n]), np.tril(F.T @ F))
    np.testing.assert_array_equal(found.products[n:], indicators.T @ F)
    np.testing.assert_array_equal(found.sums, F.sum(axis=0))
    np.testing.assert_array_equal(found.counts, indicators.sum(axis=0))
    assert len(found.room) >= n + K + 5 and np.shares_memory(found.room, found.products)
    centred = F - F.mean(axis=0)
    np.testing.assert_allclose(found.mean_square, (centred**2).sum() / n, rtol=1e-9, atol=1e-6)
    counts = np.bincount(codes, minlength=K)
    mean, right = mean_and_right(features, counts)
    targets = codes[:, None] - 0.5 if K == 2 else indicators.astype(float)
    np.testing.assert_allclose(mean, F.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(right, centred.T @ targets, rtol=1e-9, atol=1e-6)
    for last in (False, True):
        rows = found.ridge_rows(3.0, 5, last)
        np.testing.assert_allclose(
            np.tril(rows[:n]), np.tril(centred.T @ centred + 3.0 * np.eye(n)), atol=1e-6
        )
        np.testing.assert_allclose(rows[n : n + right.shape[1]], right.T, rtol=1e-12)
        assert np.shares_memory(rows, found.room) == last


def pairs(low, high):
    """Two whole numbers of 16 bits each as one of 32."""
    return np.stack([low, high], axis=-1).astype(np.int16).view(np.int32)[..., 0]


def test_gram_products_of_the_largest_numbers():
    """Of as many points as may be added up at once: the sum is just below 2^31."""
    few = gram.MOST_POINTS // 2
    panels, groups = (aligned_zeros((g, few, w), np.int32) for g, w in ((1, 64), (11, TILE_ROWS)))
    panels[:], groups[:] = pairs(127, 127), pairs(-127, -127)
    assert 127 * 127 * gram.MOST_POINTS < 2**31
    products = np.zeros((66, 64))
    for _ in range(3):
        run_loop(gram.gram_products, 1, 1, (panels, groups, products))
    assert (products == -3 * gram.MOST_POINTS * 127 * 127).all()


@pytest.mark.parametrize("instruction", ["found", ("llvm.x86.sse2.pmadd.wd", 4), None])
@pytest.mark.parametrize("lanes", [16, 64])
def test_sums_of_pairs_however_a_processor_makes_them(monkeypatch, instruction, lanes):
    """Each way gives the sums of whole numbers, also at the ends of 16 bits."""
    if config.DISABLE_JIT or (instruction and platform.machine() not in ("x86_64", "AMD64")):
        pytest.skip("one way only")
    if instruction != "found":
        monkeypatch.setattr(products, "pair_instruction", lambda context: instruction)
    monkeypatch.setattr(products, "lanes_of", lambda context: lanes)

    @njit
    def compiled(panels, rows, sums):
        products.add_products(panels, 1, 1, panels.shape[1], rows, 0, sums)

    rng = np.random.default_rng(lanes)
    values = [rng.integers(-(2**15), 2**15, (2, 5, w, 2), endpoint=True) for w in (64, TILE_ROWS)]
    values = [np.clip(v, -(2**15), 2**15 - 1).astype(np.int16) for v in values]
    sums = rng.integers(-9, 9, (1, TILE_ROWS, 64)).astype(np.int32)
    expected = sums[0] + np.einsum(
        "khp,krp->rh", values[0][1, 1:].astype(np.int64), values[1][0, 1:].astype(np.int64)
    )
    compiled(*(v.view(np.int32)[..., 0] for v in values), sums)
    np.testing.assert_array_equal(sums[0], expected.astype(np.int32))


@pytest.mark.parametrize("n_columns", [1, 4])
@pytest.mark.parametrize("width", [1, 2, 64, 130])
def test_gains_are_added_where_neurons_are_on(width, n_columns):
    rng = np.random.default_rng(width)
    bits, masks = rng.random((200, width)) < 0.5, rng.random((7, width)) < 0.3
    thresholds = rng.integers(0, 1 + width // 4, 7)
    owners = rng.integers(0, n_columns, 7)
    amounts = rng.integers(1, 2**60, 7) // 8
    votes = rng.integers(-(2**60), 2**60, (200, n_columns))
    words = np.full((2 * TILE, -(-width // 64)), 2**64 - 1, np.uint64)
    words[:200] = oracle.pack(bits)
    tiles = words.reshape(2, TILE, -1).transpose(0, 2, 1).copy()
    on = oracle.coverage(masks, thresholds, bits)
    expected = oracle.votes_with_gains(votes, on, owners, amounts)
    gains.add_gains(
        tiles, padded(oracle.pack(masks)), padded(thresholds), padded(owners), padded(amounts),
        votes,
    )  # fmt: skip
    np.testing.assert_array_equal(votes, expected)


# Factors -----------------------------------------------------------------------------------------


def definite(rng, n, n_more, scale=1.0):
    """A matrix as ``kernels.cholesky`` takes it: garbage above the diagonal, and more rows."""
    root = rng.standard_normal((n, n + 3))
    matrix = np.concatenate([root @ root.T * scale + np.eye(n), rng.standard_normal((n_more, n))])
    return matrix + np.concatenate([np.triu(np.full((n, n), 7.0), 1), np.zeros((n_more, n))])


@pytest.mark.parametrize("n_threads", [1, 2, 7])
@pytest.mark.parametrize(("n", "n_more"), [(64, 4), (128, 0), (320, 44)])
def test_factors_and_solutions(n, n_more, n_threads):
    rng = np.random.default_rng(n)
    matrix = definite(rng, n, n_more)
    whole = np.tril(matrix[:n]) + np.tril(matrix[:n], -1).T
    rows = matrix[n:].copy()
    assert factor.factored(matrix, n, n_threads)
    expected = np.linalg.cholesky(whole)
    np.testing.assert_allclose(np.tril(matrix[:n]), expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(matrix[n:], np.linalg.solve(expected, rows.T).T, atol=1e-8)
    if n_more:
        again = rows.copy()
        factor.continued(matrix, again, n, n_threads)
        np.testing.assert_array_equal(again, matrix[n:])
        found = factor.solved(matrix, n, matrix[n:], n_threads)
        np.testing.assert_allclose(found, np.linalg.solve(whole, rows.T), rtol=1e-6, atol=1e-8)


def test_factors_do_not_depend_on_threads_nor_on_rows_that_are_more():
    matrix = definite(np.random.default_rng(2), 256, 100)
    alone = matrix[:260].copy()
    few, many = matrix.copy(), matrix.copy()
    for one, n_threads in ((few, 1), (many, 8), (alone, 3)):
        factor.factored(one, 256, n_threads)
    np.testing.assert_array_equal(few, many)
    np.testing.assert_array_equal(np.tril(few[:256]), np.tril(alone[:256]))
    np.testing.assert_array_equal(few[256:260], alone[256:260])


@pytest.mark.parametrize("matrix", ["zeros", "negative", "one vector", "tiny", "not a number"])
def test_a_matrix_that_is_not_definite_gives_finite_factors_and_says_so(matrix):
    n = 128
    whole = np.zeros((n + 4, n))
    whole[n:] = 1.0
    if matrix == "negative":
        whole[:n] = -np.eye(n)
    elif matrix == "one vector":
        whole[:n] = np.outer(np.arange(1.0, n + 1), np.arange(1.0, n + 1))
    elif matrix == "tiny":
        whole[:n] = 1e-320 * np.eye(n)
    elif matrix == "not a number":
        whole[5, 5] = np.nan
    is_definite = factor.factored(whole, n, 2)
    assert is_definite == (matrix == "tiny")
    assert np.isfinite(np.tril(whole[:n])).all()


@pytest.mark.parametrize("n_columns", [1, 3])
def test_errors_of_points_left_out_are_those_of_regressions_without_them(n_columns):
    """Each point left out by itself, at each width, against a regression on the others."""
    rng = np.random.default_rng(n_columns)
    n, n_points, penalty = 192, 40, 50.0
    F = rng.integers(-127, 128, (n_points, n)).astype(float)
    targets = rng.standard_normal((n_points, n_columns))
    centred, level = F - F.mean(axis=0), targets.mean(axis=0)
    matrix = np.concatenate(
        [centred.T @ centred + penalty * np.eye(n), (targets - level).T @ centred, centred]
    )
    spare = -len(matrix) % PANEL_ROWS
    matrix = np.concatenate([matrix, np.zeros((spare, n))])
    factor.factored(matrix, n, 1)
    answers, rows = matrix[n : n + n_columns], matrix[n + n_columns :][: len(targets)]
    found, unseen = factor.left_out(answers, rows, targets - level, 1 / n_points, 2)
    inverse = np.linalg.inv(centred.T @ centred + penalty * np.eye(n))
    leverages = np.einsum("ij,jk,ik->i", centred[: len(rows)], inverse, centred[: len(rows)])
    np.testing.assert_allclose(found.leverages, leverages + 1 / n_points, rtol=1e-6)
    assert found.widths.tolist() == [64, 128, 192]
    for i in (0, 7, 39):
        others = np.arange(n_points) != i
        for w, width in enumerate(found.widths):
            # the intercept is not penalised: it is regressed by centring
            coefficients, intercept = oracle.ridge(F[others, :width], targets[others], penalty)
            said = F[i, :width] @ coefficients + intercept
            np.testing.assert_allclose(
                found.errors[w, i], ((targets[i] - said) ** 2).sum(), rtol=1e-6
            )
        np.testing.assert_allclose(unseen[i] + level, said, rtol=1e-6)


def test_errors_of_points_left_out_are_finite_where_leverage_is_1():
    rows, answers = np.full((3, PANEL), 1.0), np.ones((2, PANEL))
    unseen, leverages, errors = np.zeros((3, 2)), np.empty(3), np.empty((1, 3))
    run_loop(
        left_out_errors, 1, 1, (rows, answers, np.zeros((3, 2)), 0.5, unseen, leverages, errors)
    )
    assert np.isfinite(errors).all() and (errors > 0).all()
    np.testing.assert_allclose(unseen, 64 / 1e-9)


def test_products_with_a_panel():
    rng = np.random.default_rng(0)
    matrix, panel = rng.standard_normal((12, 70)), rng.standard_normal((70, PANEL))

    @cosines.njit()
    def subtract(matrix, row, depth, panel, sums):
        panel_products.subtract_products(matrix, row, depth, panel, sums)

    for depth in (0, 1, 70):
        sums = rng.standard_normal((PANEL_ROWS, PANEL))
        expected = sums.copy()
        for k in range(depth):  # in this order, without fused operations
            expected -= matrix[4:8, k, None] * panel[k]
        subtract(matrix, 4, depth, panel, sums)
        np.testing.assert_array_equal(sums, expected)


# As plain Python ---------------------------------------------------------------------------------

PLAIN = """
import hashlib, sys
import numpy as np
import fastmem
rng = np.random.default_rng(0)
X = rng.standard_normal((34, 2)).astype(np.float32)
X[::2] *= 30
y = rng.integers(0, 2, 34)
from fastmem.inputs import check_points
from fastmem.vote import ridge
from fastmem.vote.fitting import _rounded
ridge.SAMPLE_WIDTH = 64
regression = ridge.Regression(check_points(X), y, 2, 5, rng, 1)
found = regression.regress(ridge.Choice(0.8, 0.05, 1.0), 64)
readout = _rounded(found, 5, y[found.rows])
sums = found.coefficients.tobytes() + readout.votes(X).tobytes()
print(hashlib.sha256(sums).hexdigest())
"""


def test_plain_python_gives_the_same_numbers(tmp_path):
    """The same sums in the same order, to the last bit: nothing is fused."""
    found = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PLAIN], env=os.environ | environment,
            capture_output=True, text=True, check=True, timeout=1000,
        ).stdout
        for environment in ({"NUMBA_DISABLE_JIT": "0"}, {"NUMBA_DISABLE_JIT": "1"})
    ]  # fmt: skip
    assert found[0] == found[1] != ""
