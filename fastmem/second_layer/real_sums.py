"""Real sums S(x) = <u, max(W x + b, 0)> of masks: thresholds, and which neurons are on.

The mask u of a neuron is the same as without ReLU. Its threshold m is the least sum over the points
of other classes, rounded down to 24 bits, and it is on where S(x) < m.

No rounded number decides anything. Which terms of a sum count is said by the exact bits of the sign
patterns, so that S is 0 just where the count |u and Phi(x)| is 0: what can have a neuron does not
depend on the activation. And every comparison S < m is made for the real number that the stored
weights and coordinates define (``kernels.relu``), so it has one outcome in any batch, order or
thread. The page on ReLU activations says what follows for merged cells and unseparated points.
"""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points, SparseRows
from fastmem.kernels.exact import UNIT64, shifted_biases
from fastmem.kernels.layout import TILE, TILE_ROWS
from fastmem.kernels.relu import least_sums, sums_below
from fastmem.kernels.relu_lanes import LANES, Layer, Masks, Rows
from fastmem.machine.arrays import frozen
from fastmem.machine.threads import ranges, run_tasks
from fastmem.patterns.of_points import tiles_of_blocks
from fastmem.patterns.passes import fill
from fastmem.patterns.words import new_tiles, unpacked
from fastmem.second_layer.cover_layer import CoverLayer

_TASK_TERMS = 1 << 30
"""Additions of a task if no sum ends early: some tens of milliseconds."""
_TASK_VALUES = 1 << 20
_MASK_BITS = 1 << 24
_NO_COLUMNS = frozen(np.empty(0, np.int32))


