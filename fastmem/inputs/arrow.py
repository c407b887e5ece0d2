"""Columns of Arrow as plain arrays, chunk by chunk, and what is refused of them.

Nothing here imports pyarrow before there is an Arrow array.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from fastmem.inputs.refusals import refuse, show
from fastmem.inputs.values import EXACT, all_usable, check_values, refuse_inexact, unusable
from fastmem.machine.wording import printable

EXACT_DIGITS = 15
"""Decimals of so many digits stay different numbers as float64."""
_EXACT_POWER = 22
"""10 to this power, and to any below, is a float64."""
NO_DIGITS = r"[-.]|E.*"
"""What of a decimal's text is not one of its digits."""


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
            If values are missing, not finite, or not exact in float64, if decimals have more digits
            than float64 tells apart, or lists differ in length.
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
            values = _decimals(flat)
            self._check_digits(flat, values, above)
            return values.reshape(-1, width) if self.is_list else values
        values = flat.to_numpy(zero_copy_only=False)
        if not all_usable(values):
            self._refuse_values(values, above, later)
        return values.reshape(-1, width) if self.is_list else values

    def _check_digits(self, decimals: Any, values: np.ndarray, above: int) -> None:
        """Refuse decimals that could be equal as float64 though they differ."""
        if decimals.type.precision <= EXACT_DIGITS:
            return
        import pyarrow.compute as pc

        digits = pc.replace_substring_regex(decimals.cast("string"), NO_DIGITS, "")
        counts = pc.utf8_length(pc.utf8_trim(digits, "0")).to_numpy()
        names, width = self.feature_names, self.width or 1
        check_digits(
            counts, values, lambda i: decimals[i].as_py(),
            lambda i: self.wording.place(above + i // width, names[i % width]),
        )  # fmt: skip

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


def check_digits(
    counts: np.ndarray,
    values: np.ndarray,
    decimal: Callable[[int], Any],
    place: Callable[[int], str],
) -> None:
    """Refuse decimals that could be equal as float64 though they differ.

    Parameters
    ----------
    counts : ndarray of shape (n,), int
        Significant digits of each.
    values : ndarray of shape (n,), float64
        The nearest to each.
    decimal, place : callable
        Give the decimal at an index, and where it stands.
    """
    for i in np.flatnonzero(counts > EXACT_DIGITS).tolist():
        if abs(values[i]) <= EXACT and int(values[i]) == decimal(i):  # exact
            continue
        refuse(
            f"{place(i)} is {decimal(i)}, more digits than the {EXACT_DIGITS} that float64 tells "
            f"apart; round it, or cast the column to float64 yourself"
        )


def _decimals(chunk: Any) -> np.ndarray:
    """Return decimals without nulls as the nearest float64; Arrow's own cast rounds twice."""
    kind = chunk.type
    if not (kind.precision <= EXACT_DIGITS and 0 <= kind.scale <= _EXACT_POWER) or not len(chunk):
        # texts are exact and read with one rounding, but take many times as long
        values: np.ndarray = chunk.cast("string").cast("float64").to_numpy()
        return values
    # whole numbers, whose other bytes only repeat the sign, by an exact power of ten
    size = kind.bit_width // 8
    word = np.dtype(f"=i{min(size, 8)}")
    buffer = chunk.buffers()[1]
    words = np.frombuffer(buffer, word, (chunk.offset + len(chunk)) * size // word.itemsize)
    each = size // word.itemsize
    low = 0 if sys.byteorder == "little" else each - 1
    return words[chunk.offset * each + low :: each] / float(10**kind.scale)


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
