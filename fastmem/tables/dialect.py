"""How a file of delimited text is written: encoding, delimiter, decimal mark and index column.

All is found on the first megabyte, by what the rows agree on: `csv.Sniffer` guesses by the
frequency of characters and finds letters.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastmem.errors import InvalidInputError
from fastmem.inputs.refusals import show
from fastmem.tables.raw_table import MISSING_TEXTS, ReadingOptions

SAMPLE_BYTES = 1 << 20
SAMPLE_ROWS = 2000
_CELLS_JUDGED = 2000
_FEWEST_NAMED = 3
"""Rows with a name that are no slip."""
DELIMITERS = (",", ";", "\t", "|")
_BOMS = (  # that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_WORD_OF_OTHERS = re.compile(rb"[\x80-\xff]{4}")
"""Western European languages have no four accents in a row; others have nothing else."""
_DOT = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
_PLAIN = re.compile(r"[+-]?\d+([eE][+-]?\d+)?")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n')


@dataclass
class Sample:
    """The rows at the beginning of a file.

    Attributes
    ----------
    rows : list of list of str
        Cells without the blanks around them, no row blank; the last one whole.
    lines, n_bytes : int
        Lines, and bytes as UTF-8, up to the end of the first row.
    before : int
        Lines at the top that belong to no row.
    names_rows : bool
        Whether the first row is one cell short, because R has put names before the others; then
        an empty one was added.
    delimiter : str
    """

    rows: list[list[str]]
    lines: int
    n_bytes: int
    delimiter: str
    before: int = 0
    names_rows: bool = False
    notes: list[str] = field(default_factory=list)


def encoding_of(start: bytes, options: ReadingOptions, path: str) -> tuple[str, str | None]:
    """Find how text is encoded, and what a user should know of it.

    Parameters
    ----------
    start : bytes
        The first megabyte.
    """
    if options.encoding is not None:
        name = codecs.lookup(options.encoding).name
        return ("utf-8-sig" if name == "utf-8" else name), None
    for mark, name in _BOMS:
        if start.startswith(mark):
            return name, None if name == "utf-8-sig" else f"read as {name}, as its first bytes say"
    zeros = start[:4096]
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        others = zeros[1 - first :: 2]
        if len(zeros) >= 4 and zeros[first::2].count(0) > len(zeros) // 4 and 0 not in others:
            return name, f"read as {name}, because every other byte is zero"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(start)
    except UnicodeDecodeError as error:
        line = start.count(b"\n", 0, error.start) + 1
        wrong = start[error.start : error.start + 1]
        if not _WORD_OF_OTHERS.search(start) and 0 not in start:
            try:
                start.decode("cp1252")
                return "cp1252", (
                    f"read as cp1252, because the byte {wrong!r} in line {line} is no UTF-8; "
                    "--encoding names another"
                )
            except UnicodeDecodeError:
                pass
        raise InvalidInputError(
            f"{path} cannot be read as UTF-8, because line {line} holds the byte {wrong!r}: name "
            "its encoding with --encoding, such as cp1252 or shift_jis, or save it as UTF-8"
        ) from error
    return "utf-8", None


def sample_of(text: str, is_whole: bool, options: ReadingOptions, path: str, tabs: bool) -> Sample:
    """Find the delimiter, and give the first rows.

    Parameters
    ----------
    text : str
        The beginning of the file.
    is_whole : bool
        Whether it is the whole file: else the last row is left out.
    tabs : bool
        Whether the file's name says that it is delimited by tabs.
    """
    skipped = _SEPARATOR_LINE.match(text)  # a hint for Excel
    if skipped is not None:
        text = text[skipped.end() :]
    body = text.lstrip("\r\n")
    if not body.strip():
        raise InvalidInputError(f"{path} is empty: give at least one row of data")
    candidates = (options.delimiter,) if options.delimiter else DELIMITERS
    if skipped is not None and options.delimiter is None:
        candidates = (skipped[1],)
    if options.delimiter is None and tabs:
        candidates = ("\t", ",", ";", "|")
    samples = [_rows(text, is_whole, candidate) for candidate in candidates if candidate]
    usable = [sample for sample in samples if sample is not None and sample.rows]
    if not usable:
        raise InvalidInputError(
            f"{path} has no row that ends within {len(text):,} characters, or a cell of more than "
            f"{csv.field_size_limit():,}: look for a quote that is never closed, or name another "
            "--delimiter"
        )
    best = max(usable, key=_agreement)
    if options.delimiter is None and best.delimiter != ("\t" if tabs else ","):
        best.notes.append(f"the delimiter is {show(best.delimiter)}")
    if skipped is not None:
        best.before = 1
        best.lines += 1
        best.n_bytes += len(skipped[0])
    return best


def _rows(text: str, is_whole: bool, delimiter: str) -> Sample | None:
    """Cut text into rows, or give None where Python's reader cannot."""
    n_read = 0
    lines = io.StringIO(text, newline="")

    def counted() -> list[str]:
        return [line.replace("\0", "\ufffd") for line in lines]

    rows: list[list[str]] = []
    first = (0, 0)
    all_lines = counted()
    reader = csv.reader(all_lines, delimiter=delimiter)
    try:
        for row in reader:
            if not row:
                continue
            rows.append([cell.strip() for cell in row])
            if len(rows) == 1:
                n_read = sum(len(line.encode()) for line in all_lines[: reader.line_num])
                first = reader.line_num, n_read
            if len(rows) > SAMPLE_ROWS:
                break
    except csv.Error:
        if not rows:
            return None
    if not is_whole and len(rows) <= SAMPLE_ROWS:
        rows.pop()
    if not rows:
        return None
    names_rows = _names_rows(rows)
    if names_rows:
        rows[0] = ["", *rows[0]]
    return Sample(rows, *first, delimiter, names_rows=names_rows)


