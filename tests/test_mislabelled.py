"""The study of wrong labels: what it changes, what it counts, and that hard points are found."""

from __future__ import annotations

import csv
import importlib.util

import numpy as np
import pytest

from fastmem.datasets import clusters
from fastmem.experiments import mislabelled
from fastmem.inputs import InvalidInputError


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("labels", [[0, 1], ["a", "b", "c"], [False, True]])
def test_just_the_share_of_labels_is_changed_to_others(share, labels):
    y = np.array(labels)[np.arange(200) % len(labels)]
    wrong, rows = mislabelled.flipped(y, share, 3)
    assert len(rows) == round(share * 200) and (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(np.flatnonzero(wrong != y), rows)
    assert set(wrong.tolist()) <= set(labels)
    np.testing.assert_array_equal(mislabelled.flipped(y, share, 3)[0], wrong)
    assert share == 1 or (mislabelled.flipped(y, share, 4)[1] != rows).any()


@pytest.mark.parametrize("share", [0, -0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(InvalidInputError, match="share is"):
        mislabelled.flipped(np.array([0, 1]), share, 0)


def test_one_class_is_refused():
    with pytest.raises(InvalidInputError, match="one class"):
        mislabelled.flipped(np.zeros(5), 0.5, 0)


def test_a_perfect_score_and_a_useless_one(monkeypatch):
    y = np.arange(400) % 2
    labels, _ = mislabelled.flipped(y, 0.05, 0)
    scores = {
        "knows": lambda X, z, seed: (labels != y).astype(float),
        "opposite": lambda X, z, seed: (labels == y).astype(float),
        "constant": lambda X, z, seed: np.zeros(len(z)),
    }
    monkeypatch.setattr(mislabelled, "SCORES", scores)
    knows, opposite, constant = mislabelled.measure("set", None, y, 0.05, 0, tuple(scores))
    assert (knows.precision, knows.average_precision, knows.n_wrong) == (1, 1, 20)
    assert knows.recall == pytest.approx(0.4)  # the hardest 2 % are 8 of 20
    assert opposite.precision == opposite.recall == 0
    assert opposite.average_precision < 0.06
    assert constant.precision < 0.5  # equal scores are not in the order of the rows


def test_changed_labels_of_clusters_are_the_hardest_and_equal_runs_agree(tmp_path, monkeypatch):
    X, y = clusters(600, 4, 8)
    monkeypatch.setattr(mislabelled, "DATA_SETS", {"clusters": lambda: (X, y)})
    monkeypatch.setattr(mislabelled, "SHARES", (0.02,))
    tables = []
    for name in ("one", "two"):
        mislabelled.main(["--out", str(tmp_path / name), "--seeds", "2"])
        with open(tmp_path / name / "mislabelled.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert (tmp_path / name / "mislabelled.png").stat().st_size > 10_000
        tables.append([{k: v for k, v in row.items() if k != "seconds"} for row in rows])
    assert tables[0] == tables[1]
    installed = 4 + (importlib.util.find_spec("cleanlab") is not None)
    assert len(tables[0]) == 2 * installed
    assert {r["precision"] for r in tables[0] if r["score"] == "hardness"} == {"1.0"}
    with pytest.raises(SystemExit):
        mislabelled.main(["--out", str(tmp_path), "--seeds", "0"])


def test_the_table_gives_means_over_seeds():
    rows = [
        mislabelled.Found("set", 0.01, seed, "s", 5, 0.2 + 0.2 * seed, 0.5, 0.3, 1.0)
        for seed in (0, 1)
    ]
    last = mislabelled.table(rows).splitlines()[-1]
    assert last == "| set | 1 % | s | 0.300 | 0.500 | 0.300 | 1 |"
