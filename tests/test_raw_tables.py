"""Raw tables: every way to write one gives the same rows, and what is wrong is said in a sentence.

The files in ``tests/tables`` were written by others' programs: pandas, R, Excel's csv.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip("typer")
pa = pytest.importorskip("pyarrow")
from fuzzing import PRINTABLE, xlsx_bytes
from pyarrow import feather, ipc, parquet

from fastmem import InvalidInputError
from fastmem.inputs import Wording
from fastmem.tables import (
    RawTable,
    ReadingOptions,
    delimited,
    load_table,
    open_raw,
    sources,
    stream_table,
)
from fastmem.tables.columns import LabelColumn, file_wording
from fastmem.tables.numbers import numeric_batches

FILES = Path(__file__).parent / "tables"
PENGUINS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "species"]
SPECIES = ["Adelie"] * 146 + ["Gentoo"] * 119 + ["Chinstrap"] * 68


@pytest.fixture(scope="module")
def penguins():
    """The points and labels of good.csv, by another reader."""
    columns = np.genfromtxt(FILES / "good.csv", delimiter=",", skip_header=1, usecols=range(4))
    labels = np.genfromtxt(FILES / "good.csv", delimiter=",", skip_header=1, usecols=4, dtype=str)
    return columns, labels


def read(path, label=None, options=None):
    """Give points, labels and names of a table of numbers, and check that both ways agree."""
    table = load_table(path, label, labels_required=label is not None, options=options)
    points = table.points.block(0, table.points.n_samples)
    blocks = list(stream_table(path, label, None, options=options).blocks)
    np.testing.assert_array_equal(np.concatenate([block for block, _ in blocks]), points)
    labels = None if label is None else table.labels[:]
    return points, labels, table.points.feature_names


def cells(raw):
    """Give the rows of a raw table, and check that it can be read twice."""
    once = [list(row.values()) for batch in raw.batches() for row in rows_of(batch)]
    assert once == [list(row.values()) for batch in raw.batches() for row in rows_of(batch)]
    return once


def rows_of(batch):
    names = [str(j) for j in range(batch.num_columns)]  # the table's own may repeat
    return pa.RecordBatch.from_arrays(batch.columns, names=names).to_pylist()


def table(tmp_path, content, name="data.csv", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    label = options.pop("label", None)
    return open_raw(path, ReadingOptions(**options), label=label)


def refusal(path, label=None, **options):
    with pytest.raises(InvalidInputError) as caught:
        read(path, label, ReadingOptions(**options))
    assert PRINTABLE.fullmatch(str(caught.value))
    return str(caught.value)


# The files that failed ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("good.csv", "species"), ("good.csv.gz", "species"), ("good.feather", "species"),
        ("good.jsonl", "species"), ("good.xlsx", "species"), ("semicolon.csv", "species"),
        ("semicolon_decimal_comma.csv", "species"), ("tab.tsv", "species"),
        ("utf16.csv", "species"), ("good.csv", "-1"), ("good.jsonl", "4"),
        ("int_header_all.csv", "-1"), ("int_header_all.csv", "4"), ("int_header.csv", "species"),
        ("int_header.csv", "-1"), ("int_header.csv", "4"),
    ],
)  # fmt: skip
def test_penguins_are_the_same_in_every_file(name, label, penguins):
    points, labels, names = read(FILES / name, label)
    np.testing.assert_array_equal(points, penguins[0])
    assert points.dtype == np.float64
    assert labels.tolist() == penguins[1].tolist() == SPECIES
    assert names == (list("0123") if name.startswith("int_") else PENGUINS[:4])
    raw = open_raw(FILES / name, label=label)
    assert raw.has_header and len(raw.names) == 5
    assert [row[4] for row in cells(raw)] == SPECIES


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("good.csv", None),
        ("semicolon.csv", "the delimiter is ';'"),
        ("semicolon_decimal_comma.csv", "the decimal mark is ','"),
        ("tab.tsv", None),
        ("utf16.csv", "read as utf-16, as its first bytes say"),
        ("index_col.csv", "column 0, without a name, numbers or names the rows and is left out"),
    ],
)
def test_what_was_found_out_is_noted(name, note):
    notes = open_raw(FILES / name).notes
    assert (note in notes) if note else not notes


def test_the_other_files(penguins):
    points, labels, _ = read(FILES / "cancer.csv", "target")
    assert points.shape == (100, 30) and points[0, 0] == 17.99 and labels.sum() == 35
    points, labels, _ = read(FILES / "contradictory.csv", "y")
    assert points.shape == (1000, 4) and np.unique(labels).tolist() == [1, 2, 3, 4, 5]
    points, labels, names = read(FILES / "bools.csv", "y")
    assert points.tolist() == [[1, 1], [0, 1], [1, 0], [0, 0]] and names == ["f1", "f2"]
    assert labels.tolist() == ["True", "False", "False", "True"]
    points, labels, names = read(FILES / "index_col.csv", "y")
    assert points.tolist() == [[1, 2], [2, 3], [1, 2]] and names == ["a", "b"]
    assert labels.tolist() == ["x", "z", "z"]
    raw = open_raw(FILES / "q.csv", ReadingOptions(missing=("?",)))
    assert cells(raw) == [["1", None, "x"], ["2", "3", "z"]]
    assert cells(open_raw(FILES / "NA.csv")) == [["1", None, "x"], ["2", "3", "z"]]
    assert cells(open_raw(FILES / "thousands.csv"))[0] == ["1,000", "2", "x"]
    assert cells(open_raw(FILES / "dates.csv"))[0] == ["2020-01-01", "0", "a"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NA.csv", ["column 'b'", "no value at data row 0"]),
        ("q.csv", ["'?' in column 'b', data row 0", "line 2", "--missing '?'", "fastmem fit"]),
        ("dates.csv", ["'2020-01-01' in column 'when', data row 0", "a date", "fastmem fit"]),
        ("thousands.csv", ["'1,000' in column 'a'", "thousands", "fastmem fit"]),
        ("hugeint.csv", ["data row 0", "'id', is 9007199254740993", "exactly", "offset"]),
        ("hugeint.parquet", ["data row 0", "'id', is 9007199254740993", "exactly", "offset"]),
        ("hugeuint.csv", ["data row 0", "'id', is 18446744073709551615", "exactly"]),
        ("objlabel.npz", ["array 'y'", "Python objects", "numpy.array(y.tolist())"]),
    ],
)
def test_numbers_alone_are_taken_where_only_they_are(name, words):
    sentence = refusal(FILES / name, None if name.endswith(".npz") else "y")
    assert all(word in sentence for word in [name, *words]), sentence


# Texts as numbers --------------------------------------------------------------------------------


def test_no_whole_number_is_rounded(tmp_path):
    for text, value in (
        ("9007199254740992", 2.0**53), ("-9007199254740994", -(2.0**53) - 2),
        ("9007199254740994.0", 2.0**53 + 2), ("1e23", 1e23), ("0.1", 0.1),
        ("1.2345678901234567e+19", 1.2345678901234567e19), ("3.14159265358979323846", np.pi),
        ("100000000000000000000", 1e20), ("5e-324", 5e-324),
    ):  # fmt: skip
        (tmp_path / "data.csv").write_text(f"x,y\n0,a\n{text},b\n")
        assert read(tmp_path / "data.csv", "y")[0].tolist() == [[0.0], [value]]
    for text in ("9007199254740993", "-9007199254740993", "+9007199254740993", "9007199254740993.0",
                 "100000000000000000001", "9" * 40):  # fmt: skip
        (tmp_path / "data.csv").write_text(f"x,y\n0,a\n{text},b\n")
        assert "data row 1 (the first is 0), column 'x', is " in refusal(tmp_path / "data.csv", "y")
    (tmp_path / "data.csv").write_text("x;y\n0,5;a\n9007199254740993,0;b\n")
    assert "is 9007199254740993" in refusal(tmp_path / "data.csv", "y")


def test_what_is_wrong_late_does_not_change_the_rows_before(tmp_path, monkeypatch):
    """Numbers are read as such until one is not plain; then its texts, from the first row on."""
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 256)
    rows = [f"{i}.5,{i % 7},{'ab'[i % 2]}" for i in range(400)]
    rows[300] = f"9007199254740994,{300 % 7},a"
    rows[310] = " 1e3 ,3,b "
    (tmp_path / "data.csv").write_text("\n".join(["x,z,y", *rows]))
    points, labels, _ = read(tmp_path / "data.csv", "y")
    expected = np.array([[i + 0.5, i % 7] for i in range(400)])
    expected[300, 0], expected[310] = 2**53 + 2, (1000, 3)
    np.testing.assert_array_equal(points, expected)
    assert labels.tolist() == [row.split(",")[2].strip() for row in rows]


def test_rows_go_on_where_the_quick_way_ended():
    def quick(texts):
        yield pa.record_batch({"x": [0.0, 1.0]})
        raise pa.ArrowInvalid("no number")

    def all_rows():
        for start in (0, 3, 6):
            yield pa.record_batch({"x": [str(start), f"{start + 1}e0", f"{start + 2}"]})

    raw = RawTable(
        Path("t.csv"), ["x"], True, [pa.string()], True, ".", 9, True, [], all_rows, quick
    )
    parts = [batch.column(0).to_pylist() for batch in numeric_batches(raw, None, Wording())]
    assert [value for part in parts for value in part] == list(range(9))


@pytest.mark.parametrize("words", [("True", "False"), ("TRUE", "FALSE"), ("true", "false")])
def test_bools_are_numbers_among_themselves(tmp_path, words):
    yes, no = words
    (tmp_path / "data.csv").write_text(f"x,y\n{yes},a\n{no},b\n {yes},a\n1,b\n0.0,a\n")
    assert read(tmp_path / "data.csv", "y")[0].tolist() == [[1], [0], [1], [1], [0]]
    for odd in ("2", "0.5", "-1"):
        for order in ([yes, odd], [odd, yes], [yes, "1", odd], [odd, "0", no]):
            (tmp_path / "data.csv").write_text(
                "x,y\n" + "".join(f"{cell},{i}\n" for i, cell in enumerate(order))
            )
            assert "beside both bools and other numbers" in refusal(tmp_path / "data.csv", "y")


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ('"1,234,567"', ["marks between thousands"]),
        ('"1,5"', ["--decimal ,"]),
        ("12:30", ["a date or a time"]),
        ("31.12.2020", ["a date or a time"]),
        ("-", ["--missing '-'"]),
        ("n/a", ["--missing 'n/a'"]),
        ("#", ["--missing '#'"]),
        ("red", ["not a number", "--label"]),
        ("0x10", ["not a number"]),
        ("1_000", ["not a number"]),
        ("٣", ["not a number"]),
    ],
)
def test_what_is_no_number_is_refused_with_its_cure(tmp_path, cell, words):
    (tmp_path / "data.csv").write_text(f"x,y\n1.5,a\n{cell},b\n2,a\n", encoding="utf-8")
    sentence = refusal(tmp_path / "data.csv", "y")
    assert "column 'x', data row 1 (the first is 0), line 3" in sentence
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["12345678901234567890", "12345678901234567891"], np.uint64),
        (["98765432109876543210", "98765432109876543211"], str),
        (["-1", "9223372036854775808"], str),
        (["-9223372036854775808", "9223372036854775807"], np.int64),
        (["1e3", "1000"], str), (["2.0", "2.00"], str), (["1E2", "7"], str), (["0.5", "1"], str),
        (["0.5", "1.0"], np.float64), (["inf", "1.0"], str), (["+1", "1"], str),
        (["01", "1"], str), (["-0", "1"], str), (["1e22", "1.0"], str), (["1e+22", "1.0"], str),
        (["True", "False"], str), (["9007199254740993.0", "1.0"], str), (["3", "4"], np.int64),
    ],
)  # fmt: skip
def test_labels_are_numbers_where_each_comes_back_as_it_was(tmp_path, texts, expected):
    """Fault 3: two ids of 20 digits were one class, 1e3 and 1000 merged, inf was refused."""
    rows = "".join(f"{i},{texts[i % 2]}\n" for i in range(6))
    (tmp_path / "data.csv").write_text(f"x,y\n{rows}")
    labels = read(tmp_path / "data.csv", "y")[1]
    assert [str(label) for label in labels.tolist()] == texts * 3
    assert len(set(labels.tolist())) == 2
    kind = np.array(labels.tolist()).dtype if labels.dtype == object else labels.dtype
    assert kind.kind == "U" if expected is str else kind == expected


def test_rows_without_a_label_are_refused_or_numbered_minus_one():
    def column(missing):
        wording = file_wording(Path("t.csv"))
        return LabelColumn("y", pa.string(), wording, from_text=True, missing=missing)

    chunks = [pa.array(["a", None, " b"]), pa.array(["nan", " ", "a", "NA"])]
    with pytest.raises(InvalidInputError, match=r"no label at data row 1.* and 4 in all are"):
        column("refuse").read(chunks[0], 0, chunks[1:])
    labels = column("skip")
    assert labels.read(chunks[0], 0, []).tolist() == [0, -1, 1]
    assert labels.read(chunks[1], 3, []).tolist() == [-1, -1, 0, -1]
    assert labels.read(pa.array([None] * 20, pa.string()), 7, []).tolist() == [-1] * 20
    assert (labels.n_missing, labels.missing_rows) == (24, [1, 3, 4, 6, 7, 8, 9, 10, 11, 12])
    assert labels.classes().tolist() == ["a", "b"]
    floats = LabelColumn("y", pa.float64(), Wording(), from_text=False, missing="skip")
    assert floats.read(pa.array([1.0, np.nan, None, 2.0]), 0, []).tolist() == [0, -1, -1, 1]
    coded = pa.array(["a", None, "a"]).dictionary_encode()
    labels = LabelColumn("y", coded.type, Wording(), from_text=False, missing="skip")
    assert labels.read(coded, 0, []).tolist() == [0, -1, 0]


# How text is written -----------------------------------------------------------------------------

WORDS = st.text("abcxyz é", min_size=1, max_size=6).map(str.strip).filter(bool)


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    comma=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]),
    width=st.integers(2, 5),
    n=st.integers(3, 30),
    has_header=st.booleans(),
)
def test_any_way_of_writing_gives_the_same_cells(
    tmp_path_factory, data, delimiter, comma, end, encoding, width, n, has_header
):
    """Numbers with decimals, then a text; the names are letters and a number that no cell has."""
    comma = comma and delimiter != ","
    number = st.floats(-1e3, 1e3).map(lambda x: f"{x:.2f}")
    rows = [
        [data.draw(number) for _ in range(width - 1)] + [data.draw(st.sampled_from("pqr"))]
        for _ in range(n)
    ]
    written = [[cell.replace(".", ",") if comma else cell for cell in row] for row in rows]
    names = [f"v{j}" for j in range(width)]
    lines = ([names] if has_header else []) + written
    if has_header and data.draw(st.booleans()):
        lines = [[f'"{cell}"' for cell in line] for line in lines]
    path = tmp_path_factory.mktemp("way") / "data.csv"
    path.write_bytes(end.join(delimiter.join(line) for line in lines).encode(encoding))
    if not has_header and n < 8 and rows[0][-1] not in [row[-1] for row in rows[1:]]:
        return  # no row tells what the first one is
    raw = open_raw(path)
    assert cells(raw) == written
    assert raw.decimal == ("," if comma else ".")
    assert raw.names == (names if has_header else [str(j) for j in range(width)])
    points = read(path, "-1")[0]
    np.testing.assert_array_equal(points, [[float(c) for c in row[:-1]] for row in rows])


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(0, 16), min_size=4, max_size=4), min_size=10, max_size=40)
)
@example([[0, 0, 5, 13]] + [[i % 16, 1, i % 3, 2] for i in range(12)])
@example([[0, 1, 2, 3]] + [[i % 16, 1, i % 3, 2] for i in range(12)])
def test_a_row_of_numbers_is_never_lost(tmp_path_factory, rows):
    """All rows are data: they are all there, or the user is asked."""
    path = tmp_path_factory.mktemp("rows") / "data.csv"
    path.write_text("\n".join(",".join(map(str, row)) for row in rows))
    try:
        raw = open_raw(path)
    except InvalidInputError as error:
        assert "--no-header" in str(error)
        steps = set(np.diff(rows[0]).tolist())
        assert (len(steps) == 1 and steps != {0}) or len(set(rows[0])) == 4
        raw = open_raw(path, ReadingOptions(header=False))
    assert cells(raw) == [list(map(str, row)) for row in rows]


@settings(max_examples=100, deadline=None)
@given(
    width=st.integers(2, 12), first=st.integers(0, 1), n=st.integers(1, 20), index=st.booleans(),
    data=st.data(),
)  # fmt: skip
def test_names_that_count_the_columns_are_never_a_row(
    tmp_path_factory, width, first, n, index, data
):
    """What pandas writes of an unnamed frame: its names are names, or the user is asked."""
    kind = data.draw(st.sampled_from(["decimals", "digits", "text at the end"]))
    value = st.integers(0, 16).map(str) if kind == "digits" else st.floats(-9, 9).map(str)
    rows = [[data.draw(value) for _ in range(width)] for _ in range(n)]
    if kind == "text at the end":
        rows = [[*row[:-1], data.draw(st.sampled_from(["red", "blue"]))] for row in rows]
    names = [str(first + j) for j in range(width)]
    lines = [names, *rows]
    if index:
        lines = [["", *names], *([str(i), *row] for i, row in enumerate(rows))]
    path = tmp_path_factory.mktemp("names") / "data.csv"
    path.write_text("\n".join(",".join(line) for line in lines))
    try:
        raw = open_raw(path)
    except InvalidInputError as error:
        assert "--header" in str(error)
        raw = open_raw(path, ReadingOptions(header=True))
    assert raw.names == names
    assert cells(raw) == rows


@pytest.mark.parametrize(
    ("lines", "label", "names"),
    [
        (["2001,2002,2003", "1,2,3", "4,5,6"], None, None),  # None: the user is asked
        (["2001,2002,2003", *["2000,2001,2007"] * 9], None, None),
        (
            ["country,2001,2002,2003", *["at,1.5,2.5,3.5", "be,1.5,2.5,0.5"] * 5],
            None,
            ["country", "2001", "2002", "2003"],
        ),
        (["0,1,2", "1,2,0", "2,0,1"], None, None),
        (["1,2", "3,4"], "0", None),
        (["0,1,2,y", "1.5,2.5,0.5,a", "3.5,4.5,2.5,b"], "y", ["0", "1", "2", "y"]),
        (["5.1,3.5,red", "4.9,3.0,blue", "4.7,3.2,red"], None, ["0", "1", "2"]),
        (["5,3,red", "4,3,blue", "7,2,red"], None, ["0", "1", "2"]),
        (["e,x,y,w", "p,x,y,n", "e,b,y,w", "e,x,s,w", "p,x,y,n"], None, ["0", "1", "2", "3"]),
        (["a,b", "red,round", "blue,square"], None, ["a", "b"]),
        (["5.1,?,red", "4.9,3.0,blue", "4.7,3.2,red"], None, ["0", "1", "2"]),
        (["id,2001,2002", "1,0.5,0.5", "2,0.5,1.5", "3,1.5,0.5"], None, ["id", "2001", "2002"]),
        (["x", "1", "2"], None, ["x"]),
        (["1", "2", "3"], None, ["0"]),
        ([",a", "1,2", "1,3"], None, ["", "a"]),  # not all different: no index
        (["x,x", "1,2", "3,4"], None, ["x", "x"]),
        (["17,4,3", "2,3,1", "4,40,7", "30,2,9"], None, ["0", "1", "2"]),
    ],
)
def test_headers(tmp_path, lines, label, names):
    content = "\n".join(lines)
    if names is None:
        with pytest.raises(InvalidInputError, match="--header or --no-header"):
            table(tmp_path, content, label=label)
    else:
        assert table(tmp_path, content, label=label).names == names
    width = lines[0].count(",") + 1
    given_away = lines[0].startswith(",") and names is None
    assert given_away or table(tmp_path, content, header=True).names == lines[0].split(",")
    assert table(tmp_path, content, header=False).names == [str(j) for j in range(width)]
    assert len(cells(table(tmp_path, content, header=False))) == len(lines)


def test_a_header_is_known_by_the_names_of_the_fit(tmp_path):
    (tmp_path / "data.csv").write_text("0,1,2\n5,6,7\n1,2,3\n")
    with pytest.raises(InvalidInputError, match="--header"):
        open_raw(tmp_path / "data.csv")
    raw = open_raw(tmp_path / "data.csv", known_names=["0", "1", "2"])
    assert raw.names == ["0", "1", "2"] and len(cells(raw)) == 2


@pytest.mark.parametrize(
    ("content", "names", "rows"),
    [
        (",a,y\n0,1.5,p\n3,2.5,q\n", ["a", "y"], [["1.5", "p"], ["2.5", "q"]]),  # rows were dropped
        ("Unnamed: 0,a\n0,1\n1,2\n", ["a"], [["1"], ["2"]]),
        ('"","a"\n"Mazda",1\n"Fiat",2\n', ["a"], [["1"], ["2"]]),  # R
        (
            '"a" "y"\n"1" 1.5 "p"\n"2" 2.5 "q"\n"5" 3 "p"\n'.replace(" ", "\t"),
            ["a", "y"],
            [["1.5", "p"], ["2.5", "q"], ["3", "p"]],
        ),  # R, without a name for the names
        (",a\n0.5,1\n1.5,2\n", ["", "a"], [["0.5", "1"], ["1.5", "2"]]),
        (",a\nx,1\nx,2\n", ["", "a"], [["x", "1"], ["x", "2"]]),
        ("a,b\n0,1\n1,2\n", ["a", "b"], [["0", "1"], ["1", "2"]]),
    ],
)
def test_only_an_index_is_left_out(tmp_path, content, names, rows):
    raw = table(tmp_path, content)
    assert (raw.names, cells(raw)) == (names, rows)
    assert any("left out" in note for note in raw.notes) == ("" not in names and "b" not in names)


def test_an_index_that_the_fit_took_stays(tmp_path):
    (tmp_path / "data.csv").write_text("Unnamed: 0,a\n0,1\n1,2\n")
    raw = open_raw(tmp_path / "data.csv", known_names=["Unnamed: 0", "a"])
    assert raw.names == ["Unnamed: 0", "a"]


@pytest.mark.parametrize(
    ("content", "options", "rows"),
    [
        ("x;y\n1,5;2,5\n3,5;4\n", {}, [["1,5", "2,5"], ["3,5", "4"]]),
        ("x;y\n1;a,b\n2;c,d\n", {}, [["1", "a,b"], ["2", "c,d"]]),
        ('x,y\n1,"a;b"\n2,"c;d"\n', {}, [["1", "a;b"], ["2", "c;d"]]),
        ('x,y\n1,"a\nb, c"\n2,"say ""hi"""\n', {}, [["1", "a\nb, c"], ["2", 'say "hi"']]),
        ("sep=;\nx;y\n1;2\n", {}, [["1", "2"]]),
        ("\n\nx,y\n\n1,2\n\n\n3,4", {}, [["1", "2"], ["3", "4"]]),
        ("x y\n1 2\n", {"delimiter": " "}, [["1", "2"]]),
        ("x:y\n1:2\n", {"delimiter": ":"}, [["1", "2"]]),
        ("x,y\n1,2\n", {"delimiter": ";"}, [["1,2"]]),
        ("x\ty\n1\t2\n", {"delimiter": "tab"}, [["1", "2"]]),
        ("x,y\n ?,-\n2,none\n", {"missing": ("?", "-")}, [[None, None], ["2", "none"]]),
        ("x,y\nNA,N/A\nNaN,nan\nnull,NULL\nNone,#N/A\n,\" \"\n0,1\n", {}, [[None] * 2] * 5
         + [["0", "1"]]),
        ("x;y\n1.000,5;a\n2;b\n", {"decimal": ","}, [["1.000,5", "a"], ["2", "b"]]),
        ("x,y\n1,caf\xe9\n".encode("cp1252"), {}, [["1", "café"]]),
        ("x,y\n1,猫\n".encode("shift_jis"), {"encoding": "shift_jis"}, [["1", "猫"]]),
        ("x,y\n1,кот\n".encode("koi8-r"), {"encoding": "koi8-r"}, [["1", "кот"]]),
    ],
)  # fmt: skip
def test_ways_of_writing(tmp_path, content, options, rows):
    raw = table(tmp_path, content, **options)
    assert cells(raw) == rows
    if b"\xe9" in (content if isinstance(content, bytes) else b""):
        assert any("cp1252" in note and "--encoding" in note for note in raw.notes)


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("x,y\n1,2\n\n3,4,5\n6,7\n", {}, ["3 cells in line 4", "2", "'3,4,5'", "--delimiter"]),
        ("x,y\n1,2\n3\n", {}, ["1 cell in line 3"]),
        ('x,y\n1,"two\nlines"\n1,2,3\n', {}, ["3 cells in line 4"]),
        (b"x,y\n1,2\n3,\xff\xfe\xfa\xfb\n", {}, ["line 3", "b'\\xff'", "--encoding"]),
        ("x,y\n1,caf\xe9\n".encode("cp1252"), {"encoding": "utf-8"}, ["utf-8", "line 2"]),
        ("x,y\n1,\x81\n".encode("latin-1"), {}, ["line 2", "b'\\x81'", "--encoding"]),
        ("x,y\n1,猫\n".encode(), {"encoding": "ascii"}, ["ascii", "line 2"]),
        ('x,y\n1,2\n3,"four\n5,6\n', {}, ["ends within quotes", "'four'"]),
        ("x;y\n1,000;a\n2,000;b\n", {}, ["'1,000'", "--decimal"]),
        ("x;z;y\n1,5;2.5;a\n2,5;3.5;b\n", {}, ["'2.5'", "'1,5'", "--decimal"]),
        ("x,y\n1,2\n", {"decimal": ","}, ["its delimiter and as its decimal mark"]),
        ("x,y\n1,2,\n3,4,\n5,6,\n", {}, ["3 cells in line 2"]),  # ends in delimiters: nothing moves
        ("x,y\n1,2,5\n1,4,6\n2,4,6\n", {}, ["3 cells in line 2"]),  # no names: they are alike
        ("2,3\n1,2,5\n2,4,6\n3,1,1\n", {}, ["3 cells in line 2"]),
        ("", {}, ["is empty"]),
        ("\r\n \r\n", {}, ["is empty"]),
    ],
)  # fmt: skip
def test_faults_of_text_are_named(tmp_path, content, options, words):
    with pytest.raises(InvalidInputError) as caught:
        cells(table(tmp_path, content, **options))
    assert all(word in str(caught.value) for word in ["data.csv", *words]), caught.value
    assert PRINTABLE.fullmatch(str(caught.value))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delimiter": ";;"}, "';;'"), ({"delimiter": '"'}, "delimiter"),
        ({"delimiter": "é"}, "'é'"), ({"delimiter": ""}, "delimiter is ''"),
        ({"decimal": "x"}, "'x'"), ({"encoding": "utf-99"}, "'utf-99'"),
        ({"encoding": "hex"}, "'hex'"), ({"encoding": "\0"}, "encoding"),
    ],
)  # fmt: skip
def test_options_that_mean_nothing(options, words):
    with pytest.raises(InvalidInputError, match=words):
        ReadingOptions(**options)


