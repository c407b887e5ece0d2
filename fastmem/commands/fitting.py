"""The commands that make networks: demo and fit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmem.commands.application import DataFile, Json, Label, Seed, Threads, app, refuse
from fastmem.commands.checking import Wrong, unlike_the_data, write_rows, wrong_rows
from fastmem.commands.clusters import ClusterFit, fit_on_cluster
from fastmem.commands.describing import (
    column_facts,
    is_network,
    memorise,
    network_facts,
    print_columns,
    shape_facts,
)
from fastmem.commands.options import (
    read_covered,
    read_margin,
    read_max_bias,
    read_memory_limit,
    read_width,
)
from fastmem.commands.printing import print_json, print_table, share_of, size_of
from fastmem.commands.raw_options import (
    Decimal,
    Delimiter,
    Drop,
    Header,
    Keep,
    Kinds,
    Missing,
    TextEncoding,
    read_choices,
    read_options,
)

if TYPE_CHECKING:
    from fastmem import Network
    from fastmem.tables import LabelledTable


@app.command()
def demo(
    samples: Annotated[int, typer.Option(help="Number of two-moons points.")] = 1_000_000,
    width: Annotated[
        str, typer.Option(help="Hyperplanes of the first layer: a number or auto.")
    ] = "2048",
    seed: Annotated[int, typer.Option(help="Seed of the points and of the network.")] = 0,
    out: Annotated[Path, typer.Option(help="Picture to write: png, svg or pdf.")] = Path(
        "fastmem-demo.png"
    ),
    picture: Annotated[bool, typer.Option(help="Whether to draw the picture.")] = True,
    threads: Threads = None,
) -> None:
    """Memorise a million two-moons points, report on it, and draw what the network does."""
    from fastmem.machine.files import check_output

    first_width = read_width(width)
    if picture:
        check_output(out, (".png", ".svg", ".pdf"))
    from fastmem.datasets import unit_moons
    from fastmem.tables.labelled import LabelledTable

    X, y = unit_moons(samples, seed=seed)
    network = memorise(X, y, width=first_width, seed=seed, n_threads=threads)
    _report(network, wrong_rows(network, X, y), LabelledTable(X, y), None)
    if not picture:
        return
    from fastmem.plots.regions import save_decision_regions

    try:
        save_decision_regions(out, network, X, y)
    except ModuleNotFoundError as missing:
        typer.echo(
            f"No picture was drawn, because {missing.name} is not installed: "
            'pip install "fastmem-nets[plot]".',
            err=True,
        )
    else:
        typer.echo(f"Picture: {out}")


@app.command()
def fit(
    data: DataFile,
    out: Annotated[
        Path | None,
        typer.Option(help="Model file to write, .npz.", show_default="the name of DATA, .npz"),
    ] = None,
    label: Label = None,
    width: Annotated[
        str,
        typer.Option(
            help="Hyperplanes, or features of a vote: a number, auto, or smallest for fewest "
            "parameters."
        ),
    ] = "auto",
    decision: Annotated[
        str,
        typer.Option(
            help="cells for the paper's network, or vote: as exact, and far better on new points."
        ),
    ] = "cells",
    objective: Annotated[
        str,
        typer.Option(help="neurons, or bytes for the smallest file: an ordered list of rules."),
    ] = "neurons",
    effort: Annotated[
        float | None,
        typer.Option(
            help="Seconds that --objective bytes may take.", show_default="as the data ask for"
        ),
    ] = None,
    selection: Annotated[
        str, typer.Option(help="Second layer: merge, or random as in the paper.")
    ] = "merge",
    activation: Annotated[
        str, typer.Option(help="First layer: threshold, or relu for max(Wx + b, 0).")
    ] = "threshold",
    margin: Annotated[
        str,
        typer.Option(
            help="0 for the narrowest network, to 1 for the best on new points, which stores "
            "every row (see fastmem audit); auto is 0, or 0.2 for the exceptions of a vote."
        ),
    ] = "auto",
    complete: Annotated[
        bool, typer.Option(help="Add hyperplanes to a given width until every point is right.")
    ] = False,
    projection: Annotated[
        str,
        typer.Option(
            help="First layer: gaussian as in the paper, structured for many features, or auto."
        ),
    ] = "auto",
    compact: Annotated[
        bool, typer.Option(help="Spend more time on a network with fewer parameters.")
    ] = False,
    scale: Annotated[
        str,
        typer.Option(
            help="Powers of two for the features: std for unit spread, none, or auto to measure."
        ),
    ] = "auto",
    max_bias: Annotated[
        str,
        typer.Option(
            help="Largest bias: a number, radius for the largest norm, norms to keep to the "
            "points, or auto."
        ),
    ] = "auto",
    covered: Annotated[
        list[str] | None,
        typer.Option(
            help="Class that gets neurons: auto, all or a label; repeat for several labels.",
            show_default="auto",
        ),
    ] = None,
    contradictions: Annotated[
        str,
        typer.Option(help="Equal rows of several labels: majority takes the commonest, or raise."),
    ] = "majority",
    wrong: Annotated[
        Path | None,
        typer.Option(
            help="Table of the rows that the network labels otherwise: csv.", show_default="none"
        ),
    ] = None,
    drop: Drop = None,
    keep: Keep = None,
    kinds: Kinds = None,
    unlabelled: Annotated[
        str, typer.Option(help="Rows without a label: skip leaves them out, or refuse.")
    ] = "skip",
    missing: Missing = None,
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    encoding: TextEncoding = None,
    header: Header = None,
    seed: Seed = None,
    threads: Threads = None,
    center: Annotated[
        bool, typer.Option(help="Whether to shift the points by their mean first.")
    ] = True,
    memory_limit: Annotated[
        str | None,
        typer.Option(
            help="Memory to keep to, as 4GB; beyond it a temporary file in TMPDIR is used.",
            show_default="none",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Dask cluster that fits a table of parquet files: tcp://host:8786, or local:2 for "
            "so many processes of this machine.",
            show_default="none",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Memorise the labelled rows of a table and save the network."""
    from fastmem.inputs import check_memory_limit
    from fastmem.machine.files import check_output
    from fastmem.machine.progress import terminal_progress
    from fastmem.tables import load_labelled

    first_width, largest_bias = read_width(width), read_max_bias(max_bias)
    limit = check_memory_limit(read_memory_limit(memory_limit))
    model = _default_out(data) if out is None else out
    check_output(model, (".npz",), inputs=[data])
    if wrong is not None:
        check_output(wrong, (".csv",), inputs=[data, model])
    if unlabelled not in ("skip", "refuse"):
        refuse(f"--unlabelled is {unlabelled!r}: give skip or refuse")
    options = read_options(missing, delimiter, decimal, encoding, header)
    choices = read_choices(drop, keep, kinds)
    settings = {
        "width": first_width, "decision": decision, "objective": objective, "effort": effort,
        "selection": selection, "activation": activation, "margin": read_margin(margin),
        "complete": complete, "compact": compact, "projection": projection, "scale": scale,
        "max_bias": largest_bias, "contradictions": contradictions, "center": center,
        "seed": seed, "n_threads": threads, "memory_limit": limit,
    }  # fmt: skip

    def say(table: LabelledTable) -> None:
        if not json:
            for note in table.notes:
                typer.echo(f"{data}: {note}.")
            if table.columns:
                print_columns(f"Columns of {data}", table.columns)

    def save(network: Network) -> None:
        network.save(model)

    if cluster is not None:
        request = ClusterFit(data, label, choices, settings, covered, unlabelled == "refuse")
        network, check, table = fit_on_cluster(cluster, request, options, say, save)
    else:
        with terminal_progress() as show:
            table = load_labelled(
                data, label, options, choices, refuse_unlabelled=unlabelled == "refuse",
                memory_limit=limit, progress=show,
            )  # fmt: skip
        say(table)
        encode = False if table.encoding is None else table.encoding
        settings["covered"] = read_covered(covered, table.labels)
        network = memorise(table.points, table.labels, encode=encode, **settings)
        save(network)
        check = wrong_rows(network, table.points, table.labels)
    if wrong is not None:
        write_rows(wrong, check, table.row_numbers)
    _report(network, check, table, model, json=json)
    if wrong is not None and not json:
        typer.echo(f"Rows that the network labels otherwise: {wrong}")


