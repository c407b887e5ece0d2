"""Data files of the command line: csv, npy, npz and parquet in, labels out.

Every refusal is an `InvalidInputError` of one sentence. What the numbers and labels may be is
decided by `fastmem.inputs`; here stands only what depends on the file.
"""

from __future__ import annotations

import csv
import math
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tokenize import TokenError
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from fastmem.inputs import InvalidInputError
from fastmem.inputs.refusals import printable, show
from fastmem.memory import require

__all__ = [
    "LABEL_SUFFIXES",
    "check_output",
    "moved_when_complete",
    "read_table",
    "save_array",
    "write_labels",
]

DATA_SUFFIXES = (".csv", ".npy", ".npz", ".parquet")
LABEL_SUFFIXES = (".csv", ".npy")
NAMES_SHOWN = 8

Array = NDArray[Any]

_NPY_HEADERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
    (3, 0): npy_format.read_array_header_2_0,  # for names of fields that are no Latin-1
}


def read_table(
    path: Path, label: str | None, *, labels_required: bool
) -> tuple[Array, Array | None]:
    """Read points, and labels where a column holds them.

    Parameters
    ----------
    path : Path
        A csv, npy, npz or parquet file, by its suffix. A csv file has a header unless its first
        row holds a number; an npz file holds an array X and, for labels, an array y.
    label : str or None
        Name or 0-based index of the label column (negative: from the right); for npz also the
        name of the array of labels. None: npz takes y, other files have no labels.
    labels_required : bool
        Whether labels must be there.

    Returns
    -------
    X : ndarray, shape (n_samples, n_features)
        The columns but for the label; float64 from csv and parquet, as stored from npy and npz.
    y : ndarray of shape (n_samples,), or None
        The labels: numbers where all are numbers, else strings.

    Raises
    ------
    InvalidInputError
        If the file cannot be read or has no such column.
    """
    readers: dict[str, Callable[[Path, str | None], tuple[Array, Array | None]]] = {
        ".csv": _read_csv,
        ".npy": _read_npy,
        ".npz": _read_npz,
        ".parquet": _read_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidInputError(
            f"{path} has the suffix {path.suffix!r}: give a file that ends in "
            f"{_either(DATA_SUFFIXES)}"
        )
    if not path.exists():
        raise InvalidInputError(f"{path} does not exist: check the name and the directory")
    if not path.is_file():
        raise InvalidInputError(f"{path} is not a file: give the data file itself")
    try:
        X, y = reader(path, label)
    except (InvalidInputError, MemoryError):
        raise
    except ModuleNotFoundError as missing:
        raise InvalidInputError(
            f"Reading {path} needs {missing.name}, which is not installed: "
            'pip install "fastmem[cli]"'
        ) from missing
    # The readers raise whatever a damaged file makes them raise: zipfile, zlib, struct, ast
    # (NumPy's headers) and Arrow each have their own exceptions.
    except Exception as error:
        raise InvalidInputError(f"{path} cannot be read: {_reason(error)}") from error
    if y is None and labels_required:
        raise InvalidInputError(
            f"{path} needs a label column: give its name or its 0-based index with --label"
        )
    return X, y


def write_labels(path: Path, labels: Array) -> None:
    """Write labels as csv (a header ``label``, then one a line) or npy, whole or not at all.

    Parameters
    ----------
    path : Path
        Ends in .csv or .npy.
    labels : ndarray, shape (n_samples,)
        Numbers, bools or strings.
    """
    with moved_when_complete(path) as temporary:
        if path.suffix.lower() == ".npy":
            storable = labels.astype(str) if labels.dtype == object else labels
            save_array(temporary, storable)
        else:
            with open(temporary, "x", newline="", encoding="utf-8") as text:
                writer = csv.writer(text, lineterminator="\n")
                writer.writerow(["label"])
                writer.writerows([label] for label in labels.tolist())


def save_array(path: Path, array: Array) -> None:
    """Write a new file in npy format through Python's own buffer.

    NumPy would write through C's, and say nothing where the last of it finds no room.
    """
    try:
        with open(path, "xb") as file:
            np.save(SimpleNamespace(write=file.write), array, allow_pickle=False)
    except OSError as error:
        error.filename = str(path)
        raise


@contextmanager
def moved_when_complete(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, and move that file there once it is complete.

    Parameters
    ----------
    path : Path
        Where the finished file belongs; what is there is replaced.

    Yields
    ------
    Path
        The name to write to; removed again if anything, Ctrl-C included, interrupts.

    Raises
    ------
    InvalidInputError
        If the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            yield temporary
            os.replace(temporary, path)
        except OSError as error:
            raise InvalidInputError(f"{path} cannot be written: {_reason(error)}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def check_output(path: Path, suffixes: Sequence[str]) -> None:
    """Refuse a file that cannot be written, before the work that would be lost.

    Parameters
    ----------
    path : Path
        Where a result is to be written.
    suffixes : sequence of str
        What the name may end in.

    Raises
    ------
    InvalidInputError
        If the suffix is another one, or there is no such directory to write to.
    """
    if path.suffix.lower() not in suffixes:
        raise InvalidInputError(
            f"{path} has the suffix {path.suffix!r}: give a name that ends in {_either(suffixes)}"
        )
    if path.is_dir():
        raise InvalidInputError(f"{path} is a directory: give the name of a file")
    if not path.parent.is_dir():
        raise InvalidInputError(
            f"{path} cannot be written: there is no directory {path.parent}, so create it first"
        )
    if not os.access(path.parent, os.W_OK):
        raise InvalidInputError(
            f"{path} cannot be written: the directory {path.parent} is write-protected for you"
        )


def _read_csv(path: Path, label: str | None) -> tuple[Array, Array | None]:
    """Read comma-separated values: every column but the label as float64."""
    from pyarrow import ArrowInvalid, float64, string
    from pyarrow import csv as arrow_csv

    first_row, lines = _first_csv_row(path)
    has_header = not any(_is_number(cell) for cell in first_row)
    if label is not None and not has_header and not _is_index(label) and label in first_row:
        # A header of numbers, as pandas writes it, is recognised by the name that was asked for.
        has_header = True
    names = first_row if has_header else [str(i) for i in range(len(first_row))]
    label_at = None
    if label is not None:
        label_at = _label_column(path, label, first_row if has_header else [], len(first_row))

    # Unique names of our own: the file's may repeat.
    columns = [str(i) for i in range(len(first_row))]
    types = {c: string() if i == label_at else float64() for i, c in enumerate(columns)}
    try:
        table = arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(
                column_names=columns, skip_rows=lines if has_header else 0
            ),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(column_types=types),
        )
    except ArrowInvalid as error:
        found = re.search(r"column #(\d+):.*invalid value '(.*)'", str(error), re.DOTALL)
        if found is None:
            raise
        name = names[int(found[1])]
        raise InvalidInputError(
            f"{path} has {show(found[2])} in column {show(name)}, which is not a number: remove "
            "the column, or name it with --label if it holds the labels"
        ) from error
    return _from_arrow(path, table, names, label_at, from_text=True)


def _read_parquet(path: Path, label: str | None) -> tuple[Array, Array | None]:
    """Read a parquet file: every column but the label as float64."""
    from pyarrow import parquet

    # As a single file: a directory name such as "year=2024" must not add a column.
    table = parquet.ParquetFile(path).read()
    metadata = table.schema.pandas_metadata or {}
    # Pandas stores an index that is not 0, 1, 2, ... as one more column, which is no feature.
    index_columns = [c for c in metadata.get("index_columns", []) if isinstance(c, str)]
    table = table.drop_columns([c for c in index_columns if c in table.column_names])
    names = table.column_names
    label_at = None if label is None else _label_column(path, label, names, len(names))
    return _from_arrow(path, table, names, label_at, from_text=False)


def _from_arrow(
    path: Path, table: Any, names: Sequence[str], label_at: int | None, *, from_text: bool
) -> tuple[Array, Array | None]:
    """Split an Arrow table into a float64 matrix and the labels, refusing missing values."""
    from pyarrow import types

    if table.num_rows == 0:
        raise InvalidInputError(f"{path} has no rows of data: give at least one point")
    X = np.empty((table.num_rows, table.num_columns - (label_at is not None)))
    y = None
    filled = 0
    for i, name in enumerate(names):
        column = table.column(i)
        if types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if i == label_at and from_text:
            column = _trimmed(column)
        if column.null_count:
            row = int(np.flatnonzero(column.is_null().to_numpy())[0])
            raise InvalidInputError(
                f"{path} has no value in column {show(name)}, data row {row} (the first is 0; "
                f"{column.null_count} missing in this column): fill them in or remove the rows"
            )
        if i == label_at:
            y = _labels_from_text(column) if from_text else column.to_numpy()
        else:
            X[:, filled] = _feature(path, name, column)
            filled += 1
    return X, y


def _feature(path: Path, name: str, column: Any) -> Array:
    """Convert one Arrow column to float64, refusing what is no number or does not fit."""
    from pyarrow import ArrowInvalid, float64, types

    kinds = (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise InvalidInputError(
            f"{path} holds {printable(str(column.type))} in column {show(name)}, which is not a "
            "number: remove the column, or name it with --label if it holds the labels"
        )
    try:
        values: Array = column.cast(float64()).to_numpy()
    except ArrowInvalid as error:
        raise InvalidInputError(
            f"{path} has a number in column {show(name)} that float64 cannot hold exactly "
            f"({_reason(error)}): subtract an offset from the column first"
        ) from error
    return values


def _trimmed(column: Any) -> Any:
    """Strip the blanks around text, and count what is then empty as missing."""
    from pyarrow import compute, scalar

    text = compute.utf8_trim_whitespace(column)
    return compute.if_else(compute.equal(text, ""), scalar(None, text.type), text)


def _labels_from_text(column: Any) -> Array:
    """Turn labels read as text into numbers where every one of them is a number."""
    from pyarrow import ArrowInvalid, compute, float64, int64, string

    try:
        integers = column.cast(int64())
    except ArrowInvalid:
        with suppress(ArrowInvalid):
            return column.cast(float64()).to_numpy(zero_copy_only=False)
        return column.to_numpy(zero_copy_only=False)
    # "01" and "1" are the same number but not the same label.
    if compute.all(compute.equal(integers.cast(string()), column)).as_py():
        return integers.to_numpy(zero_copy_only=False)
    return column.to_numpy(zero_copy_only=False)


def _read_npy(path: Path, label: str | None) -> tuple[Array, Array | None]:
    """Read a 2-D array, left on disk as a memory map unless a label column is taken out."""
    with open(path, "rb") as file:
        _check_claim(file, os.fstat(file.fileno()).st_size)
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return _split_columns(path, array, label)


def _read_npz(path: Path, label: str | None) -> tuple[Array, Array | None]:
    """Read the arrays X and y, or X alone with the labels in one of its columns."""
    if not zipfile.is_zipfile(path):
        raise InvalidInputError(
            f"{path} is not an npz file: write it with numpy.savez(path, X=X, y=y)"
        )
    # NumPy would leave a file open that it opened itself, where the archive is damaged.
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        if "X" not in archive.files:
            raise InvalidInputError(
                f"{path} has no array X, only {_some(archive.files)}: "
                "write it with numpy.savez(path, X=X, y=y)"
            )
        X = _member(archive, "X")
        labels_name = "y" if label is None else label
        if labels_name in archive.files and labels_name != "X":
            return X, _member(archive, labels_name)
    return _split_columns(path, X, label)


def _member(archive: Any, name: str) -> Array:
    """Read an array of an npz file."""
    info = archive.zip.getinfo(name if name in archive.zip.namelist() else f"{name}.npy")
    with archive.zip.open(info) as stream:
        _check_claim(stream, info.file_size)
    # a megabyte of zip may hold a thousand
    require(info.file_size, f"array {show(name)} of {archive.zip.filename}", "take fewer points")
    array: Array = archive[name]
    return array


def _check_claim(stream: IO[bytes], size: int) -> None:
    """Refuse an array in npy format that claims more than the ``size`` bytes there are.

    NumPy would take the memory first, or map what is not there.
    """
    version = npy_format.read_magic(stream)
    if version not in _NPY_HEADERS:
        raise ValueError(f"its array has npy format {version[0]}.{version[1]}, which is unknown")
    shape, _, dtype = _NPY_HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError("its array holds Python objects, which only a pickle could store")
    if not dtype.itemsize:
        raise ValueError(f"its array has dtype {dtype}, which holds nothing")
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > size or min(shape, default=0) < 0:
        raise ValueError(f"its array has shape {shape} and dtype {dtype} in {size:,} bytes")


def _split_columns(path: Path, array: Array, label: str | None) -> tuple[Array, Array | None]:
    """Take the label column, an index, out of a 2-D array."""
    if label is None:
        return array, None
    if array.ndim != 2 or array.dtype.names is not None:
        raise InvalidInputError(
            f"{path} holds an array of shape {array.shape} and dtype {array.dtype}: "
            "give a 2-D array of numbers, one row a point"
        )
    at = _label_column(path, label, [], array.shape[1])
    return np.delete(np.asarray(array), at, axis=1), np.array(array[:, at])


def _label_column(path: Path, label: str, names: Sequence[str], n_columns: int) -> int:
    """Find the label column by its name or, failing that, its index."""
    if names.count(label) > 1:
        raise InvalidInputError(
            f"{path} has {names.count(label)} columns named {show(label)}: "
            "give the 0-based index with --label"
        )
    if label in names:
        at = names.index(label)
    elif _is_index(label) and -n_columns <= int(label) < n_columns:
        at = int(label) % n_columns
    else:
        known = f"its columns are {_some(names)}, " if names else "its columns have no names, "
        raise InvalidInputError(
            f"{path} has no column {show(label)}: {known}"
            f"so give one of {'these or ' if names else ''}the indices 0 to {n_columns - 1}"
        )
    if n_columns == 1:
        raise InvalidInputError(
            f"{path} has no column beside the labels: give comma-separated columns, at least "
            "one of them a feature"
        )
    return at


def _first_csv_row(path: Path) -> tuple[list[str], int]:
    """Give the cells of the first row that is not blank, and the lines read up to its end."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        for row in reader:
            if row:
                return [cell.strip() for cell in row], reader.line_num
    raise InvalidInputError(f"{path} is empty: give at least one row of data")


def _is_number(text: str) -> bool:
    """Whether a csv cell holds a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_index(label: str) -> bool:
    """Whether a label column is given by its index."""
    return re.fullmatch(r"-?[0-9]{1,18}", label) is not None


def _some(names: Sequence[str]) -> str:
    """Quote the first few names."""
    shown = ", ".join(show(name) for name in names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"


def _either(options: Sequence[str]) -> str:
    """Join with commas and a last "or"."""
    return " or ".join(filter(None, [", ".join(options[:-1]), options[-1]]))


def _reason(error: BaseException) -> str:
    """Give an exception's text, which may quote the file, as the middle of a sentence."""
    text = error.args[0] if isinstance(error, TokenError) else str(error)
    lines = (getattr(error, "strerror", None) or text).strip().splitlines()
    return printable(lines[0]).rstrip(". ") if lines else type(error).__name__
