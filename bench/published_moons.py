"""Compare with the moons that the paper's authors published: ``python -m bench.published_moons``.

Both sides memorise ``sklearn.datasets.make_moons(1000, noise=0.05, random_state=0)``, cast to
float32 and divided by its largest norm, with the paper's Algorithm 2: label 1 covered, the cell's
width n and largest bias lambda, no centring, random selection. Two figures of each cell are
compared, in units of the standard error of their difference: the share of trials that memorise
every point (two proportions, pooled), and the mean number of neurons (two means). A trial without
a neuron counts as width 1, as theirs does.

``published_moons.csv`` holds the cells compared by default, taken from the results in the authors'
repository, https://github.com/patrickfinke/memo (MIT licence, copyright 2023 Patrick Finke), of
arXiv 2310.00327; ``--csv`` reads a file of the same columns with more of them.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastmem

EXCERPT = Path(__file__).with_name("published_moons.csv")
MOST_ERRORS = 4.0
"""Largest difference that counts as agreement, in standard errors."""


@dataclass(frozen=True)
class Cell:
    """The results of some trials with one width and one largest bias.

    Attributes
    ----------
    width : int
        Hyperplanes, n.
    max_bias : float
        Lambda.
    trials : int
    probability : float
        Share of trials that memorised every point.
    second_width, deviation : float
        Mean and standard deviation of the number of neurons.
    """

    width: int
    max_bias: float
    trials: int
    probability: float
    second_width: float
    deviation: float


def read(path: Path) -> list[Cell]:
    """Read published cells from a csv file with their column names."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Cell(
                int(row["first_width"]),
                float(row["max_bias"]),
                int(row["trials"]),
                float(row["interpolation_probability"]),
                float(row["mean_second_width"]),
                float(row["sd_second_width"]),
            )
            for row in csv.DictReader(file)
        ]


def spread(cells: Sequence[Cell], count: int) -> list[Cell]:
    """Choose cells evenly over the grid, half of them, if there are so many, with 0 < p < 1.

    The targets are the plane's golden-ratio sequence, and each takes the nearest cell left.
    """
    if count >= len(cells):
        return list(cells)
    widths, biases = [c.width for c in cells], [c.max_bias for c in cells]

    def share(value: float, values: Sequence[float]) -> float:
        return (value - min(values)) / ((max(values) - min(values)) or 1.0)

    place = {c: (share(c.width, widths), share(c.max_bias, biases)) for c in cells}
    uncertain = {c for c in cells if 0 < c.probability < 1}
    plastic = 1.3247179572447460  # the real root of x**3 = x + 1
    chosen: list[Cell] = []
    for i in range(count):
        target = ((0.5 + (i + 1) / plastic) % 1, (0.5 + (i + 1) / plastic**2) % 1)
        wanted = uncertain if i % 2 == 0 else set(cells) - uncertain
        left = (wanted - set(chosen)) or (set(cells) - set(chosen))
        chosen.append(min(left, key=lambda c: (math.dist(place[c], target), c.width, c.max_bias)))
    return sorted(chosen, key=lambda c: (c.width, c.max_bias))


def moons() -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Make the authors' points, (1000, 2) float32, and labels 0 and 1."""
    from sklearn.datasets import make_moons

    X, y = make_moons(1000, noise=0.05, random_state=0)
    X = X.astype(np.float32)
    X /= np.linalg.norm(X, axis=1).max()
    return X, y


def measure(published: Cell, trials: int, seed: np.random.SeedSequence) -> Cell:
    """Repeat a published cell with fastmem."""
    X, y = moons()
    right: list[bool] = []
    widths: list[int] = []
    for trial_seed in seed.spawn(trials):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
            network = fastmem.interpolate(
                X,
                y,
                width=published.width,
                max_bias=published.max_bias,
                selection="random",
                covered=[1],
                center=False,
                seed=trial_seed,
            )
        right.append(bool(np.array_equal(network.predict(X), y)))
        widths.append(max(1, network.widths[1]))
    deviation = stdev(widths) if trials > 1 else 0.0
    return Cell(published.width, published.max_bias, trials, fmean(right), fmean(widths), deviation)


def errors_of_probability(one: Cell, two: Cell) -> float:
    """Difference of two shares in standard errors of it, pooled; 0 where both are 0 or both 1."""
    pooled = (one.probability * one.trials + two.probability * two.trials) / (
        one.trials + two.trials
    )
    variance = pooled * (1 - pooled) * (1 / one.trials + 1 / two.trials)
    return _in_errors(one.probability - two.probability, variance)


def errors_of_width(one: Cell, two: Cell) -> float:
    """Difference of two mean widths in standard errors of it."""
    variance = one.deviation**2 / one.trials + two.deviation**2 / two.trials
    return _in_errors(one.second_width - two.second_width, variance)


def _in_errors(difference: float, variance: float) -> float:
    if variance > 0:
        return difference / math.sqrt(variance)
    return 0.0 if abs(difference) < 1e-12 else math.copysign(math.inf, difference)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit code is 0 iff every cell agrees."""
    parser = argparse.ArgumentParser(prog="python -m bench.published_moons", description=__doc__)
    parser.add_argument("--csv", type=Path, default=EXCERPT, help="published cells")
    parser.add_argument("--cells", type=int, default=24, help="cells to compare, spread evenly")
    parser.add_argument("--trials", type=int, default=50, help="trials of each cell")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    cells = spread(read(options.csv), options.cells)
    seeds = np.random.SeedSequence(options.seed).spawn(len(cells))
    print(f"{options.trials} trials a cell, seed {options.seed}; differences in standard errors")
    print()
    print("| n | λ | p, published | p, ours | difference | width, published | width, ours "
          "| difference | agree |")  # fmt: skip
    print("| --- " * 9 + "|")
    n_agree = 0
    for cell, seed in zip(cells, seeds, strict=True):
        ours = measure(cell, options.trials, seed)
        differences = errors_of_probability(ours, cell), errors_of_width(ours, cell)
        agree = max(map(abs, differences)) <= MOST_ERRORS
        n_agree += agree
        print(
            f"| {cell.width} | {cell.max_bias:g} "
            f"| {cell.probability:.2f} | {ours.probability:.2f} | {differences[0]:+.1f} "
            f"| {cell.second_width:.2f} | {ours.second_width:.2f} | {differences[1]:+.1f} "
            f"| {'yes' if agree else 'NO'} |",
            flush=True,
        )
    uncertain = sum(0 < cell.probability < 1 for cell in cells)
    print()
    print(
        f"{n_agree} of {len(cells)} cells agree within {MOST_ERRORS:g} standard errors; "
        f"{uncertain} of them have a published probability strictly between 0 and 1."
    )
    return 0 if n_agree == len(cells) else 1


if __name__ == "__main__":
    sys.exit(main())
