"""The points of a shard by the leaf of a spatial order that they lie in."""

from __future__ import annotations

import numpy as np

from fastmem.distributed.numbering import Numbering
from fastmem.inputs import Points
from fastmem.kernels.layout import TILE
from fastmem.machine.threads import ranges
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.spatial_order import LeafTree


class Leaves:
    """Where points lie, dense ones that have patterns.

    Parameters
    ----------
    points : Points
    codes : ndarray of shape (n_samples,)
    patterns : Patterns
        In the order of rows.
    numbering : Numbering
    tree : LeafTree
    n_threads : int
    """

    def __init__(
        self,
        points: Points,
        codes: np.ndarray,
        patterns: Patterns,
        numbering: Numbering,
        tree: LeafTree,
        n_threads: int,
    ) -> None:
        self._points, self._codes, self._n_leaves = points, codes, tree.n_leaves
        self._patterns, self._numbering = patterns, numbering
        leaves = np.zeros(len(codes), np.int32)
        for start, stop in ranges(len(codes), points.max_block_rows):
            leaves[start:stop] = tree.leaves_of(points.block(start, stop), n_threads)
        self._rows = np.argsort(leaves, kind="stable")
        self._sorted = leaves[self._rows]

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Runs, by code * n_leaves + leaf, ascending int64, and how many points are in each."""
        return np.unique(self._runs(slice(None)), return_counts=True)

    def between(self, low: int, high: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the points in leaves low..high-1: their runs, rows here, and numbers in classes."""
        some = slice(*np.searchsorted(self._sorted, [low, high]).tolist())
        rows = self._rows[some]
        codes = self._codes[rows].astype(np.int64)
        return self._runs(some), rows, self._numbering.numbers_of(codes, self._ranks(codes, rows))

    def positions(self, rows: np.ndarray) -> np.ndarray:
        """Positions of some rows in the patterns."""
        codes = self._codes[rows].astype(np.int64)
        return TILE * self._patterns.first_tile[codes] + self._ranks(codes, rows)

    def _runs(self, some: slice) -> np.ndarray:
        return self._codes[self._rows[some]].astype(np.int64) * self._n_leaves + self._sorted[some]

    def _ranks(self, codes: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The rank of rows, by row, among those of their classes."""
        starts, order = self._patterns.starts, self._patterns.order
        ranks = np.empty(len(rows), np.int64)
        for code in np.unique(codes):
            mine = codes == code
            ranks[mine] = np.searchsorted(order[starts[code] : starts[code + 1]], rows[mine])
        return ranks
