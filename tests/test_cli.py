"""The command line end to end: four formats, refusals of one sentence, pipes, terminals, Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from interrupting import interrupt

pytest.importorskip("typer")
pa = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import fastmem  # noqa: E402
from fastmem.commands import app  # noqa: E402
from fastmem.machine.progress import drawing, remaining, terminal_progress  # noqa: E402

CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
PACKAGE_PARENT = str(Path(fastmem.__file__).parents[1])


def run(*arguments):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def command(*arguments):
    """Give the call of a command in a process of its own."""
    return {
        "args": [sys.executable, "-m", "fastmem.cli", *map(str, arguments)],
        "env": os.environ | {"PYTHONPATH": PACKAGE_PARENT},
    }


def assert_refused(result, *words):
    """Check for exit code 2 and one sentence on standard error that has these words."""
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith(".\n")
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


@pytest.fixture(scope="module")
def flowers():
    """Give 120 points of three classes with text labels."""
    generator = np.random.default_rng(7)
    y = np.repeat(["setosa", "versicolor", "virginica"], 40)
    X = generator.normal(size=(120, 4)) + np.repeat(np.eye(4)[:3] * 3, 40, axis=0)
    order = generator.permutation(120)
    return X[order].round(3), y[order]


@pytest.fixture
def csv_file(tmp_path, flowers):
    """Write the flowers as csv: a header, then the label in the last column."""
    path = tmp_path / "flowers.csv"
    rows = [f"{','.join(map(str, x))},{label}" for x, label in zip(*flowers, strict=True)]
    path.write_text("\n".join(["a,b,c,d,species", *rows]) + "\n")
    return path


@pytest.fixture
def model_file(tmp_path, csv_file):
    """Fit a network to the flowers."""
    path = tmp_path / "flowers.npz"
    assert run("fit", csv_file, "--label", "species", "--out", path, "--seed", 1).exit_code == 0
    return path


class TestFit:
    @pytest.mark.parametrize("label", ["species", "4", "-1"])
    def test_csv_with_text_labels_by_name_and_by_index(self, tmp_path, csv_file, flowers, label):
        out = tmp_path / "net.npz"
        result = run("fit", csv_file, "--label", label, "--out", out)
        assert result.exit_code == 0
        assert result.stderr == ""
        assert "100 % (120 of 120)" in result.stdout
        X, y = flowers
        network = fastmem.load(out)
        np.testing.assert_array_equal(network.predict(X), y)

    def test_relu_is_fitted_and_shown(self, tmp_path, csv_file, flowers):
        out = tmp_path / "net.npz"
        result = run("fit", csv_file, "--label", "species", "--activation", "relu", "--out", out)
        assert result.exit_code == 0
        assert "100 % (120 of 120)" in result.stdout
        assert re.search(r"activation +relu", result.stdout)
        assert re.search(r"activation +relu", run("info", out).stdout)
        np.testing.assert_array_equal(fastmem.load(out).predict(flowers[0]), flowers[1])
        refused = run("fit", csv_file, "--label", "species", "--activation", "sign", "--out", out)
        assert_refused(refused, "activation is 'sign'", "pass 'threshold' or 'relu'")

    def test_csv_without_header_label_first(self, tmp_path, flowers):
        X, y = flowers
        path = tmp_path / "plain.csv"
        np.savetxt(path, np.column_stack([y, X]), fmt="%s", delimiter=", ")
        assert run("fit", path, "--label", 0, "--out", tmp_path / "net.npz").exit_code == 0
        np.testing.assert_array_equal(fastmem.load(tmp_path / "net.npz").predict(X), y)

    def test_csv_with_a_header_of_numbers(self, tmp_path, flowers):
        X, y = flowers
        path = tmp_path / "pandas.csv"
        np.savetxt(path, np.column_stack([X, y]), fmt="%s", delimiter=",", header="0,1,2,3,y",
                   comments="")  # fmt: skip
        assert run("fit", path, "--label", "y", "--out", tmp_path / "net.npz").exit_code == 0
        np.testing.assert_array_equal(fastmem.load(tmp_path / "net.npz").predict(X), y)

    @pytest.mark.parametrize(
        ("texts", "expected"),
        [
            (["1", "0"], np.array([0, 1])),
            (["-3", "12345678901"], np.array([-3, 12345678901])),
            (["1.0", "2.0"], np.array([1.0, 2.0])),
            (["01", "1"], np.array(["01", "1"])),
            (["true", "false"], np.array(["false", "true"])),
            (["n/a", "x, y"], np.array(["n/a", "x, y"])),
            (["1e3", "1000"], np.array(["1000", "1e3"])),
            (["2.0", "2.00"], np.array(["2.0", "2.00"])),
            (["1E2", "7"], np.array(["1E2", "7"])),
            (["1", "2.5"], np.array(["1", "2.5"])),
            (["-0", "1"], np.array(["-0", "1"])),
            (["inf", "1.0"], np.array(["1.0", "inf"])),
            (
                ["12345678901234567890", "12345678901234567891"],
                np.array([12345678901234567890, 12345678901234567891], np.uint64),
            ),
            (["-9223372036854775808", "9223372036854775807"], np.array([-(2**63), 2**63 - 1])),
            (["-1", "9223372036854775808"], np.array(["-1", "9223372036854775808"])),
            (
                ["98765432109876543210", "98765432109876543211"],
                np.array(["98765432109876543210", "98765432109876543211"]),
            ),
            (["a\nb", 'say ""hi""'], np.array(["a\nb", 'say "hi"'])),
        ],
    )
    def test_csv_labels_keep_what_they_are(self, tmp_path, texts, expected):
        path = tmp_path / "data.csv"
        path.write_text("x,y\n" + "".join(f'{i},"{texts[i % 2]}"\n' for i in range(8)))
        assert run("fit", path, "--label", "y", "--out", tmp_path / "net.npz").exit_code == 0
        classes = fastmem.load(tmp_path / "net.npz").classes_
        assert classes.dtype.kind == expected.dtype.kind
        np.testing.assert_array_equal(np.sort(classes), expected)

    def test_csv_of_other_systems(self, tmp_path):
        path = tmp_path / "data.csv"
        path.write_bytes(b'\xef\xbb\xbf\r\n"first\r\nline",y\r\n1,a\r\n2,b\r\n\r\n3,a\r\n')
        assert run("fit", path, "--label", "y", "--out", tmp_path / "net.npz").exit_code == 0
        network = fastmem.load(tmp_path / "net.npz")
        assert network.predict(np.array([[1.0], [2.0], [3.0]])).tolist() == ["a", "b", "a"]

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
    def test_npy(self, tmp_path, flowers, dtype):
        X = (flowers[0] * 100).astype(dtype)
        y = np.unique(flowers[1], return_inverse=True)[1]
        path = tmp_path / "data.npy"
        np.save(path, np.column_stack([X, y.astype(dtype)]))
        assert run("fit", path, "--label", -1, "--out", tmp_path / "net.npz").exit_code == 0
        network = fastmem.load(tmp_path / "net.npz")
        np.testing.assert_array_equal(network.predict(X), y)

    @pytest.mark.parametrize("label", [[], ["--label", "y"]])
    def test_npz(self, tmp_path, flowers, label):
        X, y = flowers
        path = tmp_path / "data.npz"
        np.savez(path, X=X.astype(np.float32), y=y)
        out = tmp_path / "net.npz"
        assert run("fit", path, *label, "--out", out).exit_code == 0
        np.testing.assert_array_equal(fastmem.load(out).predict(X.astype(np.float32)), y)

    @pytest.mark.parametrize("as_dictionary", [False, True])
    def test_parquet(self, tmp_path, flowers, as_dictionary):
        X, y = flowers
        labels = pa.array(y.tolist())
        columns = {"species": labels.dictionary_encode() if as_dictionary else labels}
        columns |= {"i": pa.array((X[:, 0] * 1000).round().astype(np.int64))}
        columns |= {name: pa.array(X[:, k]) for k, name in enumerate("abcd")}
        columns |= {"b32": pa.array(X[:, 1].astype(np.float32)), "flag": pa.array(X[:, 2] > 0)}
        path = tmp_path / "data.parquet"
        parquet.write_table(pa.table(columns), path)
        result = run("fit", path, "--label", "species", "--out", tmp_path / "net.npz")
        assert result.exit_code == 0
        assert "100 %" in result.stdout
        result = run("predict", tmp_path / "net.npz", path, "--label", "species")
        assert result.stdout.split() == y.tolist()

    def test_parquet_of_pandas_without_its_index(self, tmp_path, flowers):
        pandas = pytest.importorskip("pandas")
        X, y = flowers
        frame = pandas.DataFrame(X, columns=list("abcd")).assign(y=y)
        frame.index = pandas.Index([f"flower {i}" for i in range(len(X))], name="name")
        frame.to_parquet(tmp_path / "data.parquet")
        out = tmp_path / "net.npz"
        assert run("fit", tmp_path / "data.parquet", "--label", -1, "--out", out).exit_code == 0
        np.testing.assert_array_equal(fastmem.load(out).predict(X), y)

    def test_options_reach_the_fit(self, tmp_path, csv_file):
        out = tmp_path / "net.npz"
        result = run("fit", csv_file, "--label", "species", "--out", out, "--width", 200,
                     "--selection", "random", "--max-bias", 7.5, "--covered", "setosa",
                     "--covered", "virginica", "--no-center", "--seed", 11,
                     "--projection", "structured", "--threads", 1)  # fmt: skip
        assert result.exit_code == 0
        assert "setosa, virginica" in result.stdout
        assert re.search(r"seed +11\n", re.sub(" +\n", "\n", result.stdout))
        from fastmem.tables import read_table

        X, y = read_table(csv_file, "species", labels_required=True)
        same = fastmem.interpolate(X, y, width=200, selection="random", max_bias=7.5,
                                   covered=["setosa", "virginica"], center=False,
                                   projection="structured",
                                   seed=11, n_threads=1)  # fmt: skip
        network = fastmem.load(out)
        assert re.search(r"projection +structured", run("info", out).stdout)
        np.testing.assert_array_equal(network.first.weights, same.first.weights)
        np.testing.assert_array_equal(network.second.masks, same.second.masks)
        assert network.covered == (0, 2)

    def test_the_memory_limit_reaches_the_fit(self, tmp_path, csv_file, monkeypatch):
        settings = ("fit", csv_file, "--label", "species", "--out", tmp_path / "net.npz")
        result = run(*settings, "--memory-limit", "1 MB")
        assert result.exit_code == 2
        assert "memory_limit is 1,000,000 bytes, but" in " ".join(result.stderr.split())
        monkeypatch.setattr(fastmem.inputs.settings, "MEMORY_BESIDE", 0)
        for limit in ("32000", "32 kB"):
            result = run(*settings, "--memory-limit", limit, "--width", 1000)
            assert result.exit_code == 0
            assert "temporary file" in result.stdout

    def test_covered_takes_integer_labels(self, tmp_path):
        path = tmp_path / "data.csv"
        path.write_text("".join(f"{i},{i % 3 + 5}\n" for i in range(30)))
        out = tmp_path / "net.npz"
        run("fit", path, "--label", 1, "--covered", 5, "--covered", 7, "--out", out)
        assert fastmem.load(out).covered == (0, 2)

    def test_points_that_are_not_separated_are_reported(self, tmp_path):
        path = tmp_path / "data.npz"
        y = np.arange(100) % 2
        np.savez(path, X=np.arange(100.0)[:, None], y=y)
        out = tmp_path / "net.npz"
        result = run("fit", path, "--width", 3, "--seed", 0, "--out", out)
        assert result.exit_code == 0
        wrong = int((fastmem.load(out).predict(np.arange(100.0)[:, None]) != y).sum())
        assert wrong > 0
        assert result.stderr.startswith(f"Warning: {wrong} of 100 points")
        assert result.stderr.count("\n") == 1
        assert f"({100 - wrong} of 100)" in result.stdout


class TestPredict:
    def test_labels_one_a_line(self, model_file, csv_file, tmp_path, flowers):
        X, y = flowers
        np.save(tmp_path / "points.npy", X)
        result = run("predict", model_file, tmp_path / "points.npy")
        assert result.exit_code == 0
        assert result.stdout == "".join(f"{label}\n" for label in y)
        assert result.stderr == ""

    def test_label_column_is_dropped_and_scored(self, model_file, csv_file, flowers):
        result = run("predict", model_file, csv_file, "--label", "species")
        assert result.stdout.split() == flowers[1].tolist()
        assert result.stderr == "Accuracy: 100 % (120 of 120)\n"

    def test_unknown_labels_count_as_wrong(self, model_file, tmp_path):
        path = tmp_path / "other.csv"
        path.write_text("a,b,c,d,y\n3,0,0,0,rose\n3,0,0,0,setosa\n")
        result = run("predict", model_file, path, "--label", "y")
        assert result.stderr == "Accuracy: 50.0000 % (1 of 2)\n"

    @pytest.mark.parametrize(
        ("fitted", "asked", "right"),
        [
            ([1, 2], ["1", "2", "rose"], 2),
            ([1.0, 2.0], ["1", "2.0", "rose"], 2),
            ([False, True], ["False", "True", "rose"], 2),
            (["1", "two"], [1.0, 2.0, 3.0], 1),
            (["1", "2.5", "two"], ["1.0", "2.5", "2.5"], 2),
        ],
    )
    def test_labels_agree_with_their_texts(self, tmp_path, fitted, asked, right):
        X = np.arange(3.0)[:, None]
        fastmem.interpolate(X[: len(fitted)], fitted, seed=0).save(tmp_path / "net.npz")
        rows = [f"{x},{label}" for x, label in zip(X[:, 0], asked, strict=True)]
        (tmp_path / "asked.csv").write_text("\n".join(["x,y", *rows]))
        result = run("predict", tmp_path / "net.npz", tmp_path / "asked.csv", "--label", "y")
        assert result.stderr.startswith("Accuracy: ")
        assert f"({right} of 3)" in result.stderr

    def test_csv_and_npy_out(self, model_file, tmp_path, flowers):
        X, y = flowers
        np.savez(tmp_path / "points.npz", X=X)
        for suffix in ("csv", "npy"):
            out = tmp_path / f"labels.{suffix}"
            out.write_text("older")
            result = run("predict", model_file, tmp_path / "points.npz", "--out", out)
            assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
        lines = (tmp_path / "labels.csv").read_text().splitlines()
        assert lines == ["label", *y]
        np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), y)
        assert not list(tmp_path.glob(".*"))

    def test_a_closed_pipe_ends_it_quietly(self, model_file, tmp_path):
        np.save(tmp_path / "many.npy", np.zeros((200_000, 4), np.float32))
        child = subprocess.Popen(
            **command("predict", model_file, tmp_path / "many.npy"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert child.stdout is not None and child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b""
        child.stderr.close()
        assert child.wait(1000) != 0


class TestInfo:
    def test_facts(self, model_file):
        result = run("info", model_file)
        assert result.exit_code == 0
        network = fastmem.load(model_file)
        text = re.sub(" +", " ", result.stdout)
        assert f"hyperplanes {network.widths[0]:,}" in text
        assert f"neurons {network.widths[1]:,}" in text
        assert f"parameters {network.n_parameters:,}" in text
        assert "3 (setosa, versicolor, virginica)" in text


class TestDemo:
    def test_report_and_picture(self, tmp_path):
        pytest.importorskip("matplotlib")
        out = tmp_path / "demo.png"
        result = run("demo", "--samples", 3000, "--width", 256, "--out", out)
        assert result.exit_code == 0
        assert "3,000" in result.stdout
        assert "100 % (3,000 of 3,000)" in result.stdout
        assert out.read_bytes().startswith(b"\x89PNG")
        assert [path.name for path in tmp_path.iterdir()] == ["demo.png"]

    def test_no_picture(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        result = run("demo", "--samples", 500, "--width", "auto", "--no-picture")
        assert result.exit_code == 0
        assert list(tmp_path.iterdir()) == []

    def test_without_matplotlib_it_says_so_and_goes_on(self, tmp_path, monkeypatch):
        for name in [n for n in sys.modules if n.split(".")[0] == "matplotlib"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        out = tmp_path / "demo.png"
        result = run("demo", "--samples", 500, "--width", 256, "--out", out)
        assert result.exit_code == 0
        assert "100 %" in result.stdout
        assert result.stderr.count("\n") == 1
        assert 'pip install "fastmem-nets[plot]"' in result.stderr
        assert not out.exists()


class TestRefusals:
    """Bad input of any kind: exit code 2 and one sentence that names it."""

    @pytest.mark.parametrize(
        ("content", "label", "words"),
        [
            ("", "y", ["is empty"]),
            ("\n\n", "y", ["is empty"]),
            ("x,y\n", "y", ["no rows"]),
            ("x,y\n1,a\n2,b\n", "z", ["'z'", "'x', 'y'"]),
            ("x,y\n1,a\n2,b\n", "2", ["'2'", "0 to 1"]),
            ("x,y\n1,a\n2,b\n", "-3", ["'-3'"]),
            ("1,2\n3,4\n", "y", ["'y'", "no names"]),
            ("x,x\n1,a\n2,b\n", "x", ["two columns named 'x'"]),
            ("x,y\n,a\n,b\n", "y", ["no column that tells its rows apart", "no values"]),
            ("x,y\n1,\n2,\n", "y", ["no row with a label in column 'y'"]),
            ("x,y\n1,a\n2,  \n", "y", ["one class"]),
            ("x,y\n1,a\n?,b\n", "y", ["'?' among numbers", "--missing '?'"]),
            ("x,y\n1,a\n2,b,c\n", "y", ["3 cells in line 3", "2", "'2,b,c'", "--delimiter"]),
            ("x,y\n1,a\n2,NA\n", "y", ["one class"]),
            ("x,y\n1,a\n1,b\n", "y", ["one class once equal points"]),
            ("x,y\n1,a\n2,a\n", "y", ["one class"]),
            ("x,y\n1,0.5\n2,1.5\n", "y", ["0.5"]),
            ("y\na\nb\n", "y", ["no column beside the labels"]),
            ("x;y\n1;a\n2;b\n", "x;y", ["no column 'x;y'", "'x', 'y'"]),
            ("x,y\n1,a\n2,b\n", None, ["--label"]),
        ],
    )
    def test_csv(self, tmp_path, content, label, words):
        path = tmp_path / "data.csv"
        path.write_text(content)
        out = tmp_path / "net.npz"
        option = [] if label is None else ["--label", label]
        assert_refused(run("fit", path, *option, "--out", out), *words)
        assert not out.exists()

    def test_files(self, tmp_path, flowers):
        X, y = flowers
        out = tmp_path / "net.npz"

        def refused(name, *words, label=("--label", "0")):
            assert_refused(run("fit", tmp_path / name, *label, "--out", out), name, *words)

        refused("missing.csv", "does not exist")
        (tmp_path / "folder.csv").mkdir()
        refused("folder.csv", "not a file")
        (tmp_path / "data.xlsx").write_text("x")
        refused("data.xlsx", "cannot be read")
        (tmp_path / "data.docx").write_text("x")
        refused("data.docx", "'.docx'", ".parquet")
        (tmp_path / "data").write_text("x")
        refused("data", "suffix ''")
        (tmp_path / "koi8.csv").write_bytes("x,y\n1,кошка\n2,пёс\n".encode("koi8-r"))
        refused("koi8.csv", "cannot be read as UTF-8, because line 2 holds", "--encoding")
        for suffix in ("npy", "npz", "parquet"):
            (tmp_path / f"empty.{suffix}").write_bytes(b"")
            refused(f"empty.{suffix}")
            (tmp_path / f"noise.{suffix}").write_bytes(bytes(range(256)) * 4)
            refused(f"noise.{suffix}")
        np.save(tmp_path / "pickle.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
        refused("pickle.npy", "cannot be read")
        np.savez(tmp_path / "pickle.npz", X=X, y=y.astype(object))
        refused("pickle.npz", "cannot be read", label=())
        np.savez(tmp_path / "names.npz", data=X, labels=y)
        refused("names.npz", "no array X", "'data', 'labels'")
        np.savez(tmp_path / "points.npz", X=X)
        refused("points.npz", "--label", label=())
        np.save(tmp_path / "flat.npy", np.arange(5.0))
        refused("flat.npy", "2-D")
        np.save(tmp_path / "structured.npy", np.zeros((3, 2), [("x", float)]))
        refused("structured.npy", "2-D")
        points = pa.array([[{"a": 1}], [{"a": 2}]])
        parquet.write_table(pa.table({"x": points, "y": [0, 1]}), tmp_path / "nested.parquet")
        refused("nested.parquet", "'x'", "not a number", label=("--label", "y"))
        np.savez(tmp_path / "good.npz", X=X, y=y)
        data = bytearray((tmp_path / "good.npz").read_bytes())
        data[len(data) // 2] ^= 255
        (tmp_path / "flipped.npz").write_bytes(data)
        refused("flipped.npz", "cannot be read", label=())
        (tmp_path / "short.npz").write_bytes(data[: len(data) // 2])
        refused("short.npz", label=())
        np.savez(tmp_path / "nan.npz", X=np.where(X[3, 2] == X, np.nan, X), y=y)
        result = run("fit", tmp_path / "nan.npz", "--out", out)
        assert_refused(result, "X[3, 2]", "nan")
        np.savez(tmp_path / "short_y.npz", X=X, y=y[:-1])
        assert_refused(run("fit", tmp_path / "short_y.npz", "--out", out), "119", "120")
        assert not out.exists()

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--width", "many"], ["--width", "'many'"]),
            (["--width", "0"], ["0"]),
            (["--width", "-5"], ["-5"]),
            (["--max-bias", "big"], ["--max-bias", "'big'"]),
            (["--max-bias", "nan"], ["nan"]),
            (["--selection", "merged"], ["'merged'"]),
            (["--projection", "fast"], ["'fast'"]),
            (["--covered", "rose"], ["'rose'"]),
            (["--covered", "setosa", "--covered", "setosa"], ["setosa"]),
            (["--seed", "x"], ["--seed"]),
            (["--seed", "-1"], ["-1"]),
            (["--threads", "0"], ["0"]),
            (["--treads", "1"], ["--treads"]),
            (["--out", "net.pickle"], ["'.pickle'"]),
            (["--out", "nowhere/net.npz"], ["nowhere"]),
        ],
    )
    def test_options(self, tmp_path, monkeypatch, csv_file, options, words):
        monkeypatch.chdir(tmp_path)
        result = run("fit", csv_file, "--label", "species", "--out", "net.npz", *options)
        assert_refused(result, *words)
        assert [path.name for path in tmp_path.iterdir()] == ["flowers.csv"]

    @pytest.mark.parametrize(
        "arguments",
        [[], ["guess"], ["--colour"], ["fit"], ["fit", "data.csv"], ["predict", "x"], ["info"],
         ["info", "missing.npz"], ["info", "."], ["demo", "--samples", "1"],
         ["demo", "--samples", "x"], ["demo", "--out", "picture.txt"], ["demo", "--width", "x"],
         ["demo", "--out", "no/where.png"]],
    )  # fmt: skip
    def test_calls(self, arguments, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert_refused(run(*arguments))

    def test_models(self, tmp_path, model_file, csv_file, flowers):
        X, y = flowers
        bad = tmp_path / "bad.npz"
        for content in (b"", b"PK", model_file.read_bytes()[:-100]):
            bad.write_bytes(content)
            assert_refused(run("info", bad), "bad.npz")
            assert_refused(run("predict", bad, csv_file), "bad.npz")
        np.savez(bad, X=X, y=y)
        assert_refused(run("info", bad), "bad.npz")
        np.save(tmp_path / "wide.npy", np.zeros((3, 5)))
        assert_refused(run("predict", model_file, tmp_path / "wide.npy"), "5", "4")
        assert_refused(run("predict", model_file, csv_file), "'species'", "--label")
        points = tmp_path / "points.npz"
        np.savez(points, X=X)
        assert_refused(run("predict", model_file, points, "--label", "z"), "'z'")
        np.savez(tmp_path / "hot.npz", X=X, y=np.zeros((len(X), 3)))
        hot = run("predict", model_file, tmp_path / "hot.npz", "--label", "y")
        assert_refused(hot, "(120, 3)", "one label a point")
        assert_refused(run("predict", model_file, points, "--out", "labels.txt"), "'.txt'")
        assert_refused(run("predict", model_file, points, "--out", tmp_path), "suffix")

    def test_nothing_is_written_over_its_input(self, tmp_path, model_file, csv_file, flowers):
        data = tmp_path / "data.npz"
        np.savez(data, X=flowers[0], y=flowers[1])
        (tmp_path / "link.npz").symlink_to(data)
        before = data.read_bytes(), csv_file.read_bytes()
        label = "--label", "species"
        for arguments in (
            ("fit", data, "--out", data),
            ("fit", data, "--out", tmp_path / "link.npz"),
            ("fit", tmp_path / "link.npz", "--out", data),
            ("predict", model_file, csv_file, *label, "--out", csv_file),
            ("complexity", csv_file, *label, "--points", csv_file),
        ):
            assert_refused(run(*arguments), "another file")
        assert (data.read_bytes(), csv_file.read_bytes()) == before

    def test_directories_that_may_not_be_written(self, tmp_path, csv_file, monkeypatch):
        monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
        result = run("fit", csv_file, "--label", "species", "--out", tmp_path / "net.npz")
        assert_refused(result, "write-protected")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
    def test_a_full_disk(self, tmp_path, model_file, csv_file):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                **command("predict", model_file, csv_file, "--label", "species"),
                stdout=full, stderr=subprocess.PIPE, text=True, timeout=1000, check=False,
            )  # fmt: skip
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert "No space left on device" in done.stderr


class TestProcess:
    """What needs a process of its own: pipes, terminals, signals and missing packages."""

    def test_piped_output_has_no_progress_and_the_shell_gets_the_code(self, tmp_path, csv_file):
        out = tmp_path / "net.npz"
        done = subprocess.run(
            **command("fit", csv_file, "--label", "species", "--out", out),
            capture_output=True, text=True, timeout=1000, check=True,
        )  # fmt: skip
        assert done.stderr == ""
        assert not CONTROL_CHARACTERS.search(done.stdout)
        done = subprocess.run(
            **command("predict", out, tmp_path / "none.npy"),
            capture_output=True, text=True, timeout=1000, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)

    @pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
    def test_a_terminal_gets_progress_bars(self, tmp_path):
        import pty

        leader, follower = pty.openpty()
        child = subprocess.Popen(
            **command("demo", "--samples", 20_000, "--width", 512, "--no-picture"),
            stdout=subprocess.DEVNULL, stderr=follower,
        )  # fmt: skip
        os.close(follower)
        shown = b""
        try:
            while part := os.read(leader, 1 << 16):
                shown += part
        except OSError:  # Linux says so when the other end is closed.
            pass
        os.close(leader)
        assert child.wait(1000) == 0
        assert b"points uncovered" in shown
        assert b"neurons" in shown

    @pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
    def test_ctrl_c_ends_a_long_fit_and_leaves_no_file(self, tmp_path):
        generator = np.random.default_rng(0)
        X = generator.standard_normal((60_000, 30), dtype=np.float32)
        np.savez(tmp_path / "data.npz", X=X, y=generator.integers(0, 2, len(X)))
        child = subprocess.Popen(
            **command("fit", tmp_path / "data.npz", "--out", tmp_path / "net.npz"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            # A shell that starts the tests in the background has SIGINT ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        stdout, stderr = interrupt(child, after=5.0, most=4.0)
        assert child.returncode == 130
        assert stdout == ""
        assert stderr == "Interrupted: no file was written.\n"
        assert [path.name for path in tmp_path.iterdir()] == ["data.npz"]

    @pytest.mark.parametrize("package", ["typer", "rich"])
    def test_without_the_extra_it_names_the_remedy(self, package):
        code = f"import sys; sys.modules[{package!r}] = None; from fastmem.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code], env=command()["env"],
            capture_output=True, text=True, timeout=1000, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert package in done.stderr
        assert 'pip install "fastmem-nets[cli]"' in done.stderr

    def test_help_imports_nothing_heavy(self):
        code = (
            "import sys; sys.argv[1:] = ['--help']\n"
            "from fastmem.cli import main\n"
            "try: main()\n"
            "except SystemExit as end: assert not end.code\n"
            "heavy = {'pyarrow', 'matplotlib', 'pandas', 'polars', 'sklearn'} & set(sys.modules)\n"
            "assert not heavy, heavy"
        )
        subprocess.run(
            [sys.executable, "-c", code], env=command()["env"],
            stdout=subprocess.DEVNULL, timeout=1000, check=True,
        )  # fmt: skip


def test_version():
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"fastmem {fastmem.__version__}\n")


class TestTerminalProgress:
    def test_does_nothing_where_there_is_no_terminal(self, capfd):
        with terminal_progress() as show:
            show("selection", 1, 2, 3)
        assert capfd.readouterr() == ("", "")

    def test_needs_rich_on_a_terminal(self, monkeypatch):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        monkeypatch.setitem(sys.modules, "rich.console", None)
        with (
            pytest.raises(fastmem.InvalidInputError, match=r"fastmem-nets\[cli\]"),
            terminal_progress(),
        ):
            pytest.fail("the context must not be entered")

    def test_says_that_the_seconds_left_are_those_of_a_stage(self, monkeypatch):
        shown = []
        clock = iter([0.0, 10.0])
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        monkeypatch.setattr("fastmem.machine.progress.time.monotonic", lambda: next(clock))
        monkeypatch.setattr(
            "rich.progress.Progress.update",
            lambda self, task, **fields: shown.append(fields["detail"]),
        )
        monkeypatch.setattr("rich.progress.Progress.__enter__", lambda self: self)
        monkeypatch.setattr("rich.progress.Progress.__exit__", lambda *_: None)
        monkeypatch.setattr("rich.progress.Progress.add_task", lambda *_, **__: 0)
        with terminal_progress() as show:
            show("points", 0, 100, 0)
            show("points", 50, 100, 0)
        assert shown[-1] == "50 of 100 points, about 10 s left of this stage"


class TestDrawing:
    def test_a_callable_is_called(self):
        calls = []
        with drawing(lambda *arguments: calls.append(arguments)) as tell:
            tell("neurons", 1, 2, 3)
        assert calls == [("neurons", 1, 2, 3)]

    def test_the_time_left_is_in_proportion(self):
        assert remaining(10.0, 25, 100) == 30.0
        assert remaining(10.0, 0, 100) is None
        assert remaining(0.1, 25, 100) is None
        assert remaining(10.0, 100, 100) is None

    @pytest.mark.parametrize("progress", [False, True])
    def test_nothing_reaches_a_pipe(self, progress, capfd):
        with drawing(progress) as tell:
            tell("neurons", 1, 2, 3)
        assert capfd.readouterr() == ("", "")


def test_warmup_tells_what_it_did():
    assert run("warmup").exit_code == 0
    again = run("warmup")
    assert again.exit_code == 0
    assert again.stdout == "All kernels were compiled already.\n"
