"""activation="relu": the first layer is max(W x + b, 0) instead of its sign pattern.

The mask of a candidate x* stays u = 1 - [W x* + b > 0]. Its threshold m is the least *real* sum
S(x) = <u, max(W x + b, 0)> over the points x of other classes, and the neuron is on where
m - S(x) > 0. Each neuron's cell {S < m} is convex, since S is.

Why no rounding can break the guarantee
---------------------------------------
No rounded number decides anything. Which terms of a sum count is said by the exact bits of the
sign patterns. Hence S(x*) = 0 without a rounding, and m > 0 just where the count
|u and Phi(x)| is at least 1 for all x of other classes: what can be separated does not depend on
the activation, and the first layer grows as for thresholds. Every comparison S < m, in selection
and in prediction, is made for the real number S that the stored weights and coordinates define:
in float64 with a rigorous bound, and where that leaves a doubt in integer arithmetic
(``kernels.relu``). So a comparison has one outcome, in any batch, order, thread or machine, and a
threshold needs no distance from the sums that it parts, however small they are.

A stored threshold is m rounded *down*, to 24 significant bits: no point of another class is below
it, and x* at 0 is. This is all that differs from the paper's rule for ``selection="random"``: a
point of the covered class whose sum is less than m by at most 2^-23 of m is left to a later
neuron. 24 bits and not 53, so that float64 almost always knows the rounded number; the least of
rounded sums is the rounded least sum, so the network is the same for any order of evaluation. A
sum below 2^-1000 rounds to 0. Such points (scaled to 1e-300) are refused, and 300 decimal places
more cost the user one multiplication.

What can be merged, thinned and compacted
-----------------------------------------
Let S be points of the covered class and u the AND of their masks. All of them have sum 0, so
(u, m_S) with m_S the least real sum over other classes is a neuron that covers them, where the
least count is at least 1. So cells are grown by counts, exactly as for thresholds, and the real
thresholds are computed once, at the end, for all neurons in one pass over the points. The same
holds for a mask from which hyperplanes are taken away (``compact=True``), as long as the count of
every point of other classes stays 1 or more. What does not carry over: a point with a count from 1
to the least count - 1 has a positive sum, of which the counts do not say whether it is below m_S.
So a merged neuron counts as covering only the points with count 0, and the share that ``margin``
keeps while a cell grows is one of the least count; all points that a merged neuron is for lie at
the full depth of its cell, sum 0.

What cannot be pruned
---------------------
- The point of least count need not have the least sum: one large term weighs more than many small
  ones. Counts only tell zero from not zero, so real sums over all other points are needed.
- The asymmetric distance d(a, x) = sum over h with bit 0 at a of max(z_h(x), 0) is no quasi-metric:
  with z(p) = (-1, -1), z(a) = (1, -1), z(x) = (9, -1) it is 9 from p to x, but 1 from p to a and 0
  from a to x. So no pivot bounds it.
- What does prune, exactly: terms are positive, so the sum of the first few shows that a point is
  not the nearest, or not covered. One to twenty terms of some hundred do for most points.

The real values are computed for one point at a time, only those terms that some mask of a batch
asks for, from weights that are stored: for Gaussian, structured and completing rows, dense and CSR
points alike. Layers whose weights are too many to be stored (computed from a key) are refused:
each term would have to make its row anew.
"""

from __future__ import annotations

import threading

import numpy as np

from fastmem.blocks import Block, least_counts
from fastmem.hyperplanes import Hyperplanes, frozen
from fastmem.inputs import InvalidInputError, Points, SparseRows
from fastmem.kernels.relu import (
    LEAST_POSITIVE,
    Layer,
    Rows,
    least_sums,
    sum_margins,
    sums_below,
)
from fastmem.kernels.signs import TILE, shifted_biases
from fastmem.kernels.threads import ranges, run_tasks
from fastmem.patterns import Patterns, tiles_of_blocks

_TASK_TERMS = 100_000_000
"""Additions of a task if no sum ended early: some 50 ms, of which it mostly takes a tenth."""
_TASK_VALUES = 1 << 20
_BATCH = 256
"""Candidates counted at once, at most. More than for thresholds, because they share terms."""
_UNIT64 = 2.0**-53
_NO_COLUMNS = frozen(np.empty(0, np.int32))


