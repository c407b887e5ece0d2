"""Encoding: what columns of raw tables become, and that other tables become the same."""

from __future__ import annotations

import datetime as dt
import json
import pickle
import re
import warnings

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmem
from fastmem.encoding import Choices, Encoding, Surprises
from fastmem.encoding.codes import code_bits, codes
from fastmem.encoding.profile import _SAMPLE, _Sample
from fastmem.errors import InvalidInputError, UnknownValueWarning
from fastmem.inputs import Wording

fast = settings(max_examples=100, deadline=None)


def encoded(columns, **choices):
    encoding = Encoding.fit(columns, **choices)
    return encoding, encoding.transform(columns)


def features(columns, **choices):
    encoding, X = encoded(columns, **choices)
    return dict(zip(encoding.feature_names, X.T.tolist(), strict=True))


class Parts:
    """A table in batches of some rows each, as files come."""

    def __init__(self, columns, rows):
        self._table = pa.table(columns)
        self.names, self.types = self._table.column_names, self._table.schema.types
        self._rows = rows
        self.decimal = "."

    def batches(self):
        yield from self._table.to_batches(max_chunksize=self._rows)


class TestKinds:
    def test_numbers_stay(self):
        assert features({"a": [1.5, 2.0], "b": ["3", "-4e1"]}) == {"a": [1.5, 2], "b": [3, -40]}

    def test_each_number_is_the_nearest_to_its_text(self):
        texts = ["0.1", "2.675", "1e-320", "123456789012345.678", "+7", ".5", "5."]
        assert features({"a": texts}) == {"a": [float(text) for text in texts]}

    def test_thousands(self):
        assert features({"a": ["1,000", "3", "2,000,000.5"]}) == {"a": [1000, 3, 2_000_000.5]}

    @pytest.mark.parametrize("texts", [["True", "False"], ["true", "false"], ["TRUE", "FALSE"]])
    def test_truth_values(self, texts):
        assert features({"a": texts}) == {"a": [1, 0]}
        assert features({"a": [True, False]}) == {"a": [1, 0]}

    def test_two_levels_take_one_feature_and_three_take_three(self):
        assert features({"sex": ["m", "f", "m"]}) == {"sex=m": [1, 0, 1]}
        found = features({"c": ["z", "x", "y"]})
        assert found == {"c=x": [0, 1, 0], "c=y": [0, 0, 1], "c=z": [1, 0, 0]}

    def test_levels_that_are_numbers_are_in_their_order(self):
        encoding, _ = encoded({"c": ["10", "9", "2"]}, kinds={"c": "category"})
        assert encoding.feature_names == ["c=2", "c=9", "c=10"]

    def test_more_than_a_hundred_levels_get_signs_that_tell_them_apart(self):
        levels = [f"N{i}" for i in range(4044)] * 2
        encoding, X = encoded({"tail": levels})
        assert X.shape == (8088, 32)
        assert set(np.unique(X)) == {-1, 1}
        assert len(np.unique(X, axis=0)) == 4044
        assert X.dtype == np.float32

    def test_dates(self):
        days = ["2024-02-28", "2024-03-01", "2023-12-31"]
        found = features({"when": days})
        assert found == {
            "when: days since 2023-12-31": [59, 61, 0],
            "when: weekday": [2, 4, 6],
            "when: day of the year": [59, 61, 365],
        }
        assert features({"when": [dt.date.fromisoformat(day) for day in days]}) == found

    def test_dates_by_a_pattern(self):
        found = features({"when": ["28.2.2024", "1.3.2024"]}, kinds={"when": "%d.%m.%Y"})
        assert found["when: days since 2024-02-28"] == [0, 2]

    def test_timestamps_keep_every_digit(self):
        ticks = np.array([0, 1, 86_400 * 10**9 * 20_000 + 1, 86_400 * 10**9 * 20_000 + 2])
        found = features({"t": pa.array(ticks, pa.timestamp("ns"))})
        assert found["t: second of the day"] == [0, 1e-9, 1e-9, 2e-9]
        assert found["t: days since 1970-01-01"] == [0, 0, 20_000, 20_000]

    def test_timestamps_with_zones_are_instants(self):
        found = features({"t": ["2024-01-01T00:00:00Z", "2024-01-01T02:00:00+01:00"]})
        assert found["t: second of the day"] == [0, 3600]

    def test_times_of_day(self):
        assert features({"t": ["9:15", "23:59:59.5"]}) == {"t": [33_300, 86_399.5]}
        typed = pa.array([dt.time(9, 15), dt.time(0, 0, 1)], pa.time64("us"))
        assert features({"t": typed}) == {"t": [33_300, 1]}

    def test_ordered_dictionaries_are_ordinal(self):
        sizes = pa.DictionaryArray.from_arrays(
            [2, 0, 1], ["small", "medium", "large"], ordered=True
        )
        assert features({"size": sizes}) == {"size": [2, 0, 1]}

    def test_ordinal_by_choice(self):
        assert features({"r": ["10", "2", "9"]}, kinds={"r": "ordinal"}) == {"r": [2, 0, 1]}

    def test_lists_of_equal_length(self):
        assert features({"v": [[1.0, 2.0], [3.0, 4.0]]}) == {"v[0]": [1, 3], "v[1]": [2, 4]}

    def test_long_integers_are_not_rounded(self):
        ids = [2**53 + 1, 2**53 + 2, 2**53 + 4]
        assert features({"id": ids}) == {"id": [0, 1, 3]}
        assert features({"id": list(map(str, ids))}) == {"id": [0, 1, 3]}
        wide = [2**64 - 1, 2**63, 5]
        found = features({"id": list(map(str, wide))})
        high, low = found["id // 2**32"], found["id % 2**32"]
        assert [int(h) * 2**32 + int(lo) + 5 for h, lo in zip(high, low, strict=True)] == wide

    def test_names_longer_than_64_bits_are_categories(self):
        ids = [str(10**25 + i % 3) for i in range(30)]
        assert len(np.unique(encoded({"id": ids})[1], axis=0)) == 3

    def test_decimals(self):
        found = features(
            {"p": pa.array([dt_decimal("0.3"), dt_decimal("1.1")], pa.decimal128(9, 2))}
        )
        assert found == {"p": [0.3, 1.1]}


