"""Sign patterns of whole data sets, in tiles, computed on all cores."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

import numpy as np

from fastmem.hyperplanes import Hyperplanes
from fastmem.inputs import Points, check_points, check_threads
from fastmem.kernels.bits import TILE_ROWS, WORD_BITS
from fastmem.kernels.columns import pick
from fastmem.kernels.signs import TILE
from fastmem.kernels.threads import ranges, run_tasks
from fastmem.scratch import TileStore

_BLOCK_BYTES = 8 << 20
_CHUNK_BYTES = 64 << 20
_TASK_PRODUCTS = 4_000_000_000
"""A task of 4e9 multiply-adds lasts some 50 ms, the longest that Ctrl-C has to wait."""
_SERIAL_PRODUCTS = 30_000_000
"""Fewer multiply-adds, some 0.1 ms, are not worth starting threads for."""


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


def new_tiles(n_points: int, n_words: int) -> np.ndarray:
    """Room for the patterns of ``n_points`` points."""
    return np.empty((-(-n_points // TILE), n_words, TILE), np.uint64)


def rows_of(tiles: np.ndarray, n_points: int) -> np.ndarray:
    """Tiles as one row of words a point, (n_points, n_words) uint64."""
    return tiles.transpose(0, 2, 1).reshape(-1, tiles.shape[1])[:n_points]


def unpacked(words: np.ndarray, n: int) -> np.ndarray:
    """The first n bits of each row of words, (m, n_words) uint64, as bool (m, n)."""
    octets = np.ascontiguousarray(words).astype("<u8").view(np.uint8)
    return np.unpackbits(octets, axis=1, count=n, bitorder="little").astype(np.bool_)


def packed(bits: np.ndarray) -> np.ndarray:
    """The reverse of ``unpacked``: bool (m, n) to words, (m, ceil(n / 64)) uint64."""
    octets = np.zeros((len(bits), -(-bits.shape[1] // WORD_BITS) * 8), np.uint8)
    some = np.packbits(bits, axis=1, bitorder="little")
    octets[:, : some.shape[1]] = some
    return octets.view("<u8").astype(np.uint64, copy=False)


class Patterns:
    """Sign patterns of a labelled data set, sorted by class; every class starts a new tile.

    Attributes
    ----------
    tiles : ndarray of shape (n_tiles, n_words, TILE), uint64
        Layout as in ``kernels.signs``.
    sizes : ndarray of shape (n_tiles,), int64
        Points in each tile; the columns after them are zero.
    first_tile : ndarray of shape (K + 1,), int64
        Tiles first_tile[c]..first_tile[c+1]-1 hold class c.
    store : TileStore
        Where the tiles are; ``room`` bytes of them may be in memory.
    order, starts : ndarrays of shape (N,) and (K + 1,), int32 and int64
        order[starts[c] + j] is the row, in the user's data, of the j-th point of class c.
    """

    def __init__(
        self, codes: np.ndarray, n_classes: int, n_words: int = 0, room: int | None = None
    ) -> None:
        counts = np.sum(
            [np.bincount(codes[a:b], minlength=n_classes) for a, b in ranges(len(codes), 1 << 20)],
            axis=0,
        )  # in ranges, because it would copy all codes as int64
        self.order = np.argsort(codes, kind="stable").astype(
            np.int32 if len(codes) < 1 << 31 else np.int64
        )
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        tiles_of = -(-counts // TILE)
        self.first_tile = np.concatenate([[0], np.cumsum(tiles_of)]).astype(np.int64)
        self.sizes = np.full(self.first_tile[-1], TILE, np.int64)
        last = self.first_tile[1:] - 1
        self.sizes[last] = counts - (tiles_of - 1) * TILE
        self.store = TileStore(len(self.sizes), n_words, room)
        self.doubtful = 0

    @property
    def tiles(self) -> np.ndarray:
        """The patterns; see the class."""
        return self.store.tiles

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.starts) - 1

    def class_size(self, code: int) -> int:
        """Number of points of a class."""
        return int(self.starts[code + 1] - self.starts[code])

    def rows(self, code: int, local: np.ndarray) -> np.ndarray:
        """Rows, in the user's data, of the points ``local`` of class ``code``."""
        return self.order[self.starts[code] + local]

    def codes_at(self, positions: np.ndarray) -> np.ndarray:
        """Classes of the points at ``positions`` of the tiles, int64."""
        return np.searchsorted(self.first_tile, positions // TILE, side="right") - 1

    def rows_at(self, positions: np.ndarray) -> np.ndarray:
        """Rows, in the user's data, of the points at ``positions`` of the tiles."""
        code = self.codes_at(positions)
        return self.order[self.starts[code] + positions - self.first_tile[code] * TILE]

    def picked(self, hyperplanes: np.ndarray, n_threads: int) -> Patterns:
        """The bits of some hyperplanes, int64, in memory; all else is shared."""
        fewer = copy.copy(self)
        n_words = -(-len(hyperplanes) // WORD_BITS)
        fewer.store = TileStore(len(self.sizes), n_words, None)

        def work(task: tuple[int, int]) -> None:
            pick(self.tiles, *task, hyperplanes, fewer.tiles)
            self.store.release(self.tiles[slice(*task)])

        size = max(1, min(self.store.tiles_at_once, 100_000 // len(hyperplanes)))
        run_tasks(work, ranges(len(self.sizes), size), n_threads)
        return fewer

    def fill(
        self,
        points: Points,
        hyperplanes: Hyperplanes,
        n_threads: int,
        first: int = 0,
        progress: Callable[[int, int, int], object] = lambda done, total, neurons: None,
    ) -> None:
        """Compute the bits of the hyperplanes first..n-1, keeping those before.

        ``progress(points done, points in all, 0)`` is called on the calling thread.
        """
        first_word = first // WORD_BITS
        n_words = hyperplanes.n_words
        if n_words != self.tiles.shape[1]:
            self.store.widen(n_words, first_word)
        tiles = self.tiles
        n_new = WORD_BITS * (n_words - first_word)
        size = task_rows(points, n_new)
        n_threads = pattern_threads(points, n_new, n_threads)
        tasks = [
            (code, start, stop)
            for code in range(self.n_classes)
            for start, stop in ranges(self.class_size(code), size)
        ]
        caller = threading.get_ident()
        lock = threading.Lock()
        done = 0.0
        for fill, share in hyperplanes.passes(points, n_threads, first_word):

            def work(task: tuple[int, int, int], fill=fill, share=share) -> None:
                nonlocal done
                code, start, stop = task
                block = points.take(self.rows(code, np.arange(start, stop)))
                position = int(self.first_tile[code]) * TILE + start
                doubtful = fill(block, tiles, position)
                self.store.release(tiles[position // TILE : -(-(position + stop - start) // TILE)])
                with lock:
                    self.doubtful += doubtful
                    done += share * (stop - start)
                if threading.get_ident() == caller:
                    progress(int(done), len(self.order), 0)

            run_tasks(work, tasks, n_threads)
        progress(len(self.order), len(self.order), 0)


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
    if hyperplanes.streams(points):
        ((fill, _),) = hyperplanes.passes(points, n_threads)

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
        for fill, _ in hyperplanes.passes(points, n_threads):

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
