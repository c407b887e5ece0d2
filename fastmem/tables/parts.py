"""Tables in several files: directories, also with partitions such as year=2024, and patterns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastmem.encoding.tables import levels_of, schema_of_all, with_schema
from fastmem.errors import InvalidInputError
from fastmem.inputs.refusals import show
from fastmem.tables.raw_table import RawTable, shown
from fastmem.tables.wording import some


def parts_of(path: Path, suffixes: Sequence[str]) -> list[Path] | None:
    """Return the files of a directory or a pattern, or None where a path is one file or nothing.

    Raises
    ------
    InvalidInputError
        If they are of different formats, or a directory holds none.
    """
    if path.is_dir():
        found = sorted(
            part for part in path.rglob("*")
            if part.is_file() and _suffix(part) in suffixes
            and not any(piece[0] in "._" for piece in part.relative_to(path).parts)
            and all("=" in piece for piece in part.relative_to(path).parts[:-1])
        )  # fmt: skip
        if not found:
            raise InvalidInputError(
                f"{shown(path)} is not a file, and holds no table: give the data file itself, or a "
                "directory of files such as parquet"
            )
    elif not path.exists() and any(c in path.name for c in "*?["):
        found = sorted(part for part in path.parent.glob(path.name) if part.is_file())
        if not found:
            return None
    else:
        return None
    kinds = sorted({_suffix(part) for part in found})
    if len(kinds) > 1 or kinds[0] not in suffixes:
        raise InvalidInputError(
            f"{shown(path)} matches {len(found)} files, which end in {some(kinds)}: give one file, "
            "or a pattern of files of one kind of table"
        )
    return found


def _suffix(path: Path) -> str:
    """Return the suffix with what it was compressed with, as .csv.gz."""
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() + last if last in (".gz", ".bz2", ".xz", ".zst") else last


def together(
    path: Path, parts: Sequence[Path], open_one: Callable[[Path, Sequence[str] | None], RawTable]
) -> RawTable:
    """Put tables below each other, with the keys of their directories as further columns.

    Parameters
    ----------
    path : Path
        The directory or pattern.
    parts : sequence of Path
    open_one : callable
        Opens a part, given names that its columns should have, or None.

    Raises
    ------
    InvalidInputError
        If a part has other columns than the first one, or of types that do not go together.
    """
    keys = [_keys(part, path) if path.is_dir() else {} for part in parts]
    first = open_one(parts[0], None)

    def open_part(part: Path) -> RawTable:
        return open_one(part, first.names if first.has_header else None)

    for part, others in zip(parts, keys, strict=True):
        if list(others) != list(keys[0]):
            raise InvalidInputError(
                f"{shown(part)} lies under the keys {some(list(others))}, and {parts[0].name} "
                f"under {some(list(keys[0]))}: give directories that were written alike"
            )
    twice = [name for name in keys[0] if name in first.names]
    if twice:
        raise InvalidInputError(
            f"{shown(parts[0])} has a column {show(twice[0])}, which its directory has too: "
            "rename one of them"
        )
    n_rows, is_exact, notes, tables = 0, True, list(first.notes), []
    for part in parts:
        table = open_part(part)
        if not table.from_text:
            tables.append(table)
        if table.decimal != first.decimal:
            raise InvalidInputError(
                f"{shown(part)} has the decimal mark {show(table.decimal)}, and {parts[0].name} "
                f"{show(first.decimal)}: name it with --decimal"
            )
        if table.names != first.names:
            raise InvalidInputError(
                f"{shown(part)} has other columns than {parts[0].name}, {some(table.names)} "
                f"instead of {some(first.names)}: give files that were written alike"
            )
        n_rows += table.n_rows
        is_exact = is_exact and table.is_exact
        notes += [f"{part.name}: {note}" for note in table.notes if note not in first.notes]
    types = _types_of_all(tables) if tables else first.types
    names = [*first.names, *keys[0]]
    columns = {name: _typed([found[name] for found in keys], first.from_text) for name in keys[0]}
    if columns:
        notes.append(f"the names of directories give the columns {some(list(columns))}")

    of_parts = [
        (part, {name: values[k] for name, values in columns.items()})
        for k, part in enumerate(parts)
    ]

    def batches() -> Iterator[Any]:
        for part, constants in of_parts:
            yield from with_constants(with_types(open_part(part), types), constants)

    return RawTable(
        path, names, first.has_header, [*types, *(v.type for v in columns.values())],
        first.from_text, first.decimal, n_rows, is_exact, notes, batches, files=of_parts,
    )  # fmt: skip


def _types_of_all(tables: Sequence[RawTable]) -> list[Any]:
    """Types of the columns of tables as one; those of files without rows do not count."""
    import pyarrow as pa

    counting = [table for table in tables if table.n_rows or not table.is_exact] or tables[:1]
    is_ordered = any(getattr(kind, "ordered", False) for table in counting for kind in table.types)
    if not is_ordered and all(table.types == tables[0].types for table in tables):
        return tables[0].types
    schemas = [pa.schema(list(zip(t.names, t.types, strict=True))) for t in counting]
    titles = [shown(table.path) for table in counting]
    levels = [_levels(table) for table in counting] if is_ordered else []
    found = schema_of_all(schemas, titles, levels, lambda k, column: counting[k].is_empty(column))
    return list(found.types)


def _levels(table: RawTable) -> dict[int, list[Any]]:
    """See `levels_of`."""
    import pyarrow as pa

    if not any(getattr(kind, "ordered", False) for kind in table.types):
        return {}
    first = next((batch for batch in table.read() if len(batch)), None)
    return {} if first is None else levels_of(pa.Table.from_batches([first]))


def with_types(table: RawTable, types: Sequence[Any]) -> RawTable:
    """A table whose columns are of these types, of `schema_of_all`.

    Raises InvalidInputError, while it is read, where a column has values that its type does not
    hold.
    """
    import pyarrow as pa

    if table.types == list(types):
        return table
    schema = pa.schema(list(zip(table.names, types, strict=True)))

    def read() -> Iterator[Any]:
        for batch in table.read():
            try:
                yield from with_schema(pa.Table.from_batches([batch]), schema).to_batches()
            except InvalidInputError as refused:
                raise InvalidInputError(f"in {shown(table.path)}, {refused}") from refused

    return replace(table, types=list(types), read=read)


def with_constants(table: RawTable, constants: Mapping[str, Any]) -> Iterator[Any]:
    """The batches of a table, and further columns that hold one value each, a pyarrow.Scalar."""
    import pyarrow as pa

    for batch in table.batches():
        more = [
            pa.repeat(value, batch.num_rows) if value.is_valid
            else pa.nulls(batch.num_rows, value.type)
            for value in constants.values()
        ]  # fmt: skip
        names = [*table.names, *constants]
        yield pa.RecordBatch.from_arrays([*batch.columns, *more], names=names)


def _keys(part: Path, directory: Path) -> dict[str, str | None]:
    """Return the keys that the directories of a part name."""
    from pyarrow import dataset, schema, string

    above = part.relative_to(directory).parts[:-1]
    names = [piece.partition("=")[0] for piece in above]
    hive = dataset.HivePartitioning(schema([(name, string()) for name in names]))
    found = dataset.get_partition_keys(hive.parse(os.fsdecode("/".join([*above, part.name]))))
    return {name: found.get(name) for name in names}


def _typed(values: list[str | None], as_text: bool) -> Any:
    """Return keys as integers where all of them are, else as texts."""
    import pyarrow as pa

    texts = pa.array(values, pa.string())
    if as_text:
        return texts
    try:
        numbers = texts.cast(pa.int64())
    except pa.ArrowInvalid:
        return texts
    return numbers if numbers.cast(pa.string()).equals(texts) else texts