def dt_decimal(text):
    from decimal import Decimal

    return Decimal(text)


class TestMissing:
    def test_numbers_get_their_median_and_a_flag(self):
        found = features({"a": [3.0, None, 1.0, 2.0, float("nan")]})
        assert found == {"a": [3, 2, 1, 2, 2], "a is missing": [0, 1, 0, 0, 1]}

    def test_categories_get_a_flag(self):
        found = features({"a": ["x", None, "y"]})
        assert found == {"a=y": [0, 0.5, 1], "a is missing": [0, 1, 0]}

    def test_a_dictionary_may_hold_the_missing_value(self):
        column = pa.DictionaryArray.from_arrays([0, 1, 2, 1], ["x", None, "y"])
        assert features({"a": column}) == {"a=y": [0, 0.5, 1, 0.5], "a is missing": [0, 1, 0, 1]}

    def test_dates_get_their_median(self):
        found = features({"d": ["2024-01-03", None, "2024-01-01"]})
        assert found["d: days since 2024-01-01"] == [2, 0, 0]
        assert found["d is missing"] == [0, 1, 0]

    def test_missing_at_predict_only_is_told(self):
        encoding = Encoding.fit({"a": [1.0, 2.0, 3.0], "c": ["x", "y", "z"]})
        with pytest.warns(UnknownValueWarning) as caught:
            X = encoding.transform({"a": [None, 1.0], "c": [None, "x"]})
        assert len(caught) == 2
        assert X.tolist() == [[2, 0, 0, 0], [1, 1, 0, 0]]

    def test_unknown_levels_are_told_and_count_as_none(self):
        encoding = Encoding.fit({"c": ["x", "y", "z"], "d": ["u", "v", "u"]})
        with pytest.warns(UnknownValueWarning, match="'c' has 2 values .*'new'"):
            X = encoding.transform({"c": ["new", "x", "new"], "d": ["u", "v", "u"]})
        assert X[:, :3].tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 0]]
        many = Encoding.fit({"c": [f"l{i}" for i in range(150)] * 2})
        with pytest.warns(UnknownValueWarning, match="did not know"):
            assert not many.transform({"c": ["other"]}).any()

    def test_what_is_no_number_is_refused_with_its_place(self):
        encoding = Encoding.fit({"a": ["1", "2", "3"]})
        with pytest.raises(
            InvalidInputError, match="row 1, column 'a', is 'x', which is not a num"
        ):
            encoding.transform({"a": ["5", "x", "y"]})

    def test_values_that_are_wrong_only_together_are_refused_too(self):
        """Each by itself is a date: one with a zone, one without."""
        encoding = Encoding.fit({"d": ["2024-01-01", "2024-01-02", "2024-02-03"]})
        mixed = ["2024-01-01", "2024-01-01 10:00", "2024-01-01T00:00:00Z", "2024-01-05"]
        with pytest.raises(InvalidInputError, match=r"row 2, column 'd', is .* not a date"):
            encoding.transform({"d": mixed})
        with pytest.raises(InvalidInputError, match=r"holds '2024-01-01T00:00:00Z', .* not a date"):
            Encoding.fit({"d": mixed}, kinds={"d": "date"})
        assert Encoding.fit({"d": mixed}).columns[0].kind == "one-hot"

    @pytest.mark.parametrize("mark", ["?", "-", "."])
    def test_marks_among_numbers_are_asked_about(self, mark):
        with pytest.raises(
            InvalidInputError, match=rf"holds '\{mark}' among numbers: give --missing"
        ):
            Encoding.fit({"a": ["1", mark, "2"]})
        assert features({"a": ["1", mark, "2"]}, kinds={"a": "category"})[f"a={mark}"] == [0, 1, 0]


