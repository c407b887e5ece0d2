"""Data files in batches: however they are cut and wherever they are kept, the same points."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip("typer")
pa = pytest.importorskip("pyarrow")
from pyarrow import csv as arrow_csv
from pyarrow import parquet
from test_cli import assert_refused, run

import fastmem
from fastmem import InvalidInputError
from fastmem.machine.files import check_output, moved_when_complete
from fastmem.tables import (
    columnar,
    delimited,
    load_table,
    read_table,  # noqa: E402
    reading,
    spool,
    stream_table,
)
from fastmem.tables.spool import FilePoints, Spool

N = 400


@pytest.fixture(scope="module")
def flowers():
    """Give 400 points of three classes with text labels, as a table of float32."""
    rng = np.random.default_rng(7)
    y = rng.choice(["rose", "tulip", "01"], N)
    X = rng.integers(-1000, 1000, (N, 3)).astype(np.float32) / 64  # csv holds them exactly
    columns = {"y": y.tolist(), **{name: X[:, j] for j, name in enumerate("abc")}}
    return pa.table(columns), X, y


@pytest.fixture
def spooled(monkeypatch):
    """Let all points go to a file."""
    monkeypatch.setattr(reading, "available", lambda: (0, ""))


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(columnar, "BATCH_BYTES", 24 * 32)  # 32 rows
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 512)
    monkeypatch.setattr(reading, "BATCH_BYTES", 4 * 3 * 32)


def write(table, path, **options):
    if path.suffix == ".csv":
        arrow_csv.write_csv(table, path)
    else:
        parquet.write_table(table, path, **options)
    return path


@settings(max_examples=25, deadline=None)
@given(
    suffix=st.sampled_from([".parquet", ".csv"]),
    group=st.integers(1, 500),
    batch=st.integers(1, 200),
    room=st.sampled_from([0, 1000, 3000, 10**9]),
    as_dictionary=st.booleans(),
)
@example(".csv", 100, 1, 3000, False)  # to the file when half of it is read
@example(".parquet", 7, 5, 3000, True)
def test_any_cut_gives_the_same_table_and_network(suffix, group, batch, room, as_dictionary):
    rng = np.random.default_rng(7)
    X = rng.integers(-1000, 1000, (N, 3)).astype(np.float32) / 64  # csv holds them exactly
    y = rng.choice(["rose", "tulip", "01"], N)
    labels = pa.array(y.tolist())
    table = pa.table({"a": X[:, 0], "y": labels.dictionary_encode() if as_dictionary else labels,
                      "b": X[:, 1], "c": X[:, 2]})  # fmt: skip
    before = columnar.BATCH_BYTES, columnar._LEAST_ROWS, delimited.BLOCK_BYTES
    try:
        columnar.BATCH_BYTES, columnar._LEAST_ROWS = 24 * batch, 1
        delimited.BLOCK_BYTES = 64 * batch
        with tempfile.TemporaryDirectory() as place:
            path = write(table, Path(place) / f"data{suffix}", row_group_size=group)
            read = load_table(path, "y", labels_required=True, memory_limit=4 * room)
            streamed = list(stream_table(path, "y", None).blocks)
    finally:
        columnar.BATCH_BYTES, columnar._LEAST_ROWS, delimited.BLOCK_BYTES = before
    points = read.points
    assert isinstance(points, FilePoints) == (X.nbytes * (1 + (suffix == ".csv")) > room)
    assert points.dtype == (np.float64 if suffix == ".csv" else np.float32)
    assert points.feature_names == ["a", "b", "c"]
    np.testing.assert_array_equal(points.block(0, N), X)
    assert read.labels[:].tolist() == y.tolist()
    np.testing.assert_array_equal(np.concatenate([block for block, _ in streamed]), X)
    expected = fastmem.interpolate(X.astype(points.dtype), y, seed=0)
    network = fastmem.interpolate(points, read.labels, seed=0)
    np.testing.assert_array_equal(network.first.weights, expected.first.weights)
    np.testing.assert_array_equal(network.first.biases, expected.first.biases)
    np.testing.assert_array_equal(network.second.masks, expected.second.masks)
    assert network.predict(points).tolist() == y.tolist()


@pytest.mark.parametrize("gap", [0, 100, 1 << 14])
@pytest.mark.parametrize("window", [1, 300, 1 << 20])
def test_rows_of_a_file_are_those_that_were_written(gap, window, monkeypatch):
    monkeypatch.setattr(spool, "GAP_BYTES", gap)
    monkeypatch.setattr(spool, "WINDOW_BYTES", window)
    rng = np.random.default_rng(gap + window)
    X = rng.normal(size=(500, 7))
    rows = Spool(0, 10, is_exact=True)
    for start in (0, 3, 200):
        rows.add(X[start : {0: 3, 3: 200, 200: 500}[start]])
    points = rows.points()
    assert isinstance(points, FilePoints)
    for size in (0, 1, 2, 50, 500, 900):
        some = rng.integers(0, 500, size).astype(np.int32)
        np.testing.assert_array_equal(points.take(some), X[some])
        np.testing.assert_array_equal(points.take(np.sort(some)), X[np.sort(some)])
    for start, stop in ((0, 500), (17, 18), (300, 300), (499, 600)):
        np.testing.assert_array_equal(points.block(start, stop), X[start:stop])
    np.testing.assert_array_equal(points.mapped(), X)


def test_the_command_gives_the_same_network_from_a_file(
    tmp_path, flowers, monkeypatch, small_batches
):
    path = write(flowers[0], tmp_path / "data.parquet")
    models = []
    for name, free in (("memory", 1 << 40), ("file", 0)):
        monkeypatch.setattr(reading, "available", lambda size=free: (size, ""))
        out = tmp_path / f"{name}.npz"
        result = run("fit", path, "--label", "y", "--seed", 3, "--out", out)
        assert result.exit_code == 0
        assert "100 % (400 of 400)" in result.stdout
        models.append(out.read_bytes())
    assert models[0] == models[1]
    assert fastmem.load(out).feature_names == ("a", "b", "c")


def test_the_file_is_where_tmpdir_says_and_has_no_name(tmp_path, flowers, monkeypatch, spooled):
    path = write(flowers[0], tmp_path / "data.parquet")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    seen = []

    def look(stage, done, total, neurons):
        seen.append((stage, done, total, os.listdir(tmp_path / "scratch")))

    table = load_table(path, "y", labels_required=True, progress=look)
    assert isinstance(table.points, FilePoints)
    assert seen[-1] == ("reading", N, N, [])


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_full_disk_is_one_sentence(tmp_path, flowers, monkeypatch, spooled, suffix):
    path = write(flowers[0], tmp_path / f"data{suffix}")
    # of parquet the size is known before, of csv once the rows were read
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=4000))
    if suffix == ".csv":
        empty = os.open(tmp_path / "empty", os.O_RDWR | os.O_CREAT)

        class Full:
            def write(self, octets):
                raise OSError(errno.ENOSPC, "No space left on device")

            def tell(self):
                return 100

            def fileno(self):
                return empty

            def close(self):
                """Nothing is open that is not closed below."""

        monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: Full())
    result = run("fit", path, "--label", "y", "--out", tmp_path / "net.npz")
    assert_refused(result, "do not fit in memory and go to ", "but there is no room; make room")
    assert not (tmp_path / "net.npz").exists()
    if suffix == ".csv":
        os.close(empty)
    monkeypatch.undo()
    monkeypatch.setattr(reading, "available", lambda: (0, ""))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    result = run("fit", path, "--label", "y", "--out", tmp_path / "net.npz")
    assert_refused(result, "nowhere, but No such file or directory; make room there")


LARGE = """
import sys, fastmem.commands, pyarrow.parquet
from pathlib import Path
from fastmem.machine.clock import peak_bytes
from fastmem.tables import load_table, stream_table
before = peak_bytes()
table = load_table(Path(sys.argv[1]), "y", labels_required=True, memory_limit=10**8)
for start in range(0, table.points.n_samples, 20_000):
    table.points.block(start, start + 20_000)
