"""How many wrong labels are among the hardest points, against other ways to find them.

``python -m fastmem.experiments.mislabelled`` flips some labels of scikit-learn's digits and of
digits784, ranks all points by several scores, and writes a table and a picture.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.experiments.hardness import NEIGHBOURS, hardness
from fastmem.machine.extras import needs
from fastmem.machine.files import moved_when_complete

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["METHODS", "Outcome", "flipped", "outcome_picture", "run", "table"]

SHARES = (0.01, 0.05)
SEEDS = 5
NEAREST = 20
FOLDS = 5
TREES = 100
COMPONENTS = 64

Array = NDArray[Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """How well a score found the wrong labels of one trial.

    Attributes
    ----------
    data : str
    share : float
        Of the labels that were flipped.
    seed : int
    method : str
    average_precision : float
        Area below the curve of precision over recall.
    precision : float
        Of the k points ranked first, where k labels were flipped; the recall is the same number.
    recall_in_twice : float
        Share of the flipped among the first 2 k: for 1 % flipped, the hardest 2 %.
    seconds : float
    """

    data: str
    share: float
    seed: int
    method: str
    average_precision: float
    precision: float
    recall_in_twice: float
    seconds: float


class Data:
    """A data set, and the nearest neighbours of its points, which do not depend on labels."""

    def __init__(self, name: str, X: Array, y: Array) -> None:
        self.name, self.X, self.y = name, X, y
        self._rows: Array | None = None

    def neighbours(self) -> Array:
        """Rows of the twenty nearest other points of each, the nearest first."""
        if self._rows is None:
            from sklearn.neighbors import NearestNeighbors

            index = NearestNeighbors(n_neighbors=NEAREST + 1, algorithm="brute").fit(self.X)
            found = index.kneighbors(self.X, return_distance=False)
            itself = found == np.arange(len(found))[:, None]
            # of several equal points, the point itself may not be among those found
            itself[~itself.any(axis=1), -1] = True
            self._rows = found[~itself].reshape(len(found), NEAREST)
        return self._rows


def by_hardness(data: Data, y: Array, seed: int) -> Floats:
    """fastmem's hardness."""
    return hardness(data.X, y, seed=seed).score


def by_threshold(data: Data, y: Array, seed: int) -> Floats:
    """Small thresholds of the points' own neurons."""
    return -hardness(data.X, y, seed=seed).threshold


def by_distances(data: Data, y: Array, seed: int) -> Floats:
    """What hardness compares, with Euclidean distances instead of counts."""
    X = data.X.astype(np.float32)
    squares = np.einsum("ij,ij->i", X, X)
    classes = np.unique(y)
    means = np.empty((len(X), len(classes)))
    for start in range(0, len(X), 1024):
        block = slice(start, start + 1024)
        gaps = squares[block, None] + squares - 2 * X[block] @ X.T
        distances = np.sqrt(np.maximum(gaps, 0))
        distances[np.arange(len(distances)), np.arange(start, start + len(distances))] = np.inf
        for c, label in enumerate(classes):
            nearest = np.partition(distances[:, y == label], NEIGHBOURS - 1, axis=1)
            means[block, c] = nearest[:, :NEIGHBOURS].mean(axis=1)
    here = np.arange(len(X)), np.searchsorted(classes, y)
    own = means[here].copy()
    means[here] = np.inf
    score: Floats = own / (own + means.min(axis=1))
    return score


def by_neighbours(data: Data, y: Array, seed: int, *, k: int) -> Floats:
    """Share of the k nearest neighbours that have another label."""
    score: Floats = np.mean(y[data.neighbours()[:, :k]] != y[:, None], axis=1)
    return score


def by_cleanlab(data: Data, y: Array, seed: int, *, model: str) -> Floats:
    """Confident learning's label quality, of out-of-sample probabilities.

    By the better of cleanlab's two scores for each model: self-confidence for the logistic
    regression and the support vector machine, the normalised margin for the forest.
    """
    from cleanlab.rank import get_label_quality_scores
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    X = data.X / np.sqrt(np.einsum("ij,ij->i", data.X, data.X).max())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of solvers that stop early
        chances = cross_val_predict(
            _model(model, X.shape[1], seed), X, y, cv=folds, method="predict_proba"
        )
    kind = "normalized_margin" if model == "forest" else "self_confidence"
    score: Floats = -get_label_quality_scores(y, chances, method=kind)
    return score


