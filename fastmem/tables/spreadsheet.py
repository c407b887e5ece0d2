"""The first sheet of an xlsx file as a raw table: numbers, bools, times and texts."""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

from fastmem.errors import InvalidInputError, NotEnoughMemoryError
from fastmem.inputs.refusals import show
from fastmem.machine.memory import require
from fastmem.tables.columnar import rows_of_batch, typed_table
from fastmem.tables.delimited import number_of
from fastmem.tables.dialect import counts_rows, is_missing
from fastmem.tables.header import has_header
from fastmem.tables.raw_table import RawTable, ReadingOptions, shown
from fastmem.tables.sources import Source

_BYTES_IN_MEMORY = 10
"""Of each byte of a sheet's XML, at most: cells become objects."""


def read_spreadsheet(
    source: Source, options: ReadingOptions, *, label: str | None,
    known_names: Sequence[str] | None,
) -> RawTable:  # fmt: skip
    """Open the first sheet of an xlsx file; parameters as of `fastmem.tables.raw.open_raw`."""
    from python_calamine import CalamineWorkbook

    source, path = source.seekable(), shown(source.path)
    with source.opened() as file:
        with zipfile.ZipFile(file) as archive:
            n_bytes = sum(info.file_size for info in archive.infolist())
        try:
            require(_BYTES_IN_MEMORY * n_bytes, path, "write the table as csv")
        except NotEnoughMemoryError as error:
            raise InvalidInputError(str(error)) from error
        file.seek(0)
        workbook = CalamineWorkbook.from_filelike(file)
        sheets = workbook.sheet_names
        rows = workbook.get_sheet_by_index(0).to_python(skip_empty_area=True)
    notes = []
    if len(sheets) > 1:
        notes.append(f"the sheet {show(sheets[0])} is read, the first of {len(sheets)}")
    while rows and not any(_is_there(cell, options) for cell in rows[-1]):
        rows.pop()
    rows = [row for row in rows if any(_is_there(cell, options) for cell in row)]
    if not rows:
        raise InvalidInputError(f"{path} is empty: give at least one row of data")
    texts = [[_text(cell) for cell in row] for row in rows[:2000]]
    is_header = options.header
    if is_header is None:
        is_header = has_header(
            texts, is_missing=lambda cell: is_missing(cell, options),
            number_of=lambda cell: number_of(cell, "."), label=label,
            known_names=known_names, path=path,
        )  # fmt: skip
    names = texts[0] if is_header else [str(j) for j in range(len(rows[0]))]
    body = rows[1:] if is_header else rows
    left_out = 0
    if is_header and counts_rows(names, texts[1:]) and names[0] not in (known_names or ()):
        left_out = 1
        notes.append("column 0 without a name numbers or names the rows and is left out")
    # one list after another, so that rows can go
    columns = [_column([row[j] for row in body], options) for j in range(left_out, len(names))]
    del rows, body

    import pyarrow as pa

    names = names[left_out:]
    schema = pa.schema([pa.field(n, c.type) for n, c in zip(names, columns, strict=True)])
    whole = pa.RecordBatch.from_arrays(columns, schema=schema)

    def batches(size: int) -> Iterator[Any]:
        for start in range(0, whole.num_rows, size):
            yield whole.slice(start, size)

    table = typed_table(source.path, schema, whole.num_rows, batches)
    assert rows_of_batch(table.types), "batches have rows"
    table.notes, table.has_header = notes, bool(is_header)
    return table


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
        if all(cell is None or float(cell).is_integer() for cell in cells):
            whole = [None if cell is None else int(cell) for cell in cells]
            if max(abs(cell) for cell in whole if cell is not None) < 1 << 53:
                return pa.array(whole, pa.int64())
        return pa.array(cells, pa.float64())
    if kinds <= {dt.datetime, dt.date}:
        if kinds == {dt.date}:
            return pa.array(cells, pa.date32())
        midnight = dt.time()
        times = [
            dt.datetime.combine(cell, midnight) if type(cell) is dt.date else cell for cell in cells
        ]
        return pa.array(times, pa.timestamp("us"))
    if kinds == {dt.time}:
        return pa.array(cells, pa.time64("us"))
    if kinds == {dt.timedelta}:
        return pa.array(cells, pa.duration("us"))
    return pa.array([None if cell is None else _text(cell) for cell in cells], pa.string())