def _default_out(data: Path) -> Path:
    """The name of the data, in this directory, as a model file that replaces no other kind."""
    name = "table" if str(data) == "-" else data.name
    stem = name.lstrip(".").split(".")[0] or "table"
    out = Path(f"{stem}.npz")
    if out.exists() and not is_network(out):
        refuse(f"{out} is there already and is no network: give another name with --out")
    return out


def _report(
    network: Network, check: Wrong, table: LabelledTable, model: Path | None, *, json: bool = False
) -> None:
    """Print what a fit did, and whether the training points are right."""
    report = network.report
    assert report is not None, "a network that was just fitted has a report"
    n_rows = report.n_samples
    if json:
        print_json(_fit_facts(network, check, table, model))
        return
    facts = {"samples": f"{n_rows:,}"} | shape_facts(network)
    for stage, seconds in report.seconds.items():
        facts[f"seconds, {stage}"] = f"{seconds:.2f}"
    total = report.seconds["total"]
    facts["points per second"] = f"{n_rows / total:,.0f}" if total > 0 else "-"
    facts["memory, peak of the process"] = size_of(report.peak_bytes)
    facts["memory, bound on the fit's own"] = size_of(report.estimated_bytes)
    if report.file_bytes:
        facts["temporary file"] = size_of(report.file_bytes)
    if report.scale.exponents is not None:
        facts["scale"] = str(report.scale)
    if report.vote is not None:
        facts["right without exceptions"] = share_of(report.vote.right, report.n_distinct)
        facts["leave-one-out accuracy"] = (
            f"{report.vote.left_out:.4f} of {report.vote.n_left_out:,} points"
        )
    facts["seed"] = str(report.seed)
    facts["training accuracy"] = share_of(n_rows - len(check.rows), n_rows)
    if model is not None:
        facts["model file"] = str(model)
    print_table("fastmem", facts)
    for sentence in unlike_the_data(network, check, table):
        typer.secho(f"Warning: {sentence}", fg="yellow", err=True)


def _fit_facts(
    network: Network, check: Wrong, table: LabelledTable, model: Path | None
) -> dict[str, Any]:
    """What a fit did, as JSON holds it."""
    report = network.report
    assert report is not None, "a network that was just fitted has a report"
    facts = {
        "samples": report.n_samples,
        **network_facts(network),
        "seconds": report.seconds,
        "peak_bytes": report.peak_bytes,
        "estimated_bytes": report.estimated_bytes,
        "temporary_file_bytes": report.file_bytes,
        "scale": str(report.scale),
        "vote": None if report.vote is None else asdict(report.vote),
        "seed": report.seed,
        "training_accuracy": 1 - len(check.rows) / report.n_samples,
        "rows_labelled_otherwise": len(check.rows),
        "rows_that_contradict": len(report.relabelled),
        "rows_not_separated": len(report.unseparated),
        "rows_without_label": table.n_unlabelled,
        "notes": table.notes,
        "model_file": None if model is None else str(model),
    }
    if table.columns:
        facts["columns"] = column_facts(table.columns)
    return facts
