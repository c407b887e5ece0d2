"""Columns of Arrow as plain arrays, chunk by chunk, and what is refused of them.

Nothing here imports pyarrow before there is an Arrow array.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from fastmem.inputs.refusals import refuse, show
from fastmem.inputs.values import all_usable, check_values, refuse_inexact, unusable
from fastmem.machine.wording import printable

EXACT_DIGITS = 15
"""Decimals of so many digits stay different numbers as float64."""


@dataclass(frozen=True)
class Wording:
    """How messages speak of a table: its name, its rows, and what to do with its columns."""

    table: str = "X"
    row: str = "row {}"
    encode: str = "encode it as numbers or drop it"
    exact: str = ""

    def column(self, name: Any) -> str:
        """Return the title of a column."""
        return f"column {show(name)} of {self.table}"

    def place(self, row: int, name: Any) -> str:
        """Return the place of a value."""
        return f"{self.table} at {self.row.format(row)}, column {show(name)},"

    def refuse_missing(self, name: Any, row: int, count: int, total: int) -> NoReturn:
        """Refuse a column that lacks values."""
        if count == total:
            refuse(f"{self.column(name)} has no values, all {total} are missing; drop it")
        refuse(
            f"{self.column(name)} has no value at {self.row.format(row)}, and {count} of its "
            f"{total} values {'is' if count == 1 else 'are'} missing; fill them or remove those "
            f"rows"
        )


class ArrowColumn:
    """A column of numbers, or of lists of as many numbers each, in chunks that come one by one.

    Parameters
    ----------
    name : str
    kind : pyarrow.DataType
    wording : Wording

    Raises
    ------
    InvalidInputError
        If the type is none of numbers.

    Attributes
    ----------
    width : int or None
        Features that the column gives; None before the first list of any length was seen.
    dtype : numpy.dtype
        Of the arrays.
    """

    def __init__(self, name: str, kind: Any, wording: Wording) -> None:
        from pyarrow import types

        self.name, self.wording = name, wording
        self.width: int | None = 1
        self.is_list = False
        self.is_encoded = types.is_dictionary(kind)
        inner = kind.value_type if self.is_encoded else kind
        if types.is_fixed_size_list(inner):
            self.is_list, self.width, inner = True, inner.list_size, inner.value_type
        elif types.is_list(inner) or types.is_large_list(inner):
            self.is_list, self.width, inner = True, None, inner.value_type
        title, shown = wording.column(name), printable(str(kind))
        if types.is_null(inner):
            refuse(f"{title} has no values, all of them are missing; drop it")
        if types.is_temporal(inner):
            refuse(
                f"{title} holds {shown}; turn times into numbers, for instance seconds since the "
                f"first, or drop it"
            )
        self.is_decimal = types.is_decimal(inner)
        if self.is_decimal:
            if inner.precision > EXACT_DIGITS:
                refuse(
                    f"{title} holds {shown}, more digits than the {EXACT_DIGITS} that float64 "
                    f"tells apart; cast it to float64 yourself, or to fewer digits"
                )
            self.dtype = np.dtype(np.float64)
        elif types.is_floating(inner) or types.is_integer(inner) or types.is_boolean(inner):
            self.dtype = np.dtype(inner.to_pandas_dtype())
        else:
            refuse(f"{title} holds {shown}, which is not a number; {wording.encode}")
        if self.width == 0:
            refuse(f"{title} holds lists of no values; drop it")

    @property
    def feature_names(self) -> list[str]:
        """The names of the features."""
        if not self.is_list:
            return [self.name]
        return [f"{self.name}[{k}]" for k in range(self.width or 0)]

    def read(self, chunk: Any, above: int, later: Iterable[Any]) -> np.ndarray:
        """Return the values of a chunk, (rows,) or (rows, width); a view where Arrow allows it.

        Parameters
        ----------
        chunk : pyarrow.Array
        above : int
            Rows before this chunk, for messages.
        later : iterable of pyarrow.Array
            The chunks after it: they are counted where something is refused.

        Raises
        ------
        InvalidInputError
            If values are missing, not finite, or not exact in float64, or lists differ in length.
        """
        if self.is_encoded:
            chunk = chunk.cast(chunk.type.value_type)
        if chunk.null_count:
            first = above + int(np.argmax(_nulls(chunk)))
            self._refuse_missing(self.name, first, [chunk, *later], above)
        flat = self._flat(chunk, above) if self.is_list else chunk
        width = self.width or 1
        if flat.null_count:
            row, k = divmod(int(np.argmax(_nulls(flat))), width)
            name = self.feature_names[k] if self.is_list else self.name
            self._refuse_missing(name, above + row, [chunk, *later], above)
        if self.is_decimal:
            from pyarrow import float64

            flat = flat.cast(float64())
        values: np.ndarray = flat.to_numpy(zero_copy_only=False)
        if not all_usable(values):
            self._refuse_values(values, above, later)
        return values.reshape(-1, width) if self.is_list else values

    def _flat(self, chunk: Any, above: int) -> Any:
        from pyarrow import types

        if not types.is_fixed_size_list(chunk.type) and len(chunk):
            lengths = chunk.value_lengths().to_numpy()
            if self.width is None:
                self.width = int(lengths[0])
                if self.width == 0:
                    refuse(f"{self.wording.column(self.name)} holds lists of no values; drop it")
            wrong = lengths != self.width
            if wrong.any():
                row = int(np.argmax(wrong))
                refuse(
                    f"{self.wording.column(self.name)} holds {lengths[row]} values at "
                    f"{self.wording.row.format(above + row)} but {self.width} in the first; give "
                    f"every row the same number of values"
                )
        return chunk.flatten()

    def _refuse_missing(self, name: str, row: int, chunks: Iterable[Any], above: int) -> NoReturn:
        count, total = 0, above
        for chunk in chunks:
            mask = _nulls(chunk)
            if self.is_list:  # a list that lacks values is missing
                import pyarrow.compute as pc

                parents = pc.list_parent_indices(chunk).to_numpy()
                mask[parents[_nulls(chunk.flatten())]] = True
            count += int(mask.sum())
            total += len(chunk)
        self.wording.refuse_missing(name, row, count, total)

    def _refuse_values(self, values: np.ndarray, above: int, later: Iterable[Any]) -> NoReturn:
        """Refuse what is not finite, counted over all chunks, or not exact."""
        mask = unusable(values)
        first = int(np.argmax(mask))
        row, k = divmod(first, self.width or 1)
        name = self.feature_names[k]
        where = self.wording.place(above + row, name)
        if np.isfinite(values[first]):
            refuse_inexact(where, values[first], self.wording.table, self.wording.exact)
        count, total = int(mask.sum()), above * (self.width or 1) + values.size
        for chunk in later:
            flat = chunk.flatten() if self.is_list else chunk
            if self.is_encoded:
                flat = flat.cast(flat.type.value_type)
            rest = np.asarray(flat.drop_null().to_numpy(zero_copy_only=False))
            count += int(np.count_nonzero(~np.isfinite(rest)))
            total += len(flat)
        refuse(
            f"{where} is {show(values[first])}, and {count} of {total} values "
            f"{'is' if count == 1 else 'are'} NaN or infinite; remove those rows or fill them"
        )


def _nulls(chunk: Any) -> np.ndarray:
    mask: np.ndarray = chunk.is_null().to_numpy(zero_copy_only=False)
    return np.array(mask)


def check_pieces(
    pieces: Sequence[np.ndarray], name: Any, wording: Wording, names: Sequence[Any] = ()
) -> None:
    """Refuse values of a column, in pieces that follow each other, as `check_values` does."""
    if all(all_usable(piece) for piece in pieces):
        return
    whole = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    check_values(
        whole,
        wording.table,
        lambda index: wording.place(index[0], names[index[1]] if len(index) > 1 else name),
    )
