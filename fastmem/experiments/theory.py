"""The theorem's quantities against measured widths: ``python -m fastmem.experiments.theory``.

For every data set: a mutual covering with its M^-, M^+, delta, R and omega; the least first width
that interpolates, over independent first layers; and the second widths there. The constants that
the paper leaves open are fitted to all data sets together.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem import datasets
from fastmem.algorithm import interpolate
from fastmem.errors import InvalidInputError, UnseparatedWarning
from fastmem.experiments.theory_fit import (
    Constants,
    Row,
    fit_constants,
    leave_one_out_errors,
    rank_correlation,
    read_rows,
    write_rows,
)
from fastmem.geometry.covering import mutual_covering
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.kernels.nearest import rows_needed
from fastmem.machine.files import moved_when_complete
from fastmem.patterns.of_points import sign_patterns

__all__ = [
    "DATA_SETS",
    "Constants",
    "Row",
    "fit_constants",
    "least_widths",
    "main",
    "measure",
    "rank_correlation",
    "read_rows",
    "write_rows",
]

Sample = tuple[NDArray[Any], NDArray[Any]]

TRIALS = 40
"""First layers a data set: the 95 % quantile is then the second largest but one."""
NETWORKS = 5
MOST_ROWS = 1 << 17
_FIRST_ROWS = 1 << 10


DATA_SETS: dict[str, Callable[[], Sample]] = {
    "moons 0.02": lambda: datasets.two_moons(2_000, 0.02),
    "moons 0.05": lambda: datasets.two_moons(2_000, 0.05),
    "moons 0.1": lambda: datasets.two_moons(2_000, 0.1),
    "lines 0.3": lambda: datasets.parallel_lines(2_000, 0.3),
    "lines 0.1": lambda: datasets.parallel_lines(2_000, 0.1),
    "lines 0.03": lambda: datasets.parallel_lines(2_000, 0.03),
    "clusters 2, d 2": lambda: datasets.clusters(2_000, 2, 2),
    "clusters 8, d 2": lambda: datasets.clusters(2_000, 8, 2),
    "clusters 8, d 10": lambda: datasets.clusters(2_000, 8, 10),
    "clusters 64, d 50": lambda: datasets.clusters(2_000, 64, 50),
    "annuli 0.3": lambda: datasets.spheres(2_000, 2, gap=0.3, thickness=0),
    "annuli 0.05": lambda: datasets.spheres(2_000, 2, gap=0.05, thickness=0),
    "spheres d 10": lambda: datasets.spheres(2_000, 10, gap=0.3, thickness=0),
    "digits784 1, 8": lambda: datasets.digit_pair(2_000, 1, 8),
    "digits784 1, 9": lambda: datasets.digit_pair(2_000, 1, 9),
    "digits 1": lambda: _bundled("digits", 1),
    "digits 8": lambda: _bundled("digits", 8),
    "iris 1": lambda: _bundled("iris", 1),
    "wine 1": lambda: _bundled("wine", 1),
    "cancer": lambda: _bundled("breast_cancer", 0),
    "coin flips d 2": lambda: datasets.random_labels(500, 2),
    "coin flips d 10": lambda: datasets.random_labels(500, 10),
    "coin flips d 100": lambda: datasets.random_labels(500, 100),
}
"""Data sets by name; in each the label False or 0 is X^-."""


# Measurements -------------------------------------------------------------------------------------


def least_widths(X: Any, y: Any, *, trials: int = TRIALS, seed: int = 0) -> NDArray[np.int64]:
    """Least first widths that interpolate, one for each of several independent first layers.

    Parameters
    ----------
    X : ndarray of shape (n_samples, d)
    y : ndarray of shape (n_samples,), bool
        False for X^-.
    trials : int
    seed : int

    Returns
    -------
    ndarray of shape (trials,), int64
        Ascending. Adding hyperplanes never undoes a separation, so a first layer of n of its rows
        interpolates iff n is at least this number: quantiles over the trials are the widths that
        interpolate with that probability.

    Raises
    ------
    InvalidInputError
        If 131,072 hyperplanes do not separate all pairs.

    Notes
    -----
    Gaussian rows and biases uniform on [-R, R] about the mean, as ``interpolate`` draws them.
    """
    mean = X.mean(axis=0, dtype=np.float64)
    radius = float(np.sqrt(((X - mean) ** 2).sum(axis=1).max()))
    widths = []
    for generator in np.random.default_rng(seed).spawn(trials):
        n, least = _FIRST_ROWS, 0
        weights = np.empty((0, X.shape[1]), np.float32)
        offsets = np.empty(0)
        while not least:
            if n > MOST_ROWS:
                raise InvalidInputError(
                    f"{MOST_ROWS:,} hyperplanes do not separate all points; take data with a wider "
                    f"gap between the classes"
                )
            more = n - len(offsets)
            weights = np.concatenate(
                [weights, generator.standard_normal((more, X.shape[1]), dtype=np.float32)]
            )
            offsets = np.concatenate([offsets, generator.uniform(-radius, radius, more)])
            hyperplanes = Hyperplanes(weights, offsets - weights.astype(np.float64) @ mean)
            patterns = sign_patterns(X, hyperplanes)
            rows, _, _ = rows_needed(patterns[~y], patterns[y], 0, int(np.count_nonzero(~y)))
            least = int(rows) if rows <= n else 0
            n *= 2
        widths.append(least)
    return np.sort(np.array(widths))


def measure(
    name: str, X: Any, y: Any, *, trials: int = TRIALS, networks: int = NETWORKS, seed: int = 0
) -> Row:
    """Predict and measure one data set.

    Parameters
    ----------
    name : str
    X : ndarray of shape (n_samples, d)
    y : ndarray of shape (n_samples,)
        Two labels; X^- has the lower.
    trials : int
        First layers whose least widths are measured.
    networks : int
        Networks of each selection.
    seed : int

    Returns
    -------
    Row
    """
    y = np.asarray(y) == np.max(y)
    covering = mutual_covering(X, y, covered=False, seed=seed, max_centres=len(y))
    widths = least_widths(X, y, trials=trials, seed=seed)
    half, most = np.quantile(widths, [0.5, 0.95], method="inverted_cdf")
    second = {}
    for selection in ("random", "merge"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnseparatedWarning)
            second[selection] = np.mean(
                [
                    interpolate(
                        X, y, width=int(most), selection=selection, projection="gaussian",
                        covered=[False], seed=seed + i, max_bias="radius", scale="none",
                    ).widths[1]
                    for i in range(networks)
                ]
            )  # fmt: skip
    return Row(
        name, len(y), X.shape[1], covering.n_negative, covering.n_positive, covering.delta,
        covering.radius, covering.omega, covering.omega_error, float(half), float(most),
        float(second["random"]), float(second["merge"]),
    )  # fmt: skip


# The study ----------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study, or go on with it, and draw its picture."""
    parser = argparse.ArgumentParser(
        prog="python -m fastmem.experiments.theory", description=__doc__
    )
    parser.add_argument("--out", type=Path, required=True, help="directory, made if missing")
    parser.add_argument("--trials", type=int, default=TRIALS, help="first layers a data set")
    parser.add_argument("--only", nargs="+", choices=list(DATA_SETS), help="data sets")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    table = options.out / "theory.csv"
    rows = {row.name: row for row in read_rows(table)} if table.exists() else {}
    for name in options.only or DATA_SETS:
        if name in rows:
            continue
        rows[name] = measure(name, *DATA_SETS[name](), trials=options.trials)
        write_rows(table, list(rows.values()))
        print(f"{name}: done", file=sys.stderr)
    found = list(rows.values())
    if len(found) < 3:
        return
    constants = fit_constants(found)
    print("\n".join(_report(found, constants)))
    from fastmem.experiments.theory_pictures import predicted_and_measured

    path = options.out / "theory.png"
    figure = predicted_and_measured(found, constants)
    with moved_when_complete(path) as temporary, open(temporary, "xb") as file:
        figure.savefig(file, format="png")


