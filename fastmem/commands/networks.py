"""The commands that use and describe networks: export, info, warmup."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from fastmem.commands.application import Json, ModelFile, Threads, app, complain, refuse
from fastmem.commands.describing import (
    load_network,
    network_facts,
    points_for,
    print_columns,
    shape_facts,
)
from fastmem.commands.printing import print_json, print_table, share_of, size_of
from fastmem.commands.raw_options import (
    Decimal,
    Delimiter,
    Header,
    Missing,
    TextEncoding,
    read_options,
)


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
    missing: Missing = None,
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    encoding: TextEncoding = None,
    header: Header = None,
    threads: Threads = None,
) -> None:
    """Write a network for other programs, and check that it gives the same labels there."""
    from fastmem.export import ExportWarning, to_c, to_onnx

    kind = format or {".onnx": "onnx", ".h": "c"}.get(out.suffix.lower(), "")
    if kind not in ("onnx", "c"):
        what = f"--format is {format!r}" if format else f"--out {out} ends in {out.suffix!r}"
        refuse(
            f"{what}: give an --out that ends in .onnx or, for C, in .h; a PyTorch module is made "
            f"in Python, by fastmem.export.to_torch"
        )
    network = load_network(net)
    X = y = None
    if data is not None:
        options = read_options(missing, delimiter, decimal, encoding, header)
        X, y = points_for(network, data, label, options)
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
        if report.smallest_distance is not None:
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
def info(
    net: ModelFile,
    rules: Annotated[
        bool, typer.Option(help="Print the rules of a decision list (--objective bytes) instead.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what a saved network is: its widths, size, classes, columns and how it was fitted."""
    network = load_network(net)
    summary = network.summary or {}
    found = network.rules() if rules else []
    if json:
        facts = network_facts(network) | {"fit": summary}
        print_json(facts | {"rules": [list(rule) for rule in found]} if rules else facts)
        return
    if rules:
        for text, answer in found:
            typer.echo(f"{answer}: {text}")
        return
    shown = shape_facts(network)
    if network.feature_names is not None and network.encoding is None:
        shown["feature names"] = ", ".join(network.feature_names)
    for name, value in summary.items():
        shown.setdefault(name.replace("_", " "), "none" if value is None else str(value))
    print_table(str(net), shown)
    if network.encoding is not None:
        print_columns("Columns", network.encoding.rows())


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
