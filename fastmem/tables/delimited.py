"""Csv and its relatives as a raw table: every cell a text.

Arrow reads them block by block; what it should know of the file is found on the first megabyte.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

from fastmem.errors import InvalidInputError
from fastmem.inputs.refusals import show
from fastmem.tables.dialect import (
    SAMPLE_BYTES,
    counts_rows,
    decimal_of,
    encoding_of,
    is_missing,
    sample_of,
)
from fastmem.tables.header import has_header
from fastmem.tables.raw_table import MISSING_TEXTS, RawTable, ReadingOptions, shown, without_missing
from fastmem.tables.sources import Source

BLOCK_BYTES = 4 << 20
_ROWS_IN_BLOCK = 64
_MOST_BLOCK_BYTES = 1 << 30
_MOST_SAMPLE_BYTES = 64 << 20
_MOST_LINES = 1_000_000
"""Lines that are counted to name one in a message."""


class _Text:
    """A source, and how it is written."""

    def __init__(self, source: Source, options: ReadingOptions, tabs: bool) -> None:
        self.source, self.options, self.path = source, options, shown(source.path)
        size = SAMPLE_BYTES
        while True:
            with source.opened() as file:
                start = file.read(size)
                self.is_whole = len(start) < size
            self.encoding, note = encoding_of(start, options, self.path)
            text = _decoded(start, self.encoding, self.is_whole, self.path)
            try:
                self.sample = sample_of(text, self.is_whole, options, self.path, tabs)
                break
            except InvalidInputError:
                if self.is_whole or size >= _MOST_SAMPLE_BYTES:
                    raise
            size *= 8  # a row of more than a megabyte
        self.start_bytes, self.start_lines = len(start), max(1, _lines(text))
        self.notes = ([note] if note else []) + self.sample.notes

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """Give the text as UTF-8."""
        with self.source.opened() as file:
            yield _Utf8(file, self.encoding, self.path)

    def n_rows(self) -> int:
        """Estimate how many rows there are."""
        if self.is_whole or self.source.n_bytes is None:
            return self.start_lines
        share = self.source.n_bytes / max(1, self.start_bytes)
        return max(1, int(self.start_lines * share))

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Give the line at which each row begins, counted from 1, and its cells; for messages."""
        with self.opened() as file:
            lines = io.TextIOWrapper(io.BufferedReader(file), "utf-8-sig", "replace", newline="")
            reader = csv.reader(
                (line.replace("\0", "\ufffd") for line in lines), delimiter=self.sample.delimiter
            )
            before = 0
            with suppress(csv.Error):  # of a cell of more than Python's reader takes
                for row in reader:
                    if row and before >= self.sample.before:
                        yield before + 1, row
                    before = reader.line_num
                    if before > _MOST_LINES:
                        return


def read_delimited(
    source: Source, options: ReadingOptions, *, label: str | None,
    known_names: Sequence[str] | None,
) -> RawTable:  # fmt: skip
    """Open delimited text; parameters as of `fastmem.tables.raw.open_raw`.

    Raises
    ------
    InvalidInputError
        If it is empty, or what the options leave open cannot be found.
    """
    text = _Text(source, options, source.suffix in (".tsv", ".tab"))
    sample, path = text.sample, text.path
    first = sample.rows[0]
    decimal = decimal_of(sample, options, path)
    if decimal == "," and options.decimal is None:
        text.notes.append("the decimal mark is ','")
    is_header = True if sample.names_rows else options.header
    if is_header is None:
        is_header = has_header(
            sample.rows, is_missing=lambda cell: is_missing(cell, options),
            number_of=lambda cell: number_of(cell, decimal), label=label,
            known_names=known_names, path=path,
        )  # fmt: skip
        if not is_header and all(number_of(cell, decimal) is None for cell in first):
            text.notes.append(
                "the first row is read as data, because its texts come again below; --header "
                "makes it the names"
            )
    names = first if is_header else [str(j) for j in range(len(first))]
    left_out = 0
    if is_header and counts_rows(names, sample.rows[1:]) and names[0] not in (known_names or ()):
        left_out = 1
        title = show(names[0]) if names[0] else "without a name"
        text.notes.append(f"column 0, {title}, numbers or names the rows and is left out")
    reader = _Reader(text, len(first), left_out, 1 if is_header else 0, decimal, names)
    return RawTable(
        source.path, list(names[left_out:]), bool(is_header), reader.types(), True, decimal,
        text.n_rows(), False, text.notes, reader.texts, reader.numbers, reader.line_of,
    )  # fmt: skip


