"""What users may pass, what they may not, and the sentence that tells them (invariant 5)."""

from __future__ import annotations

import enum
import re
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numba import typeof
from scipy import sparse

import fastmem
from fastmem import inputs
from fastmem.inputs import (
    InvalidInputError,
    check_hyperplanes,
    check_interpolate,
    check_known_labels,
    check_labels,
    check_points,
    check_threads,
)

few = settings(max_examples=60, deadline=None)

X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
Y = np.array([0, 0, 1, 1])
HALF = ([[1.0, 0.0], [0.0, 1.0]], [0.5, -0.5])  # weights and biases


def changed(row: int, column: int, value: Any, dtype: Any = float) -> np.ndarray:
    points = X.astype(dtype)
    points[row, column] = value
    return points


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"age": X[:, 0], **columns})


def csr(data: Any, indices: Any, indptr: Any, shape: tuple[int, int] = (4, 2)) -> Any:
    return sparse.csr_matrix((np.array(data), indices, indptr), shape=shape)


def damaged() -> Any:
    matrix = csr([1.0, 2.0], [0, 1], [0, 1, 2, 2, 2])
    matrix.indices[1] = 1_000_000  # as a truncated download would have it
    return matrix


def fit(points: Any = X, labels: Any = Y, **parameters: Any) -> Callable[[Any], Any]:
    return lambda net: fastmem.interpolate(points, labels, **parameters)


def predict(points: Any) -> Callable[[Any], Any]:
    return lambda net: net.predict(points)


def score(points: Any, labels: Any) -> Callable[[Any], Any]:
    return lambda net: net.score(points, labels)


def patterns(points: Any, weights: Any = HALF[0], biases: Any = HALF[1]) -> Callable[[Any], Any]:
    return lambda net: fastmem.sign_patterns(points, fastmem.Hyperplanes(weights, biases))


@pytest.fixture(scope="module")
def net() -> Any:
    return fastmem.interpolate(X, Y, width=64, seed=0)


