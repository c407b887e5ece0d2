"""Patterns of points that are on shards."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastmem.distributed.fleet import Fleet, in_order
from fastmem.distributed.regional_cells import RegionalCells
from fastmem.distributed.regions import PlacedPatterns, Regions
from fastmem.distributed.remote_cover import NamedPoints, RemoteCover
from fastmem.distributed.remote_points import RemotePoints
from fastmem.distributed.window import Window
from fastmem.fit_memory import require_regions
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.second_layer.class_cover import ClassCover
from fastmem.second_layer.cover import Cover


class RemotePatterns:
    """As `Patterns`, of points on shards; see ``second_layer.cover``.

    Parameters
    ----------
    fleet : Fleet
    points : RemotePoints
    is_spatial, is_bounded : bool
        Whether a fit on one machine would have them in a spatial order, or as bounding tiles.
    """

    def __init__(
        self,
        fleet: Fleet,
        points: RemotePoints,
        is_spatial: bool,
        is_bounded: bool,
    ) -> None:
        self._fleet, self._points, self._placing = fleet, points, points.placing
        self.is_spatial, self.is_bounded = is_spatial, is_bounded
        self.doubtful = self.n_words = self.file_bytes = 0
        self._named: NamedPoints

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self._placing.counts)

    def class_size(self, code: int) -> int:
        """Number of points of a class."""
        return int(self._placing.counts[code])

    def fill(
        self,
        points: Any,
        hyperplanes: Hyperplanes,
        n_threads: int,
        first: int = 0,
        progress: Callable[[int, int, int], object] = lambda done, total, neurons: None,
    ) -> None:
        """Let the shards compute the bits of the hyperplanes first..n-1."""
        self.n_words, self._n_hyperplanes = hyperplanes.n_words, len(hyperplanes)
        self._named = NamedPoints(self._fleet, self.n_words)
        self._fleet.tell("fill", hyperplanes, first, then=self._count_doubtful)
        self._fleet.flush()
        progress(self._placing.n_rows, self._placing.n_rows, 0)

    def _count_doubtful(self, replies: Sequence[int]) -> None:
        self.doubtful += sum(replies)

    def rows_of(self, codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Rows of points by their classes and their numbers in these, int64."""
        if not len(codes):
            return np.empty(0, np.int64)
        return in_order(self._fleet.ask(("rows", codes, numbers))[0])[1]

    def rows_at(self, positions: np.ndarray) -> np.ndarray:
        """Rows of the points at ``positions``, int64."""
        return self.rows_of(*self._placing.points_at(positions))

    def cover(
        self,
        n_hyperplanes: int,
        code: int,
        generator: np.random.Generator,
        n_threads: int,
        members: np.ndarray | None = None,
        margin: float = 0.0,
        only_inside: bool = False,
    ) -> Cover:
        """A cover of a class."""
        if members is not None and len(members) == self.class_size(code):
            members = None
        before = copy.deepcopy(generator)
        window = Window(self.class_size(code), generator, members, self.n_words)
        cover = RemoteCover(
            self, self._named, window, code, n_hyperplanes, n_threads, margin, only_inside
        )
        cover.generator = before
        return cover

    def among_neighbours(
        self, covers: list[Cover]
    ) -> tuple[list[Cover], Callable[[Sequence[Any]], object]]:
        """See `PatternsElsewhere`: one shuffle brings neighbours to regions on the shards."""
        one = covers[0]
        require_regions(self._points.n_samples, self._n_hyperplanes, self._points.elsewhere.rooms)
        regions = Regions(
            self._fleet, self._placing, self._points, self._n_hyperplanes, one.n_threads,
            not self.is_bounded,
        )  # fmt: skip
        here = PlacedPatterns(regions.layout, regions.numbers, self.rows_of)
        placed: list[Any] = []
        for cover in covers:
            assert isinstance(cover, RemoteCover)
            placed.append(ClassCover(
                here, self._n_hyperplanes, cover.code, cover.generator, cover.n_threads,
                cover.left(), cover.margin, cover.only_inside,
            ))  # fmt: skip
            placed[-1].take_over(cover)
        return placed, RegionalCells([cover for cover in placed if not cover.done], regions).step
