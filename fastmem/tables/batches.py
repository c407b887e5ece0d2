"""The rows of a file in batches: numbers of one dtype, and labels beside them.

No batch, and nothing else here, grows with the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.inputs import ArrowColumn
from fastmem.inputs.values import block_dtype
from fastmem.tables.columns import LabelColumn, file_wording, label_column
from fastmem.tables.numbers import numeric_batches
from fastmem.tables.raw_table import RawTable, shown

Array = NDArray[Any]


class Batches:
    """The rows of a table of numbers, to be iterated once.

    Parameters
    ----------
    raw : RawTable
    label : str or None
        Name or index of the label column.

    Attributes
    ----------
    labels : LabelColumn or None
    n_rows : int
        Rows in all; an estimate unless ``is_exact``.
    is_exact : bool

    Raises
    ------
    InvalidInputError
        If there is no such column, or one is neither of numbers nor the label's.
    """

    def __init__(self, raw: RawTable, label: str | None) -> None:
        self.path, self.n_rows, self.is_exact = raw.path, raw.n_rows, raw.is_exact
        self._has_names = raw.has_header
        wording, names, types = file_wording(raw.path), raw.names, list(raw.types)
        label_at = None
        if label is not None:
            known = names if raw.has_header else []
            label_at = label_column(raw.path, label, known, len(names))
        self._label_at = label_at
        self._places = [j for j in range(len(names)) if j != label_at]
        if not self._places:
            raise InvalidInputError(f"{shown(raw.path)} has no columns: give at least one feature")
        self.labels: LabelColumn | None = None
        if label_at is not None:
            self.labels = LabelColumn(
                names[label_at], types[label_at], wording, from_text=raw.from_text
            )
        if raw.from_text:
            from pyarrow import float64

            types = [float64()] * len(types)
            self._chunks = numeric_batches(raw, label_at, wording)
        else:
            self._chunks = raw.batches()
        self._columns = [ArrowColumn(names[j], types[j], wording) for j in self._places]

    @property
    def feature_names(self) -> list[str] | None:
        """The names of the features, once the first batch has been read."""
        if not self._has_names:
            return None
        return [name for column in self._columns for name in column.feature_names]

    def __iter__(self) -> Iterator[tuple[Array, Array | None]]:
        """Give (rows, n_features) of float32 where that is exact, else float64, and labels' codes.

        Raises InvalidInputError where a value is missing, not finite or not exact.
        """
        dtype = block_dtype(*(column.dtype for column in self._columns))
        above = 0
        for batch in self._chunks:
            if not batch.num_rows:
                continue

            def later(place: int) -> Iterator[Any]:
                return (other.column(place) for other in self._chunks)

            codes = None
            if self.labels is not None and self._label_at is not None:
                chunk = batch.column(self._label_at)
                codes = self.labels.read(chunk, above, later(self._label_at))
            values = [
                column.read(batch.column(place), above, later(place))
                for place, column in zip(self._places, self._columns, strict=True)
            ]
            block = np.empty((batch.num_rows, sum(c.width or 0 for c in self._columns)), dtype)
            j = 0
            for column, part in zip(self._columns, values, strict=True):
                width = column.width or 0
                block[:, j : j + width] = part.reshape(len(part), width)
                j += width
            above += len(block)
            yield block, codes
        if not above:
            raise InvalidInputError(
                f"{shown(self.path)} has no rows of data: give at least one point"
            )