# What stands between slashes is a regular expression: NumPy's or SciPy's words stand in it.
# fmt: off
WRONG_CALLS: list[tuple[str, Callable[[Any], Any], str]] = [
    # --- points: not a table
    ("none", fit(None),
     "X is None (NoneType), not a table of numbers; pass an array of shape (n_samples, "
     "n_features)"),
    ("path", fit("data.csv"),
     "X is 'data.csv' (str), not a table of numbers; pass an array of shape (n_samples, "
     "n_features)"),
    ("generator", fit(row for row in X),
     r"/X is <generator object .*> \(generator\), not a table of numbers; pass an array of "
     r"shape \(n_samples, n_features\)/"),
    ("one-dimensional", fit(X[:, 0]),
     "X is one-dimensional with 4 values; pass np.asarray(X).reshape(-1, 1) for rows "
     "of one feature or np.asarray(X).reshape(1, -1) for one row of 4 features"),
    ("one point to predict", predict([0.0, 1.0]),
     "X is one-dimensional with 2 values; pass np.asarray(X).reshape(-1, 1) for rows "
     "of one feature or np.asarray(X).reshape(1, -1) for one row of 2 features"),
    ("images", fit(np.zeros((4, 28, 28))),
     "X has shape (4, 28, 28), 3 dimensions; pass np.reshape(X, (len(X), -1)), which has one "
     "row a point"),
    ("ragged list", fit([[0.0, 1.0], [2.0, 3.0], [4.0], [5.0, 6.0]]),
     "row 2 of X has 1 values but row 0 has 2; give every row the same number of values"),
    ("no rows", fit(X[:0], Y[:0]),
     "X has no rows, shape (0, 2); pass at least one point and feature"),
    ("no columns", fit(X[:, :0]),
     "X has no columns, shape (4, 0); pass at least one point and feature"),
    ("sparse without rows", fit(sparse.csr_matrix((0, 2)), Y[:0]),
     "X has no rows, shape (0, 2); pass at least one point and feature"),
    ("one-dimensional sparse array", fit(sparse.coo_array(np.ones(4))),
     "X is a sparse array of shape (4,); pass X.reshape(1, -1)"),
    ("features at predict", predict(np.zeros((5, 3))),
     "X has 3 features but 2 are expected; pass the same 2 features as at the fit, in the same "
     "order"),
    ("features at score", score(np.zeros((4, 1)), Y),
     "X has 1 features but 2 are expected; pass the same 2 features as at the fit, in the same "
     "order"),
    ("features of sign patterns", patterns(sparse.csr_matrix((1, 4))),
     "X has 4 features but 2 are expected; pass the same 2 features as at the fit, in the same "
     "order"),
    # --- points: values
    ("nan", fit(changed(2, 1, np.nan)),
     "X[2, 1] is nan, and 1 of 8 values is NaN or infinite; remove those rows or fill them"),
    ("nan in Fortran order", fit(np.asfortranarray([[0, np.nan], [np.nan, 0], [1, 2], [3, 4]])),
     "X[0, 1] is nan, and 2 of 8 values are NaN or infinite; remove those rows or fill them"),
    ("infinity in float16", predict(changed(3, 0, -np.inf, np.float16)),
     "X[3, 0] is -inf, and 1 of 8 values is NaN or infinite; remove those rows or fill them"),
    ("nan in CSR", fit(csr([1.0, np.nan, np.inf], [1, 1, 0], [0, 1, 1, 3, 3])),
     "X[2, 1] is nan, and 2 of 3 values are NaN or infinite; remove those rows or fill them"),
    ("duplicates in CSR that overflow", fit(csr([1e308, 1e308], [1, 1], [0, 0, 2, 2, 2])),
     "X[1, 1] is inf, and 1 of 8 values is NaN or infinite; remove those rows or fill them"),
    ("damaged CSR", fit(damaged()),
     r"/X is a damaged sparse matrix \(.*\); build it again from its entries/"),
    ("masked", fit(np.ma.masked_equal(X, 1.0)),
     "X[1, 0] is masked, and 4 values in all are; remove those rows, or fill them with "
     "X.filled(value)"),
    ("large int", fit(changed(3, 1, 2**53 + 1, np.int64)),
     "X[3, 1] is 9007199254740993, which float64 cannot hold exactly; subtract an offset, or "
     "round X yourself with np.asarray(X, dtype=float)"),
    ("large int beside a float in a list", fit([[0.5, 0], [1, 2**53 + 1], [0, 1], [1, 1]]),
     "X[1, 1] is 9007199254740993, which float64 cannot hold exactly; subtract an offset, or "
     "round X yourself with np.asarray(X, dtype=float)"),
    # --- points: dtypes
    ("complex", fit(X.astype(complex)),
     "X has dtype complex128; pass real and imaginary parts as columns, np.hstack([X.real, "
     "X.imag])"),
    ("object", fit(np.array([[0, 1], [2, "three"], [4, 5], [6, 7]], dtype=object)),
     "X has dtype object, and X[1, 1] is 'three' (str); encode what is no number, or pass "
     "np.asarray(X, dtype=float) if these are numbers as text"),
    ("text", predict([["1", "2"]]),
     "X has dtype <U1, and X[0, 0] is '1' (str); encode what is no number, or pass "
     "np.asarray(X, dtype=float) if these are numbers as text"),
    ("huge int", fit([[0, 10**30], [1, 1], [2, 2], [3, 3]]),
     "X has dtype object; pass np.asarray(X, dtype=float)"),
    ("dates", fit(X.astype("datetime64[s]")),
     "X has dtype datetime64[s]; turn times into numbers, for instance seconds since the first"),
    ("records", fit(np.zeros(4, dtype=[("a", float), ("b", float)])),
     "X has dtype [('a', '<f8'), ('b', '<f8')]; pass "
     "numpy.lib.recfunctions.structured_to_unstructured(X)"),
    # --- points: data frames
    ("frame with strings",
     fit(frame(city=pd.Series(["Rome", "Oslo", "Bonn", "Rome"], dtype=object))),
     "column 'city' of X has dtype object and its first value is 'Rome' (str); encode it as "
     "numbers (fit with encode=True, or pandas.get_dummies) or drop it"),
    ("frame with dates",
     fit(frame(day=pd.to_datetime(["2024-01-01"] * 4).astype("datetime64[ns]"))),
     r"/column 'day' of X has dtype datetime64\[ns\] and its first value is .*; encode it as "
     r"numbers \(fit with encode=True, or pandas.get_dummies\) or drop it/"),
    ("frame with categories", fit(frame(size=pd.Categorical([1, 2, 2, 1]))),
     "column 'size' of X has dtype category and its first value is 1 (int); encode it as "
     "numbers (fit with encode=True, or pandas.get_dummies) or drop it"),
    ("frame with a missing float", fit(frame(rank=[1, 2, 3, 4], size=[1.0, 2.0, None, 4.0])),
     "X at row 2, column 'size', is nan, and 1 of 4 values is NaN or infinite; remove those "
     "rows or fill them"),
    ("frame of one dtype with a missing float",
     fit(pd.DataFrame(changed(1, 1, np.nan), columns=["age", "size"])),
     "X at row 1, column 'size', is nan, and 1 of 8 values is NaN or infinite; remove those "
     "rows or fill them"),
    ("frame with a missing nullable int",
     fit(frame(rank=pd.array([1, None, 3, None], dtype="Int64"))),
     "column 'rank' of X has no value at row 1, and 2 of its 4 values are missing; fill them or "
     "remove those rows"),
    # --- labels
    ("fewer labels", fit(X, Y[:3]),
     "y has 3 labels but there are 4 points; pass one label for each point"),
    ("one class", fit(X, ["cat"] * 4),
     "y holds one class only, 'cat', 4 times; pass labels of at least two classes"),
    ("column of labels", fit(X, Y[:, None]),
     "y has shape (4, 1), a column; pass np.ravel(y)"),
    ("frame of labels", fit(X, frame()),
     "y has shape (4, 1), a column; pass np.ravel(y)"),
    ("one-hot labels", fit(X, np.eye(4)),
     "y has shape (4, 4); pass one label for each point, for one-hot rows np.argmax(y, axis=1)"),
    ("label instead of labels", fit(X, 1),
     "y is 1 (int), not a sequence; pass an array of 4 labels"),
    ("nan label", fit(X, [0.0, 1.0, np.nan, 1.0]),
     "y[2] is nan, not a label; labels are integers, strings or bools, so give such points a "
     "class or remove them"),
    ("regression target", fit(X, np.array([0.0, 1.0, 2.0, 0.5])),
     "y[3] is 0.5, not a whole number; labels are integers, strings or bools, so give such "
     "points a class or remove them"),
    ("none label", fit(X, np.array(["a", "b", None, "a"], dtype=object)),
     "y[2] is None (NoneType); remove the points that have no label"),
    ("missing value of pandas as label", fit(X, np.array([0, pd.NA, 1, 1], dtype=object)),
     "y[1] is <NA> (NAType); remove the points that have no label"),
    ("missing category", fit(X, pd.Categorical(["a", None, "b", "b"])),
     "y[1] is nan, not a label; labels are integers, strings or bools, so give such points a "
     "class or remove them"),
    ("mixed labels", fit(X, [1, 2, "1", 2]),
     "y mixes kinds of label, y[0] is 1 (int) but y[2] is '1' (str); make all of them strings "
     "or all integers"),
    ("bytes labels", fit(X, np.array([b"a", b"b", b"a", b"b"])),
     "y has dtype |S1 and y[0] is b'a'; labels are integers, strings or bools, so convert it to "
     "one of these"),
    ("tuples as labels", fit(X, [(0, 1), 1, 2, 3]),
     "y[0] is (0, 1) (tuple); labels are integers, strings or bools, so convert it to one of "
     "these"),
    ("huge int label", fit(X, [0, 1, 10**20, 1]),
     "y reaches 100000000000000000000, beyond 64 bits; number the classes"),
    ("masked label", fit(X, np.ma.array(Y, mask=[False, True, False, False])),
     "y[1] is masked; remove the points that have no label"),
    ("sparse labels", fit(X, sparse.csr_matrix(Y)),
     "y is a sparse matrix; pass a plain array of 4 labels"),
    ("unknown label at score", score(X, [0, 0, 7, 1]),
     "y[2] is 7, which is not a class of the network; its classes are 0, 1"),
    ("other kind of label at score", score(X, ["0", "0", "1", "1"]),
     "y[0] is '0', which is not a class of the network; its classes are 0, 1"),
    ("labels at score", score(X, Y[:1]),
     "y has 1 labels but there are 4 points; pass one label for each point"),
    ("nothing to score", score(X[:0], []),
     "y is empty; pass at least one labelled point"),
    # --- parameters
    ("width zero", fit(width=0),
     "width is 0 (int); pass 'auto', 'smallest' or an int from 1 to 1,000,000"),
    ("width too large", fit(width=10**6 + 1),
     "width is 1000001 (int); pass 'auto', 'smallest' or an int from 1 to 1,000,000"),
    ("width float", fit(width=2048.0),
     "width is 2048.0 (float); pass 'auto', 'smallest' or an int from 1 to 1,000,000"),
    ("width bool", fit(width=True),
     "width is True (bool); pass 'auto', 'smallest' or an int from 1 to 1,000,000"),
    ("max_bias negative", fit(max_bias=-1),
     "max_bias is -1 (int); pass 'auto', 'radius', 'norms' or a finite number of at least 0"),
    ("max_bias nan", fit(max_bias=np.float32("nan")),
     "max_bias is nan (float); pass 'auto', 'radius', 'norms' or a finite number of at least 0"),
    ("max_bias text", fit(max_bias="1.0"),
     "max_bias is '1.0' (str); pass 'auto', 'radius', 'norms' or a finite number of at least 0"),
    ("selection", fit(selection="Merged"),
     "selection is 'Merged' (str); pass 'merge' or 'random' (did you mean 'merge'?)"),
    ("selection none", fit(selection=None),
     "selection is None (NoneType); pass 'merge' or 'random'"),
    ("projection", fit(projection="Structure"),
     "projection is 'Structure' (str); pass 'auto', 'gaussian' or 'structured' "
     "(did you mean 'structured'?)"),
    ("projection wide", fit(np.zeros((4, 70_000)), projection="structured"),
     "projection is 'structured' but X has 70000 columns, more than 65,536; pass 'gaussian'"),
    ("covered unknown", fit(covered=3),
     "covered names 3 (int), which is not a class of y; pass 'auto', 'all' or classes among 0, 1"),
    ("covered misspelt", fit(X, ["cat", "dog", "cat", "dog"], covered="Cat"),
     "covered names 'Cat' (str), which is not a class of y (did you mean 'cat'?); pass 'auto', "
     "'all' or classes among 'cat', 'dog'"),
    ("covered bool", fit(covered=True),
     "covered names True (bool), which is not a class of y; pass 'auto', 'all' or classes among "
     "0, 1"),
    ("covered twice", fit(covered=[1, 1]),
     "covered names 1 twice; name each class once"),
    ("covered too few", fit(X, [0, 1, 2, 0], covered=1),
     "covered names 1 of 3 classes, and points of the others could not be told apart; name all "
     "classes but one, or give the others one label"),
    ("covered empty", fit(covered=[]),
     "covered is empty; name at least one class, or pass 'auto' or 'all'"),
    ("center", fit(center="mean"),
     "center is 'mean' (str); pass True or False"),
    ("seed negative", fit(seed=-1),
     "seed is -1 (int); pass None, a Generator, a SeedSequence or an int of at least 0"),
    ("seed legacy", fit(seed=np.random.RandomState(0)),
     "seed is NumPy's legacy generator (RandomState); pass an int or "
     "numpy.random.default_rng(seed)"),
    ("n_threads", fit(n_threads=-1),
     "n_threads is -1 (int); pass None (all cores) or an int from 1 to 1,024"),
    ("progress", fit(progress="bar"),
     "progress is 'bar' (str); pass True, False or a function of (stage, done, total, neurons)"),
    ("max_width", fit(max_width=0),
     "max_width is 0 (int); pass None or an int of at least 1"),
    ("memory_limit as text", fit(memory_limit="4 gigs"),
     "memory_limit is '4 gigs' (str); pass None, a number of bytes, or a text like '4 GB' or "
     "'512 MiB'"),
    ("memory_limit of no unit", fit(memory_limit="1000000"),
     "memory_limit is '1000000' (str); pass None, a number of bytes, or a text like '4 GB' or "
     "'512 MiB'"),
    ("memory_limit negative", fit(memory_limit="-1 GB"),
     "memory_limit is '-1 GB' (str); pass None, a number of bytes, or a text like '4 GB' or "
     "'512 MiB'"),
    ("memory_limit a fraction", fit(memory_limit=1e9),
     "memory_limit is 1000000000.0 (float); pass None, a text like '4 GB' or an int from 1 to "
     "4,611,686,018,427,387,904"),
    ("memory_limit true", fit(memory_limit=True),
     "memory_limit is True (bool); pass None, a text like '4 GB' or an int from 1 to "
     "4,611,686,018,427,387,904"),
    ("memory_limit zero", fit(memory_limit="0 MB"),
     "memory_limit is 0 (int); pass None, a text like '4 GB' or an int from 1 to "
     "4,611,686,018,427,387,904"),
    ("memory_limit too small", fit(memory_limit="1 MiB"),
     "memory_limit is 1,048,576 bytes, but a fit of 4 points takes up to 268,435,584 bytes beside "
     "their sign patterns; pass at least that"),
    ("max_width with width", fit(width=64, max_width=128),
     "max_width is 128 but width is 64; max_width limits width='auto', 'smallest' or complete=True "
     "only, so leave one of them out"),
    ("max_width below width", fit(width=64, max_width=32, complete=True),
     "max_width is 32, below the width of 64; pass at least 64"),
    ("complete", fit(width=64, complete=1), "complete is 1 (int); pass True or False"),
    ("contradictions", fit(contradictions="vote"),
     "contradictions is 'vote' (str); pass 'raise' or 'majority'"),
    ("contradictions, misspelt", fit(contradictions="majorty"),
     "contradictions is 'majorty' (str); pass 'raise' or 'majority' (did you mean 'majority'?)"),
    ("margin", fit(margin=1.5),
     "margin is 1.5 (float); pass a number from 0 to 1"),
    ("margin text", fit(margin="wide"),
     "margin is 'wide' (str); pass 'auto' or a number from 0 to 1"),
    ("margin nan", fit(margin=float("nan")),
     "margin is nan (float); pass a number from 0 to 1"),
    ("compact", fit(compact="yes"),
     "compact is 'yes' (str); pass True or False"),
    ("compact random", fit(compact=True, selection="random"),
     "compact is True but selection is 'random'; compact chooses merged cells anew, so leave one "
     "of them out"),
    # --- hyperplanes
    ("biases", patterns(X, HALF[0], [0.0]),
     "biases has shape (1,) but weights has 2 rows; pass one bias for each row, shape (2,)"),
    ("bias infinite", patterns(X, HALF[0], [0.0, np.inf]),
     "biases[1] is inf, and 1 of 2 values is NaN or infinite; remove those rows or fill them"),
    ("weights one-dimensional", patterns(X, [1.0, 2.0]),
     "weights is one-dimensional with 2 values; pass np.asarray(weights).reshape(-1, 1) for rows "
     "of one feature or np.asarray(weights).reshape(1, -1) for one row of 2 features"),
    ("weights rounded", patterns(X, [[1.0, 0.1], [0.0, 1.0]]),
     "weights[0, 1] is 0.1, which float32 cannot hold exactly; round yourself with "
     "np.asarray(weights, dtype=np.float32)"),
]
# fmt: on


