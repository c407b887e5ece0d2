"""Encoded columns as JSON holds them, and back, with nothing believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from fastmem.encoding.categories import Code, OneHot, Ordinal
from fastmem.encoding.codes import MOST_BITS
from fastmem.encoding.column import Column
from fastmem.encoding.moments import PARTS, Moment
from fastmem.encoding.numbers import FORMS, Integer, Number, Vector
from fastmem.inputs.refusals import refuse, show

_CLASSES: dict[str, Any] = {
    one.kind: one for one in (Number, Integer, Vector, OneHot, Code, Ordinal, Moment)
}
_MOST_DAYS = 10**7
_MOST_LENGTH = 1 << 20


def columns_to(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Each column as a dict of its kind and its fields."""
    return [
        {"kind": column.kind}
        | {one.name: _plain(getattr(column, one.name)) for one in fields(column)}  # type: ignore[arg-type]
        for column in columns
    ]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def column_from(stored: Any) -> Column:
    """The column that `columns_to` made a dict of.

    Raises InvalidInputError for a dict that it cannot have made.
    """
    kind = stored.get("kind") if isinstance(stored, dict) else None
    if not isinstance(kind, str) or kind not in _CLASSES:
        refuse(f"an encoding has a column of kind {show(kind)}, which there is not")
    made = _CLASSES[kind]
    given = {name: value for name, value in stored.items() if name != "kind"}
    wanted = {one.name for one in fields(made)}
    if set(given) != wanted:
        refuse(f"an encoded column of kind {kind} has {sorted(given)} instead of {sorted(wanted)}")
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    for name, value in given.items():
        if not _CHECKS[name](value, kind):
            refuse(f"an encoded column of kind {kind} has {name} {show(value)}, which none has")
    if kind == "moment" and len(given["parts"]) != len(given["fill"]):
        refuse("an encoded column of dates has other numbers of parts and of what fills them")
    column: Column = made(**given)
    return column


def _is_float(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _is_int(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _are_texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(one, str) for one in value)


def _fill(value: Any, kind: str) -> bool:
    if kind == "integer":
        return _is_int(value, -(2**63), 2**64)
    if kind == "moment":
        return isinstance(value, tuple) and all(map(_is_float, value))
    return _is_float(value)


_CHECKS = {
    "name": lambda value, kind: isinstance(value, str),
    "flags_missing": lambda value, kind: isinstance(value, bool),
    "form": lambda value, kind: value in FORMS,
    "fill": _fill,
    "start": lambda value, kind: (
        _is_int(value, -_MOST_DAYS, _MOST_DAYS)
        if kind == "moment"
        else _is_int(value, -(2**63), 2**64)
    ),
    "is_split": lambda value, kind: isinstance(value, bool),
    "length": lambda value, kind: _is_int(value, 1, _MOST_LENGTH),
    "levels": lambda value, kind: (
        _are_texts(value) and len(value) > 0 and len(set(value)) == len(value)
    ),
    "n_bits": lambda value, kind: _is_int(value, 8, MOST_BITS) and value % 8 == 0,
    "key": lambda value, kind: _is_int(value, 0, 2**64 - 1),
    "pattern": lambda value, kind: isinstance(value, str),
    "parts": lambda value, kind: (
        _are_texts(value) and len(value) > 0 and list(value) == [p for p in PARTS if p in value]
    ),
}
