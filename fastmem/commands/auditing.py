"""The command audit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmem.commands.application import Json, ModelFile, Threads, app, refuse
from fastmem.commands.describing import load_network, points_for
from fastmem.commands.printing import print_rows, print_table, print_text
from fastmem.commands.raw_options import (
    Decimal,
    Delimiter,
    Header,
    Missing,
    TextEncoding,
    read_options,
)

if TYPE_CHECKING:
    from fastmem import Network
    from fastmem.leaks import LeakReport
    from fastmem.tables import ReadingOptions

PAGE, PLAIN = ".html", ".json"


@app.command()
def audit(
    net: ModelFile,
    data: Annotated[
        Path | None,
        typer.Option(
            help="The points it was fitted to, a table with labels.",
            show_default="none: what the network alone shows",
        ),
    ] = None,
    unseen: Annotated[
        Path | None,
        typer.Option(
            help="Points from the same source that it was not fitted to, a table with labels.",
            show_default="none: no membership",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="Label column of both.", show_default="the array y of an npz file"),
    ] = None,
    reconstruct: Annotated[int, typer.Option(help="Neurons to recover points from.")] = 5,
    sample: Annotated[
        int, typer.Option(help="Points of each table that are looked at, at most.")
    ] = 100_000,
    out: Annotated[
        Path | None,
        typer.Option(help="Page with pictures, .html, or the report, .json.", show_default="none"),
    ] = None,
    json: Json = False,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn.")] = 0,
    missing: Missing = None,
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    encoding: TextEncoding = None,
    header: Header = None,
    threads: Threads = None,
) -> None:
    """Measure what a network gives away of the points it was fitted to."""
    from fastmem.machine.extras import needs
    from fastmem.machine.files import check_output

    if out is not None:
        given = [path for path in (net, data, unseen) if path is not None]
        check_output(out, (PAGE, PLAIN), inputs=given)
        if out.suffix.lower() == PAGE:
            with needs("plot"):
                import matplotlib  # noqa: F401 (refused before the work)
    if label is not None and data is None and unseen is None:
        refuse("--label is given without --data and --unseen: give the points of these labels too")
    network = load_network(net)
    options = read_options(missing, delimiter, decimal, encoding, header)
    from fastmem.leaks import audit as measure

    X, y = (None, None) if data is None else _labelled(network, data, label, options)
    report = measure(
        network, X, y, reconstruct=reconstruct, sample=sample, seed=seed, n_threads=threads,
        unseen=None if unseen is None else _labelled(network, unseen, label, options),
    )  # fmt: skip
    if out is not None and out.suffix.lower() == PLAIN:
        report.save_json(out)
    elif out is not None:
        from fastmem.leaks.page import save_page

        save_page(report, out, net.name)
    if json:
        typer.echo(report.to_json())
    else:
        _print(report, net)
    if out is not None:
        typer.echo(f"Report: {out}", err=json)


def _labelled(
    network: Network, path: Path, label: str | None, options: ReadingOptions
) -> tuple[Any, Any]:
    """Read a table whose labels are needed."""
    X, y = points_for(network, path, label, options)
    if y is None:
        refuse(f"{path} needs a label column: give its name or its 0-based index with --label")
    return X, y


def _print(report: LeakReport, net: Path) -> None:
    from fastmem.leaks import page

    print_table(str(net), page.facts(report) | {"seed": report.seed})
    if report.membership:
        print_rows("Signals of membership", *page.signal_rows(report))
    if report.reconstructions:
        print_rows("Points recovered", *page.reconstruction_rows(report))
    for sentence in page.sentences(report):
        print_text(sentence)
    for what, why in report.skipped.items():
        print_text(f"Not measured, or of little meaning: {what}, because {why}.")
    print_text(page.NO_PROOF)