@pytest.mark.parametrize(
    ("call", "sentence"), [case[1:] for case in WRONG_CALLS], ids=[case[0] for case in WRONG_CALLS]
)
def test_invariant_5_wrong_call(call: Callable[[Any], Any], sentence: str, net: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InvalidInputError) as refusal:
            call(net)
    message = str(refusal.value)
    if sentence.startswith("/"):
        assert re.fullmatch(sentence[1:-1], message)
    else:
        assert message == sentence
    assert "\n" not in message


def test_table_has_each_call_once() -> None:
    assert len({case[0] for case in WRONG_CALLS}) == len(WRONG_CALLS) >= 35


def test_nothing_to_predict(net: Any) -> None:
    assert net.predict(np.empty((0, 2))).shape == (0,)


# --- any layout gives the blocks of the dense array -------------------------------------------

REAL_DTYPES = ("f4", "f8", "f2", "g", "?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
NARROW = {"f4", "f2", "?", "i1", "u1", "i2", "u2"}  # float32 holds all their values


class Subclass(np.ndarray):
    """An array that check_points does not take the short way with."""


def unaligned(a: np.ndarray) -> np.ndarray:
    buffer = np.zeros(a.nbytes + 1, np.uint8)
    buffer[1:] = np.frombuffer(a.tobytes(), np.uint8)
    return buffer[1:].view(a.dtype).reshape(a.shape)


def spaced(a: np.ndarray) -> np.ndarray:
    wide = np.zeros((2 * a.shape[0], 3 * a.shape[1]), a.dtype)
    wide[::2, 1::3] = a
    return wide[::2, 1::3]


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


def mixed_frame(a: np.ndarray) -> pd.DataFrame:
    columns = {f"x{j}": a[:, j].copy() for j in range(a.shape[1])}
    return pd.DataFrame({**columns, "more": np.arange(len(a), dtype=np.int32)})


ARRAYS: dict[str, Callable[[np.ndarray], Any]] = {
    "C order": lambda a: a,
    "Fortran order": np.asfortranarray,
    "spaced": spaced,
    "reversed": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "swapped bytes": lambda a: a.astype(a.dtype.newbyteorder("S")),
    "read-only": read_only,
    "unaligned": unaligned,
    "with metadata": lambda a: a.astype(np.dtype(a.dtype, metadata={"unit": "m"})),
    "matrix": lambda a: a.view(np.matrix),
    "masked, nothing hidden": np.ma.array,
}
TABLES: dict[str, Callable[[np.ndarray], Any]] = {
    **ARRAYS,
    "list": lambda a: a.tolist(),
    "tuples": lambda a: tuple(map(tuple, a.tolist())),
    "frame": pd.DataFrame,
    "mixed frame": mixed_frame,
    "CSR": sparse.csr_matrix,
    "CSR array": sparse.csr_array,
    "CSC": sparse.csc_matrix,
    "COO": sparse.coo_matrix,
    "LIL": sparse.lil_matrix,
    "BSR": sparse.bsr_matrix,
}


def dense(table: Any) -> np.ndarray:
    """Return what a table holds, without fastmem."""
    if sparse.issparse(table):
        return np.asarray(table.toarray(), dtype=np.float64)
    return np.asarray(table, dtype=np.float64)


@st.composite
def tables(draw: st.DrawFn, dtypes: tuple[str, ...] = REAL_DTYPES) -> tuple[str, str, Any]:
    code = draw(st.sampled_from(dtypes))
    layout = draw(st.sampled_from(sorted(ARRAYS if code in ("f2", "g") else TABLES)))
    kind = np.dtype(code).kind
    if kind == "f":
        wide = code in ("f8", "g")
        elements = st.floats(allow_nan=False, allow_infinity=False, width=64 if wide else 16)
    elif kind == "b":
        elements = st.booleans()
    else:
        bounds = np.iinfo(code)
        elements = st.integers(max(bounds.min, -(2**53)), min(bounds.max, 2**53))
    shape = (draw(st.integers(1, 7)), draw(st.integers(1, 5)))
    array = draw(hnp.arrays(code, shape, elements=elements))
    return code, layout, TABLES[layout](array)


@settings(max_examples=400, deadline=None)
@given(tables(), st.data())
def test_blocks_are_the_dense_rows(drawn: tuple[str, str, Any], data: st.DataObject) -> None:
    code, layout, table = drawn
    expected = dense(table)
    n, d = expected.shape
    points = check_points(table)
    assert (points.n_samples, points.n_features) == (n, d)
    assert points.max_block_rows >= 1
    start = data.draw(st.integers(0, n))
    stop = data.draw(st.integers(start, n))
    chosen = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=9)), dtype=np.intp)
    for block, rows in (
        (points.block(0, n), expected),
        (points.block(start, stop), expected[start:stop]),
        (points.take(chosen), expected[chosen]),
    ):
        np.testing.assert_array_equal(block, rows)
        assert block.dtype == points.dtype
        # Numba sees one type a dtype, so that kernels compile once.
        pattern = np.zeros((1, 1), points.dtype)
        pattern.flags.writeable = False
        assert typeof(block) == typeof(pattern)
    if layout not in ("mixed frame", "list", "tuples"):
        assert points.dtype == (np.float32 if code in NARROW else np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", sorted(TABLES))
def test_blocks_are_plain(layout: str, dtype: type) -> None:
    table = TABLES[layout](X.astype(dtype))
    points = check_points(table)
    for block in (points.block(1, 3), points.take(np.array([3, 0]))):
        flags = block.flags
        assert (flags.c_contiguous, flags.aligned, flags.writeable) == (True, True, False)
        assert type(block) is np.ndarray
        assert block.dtype.isnative
        assert block.dtype.metadata is None


@few
@given(tables(("f4", "f8")))
def test_short_way_equals_long_way(drawn: tuple[str, str, Any]) -> None:
    array = np.ascontiguousarray(dense(drawn[2]).astype(drawn[0]))
    short = check_points(array)
    long = check_points(array.view(Subclass))
    for points in (short, long):
        assert type(points) is inputs.Points
        assert np.shares_memory(points.block(0, 9), array)
    assert short.dtype == long.dtype
    np.testing.assert_array_equal(short.block(0, 9), long.block(0, 9))
    assert array.flags.writeable, "the user's own array must stay writeable"


@few
@given(tables(("f4", "f8")), st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_not_finite_is_found_in_any_layout(
    drawn: tuple[str, str, Any], bad: float, data: st.DataObject
) -> None:
    code, layout, table = drawn
    array = dense(table).astype(code)
    n, d = array.shape
    cells = data.draw(st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, d - 1)), min_size=1))
    for cell in cells:
        array[cell] = bad
    if layout == "mixed frame":
        layout = "frame"
    row, column = min(cells)
    with pytest.raises(InvalidInputError) as refusal:
        check_points(TABLES[layout](array))
    place = f"X at row {row}, column {column}," if layout == "frame" else f"X[{row}, {column}]"
    assert str(refusal.value).startswith(f"{place} is {bad}, and {len(cells)} of ")


