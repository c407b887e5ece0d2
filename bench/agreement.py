"""Do structured hyperplanes act as Gaussian ones do? ``python -m bench.agreement [--seeds 10]``.

For each data set, with Gaussian rows and with structured rows of three and of two rounds, two
figures are compared: the number of neurons of both selections at a width at which every point is
separated, over ``--seeds`` seeds; and, over twenty times as many seeds, the share of seeds with
which a smaller width separates all points, at two widths between never and always. z is the
difference from the Gaussian figure in standard errors (two means; two proportions, pooled).
Differences by chance alone give z a mean square of about 1.

Neurons agree. Structured rows separate somewhat more often at equal width, because the rows of one
block are orthogonal to each other; Gaussian rows made orthogonal in blocks of 64 do nearly as well.
On the coin flips at n = 58 (``--seeds 20``), Gaussian rows separate in 0.72 of the fits, three
rounds in 0.86. ``--smoke`` takes two data sets and few seeds.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastmem
from bench.markdown import head, line
from bench.parts import fit_with_rounds
from bench.workloads import smoke_wanted
from fastmem import datasets

Data = tuple[NDArray[Any], NDArray[Any]]

KINDS: dict[str, int | None] = {"Gaussian": None, "three rounds": 3, "two rounds": 2}
TRIALS_A_SEED = 20


def _standardised(name: str) -> Data:
    from sklearn import datasets as bundled

    X, y = getattr(bundled, f"load_{name}")(return_X_y=True)
    return (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-9), y


def _distinct_iris() -> Data:
    X, y = _standardised("iris")  # two flowers are equal
    _, first = np.unique(X, axis=0, return_index=True)
    return X[first], y[first]


def _spheres() -> Data:
    """Points on two spheres in 100 dimensions, of radius 1 and 1.3."""
    generator = np.random.default_rng(0)
    X = generator.standard_normal((400, 100))
    y = np.arange(400) % 2
    return X / np.linalg.norm(X, axis=1, keepdims=True) * (1 + 0.3 * y[:, None]), y


@dataclass(frozen=True)
class DataSet:
    """A data set, a width that always separates it, and two that do sometimes.

    Attributes
    ----------
    name : str
    data : callable
        Returns points and labels.
    width : int
    narrow : tuple of int
    """

    name: str
    data: Callable[[], Data]
    width: int
    narrow: tuple[int, int]


DATA_SETS = [
    DataSet("two moons, d = 2", lambda: datasets.unit_moons(1000), 512, (40, 60)),
    DataSet("parallel lines, d = 2", lambda: datasets.parallel_lines(400, 0.1), 1024, (200, 270)),
    DataSet("4 clusters a class, d = 20", lambda: datasets.clusters(800, 4, 20), 256, (10, 14)),
    DataSet("iris, d = 4", _distinct_iris, 1024, (95, 120)),
    DataSet("wine, d = 13", lambda: _standardised("wine"), 512, (45, 58)),
    DataSet("breast cancer, d = 30", lambda: _standardised("breast_cancer"), 1024, (210, 260)),
    DataSet("digits, d = 64", lambda: _standardised("digits"), 1024, (380, 430)),
    DataSet("digits784, 2,000 points", lambda: datasets.digits784(2000), 1024, (95, 110)),
    DataSet("coin flips, d = 50", lambda: datasets.random_labels(500, 50), 1024, (50, 58)),
    DataSet("two spheres, d = 100", _spheres, 1024, (45, 50)),
]


@cache
def _data(index: int) -> Data:
    return DATA_SETS[index].data()


def neurons(index: int, rounds: int | None, selection: str, seeds: int) -> list[float]:
    """Second widths, one a seed."""
    return [
        float(_fit(index, rounds, DATA_SETS[index].width, selection, seed).widths[1])
        for seed in range(seeds)
    ]


def separated(index: int, rounds: int | None, width: int, seeds: int) -> list[float]:
    """1 for each seed with which ``width`` hyperplanes separate all points, else 0."""
    fits = (_fit(index, rounds, width, "random", seed) for seed in range(seeds))
    return [float(len(fit.report.unseparated) == 0) for fit in fits]


def _fit(index: int, rounds: int | None, width: int, selection: str, seed: int) -> fastmem.Network:
    X, y = _data(index)
    # other draws for each kind: equal seeds would share what comes after the rows
    entropy = [seed, index, 0 if rounds is None else rounds]
    return fit_with_rounds(
        rounds, X, y, width=width, selection=selection, seed=np.random.SeedSequence(entropy)
    )


def z_of_means(one: Sequence[float], other: Sequence[float]) -> float:
    """Difference of two means in standard errors."""
    error = math.sqrt(stdev(one) ** 2 / len(one) + stdev(other) ** 2 / len(other))
    return (fmean(other) - fmean(one)) / error if error else 0.0


def z_of_shares(one: Sequence[float], other: Sequence[float]) -> float:
    """Difference of two proportions in standard errors, pooled."""
    share = (sum(one) + sum(other)) / (len(one) + len(other))
    error = math.sqrt(share * (1 - share) * (1 / len(one) + 1 / len(other)))
    return (fmean(other) - fmean(one)) / error if error else 0.0


def _figure(values: Sequence[float]) -> str:
    return f"{fmean(values):.4g} ± {stdev(values) / math.sqrt(len(values)):.2g}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table and, for each number of rounds, how large the differences are."""
    parser = argparse.ArgumentParser(prog="python -m bench.agreement", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="seeds of each mean, at least 2")
    parser.add_argument("--smoke", action="store_true", default=smoke_wanted(), help="few fits")
    options = parser.parse_args(arguments)
    seeds, trials = options.seeds, TRIALS_A_SEED * options.seeds
    if options.smoke:
        seeds = trials = 2
    warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
    print(head(["data", "figure", *KINDS, "z, three", "z, two"]), flush=True)
    found: dict[tuple[str, str], list[float]] = {}
    for index, data_set in enumerate(DATA_SETS[:2] if options.smoke else DATA_SETS):
        figures: list[tuple[str, Callable[..., float], list[list[float]]]] = []
        for selection in ("random", "merge"):
            what = f"neurons, {selection}, n = {data_set.width}"
            samples = [neurons(index, rounds, selection, seeds) for rounds in KINDS.values()]
            figures.append((what, z_of_means, samples))
        for width in data_set.narrow:
            samples = [separated(index, rounds, width, trials) for rounds in KINDS.values()]
            figures.append((f"share separated, n = {width}", z_of_shares, samples))
        for what, difference, (gaussian, *others) in figures:
            z = [difference(gaussian, other) for other in others]
            for kind, value in zip(list(KINDS)[1:], z, strict=True):
                found.setdefault((kind, what.split()[0].rstrip(",")), []).append(value)
            cells = [data_set.name, what, *map(_figure, (gaussian, *others))]
            print(line([*cells, *(f"{v:+.1f}" for v in z)]), flush=True)
    print()
    for (kind, figure), values in sorted(found.items()):
        square = fmean(v * v for v in values)
        largest = max(values, key=abs)
        print(
            f"{kind}, {figure}: z of {len(values)} has mean {fmean(values):+.2f}, mean square "
            f"{square:.2f}, largest {largest:+.1f}"
        )


if __name__ == "__main__":
    main()
