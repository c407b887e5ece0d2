"""Explanations of raw tables, in the columns and words that the user has, and the command."""

from __future__ import annotations

import datetime
import json
import re
import sys

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("typer")
pd = pytest.importorskip("pandas")
from typer.testing import CliRunner  # noqa: E402

import fastmem  # noqa: E402
from fastmem.commands import app  # noqa: E402
from fastmem.tables import Encoding  # noqa: E402


def a_table(n=150, seed=0):
    rng = np.random.default_rng(seed)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D")
    table = pd.DataFrame(
        {
            "island": rng.choice(["Biscoe", "Dream", "Torgersen"], n),
            "sex": rng.choice(["male", "female"], n),
            "mass": rng.normal(4000, 500, n).round(),
            "bill": np.where(rng.random(n) < 0.1, np.nan, rng.normal(44, 5, n).round(1)),
            "when": days,
            "ok": rng.random(n) < 0.5,
            "<b>": rng.integers(0, 9, n),
        }
    )
    return table, np.where((table["mass"] > 4000) ^ (table["island"] == "Dream"), "big", "small")


@pytest.fixture(scope="module")
def fitted():
    table, y = a_table()
    return fastmem.interpolate(table, y, encode=True, seed=0), table, y


def same(found, expected):
    if (
        expected is None
        or expected is pd.NaT
        or (isinstance(expected, float) and np.isnan(expected))
    ):
        return found is None
    if isinstance(expected, pd.Timestamp):
        return found == str(expected.date())
    return found == expected


def test_values_are_those_of_the_table(fitted):
    network, table, y = fitted
    for i, found in enumerate(network.explain(table[:30], table, y, n_changes=0)):
        assert list(found.values) == list(table.columns)
        assert all(same(found.values[name], table[name][i]) for name in table)
        for one in (*found.prototypes, *found.counter_prototypes):
            assert all(same(one.values[name], table[name][one.row]) for name in table)


def test_changes_in_the_table_itself_change_the_label(fitted):
    network, table, y = fitted
    kinds = set()
    for i in range(12):
        for change in network.explain(table.iloc[i], table, y, n_changes=9).changes:
            if change.column is None:
                continue
            assert same(change.before, table[change.column][i])
            row = table[i : i + 1].copy()
            row[change.column] = [change.after]
            assert network.predict(row)[0] == change.label != network.predict(table[i : i + 1])[0]
            kinds.add(type(change.after))
    assert kinds == {float, str, bool}


def test_a_point_may_be_a_row_a_dict_or_a_table_of_one_row(fitted):
    network, table, y = fitted
    expected = network.explain(table[4:5], table, y)
    assert network.explain(table.iloc[4], table, y) == expected
    assert network.explain(dict(table.iloc[4]), table, y) == expected
    assert len(network.explain(table[4:6], table, y)) == 2


def test_a_row_of_numbers_may_have_names():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.random((60, 3)), columns=list("abc"))
    y = np.where(table["a"] > 0.5, "x", "y")
    network = fastmem.interpolate(table, y, seed=0)
    expected = network.explain(table[4:5], table, y)
    assert expected.values == dict(table.iloc[4])
    for x in (table.iloc[4], dict(table.iloc[4]), table.iloc[4].to_numpy(), list(table.iloc[4])):
        assert network.explain(x, table, y) == expected
    with pytest.raises(fastmem.InvalidInputError, match="x"):
        network.explain(table.iloc[4][["b", "a", "c"]], table, y)
    bare = fastmem.interpolate(table.to_numpy(), y, seed=0)
    assert bare.explain(table.iloc[4], table.to_numpy(), y).features == expected.features


def test_a_name_is_text_on_a_page_and_rows_are_cut(fitted):
    network, table, y = fitted
    page = network.explain(table[4:5], table, y)._repr_html_()
    assert "<b>" not in page and "&lt;b&gt;" in page
    assert "island" in page and "Another label" in page


def test_columns_that_change_only_together_stay(fitted):
    network, table, y = fitted
    found = network.explain(table[4:5], table, y)
    assert found.n_searched == 6  # all but the date, which gives three features
    missing = table[table["bill"].isna()][:1]
    assert network.explain(missing, table, y).n_searched == 5


