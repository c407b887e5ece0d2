"""Passes over sparse rows: which hyperplanes have their weights at hand, for which columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.inputs import SparseRows
from fastmem.kernels.bits import FEW_LANES, WORD_BITS
from fastmem.kernels.sparse import largest_weights, sparse_pattern_words
from fastmem.kernels.threads import ranges, run_tasks

if TYPE_CHECKING:
    from fastmem.hyperplanes import Hyperplanes

PANEL_BYTES = 128 << 20
"""Room for the weights that one pass over sparse rows reads: half of what a fit may take beyond
its patterns. At a million columns it holds those of 32 hyperplanes."""
_TASK_WEIGHTS = 1 << 20
_NO_COLUMNS = np.empty(0, np.int64)

Fill = Callable[[Any, np.ndarray, int], int]
"""fill(block, tiles, position): write some words of the patterns of ``block``, an ndarray or
`SparseRows`, at ``position`` of ``tiles``; returns the doubtful bits."""
PanelMaker = Callable[[np.ndarray, int, int, np.ndarray], object]
"""make(columns, first, last, panels): panels[g, k, h] = weight of the hyperplane g L + h, among
those it is for, at columns[k], first <= k < last; panels (groups, c, L) float32. ``columns`` is
empty for all columns in order. Beyond the last hyperplane stands 0."""


def sparse_passes(
    hyperplanes: Hyperplanes,
    used: np.ndarray | None,
    n_threads: int,
    words: tuple[int, int],
) -> Iterator[tuple[Fill, float]]:
    """Passes over `SparseRows` that together write words[0]..words[1]-1 of their patterns.

    Each has the weights of as many hyperplanes as PANEL_BYTES hold, 16 at least. They stand
    feature-major, those of 64 or 16 hyperplanes side by side, so that a nonzero reads neighbouring
    numbers; for the columns ``used`` (ascending), or for all of them. A pass and its share of the
    work are yielded; it may be called on any thread, but only before the next is asked for.

    One million rows of 88 nonzeros in a million columns, 512 hyperplanes: see bench/limits.py.
    """
    n_columns = hyperplanes.n_features if used is None else max(1, len(used))
    lanes = WORD_BITS if 4 * WORD_BITS * n_columns <= PANEL_BYTES else FEW_LANES
    first, last = words[0] * WORD_BITS, words[1] * WORD_BITS
    groups = max(1, min(PANEL_BYTES // (4 * lanes * n_columns), (last - first) // lanes))
    panels = np.zeros((groups, n_columns, lanes), np.float32)
    columns = _NO_COLUMNS if used is None else used
    size = max(1, _TASK_WEIGHTS // (groups * lanes))
    tasks = ranges(n_columns if used is None else len(used), size)
    biases = np.full(last, -1.0)  # those of the padding
    biases[: len(hyperplanes)] = hyperplanes.biases[:last]
    for start in range(first, last, groups * lanes):
        stop = min(start + groups * lanes, last)
        now = panels[: (stop - start) // lanes]
        largest = np.zeros((len(tasks) + 1, len(now), lanes))
        make = hyperplanes.panel_maker(start, min(stop, len(hyperplanes)))

        def prepare(index: int, now=now, make=make, largest=largest) -> None:
            make(columns, *tasks[index], now)
            largest_weights(now, *tasks[index], largest[index])

        run_tasks(prepare, range(len(tasks)), n_threads)
        bounds = largest.max(axis=0)
        levels = biases[start:stop].reshape(-1, lanes)

        def fill(
            block: SparseRows, tiles: np.ndarray, position: int,
            now=now, start=start, bounds=bounds, levels=levels,
        ) -> int:  # fmt: skip
            where = block.columns
            if used is not None:
                where = np.searchsorted(used, where).astype(where.dtype)
                where.flags.writeable = False
            return sparse_pattern_words(
                block.values, where, block.starts, now, bounds, levels, start, tiles, position
            )

        yield fill, (stop - start) / (last - first)


def fill_sparse(
    hyperplanes: Hyperplanes,
    block: SparseRows,
    tiles: np.ndarray,
    position: int,
    words: tuple[int, int],
) -> int:
    """Write words of the patterns of a few sparse rows, whose columns alone matter."""
    used = np.unique(block.columns).astype(np.int64)
    return sum(
        fill(block, tiles, position) for fill, _ in sparse_passes(hyperplanes, used, 1, words)
    )
