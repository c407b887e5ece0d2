"""What the representation does to widths: ``python -m bench.representation [--seeds 3] [--smoke]``.

Scikit-learn's digits, 1,797 points of 64 pixels, of which a fifth is held out: as given, moved and
scaled, and in the representations of ``fastmem complexity``. Columns: hyperplanes of
``width="auto"`` and neurons there, merged; neurons and accuracy on the unseen at n = 2,048; medians
of the seeds. With ``--scattered`` also the ranges.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from bench.markdown import table
from bench.measuring import machine
from fastmem.experiments.complexity_tables import spread
from fastmem.experiments.sections import representations


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return X, y


def rows(seeds: int, width: int, n: int | None, scattered: bool) -> list[list[str]]:
    """The table: a row a representation, the moved points before the others."""
    X, y = digits()
    X, y = X[:n], y[:n]
    options = {"width": width, "trials": seeds, "seed": 0}
    found = representations(X, y, **options).rows
    moved_rows = []
    for name, points in (
        ("shifted by 1,000", X + 1000),
        ("times 1/1024", X / 1024),
        ("times 1/1000", X / 1000),
    ):
        moved = representations(points, y, **options).rows[0]
        same = (moved.least, moved.merged) == (found[0].least, found[0].merged)
        assert same or name == "times 1/1000", f"{name} changed the widths"
        moved_rows.append(replace(moved, name=name))
    found[1:1] = moved_rows
    said = spread if scattered else lambda values: f"{np.median(values):,.0f}"
    return [
        [
            row.name, f"{row.n_features}", said(row.least), said(row.merged_at_least),
            said(row.merged), f"{np.median(row.unseen):.3f}",
        ]
        for row in found
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="splits and first layers")
    parser.add_argument("--scattered", action="store_true", help="ranges beside medians")
    parser.add_argument("--smoke", action="store_true", help="a small run")
    chosen = parser.parse_args()
    seeds, width, n = (1, 128, 200) if chosen.smoke else (chosen.seeds, 2048, None)
    columns = [
        "the points", "features", "least first width", "neurons there",
        f"neurons, n = {width:,}", "unseen",
    ]  # fmt: skip
    print(table(columns, rows(seeds, width, n, chosen.scattered)))
    print("\n" + ", ".join(f"{key}: {value}" for key, value in machine().items()))


if __name__ == "__main__":
    main()
