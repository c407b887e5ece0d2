"""Raw tables on the command line: the command as a new user types it, and what comes out."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
from typer.testing import CliRunner  # noqa: E402

import fastmem  # noqa: E402
from fastmem.commands import app  # noqa: E402

TABLES = Path(__file__).parent / "tables"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments, code=0, **extra):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False, **extra)
    assert result.exit_code == code, result.stderr
    return result


def fit(name, label, *more):
    """Fit and give the facts."""
    path = TABLES / name if (TABLES / name).exists() else name
    return json.loads(run("fit", path, "--label", label, "--json", *more).stdout)


def refused(*arguments):
    result = run(*arguments, code=2)
    assert result.stderr.count("\n") == 1
    return result.stderr


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def kinds(facts):
    return {entry["column"]: entry["became"] for entry in facts["columns"]}


ANIMALS = """name,kind,weight,born,seen,tame,note,answer
rex,dog,12.5,2020-01-05,10:30,True,,yes
tom,cat,,2021-03-01,23:15,False,shy,no
pia,cat,4.25,2019-12-31,00:00,True,,yes
bo,bird,0.125,,07:45,,,
kim,dog,30,2020-01-06,12:00,False,,no
"""


@pytest.fixture
def animals():
    path = Path("animals.csv")
    path.write_text(ANIMALS)
    return path


class TestFit:
    def test_first_try(self, animals):
        result = run("fit", animals, "--label", "answer")
        assert "100 % (4 of 4)" in result.stdout
        assert "1 row without a label is left out" in result.stderr
        for word in ("kind", "category of 2 levels", "weight", "and whether it is missing"):
            assert word in result.stdout
        assert Path("animals.npz").exists()

    def test_facts(self, animals):
        facts = fit(animals, "answer", "--seed", 1)
        assert facts["rows_without_label"] == 1
        assert facts["training_accuracy"] == 1
        assert kinds(facts)["seen"] == "time in seconds"
        assert kinds(facts)["note"] == "category of one level, and whether it is missing"
        assert facts["model_file"] == "animals.npz"

    def test_rows_without_a_label_can_be_refused(self, animals):
        said = refused("fit", animals, "--label", "answer", "--unlabelled", "refuse")
        assert "has no label at data row 3" in said

    def test_texts_that_are_views_beside_rows_without_a_label(self, animals):
        """Which Arrow does not filter."""
        from pyarrow import csv, feather, parquet, schema, string_view, types

        table = csv.read_csv(animals, convert_options=csv.ConvertOptions(strings_can_be_null=True))
        views = [
            field.with_type(string_view()) if types.is_string(field.type) else field
            for field in table.schema
        ]
        networks = []
        for name, some in (("texts", table), ("views", table.cast(schema(views)))):
            parquet.write_table(some, f"{name}.parquet")
            feather.write_feather(some, f"{name}.feather", "uncompressed")
            for suffix in ("parquet", "feather"):
                fit(f"{name}.{suffix}", "answer", "--seed", 1, "--out", "net.npz")
                networks.append(Path("net.npz").read_bytes())
        assert len(set(networks)) == 1

    def test_columns_are_chosen(self, animals):
        facts = fit(animals, "answer", "--keep", "kind", "--keep", "weight", "--drop", "kind")
        assert facts["feature_names"] == ["weight", "weight is missing"]
        facts = fit(animals, "answer", "--as", "kind=ordinal", "--as", "name=code")
        assert kinds(facts)["kind"] == "place among 2 levels: cat < dog"
        assert kinds(facts)["name"] == "category of 4 levels, 16 signs"

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--as", "kind"], "give COLUMN=KIND"),
            (["--as", "kind=animal"], "choose among number"),
            (["--drop", "knd"], "did you mean 'kind'?"),
            (["--unlabelled", "x"], "give skip or refuse"),
            (["--as", "kind=number"], "not a number that float64 holds"),
        ],
    )
    def test_choices_that_are_none(self, animals, options, said):
        assert said in refused("fit", animals, "--label", "answer", *options)

    def test_no_label(self, animals):
        assert "needs a label column" in refused("fit", animals)

    def test_a_file_of_the_same_name_is_not_replaced(self, animals):
        np.savez("animals.npz", X=np.zeros((2, 2)), y=[0, 1])
        assert "is there already and is no network" in refused("fit", animals, "--label", "answer")
        Path("animals.npz").unlink()
        for _ in range(2):  # but a network is
            run("fit", animals, "--label", "answer")

    def test_contradictions_are_settled_and_listed(self):
        rows = ["a,b,y"] + ["1,x,no"] * 2 + ["1,x,yes", "2,x,yes", ",x,no"]
        Path("t.csv").write_text("\n".join(rows) + "\n")
        result = run("fit", "t.csv", "--label", "y", "--wrong", "wrong.csv")
        assert "1 row equals others in everything but the label" in result.stderr
        assert rows_of("wrong.csv") == [
            ["row", "label", "network"],
            ["2", "yes", "no"],
        ]
        assert "rows 0 (no) and 2 (yes)" in refused(
            "fit", "t.csv", "--label", "y", "--contradictions", "raise"
        )

    def test_wrong_rows_are_numbered_as_in_the_file(self):
        rows = ["a,y", "1,", "1,no", "1,no", "1,yes", "2,yes"]
        Path("t.csv").write_text("\n".join(rows) + "\n")
        run("fit", "t.csv", "--label", "y", "--wrong", "wrong.csv")
        assert rows_of("wrong.csv")[1] == ["3", "yes", "no"]

    def test_numbers_alone_need_no_encoding(self):
        Path("t.csv").write_text("a,b,y\n1,2,x\n3,4,z\n")
        assert "columns" not in fit("t.csv", "y")
        assert fastmem.load("t.npz").encoding is None

    def test_without_a_header(self):
        Path("t.csv").write_text("x,1,red\ny,2,blue\nx,3,red\n")
        facts = fit("t.csv", 0, "--no-header")
        assert kinds(facts) == {"0": "number", "1": "category of 2 levels, one-hot"}
        Path("new.csv").write_text("1,red\n2,blue\n")
        assert run("predict", "t.npz", "new.csv", "--no-header").stdout == "x\ny\n"

    def test_two_columns_of_one_name(self):
        Path("t.csv").write_text("a,a,y\n1,u,x\n2,v,z\n")
        assert "two columns named 'a'" in refused("fit", "t.csv", "--label", "y")

    def test_many_levels_and_a_memory_limit(self):
        generator = np.random.default_rng(0)
        tails = [f"N{i}" for i in generator.integers(0, 900, 3000)]
        rows = [f"{tail},{i % 7},{i * 7919 % 3000},{i % 3}" for i, tail in enumerate(tails)]
        Path("t.csv").write_text("\n".join(["tail,a,b,y", *rows]) + "\n")
        facts = fit("t.csv", "y", "--seed", 3, "--memory-limit", "400 MB")
        assert facts["training_accuracy"] == 1
        one = fastmem.load("t.npz")
        again = fit("t.csv", "y", "--seed", 3, "--out", "u.npz")
        assert again["hyperplanes"] == facts["hyperplanes"]
        assert Path("t.npz").read_bytes() == Path("u.npz").read_bytes()
        assert one.encoding.columns[0].n_bits == 32


class TestPredict:
    @pytest.fixture
    def net(self, animals):
        run("fit", animals, "--label", "answer", "--seed", 1)
        return "animals.npz"

    def test_the_same_table(self, net, animals):
        result = run("predict", net, animals, "--label", "answer")
        assert [line for i, line in enumerate(result.stdout.split()) if i != 3] == [
            "yes", "no", "yes", "no"
        ]  # fmt: skip
        assert "100 % (4 of 4)" in result.stderr
        assert "Rows without a label, not counted: 1" in result.stderr

    def test_columns_in_another_order_and_more(self, net):
        rows = list(csv.DictReader(ANIMALS.splitlines()))
        names = ["extra", "answer", "tame", "seen", "born", "weight", "kind", "note", "name"]
        with open("new.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, names, restval="0")
            writer.writeheader()
            writer.writerows(rows)
        assert run("predict", net, "new.csv").stdout == run("predict", net, "animals.csv").stdout

    def test_what_is_new_is_told(self, net):
        Path("new.csv").write_text(
            "name,kind,weight,born,seen,tame,note\nrex,emu,1,2020-01-01,10:00,,\n"
        )
        result = run("predict", net, "new.csv")
        assert "column 'kind' has 1 values that the fit did not know ('emu')" in result.stderr
        assert result.stdout in ("yes\n", "no\n")

    def test_what_cannot_be_is_refused(self, net):
        Path("new.csv").write_text(ANIMALS.replace("4.25", "heavy"))
        assert "is 'heavy', which is not a number as at the fit" in refused(
            "predict", net, "new.csv"
        )
        Path("new.csv").write_text("kind,weight\ncat,1\n")
        assert "has no column 'name', 'born', 'seen', 'tame', 'note' of the fit" in refused(
            "predict", net, "new.csv"
        )

    def test_scores(self, net, animals):
        rows = list(csv.reader(run("predict", net, animals, "--scores").stdout.splitlines()))
        assert rows[0] == ["label", "score yes"]
        assert all((float(score) > 0) == (label == "yes") for label, score in rows[1:])
        run("predict", net, animals, "--scores", "--out", "scores.csv")
        assert rows_of("scores.csv") == rows
        assert ".csv" in refused("predict", net, animals, "--scores", "--out", "scores.npy")

    def test_info(self, net):
        facts = json.loads(run("info", net, "--json").stdout)
        assert {entry["column"] for entry in facts["columns"]} >= {"kind", "weight", "note"}
        shown = run("info", net).stdout
        assert "category of 2 levels, one-hot" in shown


PENGUINS = [
    "good.csv", "good.csv.gz", "good.feather", "good.jsonl", "semicolon.csv",
    "semicolon_decimal_comma.csv", "tab.tsv", "utf16.csv", "int_header.csv",
]  # fmt: skip


class TestHandedFiles:
    @pytest.mark.parametrize("name", PENGUINS)
    def test_penguins_in_every_form(self, name):
        facts = fit(name, "species")
        assert facts["samples"] == 333
        assert facts["classes"] == ["Adelie", "Chinstrap", "Gentoo"]
        assert facts["training_accuracy"] == 1

    @pytest.mark.parametrize(
        ("name", "label"),
        [("int_header_all.csv", -1), ("int_header_all.csv", 4), ("int_header.csv", -1)],
    )
    def test_headers_of_numbers_are_no_points(self, name, label):
        facts = fit(name, label)
        assert facts["samples"] == 333
        assert len(facts["classes"]) == 3

    def test_truth_values(self):
        facts = fit("bools.csv", "y")
        assert facts["training_accuracy"] == 1
        assert facts["feature_names"] == ["f1", "f2"]
        assert run("predict", "bools.npz", TABLES / "bools.csv", "--label", "y").exit_code == 0

    def test_dates(self):
        assert kinds(fit("dates.csv", "y"))["when"].startswith("date: days since 2020-01-01")

    def test_thousands(self):
        assert kinds(fit("thousands.csv", "y"))["a"] == "number with thousands"
        net = fastmem.load("thousands.npz")
        assert net.encoding.transform({"a": ["1,000"], "b": ["2"]}).tolist() == [[1000, 2]]

    @pytest.mark.parametrize("name", ["hugeint.csv", "hugeint.parquet", "hugeuint.csv"])
    def test_long_integers_stay_apart(self, name):
        assert fit(name, "y")["training_accuracy"] == 1

    def test_missing_values(self):
        assert "and whether it is missing" in kinds(fit("NA.csv", "y"))["b"]

    def test_marks_are_asked_about(self):
        assert "give --missing '?'" in refused("fit", TABLES / "q.csv", "--label", "y")
        facts = fit("q.csv", "y", "--missing", "?")
        assert "and whether it is missing" in kinds(facts)["b"]

    def test_the_index_is_left_out(self):
        facts = fit("index_col.csv", "y")
        assert facts["features"] == 2
        assert any("left out" in note for note in facts["notes"])

    def test_contradictions(self):
        facts = fit("contradictory.csv", "y")
        assert facts["rows_that_contradict"] == facts["rows_labelled_otherwise"] > 0
        assert facts["training_accuracy"] == 1 - facts["rows_that_contradict"] / facts["samples"]

    def test_labels_as_objects(self):
        assert "array 'y' holds Python objects" in refused(
            "fit", TABLES / "objlabel.npz", "--label", "y"
        )

    def test_the_setting_for_unseen_points_is_exact(self):
        facts = fit("cancer.csv", "target", "--width", 2048, "--margin", 0.5, "--complete")
        assert facts["training_accuracy"] == 1


def test_a_dictionary_of_labels_may_hold_the_missing_one():
    import pyarrow as pa
    from pyarrow import feather

    labels = pa.DictionaryArray.from_arrays([0, 1, 2, 1, 0], ["no", None, "yes"])
    table = pa.table({"a": ["u", "v", "w", "u", "v"], "y": labels})
    feather.write_feather(table, "t.feather")
    facts = fit("t.feather", "y")
    assert facts["rows_without_label"] == 2
    assert facts["classes"] == ["no", "yes"]
    result = run("predict", "t.npz", "t.feather", "--label", "y")
    assert "100 % (3 of 3)" in result.stderr


def test_standard_input(animals):
    text = ANIMALS.encode()
    result = run("fit", "-", "--label", "answer", "--out", "in.npz", input=text)
    assert "100 % (4 of 4)" in result.stdout
    result = run("predict", "in.npz", "-", input=text)
    assert len(result.stdout.split()) == 5


def test_a_name_that_is_no_text(animals):
    odd = os.fsdecode(b"an\xffimals.csv")
    Path(odd).write_text(ANIMALS)
    facts = fit(odd, "answer", "--out", "odd.npz")
    assert facts["training_accuracy"] == 1


class TestExport:
    @pytest.mark.parametrize("form", ["onnx", "h"])
    def test_an_encoded_network_is_checked_on_raw_rows(self, animals, form):
        pytest.importorskip("onnxruntime")
        run("fit", animals, "--label", "answer", "--seed", 1)
        out = f"animals.{form}"
        result = run("export", "animals.npz", "--out", out, "--data", animals, "--label", "answer")
        assert "100 % (4 of 4)" in result.stdout

    def test_from_python(self, animals):
        pytest.importorskip("onnxruntime")
        pandas = pytest.importorskip("pandas")
        run("fit", animals, "--label", "answer", "--seed", 1)
        from fastmem.export import to_onnx

        report = to_onnx(
            fastmem.load("animals.npz"), "a.onnx", pandas.read_csv(animals).dropna(subset="answer")
        )
        assert report.exact
        assert report.n_checked == 4


def test_complexity_of_a_raw_table(animals):
    result = run("complexity", animals, "--label", "answer", "--trials", 1, "--width", 64)
    assert "category of 2 levels" in result.stdout
    assert "1 row without a label is left out" in result.stdout


def test_complexity_for_programs(animals):
    result = run(
        "complexity", animals, "--label", "answer", "--trials", 1, "--width", 64, "--json", "-"
    )
    assert json.loads(result.stdout)["n_samples"] == 4
    assert not Path("-").exists()


def test_decimal_marks_may_differ_between_fit_and_predict():
    rows = ["1,5;x;a", "2,25;y;b", "3;x;b", "4,75;y;a"]
    Path("t.csv").write_text("\n".join(["v;c;y", *rows]) + "\n")
    assert kinds(fit("t.csv", "y"))["v"] == "number"
    expected = run("predict", "t.npz", "t.csv").stdout
    Path("u.csv").write_text("c,v\nx,1.5\ny,2.25\nx,3\ny,4.75\n")
    assert run("predict", "t.npz", "u.csv").stdout == expected == "a\nb\nb\na\n"
