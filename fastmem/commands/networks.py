"""The commands that make, use and describe networks: demo, fit, predict, export, info, warmup."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmem.commands.application import DataFile, ModelFile, Threads, app, complain, refuse
from fastmem.commands.options import read_covered, read_max_bias, read_memory_limit, read_width
from fastmem.commands.printing import print_table, share_of, size_of

if TYPE_CHECKING:
    from fastmem import Network

CHECKED_AT_ONCE = 1 << 16
WRONG_NAMES = "give the columns of the fit in their order, and name labels with --label"


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
    network = _memorise(X, y, width=first_width, seed=seed, n_threads=threads)
    _report(network, X, y)
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
        covered=read_covered(covered, y),
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
    from fastmem.machine.files import check_output
    from fastmem.machine.progress import terminal_progress
    from fastmem.tables import LABEL_SUFFIXES, label_writer, stream_table

    if out is not None:
        check_output(out, LABEL_SUFFIXES, inputs=[net, data])
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
        typer.echo(f"Accuracy: {share_of(right, done)}", err=True)


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
        refuse(f"--format is {kind!r}: give onnx or c, or an --out that ends in .onnx or .h")
    network = _load(net)
    X = y = None
    if data is not None:
        table = load_table(data, label, labels_required=label is not None)
        X, y = table.points, table.labels
    elif label is not None:
        refuse("--label is given without --data: give the points of these labels too")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExportWarning)
        if kind == "onnx":
            report = to_onnx(network, out, X, y, dtype=dtype, n_threads=threads)
        else:
            report = to_c(network, out, X, y, arithmetic=dtype, n_threads=threads)
    facts = {"file": str(out), "size": size_of(out.stat().st_size)} | report.settings
    if report.n_checked:
        same = report.n_checked - len(report.rows)
        facts["same label as the network"] = share_of(same, report.n_checked)
        facts["smallest distance"] = f"{report.smallest_distance:.3g}"
        if report.wrong is not None:
            facts["right"] = share_of(report.n_checked - len(report.wrong), report.n_checked)
    else:
        facts["checked"] = f"no: {report.unchecked}"
    print_table("fastmem", facts)
    if len(report.rows):
        shown = ", ".join(map(str, report.rows[:10])) + (", ..." if len(report.rows) > 10 else "")
        complain(f"Rows {shown} get another label than from the network: {report.remedy}")
        raise typer.Exit(1)


@app.command()
def info(net: ModelFile) -> None:
    """Show what a saved network is: its widths, size, classes and how it was fitted."""
    network = _load(net)
    facts = _shape_facts(network)
    for name, value in (network.summary or {}).items():
        facts.setdefault(name.replace("_", " "), "none" if value is None else str(value))
    print_table(str(net), facts)


@app.command()
def warmup() -> None:
    """Compile all kernels now, so that no later process has to."""
    import time

    import fastmem
    from fastmem.machine.progress import terminal_progress
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
    from fastmem.machine.progress import terminal_progress

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
    facts["peak memory"] = size_of(report.peak_bytes)
    facts["memory estimated for the fit"] = size_of(report.estimated_bytes)
    if report.file_bytes:
        facts["temporary file"] = size_of(report.file_bytes)
    facts["seed"] = str(report.seed)
    facts["training accuracy"] = share_of(right, report.n_samples)
    print_table("fastmem", facts | (more or {}))
    n_contrary = len(report.contradictory)
    n_unseparated = len(report.unseparated) - n_contrary
    if n_contrary:
        typer.secho(
            f"Warning: {n_contrary:,} of {report.n_samples:,} points equal a point of another "
            "label and are predicted wrong: remove or relabel them, or use --contradictions "
            "majority.",
            fg="yellow",
            err=True,
        )
    if n_unseparated:
        typer.secho(
            f"Warning: {n_unseparated:,} of {report.n_samples:,} points were not separated from "
            "the other classes by so few hyperplanes and are predicted wrong: use a larger "
            "--width, or auto.",
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
        "model size": size_of(network.nbytes),
    }


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
    """Give the pairs that agree; labels that the network does not know are simply wrong.

    Numbers and truth values agree with their texts: one word among the labels of a csv file makes
    texts of all of them.
    """
    known: dict[Any, int] = {label: code for code, label in enumerate(network.classes_.tolist())}
    if (network.classes_.dtype.kind in "UO") == (truth.dtype.kind in "UO"):
        return [(i, known[label]) for i, label in enumerate(truth.tolist()) if label in known]
    texts = {text: code for label, code in known.items() for text in _texts(label)}
    found = (next(filter(texts.__contains__, _texts(label)), None) for label in truth.tolist())
    return [(i, texts[text]) for i, text in enumerate(found) if text is not None]


def _texts(label: Any) -> list[str]:
    """Give what a file may hold for a label."""
    whole = isinstance(label, float) and label.is_integer()
    return [str(int(label)), str(label)] if whole else [str(label)]