@pytest.mark.parametrize("wrong", ["ragged", "encoding", "utf-16"])
def test_faults_behind_the_first_megabyte_are_named_too(tmp_path, wrong):
    rows = [f"{i},{'ab'[i % 2]}" for i in range(200_000)]
    content = "\n".join(["x,y", *rows[:150_000]]).encode() + b"\n"
    rest = "\n".join(rows[150_000:]).encode()
    path = tmp_path / "data.csv"
    if wrong == "ragged":
        path.write_bytes(content + b"1,2,3\n" + rest)
        assert "3 cells in line 150002" in refusal(path, "y")
    elif wrong == "encoding":
        path.write_bytes(content + b"1,\xe9\n" + rest)
        assert "line 150002 holds the byte b'\\xe9'" in refusal(path, "y")
    else:
        whole = (content + b"1,x\n" + rest).decode().encode("utf-16")
        at = 2 * len(content) + 4
        path.write_bytes(whole[:at] + b"\0\xdc" + whole[at + 2 :])
        assert "cannot be read as utf-16, because line 150002" in refusal(path, "y")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_utf8(tmp_path):
    """Fault 21: Arrow could not open it."""
    for name in ("good.csv", "good.csv.gz", "good.feather", "good.jsonl", "hugeint.parquet"):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9-" + name.encode()))
        path.write_bytes((FILES / name).read_bytes())
        raw = open_raw(path)
        assert len(cells(raw)) == (4 if name.startswith("huge") else 333)
    assert "caf\\xe9-hugeint.parquet at data row 0" in refusal(path, "y")
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv"))
    path.write_text("x,y\n1,2,3\n")
    assert "\\xff.csv" in refusal(path)


