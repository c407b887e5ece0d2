"""The complexity of one data set: what memorising it takes, why, and which points are hard.

`complexity` measures, `ComplexityReport` holds what it found and goes to JSON and back,
`complexity_page` makes it an HTML page, and `complexity_pictures` draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.experiments.complexity_points import Usable, scaled_as_by_a_fit
from fastmem.experiments.complexity_report import (
    BINS,
    ClassFacts,
    ComplexityReport,
    Covering,
    Curves,
    Gap,
    HardPoint,
    Widths,
    shown_values,
)
from fastmem.experiments.hardness import LAYERS, WIDTH, Hardness, hardness
from fastmem.experiments.section_facts import CompactNetwork, Representation, Representations
from fastmem.experiments.sections import SECTIONS
from fastmem.experiments.sections.study import CURVE_POINTS, Seeds, Study, plain, timed
from fastmem.hyperplanes.extent import extent_of
from fastmem.inputs import check_interpolate, check_labels, check_points
from fastmem.inputs.equal_rows import equal_rows
from fastmem.machine.progress import ProgressCallback, drawing

__all__ = [
    "ClassFacts",
    "CompactNetwork",
    "ComplexityReport",
    "Covering",
    "Curves",
    "Gap",
    "HardPoint",
    "Representation",
    "Representations",
    "Widths",
    "complexity",
]

HARD_POINTS = 100
MOST_POINTS = 20_000
ZEROS_SHOWN = 100
"""Features up to which also zeros stand among the values of a point."""

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
    most_points: int = MOST_POINTS,
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
    most_points : int, default 20,000
        Of more points, networks are made of random samples only: a few minutes' work becomes
        seconds. Hardness, the gap and R are of all points. The sections of which one fit would
        take as long take fewer still, and the report's page says how many.
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
        ("most_points", most_points),
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
    seeds = Seeds(settings.seed)
    fit: dict[str, Any] = {
        "max_bias": "radius" if max_bias == "auto" else max_bias, "projection": projection,
        "center": center, "n_threads": threads,
    }  # fmt: skip
    seconds: dict[str, float] = {}
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
        with timed(seconds, "scale"):
            given, (X, scaling) = X, scaled_as_by_a_fit(X, y, points, scale, settings)
        with timed(seconds, "hardness"):
            found = hardness(
                X, y, n_hyperplanes=width, n_layers=n_layers, seed=seeds["hardness"],
                progress=tell, **fit,
            )  # fmt: skip
        study = Study(
            Usable(X, y, codes, usable, np.random.default_rng(seeds["order"])), given, classes,
            found, width, trials, max(most_points, 4 * len(classes)), fit, seeds, tell,
            seconds=seconds,
        )  # fmt: skip
        measured: dict[str, Any] = {}
        for section, measure in SECTIONS.items():
            with study.part(section):
                measured[section] = measure(study)
    widths, covered = measured["widths"]
    compact, network = measured.get("connectivity", (None, None))
    # of images a line of zeros says nothing
    zeros = not hasattr(X, "tocsr") and points.n_features <= ZEROS_SHOWN
    shown = [
        (int(row), shown_values(points, row, names, zeros)) for row in found.hardest(hard_points)
    ]
    return ComplexityReport(
        name=name, n_samples=points.n_samples, n_features=points.n_features,
        n_contradictory=int(np.count_nonzero(~usable)),
        contradictory=[[int(row) for row in group] for group in groups[:hard_points]],
        classes=measured["classes"], radius=extent_of(check_points(X), threads).radius,
        gap=measured.get("gap"), dimension=measured.get("dimension") or None, width=width,
        widths=widths, hardest=_hard_points(found, codes, classes, shown),
        curves=Curves(
            covered,
            {str(c): _separated(found.separated_at[0, codes == c]) for c in range(len(classes))},
            np.histogram(found.score, BINS, (0.0, 1.0))[0].tolist(),
        ),
        skipped=study.skipped, seconds=seconds, seed=str(settings.seed.entropy), trials=trials,
        points=found, scale=str(scaling) if scaling.asked != "none" else "",
        bits=measured.get("bits a label"), separation=measured.get("separation width"),
        topology=measured.get("topology"), patterns=measured.get("dimension of patterns"),
        representation=measured.get("representation"), connectivity=compact, network=network,
    )  # fmt: skip


def _on_equal_points(n_samples: int, n_repeats: int, n_contradictory: int) -> str:
    sentence = f"{n_samples - n_repeats:,} of {n_samples:,} points are different"
    if n_contradictory:
        sentence += (
            f"; {n_contradictory:,} equal a point of another label, which cannot be memorised: all "
            f"but the hardness leaves them out"
        )
    return sentence + "."


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
            label=plain(classes[codes[row]]),
            suggested=plain(classes[found.suggested[row]]),
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
