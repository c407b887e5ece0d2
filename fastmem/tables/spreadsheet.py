"""The first sheet of an xlsx file as a raw table: numbers, bools, times and texts.

The sheet is unpacked once, row by row, into a temporary file of Arrow batches, because XML is slow
to read. Readers that lay a sheet out in memory let one cell at its far end take half a terabyte.
"""

from __future__ import annotations

import datetime as dt
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

from fastmem.errors import InvalidInputError, NotEnoughMemoryError
from fastmem.inputs.refusals import show
from fastmem.machine.memory import require
from fastmem.tables.columnar import typed_table
from fastmem.tables.delimited import number_of
from fastmem.tables.dialect import SAMPLE_ROWS, counts_rows, is_missing
from fastmem.tables.header import has_header
from fastmem.tables.raw_table import RawTable, ReadingOptions, shown
from fastmem.tables.sources import Source, Spooled

CHUNK_ROWS = 4096
_BYTES_IN_MEMORY = 8
"""Of each byte of a workbook's texts, which are kept apart from its sheets: they become objects."""


def read_spreadsheet(
    source: Source, options: ReadingOptions, *, label: str | None,
    known_names: Sequence[str] | None,
) -> RawTable:  # fmt: skip
    """Open the first sheet of an xlsx file; parameters as of `fastmem.tables.raw.open_raw`."""
    import pyarrow as pa

    path, notes = shown(source.path), list[str]()
    with _rows(source.seekable(), options, notes) as rows:
        sample = list(islice(rows, SAMPLE_ROWS))
        if not sample:
            raise InvalidInputError(f"{path} is empty: give at least one row of data")
        width = max(len(row) for row in sample)
        texts = [[_text(cell) for cell in row] + [""] * (width - len(row)) for row in sample]
        is_header = options.header
        if is_header is None:
            is_header = has_header(
                texts, is_missing=lambda cell: is_missing(cell, options),
                number_of=lambda cell: number_of(cell, "."), label=label,
                known_names=known_names, path=path,
            )  # fmt: skip
        if is_header:  # a cell beside the table is refused, not a column
            width = len(sample[0])
        names = texts[0][:width] if is_header else [str(j) for j in range(width)]
        left_out = 0
        if is_header and counts_rows(names, texts[1:]) and names[0] not in (known_names or ()):
            left_out = 1
            notes.append("column 0, without a name, numbers or names the rows and is left out")
        chunks = _Chunks(path, left_out, width, options)
        body = chain(sample[1:] if is_header else sample, rows)
        del sample, texts
        while some := list(islice(body, CHUNK_ROWS)):
            chunks.add(some)
    schema = pa.schema(list(zip(names[left_out:], chunks.types, strict=True)))
    table = typed_table(source.path, schema, chunks.n_rows, lambda size: chunks.batches(size))
    table.notes, table.has_header = notes, bool(is_header)
    return table


@contextmanager
def _rows(
    source: Source, options: ReadingOptions, notes: list[str]
) -> Iterator[Iterator[tuple[Any, ...]]]:
    """Give the rows of the first sheet that are not blank, without the cells behind the last."""
    from openpyxl import load_workbook

    path = shown(source.path)
    with source.opened() as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and charts
        with zipfile.ZipFile(file) as archive:
            others = [info.file_size for info in archive.infolist() if "sheet" not in info.filename]
        try:
            require(_BYTES_IN_MEMORY * sum(others), path, "write the table as csv")
        except NotEnoughMemoryError as error:
            raise InvalidInputError(str(error)) from error
        file.seek(0)
        workbook = load_workbook(file, read_only=True, data_only=True, keep_links=False)
        try:
            sheets = workbook.worksheets
            if not sheets:
                raise InvalidInputError(f"{path} has no sheet of cells: give one with a table")
            if len(sheets) > 1:
                notes.append(f"the sheet {show(sheets[0].title)} is read, one of {len(sheets)}")
            sheets[0].reset_dimensions()  # which some programs write wrong
            yield filter(
                None, (_trimmed(row, options) for row in sheets[0].iter_rows(values_only=True))
            )
        finally:
            workbook.close()


def _trimmed(row: tuple[Any, ...], options: ReadingOptions) -> tuple[Any, ...]:
    end = len(row)
    while end and not _is_there(row[end - 1], options):
        end -= 1
    return row[:end] if end else ()