def number_of(cell: str, decimal: str) -> float | None:
    """Return the number that a cell holds, or None."""
    if not cell.isascii() or "_" in cell:
        return None
    if decimal == ",":
        if "." in cell:
            return None
        cell = cell.replace(",", ".")
    try:
        return float(cell)
    except ValueError:
        return None


class _Reader:
    """Batches of a text."""

    def __init__(
        self, text: _Text, n_columns: int, left_out: int, header_rows: int, decimal: str,
        names: Sequence[str],
    ) -> None:  # fmt: skip
        self._text, self._n_columns, self._left_out = text, n_columns, left_out
        self._header_rows, self._decimal, self._names = header_rows, decimal, names

    def types(self) -> list[Any]:
        from pyarrow import string

        return [string()] * (self._n_columns - self._left_out)

    def texts(self) -> Iterator[Any]:
        """Give all columns as texts, without blanks, missing ones null."""
        from pyarrow import RecordBatch, concat_arrays

        names = self._names[self._left_out :]
        missing = self._text.options.missing
        for batch in self._batches({}):
            # all at once: of thousands of columns, each call would take longer than its work
            n = batch.num_rows
            cells = without_missing(concat_arrays(batch.columns), missing)
            columns = [cells.slice(j * n, n) for j in range(batch.num_columns)]
            yield RecordBatch.from_arrays(columns, names=names)

    def numbers(self, texts: Sequence[int]) -> Iterator[Any]:
        """Give columns as float64 but for ``texts``.

        Raises pyarrow.ArrowInvalid where a cell is no number.
        """
        from pyarrow import RecordBatch

        kept = range(self._left_out, self._n_columns)
        missing = self._text.options.missing
        for batch in self._batches({j for j in kept if j - self._left_out not in texts}):
            columns = [
                without_missing(column, missing) if j in texts else column
                for j, column in enumerate(batch.columns)
            ]
            yield RecordBatch.from_arrays(columns, names=batch.schema.names)

    def line_of(self, row: int) -> int | None:
        """Return the line of the file at which a row of data begins."""
        at = row + self._header_rows
        for k, (line, _) in enumerate(self._text.rows()):
            if k == at:
                return line
        return None

    def _batches(self, numeric: Any) -> Iterator[Any]:
        from pyarrow import ArrowInvalid, csv, float64, string

        sample = self._text.sample
        columns = [str(j) for j in range(self._n_columns)]  # the file's names may repeat
        wrong: list[Any] = []

        def remember(row: Any) -> str:
            wrong.append(row)
            return "error"

        size = max(BLOCK_BYTES, _ROWS_IN_BLOCK * sample.n_bytes)
        options = dict(
            # one thread: it is as fast, because rows are found one after another, and knows the row
            read_options=csv.ReadOptions(
                column_names=columns, use_threads=False,
                skip_rows=sample.lines if self._header_rows else sample.before,
                block_size=min(size, _MOST_BLOCK_BYTES),
            ),
            parse_options=csv.ParseOptions(
                delimiter=sample.delimiter, newlines_in_values=True, invalid_row_handler=remember
            ),
            convert_options=csv.ConvertOptions(
                column_types={c: float64() if j in numeric else string()
                              for j, c in enumerate(columns)},
                include_columns=columns[self._left_out :],
                null_values=[*MISSING_TEXTS, *self._text.options.missing],
                decimal_point=self._decimal,
            ),
        )  # fmt: skip
        with self._text.opened() as file:
            last = None
            try:
                with csv.open_csv(file, **options) as reader:
                    for batch in reader:
                        if batch.num_rows:
                            last = batch
                        yield batch
            except ArrowInvalid as error:
                if wrong:
                    self._refuse_ragged(wrong[0], error)
                self._in_words(error, bool(numeric))
            if last is not None and not numeric:
                self._check_end(last, file.tail)

    def _refuse_ragged(self, row: Any, error: Exception) -> None:
        expected = self._n_columns
        count, place = row.actual_columns, "a row"
        for line, cells in self._text.rows():
            if len(cells) != expected:
                count, place = len(cells), f"line {line}"
                break
        raise InvalidInputError(
            f"{self._text.path} has {count} {'cell' if count == 1 else 'cells'} in {place} where "
            f"its first row has {expected}, {show(row.text)}: mend that row, put quotes around a "
            f"cell that holds {show(self._text.sample.delimiter)}, or name another --delimiter"
        ) from error

    def _in_words(self, error: Exception, is_strict: bool) -> None:
        message = str(error)
        if "UTF8" in message or "invalid UTF" in message:
            self._text_check()
        if "straddl" in message or "out of sync" in message or "single line" in message:
            raise InvalidInputError(
                f"{self._text.path} has a row of more than some {BLOCK_BYTES:,} bytes: look for a "
                "quote that is never closed, or name another --delimiter"
            ) from error
        raise error

    def _text_check(self) -> None:
        """Refuse the first bytes that are no UTF-8, by their line."""
        decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
        with self._text.opened() as file:
            while part := file.read(1 << 20):
                try:
                    line += decoder.decode(part).count("\n")
                except UnicodeDecodeError as error:
                    line += error.object[: error.start].count(b"\n")
                    raise _undecodable(self._text.path, "utf-8", error, line) from error

    def _check_end(self, last: Any, tail: bytes) -> None:
        """Refuse a file that ends within quotes: Arrow takes all that follows for one cell."""
        cell = last.column(last.num_columns - 1)[last.num_rows - 1].as_py()
        if cell and "\n" in cell and not tail.rstrip(b"\r\n ").endswith(b'"'):
            raise InvalidInputError(
                f"{self._text.path} ends within quotes, whose cell begins with "
                f"{show(cell.splitlines()[0])}: close them, or take the file anew if it was cut"
            )