def test_a_missing_column_of_the_point_is_refused_as_x(fitted):
    network, table, y = fitted
    with pytest.raises(fastmem.InvalidInputError, match="x has no column 'sex'"):
        network.explain(table[:1].drop(columns="sex"), table, y)


@pytest.mark.parametrize(
    ("values", "kinds", "expected"),
    [
        (["b", "a", None, "c"], {}, ["b", "a", None, "c"]),
        (["b", "a", "b"], {}, ["b", "a", "b"]),
        (["b", "a", "c"], {"c": "code"}, ["b", "a", "c"]),
        ([True, False, None], {}, [True, False, None]),
        ([1.5, -2.0, None], {}, [1.5, -2.0, None]),
        ([2**60 + 1, 5, 2**61 + 3], {}, [2**60 + 1, 5, 2**61 + 3]),
        ([2**60 + 1, 2**60 + 7, 2**60], {}, [2**60 + 1, 2**60 + 7, 2**60]),
        (["10:20:30", "23:59:59.5", "00:00:00"], {}, ["10:20:30", "23:59:59.5", "00:00:00"]),
        (["2020-01-31", "1969-12-31", None], {}, ["2020-01-31", "1969-12-31", None]),
        (
            [datetime.datetime(2020, 1, 31, 10, 20, 30, 500000), datetime.datetime(2021, 1, 1)],
            {}, ["2020-01-31T10:20:30.5", "2021-01-01T00:00:00"],
        ),
        ([[1.0, 2.0], [3.0, 4.5]], {}, [[1.0, 2.0], [3.0, 4.5]]),
    ],
)  # fmt: skip
def test_every_kind_of_column_is_read_back(values, kinds, expected):
    table = {"c": values}
    encoding = Encoding.fit(table, kinds=kinds)
    (column,) = encoding.columns
    features = encoding.transform(table).astype(np.float64)
    found = [column.read_back(row) for row in features]
    assert found == expected
    for row, value in zip(features, expected, strict=True):
        for other, its_features in column.others(row):
            assert other != value and column.read_back(its_features) == other


def test_ordinals_are_read_back_as_their_levels():
    grades = pd.Categorical(["low", "high", "mid"], ["low", "mid", "high"], ordered=True)
    encoding = Encoding.fit(pd.DataFrame({"grade": grades}))
    features = encoding.transform(pd.DataFrame({"grade": grades}))
    (column,) = encoding.columns
    assert [column.read_back(row) for row in features] == ["low", "high", "mid"]
    assert [name for name, _ in column.others(features[0].astype(float))] == ["mid", "high"]
    assert column.read_back(np.array([0.5])) is None


# The command ---------------------------------------------------------------------------------


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.stderr
    return result


@pytest.fixture
def files(tmp_path, monkeypatch, fitted):
    monkeypatch.chdir(tmp_path)
    network, table, y = fitted
    network.save("net.npz")
    labelled = table.assign(size=y)
    labelled.loc[3, "size"] = None
    labelled.to_csv("all.csv", index=False)
    table[7:8].to_csv("point.csv", index=False)
    return network, table, y


def test_a_row_is_explained_with_the_rows_of_the_file(files):
    network, table, y = files
    found = json.loads(
        run(
            "explain", "net.npz", "--data", "all.csv", "--label", "size", "--row", 7, "--json"
        ).stdout
    )
    keep = np.arange(len(y)) != 3
    expected = network.explain(table[7:8], table[keep], y[keep])
    assert found["label"] == expected.label and found["values"]["island"] == table["island"][7]
    rows = [one["row"] for one in found["prototypes"]]
    assert rows == [one.row + (one.row >= 3) for one in expected.prototypes]
    assert rows[0] == 7
    told = run("explain", "net.npz", "--data", "all.csv", "--label", "size", "--row", 7)
    assert f"Why row 7 of all.csv is {y[7]}" in told.stdout and "Dream" in told.stdout


