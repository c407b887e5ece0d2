"""Separation by random features: ``python -m bench.separation [--theory] [--smoke] ...``.

Without an option all tables but the longest, ``--theory``:

- ``--unseen``: accuracy on unseen points of read-outs at a given width, every training point
  certified, beside networks with ``margin=1`` and the vote; seconds and bytes;
- ``--readouts``: what serves as the read-out, at three widths: a ridge regression, one that is bent
  to be right on all training points (what ``separate`` does), scikit-learn's LinearSVC;
- ``--times``: seconds and peak memory of the least width at 1,000, 10,000 and 100,000 points, each
  in a process of its own;
- ``--theory``: the least width on the data sets of ``fastmem.experiments.theory``, with Spearman's
  rank correlation with second widths, the first width and R / delta, from the figures' file.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from statistics import median

import numpy as np

import fastmem
from bench.markdown import table
from fastmem import datasets
from fastmem.errors import UnseparatedWarning

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
RIDGE = 10.0


def digits(seed: int = 0) -> Data:
    """scikit-learn's digits: 1,257 points, and 540 unseen."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return _split(X, y, 1257, len(y), seed)


def digits784(seed: int = 0) -> Data:
    """4,000 points, and 4,000 unseen."""
    X, y = datasets.digits784(8_000, seed=seed)
    return _split(np.asarray(X), np.asarray(y), 4_000, 8_000, seed)


def _split(X: np.ndarray, y: np.ndarray, n: int, stop: int, seed: int) -> Data:
    order = np.random.default_rng(seed).permutation(len(y))
    train, unseen = order[:n], order[n:stop]
    return X[train], y[train], X[unseen], y[unseen]


def _small(data: Data) -> Data:
    X, y, unseen, labels = data
    return X[:300], y[:300], unseen[:100], labels[:100]


# Unseen points ------------------------------------------------------------------------------------


def unseen_rows(smoke: bool) -> Iterator[list[str]]:
    """Accuracy on unseen points, by kind of classifier."""
    for name, made in (("digits", digits), ("digits784", digits784)):
        X, y, new, labels = _small(made()) if smoke else made()
        widths = (128,) if smoke else (128, 512, 2048)
        n = widths[-1]
        cases = [(f"ReLU, n = {n:,}", _maker(X, y, width=n)) for n in widths] + [
            (f"ReLU, n = {n:,}, 8 bits", _maker(X, y, width=n, bits=8)),
            (f"signs, n = {n:,}, 4 bits", _maker(X, y, width=n, bits=4, activation="threshold")),
            (f"signs, n = {n:,}, 8 bits", _maker(X, y, width=n, bits=8, activation="threshold")),
            ("ReLU, least width", _maker(X, y)),
            ("cells, margin=1, n = 2,048", _network(X, y, width=2048, margin=1)),
            ("vote", _network(X, y, decision="vote")),
        ]
        for kind, make in cases:
            made_, seconds = _timed(make)
            right = made_.score(X, y)
            report = getattr(made_, "report", None)
            bits = (
                f" ({report.width} features, {report.bits} bits)" if hasattr(report, "bits") else ""
            )
            yield [
                name, kind + bits, f"{right:.4f}",
                f"{made_.score(new, labels):.4f}", f"{seconds:.1f}", f"{made_.nbytes / 1e3:.1f}",
            ]  # fmt: skip


def _maker(X: np.ndarray, y: np.ndarray, **parameters) -> Callable[[], object]:
    return lambda: fastmem.separate(X, y, seed=0, **parameters)


def _network(X: np.ndarray, y: np.ndarray, **parameters) -> Callable[[], object]:
    return lambda: fastmem.interpolate(X, y, seed=0, **parameters)


def _timed(make: Callable[[], object]):
    from time import perf_counter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnseparatedWarning)
        start = perf_counter()
        made = make()
        return made, perf_counter() - start


# Read-outs ----------------------------------------------------------------------------------------


def readout_rows(smoke: bool) -> Iterator[list[str]]:
    """Ridge regression, bent or not, and LinearSVC, on the same features."""
    from time import perf_counter

    from sklearn.svm import LinearSVC

    for name, made in (("digits", digits), ("digits784", digits784)):
        X, y, new, labels = _small(made()) if smoke else made()
        for n in (64,) if smoke else (128, 512, 2048):
            found, seconds = _timed(_maker(X, y, width=n, scale="none"))
            first = found.first
            A, B = (_features(first, points) for points in (X, new))
            mean, spread = A.mean(axis=0), A.std(axis=0)
            spread[spread == 0] = 1.0
            A, B = (np.column_stack([(F - mean) / spread, np.ones(len(F))]) for F in (A, B))
            classes = np.unique(y)
            signs = np.where(y[:, None] == classes, 1.0, -1.0)
            start = perf_counter()
            shift = np.eye(n + 1) * float((A * A).sum()) / len(A) / RIDGE
            weights = np.linalg.solve(A.T @ A + shift, A.T @ signs)
            took = perf_counter() - start
            plain = [classes[(F @ weights).argmax(axis=1)] for F in (A, B)]
            yield [name, f"{n:,}", "ridge", *_rates(plain, y, labels), f"{took:.2f}"]
            bent = [found.predict(points) for points in (X, new)]
            yield [name, f"{n:,}", "bent ridge", *_rates(bent, y, labels), f"{seconds:.2f}"]
            start = perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                machine = LinearSVC(C=100, random_state=0).fit(A, y)
            took = perf_counter() - start
            said = [machine.predict(F) for F in (A, B)]
            yield [name, f"{n:,}", "LinearSVC", *_rates(said, y, labels), f"{took:.2f}"]


