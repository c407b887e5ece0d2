"""The commands that study data and the paper: complexity, reproduce."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from fastmem.commands.application import DataFile, Label, Seed, Threads, app, refuse
from fastmem.commands.checking import left_out
from fastmem.commands.describing import print_columns
from fastmem.commands.options import read_covered, read_max_bias
from fastmem.commands.printing import print_rows, print_table, print_text
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
from fastmem.commands.terminal import spelled

HARDEST_SHOWN = 20
_PRINTED = Path("-")


@app.command()
def complexity(
    data: DataFile,
    label: Label = None,
    out: Annotated[
        Path | None, typer.Option(help="Page to write: html.", show_default="none")
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            help="Report to write: json; - prints it instead of tables.", show_default="none"
        ),
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(help="Table of every point's hardness: csv.", show_default="none"),
    ] = None,
    graph: Annotated[
        Path | None,
        typer.Option(
            help="Graph of a compact network to write: graphml, or svg of at most 200 nodes.",
            show_default="none",
        ),
    ] = None,
    width: Annotated[int, typer.Option(help="Hyperplanes at which neurons are compared.")] = 2048,
    trials: Annotated[int, typer.Option(help="Networks for each sample and class.")] = 3,
    hardest: Annotated[int, typer.Option(help="How many of the hardest points to list.")] = 100,
    most: Annotated[
        int, typer.Option(help="Points of which networks are made, drawn at random from more.")
    ] = 20_000,
    projection: Annotated[
        str, typer.Option(help="First layer: gaussian, structured or auto, as for fit.")
    ] = "auto",
    max_bias: Annotated[
        str, typer.Option(help="Largest bias: a number, or auto for the largest norm.")
    ] = "auto",
    scale: Annotated[
        str, typer.Option(help="Powers of two for the features: auto, std or none, as for fit.")
    ] = "auto",
    drop: Drop = None,
    keep: Keep = None,
    kinds: Kinds = None,
    missing: Missing = None,
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    encoding: TextEncoding = None,
    header: Header = None,
    seed: Seed = None,
    threads: Threads = None,
) -> None:
    """Measure what memorising a data set takes, and find its hard and mislabelled points."""
    from fastmem.machine.files import check_output
    from fastmem.tables import load_labelled, plain_arrays

    largest_bias = read_max_bias(max_bias)
    for path, suffixes in (
        (out, (".html",)), (json, (".json",)), (points, (".csv",)), (graph, (".graphml", ".svg")),
    ):  # fmt: skip
        if path is not None and path != _PRINTED:
            check_output(path, suffixes, inputs=[data])
    _require_extras(out, graph)
    options = read_options(missing, delimiter, decimal, encoding, header)
    table = load_labelled(data, label, options, read_choices(drop, keep, kinds))
    X, y = plain_arrays(table)
    from fastmem.experiments import complexity as study
    from fastmem.experiments import complexity_page as page
    from fastmem.machine.progress import terminal_progress

    with terminal_progress() as show:
        report = study.complexity(
            X, y, name=data.name, width=width, trials=trials, hard_points=hardest,
            most_points=most, seed=seed,
            max_bias=largest_bias, projection=projection, scale=scale, n_threads=threads,
            progress=show,
            feature_names=getattr(table.points, "feature_names", None),
            say=lambda sentence: typer.echo(sentence, err=True),
        )  # fmt: skip
    # files first: nothing that is printed can keep them from being written
    written = []
    if json is not None and json != _PRINTED:
        report.save_json(json)
        written.append(f"Report: {json}")
    if points is not None:
        assert report.points is not None, "a report that was just made has all points"
        report.points.save(points, y, [entry.label for entry in report.classes])
        written.append(f"Hardness of every point: {points}")
    if out is not None:
        page.save_page(report, out)
        written.append(f"Page: {out}")
    if graph is not None:
        written.append(_graph(report, graph))
    if json == _PRINTED:
        typer.echo(report.to_json())
        for line in (*written, *left_out(table)):
            typer.echo(line, err=True)
        return
    for note in (*table.notes, *left_out(table)):
        typer.echo(f"{data}: {note}.")
    if table.columns:
        print_columns(f"Columns of {data}", table.columns)
    print_table(data.name, page.facts(report) | {"seed": report.seed})
    print_rows("Widths over N", *page.width_rows(report))
    print_rows("Classes: hyperplanes that separate a share", *page.class_rows(report))
    print_rows("Classes against all others", *page.shape_rows(report))
    print_text(page.class_note(report))
    _print_sections(report)
    print_rows("Hardest points", *page.hard_rows(report, HARDEST_SHOWN))
    names, values = page.hard_values(report, HARDEST_SHOWN)
    if values:
        print_rows("Values of the hardest points", names, values)
    for what, why in report.skipped.items():
        typer.echo(f"Not measured: {what}, because {why}.")
    for line in written:
        typer.echo(line)


def _print_sections(report: Any) -> None:
    """Print the tables of shapes and representations, where there are any."""
    from fastmem.experiments import complexity_page as page

    header, rows = page.topology_rows(report)
    notes = page.topology_notes(report)
    if rows:
        print_rows("Pieces and holes (Betti numbers)", header, rows)
        notes.insert(0, "Sure: by bars twice as long; half: by half the landmarks.")
    if notes:
        print_text(" ".join(["Pieces and holes.", *notes]))
    header, rows = page.representation_rows(report)
    if rows:
        print_rows("The points in other representations", header, rows)


def _graph(report: Any, path: Path) -> str:
    """Write the graph, or say why there is none: all else is written already."""
    from fastmem.errors import InvalidInputError
    from fastmem.experiments.complexity_graph import save_graph

    if report.network is None:
        return f"No graph: {report.skipped.get('connectivity', 'there is no network')}"
    try:
        save_graph(report, path)
    except InvalidInputError as error:
        return f"No graph: {error}"
    return f"Graph: {path}"


def _require_extras(out: Path | None, graph: Path | None) -> None:
    """Refuse a page or a graph before the work, rather than after it."""
    if out is not None or (graph is not None and graph.suffix.lower() == ".svg"):
        try:
            import matplotlib  # noqa: F401
        except ModuleNotFoundError:
            _refuse_without("plot", "matplotlib", out, graph)
    if graph is not None and graph.suffix.lower() == ".graphml":
        try:
            import networkx  # noqa: F401
        except ModuleNotFoundError:
            _refuse_without("study", "networkx", None, graph)


def _refuse_without(extra: str, name: str, out: Path | None, graph: Path | None) -> None:
    path, option = (graph, "--graph") if out is None else (out, "--out")
    refuse(
        f"{path} needs {name}, which is not installed: "
        f'pip install "fastmem-nets[{extra}]", or leave out {option}.'
    )


@app.command()
def reproduce(
    name: Annotated[
        str | None, typer.Argument(help="Study: see --list.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None,
        typer.Argument(
            help="Your own points, for the studies grid and samples: csv, npy, npz or parquet.",
            show_default=False,
        ),
    ] = None,
    list_studies: Annotated[bool, typer.Option("--list", help="List the studies and end.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Table of results, csv; the picture beside it ends in png.",
            show_default="NAME.csv",
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Trials of each cell.", show_default="the study's")
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            help="Values of N, n or lambda: n=20:500:20, lambda=0.5,1,2; repeat for several.",
            show_default="the study's",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the trials.")] = 0,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes, one core each.", show_default="every core it may use"),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(
            help="Scheduler of a Dask cluster that does the work: tcp://host:port.",
            show_default="this machine",
        ),
    ] = None,
    redraw: Annotated[
        bool, typer.Option("--redraw", help="Draw the picture anew, without any trial.")
    ] = False,
    compare: Annotated[
        Path | None,
        typer.Option(help="Another table of the same cells: print and draw the differences."),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="Label column of DATA.", show_default="the array y of an npz file"),
    ] = None,
    covered: Annotated[
        list[str] | None,
        typer.Option(
            help="Class of DATA that gets neurons, or all; repeat for several labels.",
            show_default="the last of two, all of more",
        ),
    ] = None,
) -> None:
    """Run a study of the paper, or the same on your own data; an interrupted one goes on."""
    from fastmem.experiments.studies import STUDIES, read_axes

    if list_studies:
        print_table("Studies", {key: recipe.summary for key, recipe in STUDIES.items()})
        return
    if name is None or name not in STUDIES:
        refuse(
            f"{'No study was named' if name is None else f'There is no study {name!r}'}: give one "
            f"of {', '.join(STUDIES)}."
        )
    if not redraw and (data is None) == (STUDIES[name].points is None):
        refuse(
            f"{name} {'needs a data file: name it after the study' if data is None else ''}"
            f"{'' if data is None else 'brings its own points: take grid or samples for yours'}."
        )
    table = Path(f"{name}.csv") if out is None else out
    axes = read_axes(grid or [])
    from fastmem.machine.files import check_output
    from fastmem.tables import read_table

    check_output(table, (".csv",))
    from fastmem.experiments.results import read_results

    theirs = read_results(compare)[1] if compare is not None else []
    if redraw:
        results = read_results(table)[1]
    else:
        from fastmem.experiments.running import on_cluster, run
        from fastmem.experiments.studies import make_study
        from fastmem.machine.progress import terminal_progress

        points: Any = None
        covers: Any = None
        if data is not None:
            points = read_table(data, label, labels_required=True)
            covers = None if not covered else read_covered(covered, points[1])
        study = make_study(name, axes=axes, trials=trials, seed=seed, data=points, covered=covers)
        if workers is not None and executor is not None:
            refuse("--workers are processes of this machine: leave them out with --executor.")
        with ExitStack() as stack:
            cluster = stack.enter_context(on_cluster(executor)) if executor is not None else None
            show = stack.enter_context(terminal_progress())
            results = run(study, table, workers=workers, executor=cluster, progress=show)
    _draw_study(name, results, theirs, table)


def _draw_study(name: str, results: Any, theirs: Any, table: Path) -> None:
    """Draw a table, and set it against another one."""
    from fastmem.experiments import comparison, pictures
    from fastmem.experiments.studies import STUDIES

    recipe = STUDIES[name]
    pairs = comparison.matched(results, theirs) if theirs else []
    lines = [f"Table: {table} ({len(results):,} cells)"]
    if pairs:
        lines += ["", spelled(comparison.report(pairs)), ""]
    try:
        draw = pictures.samples_picture if recipe.over_samples else pictures.grid_picture
        drawn = {table.with_suffix(".png"): draw(results, pictures.title_of(name, results))}
        if pairs:
            title = f"{name}: ours against theirs, {len(pairs):,} cells"
            compared = table.with_name(f"{table.stem}-comparison.png")
            drawn[compared] = pictures.comparison_picture(pairs, title)
        for path, figure in drawn.items():
            pictures.save_picture(figure, path)
            lines.append(f"Picture: {path}")
        typer.echo("\n".join(lines))
    except ModuleNotFoundError as missing:
        typer.echo("\n".join(lines))
        typer.echo(
            f"No picture was drawn, because {missing.name} is not installed: "
            'pip install "fastmem-nets[plot]".',
            err=True,
        )
