"""Patterns of points in a spatial order, as bounding tiles: what each tile's points have in common.

Two moons, a million points and 2,048 hyperplanes: 1.3 % of the bits vary inside their tile.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.kernels.bounding import (
    MOST_FEATURES,
    Bounded,
    bound_tiles,
    unpack_complements,
    unpack_points,
)
from fastmem.kernels.layout import TILE
from fastmem.machine.arrays import aligned_zeros
from fastmem.machine.loops import run_loop
from fastmem.patterns.neighbourhoods import FEW_FEATURES, varying_share
from fastmem.patterns.stored_rows import float_filter
from fastmem.patterns.tile_store import mapped

_TASK_TILES = 8
"""Tiles of a task; their summaries share cache lines."""
MODE = "measured"
"""Whether bounding tiles are used wherever they can be: "always", "never", or if they pay."""
_FEWEST_POINTS = 50_000
_FEWEST_HYPERPLANES = 256
_PAYS = 0.22
"""Share of hyperplanes that vary among neighbours: with more, as many are evaluated and stored."""
_PAYS_FOR_SUMS = 0.1
"""The same where real sums are bounded: they lose at 0.16, and take half of the time at 0.08."""
_COPIES = 4
"""Points that are not in one array are copied where patterns take so many times their room."""


class BoundedTiles:
    """Bounding tiles of a fit.

    Attributes
    ----------
    bounded : Bounded
        As the kernels take them.
    n_words : int
        Words of a pattern.
    doubtful : int
        Bits that float32 did not decide.
    """

    def __init__(self, sizes: np.ndarray, n_words: int) -> None:
        n_tiles, self.n_words = len(sizes), n_words
        n_groups = -(-n_tiles // TILE)
        # room for as many as vary at most: pages that are not written take no memory
        self._memory = mapped(None, 8 * TILE * n_words * n_tiles)
        self._used = np.zeros(16, np.int64)
        self.doubtful = 0
        self.bounded = Bounded(
            aligned_zeros((n_groups, n_words, TILE), np.uint64),
            aligned_zeros((n_groups, n_words, TILE), np.uint64),
            np.empty((n_tiles, n_words), np.uint64),
            np.empty(n_tiles, np.int64),
            sizes,
            np.frombuffer(self._memory, np.uint64),
        )

    @property
    def nbytes(self) -> int:
        """Bytes in use."""
        *others, _ = self.bounded
        return sum(one.nbytes for one in others) + 8 * int(self._used[0])

    def fill(
        self,
        points: np.ndarray,
        rows: np.ndarray,
        starts: np.ndarray,
        first_tile: np.ndarray,
        hyperplanes: Hyperplanes,
        n_threads: int,
        tell: Callable[[int], object],
    ) -> None:
        """Compute the patterns; those of class c are rows[starts[c] : starts[c + 1]] of the points.

        ``tell(points done)`` is called on the calling thread.
        """
        size = _TASK_TILES * TILE
        parts = []
        for start, stop, tile in zip(starts, starts[1:], first_tile, strict=False):
            first = np.arange(start, stop, size, dtype=np.int64)
            last = np.minimum(first + size, stop)
            parts.append(np.stack([first, last, (first - start) // TILE + tile], axis=1))
        tasks = np.concatenate(parts)
        doubts = np.zeros(len(tasks), np.int64)
        planes, tiles = float_filter(hyperplanes), tuple(self.bounded)
        run_loop(
            bound_tiles, len(tasks), n_threads,
            (points, rows, tasks, planes, tiles, self._used, doubts),
            after=lambda first, last: tell(int(tasks[last - 1, 1])),
        )  # fmt: skip
        self.doubtful += int(doubts.sum())

    def masks_of(self, positions: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """The ones of ``valid`` that each of the patterns at ``positions``, int64, has not."""
        masks = np.empty((len(positions), len(valid)), np.uint64)
        unpack_complements(tuple(self.bounded), positions, valid, masks)
        return masks

    def unpack(self, positions: np.ndarray, out: np.ndarray, first: int) -> None:
        """Copy the patterns at ``positions``, int64, to ``first``, ... of tiles ``out``."""
        unpack_points(tuple(self.bounded), positions, out, first)


def bounds_pay(
    points: Points, codes: np.ndarray, hyperplanes: Hyperplanes, for_sums: bool = False
) -> bool:
    """Whether bounding tiles would save time, by what varies among neighbours of a sample.

    For real sums it is less that may vary.
    """
    n_samples, d = points.n_samples, points.n_features
    if MODE == "never" or not hyperplanes.keeps_weights or points.is_sparse or d > MOST_FEATURES:
        return False
    if MODE == "always":
        return True
    if n_samples < _FEWEST_POINTS or len(hyperplanes) < _FEWEST_HYPERPLANES or d > FEW_FEATURES:
        return False
    if not points.is_one_array and _COPIES * 8 * d * points.dtype.itemsize > len(hyperplanes):
        return False
    most = _PAYS_FOR_SUMS if for_sums else _PAYS
    return varying_share(points, codes, hyperplanes) < most