class RealSums:
    """Sums of the ReLU activations of a first layer, decided exactly.

    Parameters
    ----------
    hyperplanes : Hyperplanes
    is_sparse : bool
        Whether points come as `SparseRows`.
    """

    def __init__(self, hyperplanes: Hyperplanes, is_sparse: bool) -> None:
        weights, biases = hyperplanes.weights, frozen(hyperplanes.biases)
        n, d = weights.shape
        if is_sparse:
            # a zero adds nothing where the origin is 0
            origin = frozen(np.zeros(d))
            shifted, errors = biases, np.full(n, 1e-290)
        else:
            origin = frozen(hyperplanes.origin)
            shifted, errors = np.empty(n), np.empty(n)
            shifted_biases(weights, biases, origin, shifted, errors)
        relative = 1.1 * (d + 4) * _UNIT64
        norms = np.sqrt(np.einsum("ij,ij->i", weights, weights, dtype=np.float64)) * (1 + 1e-9)
        self._layer = Layer(
            weights, biases, origin, frozen(shifted), frozen(relative * norms),
            frozen(relative * np.abs(shifted) + errors), hyperplanes.scale,
        )  # fmt: skip

    def task_rows(self, n_masks: int, row_values: int) -> int:
        """Points that a task may take."""
        n = len(self._layer.biases)
        rows = min(_TASK_TERMS // (n * (row_values + 2 * n_masks)), _TASK_VALUES // row_values)
        return max(8, min(rows, 16 * TILE))

    def lower(
        self,
        block: np.ndarray | SparseRows,
        codes: np.ndarray,
        tiles: np.ndarray,
        places: np.ndarray,
        masks: np.ndarray,
        owners: np.ndarray,
        least: np.ndarray,
    ) -> None:
        """Lower ``least`` to the least sums over points of other classes; see ``least_sums``."""
        least_sums(self._layer, _rows(block), codes, tiles, places, masks, owners, least)

    def below(
        self,
        block: np.ndarray | SparseRows,
        tiles: np.ndarray,
        places: np.ndarray,
        masks: np.ndarray,
        limits: np.ndarray,
    ) -> np.ndarray:
        """Whether the sum of each mask and point is below the mask's limit: (B, P) bool."""
        result = np.empty((len(masks), len(places)), np.bool_)
        sums_below(self._layer, _rows(block), tiles, places, masks, limits, result)
        return result

    def margins(
        self,
        block: np.ndarray | SparseRows,
        tiles: np.ndarray,
        masks: np.ndarray,
        thresholds: np.ndarray,
        blocks: np.ndarray,
        n_blocks: int,
    ) -> np.ndarray:
        """Margins (n_blocks, P) of the first P points of ``tiles``; see ``sum_margins``."""
        best = np.full((n_blocks, len(block)), -np.inf)
        size = self.task_rows(len(masks), 1 + self._layer.weights.shape[1])
        for start, stop in ranges(len(block), size):
            some = _rows(block, start, stop)
            places, here = np.arange(start, stop), best[:, start:stop].copy()
            sum_margins(self._layer, some, tiles, places, masks, thresholds, blocks, here)
            best[:, start:stop] = here
        return best


def _rows(block: np.ndarray | SparseRows, start: int = 0, stop: int | None = None) -> Rows:
    """Rows start..stop-1 of a block as ``kernels.relu`` takes them."""
    if isinstance(block, SparseRows):
        starts = block.starts[start : None if stop is None else stop + 1]
        some = slice(int(starts[0]), int(starts[-1]))
        values = block.values[some].astype(np.float64)
        columns = block.columns[some].astype(np.int32)
        # no columns at all would stand for all of them
        columns = columns if len(columns) else np.zeros(1, np.int32)
        return Rows(frozen(values), frozen(columns), frozen(starts - starts[0]))
    values = block[start:stop].astype(np.float64)
    starts = np.arange(len(values) + 1) * values.shape[1]
    return Rows(frozen(values.reshape(-1)), _NO_COLUMNS, frozen(starts))


def _refuse_zeros(thresholds: np.ndarray) -> None:
    if not thresholds.all():
        raise InvalidInputError(
            "X is scaled so small that activations of a point add up to less than 1e-301, the "
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
    sums = RealSums(first, points.is_sparse)
    owners = owners.astype(np.int64)
    least = np.full(len(masks), np.inf)
    lock = threading.Lock()
    size = sums.task_rows(len(masks), points.row_values)

    def use(start: int, stop: int, tiles: np.ndarray) -> None:
        for first_row, last_row in ranges(stop - start, size):
            with lock:
                mine = least.copy()
            here = slice(start + first_row, start + last_row)
            sums.lower(
                points.block(here.start, here.stop), codes[here].astype(np.int64), tiles,
                np.arange(first_row, last_row), masks, owners, mine,
            )  # fmt: skip
            with lock:
                np.minimum(least, mine, out=least)

    if len(masks):
        tiles_of_blocks(points, first, n_threads, use)
    _refuse_zeros(least)
    return least


class ReluBlock(Block):
    """A block whose neurons cover points by their real sums: the paper's random selection.

    Takes the points and the first layer, which belong to ``patterns``; all else is as in `Block`.
    """

    threshold_dtype = np.float64
    steps_are_short = False

    def __init__(
        self,
        patterns: Patterns,
        first: Hyperplanes,
        points: Points,
        sums: RealSums,
        code: int,
        generator: np.random.Generator,
        n_threads: int,
        margin: float,
    ) -> None:
        self.points, self.sums = points, sums
        super().__init__(patterns, len(first), code, generator, n_threads, margin=margin)

    def levels(self, thresholds: np.ndarray) -> np.ndarray:
        """Sums below which a neuron covers a point: its threshold less the margin."""
        # a point with sum 0 is covered whatever the margin
        return np.maximum((1.0 - self.margin) * thresholds, LEAST_POSITIVE)

    def step_random(self) -> None:
        """As that of `Block`, by real sums instead of counts."""
        candidates = self.next_candidates(self._batch)
        masks = self.masks_of(candidates)
        counts, nearest = least_counts([self] * len(candidates), masks)
        # a sum is 0 where the count is, so the bits say which points cannot be covered
        can = counts > 0
        self.drop(candidates[~can], nearest[~can])
        candidates, masks, nearest = candidates[can], masks[can], nearest[can]
        accepted: list[int] = []
        if len(candidates):
            thresholds = self._thresholds(masks, nearest)
            rows = self.points.take(self.patterns.rows(self.code, self.members[candidates]))
            places = candidates.astype(np.int64)
            on = self.sums.below(rows, self.tiles, places, masks, self.levels(thresholds))
            for i in range(len(candidates)):
                if not on[accepted, i].any():
                    accepted.append(i)
            self.accept(masks[accepted], thresholds[accepted])
        useful = len(accepted) + np.count_nonzero(~can)
        if useful > 3 * len(can) // 4:
            self._batch = min(2 * self._batch, _BATCH)

    def _thresholds(self, masks: np.ndarray, nearest: np.ndarray) -> np.ndarray:
        """Least sums of masks over all other classes; ``nearest`` are good points to begin with."""
        patterns, points = self.patterns, self.points
        least = np.full(len(masks), np.inf)
        owners = np.full(len(masks), self.code)
        near = np.unique(nearest)
        others = np.full(len(near), -1)
        rows = points.take(patterns.rows_at(near))
        self.sums.lower(rows, others, patterns.tiles, near, masks, owners, least)
        size = self.sums.task_rows(len(masks), points.row_values)
        size = min(size, points.max_block_rows)
        tasks = [
            (code, *some)
            for code in range(patterns.n_classes)
            for some in ranges(patterns.class_size(code), size)
            if code != self.code
        ]
        lock = threading.Lock()

        def work(task: tuple[int, int, int]) -> None:
            code, start, stop = task
            with lock:
                mine = least.copy()
            places = int(patterns.first_tile[code]) * TILE + np.arange(start, stop)
            self.sums.lower(
                points.take(patterns.rows(code, np.arange(start, stop))),
                np.full(stop - start, code), patterns.tiles, places, masks, owners, mine,
            )  # fmt: skip
            patterns.store.release(patterns.tiles[places[0] // TILE : places[-1] // TILE + 1])
            with lock:
                np.minimum(least, mine, out=least)

        run_tasks(work, tasks, self.n_threads)
        self.evaluations += len(masks) * (len(patterns.order) - patterns.class_size(self.code))
        _refuse_zeros(least)
        return least

    def accept(self, masks: np.ndarray, thresholds: np.ndarray) -> None:
        """Add neurons, and take the points that they cover from the uncovered ones."""
        store = self.patterns.store
        limits = self.levels(thresholds)
        still = np.flatnonzero(self._flat)
        size = self.sums.task_rows(len(masks), self.points.row_values)
        tasks = ranges(len(still), min(size, self.points.max_block_rows))
        gained = np.zeros((len(tasks), len(masks)), np.int64)

        def work(task: int) -> None:
            places = still[slice(*tasks[task])]
            rows = self.points.take(self.patterns.rows(self.code, self.members[places]))
            on = self.sums.below(rows, self.tiles, places, masks, limits)
            store.release(self.tiles[places[0] // TILE : places[-1] // TILE + 1])
            covered = on.any(axis=0)
            gained[task] = np.bincount(on.argmax(axis=0)[covered], minlength=len(masks))
            self._flat[places[covered]] = False

        run_tasks(work, range(len(tasks)), self.n_threads)
        self.evaluations += len(masks) * len(still)
        self.masks.extend(masks)
        self.thresholds.extend(float(m) for m in thresholds)
        totals = gained.sum(axis=0)
        self.gained.extend(int(g) for g in totals)
        self.remaining -= int(totals.sum())
        self._compact()
