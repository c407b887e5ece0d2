"""The commands that make networks: demo and fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmem.commands.application import DataFile, Threads, app
from fastmem.commands.describing import memorise, n_right, shape_facts
from fastmem.commands.options import read_covered, read_max_bias, read_memory_limit, read_width
from fastmem.commands.printing import print_table, share_of, size_of

if TYPE_CHECKING:
    from fastmem import Network


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

    X, y = unit_moons(samples, seed=seed)
    network = memorise(X, y, width=first_width, seed=seed, n_threads=threads)
    print_report(network, X, y)
    if not picture:
        return
    from fastmem.plots.regions import save_decision_regions

    try:
        save_decision_regions(out, network, X, y)
    except ModuleNotFoundError as missing:
        typer.echo(
            f"No picture was drawn, because {missing.name} is not installed: "
            'pip install "fastmem[plot]".',
            err=True,
        )
    else:
        typer.echo(f"Picture: {out}")


@app.command()
def fit(
    data: DataFile,
    out: Annotated[Path, typer.Option(help="Model file to write, .npz.")],
    label: Annotated[
        str | None,
        typer.Option(
            help="Label column: its name or 0-based index, -1 for the last.",
            show_default="the array y of an npz file",
        ),
    ] = None,
    width: Annotated[
        str, typer.Option(help="Hyperplanes: a number, auto, or smallest for fewest parameters.")
    ] = "auto",
    selection: Annotated[
        str, typer.Option(help="Second layer: merge, or random as in the paper.")
    ] = "merge",
    activation: Annotated[
        str, typer.Option(help="First layer: threshold, or relu for max(Wx + b, 0).")
    ] = "threshold",
    margin: Annotated[
        float, typer.Option(help="0 for the narrowest network, to 1 for the best on new points.")
    ] = 0.0,
    projection: Annotated[
        str,
        typer.Option(
            help="First layer: gaussian as in the paper, structured for many features, or auto."
        ),
    ] = "auto",
    compact: Annotated[
        bool, typer.Option(help="Spend more time on a network with fewer parameters.")
    ] = False,
    max_bias: Annotated[
        str, typer.Option(help="Largest bias: a number, or auto for the largest norm.")
    ] = "auto",
    covered: Annotated[
        list[str] | None,
        typer.Option(
            help="Class that gets neurons: auto, all or a label; repeat for several labels.",
            show_default="auto",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed.", show_default="a new one, reported")
    ] = None,
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
) -> None:
    """Memorise the labelled points of a file and save the network."""
    from fastmem.inputs import check_memory_limit
    from fastmem.machine.files import check_output
    from fastmem.machine.progress import terminal_progress
    from fastmem.tables import load_table

    first_width, largest_bias = read_width(width), read_max_bias(max_bias)
    limit = check_memory_limit(read_memory_limit(memory_limit))
    check_output(out, (".npz",), inputs=[data])
    with terminal_progress() as show:
        table = load_table(data, label, labels_required=True, memory_limit=limit, progress=show)
    X, y = table.points, table.labels
    network = memorise(
        X,
        y,
        width=first_width,
        selection=selection,
        activation=activation,
        margin=margin,
        compact=compact,
        projection=projection,
        max_bias=largest_bias,
        covered=read_covered(covered, y),
        center=center,
        seed=seed,
        n_threads=threads,
        memory_limit=limit,
    )
    network.save(out)
    print_report(network, X, y, {"model file": str(out)})


def print_report(network: Network, X: Any, y: Any, more: dict[str, str] | None = None) -> None:
    """Print what a fit did, and check it: the training points are predicted and compared."""
    report = network.report
    assert report is not None, "a network that was just fitted has a report"
    right = n_right(network, X, y)
    facts = {"samples": f"{report.n_samples:,}"} | shape_facts(network)
    for stage, seconds in report.seconds.items():
        facts[f"seconds, {stage}"] = f"{seconds:.2f}"
    total = report.seconds["total"]
    facts["points per second"] = f"{report.n_samples / total:,.0f}" if total > 0 else "-"
    facts["peak memory"] = size_of(report.peak_bytes)
    facts["memory estimated for the fit"] = size_of(report.estimated_bytes)
    if report.file_bytes:
        facts["temporary file"] = size_of(report.file_bytes)
    facts["seed"] = str(report.seed)
    facts["training accuracy"] = share_of(right, report.n_samples)
    print_table("fastmem", facts | (more or {}))
    n_unseparated = len(report.unseparated)
    if n_unseparated:
        typer.secho(
            f"Warning: {n_unseparated:,} of {report.n_samples:,} points were not separated from "
            "the other classes by so few hyperplanes and are predicted wrong: use --width auto "
            "or a larger number.",
            fg="yellow",
            err=True,
        )
