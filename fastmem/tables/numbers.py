"""Columns of text as float64, for those who take numbers alone.

Arrow converts while it reads, as fast as can be. Where a cell is no number to it, or a whole
number is too large for float64, the texts are read and looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.inputs import Wording
from fastmem.inputs.refusals import show
from fastmem.inputs.values import refuse_inexact
from fastmem.tables.dialect import THOUSANDS
from fastmem.tables.raw_table import RawTable, shown

_EXACT = 2.0**53
_WHOLE = re.compile(r"([+-]?[0-9]+)(\.0*)?")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T]\d.*)?|\d{1,2}:\d{2}(:\d{2})?.*")
_SIGN = re.compile(r"[^\w\s]+|unknown|missing|none|n[./]?a\.?", re.IGNORECASE)
"""What looks like a sign for a missing value."""

Array = NDArray[Any]


class _NotPlain(Exception):
    """Numbers must be looked at as texts."""


def numeric_batches(raw: RawTable, label_at: int | None, wording: Wording) -> Iterator[Any]:
    """Give batches in which all columns of a table of texts but the label's are float64.

    'True' and 'False', in capitals or not, count as 1 and 0, in columns that hold nothing else.

    Parameters
    ----------
    raw : RawTable
        With ``from_text``.
    label_at : int or None
        The column that stays text.
    wording : Wording

    Raises
    ------
    InvalidInputError
        Where a value is no number, or an integer that float64 does not hold.
    """
    from pyarrow import ArrowInvalid

    texts = () if label_at is None else (label_at,)
    done = 0
    if raw.numbers is not None:
        try:
            for batch in raw.numbers(texts):
                _check_size([c for j, c in enumerate(batch.columns) if j not in texts])
                yield batch
                done += batch.num_rows
            return
        except (ArrowInvalid, _NotPlain):
            pass  # read anew, and say what is the matter or go on
    yield from _looked_at(raw, texts, wording, done)


def _check_size(columns: list[Any]) -> None:
    from pyarrow import compute, concat_arrays

    if not columns:
        return
    ends = compute.min_max(concat_arrays(columns)).as_py().values()
    if any(end is not None and abs(end) >= _EXACT for end in ends):
        raise _NotPlain


def _looked_at(raw: RawTable, texts: Sequence[int], wording: Wording, done: int) -> Iterator[Any]:
    """Give the batches that follow ``done`` rows, converted from texts."""
    from pyarrow import RecordBatch

    columns = [_Numbers(raw, j, wording) for j in range(len(raw.names))]
    above = 0
    for batch in raw.batches():
        arrays = [
            batch.column(j) if j in texts else column.read(batch.column(j), above)
            for j, column in enumerate(columns)
        ]
        above += batch.num_rows
        if above > done:
            whole = RecordBatch.from_arrays(arrays, names=[str(j) for j in range(len(arrays))])
            yield whole.slice(max(0, done - (above - batch.num_rows)))


class _Numbers:
    """A column of texts that should be numbers."""

    def __init__(self, raw: RawTable, at: int, wording: Wording) -> None:
        self._raw, self._name, self._wording = raw, raw.names[at], wording
        self._has_bools = self._has_others = False

    def read(self, texts: Any, above: int) -> Any:
        """Return a chunk of texts as float64; ``above`` rows are above it."""
        import pyarrow as pa
        from pyarrow import compute as pc

        is_true, is_false = (pc.is_in(texts, pa.array([word, word.upper(), word.lower()]))
                             for word in ("True", "False"))  # fmt: skip
        if pc.any(pc.or_(is_true, is_false)).as_py():
            self._has_bools = True
            numbers = pc.if_else(is_true, "1", pc.if_else(is_false, "0", texts))
        else:
            numbers = texts
        values = self._converted(numbers, texts, above)
        if self._has_bools or not self._has_others:
            others = pc.and_(texts.is_valid(), pc.invert(pc.or_(is_true, is_false)))
            unlike = pc.and_(others, pc.invert(pc.is_in(values, value_set=pa.array([0.0, 1.0]))))
            if self._has_bools and self._has_others:
                unlike = pc.or_(is_true, is_false)
            first = pc.index(unlike, True).as_py()
            self._has_others = self._has_others or first >= 0
            if self._has_bools and self._has_others:
                self._refuse(texts[max(first, 0)].as_py(), above + max(first, 0), is_mixed=True)
        self._check_whole(values, texts, above)
        return values

    def _converted(self, numbers: Any, texts: Any, above: int) -> Any:
        """Convert texts, or refuse the first that is no number."""
        import pyarrow as pa
        from pyarrow import compute as pc

        if self._raw.decimal == ",":
            has_point = pc.match_substring(numbers, ".")
            if pc.any(has_point).as_py():
                row = pc.index(has_point, True).as_py()
                self._refuse(texts[row].as_py(), above + row)
            numbers = pc.replace_substring(numbers, ",", ".", max_replacements=1)
        try:
            return numbers.cast(pa.float64())
        except pa.ArrowInvalid:
            low, high = 0, len(numbers)  # the first wrong one is in between
            while high - low > 1:
                middle = (low + high) // 2
                try:
                    numbers[low:middle].cast(pa.float64())
                    low = middle
                except pa.ArrowInvalid:
                    high = middle
            self._refuse(texts[low].as_py(), above + low)

    def _check_whole(self, values: Any, texts: Any, above: int) -> None:
        floats = values.to_numpy(zero_copy_only=False)
        with np.errstate(invalid="ignore"):
            large = np.flatnonzero((np.abs(floats) > _EXACT - 1) & np.isfinite(floats))
        for row in large.tolist():
            found = _WHOLE.fullmatch(texts[row].as_py().replace(self._raw.decimal, "."))
            if found is not None and int(found[1]) != int(floats[row]):
                where = self._wording.place(above + row, self._name)
                refuse_inexact(where, int(found[1]), self._wording.table, self._wording.exact)

    def _refuse(self, text: str, row: int, *, is_mixed: bool = False) -> NoReturn:
        cure = "remove the column, or name it with --label if it holds the labels"
        what = "which is not a number"
        if is_mixed:
            what = "beside both bools and other numbers"
        elif THOUSANDS.fullmatch(text):
            cure = "write it without the marks between thousands"
            if self._raw.decimal == "." and text.count(",") == 1:
                cure += ", or name --decimal , if these are decimals"
        elif _DATE.fullmatch(text):
            what = "which is not a number but a date or a time"
            cure = "turn it into numbers, for instance days since the first"
        elif text.count(",") == 1 and text.replace(",", "").isdigit():
            cure = "name the decimal mark with --decimal ,"
        elif _SIGN.fullmatch(text):
            cure = f"name it with --missing {show(text)} if it stands for a missing value"
        raise InvalidInputError(
            f"{shown(self._raw.path)} has {show(text)} in column {show(self._name)}, "
            f"{self._raw.row_name(row)}, {what}: {cure}; fastmem fit encodes such columns"
        )
