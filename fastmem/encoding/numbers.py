"""Columns that become numbers: numbers, truth values, times of day, and long integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastmem.encoding import texts
from fastmem.encoding.column import Column, Place, Surprises, first_unread, is_text, plain
from fastmem.errors import InvalidInputError
from fastmem.inputs import ArrowColumn, Wording

EXACT = 2**53
"""Whole numbers up to this are all exact in float64."""
_LOW_BITS = 32
FORMS = ("number", "grouped", "bool", "time")
_UNLIKE = {
    "number": "not a number",
    "grouped": "not a number",
    "bool": "neither true nor false",
    "time": "not a time of day",
}


@dataclass(frozen=True)
class Number(Column):
    """A column of numbers, or of what is as good as numbers: truth values or times of day.

    Attributes
    ----------
    form : {"number", "grouped", "bool", "time"}
        Grouped are numbers with separators between thousands. Times of day become seconds since
        midnight.
    fill : float
        What stands for missing values: the median.
    """

    kind: ClassVar[str] = "number"
    name: str
    form: str
    fill: float
    flags_missing: bool

    def _write(
        self, chunk: Any, missing: np.ndarray, out: np.ndarray, place: Place, surprises: Surprises
    ) -> None:
        if missing.all():  # of whatever type the chunk is
            out[:, 0] = self.fill
        elif missing.any():
            out[:, 0] = self.fill
            out[~missing, 0] = self._read(chunk, ~missing, place)
        else:
            out[:, 0] = self._read(chunk, None, place)

    def _read(self, chunk: Any, chosen: np.ndarray | None, place: Place) -> np.ndarray:
        from pyarrow import array

        values = plain(chunk if chosen is None else chunk.filter(array(chosen)))
        found = values_of(values, self.form, place.decimal)
        if found is None:
            rows = np.arange(len(chunk)) if chosen is None else np.flatnonzero(chosen)
            i = first_unread(values, lambda some: values_of(some, self.form, place.decimal))
            place.refuse(self.name, int(rows[i]), values[i].as_py(), _UNLIKE[self.form])
        return found

    def _value(self, features: np.ndarray) -> Any:
        value = float(features[0])
        if self.form == "bool":
            return {0.0: False, 1.0: True}.get(value)
        if self.form != "time":
            return value
        minutes, seconds = divmod(value, 60)
        return f"{int(minutes // 60):02}:{int(minutes % 60):02}:{seconds:02g}"

    @property
    def moves_freely(self) -> bool:
        """Whether the feature may take any value: but for truth values."""
        return self.form != "bool"

    def others(self, features: np.ndarray) -> Iterator[tuple[Any, np.ndarray]]:
        """The other truth value."""
        if self.form == "bool":
            for value in (0.0, 1.0):
                other = np.zeros(len(features))
                other[0] = value
                if not (other == features).all():
                    yield bool(value), other

    def described(self) -> str:
        """What the column became."""
        return {
            "number": "number",
            "grouped": "number with thousands",
            "bool": "0 or 1",
            "time": "time in seconds",
        }[self.form]


def _are_bytes(kind: Any) -> bool:
    from pyarrow import types

    kinds = types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary
    return any(one(kind) for one in kinds) and not types.is_decimal(kind)


def values_of(values: Any, form: str, decimal: str) -> np.ndarray | None:
    """Float64 of an Arrow array without nulls; None where one is not of this form."""
    from pyarrow import compute, types

    found: Any = values
    kind = values.type
    if is_text(kind):
        if form in ("number", "grouped"):
            found = texts.with_point(values, decimal)
            if form == "grouped":
                found = texts.without_thousands(found)
            found = None if found is None else texts.numbers(found)
        else:
            found = {"bool": texts.truths, "time": texts.times}[form](values)
        if found is None:
            return None
    elif form == "time":
        if not (types.is_time(kind) or types.is_duration(kind)):
            return None
        unit = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
        whole = values.cast("int32" if kind.bit_width == 32 else "int64")
        return np.asarray(whole.to_numpy(zero_copy_only=False)) / unit
    elif types.is_temporal(kind) or types.is_nested(kind) or _are_bytes(kind):
        return None
    elif types.is_decimal(kind):
        try:
            return ArrowColumn("", kind, Wording()).read(values, 0, ())
        except InvalidInputError:  # more digits than float64 tells apart
            return None
    array = np.asarray(found.to_numpy(zero_copy_only=False), np.float64)
    if types.is_floating(found.type) and not compute.all(compute.is_finite(found)).as_py():
        return array if not len(array) else None
    return array


@dataclass(frozen=True)
class Integer(Column):
    """A column of whole numbers beyond 2^53, which float64 would round.

    Attributes
    ----------
    start : int
        The least; it is subtracted.
    is_split : bool
        Whether it takes two features, of 32 bits the lower: where they span more than 2^53.
    """

    kind: ClassVar[str] = "integer"
    name: str
    start: int
    is_split: bool
    fill: int
    flags_missing: bool

    @property
    def own_features(self) -> list[str]:
        """The column less its least number, in one or two features."""
        if self.is_split:
            return [f"{self.name} // 2**32", f"{self.name} % 2**32"]
        return [self.name]

    def _write(
        self, chunk: Any, missing: np.ndarray, out: np.ndarray, place: Place, surprises: Surprises
    ) -> None:
        numbers = plain(chunk).to_pylist()
        whole = np.empty(len(numbers), object)
        for i, number in enumerate(numbers):
            if missing[i]:
                whole[i] = self.fill - self.start
                continue
            try:
                if isinstance(number, float) and not number.is_integer():
                    raise ValueError
                whole[i] = int(number) - self.start
            except ValueError:
                place.refuse(self.name, i, number, "not a whole number")
        if self.is_split:
            out[:, 0] = (whole >> _LOW_BITS).astype(np.float64)
            out[:, 1] = (whole & (2**_LOW_BITS - 1)).astype(np.float64)
        else:
            out[:, 0] = whole.astype(np.float64)

    def _value(self, features: np.ndarray) -> Any:
        if self.is_split:
            return self.start + (int(features[0]) << _LOW_BITS) + int(features[1])
        return self.start + int(features[0])

    def described(self) -> str:
        """What the column became."""
        return f"number - {self.start}" + (", in two parts" if self.is_split else "")


@dataclass(frozen=True)
class Vector(Column):
    """A column of lists of as many numbers each.

    Attributes
    ----------
    length : int
    """

    kind: ClassVar[str] = "vector"
    name: str
    length: int
    flags_missing: bool = False

    @property
    def own_features(self) -> list[str]:
        """One for each place in the list."""
        return [f"{self.name}[{k}]" for k in range(self.length)]

    def encode(self, chunk: Any, out: np.ndarray, place: Place, surprises: Surprises) -> None:
        """Write the features of a chunk; refuse lists that are missing or of another length."""
        reader = ArrowColumn(self.name, chunk.type, place.wording)
        reader.width = self.length
        out[:] = reader.read(chunk, place.row, ())

    def _value(self, features: np.ndarray) -> Any:
        return features[: self.length].tolist()

    @property
    def moves_freely(self) -> bool:
        """Whether each feature may take any value: yes."""
        return True

    def described(self) -> str:
        """What the column became."""
        return f"{self.length} numbers"