def _model(name: str, n_features: int, seed: int) -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    if name == "forest":
        return RandomForestClassifier(TREES, random_state=seed, n_jobs=-1)
    last = (
        LogisticRegression(C=10, max_iter=100)
        if name == "logistic"
        else CalibratedClassifierCV(SVC(C=10, cache_size=500), ensemble=False, cv=3)
    )
    return make_pipeline(PCA(min(COMPONENTS, n_features), random_state=seed), last)


Method = Callable[[Data, Array, int], Floats]
METHODS: dict[str, Method] = {
    "hardness": by_hardness,
    "m alone": by_threshold,
    "distances": by_distances,
    "1-NN": partial(by_neighbours, k=1),
    "10-NN": partial(by_neighbours, k=10),
    "20-NN": partial(by_neighbours, k=NEAREST),
    "cleanlab, logistic": partial(by_cleanlab, model="logistic"),
    "cleanlab, SVM": partial(by_cleanlab, model="svm"),
    "cleanlab, forest": partial(by_cleanlab, model="forest"),
}
"""Each ranks points: called with the data, the labels and a seed, it gives a score, high for those
that look mislabelled."""


def flipped(y: Array, share: float, seed: int) -> tuple[Array, NDArray[np.bool_]]:
    """Give some points another label, each of the others equally often.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
    share : float
        Of the points; at least one is flipped.
    seed : int

    Returns
    -------
    labels : ndarray of shape (n_samples,)
    is_wrong : ndarray of shape (n_samples,), bool
    """
    generator = np.random.default_rng(seed)
    classes, codes = np.unique(y, return_inverse=True)
    count = max(1, round(share * len(y)))
    rows = generator.choice(len(y), count, replace=False)
    codes[rows] = (codes[rows] + generator.integers(1, len(classes), count)) % len(classes)
    is_wrong = np.zeros(len(y), np.bool_)
    is_wrong[rows] = True
    return classes[codes], is_wrong


