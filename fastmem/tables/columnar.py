"""Parquet and Arrow files as raw tables, whose columns have types of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from fastmem.encoding.tables import without_view
from fastmem.errors import InvalidInputError
from fastmem.machine.wording import reason
from fastmem.tables.raw_table import RawTable, shown
from fastmem.tables.sources import Source, kind_of

BATCH_BYTES = 4 << 20
"""Room for the numbers of a batch as float64; larger ones are no faster."""
_LEAST_ROWS = 16
_COLUMN_BUFFER = 1 << 16
"""Bytes read at a time of each column: without it a whole row group is."""


def rows_of_batch(types: Sequence[Any]) -> int:
    """Rows of a batch of such columns."""
    width = sum(getattr(kind, "list_size", 1) if kind.num_fields else 1 for kind in types)
    return max(_LEAST_ROWS, BATCH_BYTES // (8 * max(1, width)))


def read_parquet(source: Source, groups: Sequence[int] | None = None) -> RawTable:
    """Open a parquet file, or some of its groups of rows, which is read some rows at a time."""
    from pyarrow import parquet

    source = source.seekable()
    # as a single file: "year=2024" in its path must not add a column
    with source.native() as file, parquet.ParquetFile(file) as table:
        n_rows = max(0, table.metadata.num_rows)
        if groups is not None:
            n_rows = sum(table.metadata.row_group(group).num_rows for group in groups)
        schema = table.schema_arrow

    def batches(rows: int) -> Iterator[Any]:
        with (
            source.native() as file,
            parquet.ParquetFile(file, buffer_size=_COLUMN_BUFFER, pre_buffer=False) as table,
        ):
            yield from table.iter_batches(batch_size=rows, row_groups=groups)

    @cache
    def empty() -> set[str]:
        with source.native() as file:
            return _without_values(parquet.read_metadata(file))

    found = typed_table(source.path, schema, n_rows, batches)
    return replace(found, is_empty=lambda column: found.names[column] in empty())


def _without_values(metadata: Any) -> set[str]:
    """Flat columns of a parquet file that hold nulls alone, as far as its statistics say so."""
    nulls, columns = Counter[str](), Counter[str]()
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for one in map(group.column, range(group.num_columns)):
            known = one.statistics
            columns[one.path_in_schema] += 1
            if known is not None and known.has_null_count and known.null_count == group.num_rows:
                nulls[one.path_in_schema] += 1
    n_groups = metadata.num_row_groups  # of which each has as many columns of a name as there are
    return {name for name, n in nulls.items() if n == columns[name] == n_groups}


def read_arrow(source: Source) -> RawTable:
    """Open Arrow's own format, of a file (also called feather) or of a stream."""
    from pyarrow import ipc

    source = source.seekable()
    with source.opened() as file:
        start = file.read(8)
    if start.startswith(b"FEA1"):
        raise InvalidInputError(
            f"{shown(source.path)} is of the first version of feather: write it anew, as "
            "pandas.DataFrame.to_feather does"
        )
    is_stream = kind_of(start) != ".feather"

    def streamed(file: Any) -> Iterator[Any]:
        with ipc.open_stream(file) as reader:
            yield from reader

    def filed(file: Any) -> Iterator[Any]:
        with ipc.open_file(file) as reader:
            for k in range(reader.num_record_batches):
                yield reader.get_batch(k)

    def batches(rows: int) -> Iterator[Any]:
        with _opened(source) as file:
            for batch in (streamed if is_stream else filed)(file):
                batch.validate(full=True)  # a damaged file may say anything
                for start in range(0, batch.num_rows, rows):
                    yield batch.slice(start, rows)

    n_rows = 0
    with (
        _opened(source) as file,
        (ipc.open_stream if is_stream else ipc.open_file)(file) as reader,
    ):
        schema = reader.schema
    with _opened(source) as file:
        for batch in (streamed if is_stream else filed)(file):
            n_rows += batch.num_rows
    return typed_table(source.path, schema, n_rows, batches)


@contextmanager
def _opened(source: Source) -> Iterator[Any]:
    """Give a file of which a batch at a time is read, and refuse one that is not worth a try."""
    import pyarrow as pa

    if not source.n_bytes:
        raise InvalidInputError(f"{shown(source.path)} is empty: give at least one row of data")
    try:
        with source.native() as file:
            yield file
    except pa.ArrowMemoryError as error:
        raise InvalidInputError(
            f"{shown(source.path)} holds a batch that takes more memory than there is, or is "
            f"damaged ({reason(error)}): write it in smaller batches"
        ) from error


def typed_table(
    path: Path, schema: Any, n_rows: int, batches: Callable[[int], Iterator[Any]]
) -> RawTable:
    """Make a table of columns with types.

    Parameters
    ----------
    path : Path
    schema : pyarrow.Schema
        Of the batches.
    n_rows : int
    batches : callable
        Gives batches of at most so many rows.
    """
    from pyarrow import RecordBatch

    places = _columns(schema)
    fields = [schema.field(place) for place in places]
    names, types = [field.name for field in fields], [without_view(field.type) for field in fields]
    notes = []
    if len(places) < len(schema):
        notes.append("what pandas stored as its index is left out")

    def read() -> Iterator[Any]:
        for batch in batches(rows_of_batch(types)):
            some = zip(map(batch.column, places), types, strict=True)
            columns = [one if one.type == kind else one.cast(kind) for one, kind in some]
            yield RecordBatch.from_arrays(columns, names=names)

    return RawTable(path, names, True, types, False, ".", n_rows, True, notes, read)


def _columns(schema: Any) -> list[int]:
    """Return the places of the columns, without what pandas stored as its index."""
    metadata = schema.pandas_metadata or {}
    # Pandas stores an index that is not 0, 1, 2, ... as one more column, which is no feature.
    index = {c for c in metadata.get("index_columns", []) if isinstance(c, str)}
    return [place for place, field in enumerate(schema) if field.name not in index]