for block, codes in stream_table(Path(sys.argv[1]), "y", None).blocks:
    pass
print(peak_bytes() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the peak is known on Linux")
def test_a_large_row_group_is_never_in_memory_as_a_whole(tmp_path):
    n = 1_000_000
    column = np.random.default_rng(0).random(n, np.float32)
    columns = {f"x{j}": np.roll(column, j) for j in range(50)}
    columns["y"] = np.where(column > 0.5, "a", "b")
    write(pa.table(columns), tmp_path / "data.parquet", row_group_size=n, compression="none",
          use_dictionary=["y"])  # fmt: skip
    del columns
    done = subprocess.run(
        [sys.executable, "-c", LARGE, tmp_path / "data.parquet"],
        capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(Path(fastmem.__file__).parents[1])},
    )  # fmt: skip
    assert int(done.stdout) < 140e6  # the points have 200 MB


class TestPredict:
    @pytest.fixture
    def model(self, tmp_path, flowers):
        path = write(flowers[0], tmp_path / "data.parquet")
        assert run("fit", path, "--label", "y", "--out", tmp_path / "net.npz").exit_code == 0
        return tmp_path / "net.npz"

    @pytest.mark.parametrize("name", ["data.parquet", "data.csv", "data.npy", "data.npz"])
    def test_all_batches_are_written_and_counted(
        self, tmp_path, model, flowers, small_batches, name
    ):
        table, X, y = flowers
        path, label = tmp_path / name, ["--label", "y"]
        codes = np.unique(y, return_inverse=True)[1]
        if name == "data.npy":
            np.save(path, X)
            label = []
        elif name == "data.npz":
            np.savez(path, X=X, y=y)
        else:
            write(table, path)
        wanted = "Accuracy: 100 % (400 of 400)\n" if label else ""
        for suffix in ("csv", "npy"):
            out = tmp_path / f"labels.{suffix}"
            result = run("predict", model, path, *label, "--out", out)
            assert (result.exit_code, result.stdout, result.stderr) == (0, "", wanted)
        assert (tmp_path / "labels.csv").read_text() == "label\n" + "".join(f"{v}\n" for v in y)
        labels = np.load(tmp_path / "labels.npy")
        np.testing.assert_array_equal(labels, y)
        assert labels.dtype.kind == "U" and len(np.unique(codes)) == 3
        result = run("predict", model, path, *label)
        assert result.stdout.split() == y.tolist()
        assert not list(tmp_path.glob(".*"))

    def test_wrong_values_in_a_later_batch_leave_no_file(
        self, tmp_path, model, flowers, small_batches
    ):
        table = flowers[0].drop_columns(["y"])
        gap = pa.array(np.arange(N) % 2, mask=np.isin(np.arange(N), [333, 390]))
        path = write(table.set_column(1, "b", gap), tmp_path / "gap.parquet")
        out = tmp_path / "labels.csv"
        result = run("predict", model, path, "--out", out)
        assert_refused(result, f"column 'b' of {path} has no value at data row 333 (the first is ",
                       "and 2 of its 400 values are missing")  # fmt: skip
        assert not out.exists() and not list(tmp_path.glob(".*"))

    def test_columns_are_compared_by_name(self, tmp_path, model, flowers):
        table, X, y = flowers
        for columns, words in (
            (["b", "a", "c"], ["another order than at the fit, 'b' where 'a' was (column 0)"]),
            (["a", "b"], ["lacks column 'c' of the fit", "--label"]),
        ):
            for suffix in (".parquet", ".csv"):
                path = write(table.select(columns), tmp_path / f"other{suffix}")
                assert_refused(run("predict", model, path), str(path), *words)
        path = write(table.append_column("z", table["a"]), tmp_path / "more.parquet")
        assert_refused(run("predict", model, path, "--label", "y"), "has column 'z', which the fit")
        np.savetxt(tmp_path / "nameless.csv", X, fmt="%.17g", delimiter=",")  # exactly
        assert run("predict", model, tmp_path / "nameless.csv").stdout.split() == y.tolist()
        result = run("export", model, "--out", tmp_path / "net.h", "--data",
                     write(table.select(["b", "a", "c"]), tmp_path / "other.csv"))  # fmt: skip
        assert_refused(result, "another order than at the fit")

    def test_a_header_of_numbers_is_known_by_the_network(self, tmp_path, flowers):
        table, X, y = flowers
        path = write(table.rename_columns(["y", "0", "1", "2"]), tmp_path / "data.csv")
        out = tmp_path / "net.npz"
        assert run("fit", path, "--label", "y", "--out", out).exit_code == 0
        path = write(table.rename_columns(["y", "0", "1", "2"]).drop_columns(["y"]), path)
        assert run("predict", out, path).stdout.split() == y.tolist()