class _Utf8(io.RawIOBase):
    """Text of any encoding as UTF-8; ``tail`` is the end of what was read."""

    def __init__(self, file: IO[bytes], encoding: str, path: str) -> None:
        self._file, self._path, self._encoding = file, path, encoding
        self._decoder = None
        if encoding not in ("utf-8", "utf-8-sig"):
            self._decoder = codecs.getincrementaldecoder(encoding)()
        self._left, self._line, self.tail, self._is_end = b"", 1, b"", False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes."""
        if self._decoder is None:
            part = self._file.read(size)
        else:
            while not self._is_end and (size < 0 or len(self._left) < size):
                self._decode(1 << 20)
            stop = len(self._left) if size < 0 else size
            part, self._left = self._left[:stop], self._left[stop:]
        if part:
            self.tail = part[-64:]
        return part

    def readinto(self, buffer: Any) -> int:
        part = self.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def _decode(self, size: int) -> None:
        assert self._decoder is not None, "it was asked for"
        part = self._file.read(size)
        self._is_end = not part
        try:
            text = self._decoder.decode(part, final=not part)
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode(self._encoding, "replace")
            line = self._line + before.count("\n")
            raise _undecodable(self._path, self._encoding, error, line) from error
        self._line += text.count("\n")
        self._left += text.encode("utf-8", "surrogatepass")


def _undecodable(
    path: str, encoding: str, error: UnicodeDecodeError, line: int
) -> InvalidInputError:
    wrong = error.object[error.start : error.start + 1]
    return InvalidInputError(
        f"{path} cannot be read as {encoding}, because line {line} holds the byte {wrong!r}: name "
        "its encoding with --encoding, such as cp1252 or shift_jis, or save it as UTF-8"
    )


def _decoded(start: bytes, encoding: str, is_whole: bool, path: str) -> str:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        return decoder.decode(start, final=is_whole)
    except UnicodeDecodeError as error:
        line = start.count(b"\n", 0, error.start) + 1
        raise _undecodable(path, encoding, error, line) from error


def _lines(text: str) -> int:
    return text.count("\n") or text.count("\r") or 1
