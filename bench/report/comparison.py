"""Everything that memorises, on the same data and the same splits.

The rows run one after the other in a process of their own, which is ended where a row takes longer
than the cap: a tree cannot be told to stop. What a fit loads or compiles is loaded by a small fit
before, which does not count.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from statistics import fmean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.measuring import timed
from bench.report.classifiers import DENSE, Classifier, Labels, Points, names, roster
from bench.report.points import Point
from fastmem.datasets import clusters, digits784, random_labels, unit_moons

Rows = NDArray[np.intp]

HELD_OUT = 0.3
"""Share of the points that no fit sees."""
N_DIGITS = 1797
"""Different digits in digits784: picture i shows digit i % 1797."""
SLOW = 5.0
"""A row whose first split takes this many seconds is measured on that split only."""
CHECKED = 2_000
"""Training points on which accuracy is taken of rows that predict fewer than SWIFT a second."""
SWIFT = 10_000
WARM_UP = 300
"""Points of the fit that does not count."""


@dataclass(frozen=True)
class Problem:
    """A data set, how it is split, and the width for it.

    Attributes
    ----------
    name : str
    kind : str
        Key of SOURCES.
    n_samples : int
        Points in all.
    width : int
        Hyperplanes.
    splits : int
        Random splits into training and held-out points; 0 trains on the first points and holds
        out the others, ``n_unseen`` of them.
    n_unseen : int
    cap : float
        Seconds that one split of a row may take, data aside.
    time_limit : float
        Seconds after which training loops stop.
    left_out : tuple of str
        Rows that are not run because they would take many times the cap.
    """

    name: str
    kind: str
    n_samples: int
    width: int
    splits: int
    n_unseen: int = 0
    cap: float = 45.0
    time_limit: float = 15.0
    left_out: tuple[str, ...] = ()

    def split(self, index: int) -> tuple[Rows, Rows]:
        """Choose the training and the held-out rows.

        Distorted copies of one digit are all on one side, so that held-out digits are new ones.
        """
        if self.splits == 0:
            rows = np.arange(self.n_samples)
            n_train = self.n_samples - self.n_unseen
            return rows[:n_train], rows[n_train:]
        generator = np.random.default_rng(index)
        n_groups = min(N_DIGITS, self.n_samples) if self.kind == "digits784" else self.n_samples
        is_held_out = np.zeros(n_groups, bool)
        chosen = generator.permutation(n_groups)[: round(HELD_OUT * n_groups)]
        is_held_out[chosen] = True
        held_out = is_held_out[np.arange(self.n_samples) % n_groups]
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)


SOURCES: dict[str, Callable[[int], tuple[Any, Any]]] = {
    "digits": lambda n: _bundled_digits(n),
    "digits784": digits784,
    "moons": unit_moons,
    "clusters": lambda n: clusters(n, 10, 16),
    "random labels": lambda n: random_labels(n, 50),
}

PROBLEMS = (
    Problem("scikit-learn's digits", "digits", 1_797, 1_024, 5),
    Problem("digits784-20k", "digits784", 20_000, 2_048, 2),
    Problem("two moons, 100,000", "moons", 100_000, 512, 3),
    Problem("clusters, 100,000", "clusters", 100_000, 512, 3),
    Problem("random labels, 5,000 x 50", "random labels", 5_000, 2_048, 3),
)
WIDE = (
    Problem("digits784-70k", "digits784", 80_000, 9_984, 0, n_unseen=10_000, left_out=(DENSE,)),
)
SMOKE = (
    Problem("scikit-learn's digits", "digits", 300, 128, 1, cap=20.0, time_limit=0.5),
    Problem("two moons, 500", "moons", 500, 64, 2, cap=20.0, time_limit=0.5),
)
SMOKE_WIDE = (
    Problem("digits784", "digits784", 300, 128, 0, n_unseen=100, cap=20.0, time_limit=0.5),
)


def compare(problems: tuple[Problem, ...]) -> list[Point]:
    """Measure every row on every problem.

    Returns
    -------
    list of Point
        ``panel`` names the problem and ``series`` the row. A row that failed or exceeded the cap
        has a ``note`` and no figures.
    """
    points: list[Point] = []
    with Helper() as helper:
        for problem in problems:
            for name in names():
                points.append(_row(helper, problem, name))
    return points


def _row(helper: Helper, problem: Problem, name: str) -> Point:
    row: Point = {"panel": problem.name, "series": name, "width": problem.width}
    if name in problem.left_out:
        return row | {"note": f"not run, would take many times {problem.cap:g} s"}
    measured: list[Point] = []
    for index in range(max(1, problem.splits)):
        try:
            seconds, split = timed(partial(helper.measure, problem, name, index, problem.cap))
        except TimeoutError:
            row["note"] = f"not done in {problem.cap:g} s"
            break
        except RuntimeError as error:
            row["note"] = str(error)
            break
        measured.append(split)
        if seconds > SLOW:
            break
    if not measured:
        return row
    row |= measured[-1]
    for key in ("seconds", "predict_seconds", "nbytes"):
        row[key] = median(one[key] for one in measured)
    for key in ("training_accuracy", "unseen_accuracy"):
        row[key] = fmean(one[key] for one in measured)
    row["runs"] = len(measured)
    return row


class Helper:
    """A process that measures rows, started anew after it had to be ended."""

    def __init__(self) -> None:
        self._process: Any = None

    def __enter__(self) -> Helper:
        """Start nothing yet."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the process."""
        self._end()

    def measure(self, problem: Problem, name: str, split: int, cap: float) -> Point:
        """Measure one split of a row; TimeoutError beyond the cap, RuntimeError if it fails."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, other_end = context.Pipe()
            self._process = context.Process(target=_serve, args=(other_end,))
            self._process.start()
            other_end.close()
        try:
            self._pipe.send((problem, name, split))
            self._pipe.recv()  # data are made and libraries loaded
            if not self._pipe.poll(cap):
                self._end()
                raise TimeoutError
            answer = self._pipe.recv()
        except (EOFError, BrokenPipeError) as error:
            self._end()
            raise RuntimeError("the process that measured died") from error
        if isinstance(answer, str):
            raise RuntimeError(answer)
        result: Point = answer
        return result

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None


def _serve(pipe: Any) -> None:
    """Answer what `Helper.measure` asks, in the other process."""
    warm: set[str] = set()
    while True:
        try:
            problem, name, split = pipe.recv()
        except EOFError:
            return
        try:
            X, y = _data(problem.kind, problem.n_samples)
            train, unseen = problem.split(split)
            seen = X[train], y[train]
            held_out = X[unseen], y[unseen]
            classifier = roster(problem.width, problem.time_limit)[name]
            if name not in warm:
                warm.add(name)
                small = roster(64, 0.05)[name]
                small.fit(X[:WARM_UP], y[:WARM_UP])
                small.predict(X[:WARM_UP])
        except Exception as error:
            pipe.send(None)
            pipe.send(f"{type(error).__name__}: {error}")
            continue
        pipe.send(None)
        try:
            pipe.send(measure(classifier, seen, held_out))
        except Exception as error:
            pipe.send(f"{type(error).__name__}: {error}")


def measure(
    classifier: Classifier, seen: tuple[Points, Labels], held_out: tuple[Points, Labels]
) -> Point:
    """Fit, predict and weigh a classifier.

    Parameters
    ----------
    classifier : Classifier
    seen, held_out : tuple of points and labels

    Returns
    -------
    Point
        Seconds of fit and of prediction for the held-out points; accuracies; bytes, and bits a
        training label.
    """
    fitting, _ = timed(lambda: classifier.fit(*seen))
    predicting, predicted = timed(lambda: classifier.predict(held_out[0]))
    n_checked = len(seen[0])
    if len(held_out[0]) / predicting < SWIFT:
        n_checked = min(n_checked, CHECKED)
    again = classifier.predict(seen[0][:n_checked])
    nbytes, sizes = classifier.model()
    return {
        "seconds": fitting,
        "predict_seconds": predicting,
        "n_train": len(seen[0]),
        "n_unseen": len(held_out[0]),
        "n_checked": n_checked,
        "training_accuracy": float(np.mean(again == seen[1][:n_checked])),
        "unseen_accuracy": float(np.mean(predicted == held_out[1])),
        "nbytes": nbytes,
        "bits_a_label": 8 * nbytes / len(seen[0]),
        "note": classifier.note,
        **sizes,
    }


@cache
def _data(kind: str, n_samples: int) -> tuple[Points, Labels]:
    X, y = SOURCES[kind](n_samples)
    return X, y


def _bundled_digits(n_samples: int) -> tuple[Points, Labels]:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return X[:n_samples].astype(np.float32), y[:n_samples]