def test_vectors_in_a_column_of_lists(tmp_path, flowers, spooled, small_batches):
    _, X, y = flowers
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 3)
    for name, lists in (("fixed", fixed), ("free", pa.array(X.tolist(), pa.list_(pa.float32())))):
        path = write(pa.table({"y": y.tolist(), "vector": lists}), tmp_path / f"{name}.parquet")
        out = tmp_path / f"{name}.npz"
        assert run("fit", path, "--label", "y", "--seed", 0, "--out", out).exit_code == 0
        assert fastmem.load(out).feature_names == ("vector[0]", "vector[1]", "vector[2]")
        assert run("predict", out, path, "--label", "y").stdout.split() == y.tolist()
        assert re.search(r"features +3\b", run("info", out).stdout)
    assert (tmp_path / "fixed.npz").read_bytes() == (tmp_path / "free.npz").read_bytes()


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (pa.array([True, False] * 200), [False, True]),
        (pa.array([7, -1] * 200, pa.int16()), [-1, 7]),
        (pa.array([2.0, 1.0] * 200), [1.0, 2.0]),
        (pa.array(["01", "1"] * 200, pa.large_string()), ["01", "1"]),
        (pa.array(["b", "a"] * 200).dictionary_encode(), ["a", "b"]),
    ],
)
def test_labels_of_any_type(tmp_path, flowers, small_batches, labels, classes):
    path = write(flowers[0].set_column(0, "y", labels), tmp_path / "data.parquet")
    out = tmp_path / "net.npz"
    assert run("fit", path, "--label", "y", "--out", out).exit_code == 0
    network = fastmem.load(out)
    assert network.classes_.tolist() == classes
    assert network.classes_.dtype.kind == np.array(classes).dtype.kind
    result = run("predict", out, path, "--label", "y")
    assert result.stdout.split() == [str(label) for label in labels.to_pylist()]
    assert result.stderr == "Accuracy: 100 % (400 of 400)\n"


