"""Data files of the command line: csv, npy, npz and parquet, whole or piece by piece.

Every refusal is an `InvalidInputError` of one sentence. What the numbers and labels may be is
decided by `fastmem.inputs`; here stands only what depends on the file.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.inputs import EncodedLabels, Points
from fastmem.inputs.refusals import show
from fastmem.machine.memory import available, require
from fastmem.machine.wording import either, reason
from fastmem.tables.batches import BATCH_BYTES, Batches, csv_batches, parquet_batches
from fastmem.tables.columns import label_column
from fastmem.tables.spool import FilePoints, Spool
from fastmem.tables.wording import some

DATA_SUFFIXES = (".csv", ".npy", ".npz", ".parquet")
LIMIT_SHARE = 4
"""Points of more than this part of a memory limit go to a temporary file."""
MOST_IN_MEMORY = 1 << 40
"""Bytes of points that are kept in memory where nobody says how much there is."""

Array = NDArray[Any]
Tell = Callable[[str, int, int, int], object]  # as `fastmem.machine.progress`

_NPY_HEADERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
    (3, 0): npy_format.read_array_header_2_0,  # for names of fields that are no Latin-1
}


@dataclass
class Table:
    """A data file that has been read.

    Attributes
    ----------
    points : Points or ndarray of shape (n_samples, n_features)
        With the columns' names, where they have names.
    labels : EncodedLabels, ndarray of shape (n_samples,), or None
    """

    points: Points | Array
    labels: EncodedLabels | Array | None


def read_table(
    path: Path, label: str | None, *, labels_required: bool
) -> tuple[Array, Array | None]:
    """Read points, and labels where a column holds them, as plain arrays.

    Parameters
    ----------
    path, label, labels_required
        As of `load_table`.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        The columns but for the label; from csv float64, from parquet float32 where that holds all
        columns' values, else float64; as stored from npy and npz. Mapped from a file where it is
        large.
    y : ndarray of shape (n_samples,), or None
        The labels: numbers where all are numbers, else strings.

    Raises
    ------
    InvalidInputError
        As `load_table`.
    """
    return plain_arrays(load_table(path, label, labels_required=labels_required))


def plain_arrays(table: Table) -> tuple[Array, Array | None]:
    """Give points and labels of a table as `read_table` does."""
    points, labels = table.points, table.labels
    if isinstance(points, FilePoints):
        points = points.mapped()
    elif isinstance(points, Points):
        points = points.block(0, points.n_samples)
    return points, labels[:] if isinstance(labels, EncodedLabels) else labels


def load_table(
    path: Path,
    label: str | None,
    *,
    labels_required: bool,
    memory_limit: int | None = None,
    progress: Tell = lambda stage, done, total, neurons: None,
) -> Table:
    """Read points, and labels where a column holds them.

    Parameters
    ----------
    path : Path
        A csv, npy, npz or parquet file, by its suffix, or a directory of parquet files, or a
        pattern like ``parts/*.parquet``. A csv file has a header unless its first row holds a
        number; an npz file holds an array X and, for labels, an array y.
    label : str or None
        Name or 0-based index of the label column (negative: from the right); for npz also the
        name of the array of labels. None: npz takes y, other files have no labels.
    labels_required : bool
        Whether labels must be there.
    memory_limit : int or None
        Points of csv and parquet files that take more than a quarter of it, without a limit more
        than half of what the machine has left, go to a temporary file, row by row.
    progress : callable
        Called as ``progress("reading", rows, rows in all, 0)``.

    Returns
    -------
    Table

    Raises
    ------
    InvalidInputError
        If the file cannot be read or has no such column.
    """
    parts = _parts(path)
    with _refusals(path):
        if parts[0].suffix.lower() in (".npy", ".npz"):
            table = Table(*_read_arrays(path, label))
        else:
            limit = available()[0] / 2 if memory_limit is None else memory_limit / LIMIT_SHARE
            budget_bytes = int(min(limit, MOST_IN_MEMORY))
            table = _spooled(_batches(path, parts, label, None), budget_bytes, progress)
    if table.labels is None and labels_required:
        raise InvalidInputError(
            f"{path} needs a label column: give its name or its 0-based index with --label"
        )
    return table


@dataclass
class Stream:
    """A data file in pieces, for one pass.

    Attributes
    ----------
    blocks : iterator of (ndarray, ndarray or None)
        Points (rows, n_features), and for each the number of its label.
    n_rows : int
        Rows in all; of csv files an estimate.
    feature_names : callable
        The names of the columns, or None; known once a block was taken.
    classes : callable
        What the labels' numbers stand for; known once all blocks were taken.
    """

    blocks: Iterator[tuple[Array, Array | None]]
    n_rows: int
    feature_names: Callable[[], list[str] | None]
    classes: Callable[[], Array]


def stream_table(path: Path, label: str | None, known_names: Sequence[str] | None) -> Stream:
    """Read a file as `load_table` does, but hand it out in pieces.

    Labels are read only where ``label`` names them. ``known_names`` are those that the columns
    should have: a csv file whose first row holds them has a header.

    Raises InvalidInputError as `load_table`, also while it is iterated.
    """
    parts = _parts(path)
    with _refusals(path):
        if parts[0].suffix.lower() in (".npy", ".npz"):
            points, labels = _read_arrays(path, label)
            return _stream_of_arrays(path, points, labels if label is not None else None)
        batches = _batches(path, parts, label, known_names)

    def blocks() -> Iterator[tuple[Array, Array | None]]:
        with _refusals(path):
            yield from batches

    return Stream(
        blocks(),
        batches.n_rows,
        lambda: batches.feature_names,
        lambda: np.empty(0) if batches.labels is None else batches.labels.classes(),
    )


def _stream_of_arrays(path: Path, points: Array, labels: Array | None) -> Stream:
    if points.ndim != 2:  # for the sentence that says so
        return Stream(iter([(points, None)]), len(points), lambda: None, lambda: np.empty(0))
    known = None
    if labels is not None:
        if labels.size != len(points):
            raise InvalidInputError(
                f"{path} has labels of shape {labels.shape} for {len(points)} points: give one "
                "label a point"
            )
        known = np.unique(labels.reshape(-1), return_inverse=True)
    step = max(1, BATCH_BYTES // max(1, points.shape[1] * points.itemsize))
    starts = range(0, len(points), step) or [0]
    blocks = (
        (points[start : start + step], None if known is None else known[1][start : start + step])
        for start in starts
    )
    return Stream(
        blocks, len(points), lambda: None, lambda: np.empty(0) if known is None else known[0]
    )


def _parts(path: Path) -> list[Path]:
    """Return the files that a path stands for: itself, those in it, or those that match it."""
    if path.is_dir():
        parts = sorted(p for p in path.glob("*.parquet") if p.is_file() and p.name[0] not in "._")
        if parts:
            return parts
        deeper = next((p for p in path.glob("*=*/*.parquet")), None)
        if deeper is not None:
            raise InvalidInputError(
                f"{path} has its parquet files in directories such as {deeper.parent.name}, whose "
                "names hold a column: write the table without partitions, or give one of these "
                "directories"
            )
        raise InvalidInputError(f"{path} is not a file: give the data file itself")
    if not path.exists() and any(c in path.name for c in "*?["):
        parts = sorted(p for p in path.parent.glob(path.name) if p.is_file())
        if parts and all(p.suffix.lower() == ".parquet" for p in parts):
            return parts
        if parts:
            raise InvalidInputError(
                f"{path} matches {len(parts)} files: give one file, or a pattern of parquet files"
            )
    if path.suffix.lower() not in DATA_SUFFIXES:
        raise InvalidInputError(
            f"{path} has the suffix {path.suffix!r}: give a file that ends in "
            f"{either(DATA_SUFFIXES)}"
        )
    if not path.exists():
        raise InvalidInputError(f"{path} does not exist: check the name and the directory")
    if not path.is_file():
        raise InvalidInputError(f"{path} is not a file: give the data file itself")
    return [path]


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Turn what readers raise into one sentence."""
    try:
        yield
    except (InvalidInputError, MemoryError, GeneratorExit):
        raise
    except ModuleNotFoundError as missing:
        raise InvalidInputError(
            f"Reading {path} needs {missing.name}, which is not installed: "
            'pip install "fastmem-nets[cli]"'
        ) from missing
    # The readers raise whatever a damaged file makes them raise: zipfile, zlib, struct, ast
    # (NumPy's headers) and Arrow each have their own exceptions.
    except Exception as error:
        raise InvalidInputError(f"{path} cannot be read: {reason(error)}") from error


def _batches(
    path: Path, parts: Sequence[Path], label: str | None, known_names: Sequence[str] | None
) -> Batches:
    if parts[0].suffix.lower() == ".csv":
        return csv_batches(path, label, known_names)
    return parquet_batches(path, parts, label)


def _spooled(batches: Batches, budget_bytes: int, progress: Tell) -> Table:
    spool = Spool(budget_bytes, batches.n_rows, is_exact=batches.is_exact)
    codes: list[Array] = []
    done = 0
    for block, some_codes in batches:
        spool.add(block)
        if some_codes is not None:  # most labels are few
            codes.append(some_codes.astype(np.min_scalar_type(int(some_codes.max()))))
        done += len(block)
        progress("reading", done, max(done, batches.n_rows), 0)
    _give_back()
    points = spool.points()
    points.feature_names = batches.feature_names
    labels = None
    if batches.labels is not None:
        labels = EncodedLabels(batches.labels.classes(), np.concatenate(codes))
    return Table(points, labels)


def _give_back() -> None:
    """Let Arrow return memory that it keeps for later: some 50 MB."""
    import pyarrow

    pyarrow.default_memory_pool().release_unused()


def _read_arrays(path: Path, label: str | None) -> tuple[Array, Array | None]:
    return (_read_npy if path.suffix.lower() == ".npy" else _read_npz)(path, label)


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
                f"{path} has no array X, only {some(archive.files)}: "
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
    at = label_column(path, label, [], array.shape[1])
    return np.delete(np.asarray(array), at, axis=1), np.array(array[:, at])
