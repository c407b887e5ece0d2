"""fastmem.separate: widths, certificates, exact decisions, files and refusals."""

from __future__ import annotations

import itertools
import math
import pickle
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmem
from fastmem import datasets
from fastmem.errors import ContradictionError, InvalidInputError, ModelFileError, UnseparatedWarning
from fastmem.kernels.panel_products import PANEL, PANEL_ROWS
from fastmem.separation import separate, separation_width
from fastmem.separation.products import columns_of, combined, gram, multiplied, times
from fastmem.separation.ridge import bent_regression
from fastmem.separation.rounding import most_bits, rounded
from fastmem.separation.separator import Separator
from fastmem.separation.solver import Solver


def coins(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.integers(0, 2, n)


def scores_by_fractions(found, x):
    """All scores of one point, by the definition alone."""
    point = [Fraction(float(v)) for v in x]
    if found.scale is not None:
        point = [v * Fraction(float(s)) for v, s in zip(point, found.scale, strict=True)]
    totals = [Fraction(float(t)) for t in found.intercepts]
    weights = found.first.weights
    for h in range(len(found.first)):
        products = (Fraction(float(w)) * v for w, v in zip(weights[h], point, strict=True))
        z = sum(products, Fraction(float(found.first.biases[h])))
        if z > 0:
            feature = z if found.activation == "relu" else 1
            for c in range(len(totals)):
                totals[c] += int(found.weights[h, c]) * feature
    return totals if len(totals) > 1 else [Fraction(0), *totals]


# The kernel and what is made of it ------------------------------------------------------------


@given(st.integers(0, 2**32), st.integers(1, 70), st.integers(1, 40), st.integers(1, 140))
@settings(max_examples=25)
def test_products_are_those_of_numpy(seed, m, d, n):
    rng = np.random.default_rng(seed)
    rows, columns, levels = rng.standard_normal((m, d)), rng.standard_normal((n, d)), rng.random(n)
    expected = rows @ columns.T + levels
    for n_threads in (1, 3):
        found = multiplied(rows, columns_of(columns, levels), n_threads)
        np.testing.assert_allclose(found, expected, atol=1e-12)
    some = multiplied(rows, columns_of(columns, levels), 1, from_zero=True)
    np.testing.assert_array_equal(some, np.maximum(found, 0.0))
    np.testing.assert_allclose(np.tril(gram(rows, 2)), np.tril(rows @ rows.T), atol=1e-12)
    np.testing.assert_allclose(times(rows, columns[0]), rows @ columns[0], atol=1e-12)
    np.testing.assert_allclose(combined(rows, rows[:, 0]), rows.T @ rows[:, 0], atol=1e-12)


def test_products_depend_on_the_row_alone():
    rng = np.random.default_rng(1)
    rows, columns = rng.standard_normal((37, 100)), columns_of(rng.standard_normal((90, 100)))
    whole = multiplied(rows, columns, 2)
    for i in (0, 5, 36):
        np.testing.assert_array_equal(multiplied(rows[i : i + 1], columns, 1)[0], whole[i])
    assert PANEL % PANEL_ROWS == 0


# The solver -----------------------------------------------------------------------------------


def vectors(seed, m, n):
    rng = np.random.default_rng(seed)
    rows = np.ones((m, n + 1))
    rows[:, :n] = rng.standard_normal((m, n))
    return rows, rng


@given(st.integers(0, 2**32))
@settings(max_examples=15)
def test_a_solver_finds_the_separation_that_is_there(seed):
    rows, rng = vectors(seed, 60, 12)
    signs = np.where(rows @ rng.standard_normal(13) > 0, 1.0, -1.0)
    found = Solver(rows, 1).separate(signs)
    assert found.is_separable and (signs * (rows @ found.weights) > 0).all()


@given(st.integers(0, 2**32), st.integers(2, 14))
@settings(max_examples=15)
def test_a_solver_agrees_with_a_linear_program(seed, n):
    rows, rng = vectors(seed, 2 * n + 6, n)
    signs = rng.choice([-1.0, 1.0], len(rows))
    solver = Solver(rows, 1)
    found, program = solver.separate(signs), solver._by_program(signs)
    assert found.is_separable == program.is_separable
    if not found.is_separable:
        assert program.word == "lp" and found.word in ("hull", "lp")
        assert found.word == "lp" or found.bound < 1e-9


def test_nearly_dependent_columns_are_separated_in_a_basis():
    rows, rng = vectors(3, 80, 6)
    copies = rows[:, :6] + 1e-6 * rng.standard_normal((80, 6))
    rows = np.concatenate([rows[:, :6], copies, rows[:, 6:]], axis=1)
    signs = np.where((copies - rows[:, :6]) @ rng.standard_normal(6) > 0, 1.0, -1.0)
    found = Solver(rows, 1).separate(signs)
    assert found.is_separable and (signs * times(rows, found.weights) > 0).all()


def test_margins_of_a_solver_do_not_depend_on_threads():
    rows, rng = vectors(4, 150, 40)
    signs = rng.choice([-1.0, 1.0], 150)
    signs[:20] = np.where(rows[:20] @ np.ones(41) > 0, 1.0, -1.0)
    for some in (slice(60), slice(150)):
        one, many = (Solver(rows[some], k).separate(signs[some]) for k in (1, 3))
        np.testing.assert_array_equal(one.weights, many.weights)


def test_a_regression_is_bent_until_all_are_right():
    rows, rng = vectors(5, 120, 60)
    codes = rng.integers(0, 3, 120)
    codes[:100] = (rows[:100] @ rng.standard_normal((61, 3))).argmax(axis=1)
    signs = np.where(codes[:, None] == np.arange(3), 1.0, -1.0)

    def blocks():
        for start in range(0, 120, 50):
            yield start, rows[start : start + 50], signs[start : start + 50]

    found = bent_regression(blocks, (61, 3), 1, lambda: False)
    assert found.n_wrong == 0
    assert ((rows @ found.weights).argmax(axis=1) == codes).all()
    plain = bent_regression(blocks, (61, 3), 1, lambda: True)
    wrong = np.count_nonzero((rows @ plain.weights).argmax(axis=1) != codes)
    assert plain.n_wrong == wrong > 0  # or the test above shows nothing


@given(st.integers(2, 53), st.integers(0, 2**32))
@settings(max_examples=30)
def test_rounded_weights_have_their_bits(bits, seed):
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((20, 3)) * 10.0 ** float(
        rng.integers(-280, 300)
    )  # of normal floats
    whole, levels = rounded(weights, weights[0], bits, False)
    assert np.abs(whole).max() == (1 << (bits - 1)) - 1
    unit = np.abs(weights).max() / ((1 << (bits - 1)) - 1)
    np.testing.assert_allclose(whole, weights / unit, atol=0.51, rtol=1e-15)
    np.testing.assert_allclose(levels, weights[0] / unit, rtol=1e-12)
    assert most_bits(20, False) + math.ceil(math.log2(21)) <= 53


# Certificates ---------------------------------------------------------------------------------


@given(
    st.integers(0, 2**32), st.sampled_from(["relu", "threshold"]), st.integers(2, 4),
    st.sampled_from([("auto", 16), (5, 4), (40, 2), (40, 53)]), st.booleans(),
)  # fmt: skip
@settings(max_examples=25)
def test_the_certificate_holds_exactly_on_every_training_point(
    seed, activation, n_classes, how, is_far
):
    width, bits = how
    rng = np.random.default_rng(seed)
    X = rng.integers(-4, 5, (24, 3)).astype(np.float64)
    X = np.unique(X, axis=0) + (1e6 if is_far else 0.0)
    y = rng.integers(0, n_classes, len(X))
    y[:n_classes] = np.arange(n_classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnseparatedWarning)
        found = separate(
            X, y, width=width, bits=bits, activation=activation, seed=seed, max_width=64
            if width == "auto" else None,
        )  # fmt: skip
    wrong = []
    for i, x in enumerate(X):
        scores = scores_by_fractions(found, x)
        own = scores.pop(int(y[i]))
        if not all(own > other for other in scores):
            wrong.append(i)
    assert wrong == found.report.unseparated.tolist()
    assert found.report.is_separated == (not wrong)
    right = np.setdiff1d(np.arange(len(X)), wrong)
    np.testing.assert_array_equal(found.predict(X)[right], y[right])


def test_undecided_scores_are_decided_by_whole_numbers(monkeypatch):
    X, y = coins(40, 3)
    found = separate(X, y, width=30, seed=1)
    expected = found.decision_function(X)
    monkeypatch.setattr(found._scores, "_floors", np.full(1, np.inf))
    exact = [scores_by_fractions(found, x)[1] for x in X]
    np.testing.assert_array_equal(found.predict(X), [int(score > 0) for score in exact])
    np.testing.assert_allclose(found.decision_function(X), expected)
    sums = found._scores.exact(fastmem.inputs.check_points(X), 7)
    assert sums == scores_by_fractions(found, X[7])
    gaps, n_exact = found._scores.gaps(fastmem.inputs.check_points(X), y, 1)
    assert n_exact == 40
    np.testing.assert_array_equal(gaps > 0, np.where(y == 1, exact, -np.array(exact)) > 0)


def test_a_score_of_0_is_the_first_class_in_any_batch():
    X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.5, 0.5]])
    first = separate(X, [0, 1, 0, 1], seed=0).first
    zero = Separator(
        np.array(["a", "b"]), first, "relu", np.zeros((len(first), 1), np.int64), np.zeros(1)
    )
    assert zero.predict(X).tolist() == ["a"] * 4 == zero.predict(X[:1]).tolist() * 4
    assert zero.decision_function(X).tolist() == [0.0] * 4


