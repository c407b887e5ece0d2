"""Columns of decimals: the nearest float64, as Python's float() makes of the same text."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

import fastmem
from fastmem.inputs import InvalidInputError, check_points

pa = pytest.importorskip("pyarrow")
pl = pytest.importorskip("polars")

KINDS = {"decimal128": (pa.decimal128, 38), "decimal256": (pa.decimal256, 76)}
if hasattr(pa, "decimal32"):  # pyarrow 19
    KINDS |= {"decimal32": (pa.decimal32, 9), "decimal64": (pa.decimal64, 18)}


@st.composite
def columns(draw):
    """An array of decimals of at most 15 digits that count, and what float() makes of them."""
    kind, most = KINDS[draw(st.sampled_from(sorted(KINDS)))]
    precision = draw(st.integers(1, most))
    scale = draw(st.integers(-5 if precision > 5 else 0, precision))
    digits = min(precision, 15)
    whole = draw(st.lists(st.integers(-(10**digits) + 1, 10**digits - 1), min_size=1, max_size=20))
    zeros = draw(st.integers(0, precision - digits))  # behind the digits
    with localcontext(prec=100):
        values = [Decimal(number).scaleb(zeros - scale) for number in whole]
    try:
        array = pa.array(values, kind(precision, scale))
    except pa.ArrowInvalid:  # Arrow does not take all that it can hold from Python
        reject()
    return array, [float(value) for value in values]


def chunks(array):
    """The same values as a table in pieces, with offsets, as a dictionary, and as lists."""
    padded = pa.concat_arrays([array[:1], array, array[-1:]])
    yield pa.table({"x": array})
    yield pa.table({"x": padded[1:-1]})
    yield pa.table({"x": pa.chunked_array([array[:1], array[1:]])})
    yield pa.table({"x": pa.FixedSizeListArray.from_arrays(array, 1)})
    if array.type.bit_width >= 128:  # Arrow makes no dictionaries of narrower ones
        yield pa.table({"x": array.dictionary_encode()})


def column(frame):
    points = check_points(frame)
    return points.block(0, points.n_samples)[:, 0]


@given(columns())
def test_decimals_are_rounded_once(made):
    array, expected = made
    for table in chunks(array):
        assert column(table).tolist() == expected
    if array.type.bit_width == 128 and array.type.scale >= 0:
        assert column(pl.from_arrow(pa.table({"x": array}))).tolist() == expected


def test_three_tenths_are_three_tenths():
    table = pa.table({"x": pa.array([Decimal("0.30"), Decimal("-0.70")])})
    for frame in (table, pl.from_arrow(table), table.to_pandas(types_mapper=_arrow_dtype)):
        assert column(frame).tolist() == [0.3, -0.7]


def _arrow_dtype(kind):
    return pytest.importorskip("pandas").ArrowDtype(kind)


def test_networks_of_decimals_know_the_same_numbers_as_floats(tmp_path):
    import pyarrow.parquet as pq

    from fastmem.tables import load_table

    generator = np.random.default_rng(0)
    whole = generator.permutation(2000)[:600].reshape(-1, 2)
    y = generator.integers(0, 3, 300)
    made = [[Decimal(int(one)).scaleb(-2) for one in numbers] for numbers in whole.T]
    table = pa.table({name: pa.array(one) for name, one in zip("ab", made, strict=True)})
    as_floats = whole / 100
    net = fastmem.interpolate(table, y, seed=0)
    assert net.score(as_floats, y) == 1.0
    same = fastmem.interpolate(as_floats, y, seed=0)
    np.testing.assert_array_equal(net.first.weights, same.first.weights)
    np.testing.assert_array_equal(net.first.biases, same.first.biases)
    pq.write_table(table.append_column("y", pa.array(y)), tmp_path / "points.parquet")
    points = load_table(tmp_path / "points.parquet", "y", labels_required=True).points
    np.testing.assert_array_equal(points.block(0, 300), as_floats)


@pytest.mark.parametrize("kind", [pa.decimal128(38, 18), pa.decimal256(76, 18)])
def test_only_values_of_too_many_digits_are_refused(kind):
    fine = [Decimal("12345678.9012345"), Decimal(2**53), Decimal(-(2**53)), Decimal("1e-15")]
    assert column(pa.table({"x": pa.array(fine, kind)})).tolist() == [float(v) for v in fine]
    for wrong in ("0.1234567890123456", "9007199254740993", "-1234567890123456.5"):
        values = pa.array([*fine, Decimal(wrong), Decimal(wrong)], kind)
        with pytest.raises(InvalidInputError, match=r"X at row 4, column 'x', is .*, more digits"):
            check_points(pa.table({"x": pa.chunked_array([values[:2], values[2:]])}))
        lists = pa.FixedSizeListArray.from_arrays(values, 2)
        with pytest.raises(InvalidInputError, match=r"X at row 2, column 'x\[0\]', is "):
            check_points(pa.table({"x": lists}))


def test_missing_decimals_are_named():
    values = pa.array([Decimal("0.1"), None, Decimal("0.2")])
    for table in (pa.table({"x": values}), pa.table({"x": values.dictionary_encode()})):
        with pytest.raises(InvalidInputError, match=r"column 'x' of X has no value at row 1, and"):
            check_points(table)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([2**53 + 2, 0, 2**63], pa.uint64()),
        ([-(2**53) - 2, 2**62, -(2**63)], pa.int64()),
        (np.array([6.1e-5, 65504, -0.1], np.float16), pa.float16()),
        (np.array([1e-45, 3.4e38, 0.1], np.float32), pa.float32()),
        ([True, False, True], pa.bool_()),
    ],
)
def test_other_types_of_arrow_keep_their_values(values, kind):
    expected = [float(value) for value in values]
    for array in (pa.array(values, kind), pa.array([values[0], *values], kind)[1:]):
        assert column(pa.table({"x": array})).tolist() == expected
        if kind != pa.float16():
            assert column(pa.table({"x": array.dictionary_encode()})).tolist() == expected
            assert column(pl.from_arrow(pa.table({"x": array}))).tolist() == expected
    for wrong in (2**53 + 1, 2**64 - 1):
        with pytest.raises(InvalidInputError, match="which float64 cannot hold exactly"):
            check_points(pa.table({"x": pa.array([0, wrong], pa.uint64())}))