class TestLeftOut:
    def test_columns_that_tell_nothing(self):
        table = {
            "x": [1.0, 2.0] * 15,
            "empty": [None] * 30,
            "same": ["one"] * 30,
            "name": [f"person {i}" for i in range(30)],
        }
        encoding = Encoding.fit(table)
        assert set(encoding.left_out) == {"empty", "same", "name"}
        assert encoding.feature_names == ["x"]
        kept = Encoding.fit(table, kinds={"name": "code"})
        assert "name" not in kept.left_out

    def test_drop_and_keep(self):
        table = {"a": [1, 2], "b": [3, 4], "c": [5, 6]}
        assert Encoding.fit(table, drop=["a"]).feature_names == ["b", "c"]
        assert Encoding.fit(table, keep=["a"]).feature_names == ["a"]

    def test_nothing_left(self):
        with pytest.raises(InvalidInputError, match="no column that tells its rows apart"):
            Encoding.fit({"a": ["x", "x"]})

    @pytest.mark.parametrize(
        ("choices", "said"),
        [
            ({"drop": ["aa"]}, r"no column 'aa' \(did you mean 'a'\?\)"),
            ({"kinds": {"a": "numbr"}}, r"'numbr' \(did you mean 'number'\?\)"),
            ({"kinds": {"a": "date"}}, "not a date"),
            ({"kinds": {"a": "number"}}, "not a number that float64 holds"),
            ({"kinds": {"a": "bool"}}, "not true or false"),
        ],
    )
    def test_wrong_choices(self, choices, said):
        with pytest.raises(InvalidInputError, match=said):
            Encoding.fit({"a": ["x", "y"]}, **choices)

    def test_no_table(self):
        with pytest.raises(InvalidInputError, match="columns have no names"):
            Encoding.fit(np.zeros((3, 2)))
        with pytest.raises(InvalidInputError, match="several columns named 'a'"):
            Encoding.fit(pa.table([[1], [2]], names=["a", "a"]))
        with pytest.raises(InvalidInputError, match="Arrow cannot take over"):
            Encoding.fit({"a": [1, "x", object()]})


values = {
    "number": st.floats(allow_nan=False, allow_infinity=False).map(repr),
    "whole": st.integers(-(2**63), 2**64 - 1).map(str),
    "text": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4),
    "date": st.dates(dt.date(1600, 1, 1)).map(str),
    "moment": st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)).map(str),
    "bool": st.sampled_from(["True", "False"]),
}


