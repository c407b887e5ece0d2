"""Bit columns: of every hyperplane one row of words, with a bit for each point.

Bit i of word w of a column is the sign of point 64 w + i, where sign patterns have one row a point.
Made for rows of few entries (``kernels.keyed_rows``); what other layers have is taken as it is.
"""

from __future__ import annotations

import threading

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.keyed import KeyedHyperplanes, ShortEntries
from fastmem.inputs import Points, SparseRows
from fastmem.kernels.keyed_rows import ShortRows, dense_columns, fill_filter, sparse_columns
from fastmem.kernels.layout import WORD_BITS
from fastmem.machine.arrays import frozen
from fastmem.machine.threads import ranges, run_tasks
from fastmem.patterns.prepared import kept_with_the_layer

_TASK_POINTS = 16 * WORD_BITS
_TASK_ADDITIONS = 200_000_000
"""Additions of a task: Ctrl-C has to wait for the end of one."""
_MOST_FEATURES = 1 << 16
"""Features of which 64 points are side by side, at 768 bytes each: 50 MB a thread."""


@kept_with_the_layer
def short_rows(hyperplanes: Hyperplanes) -> tuple[np.ndarray, ShortRows]:
    """The features that a layer uses, (u,) int64, and its rows in these."""
    entries = _entries(hyperplanes)
    used = np.unique(entries.columns).astype(np.int64)
    places = np.searchsorted(used, entries.columns).astype(np.int32)
    biases = hyperplanes.biases
    shifted, errors, floors = np.empty((3, len(biases)))
    rows = ShortRows(
        entries.starts, frozen(places), entries.weights, biases,
        frozen(hyperplanes.origin[used]), shifted, errors, floors, hyperplanes.scale,
    )  # fmt: skip
    fill_filter(rows)
    return frozen(used), rows


def _entries(hyperplanes: Hyperplanes) -> ShortEntries:
    if isinstance(hyperplanes, KeyedHyperplanes):
        return hyperplanes.entries
    rows, columns = np.nonzero(hyperplanes.weights)
    starts = np.searchsorted(rows, np.arange(len(hyperplanes) + 1))
    weights = hyperplanes.weights[rows, columns]
    return ShortEntries(frozen(starts), frozen(columns.astype(np.int32)), frozen(weights))


def kernel_points(
    points: Points, start: int, stop: int, used: np.ndarray
) -> tuple[np.ndarray, ...]:
    """The points start..stop-1 as kernels take them: the first arguments of `dense_columns`.

    Or of `sparse_columns`. Of rows too long to be copied as a whole, the features in use alone.
    """
    if points.is_sparse:
        block = points.block(start, stop)
        return block.values, _places(block, used), block.starts
    if stop - start <= points.max_block_rows:
        return points.block(start, stop), used
    pieces = ranges(stop - start, points.max_block_rows)
    parts = [points.block(start + a, start + b)[:, used] for a, b in pieces]
    return frozen(np.concatenate(parts)), frozen(np.arange(len(used)))


def _places(block: SparseRows, used: np.ndarray) -> np.ndarray:
    """Where each stored value's feature is among those in use, or -1; int32."""
    places = np.full(len(block.columns), -1, np.int32)
    if len(used):
        at = np.minimum(np.searchsorted(used, block.columns), len(used) - 1)
        places = np.where(used[at] == block.columns, at, -1).astype(np.int32)
    return frozen(places)


def _fill(
    hyperplanes: Hyperplanes, points: Points, word: int, task: tuple[int, int], columns: np.ndarray
) -> np.ndarray:
    """Write the bits of some points to columns (n, W), from the word ``word`` on.

    Returns which hyperplanes they lie on, (n,) bool.
    """
    used, rows = short_rows(hyperplanes)
    touched = np.zeros(len(hyperplanes), bool)
    kernel = sparse_columns if points.is_sparse else dense_columns
    kernel(*kernel_points(points, *task, used), rows, word, columns, touched)
    return touched


def bit_columns(
    hyperplanes: Hyperplanes, points: Points, n_threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Bits of all points, by hyperplane.

    Parameters
    ----------
    hyperplanes : Hyperplanes
    points : Points
    n_threads : int

    Returns
    -------
    columns : ndarray of shape (n, ceil(n_samples / 64)), uint64
        Bits beyond the points are 0.
    touched : ndarray of shape (n,), bool
        Whether a point lies exactly on the hyperplane: its bit is 0 on both sides.
    """
    n, n_words = len(hyperplanes), -(-points.n_samples // WORD_BITS)
    columns, touched = np.empty((n, n_words), np.uint64), np.zeros(n, bool)
    lock = threading.Lock()
    for first, last in _parts(hyperplanes):
        some = hyperplanes
        if last - first < n:
            some = hyperplanes.subset(np.arange(first, last))

        def work(
            task: tuple[int, int], some: Hyperplanes = some, first: int = first, last: int = last
        ) -> None:
            mine = _fill(some, points, task[0] // WORD_BITS, task, columns[first:last])
            with lock:
                touched[first:last] |= mine

        short_rows(some)  # by one thread
        run_tasks(work, ranges(points.n_samples, task_points(some, points)), n_threads)
    return columns, touched


def _parts(hyperplanes: Hyperplanes) -> list[tuple[int, int]]:
    """Ranges of hyperplanes, of so few features that 64 points of them fit in memory."""
    entries = hyperplanes.n_features
    if isinstance(hyperplanes, KeyedHyperplanes) and not len(hyperplanes.extra):
        entries = min(entries, hyperplanes.n_entries)
    n = len(hyperplanes)
    size = n if hyperplanes.n_features <= _MOST_FEATURES else max(1, _MOST_FEATURES // entries)
    return ranges(n, size)


def task_points(hyperplanes: Hyperplanes, points: Points) -> int:
    """Points that one thread takes at a time: a multiple of 64."""
    additions = len(short_rows(hyperplanes)[1].columns)
    most = min(_TASK_POINTS, points.max_block_rows, _TASK_ADDITIONS // max(1, additions))
    return max(WORD_BITS, most // WORD_BITS * WORD_BITS)
