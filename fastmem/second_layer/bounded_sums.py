"""Real sums over bounding tiles: thresholds and cover with few looks at single points."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from fastmem.inputs import Points
from fastmem.kernels.layout import TILE
from fastmem.kernels.products import DOUBLES
from fastmem.kernels.relu import least_sums
from fastmem.kernels.relu_bounds import cover_in_boxes, least_in_boxes
from fastmem.kernels.relu_boxes import FAN, Boxes, Places, Stack, surround
from fastmem.kernels.relu_lanes import Masks
from fastmem.machine.loops import run_loop
from fastmem.machine.threads import ranges
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.words import unpacked
from fastmem.second_layer.bounded_points import BoundedPoints
from fastmem.second_layer.real_sums import RealSums, refuse_zeros, rows_for_sums

_MOST_MASKS = 256
_MASK_VALUES = 1 << 19
"""Masks at a time, and values of them, one a hyperplane: they should stay in a cache."""
_TASKS = 64
_TASK_BOXES = 8
"""Boxes of a task at most: if all their tiles are looked at, some tens of ms."""
_SURROUND_TILES = 64
_SERIAL_BOXES = 200
"""Fewer boxes, times masks, are not worth starting threads for."""


class BoundedSums:
    """Real sums of a fit whose patterns are bounding tiles.

    The same results as `real_cover` has without bounds.
    """

    def __init__(self, patterns: Patterns, points: Points, sums: RealSums, n_threads: int) -> None:
        assert patterns.bounded is not None and points.array is not None
        self._patterns, self._points, self._sums = patterns, points, sums
        self._n_threads = n_threads
        d = points.n_features
        n_tiles = np.diff(patterns.first_tile)
        codes = np.repeat(np.arange(patterns.n_classes), n_tiles)
        begins = np.arange(len(codes)) - patterns.first_tile[codes]
        begins = patterns.starts[codes] + begins * TILE
        firsts = [np.arange(first, last, FAN) for first, last in pairwise(patterns.first_tile)]
        self._first_box = np.concatenate([[0], np.cumsum([len(some) for some in firsts])])
        starts = np.concatenate(firsts).astype(np.int64)
        places = Places(
            points.array, patterns.order, begins, patterns.sizes,
            np.append(starts, len(codes)), codes[starts],
        )  # fmt: skip
        tiles = Boxes(*np.empty((2, len(codes), d)), *np.empty((2, len(codes))))
        run_loop(
            surround, -(-len(codes) // _SURROUND_TILES), n_threads,
            (tuple(sums.layer), tuple(places), _SURROUND_TILES, tuple(tiles)),
        )  # fmt: skip
        boxes = _joined(tiles, starts, np.diff(places.firsts))
        self._given: tuple[Any, ...] = (
            tuple(sums.layer), tuple(places), tuple(patterns.bounded.bounded), tuple(boxes),
            tuple(tiles),
        )  # fmt: skip

    def least_over(self, masks: np.ndarray, owners: np.ndarray, nearest: np.ndarray) -> np.ndarray:
        """Least sums of masks over points of classes other than their owners', rounded down.

        owners (B,) int64; ``nearest`` are positions of good points to begin with.
        """
        least = np.full(len(masks), np.inf)
        n_boxes = int(self._first_box[-1])
        for start, stop in self._parts(len(masks)):
            part = slice(start, stop)
            stack = self._stack(masks[part])
            self._lower(stack.masks, owners[part], np.unique(nearest[part]), least[part])
            size = _task_boxes(n_boxes)
            found = np.repeat(least[None, part], -(-n_boxes // size), axis=0)
            run_loop(
                least_in_boxes, len(found), self._threads(n_boxes * (stop - start)),
                (*self._given, _plain(stack), owners[part], size, found),
            )  # fmt: skip
            least[part] = found.min(axis=0)
        refuse_zeros(least)
        return least

    def take_covered(
        self, code: int, masks: np.ndarray, limits: np.ndarray, uncovered: np.ndarray
    ) -> np.ndarray:
        """Clear ``uncovered``, of a class, where a sum is below its mask's limit, float64.

        Returns for each mask how many points it is the first to cover, int64.
        """
        gained = np.zeros(len(masks), np.int64)
        first, last = (int(box) for box in self._first_box[code : code + 2])
        for start, stop in self._parts(len(masks)):
            part = slice(start, stop)
            size = _task_boxes(last - first)
            found = np.zeros((-(-(last - first) // size), stop - start), np.int64)
            run_loop(
                cover_in_boxes, len(found), self._threads((last - first) * (stop - start)),
                (
                    *self._given, _plain(self._stack(masks[part])), limits[part],
                    np.array([first, last]), size, uncovered, found,
                ),
            )  # fmt: skip
            gained[part] = found.sum(axis=0)
        return gained

    def _parts(self, n_masks: int) -> list[tuple[int, int]]:
        most = _MASK_VALUES // len(self._sums.norms) // DOUBLES * DOUBLES
        return ranges(n_masks, max(DOUBLES, min(_MOST_MASKS, most)))

    def _threads(self, n_looks: int) -> int:
        return 1 if n_looks < _SERIAL_BOXES else self._n_threads

    def _stack(self, masks: np.ndarray) -> Stack:
        n = len(self._sums.norms)
        bits = np.zeros((-(-len(masks) // DOUBLES) * DOUBLES, n), np.bool_)
        bits[: len(masks)] = unpacked(masks, n)
        panels = bits.reshape(-1, DOUBLES, n).transpose(0, 2, 1).astype(np.float64, order="C")
        return Stack(self._sums.masks(masks), self._sums.norms, panels)

    def _lower(self, stack: Masks, owners: np.ndarray, near: np.ndarray, least: np.ndarray) -> None:
        """Lower ``least`` to what the points at some positions reach."""
        patterns = self._patterns
        own = BoundedPoints(patterns, 0, len(patterns.sizes)).gathered(near)
        block = self._points.take(patterns.rows_at(near))
        rows = rows_for_sums(block, own.tiles, np.arange(len(near)))
        least_sums(self._sums.layer, stack, owners, rows, patterns.codes_at(near), least)


def _task_boxes(n_boxes: int) -> int:
    return max(1, min(_TASK_BOXES, -(-n_boxes // _TASKS)))


def _plain(stack: Stack) -> tuple[Any, ...]:
    return tuple(stack.masks), stack.norms, stack.panels


def _joined(tiles: Boxes, starts: np.ndarray, counts: np.ndarray) -> Boxes:
    """Boxes about counts[b] tiles each, from starts[b] on."""
    with np.errstate(over="ignore", invalid="ignore"):
        low = np.minimum.reduceat(tiles.centres - tiles.halves, starts, axis=0)
        high = np.maximum.reduceat(tiles.centres + tiles.halves, starts, axis=0)
        centres = 0.5 * low + 0.5 * high
        halves = np.maximum(high - centres, centres - low)
        far = np.sqrt((halves**2).sum(axis=1))
        apart = np.sqrt(((tiles.centres - np.repeat(centres, counts, axis=0)) ** 2).sum(axis=1))
        reaches = np.minimum(np.maximum.reduceat(apart + tiles.reaches, starts), far)
        radii = (np.sqrt((centres**2).sum(axis=1)) + far) * (1 + 1e-9) + 2.0**-400
    return Boxes(centres, halves, reaches, radii)