@fast
@given(st.data())
def test_rows_that_differ_stay_different(data):
    """Every column by itself: different values, and a missing one, get different features."""
    kind = data.draw(st.sampled_from(sorted(values)))
    column = data.draw(st.lists(st.none() | values[kind], min_size=2, max_size=40))
    try:
        encoding = Encoding.fit({"a": column, "b": list(range(len(column)))})
    except InvalidInputError as refusal:
        assert "among numbers" in str(refusal)
        return
    if encoding.left_out:
        return
    names = [name for name in encoding.feature_names if name != "b"]
    X = encoding.transform({"a": column, "b": [0] * len(column)})[:, : len(names)]
    meaning = {
        "number": float, "whole": int, "date": str, "bool": str, "text": str,
        "moment": dt.datetime.fromisoformat,
    }[kind]  # fmt: skip
    if kind == "text":  # "1" and "1.0" are one number where all texts are numbers
        forms = {column.kind for column in encoding.columns if column.name == "a"}
        meaning = str if forms <= {"one-hot", "code"} else (lambda text: None)
        if meaning("") is None:
            return
    means = [None if value is None else meaning(value) for value in column]
    for i in range(len(column)):
        for j in range(i):
            assert (means[i] == means[j]) == bool((X[i] == X[j]).all())


@fast
@given(
    st.lists(st.none() | st.sampled_from(["1", "2.5", "x", "2020-01-01", "10:00", "true"]),
             min_size=1, max_size=30),
    st.integers(1, 7),
)  # fmt: skip
def test_batches_make_no_difference(column, rows):
    table = {"a": column, "b": [str(i % 3) for i in range(len(column))]}
    outcomes = []
    for size in (rows, 1000):
        source = Parts(table, size)
        try:
            encoding = Encoding.of_source(source, Choices(), Wording("t"))
        except InvalidInputError as refusal:
            outcomes.append(str(refusal).partition("holds")[0])
            continue
        blocks = encoding.batches(source, Wording("t"), Surprises())
        outcomes.append((encoding.to_dict(), np.concatenate(list(blocks)).tolist()))
    assert outcomes[0] == outcomes[1]


@fast
@given(st.lists(st.integers(1, 3000), max_size=120), st.integers(0, 2**32))
def test_the_sample_is_every_so_many_th(sizes, seed):
    sample, total = _Sample(), 0
    scaled = [size * 300 for size in sizes]
    for size in scaled:
        sample.add(np.arange(total, total + size, dtype=np.float64))
        total += size
    kept = sample.values
    assert len(kept) <= _SAMPLE
    step = sample._step
    np.testing.assert_array_equal(kept, np.arange(0, total, step))


def test_codes_are_the_same_everywhere():
    """Networks in files depend on them."""
    assert codes(["a"], 16, 7).tolist() == [[-1, -1, 1, 1, -1, 1, -1, 1, 1, 1, 1, -1, 1, 1, -1, -1]]
    levels = [str(i) for i in range(300)]
    assert code_bits(["a", "b"], 0) == 8
    assert code_bits(levels, 0) == 24
    assert len(np.unique(codes(levels, 24, 0), axis=0)) == 300


@pytest.fixture(scope="module")
def table():
    generator = np.random.default_rng(0)
    n = 300
    columns = {
        "size": generator.standard_normal(n),
        "weight": generator.permutation(n),
        "kind": generator.choice(["a", "b", "c"], n),
        "when": [str(day) for day in np.datetime64("2024-01-01") + generator.integers(0, 99, n)],
    }
    columns["size"][::7] = np.nan
    return columns, generator.integers(0, 3, n)


@pytest.fixture(scope="module")
def net(table):
    return fastmem.interpolate(*table, encode=True, seed=0)


