"""Real sums S(x) = <u, max(W x + b, 0)> of masks: what kernels need for them, and thresholds.

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
from collections.abc import Iterator

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points, SparseRows
from fastmem.kernels.exact import UNIT64, shifted_biases
from fastmem.kernels.layout import TILE, TILE_ROWS
from fastmem.kernels.relu import least_sums
from fastmem.kernels.relu_lanes import LANES, Layer, Masks, Rows
from fastmem.machine.arrays import frozen
from fastmem.machine.threads import ranges
from fastmem.patterns.of_points import tiles_of_blocks
from fastmem.patterns.words import unpacked

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

    Attributes
    ----------
    layer : Layer
        The hyperplanes as the kernels take them.
    norms : ndarray of shape (n,), float64
        Of the weights, at least.
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
        self.norms = norms
        self.layer = Layer(
            weights, biases, frozen(origin), scale, groups, short, shifted, relative * norms,
            relative * np.abs(shifted) + errors, (float(norms.max()), float(self._levels.max())),
        )  # fmt: skip

    def masks(self, words: np.ndarray) -> Masks:
        """Masks, (B, n_words) uint64, as the kernels take them."""
        n = len(self.norms)
        columns = np.stack([np.ones(n), self.norms, self._levels, self._floors])
        sums = np.empty((4, len(words)))
        with np.errstate(invalid="ignore"):  # an infinite floor
            for start, stop in ranges(len(words), max(1, _MASK_BITS // n)):
                bits = unpacked(words[start:stop], n)
                for column, row in zip(columns, sums, strict=True):
                    row[start:stop] = np.where(bits, column, 0.0).sum(axis=1)
        return Masks(np.array(words, np.uint64, order="C"), *sums)

    def task_rows(self, points: Points, n_masks: int) -> int:
        """Points that a task may take, whole groups of LANES."""
        n, values = len(self.norms), points.row_values
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


def rows_in_parts(
    points: Points, start: int, stop: int, tiles: np.ndarray, size: int
) -> Iterator[tuple[slice, Rows]]:
    """The points start..stop-1, whose patterns are ``tiles``, in parts of ``size``.

    Yields where a part lies from ``start`` on, and the part as ``kernels.relu`` takes it.
    """
    for first, last in ranges(stop - start, size):
        block = points.block(start + first, start + last)
        yield slice(first, last), rows_for_sums(block, tiles, np.arange(first, last))


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
        for part, rows in rows_in_parts(points, start, stop, tiles, size):
            with lock:
                mine = least.copy()
            classes = codes[start:stop][part].astype(np.int64)
            least_sums(sums.layer, stack, owners, rows, classes, mine)
            with lock:
                np.minimum(least, mine, out=least)

    tiles_of_blocks(points, first, n_threads, use, size)
    refuse_zeros(least)
    return least