# Files of other kinds ----------------------------------------------------------------------------


def good():
    return (FILES / "good.csv").read_bytes()


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def arrow_stream():
    buffer = io.BytesIO()
    penguins = feather.read_table(FILES / "good.feather")
    with ipc.new_stream(buffer, penguins.schema) as writer:
        writer.write_table(penguins, max_chunksize=100)
    return buffer.getvalue()


def as_parquet():
    buffer = io.BytesIO()
    parquet.write_table(feather.read_table(FILES / "good.feather"), buffer)
    return buffer.getvalue()


WAYS = {
    "a.csv.gz": lambda: gzip.compress(good()),
    "a.csv.bz2": lambda: bz2.compress(good()),
    "a.csv.xz": lambda: lzma.compress(good()),
    "a.csv.zst": lambda: pa.compress(good(), "zstd", asbytes=True),
    "a.gz": lambda: gzip.compress(good()),
    "a.GZ": lambda: gzip.compress(as_parquet()),
    "a.txt": good,
    "a.tab": lambda: good().replace(b",", b"\t"),
    "a.tsv": good,  # in spite of its name
    "a.zip": lambda: zipped({"b/a.csv": good(), "__MACOSX/a.csv": b"x", "b/": b""}),
    "b.zip": lambda: zipped({"a.tsv": good().replace(b",", b"\t"), "README": b"x"}),
    "c.zip": lambda: zipped({"a.parquet": as_parquet()}),
    "d.zip": lambda: zipped({"a.feather": (FILES / "good.feather").read_bytes()}),
    "a.jsonl.gz": lambda: gzip.compress((FILES / "good.jsonl").read_bytes()),
    "a.ndjson": lambda: (FILES / "good.jsonl").read_bytes(),
    "a.arrow": lambda: (FILES / "good.feather").read_bytes(),
    "a.arrows": arrow_stream,
    "a.ipc": arrow_stream,
    "a.parquet": as_parquet,
    "a.xlsx": lambda: (FILES / "good.xlsx").read_bytes(),
    "e.zip": lambda: zipped({"a.xlsx": (FILES / "good.xlsx").read_bytes()}),
}