@pytest.mark.parametrize("shape", [(200_000, 1), (70_001, 3), (2, 150_000), (1, 200_001)])
@pytest.mark.parametrize("layout", ["C order", "Fortran order", "spaced", "swapped bytes"])
def test_not_finite_is_found_in_any_block_of_the_scan(layout: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for cell in (0, shape[0] * shape[1] - 1, *rng.integers(0, shape[0] * shape[1], 3)):
        row, column = divmod(int(cell), shape[1])
        array = np.ones(shape, np.float32)
        array[row, column] = np.inf
        with pytest.raises(InvalidInputError, match=rf"^X\[{row}, {column}\] is inf, and 1 of "):
            check_points(ARRAYS[layout](array))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_finite_values_are_taken_silently(dtype: type) -> None:
    large: np.ndarray = np.full((300_000, 2), np.finfo(dtype).max, dtype)
    large[::2] *= -1
    large[5] = np.finfo(dtype).tiny / 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for table in (large, np.asfortranarray(large), large[:3], sparse.csr_matrix(large)):
            np.testing.assert_array_equal(check_points(table).block(0, 3), large[:3])


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.integers(-(2**63), 2**64 - 1),
        st.builds(
            lambda odd, shift: odd << shift, st.integers(2**52, 2**53 + 8), st.integers(0, 10)
        ),
    )
)
def test_integers_pass_exactly_where_float64_holds_them(value: int) -> None:
    array = np.array([[1, 2], [3, value]], dtype=np.int64 if value < 2**63 else np.uint64)
    for table in (array, array.tolist(), [[1.0, 2], [3, value]], pd.DataFrame(array)):
        if int(float(value)) == value:
            assert check_points(table).block(0, 2)[1, 1] == value
        else:
            with pytest.raises(InvalidInputError, match=f" is {value}, which float64 cannot hold"):
                check_points(table)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="long double is double here")
