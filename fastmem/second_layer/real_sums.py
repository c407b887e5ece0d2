"""activation="relu": the first layer is max(W x + b, 0) instead of its sign pattern.

The mask of a candidate x* stays u = 1 - [W x* + b > 0]. Its threshold m is the least *real* sum
S(x) = <u, max(W x + b, 0)> over the points x of other classes, and the neuron is on where
m - S(x) > 0. Each neuron's cell {S < m} is convex, since S is.

Why no rounding can break the guarantee
---------------------------------------
No rounded number decides anything. Which terms of a sum count is said by the exact bits of the
sign patterns. Hence S(x*) = 0 without a rounding, and m > 0 just where the count |u and Phi(x)| is
at least 1 for all x of other classes: which points can have a neuron does not depend on the
activation, and the first layer grows as for thresholds. Every comparison S < m, in selection and in
prediction, is made for the real number S that the stored weights and coordinates define: by floats
with a rigorous bound, and where that leaves a doubt in integer arithmetic (``kernels.relu``). So a
comparison has one outcome, in any batch, order, thread or machine, and a threshold needs no
distance from the sums that it parts, however small they are. (Whoever evaluates a network
elsewhere, with rounded sums, has no such guarantee where a sum is within the rounding of m.)

A stored threshold is m rounded *down*, to 24 significant bits: no point of another class is below
it, and x* at 0 is. This is all that differs from the paper's rule for ``selection="random"``: a
point of the covered class whose sum is less than m by at most 2^-23 of m is left to a later
neuron. 24 bits and not 53, so that float64 almost always knows the rounded number; the least of
rounded sums is the rounded least sum, so the network is the same for any order of evaluation. A
sum below 2^-1050 (8e-317) rounds to 0: where a threshold would have to, X is refused, and the user
multiplies it by a power of two.

What can be merged, thinned and compacted
-----------------------------------------
Let S be points of the covered class and u the AND of their masks. All of them have sum 0, so
(u, m_S) with m_S the least real sum over other classes is a neuron that covers them, where the
least count is at least 1. So cells are grown by counts, exactly as for thresholds, and the real
thresholds are computed once, at the end, for all neurons in one pass over the points. The same
holds for a mask from which hyperplanes are taken away (``compact=True``), as long as the count of
every point of other classes stays 1 or more. What does not carry over: a point with a count from 1
to the least count - 1 has a positive sum, of which the counts do not say whether it is below m_S.
So while merged cells are chosen, a neuron covers only the points with count 0, and the share that
``margin`` keeps while a cell grows is one of the least count; all points that a merged neuron is
for lie at the full depth of its cell, sum 0. (Without a margin nothing is lost: a point whose count
is below the least count could always join the cell.)

What cannot be covered
----------------------
With thresholds, a point with m = 0 (another class has a point whose pattern lies below its own)
cannot be covered by any neuron. With real sums it can, by the neuron of another point, if its own
terms are smaller than those of the other class's point. So at a given width the unseparated points
are some of those with m = 0, which ones depends on the selection, and they are only known when all
thresholds are. Two moons of 1,000 points, lambda = 1, n = 100, 50 seeds, random selection: 92 % of
the fits are right everywhere, 68 % with thresholds, with 5.3 neurons instead of 8.4; at n = 500 all
are, with 5.0 and 5.1.

What cannot be pruned
---------------------
- The point of least count need not have the least sum: one large term weighs more than many small
  ones. Counts only tell zero from not zero, so real sums over all other points are needed.
- The asymmetric distance d(a, x) = sum over h with bit 0 at a of max(z_h(x), 0) is no quasi-metric:
  with z(p) = (-1, -1), z(a) = (1, -1), z(x) = (9, -1) it is 9 from p to x, but 1 from p to a and 0
  from a to x. So no pivot bounds it.
- What does prune, exactly: terms are positive, so the sum of the first few shows that points are
  not the nearest, or not covered, or that a neuron is not the best.

An addition a point and hyperplane takes the place of a popcount for 64 of them. digits784-20k at
n = 1,024, ten classes, 2 cores: merged cells take 2.0 times as long as with thresholds, random
selection 27 times (4,700 masks over all points), moons-1m at n = 512 2.2 and 4.8 times.

Real values are computed for blocks of 64 points, only for the hyperplanes that some mask asks for,
from weights that are stored: for Gaussian, structured and completing rows, dense and CSR points
alike. Layers whose weights are too many to be stored (computed from a key) are refused: they would
be computed anew for each batch of masks.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import InvalidInputError, Points, SparseRows
from fastmem.kernels.exact import UNIT64, shifted_biases
from fastmem.kernels.layout import TILE, TILE_ROWS
from fastmem.kernels.relu import (
    LANES,
    Layer,
    Masks,
    Rows,
    least_sums,
)
from fastmem.machine.arrays import frozen
from fastmem.machine.threads import ranges
from fastmem.patterns.of_points import tiles_of_blocks
from fastmem.patterns.words import unpacked

_TASK_TERMS = 1 << 30
"""Additions of a task if no sum ends early: some 50 ms."""
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
