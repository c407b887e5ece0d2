"""Fits of the command line on a cluster: what is refused there, and what it is asked."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastmem.commands.application import refuse
from fastmem.commands.checking import Wrong
from fastmem.commands.options import read_covered

if TYPE_CHECKING:
    from fastmem import Network
    from fastmem.encoding import Choices
    from fastmem.tables import LabelledTable, ReadingOptions


class ClusterFit(NamedTuple):
    """What a cluster is to fit, and how: as the options of `fit` say."""

    data: Path
    label: str | None
    choices: Choices
    settings: dict[str, Any]
    covered: Sequence[str] | None
    refuse_unlabelled: bool


def fit_on_cluster(
    address: str,
    request: ClusterFit,
    options: ReadingOptions,
    say: Callable[[LabelledTable], object],
    save: Callable[[Network], object],
) -> tuple[Network, Wrong, LabelledTable]:
    """Let a cluster read a table and fit it.

    Parameters
    ----------
    address : str
        As of `fastmem.machine.clusters.connected`.
    request : ClusterFit
    options : ReadingOptions
        Those that are given are refused: they are about files of text.
    say : callable
        Called before the fit with what is known of the table.
    save : callable
        Called with the network, before it is checked.

    Returns
    -------
    (Network, Wrong, LabelledTable)
        Numbers of wrong rows are those in the table, of which nothing but facts is here.
    """
    from fastmem.errors import UnseparatedWarning
    from fastmem.machine.clusters import connected
    from fastmem.tables.labelled import LabelledTable
    from fastmem.tables.pieces import labelled_pieces

    _refuse_what_is_local(request.settings, options)
    pieces = labelled_pieces(request.data, request.label)
    with connected(address) as client:
        from fastmem.dask.tables import fit_table

        known = LabelledTable(np.empty((0, 0)), None, notes=pieces.notes)

        def settings(read: Any) -> dict[str, Any]:
            known.n_unlabelled = read.n_unlabelled
            if read.encoding is not None and not read.encoding.is_plain:
                known.encoding, known.columns = read.encoding, read.encoding.rows()
            say(known)
            covered = read_covered(request.covered, read.labels)
            return request.settings | {"covered": covered, "progress": True}

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnseparatedWarning)
            fitted = fit_table(
                pieces, client, request.choices, settings, save,
                refuse_unlabelled=request.refuse_unlabelled,
            )  # fmt: skip
    return fitted.network, Wrong(*fitted.wrong), known


def _refuse_what_is_local(settings: dict[str, Any], options: ReadingOptions) -> None:
    """Refuse what is for one machine, or for files of text, before a cluster is asked."""
    from fastmem.distributed.one_machine import for_one_machine

    found = for_one_machine(settings)
    if found is not None:
        name, value = found
        option = f"--{name.replace('_', '-')}" + (f" {value}" if isinstance(value, str) else "")
        refuse(
            f"{option} is for points on one machine: leave it out, or fit a sample there without "
            f"--cluster"
        )
    for field in fields(options):
        if getattr(options, field.name) not in (None, ()):
            refuse(
                f"--{field.name} is for files of text, and a cluster reads parquet: leave it out"
            )