@pytest.mark.parametrize("text", ["0.1", "1e-4000", "1e4000"])
def test_long_double_passes_only_where_exact(text: str) -> None:
    array = np.array([[1, 0.5]], dtype=np.longdouble)
    assert check_points(array).block(0, 1).tolist() == [[1.0, 0.5]]
    array[0, 1] = np.longdouble(text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InvalidInputError, match=r"X\[0, 1\] is .*float64 cannot hold exactly"):
            check_points(array)


@few
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(-9, 9)), max_size=20),
    st.randoms(use_true_random=False),
)
def test_csr_unsorted_with_duplicates_equals_toarray(
    entries: list[tuple[int, int, int]], random: Any
) -> None:
    random.shuffle(entries)
    entries.sort(key=lambda entry: entry[0])
    indptr = np.searchsorted([row for row, _, _ in entries], np.arange(6))
    matrix = sparse.csr_matrix(
        (np.array([v for *_, v in entries], float), [c for _, c, _ in entries], indptr), (5, 4)
    )
    before = matrix.copy()
    points = check_points(matrix)
    np.testing.assert_array_equal(points.block(0, 5), before.toarray())
    np.testing.assert_array_equal(points.take(np.array([4, 0, 0])), before.toarray()[[4, 0, 0]])
    for part in ("data", "indices", "indptr"):  # the user's matrix stays as it is
        np.testing.assert_array_equal(getattr(matrix, part), getattr(before, part))