def _features(first: fastmem.Hyperplanes, points: np.ndarray) -> np.ndarray:
    return np.maximum(points @ first.weights.T.astype(float) + first.biases, 0.0)


def _rates(said: Sequence[np.ndarray], *labels: np.ndarray) -> list[str]:
    return [f"{np.mean(one == known):.4f}" for one, known in zip(said, labels, strict=True)]


# Times --------------------------------------------------------------------------------------------

_CASES = {
    "moons 0.1": lambda n: datasets.two_moons(n, 0.1),
    "clusters 64, d 50": lambda n: datasets.clusters(n, 64, 50),
    "digits784 1, 8": lambda n: datasets.digit_pair(n, 1, 8),
}
_ONE = """
import sys, time, warnings
import fastmem
from bench.separation import _CASES
from fastmem.machine.clock import peak_bytes
X, y = _CASES[sys.argv[1]](int(sys.argv[2]))
fastmem.separate(X[:200], y[:200], width=16, seed=0)
before, start = peak_bytes(), time.perf_counter()
warnings.simplefilter("ignore")
found = fastmem.separate(X, y, seed=0, max_width=1024)
print(found.report.width, found.report.is_separated, time.perf_counter() - start,
      peak_bytes() - before)
"""


def time_rows(smoke: bool, most: int) -> Iterator[list[str]]:
    """The least width at several sizes, each in a process of its own."""
    for name in _CASES:
        for n in (200,) if smoke else (1_000, 10_000, 100_000):
            if n > most:
                continue
            command = [sys.executable, "-c", _ONE, name, str(n)]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            width, separated, seconds, peak = said.split()
            yield [
                name, f"{n:,}", width if separated == "True" else f"> {width}",
                f"{float(seconds):.1f}", f"{float(peak) / 1e6:.0f}",
            ]  # fmt: skip


# The theorem's data sets --------------------------------------------------------------------------


def theory_rows(smoke: bool, trials: int) -> Iterator[tuple[str, float | None, list[str]]]:
    """Least widths of the sets of the theory study."""
    from fastmem.experiments.theory import DATA_SETS
    from fastmem.separation import separation_width

    names = list(DATA_SETS)[:2] if smoke else list(DATA_SETS)
    for name in names:
        X, y = DATA_SETS[name]()
        if smoke:
            X, y = X[:200], y[:200]
        found = separation_width(X, y, seed=0, trials=trials, scale="none")
        spread = ", ".join("-" if width is None else str(width) for width in found.widths)
        width = None if found.width is None else float(median(w or 1025 for w in found.widths))
        yield name, width, [name, str(found.n_used), spread, f"{found.seconds:.1f}"]


def rank_correlations(widths: dict[str, float]) -> list[list[str]]:
    """Spearman's rank correlation of least widths with what the theory study has measured."""
    from pathlib import Path

    from fastmem.experiments.theory import rank_correlation, read_rows

    path = Path(fastmem.__file__).parent / "docs" / "figures" / "theory.csv"
    rows = {row.name: row for row in read_rows(path) if row.name in widths}
    mine = [widths[name] for name in rows]
    others = {
        "second width, merged": [row.second_merge for row in rows.values()],
        "second width, random": [row.second_random for row in rows.values()],
        "first width": [row.first_half for row in rows.values()],
        "R / delta": [row.radius / row.delta for row in rows.values()],
    }
    return [[what, f"{rank_correlation(mine, values):.2f}"] for what, values in others.items()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("unseen", "readouts", "times", "theory", "smoke"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--most", type=int, default=100_000, help="points of the largest case")
    asked = parser.parse_args(arguments)
    every = not (asked.unseen or asked.readouts or asked.times or asked.theory)
    if asked.unseen or every:
        head = ("data", "classifier", "training", "unseen", "seconds", "KB")
        print(table(head, unseen_rows(asked.smoke)), "\n")
    if asked.readouts or every:
        head = ("data", "n", "read-out", "training", "unseen", "seconds")
        print(table(head, readout_rows(asked.smoke)), "\n")
    if asked.times or every:
        head = ("data", "points", "least width", "seconds", "MB")
        print(table(head, time_rows(asked.smoke, asked.most)), "\n")
    if asked.theory or asked.smoke:
        found = []
        for row in theory_rows(asked.smoke, 1 if asked.smoke else asked.trials):
            found.append(row)
            print(row[2], file=sys.stderr, flush=True)
        print(table(("data", "points", "least widths", "seconds"), [row[2] for row in found]), "\n")
        widths = {name: width for name, width, _ in found if width is not None}
        if len(widths) > 2:
            print(table(("with", "Spearman"), rank_correlations(widths)))


if __name__ == "__main__":
    main()
