"""The commands behind `fastmem.cli`: demo, fit, predict, export, info, and the studies'.

Bad input ends with one sentence on standard error and exit code 2, Ctrl-C with one line and 130.
What is slow to import, fastmem itself included, is imported inside the commands.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from fastmem import Network

__all__ = ["app"]

BAD_INPUT = 2
CHECKED_AT_ONCE = 1 << 16
HARDEST_SHOWN = 20
WRONG_NAMES = "give the columns of the fit in their order, and name labels with --label"
INTERRUPTED = 130
# Click's UsageError, wherever this version of typer keeps its click.
UsageError = cast(type[Exception], typer.BadParameter.__base__)


class OneSentenceGroup(TyperGroup):
    """Commands whose every refusal is one sentence on standard error."""

    interrupted = "Interrupted: no file was written."

    def invoke(self, ctx: Any) -> Any:
        """Run a command, and turn what it refuses into a sentence and an exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            self.interrupted = str(interrupt) or self.interrupted
            raise typer.Exit(INTERRUPTED) from interrupt
        except BrokenPipeError:
            raise
        except (ValueError, OSError, MemoryError) as error:
            sentence = _sentence(error)
            if sentence is None:
                raise
            _complain(sentence)
            raise typer.Exit(BAD_INPUT) from error

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line; wrong options get one sentence too, not a usage box."""
        standalone_mode = extra.get("standalone_mode", True)
        extra["standalone_mode"] = False
        try:
            code = super().main(*args, **extra)
        except UsageError as error:
            _complain(_usage_sentence(error))
            code = BAD_INPUT
        except typer.Abort:  # what older versions of typer make of Ctrl-C
            code = INTERRUPTED
        if code == INTERRUPTED:
            _complain(self.interrupted)
        if standalone_mode:
            sys.exit(code)
        return code


app = typer.Typer(
    cls=OneSentenceGroup,
    help="Memorise a labelled data set in a three-layer threshold network, exactly and fast.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

DataFile = Annotated[
    Path,
    typer.Argument(help="Points as csv, npy, npz or parquet, or a directory of parquet files."),
]
ModelFile = Annotated[Path, typer.Argument(help="A network that fastmem fit has saved.")]
Threads = Annotated[
    int | None, typer.Option(help="Number of threads.", show_default="every core it may use")
]


def _show_version(wanted: bool) -> None:
    if wanted:
        from fastmem import __version__

        typer.echo(f"fastmem {__version__}")
        raise typer.Exit


@app.callback()
def fastmem(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and end.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Memorise a labelled data set in a three-layer threshold network, exactly and fast."""


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
    from fastmem.tables import check_output

    first_width = _width(width)
    if picture:
        check_output(out, (".png", ".svg", ".pdf"))
    from fastmem.datasets import unit_moons

    X, y = unit_moons(samples, seed=seed)
    network = _memorise(X, y, width=first_width, seed=seed, n_threads=threads)
    _report(network, X, y)
    if not picture:
        return
    from fastmem.plots import save_decision_regions

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
    from fastmem.progress import terminal_progress
    from fastmem.tables import check_output, load_table

    first_width, largest_bias = _width(width), _max_bias(max_bias)
    limit = check_memory_limit(_memory_limit(memory_limit))
    check_output(out, (".npz",))
    with terminal_progress() as show:
        table = load_table(data, label, labels_required=True, memory_limit=limit, progress=show)
    X, y = table.points, table.labels
    network = _memorise(
        X,
        y,
        width=first_width,
        selection=selection,
        activation=activation,
        margin=margin,
        compact=compact,
        projection=projection,
        max_bias=largest_bias,
        covered=_covered(covered, y),
        center=center,
        seed=seed,
        n_threads=threads,
        memory_limit=limit,
    )
    network.save(out)
    _report(network, X, y, {"model file": str(out)})


