"""The complexity of one data set: what memorising it takes, why, and which points are hard.

`complexity` measures, `ComplexityReport` holds what it found and goes to JSON and back,
`complexity_page` makes it an HTML page, and `complexity_pictures` draws.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastmem
from fastmem.experiments.coverage import coverage
from fastmem.experiments.gap import DIMENSION_POINTS, class_gap, intrinsic_dimension
from fastmem.experiments.hardness import LAYERS, WIDTH, Hardness, hardness
from fastmem.frame import contradictions, extent
from fastmem.geometry import mutual_covering
from fastmem.inputs import (
    InvalidInputError,
    check_interpolate,
    check_labels,
    check_points,
)
from fastmem.progress import ProgressCallback, drawing
from fastmem.tables import moved_when_complete

__all__ = ["ComplexityReport", "complexity"]

FORMAT = 1
SMALLEST_SAMPLE = 250
MOST_SAMPLES = 7
MOST_CLASSES = 20
"""Classes up to which each is memorised and covered against all others."""
COVERING_WORK = 10_000_000_000
"""Points squared times features, for the points that are covered by balls: some seconds."""
LEAST_COVERED = 2_000
SHARES = (0.5, 0.9, 0.99, 1.0)
HARD_POINTS = 100
BINS = 50
CURVE_POINTS = 200
NEARER_TO_ANOTHER = 0.5

Label = int | float | str | bool
Array = NDArray[Any]


@dataclass(frozen=True)
class Widths:
    """Widths for one of the nested samples: a list has a value for each seed.

    Attributes
    ----------
    n_samples : int
    least : list of int
        Hyperplanes of ``width="auto"``: with fewer, some points could not be covered.
    merged_at_least, random_at_least : list of int
        Neurons at that width, by ``selection="merge"`` and by the paper's ``"random"``.
    merged, random : list of int
        Neurons at the report's ``width``, the same for all samples.
    unseparated : list of int
        Points that ``width`` hyperplanes leave unseparated.
    """

    n_samples: int
    least: list[int]
    merged_at_least: list[int]
    random_at_least: list[int]
    merged: list[int]
    random: list[int]
    unseparated: list[int]


@dataclass(frozen=True)
class Gap:
    """Least distance of points of different classes.

    Attributes
    ----------
    delta : float
    rows : list of int
        Two rows at that distance.
    labels : list
        Their labels.
    is_exact : bool
        False where it may be too large, because there are too many points for all pairs.
    """

    delta: float
    rows: list[int]
    labels: list[Label]
    is_exact: bool


@dataclass(frozen=True)
class Covering:
    """Mutual covering of a class (X^-) and all other points (X^+); see `fastmem.geometry`.

    Attributes
    ----------
    n_negative, n_positive : int
        M^- and M^+, the balls that cover the class and the others.
    delta, radius, omega, omega_error : float
        Least distance of centres of unlike classes, R, and omega with its standard error.
    first_width, second_width : float
        What the theorem predicts.
    is_complete : bool
        Whether the balls cover all points.
    """

    n_negative: int
    n_positive: int
    delta: float
    radius: float
    omega: float
    omega_error: float
    first_width: float
    second_width: float
    is_complete: bool


@dataclass(frozen=True)
class ClassFacts:
    """One class against all others.

    Attributes
    ----------
    label : int, float, str or bool
    n_samples : int
    separated_at : dict of str to list of int
        For the shares "0.5", "0.9", "0.99" and "1.0" of the class: how many random hyperplanes are
        needed until so many of its points can be covered, for each first layer; one more than the
        width tried where that was not enough.
    least_width : list of int or None
        Hyperplanes of ``width="auto"``, some of which are aimed at points that are left, for each
        seed; None where there are too many classes.
    covering : Covering or None
    hardness : float
        Median over its points.
    nearer_to_another : int
        Points of hardness above 1/2.
    """

    label: Label
    n_samples: int
    separated_at: dict[str, list[int]]
    least_width: list[int] | None
    covering: Covering | None
    hardness: float
    nearer_to_another: int


@dataclass(frozen=True)
class HardPoint:
    """A point that is hard to memorise; see `fastmem.experiments.hardness.Hardness`.

    Attributes
    ----------
    row : int
    label, suggested : int, float, str or bool
        Its label, and that of the nearest other class.
    hardness : float
        Above 1/2 it is nearer to that class than to its own.
    threshold : float
        m of its own neuron, as a share of the hyperplanes, and
    relative_threshold : float
        the same divided by the median of its class.
    alone : float
        Share of the first layers in which that neuron covers no other point.
    separated_at : float
        Hyperplanes needed until it can be covered, median.
    nearest : int
        Row of the nearest point of another class.
    """

    row: int
    label: Label
    suggested: Label
    hardness: float
    threshold: float
    relative_threshold: float
    alone: float
    separated_at: float
    nearest: int


@dataclass(frozen=True)
class Curves:
    """Numbers behind the pictures.

    Attributes
    ----------
    covered : dict of str to list of [int, int]
        For "merge" and "random": pairs of neurons and of points that they cover, from 0 neurons
        on; the neurons that cover most come first. All covered classes together, all points.
    separated : dict of str to list of [int, float]
        For each class, by its number among the report's classes: pairs of hyperplanes and of the
        share of its points that can be covered, for the first of the first layers.
    hardness : list of int
        Points in each of fifty equal intervals of hardness, from 0 to 1.
    """

    covered: dict[str, list[list[int]]]
    separated: dict[str, list[list[float]]]
    hardness: list[int]


@dataclass(frozen=True)
class ComplexityReport:
    """What `complexity` found.

    Attributes
    ----------
    name : str
        Of the data set.
    n_samples, n_features : int
    n_contradictory : int
        Points that equal a point of another class: left out of all but the hardness.
    contradictory : list of list of int
        The first of the groups of rows that are equal.
    classes : list of ClassFacts
    radius : float
        R, the largest distance of a point from the mean.
    gap : Gap or None
    dimension : dict of str to float, or None
        Intrinsic dimension by several estimators; see `gap.intrinsic_dimension`.
    width : int
        Hyperplanes of the second widths that are compared over N, and of the hardness.
    widths : list of Widths
        Over nested samples, the smallest first.
    hardest : list of HardPoint
        The hardest first.
    curves : Curves
    skipped : dict of str to str
        What was not measured, and why.
    seconds : dict of str to float
        Time of each part.
    seed : str
        Repeats the study.
    trials : int
    points : Hardness or None
        The values of all points; not part of the JSON.
    """

    name: str
    n_samples: int
    n_features: int
    n_contradictory: int
    contradictory: list[list[int]]
    classes: list[ClassFacts]
    radius: float
    gap: Gap | None
    dimension: dict[str, float] | None
    width: int
    widths: list[Widths]
    hardest: list[HardPoint]
    curves: Curves
    skipped: dict[str, str]
    seconds: dict[str, float]
    seed: str
    trials: int
    points: Hardness | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> str:
        """The report as JSON text, all but ``points``."""
        facts = asdict(_without_points(self))
        del facts["points"]
        return json.dumps({"format": FORMAT, **facts}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ComplexityReport:
        """Read a report that `to_json` wrote.

        Raises
        ------
        InvalidInputError
            If the text is no such report.
        """
        try:
            facts = json.loads(text)
            if facts.pop("format") != FORMAT:
                raise KeyError("format")
            facts["classes"] = [
                ClassFacts(**entry | {"covering": _or_none(Covering, entry["covering"])})
                for entry in facts["classes"]
            ]
            facts["gap"] = _or_none(Gap, facts["gap"])
            facts["widths"] = [Widths(**entry) for entry in facts["widths"]]
            facts["hardest"] = [HardPoint(**entry) for entry in facts["hardest"]]
            facts["curves"] = Curves(**facts["curves"])
            return cls(**facts)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInputError(
                f"This is no complexity report of format {FORMAT}: give what to_json wrote"
            ) from error

    def save_json(self, path: Path) -> None:
        """Write `to_json` to a file, whole or not at all."""
        with (
            moved_when_complete(path) as temporary,
            open(temporary, "x", encoding="utf-8") as file,
        ):
            file.write(self.to_json() + "\n")


def _without_points(report: ComplexityReport) -> ComplexityReport:
    from dataclasses import replace

    return replace(report, points=None)


def _or_none(kind: Any, facts: dict[str, Any] | None) -> Any:
    return None if facts is None else kind(**facts)


def complexity(
    X: Any,
    y: Any,
    *,
    name: str = "data",
    width: int = WIDTH,
    trials: int = 3,
    n_layers: int = LAYERS,
    hard_points: int = HARD_POINTS,
    max_bias: float | str = "auto",
    projection: str = "auto",
    center: bool = True,
    seed: Any = None,
    n_threads: int | None = None,
    progress: bool | ProgressCallback = False,
) -> ComplexityReport:
    """Measure how complex a data set is, and which of its points are hard.

    Parameters
    ----------
    X : array-like or CSR matrix of shape (n_samples, n_features)
        As `fastmem.interpolate` takes it.
    y : array-like of shape (n_samples,)
        Labels of at least two classes.
    name : str, default "data"
        Stands above the report.
    width : int, default 2,048
        Hyperplanes at which second widths are compared over N, and of the hardness.
    trials : int, default 3
        Networks for each sample and class, for the spread of widths.
    n_layers : int, default 4
        First layers from which the hardness is averaged.
    hard_points : int, default 100
        How many of the hardest points to list.
    max_bias, projection, center, n_threads
        As for `fastmem.interpolate`.
    seed : int, numpy.random.Generator, SeedSequence or None
        The same data, arguments and seed give the same report (but for the seconds), whatever
        ``n_threads``.
    progress : bool or callable, default False
        As for `fastmem.interpolate`.

    Returns
    -------
    ComplexityReport

    Raises
    ------
    InvalidInputError
        For any argument that cannot be used.

    Notes
    -----
    Equal points with different labels cannot be memorised: they are counted, and left out of all
    but the hardness. Memory is that of a fit, and four bytes more a value from thirteen features on
    where the gap is measured.
    """
    for argument, value in (
        ("width", width),
        ("trials", trials),
        ("hard_points", hard_points),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidInputError(f"{argument} is {value!r}: pass an int of at least 1")
    points = check_points(X)
    classes, codes = check_labels(y, points.n_samples)
    settings = check_interpolate(
        classes, points.n_features, width=width, max_bias=max_bias, projection=projection,
        center=center, seed=seed, n_threads=n_threads, is_sparse=points.is_sparse,
        progress=progress,
    )  # fmt: skip
    threads = settings.n_threads
    hardness_seed, order_seed, widths_seed, classes_seed, cover_seed = settings.seed.spawn(5)
    fit: dict[str, Any] = {
        "max_bias": max_bias, "projection": projection, "center": center, "n_threads": threads,
    }  # fmt: skip
    watch = _Watch()
    with drawing(progress) as tell:
        with watch.part("hardness"):
            found = hardness(
                X, y, n_hyperplanes=width, n_layers=n_layers, seed=hardness_seed,
                progress=tell, **fit,
            )  # fmt: skip
        groups = sorted(contradictions(points, codes, threads), key=lambda group: int(group[0]))
        usable = np.ones(points.n_samples, np.bool_)
        if groups:
            usable[np.concatenate(groups)] = False
        study = _Study(X, y, codes, usable, np.random.default_rng(order_seed))
        if np.count_nonzero(np.bincount(codes[usable], minlength=len(classes))) < 2:
            raise InvalidInputError(
                f"All points but {np.count_nonzero(usable)} of one class equal a point of another "
                f"label, so there is nothing to memorise: check the label column"
            )
        with watch.part("gap"):
            gap = _gap(study, classes, found.nearest, threads, watch)
        with watch.part("dimension"):
            dimension = _dimension(study, watch)
        with watch.part("widths"):
            widths, covered = _widths(study, width, trials, widths_seed, fit, tell)
        with watch.part("classes"):
            facts = _class_facts(
                study, classes, found, trials, classes_seed, cover_seed, fit, watch, tell
            )
    return ComplexityReport(
        name=name, n_samples=points.n_samples, n_features=points.n_features,
        n_contradictory=int(np.count_nonzero(~usable)),
        contradictory=[[int(row) for row in group] for group in groups[:hard_points]],
        classes=facts, radius=extent(points, threads).radius, gap=gap, dimension=dimension,
        width=width, widths=widths, hardest=_hard_points(found, codes, classes, hard_points),
        curves=Curves(
            covered,
            {str(c): _separated(found.separated_at[0, codes == c]) for c in range(len(classes))},
            np.histogram(found.score, BINS, (0.0, 1.0))[0].tolist(),
        ),
        skipped=watch.skipped, seconds=watch.seconds, seed=str(settings.seed.entropy),
        trials=trials, points=found,
    )  # fmt: skip


class _Watch:
    """Time of the parts, and what was left out."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.skipped: dict[str, str] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)


