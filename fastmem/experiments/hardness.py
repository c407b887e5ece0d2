"""How hard every point is to memorise: points that lie among those of another class.

A point a is covered by its own neuron, whose threshold m(a) is the least count
delta(a, x) = |Phi(x) and not Phi(a)| over the points x of other classes. A small m(a) says that
another class is near, which holds for every point at a border. A point whose label is wrong is also
far from its own class: so hardness compares the two. Counts are means over several independent
first layers.
"""

from __future__ import annotations

import csv
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.hyperplanes.extent import extent_of
from fastmem.hyperplanes.sources import bias_norms, row_source
from fastmem.inputs import (
    Points,
    check_interpolate,
    check_labels,
    check_points,
)
from fastmem.inputs.equal_rows import equal_rows, look_repeated
from fastmem.inputs.points import some_points
from fastmem.kernels.cover import gather
from fastmem.kernels.layout import TILE, WORD_BITS
from fastmem.kernels.nearest import (
    Nearness,
    Queries,
    References,
    nearest_counts,
    new_nearness,
    separation_widths,
)
from fastmem.machine.arrays import aligned_zeros
from fastmem.machine.files import moved_when_complete
from fastmem.machine.threads import run_tasks
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.words import valid_bits

__all__ = ["Hardness", "hardness"]

