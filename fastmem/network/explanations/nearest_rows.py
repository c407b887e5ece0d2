"""Rows of a data set beside a point: what the neuron that decided stores, and what it excludes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fastmem.inputs import Points, SparseRows
from fastmem.machine.threads import ranges, run_tasks
from fastmem.network.margins import CountMargins, margins_of
from fastmem.patterns.of_points import tiles_of_blocks
from fastmem.patterns.words import valid_bits
from fastmem.second_layer.cover_layer import CoverLayer

if TYPE_CHECKING:
    from fastmem.network.network import Network

_TASK_COUNTS = 1 << 20
_TASK_VALUES = 1 << 20


@dataclass(frozen=True)
class Probe:
    """A point whose neighbours are asked for.

    Attributes
    ----------
    code : int
        Its class.
    pattern : ndarray of shape (n_words,), uint64
    neuron : int or None
        That decided, or None: then rows are ordered by distance alone.
    values : ndarray of shape (d,), float64, or None
        The scaled point, for Euclidean distances instead of those of patterns.
    """

    code: int
    pattern: np.ndarray
    neuron: int | None
    values: np.ndarray | None


@dataclass
class Ranked:
    """The best few of the rows shown so far: by count, then by distance, then by row."""

    most: int
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    counts: np.ndarray = field(default_factory=lambda: np.empty(0))
    distances: np.ndarray = field(default_factory=lambda: np.empty(0))

    def add(self, rows: np.ndarray, counts: np.ndarray, distances: np.ndarray) -> None:
        """Show rows, whose order does not matter."""
        if self.most < len(rows):  # few are left, and these are sorted
            near = counts <= np.partition(counts, self.most - 1)[self.most - 1]
            rows, counts, distances = rows[near], counts[near], distances[near]
        rows, counts, distances = (
            np.concatenate(pair)
            for pair in ((self.rows, rows), (self.counts, counts), (self.distances, distances))
        )
        best = np.lexsort((rows, distances, counts))[: self.most]
        self.rows, self.counts, self.distances = rows[best], counts[best], distances[best]


@dataclass
class Neighbours:
    """What the rows say of a probe.

    Attributes
    ----------
    own, others : Ranked
    n_covered, n_stored : int
        See `Explanation`.
    """

    own: Ranked
    others: Ranked
    n_covered: int = 0
    n_stored: int = 0


def neighbours(
    network: Network,
    points: Points,
    codes: np.ndarray,
    probes: Sequence[Probe],
    most: int,
    n_threads: int,
    order: np.ndarray | None = None,
) -> list[Neighbours]:
    """Go through all rows once.

    points are scaled, codes (N,) intp their classes; ``most`` rows of each kind are kept. order
    (N,) int64 is the neuron of a list that decides for each row, -1 for the default.
    """
    found = [Neighbours(Ranked(most), Ranked(most)) for _ in probes]
    by_patterns = [i for i, probe in enumerate(probes) if probe.values is None]
    if by_patterns:
        some = [probes[i] for i in by_patterns]
        here = [found[i] for i in by_patterns]
        _by_patterns(network, points, codes, some, here, n_threads, order)
    by_values = [i for i, probe in enumerate(probes) if probe.values is not None]
    if by_values:
        values = np.array([probes[i].values for i in by_values])
        _by_values(points, codes, values, [(probes[i], found[i]) for i in by_values], n_threads)
    return found


def _by_patterns(
    network: Network,
    points: Points,
    codes: np.ndarray,
    probes: Sequence[Probe],
    found: Sequence[Neighbours],
    n_threads: int,
    order: np.ndarray | None,
) -> None:
    first, second = network.first, network.second
    n_probes = len(probes)
    neurons = [-1 if probe.neuron is None else probe.neuron for probe in probes]
    masks = np.zeros((1 + 2 * n_probes, first.n_words), np.uint64)
    masks[0] = valid_bits(len(first))
    masks[1 : 1 + n_probes] = [probe.pattern for probe in probes]
    for row, j in zip(masks[1 + n_probes :], neurons, strict=True):
        row[:] = second.masks[j] if j >= 0 else 0
    none = np.zeros(len(masks), np.int32)
    counted = CountMargins(CoverLayer(masks, none, none), np.arange(len(masks)), len(masks))
    ones = np.bitwise_count(masks[1 : 1 + n_probes]).sum(axis=1, dtype=np.int64)
    # real sums rank what counts of ones only tell from 0
    are_real = second.activation == "relu"
    used = np.array([max(0, j) for j in neurons])
    deciding = CoverLayer(second.masks[used], second.thresholds[used], second.owners[used])
    sums = margins_of(first, deciding, np.arange(n_probes), n_probes) if are_real else None
    size = _TASK_COUNTS // len(masks)
    size = size if sums is None else min(size, sums.task_rows(points))
    lock = threading.Lock()

    def work(start: int, stop: int, tiles: np.ndarray) -> None:
        counts = -counted.of_tiles(tiles, stop - start)
        real = None if sums is None else sums.of(points, start, stop, tiles, False)
        classes = codes[start:stop]
        for i, (probe, j) in enumerate(zip(probes, neurons, strict=True)):
            distances = ones[i] + counts[0] - 2 * counts[1 + i]
            inside = counts[1 + n_probes + i]
            own, others = classes == probe.code, classes != probe.code
            if order is not None:
                # those that come as far as the rule; none of a list's is the default
                last = order[start:stop]
                own &= last == j
                others &= (last < 0) | (last >= j) if j >= 0 else True
            n_stored = n_covered = 0
            if j >= 0:
                threshold = second.thresholds[j]
                covered = inside < threshold if real is None else real[i] > 0
                n_covered = int(np.count_nonzero(own & covered))
                own &= inside == 0
                n_stored = int(np.count_nonzero(own))
                inside = inside if real is None else threshold - real[i]
            rows = np.flatnonzero(own)
            away = np.flatnonzero(others)
            with lock:
                found[i].n_covered += n_covered
                found[i].n_stored += n_stored
                found[i].own.add(start + rows, np.zeros(len(rows)), distances[rows])
                found[i].others.add(start + away, inside[away], distances[away])

    tiles_of_blocks(points, first, n_threads, work, max(1, size))


def _by_values(
    points: Points,
    codes: np.ndarray,
    values: np.ndarray,
    probes: Sequence[tuple[Probe, Neighbours]],
    n_threads: int,
) -> None:
    """Euclidean distances, of rows in float64."""
    size = max(1, min(points.max_block_rows, _TASK_VALUES // points.n_features))
    lock = threading.Lock()

    def work(task: tuple[int, int]) -> None:
        block = points.block(*task)
        block = block.dense() if isinstance(block, SparseRows) else block
        for value, (probe, found) in zip(values, probes, strict=True):
            with np.errstate(over="ignore"):
                away = block - value
                distances = np.sqrt((away * away).sum(axis=1))
            for ranked, chosen in (
                (found.own, codes[slice(*task)] == probe.code),
                (found.others, codes[slice(*task)] != probe.code),
            ):
                rows = np.flatnonzero(chosen)
                with lock:
                    ranked.add(task[0] + rows, np.zeros(len(rows)), distances[rows])

    run_tasks(work, ranges(points.n_samples, size), n_threads)


def spans(points: Points, n_threads: int) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest value of each feature, (d,) float64 each."""
    low, high = np.full(points.n_features, np.inf), np.full(points.n_features, -np.inf)
    lock = threading.Lock()

    def work(task: tuple[int, int]) -> None:
        block = points.block(*task)
        least, most = np.zeros(points.n_features), np.zeros(points.n_features)
        if isinstance(block, SparseRows):  # and zeros, which are most of it
            np.minimum.at(least, block.columns, block.values)
            np.maximum.at(most, block.columns, block.values)
        else:
            least, most = block.min(axis=0), block.max(axis=0)
        with lock:
            np.minimum(low, least, out=low)
            np.maximum(high, most, out=high)

    size = max(1, min(points.max_block_rows, 4 * _TASK_VALUES // points.row_values))
    run_tasks(work, ranges(points.n_samples, size), n_threads)
    return low, high
