"""Labelled tables of parquet files in pieces, each of which a machine can read by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.inputs import EncodedLabels, Wording
from fastmem.tables.columnar import read_parquet
from fastmem.tables.columns import file_wording, label_column
from fastmem.tables.labelled import FeatureColumns, check_names_differ, labels_of, refuse_row
from fastmem.tables.parts import with_constants, with_types
from fastmem.tables.raw import TABLE_SUFFIXES, open_raw, refusals
from fastmem.tables.raw_table import RawTable, shown
from fastmem.tables.sources import STDIN, source_of
from fastmem.tables.wording import some

PIECE_BYTES = 64 << 20
"""Of a piece at least, where its file has more: uncompressed, as parquet counts them."""

Array = NDArray[Any]


class Piece(NamedTuple):
    """Some rows of a labelled table.

    Attributes
    ----------
    table : Path
        The whole one, for messages.
    path : Path
        A parquet file.
    groups : range
        Of its groups of rows.
    first_row : int
        Of the piece, in the whole table.
    label_at : int
        The place of the column of labels.
    constants : dict of str to pyarrow.Scalar
        Columns that the file's directories name.
    types : list of pyarrow.DataType
        Of the other columns in the whole table.
    """

    table: Path
    path: Path
    groups: range
    first_row: int
    label_at: int
    constants: dict[str, Any]
    types: list[Any]


@dataclass(frozen=True)
class LabelledPieces:
    """A labelled table in several files, none of whose rows are read yet.

    Attributes
    ----------
    path : Path
    pieces : list of Piece
        In the order of rows.
    wording : Wording
    notes : list of str
        As of `LabelledTable`.
    """

    path: Path
    pieces: list[Piece]
    wording: Wording
    notes: list[str]


class PieceRead(NamedTuple):
    """What a piece holds.

    Attributes
    ----------
    features : pyarrow.Table
        Of the rows that have a label.
    labels : EncodedLabels
    rows : ndarray of int64
        Their numbers in the whole table.
    n_unlabelled : int
        Rows that have none.
    """

    features: Any
    labels: EncodedLabels
    rows: Array
    n_unlabelled: int


def labelled_pieces(path: Path, label: str | None) -> LabelledPieces:
    """Cut a table of parquet files into pieces.

    Parameters
    ----------
    path : Path
        A file, a directory or a pattern, as of `open_raw`; rows are in the order that it gives.
    label : str or None
        Name or 0-based index of the label column.

    Raises
    ------
    InvalidInputError
        If it is no table of parquet files, or has no such column.
    """
    if path == STDIN:
        raise InvalidInputError("a cluster reads no standard input: give files of parquet")
    raw = open_raw(path, label=label)
    files = raw.files or [(path, {})]
    if not all(file.suffix.lower() == ".parquet" for file, _ in files):
        raise InvalidInputError(
            f"{shown(path)} holds no parquet, of which alone machines can read pieces: write it as "
            f"parquet, say with pandas.DataFrame.to_parquet, or leave --cluster out"
        )
    if label is None:
        raise InvalidInputError(
            f"{shown(path)} needs a label column: give the name of one with --label, among "
            f"{some(raw.names)}"
        )
    check_names_differ(raw)
    at = label_column(path, label, raw.names, len(raw.names))
    wording = file_wording(path)
    labels_of(raw, at, wording)  # refuses what no labels are
    pieces: list[Piece] = []
    row = 0
    for file, constants in files:
        types = raw.types[: len(raw.types) - len(constants)]
        for groups, n_rows in _grouped(file):
            pieces.append(Piece(path, file.absolute(), groups, row, at, constants, types))
            row += n_rows
    if not row:
        raise InvalidInputError(f"{shown(path)} has no rows of data: give at least one point")
    return LabelledPieces(path, pieces, wording, raw.notes)


def _grouped(file: Path) -> list[tuple[range, int]]:
    """Groups of a file's rows that follow each other, and how many rows they have together."""
    from pyarrow import parquet

    with refusals(file), source_of(file, TABLE_SUFFIXES).native() as bytes_of:
        metadata = parquet.read_metadata(bytes_of)
    found = []
    first = n_bytes = n_rows = 0
    for group in range(metadata.num_row_groups):
        facts = metadata.row_group(group)
        n_bytes, n_rows = n_bytes + facts.total_byte_size, n_rows + facts.num_rows
        if n_bytes >= PIECE_BYTES or group == metadata.num_row_groups - 1:
            found.append((range(first, group + 1), n_rows))
            first, n_bytes, n_rows = group + 1, 0, 0
    return found


def read_piece(piece: Piece, *, refuse_unlabelled: bool = False) -> PieceRead:
    """Read a piece whole.

    Parameters
    ----------
    piece : Piece
    refuse_unlabelled : bool
        Whether a row without a label is refused; else it is left out.

    Raises
    ------
    InvalidInputError
        If the file is not there or cannot be read, or for a row without a label.
    """
    import pyarrow as pa

    if not piece.path.exists():
        raise InvalidInputError(
            f"{shown(piece.path)} is not there on every machine: put the files where all workers "
            f"find them under one name, such as a network file system"
        )
    with refusals(piece.path):
        return _read(piece, pa, refuse_unlabelled)


def _read(piece: Piece, pa: Any, refuse_unlabelled: bool) -> PieceRead:
    whole = read_parquet(source_of(piece.path, TABLE_SUFFIXES), piece.groups)
    part = with_types(whole, piece.types)
    names = [*part.names, *piece.constants]
    types = [*part.types, *(value.type for value in piece.constants.values())]
    raw = RawTable(
        piece.path, names, True, types, False, ".", part.n_rows, True, [],
        lambda: with_constants(part, piece.constants),
    )  # fmt: skip
    wording = file_wording(piece.table)
    columns = FeatureColumns(raw, piece.label_at)
    labels = labels_of(raw, piece.label_at, wording)
    batches, codes, kept = [], [], []
    row = piece.first_row
    for batch, chunk, has_label in columns.with_labels():
        if refuse_unlabelled and not has_label.all():
            refuse_row(raw.names[piece.label_at], row + int(np.argmin(has_label)), wording)
        batches.append(batch)
        codes.append(labels.read(chunk, row, ())[has_label])
        kept.append(row + np.flatnonzero(has_label))
        row += len(has_label)
    schema = pa.schema(list(zip(columns.names, columns.types, strict=True)))
    features = pa.Table.from_batches(batches, None if batches else schema).combine_chunks()
    no_rows: list[Array] = [np.empty(0, np.int64)]
    return PieceRead(
        features, EncodedLabels(labels.classes(), _narrow(np.concatenate(no_rows + codes))),
        np.concatenate(no_rows + kept), columns.n_unlabelled,
    )  # fmt: skip


def _narrow(codes: Array) -> Array:
    return codes.astype(np.min_scalar_type(int(codes.max(initial=0))))