@app.command()
def predict(
    net: ModelFile,
    data: DataFile,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File for the labels, csv or npy.", show_default="standard output, one a line"
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="Label column of DATA: not a feature, but scored against."),
    ] = None,
) -> None:
    """Predict the label of every point of a file."""
    from fastmem.inputs import check_names
    from fastmem.progress import terminal_progress
    from fastmem.tables import LABEL_SUFFIXES, check_output, label_writer, stream_table

    if out is not None:
        check_output(out, LABEL_SUFFIXES)
    network = _load(net)
    rows = stream_table(data, label, network.feature_names)
    pairs: Counter[tuple[int, int]] = Counter()
    done = 0
    # a bar would stand between the labels on a terminal
    bar = nullcontext() if out is None and sys.stdout.isatty() else terminal_progress()
    with bar as show, label_writer(out, network.classes_) as write:
        for block, codes in rows.blocks:
            check_names(rows.feature_names(), network.feature_names, str(data), WRONG_NAMES)
            labels = network.predict(block)
            write(labels)
            if codes is not None:
                pairs.update(_counted(network, labels, codes))
            done += len(block)
            if show is not None:
                show("points", done, max(done, rows.n_rows), 0)
    if label is not None:
        right = sum(pairs[pair] for pair in _right_pairs(network, rows.classes()))
        typer.echo(f"Accuracy: {_share(right, done)}", err=True)


@app.command()
def export(
    net: ModelFile,
    out: Annotated[Path, typer.Option(help="File to write: .onnx, or .h for C.")],
    format: Annotated[
        str,
        typer.Option("--format", help="onnx, or c for one C99 header.", show_default="by --out"),
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Points to check the exported network on: csv, npy, npz or parquet.",
            show_default="none: nothing is checked",
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Label column of the points: checked against, no feature.")
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="Arithmetic of the first layer: auto, float32 or float64.")
    ] = "auto",
    threads: Threads = None,
) -> None:
    """Write a network for other programs, and check that it gives the same labels there."""
    from fastmem.export import ExportWarning, to_c, to_onnx
    from fastmem.tables import load_table

    kind = format or {".onnx": "onnx", ".h": "c"}.get(out.suffix.lower(), "")
    if kind not in ("onnx", "c"):
        _refuse(f"--format is {kind!r}: give onnx or c, or an --out that ends in .onnx or .h")
    network = _load(net)
    X = y = None
    if data is not None:
        table = load_table(data, label, labels_required=label is not None)
        X, y = table.points, table.labels
    elif label is not None:
        _refuse("--label is given without --data: give the points of these labels too")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExportWarning)
        if kind == "onnx":
            report = to_onnx(network, out, X, y, dtype=dtype, n_threads=threads)
        else:
            report = to_c(network, out, X, y, arithmetic=dtype, n_threads=threads)
    facts = {"file": str(out), "size": _bytes(out.stat().st_size)} | report.settings
    if report.n_checked:
        same = report.n_checked - len(report.rows)
        facts["same label as the network"] = _share(same, report.n_checked)
        facts["smallest distance"] = f"{report.smallest_distance:.3g}"
        if report.wrong is not None:
            facts["right"] = _share(report.n_checked - len(report.wrong), report.n_checked)
    else:
        facts["checked"] = f"no: {report.unchecked}"
    _print_table("fastmem", facts)
    if len(report.rows):
        shown = ", ".join(map(str, report.rows[:10])) + (", ..." if len(report.rows) > 10 else "")
        _complain(f"Rows {shown} get another label than from the network: {report.remedy}")
        raise typer.Exit(1)


@app.command()
def info(net: ModelFile) -> None:
    """Show what a saved network is: its widths, size, classes and how it was fitted."""
    network = _load(net)
    facts = _shape_facts(network)
    for name, value in (network.summary or {}).items():
        facts.setdefault(name.replace("_", " "), "none" if value is None else str(value))
    _print_table(str(net), facts)


