"""The columns of a file: which holds the labels, and the labels as numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.inputs import Wording
from fastmem.inputs.refusals import show
from fastmem.machine.wording import printable
from fastmem.tables.raw_table import shown, without_missing
from fastmem.tables.wording import some

_ROWS_KEPT = 10
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,19}")
_FRACTION = re.compile(r"-?[0-9]+\.[0-9]+(e[+-][0-9]+)?")

Array = NDArray[Any]


def file_wording(path: Path) -> Wording:
    """How messages speak of a file's columns and rows."""
    return Wording(
        shown(path),
        row="data row {} (the first is 0)",
        encode="remove the column, or name it with --label if it holds the labels",
        exact="subtract an offset from the column, or store it as float64 to round it",
    )


def label_column(path: Path, label: str, names: Sequence[str], n_columns: int) -> int:
    """Find the label column by its name or, failing that, its index."""
    if names.count(label) > 1:
        raise InvalidInputError(
            f"{shown(path)} has {names.count(label)} columns named {show(label)}: "
            "give the 0-based index with --label"
        )
    if label in names:
        at = names.index(label)
    elif is_index(label) and -n_columns <= int(label) < n_columns:
        at = int(label) % n_columns
    else:
        known = f"its columns are {some(names)}, " if names else "its columns have no names, "
        raise InvalidInputError(
            f"{shown(path)} has no column {show(label)}: {known}"
            f"so give one of {'these or ' if names else ''}the indices 0 to {n_columns - 1}"
        )
    if n_columns == 1:
        raise InvalidInputError(
            f"{shown(path)} has no column beside the labels: give at least one feature, or name "
            "the --delimiter of the columns"
        )
    return at


def is_index(label: str) -> bool:
    """Whether a label column is given by its index."""
    return re.fullmatch(r"-?[0-9]{1,18}", label) is not None


class LabelColumn:
    """A column of labels that comes in Arrow chunks: a number for each, and what it stands for.

    Parameters
    ----------
    name : str
    kind : pyarrow.DataType
    wording : Wording
    from_text : bool
        Whether it was read from a text file: then blanks around labels do not count, and where
        all labels are numbers as they are printed, they are numbers.
    missing : str
        What to do where there is no label: "refuse", or "skip", which gives the number -1.

    Attributes
    ----------
    n_missing : int
        Rows without a label that have been read.
    missing_rows : list of int
        The first of them.

    Raises
    ------
    InvalidInputError
        If no labels are of this type.
    """

    def __init__(
        self, name: str, kind: Any, wording: Wording, *, from_text: bool, missing: str = "refuse"
    ) -> None:
        from pyarrow import types

        self._name, self._wording, self._from_text = name, wording, from_text
        self._skips, self.n_missing = missing == "skip", 0
        self.missing_rows: list[int] = []
        self._codes: dict[Any, int] = {}
        self._decode = types.is_dictionary(kind)
        self._kind = kind.value_type if self._decode else kind
        is_kind = (types.is_string, types.is_large_string, types.is_integer, types.is_boolean,
                   types.is_floating, types.is_null, types.is_string_view)  # fmt: skip
        if not any(of(self._kind) for of in is_kind):
            raise InvalidInputError(
                f"{wording.column(name)} holds {printable(str(kind))}, which no labels are; labels "
                "are integers, strings or bools, so convert it to one of these"
            )

    def read(self, chunk: Any, above: int, later: Iterable[Any]) -> Array:
        """Return the numbers of a chunk's labels; arguments as of `ArrowColumn.read`."""
        if self._decode:  # also where the dictionary holds a label twice, or none
            chunk = chunk.cast(self._kind)
        chunk = self._trimmed(chunk)
        if chunk.null_count:
            if not self._skips:
                self._refuse_missing(chunk, above, later)
            self._note_missing(chunk, above)
        encoded = chunk.dictionary_encode()
        numbers = [
            self._codes.setdefault(value, len(self._codes))
            for value in encoded.dictionary.to_pylist()
        ]
        places = encoded.indices.fill_null(len(numbers)).to_numpy(zero_copy_only=False)
        return np.array([*numbers, -1], np.int64)[places]

    def classes(self) -> Array:
        """Return what the numbers stand for: numbers where all labels are, else strings."""
        from pyarrow import array, string, types

        values = list(self._codes)
        if self._from_text:
            return _from_text(array(values, string()))
        if types.is_integer(self._kind) or types.is_floating(self._kind):
            return np.array(values, dtype=self._kind.to_pandas_dtype())
        classes = np.empty(len(values), bool if types.is_boolean(self._kind) else object)
        classes[:] = values
        return classes

    def _note_missing(self, chunk: Any, above: int) -> None:
        rows = np.flatnonzero(chunk.is_null().to_numpy(zero_copy_only=False)) + above
        self.n_missing += len(rows)
        self.missing_rows += rows[: _ROWS_KEPT - len(self.missing_rows)].tolist()

    def _refuse_missing(self, chunk: Any, above: int, later: Iterable[Any]) -> NoReturn:
        row = above + int(np.argmax(chunk.is_null().to_numpy(zero_copy_only=False)))
        count = chunk.null_count + sum(self._trimmed(other).null_count for other in later)
        raise InvalidInputError(
            f"{self._wording.column(self._name)} has no label at {self._wording.row.format(row)}, "
            f"and {count} in all {'is' if count == 1 else 'are'} missing; remove the rows that "
            "have no label"
        )

    def _trimmed(self, chunk: Any) -> Any:
        """Strip the blanks around text of a file, and take what stands for no label as null."""
        if self._from_text:
            return without_missing(chunk)
        from pyarrow import compute, scalar, types

        if self._skips and types.is_floating(chunk.type):  # polars has both
            return compute.if_else(compute.is_nan(chunk), scalar(None, chunk.type), chunk)
        return chunk


def _from_text(texts: Any) -> Array:
    """Turn labels read as text into numbers, where each text is how its number is printed.

    So "01" and "1", "1e3" and "1000", or two ids of 20 digits stay different labels, and each
    comes back as it was.
    """
    values = texts.to_pylist()
    if values and all(_WHOLE.fullmatch(text) for text in values):
        low, high = (find(map(int, values)) for find in (min, max))
        if low >= -(1 << 63) and high < 1 << 63:
            return np.array([int(text) for text in values], np.int64)
        if low >= 0 and high < 1 << 64:
            return np.array([int(text) for text in values], np.uint64)
    elif values and all(_FRACTION.fullmatch(text) and repr(float(text)) == text for text in values):
        return np.array([float(text) for text in values])
    strings: Array = texts.to_numpy(zero_copy_only=False)
    return strings