@pytest.mark.parametrize("name", WAYS)
def test_penguins_in_any_file(tmp_path, penguins, name):
    (tmp_path / name).write_bytes(WAYS[name]())
    points, labels, names = read(tmp_path / name, "species")
    np.testing.assert_array_equal(points, penguins[0])
    assert labels.tolist() == SPECIES and names == PENGUINS[:4]


@pytest.mark.parametrize(
    "name", ["a.txt", "a.csv.gz", "a.csv.xz", "a.csv.zst", "a.zip", "a.parquet", "a.arrow",
             "a.arrows", "a.xlsx", "c.zip"],
)  # fmt: skip
def test_standard_input_is_what_its_first_bytes_say(monkeypatch, penguins, name):
    def give():
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(WAYS[name]())))

    give()
    raw = open_raw(Path("-"), label="species")
    assert [row[4] for row in cells(raw)] == SPECIES  # read twice
    give()
    table = load_table(Path("-"), "species", labels_required=True)
    np.testing.assert_array_equal(table.points.block(0, 333), penguins[0])


@pytest.mark.parametrize("name", WAYS)
def test_cut_files_are_refused_or_have_fewer_rows(tmp_path, name):
    content = WAYS[name]()
    for share in (0, 1, 50, 97):
        path = tmp_path / name
        path.write_bytes(content[: len(content) * share // 100])
        try:
            rows = cells(open_raw(path))
        except InvalidInputError as error:
            assert str(path) in str(error) and PRINTABLE.fullmatch(str(error))
        else:  # text has no end of its own
            assert len(rows) < 333 and name.split(".")[1] in ("txt", "tab", "tsv", "ndjson")


def test_texts_that_a_damaged_file_places_outside_of_it(tmp_path):
    feather.write_feather(pa.table({"x": ["abc", "def"]}), tmp_path / "a.feather", "uncompressed")
    content = (tmp_path / "a.feather").read_bytes()
    places = struct.pack("<3i", 0, 3, 6)
    assert content.count(places) == 1
    content = content.replace(places, struct.pack("<3i", 0, 3, 1 << 30))
    (tmp_path / "a.feather").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"a\.feather cannot be read"):
        sum(batch.num_rows for batch in open_raw(tmp_path / "a.feather").batches())


def test_archives_of_more_or_less_than_one_table(tmp_path):
    for members, words in (
        ({}, "holds no file, 0 of which"),
        ({"README": b"x"}, "'README', 0 of which are tables"),
        ({"a.csv": good(), "b.csv": good()}, "'a.csv', 'b.csv', 2 of which are tables"),
    ):
        (tmp_path / "a.zip").write_bytes(zipped(members))
        assert words in refusal(tmp_path / "a.zip")


JSON_LINES = [
    ('{"x":1,"y":"a"}\n{"y":"b"}\n\n{"x":null,"y":"c"}', [[1, "a"], [None, "b"], [None, "c"]]),
    ('{"x":1}\n{"x":2.5}\n', [[1.0], [2.5]]),
    ('\ufeff{"x":true}\r\n{"x":false}\r\n', [[True], [False]]),
    ('{"x":"2020-01-01"}\n{"x":"soon"}\n', [["2020-01-01"], ["soon"]]),
    ('{"x":[1,2]}\n{"x":[3,4]}\n', [[[1, 2]], [[3, 4]]]),
]


@pytest.mark.parametrize(("content", "rows"), JSON_LINES)
@pytest.mark.parametrize("size", [1, 20, 1 << 20])
def test_json_lines(tmp_path, monkeypatch, content, rows, size):
    from fastmem.tables import json_lines

    monkeypatch.setattr(json_lines, "BLOCK_BYTES", size)
    raw = table(tmp_path, content, "data.jsonl")
    assert cells(raw) == rows
    assert (raw.n_rows, raw.is_exact, raw.from_text) == (len(rows), True, False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"x":{"z":1}}\n', ["objects within column 'x'", "json_normalize"]),
        ('{"x":[{"z":1}]}\n', ["objects within column 'x'"]),
        ('{"x":1}\n{"x":"a"}\n', ["column 'x'", "one kind of value"]),
        ('{"x":1}\n[1,2]\n', ["[1, 2] in line 2", "no object"]),
        ('{"x":1}\nx,y\n', ["'x,y' in line 2", "no json"]),
        ('[{"x":1}]\n', ["line 1", "no object"]),
        ('{"x":0.5}\n{"x":9007199254740993}\n', ["9007199254740993", "line 2", "exactly"]),
        ('{"x":18446744073709551615}\n', ["18446744073709551615", "exactly"]),
        ("", ["no rows"]),
    ],
)
@pytest.mark.parametrize("size", [8, 1 << 20])
def test_faults_of_json_lines_are_named(tmp_path, monkeypatch, content, words, size):
    from fastmem.tables import json_lines

    monkeypatch.setattr(json_lines, "BLOCK_BYTES", size)
    (tmp_path / "data.jsonl").write_text(content)
    sentence = refusal(tmp_path / "data.jsonl")
    assert all(word in sentence for word in words), sentence


