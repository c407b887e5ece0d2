"""Fits with decision="vote": right on every training point, whatever points and labels are like."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_fits import a_data_set, check, distinct

import fastmem
from fastmem import InvalidInputError, UnseparatedWarning, datasets
from fastmem.inputs import check_points
from fastmem.readout import costs
from fastmem.vote import ridge, sums


def vote(X, y, **more):
    return fastmem.interpolate(X, y, decision="vote", **{"seed": 0, "n_threads": 2} | more)


def same_vote(a, b):
    """Equal networks, bit for bit."""
    for name in ("key", "exponent", "temperature"):
        assert getattr(a.readout, name) == getattr(b.readout, name), name
    for name in ("offsets", "weights", "intercepts", "gains"):
        np.testing.assert_array_equal(getattr(a.readout, name), getattr(b.readout, name))
    for name in ("weights", "biases"):
        np.testing.assert_array_equal(getattr(a.first, name), getattr(b.first, name))
    for name in ("masks", "thresholds", "owners"):
        np.testing.assert_array_equal(getattr(a.second, name), getattr(b.second, name))


def right_everywhere(network, X, y):
    """Right as a whole, in batches and one at a time, and as the scores say."""
    y = np.asarray(y)
    np.testing.assert_array_equal(network.predict(X), y)
    n = len(y)
    for size in (1, 7, 200):
        for start in range(0, min(n, 20 * size), size):
            some = slice(start, start + size)
            np.testing.assert_array_equal(network.predict(X[some], n_threads=1), y[some])
    scores = network.decision_function(X)
    assert not np.isnan(scores).any()
    best = scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0).astype(int)
    np.testing.assert_array_equal(network.classes_[best], y)
    shares = network.predict_proba(X)
    assert (shares >= 0).all() and np.abs(shares.sum(axis=1) - 1).max() < 1e-9


# Points of all kinds -----------------------------------------------------------------------------


def noise(n, d, n_classes=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), np.arange(n) % n_classes


def times(factor, n=300, n_classes=3):
    X, y = noise(n, 3, n_classes)
    return X * factor, y


def bits(n, start):
    """Neighbouring numbers, ``start`` and up."""
    rng = np.random.default_rng(1)
    numbers = start + rng.permutation(4 * n)[:n, None] * np.spacing(start)
    return np.concatenate([numbers, np.full((n, 1), start)], axis=1), np.arange(n) % 2


def beside(columns, data):
    return np.hstack([columns, data[0]]), data[1]


TINY = np.float32(1e-45)
SETS = {
    "two points": lambda: (np.array([[0.0], [1.0]]), [0, 1]),
    "two neighbours": lambda: (np.array([[1.0], [np.nextafter(1, 2)]]), ["b", "a"]),
    "exclusive or": lambda: (np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), [0, 1, 1, 0]),
    "one feature": lambda: noise(300, 1),
    "coin flips": lambda: noise(1000, 10),
    "alternating": lambda: (np.arange(300.0)[:, None], np.arange(300) % 2),
    "one by one": lambda: (np.arange(60.0)[:, None], np.arange(60)),
    "constant features": lambda: beside(np.ones((200, 2)), noise(200, 2)),
    "zeros": lambda: beside(np.zeros((200, 9)), noise(200, 2, 4)),
    "huge": lambda: times(1e297),
    "tiny": lambda: times(1e-300),
    "subnormal": lambda: (np.rint(times(1e6)[0]) * 5e-324, times(1e6)[1]),
    "float32 subnormal": lambda: (np.rint(times(1e6)[0]).astype("f4") * TINY, times(1)[1]),
    "mixed scales": lambda: times(np.array([1e-300, 1.0, 1e250])),
    "far away": lambda: bits(300, 1e9),
    "far away, float32": lambda: (bits(300, np.float32(1e9))[0].astype("f4"), bits(300, 1.0)[1]),
    "an outlier": lambda: (np.concatenate([times(1e-9)[0], [[1e9] * 3]]), [*times(1)[1], 0]),
    "equal in float32": lambda: bits(500, 1.0),
    "integers": lambda: (np.argsort(noise(600, 1)[0], axis=0).reshape(300, 2), noise(300, 1)[1]),
    "a rare class": lambda: (noise(3000, 4)[0], np.arange(3000) >= 2997),
    "one of a class": lambda: (noise(3000, 4)[0], np.arange(3000) == 1234),
    "100 classes": lambda: noise(400, 8, 100),
}  # fmt: skip


@pytest.mark.parametrize("scale", ["auto", "none"])
@pytest.mark.parametrize("name", SETS)
def test_every_point_is_right(name, scale):
    X, y = SETS[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = vote(X, y, scale=scale)
    assert len(network.report.unseparated) == 0
    right_everywhere(network, X, y)
    readout, report = network.readout, network.report.vote
    assert 0 <= report.left_out <= 1
    assert np.isfinite([readout.temperature, report.penalty, report.bandwidth]).all()
    assert (readout.gains > 0).all() and len(readout.gains) == len(network.second)


@pytest.mark.parametrize(
    "settings",
    [
        {"margin": 0}, {"margin": 0.5}, {"margin": 1}, {"selection": "random"}, {"scale": "std"},
        {"scale": [0.5, 2.0, 1024.0]}, {"projection": "structured"}, {"projection": "gaussian"},
        {"width": 1}, {"width": 64}, {"width": 65}, {"width": 700}, {"center": False},
        {"max_bias": 0.0}, {"max_bias": "norms"}, {"covered": "all"}, {"memory_limit": "300 MB"},
        {"seed": np.random.default_rng(3)}, {"seed": np.random.SeedSequence(5)}, {"seed": None},
        {"seed": 2**70}, {"progress": print}, {"n_threads": 8}, {"complete": True},
        {"contradictions": "majority"},
    ],
    ids=lambda settings: f"{next(iter(settings))}-{type(next(iter(settings.values()))).__name__}",
)  # fmt: skip
def test_every_point_is_right_with_any_settings(settings):
    X, y = noise(300, 3, 3)
    right_everywhere(vote(X, y, **settings), X, y)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.data())
def test_random_data_sets(tmp_path_factory, seed, data):
    rng = np.random.default_rng(seed)
    X, y = a_data_set(rng, 120)
    if data.draw(st.booleans()):
        X, y = distinct(X, y)
    if len(np.unique(y)) < 2:
        return
    some = {
        "seed": seed,
        "scale": data.draw(st.sampled_from(["auto", "none", "std"])),
        "width": data.draw(st.sampled_from(["auto", 1, 130])),
        "selection": data.draw(st.sampled_from(["merge", "random"])),
        "decision": "vote",
        "complete": True,
    }
    check(X, y, some, tmp_path_factory.mktemp("vote"), seed)


def test_a_wide_read_out_predicts_what_it_has_not_seen():
    """And says beforehand how well: by leaving points out."""
    X, y = datasets.two_moons(3000)
    network = vote(X[:2000], y[:2000])
    found = network.score(X[2000:], y[2000:])
    assert found > 0.98 and abs(network.report.vote.left_out - found) < 0.03
    far, far_y = X + 1e9, y  # some bits are left
    network = vote(far[:2000], far_y[:2000], contradictions="majority")
    assert network.score(far[2000:], far_y[2000:]) > 0.98


def test_points_that_no_feature_tells_apart_get_the_votes_of_the_largest_class():
    X = np.array([[1.0], [2.0], [3.0], [4.0], [1e300]]) * [[1e-320]]
    y = [1, 0, 1, 1, 0]
    network = vote(X[:4], y[:4], scale="none")
    assert not network.readout.weights.any() and network.report.vote.right == 3
    np.testing.assert_array_equal(network.predict(X[:4]), y[:4])


# Points that are equal ---------------------------------------------------------------------------


def repeated(n_points=60, n=600, n_classes=3):
    rng = np.random.default_rng(4)
    which = rng.integers(0, n_points, n)
    return rng.standard_normal((n_points, 3))[which], (which % n_classes), which


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_equal_points_count_once_and_are_all_right(share):
    X, y, _ = repeated()
    more, more_y = noise(int(len(X) * (1 / share - 1)), 3, 3)
    X, y = np.concatenate([X, more]), np.concatenate([y, more_y])
    network = vote(X, y)
    right_everywhere(network, X, y)
    assert (network.report.n_distinct < len(X)) == (share == 1.0)


def test_contradictions_are_refused_or_settled():
    X, y, which = repeated()
    y = y.copy()
    wrong = np.flatnonzero(which == 7)[0]
    y[wrong] = (y[wrong] + 1) % 3
    for more in ({}, {"width": 64}, {"complete": True}):
        with pytest.raises(fastmem.ContradictionError):
            vote(X, y, **more)
    network = vote(X, y, contradictions="majority")
    assert network.report.relabelled.tolist() == [wrong]
    assert np.flatnonzero(network.predict(X) != y).tolist() == [wrong]


@pytest.mark.parametrize("n_classes", [3, 4])
@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_class_that_loses_all_its_points_is_never_predicted(n_classes, lost):
    rng = np.random.default_rng(lost)
    X = rng.standard_normal((80, 2))
    y = np.array([c for c in range(n_classes) if c != lost])[np.arange(80) % (n_classes - 1)]
    X, y = np.concatenate([X, X, X[:5]]), np.concatenate([y, y, np.full(5, lost)])
    names = np.array(["a", "b", "c", "d"])
    network = vote(X, names[y], contradictions="majority")
    assert network.classes_.tolist() == list(names[:n_classes])
    np.testing.assert_array_equal(network.predict(X[:160]), names[y[:160]])
    for some in (X, rng.standard_normal((2000, 2)) * 100, np.zeros((1, 2)), np.full((1, 2), 1e300)):
        assert names[lost] not in network.predict(some)
        shares, scores = network.predict_proba(some), network.decision_function(some)
        assert (shares[:, lost] == 0).all() and np.isfinite(shares).all()
        assert (scores.argmax(axis=1) != lost).all()


# The same network --------------------------------------------------------------------------------


def overlapping(n=900, d=6, n_classes=3):
    rng = np.random.default_rng(8)
    y = rng.integers(0, n_classes, n)
    return np.rint((rng.standard_normal((n, d)) + y[:, None]) * 256) / 256, y


@pytest.mark.parametrize(("n_classes", "width"), [(2, "auto"), (5, 320)])
def test_threads_change_nothing(n_classes, width):
    X, y = overlapping(n_classes=n_classes)
    networks = [vote(X, y, width=width, n_threads=n) for n in (1, 2, 3, 5, 8)]
    for other in networks[1:]:
        same_vote(networks[0], other)
        np.testing.assert_array_equal(
            networks[0].decision_function(X), other.decision_function(X, n_threads=3)
        )


@pytest.fixture
def small_grams(monkeypatch):
    """Conjugate gradients on all points and features made again: what only large fits need."""
    monkeypatch.setattr(costs, "FEWEST", 64)
    monkeypatch.setattr(costs, "STEP_COST", 0)
    monkeypatch.setattr(sums, "FEATURE_BYTES", 64 * 16 * 12)


def test_threads_change_nothing_where_only_some_points_are_in_the_gram_matrix(small_grams):
    X, y = overlapping(2500)
    networks = [vote(X, y, width=128, n_threads=n) for n in (1, 2, 5)]
    for other in networks[1:]:
        same_vote(networks[0], other)
    right_everywhere(networks[0], X, y)


def test_steps_on_all_points_come_to_the_regression_on_all(small_grams, monkeypatch):
    X, y = overlapping(1500)
    monkeypatch.setattr(ridge, "_MOST_STEPS", 0)
    made = {}
    for steps, fewest in ((5, 64), (40, 64), (1, 1 << 30)):
        monkeypatch.setattr(ridge, "STEPS", steps)
        monkeypatch.setattr(costs, "FEWEST", fewest)
        regression = ridge.Regression(check_points(X), y, 3, 9, np.random.default_rng(0), 2)
        made[steps] = regression.regress(ridge.Choice(0.8, 0.5, 1.0), 64)
    few, many, exact = (made[steps].coefficients for steps in (5, 40, 1))
    # the penalty is a share of what features vary by among the points of the Gram matrix
    assert np.abs(many - exact).max() < 0.1 * np.abs(exact).max()
    assert np.abs(few - exact).max() > 2 * np.abs(many - exact).max()


def test_the_form_of_the_points_changes_nothing():
    import scipy.sparse

    X, y = overlapping()
    X[np.random.default_rng(1).random(X.shape) < 0.7] = 0
    X, y = distinct(X, y)
    plain = vote(X, y, scale="none")
    strided = np.zeros((2 * len(X), 2 * X.shape[1]))
    strided[::2, ::2] = X
    forms = [
        X.astype(np.float32), np.asfortranarray(X), strided[::2, ::2], X.astype(">f8"), X.tolist(),
        scipy.sparse.csr_matrix(X), scipy.sparse.csr_array(X.astype(np.float32)),
    ]  # fmt: skip
    for form in forms:
        other = vote(form, y, scale="none")
        same_vote(plain, other)
        np.testing.assert_array_equal(other.predict(form), y)


def test_frames_and_mapped_files(tmp_path):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    pyarrow = pytest.importorskip("pyarrow")
    X, y = overlapping(400)
    network = vote(X, y)
    names = [f"x{i}" for i in range(X.shape[1])]
    np.save(tmp_path / "X.npy", X)
    for form in (
        pandas.DataFrame(X, columns=names), polars.DataFrame(X, schema=names),
        pyarrow.table(dict(zip(names, X.T, strict=True))), np.load(tmp_path / "X.npy", "r"),
    ):  # fmt: skip
        other = vote(form, y)
        same_vote(network, other)
        np.testing.assert_array_equal(other.predict(form), y)


def test_raw_tables():
    pyarrow = pytest.importorskip("pyarrow")
    X, y = overlapping(300)
    columns = {f"x{i}": column for i, column in enumerate(X.T)}
    columns["kind"] = np.array(["red", "green", None], object)[np.arange(300) % 3]
    table = pyarrow.table(columns)
    network = vote(table, y, encode=True)
    np.testing.assert_array_equal(network.predict(table), y)


BLAS = """
import hashlib, sys, numpy as np, fastmem
rng = np.random.default_rng(0)
X = rng.standard_normal((1700, 9)); y = rng.integers(0, 3, 1700) * (X[:, 0] > 0)
net = fastmem.interpolate(X, y, decision="vote", seed=1, n_threads=2)
r = net.readout
found = hashlib.sha256()
for array in (r.offsets, r.weights, r.intercepts, r.gains, net.second.masks, net.first.biases):
    found.update(array.tobytes())
