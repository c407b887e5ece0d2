"""Hyperplanes that are computed from a key: their distribution, their bits, how they grow."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from scipy import sparse as sp
from scipy import special, stats
from test_model_file import forge, npy

import fastmem
from fastmem import datasets, inputs, sign_patterns
from fastmem.hyperplanes import seeded
from fastmem.hyperplanes.seeded import GaussianRows, SeededHyperplanes
from fastmem.inputs import InvalidInputError, check_points
from fastmem.kernels import normals
from fastmem.patterns import computed_rows

PINNED = [
    [3208552322, 3198210470, 1056241550, 1066447487],
    [1061068674, 1050726822, 3203725198, 3213931135],
    [3202756467, 3198411810, 3193209273, 3203065040],
    [1015704194, 3200867581, 3216369427, 3210581739],
]


def planes_of(d, key=77, n_extra=2, n=130, seed=0):
    """Generated rows of both signs, in no order, and some that are stored between them."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(4 * n)[:n].astype(np.int32)
    rows[rng.choice(n, n_extra, replace=False)] = -1
    rows[rows < 0] = -1 - np.arange(n_extra)
    extra = rng.standard_normal((n_extra, d)).astype(np.float32)
    return SeededHyperplanes(key, rows, extra, rng.uniform(-1, 1, n), 0.1 * np.ones(d), 3.0)