def judged(score: Floats, is_wrong: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Average precision, precision at k and recall at 2 k; equal scores in random order.

    Parameters
    ----------
    score : ndarray of shape (n_samples,)
        High where a label is suspected.
    is_wrong : ndarray of shape (n_samples,), bool
    """
    from sklearn.metrics import average_precision_score

    k = int(is_wrong.sum())
    return (
        float(average_precision_score(is_wrong, score)),
        _expected_hits(score, is_wrong, k) / k,
        _expected_hits(score, is_wrong, 2 * k) / k,
    )


def _expected_hits(score: Floats, is_wrong: NDArray[np.bool_], first: int) -> float:
    """Wrong labels among the first so many, on average over the orders of equal scores."""
    if first >= len(score):
        return float(is_wrong.sum())
    limit = -np.partition(-score, first - 1)[first - 1]
    above, equal = score > limit, score == limit
    rest = (first - above.sum()) / equal.sum()
    return float(is_wrong[above].sum() + rest * is_wrong[equal].sum())


def run(
    data_sets: Iterable[Data],
    *,
    shares: Sequence[float] = SHARES,
    seeds: int = SEEDS,
    methods: Iterable[str] = tuple(METHODS),
    tell: Callable[[Outcome], object] = lambda outcome: None,
) -> list[Outcome]:
    """Flip labels, rank the points, and judge the rankings.

    Parameters
    ----------
    data_sets : iterable of Data
    shares : sequence of float
        Shares of labels to flip.
    seeds : int
        Trials of each.
    methods : iterable of str
        Names among ``METHODS``.
    tell : callable
        Called with every outcome.

    Returns
    -------
    list of Outcome

    Raises
    ------
    InvalidInputError
        If there is no such method.
    ModuleNotFoundError
        If scikit-learn, or for its methods cleanlab, is not installed.
    """
    wanted = list(methods)
    for name in wanted:
        if name not in METHODS:
            raise InvalidInputError(f"There is no method {name!r}: take {', '.join(METHODS)}")
    outcomes = []
    for data in data_sets:
        for share in shares:
            for seed in range(seeds):
                y, is_wrong = flipped(data.y, share, seed)
                for name in wanted:
                    start = time.perf_counter()
                    score = METHODS[name](data, y, seed)
                    seconds = time.perf_counter() - start
                    outcome = Outcome(
                        data.name, share, seed, name, *judged(score, is_wrong), seconds
                    )
                    outcomes.append(outcome)
                    tell(outcome)
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """Give the means over seeds as a Markdown table, with standard errors of the first."""
    lines = [
        "| data | wrong | method | average precision | precision at k | recall in 2 k | seconds |",
        "| --- | --: | --- | --: | --: | --: | --: |",
    ]
    for (data, share, method), group in _groups(outcomes).items():
        values = np.array([[o.average_precision, o.precision, o.recall_in_twice] for o in group])
        mean = values.mean(axis=0)
        error = values[:, 0].std(ddof=1) / np.sqrt(len(group)) if len(group) > 1 else np.nan
        seconds = np.median([o.seconds for o in group])
        lines.append(
            f"| {data} | {100 * share:g} % | {method} | {mean[0]:.3f} ± {error:.3f} | "
            f"{mean[1]:.3f} | {mean[2]:.3f} | {seconds:.2g} |"
        )
    return "\n".join(lines)


def _groups(outcomes: Sequence[Outcome]) -> dict[tuple[str, float, str], list[Outcome]]:
    groups: dict[tuple[str, float, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.data, outcome.share, outcome.method), []).append(outcome)
    return groups


def save(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write the outcomes as csv, whole or not at all."""
    with (
        moved_when_complete(path) as temporary,
        open(temporary, "x", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, [f.name for f in fields(Outcome)], lineterminator="\n")
        writer.writeheader()
        for outcome in outcomes:
            row = asdict(outcome)
            writer.writerow({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()})


def load(path: Path) -> list[Outcome]:
    """Read what `save` wrote."""
    with open(path, newline="", encoding="utf-8") as file:
        return [
            Outcome(
                row["data"], float(row["share"]), int(row["seed"]), row["method"],
                *(float(row[f.name]) for f in fields(Outcome)[4:]),
            )
            for row in csv.DictReader(file)
        ]  # fmt: skip


@needs("plot")
def outcome_picture(outcomes: Sequence[Outcome]) -> Figure:
    """Draw the average precision of every method, a panel for each data set and share.

    Parameters
    ----------
    outcomes : sequence of Outcome

    Returns
    -------
    matplotlib.figure.Figure
        A figure that pyplot does not know of.
    """
    from matplotlib.figure import Figure

    groups = _groups(outcomes)
    panels = sorted({key[:2] for key in groups}, key=lambda key: (key[0] != "digits", key))
    methods = list(dict.fromkeys(o.method for o in outcomes))
    figure = Figure(figsize=(11, 0.6 + 3.2 * -(-len(panels) // 2)), dpi=120, layout="constrained")
    axes = figure.subplots(-(-len(panels) // 2), min(2, len(panels)), squeeze=False, sharex=True)
    for ax, (data, share) in zip(axes.flat, panels, strict=False):
        for place, method in enumerate(methods[::-1]):
            group = groups.get((data, share, method), [])
            if not group:
                continue
            values = [o.average_precision for o in group]
            ours = method == "hardness"
            colour = "#D55E00" if ours else "#0072B2"
            ax.barh(place, np.mean(values), height=0.66, color=colour, alpha=0.85)
            ax.plot(
                values, [place] * len(values), ls="", marker="o" if ours else "|", ms=5,
                color="#111111", mfc="none",
            )  # fmt: skip
            ax.text(1.02, place, f"{np.mean(values):.3f}", va="center", fontsize=9)
        ax.set_yticks(range(len(methods)), labels=methods[::-1])
        ax.set(xlim=(0, 1.16), xticks=np.linspace(0, 1, 6))
        ax.set_title(f"{data}, {100 * share:g} % of the labels wrong", fontsize="medium")
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="x", alpha=0.25, lw=0.5)
    for ax in axes[-1]:
        ax.set_xlabel("average precision; a mark is one of the trials")
    return figure


def data_sets(names: Sequence[str]) -> list[Data]:
    """Make digits, digits784 with 20,000 points, or digits784-N."""
    made = []
    for name in names:
        if name == "digits":
            from sklearn.datasets import load_digits

            made.append(Data(name, *load_digits(return_X_y=True)))
        else:
            from fastmem.datasets import digits784

            made.append(Data(name, *digits784(int(name.partition("-")[2] or 20_000))))
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study and write its table and picture."""
    parser = argparse.ArgumentParser(prog="python -m fastmem.experiments.mislabelled")
    parser.add_argument("--data", nargs="+", default=["digits", "digits784"])
    parser.add_argument("--share", nargs="+", type=float, default=list(SHARES))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--method", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--out", type=Path, default=Path("mislabelled.csv"))
    parser.add_argument("--redraw", action="store_true", help="draw the table's picture anew")
    chosen = parser.parse_args(arguments)
    if chosen.redraw:
        outcomes = load(chosen.out)
    else:
        outcomes = run(
            data_sets(chosen.data), shares=chosen.share, seeds=chosen.seeds,
            methods=chosen.method, tell=lambda outcome: print(outcome, file=sys.stderr),
        )  # fmt: skip
        save(outcomes, chosen.out)
    print(table(outcomes))
    outcome_picture(outcomes).savefig(chosen.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