class TestSpreadsheets:
    """Workbooks as programs write them; `xlsx_bytes` makes the smallest there are."""

    def of(self, tmp_path, rows, **options):
        return table(tmp_path, xlsx_bytes(rows), "data.xlsx", **options)

    def test_types_and_missing_values(self, tmp_path, monkeypatch):
        from fastmem.tables import spreadsheet

        monkeypatch.setattr(spreadsheet, "CHUNK_ROWS", 2)  # types differ from chunk to chunk
        raw = self.of(tmp_path, [["n", "f", "t", "mixed"], [1, 2, "NA", 1], [2, 2.5, "b", 2.5],
                                 [None, None, None, None], [3, 0.5, "c", "x"]])  # fmt: skip
        assert raw.types == [pa.int64(), pa.float64(), pa.string(), pa.string()]
        assert cells(raw) == [[1, 2.0, None, "1"], [2, 2.5, "b", "2.5"], [3, 0.5, "c", "x"]]
        assert (raw.n_rows, raw.is_exact) == (3, True)

    def test_headers_and_index(self, tmp_path):
        assert self.of(tmp_path, [[1.5, "a"], [2.5, "b"], [3.5, "a"]]).names == ["0", "1"]
        assert self.of(tmp_path, [[0, 1], [1.5, "b"], [3.5, "a"]]).names == ["0", "1"]
        raw = self.of(tmp_path, [[None, "x"], [0, 1.5], [1, 2.5]])
        assert raw.names == ["x"] and cells(raw) == [[1.5], [2.5]]
        with pytest.raises(InvalidInputError, match="--header"):
            self.of(tmp_path, [[2001, 2002, 2003], [1, 2, 3]])
        assert self.of(tmp_path, [[2001, 2002], [1, 2]], header=True).names == ["2001", "2002"]

    def test_times_bools_and_several_sheets(self, tmp_path):
        import datetime as dt

        openpyxl = pytest.importorskip("openpyxl")
        book = openpyxl.Workbook()
        book.active.append(["when", "flag", "y"])
        book.active.append([dt.datetime(2020, 1, 2, 3, 4), True, "#N/A"])
        book.active.append([dt.datetime(2021, 1, 1), False, "b"])
        book.create_sheet("second").append(["z"])
        book.save(tmp_path / "data.xlsx")
        raw = open_raw(tmp_path / "data.xlsx")
        assert raw.types == [pa.timestamp("us"), pa.bool_(), pa.string()]
        assert cells(raw) == [[dt.datetime(2020, 1, 2, 3, 4), True, None],
                              [dt.datetime(2021, 1, 1), False, "b"]]  # fmt: skip
        assert raw.notes == ["the sheet 'Sheet' is read, one of 2"]

    def test_a_cell_at_the_far_end_takes_no_memory(self, tmp_path):
        content = xlsx_bytes([["x", "y"], [1, "a"], [2, "b"]])
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
        name = "xl/worksheets/sheet1.xml"
        far = b'<row r="99999"><c r="XFD99999"><v>1</v></c></row></sheetData>'
        members[name] = members[name].replace(b"</sheetData>", far)
        (tmp_path / "data.xlsx").write_bytes(zipped(members))
        with pytest.raises(InvalidInputError, match="has 1 in column 16383, data row 2"):
            cells(open_raw(tmp_path / "data.xlsx"))

    def test_without_openpyxl_it_says_so(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "openpyxl", None)
        with pytest.raises(InvalidInputError, match=r"openpyxl.*fastmem-nets\[excel\]"):
            self.of(tmp_path, [["x"], [1]])


