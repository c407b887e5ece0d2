"""Raw tables, and labels of all kinds, whose parts are on shards: as on one machine."""

from __future__ import annotations

import re
import warnings
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_distributed import agree, agree_on_parts, blobs, fit, fit_here, partitionings, shards_of

import fastmem
from fastmem.distributed.parts import Part
from fastmem.distributed.transport import LocalShards
from fastmem.encoding import profile
from fastmem.inputs import Wording
from fastmem.tables import Encoding

pandas = pytest.importorskip("pandas")
pyarrow = pytest.importorskip("pyarrow")


def raw(n=150):
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({
        "size": rng.integers(0, 50, n) / 4,
        "word": np.array(["a", "b", "ccc"])[rng.integers(0, 3, n)],
        "day": pandas.Timestamp("2020-01-01") + pandas.to_timedelta(rng.integers(0, 900, n), "D"),
        "is so": rng.random(n) < 0.5,
        "written": [f"{k}.5" for k in rng.integers(0, 2000, n)],
        "many": [f"u{k}" for k in rng.integers(0, 140, n)],
        "name": [f"id{k}" for k in range(n)],
        "constant": "c",
        "mixed": ["12"] * (n - 20) + ["12", "x"] * 10,
        "grouped": ["7"] * (n // 2) + ["1,234"] * (n - n // 2),
        "at": [f"{k % 24}:30" for k in range(n)],
        "grade": pandas.Categorical(
            np.array(["good", "bad", "so so"])[rng.integers(0, 3, n)],
            ["bad", "so so", "good"], ordered=True,
        ),
    })  # fmt: skip
    frame.loc[3:7, "word"] = None
    frame.loc[10, "size"] = np.nan
    return frame, np.array(["x", "y", "Ω"])[rng.integers(0, 3, n)]


def numbers():
    X, y = blobs(150)
    return pandas.DataFrame(X, columns=list("abcdef")), y


def with_long_numbers():
    frame, y = raw()
    frame["id"] = np.arange(150, dtype=np.int64)[::-1] + 2**60
    frame["texts"] = [f"{2**62 + k}" for k in range(150)]
    return frame[["size", "id", "texts"]], y == "x"


def arrow():
    frame, y = raw()
    lists = pyarrow.array(
        [[float(k), k % 7 / 2] for k in range(150)], pyarrow.list_(pyarrow.float64())
    )
    table = pyarrow.Table.from_pandas(frame, preserve_index=False).append_column("lists", lists)
    return table, y


CASES = {"raw": raw, "numbers": numbers, "long numbers": with_long_numbers, "arrow": arrow}


@cache
def on_one_machine(name):
    X, y = CASES[name]()
    return X, y, fit_here(X, y, encode=True)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=6)
@given(partitionings, st.integers(1, 2**32))
@example(([0, 0, 1, 2, 3, 150, 150], [2], 4), 0)
@example(([130, 140], [0], 1), 0)
def test_a_table_is_encoded_as_on_one_machine(name, partitioning, seed):
    known = on_one_machine(name)
    agree_on_parts(known, partitioning, seed, encode=True)
    expected = known[2]
    assert (expected.encoding is None) == (name == "numbers")


