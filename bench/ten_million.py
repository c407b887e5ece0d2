"""Ten million points through three workers, from parquet, beside one process that reads the files.

``python -m bench.distributed --ten-million --engine dask``: moons, merged cells and the paper's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import fastmem
from bench.markdown import figure, table
from bench.measuring import peak_of_this_process, timed
from bench.transports import fit_files, forget_peak, opened
from fastmem.datasets import unit_moons

N_FILES, N_WORKERS, WIDTH = 24, 3, 256


def write(folder: Path, n_samples: int) -> None:
    """Write points, float32, and their labels to the files of a folder."""
    import pandas as pd

    folder.mkdir()
    X, y = unit_moons(n_samples)
    frame = pd.DataFrame(X.astype(np.float32), columns=["x0", "x1"]).assign(y=y.astype(np.int8))
    for i in range(N_FILES):
        start, stop = n_samples * i // N_FILES, n_samples * (i + 1) // N_FILES
        frame[start:stop].to_parquet(folder / f"{i:02}.parquet", index=False)


def one_process(folder: Path, settings: dict[str, Any]) -> dict[str, float]:
    """A fit on one thread in this process, which reads the files; saves it beside them."""
    import pandas as pd

    small, labels = unit_moons(500)
    fastmem.interpolate(small, labels, **{**settings, "width": 64})  # kernels from their cache
    forget_peak()
    reading, frame = timed(lambda: pd.read_parquet(folder))
    X, y = frame.drop(columns="y"), frame["y"]
    start = time.process_time()
    network = fastmem.interpolate(X, y, **settings)
    spent = time.process_time() - start
    network.save(folder.parent / "one.npz")
    return {"reading": reading, "fit": spent, "peak": peak_of_this_process()}


def _child(step: str, folder: Path, what: Any) -> str:
    command = [sys.executable, "-m", "bench.ten_million", step, str(folder), json.dumps(what)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def run(engine_name: str, n_samples: int) -> str:
    """A line of the table for each selection.

    Raises
    ------
    AssertionError
        If a network is not that of one process.
    """
    rows = []
    with tempfile.TemporaryDirectory() as place, opened(engine_name, N_WORKERS) as engine:
        folder = Path(place)
        points, few = folder / "points", folder / "few"
        _child("write", points, n_samples)  # so that this process has never held all of them
        _child("write", few, 100 * N_FILES)
        for selection in ("random", "merge"):
            settings = dict(width=WIDTH, selection=selection, seed=0, n_threads=1)
            one = json.loads(_child("fit", points, settings))
            fit_files(engine, few, N_WORKERS, **settings)  # compiles
            spent, (network, watch, fit) = timed(
                lambda settings=settings: fit_files(engine, points, N_WORKERS, **settings)
            )
            network.save(folder / "found.npz")
            files = [(folder / f"{name}.npz").read_bytes() for name in ("found", "one")]
            if files[0] != files[1]:
                raise AssertionError(f"{selection} on {engine_name} is another network")
            peaks = ", ".join(f"{peak / 1e6:,.0f}" for peak in watch.peaks)
            rows.append([
                f"{n_samples:,} moons, n = {WIDTH}, {selection}, {engine_name}",
                f"{len(network.second):,}", f"{watch.n_rounds:,}", figure(watch.sent / 1e6),
                figure(watch.received / 1e6), figure(spent), figure(fit), figure(watch.driver),
                peaks, figure(one["reading"]), figure(one["fit"]), f"{one['peak'] / 1e6:,.0f}",
            ])  # fmt: skip
    return table(
        ["fit", "neurons", "rounds", "MB sent", "MB received", "with reading, s", "fit, s",
         "driver, CPU s", "peak of each worker, MB", "one process: reading, s", "fit, CPU s",
         "peak, MB"],
        rows,
    )  # fmt: skip


def main() -> None:
    """Do in a process of its own what `run` asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=["write", "fit"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", type=json.loads)
    options = parser.parse_args()
    warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
    if options.step == "write":
        write(options.folder, options.what)
    else:
        print(json.dumps(one_process(options.folder, options.what)))


if __name__ == "__main__":
    main()