class TestNetworks:
    def test_exact_on_the_table(self, net, table):
        X, y = table
        assert net.score(X, y) == 1
        assert (net.predict(pa.table(X)) == y).all()
        assert net.n_features_in_ == len(net.feature_names) == net.encoding.n_features
        assert net.score(net.encoding.transform(X), y) == 1

    def test_other_libraries_and_orders(self, net, table):
        pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
        X, y = table
        frame = pd.DataFrame(X)[["when", "size", "kind", "weight"]].assign(more=1)
        assert (net.predict(frame) == y).all()
        assert (net.predict(pl.DataFrame(X)) == y).all()
        assert (net.predict(frame.astype({"when": "datetime64[us]"})) == y).all()

    @pytest.mark.parametrize("kind", ["String", "Categorical", "Enum"])
    def test_texts_of_polars_with_and_without_missing_ones(self, kind):
        """Which Arrow has as views, that it neither filters nor casts."""
        pl = pytest.importorskip("polars")
        dtype = pl.Enum(["low", "mid", "high"]) if kind == "Enum" else getattr(pl, kind)
        for first in ("high", None):
            words = [first, "low", "mid", "low"] * 10
            frame = pl.DataFrame({"a": pl.Series(words, dtype=dtype), "b": range(40)})
            plain = pa.array(words, pa.large_string())
            if kind == "Enum":
                codes = pa.array(frame["a"].to_physical().to_list(), pa.int8())
                levels = pa.array(["low", "mid", "high"])
                plain = pa.DictionaryArray.from_arrays(codes, levels, ordered=True)
            table = pa.table({"a": plain, "b": range(40)})
            y = np.arange(40) % 3
            made, expected = (
                fastmem.interpolate(X, y, encode=True, seed=0) for X in (frame, table)
            )
            assert made.encoding.to_dict() == expected.encoding.to_dict()
            np.testing.assert_array_equal(made.first.weights, expected.first.weights)
            assert (made.predict(frame) == y).all() and (made.predict(table) == y).all()

    def test_files_and_pickles(self, net, table, tmp_path):
        X, y = table
        net.save(tmp_path / "net.npz")
        for again in (fastmem.load(tmp_path / "net.npz"), pickle.loads(pickle.dumps(net))):
            assert again.score(X, y) == 1
            assert again.encoding.to_dict() == net.encoding.to_dict()

    def test_an_encoding_made_before(self, net, table):
        X, y = table
        encoding = Encoding.fit(X)
        same = fastmem.interpolate(X, y, encode=encoding, seed=0)
        np.testing.assert_array_equal(same.first.weights, net.first.weights)

    @pytest.mark.parametrize(
        "values",
        [
            ["1", "2.5"], ["1,000", "20"], ["true", "false"], ["3:20", "14:10"],
            ["2020-01-01", "2021-05-03"], ["2020-01-01T10:00:00Z", "2021-05-03T11:00:00Z"],
        ],
        ids=["numbers", "thousands", "truth", "times", "dates", "zones"],
    )  # fmt: skip
    def test_rows_none_of_which_has_a_value(self, values):
        """Whatever type a library gives them."""
        X = pa.table({"a": [*values, None] * 6, "b": range(18)})
        net = fastmem.interpolate(X, np.arange(18) % 2, encode=True, seed=0)
        texts = pa.dictionary(pa.int8(), pa.string())
        for kind in (pa.string(), pa.null(), pa.float64(), pa.date32(), texts):
            some = pa.table({"a": pa.nulls(2, kind), "b": [2, 5]})
            np.testing.assert_array_equal(
                net.encoding.transform(some), net.encoding.transform(X.take([2, 5]))
            )
        assert net.encoding.transform(X[:0]).shape == (0, net.n_features_in_)

    @pytest.mark.parametrize("kind", ["category", "code", "ordinal", "number", "bool", "date"])
    @pytest.mark.parametrize(
        "values",
        [
            pa.array([[1.0, 2.0], [1.0, 3.0]]), pa.array([{"a": 1}, {"a": 2}]),
            pa.array([b"a", b"\xff"]), pa.array([b"a", b"\xff"], pa.binary(1)),
            pa.array([b"a", b"\xff"], pa.binary_view()),
        ],
        ids=["lists", "structs", "bytes", "as many bytes", "bytes as views"],
    )  # fmt: skip
    def test_what_no_column_of_a_kind_is_made_of(self, values, kind):
        table = pa.table({"a": values, "b": [1, 2]})
        with pytest.raises(InvalidInputError, match="'a'"):
            Encoding.fit(table, kinds={"a": kind})
        known = {"category": "xy", "code": "xy", "ordinal": "xy", "number": "12"}.get(kind)
        known = known or {"bool": [True, False], "date": ["2020-01-01", "2020-01-02"]}[kind]
        encoding = Encoding.fit({"a": list(known), "b": [1, 2]}, kinds={"a": kind})
        with pytest.raises(InvalidInputError, match="'a'"):
            encoding.transform(table)

    def test_columns_of_no_feature(self):
        table = {"a": ["x", "x"], "b": [None, None]}
        words = "no column that tells its rows apart ('b': no values; 'a': one level alone)"
        with pytest.raises(InvalidInputError, match=re.escape(words)):
            Encoding.fit(table, kinds={"a": "one-hot"})

    def test_a_lacking_column(self, net, table):
        X = {name: column for name, column in table[0].items() if name != "kind"}
        with pytest.raises(InvalidInputError, match="has no column 'kind' of the fit"):
            net.predict(X)

    def test_numbers_alone_need_no_encoding(self):
        table = pa.table({"a": [1.0, 2.0, 3.0], "b": [1, 2, 4]})
        net = fastmem.interpolate(table, [0, 1, 0], encode=True, seed=0)
        assert net.encoding is None
        assert net.feature_names == ("a", "b")

    @pytest.mark.parametrize("encode", [1, "yes", None])
    def test_no_choice(self, encode, table):
        with pytest.raises(InvalidInputError, match=r"pass True, False or a fastmem\.tables"):
            fastmem.interpolate(*table, encode=encode)

    def test_arrays_cannot_be_encoded(self):
        with pytest.raises(InvalidInputError, match="columns have no names"):
            fastmem.interpolate(np.zeros((2, 2)), [0, 1], encode=True)