def test_the_inverse_of_the_distribution_function_is_exact_enough():
    centred = np.concatenate(
        [np.linspace(-0.4999, 0.4999, 20_001), 2.0 ** -np.arange(2.0, 54) - 0.5]
    )
    values = np.empty(len(centred))
    normals.normals(centred, values, np.empty(len(centred), np.int64), np.empty(len(centred)))
    np.testing.assert_allclose(values, special.ndtri(0.5 + centred), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("key", [0, 1, 2**64 - 1])
def test_weights_are_gaussian_and_independent(key):
    planes = SeededHyperplanes(
        key, np.arange(0, 400, 2, dtype=np.int32), np.empty((0, 5000), np.float32), np.zeros(200)
    )
    w = planes.weights.astype(np.float64)
    assert stats.kstest(w.ravel(), "norm").pvalue > 1e-3
    for moment, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        off = np.mean(w**moment) - expected
        assert abs(off) < 4 * np.sqrt(variance / w.size), (moment, off)
    # rows, columns and neighbours: correlations of a million independent pairs
    for a, b in ((w[1:], w[:-1]), (w[:, 1:], w[:, :-1]), (w[1:, 1:], w[:-1, :-1])):
        assert abs(np.mean(a * b)) * np.sqrt(a.size) < 4
    gram = w @ w.T / np.sqrt(5000)
    assert abs(gram[np.triu_indices(200, 1)]).max() < 6


def test_weights_are_these_on_every_machine():
    planes = SeededHyperplanes(
        12345, np.array([0, 1, 2, 10**9], np.int32), np.empty((0, 4), np.float32), np.zeros(4)
    )
    assert planes.weights[0].tobytes() == (-planes.weights[1]).tobytes()
    assert planes.weights.view(np.uint32).tolist() == PINNED


def test_weights_are_those_of_the_definition():
    """In Python's integers, with SciPy's inverse of the distribution function."""

    def mix(word):
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
        return word ^ word >> 31

    planes = planes_of(20)
    for i in np.flatnonzero(planes.rows >= 0)[:30]:
        row, minus = divmod(int(planes.rows[i]), 2)
        step = 0x9E3779B97F4A7C15
        seed = mix(mix((planes.key + step) % 2**64) ^ (row + 1) * 0x94D049BB133111EB % 2**64)
        bits = [mix((seed + (column + 1) * step) % 2**64) >> 11 for column in range(20)]
        expected = special.ndtri((np.array(bits, np.float64) + 0.5) * 2.0**-53)
        np.testing.assert_allclose(planes.weights[i], (-1) ** minus * expected, rtol=1e-7)


def test_panels_and_rows_hold_the_same_weights():
    planes = planes_of(300)
    for lanes in (16, 64):
        for columns in (np.empty(0, np.int64), np.array([0, 7, 8, 250])):
            count = len(columns) or 300
            panels = np.full((64 // lanes, count, lanes), np.nan, np.float32)
            make = planes.panel_maker(64, 120)
            for first in range(0, count, 90):
                make(columns, first, min(first + 90, count), panels)
            found = panels.transpose(0, 2, 1).reshape(64, count)
            expected = planes.weights[64:120]
            expected = expected[:, columns] if len(columns) else expected
            np.testing.assert_array_equal(found[:56], expected)
            assert not found[56:].any()


@pytest.mark.parametrize("d", [3, 200, 1500])
@pytest.mark.parametrize("words_at_once", [1, 100])
def test_seeded_patterns_equal_exact_arithmetic(d, words_at_once, monkeypatch):
    monkeypatch.setattr(computed_rows, "PART_BYTES", words_at_once * 4 * 64 * d)
    planes = planes_of(d)
    rng = np.random.default_rng(d)
    X = rng.standard_normal((200, d)).astype(np.float32)
    X[rng.uniform(size=X.shape) < 0.93] = 0
    biases = planes.biases.copy()
    weights = planes.weights
    for h in range(0, len(planes), 3):
        biases[h] = -np.sum(weights[h] * X[h].astype(float))  # very nearly through a point
    planes = SeededHyperplanes(planes.key, planes.rows, planes.extra, biases, planes.origin, 2.0)
    expected = oracle.pack(oracle.exact_bits_filtered(X, weights, biases))
    np.testing.assert_array_equal(sign_patterns(X, planes), expected)
    np.testing.assert_array_equal(sign_patterns(sp.csr_array(X), planes), expected)
    np.testing.assert_array_equal(sign_patterns(sp.csr_array(X[:2]), planes), expected[:2])


def test_parts_of_seeded_hyperplanes_are_those_of_their_weights():
    planes = planes_of(40, n_extra=5)
    kept = np.array([0, 3, 50, 51, 52, 90, 129])
    for some in (kept, np.flatnonzero(planes.rows < 0)):
        part = planes.subset(some)
        np.testing.assert_array_equal(part.weights, planes.weights[some])
        np.testing.assert_array_equal(part.biases, planes.biases[some])
    more = planes.joined(planes.subset(kept))
    both = np.concatenate([planes.weights, planes.weights[kept]])
    np.testing.assert_array_equal(more.weights, both)
    other = fastmem.Hyperplanes(np.ones((2, 40), np.float32), np.zeros(2))
    np.testing.assert_array_equal(planes.joined(other).weights[-2:], other.weights)
    np.testing.assert_array_equal(planes.joined(planes_of(40, key=5)).weights[130:],
                                  planes_of(40, key=5).weights)  # fmt: skip
    assert planes.n_nonzero == np.count_nonzero(planes.weights) + len(planes)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_candidates_part_their_pairs(is_sparse, monkeypatch):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((12, 300))
    X[rng.uniform(size=X.shape) < 0.95] = 0
    X[5] = X[4]
    column = np.flatnonzero(X[4])[0]
    X[5, column] = np.nextafter(X[4, column], 9)  # as near as floats can be
    points = check_points(sp.csr_array(X) if is_sparse else X)
    assert points.is_sparse == is_sparse
    monkeypatch.setattr(seeded, "_FEW_FEATURES", 299)
    source = GaussianRows(np.random.default_rng(0), np.zeros(300), 1.0)
    pairs = [points.dense(np.array(pair)) for pair in ((0, 1), (4, 5), (6, 7))]
    trial = source.between(pairs, rng, 3, np.zeros(300), 1.0)
    bits = oracle.exact_bits(X, trial.weights, trial.biases)
    parted = ~bits[[0, 4, 6]] & bits[[1, 5, 7]]
    assert parted.any(axis=1).all()
    assert (trial.rows[:3] >= 0).all() and parted[0, :3].all() and parted[2, -3:].all()
    assert len(trial.extra) == 2  # for the pair that is too near
    numbers = trial.rows[trial.rows >= 0] // 2
    assert len(set(numbers.tolist())) == len(numbers)


def test_the_mean_is_folded_into_the_biases():
    center = np.linspace(1, 2, 30)
    draws = [
        GaussianRows(np.random.default_rng(3), c, 0.5).start(40, c, 1.0)
        for c in (np.zeros(30), center)
    ]
    np.testing.assert_array_equal(draws[0].weights, draws[1].weights)
    moved = draws[0].biases - draws[0].weights.astype(float) @ center
    np.testing.assert_allclose(draws[1].biases, moved, rtol=1e-12, atol=1e-14)
    assert np.abs(draws[0].biases).max() <= 0.5


@pytest.mark.parametrize("width", [200, "auto"])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_networks_with_seeded_hyperplanes(width, is_sparse, monkeypatch, tmp_path):
    monkeypatch.setattr(inputs.settings, "WEIGHT_BYTES", 0)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 300))
    X[rng.uniform(size=X.shape) < 0.97] = 0
    y = rng.integers(0, 3, 500)
    X[7, 150], y[7] = np.nextafter(X[8, 150], 9), 1 - y[8] % 2
    X[7, :150], X[7, 151:] = X[8, :150], X[8, 151:]
    data = sp.csr_array(X) if is_sparse else X
    if width == 200:
        X, y, data = X[10:], y[10:], data[10:]
    nets = [
        fastmem.interpolate(data, y, width=width, projection="gaussian", seed=2, n_threads=k)
        for k in (1, 3)
    ]
    assert all(isinstance(net.first, SeededHyperplanes) for net in nets)
    assert nets[0].first.key == nets[1].first.key
    for name in ("rows", "extra", "biases"):
        np.testing.assert_array_equal(getattr(nets[0].first, name), getattr(nets[1].first, name))
    np.testing.assert_array_equal(nets[0].second.masks, nets[1].second.masks)
    assert nets[0].score(data, y) == 1
    assert [nets[0].predict(data[[i]])[0] for i in range(20)] == y[:20].tolist()


@pytest.mark.parametrize("n_extra", [0, 3])
def test_the_model_file_holds_the_key(n_extra, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 2000)).astype(np.float32)
    planes = planes_of(2000, 2**64 - 1, n_extra)
    masks = rng.integers(2**63, size=(4, 3), dtype=np.uint64)
    masks[:, 2] &= np.uint64(3)
    second = fastmem.CoverLayer(masks, np.full(4, 30, np.int32), np.array([0, 0, 1, 1], np.int32))
    network = fastmem.Network(np.array([0, 1, 2]), planes, second, (0, 1))
    path = tmp_path / "net.npz"
    network.save(path)
    loaded = fastmem.load(path)
    assert isinstance(loaded.first, SeededHyperplanes) and loaded.first.key == 2**64 - 1
    np.testing.assert_array_equal(loaded.first.weights, planes.weights)
    np.testing.assert_array_equal(loaded.decision_function(X), network.decision_function(X))
    # 130 rows of 2,000 float32 would be 1 MB
    assert network.nbytes == path.stat().st_size < 30_000 + 8000 * n_extra
    with np.load(path) as archive:
        assert archive["format_version"] == 3 and archive["key"] == 2**64 - 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"key": -1}, "key is -1 "),
        ({"key": 2**64}, "key is 18446744073709551616 "),
        ({"rows": np.arange(4)}, "rows is a ndarray of shape (4,) and dtype int64"),
        ({"rows": np.array([0, -2, 2, 3], np.int32)}, "are not -1 to -1 in this order"),
        ({"rows": np.array([0, 1, 2, 3], np.int32)}, "are not -1 to -1 in this order"),
        ({"rows": np.array([-1, 1, 2], np.int32)}, "have lengths 3 and 4"),
        ({"extra": np.full((1, 3), np.nan, np.float32)}, "extra[0, 0] is nan"),
        ({"extra": np.empty((0, 0), np.float32)}, "extra has no columns"),
        ({"biases": np.array([0, 0, np.inf, 0])}, "biases[2] is inf"),
        ({"origin": np.zeros(2)}, "origin has shape (2,)"),
        ({"radius": -1.0}, "radius is -1.0"),
    ],
)
def test_what_cannot_be_seeded_hyperplanes_is_refused(change, sentence):
    good = {
        "key": 3,
        "rows": np.array([0, -1, 2, 3], np.int32),
        "extra": np.ones((1, 3), np.float32),
        "biases": np.zeros(4),
    }
    SeededHyperplanes(**good)
    with pytest.raises(InvalidInputError) as caught:
        SeededHyperplanes(**(good | change))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("compact", [False, True])