class TestParts:
    def test_a_directory_and_a_pattern_are_one_table(self, tmp_path, flowers):
        table, X, y = flowers
        (tmp_path / "parts").mkdir()
        whole = write(table, tmp_path / "whole.parquet")
        for i, start in enumerate((0, 100, 350)):
            part = table[start : [100, 350, N][i]]
            write(part, tmp_path / "parts" / f"part-{i}.parquet")
        (tmp_path / "parts" / "_SUCCESS").touch()
        models = []
        for name in (whole, tmp_path / "parts", tmp_path / "parts" / "part-*.parquet"):
            out = tmp_path / "net.npz"
            assert run("fit", name, "--label", "y", "--seed", 1, "--out", out).exit_code == 0
            models.append(out.read_bytes())
            assert run("predict", out, name, "--label", "y").stdout.split() == y.tolist()
        assert models[0] == models[1] == models[2]

    def test_refusals(self, tmp_path, flowers):
        table = flowers[0]
        here = tmp_path / "here"
        here.mkdir()
        out = ["--label", "y", "--out", tmp_path / "net.npz"]
        assert_refused(run("fit", here, *out), "is not a file")
        write(table, here / "a.parquet")
        write(table.select(["y", "b", "a", "c"]), here / "b.parquet")
        assert_refused(run("fit", here, *out), "b.parquet has other columns than a.parquet")
        write(table, tmp_path / "one.csv")
        (tmp_path / "one.txt").write_text("a,y\n1.5,x\n")
        assert_refused(run("fit", tmp_path / "one.*", *out), "matches 2 files, which end in '.csv'")
        assert_refused(run("fit", tmp_path / "*.npy", *out), "does not exist")