class TestParts:
    def write(self, place, parts, suffix):
        for name, columns in parts.items():
            path = place / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if suffix == ".parquet":
                parquet.write_table(pa.table(columns), path)
            elif suffix == ".feather":
                feather.write_feather(pa.table(columns), path)
            else:
                rows = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
                text = "\n".join([",".join(columns), *rows])
                packed = gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode()
                path.write_bytes(packed)

    @pytest.mark.parametrize("suffix", [".parquet", ".feather", ".csv", ".csv.gz"])
    def test_keys_of_directories_become_columns(self, tmp_path, suffix):
        parts = {
            "year=2023/kind=a b/0": {"x": [1.5, 2.5], "z": ["p", "q"]},
            "year=2024/kind=__HIVE_DEFAULT_PARTITION__/0": {"x": [3.5], "z": ["p"]},
            "year=2024/kind=c%2Fd/1": {"x": [4.5], "z": ["r"]},
        }
        self.write(tmp_path, parts, suffix)
        (tmp_path / "_SUCCESS").touch()
        raw = open_raw(tmp_path)
        assert raw.names == ["x", "z", "year", "kind"]
        number = str if raw.from_text else lambda value: value
        expected = [(1.5, "p", 2023, "a b"), (2.5, "q", 2023, "a b"), (3.5, "p", 2024, None),
                    (4.5, "r", 2024, "c/d")]  # fmt: skip
        assert cells(raw) == [[number(x), z, number(y), k] for x, z, y, k in expected]
        assert any("'year', 'kind'" in note for note in raw.notes)

    def test_keys_are_features_like_others(self, tmp_path):
        parts = {f"year={y}/0": {"x": [y / 2, y / 4], "y": ["a", "b"]} for y in (2023, 2024)}
        for suffix in (".parquet", ".csv"):
            self.write(tmp_path / suffix[1:], parts, suffix)
            points, labels, names = read(tmp_path / suffix[1:], "y")
            assert names == ["x", "year"] and labels.tolist() == ["a", "b"] * 2
            assert points.tolist() == [[y / k, y] for y in (2023, 2024) for k in (2, 4)]

    def test_patterns_of_text(self, tmp_path):
        self.write(tmp_path, {"a1": {"x": [1.5, 2], "y": ["p", "q"]}, "a2": {"x": [3], "y": ["p"]}},
                   ".csv")  # fmt: skip
        points, labels, _ = read(tmp_path / "a*.csv", "y")
        assert points.tolist() == [[1.5], [2], [3]] and labels.tolist() == ["p", "q", "p"]

    def test_refusals(self, tmp_path):
        self.write(tmp_path, {"k=1/0": {"x": [1.5]}, "j=1/0": {"x": [1.5]}}, ".csv")
        assert "under the keys" in refusal(tmp_path)
        other = tmp_path / "other"
        self.write(other, {"x=1/0": {"x": [1.5]}}, ".parquet")
        assert "a column 'x', which its directory has too" in refusal(other)
        self.write(tmp_path / "two", {"a": {"x": [1.5]}}, ".parquet")
        self.write(tmp_path / "two", {"a": {"x": [1.5]}}, ".csv")
        assert "2 files, which end in '.csv', '.parquet'" in refusal(tmp_path / "two")
        self.write(tmp_path / "three", {"a": {"x": [1.5]}, "b": {"z": [1.5]}}, ".csv")
        assert "b.csv has other columns than a.csv" in refusal(tmp_path / "three")


