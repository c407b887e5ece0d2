"""Bit columns: of every hyperplane one row of words, with a bit for each point.

Bit i of word w of a column is the sign of point 64 w + i, where sign patterns have one row a point.
Made for rows of few entries (``kernels.keyed_rows``); what other layers have is taken as it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

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


def fill_columns(
    hyperplanes: Hyperplanes, block: Any, word: int, columns: np.ndarray, touched: np.ndarray
) -> None:
    """Write the bits of a few points, on this thread, from the word ``word`` on.

    block (m, d) float32 or float64, read-only, or sparse; columns (n, W) uint64; touched (n,) bool
    is set where a point lies exactly on the hyperplane.
    """
    used, rows = short_rows(hyperplanes)
    if not isinstance(block, SparseRows):
        dense_columns(block, used, rows, word, columns, touched)
        return
    places = np.full(len(block.columns), -1, np.int32)
    if len(used):
        at = np.minimum(np.searchsorted(used, block.columns), len(used) - 1)
        places = np.where(used[at] == block.columns, at, -1).astype(np.int32)
    sparse_columns(block.values, frozen(places), block.starts, rows, word, columns, touched)


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
    columns = np.empty((len(hyperplanes), -(-points.n_samples // WORD_BITS)), np.uint64)
    touched = np.zeros(len(hyperplanes), bool)
    lock = threading.Lock()
    short_rows(hyperplanes)  # by one thread

    def work(task: tuple[int, int]) -> None:
        mine = np.zeros(len(hyperplanes), bool)
        fill_columns(hyperplanes, points.block(*task), task[0] // WORD_BITS, columns, mine)
        with lock:
            np.logical_or(touched, mine, out=touched)

    run_tasks(work, ranges(points.n_samples, task_points(hyperplanes, points)), n_threads)
    return columns, touched


def task_points(hyperplanes: Hyperplanes, points: Points) -> int:
    """Points that one thread takes at a time: a multiple of 64."""
    additions = len(short_rows(hyperplanes)[1].columns)
    most = min(_TASK_POINTS, points.max_block_rows, _TASK_ADDITIONS // max(1, additions))
    return max(WORD_BITS, most // WORD_BITS * WORD_BITS)


def columns_of_blocks(
    hyperplanes: Hyperplanes,
    points: Points,
    n_threads: int,
    use: Callable[[int, int, np.ndarray], object],
) -> None:
    """Call use(start, stop, columns), on several threads, with the bits of all ranges of points.

    columns (n, ceil((stop - start) / 64)) uint64, of the points start..stop-1 alone.
    """
    short_rows(hyperplanes)

    def work(task: tuple[int, int]) -> None:
        start, stop = task
        columns = np.empty((len(hyperplanes), -(-(stop - start) // WORD_BITS)), np.uint64)
        unused = np.zeros(len(hyperplanes), bool)
        fill_columns(hyperplanes, points.block(start, stop), 0, columns, unused)
        use(start, stop, columns)

    run_tasks(work, ranges(points.n_samples, task_points(hyperplanes, points)), n_threads)