class RealSums:
    """Sums of the ReLU activations of a first layer: what the kernels need to know of it.

    Parameters
    ----------
    hyperplanes : Hyperplanes
    is_sparse : bool
        Whether points come as `SparseRows`.
    """

    def __init__(self, hyperplanes: Hyperplanes, is_sparse: bool) -> None:
        weights, biases = hyperplanes.weights, frozen(hyperplanes.biases)
        n, d = weights.shape
        scale = hyperplanes.scale
        # a zero adds nothing where the origin is 0
        origin = np.zeros(d) if is_sparse else hyperplanes.origin
        shifted, errors = np.empty(n), np.empty(n)
        shifted_biases(weights, biases, frozen(origin), shifted, errors)
        norms = np.sqrt(np.einsum("ij,ij->i", weights, weights, dtype=np.float64)) * (1 + 1e-9)
        n_groups = -(-n // TILE_ROWS)
        groups = np.zeros((n_groups, d, TILE_ROWS), np.float32)
        for row in range(TILE_ROWS):
            groups[: -(-(n - row) // TILE_ROWS), :, row] = weights[row::TILE_ROWS]
        short = np.zeros(n_groups * TILE_ROWS, np.float32)
        relative = 1.1 * (d + 4) * UNIT64
        with np.errstate(over="ignore", invalid="ignore"):
            short[:n] = scale * shifted
            self._levels = np.abs(short[:n]).astype(np.float64)
            self._floors = scale * errors + 2.0**-148 * (d + 2) * (1 + norms)
        self._norms = norms
        self.layer = Layer(
            weights, biases, frozen(origin), scale, groups, short, shifted, relative * norms,
            relative * np.abs(shifted) + errors, (float(norms.max()), float(self._levels.max())),
        )  # fmt: skip

    def masks(self, words: np.ndarray) -> Masks:
        """Masks, (B, n_words) uint64, as the kernels take them."""
        n = len(self._norms)
        columns = np.stack([np.ones(n), self._norms, self._levels, self._floors])
        sums = np.empty((4, len(words)))
        with np.errstate(invalid="ignore"):  # an infinite floor
            for start, stop in ranges(len(words), max(1, _MASK_BITS // n)):
                bits = unpacked(words[start:stop], n)
                for column, row in zip(columns, sums, strict=True):
                    row[start:stop] = np.where(bits, column, 0.0).sum(axis=1)
        return Masks(np.array(words, np.uint64, order="C"), *sums)

    def task_rows(self, points: Points, n_masks: int) -> int:
        """Points that a task may take, whole groups of LANES."""
        n, values = len(self._norms), points.row_values
        rows = min(_TASK_TERMS // (n * (values + n_masks)), _TASK_VALUES // values, 16 * TILE)
        return max(LANES, min(rows, points.max_block_rows) // LANES * LANES)


def rows_for_sums(block: np.ndarray | SparseRows, tiles: np.ndarray, places: np.ndarray) -> Rows:
    """A block of points as ``kernels.relu`` takes it."""
    if isinstance(block, SparseRows):
        # no columns at all would stand for all of them
        columns = block.columns.astype(np.int32) if len(block.columns) else np.zeros(1, np.int32)
        return Rows(block.values.astype(np.float64), frozen(columns), block.starts, tiles, places)
    starts = frozen(np.arange(len(block) + 1) * block.shape[1])
    return Rows(block.astype(np.float64).reshape(-1), _NO_COLUMNS, starts, tiles, places)


def refuse_zeros(thresholds: np.ndarray) -> None:
    """Refuse points of which a least sum rounds to 0: no neuron would be on for its own point."""
    if not thresholds.all():
        raise InvalidInputError(
            "X is scaled so small that activations of a point add up to less than 1e-316, the "
            "least threshold with activation='relu'; multiply X by a power of two"
        )


def real_thresholds(
    points: Points,
    codes: np.ndarray,
    first: Hyperplanes,
    masks: np.ndarray,
    owners: np.ndarray,
    n_threads: int,
) -> np.ndarray:
    """Least sums of masks over the points of other classes, rounded down: (m,) float64.

    codes (N,) the class of every point, masks (m, n_words) uint64, owners (m,) the class of each
    mask. Patterns and sums are computed in blocks of rows.
    """
    least = np.full(len(masks), np.inf)
    if not len(masks):
        return least
    sums = RealSums(first, points.is_sparse)
    size = sums.task_rows(points, len(masks))
    stack, owners = sums.masks(masks), owners.astype(np.int64)
    lock = threading.Lock()

    def use(start: int, stop: int, tiles: np.ndarray) -> None:
        for first_row, last_row in ranges(stop - start, size):
            with lock:
                mine = least.copy()
            here = slice(start + first_row, start + last_row)
            rows = rows_for_sums(
                points.block(here.start, here.stop), tiles, np.arange(first_row, last_row)
            )
            least_sums(sums.layer, stack, owners, rows, codes[here].astype(np.int64), mine)
            with lock:
                np.minimum(least, mine, out=least)

    tiles_of_blocks(points, first, n_threads, use, size)
    refuse_zeros(least)
    return least


def neurons_on(
    block: np.ndarray | SparseRows,
    first: Hyperplanes,
    sums: RealSums,
    masks: Masks,
    thresholds: np.ndarray,
) -> np.ndarray:
    """Which of the neurons with masks (m, n_words) are on for which points: (m, P) bool."""
    tiles = new_tiles(len(block), first.n_words)
    fill(first, block, tiles)
    below = np.empty((len(thresholds), len(block)), np.bool_)
    sums_below(
        sums.layer, masks, thresholds, rows_for_sums(block, tiles, np.arange(len(block))), below
    )
    return below


def first_neuron_on(
    rows: np.ndarray,
    points: Points,
    codes: np.ndarray,
    first: Hyperplanes,
    masks: np.ndarray,
    thresholds: np.ndarray,
    owners: np.ndarray,
    n_threads: int,
) -> np.ndarray:
    """For each of ``rows`` of points the first neuron of its class, codes[row], that is on, or -1.

    Returns int64 of shape (len(rows),).
    """
    found = np.full(len(rows), -1, np.int64)
    if not len(rows) or not len(masks):
        return found
    sums = RealSums(first, points.is_sparse)
    stack = sums.masks(masks)

    def work(task: tuple[int, int]) -> None:
        chosen = rows[slice(*task)]
        on = neurons_on(points.take(chosen), first, sums, stack, thresholds)
        on &= owners[:, None] == codes[chosen]
        found[slice(*task)] = np.where(on.any(axis=0), on.argmax(axis=0), -1)

    run_tasks(work, ranges(len(rows), sums.task_rows(points, len(masks))), n_threads)
    return found


def with_real_thresholds(
    layer: CoverLayer,
    unseparated: np.ndarray,
    points: Points,
    codes: np.ndarray,
    first: Hyperplanes,
    n_threads: int,
) -> tuple[CoverLayer, np.ndarray]:
    """Finish a layer for real activations.

    Cells that were chosen by counts get their least sums as thresholds. Sums do not rank as counts
    do: another point's neuron may cover a point with m = 0.

    Parameters
    ----------
    layer : CoverLayer
        The chosen neurons, by counts or by sums.
    unseparated : ndarray of int64
        Rows of the points with m = 0.
    points : Points
    codes : ndarray of shape (N,)
        The class of every point.
    first : Hyperplanes
        The first layer, which the masks are of.
    n_threads : int

    Returns
    -------
    layer : CoverLayer
        With real thresholds.
    unseparated : ndarray of int64
        Those of the rows for which no neuron of their class is on.
    """
    if layer.activation != "relu":
        least = real_thresholds(points, codes, first, layer.masks, layer.owners, n_threads)
        layer = replace(layer, thresholds=least)
    on = first_neuron_on(
        unseparated, points, codes, first, layer.masks, layer.thresholds, layer.owners, n_threads
    )
    return layer, unseparated[on < 0]
