"""Json lines, an object a row, as a raw table whose columns have json's types.

Arrow takes the types of the first block for those of the whole file; here the file is read once
for the types of all its blocks, and once more for the values.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.inputs.refusals import show
from fastmem.machine.wording import printable, reason
from fastmem.tables.columnar import typed_table
from fastmem.tables.raw_table import RawTable, shown
from fastmem.tables.sources import Source

BLOCK_BYTES = 4 << 20
_MOST_LINE_BYTES = 256 << 20
_EXACT = 2.0**53


def read_json_lines(source: Source) -> RawTable:
    """Open json lines.

    Raises
    ------
    InvalidInputError
        If a line is no object, holds objects or lists of them, or a column has values of kinds
        that do not go together.
    """
    import pyarrow as pa

    path = shown(source.path)
    schema, n_rows = pa.schema([]), 0
    for above, block in _blocks(source):
        found = _parsed(block, None, above, path).combine_chunks()
        schema = _unified(schema, found.schema, path)
        n_rows += found.num_rows
    if not len(schema):
        raise InvalidInputError(f"{path} has no rows of data: give at least one point")
    for entry in schema:
        inner = entry.type.value_type if pa.types.is_list(entry.type) else entry.type
        if pa.types.is_nested(inner):
            raise InvalidInputError(
                f"{path} holds objects within column {show(entry.name)}: make a column of each of "
                "their members, as pandas.json_normalize does"
            )

    def batches(rows: int) -> Iterator[Any]:
        for above, block in _blocks(source):
            table = _parsed(block, schema, above, path).select(schema.names)
            _check_whole_numbers(table, block, path, above)
            yield from table.to_batches(max_chunksize=rows)

    return typed_table(source.path, schema, n_rows, batches)


def _blocks(source: Source) -> Iterator[tuple[int, bytes]]:
    """Give whole lines, some megabytes at a time, and how many lines are above them."""
    above, left = 0, b""
    with source.opened() as file:
        while part := file.read(BLOCK_BYTES):
            if not above and not left and part.startswith(b"\xef\xbb\xbf"):
                part = part[3:]
            end = part.rfind(b"\n") + 1
            if not end:
                left += part
                if len(left) > _MOST_LINE_BYTES:
                    raise InvalidInputError(
                        f"{shown(source.path)} has more than {_MOST_LINE_BYTES:,} bytes in line "
                        f"{above + 1}: write one object a line"
                    )
                continue
            block, left = left + part[:end], part[end:]
            if block.strip():
                yield above, block
            above += block.count(b"\n")
    if left.strip():
        yield above, left


def _parsed(block: bytes, schema: Any, above: int, path: str) -> Any:
    from pyarrow import ArrowInvalid
    from pyarrow import json as arrow_json

    options = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer")
    size = arrow_json.ReadOptions(use_threads=False, block_size=len(block) + 1)
    try:
        return arrow_json.read_json(io.BytesIO(block), size, options)
    except ArrowInvalid as error:
        _refuse_line(block, above, path)
        why = reason(error).removeprefix("JSON parse error: ")
        changed = re.search(r"Column\(/(.*)\) changed from (\w+) to (\w+)", str(error))
        if changed is not None:
            raise _two_kinds(path, changed[2], changed[3], changed[1]) from error
        raise InvalidInputError(
            f"{path} cannot be read as json lines from line {above + 1} on, because {why}: give "
            "one object a line, whose members hold one kind of value each"
        ) from error


def _refuse_line(block: bytes, above: int, path: str) -> None:
    """Refuse the first line that is no object."""
    for k, line in enumerate(block.split(b"\n")):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(
                f"{path} has {show(line.decode('utf-8', 'replace').strip())} in line "
                f"{above + k + 1}, which is no json: give one object a line"
            ) from error
        if not isinstance(value, dict):
            raise InvalidInputError(
                f"{path} has {show(value)} in line {above + k + 1}, which is no object: give one "
                'object a line, such as {"x": 1.5, "y": "a"}'
            )


def _unified(known: Any, found: Any, path: str) -> Any:
    """Return the types that hold the values of both."""
    import pyarrow as pa

    types = {entry.name: entry.type for entry in known}
    for entry in found:
        one, other = types.get(entry.name, pa.null()), entry.type
        if one == other or pa.types.is_null(other):
            types[entry.name] = one
        elif pa.types.is_null(one):
            types[entry.name] = other
        else:
            types[entry.name] = _common(one, other, entry.name, path)
    return pa.schema(list(types.items()))


def _common(one: Any, other: Any, name: str, path: str) -> Any:
    import pyarrow as pa

    if pa.types.is_list(one) and pa.types.is_list(other):
        inner = _unified(pa.schema([(name, one.value_type)]),
                         pa.schema([(name, other.value_type)]), path)  # fmt: skip
        return pa.list_(inner.field(0).type)
    both = {one, other}
    if both == {pa.int64(), pa.float64()}:
        return pa.float64()
    if all(pa.types.is_string(kind) or pa.types.is_timestamp(kind) for kind in both):
        return pa.string()  # of which some could be read as times
    raise _two_kinds(path, str(one), str(other), name)


def _two_kinds(path: str, one: str, other: str, name: str) -> InvalidInputError:
    return InvalidInputError(
        f"{path} has both {printable(one)} and {printable(other)} in column {show(name)}: write "
        "one kind of value in a column"
    )


def _check_whole_numbers(table: Any, block: bytes, path: str, above: int) -> None:
    """Refuse whole numbers that float64 rounds, which Arrow reads so beside fractions."""
    import pyarrow as pa

    doubtful = []
    for entry in table.schema:
        if pa.types.is_floating(entry.type):
            values = table[entry.name].to_numpy()
            if (np.abs(values) >= _EXACT).any():
                doubtful.append(entry.name)
    if not doubtful:
        return
    for k, line in enumerate(block.split(b"\n")):
        row = json.loads(line) if line.strip() else {}
        for name in doubtful:
            value = row.get(name)
            if isinstance(value, int) and int(float(value)) != value:
                raise InvalidInputError(
                    f"{path} has {show(value)} in column {show(name)}, line {above + k + 1}, "
                    "which float64 cannot hold exactly: subtract an offset from the column, or "
                    "write it as text"
                )
