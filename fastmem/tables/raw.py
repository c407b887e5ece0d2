"""The door to files of tables: any kind of them as columns in Arrow batches.

Nothing here decides what a column means: texts stay texts, and types of a file's own stay as they
are. No batch grows with the file, which may be larger than the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastmem.errors import InvalidInputError
from fastmem.machine.wording import either, reason
from fastmem.tables.columnar import read_arrow, read_parquet
from fastmem.tables.delimited import read_delimited
from fastmem.tables.json_lines import read_json_lines
from fastmem.tables.parts import parts_of, together
from fastmem.tables.raw_table import RawTable, ReadingOptions, shown
from fastmem.tables.sources import COMPRESSED, STDIN, source_of
from fastmem.tables.spreadsheet import read_spreadsheet

__all__ = ["TABLE_SUFFIXES", "RawTable", "ReadingOptions", "no_such_file", "open_raw", "refusals"]

_TEXT = (".csv", ".tsv", ".tab", ".txt")
_ARROW = (".feather", ".arrow", ".ipc", ".arrows")
_JSON = (".jsonl", ".ndjson")
TABLE_SUFFIXES = (*_TEXT, ".parquet", *_ARROW, *_JSON, ".xlsx")
_EXTRAS = {"openpyxl": "excel"}


def open_raw(
    path: Path, options: ReadingOptions | None = None, *, label: str | None = None,
    known_names: Sequence[str] | None = None,
) -> RawTable:  # fmt: skip
    """Open a table, whatever it is kept in.

    Parameters
    ----------
    path : Path
        A file, of which the suffix says what it is: csv, tsv, tab, txt, parquet, feather or arrow,
        jsonl or ndjson, xlsx; each also with .gz, .bz2, .xz or .zst behind it, or alone in a zip
        archive. A directory of such files, also under partitions such as ``year=2024``, or a
        pattern of their names. "-" is standard input, csv unless its first bytes say otherwise.
    options : ReadingOptions, optional
        What is known of a file of text.
    label : str or None
        The label column's name or index, by which a header is recognised.
    known_names : sequence of str or None
        Names that the columns should have, by which a header is recognised.

    Returns
    -------
    RawTable

    Raises
    ------
    InvalidInputError
        If there is no such table, it is damaged, or what it is cannot be found out.
    """
    found = ReadingOptions() if options is None else options
    with refusals(path):
        parts = None if path == STDIN else parts_of(path, _with_packed())
        if parts is None:
            return _one(path, found, label, known_names)
        if len(parts) == 1 and parts[0].parent == path.parent:
            return _one(parts[0], found, label, known_names)
        return _guarded(
            together(
                path, parts, lambda part, names: _one(part, found, label, names or known_names)
            ),
            path,
        )


def _one(
    path: Path, options: ReadingOptions, label: str | None, known_names: Sequence[str] | None
) -> RawTable:
    if path != STDIN:
        no_such_file(path, TABLE_SUFFIXES)
    with refusals(path):
        source = source_of(path, TABLE_SUFFIXES)
        if source.suffix == ".parquet":
            table = read_parquet(source)
        elif source.suffix in _ARROW:
            table = read_arrow(source)
        elif source.suffix in _JSON:
            table = read_json_lines(source)
        elif source.suffix == ".xlsx":
            table = read_spreadsheet(source, options, label=label, known_names=known_names)
        else:
            table = read_delimited(source, options, label=label, known_names=known_names)
    return _guarded(table, path)


def _guarded(table: RawTable, path: Path) -> RawTable:
    """Let what goes wrong later be said in words too, but what `numbers` raises on purpose."""
    read = table.read

    def batches() -> Iterator[Any]:
        with refusals(path):
            yield from read()

    return replace(table, read=batches)


def no_such_file(path: Path, suffixes: Sequence[str]) -> None:
    """Refuse a path that is no file, or of a kind that is not known."""
    if not path.exists():
        raise InvalidInputError(f"{shown(path)} does not exist: check the name and the directory")
    if path.suffix.lower() not in (*suffixes, *COMPRESSED):
        raise InvalidInputError(
            f"{shown(path)} has the suffix {path.suffix!r}: give a file that ends in "
            f"{either(suffixes)}, or one of these compressed"
        )
    if not path.is_file():
        raise InvalidInputError(f"{shown(path)} is not a file: give the data file itself")


def _with_packed() -> tuple[str, ...]:
    packed = (kind + way for kind in TABLE_SUFFIXES for way in COMPRESSED if way != ".zip")
    return (*TABLE_SUFFIXES, *packed)


@contextmanager
def refusals(
    path: Path, also: Callable[[BaseException], bool] = lambda error: False
) -> Iterator[None]:
    """Turn what readers raise into one sentence, but what ``also`` lets through."""
    try:
        yield
    except (InvalidInputError, MemoryError, GeneratorExit):
        raise
    except ModuleNotFoundError as missing:
        extra = _EXTRAS.get(missing.name or "", "cli")
        raise InvalidInputError(
            f"Reading {shown(path)} needs {missing.name}, which is not installed: "
            f'pip install "fastmem-nets[{extra}]"'
        ) from missing
    # The readers raise whatever a damaged file makes them raise: zipfile, zlib, struct, ast
    # (NumPy's headers) and Arrow each have their own exceptions.
    except Exception as error:
        if also(error):
            raise
        raise InvalidInputError(f"{shown(path)} cannot be read: {reason(error)}") from error
