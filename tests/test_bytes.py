"""interpolate(objective="bytes"): decision lists from data to file."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import fastmem
import fastmem.decision_list.fitting as fitting_module
import fastmem.decision_list.growth as growth_module
from fastmem.inputs import InvalidInputError
from fastmem.sklearn import InterpolatingClassifier


def clouds(n=300, d=4, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    return rng.standard_normal((n, d)) + 1.5 * y[:, None], y


def fitted(X, y, **options):
    return fastmem.interpolate(X, y, objective="bytes", **{"seed": 0, "width": 256, **options})


def test_every_label_comes_back_from_few_bytes(tmp_path):
    X, y = clouds()
    net = fitted(X, y, width="auto")
    assert net.decision == "list" and net.report.unseparated.size == 0
    assert (net.predict(X) == y).all()
    assert np.array_equal([net.predict(X[i : i + 1])[0] for i in range(20)], y[:20])
    net.save(tmp_path / "net.npz")
    read = fastmem.load(tmp_path / "net.npz")
    assert (read.predict(X) == y).all()
    assert (tmp_path / "net.npz").stat().st_size == net.nbytes == read.nbytes
    assert read.label_entropy == net.label_entropy == pytest.approx(np.log2(3), abs=0.05)
    assert read.bits_per_label == 8 * net.nbytes / len(X)
    assert (pickle.loads(pickle.dumps(net)).predict(X) == y).all()


def test_separated_classes_take_less_than_their_labels():
    X, y = clouds(2000, seed=1)
    X += 6.0 * y[:, None]
    net = fitted(X, y)
    assert net.bits_per_label < 0.2 * net.label_entropy


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2, 60), st.integers(1, 5), st.integers(2, 4), st.integers(0, 10**6),
    st.sampled_from([np.float32, np.float64]), st.sampled_from([1e-30, 1.0, 1e20]),
)  # fmt: skip
def test_whatever_the_points_all_are_right(n, d, n_classes, seed, dtype, size):
    rng = np.random.default_rng(seed)
    X = (size * rng.integers(-3, 4, (n, d))).astype(dtype)
    y = rng.integers(0, n_classes, n)
    y[:2] = 0, 1
    X[1] = X[0] + size  # two classes at least after the majority's vote
    try:
        net = fitted(X, y, contradictions="majority", width=64)
    except InvalidInputError as error:
        assert "one class" in str(error)
        return
    right = net.predict(X) == y
    assert right[np.setdiff1d(np.arange(n), net.report.relabelled)].all()


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 30), st.integers(1, 3), st.integers(2, 4), st.integers(0, 10**6))
def test_points_one_last_bit_apart_lie_on_hyperplanes(n, d, n_classes, seed):
    """Between neighbours there is no number: a row passes through one of them."""
    rng = np.random.default_rng(seed)
    X = 1.0 + rng.integers(0, 6, (n, d)) * 2.0**-52
    X = np.unique(X, axis=0)
    y = rng.integers(0, n_classes, len(X))
    if len(np.unique(y)) > 1:
        net = fitted(X, y, width=8)
        assert (net.predict(X) == y).all()


@pytest.mark.parametrize("exponent", [-900, -520, -200, 200, 560])
def test_far_and_near_points_are_scaled(exponent):
    X, y = clouds(60, seed=13)
    X = np.ldexp(X, exponent)
    assert (fitted(X, y).predict(X) == y).all()


def test_points_beyond_all_scales_are_refused():
    X, y = clouds(60, seed=13)
    with pytest.raises(InvalidInputError, match="away from 0"):
        fitted(np.ldexp(X, 900), y)


def test_random_labels_are_memorised():
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((400, 6)), rng.integers(0, 2, 400)
    assert (fitted(X, y).predict(X) == y).all()


def test_the_network_depends_on_the_seed_alone():
    X, y = clouds(500, seed=4)
    one, two = (fitted(X, y, n_threads=t) for t in (1, 2))
    assert one.first.key == two.first.key
    np.testing.assert_array_equal(one.first.rows, two.first.rows)
    np.testing.assert_array_equal(one.second.masks, two.second.masks)
    other = fitted(X, y, seed=1)
    assert other.first.key != one.first.key


def test_forms_of_points_do_not_matter():
    X, y = clouds(200, seed=5)
    X = np.where(np.abs(X) < 0.5, 0.0, X).astype(np.float32)
    dense = fitted(X, y)
    for same in (np.asfortranarray(X), X[::-1][::-1], X.astype(np.float64)):
        np.testing.assert_array_equal(fitted(same, y).second.masks, dense.second.masks)
    rows = sparse.csr_matrix(X)
    thin = fitted(rows, y)
    assert (thin.predict(rows) == y).all() and (thin.predict(X) == y).all()


@pytest.mark.parametrize("as_points", [sparse.csr_matrix, np.asarray])
def test_points_of_few_entries_have_rows_of_many(as_points):
    rows = sparse.random(100, 2_000, 1e-3, format="csr", random_state=0)
    y = np.random.default_rng(0).integers(0, 2, 100)
    X = as_points(rows.toarray())
    net = fitted(X, y, contradictions="majority", width=256)
    kept = np.setdiff1d(np.arange(100), net.report.relabelled)
    assert net.first.n_entries == 256 and len(kept) > 60
    assert (net.predict(X)[kept] == y[kept]).all()


def test_points_that_no_rows_of_few_entries_tell_apart_are_refused_in_a_sentence(monkeypatch):
    monkeypatch.setattr(fitting_module, "_longer_forms", lambda points: ())
    monkeypatch.setattr(growth_module, "_ROUNDS", 2)
    rows = sparse.random(300, 20_000, 1e-4, format="csr", random_state=0)
    rows.data[:] = 1.0
    y = np.random.default_rng(0).integers(0, 2, 300)
    with pytest.raises(InvalidInputError, match="tell too few of the points apart"):
        fitted(rows, y, contradictions="majority", width=64)


def test_labels_and_names_are_kept(tmp_path):
    pandas = pytest.importorskip("pandas")
    X, y = clouds(120, seed=6)
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    words = np.array(["no", "yes", "perhaps"])[y]
    net = fitted(frame, words)
    net.save(tmp_path / "net.npz")
    read = fastmem.load(tmp_path / "net.npz")
    assert (read.predict(frame) == words).all() and read.feature_names == ("a", "b", "c", "d")


def test_features_of_other_sizes_are_scaled_where_that_saves_bytes():
    X, y = clouds(400, seed=7)
    y = (X[:, 0] + X[:, 1] > 1).astype(int)
    X = X * [1.0, 1.0, 3000.0, 1 / 4096]
    net = fitted(X, y)
    assert net.scale is not None and (net.predict(X) == y).all()
    assert fitted(X, y, scale="none").scale is None


def test_a_label_that_no_point_keeps_is_no_default():
    X = np.array([[0.0], [0.0], [0.0], [1.0], [2.0]])
    y = np.array([1, 1, 0, 2, 1])
    net = fitted(X, y, contradictions="majority")
    assert net.predict(X).tolist() == [1, 1, 1, 2, 1]
    assert net.report.relabelled.tolist() == [2]


def test_contradictions_are_refused():
    with pytest.raises(fastmem.ContradictionError):
        fitted(np.array([[0.0], [0.0], [1.0]]), [0, 1, 1])


@pytest.mark.parametrize("effort", [0, 0.05])
def test_little_time_is_enough(effort):
    X, y = clouds(400, seed=8)
    net = fastmem.interpolate(X, y, objective="bytes", seed=0, effort=effort)
    assert (net.predict(X) == y).all() and len(net.report.ordered.trials) >= 1


def test_the_report_tells_what_was_tried():
    X, y = clouds(300, seed=9)
    net = fitted(X, y)
    report, ordered = net.report, net.report.ordered
    assert ordered.n_candidates == 256 and ordered.neurons == len(net.second)
    assert ordered.literals == np.bitwise_count(net.second.masks).sum()
    assert {n for n, _ in ordered.trials} == {256}
    assert f"{ordered.neurons:,} conjunctions" in str(ordered)
    assert report.summary() == {"n_samples": 300, "label_entropy": report.label_entropy}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objective": "size"}, "pass 'neurons' or 'bytes'"),
        ({"objective": None}, "pass 'neurons' or 'bytes'"),
        ({"effort": -1.0}, "at least 0"),
        ({"effort": float("nan")}, "at least 0"),
        ({"effort": "long"}, "at least 0"),
        ({"effort": True}, "at least 0"),
        ({"objective": "neurons", "effort": 3}, "objective='bytes'"),
        ({"width": "smallest"}, "'smallest'"),
        ({"width": 0}, "width"),
        ({"decision": "vote"}, "decision is 'vote'"),
        ({"selection": "random"}, "selection is 'random'"),
        ({"activation": "relu"}, "activation is 'relu'"),
        ({"projection": "gaussian"}, "projection is 'gaussian'"),
        ({"covered": "all"}, "covered is 'all'"),
        ({"covered": [0]}, "covered is"),
        ({"max_bias": 1.0}, "max_bias is 1.0"),
        ({"compact": True}, "compact is True"),
        ({"complete": True}, "complete is True"),
        ({"margin": 0.5}, "margin is 0.5"),
        ({"max_width": 9}, "max_width is 9"),
        ({"memory_limit": "4 GB"}, "memory_limit is"),
    ],
)
def test_what_has_no_meaning_is_refused(options, words):
    X, y = clouds(30)
    with pytest.raises(InvalidInputError, match=words):
        fastmem.interpolate(X, y, **{"objective": "bytes", **options})


def test_the_classifier_takes_it():
    X, y = clouds(200, seed=10)
    model = InterpolatingClassifier(objective="bytes", width=256, random_state=0).fit(X, y)
    assert model.score(X, y) == 1.0 and model.network_.decision == "list"
    assert model.decision_function(X).shape == (200, 3)
    assert not hasattr(model, "predict_proba")


def test_rules_in_words_are_those_of_the_network():
    X, y = clouds(200, seed=11)
    for scale in ("none", [2.0, 1.0, 0.5, 1.0]):
        net = fitted(X, np.array(["a", "b", "c"])[y], scale=scale)
        rules = net.rules()
        assert (
            rules[-1] == ("else", net.classes_[net.default]) and len(rules) == len(net.second) + 1
        )
        deciding = net.deciding_neurons(X)
        values = {f"x{k}": X[:, k] for k in range(4)}
        found = np.full(200, len(rules) - 1)
        for j, (text, label) in reversed(list(enumerate(rules[:-1]))):
            assert label == net.classes_[net.second.owners[j]]
            terms = text.replace(" and ", ") & (")
            for k in range(4):  # "2 x0" is a product
                terms = terms.replace(f" x{k}", f"*x{k}").replace("+*", "+ ").replace("-*", "- ")
            found[eval(f"({terms})", {}, values)] = j
        # numbers in words are rounded
        assert np.mean(found == np.where(deciding < 0, len(rules) - 1, deciding)) > 0.98


def test_only_lists_have_rules():
    X, y = clouds(50)
    net = fastmem.interpolate(X, y, seed=0)
    for ask in (net.rules, lambda: net.deciding_neurons(X)):
        with pytest.raises(InvalidInputError, match="no order"):
            ask()


def test_the_command_line_takes_it(tmp_path):
    pytest.importorskip("typer")
    pytest.importorskip("pyarrow")
    from typer.testing import CliRunner

    from fastmem.commands import app

    X, y = clouds(150, seed=12)
    lines = [",".join(map(str, [*row, "abc"[label]])) for row, label in zip(X, y, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["p,q,r,s,answer", *lines]))
    out = tmp_path / "net.npz"

    def run(*arguments):
        return CliRunner().invoke(app, [str(a) for a in arguments])

    fit = run("fit", tmp_path / "t.csv", "--label", "answer", "--objective", "bytes", "--out", out)
    assert fit.exit_code == 0, fit.output
    assert out.stat().st_size < 400 and fastmem.load(out).decision == "list"
    assert "bits a label" in run("info", out).output
    rules = run("info", out, "--rules").output.splitlines()
    assert len(rules) == len(fastmem.load(out).second) + 1 and ": else" in rules[-1]
    told = run(
        "predict", out, tmp_path / "t.csv", "--label", "answer", "--out", tmp_path / "said.csv"
    )
    assert told.exit_code == 0, told.output
    refused = run("fit", tmp_path / "t.csv", "--label", "answer", "--effort", "3")
    assert refused.exit_code != 0 and "objective" in refused.output
    cells = run("fit", tmp_path / "t.csv", "--label", "answer", "--out", tmp_path / "cells.npz")
    assert cells.exit_code == 0
    assert run("info", tmp_path / "cells.npz", "--rules").exit_code != 0
