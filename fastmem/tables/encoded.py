"""Raw tables as points: their columns encoded, rows without a label left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.encoding import Choices, Encoding, Surprises
from fastmem.encoding.column import Place, nulls
from fastmem.errors import InvalidInputError
from fastmem.inputs import EncodedLabels, Points, Wording
from fastmem.tables.columns import LabelColumn, file_wording, label_column
from fastmem.tables.raw import RawTable
from fastmem.tables.spool import Spool

Array = NDArray[Any]
Tell = Callable[[str, int, int, int], object]


@dataclass
class EncodedTable:
    """A labelled table that has been read and encoded.

    Attributes
    ----------
    points : Points
        Of the rows that have a label.
    labels : EncodedLabels
    encoding : Encoding
    n_unlabelled : int
        Rows that were left out, because they have no label.
    kept : ndarray of int64, or None
        The numbers of the others in the file; None where none was left out.
    """

    points: Points
    labels: EncodedLabels
    encoding: Encoding
    n_unlabelled: int
    kept: Array | None


class FeatureColumns:
    """The columns of a raw table beside the labels, of the rows that have one.

    Attributes
    ----------
    names : list of str
    types : list of pyarrow.DataType
    decimal : str
    """

    def __init__(self, raw: RawTable, label_at: int | None) -> None:
        self._raw, self._label_at = raw, label_at
        self._places = [i for i in range(len(raw.names)) if i != label_at]
        self.names = [raw.names[i] for i in self._places]
        self.types = [raw.types[i] for i in self._places]
        self.decimal = raw.decimal

    def batches(self) -> Iterator[Any]:
        """Record batches without the labels, and without rows that have none."""
        for batch, _, _ in self.with_labels():
            yield batch

    def with_labels(self) -> Iterator[tuple[Any, Any, Array]]:
        """Those record batches, their labels, and which of the rows read have one."""
        from pyarrow import array

        for whole in self._raw.batches():
            labels = None if self._label_at is None else whole.column(self._label_at)
            batch, has_label = whole.select(self._places), np.ones(whole.num_rows, np.bool_)
            if labels is not None:
                missing = nulls(labels)
                if missing.any():
                    has_label = ~missing
                    batch = batch.filter(array(has_label))
                    labels = labels.filter(array(has_label))
            yield batch, labels, has_label


def raw_wording(raw: RawTable) -> Wording:
    """How messages speak of a raw table."""
    return file_wording(raw.path)


def check_names_differ(raw: RawTable) -> None:
    """Refuse a table in which two columns have one name."""
    seen: set[str] = set()
    for name in raw.names:
        if name in seen:
            raise InvalidInputError(
                f"{raw.path} has two columns named {name!r}: rename one, so that a column can be "
                f"told by its name"
            )
        seen.add(name)


def load_encoded(
    raw: RawTable,
    label: str,
    choices: Choices,
    *,
    refuse_unlabelled: bool = False,
    budget_bytes: int,
    progress: Tell = lambda stage, done, total, neurons: None,
) -> EncodedTable:
    """Read a labelled raw table, find out what its columns hold, and encode them.

    Parameters
    ----------
    raw : RawTable
    label : str
        Name or 0-based index of the label column.
    choices : Choices
        What the user wants of the columns.
    refuse_unlabelled : bool
        Whether a row without a label is refused.
    budget_bytes : int
        Points that take more go to a temporary file.
    progress : callable
        As of `load_table`.

    Raises
    ------
    InvalidInputError
        If there is no such column, a column cannot be used, or no row has a label.
    """
    check_names_differ(raw)
    wording = raw_wording(raw)
    names = raw.names if raw.has_header else []
    at = label_column(raw.path, label, names, len(raw.names))
    columns = FeatureColumns(raw, at)
    encoding = Encoding.of_source(columns, choices, wording, named=raw.has_header)
    labels = LabelColumn(raw.names[at], raw.types[at], wording, from_text=raw.from_text)
    spool = Spool(budget_bytes, raw.n_rows, is_exact=False)
    dtype = np.float32 if encoding.narrow else np.float64
    places = encoding.places(columns.names, wording.table)
    codes: list[Array] = []
    kept: list[Array] = []
    surprises, row = Surprises(), 0
    for batch, chunk, has_label in columns.with_labels():
        if refuse_unlabelled and not has_label.all():
            where = wording.row.format(row + int(np.argmin(has_label)))
            raise InvalidInputError(
                f"{wording.column(raw.names[at])} has no label at {where}; give every row one, or "
                f"let rows without one be left out"
            )
        if batch.num_rows:
            place = Place(wording, row, None if has_label.all() else np.flatnonzero(has_label))
            spool.add(encoding.encoded(batch, places, place, surprises).astype(dtype, copy=False))
            some = labels.read(chunk, row, ())
            codes.append(some.astype(np.min_scalar_type(int(some.max()))))
            kept.append(row + np.flatnonzero(has_label))
        row += len(has_label)
        progress("reading", row, max(row, raw.n_rows), 0)
    n_kept = sum(map(len, codes))
    if not n_kept:
        raise InvalidInputError(
            f"{raw.path} has no row with a label in column {raw.names[at]!r}: give the column that "
            f"holds the labels"
        )
    points = spool.points()
    points.feature_names = encoding.feature_names
    return EncodedTable(
        points, EncodedLabels(labels.classes(), np.concatenate(codes)), encoding, row - n_kept,
        np.concatenate(kept) if n_kept < row else None,
    )  # fmt: skip