class TestStored:
    ENCODING = Encoding.fit(
        {
            "n": [1.5, None, 2.0], "i": [2**60, 2**60 + 1, 3], "c": ["x", "y", "z"],
            "o": pa.DictionaryArray.from_arrays([1, 0, 1], ["lo", "hi"], ordered=True),
            "d": ["2024-01-01", "2024-01-02", None], "v": [[1.0], [2.0], [3.0]],
            "k": ["a", "b", "c"],
        },
        kinds={"k": "code"},
    )  # fmt: skip

    def test_round_trip(self):
        stored = json.loads(json.dumps(self.ENCODING.to_dict()))
        assert Encoding.from_dict(stored).to_dict() == self.ENCODING.to_dict()

    def test_every_damage_is_refused(self):
        """Whatever stands in the place of any value: an encoding, or one sentence."""
        stored = self.ENCODING.to_dict()
        others = [None, True, -1, 2**70, 1.5, float("inf"), "x", "", [], ["x"], [1], {}, {"a": 1}]
        paths = [(key,) for key in stored]
        paths += [("columns", i) for i in range(len(stored["columns"]))]
        paths += [("columns", i, key) for i, c in enumerate(stored["columns"]) for key in c]
        for path in paths:
            for other in others:
                damaged = json.loads(json.dumps(stored))
                place = damaged
                for key in path[:-1]:
                    place = place[key]
                place[path[-1]] = other
                try:
                    Encoding.from_dict(damaged)
                except InvalidInputError as refusal:
                    assert "\n" not in str(refusal)


def test_nothing_is_said_where_nothing_is_new():
    encoding = Encoding.fit({"a": [1.0, None], "c": ["x", "y"]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoding.transform({"a": [None, 2.0], "c": ["y", "x"]})


def test_what_no_model_file_would_hold_is_refused_before_the_work():
    rows = 2_000
    table = {f"text {i}": [f"{i} {j} " + "x" * 1_500 for j in range(rows)] * 2 for i in range(3)}
    kinds = dict.fromkeys(table, "code")
    with pytest.raises(InvalidInputError, match=r"take more than 8 MB.*of all column 'text"):
        Encoding.fit(table, kinds=kinds)
    assert Encoding.fit(table, kinds=kinds, drop=["text 1", "text 2"]).n_features == 32