class _Study:
    """The points without contradictions, in an order whose beginnings are samples of them.

    Every class stands among the first few of the order, so that each sample has all of them.
    """

    def __init__(
        self, X: Any, y: Any, codes: Array, usable: Array, generator: np.random.Generator
    ) -> None:
        self.X, self.y = X, np.asarray(y).reshape(-1)
        if self.y.dtype == object:
            self.y = np.array(self.y.tolist())
        self.codes = codes
        order = generator.permutation(np.flatnonzero(usable))
        first = np.unique(codes[order], return_index=True)[1]
        self.rows = np.concatenate([order[np.sort(first)], np.delete(order, first)])

    def sample(self, n: int) -> tuple[Any, Array]:
        """The first n points of the order, as users give them, and their labels."""
        rows = np.sort(self.rows[:n])
        return _rows(self.X, rows), self.y[rows]

    def sizes(self) -> list[int]:
        """Sizes of nested samples, each twice the one before, up to all points."""
        sizes = [len(self.rows)]
        least = max(SMALLEST_SAMPLE, 2 * len(np.unique(self.codes)))
        while len(sizes) < MOST_SAMPLES and sizes[-1] // 2 >= least:
            sizes.append(sizes[-1] // 2)
        return sizes[::-1]


def _rows(X: Any, rows: Array) -> Any:
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    if hasattr(X, "tocsr"):
        return X.tocsr()[rows]
    return np.asarray(X)[rows]


def _gap(
    study: _Study, classes: Array, nearest: Array, n_threads: int, watch: _Watch
) -> Gap | None:
    rows = np.sort(study.rows)
    points = check_points(study.sample(len(rows))[0])
    if points.is_sparse:
        watch.skipped["gap"] = "points are sparse"
        return None
    # a point's nearest may have been left out: then any point of another class will do
    place = np.full(len(study.codes), -1, np.int64)
    place[rows] = np.arange(len(rows))
    codes = study.codes[rows]
    near = place[nearest[rows]]
    one, another = np.flatnonzero(codes == codes[0])[0], np.flatnonzero(codes != codes[0])[0]
    near[near < 0] = np.where(codes[near < 0] == codes[0], another, one)
    delta, pair, is_exact = class_gap(points, codes, near, n_threads)
    found = [int(rows[i]) for i in pair]
    return Gap(delta, found, [_plain(classes[study.codes[i]]) for i in found], is_exact)


def _dimension(study: _Study, watch: _Watch) -> dict[str, float] | None:
    X = check_points(study.sample(DIMENSION_POINTS)[0])
    if X.is_sparse:
        watch.skipped["dimension"] = "points are sparse"
        return None
    different = np.unique(X.dense(np.arange(X.n_samples)).astype(np.float64), axis=0)
    if len(different) < SMALLEST_SAMPLE:
        watch.skipped["dimension"] = f"fewer than {SMALLEST_SAMPLE} different points"
        return None
    try:
        return intrinsic_dimension(different)
    except ModuleNotFoundError:
        watch.skipped["dimension"] = (
            'scikit-dimension is not installed: pip install "fastmem[study]"'
        )
        return None


def _memorised(X: Any, y: Any, **settings: Any) -> fastmem.Network:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        return fastmem.interpolate(X, y, **settings)


def _widths(
    study: _Study,
    width: int,
    trials: int,
    seed: np.random.SeedSequence,
    fit: dict[str, Any],
    tell: ProgressCallback,
) -> tuple[list[Widths], dict[str, list[list[int]]]]:
    """Widths over nested samples; and the coverage curves of the largest one, for one seed."""
    sizes = study.sizes()
    seeds = [int(child.generate_state(1, np.uint64)[0]) for child in seed.spawn(trials)]
    total, done = sum(sizes), 0
    found, curves = [], {}
    for size in sizes:
        X, y = study.sample(size)
        row = Widths(size, [], [], [], [], [], [])
        for number, one in enumerate(seeds):
            nets = {
                (kind, wanted): _memorised(
                    X, y, width=wanted, selection=kind, covered="all", seed=one, **fit
                )
                for kind in ("merge", "random")
                for wanted in ("auto", width)
            }
            row.least.append(nets["merge", "auto"].widths[0])
            row.merged_at_least.append(nets["merge", "auto"].widths[1])
            row.random_at_least.append(nets["random", "auto"].widths[1])
            row.merged.append(nets["merge", width].widths[1])
            row.random.append(nets["random", width].widths[1])
            report = nets["merge", width].report
            row.unseparated.append(0 if report is None else len(report.unseparated))
            if size == sizes[-1] and number == 0:
                for kind in ("merge", "random"):
                    gained = np.sort(coverage(nets[kind, width], X, y))[::-1]
                    curves[kind] = _thinned(np.cumsum(np.concatenate([[0], gained])))
        found.append(row)
        done += size
        tell("networks", done, total, 0)
    return found, curves


def _thinned(values: Array) -> list[list[int]]:
    """Pairs (index, value), some hundreds of them, with the first and the last."""
    kept = np.unique(np.geomspace(1, len(values), CURVE_POINTS).astype(np.int64)) - 1
    return [[int(i), int(values[i])] for i in kept]


def _class_facts(
    study: _Study,
    classes: Array,
    found: Hardness,
    trials: int,
    seed: np.random.SeedSequence,
    cover_seed: np.random.SeedSequence,
    fit: dict[str, Any],
    watch: _Watch,
    tell: ProgressCallback,
) -> list[ClassFacts]:
    seeds = [int(child.generate_state(1, np.uint64)[0]) for child in seed.spawn(trials)]
    X, y = study.sample(len(study.rows))
    few = len(classes) <= MOST_CLASSES
    if not few:
        watch.skipped["each class alone"] = f"{len(classes)} classes are more than {MOST_CLASSES}"
    facts = []
    for code, label in enumerate(classes):
        members = study.codes == code
        separated = np.sort(found.separated_at[:, members], axis=1)
        n = separated.shape[1]
        is_class = y == label
        left = bool(is_class.any()) and few
        facts.append(
            ClassFacts(
                label=_plain(label),
                n_samples=int(n),
                separated_at={
                    str(share): [int(v) for v in separated[:, int(np.ceil(share * n)) - 1]]
                    for share in SHARES
                },
                least_width=[
                    _memorised(X, is_class, width="auto", covered=True, seed=one, **fit).widths[0]
                    for one in seeds
                ]
                if left
                else None,
                covering=_covering(study, label, cover_seed, fit["n_threads"], watch)
                if left
                else None,
                hardness=float(np.median(found.score[members])),
                nearer_to_another=int(np.sum(found.score[members] > NEARER_TO_ANOTHER)),
            )
        )
        tell("classes", code + 1, len(classes), 0)
    return facts


def _covering(
    study: _Study, label: Any, seed: np.random.SeedSequence, n_threads: int, watch: _Watch
) -> Covering | None:
    """Mutual covering of one class and all others, by some of the points if they are many."""
    n_features = check_points(study.sample(1)[0]).n_features
    most = max(LEAST_COVERED, math.isqrt(COVERING_WORK // n_features))
    X, y = study.sample(most)
    if check_points(X).is_sparse:
        watch.skipped["covering"] = "points are sparse"
        return None
    if len(study.rows) > most:
        watch.skipped["covering of all points"] = f"a sample of {most:,} was covered"
    found = mutual_covering(
        X, y == label, covered=True, seed=np.random.SeedSequence(seed.entropy), n_threads=n_threads
    )
    first, second = found.predicted_widths()
    return Covering(
        found.n_negative, found.n_positive, found.delta, found.radius, found.omega,
        found.omega_error, first, second, found.is_complete,
    )  # fmt: skip


def _separated(widths: Array) -> list[list[float]]:
    """Pairs (hyperplanes, share of points that they separate)."""
    values, counts = np.unique(widths, return_counts=True)
    shares = np.cumsum(counts) / len(widths)
    kept = np.unique(np.linspace(0, len(values) - 1, CURVE_POINTS).astype(np.int64))
    return [[int(values[i]), round(float(shares[i]), 6)] for i in kept]


def _hard_points(found: Hardness, codes: Array, classes: Array, count: int) -> list[HardPoint]:
    medians = [float(np.median(found.threshold[codes == c])) for c in range(len(classes))]
    at = np.median(found.separated_at, axis=0)
    return [
        HardPoint(
            row=int(row),
            label=_plain(classes[codes[row]]),
            suggested=_plain(classes[found.suggested[row]]),
            hardness=round(float(found.score[row]), 6),
            threshold=round(float(found.threshold[row]), 6),
            relative_threshold=round(float(found.threshold[row]) / (medians[codes[row]] or 1.0), 6),
            alone=float(found.alone[row]),
            separated_at=float(at[row]),
            nearest=int(found.nearest[row]),
        )
        for row in found.hardest(count)
    ]


def _plain(value: Any) -> Label:
    plain: Label = value.item() if isinstance(value, np.generic) else value
    return plain
