"""Coincidence against margins on unseen points: ``python -m bench.coincidence [--smoke]``.

``Network.predict(X, rule="coincidence")`` beside the default rule, on scikit-learn's digits (70 %
to fit, 30 % unseen) and on digits784 (4,000 and 4,000), by networks of 2,048 hyperplanes that cover
all classes. Means of the seeds and their range; the data are split by the seed too. Seconds are
those of one prediction of the unseen points, medians of turns in one process.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

import fastmem
import fastmem.datasets
from bench.markdown import table
from bench.measuring import in_turns, machine

RULES = ("margin", "coincidence")
MARGINS = (0.5, 0.75, 1.0)


def digits(seed: int) -> tuple[np.ndarray, ...]:
    """scikit-learn's digits: points and labels to fit, and unseen ones."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    rows = np.random.default_rng(seed).permutation(len(X))
    fit, unseen = rows[: int(0.7 * len(X))], rows[int(0.7 * len(X)) :]
    return X[fit], y[fit], X[unseen], y[unseen]


def digits784(seed: int, n: int = 4000) -> tuple[np.ndarray, ...]:
    """4,000 images of 784 pixels and as many unseen ones."""
    X, y = fastmem.datasets.digits784(2 * n, seed=seed)
    return X[:n], y[:n], X[n:], y[n:]


SETS: dict[str, Callable[[int], tuple[np.ndarray, ...]]] = {
    "digits": digits,
    "digits784": digits784,
}


def spread(values: list[float]) -> str:
    """Mean and range."""
    return f"{np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def row(name: str, margin: float, seeds: int, width: int) -> list[str]:
    """Both rules on one data set at one margin."""
    right: dict[str, list[float]] = {rule: [] for rule in RULES}
    seconds: list[float] = []
    for seed in range(seeds):
        X, y, unseen, labels = SETS[name](seed)
        network = fastmem.interpolate(
            X, y, width=width, margin=margin, covered="all", seed=seed, complete=True
        )
        assert (network.predict(X, rule="coincidence") == y).all()

        def predict(rule: str, network=network, unseen=unseen) -> Callable[[], np.ndarray]:
            return lambda: network.predict(unseen, rule=rule)

        timings = in_turns([predict(rule) for rule in RULES], 5)
        for rule, timing in zip(RULES, timings, strict=True):
            right[rule].append(float(np.mean(timing.result == labels)))
        seconds.append(timings[1].median / timings[0].median)
    gains = [b - a for a, b in zip(*right.values(), strict=True)]
    return [
        name, f"{margin:g}", *map(spread, right.values()), f"{100 * np.mean(gains):+.2f}",
        f"{np.median(seconds):.2f}",
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each row")
    parser.add_argument("--smoke", action="store_true", help="one small row")
    chosen = parser.parse_args()
    names, margins, seeds, width = tuple(SETS), MARGINS, chosen.seeds, 2048
    if chosen.smoke:
        names, margins, seeds, width = ("digits",), (0.5,), 1, 256
    columns = ["data", "margin", *RULES, "points gained", "time to margins'"]
    print(table(columns, [row(name, margin, seeds, width) for name in names for margin in margins]))
    print("\n" + ", ".join(f"{key}: {value}" for key, value in machine().items()))


if __name__ == "__main__":
    main()
