"""Cells that grow among neighbours, in the regions of shards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastmem.distributed.regions import Regions
from fastmem.kernels.bounds import BoundTree
from fastmem.kernels.near_cells import Grown
from fastmem.second_layer.class_cover import ClassCover
from fastmem.second_layer.near_cells import NearCells


class RegionalCells(NearCells):
    """As `NearCells`, which grow on shards.

    Parameters
    ----------
    covers : sequence of ClassCover
        Of `PlacedPatterns`.
    regions : Regions
    """

    def __init__(self, covers: Sequence[ClassCover], regions: Regions) -> None:
        self._regions = regions
        self._chosen: Sequence[np.ndarray] | None
        super().__init__(covers, True)

    def _gather(self, covers: Sequence[ClassCover]) -> None:
        self._chosen = None
        super()._gather(covers)
        firsts = self.ground.own.first[0]

        def codes_at(positions: np.ndarray) -> np.ndarray:
            return np.searchsorted(firsts, positions, side="right") - 1

        self._regions.stand(self.ground.uncovered, codes_at, self._chosen)

    def gathered(self, chosen: Sequence[np.ndarray], sizes: np.ndarray) -> BoundTree:
        """See `NearCells`; here without their bits."""
        self._chosen = chosen
        return super().gathered(chosen, sizes)

    def grow(self, starts: np.ndarray, codes: np.ndarray) -> tuple[Grown, np.ndarray, np.ndarray]:
        """See `NearCells`."""
        placed = starts
        if self._chosen is not None:
            first, placed = self.ground.own.first[0], np.empty_like(starts)
            for code in np.unique(codes):
                mine = codes == code
                placed[mine] = self._chosen[code][starts[mine] - first[code]]
        return self._regions.grow(starts, codes, placed, self.manner)

    def note_closed(self, positions: np.ndarray) -> None:
        """See `NearCells`."""
        self._regions.note_closed(positions)
