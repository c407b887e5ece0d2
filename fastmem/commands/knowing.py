"""The command topology: the shape of what a network has memorised."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmem.commands.application import Json, ModelFile, Threads, app, refuse
from fastmem.commands.checking import left_out
from fastmem.commands.describing import encoding_for, load_network
from fastmem.commands.printing import print_json, print_rows, print_table
from fastmem.commands.raw_options import (
    Decimal,
    Delimiter,
    Header,
    Missing,
    TextEncoding,
    read_options,
)

if TYPE_CHECKING:
    from fastmem.shapes import ClassShape, Persistence, TopologyReport

_PICTURES = (".png", ".svg", ".pdf")


@app.command()
def topology(
    net: ModelFile,
    data: Annotated[Path, typer.Option(help="Points of the network, as a rule those of its fit.")],
    label: Annotated[
        str | None,
        typer.Option(help="Label column of them.", show_default="the array y of an npz file"),
    ] = None,
    landmarks: Annotated[int, typer.Option(help="Points that stand for a class, at most.")] = 300,
    max_dimension: Annotated[
        int, typer.Option(help="Highest Betti number: 0 components, 1 holes, 2 voids.")
    ] = 1,
    max_cells: Annotated[
        int, typer.Option(help="Cells of a class up to which more than its parts are counted.")
    ] = 60,
    out: Annotated[Path | None, typer.Option(help="Picture of the bars: png, svg or pdf.")] = None,
    json: Json = False,
    missing: Missing = None,
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    encoding: TextEncoding = None,
    header: Header = None,
    threads: Threads = None,
) -> None:
    """Count the components and holes of each class: of its points, patterns and decision region."""
    from dataclasses import asdict

    import fastmem
    from fastmem.machine.files import check_output
    from fastmem.tables import load_encoded, load_table

    if out is not None:
        check_output(out, _PICTURES, inputs=[net, data])
    network = load_network(net)
    options = read_options(missing, delimiter, decimal, encoding, header)
    table: Any
    said: list[str] = []
    encode = encoding_for(network, data)
    if encode is None:
        table = load_table(data, label, labels_required=True, options=options)
    else:
        if label is None:
            refuse("--label is not given: name the column of the classes")
        table = load_encoded(data, label, encode, options)
        said = [*table.notes, *left_out(table)]
    report = fastmem.topology(
        network, table.points, table.labels, landmarks=landmarks, max_dimension=max_dimension,
        max_cells=max_cells, n_threads=threads,
    )  # fmt: skip
    if out is not None:
        _save_bars(report, out)
    for note in said:
        typer.secho(f"Warning: {note}.", fg="yellow", err=True)
    if json:
        print_json(asdict(report) | {"differences": report.differences()})
        return
    facts = {
        "points": f"{report.n_samples:,}",
        "landmarks of a class": f"{report.landmarks:,} at most, of all its points",
        "hyperplanes": f"{report.n_hyperplanes:,}",
    }
    print_table(str(net), facts)
    header_row = [
        "class", "points", "of points", "half", "of patterns", "half", "of region", "cells",
        "least",
    ]  # fmt: skip
    print_rows("Betti numbers", header_row, [_row(entry) for entry in report.classes])
    for sentence in _sentences(report):
        typer.echo(f"{sentence}.")
    if out is not None:
        typer.echo(f"Picture: {out}")


def _row(entry: ClassShape) -> list[str]:
    from fastmem.shapes.report import shown

    region = entry.region
    return [
        str(entry.label),
        f"{entry.n_points:,}",
        *(text for found in (entry.points, entry.patterns) for text in _numbers(found)),
        "-" if region is None else shown(region.betti),
        "-" if region is None else f"{region.n_cells:,}",
        "-" if entry.least_neurons is None else f"{entry.least_neurons:,}",
    ]


def _numbers(found: Persistence) -> tuple[str, str]:
    from fastmem.shapes.report import shown

    stable = {None: "-", True: "same", False: "other"}[found.is_stable]
    return shown(found.betti), stable


def _sentences(report: TopologyReport) -> list[str]:
    """What has to be said beside the numbers, without a full stop."""
    said = [
        "half: whether half the landmarks count the same; least: the fewest neurons whose union of "
        "cells has the Betti numbers of the points",
        *report.differences(),
    ]
    for name in ("points", "patterns"):
        whys: dict[str, list[str]] = {}
        for entry in report.classes:
            if why := getattr(entry, name).reason:
                whys.setdefault(why, []).append(str(entry.label))
        said += [f"No numbers of {name} of {', '.join(who)}: {why}" for why, who in whys.items()]
    if report.without_region:
        said.append(f"No regions: {report.without_region}")
    for entry in report.classes:
        if entry.region is not None and entry.region.reason:
            said.append(f"Region of {entry.label}: {entry.region.reason}")
    return said


def _save_bars(report: TopologyReport, out: Path) -> None:
    from fastmem.machine.files import moved_when_complete
    from fastmem.plots import persistence_bars

    figure = persistence_bars(report)
    with moved_when_complete(out) as temporary:
        figure.savefig(temporary, format=out.suffix[1:].lower())