def test_full_disks_are_named(tmp_path, monkeypatch):
    class Full:
        def write(self, part):
            raise OSError(28, "No space left on device")

        def close(self):
            """Nothing is open."""

    monkeypatch.setattr(sources.tempfile, "TemporaryFile", lambda **options: Full())
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress(as_parquet()))
    assert "but No space left on device: make room there" in refusal(tmp_path / "a.parquet.gz")


def test_rows_are_named_with_their_lines(tmp_path):
    raw = table(tmp_path, 'x,y\n\n1,"a\nb"\n\n2,c\n')
    assert [raw.row_name(row) for row in range(3)] == [
        "data row 0 (the first is 0), line 3",
        "data row 1 (the first is 0), line 6",
        "data row 2 (the first is 0)",
    ]
    assert open_raw(FILES / "good.feather").row_name(5) == "data row 5 (the first is 0)"


def test_estimates_of_rows_are_near(tmp_path):
    text = "x,y\n" + "".join(f"{i},{i * i % 1000}\n" for i in range(300_000))
    for name, content in (("a.csv", text.encode()), ("a.csv.gz", gzip.compress(text.encode()))):
        (tmp_path / name).write_bytes(content)
        raw = open_raw(tmp_path / name)
        assert not raw.is_exact and 60_000 < raw.n_rows < 1_200_000