@pytest.mark.parametrize("activation", ["relu", "threshold"])
def test_labels_and_scores_are_the_same_one_at_a_time_on_threads_and_after_load(
    activation, tmp_path
):
    X, y = datasets.clusters(300, 6, 5)
    y = np.asarray(y) + np.arange(300) // 2 % 2 * 2
    found = separate(X, y, activation=activation, seed=2, n_threads=1)
    again = separate(X, y, activation=activation, seed=2, n_threads=3)
    np.testing.assert_array_equal(found.weights, again.weights)
    assert found.report.is_separated and found.score(X, y) == 1.0
    scores = found.decision_function(X)
    np.testing.assert_array_equal(found.classes_[scores.argmax(axis=1)], y)
    for i in range(0, 300, 37):
        np.testing.assert_array_equal(found.decision_function(X[i : i + 1])[0], scores[i])
    found.save(tmp_path / "x")
    for other in (Separator.load(tmp_path / "x"), pickle.loads(pickle.dumps(found))):
        np.testing.assert_array_equal(other.decision_function(X, n_threads=2), scores)
        np.testing.assert_array_equal(other.predict(X), y)
        assert other.summary == found.summary
    assert "separated" in str(found.report) or "certified" in str(found.report)
    assert (tmp_path / "x").stat().st_size == found.nbytes


