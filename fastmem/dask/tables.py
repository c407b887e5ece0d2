"""Fits of labelled tables in parquet files, which workers read: what the command line does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import uuid4

import dask
import numpy as np
from distributed import Client, get_worker

from fastmem.dask.clients import on_worker
from fastmem.dask.shards import DaskShards
from fastmem.distributed.fitting import network_of
from fastmem.distributed.fleet import Fleet
from fastmem.distributed.parts import Part
from fastmem.distributed.tables import Read, read_on
from fastmem.distributed.versions import require_same, versions
from fastmem.encoding import Choices, Encoding, Surprises
from fastmem.inputs import InvalidInputError
from fastmem.machine.clock import Clock
from fastmem.network.network import Network
from fastmem.tables.pieces import LabelledPieces, Piece, read_piece


class FittedTable(NamedTuple):
    """What a fit of a table gave.

    Attributes
    ----------
    network : Network
        That of `fastmem.tables.load_labelled` and `fastmem.interpolate` on one machine.
    wrong : tuple of three arrays
        Rows of the table that it labels otherwise (int64), the labels they have, and its own.
    """

    network: Network
    wrong: tuple[np.ndarray, np.ndarray, np.ndarray]


class PieceRecipes:
    """How to read each piece of a table, wherever, and again where a worker is lost.

    Parameters
    ----------
    pieces : sequence of Piece
    refuse_unlabelled : bool
    """

    def __init__(self, pieces: Sequence[Piece], refuse_unlabelled: bool) -> None:
        self._pieces, self._refuses = pieces, refuse_unlabelled

    def __len__(self) -> int:
        return len(self._pieces)

    def delayed(self, numbers: Sequence[int]) -> list[Any]:
        """New tasks, of names never used before, that read some pieces."""
        make = dask.delayed(on_worker(__name__, "part_of_piece"), pure=False)
        known = versions()
        return [
            make(number, self._pieces[number], self._refuses, known,
                 dask_key_name=f"fastmem-part-{number}-{uuid4().hex}")
            for number in numbers
        ]  # fmt: skip


def part_of_piece(
    number: int, piece: Piece, refuse_unlabelled: bool, client: dict[str, str]
) -> Part:
    """A part that a worker reads, where it has what the ``client`` has."""
    require_same(client, f"worker {get_worker().address}")
    read = read_piece(piece, refuse_unlabelled=refuse_unlabelled)
    return Part(number, read.features, read.labels, read.n_unlabelled)


def fit_table(
    table: LabelledPieces,
    client: Client,
    choices: Choices,
    settings: Callable[[Read], dict[str, Any]],
    save: Callable[[Network], object],
    *,
    refuse_unlabelled: bool = False,
) -> FittedTable:
    """Fit a table where workers read it; no row comes here.

    Parameters
    ----------
    table : LabelledPieces
    client : Client
    choices : Choices
        What the user wants of the columns.
    settings : callable
        Given what was made of the table, the parameters of `fastmem.interpolate`.
    save : callable
        Given the network, before all rows are looked at again.
    refuse_unlabelled : bool
        Whether a row without a label is refused; else it is left out.

    Raises
    ------
    InvalidInputError
        As `fastmem.tables.load_labelled` and `fastmem.dask.interpolate`.
    LostShardError
        As `fastmem.dask.interpolate`.
    """
    pieces = table.pieces
    with _pieces_named(pieces):
        clock = Clock()
        with clock.stage("reading"):
            made = DaskShards(client, PieceRecipes(pieces, refuse_unlabelled))
        with made as shards:
            fleet = Fleet(shards)
            with clock.stage("encoding"):
                read = read_on(fleet, choices, table.wording)
            network = network_of(fleet, clock, read.encoding, **settings(read))
        if read.encoding is not None and read.encoding.is_plain:
            network.encoding = None  # numbers that are taken as they are
        save(network)
        return FittedTable(network, _wrong_rows(client, pieces, network, read.encoding))


@contextmanager
def _pieces_named(pieces: Sequence[Piece]) -> Iterator[None]:
    """Say of what is refused in which file it is, where only a part is named."""
    try:
        yield
    except InvalidInputError as error:
        found = re.search(r"\bpart (\d+)\b", str(error))
        if found is None or int(found[1]) >= len(pieces):
            raise
        piece = pieces[int(found[1])]
        where = f"part {found[1]} begins with row {piece.first_row}, in {piece.path.name}"
        raise InvalidInputError(f"{str(error).rstrip('.')} ({where})") from error


def _wrong_rows(
    client: Client, pieces: Sequence[Piece], network: Network, encoding: Encoding | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    look = dask.delayed(on_worker(__name__, "wrong_in_piece"), pure=False)
    known = dask.delayed((network, encoding), name=f"fastmem-known-{uuid4().hex}", traverse=False)
    found = client.gather(client.compute([look(piece, known) for piece in pieces]))
    rows, given, predicted = (np.concatenate(some) for some in zip(*found, strict=True))
    return rows, given, predicted


def wrong_in_piece(
    piece: Piece, known: tuple[Network, Encoding | None]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of a piece that a network labels otherwise, the labels they have, and its own."""
    network, encoding = known
    read = read_piece(piece)
    points = read.features
    labels = read.labels[:]
    if not len(labels):
        return read.rows, labels, labels
    if encoding is not None:
        points = encoding.features(points, "X", Surprises())
    predicted = network.predict(points, n_threads=1)
    wrong = np.flatnonzero(predicted != labels)
    return read.rows[wrong], labels[wrong], predicted[wrong]