@pytest.mark.parametrize(("n_samples", "n_features"), [(1_000_000, 100_000), (500_000, 100)])
def test_large_csr_is_never_densified_as_a_whole(n_samples: int, n_features: int) -> None:
    cells = ([7, n_samples - 1], [3, n_features - 1])
    matrix = sparse.csr_matrix(([1.0, 2.0], cells), (n_samples, n_features))
    tracemalloc.start()
    points = check_points(matrix)
    points.block(0, points.max_block_rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert points.is_sparse == (n_features > 100)
    assert points.dense(np.array([7]))[0, 3] == 1
    assert points.dense(np.array([n_samples - 1]))[0, n_features - 1] == 2
    assert peak < 48 << 20  # the dense arrays would be 800 GB and 400 MB


@pytest.mark.parametrize("layout", ["Fortran order", "spaced", "swapped bytes", "frame"])
def test_no_copy_of_the_whole(layout: str) -> None:
    table = TABLES[layout](np.ones((500_000, 8), np.float32))
    tracemalloc.start()
    points = check_points(table)
    points.block(0, 1000)
    points.take(np.arange(1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20  # the input has 16 MB


def test_memmap_is_read_in_place(tmp_path: Path) -> None:
    array = np.arange(12.0).reshape(6, 2)
    np.save(tmp_path / "points.npy", array)
    mapped = np.load(tmp_path / "points.npy", mmap_mode="r")
    points = check_points(mapped)
    assert np.shares_memory(points.block(2, 4), mapped)
    assert type(points.block(2, 4)) is np.ndarray
    np.testing.assert_array_equal(points.block(2, 4), array[2:4])


def test_blocks_cannot_be_written() -> None:
    for table in (X, np.asfortranarray(X), sparse.csr_matrix(X), mixed_frame(X)):
        points = check_points(table)
        for block in (points.block(0, 2), points.take(np.array([1]))):
            with pytest.raises(ValueError, match="read-only"):
                block[0, 0] = 5


def test_frames_keep_column_names_and_types() -> None:
    named = check_points(pd.DataFrame({"a": [1.0], "b": [2]}))
    assert named.feature_names == ["a", "b"]
    assert check_points(pd.DataFrame([[1.0, 2.0]])).feature_names is None
    twins = pd.DataFrame([[1.0, True], [3.0, False]], columns=["a", "a"])
    assert check_points(twins).block(0, 2).tolist() == [[1, 1], [3, 0]]
    nullable = pd.DataFrame(
        {"a": pd.array([1, 2], dtype="Int16"), "b": np.array([3, 4], dtype=np.float32)}
    )
    assert check_points(nullable).block(0, 2).tolist() == [[1, 3], [2, 4]]
    assert check_points(nullable).dtype == np.float32
    assert check_points(nullable[:0], n_features=2).block(0, 0).shape == (0, 2)


class OtherFrame:
    """A data frame of another library: columns by name, no iloc."""

    columns = ("a", "b")
    to_numpy = None  # it would copy the whole and must not be called

    def __init__(self, **values: list[Any]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values["a"])

    def __getitem__(self, name: str) -> Any:
        return pd.Series(self.values[name])


def test_frames_of_other_libraries() -> None:
    points = check_points(OtherFrame(a=[1, 2], b=[0.5, 3.0]))
    assert points.block(0, 2).tolist() == [[1, 0.5], [2, 3]]
    assert points.feature_names == ["a", "b"]
    with pytest.raises(InvalidInputError, match=r"^X at row 1, column 'b', is nan, "):
        check_points(OtherFrame(a=[1, 2], b=[0.5, np.nan]))


# --- labels -----------------------------------------------------------------------------------

LABELS = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30),
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30),
    st.lists(st.integers(-3, 3), min_size=1, max_size=30),
    st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1
    ),
    st.lists(st.booleans(), min_size=1),
    st.lists(st.integers(-(2**40), 2**60).map(float), min_size=1),
)


