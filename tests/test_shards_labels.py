"""Labels of other types in other parts, on shards: the classes of one machine, or a sentence."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastmem
from fastmem.distributed.fitting import _placing
from fastmem.distributed.parts import Part, facts_of, joined
from fastmem.distributed.transport import LocalShards
from fastmem.inputs import check_labels
from tests.test_distributed import agree, blobs, fit, fit_here

X, Y = blobs(200)


def objects(values):
    labels = np.empty(len(values), object)
    labels[:] = values
    return labels


def placed(pieces):
    """Where the points of such labels are, and their codes."""
    parts = [Part(i, np.zeros((len(labels), 1)), labels) for i, labels in enumerate(pieces)]
    placing = _placing([facts_of(part) for part in parts])
    assert placing.part_counts.sum(axis=1).tolist() == [len(labels) for labels in pieces]
    return placing, joined(parts, placing)[1]


LARGE = [2**53 + 1, 2**62, 2**63, 2**64 - 1, -(2**53) - 1]
WHOLE = st.one_of(st.integers(-3, 3), st.sampled_from(LARGE))
KINDS = [
    ("objects", WHOLE), ("objects", st.integers(-3, 3).map(float)), ("objects", st.booleans()),
    ("objects", st.one_of(WHOLE, st.integers(-3, 3).map(float))),
    ("objects", st.sampled_from(["a", "bc", "ü"])), ("objects", st.just(2.0**60)),
    ("objects", st.integers(0, 3).map(np.longdouble)), ("list", st.integers(0, 3)),
    ("int8", st.integers(-3, 3)), ("int64", st.integers(-(2**63), 2**63 - 1)),
    ("uint64", st.sampled_from([0, 1, *LARGE[:4]])), ("float32", st.integers(-3, 3)),
    ("float64", st.sampled_from([-0.0, 1.0, 2.0**53, 2.0**63])), ("U2", st.sampled_from(["a"])),
    ("bool", st.booleans()),
]  # fmt: skip


@st.composite
def parts_of_labels(draw):
    pieces = []
    for kind, values in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4)):
        some = draw(st.lists(values, min_size=1, max_size=6))
        pieces.append(
            some if kind == "list" else objects(some) if kind == "objects"
            else np.array(some, kind)
        )  # fmt: skip
    return pieces


def together(pieces):
    return np.concatenate([
        objects(labels) if isinstance(labels, list) else labels for labels in pieces
    ])  # fmt: skip


@given(parts_of_labels())
def test_classes_are_those_of_one_machine_or_refused(pieces):
    try:
        placing, codes = placed(pieces)
    except fastmem.InvalidInputError as refused:
        remedies = r"part \d.* make all of them strings or all integers|one class only"
        remedies += r"|part \d+ has the label .* give all parts integers of one type"
        remedies += r"|beyond 64 bits; number the classes"
        assert re.search(remedies, str(refused))
        return
    whole = together(pieces)
    classes, expected = check_labels(whole, len(whole))
    assert placing.classes.dtype == classes.dtype
    assert placing.classes.tolist() == classes.tolist()
    assert np.array_equal(codes, expected)


CASES = {
    "integers beside floats": [objects([0, 1]), objects([2.0, 1.0])],
    "floats beside typed integers": [np.array([0, 1], np.int8), objects([2.0, 1.0])],
    "integers beside typed floats": [objects([0, 1]), np.array([2.0, 1.0], np.float32)],
    "beyond floats": [objects([2**53 + 3, 2**53 + 4]), np.array([2.0**53 + 4, 2.0**54])],
    "unsigned": [objects([2**64 - 1, 5]), np.array([5, 7]), np.array([2**63], np.uint64)],
    "small and unsigned": [objects([3, 5]), np.array([5, 7], np.uint64)],
    "all floats": [objects([0.0, 1.0]), objects([-0.0, 2.0])],
    "texts": [objects(["a", "bcd"]), np.array(["e", "a"])],
    "bools": [objects([True, False]), np.array([True])],
}


@pytest.mark.parametrize("name", CASES)
def test_the_file_of_one_machine(name):
    few = CASES[name]
    pieces = [labels[Y[i * 60 : i * 60 + 60] % len(labels)] for i, labels in enumerate(few)]
    ends = np.cumsum([len(labels) for labels in pieces])
    points = np.split(X[: ends[-1]], ends[:-1])
    parts = [Part(i, *pair) for i, pair in enumerate(zip(points, pieces, strict=True))]
    agree(fit(LocalShards([parts[1:], parts[:1]])), fit_here(X[: ends[-1]], np.concatenate(pieces)))


WRONG = {
    "integers beside texts": (
        [objects([0, 1]), objects(["a", "b"])],
        "part 1 has labels of <U1 and part 0 of int64; make all of them strings or all integers",
    ),
    "integers beside bools": (
        [objects([0, 1]), objects([True, False])],
        "part 1 has labels of bool and part 0 of int64; make all of them strings or all integers",
    ),
    "nothing": (
        [np.array([0, 1]), objects([1, None])],
        "in part 1, y[1] is None (NoneType); remove the points that have no label",
    ),
    "too large": (
        [objects([-1, 1]), objects([2**64 - 1])],
        "y reaches 18446744073709551615, beyond 64 bits; number the classes",
    ),
    "rounded": (
        [np.array([1.0, 2.0]), np.array([2**53 + 1])],
        "part 1 has the label 9007199254740993 of int64, which is rounded beside those of other "
        "types in other parts; give all parts integers of one type",
    ),
    "one class": (
        [np.array([1.0, 1.0]), objects([1])],
        "y holds one class only, 1, 3 times; pass labels of at least two classes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_labels_that_do_not_go_together_are_refused(name):
    pieces, words = WRONG[name]
    with pytest.raises(fastmem.InvalidInputError) as caught:
        placed(pieces)
    assert str(caught.value) == words


def test_labels_of_frames():
    pandas = pytest.importorskip("pandas")
    pyarrow = pytest.importorskip("pyarrow")
    series = pandas.Series
    integers, floats = series([0, 1], dtype=object), series([1.0, 2.0])
    for pieces in (
        [integers, floats],
        [integers.astype("category"), floats],
        [series([0, 1], dtype="category"), floats],
        [series([0, 1], dtype="Int64"), series([1, 2], dtype="int8")],
        [series(["a", "b"], dtype="category"), series(["c", "a"], dtype=object)],
    ):
        values = pandas.concat([
            s.astype(s.cat.categories.dtype) if s.dtype == "category" else s for s in pieces
        ])  # fmt: skip
        classes, _ = check_labels(values, 4)
        placing, _ = placed(pieces)
        assert placing.classes.dtype == classes.dtype
        assert placing.classes.tolist() == classes.tolist()
    placing, _ = placed([pyarrow.array([0, 1]), pyarrow.array([1.0, 2.0])])
    assert placing.classes.dtype == np.float64
