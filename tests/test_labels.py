"""Labels of every dtype, out to its ends: which classes there are, and which label is which."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import fastmem
from fastmem.inputs import InvalidInputError, check_known_labels, check_labels

FLOATS = {np.float16: 11, np.float32: 24, np.float64: 53}  # bits of a significand
INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
LONG = np.finfo(np.longdouble).nmant > 52
DTYPES = [np.bool_, *INTEGERS, *FLOATS, *([np.longdouble] if LONG else [])]
REPORTED = {  # the subtraction of the least label was rounded, or wrapped
    "two of three classes": [-2047, 2045, 2046],
    "beyond the table": [-2047, 2048, 2046],
}
whole = st.integers(-70_000, 70_000)


@st.composite
def arrays(draw):
    """Whole labels of any dtype: near its ends, near where its floats skip, and near zero."""
    dtype = draw(st.sampled_from(DTYPES))
    if dtype is np.bool_:
        values = draw(st.lists(st.booleans(), min_size=2, max_size=30))
    elif dtype in INTEGERS:
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        near = st.integers(0, 300).map(lambda i: min(i, high - low))
        ends = [st.integers(low, high), near.map(lambda i: low + i), near.map(lambda i: high - i)]
        values = draw(st.lists(st.one_of(ends), min_size=2, max_size=30))
    else:
        bits = FLOATS.get(dtype, 62)
        largest = int(np.finfo(dtype).max) if dtype is np.float16 else 2 ** min(62, bits + 12)
        edge = st.builds(
            lambda sign, i: sign * min(2**bits + i, largest),
            st.sampled_from([-1, 1]), st.integers(-40, 40),
        )  # fmt: skip
        wide = st.integers(-largest, largest)
        values = draw(st.lists(st.one_of(whole, edge, wide), min_size=2, max_size=30))
        values = [max(-largest, min(largest, value)) for value in values] + [0, -0.0]
    return np.array(values, dtype)


def as_numbers(labels):
    """Exact Python numbers."""
    return [int(label) for label in labels]


@given(arrays(), st.booleans())
@example(np.array(REPORTED["two of three classes"], np.float16), False)
@example(np.array(REPORTED["beyond the table"], np.float16), True)
@example(np.array([2**63, 2**64 - 1, 2**64 - 2], np.uint64), False)
@example(np.array([-(2**63), 2**63 - 1, 2**63 - 2]), False)
@example(np.array([2.0**63, 2.0**63 + 2048, -(2.0**63)]), False)
@example(np.array([1e300, -1e300, 1.0]), False)
def test_classes_are_numpys_unique_ones_and_codes_name_every_label(labels, swap):
    if len(set(as_numbers(labels))) == 1:
        with pytest.raises(InvalidInputError, match=r"^y holds one class only"):
            check_labels(labels, len(labels))
        return
    given = labels.astype(labels.dtype.newbyteorder("S")) if swap else labels
    classes, codes = check_labels(given, len(labels))
    assert as_numbers(classes) == sorted(set(as_numbers(labels)))
    assert as_numbers(classes) == as_numbers(np.unique(labels))
    assert as_numbers(classes[codes]) == as_numbers(labels)
    assert not np.signbit(classes[classes == 0]).any()
    if labels.dtype.itemsize <= 8:
        assert classes.dtype == labels.dtype
    np.testing.assert_array_equal(check_known_labels(given, len(labels), classes), codes)
    as_objects = labels.astype(object) if labels.dtype.itemsize <= 8 else list(labels)
    np.testing.assert_array_equal(check_labels(as_objects, len(labels))[1], codes)


@pytest.mark.parametrize(
    ("dtype", "low", "n"),
    [
        (np.float16, -2048, 4097),  # every label: a table of codes, some of them at its ends
        (np.float32, 2**24 - 70_000, 70_001),
        (np.float64, 2**53 - 66_000, 66_001),
        (np.float64, -(2**53), 66_001),
        (np.int8, -128, 256),
        (np.int64, -(2**63), 66_000),
        (np.uint64, 2**64 - 66_000, 66_000),
    ],
)
def test_dense_ranges_of_labels_have_their_places_as_codes(dtype, low, n):
    labels = np.array([low + i for i in range(n)], dtype=dtype)
    order = np.random.default_rng(0).permutation(n)
    classes, codes = check_labels(labels[order], n)
    assert as_numbers(classes) == list(range(low, low + n))
    np.testing.assert_array_equal(codes, order)


@pytest.mark.skipif(not LONG, reason="long double is double here")
def test_long_doubles_are_float64_or_integers_or_refused():
    two = np.longdouble(2)
    for labels in (np.array([two**53, two**53 + 1]), [two**53, two**53 + 1]):
        classes, codes = check_labels(labels, 2)
        assert (classes.tolist(), codes.tolist()) == ([2**53, 2**53 + 1], [0, 1])
    classes, _ = check_labels(np.array([two**63 + 1, two * 0]), 2)
    assert classes.dtype == np.uint64 and classes.tolist() == [0, 2**63 + 1]
    classes, _ = check_labels(np.array([two**80, two * 0]), 2)
    assert classes.dtype == np.float64
    above_one = np.nextafter(np.longdouble(1), 2)  # float() makes 1.0 of it
    for labels in ([1, above_one], np.array([1, above_one])):
        with pytest.raises(InvalidInputError, match=r"y\[1\] is 1\.0+1, not a whole number"):
            check_labels(labels, 2)
    for labels in ([two**70, two**70 + 128], np.array([two**4000, two**2])):
        with pytest.raises(InvalidInputError, match="beyond 64 bits; number the classes"):
            check_labels(labels, 2)


def test_a_null_among_the_values_of_a_dictionary_rounds_nothing():
    pa = pytest.importorskip("pyarrow")
    values = pa.array([2**53 + 1, None, 2**53])
    classes, codes = check_labels(
        pa.DictionaryArray.from_arrays(pa.array([0, 2, 2]), values), 3
    )  # NumPy has NaN, and so floats, where there is a null
    assert (classes.tolist(), codes.tolist()) == ([2**53, 2**53 + 1], [1, 0, 0])
    with pytest.raises(InvalidInputError, match=r"y has no value at row 1, and 1 of its 3 labels"):
        check_labels(pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), values), 3)


def test_integers_of_128_bits_are_taken_where_64_hold_them():
    pl = pytest.importorskip("polars")
    if not hasattr(pl, "Int128"):
        pytest.skip("polars knows none")
    classes, codes = check_labels(pl.Series([2**53 + 1, 2**53], dtype=pl.Int128), 2)
    assert (classes.tolist(), codes.tolist()) == ([2**53, 2**53 + 1], [1, 0])
    with pytest.raises(InvalidInputError, match=f"y reaches {2**100}, beyond 64 bits"):
        check_labels(pl.Series([2**100, 1], dtype=pl.Int128), 2)


# --- the whole way ------------------------------------------------------------------------------


def forms(labels):
    """Labels as users bring them."""
    pd = pytest.importorskip("pandas")
    pa = pytest.importorskip("pyarrow")
    yield labels
    yield np.stack([labels, labels], axis=1)[:, 0]
    yield labels.tolist()
    yield pd.Series(labels)
    yield pd.DataFrame({"y": labels})["y"]
    yield pa.array(labels)
    yield pa.chunked_array([pa.array(labels[:2]), pa.array(labels[2:])])


@pytest.mark.parametrize("name", REPORTED)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_networks_of_small_floats_are_right(tmp_path, name, dtype):
    labels = np.array(REPORTED[name] * 2, dtype)
    X = np.arange(6.0)[:, None]
    for y in forms(labels):
        net = fastmem.interpolate(X, y, seed=0)
        assert net.classes_.tolist() == sorted(REPORTED[name])
        assert net.predict(X).tolist() == labels.tolist()
        assert net.score(X, y) == 1.0
        assert net.score(X, np.where(np.arange(6) == 3, REPORTED[name][1], labels)) == 5 / 6
    net.save(tmp_path / "net.npz")
    again = fastmem.load(tmp_path / "net.npz")
    assert again.predict(X).tolist() == labels.tolist()


def test_eight_million_labels_of_float32_keep_their_classes():
    n = 1 << 23  # so many that classes stand in a table as wide as float32's whole numbers
    values = [-(2**24) + 1, 2**24 - 4, 2**24 - 3]
    classes, codes = check_labels(np.resize(np.array(values, np.float32), n), n)
    assert classes.tolist() == values
    np.testing.assert_array_equal(codes, np.resize([0, 1, 2], n))


def test_labels_of_files_are_right(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    from fastmem.tables import load_table

    X = np.arange(6.0)[:, None]
    for values in REPORTED.values():
        labels = np.array(values * 2, np.float16)
        np.savez(tmp_path / "points.npz", X=X, y=labels)
        pq.write_table(pa.table({"x": X[:, 0], "y": labels}), tmp_path / "points.parquet")
        for file, label in (("points.npz", None), ("points.parquet", "y")):
            table = load_table(tmp_path / file, label, labels_required=True)
            net = fastmem.interpolate(table.points, table.labels, seed=0)
            assert net.predict(X).astype(float).tolist() == labels.tolist()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint64, np.int64])
def test_the_classifier_is_right_at_the_ends(dtype):
    sklearn = pytest.importorskip("fastmem.sklearn")
    values = REPORTED["beyond the table"]
    if np.issubdtype(dtype, np.integer):
        values = [np.iinfo(dtype).min, np.iinfo(dtype).max, np.iinfo(dtype).max - 1]
    X, y = np.arange(6.0)[:, None], np.array(values * 2, dtype)
    model = sklearn.InterpolatingClassifier(random_state=0).fit(X, y)
    assert model.classes_.tolist() == sorted(values)
    assert model.predict(X).tolist() == y.tolist()
    assert model.score(X, y) == 1.0
