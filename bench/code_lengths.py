"""Is code length a measure of structure? ``python -m bench.code_lengths [--keys 5] [--smoke]``.

Of five data sets some labels are made wrong on purpose, or all are put in a random order. A row
holds, for each share of wrong labels, the bits of all conjunctions as a share of the labels'
entropy, mean and range over keys; and behind it the average precision with which the bits of single
points, and `fastmem.experiments.hardness`, find the wrong ones.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator

import numpy as np

import fastmem.datasets
from bench.markdown import table
from bench.measuring import machine
from bench.smallest import CASES
from fastmem.experiments.code_length import code_length
from fastmem.experiments.hardness import hardness

SHARES = 0.0, 0.05, 0.1, 0.2
POINTS = 5_000


def sets(names: list[str] | None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Names, points and codes; large sets are cut to some points drawn at random."""
    cases = {
        "scikit-learn digits": CASES["scikit-learn digits"],
        "breast cancer, standardised": CASES["breast cancer, standardised"],
        "digits784": CASES["digits784-20k"],
        "two moons": lambda: fastmem.datasets.unit_moons(POINTS),
        "letter": CASES["letter"],
    }
    for name, made in cases.items():
        if names and name not in names:
            continue
        X, y = made()
        if len(X) > POINTS:
            kept = np.random.default_rng(0).permutation(len(X))[:POINTS]
            X, y = X[kept], y[kept]
        yield name, X, np.unique(y, return_inverse=True)[1]


def made_wrong(y: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels, some of them another one, and which."""
    generator = np.random.default_rng(1)
    wrong = generator.random(len(y)) < share
    n_classes = int(y.max()) + 1
    changed = y.copy()
    changed[wrong] += generator.integers(1, n_classes, int(wrong.sum()))
    return changed % n_classes, wrong


def row(name: str, X: np.ndarray, y: np.ndarray, n_keys: int) -> list[str]:
    """One data set."""
    from sklearn.metrics import average_precision_score

    cells = [name]
    permuted = ""
    for share in SHARES:
        labels, wrong = made_wrong(y, share)
        of_labels = n_keys if share == 0 else 1
        found = code_length(X, labels, keys=n_keys, permuted=of_labels, seed=0)
        ratios = np.array(found.bits) / found.label_entropy
        cell = f"{ratios.mean():.2f}, {ratios.min():.2f} to {ratios.max():.2f}"
        if share == 0:
            permuted = f"{np.mean(found.permuted) / found.label_entropy:.2f}"
        else:
            by_bits = average_precision_score(wrong, found.points)
            by_hardness = average_precision_score(wrong, hardness(X, labels, seed=0).score)
            cell += f"; {by_bits:.2f}, {by_hardness:.2f}"
        cells.append(cell)
    return [*cells, permuted]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=5, help="keys that are tried")
    parser.add_argument("--smoke", action="store_true", help="the smallest set, one key")
    arguments = parser.parse_args()
    names = ["breast cancer, standardised"] if arguments.smoke else None
    n_keys = 1 if arguments.smoke else arguments.keys
    columns = ("data", *(f"{share:.0%} wrong" for share in SHARES), "random order")
    print(table(columns, []), flush=True)
    warnings.simplefilter("ignore")
    for name, X, y in sets(names):
        print("| " + " | ".join(row(name, X, y, n_keys)) + " |", flush=True)
    print("\n" + ", ".join(f"{key}: {value}" for key, value in machine().items()))


if __name__ == "__main__":
    main()
