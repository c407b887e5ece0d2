"""The columns of a csv or parquet file: which holds the labels, and the labels as numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.inputs import Wording
from fastmem.inputs.refusals import show
from fastmem.machine.wording import printable
from fastmem.tables.wording import some

Array = NDArray[Any]


def file_wording(path: Path) -> Wording:
    """How messages speak of a file's columns and rows."""
    return Wording(
        str(path),
        row="data row {} (the first is 0)",
        encode="remove the column, or name it with --label if it holds the labels",
        exact="subtract an offset from the column, or store it as float64 to round it",
    )


def label_column(path: Path, label: str, names: Sequence[str], n_columns: int) -> int:
    """Find the label column by its name or, failing that, its index."""
    if names.count(label) > 1:
        raise InvalidInputError(
            f"{path} has {names.count(label)} columns named {show(label)}: "
            "give the 0-based index with --label"
        )
    if label in names:
        at = names.index(label)
    elif is_index(label) and -n_columns <= int(label) < n_columns:
        at = int(label) % n_columns
    else:
        known = f"its columns are {some(names)}, " if names else "its columns have no names, "
        raise InvalidInputError(
            f"{path} has no column {show(label)}: {known}"
            f"so give one of {'these or ' if names else ''}the indices 0 to {n_columns - 1}"
        )
    if n_columns == 1:
        raise InvalidInputError(
            f"{path} has no column beside the labels: give comma-separated columns, at least "
            "one of them a feature"
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
        all labels are numbers, they are.

    Raises
    ------
    InvalidInputError
        If no labels are of this type.
    """

    def __init__(self, name: str, kind: Any, wording: Wording, *, from_text: bool) -> None:
        from pyarrow import types

        self._name, self._wording, self._from_text = name, wording, from_text
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
            self._refuse_missing(chunk, above, later)
        encoded = chunk.dictionary_encode()
        numbers = [
            self._codes.setdefault(value, len(self._codes))
            for value in encoded.dictionary.to_pylist()
        ]
        return np.array(numbers, np.int64)[encoded.indices.to_numpy()]

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

    def _refuse_missing(self, chunk: Any, above: int, later: Iterable[Any]) -> NoReturn:
        row = above + int(np.argmax(chunk.is_null().to_numpy(zero_copy_only=False)))
        count = chunk.null_count + sum(self._trimmed(other).null_count for other in later)
        raise InvalidInputError(
            f"{self._wording.column(self._name)} has no label at {self._wording.row.format(row)}, "
            f"and {count} in all {'is' if count == 1 else 'are'} missing; remove the rows that "
            "have no label"
        )

    def _trimmed(self, chunk: Any) -> Any:
        """Strip the blanks around text of a file, and count what is then empty as missing."""
        if not self._from_text:
            return chunk
        from pyarrow import compute, scalar

        text = compute.utf8_trim_whitespace(chunk)
        return compute.if_else(compute.equal(text, ""), scalar(None, text.type), text)


def _from_text(texts: Any) -> Array:
    """Turn labels read as text into numbers where every one of them is a number."""
    from pyarrow import ArrowInvalid, compute, float64, int64, string

    try:
        integers = texts.cast(int64())
    except ArrowInvalid:
        with suppress(ArrowInvalid):
            return texts.cast(float64()).to_numpy(zero_copy_only=False)
        return texts.to_numpy(zero_copy_only=False)
    # "01" and "1" are the same number but not the same label.
    if compute.all(compute.equal(integers.cast(string()), texts)).as_py():
        return integers.to_numpy(zero_copy_only=False)
    return texts.to_numpy(zero_copy_only=False)