print(found.hexdigest(), r.key, r.exponent, r.temperature)
"""


def test_environments_change_no_network():
    """Neither the threads nor the kernels of a BLAS, nor the vectors that NumPy may use."""
    settings = [
        {"OPENBLAS_NUM_THREADS": "1"},
        {"OPENBLAS_NUM_THREADS": "2", "OPENBLAS_CORETYPE": "Sandybridge"},
        {"NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX2 FMA3"},
    ]
    found = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", BLAS], env=os.environ | more,
            capture_output=True, text=True, check=True, timeout=1000,
        ).stdout
        for more in settings
    }  # fmt: skip
    assert len(found) == 1


def test_no_blas_is_called():
    """Products of NumPy and SciPy would round in another order on another machine."""
    forbidden = (
        "@ ",
        ".dot(",
        "matmul",
        "einsum",
        "tensordot",
        "linalg",
        "inner(",
        "vdot",
        "outer(",
    )
    package = Path(fastmem.__file__).parent
    for folder in ("vote", "readout"):
        for source in (package / folder).glob("*.py"):
            text = source.read_text()
            assert not [word for word in forbidden if word in text], source


# Limits and other parameters ---------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 64, 65, 100])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_what_max_width_leaves_is_listed_and_all_else_is_right(limit, n_classes):
    X, y = noise(700, 3, n_classes)
    with pytest.warns(UnseparatedWarning) as caught:
        network = vote(X, y, max_width=limit)
    assert network.widths[0] <= limit
    assert f"{len(network.report.unseparated)} of 700" in str(caught[0].message)
    wrong = np.flatnonzero(network.predict(X) != y)
    np.testing.assert_array_equal(wrong, network.report.unseparated)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"decision": "votes"}, ["decision is 'votes'", "'cells'", "'vote'"]),
        ({"decision": None}, ["decision is None", "'cells'", "'vote'"]),
        ({"decision": 1}, ["decision is 1", "'cells'", "'vote'"]),
        ({"width": 65_537}, ["width is 65537", "65,536"]),
        ({"width": 0}, ["width is 0"]),
        ({"width": "smallest"}, ["width is 'smallest'", "'vote'"]),
        ({"width": 2.5}, ["width is 2.5"]),
        ({"margin": "none"}, ["margin is 'none'", "'auto'"]),
        ({"margin": 2}, ["margin is 2"]),
        ({"margin": float("nan")}, ["margin is nan"]),
        ({"compact": True}, ["compact is True", "'vote'"]),
        ({"compact": 1}, ["compact is 1"]),
        ({"activation": "relu"}, ["activation is 'relu'", "'vote'"]),
        ({"covered": [0]}, ["covered is [0]", "'vote'"]),
        ({"max_width": 0}, ["max_width is 0"]),
    ],
    ids=str,
)
def test_wrong_parameters_are_one_sentence(settings, words):
    X, y = noise(30, 2)
    with pytest.raises(InvalidInputError) as caught:
        fastmem.interpolate(X, y, **{"decision": "vote"} | settings)
    sentence = str(caught.value)
    assert "\n" not in sentence and all(word in sentence for word in words), sentence


@pytest.mark.parametrize("is_sparse", [False, True])
def test_too_many_columns_are_refused(is_sparse):
    import scipy.sparse

    X = np.eye(3, 70_000)
    with pytest.raises(InvalidInputError, match=r"70,000 columns, more than 65,536"):
        vote(scipy.sparse.csr_matrix(X) if is_sparse else X, [0, 1, 0])


def test_wrong_points_to_predict():
    X, y = noise(50, 3)
    network = vote(X, y)
    for wrong, word in ((X[:, :2], "2"), (X * np.nan, "nan"), (X[0], "1"), ("text", "text")):
        for ask in (network.predict, network.decision_function, network.predict_proba):
            with pytest.raises(InvalidInputError, match=word):
                ask(wrong)
    assert network.predict(X[:0]).shape == (0,)
    assert network.predict_proba(X[:0]).shape == (0, 2)
    assert len(network.predict(np.array([[1e308, -1e308, 5e-324]]))) == 1