def test_an_encoding_that_is_given_and_what_it_does_not_know():
    X, y = raw()
    X = X.drop(columns=["mixed", "grouped"])
    encoding = Encoding.fit(X[20:60])
    sentences = []
    shards = shards_of(X, y, [1, 30, 31, 149], [0, 1], 2)
    networks = []
    for run in (
        lambda: fastmem.interpolate(X, y, seed=1, encode=encoding, decision="vote"),
        lambda: fit(LocalShards(shards), encode=encoding, decision="vote"),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            networks.append(run())
        sentences.append([str(one.message) for one in caught])
    agree(*networks)
    assert sentences[0] == sentences[1] and len(sentences[0]) > 2


def test_the_next_fit_takes_the_table_as_it_came():
    X, y, expected = on_one_machine("raw")
    transport = LocalShards(shards_of(X, y, [40, 90], [0, 1], 2))
    for _ in range(2):
        agree(fit(transport, encode=True), expected)
    with pytest.raises(fastmem.InvalidInputError):
        fit(transport)
    X, y, expected = on_one_machine("numbers")
    transport = LocalShards(shards_of(X, y, [40, 90], [0, 1], 2))
    encoded = fit(transport, encode=Encoding.fit(X))
    agree(encoded, fit_here(X, y, encode=Encoding.fit(X)))
    agree(fit(transport), expected)


NUMBERS = ["1", "2.5", "-7", "0.1", "12", "300", "-0.25", None]
COLUMNS = [
    NUMBERS, [*NUMBERS, "1,000", "22,000"], ["true", "False", None], ["3:20", "14:59:07.5", None],
    ["2020-02-03", "1999-12-31", "2020-02-10", None], ["a", "b", "12", None],
    ["2020-02-03T12:00:00", "2020-02-03T12:00:00.25", "2020-02-04T12:00:00"],
    ["1", "2.5", "1,000", "true", "3:20", "2020-02-03", "a", None],
    [str(2**60), str(2**60 + 1), "-5"],
]  # fmt: skip


@settings(max_examples=200)
@given(
    st.sampled_from(COLUMNS).flatmap(lambda some: st.lists(st.sampled_from(some), max_size=40)),
    st.lists(st.integers(0, 8) | st.integers(0, 40), max_size=5),
    st.integers(1, 9),
)
@example(["2020-02-03", "2020-02-03", "2020-02-10"], [2], 9)
@example(["2020-02-03T12:00:00.25", "2020-02-03T12:00:00.25", "2020-02-04T12:00:00"], [2], 9)
def test_profiles_of_parts_are_joined_to_that_of_all(values, cuts, most):
    """Against one that sees all in one chunk; samples are of a few values."""
    kept, profile._SAMPLE = profile._SAMPLE, most
    try:
        column = pyarrow.array(values, pyarrow.string())

        def fresh():
            return profile.Profile("c", pyarrow.string(), Wording(), ".", None)

        whole, joined, parts = fresh(), fresh(), []
        bounds = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
        chunks = [column[start:stop] for start, stop in pairwise(bounds)]

        def look(one, seen):
            for chunk in seen:
                one.see(chunk)
            if one.needs_another_look:
                one.look_again()
                for chunk in seen:
                    one.see(chunk)

        look(whole, [column])
        for _ in range(2):
            for chunk in chunks:
                one = profile.Profile("c", pyarrow.string(), Wording(), ".", None)
                one._form = joined._form if joined._form == "levels" else None
                one.see(chunk)
                joined.join(one.without_sample())
            if not joined.needs_another_look:
                break
            joined.look_again()
        if joined.has_median:
            before = 0
            for chunk in chunks:
                some, before = joined.sample_in(chunk, before)
                parts.append(some)
            joined.take_sample(parts)
            assert np.array_equal(joined._sample.values, whole._sample.values)
        assert decided(joined) == decided(whole)
        assert joined.fits_float32 == whole.fits_float32
    finally:
        profile._SAMPLE = kept


def decided(one):
    try:
        return one.decided(0)
    except fastmem.InvalidInputError as error:
        return str(error)


LABELS = {
    "bools": lambda y: y > 1,
    "categories": lambda y: pandas.Series(np.array(["b", "a", "c", "d"])[y]).astype("category"),
    "numbers as categories": lambda y: pandas.Categorical(10 - y),
    "strings of arrow": lambda y: pyarrow.array(np.array(["b", "a", "c", "d"])[y].tolist()),
    "a dictionary": lambda y: pyarrow.array(np.array(["b", "a", "c", "d"])[y]).dictionary_encode(),
    "a list": lambda y: [int(label) for label in y],
    "objects": lambda y: np.array(["b", "Straße", "c", "d"], object)[y],
    "whole floats": lambda y: y / 1.0,
    "narrow": lambda y: y.astype(np.int16),
    "a series of strings": lambda y: pandas.Series(np.array(["b", "a", "c", "d"])[y]),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_of_all_kinds(name):
    X, y = blobs(150)
    y = LABELS[name](y)
    expected = fit_here(X, y)
    found = fit(LocalShards(shards_of(X, y, [0, 1, 40, 150], [0, 1], 2)))
    agree(found, expected)
    assert found.classes_.dtype == expected.classes_.dtype
    assert found.classes_.tolist() == expected.classes_.tolist()


@pytest.mark.parametrize("ordered", [False, True])
def test_a_column_may_be_of_categories_in_some_parts_only(ordered):
    X, y = raw()
    X = X[[]].assign(word=np.array(["b", "a", "cc"])[np.arange(len(X)) % 3], k=np.arange(len(X)))
    categories = pandas.CategoricalDtype(["cc", "b", "a", "d"], ordered)
    parts = [X[:50].astype({"word": categories}), X[50:90], X[90:].astype({"word": "category"})]
    expected = fit_here(pandas.concat(parts), y, encode=True)
    ends = [0, 50, 90, len(X)]
    shards = [
        [Part(k, part, y[i:j])]
        for k, (part, (i, j)) in enumerate(zip(parts, pairwise(ends), strict=True))
    ]
    agree(fit(LocalShards(shards), encode=True), expected)


def test_a_column_may_have_no_values_in_some_parts():
    X, y = raw()
    word = np.array(["b", "a", None], object)[np.arange(len(X)) % 3]
    X = X[[]].assign(word=word, k=np.arange(len(X)))
    parts = [X[:50].assign(word=np.nan), X[50:90], X[90:].assign(word=None, k=X["k"] + 0.5)]
    expected = fit_here(pandas.concat(parts), y, encode=True)
    shards = [[Part(2, parts[2], y[90:]), Part(0, parts[0], y[:50])], [Part(1, parts[1], y[50:90])]]
    agree(fit(LocalShards(shards), encode=True), expected)


@pytest.mark.parametrize("elsewhere", ["times", "zones", "spans", "categories", "nothing"])
def test_categories_or_texts_without_values_may_stand_beside_anything(elsewhere):
    X, y = raw()
    X = X[[]].assign(k=np.arange(len(X)))
    at = pandas.Timestamp("2020-01-01") + pandas.to_timedelta(np.arange(100) % 9, "D")
    found = pandas.Series({
        "times": [one.time() for one in at], "zones": at.tz_localize("UTC"), "categories": at,
        "spans": at - at[0], "nothing": [None] * 100,
    }[elsewhere])  # fmt: skip
    if elsewhere == "categories":
        found = found.astype("category")
    parts = [
        X[:20].assign(c=pandas.Categorical([None] * 20)),
        X[20:50].assign(c=pandas.Categorical([None] * 30, ["a", "b"])),
        X[50:].assign(c=found.to_numpy(object) if elsewhere == "times" else found.array),
    ]
    values = pyarrow.Table.from_pandas(parts[2])["c"]
    column = pyarrow.chunked_array([pyarrow.nulls(50, values.type), *values.chunks])
    expected = fit_here(pyarrow.table({"k": X["k"], "c": column}), y, encode=True)
    ends = [0, 20, 50, len(X)]
    shards = [
        [Part(k, part, y[i:j])]
        for k, (part, (i, j)) in enumerate(zip(parts, pairwise(ends), strict=True))
    ]
    agree(fit(LocalShards(shards), encode=True), expected)


@pytest.mark.parametrize("others", ["abc", "cba", "abcd"])
def test_categories_may_be_ordered_in_other_ways_in_other_parts(others):
    X, y = raw()
    X = X[[]].assign(word=np.array(["b", "a", "c"])[np.arange(len(X)) % 3], k=np.arange(len(X)))
    parts = [
        part.astype({"word": pandas.CategoricalDtype(list(levels), ordered=True)})
        for part, levels in ((X[:80], "abc"), (X[80:], others))
    ]
    expected = fit_here(pandas.concat(parts), y, encode=True)
    shards = [[Part(1, parts[1], y[80:])], [Part(0, parts[0], y[:80])]]
    agree(fit(LocalShards(shards), encode=True), expected)
    tables = [pyarrow.Table.from_pandas(part, preserve_index=False) for part in parts]
    for some in (tables, [tables[0][:0], *tables]):
        agree(fit_here(pyarrow.concat_tables(some), y, encode=True), expected)
    agree(fit(LocalShards([[Part(0, pyarrow.concat_tables(tables), y)]]), encode=True), expected)


def test_pieces_without_rows_order_no_categories():
    words = [pandas.CategoricalDtype(list(levels), ordered=True) for levels in ("abc", "cba")]
    frame = pandas.DataFrame({"word": np.array(["b", "a", "c"])[np.arange(60) % 3], "k": range(60)})
    whole, nothing = (
        pyarrow.Table.from_pandas(some.astype({"word": one}), preserve_index=False)
        for some, one in zip((frame, frame[:0]), words, strict=True)
    )
    y = np.arange(60) % 4
    expected = fit_here(whole, y, encode=True)
    assert expected.encoding.feature_names == ["word", "k"]
    pieces = pyarrow.concat_tables([nothing, whole[:20]])
    shards = [[Part(0, pieces, y[:20])], [Part(1, whole[20:], y[20:])]]
    agree(fit(LocalShards(shards), encode=True), expected)
    agree(fit_here(pyarrow.concat_tables([nothing, whole]), y, encode=True), expected)


X, Y = blobs(60)
FRAME = pandas.DataFrame(X, columns=list("abcdef"))
WRONG = {
    "columns": (
        [Part(0, FRAME, Y), Part(1, FRAME.drop(columns="a"), Y)],
        "part 1 has other columns than part 0",
    ),
    "types": (
        [Part(0, FRAME, Y), Part(1, FRAME.assign(a="word"), Y)],
        r"column 'a' is of type double in part 0 and of type (large_)?string in part 1, which no "
        r"column has together; make it of one type in all of them",
    ),
    "bools below nothing": (
        [Part(0, FRAME.assign(a=np.nan), Y), Part(1, FRAME.assign(a=True), Y)],
        "column 'a' is of type double in part 0 and of type bool in part 1, which no column",
    ),
    "rounded": (
        [Part(0, FRAME, Y), Part(1, FRAME.assign(a=2**53 + np.arange(60)), Y)],
        "in part 1, column 'a' is of type int64, and of all parts together of type double",
    ),
    "arrays": ([Part(0, X, Y)], r"\(ndarray\), whose columns have no names"),
    "no rows": ([Part(0, FRAME[:0], Y[:0])], "X has no rows of data"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_tables_are_refused(name):
    parts, words = WRONG[name]
    with pytest.raises(fastmem.InvalidInputError, match=words):
        fit(LocalShards([parts[::2], parts[1::2]]), encode=True)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            [Part(0, X, Y), Part(1, X, Y.astype(str))],
            "part 1 has labels of <U1 and part 0 of int64",
        ),
        ([Part(0, X, Y > 0), Part(1, X, Y)], "part 1 has labels of int64 and part 0 of bool"),
        ([Part(0, X, Y), Part(1, X, Y + 0.5)], re.escape("in part 1, y[0] is ")),
        (
            [Part(0, X, Y), Part(1, X, Y.astype(np.uint64) + np.uint64(2**63))],
            "part 1 has the label 9223372036854775809 of uint64, which is rounded beside those",
        ),
        (
            [Part(0, X, Y + 2**53), Part(1, X, Y.astype(float))],
            "part 0 has the label 9007199254740993 of int64.*; give all parts integers of one type",
        ),
        ([Part(0, X, Y.astype("datetime64[D]"))], "in part 0, y has dtype datetime64"),
    ],
)
def test_wrong_labels_are_refused(parts, words):
    with pytest.raises(fastmem.InvalidInputError, match=words):
        fit(LocalShards([parts]))


def test_encode_is_none_of_what_it_may_be():
    with pytest.raises(fastmem.InvalidInputError, match="encode is 'yes'"):
        fit(LocalShards([[Part(0, X, Y)]]), encode="yes")
