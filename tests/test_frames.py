"""Data frames and Arrow tables: any kind and any chunking is the same points, names included."""

from __future__ import annotations

import re
import subprocess
import sys
import tracemalloc
from decimal import Decimal
from itertools import pairwise
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmem
from fastmem.inputs import InvalidInputError, check_labels, check_points, frames

X = np.array([[0.0, 0.5], [1.0, 0.25], [0.0, 2.0], [3.0, 1.0]])
Y = ["no", "yes", "no", "yes"]
ROWS = 4


class Stream:
    """A table that can be had as an Arrow stream only."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


def arrow(**columns: Any) -> pa.Table:
    return pa.table({"a": X[:, 0], **columns})


def cut(table: pa.Table, *lengths: int) -> pa.Table:
    """The same table in chunks of these lengths and the rest."""
    ends = [0, *np.minimum(np.cumsum(lengths), len(table)).tolist(), len(table)]
    parts = [table.slice(a, b - a) for a, b in pairwise(ends)]
    return pa.concat_tables(parts) if len(table) else table


def in_chunks(frame: pl.DataFrame, *lengths: int) -> pl.DataFrame:
    ends = [0, *np.minimum(np.cumsum(lengths), len(frame)).tolist(), len(frame)]
    return pl.concat([frame[a:b] for a, b in pairwise(ends)], rechunk=False)


FRAMES = {
    "pandas": lambda t: t.to_pandas(),
    "pandas, columns apart": lambda t: pd.DataFrame(
        {name: t[name].to_numpy().copy() for name in t.column_names}
    ),
    "pandas, of Arrow": lambda t: t.to_pandas(types_mapper=pd.ArrowDtype),
    "pandas, of Arrow in chunks": lambda t: cut(t, 1, 2).to_pandas(types_mapper=pd.ArrowDtype),
    "pandas, nullable": lambda t: t.to_pandas().convert_dtypes(dtype_backend="numpy_nullable"),
    "pandas, sparse": lambda t: t.to_pandas().astype(
        {name: pd.SparseDtype(kind, kind.type(0)) for name, kind in t.to_pandas().dtypes.items()}
    ),
    "pandas, sparse filled with ones": lambda t: t.to_pandas().astype(
        {name: pd.SparseDtype(kind, kind.type(1)) for name, kind in t.to_pandas().dtypes.items()}
    ),
    "polars": pl.from_arrow,
    "polars in chunks": lambda t: in_chunks(pl.from_arrow(t), 2, 0, 1),
    "table": lambda t: t,
    "table in chunks": lambda t: cut(t, 1, 0, 2),
    "record batch": lambda t: t.combine_chunks().to_batches()[0],
    "reader": lambda t: t.to_reader(),
    "stream": Stream,
    "dictionaries": lambda t: pa.table(
        {name: t[name].dictionary_encode() for name in t.column_names}
    ),
}
DTYPES = ["f4", "f8", "i1", "u2", "i4", "u8", "?"]


@pytest.mark.parametrize("dtypes", [["f4", "f4"], ["f8", "f8"], ["f4", "i1"], ["?", "u8", "i4"]])
@pytest.mark.parametrize("kind", sorted(FRAMES))
def test_any_frame_is_the_array(kind: str, dtypes: list[str]) -> None:
    rng = np.random.default_rng(0)
    columns = {f"x{j}": rng.integers(0, 2, 9).astype(code) for j, code in enumerate(dtypes)}
    expected = np.column_stack([column.astype(float) for column in columns.values()])
    if kind == "dictionaries" and "?" in dtypes:
        pytest.skip("Arrow has no dictionaries of booleans")
    points = check_points(FRAMES[kind](pa.table(columns)))
    assert points.feature_names == list(columns)
    for block, rows in ((points.block(2, 7), expected[2:7]), (points.block(0, 9), expected)):
        np.testing.assert_array_equal(block, rows)
        assert block.dtype == points.dtype
        assert not block.flags.writeable
    chosen = np.array([8, 0, 3, 3, 1])
    np.testing.assert_array_equal(points.take(chosen), expected[chosen])
    np.testing.assert_array_equal(points.take(np.sort(chosen)), expected[np.sort(chosen)])
    narrow = not set(dtypes) & {"f8", "i4", "u8"}
    if kind not in ("pandas, nullable",):  # which makes integers of floats
        assert points.dtype == (np.float32 if narrow else np.float64)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=6), st.lists(st.integers(0, 60), max_size=6))
def test_any_chunking_gives_the_same_blocks_and_network(one: list[int], other: list[int]) -> None:
    with mock.patch.object(frames, "_SHORT", 0):  # short chunks would be joined
        check_chunking(one, other)


def check_chunking(one: list[int], other: list[int]) -> None:
    rng = np.random.default_rng(3)
    points, y = rng.normal(size=(90, 3)), rng.integers(0, 2, 90)
    columns = [cut(pa.table({"v": column}), *one)["v"] for column in points.T[:2]]
    columns.append(cut(pa.table({"v": points[:, 2]}), *other)["v"])
    table = pa.table(dict(zip("abc", columns, strict=True)))
    expected = fastmem.interpolate(points, y, seed=0)
    for frame in (table, in_chunks(pl.from_arrow(table), *other)):
        network = fastmem.interpolate(frame, y, seed=0)
        np.testing.assert_array_equal(network.first.weights, expected.first.weights)
        np.testing.assert_array_equal(network.first.biases, expected.first.biases)
        np.testing.assert_array_equal(network.second.masks, expected.second.masks)
        np.testing.assert_array_equal(network.predict(frame), y)
    checked = check_points(table)
    for _ in range(5):
        rows = rng.integers(0, 90, rng.integers(0, 90))
        np.testing.assert_array_equal(checked.take(rows), points[rows])
        np.testing.assert_array_equal(checked.take(np.sort(rows)), points[np.sort(rows)])
        start, stop = np.sort(rng.integers(0, 91, 2))
        np.testing.assert_array_equal(checked.block(start, stop), points[start:stop])


def test_long_chunks_are_not_joined_and_nothing_is_copied() -> None:
    n = 40_000
    values = np.random.default_rng(0).normal(size=(8, n))
    table = pa.concat_tables(
        [pa.table({f"x{j}": column[a : a + 10_000] for j, column in enumerate(values)})
         for a in range(0, n, 10_000)]
    )  # fmt: skip
    frames = (table, pl.from_arrow(table), table.to_pandas(types_mapper=pd.ArrowDtype))
    for frame in (*frames, pd.DataFrame(values.T)):
        tracemalloc.start()
        points = check_points(frame)
        points.block(0, 100)
        points.take(np.arange(0, n, 400))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < values.nbytes / 8, type(frame)
        np.testing.assert_array_equal(points.block(9_990, 10_010), values.T[9_990:10_010])


def test_lists_of_equal_length_are_features() -> None:
    vectors = np.arange(12.0, dtype=np.float32).reshape(4, 3)
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 3)
    free = pa.array(vectors.tolist(), pa.list_(pa.float32()))
    large = pa.array(vectors.tolist(), pa.large_list(pa.float32()))
    polars = pl.DataFrame({"id": [1, 0, 1, 0], "e": vectors})
    assert isinstance(polars["e"].dtype, pl.Array)
    tables = [pa.table({"id": pa.array([1, 0, 1, 0], pa.int8()), "e": lists})
              for lists in (fixed, free, large)]  # fmt: skip
    for table in (*tables, cut(tables[0], 1, 1), cut(tables[1], 3), polars):
        points = check_points(table)
        assert points.feature_names == ["id", "e[0]", "e[1]", "e[2]"]
        np.testing.assert_array_equal(points.block(0, 4)[:, 1:], vectors)
        np.testing.assert_array_equal(points.block(2, 4)[:, 1:], vectors[2:])
        np.testing.assert_array_equal(points.take(np.array([3, 1]))[:, 1:], vectors[[3, 1]])
    assert check_points(tables[0]).dtype == np.float32


def test_decimals_of_few_digits_are_numbers() -> None:
    values = [Decimal("1.25"), Decimal("-3.50"), Decimal("0.01"), Decimal("7.00")]
    table = pa.table({"price": pa.array(values, pa.decimal128(15, 2))})
    for frame in (table, pl.from_arrow(table)):
        np.testing.assert_array_equal(
            check_points(frame).block(0, 4)[:, 0], [float(value) for value in values]
        )


# fmt: off
WRONG: list[tuple[str, Any, str]] = [
    ("lazy", pl.DataFrame(X).lazy(),
     "X is a LazyFrame, which holds no data yet; pass X.collect()"),
    ("null in Arrow", cut(arrow(b=pa.array([1, None, 3, None])), 2),
     "column 'b' of X has no value at row 1, and 2 of its 4 values are missing; fill them or "
     "remove those rows"),
    ("null in a later chunk", cut(arrow(b=pa.array([1, 2, 3, None])), 1, 1),
     "column 'b' of X has no value at row 3, and 1 of its 4 values is missing; fill them or "
     "remove those rows"),
    ("null in polars", in_chunks(pl.DataFrame({"a": [1, 2, 3, 4], "b": [1, None, None, 2]}), 1),
     "column 'b' of X has no value at row 1, and 2 of its 4 values are missing; fill them or "
     "remove those rows"),
    ("null in pandas of Arrow", arrow(b=pa.array([1, None, 3, 4])).to_pandas(
        types_mapper=pd.ArrowDtype),
     "column 'b' of X has no value at row 1, and 1 of its 4 values is missing; fill them or "
     "remove those rows"),
    ("NA in pandas", pd.DataFrame({"a": X[:, 0], "b": pd.array([1, 2, pd.NA, 3])}),
     "column 'b' of X has no value at row 2, and 1 of its 4 values is missing; fill them or "
     "remove those rows"),
    ("all missing", arrow(b=pa.array([None] * 4, pa.int64())),
     "column 'b' of X has no values, all 4 are missing; drop it"),
    ("type null", arrow(b=pa.nulls(4)),
     "column 'b' of X has no values, all of them are missing; drop it"),
    ("type Null", pl.DataFrame({"b": [None] * 4}),
     "column 'b' of X has no values, all 4 are missing; drop it"),
    ("nan in Arrow", cut(arrow(b=pa.array([1, np.nan, 3, np.inf])), 2),
     "X at row 1, column 'b', is nan, and 2 of 4 values are NaN or infinite; remove those rows or "
     "fill them"),
    ("nan in polars", in_chunks(pl.DataFrame({"b": [1.0, 2, 3, np.nan]}), 2, 1),
     "X at row 3, column 'b', is nan, and 1 of 4 values is NaN or infinite; remove those rows or "
     "fill them"),
    ("nan in sparse pandas", pd.DataFrame({"a": [0, 1, 0, np.nan], "b": X[:, 0]}).astype(
        pd.SparseDtype(float, 0)),
     "X at row 3, column 'a', is nan, and 1 of 4 values is NaN or infinite; remove those rows or "
     "fill them"),
    ("large integer in Arrow", arrow(b=pa.array([1, 2, 2**53 + 1, 3])),
     "X at row 2, column 'b', is 9007199254740993, which float64 cannot hold exactly; subtract an "
     "offset, or round X yourself with np.asarray(X, dtype=float)"),
    ("text in Arrow", arrow(city=["Rome", "Oslo", "Bonn", "Rome"]),
     "column 'city' of X holds string, which is not a number; encode it as numbers or drop it"),
    ("categories in Arrow", arrow(city=pa.array(Y).dictionary_encode()),
     "column 'city' of X holds dictionary<values=string, indices=int32, ordered=0>, which is not "
     "a number; encode it as numbers or drop it"),
    ("text in polars", pl.DataFrame({"city": Y}),
     "column 'city' of X has dtype String and its first value is 'no' (str); encode it as numbers "
     "(fit with encode=True, or to_dummies) or drop it"),
    ("categories in polars", pl.DataFrame({"city": Y}, schema={"city": pl.Categorical}),
     "column 'city' of X has dtype Categorical and its first value is 'no' (str); encode it as "
     "numbers (fit with encode=True, or to_dummies) or drop it"),
    ("dates in Arrow", arrow(day=pa.array([0] * 4, pa.date32())),
     "column 'day' of X holds date32[day]; turn times into numbers, for instance seconds since "
     "the first, or drop it"),
    ("times in Arrow", arrow(day=pa.array([0] * 4, pa.timestamp("us", "UTC"))),
     "column 'day' of X holds timestamp[us, tz=UTC]; turn times into numbers, for instance "
     "seconds since the first, or drop it"),
    ("many digits in Arrow", arrow(b=pa.array([Decimal("1.50")] * 3 + [Decimal(10**15) / 3])),
     "X at row 3, column 'b', is 333333333333333.3333333333333, more digits than the 15 "
     "that float64 tells apart; round it, or cast the column to float64 yourself"),
    ("many digits in polars",
     pl.DataFrame({"b": [Decimal(1), Decimal(2**53 + 1)] * 2}, schema={"b": pl.Decimal(20)}),
     "X at row 1, column 'b', is 9007199254740993, more digits than the 15 that float64 tells "
     "apart; round it, or cast the column to float64 yourself"),
    ("structs in Arrow", arrow(b=pa.array([{"x": 1}] * 4)),
     "column 'b' of X holds struct<x: int64>, which is not a number; encode it as numbers or drop "
     "it"),
    ("lists of lists", arrow(b=pa.array([[[1.0]]] * 4)),
     "/column 'b' of X holds list<.*>, which is not a number; encode it as numbers or drop it/"),
    ("lists of unequal length", cut(arrow(b=pa.array([[1.0], [2.0], [3.0, 4.0], [5.0]])), 2),
     "column 'b' of X holds 2 values at row 2 but 1 in the first; give every row the same number "
     "of values"),
    ("lists of nothing", arrow(b=pa.array([[]] * 4, pa.list_(pa.float32()))),
     "column 'b' of X holds lists of no values; drop it"),
    ("null list", arrow(b=pa.array([[1.0], None, [2.0], [3.0]])),
     "column 'b' of X has no value at row 1, and 1 of its 4 values is missing; fill them or "
     "remove those rows"),
    ("null in a list", cut(arrow(b=pa.array([[1.0, 2], [1, None], [2, None], [3, 4]])), 1),
     "column 'b[1]' of X has no value at row 1, and 2 of its 4 values are missing; fill them or "
     "remove those rows"),
    ("nan in a list", cut(arrow(b=pa.array([[1.0, 2], [1, 1], [2, np.nan], [3, 4]])), 1),
     "X at row 2, column 'b[1]', is nan, and 1 of 8 values is NaN or infinite; remove those rows "
     "or fill them"),
    ("nan in an array of polars", pl.DataFrame({"b": np.array([[1.0, 2], [1, 1], [2, 2],
                                                               [np.nan, 4]])}),
     "X at row 3, column 'b[0]', is nan, and 1 of 8 values is NaN or infinite; remove those rows "
     "or fill them"),
    ("lists in polars", pl.DataFrame({"b": [[1.0], [2.0], [3.0], [4.0]]}),
     "column 'b' of X has dtype List(Float64); make it an array of equal lengths (list.to_array) "
     "or drop it"),
    ("no columns", pa.table({}),
     "X has no columns, shape (0, 0); pass at least one point and feature"),
    ("no rows", arrow()[:0],
     "X has no rows, shape (0, 1); pass at least one point and feature"),
]
# fmt: on


@pytest.mark.parametrize(("frame", "sentence"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_invariant_5_wrong_frame(frame: Any, sentence: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        fastmem.interpolate(frame, Y)
    if sentence.startswith("/"):
        assert re.fullmatch(sentence[1:-1], str(refusal.value))
    else:
        assert str(refusal.value) == sentence


# --- labels -----------------------------------------------------------------------------------

LABELS = {
    "array": lambda y: pa.array(y),
    "chunks": lambda y: pa.chunked_array([y[:1], [], y[1:]], pa.array(y).type),
    "dictionary": lambda y: pa.array(y).dictionary_encode(),
    "dictionaries": lambda y: pa.chunked_array(
        [pa.array(y[:1]).dictionary_encode(), pa.array(y[1:]).dictionary_encode()]
    ),
    "large text": lambda y: pa.array(y, pa.large_string() if isinstance(y[0], str) else None),
    "polars": pl.Series,
    "categorical of polars": lambda y: pl.Series(
        y, dtype=pl.Categorical if isinstance(y[0], str) else None
    ),
    "Series": pd.Series,
    "Categorical": pd.Categorical,
    "Series of categories": lambda y: pd.Series(pd.Categorical(y, categories=sorted(set(y)) * 1)),
    "Series of Arrow": lambda y: pd.Series(
        pa.chunked_array([y[:2], y[2:]]), dtype=pd.ArrowDtype(pa.array(y).type)
    ),
    "objects": lambda y: np.array(y, dtype=object),
    "NumPy": np.array,
}


@pytest.mark.parametrize("values", [["b", "a", "b", "c", "b"], [3, -1, 3, 2**40, 3], [True, False]])
@pytest.mark.parametrize("kind", sorted(LABELS))
def test_any_labels_are_the_list(kind: str, values: list[Any]) -> None:
    if kind.startswith("dictionar") and values == [True, False]:
        pytest.skip("Arrow has no dictionaries of booleans")
    for narrow in (False, True):
        classes, codes = check_labels(LABELS[kind](values), len(values), narrow=narrow)
        assert classes.tolist() == sorted(set(values))
        assert classes[codes].tolist() == values
        assert codes.dtype in (np.intp, np.uint16)
        assert classes.dtype.kind == np.array(values).dtype.kind


def test_categories_that_do_not_occur_are_no_classes() -> None:
    classes, codes = check_labels(pd.Categorical(["b", "a"], categories=["z", "b", "a"]), 2)
    assert (classes.tolist(), codes.tolist()) == (["a", "b"], [1, 0])


# fmt: off
WRONG_LABELS = [
    (pa.array(["a", None, "b", None]),
     "y has no value at row 1, and 2 of its 4 labels are missing; remove the points that have no "
     "label"),
    (pa.chunked_array([[1, 2], [3, None]]),
     "y has no value at row 3, and 1 of its 4 labels is missing; remove the points that have no "
     "label"),
    (pl.Series([1, 2, None, 3]),
     "y has no value at row 2, and 1 of its 4 labels is missing; remove the points that have no "
     "label"),
    (pd.Series([1, None, 3, 4], dtype=pd.ArrowDtype(pa.int64())),
     "y has no value at row 1, and 1 of its 4 labels is missing; remove the points that have no "
     "label"),
    (pd.Categorical([0.5, 1.0, 2.0, 1.0]),
     "y[0] is 0.5, not a whole number; labels are integers, strings or bools, so give such "
     "points a class or remove them"),
    (pa.array(["a", "b"]).dictionary_encode(),
     "y has 2 labels but there are 4 points; pass one label for each point"),
    (pa.array(["a"] * 4),
     "y holds one class only, 'a', 4 times; pass labels of at least two classes"),
    (pl.DataFrame({"y": [1, 2, 3, 4]}), "y has shape (4, 1), a column; pass np.ravel(y)"),
    (pl.Series([1, 1, 1, 1]),
     "y holds one class only, 1, 4 times; pass labels of at least two classes"),
]
# fmt: on


@pytest.mark.parametrize(("labels", "sentence"), WRONG_LABELS)
def test_invariant_5_wrong_labels(labels: Any, sentence: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        fastmem.interpolate(X, labels)
    assert str(refusal.value) == sentence


# --- names ------------------------------------------------------------------------------------

NAMED = [pd.DataFrame, lambda c: pl.DataFrame(c), lambda c: pa.table(c)]
REMEDY = "; pass the columns of the fit in their order (feature_names of the network)"
OTHER_NAMES = [
    (["b", "a"], "X has its columns in another order than at the fit, 'b' where 'a' was "
                 "(column 0)"),
    (["a"], "X lacks column 'b' of the fit"),
    (["a", "b", "c"], "X has column 'c', which the fit did not have"),
    (["c", "d"], "X lacks columns 'a', 'b' of the fit and has columns 'c', 'd', which the fit did "
                 "not have"),
    (["B", "a"], "X lacks column 'b' of the fit and has column 'B', which the fit did not have"),
]  # fmt: skip


@pytest.mark.parametrize("fitted", NAMED)
@pytest.mark.parametrize("asked", NAMED)
def test_names_are_remembered_and_compared(fitted: Any, asked: Any, tmp_path: Any) -> None:
    network = fastmem.interpolate(fitted({"a": X[:, 0], "b": X[:, 1]}), Y, seed=0)
    assert network.feature_names == ("a", "b")
    network.save(tmp_path / "net.npz")
    network = fastmem.load(tmp_path / "net.npz")
    right = asked({"a": X[:, 0], "b": X[:, 1]})
    for table in (X, right, X.tolist(), pd.DataFrame(X)):
        assert network.predict(table).tolist() == Y
        assert network.score(table, Y) == 1
    for names, sentence in OTHER_NAMES:
        wrong = asked({name: X[:, j % 2] for j, name in enumerate(names)})
        for call in (network.predict, network.decision_function, lambda x: network.score(x, Y)):
            with pytest.raises(InvalidInputError) as refusal:
                call(wrong)
            assert str(refusal.value) == sentence + REMEDY


def test_networks_of_arrays_have_no_names() -> None:
    for table in (X, pd.DataFrame(X), pd.DataFrame(X, columns=["a", 1])):
        network = fastmem.interpolate(table, Y, seed=0)
        assert network.feature_names is None
        assert network.predict(pd.DataFrame(X, columns=["z", "y"])).tolist() == Y


def test_the_estimator_hands_its_names_to_the_network() -> None:
    from fastmem.sklearn import InterpolatingClassifier

    frame = pd.DataFrame(X, columns=["a", "b"])
    classifier = InterpolatingClassifier(random_state=0).fit(frame, Y)
    assert classifier.network_.feature_names == ("a", "b")
    assert classifier.predict(frame).tolist() == Y
    with pytest.raises(ValueError, match="should match those that were passed during fit"):
        classifier.predict(frame[["b", "a"]])
    assert InterpolatingClassifier(random_state=0).fit(X, Y).network_.feature_names is None


# --- what is imported ---------------------------------------------------------------------------


def test_arrays_import_no_frames() -> None:
    program = (
        "import sys, numpy as np, fastmem; from fastmem import inputs;"
        "inputs.check_points(np.eye(3)[:, ::-1]); inputs.check_points([[1, 2]]);"
        "inputs.check_labels(['a', 'b'], 2);"
        "print(*{m.partition('.')[0] for m in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not set(done.stdout.split()) & {"pandas", "polars", "pyarrow"}