def _names_rows(rows: Sequence[Sequence[str]]) -> bool:
    """Whether all rows but the first begin with a cell more, in which they all differ."""
    width, below = len(rows[0]), rows[1:]
    if width < 2 or len(below) < _FEWEST_NAMED or any(len(row) != width + 1 for row in below):
        return False
    names = {row[0] for row in below}
    is_text = not any(_PLAIN.fullmatch(cell) or _DOT.fullmatch(cell) for cell in rows[0])
    ends_bare = all(row[-1] == "" for row in below)  # a delimiter at the end of each line
    return is_text and not ends_bare and len(names) == len(below) and "" not in names


def _agreement(sample: Sample) -> tuple[float, float, float, int]:
    """Order delimiters by how many rows they cut alike, how many cells are numbers, and so on."""
    widths = Counter(len(row) for row in sample.rows)
    width = len(sample.rows[0])
    if width == 1:
        return 0.0, -1.0, -1.0, 0
    alike = widths[width] / len(sample.rows)
    cells = [cell for row in sample.rows if len(row) == width for cell in row][-_CELLS_JUDGED:]
    rest = [
        cell for cell in cells
        if not (_DOT.fullmatch(cell) or _PLAIN.fullmatch(cell) or cell in MISSING_TEXTS
                or (sample.delimiter != "," and _COMMA.fullmatch(cell)))
    ]  # fmt: skip
    uncut = sum(any(mark in cell for mark in DELIMITERS) for cell in rest)
    return alike, -len(rest) / len(cells), -uncut / len(cells), width


def decimal_of(sample: Sample, options: ReadingOptions, path: str) -> str:
    """Find the decimal mark of the numbers below the first row."""
    if options.decimal is not None:
        if options.decimal == sample.delimiter:
            raise InvalidInputError(
                f"{path} has {show(options.decimal)} as its delimiter and as its decimal mark: "
                "name another --delimiter or --decimal"
            )
        return options.decimal
    if sample.delimiter == ",":
        return "."
    rows = sample.rows[1:] if len(sample.rows) > 1 else sample.rows
    width = len(sample.rows[0])
    points, commas, grouped = [], [], []
    for j in range(width):
        cells = [row[j] for row in rows if len(row) == width and not is_missing(row[j], options)]
        rest = [cell for cell in cells if not _PLAIN.fullmatch(cell)]
        if not rest:
            continue
        if all(_DOT.fullmatch(cell) for cell in rest):
            points.append(rest[0])
        elif all(THOUSANDS.fullmatch(cell) for cell in rest):
            grouped.append(rest[0])
        elif all(_COMMA.fullmatch(cell) for cell in rest):
            commas.append(rest[0])
    if points and commas:
        raise InvalidInputError(
            f"{path} has numbers such as {show(points[0])} and such as {show(commas[0])}: name the "
            "decimal mark with --decimal"
        )
    if grouped and not points and not commas:
        raise InvalidInputError(
            f"{path} has {show(grouped[0])}, whose comma stands before decimals or between "
            "thousands: name the decimal mark with --decimal"
        )
    return "," if commas else "."


def is_missing(cell: str, options: ReadingOptions) -> bool:
    """Whether a cell stands for no value."""
    return cell in MISSING_TEXTS or cell in options.missing


def counts_rows(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first column is what pandas and R write of an index: no name, and all differ.

    Parameters
    ----------
    names : sequence of str
        The header.
    rows : sequence of sequence of str
        What follows it.
    """
    if len(names) < 2 or names[0] not in ("", "Unnamed: 0") or not rows:
        return False
    cells = [row[0] for row in rows if row]
    has_fractions = any(_DOT.fullmatch(cell) or _COMMA.fullmatch(cell) for cell in cells)
    return len(set(cells)) == len(cells) and not has_fractions