NEIGHBOURS = 5
"""Points of each class whose counts are averaged: a single one may have a wrong label itself, and
the last of many is far from a point of a rare shape."""
WIDTH = 2048
LAYERS = 4
"""First layers: the more hyperplanes, the better the ranking, but by less and less."""
PAIRS = 5_000_000_000
"""Pairs of points compared for each first layer at most; more points meet fewer references."""
_LEAST_REFERENCES = 2_000
_EACH_CLASS = 2 * NEIGHBOURS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Hardness:
    """What `hardness` found for every point; each array has shape (n_samples,).

    Attributes
    ----------
    score : ndarray of float64
        own / (own + other), 0 to 1: above 1/2 the point is nearer to another class than to its own.
    own : ndarray of float64
        Mean count of the ``NEIGHBOURS`` nearest points of its own class, as a share of the
        hyperplanes; 1 for the only point of a class.
    other : ndarray of float64
        The same for the nearest other class.
    suggested : ndarray of int64
        Code of the other class that is nearest, for most of the first layers.
    threshold : ndarray of float64
        m, the threshold of the point's own neuron, as a share of the hyperplanes; the mean.
    nearest : ndarray of int64
        Row of the point of another class that gave m in the first of the first layers.
    alone : ndarray of float64
        Share of the first layers in which the point's own neuron covers no other point.
    separated_at : ndarray of shape (n_layers, n_samples), int64
        Number of hyperplanes from which on the point can be covered (m >= 1), for each first layer;
        n_hyperplanes + 1 where all of them are too few.
    n_hyperplanes, n_layers, n_references : int
        Size of the first layers, their number, and how many points all points are compared with.
    """

    score: Floats
    own: Floats
    other: Floats
    suggested: Integers
    threshold: Floats
    nearest: Integers
    alone: Floats
    separated_at: Integers
    n_hyperplanes: int
    n_layers: int
    n_references: int

    def hardest(self, count: int) -> Integers:
        """Rows of the hardest points, the hardest first; of equals the lower row."""
        return np.argsort(-self.score, kind="stable")[:count]

    def save(self, path: Path, labels: Any, classes: Any) -> None:
        """Write a csv table with a row for each point.

        Parameters
        ----------
        path : Path
            Replaced only once the table is complete.
        labels : array-like of shape (n_samples,)
        classes : array-like of shape (K,)
            The label of each code.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        names = np.asarray(classes).tolist()
        columns: dict[str, Any] = {
            "row": range(len(self.score)),
            "label": np.asarray(labels).reshape(-1).tolist(),
            "hardness": np.round(self.score, 6).tolist(),
            "suggested": [names[code] for code in self.suggested],
            "own": np.round(self.own, 6).tolist(),
            "other": np.round(self.other, 6).tolist(),
            "m": np.round(self.threshold, 6).tolist(),
            "alone": self.alone.tolist(),
            "nearest": self.nearest.tolist(),
            "separated_at": np.median(self.separated_at, axis=0).tolist(),
        }
        with (
            moved_when_complete(path) as temporary,
            open(temporary, "x", newline="", encoding="utf-8") as text,
        ):
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))


def hardness(
    X: Any,
    y: Any,
    *,
    n_hyperplanes: int = WIDTH,
    n_layers: int = LAYERS,
    max_bias: float | str = "auto",
    projection: str = "auto",
    center: bool = True,
    references: int | None = None,
    seed: Any = None,
    n_threads: int | None = None,
    progress: Callable[[str, int, int, int], object] | None = None,
) -> Hardness:
    """Say how hard every point is to memorise; the hardest are often mislabelled.

    Parameters
    ----------
    X : array-like or CSR matrix of shape (n_samples, n_features)
        As `fastmem.interpolate` takes it.
    y : array-like of shape (n_samples,)
        Labels of at least two classes.
    n_hyperplanes : int, default 2,048
        Width of each first layer.
    n_layers : int, default 4
        Independent first layers.
    max_bias, projection, center
        As for `fastmem.interpolate`, but that "auto" is the largest norm, as in the paper.
    references : int, optional
        Compare with so many points drawn at random (and at least ten of each class) instead of
        all; ``m`` is then too large. By default all points up to some 70,000, and fewer beyond, so
        that the time stays in proportion to the number of points.
    seed : int, numpy.random.Generator, SeedSequence or None
        The same data, arguments and seed give the same result, whatever ``n_threads``.
    n_threads : int, optional
        Threads to use; all cores by default.
    progress : callable, optional
        Called as ``progress("first layers", done, total, 0)``.

    Returns
    -------
    Hardness

    Raises
    ------
    InvalidInputError
        For any argument that cannot be used.

    Notes
    -----
    Where at least half of the rows are further copies of a point with its label, only so many
    copies are compared as can matter, which changes no count.
    """
    points = check_points(X)
    classes, codes = check_labels(y, points.n_samples)
    _check_count("n_hyperplanes", n_hyperplanes)
    _check_count("n_layers", n_layers)
    if references is not None:
        _check_count("references", references)
    settings = check_interpolate(
        classes, points.n_features, width=n_hyperplanes, max_bias=max_bias, projection=projection,
        center=center, seed=seed, n_threads=n_threads, is_sparse=points.is_sparse,
    )  # fmt: skip
    threads = settings.n_threads
    extent = extent_of(points, threads)
    twins = _twins(points, codes, threads)
    if twins is not None:
        points, codes = some_points(points, twins.kept), codes[twins.kept]
    reference_seed, *layer_seeds = settings.seed.spawn(1 + n_layers)
    most = references or max(_LEAST_REFERENCES, PAIRS // points.n_samples)
    kept = _references(codes, len(classes), most, np.random.default_rng(reference_seed))
    found = _Sums(points.n_samples, n_layers, n_hyperplanes)
    patterns = Patterns(codes, len(classes), -(-n_hyperplanes // WORD_BITS))
    compare = _Comparison(patterns, kept, n_hyperplanes, threads)
    norms = bias_norms(settings, points, extent) if settings.biases == "norms" else None
    for layer, layer_seed in enumerate(layer_seeds):
        source = row_source(settings, np.random.default_rng(layer_seed), extent, norms)
        patterns.fill(points, source.start(n_hyperplanes, extent.centre, extent.radius), threads)

        def tell(done: int, before: int = layer * points.n_samples) -> None:
            if progress is not None:
                progress("first layers", before + done, n_layers * points.n_samples, 0)

        compare.run(found, layer, tell)
    result = found.result(len(compare.position_of))
    return result if twins is None else twins.all_rows(result)


class _Twins:
    """Rows that stand for all: copies of a point with one label have the same hardness.

    kept (m,): ascending rows; place (n,): the place in ``kept`` of a row's copy, or of itself.
    """

    def __init__(self, kept: NDArray[Any], place: NDArray[Any]) -> None:
        self.kept, self.place = kept, place

    def all_rows(self, found: Hardness) -> Hardness:
        """Give what was found for some rows to all of them."""
        names = ("score", "own", "other", "suggested", "threshold", "alone")
        spread: dict[str, Any] = {name: getattr(found, name)[self.place] for name in names}
        return replace(
            found, **spread, nearest=self.kept[found.nearest[self.place]].astype(np.int64),
            separated_at=found.separated_at[:, self.place],
        )  # fmt: skip


def _twins(points: Points, codes: NDArray[Any], n_threads: int) -> _Twins | None:
    """Leave out copies beyond what the nearest of any point can be; None where few would be."""
    if not look_repeated(points):
        return None
    equal = equal_rows(points, n_threads)
    group = np.repeat(np.arange(len(equal.starts)), equal.sizes)
    order = np.lexsort((codes[equal.rows], group))  # stable
    rows = equal.rows[order]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (np.diff(group[order]) != 0) | (np.diff(codes[rows].astype(np.int64)) != 0)
    starts = np.flatnonzero(new)
    number = np.arange(len(rows)) - starts[np.cumsum(new) - 1]
    spare = number > NEIGHBOURS  # a point and as many of its copies as are averaged stay
    if 2 * np.count_nonzero(spare) < points.n_samples:
        return None
    kept = np.ones(points.n_samples, np.bool_)
    kept[rows[spare]] = False
    place = np.cumsum(kept) - 1
    place[rows[spare]] = place[rows[starts[np.cumsum(new) - 1][spare]]]
    return _Twins(np.flatnonzero(kept), place)


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InvalidInputError(f"{name} is {value!r}: pass an int of at least 1")


def _references(
    codes: NDArray[Any], n_classes: int, most: int, generator: np.random.Generator
) -> NDArray[np.bool_] | None:
    """Which points all are compared with; None for every one of them."""
    if len(codes) <= most:
        return None
    kept = np.zeros(len(codes), np.bool_)
    kept[generator.choice(len(codes), most, replace=False)] = True
    few = np.flatnonzero(np.bincount(codes[kept], minlength=n_classes) < _EACH_CLASS)
    for code in few:
        members = np.flatnonzero(codes == code)
        kept[generator.permutation(members)[:_EACH_CLASS]] = True
    return kept


class _Sums:
    """Results of the first layers, added up."""

    def __init__(self, n: int, n_layers: int, width: int) -> None:
        self.own, self.other, self.threshold, self.alone = np.zeros((4, n))
        self.suggested = np.empty((n_layers, n), np.int32)
        self.separated_at = np.empty((n_layers, n), np.int64)
        self.nearest = np.empty(n, np.int64)
        self.n_layers, self.width = n_layers, width

    def result(self, n_references: int) -> Hardness:
        """Give shares of the hyperplanes instead of counts."""
        both = self.own + self.other
        score = np.divide(self.own, both, out=np.full(len(both), 0.5), where=both > 0)
        total = self.n_layers * self.width
        return Hardness(
            score, self.own / total, self.other / total, _most_frequent(self.suggested),
            self.threshold / total, self.nearest, self.alone / self.n_layers,
            np.minimum(self.separated_at, self.width + 1), self.width, self.n_layers, n_references,
        )  # fmt: skip


def _most_frequent(votes: NDArray[np.int32]) -> Integers:
    """The most frequent value of each column; of equals the one that comes first."""
    count = (votes[:, None] == votes[None]).sum(axis=1)
    best = count.argmax(axis=0)
    return votes[best, np.arange(votes.shape[1])].astype(np.int64)


class _Comparison:
    """All points against the references; runs a layer once ``patterns`` hold it."""

    def __init__(
        self, patterns: Patterns, kept: NDArray[np.bool_] | None, width: int, n_threads: int
    ) -> None:
        self.patterns, self.n_threads = patterns, n_threads
        self.valid, self.width = valid_bits(width), width
        n_classes = patterns.n_classes
        # position in the patterns of every row's point
        places = [
            patterns.first_tile[c] * TILE + np.arange(patterns.class_size(c))
            for c in range(n_classes)
        ]
        self.all_of = kept is None
        self.chosen = [
            at if kept is None else at[kept[patterns.rows(c, np.arange(len(at)))]]
            for c, at in enumerate(places)
        ]
        tiles_of = [max(1, -(-len(at) // TILE)) for at in self.chosen]
        self.first_tile = np.concatenate([[0], np.cumsum(tiles_of)]).astype(np.int64)
        self.sizes = np.full(self.first_tile[-1], TILE, np.int64)
        self.rows = np.full(self.first_tile[-1] * TILE, -1, np.int64)
        # position among the references of the point at each position of the patterns
        self.selves = np.full(len(patterns.sizes) * TILE, -1, np.int64)
        self.position_of = np.concatenate(self.chosen)
        for c, at in enumerate(self.chosen):
            self.sizes[self.first_tile[c + 1] - 1] = len(at) - (tiles_of[c] - 1) * TILE
            here = self.first_tile[c] * TILE + np.arange(len(at))
            self.selves[at] = here
            self.rows[here] = patterns.rows(c, at - patterns.first_tile[c] * TILE)

    def _tiles(self) -> NDArray[np.uint64]:
        if self.all_of:
            return self.patterns.tiles
        tiles = aligned_zeros((len(self.sizes), len(self.valid), TILE), np.uint64)
        for c, at in enumerate(self.chosen):
            gather(self.patterns.tiles, at, tiles, int(self.first_tile[c]) * TILE)
        return tiles

    def run(self, sums: _Sums, layer: int, tell: Callable[[int], object]) -> None:
        """Add a layer to ``sums``; ``tell(points done)`` is called on the calling thread."""
        patterns = self.patterns
        references = References(self._tiles(), self.sizes, self.first_tile, self.valid)
        tasks = [
            (c, tile)
            for c in range(patterns.n_classes)
            for tile in range(patterns.first_tile[c], patterns.first_tile[c + 1])
        ]

        caller, lock = threading.get_ident(), threading.Lock()
        done = 0

        def work(task: tuple[int, int]) -> None:
            nonlocal done
            c, tile = task
            size = int(patterns.sizes[tile])
            local = np.arange(size) + (tile - patterns.first_tile[c]) * TILE
            rows = patterns.rows(c, local)
            selves = self.selves[tile * TILE : (tile + 1) * TILE]
            queries = Queries(patterns.tiles[tile], size, c, selves)
            near, widths = new_nearness(), np.empty(TILE, np.int64)
            nearest_counts(queries, references, NEIGHBOURS, near)
            separation_widths(queries, references, widths)
            near = Nearness(*(values[:size] for values in near))
            sums.own[rows] += np.where(near.own_mean < 0, self.width, near.own_mean)
            sums.other[rows] += np.where(near.other_mean < 0, self.width, near.other_mean)
            sums.threshold[rows] += near.threshold
            sums.alone[rows] += near.company == 0
            sums.suggested[layer, rows] = near.other_class
            sums.separated_at[layer, rows] = widths[:size]
            if layer == 0:
                sums.nearest[rows] = self.rows[near.nearest]
            with lock:
                done += size
            if threading.get_ident() == caller:
                tell(done)

        run_tasks(work, tasks, self.n_threads)
        tell(done)