# fmt: off
WRONG_PARQUET = [
    ({"x": [1.0, None] * 2}, "column 'x' of", "data row 1 (the first is 0), and 2 of its 4 values"),
    ({"x": pa.nulls(4)}, "column 'x' of", "all of them are missing; drop it"),
    ({"x": pa.nulls(4, pa.int32())}, "column 'x' of", "no values, all 4 are missing; drop it"),
    ({"x": [1.0, 2.0, np.nan, np.nan]}, "data row 2 (the first is 0), column 'x', is nan, and 2"),
    ({"x": [1, 2, 2**53 + 1, 4]}, "data row 2", "'x', is 9007199254740993", "exactly"),
    ({"x": pa.array([0] * 4, pa.date32())}, "'x'", "date32", "turn times into numbers"),
    ({"x": pa.array([0] * 4, pa.timestamp("ns"))}, "'x'", "timestamp", "turn times into numbers"),
    ({"x": pa.array([Decimal(10**20 + 1)] * 4, pa.decimal128(30))}, "data row 0", "00001, more"),
    ({"x": ["a", "b", "c", "d"]}, "'x'", "string", "name it with --label"),
    ({"x": [{"k": 1}] * 4}, "'x'", "struct<k: int64>", "not a number"),
    ({"x": [[1.0], [2.0], [3.0], [4.0, 5.0]]}, "'x'", "2 values at data row 3", "same number"),
    ({"x": [[1.0], [2.0], [None], [4.0]]}, "'x[0]'", "data row 2", "1 of its 4 values is missing"),
    ({"x": [1, 2, 3, 4], "y": ["a", None, "b", "a"]}, "no label at data row 1", "1 in all is"),
    ({"x": [1, 2, 3, 4], "y": pa.array([1] * 4, pa.time32("s"))}, "'y'", "time32", "which no"),
    ({"x": [1, 2, 3, 4], "y": pa.array([1] * 4, pa.date32())}, "'y'", "date32", "which no labels"),
    ({"x": [1, 2, 3, 4], "y": pa.array([[1]] * 4)}, "'y'", "list<", "which no labels are"),
]
# fmt: on


@pytest.mark.parametrize("case", WRONG_PARQUET, ids=range(len(WRONG_PARQUET)))
@pytest.mark.parametrize("cut", [1, 4])
def test_invariant_5_wrong_parquet(tmp_path, monkeypatch, case, cut):
    monkeypatch.setattr(columnar, "BATCH_BYTES", 1)
    monkeypatch.setattr(columnar, "_LEAST_ROWS", cut)
    columns, *words = case
    table = pa.table({"y": ["a", "b", "a", "b"]} | columns)
    path = write(table, tmp_path / "data.parquet")
    assert_no_numbers(path, *words)


def assert_no_numbers(path, *words):
    """Check that a table is refused by what takes numbers only."""
    with pytest.raises(fastmem.InvalidInputError) as refusal:
        read_table(path, "y", labels_required=True)
    for word in words:
        assert word in str(refusal.value)


def test_csv_says_where_a_value_is_wrong(tmp_path, small_batches):
    path = tmp_path / "data.csv"
    rows = [f"{i},0.5,{'ab'[i % 2]}" for i in range(200)]
    for row, cell, words in (
        (
            150,
            "two",
            ["has 'two' in column 'v', data row 150 (the first is 0), line 152, which is not"],
        ),
        (160, "", ["column 'v'", "has no value at data row 160", "1 of its 200 values is missing"]),
        (170, "inf", ["at data row 170 (the first is 0), column 'v', is inf, and 1 of 200"]),
    ):
        wrong = [*rows[:row], f"1,{cell},a", *rows[row + 1 :]]
        path.write_text("\n".join(["u,v,y", *wrong]))
        assert_no_numbers(path, *words)
    path.write_text("\n".join(["u,v,y", *rows[:170], "1,1, ", *rows[171:]]))
    assert_no_numbers(path, "has no label at data row 170", "1 in all is missing")


def test_a_result_goes_where_a_link_points_and_keeps_permissions(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as in each of two containers
    target, link = tmp_path / "deep" / "labels.npy", tmp_path / "labels.npy"
    target.parent.mkdir()
    target.write_text("older")
    target.chmod(0o640)
    link.symlink_to(target)
    with moved_when_complete(link) as one, moved_when_complete(target) as other:
        one.write_text("one")
        other.write_text("other")
    assert link.is_symlink()
    assert target.read_text() == "one"
    assert target.stat().st_mode & 0o777 == 0o640
    assert list(target.parent.iterdir()) == [target]


def test_a_device_is_not_replaced(tmp_path):
    (tmp_path / "null.csv").symlink_to("/dev/null")
    with pytest.raises(InvalidInputError, match="not a regular file"):
        check_output(tmp_path / "null.csv", (".csv",))
    with (
        pytest.raises(InvalidInputError, match="not a regular file"),
        moved_when_complete(tmp_path / "null.csv"),
    ):
        pass