@app.command()
def complexity(
    data: DataFile,
    label: Annotated[
        str | None,
        typer.Option(
            help="Label column: its name or 0-based index, -1 for the last.",
            show_default="the array y of an npz file",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Page to write: html.", show_default="none")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Report to write: json.", show_default="none")
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(help="Table of every point's hardness: csv.", show_default="none"),
    ] = None,
    width: Annotated[int, typer.Option(help="Hyperplanes at which neurons are compared.")] = 2048,
    trials: Annotated[int, typer.Option(help="Networks for each sample and class.")] = 3,
    hardest: Annotated[int, typer.Option(help="How many of the hardest points to list.")] = 100,
    projection: Annotated[
        str, typer.Option(help="First layer: gaussian, structured or auto, as for fit.")
    ] = "auto",
    max_bias: Annotated[
        str, typer.Option(help="Largest bias: a number, or auto for the largest norm.")
    ] = "auto",
    seed: Annotated[
        int | None, typer.Option(help="Seed.", show_default="a new one, reported")
    ] = None,
    threads: Threads = None,
) -> None:
    """Measure what memorising a data set takes, and find its hard and mislabelled points."""
    from fastmem.tables import check_output, read_table

    largest_bias = _max_bias(max_bias)
    for path, suffix in ((out, ".html"), (json, ".json"), (points, ".csv")):
        if path is not None:
            check_output(path, (suffix,))
    if out is not None:
        _require_matplotlib(out)
    X, y = read_table(data, label, labels_required=True)
    from fastmem.experiments import complexity as study
    from fastmem.experiments import complexity_page as page
    from fastmem.progress import terminal_progress

    with terminal_progress() as show:
        report = study.complexity(
            X, y, name=data.name, width=width, trials=trials, hard_points=hardest, seed=seed,
            max_bias=largest_bias, projection=projection, n_threads=threads, progress=show,
        )  # fmt: skip
    _print_table(data.name, page.facts(report) | {"seed": report.seed})
    _print_rows("Widths over N", *page.width_rows(report))
    _print_rows("Classes", *page.class_rows(report))
    _print_rows("Hardest points", *page.hard_rows(report, HARDEST_SHOWN))
    for what, why in report.skipped.items():
        typer.echo(f"Not measured: {what}, because {why}.")
    if json is not None:
        report.save_json(json)
        typer.echo(f"Report: {json}")
    if points is not None:
        assert report.points is not None, "a report that was just made has all points"
        report.points.save(points, y, [entry.label for entry in report.classes])
        typer.echo(f"Hardness of every point: {points}")
    if out is not None:
        page.save_page(report, out)
        typer.echo(f"Page: {out}")