def test_compact_networks_keep_the_key(compact, monkeypatch, tmp_path):
    monkeypatch.setattr(inputs.settings, "WEIGHT_BYTES", 0)
    X, y = datasets.random_labels(400, 6)
    network = fastmem.interpolate(X, y, width=500, seed=0, compact=compact)
    assert isinstance(network.first, SeededHyperplanes)
    assert (len(network.first) < 500) == compact
    network.save(tmp_path / "net.npz")
    assert network.score(X, y) == fastmem.load(tmp_path / "net.npz").score(X, y) == 1


HOSTILE = {
    "rows in no order": ("row_steps", np.array([-2, 2, 1, 1, 1], np.int8), "are not -1 to -1 in"),
    "row of no extra": ("row_steps", np.array([0, -2, 1, 3, 1], np.int8), "are not -1 to -1 in"),
    "row beyond int32": ("row_steps", np.array([2**40, 1, 1, 1, 1]), "leads to no row"),
    "key of two": ("key", np.zeros(2, np.uint64), "key has 1 dimensions instead of 0"),
    "key with a sign": ("key", np.array(-1), "key has dtype int64 instead of uint64"),
    "extra of no columns": ("extra", np.zeros((1, 0), np.float32), "origin has shape (6,)"),
    "extra not finite": ("extra", np.full((1, 6), np.nan, np.float32), "which is not finite"),
}


@pytest.mark.parametrize(("name", "array", "expected"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_model_files_with_a_key_are_refused(name, array, expected, tmp_path):
    planes = SeededHyperplanes(
        9, np.array([0, -1, 3, 4, 5], np.int32), np.ones((1, 6), np.float32), np.zeros(5)
    )
    masks = np.full((2, 1), 31, np.uint64)
    second = fastmem.CoverLayer(masks, np.full(2, 2, np.int32), np.array([0, 0], np.int32))
    network = fastmem.Network(np.array([0, 1]), planes, second, (0,))
    network.save(tmp_path / "right.npz")
    with np.load(tmp_path / "right.npz") as archive:
        members = {member: npy(archive[member]) for member in archive.files}
    assert fastmem.load(forge(tmp_path / "same.npz", members)).first.key == 9
    forged = forge(tmp_path / "hostile.npz", members | {name: npy(array)})
    with pytest.raises(fastmem.ModelFileError) as caught:
        fastmem.load(forged)
    assert expected in str(caught.value)