# Known truths ---------------------------------------------------------------------------------


def shells(n):
    """Points at radii 1, 2 and 3 in equal directions, labelled 0, 1, 0."""
    rng = np.random.default_rng(n)
    every = [d for d in itertools.product(range(-4, 5), repeat=3) if math.gcd(*d) == 1]
    half = np.array(every, float)[rng.permutation(len(every))[: n // 2]]
    directions = np.unique(np.concatenate([half, -half]), axis=0)
    return np.concatenate([k * directions for k in (1, 2, 3)]), np.repeat(
        [0, 1, 0], len(directions)
    )


@pytest.mark.parametrize("activation", ["relu", "threshold"])
def test_shells_cannot_be_separated_without_biases_at_any_width(activation):
    X, y = shells(60)
    with pytest.warns(UnseparatedWarning, match="max_bias above 0"):
        found = separate(X, y, max_bias=0, activation=activation, seed=0)
    assert found.report.word == "rays" and not found.report.is_separated
    assert len(found.report.unseparated) >= len(X) // 6
    with pytest.warns(UnseparatedWarning):
        wide = separate(X, y, max_bias=0, width=400, activation=activation, seed=0)
    assert not wide.report.is_separated
    assert separate(X, y, activation=activation, seed=0).report.is_separated


def test_labels_that_do_not_alternate_are_separated_without_biases():
    X, y = shells(60)
    y = np.repeat([0, 0, 1], len(X) // 3)
    assert separate(X, y, max_bias=0, seed=0).report.is_separated
    with pytest.warns(UnseparatedWarning):  # sign bits do not change along a ray
        assert separate(X, y, max_bias=0, activation="threshold", seed=0).report.word == "rays"


@pytest.mark.parametrize("activation", ["relu", "threshold"])
def test_coin_flips_take_half_as_many_features_as_points(activation):
    """Cover, Geometrical and statistical properties of systems of linear inequalities, 1965."""
    X, y = coins(300, 10)
    report = separate(X, y, activation=activation, seed=0).report
    assert report.is_separated and report.is_least
    assert 125 <= report.width <= 175
    widths = [tried.width for tried in report.tried if not tried.is_separated]
    assert max(widths) < report.width <= 1.02 * max(widths) + 1


def test_a_hundred_thousand_moons_take_a_few_features():
    X, y = datasets.two_moons(100_000, 0.05)
    found = separate(X, y, seed=0)
    assert found.report.is_separated and 6 <= found.report.width <= 40
    np.testing.assert_array_equal(found.predict(X), y)


def test_digits_1_and_8():
    X, y = datasets.digit_pair(500, 1, 8)
    found = separate(X, y, seed=0)
    assert found.report.is_separated and 60 <= found.report.width <= 150
    assert found.score(X, y) == 1.0


def test_contradictions_scales_and_tables():
    X, y = coins(60, 2)
    X[1], y[0], y[1] = X[0], 0, 1
    with pytest.raises(ContradictionError):
        separate(X, y)
    with pytest.warns(UnseparatedWarning):
        given_width = separate(X, y, width=200, seed=0)
    assert set(given_width.report.unseparated) & {0, 1}
    settled = separate(X, y, contradictions="majority", seed=0)
    assert settled.report.is_separated
    scaled = separate(X[2:] * [1e-6, 1e6], y[2:], scale="std", seed=0)
    assert scaled.scale is not None and scaled.score(X[2:] * [1e-6, 1e6], y[2:]) == 1.0
    table = {"colour": ["red", "blue"] * 20, "size": list(range(40))}
    labels = [int(c == "red") ^ (s > 20) for c, s in zip(*table.values(), strict=True)]
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(table)
    encoded = separate(frame, labels, encode=True, seed=0)
    np.testing.assert_array_equal(encoded.predict(frame), labels)


def test_points_of_any_size_are_separated():
    X, y = coins(40, 3)
    for factor in (1e-200, 1e-30, 1e30, 1e200):
        assert separate(X * factor, y, seed=0, scale="none").score(X * factor, y) == 1.0


def test_sparse_points_are_separated_as_dense_ones_are():
    from scipy import sparse

    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 30)) * (rng.random((80, 30)) < 0.3)
    y = rng.integers(0, 2, 80)
    dense = separate(X, y, seed=0, projection="gaussian")
    found = separate(sparse.csr_matrix(X), y, seed=0)
    assert found.report.is_separated and dense.report.width == found.report.width
    np.testing.assert_array_equal(found.predict(X), found.predict(sparse.csr_matrix(X)))


def test_limits_end_the_search():
    X, y = coins(200, 10)
    with pytest.warns(UnseparatedWarning, match="max_width"):
        narrow = separate(X, y, max_width=32, seed=0)
    assert narrow.report.width == 32 and narrow.report.stopped == "max_width"
    with pytest.warns(UnseparatedWarning, match="time_limit"):
        hasty = separate(X, y, time_limit=0, seed=0)
    assert hasty.report.stopped == "time_limit" and not hasty.report.is_separated
    wrong = np.flatnonzero(narrow.predict(X) != y)
    assert set(wrong) <= set(narrow.report.unseparated.tolist())


def test_separation_widths_are_a_measure():
    X, y = coins(200, 10)
    found = separation_width(X, y, seed=0, trials=2)
    assert found.n_used == 200 and not found.note and len(found.widths) == 2
    assert 75 <= found.width <= 125
    sampled = separation_width(X, y, most=100, seed=0, trials=1)
    assert sampled.n_used <= 100 and sampled.width < found.width and "100" in sampled.note
    assert sampled == sampled.__class__(**{**vars(sampled)})
    none = separation_width(X, y, max_width=16, seed=0, trials=1)
    assert none.width is None and none.widths == (None,)
    again = separation_width(X, y, most=100, seed=0, trials=1, n_threads=1)
    assert again.widths == sampled.widths


# Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", 0), ("width", "smallest"), ("width", 2.5), ("activation", "tanh"), ("bits", 1),
        ("bits", 54), ("bits", True), ("max_bias", -1), ("max_width", 0), ("time_limit", -1),
        ("time_limit", "1"), ("time_limit", math.nan), ("seed", -1), ("n_threads", 0),
        ("scale", "big"), ("contradictions", "ignore"), ("projection", "none"), ("center", 1),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_by_name(name, value):
    X, y = coins(10, 2)
    with pytest.raises(InvalidInputError, match=name):
        separate(X, y, **{name: value})


@pytest.mark.parametrize(("name", "value"), [("most", 1), ("trials", 0), ("max_width", 0)])
def test_wrong_arguments_of_the_measure_are_refused(name, value):
    X, y = coins(10, 2)
    with pytest.raises(InvalidInputError, match=name):
        separation_width(X, y, **{name: value})


def test_wrong_points_and_labels_are_refused():
    X, y = coins(10, 2)
    found = separate(X, y, seed=0)
    for wrong in (X[:, :1], np.full((2, 2), np.nan), X[0]):
        with pytest.raises(InvalidInputError):
            found.predict(wrong)
        with pytest.raises(InvalidInputError):
            found.decision_function(wrong)
    with pytest.raises(InvalidInputError, match="class"):
        found.score(X, np.full(10, 7))
    with pytest.raises(InvalidInputError):
        separate(X, np.zeros(10))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights", np.zeros((3, 1), np.int64)), ("weights", np.zeros((8, 1))),
        ("intercepts", np.zeros(2)), ("intercepts", np.full(1, np.inf)),
        ("activation", "tanh"), ("weights", np.full((8, 1), 1 << 52)),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(name, value):
    X, y = coins(10, 2)
    first = separate(X, X[:, 0] > 0, width=8, seed=0).first
    parts = {
        "classes": np.arange(2), "first": first, "activation": "relu",
        "weights": np.zeros((8, 1), np.int64), "intercepts": np.zeros(1),
    }  # fmt: skip
    Separator(**parts)
    with pytest.raises(InvalidInputError, match=name):
        Separator(**{**parts, name: value})


# Files ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    X, y = datasets.clusters(60, 4, 3)
    found = separate(X, np.array(["no", "yes"])[np.asarray(y)], width=24, bits=5, seed=0)
    path = tmp_path_factory.mktemp("separator") / "x"
    found.save(path)
    return path, X, found


def test_a_file_holds_no_random_weights(saved):
    path, X, found = saved
    assert path.stat().st_size < found.first.weights.nbytes + 600
    loaded = Separator.load(path)
    np.testing.assert_array_equal(loaded.first.weights, found.first.weights)
    np.testing.assert_array_equal(loaded.first.biases, found.first.biases)
    assert loaded.report is None and loaded.classes_.tolist() == ["no", "yes"]
    assert "24" in repr(loaded)


def test_every_flipped_bit_and_every_truncation_is_refused(saved, tmp_path):
    data = saved[0].read_bytes()
    wrong = tmp_path / "wrong"
    for place in range(0, 8 * len(data), 13):
        octets = bytearray(data)
        octets[place // 8] ^= 1 << place % 8
        wrong.write_bytes(octets)
        with pytest.raises(ModelFileError):
            Separator.load(wrong)
    for size in range(0, len(data), 3):
        wrong.write_bytes(data[:size])
        with pytest.raises(ModelFileError):
            Separator.load(wrong)


def test_files_of_networks_and_of_separators_name_each_other(saved, tmp_path):
    path, X, _ = saved
    words = r"separator's file; load it by fastmem\.Separator\.load"
    with pytest.raises(ModelFileError, match=words):
        fastmem.load(path)
    y = np.arange(len(X)) % 2
    for name, objective in (("archive", "neurons"), ("list", "bytes")):
        network = fastmem.interpolate(X, y, objective=objective, contradictions="majority", seed=0)
        network.save(tmp_path / name)
        with pytest.raises(ModelFileError, match=r"network's .*; load networks by fastmem\.load"):
            Separator.load(tmp_path / name)


def test_forged_facts_are_refused(saved, tmp_path):
    import json
    import zlib

    data = saved[0].read_bytes()
    body = zlib.decompress(data[5:-4], -15)
    size = int.from_bytes(body[:4], "little")
    facts, rest = json.loads(body[4 : 4 + size]), body[4 + size :]

    def forged(changes, rest=rest):
        text = json.dumps(facts | changes).encode()
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        content = packer.compress(len(text).to_bytes(4, "little") + text + rest) + packer.flush()
        whole = data[:5] + content
        path = tmp_path / "forged"
        path.write_bytes(whole + zlib.crc32(whole).to_bytes(4, "little"))
        return path

    Separator.load(forged({}))
    sizes = facts["sizes"]
    for changes in (
        {"sizes": [1 << 39, *sizes[1:]]}, {"sizes": [*sizes[:4], 1]}, {"sizes": sizes[:4]},
        {"sizes": "many"}, {"bits": 60}, {"bits": 6}, {"activation": "tanh"}, {"radius": -1.0},
        {"radius": None}, {"classes": ["<U3", ["yes", "no"]]}, {"classes": 3},
        {"classes": []}, {"classes": [[]]}, {"classes": ["<U3", ["a", "b", "c"]]}, {"summary": []},
        {"scale": [1]},
        {"feature_names": ["a"]}, {"encoding": {"columns": 3}}, {"more": 1},
    ):  # fmt: skip
        with pytest.raises(ModelFileError):
            Separator.load(forged(changes))
    for other in (rest[:-1], rest + b"\0", b"\xff" * len(rest)):
        with pytest.raises(ModelFileError):
            Separator.load(forged({}, other))


def test_what_is_no_file_is_refused(tmp_path, saved):
    with pytest.raises(FileNotFoundError):
        Separator.load(tmp_path / "none")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ModelFileError):
        Separator.load(tmp_path / "empty")
    found = saved[2]
    by_hand = Separator(
        found.classes_, fastmem.Hyperplanes(found.first.weights, found.first.biases), "relu",
        found.weights, found.intercepts,
    )  # fmt: skip
    np.testing.assert_array_equal(by_hand.predict(saved[1]), found.predict(saved[1]))
    with pytest.raises(ModelFileError, match="key"):
        by_hand.save(tmp_path / "by hand")
