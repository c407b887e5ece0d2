"""Times of explanations beside predictions: ``python -m bench.explanations [--smoke]``.

One point is explained by the rows that a network was fitted to, beside one prediction of the same
rows, in turns in one process. Two moons and Gaussian clusters of 16 features are fitted with the
defaults, whatever the number of rows; images of digits784 have 784 features, each of which is gone
along in both directions. ``rows alone`` is an explanation without changes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastmem
import fastmem.datasets
from bench.markdown import figure, table
from bench.measuring import PeakWatch, all_threads, in_turns, machine

SIZES = (1_000, 10_000, 100_000)
SETTINGS = {
    "cells": {"width": 512},
    "compact": {"compact": True},
    "vote": {"decision": "vote"},
    "list": {"objective": "bytes", "effort": 5.0},
}


def moons(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two moons, divided by the largest norm."""
    X, y = fastmem.datasets.two_moons(n, 0.05, seed=0)
    return (X / np.linalg.norm(X, axis=1).max()).astype(np.float32), y


def clusters(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian clusters of 16 features in ten classes."""
    rng = np.random.default_rng(0)
    centres = 3 * rng.standard_normal((40, 16))
    which = rng.integers(0, 40, n)
    return (centres[which] + rng.standard_normal((n, 16))).astype(np.float32), which % 10


def images(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of digits784."""
    return fastmem.datasets.digits784(n, seed=0)


SETS: dict[str, tuple[Callable[[int], tuple[np.ndarray, np.ndarray]], int]] = {
    "moons": (moons, 1_000_000),
    "clusters": (clusters, 1_000_000),
    "digits784": (images, 20_000),
}
"""What makes points, and how many at most."""


def resident() -> int:
    """Anonymous memory of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("RssAnon"))


def row(name: str, kind: str, n: int, threads: int) -> list[str]:
    """One network of one data set."""
    X, y = SETS[name][0](n)
    settings: dict = dict(SETTINGS[kind])
    network = fastmem.interpolate(
        X, y, seed=0, n_threads=threads, contradictions="majority",
        **(settings | ({"complete": True} if "width" in settings else {})),
    )  # fmt: skip
    x = X[n // 2]
    calls: list[Callable[[], object]] = [
        lambda: network.predict(X, n_threads=threads),
        lambda: network.explain(x, X, y, n_changes=0, n_threads=threads),
        lambda: network.explain(x, X, y, n_threads=threads),
    ]
    predict, rows, whole = in_turns(calls, 5, slow=5.0)
    held = resident()
    watch = PeakWatch()
    calls[2]()
    peak = watch.stop()["anonymous MB"] - held
    return [
        name, kind, f"{n:,}", str(network.widths), figure(1e3 * predict.median),
        figure(1e3 * rows.median), figure(1e3 * whole.median),
        f"{rows.median / predict.median:.2f}", f"{max(0, peak):,}",
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of rows")
    parser.add_argument("--only", choices=SETS, help="one data set")
    parser.add_argument("--kinds", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--threads", type=int, default=all_threads())
    parser.add_argument("--smoke", action="store_true", help="200 points of each")
    chosen = parser.parse_args()
    sizes = (200,) if chosen.smoke else chosen.sizes
    columns = [
        "data", "network", "rows", "widths", "predict, ms", "rows alone, ms", "explain, ms",
        "rows alone / predict", "peak, MB",
    ]  # fmt: skip
    rows = [
        row(name, kind, n, chosen.threads)
        for name, (_, most) in SETS.items()
        for kind in chosen.kinds
        for n in sizes
        if n <= most and chosen.only in (None, name)
    ]
    print(table(columns, rows))
    print("\n" + ", ".join(f"{key}: {value}" for key, value in machine().items()))


if __name__ == "__main__":
    main()
