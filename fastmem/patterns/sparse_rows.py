"""Signs of sparse rows: which hyperplanes have their weights at hand, for which columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import SparseRows
from fastmem.kernels.layout import FEW_LANES, WORD_BITS
from fastmem.kernels.sparse import largest_weights, sparse_pattern_words
from fastmem.machine.arrays import frozen
from fastmem.machine.threads import ranges, run_tasks
from fastmem.patterns.prepared import Fill, Pass

PANEL_BYTES = 128 << 20
"""Room for the weights that one pass over sparse rows reads: half of what a fit may take beyond
its patterns. At a million columns it holds those of 32 hyperplanes."""
_TASK_WEIGHTS = 1 << 20
_NO_COLUMNS = np.empty(0, np.int64)


def passes(
    hyperplanes: Hyperplanes, used: np.ndarray | None, words: tuple[int, int]
) -> Sequence[Pass]:
    """Passes over `SparseRows` that together write words[0]..words[1]-1 of their patterns.

    Each has the weights of as many hyperplanes as PANEL_BYTES hold, 16 at least. They stand
    feature-major, those of 64 or 16 hyperplanes side by side, so that a nonzero reads neighbouring
    numbers; for the columns ``used`` (ascending), or for all of them. All passes share the room
    for them.

    One million rows of 88 nonzeros in a million columns, 512 hyperplanes: see bench/limits.py.
    """
    n_columns = hyperplanes.n_features if used is None else max(1, len(used))
    lanes = WORD_BITS if 4 * WORD_BITS * n_columns <= PANEL_BYTES else FEW_LANES
    first, last = words[0] * WORD_BITS, words[1] * WORD_BITS
    groups = max(1, min(PANEL_BYTES // (4 * lanes * n_columns), (last - first) // lanes))
    panels = np.zeros((groups, n_columns, lanes), np.float32)
    biases = np.full(last, -1.0)  # those of the padding
    biases[: len(hyperplanes)] = hyperplanes.biases[:last]

    def one(start: int, stop: int) -> Pass:
        now = panels[: (stop - start) // lanes]
        levels = biases[start:stop].reshape(-1, lanes)

        def prepare(n_threads: int) -> Fill:
            bounds = _fill_panels(hyperplanes, start, stop, used, now, n_threads)

            def fill(block: SparseRows, tiles: np.ndarray, position: int) -> int:
                columns = block.columns
                if used is not None:
                    columns = frozen(np.searchsorted(used, columns).astype(columns.dtype))
                doubtful: int = sparse_pattern_words(
                    block.values, columns, block.starts, now, bounds, levels, start, tiles, position
                )
                return doubtful

            return fill

        return Pass((stop - start) / (last - first), prepare)

    size = groups * lanes
    return [one(first + start, first + stop) for start, stop in ranges(last - first, size)]


def _fill_panels(
    hyperplanes: Hyperplanes,
    start: int,
    stop: int,
    used: np.ndarray | None,
    panels: np.ndarray,
    n_threads: int,
) -> np.ndarray:
    """Weights of the hyperplanes start..stop-1 in ``panels``, and their largest magnitudes."""
    groups, n_columns, lanes = panels.shape
    columns = _NO_COLUMNS if used is None else used
    size = max(1, _TASK_WEIGHTS // (groups * lanes))
    tasks = ranges(n_columns if used is None else len(used), size)
    largest = np.zeros((len(tasks) + 1, groups, lanes))
    make = hyperplanes.panel_maker(start, min(stop, len(hyperplanes)))

    def work(index: int) -> None:
        make(columns, *tasks[index], panels)
        largest_weights(panels, *tasks[index], largest[index])

    run_tasks(work, range(len(tasks)), n_threads)
    result: np.ndarray = largest.max(axis=0)
    return result