def _require_matplotlib(out: Path) -> None:
    """Refuse a page before the work, rather than after it."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        _refuse(
            f"{out} needs matplotlib, which is not installed: "
            'pip install "fastmem[plot]", or leave out --out.'
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
        _print_table("Studies", {key: recipe.summary for key, recipe in STUDIES.items()})
        return
    if name is None or name not in STUDIES:
        _refuse(
            f"{'No study was named' if name is None else f'There is no study {name!r}'}: give one "
            f"of {', '.join(STUDIES)}."
        )
    if not redraw and (data is None) == (STUDIES[name].points is None):
        _refuse(
            f"{name} {'needs a data file: name it after the study' if data is None else ''}"
            f"{'' if data is None else 'brings its own points: take grid or samples for yours'}."
        )
    table = Path(f"{name}.csv") if out is None else out
    axes = read_axes(grid or [])
    from fastmem.tables import check_output, read_table

    check_output(table, (".csv",))
    from fastmem.experiments.results import read_results

    theirs = read_results(compare)[1] if compare is not None else []
    if redraw:
        results = read_results(table)[1]
    else:
        from fastmem.experiments.running import run
        from fastmem.experiments.studies import make_study
        from fastmem.progress import terminal_progress

        points: Any = None
        covers: Any = None
        if data is not None:
            points = read_table(data, label, labels_required=True)
            covers = None if not covered else _covered(covered, points[1])
        study = make_study(name, axes=axes, trials=trials, seed=seed, data=points, covered=covers)
        with terminal_progress() as show:
            results = run(study, table, workers=workers, progress=show)
    typer.echo(f"Table: {table} ({len(results):,} cells)")
    _draw_study(name, results, theirs, table)


def _draw_study(name: str, results: Any, theirs: Any, table: Path) -> None:
    """Draw a table, and set it against another one."""
    from fastmem.experiments import comparison, pictures
    from fastmem.experiments.studies import STUDIES

    recipe = STUDIES[name]
    pairs = comparison.matched(results, theirs) if theirs else []
    if pairs:
        typer.echo("\n" + comparison.report(pairs) + "\n")
    try:
        draw = pictures.samples_picture if recipe.over_samples else pictures.grid_picture
        drawn = {table.with_suffix(".png"): draw(results, pictures.title_of(name, results))}
        if pairs:
            title = f"{name}: ours against theirs, {len(pairs):,} cells"
            compared = table.with_name(f"{table.stem}-comparison.png")
            drawn[compared] = pictures.comparison_picture(pairs, title)
        for path, figure in drawn.items():
            pictures.save_picture(figure, path)
            typer.echo(f"Picture: {path}")
    except ModuleNotFoundError as missing:
        typer.echo(
            f"No picture was drawn, because {missing.name} is not installed: "
            'pip install "fastmem[plot]".',
            err=True,
        )


@app.command()
def warmup() -> None:
    """Compile all kernels now, so that no later process has to."""
    import time

    import fastmem
    from fastmem.progress import terminal_progress
    from fastmem.warming import cache_directory

    start = time.perf_counter()
    with terminal_progress() as show:
        n_compiled = fastmem.warmup(progress=show)
    directory = cache_directory()
    kept = f"kept in {directory}" if directory else "not kept, for want of a writable directory"
    if n_compiled:
        seconds = time.perf_counter() - start
        typer.echo(f"Compiled {n_compiled} kernels in {seconds:.1f} s, {kept}.")
    else:
        typer.echo("All kernels were compiled already.")


def _memorise(X: Any, y: Any, **settings: Any) -> Network:
    """Fit with progress bars; points that were not separated are reported by the caller."""
    import fastmem
    from fastmem.progress import terminal_progress

    with warnings.catch_warnings(), terminal_progress() as show:
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        return fastmem.interpolate(X, y, progress=show, **settings)


def _load(path: Path) -> Network:
    """Load a network, with a sentence about a name that is no file."""
    import fastmem

    if not path.is_file():
        raise fastmem.InvalidInputError(
            f"{path} {'is not a file' if path.exists() else 'does not exist'}: "
            "give a network that fastmem fit has saved."
        )
    return fastmem.load(path)


def _report(network: Network, X: Any, y: Any, more: dict[str, str] | None = None) -> None:
    """Print what a fit did, and check it: the training points are predicted and compared."""
    report = network.report
    assert report is not None, "a network that was just fitted has a report"
    right = _n_right(network, X, y)
    facts = {"samples": f"{report.n_samples:,}"} | _shape_facts(network)
    for stage, seconds in report.seconds.items():
        facts[f"seconds, {stage}"] = f"{seconds:.2f}"
    total = report.seconds["total"]
    facts["points per second"] = f"{report.n_samples / total:,.0f}" if total > 0 else "-"
    facts["peak memory"] = _bytes(report.peak_bytes)
    facts["memory estimated for the fit"] = _bytes(report.estimated_bytes)
    if report.file_bytes:
        facts["temporary file"] = _bytes(report.file_bytes)
    facts["seed"] = str(report.seed)
    facts["training accuracy"] = _share(right, report.n_samples)
    _print_table("fastmem", facts | (more or {}))
    n_unseparated = len(report.unseparated)
    if n_unseparated:
        typer.secho(
            f"Warning: {n_unseparated:,} of {report.n_samples:,} points were not separated from "
            "the other classes by so few hyperplanes and are predicted wrong: use --width auto "
            "or a larger number.",
            fg="yellow",
            err=True,
        )


def _shape_facts(network: Network) -> dict[str, str]:
    """Give the facts about a network that a fit and a model file share."""
    classes = network.classes_.tolist()
    shown = ", ".join(str(name) for name in classes[:10]) + (", ..." if len(classes) > 10 else "")
    return {
        "features": f"{network.n_features_in_:,}",
        "classes": f"{len(classes):,} ({shown})",
        "covered classes": ", ".join(str(classes[code]) for code in network.covered),
        "hyperplanes": f"{network.widths[0]:,}",
        "activation": network.second.activation,
        "neurons": f"{network.widths[1]:,}",
        "parameters": f"{network.n_parameters:,} ({network.n_nonzero:,} not zero)",
        "model size": _bytes(network.nbytes),
    }


def _print_table(title: str, facts: dict[str, str]) -> None:
    """Print names and values in two columns."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fastmem.inputs.refusals import printable

    table = Table(title=Text(title), box=box.SIMPLE, show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(Text(printable(name)), Text(printable(value, 10_000)))
    Console().print(table)


def _print_rows(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with a header."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fastmem.inputs.refusals import printable

    table = Table(title=Text(title), box=box.SIMPLE, title_justify="left")
    for i, name in enumerate(header):
        table.add_column(Text(name), justify="right" if i else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console()
    # piped output is not folded to a width that nobody asked for
    Console(width=None if console.is_terminal else 160).print(table)


def _n_right(network: Network, X: Any, y: Any) -> int:
    """Count the points that are predicted right, a few at a time."""
    import numpy as np

    from fastmem.inputs import check_points

    points = check_points(X)
    right = 0
    for start in range(0, points.n_samples, CHECKED_AT_ONCE):
        stop = min(start + CHECKED_AT_ONCE, points.n_samples)
        labels = network.predict(points.block(start, stop))
        right += int((labels == np.asarray(y[start:stop]).reshape(-1)).sum())
    return right


def _counted(network: Network, labels: Any, codes: Any) -> dict[tuple[int, int], int]:
    """Count the pairs of a true label's number and the predicted class."""
    import numpy as np

    predicted = np.searchsorted(network.classes_, labels)
    pairs, counts = np.unique(np.stack([codes, predicted]), axis=1, return_counts=True)
    return {(int(a), int(b)): int(n) for a, b, n in zip(*pairs, counts, strict=True)}


def _right_pairs(network: Network, truth: Any) -> list[tuple[int, int]]:
    """Give the pairs that agree; labels that the network does not know are simply wrong."""
    if network.classes_.dtype.kind in "UO" and truth.dtype.kind not in "UO":
        truth = truth.astype(str)
    known = {label: code for code, label in enumerate(network.classes_.tolist())}
    return [(i, known[label]) for i, label in enumerate(truth.tolist()) if label in known]


def _width(text: str) -> int | str:
    """Read --width: "auto", "smallest" or a whole number, whose range the library checks."""
    if text in ("auto", "smallest"):
        return text
    try:
        return int(text)
    except ValueError:
        _refuse(f"--width is {text!r}: give auto, smallest or a whole number.")


def _max_bias(text: str) -> float | str:
    """Read --max-bias: "auto" or a number, whose range the library checks."""
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        _refuse(f"--max-bias is {text!r}: give auto or a number.")


def _memory_limit(text: str | None) -> int | str | None:
    """Read --memory-limit: a number of bytes, or a text that the library reads."""
    return int(text) if text is not None and text.isdecimal() else text


def _covered(texts: Sequence[str] | None, y: Any) -> Any:
    """Read --covered: "auto", "all", or labels, which become those of y."""
    if not texts:
        return "auto"
    if len(texts) == 1 and texts[0] in ("auto", "all"):
        return texts[0]
    labels = y.classes if hasattr(y, "classes") else y.reshape(-1)
    known = {str(label): label for label in labels.tolist()}
    known |= {str(int(v)): v for v in known.values() if isinstance(v, float) and v == int(v)}
    # A label that is not there goes on as it came: the library's sentence names the known ones.
    return [known.get(text, text) for text in texts]


def _share(part: int, whole: int) -> str:
    """Give a percentage that says 100 only where nothing is missing."""
    if part == whole:
        return f"100 % ({part:,} of {whole:,})"
    return f"{min(100 * part / whole, 99.9999):.4f} % ({part:,} of {whole:,})"


def _bytes(count: int) -> str:
    """Give a size in the unit that leaves one to three digits before the point."""
    size = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"


def _sentence(error: BaseException) -> str | None:
    """Give the sentence for an error that is the input's fault, or None for one that is ours."""
    from fastmem import InvalidInputError, ModelFileError
    from fastmem.memory import NotEnoughMemoryError

    if isinstance(error, InvalidInputError | ModelFileError):
        return str(error)
    if isinstance(error, NotEnoughMemoryError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"There is not enough memory ({error}): take fewer points or a smaller width."
    if isinstance(error, UnicodeEncodeError):
        text = error.object[error.start : error.end]
        return f"The text {text!a} cannot be written in {error.encoding}: change that label."
    if isinstance(error, OSError):
        return f"{error.filename or 'A file'} cannot be read or written: {error.strerror or error}."
    return None


def _usage_sentence(error: Any) -> str:
    """Give click's message about a wrong option as one sentence with a way on."""
    message = " ".join(error.format_message().split()).rstrip(".?! ")
    command = error.ctx.command_path if getattr(error, "ctx", None) else "fastmem"
    return f"{message}; see {command} --help."


def _complain(sentence: str) -> None:
    """Write one line to standard error."""
    typer.secho(" ".join(sentence.split()).rstrip(".") + ".", fg="red", err=True)


def _refuse(sentence: str) -> NoReturn:
    from fastmem import InvalidInputError

    raise InvalidInputError(sentence)
