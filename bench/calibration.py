"""Probabilities against frequencies: ``python -m bench.calibration [--only NAME] [--smoke]``.

On the splits of ``bench.unseen``, for the points of the test parts:

- ``fastmem``: `InterpolatingClassifier.predict_proba`, whose one temperature is fitted to training
  points left out of the regression, each by itself;
- ``calibrated, sigmoid`` and ``calibrated, isotonic``: scikit-learn's CalibratedClassifierCV about
  the same classifier, which fits it anew to five parts of the training points;
- ``LightGBM`` and ``calibrated LightGBM`` (isotonic).

Log-loss (natural logarithm; probabilities are clipped at 1e-6), Brier score of the most probable
class, and the expected calibration error of Guo et al. (On calibration of modern neural networks,
2017) in 15 bins of equal width. ``--picture`` draws how often the most probable class is right
against its probability.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.markdown import table
from bench.measuring import all_threads, machine, timed
from bench.unseen import SETS, splits

SHOWN = ("digits784-20k", "flchain, death", "make_classification, 10 % flips", "spambase")
BINS = 15
LEAST = 1e-6


@dataclass
class Said:
    """What one side said of test points: of the most probable class, and of the right one."""

    confidence: np.ndarray
    right: np.ndarray
    of_label: np.ndarray
    seconds: float

    @property
    def log_loss(self) -> float:
        """Mean of -log of the label's probability."""
        return float(-np.log(np.clip(self.of_label, LEAST, 1.0)).mean())

    @property
    def brier(self) -> float:
        """Mean square of the confidence less 1 where it was right, 0 elsewhere."""
        return float(((self.confidence - self.right) ** 2).mean())

    def bins(self) -> list[tuple[float, float, int]]:
        """Mean confidence, share that was right and points of each bin that has any."""
        places = np.minimum((self.confidence * BINS).astype(int), BINS - 1)
        return [
            (float(self.confidence[here].mean()), float(self.right[here].mean()), int(here.sum()))
            for here in (places == b for b in range(BINS))
            if here.any()
        ]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error."""
        some = self.bins()
        return sum(n * abs(c - r) for c, r, n in some) / sum(n for _, _, n in some)


def joined(parts: list[Said]) -> Said:
    """The same side on several splits."""
    return Said(
        *(np.concatenate([getattr(p, a) for p in parts]) for a in ("confidence", "right")),
        np.concatenate([p.of_label for p in parts]),
        float(np.median([p.seconds for p in parts])),
    )


def sides(X: np.ndarray, y: np.ndarray) -> dict[str, Callable[[], Callable[[Any], np.ndarray]]]:
    """Fits by name: each gives what makes probabilities."""
    from lightgbm import LGBMClassifier
    from sklearn.calibration import CalibratedClassifierCV

    from fastmem.sklearn import InterpolatingClassifier

    cores = all_threads()

    def ours() -> Any:
        return InterpolatingClassifier(random_state=0, n_jobs=cores)

    def trees() -> Any:
        return LGBMClassifier(random_state=0, n_jobs=cores, verbose=-1)

    def calibrated(make: Callable[[], Any], method: str) -> Callable[[Any], np.ndarray]:
        return CalibratedClassifierCV(make(), method=method, cv=5).fit(X, y).predict_proba

    return {
        "fastmem": lambda: ours().fit(X, y).predict_proba,
        "calibrated, sigmoid": lambda: calibrated(ours, "sigmoid"),
        "calibrated, isotonic": lambda: calibrated(ours, "isotonic"),
        "LightGBM": lambda: trees().fit(X, y).predict_proba,
        "calibrated LightGBM": lambda: calibrated(trees, "isotonic"),
    }


def measured(X: np.ndarray, y: np.ndarray, n_splits: int) -> dict[str, Said]:
    """All sides on all splits."""
    found: dict[str, list[Said]] = {}
    for train, test in splits(y, n_splits):
        for name, fit in sides(X[train], y[train]).items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                seconds, predict = timed(fit)
                shares = predict(X[test])
            right = shares.argmax(axis=1) == y[test]
            of_label = shares[np.arange(len(test)), y[test]]
            said = Said(shares.max(axis=1), right, of_label, seconds)
            found.setdefault(name, []).append(said)
    return {name: joined(parts) for name, parts in found.items()}


def picture(path: Path, everything: dict[str, dict[str, Said]]) -> None:
    """A reliability diagram for each data set."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(everything), figsize=(3.2 * len(everything), 3.4), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    shown = ("fastmem", "calibrated, sigmoid", "calibrated, isotonic", "LightGBM")
    for axis, (name, found) in zip(axes.flat, everything.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for i, side in enumerate(shown):
            kept = [b for b in found[side].bins() if b[2] >= 20]
            axis.plot([b[0] for b in kept], [b[1] for b in kept], "o-", ms=3, color=f"C{i}",
                      label=side)  # fmt: skip
        axis.set_title(name, fontsize=9)
        axis.tick_params(labelsize=7)
    figure.supxlabel("probability of the most probable class")
    figure.supylabel("share that is right")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="data sets whose name has it")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--picture", type=Path, help="picture to draw")
    parser.add_argument("--smoke", action="store_true", help="one split of the smallest set")
    arguments = parser.parse_args()
    names = [n for n in SETS if any(o in n for o in arguments.only or SHOWN)]
    if arguments.smoke:
        names, arguments.splits = ["wine"], 1
    everything = {}
    rows = []
    for name in names:
        try:
            X, y = SETS[name]()
        except (ModuleNotFoundError, FileNotFoundError) as missing:
            print(f"{name} is left out: {missing}")
            continue
        X, y = np.ascontiguousarray(X), np.unique(y, return_inverse=True)[1]
        everything[name] = measured(X, y, arguments.splits)
        rows += [
            [name, side, f"{s.log_loss:.4f}", f"{s.brier:.4f}", f"{s.calibration_error:.4f}",
             f"{s.right.mean():.4f}", f"{s.seconds:.2f}"]
            for side, s in everything[name].items()
        ]  # fmt: skip
    columns = ("data", "side", "log-loss", "Brier", "calibration error", "unseen", "seconds")
    print(table(columns, rows))
    if arguments.picture:
        picture(arguments.picture, everything)
    print("\n" + ", ".join(f"{key}: {value}" for key, value in machine().items()))


if __name__ == "__main__":
    main()