@settings(max_examples=300, deadline=None)
@given(LABELS, st.sampled_from(["list", "array", "object", "swapped", "series"]))
def test_codes_give_back_the_labels(values: list[Any], form: str) -> None:
    y: Any = values
    if form != "list":
        y = np.array(values, dtype=object if form == "object" else None)
        assume(y.tolist() == values)  # NumPy makes floats of [0, 2**63]
    if form == "swapped" and y.dtype.itemsize > 1 and y.dtype.kind != "U":
        y = y.astype(y.dtype.newbyteorder("S"))
    if form == "series":
        y = pd.Series(y)
    if len(set(values)) == 1:
        with pytest.raises(InvalidInputError, match=r"^y holds one class only"):
            check_labels(y, len(values))
        return
    classes, codes = check_labels(y, len(values))
    assert classes.tolist() == sorted(set(values))
    assert classes[codes].tolist() == values
    assert classes.dtype.isnative
    assert codes.dtype == np.intp
    if form == "array":
        assert classes.dtype == y.dtype or classes.dtype.kind == "U"
    np.testing.assert_array_equal(check_known_labels(y, len(values), classes), codes)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.float16, np.float32])
def test_codes_of_narrow_dtypes_at_their_ends(dtype: type) -> None:
    if np.issubdtype(dtype, np.integer):
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    else:
        low, high = -2048, 2048
    classes, codes = check_labels(np.array([high, low, high, 0], dtype=dtype), 4)
    assert classes.tolist() == sorted({low, 0, high})
    assert classes[codes].tolist() == [high, low, high, 0]


def test_categories_and_mixed_whole_numbers() -> None:
    classes, codes = check_labels(pd.Series(["b", "a", "b"], dtype="category"), 3)
    assert (classes.tolist(), codes.tolist()) == (["a", "b"], [1, 0, 1])
    classes, codes = check_labels([1, 2.0, np.int8(1)], 3)
    assert (classes.tolist(), codes.tolist()) == ([1, 2], [0, 1, 0])
    assert classes.dtype == np.int64


def test_members_of_enums_are_their_values() -> None:
    class Moon(str, enum.Enum):  # noqa: UP042 (its str() is not its value)
        UPPER = "upper"
        LOWER = "lower"

    for y in ([Moon.UPPER, Moon.LOWER], np.array([Moon.UPPER, "lower"], object)):
        classes, codes = check_labels(y, 2)
        assert (classes.tolist(), codes.tolist()) == (["lower", "upper"], [1, 0])


@pytest.mark.parametrize(
    "y", [["a", "a\0"], np.array(["a", "a\0"], dtype=object)], ids=["list", "object"]
)
def test_labels_that_numpy_would_merge_are_refused(y: Any) -> None:
    with pytest.raises(InvalidInputError, match="ends in NUL"):
        check_labels(y, 2)


# --- parameters -------------------------------------------------------------------------------


def test_defaults() -> None:
    chosen = check_interpolate(np.array([0, 1]))
    assert (chosen.width, chosen.max_bias, chosen.selection) == (None, None, "merge")
    assert chosen.projection == "gaussian"
    for n_features, is_sparse, expected in (
        (127, False, "gaussian"),
        (128, False, "structured"),
        (1 << 16, False, "structured"),
        (1 << 17, False, "gaussian"),
        (784, True, "gaussian"),
    ):
        chosen = check_interpolate(np.array([0, 1]), n_features, is_sparse=is_sparse)
        assert chosen.projection == expected
    assert (chosen.covered, chosen.center, chosen.max_width) == ("auto", True, None)
    assert chosen.n_threads == check_threads(None) >= 1
    assert chosen.progress is False
    assert (chosen.margin, chosen.compact) == (0.0, False)


