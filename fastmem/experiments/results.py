"""Tables of results: csv files that grow by whole rows and survive being killed.

The first line holds the study's settings as a comment of JSON, the second the names of the columns,
and every other line a cell. Tables of other origin, without the comment, can be read too.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from fastmem.errors import InvalidInputError
from fastmem.experiments.study import Cell, Result

__all__ = ["Table", "read_results"]

COLUMNS = tuple(field.name for field in fields(Result))
NUMBERS = {"n_samples": int, "first_width": int, "trials": int}
"""Columns that hold whole numbers; all others but the data set's name hold floats."""
SHOWN = 60


def read_results(path: Path) -> tuple[dict[str, Any], list[Result]]:
    """Read a table of results, and pass over a last line that was cut off.

    Parameters
    ----------
    path : Path
        A csv file with the columns of `Result`; ``n_samples`` may be missing and then is 0.

    Returns
    -------
    settings : dict
        What the rows depend on; empty where the file does not say.
    results : list of Result
        At least one.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, is no such table, or holds no complete row.
    """
    if not path.is_file():
        raise InvalidInputError(
            f"{path} {'is not a file' if path.exists() else 'does not exist'}: give the table that "
            "a study has written"
        )
    settings, results, _ = _parse(path, path.read_bytes())
    if not results:
        raise InvalidInputError(f"{path} holds no results yet: run the study first")
    return settings, results


class Table:
    """The table that a study writes: made, or gone on with where an interrupted run ended.

    Use it as a context: it holds the file locked, and leaves no file without a result.

    Parameters
    ----------
    path : Path
    settings : dict
        What the rows depend on, as `Study.settings` gives it.
    cells : sequence of Cell
        All rows to come, in order.

    Attributes
    ----------
    results : list of Result
        The rows so far.

    Raises
    ------
    InvalidInputError
        If the file holds something else, or another process is writing it.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], cells: Sequence[Cell]) -> None:
        self.path, self.settings, self.cells = path, settings, cells
        self.results: list[Result] = []

    def __enter__(self) -> Table:
        self._file = open(self.path, "a+b", buffering=0)  # so that close() has nothing to write
        try:
            self._lock()
            self._file.seek(0)
            content = self._file.read()
            whole = 0
            if not self._header().startswith(content):  # else nothing, or a header cut off
                there, self.results, whole = _parse(self.path, content)
                if self.results:
                    self._check(there)
                else:  # a header alone is written anew
                    whole = 0
            self._file.truncate(whole)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if not self.results:
            self.path.unlink(missing_ok=True)
        self._file.close()

    def append(self, result: Result) -> None:
        """Write one more row, and see to it that it is on the disk."""
        row = io.StringIO()
        csv.writer(row, lineterminator="\n").writerow(getattr(result, name) for name in COLUMNS)
        line = row.getvalue().encode()
        try:
            left = line if self.results else self._header() + line
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            error.filename = str(self.path)
            raise
        self.results.append(result)

    def _header(self) -> bytes:
        return f"# {json.dumps(self.settings)}\n{','.join(COLUMNS)}\n".encode()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as busy:
            raise InvalidInputError(
                f"{self.path} is being written by another process: wait until it ends, or give "
                "another name"
            ) from busy
        except OSError:  # a file system without locks
            pass

    def _check(self, there: Mapping[str, Any]) -> None:
        """Refuse rows that this study would not have written."""
        remedy = "repeat them, give another name, or remove the file"
        if not there:
            raise InvalidInputError(
                f"{self.path} does not say with which settings it was made: give another name"
            )
        # as JSON would give them back: tuples are lists there
        wanted = json.loads(json.dumps(self.settings))
        for name in wanted.keys() | there.keys():
            old, new = there.get(name), wanted.get(name)
            if old != new:
                raise InvalidInputError(
                    f"{self.path} holds results of other settings, {name} is {_short(old)} there "
                    f"and {_short(new)} here: {remedy}"
                )
        for i, result in enumerate(self.results):
            if i >= len(self.cells) or result.cell != self.cells[i]:
                raise InvalidInputError(
                    f"{self.path} has in row {i} a cell that does not belong there: {remedy}"
                )


def _parse(path: Path, content: bytes) -> tuple[dict[str, Any], list[Result], int]:
    """Give settings, rows, and the bytes up to the end of the last complete row."""
    whole = content.rfind(b"\n") + 1
    foreign = InvalidInputError(
        f"{path} is no table of results: its columns must be {', '.join(COLUMNS)}"
    )
    try:
        lines = content[:whole].decode().splitlines(keepends=True)
        settings = json.loads(lines.pop(0)[1:]) if lines and lines[0].startswith("#") else {}
        reader = csv.DictReader(lines)
        names = set(reader.fieldnames or ())
    except (ValueError, csv.Error) as error:
        raise foreign from error
    if not isinstance(settings, dict) or not names >= set(COLUMNS) - {"n_samples"}:
        raise foreign
    results: list[Result] = []
    for i, row in enumerate(reader):
        try:
            results.append(_result(row))
        except (TypeError, ValueError) as error:
            if i == len(lines) - 2:  # the end of a file whose disk lost power
                whole -= len(lines[-1].encode())
                break
            raise InvalidInputError(f"{path} is damaged in row {i} of its results") from error
    return settings, results, whole


def _result(row: Mapping[str, str | None]) -> Result:
    """Make one row of text into numbers."""
    values: dict[str, Any] = {"dataset": row["dataset"], "n_samples": 0}
    for name in COLUMNS[1:]:
        if name in row:
            text = row[name]
            values[name] = NUMBERS.get(name, float)(text)  # type: ignore[arg-type]
    return Result(**values)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
