"""Data files of numbers, whole or piece by piece.

Every refusal is an `InvalidInputError` of one sentence. What the numbers and labels may be is
decided by `fastmem.inputs`; here stands only what depends on the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.inputs import EncodedLabels, Points
from fastmem.machine.memory import available
from fastmem.tables.arrays import ARRAY_SUFFIXES, read_arrays
from fastmem.tables.batches import Batches
from fastmem.tables.columnar import BATCH_BYTES
from fastmem.tables.raw import TABLE_SUFFIXES, no_such_file, open_raw, refusals
from fastmem.tables.raw_table import RawTable, ReadingOptions, shown
from fastmem.tables.sources import STDIN
from fastmem.tables.spool import FilePoints, Spool

LIMIT_SHARE = 4
"""Points of more than this part of a memory limit go to a temporary file."""
MOST_IN_MEMORY = 1 << 40
"""Bytes of points that are kept in memory where nobody says how much there is."""

Array = NDArray[Any]
Tell = Callable[[str, int, int, int], object]  # as `fastmem.machine.progress`


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
    path: Path, label: str | None, *, labels_required: bool, options: ReadingOptions | None = None
) -> tuple[Array, Array | None]:
    """Read points, and labels where a column holds them, as plain arrays.

    Parameters
    ----------
    path, label, labels_required, options
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
    return plain_arrays(load_table(path, label, labels_required=labels_required, options=options))


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
    options: ReadingOptions | None = None,
) -> Table:
    """Read points, all of whose columns are numbers, and labels where a column holds them.

    Parameters
    ----------
    path : Path
        A table of any kind that `open_raw` knows, or a file npy or npz; an npz file holds an array
        X and, for labels, an array y.
    label : str or None
        Name or 0-based index of the label column (negative: from the right); for npz also the
        name of the array of labels. None: npz takes y, other files have no labels.
    labels_required : bool
        Whether labels must be there.
    memory_limit : int or None
        Points of files but npy and npz that take more than a quarter of it, without a limit more
        than half of what the machine has left, go to a temporary file, row by row.
    progress : callable
        Called as ``progress("reading", rows, rows in all, 0)``.
    options : ReadingOptions, optional
        What is known of a file of text.

    Returns
    -------
    Table

    Raises
    ------
    InvalidInputError
        If the file cannot be read or has no such column.
    """
    if holds_arrays(path):
        with refusals(path):
            table = Table(*read_arrays(path, label))
    else:
        raw = open_raw(path, options, label=label)
        table = table_of(raw, label, budget_for(memory_limit), progress)
    if table.labels is None and labels_required:
        raise InvalidInputError(
            f"{shown(path)} needs a label column: give its name or its 0-based index with --label"
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
    surprises : callable
        Sentences on what an encoding met that the fit had not; known once all blocks were taken.
    """

    blocks: Iterator[tuple[Array, Array | None]]
    n_rows: int
    feature_names: Callable[[], list[str] | None]
    classes: Callable[[], Array]
    surprises: Callable[[], list[str]] = list


def stream_table(
    path: Path, label: str | None, known_names: Sequence[str] | None, *,
    options: ReadingOptions | None = None,
) -> Stream:  # fmt: skip
    """Read a file as `load_table` does, but hand it out in pieces.

    Labels are read only where ``label`` names them. ``known_names`` are those that the columns
    should have: a csv file whose first row holds them has a header.

    Raises InvalidInputError as `load_table`, also while it is iterated.
    """
    if holds_arrays(path):
        with refusals(path):
            points, labels = read_arrays(path, label)
            return _stream_of_arrays(path, points, labels if label is not None else None)
    raw = open_raw(path, options, label=label, known_names=known_names)
    with refusals(path):
        batches = Batches(raw, label)

    def blocks() -> Iterator[tuple[Array, Array | None]]:
        with refusals(path):
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
                f"{shown(path)} has labels of shape {labels.shape} for {len(points)} points: "
                "give one label a point"
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


def holds_arrays(path: Path) -> bool:
    """Whether a path is a file of NumPy; refuses one that is of no known kind, or not there."""
    if path == STDIN or path.is_dir() or any(c in path.name for c in "*?["):
        return path.suffix.lower() in ARRAY_SUFFIXES and path.is_file()
    no_such_file(path, (*TABLE_SUFFIXES, *ARRAY_SUFFIXES))
    return path.suffix.lower() in ARRAY_SUFFIXES


def budget_for(memory_limit: int | None) -> int:
    """Return the bytes of points that are kept in memory under a limit."""
    limit = available()[0] / 2 if memory_limit is None else memory_limit / LIMIT_SHARE
    return int(min(limit, MOST_IN_MEMORY))


def table_of(raw: RawTable, label: str | None, budget_bytes: int, progress: Tell) -> Table:
    """Read a raw table all of whose columns but the label's are numbers.

    Points of more than ``budget_bytes`` go to a file. Raises InvalidInputError as `load_table`.
    """
    with refusals(raw.path):
        return _spooled(Batches(raw, label), budget_bytes, progress)


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