def test_numpy_numbers_pass_and_become_plain() -> None:
    chosen = check_interpolate(
        np.array([0, 1]),
        width=np.uint16(64),
        max_bias=np.float32(0.5),
        center=np.False_,
        n_threads=np.int64(3),
        seed=np.uint8(7),
    )
    assert (chosen.width, chosen.max_bias, chosen.center, chosen.n_threads) == (64, 0.5, False, 3)
    for value, kind in ((chosen.width, int), (chosen.max_bias, float), (chosen.center, bool)):
        assert type(value) is kind


@pytest.mark.parametrize(
    ("classes", "covered", "codes"),
    [
        ([10, 20], 20, (1,)),
        ([10, 20, 30], [30, 10], (0, 2)),
        ([10, 20, 30], np.array([30, 20, 10]), (0, 1, 2)),
        ([10, 30], np.int8(30), (1,)),
        ([10, 20], {10.0}, (0,)),
        (["cat", "dog"], "dog", (1,)),
        (["all", "auto"], ["all"], (0,)),
        (["all", "auto"], "all", "all"),
        ([False, True], True, (1,)),
    ],
)
def test_covered_becomes_codes(classes: list[Any], covered: Any, codes: Any) -> None:
    assert check_interpolate(np.array(classes), covered=covered).covered == codes


@pytest.mark.parametrize("wrong", [{}, None, [None], [[0]], 1 + 0j, Fraction(1), b"0"])
def test_covered_refuses_what_is_no_label(wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^covered "):
        check_interpolate(np.array([0, 1]), covered=wrong)


def test_many_classes_are_cut_in_messages() -> None:
    with pytest.raises(InvalidInputError, match=r"among 0, 1, .*, 9, \.\.\. \(5000 in all\)$"):
        check_interpolate(np.arange(5000), covered=-1)


def test_the_seed_is_one_int_that_repeats_the_fit() -> None:
    def numbers(seed: Any) -> list[int]:
        return list(check_interpolate(np.array([0, 1]), seed=seed).seed.generate_state(4))

    tree = np.random.SeedSequence([1, 2, 3]).spawn(2)
    for seed in (0, 2**200, np.random.SeedSequence(5), *tree, np.random.default_rng(1), None):
        sequence = check_interpolate(np.array([0, 1]), seed=seed).seed
        assert type(sequence.entropy) is int
        assert numbers(sequence.entropy) == list(sequence.generate_state(4))
    assert numbers(5) == numbers(np.random.SeedSequence(5)) != numbers(6)
    assert numbers(tree[0]) == numbers(tree[0]) != numbers(tree[1])
    generator = np.random.default_rng(1)
    assert numbers(generator) != numbers(generator), "a generator moves on"
    assert numbers(np.random.default_rng(1)) == numbers(np.random.default_rng(1))
    assert numbers(None) != numbers(None)


def test_a_seed_sequence_stays_as_it_is() -> None:
    mine = np.random.SeedSequence(5)
    check_interpolate(np.array([0, 1]), seed=mine).seed.spawn(3)
    assert mine.n_children_spawned == 0


# --- hyperplanes and the module ---------------------------------------------------------------


@few
@given(tables(("f4", "f8", "i2", "f2")))
def test_hyperplanes_are_exact(drawn: tuple[str, str, Any]) -> None:
    expected = dense(drawn[2])
    biases = expected[:, 0]
    with np.errstate(over="ignore"):
        narrow = expected.astype(np.float32)
    if (narrow != expected).any():
        with pytest.raises(InvalidInputError, match="float32 cannot hold exactly"):
            check_hyperplanes(drawn[2], biases)
        return
    weights, levels = check_hyperplanes(drawn[2], biases)
    np.testing.assert_array_equal(weights, expected)
    np.testing.assert_array_equal(levels, biases)
    assert weights.dtype == np.float32
    assert levels.dtype == np.float64
    for array in (weights, levels):
        assert array.flags.c_contiguous
        assert array.flags.aligned
        assert not array.flags.writeable


def test_the_users_hyperplanes_stay_writeable() -> None:
    weights, biases = np.ones((3, 2), np.float32), np.ones(3)
    check_hyperplanes(weights, biases)
    assert weights.flags.writeable
    assert biases.flags.writeable


def test_the_package_imports_only_numpy() -> None:
    # a bare package stands for fastmem, whose own imports are not in question
    program = (
        "import sys, types, numpy; before = set(sys.modules);"
        "package = types.ModuleType('fastmem');"
        f"package.__path__ = [{str(Path(inputs.__file__).parents[1])!r}];"
        "sys.modules['fastmem'] = package; import fastmem.inputs;"
        "print(*sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not set(done.stdout.split()) & {"scipy", "pandas", "numba", "sklearn", "difflib"}


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(None, None), (7, 7), (np.int64(9), 9), ("12 B", 12), ("4 GB", 4 * 10**9), ("1.5kb", 1500),
     ("0.5 MiB", 2**19), (" 3 tib ", 3 * 2**40)],
)  # fmt: skip
def test_memory_limits(limit: Any, expected: int | None) -> None:
    chosen = check_interpolate(np.array([0, 1]), 3, memory_limit=limit)
    assert chosen.memory_limit == expected
