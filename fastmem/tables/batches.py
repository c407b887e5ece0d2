"""Csv and parquet files in batches of rows: numbers of one dtype, and labels beside them.

No batch, and nothing else here, grows with the file: row groups and csv are read piece by piece.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.inputs import ArrowColumn, Wording
from fastmem.inputs.refusals import show
from fastmem.inputs.values import block_dtype
from fastmem.tables.columns import LabelColumn, file_wording, is_index, label_column
from fastmem.tables.wording import some

BATCH_BYTES = 4 << 20
"""Room for the numbers of a batch as float64; larger ones are no faster."""
_LEAST_ROWS = 16
_CSV_BLOCK = 4 << 20
_COLUMN_BUFFER = 1 << 16
"""Bytes read at a time of each column: without it a whole row group is."""

Array = NDArray[Any]


@dataclass
class Batches:
    """The rows of a file, to be iterated once.

    Attributes
    ----------
    path : Path
    columns : list of ArrowColumn
        The features' columns.
    labels : LabelColumn or None
    n_rows : int
        Rows in all; of csv files an estimate.
    has_names : bool
        Whether the columns have names, or only numbers.
    """

    path: Path
    columns: list[ArrowColumn]
    places: list[int]  # of the features' columns among all
    labels: LabelColumn | None
    label_at: int | None
    n_rows: int
    has_names: bool
    is_exact: bool  # whether n_rows is no estimate
    chunks: Iterator[Any]  # record batches

    @property
    def feature_names(self) -> list[str] | None:
        """The names of the features, once the first batch has been read."""
        if not self.has_names:
            return None
        return [name for column in self.columns for name in column.feature_names]

    def __iter__(self) -> Iterator[tuple[Array, Array | None]]:
        """Give (rows, n_features) of float32 where that is exact, else float64, and labels' codes.

        Raises InvalidInputError where a value is missing, not finite or not exact.
        """
        dtype = block_dtype(*(column.dtype for column in self.columns))
        above = 0
        for batch in self.chunks:
            if not batch.num_rows:
                continue

            def later(place: int) -> Iterator[Any]:
                return (other.column(place) for other in self.chunks)

            codes = None
            if self.labels is not None and self.label_at is not None:
                chunk = batch.column(self.label_at)
                codes = self.labels.read(chunk, above, later(self.label_at))
            values = [
                column.read(batch.column(place), above, later(place))
                for place, column in zip(self.places, self.columns, strict=True)
            ]
            block = np.empty((batch.num_rows, sum(c.width or 0 for c in self.columns)), dtype)
            j = 0
            for column, part in zip(self.columns, values, strict=True):
                width = column.width or 0
                block[:, j : j + width] = part.reshape(len(part), width)
                j += width
            above += len(block)
            yield block, codes
        if not above:
            raise InvalidInputError(f"{self.path} has no rows of data: give at least one point")


def csv_batches(path: Path, label: str | None, known_names: Sequence[str] | None) -> Batches:
    """Read comma-separated values: every column but the label as float64.

    The first row is a header unless it holds a number; it is one also where it holds the label's
    name, or the ``known_names``.
    """
    from pyarrow import csv as arrow_csv
    from pyarrow import float64, string

    first_row, lines, n_bytes = _first_csv_row(path)
    has_header = not any(_is_number(cell) for cell in first_row)
    if label is not None and not is_index(label) and label in first_row:
        # A header of numbers, as pandas writes it, is recognised by the name that was asked for.
        has_header = True
    if known_names is not None and first_row == list(known_names):
        has_header = True
    names = first_row if has_header else [str(i) for i in range(len(first_row))]
    label_at = None
    if label is not None:
        label_at = label_column(path, label, first_row if has_header else [], len(first_row))

    # Unique names of our own: the file's may repeat.
    columns = [str(i) for i in range(len(first_row))]
    types = {c: string() if i == label_at else float64() for i, c in enumerate(columns)}
    skipped = lines if has_header else 0

    def chunks() -> Iterator[Any]:
        # one thread: it is as fast, because rows are found one after another, and knows the row
        reader = arrow_csv.open_csv(
            path,
            read_options=arrow_csv.ReadOptions(
                column_names=columns, skip_rows=skipped, use_threads=False,
                block_size=max(_CSV_BLOCK, 64 * n_bytes),
            ),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(column_types=types),
        )  # fmt: skip
        with reader:
            yield from reader

    wording = file_wording(path)
    batches = _batches(
        path, _said_in_words(chunks(), path, names, skipped), names, list(types.values()),
        label_at, wording, from_text=True,
    )  # fmt: skip
    batches.has_names, batches.is_exact = has_header, False
    batches.n_rows = max(1, path.stat().st_size // max(1, _mean_line(path)))
    return batches


def parquet_batches(path: Path, parts: Sequence[Path], label: str | None) -> Batches:
    """Read parquet files, one after another, as ``path``: they must have the same columns."""
    from pyarrow import parquet

    n_rows, columns = 0, []
    for part in parts:
        # as a single file: "year=2024" in its path must not add a column
        with parquet.ParquetFile(part) as file:
            n_rows += max(0, file.metadata.num_rows)
            columns.append(_columns_of(file))
    for part, others in zip(parts, columns, strict=True):
        if others != columns[0]:
            raise InvalidInputError(
                f"{part} has other columns than {parts[0].name}, "
                f"{some([name for name, *_ in others])} instead of "
                f"{some([name for name, *_ in columns[0]])} or of other types: give files that "
                "were written alike"
            )
    names = [name for name, _, _ in columns[0]]
    types = [kind for _, kind, _ in columns[0]]
    places = [place for _, _, place in columns[0]]
    label_at = None if label is None else label_column(path, label, names, len(names))
    width = sum(getattr(kind, "list_size", 1) if kind.num_fields else 1 for kind in types)
    rows = max(_LEAST_ROWS, BATCH_BYTES // (8 * max(1, width)))

    def chunks() -> Iterator[Any]:
        for part in parts:
            with parquet.ParquetFile(part, buffer_size=_COLUMN_BUFFER, pre_buffer=False) as file:
                yield from file.iter_batches(batch_size=rows)

    batches = _batches(path, chunks(), names, types, label_at, file_wording(path), from_text=False)
    batches.places = [places[i] for i in batches.places]
    batches.label_at = None if label_at is None else places[label_at]
    batches.n_rows = n_rows
    return batches


def _batches(
    path: Path, chunks: Iterator[Any], names: Sequence[str], types: Sequence[Any],
    label_at: int | None, wording: Wording, *, from_text: bool,
) -> Batches:  # fmt: skip
    places = [i for i in range(len(names)) if i != label_at]
    labels = None
    if label_at is not None:
        labels = LabelColumn(names[label_at], types[label_at], wording, from_text=from_text)
    columns = [ArrowColumn(names[i], types[i], wording) for i in places]
    if not places:
        raise InvalidInputError(f"{path} has no columns: give at least one feature")
    return Batches(path, columns, places, labels, label_at, 0, True, True, chunks)


def _columns_of(file: Any) -> list[tuple[str, Any, int]]:
    """Return names, types and places of the columns, without what pandas stored as its index."""
    schema = file.schema_arrow
    metadata = schema.pandas_metadata or {}
    # Pandas stores an index that is not 0, 1, 2, ... as one more column, which is no feature.
    index = {c for c in metadata.get("index_columns", []) if isinstance(c, str)}
    return [
        (field.name, field.type, i) for i, field in enumerate(schema) if field.name not in index
    ]


def _said_in_words(
    chunks: Iterator[Any], path: Path, names: Sequence[str], skipped: int
) -> Iterator[Any]:
    """Pass batches on, and say where csv holds what is no number."""
    from pyarrow import ArrowInvalid

    try:
        yield from chunks
    except ArrowInvalid as error:
        found = re.search(
            r"column #(\d+):(?: Row #(\d+):)?.*invalid value '(.*)'", str(error), re.DOTALL
        )
        if found is None:
            raise
        where = f", data row {int(found[2]) - skipped - 1} (the first is 0)" if found[2] else ""
        raise InvalidInputError(
            f"{path} has {show(found[3])} in column {show(names[int(found[1])])}{where}, which is "
            "not a number: remove the column, or name it with --label if it holds the labels"
        ) from error


def _first_csv_row(path: Path) -> tuple[list[str], int, int]:
    """Give the cells of the first row that is not blank, and lines and bytes up to its end."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        n_bytes = 0

        def counted() -> Iterator[str]:
            nonlocal n_bytes
            for line in file:
                n_bytes += len(line)
                yield line

        reader = csv.reader(counted())
        for row in reader:
            if row:
                return [cell.strip() for cell in row], reader.line_num, n_bytes
    raise InvalidInputError(f"{path} is empty: give at least one row of data")


def _mean_line(path: Path) -> int:
    """Bytes of a line, by the first million."""
    with open(path, "rb") as file:
        start = file.read(1 << 20)
    return len(start) // max(1, start.count(b"\n"))


def _is_number(text: str) -> bool:
    """Whether a csv cell holds a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
