"""Decision lists: the neurons have an order, and the first that is on decides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.keyed import KeyedHyperplanes
from fastmem.inputs import Points
from fastmem.kernels.layout import TILE, WORD_BITS
from fastmem.kernels.ordered_neurons import OrderedNeurons, first_of_dense, first_of_sparse
from fastmem.machine.arrays import frozen
from fastmem.machine.threads import ranges, run_tasks
from fastmem.network.margins import CountMargins
from fastmem.patterns.bit_columns import kernel_points, short_rows, task_points
from fastmem.patterns.words import tiles_of, unpacked
from fastmem.second_layer.cover_layer import CoverLayer

_UNPACKED = 16 << 20
"""Bits of masks that are unpacked at a time, to a byte each."""
_TASK_ANSWERS = 1 << 20
"""Answers of a task at most: 8 MB, where there are many classes."""


def literals_of(second: CoverLayer, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The hyperplanes of each mask, ascending: starts (m + 1,) int64 and literals int32."""
    starts = np.zeros(len(second) + 1, np.int64)
    np.cumsum(np.bitwise_count(second.masks).sum(axis=1), out=starts[1:])
    literals = np.empty(starts[-1], np.int32)
    for first, last in ranges(len(second), max(1, _UNPACKED // n)):
        some = unpacked(second.masks[first:last], n)
        literals[starts[first] : starts[last]] = np.nonzero(some)[1]
    return frozen(starts), frozen(literals)


def masks_of(starts: np.ndarray, literals: np.ndarray, n: int) -> np.ndarray:
    """The reverse of `literals_of`, of literals in any order: (m, ceil(n / 64)) uint64."""
    masks = np.zeros((len(starts) - 1, -(-n // WORD_BITS)), np.uint64)
    neurons = np.repeat(np.arange(len(masks)), np.diff(starts))
    bits = np.uint64(1) << (literals % WORD_BITS).astype(np.uint64)
    np.bitwise_or.at(masks, (neurons, literals // WORD_BITS), bits)
    return masks


class DecisionList:
    """The neurons of a second layer in their order (Rivest, Learning decision lists, 1987).

    Parameters
    ----------
    first, second
        Layers of a network; all thresholds are 1.
    default : int
        The class where no neuron is on.
    n_classes : int
    """

    def __init__(
        self, first: Hyperplanes, second: CoverLayer, default: int, n_classes: int
    ) -> None:
        self._first, self._owners, self._default = first, second.owners.astype(np.intp), default
        self._n_classes, self._second = n_classes, second
        parts = literals_of(second, len(first))
        together = frozen(np.zeros(len(second), np.int64))
        self._all = OrderedNeurons(*parts, together, 1)
        by_class = frozen(second.owners.astype(np.int64))
        self._by_class = OrderedNeurons(*parts, by_class, n_classes)

    def rules(self, points: Points, n_threads: int) -> np.ndarray:
        """The neuron that decides for each point, or -1 for the default; (N,) int64."""
        rules = np.empty(points.n_samples, np.int64)

        def keep(start: int, stop: int, found: np.ndarray) -> None:
            rules[start:stop] = found[0]

        self._stream(points, self._all, n_threads, keep)
        return rules

    def codes(self, points: Points, n_threads: int) -> np.ndarray:
        """The class of each point, (N,) intp."""
        with_default = np.append(self._owners, self._default)  # which -1 names
        codes = np.empty(points.n_samples, np.intp)

        def keep(start: int, stop: int, found: np.ndarray) -> None:
            codes[start:stop] = with_default[found[0]]

        self._stream(points, self._all, n_threads, keep)
        return codes

    def codes_of_patterns(self, rows: np.ndarray) -> np.ndarray:
        """As `codes`, of patterns (P, n_words) uint64."""
        m = len(self._second)
        if not m:
            return np.full(len(rows), self._default, np.intp)
        margins = CountMargins(self._second, np.arange(m), m)
        codes = np.empty(len(rows), np.intp)
        for start, stop in ranges(len(rows), max(TILE, _TASK_ANSWERS // m)):
            on = margins.of_tiles(tiles_of(rows[start:stop]), stop - start) > 0
            earliest = self._owners[on.argmax(axis=0)]
            codes[start:stop] = np.where(on.any(axis=0), earliest, self._default)
        return codes

    def scores(self, points: Points, n_threads: int) -> np.ndarray:
        """Scores of all classes, (N, K) float64: R - r where neuron of run r of R is on first.

        0 for a class of which no neuron is on, and at least 0.5 for the default.
        """
        runs = runs_of(self._owners)
        values = np.append(np.float64(runs[-1] + 1 if len(runs) else 0) - runs, 0.0)
        scores = np.empty((points.n_samples, self._n_classes))

        def keep(start: int, stop: int, found: np.ndarray) -> None:
            scores[start:stop] = values[found].T

        self._stream(points, self._by_class, n_threads, keep)
        np.maximum(scores[:, self._default], 0.5, out=scores[:, self._default])
        return scores

    def _stream(
        self,
        points: Points,
        neurons: OrderedNeurons,
        n_threads: int,
        keep: Callable[[int, int, np.ndarray], object],
    ) -> None:
        """Call keep(start, stop, found), on several threads, for all ranges of points.

        found (n_groups, stop - start) int64 is the first neuron of each group that is on, or -1.
        """
        used, rows = short_rows(self._first)
        size = max(64, min(task_points(self._first, points), _TASK_ANSWERS // neurons.n_groups))

        def work(task: tuple[int, int]) -> None:
            found = np.empty((neurons.n_groups, task[1] - task[0]), np.int64)
            kernel = first_of_sparse if points.is_sparse else first_of_dense
            kernel(*kernel_points(points, *task, used), rows, neurons, found)
            keep(*task, found)

        run_tasks(work, ranges(points.n_samples, size), n_threads)


def runs_of(owners: np.ndarray) -> np.ndarray:
    """The run of each neuron, from 0: neighbours of one class, whose order does not matter."""
    new = np.ones(len(owners), bool)
    new[1:] = owners[1:] != owners[:-1]
    return np.cumsum(new) - 1


def list_layers(
    candidates: KeyedHyperplanes, starts: np.ndarray, literals: np.ndarray, classes: np.ndarray
) -> tuple[KeyedHyperplanes, CoverLayer]:
    """The layers of a decision list, with no hyperplane that it does not use.

    Parameters
    ----------
    candidates : KeyedHyperplanes
    starts : ndarray of shape (m + 1,), integer
    literals : ndarray of shape (starts[m],), integer
        Neuron j is on where all its literals, literals[starts[j]:starts[j + 1]], are true: 2 i
        where points are on the positive side of candidate i, 2 i + 1 where they are not. No point
        should lie on the hyperplane of a literal 2 i.
    classes : ndarray of shape (m,), integer
        The class of each neuron, in the order of the list.

    Returns
    -------
    KeyedHyperplanes, CoverLayer
        A neuron is on where all hyperplanes of its mask have bits that are 0, so that a literal
        2 i stands as the mirrored hyperplane.
    """
    numbers, places = np.unique(np.asarray(literals, np.int64), return_inverse=True)
    if not len(numbers):
        numbers = np.ones(1, np.int64)  # a first layer has a row at least
    rows = candidates.rows[numbers >> 1].astype(np.int64)
    is_mirrored = numbers & 1 == 0
    is_extra = rows < 0
    rows = np.where(is_extra, 0, rows ^ is_mirrored)
    signs = np.where(is_mirrored[is_extra], -1.0, 1.0)
    sources = -1 - candidates.rows[numbers[is_extra] >> 1]
    extra = (candidates.extra[sources] * signs[:, None]).astype(np.float32)
    # numbers that ascend, then what is stored
    order = np.argsort(np.where(is_extra, np.iinfo(np.int64).max, rows), kind="stable")
    rows[is_extra] = -1 - np.arange(np.count_nonzero(is_extra))
    first = KeyedHyperplanes(
        candidates.key, rows[order].astype(np.int32), candidates.n_entries, candidates.reach,
        candidates.center, extra, candidates.extra_biases[sources] * signs,
    )  # fmt: skip
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    masks = masks_of(starts, place[places], len(order))
    ones = np.ones(len(classes), np.int32)
    return first, CoverLayer(masks, ones, np.asarray(classes).astype(np.int32))