def test_a_point_of_a_file_is_explained_as_its_row_is(files):
    arguments = ("explain", "net.npz", "--data", "all.csv", "--label", "size", "--json")
    by_row = run(*arguments, "--row", 7).stdout
    assert run(*arguments, "--point", "point.csv").stdout == by_row
    assert run(*arguments, "--point", "all.csv", "--row", 7, code=2).stderr.count("\n") == 1


def test_pages_and_json_are_written(files, tmp_path):
    arguments = ("explain", "net.npz", "--data", "all.csv", "--label", "size", "--row", 7)
    run(*arguments, "--out", "x.json")
    assert json.loads((tmp_path / "x.json").read_text())["label"] == files[2][7]
    told = run(*arguments, "--out", "x.html")
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and "Torgersen" in page and "<img" not in page
    assert not re.search(r"(src|href)=.?http", page)
    assert not told.stdout and "x.html" in told.stderr


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--row", "3"], "not with a label"),
        (["--row", "150"], "does not have"),
        ([], "one of --row and --point"),
        (["--row", "1", "--out", "x.txt"], ".html"),
        (["--row", "1", "--out", "x.png"], "no square image"),
        (["--row", "1", "--out", "x.png", "--shape", "3x3"], "shape is (3, 3)"),
        (["--row", "1", "--shape", "big"], "--shape is 'big'"),
        (["--row", "1", "--out", "all.csv"], "suffix"),
        (["--row", "1", "--prototypes", "-1"], "n_prototypes"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(files, tmp_path, more, words):
    before = set(tmp_path.iterdir())
    result = run("explain", "net.npz", "--data", "all.csv", "--label", "size", *more, code=2)
    assert words in result.stderr and result.stderr.count("\n") == 1
    assert set(tmp_path.iterdir()) == before


def test_labels_have_to_be_named(files):
    assert "--label" in run("explain", "net.npz", "--data", "all.csv", "--row", 1, code=2).stderr


def test_plain_numbers_and_images(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X, y = rng.random((60, 64)), rng.integers(0, 2, 60)
    np.savez("all.npz", X=X, y=y)
    fastmem.interpolate(X, y, seed=0).save("net.npz")
    arguments = ("explain", "net.npz", "--data", "all.npz", "--row", 5)
    run(*arguments, "--out", "x.png")
    assert (tmp_path / "x.png").read_bytes()[1:4] == b"PNG"
    run(*arguments, "--out", "x.html")
    assert "data:image/png;base64," in (tmp_path / "x.html").read_text()
    run(*arguments, "--out", "y.png", "--shape", "4x16")
    assert "rows 0 to 59" in run(*arguments[:-1], 60, code=2).stderr
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "pip install" in run(*arguments, "--out", "z.png", code=2).stderr


def test_points_with_a_label_column_beside_them_are_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.random((60, 3)), columns=["a", "b", "c"])
    labels = np.where(table["a"] > 0.5, "x", "y")
    table.assign(y=labels).to_csv("all.csv", index=False)
    table[:1].assign(y=labels[:1]).to_csv("one.csv", index=False)
    fastmem.interpolate(table, labels, seed=0).save("net.npz")
    found = json.loads(
        run(
            "explain",
            "net.npz",
            "--data",
            "all.csv",
            "--label",
            "y",
            "--point",
            "one.csv",
            "--json",
        ).stdout
    )
    assert found["values"] == dict(table.iloc[0]) and found["prototypes"][0]["row"] == 0


def test_predict_takes_the_rule(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X, y = rng.random((60, 3)), rng.integers(0, 2, 60)
    np.savez("all.npz", X=X, y=y)
    fastmem.interpolate(X, y, seed=0, covered="all", margin=0.5).save("net.npz")
    fastmem.interpolate(X, y, seed=0).save("other.npz")
    np.save("unseen.npy", rng.random((500, 3)))
    told = run("predict", "net.npz", "unseen.npy", "--rule", "coincidence").stdout.split()
    expected = fastmem.load("net.npz").predict(np.load("unseen.npy"), rule="coincidence")
    assert told == [str(label) for label in expected]
    assert told != run("predict", "net.npz", "unseen.npy").stdout.split()
    refused = run("predict", "other.npz", "all.npz", "--rule", "coincidence", code=2).stderr
    assert "covered='all'" in refused and refused.count("\n") == 1
