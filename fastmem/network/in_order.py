"""Margins of many points, computed in a spatial order where that saves time.

Of points that lie next to each other most hyperplanes have all on one side, and most neurons are on
or off for all: see ``kernels.bounded_margins``. The order costs some 50 ns a point, and gains more
where features are few and the first layer is wide, or neurons are many. Margins are the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.kernels.bounded_margins import bounded_margins
from fastmem.kernels.layout import TILE
from fastmem.machine.threads import ranges, run_tasks
from fastmem.network.margins import CountMargins
from fastmem.patterns.neighbourhoods import FEW_FEATURES, varying_share
from fastmem.patterns.spatial_order import class_order, leaves_of
from fastmem.patterns.stored_rows import float_filter

MODE = "measured"
"""Whether points are put in order wherever they can be: "always", "never", or if it pays."""
_CHUNK = 1 << 20
"""Points that are put in order at a time, 20 MB: prediction streams."""
_FEWEST_POINTS = 4096
_LEAST_WORK = 30e6
"""Nanoseconds of one core from which on it is asked, in 2 or 3 ms, whether an order pays."""
_TASK_TILES = 32
_TASK_WORDS = 1 << 28
"""Words that a task counts at most, if bounds decide nothing: some 50 ms."""
_ORDER, _SCORES = 105.0, 25.0
"""Nanoseconds that a point takes at least in an order, with its share of a tile's bounds, and where
margins are kept."""
_PRODUCT, _COUNT = 0.008, 0.14
"""And those of a multiply-add, of which a bit takes some 16 more than there are features, and of a
word that is counted; both without an order. What is left of them in one was fitted to Gaussian
points of 2 to 20 features, two moons, clusters and tables; see the page "Measurements"."""
_PAYS = 1.25


def order_pays(
    points: Points, first: Hyperplanes, margins: CountMargins, stop_when_on: bool
) -> bool:
    """Whether points should be put in order, by shapes and what varies among some neighbours."""
    n_samples, d = points.n_samples, points.n_features
    if MODE == "never" or not first.keeps_weights or points.is_sparse or d > FEW_FEATURES:
        return False
    if MODE == "always":
        return True
    signs = _PRODUCT * len(first) * (d + 16)
    counts = _COUNT * margins.n_words
    if (
        n_samples < _FEWEST_POINTS
        or n_samples * (signs + counts) < _LEAST_WORK
        or signs + counts < _PAYS * _ORDER
    ):
        return False
    varies = varying_share(points, np.zeros(n_samples, np.uint16), first)
    # what is left to do: bounds are loose where features are many; few neurons matter for a sign
    signs_left = 0.15 + 0.45 * d * varies
    counts_left = 0.03 + (2.7 if stop_when_on else 6.0) * varies**2
    order = _ORDER + (0.0 if stop_when_on else _SCORES)
    return signs + counts > _PAYS * (order + signs_left * signs + counts_left * counts)


def run_in_order(
    points: Points,
    first: Hyperplanes,
    margins: CountMargins,
    n_threads: int,
    stop_when_on: bool,
    keep: Callable[[np.ndarray, np.ndarray], object],
) -> None:
    """Call keep(rows, best) for all rows, some at a time, with their margins as of `Margins`."""
    planes, neurons = float_filter(first), margins.neurons
    words = TILE * (margins.n_words + len(first) * (points.n_features + 16) // 16)
    most = min(_TASK_TILES, _TASK_WORDS // words, margins.task_rows(points) // TILE)
    for start, stop in ranges(points.n_samples, min(_CHUNK, points.max_block_rows)):
        chunk = Points(points.block(start, stop))
        rows = _spatial_order(chunk, n_threads)

        def work(
            task: tuple[int, int], start: int = start, chunk: Points = chunk,
            rows: np.ndarray = rows,
        ) -> None:  # fmt: skip
            some = rows[slice(*task)]
            best = np.empty((margins.n_blocks, len(some)), np.int64)
            bounded_margins(chunk.array, some, planes, tuple(neurons), stop_when_on, best)
            keep(start + some, margins.as_floats(best))

        run_tasks(work, ranges(stop - start, max(1, most) * TILE), n_threads)


def _spatial_order(points: Points, n_threads: int) -> np.ndarray:
    """All rows, int32, neighbours next to each other."""
    leaves = leaves_of(points, n_threads)
    rows: np.ndarray = class_order(np.zeros(len(leaves), np.uint16), 1, leaves, n_threads).rows
    return rows