class _Chunks:
    """Rows in a temporary file, and the types that hold all of each column."""

    def __init__(self, path: str, left_out: int, width: int, options: ReadingOptions) -> None:
        import pyarrow as pa

        self._path, self._left_out, self._width, self._options = path, left_out, width, options
        self._file, self._places = Spooled(path), list[int]()
        self.types: list[Any] = [pa.null()] * (width - left_out)
        self.n_rows = 0

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        """Take some rows."""
        import pyarrow as pa
        from pyarrow import ipc

        widest = max(rows, key=len)
        if len(widest) > self._width:
            row = self.n_rows + rows.index(widest)
            raise InvalidInputError(
                f"{self._path} has {show(widest[-1])} in column {len(widest) - 1}, data row {row} "
                f"(the first is 0), where the table above it has {self._width} columns: give every "
                "column a name, or remove the cell"
            )
        columns = [
            _column([row[j] if j < len(row) else None for row in rows], self._options)
            for j in range(self._left_out, self._width)
        ]
        self.types = [
            _common(one, column.type) for one, column in zip(self.types, columns, strict=True)
        ]
        batch = pa.RecordBatch.from_arrays(columns, names=[str(j) for j in range(len(columns))])
        sink = pa.BufferOutputStream()
        with ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        self._places.append(self._file.size)
        self._file.write(sink.getvalue())
        self.n_rows += len(rows)

    def batches(self, size: int) -> Iterator[Any]:
        """Give batches of at most so many rows."""
        import pyarrow as pa
        from pyarrow import ipc

        for place in self._places:
            with self._file.window() as window:
                window.seek(place)
                with ipc.open_stream(pa.PythonFile(window, "r")) as reader:
                    batch = reader.read_next_batch()
            columns = [_as(c, kind) for c, kind in zip(batch.columns, self.types, strict=True)]
            whole = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
            for start in range(0, whole.num_rows, size):
                yield whole.slice(start, size)


def _is_there(cell: Any, options: ReadingOptions) -> bool:
    return not (cell is None or (isinstance(cell, str) and is_missing(cell.strip(), options)))


def _text(cell: Any) -> str:
    """Return a cell as it stands in the sheet: 1.0 is 1 there."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell).strip()


def _column(cells: list[Any], options: ReadingOptions) -> Any:
    """Return an Arrow array of the narrowest type that holds all cells."""
    import pyarrow as pa

    cells = [cell if _is_there(cell, options) else None for cell in cells]
    kinds = {type(cell) for cell in cells} - {type(None)}
    if not kinds:
        return pa.nulls(len(cells))
    if kinds == {bool}:
        return pa.array(cells, pa.bool_())
    if kinds <= {int, float}:
        inexact = [c for c in cells if isinstance(c, int) and int(float(c)) != c]
        if inexact and kinds != {int}:
            raise ValueError(f"{inexact[0]} stands beside fractions, and float64 would round it")
        is_whole = kinds == {int} and max(abs(c) for c in cells if c is not None) < 1 << 63
        return pa.array(cells, pa.int64()) if is_whole else pa.array(
            [None if cell is None else float(cell) for cell in cells], pa.float64()
        )  # fmt: skip
    if kinds <= {dt.datetime, dt.date}:
        midnight = dt.time()
        times = [dt.datetime.combine(c, midnight) if type(c) is dt.date else c for c in cells]
        return pa.array(times, pa.timestamp("us"))
    if kinds == {dt.time}:
        return pa.array(cells, pa.time64("us"))
    if kinds == {dt.timedelta}:
        return pa.array(cells, pa.duration("us"))
    return pa.array([None if cell is None else _text(cell) for cell in cells], pa.string())


def _common(one: Any, other: Any) -> Any:
    """Return the type that holds the values of both."""
    import pyarrow as pa

    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    return pa.float64() if {one, other} == {pa.int64(), pa.float64()} else pa.string()


def _as(column: Any, kind: Any) -> Any:
    import pyarrow as pa

    if column.type == kind:
        return column
    if pa.types.is_string(kind) and not pa.types.is_null(column.type):
        texts = [None if cell is None else _text(cell) for cell in column.to_pylist()]
        return pa.array(texts, pa.string())
    return column.cast(kind)