def _report(rows: Sequence[Row], constants: Constants) -> Iterator[str]:
    yield (
        f"{'data set':<18}{'M-':>6}{'M+':>6}{'delta':>9}{'R':>8}{'R omega':>9}"
        f"{'n (0.5)':>9}{'pred.':>9}{'random':>8}{'merge':>7}{'pred.':>8}"
    )
    a, b = constants.first
    for row in rows:
        first = a * row.separation + b * row.width
        yield (
            f"{row.name:<18}{row.n_negative:>6}{row.n_positive:>6}{row.delta:>9.4f}"
            f"{row.radius:>8.2f}{row.width:>9.2f}{row.first_half:>9.0f}{first:>9.0f}"
            f"{row.second_random:>8.1f}{row.second_merge:>7.1f}"
            f"{constants.second * row.n_negative:>8.1f}"
        )
    yield (
        f"constants: first ({a:.3g}, {b:.3g}), within a factor {constants.first_spread:.2f}; "
        f"second {constants.second:.3g}, within a factor {constants.second_spread:.2f}"
    )
    left_out = np.array([leave_one_out_errors(rows, i) for i in range(len(rows))])
    factors = np.exp(np.sqrt(np.mean(left_out**2, axis=0)))
    yield f"each data set from the others: factors {factors[0]:.2f} and {factors[1]:.2f}"
    measured = [row.first_half for row in rows]
    for name, values in {
        "the first width": [a * row.separation + b * row.width for row in rows],
        "R / delta log(2 M- M+)": [row.separation for row in rows],
        "R / delta": [row.radius / row.delta for row in rows],
        "R omega": [row.width for row in rows],
    }.items():
        yield f"Spearman, {name} against n: {rank_correlation(values, measured):.2f}"
    counts = [row.n_negative for row in rows]
    for selection in ("random", "merge"):
        widths = [getattr(row, f"second_{selection}") for row in rows]
        yield f"Spearman, M- against the second width, {selection}: " + (
            f"{rank_correlation(counts, widths):.2f}"
        )


def _bundled(name: str, label: int) -> Sample:
    """One class against the rest of a data set of scikit-learn; but for pixels, standardised."""
    from sklearn import datasets as bundled

    loaded = getattr(bundled, f"load_{name}")()
    X, y = loaded.data, loaded.target != label
    if name != "digits":
        X = (X - X.mean(axis=0)) / X.std(axis=0)
    return X, y


if __name__ == "__main__":
    main()
