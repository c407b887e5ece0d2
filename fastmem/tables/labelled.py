"""Raw tables as labelled points: their columns encoded, rows without a label left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastmem.encoding import Choices, Encoding, Surprises
from fastmem.encoding.column import Place, nulls
from fastmem.errors import InvalidInputError
from fastmem.inputs import EncodedLabels, Wording
from fastmem.tables.columns import LabelColumn, file_wording, label_column
from fastmem.tables.raw import open_raw
from fastmem.tables.raw_table import RawTable, ReadingOptions, shown
from fastmem.tables.reading import Stream, Table, budget_for, holds_arrays, load_table, table_of
from fastmem.tables.spool import Spool
from fastmem.tables.wording import some

Array = NDArray[Any]
Tell = Callable[[str, int, int, int], object]


@dataclass
class LabelledTable(Table):
    """A labelled table that has been read, and encoded where it does not hold numbers alone.

    Attributes
    ----------
    points : Points or ndarray of shape (n_samples, n_features)
        Of the rows that have a label.
    labels : EncodedLabels or ndarray of shape (n_samples,)
    encoding : Encoding or None
        None where points are the numbers that stand in the file.
    columns : list of (str, str, int)
        For every column its name, what was made of it, and how many features that is; empty where
        there is nothing to say.
    n_unlabelled : int
        Rows that were left out, because they have no label.
    kept : ndarray of int64, or None
        The numbers of the others in the file; None where none was left out.
    notes : list of str
        What was found out about the file and might surprise.
    """

    encoding: Encoding | None = None
    columns: list[tuple[str, str, int]] = field(default_factory=list)
    n_unlabelled: int = 0
    kept: Array | None = None
    notes: list[str] = field(default_factory=list)

    def row_numbers(self, rows: Array) -> Array:
        """The numbers in the file of some rows of the points, int64."""
        return rows if self.kept is None else self.kept[rows]


def load_labelled(
    path: Path,
    label: str | None,
    options: ReadingOptions,
    choices: Choices,
    *,
    refuse_unlabelled: bool = False,
    memory_limit: int | None = None,
    progress: Tell = lambda stage, done, total, neurons: None,
) -> LabelledTable:
    """Read a labelled table of any kind: arrays as they are, raw tables encoded.

    Parameters
    ----------
    path, label, memory_limit, progress
        As of `load_table`.
    options : ReadingOptions
    choices : Choices
        What the user wants of the columns.
    refuse_unlabelled : bool
        Whether a row without a label is refused; else it is left out.

    Raises
    ------
    InvalidInputError
        If the file cannot be read or encoded, or has no such column.
    """
    if holds_arrays(path):
        if choices != Choices():
            raise InvalidInputError(
                f"{shown(path)} holds an array, whose columns have no names and are numbers "
                f"already: leave --drop, --keep and --as out"
            )
        arrays = load_table(path, label, labels_required=True)
        return LabelledTable(arrays.points, arrays.labels)
    raw = open_raw(path, options, label=label)
    if label is None:
        raise InvalidInputError(
            f"{shown(path)} needs a label column: give the name of one with --label, among "
            f"{some(raw.names)}"
        )
    budget_bytes = budget_for(memory_limit)
    if choices == Choices():
        # numbers alone are read several times as fast, and as they stand in the file
        with suppress(InvalidInputError):
            table = table_of(raw, label, budget_bytes, progress)
            return LabelledTable(table.points, table.labels, notes=raw.notes)
    return _encoded(raw, label, choices, refuse_unlabelled, budget_bytes, progress)


class FeatureColumns:
    """The columns of a raw table beside the labels, of the rows that have one.

    Without a label column, or with ``keep_unlabelled``, all rows.

    Attributes
    ----------
    names : list of str
    types : list of pyarrow.DataType
    decimal : str
    n_unlabelled, n_rows : int
        Rows without a label that the last pass met, and all its rows.
    """

    def __init__(
        self, raw: RawTable, label_at: int | None, *, keep_unlabelled: bool = False
    ) -> None:
        self._raw, self._label_at, self._keeps = raw, label_at, keep_unlabelled
        self._places = [i for i in range(len(raw.names)) if i != label_at]
        # without a header they are numbered among themselves: the label's place does not matter
        self.names = [
            raw.names[i] if raw.has_header else str(j) for j, i in enumerate(self._places)
        ]
        self.types = [raw.types[i] for i in self._places]
        self.decimal = raw.decimal
        self.n_unlabelled = self.n_rows = 0

    def batches(self) -> Iterator[Any]:
        """Record batches without the labels, and without rows that have none."""
        for batch, _, _ in self.with_labels():
            yield batch

    def with_labels(self) -> Iterator[tuple[Any, Any, Array]]:
        """Those record batches, the labels of all rows read, and which of these have one."""
        from pyarrow import array

        self.n_unlabelled = self.n_rows = 0
        for whole in self._raw.batches():
            self.n_rows += whole.num_rows
            labels = None if self._label_at is None else whole.column(self._label_at)
            batch, has_label = whole.select(self._places), np.ones(whole.num_rows, np.bool_)
            if labels is not None:
                missing = nulls(labels)
                if missing.any():
                    has_label = ~missing
                    self.n_unlabelled += int(missing.sum())
                    batch = batch if self._keeps else batch.filter(array(has_label))
            yield batch, labels, has_label


def check_names_differ(raw: RawTable) -> None:
    """Refuse a table in which two columns have one name."""
    seen: set[str] = set()
    for name in raw.names:
        if name in seen:
            raise InvalidInputError(
                f"{shown(raw.path)} has two columns named {name!r}: rename one, so that a column "
                f"can be told by its name"
            )
        seen.add(name)


def _encoded(
    raw: RawTable,
    label: str,
    choices: Choices,
    refuse_unlabelled: bool,
    budget_bytes: int,
    progress: Tell,
) -> LabelledTable:
    """Find out what the columns hold, and encode them; points beyond the budget go to a file."""
    check_names_differ(raw)
    wording = file_wording(raw.path)
    names = raw.names if raw.has_header else []
    at = label_column(raw.path, label, names, len(raw.names))
    columns = FeatureColumns(raw, at)
    if not columns.names:
        raise InvalidInputError(
            f"{shown(raw.path)} has no column beside the labels: give at least one feature"
        )
    try:
        encoding = Encoding.of_source(columns, choices, wording, named=raw.has_header)
    except InvalidInputError:
        if columns.n_rows and columns.n_rows == columns.n_unlabelled:
            raise _no_labels(raw, at) from None
        raise
    labels = labels_of(raw, at, wording)
    spool = Spool(budget_bytes, columns.n_rows - columns.n_unlabelled, is_exact=True)
    dtype = np.float32 if encoding.narrow else np.float64
    places = encoding.places(columns.names, wording.table)
    codes: list[Array] = []
    kept: list[Array] = []
    surprises, row = Surprises(), 0
    for batch, chunk, has_label in columns.with_labels():
        if refuse_unlabelled and not has_label.all():
            refuse_row(raw.names[at], row + int(np.argmin(has_label)), wording)
        if batch.num_rows:
            taken = None if has_label.all() else np.flatnonzero(has_label)
            place = Place(wording, row, taken, raw.decimal)
            spool.add(encoding.encoded(batch, places, place, surprises).astype(dtype, copy=False))
            some = labels.read(chunk, row, ())[has_label]
            codes.append(some.astype(np.min_scalar_type(int(some.max()))))
            kept.append(row + np.flatnonzero(has_label))
        row += len(has_label)
        progress("reading", row, max(row, raw.n_rows), 0)
    n_kept = sum(map(len, codes))
    points = spool.points()
    points.feature_names = encoding.feature_names
    is_numbers = encoding.is_plain
    return LabelledTable(
        points, EncodedLabels(labels.classes(), np.concatenate(codes)),
        None if is_numbers else encoding, [] if is_numbers else encoding.rows(), row - n_kept,
        np.concatenate(kept) if n_kept < row else None, raw.notes,
    )  # fmt: skip


def refuse_row(name: str, row: int, wording: Wording) -> NoReturn:
    """Refuse a row that has no label."""
    raise InvalidInputError(
        f"{wording.column(name)} has no label at {wording.row.format(row)}; give every row one, or "
        f"let rows without one be left out"
    )


def labels_of(raw: RawTable, at: int, wording: Wording) -> LabelColumn:
    """The column of labels, which gives -1 for rows without one."""
    return LabelColumn(
        raw.names[at], raw.types[at], wording, from_text=raw.from_text, missing="skip"
    )


def _no_labels(raw: RawTable, at: int) -> InvalidInputError:
    return InvalidInputError(
        f"{shown(raw.path)} has no row with a label in column {raw.names[at]!r}: give the column "
        f"that holds the labels"
    )


def load_encoded(
    path: Path,
    label: str | None,
    encoding: Encoding,
    options: ReadingOptions,
    *,
    memory_limit: int | None = None,
) -> LabelledTable:
    """Read a table whole, encoded as at a fit; rows without a label only where none is asked for.

    Parameters
    ----------
    path, label, encoding, options
        As of `stream_encoded`.
    memory_limit : int or None
        As of `load_table`.

    Returns
    -------
    LabelledTable
        ``notes`` say what the fit did not know; labels are None without a label column.
    """
    stream = stream_encoded(path, label, encoding, options)
    spool = Spool(budget_for(memory_limit), stream.n_rows, is_exact=False)
    codes: list[Array] = []
    kept: list[Array] = []
    row = 0
    for block, numbers in stream.blocks:
        if numbers is not None:
            block = block[numbers >= 0]
            codes.append(numbers[numbers >= 0])
            kept.append(row + np.flatnonzero(numbers >= 0))
            row += len(numbers)
        if len(block):
            spool.add(block.astype(np.float64, copy=False))
    points = spool.points()
    if not points.n_samples:
        raise InvalidInputError(f"{shown(path)} has no rows of data: give at least one point")
    points.feature_names = encoding.feature_names
    table = LabelledTable(points, None, encoding, notes=stream.surprises())
    if label is not None:
        table.labels = EncodedLabels(stream.classes(), np.concatenate(codes))
        table.n_unlabelled = row - points.n_samples
        table.kept = np.concatenate(kept) if table.n_unlabelled else None
    return table


def stream_encoded(
    path: Path, label: str | None, encoding: Encoding, options: ReadingOptions
) -> Stream:
    """Read a table in pieces for one pass, encoded as at a fit.

    Parameters
    ----------
    path, label, options
        As of `load_labelled`; without a label column, all columns are features.
    encoding : Encoding

    Raises
    ------
    InvalidInputError
        As `load_labelled`, also while it is iterated; or if a column of the fit is not there.
    """
    known = [column.name for column in encoding.columns] if encoding.named else None
    raw = open_raw(path, options, label=label, known_names=known)
    wording = file_wording(raw.path)
    check_names_differ(raw)
    at, labels = None, None
    if label is not None:
        at = label_column(raw.path, label, raw.names if raw.has_header else [], len(raw.names))
        labels = labels_of(raw, at, wording)
    columns = FeatureColumns(raw, at, keep_unlabelled=True)
    names = columns.names
    if not encoding.named and raw.has_header:
        names = [str(j) for j in range(len(columns.names))]
    places = encoding.places(names, wording.table)
    surprises = Surprises()

    def blocks() -> Iterator[tuple[Array, Array | None]]:
        row = 0
        for batch, chunk, has_label in columns.with_labels():
            codes = None if labels is None else labels.read(chunk, row, ())
            place = Place(wording, row, decimal=raw.decimal)
            yield encoding.encoded(batch, places, place, surprises), codes
            row += len(has_label)

    return Stream(
        blocks(), raw.n_rows, lambda: None,
        lambda: np.empty(0) if labels is None else labels.classes(), surprises.sentences,
    )  # fmt: skip
