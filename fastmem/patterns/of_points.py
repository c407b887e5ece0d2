"""The way from hyperplanes to the sign patterns of points, whatever kind both are, on all cores.

It goes by passes over the points. Where the weights of all hyperplanes are at hand at once, one
pass writes all bits. Where they are too many to be kept, or points are sparse with many columns,
each pass has the weights of some.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.seeded import SeededHyperplanes
from fastmem.hyperplanes.structured import StructuredHyperplanes
from fastmem.inputs import Points, SparseRows, check_points, check_threads
from fastmem.kernels.layout import TILE, TILE_ROWS
from fastmem.machine.threads import ranges, run_tasks
from fastmem.patterns import computed_rows, sparse_rows, stored_rows, transformed_rows
from fastmem.patterns.prepared import Pass
from fastmem.patterns.words import new_tiles, rows_of

_BLOCK_BYTES = 8 << 20
_CHUNK_BYTES = 64 << 20
_TASK_PRODUCTS = 4_000_000_000
"""Multiply-adds of a task: Ctrl-C has to wait for the end of one."""
_SERIAL_PRODUCTS = 30_000_000
"""Fewer multiply-adds are not worth starting threads for."""


def passes(hyperplanes: Hyperplanes, points: Points, first_word: int = 0) -> Sequence[Pass]:
    """Passes over ``points`` that together write the words of their patterns from one on.

    They are prepared, and their blocks written, one after the other: what a pass has prepared is
    good until the next is.
    """
    words = (first_word, hyperplanes.n_words)
    if points.is_sparse:
        return sparse_rows.passes(hyperplanes, points.used_columns(), words)
    return _dense_passes(hyperplanes, words)


def fill(
    hyperplanes: Hyperplanes,
    block: np.ndarray | SparseRows,
    tiles: np.ndarray,
    position: int = 0,
    words: tuple[int, int] | None = None,
) -> int:
    """Write words of the sign patterns of a few points, on this thread; returns doubtful bits.

    block (rows, d) float32 or float64, read-only, or sparse; tiles as in ``kernels.layout``. The
    words words[0]..words[1]-1 of the patterns position, ..., position + rows - 1 are written (all
    words by default), and nothing else.
    """
    words = words or (0, hyperplanes.n_words)
    all_passes: Any
    if isinstance(block, SparseRows):
        used = np.unique(block.columns).astype(np.int64)
        all_passes = sparse_rows.passes(hyperplanes, used, words)
    else:
        all_passes = _dense_passes(hyperplanes, words)
    return sum(one.prepare(1)(block, tiles, position) for one in all_passes)


def _dense_passes(hyperplanes: Hyperplanes, words: tuple[int, int]) -> Sequence[Pass]:
    if isinstance(hyperplanes, SeededHyperplanes) and not hyperplanes.keeps_weights:
        return computed_rows.passes(hyperplanes, words)
    if isinstance(hyperplanes, StructuredHyperplanes):
        return transformed_rows.passes(hyperplanes, words)
    return stored_rows.passes(hyperplanes, words)


def pattern_threads(points: Points, n_hyperplanes: int, n_threads: int) -> int:
    """Threads that are worth starting for the patterns of all points."""
    # a product's bit costs some 16 multiply-adds more
    products = points.n_samples * n_hyperplanes * (points.row_values + 16)
    return n_threads if products > _SERIAL_PRODUCTS else 1


def task_rows(points: Points, n_hyperplanes: int) -> int:
    """Rows that one thread takes at a time: whole tiles unless a tile is too large."""
    # a nonzero of a sparse row takes the time of some three values of a dense one
    values = points.row_values * (4 if points.is_sparse else 1)
    rows = min(_BLOCK_BYTES // (8 * values), _TASK_PRODUCTS // (values * n_hyperplanes), 16 * TILE)
    unit = TILE if rows >= TILE else TILE_ROWS
    rows = min(rows, points.max_block_rows) // unit * unit
    return max(unit, rows)


def tiles_of_blocks(
    points: Points,
    hyperplanes: Hyperplanes,
    n_threads: int,
    use: Callable[[int, int, np.ndarray], object],
    most_rows: int = 16 * TILE,
) -> None:
    """Call use(start, stop, tiles), on several threads, with the patterns of all ranges of rows.

    A range has about ``most_rows`` rows at most, or a tile's.
    """
    size = min(task_rows(points, len(hyperplanes)), max(1, most_rows // TILE) * TILE)
    n_threads = pattern_threads(points, len(hyperplanes), n_threads)
    n_words = hyperplanes.n_words
    all_passes = passes(hyperplanes, points)
    if len(all_passes) == 1:
        fill = all_passes[0].prepare(n_threads)

        def stream(task: tuple[int, int]) -> None:
            tiles = new_tiles(task[1] - task[0], n_words)
            fill(points.block(*task), tiles, 0)
            use(*task, tiles)

        run_tasks(stream, ranges(points.n_samples, size), n_threads)
        return
    # so many rows that the weights are prepared seldom
    size = -(-size // TILE) * TILE
    rows_at_once = max(size, _CHUNK_BYTES // (8 * n_words) // size * size)
    for first, last in ranges(points.n_samples, rows_at_once):
        tiles = new_tiles(last - first, n_words)
        tasks = ranges(last - first, size)
        for one in all_passes:
            fill = one.prepare(n_threads)

            def work(task: tuple[int, int], fill=fill, first=first, tiles=tiles) -> None:
                fill(points.block(first + task[0], first + task[1]), tiles, task[0])

            run_tasks(work, tasks, n_threads)

        def finish(task: tuple[int, int], first=first, tiles=tiles) -> None:
            use(first + task[0], first + task[1], tiles[task[0] // TILE : -(-task[1] // TILE)])

        run_tasks(finish, tasks, n_threads)


def sign_patterns(X, hyperplanes: Hyperplanes, *, n_threads: int | None = None) -> np.ndarray:
    """Sign pattern of every point: bit h is 1 iff <weights[h], x> + biases[h] > 0, exactly.

    Parameters
    ----------
    X : array-like or CSR matrix of shape (n_samples, d)
        float32 or float64, or what converts to them exactly.
    hyperplanes : Hyperplanes
    n_threads : int, optional
        Threads to use; all cores by default. The result does not depend on it.

    Returns
    -------
    ndarray of shape (n_samples, ceil(n / 64)), uint64
        Bit k of word j is hyperplane 64 j + k; bits beyond n are zero.

    Raises
    ------
    InvalidInputError
        If X is not a finite real matrix with d columns.

    Notes
    -----
    Phi of Dirksen, Finke and Genzel (arXiv 2310.00327), section 1: the first layer. The bit is
    decided for the real number, computed without rounding from the stored weights, bias and
    coordinates, so that it does not depend on batches, threads, BLAS or machine.
    """
    if not isinstance(hyperplanes, Hyperplanes):
        hyperplanes = Hyperplanes(*hyperplanes)
    points = check_points(X, n_features=hyperplanes.n_features)
    threads = check_threads(n_threads)
    patterns = np.empty((points.n_samples, hyperplanes.n_words), np.uint64)

    def keep(start: int, stop: int, tiles: np.ndarray) -> None:
        patterns[start:stop] = rows_of(tiles, stop - start)

    tiles_of_blocks(points, hyperplanes, threads, keep)
    return patterns
