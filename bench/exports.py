"""Exported networks beside fastmem's own prediction: ``python -m bench.exports [--smoke]``.

Each network is exported in every form, run on all of its training points and on unseen ones, and
compared label by label. Sizes are those of the file (of the constant arrays for C), times a point
medians of five runs of some thousand points: fastmem, onnxruntime and PyTorch on one thread, C as
``cc -O2`` makes it, one point after another. PyTorch is measured where it is installed.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import fastmem
import fastmem.export
from bench.markdown import figure, table
from bench.measuring import machine, time_alone
from fastmem.datasets import digits784, unit_moons
from fastmem.export import to_c, to_onnx, to_torch
from fastmem.export.c_compiler import compiled, find_compiler

Data = tuple[np.ndarray, np.ndarray]
Labels = Callable[[np.ndarray], np.ndarray]
TIMED = 4_096
RUNS = 5


def networks(smoke: bool) -> Iterator[tuple[str, fastmem.Network, Data, np.ndarray]]:
    """Title, network, training set and unseen points."""
    n_moons, n_digits, n_new, width = (2_000, 400, 500, 512) if smoke else (
        1_000_000, 20_000, 10_000, 2_048
    )  # fmt: skip
    moons = unit_moons(n_moons)
    new_moons = unit_moons(n_new, seed=1)[0]
    fits: list[tuple[str, dict[str, Any]]] = [
        ("Gaussian", {"projection": "gaussian"}),
        ("Gaussian, compact", {"projection": "gaussian", "compact": True}),
        ("structured", {"projection": "structured"}),
        ("structured, compact", {"projection": "structured", "compact": True}),
        ("vote", {"decision": "vote"}),
    ]
    for title, settings in fits[:2]:
        network = fastmem.interpolate(*moons, width=width, max_bias=1.0, seed=0, **settings)
        yield f"moons-{n_moons:,}, {title}", network, moons, new_moons
    digits, new_digits = digits784(n_digits), digits784(n_new, seed=1)[0]
    for title, settings in fits:
        network = fastmem.interpolate(*digits, width=width, max_bias=1.0, seed=0, **settings)
        yield f"digits784-{n_digits:,}, {title}", network, digits, new_digits


def exports(network: fastmem.Network, X: Any, y: Any, folder: Path) -> Iterator[tuple]:
    """Name, bytes, report and labels(block) of each form."""
    import onnxruntime

    yield "fastmem", network.nbytes, None, lambda rows: network.predict(rows, n_threads=1)
    structured = isinstance(network.first, fastmem.StructuredHyperplanes)
    forms: list[tuple[str, dict[str, Any]]] = [
        ("ONNX", {}),
        ("ONNX, int8 masks", {"masks": "int8"}),
        ("ONNX, float masks", {"masks": "float32"}),
        ("ONNX, float64", {"dtype": "float64"}),
    ]
    if structured:
        forms.insert(1, ("ONNX, explicit rows", {"first": "explicit"}))
    for name, settings in forms:
        path = folder / "net.onnx"
        report = to_onnx(network, path, X, y, **settings)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path.read_bytes(), options)
        run = lambda rows, session=session: session.run(["label"], {"points": rows})[0]  # noqa: E731
        yield f"{name} ({arithmetic(report)})", report.n_bytes, report, run
    compiler = find_compiler()
    if compiler is not None:
        for name, settings in [("C", {}), ("C, not exact", {"exact": False})]:
            path = folder / "net.h"
            report = to_c(network, path, X, y, **settings)
            text = path.read_text(encoding="ascii")
            options_c = ("-O2",)
            codes = compiled(text, "net", str(X.dtype), folder, compiler, options_c)
            labels = lambda rows, codes=codes: network.classes_[codes(rows)]  # noqa: E731
            masks = report.settings.get("masks", "no masks")
            yield f"{name} ({masks})", report.n_bytes, report, labels
    if find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)
        for dtype in ("float32", "float64"):
            module = to_torch(network, X, y, dtype=dtype)
            labels = lambda rows, module=module: module.predict(torch.from_numpy(rows))  # noqa: E731
            report = module.report
            yield f"PyTorch ({arithmetic(report)})", report.n_bytes, report, labels


def arithmetic(report: fastmem.export.ExportReport) -> str:
    """How the first layer is computed; a vote without exceptions has none."""
    return report.settings.get("arithmetic", "no first layer")


def in_blocks(labels: Labels, X: np.ndarray) -> np.ndarray:
    """Labels of many points, a block after another."""
    return np.concatenate([labels(X[i : i + TIMED]) for i in range(0, len(X), TIMED)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for each network."""
    parser = argparse.ArgumentParser(prog="python -m bench.exports", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="tiny data sets")
    smoke = parser.parse_args(arguments).smoke
    warnings.simplefilter("ignore", fastmem.export.ExportWarning)
    head = ["export", "bytes", "µs a point", "training points other", "unseen other"]
    for title, network, (X, y), new in networks(smoke):
        rows = []
        seen, unseen = network.predict(X), network.predict(new)
        assert (seen == y).all()
        with tempfile.TemporaryDirectory() as folder:
            for name, n_bytes, _, labels in exports(network, X, y, Path(folder)):
                took = time_alone(partial(labels, X[:TIMED]), RUNS, budget=20).median
                other = np.count_nonzero(in_blocks(labels, X) != y)
                other_new = np.count_nonzero(in_blocks(labels, new) != unseen)
                time = figure(1e6 * took / min(TIMED, len(X)))
                of = f"{other:,} of {len(X):,}", f"{other_new:,} of {len(new):,}"
                rows.append([name, f"{n_bytes:,}", time, *of])
        first, second = network.widths
        print(f"**{title}**: {first:,} hyperplanes, {second:,} neurons\n", flush=True)
        print(table(head, rows) + "\n", flush=True)
    print("; ".join(f"{name}: {value}" for name, value in machine().items()))


if __name__ == "__main__":
    main()
