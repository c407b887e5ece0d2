"""What every reader of files gives: columns in Arrow batches, and how to speak of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastmem.errors import InvalidInputError
from fastmem.inputs.refusals import show

MISSING_TEXTS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A")
"""Texts of csv that stand for no value, whatever the options say."""


@dataclass(frozen=True)
class ReadingOptions:
    """What a user says of a file of text; what is None is found out.

    Attributes
    ----------
    delimiter : str or None
        One character, or "tab".
    decimal : str or None
        "." or ",": what stands before the decimals of a number.
    encoding : str or None
        A name that Python knows.
    header : bool or None
        Whether the first row holds the columns' names.
    missing : tuple of str
        Further texts that stand for a missing value.

    Raises
    ------
    InvalidInputError
        If a value is none of these.
    """

    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    header: bool | None = None
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        delimiter = {"tab": "\t", "\\t": "\t"}.get(self.delimiter or "", self.delimiter)
        if delimiter is not None and (
            len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0'
        ):
            raise InvalidInputError(
                f"the delimiter is {show(self.delimiter)}: give one ASCII character that is no "
                "quote, such as ';', or tab"
            )
        object.__setattr__(self, "delimiter", delimiter)
        if self.decimal not in (None, ".", ","):
            raise InvalidInputError(f"the decimal mark is {show(self.decimal)}: give '.' or ','")
        if self.encoding is not None:
            try:
                "".encode(self.encoding)
            except (LookupError, ValueError):
                raise InvalidInputError(
                    f"the encoding is {show(self.encoding)}, which Python does not know: give one "
                    "such as utf-8, utf-16, cp1252 or shift_jis"
                ) from None


@dataclass
class RawTable:
    """A table as its file holds it, to be read as often as one likes.

    Attributes
    ----------
    path : Path
    names : list of str
        Of the columns, in the file's order, without what pandas stored as its index; "0", "1", ...
        where the file has no header.
    has_header : bool
    types : list of pyarrow.DataType
        string where ``from_text``; else the file's own.
    from_text : bool
        Whether values are texts whose kind is still to be found.
    decimal : str
        The decimal mark of numbers in texts.
    n_rows : int
    is_exact : bool
        Whether ``n_rows`` is no estimate.
    notes : list of str
        What was found out and might surprise, a sentence each, without a full stop.
    """

    path: Path
    names: list[str]
    has_header: bool
    types: list[Any]
    from_text: bool
    decimal: str
    n_rows: int
    is_exact: bool
    notes: list[str]
    read: Callable[[], Iterator[Any]] = field(repr=False)
    numbers: Callable[[Sequence[int]], Iterator[Any]] | None = field(default=None, repr=False)
    """Of delimited text: batches in which all columns but these are float64, or ArrowInvalid."""
    line_of: Callable[[int], int | None] = field(default=lambda row: None, repr=False)
    files: list[tuple[Path, dict[str, Any]]] = field(default_factory=list, repr=False)
    """Of a table in several files: each, and the columns that its directories name, as scalars."""
    is_empty: Callable[[int], bool] = field(default=lambda column: False, repr=False)
    """Whether a column, by place, is known to have no value in any row."""

    def batches(self) -> Iterator[Any]:
        """Give pyarrow.RecordBatch with the columns of ``names``; missing values are nulls.

        Raises InvalidInputError, also while it is iterated, where the file is damaged.
        """
        return self.read()

    def row_name(self, row: int) -> str:
        """How messages name a row, counted from 0."""
        line = self.line_of(row)
        return f"data row {row} (the first is 0)" + ("" if line is None else f", line {line}")


def shown(path: Path) -> str:
    """Return a path as text that can be printed, also where its name is no UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def without_missing(texts: Any, missing: Sequence[str] = ()) -> Any:
    """Strip the blanks around texts of an Arrow array, and make those that mean nothing nulls."""
    import pyarrow as pa
    from pyarrow import compute

    texts = compute.utf8_trim_whitespace(texts)
    known = pa.array(list(dict.fromkeys([*MISSING_TEXTS, *(m.strip() for m in missing)])))
    is_missing = compute.is_in(texts, value_set=known.cast(texts.type))
    if not compute.any(is_missing).as_py():
        return texts
    return compute.if_else(is_missing, pa.scalar(None, texts.type), texts)
