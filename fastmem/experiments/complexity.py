"""The complexity of one data set: what memorising it takes, why, and which points are hard.

`complexity` measures, `ComplexityReport` holds what it found and goes to JSON and back,
`complexity_page` makes it an HTML page, and `complexity_pictures` draws.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.algorithm import interpolate
from fastmem.errors import InvalidInputError, UnseparatedWarning
from fastmem.experiments.code_length import CodeLength, code_length
from fastmem.experiments.complexity_points import Usable, scaled_as_by_a_fit
from fastmem.experiments.complexity_report import (
    BINS,
    NEARER_TO_ANOTHER,
    ClassFacts,
    ComplexityReport,
    Covering,
    Curves,
    Gap,
    HardPoint,
    Label,
    Widths,
    shown_values,
)
from fastmem.experiments.gap import DIMENSION_POINTS, class_gap, dimension_estimates
from fastmem.experiments.hardness import LAYERS, WIDTH, Hardness, hardness
from fastmem.geometry.covering import mutual_covering
from fastmem.hyperplanes.extent import extent_of
from fastmem.inputs import (
    check_interpolate,
    check_labels,
    check_points,
)
from fastmem.inputs.equal_rows import equal_rows
from fastmem.machine.progress import ProgressCallback, drawing
from fastmem.network.coverage import coverage
from fastmem.network.network import Network

__all__ = [
    "ClassFacts",
    "ComplexityReport",
    "Covering",
    "Curves",
    "Gap",
    "HardPoint",
    "Widths",
    "complexity",
]

LEAST_DIFFERENT = 250
"""Points from which on a dimension is estimated."""
MOST_CLASSES = 20
"""Classes up to which each is memorised and covered against all others."""
COVERING_WORK = 10_000_000_000
"""Points squared times features, for the points that are covered by balls: some seconds."""
LEAST_COVERED = 2_000
SHARES = (0.5, 0.9, 0.99, 1.0)
HARD_POINTS = 100
CURVE_POINTS = 200

Array = NDArray[Any]


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
    scale: Any = "auto",
    feature_names: Sequence[str] | None = None,
    seed: Any = None,
    n_threads: int | None = None,
    progress: bool | ProgressCallback = False,
    say: Callable[[str], object] | None = None,
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
    max_bias, projection, center, scale, n_threads
        As for `fastmem.interpolate`, but that ``max_bias="auto"`` is the largest norm, as in the
        paper. Distances, the hardness too, are those of the scaled points: units of measure would
        make suspects of points, and need hyperplanes of their own.
    feature_names : sequence of str, optional
        Stand beside the values of the hardest points; by default those of a frame, else numbers.
    seed : int, numpy.random.Generator, SeedSequence or None
        The same data, arguments and seed give the same report (but for the seconds), whatever
        ``n_threads``.
    progress : bool or callable, default False
        As for `fastmem.interpolate`.
    say : callable, optional
        Called with a sentence on points that repeat or contradict each other, where there are any,
        before all that takes long.

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
    names = list(feature_names or points.feature_names or map(str, range(points.n_features)))
    if len(names) != points.n_features:
        raise InvalidInputError(
            f"feature_names has {len(names)} names for {points.n_features} features: pass one for "
            f"each column of X, or none at all"
        )
    settings = check_interpolate(
        classes, points.n_features, width=width, max_bias=max_bias, projection=projection,
        center=center, seed=seed, n_threads=n_threads, is_sparse=points.is_sparse,
        progress=progress,
    )  # fmt: skip
    threads = settings.n_threads
    hardness_seed, order_seed, widths_seed, classes_seed, cover_seed, bits_seed = (
        settings.seed.spawn(6)
    )
    fit: dict[str, Any] = {
        "max_bias": "radius" if max_bias == "auto" else max_bias, "projection": projection,
        "center": center, "n_threads": threads,
    }  # fmt: skip
    watch = _Watch()
    with drawing(progress) as tell:
        equal = equal_rows(points, threads)
        groups = equal.differ(codes).groups()
        usable = np.ones(points.n_samples, np.bool_)
        if groups:
            usable[np.concatenate(groups)] = False
        if say is not None and equal.n_repeats:
            say(_on_equal_points(points.n_samples, equal.n_repeats, int(np.sum(~usable))))
        if np.count_nonzero(np.bincount(codes[usable], minlength=len(classes))) < 2:
            raise InvalidInputError(
                f"All points but {np.count_nonzero(usable)} of one class equal a point of another "
                f"label, so there is nothing to memorise: check the label column"
            )
        with watch.part("scale"):
            X, scaling = scaled_as_by_a_fit(X, y, points, scale, settings)
        with watch.part("hardness"):
            found = hardness(
                X, y, n_hyperplanes=width, n_layers=n_layers, seed=hardness_seed,
                progress=tell, **fit,
            )  # fmt: skip
        study = _Study(
            Usable(X, y, codes, usable, np.random.default_rng(order_seed)), classes, found, trials,
            fit, watch, tell,
        )  # fmt: skip
        with watch.part("gap"):
            gap = _gap(study)
        with watch.part("dimension"):
            dimension = _dimension(study)
        with watch.part("widths"):
            widths, covered = _widths(study, width, widths_seed)
        with watch.part("classes"):
            facts = _class_facts(study, classes_seed, cover_seed)
        with watch.part("bits"):
            bits = _bits(study, bits_seed)
    zeros = not hasattr(X, "tocsr")
    shown = [
        (int(row), shown_values(points, row, names, zeros)) for row in found.hardest(hard_points)
    ]
    return ComplexityReport(
        name=name, n_samples=points.n_samples, n_features=points.n_features,
        n_contradictory=int(np.count_nonzero(~usable)),
        contradictory=[[int(row) for row in group] for group in groups[:hard_points]],
        classes=facts, radius=extent_of(check_points(X), threads).radius, gap=gap,
        dimension=dimension, width=width, widths=widths,
        hardest=_hard_points(found, codes, classes, shown),
        curves=Curves(
            covered,
            {str(c): _separated(found.separated_at[0, codes == c]) for c in range(len(classes))},
            np.histogram(found.score, BINS, (0.0, 1.0))[0].tolist(),
        ),
        skipped=watch.skipped, seconds=watch.seconds, seed=str(settings.seed.entropy),
        trials=trials, points=found, scale=str(scaling) if scaling.asked != "none" else "",
        bits=bits,
    )  # fmt: skip


def _on_equal_points(n_samples: int, n_repeats: int, n_contradictory: int) -> str:
    sentence = f"{n_samples - n_repeats:,} of {n_samples:,} points are different"
    if n_contradictory:
        sentence += (
            f"; {n_contradictory:,} equal a point of another label, which cannot be memorised: all "
            f"but the hardness leaves them out"
        )
    return sentence + "."


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


@dataclass(frozen=True)
class _Study:
    """What the parts of the study share.

    usable: the points that can be memorised; classes (K,) and hardness: of all points; trials;
    fit: arguments of each `interpolate`; watch: for what is left out; tell: the progress.
    """

    usable: Usable
    classes: Array
    hardness: Hardness
    trials: int
    fit: dict[str, Any]
    watch: _Watch
    tell: ProgressCallback

    def seeds(self, seed: np.random.SeedSequence) -> list[int]:
        """One for each trial."""
        return [int(child.generate_state(1, np.uint64)[0]) for child in seed.spawn(self.trials)]


def _gap(study: _Study) -> Gap | None:
    usable, classes = study.usable, study.classes
    rows = np.sort(usable.rows)
    points = check_points(usable.sample(len(rows))[0])
    if points.is_sparse:
        study.watch.skipped["gap"] = "points are sparse"
        return None
    # a point's nearest may have been left out: then any point of another class will do
    place = np.full(len(usable.codes), -1, np.int64)
    place[rows] = np.arange(len(rows))
    codes = usable.codes[rows]
    near = place[study.hardness.nearest[rows]]
    one, another = np.flatnonzero(codes == codes[0])[0], np.flatnonzero(codes != codes[0])[0]
    near[near < 0] = np.where(codes[near < 0] == codes[0], another, one)
    delta, pair, is_exact = class_gap(points, codes, near, study.fit["n_threads"])
    found = [int(rows[i]) for i in pair]
    return Gap(delta, found, [_plain(classes[usable.codes[i]]) for i in found], is_exact)


def _dimension(study: _Study) -> dict[str, float] | None:
    X, skipped = check_points(study.usable.sample(DIMENSION_POINTS)[0]), study.watch.skipped
    if X.is_sparse:
        skipped["dimension"] = "points are sparse"
        return None
    different = np.unique(X.dense(np.arange(X.n_samples)).astype(np.float64), axis=0)
    if len(different) < LEAST_DIFFERENT:
        skipped["dimension"] = f"fewer than {LEAST_DIFFERENT} different points"
        return None
    if X.n_features == 1:
        skipped["dimension"] = "a single feature leaves nothing to estimate"
        return None
    try:
        found, failed = dimension_estimates(different)
    except ModuleNotFoundError:
        skipped["dimension"] = (
            'scikit-dimension is not installed: pip install "fastmem-nets[study]"'
        )
        return None
    skipped.update({f"dimension by {name}": why for name, why in failed.items()})
    return found or None


def _memorised(X: Any, y: Any, **settings: Any) -> Network:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnseparatedWarning)
        return interpolate(X, y, scale="none", **settings)


def _widths(
    study: _Study, width: int, seed: np.random.SeedSequence
) -> tuple[list[Widths], dict[str, list[list[int]]]]:
    """Widths over nested samples; and the coverage curves of the largest one, for one seed."""
    sizes, seeds = study.usable.sizes(), study.seeds(seed)
    total, done = sum(sizes), 0
    found, curves = [], {}
    for size in sizes:
        X, y = study.usable.sample(size)
        row = Widths(size, [], [], [], [], [], [])
        for number, one in enumerate(seeds):
            nets = {
                (kind, wanted): _memorised(
                    X, y, width=wanted, selection=kind, covered="all", seed=one, **study.fit
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
        study.tell("networks", done, total, 0)
    return found, curves


def _bits(study: _Study, seed: np.random.SeedSequence) -> CodeLength | None:
    rows = np.sort(study.usable.rows)
    try:
        found = code_length(
            *study.usable.sample(len(rows)), keys=study.trials, scale="none", seed=seed,
            n_threads=study.fit["n_threads"],
            say=lambda done, total: study.tell("bits a label", done, total, 0),
        )  # fmt: skip
    except InvalidInputError as error:  # points are too far from 0
        study.watch.skipped["bits a label"] = str(error)
        return None
    return found.among(rows)


def _thinned(values: Array) -> list[list[int]]:
    """Pairs (index, value), some hundreds of them, with the first and the last."""
    kept = np.unique(np.geomspace(1, len(values), CURVE_POINTS).astype(np.int64)) - 1
    return [[int(i), int(values[i])] for i in kept]


def _class_facts(
    study: _Study, seed: np.random.SeedSequence, cover_seed: np.random.SeedSequence
) -> list[ClassFacts]:
    seeds = study.seeds(seed)
    usable, classes, found = study.usable, study.classes, study.hardness
    X, y = usable.sample(len(usable.rows))
    few = len(classes) <= MOST_CLASSES
    if not few:
        study.watch.skipped["each class alone"] = (
            f"{len(classes)} classes are more than {MOST_CLASSES}"
        )
    facts = []
    for code, label in enumerate(classes):
        members = usable.codes == code
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
                    _memorised(
                        X, is_class, width="auto", covered=True, seed=one, **study.fit
                    ).widths[0]
                    for one in seeds
                ]
                if left
                else None,
                covering=_covering(study, label, cover_seed) if left else None,
                hardness=float(np.median(found.score[members])),
                nearer_to_another=int(np.sum(found.score[members] > NEARER_TO_ANOTHER)),
            )
        )
        study.tell("classes", code + 1, len(classes), 0)
    return facts


def _covering(study: _Study, label: Any, seed: np.random.SeedSequence) -> Covering | None:
    """Mutual covering of one class and all others, by some of the points if they are many."""
    usable, skipped = study.usable, study.watch.skipped
    n_features = check_points(usable.sample(1)[0]).n_features
    most = max(LEAST_COVERED, math.isqrt(COVERING_WORK // n_features))
    X, y = usable.sample(most)
    if check_points(X).is_sparse:
        skipped["covering"] = "points are sparse"
        return None
    if len(usable.rows) > most:
        skipped["covering of all points"] = f"a sample of {most:,} was covered"
    found = mutual_covering(
        X, y == label, covered=True, seed=np.random.SeedSequence(seed.entropy),
        n_threads=study.fit["n_threads"],
    )  # fmt: skip
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


def _hard_points(
    found: Hardness, codes: Array, classes: Array, shown: list[tuple[int, str]]
) -> list[HardPoint]:
    medians = [float(np.median(found.threshold[codes == c])) for c in range(len(classes))]
    at = np.median(found.separated_at, axis=0)
    return [
        HardPoint(
            row=row,
            label=_plain(classes[codes[row]]),
            suggested=_plain(classes[found.suggested[row]]),
            hardness=round(float(found.score[row]), 6),
            threshold=round(float(found.threshold[row]), 6),
            relative_threshold=round(float(found.threshold[row]) / (medians[codes[row]] or 1.0), 6),
            alone=float(found.alone[row]),
            separated_at=float(at[row]),
            nearest=int(found.nearest[row]),
            values=values,
        )
        for row, values in shown
    ]


def _plain(value: Any) -> Label:
    plain: Label = value.item() if isinstance(value, np.generic) else value
    return plain
