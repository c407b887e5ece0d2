"""Which neurons of a second layer are on for which points: the one place that asks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.inputs.points import SomePoints
from fastmem.kernels.relu import sums_below
from fastmem.network.margins import CountMargins
from fastmem.patterns.of_points import tiles_of_blocks
from fastmem.second_layer.cover_layer import CoverLayer
from fastmem.second_layer.real_sums import RealSums, rows_in_parts


def neurons_on(
    points: Points, first: Hyperplanes, second: CoverLayer, n_threads: int
) -> np.ndarray:
    """Say which neurons are on for which points.

    Parameters
    ----------
    points : Points
    first, second
        The layers of a network, or some neurons of the second.
    n_threads : int

    Returns
    -------
    ndarray of shape (m, N), bool
    """
    on = np.empty((len(second), points.n_samples), np.bool_)

    def keep(start: int, stop: int, here: np.ndarray) -> None:
        on[:, start:stop] = here

    _stream(points, first, second, n_threads, keep)
    return on


def first_neuron_on(
    points: Points,
    codes: np.ndarray,
    first: Hyperplanes,
    second: CoverLayer,
    n_threads: int,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Find, for each point, the first neuron of its class that is on.

    Parameters
    ----------
    points : Points
    codes : ndarray of shape (N,), integer
        The class of each point, as in ``second.owners``.
    first, second
        The layers of a network.
    n_threads : int
    rows : ndarray of shape (R,), integer, optional
        Of which points; of all by default.

    Returns
    -------
    ndarray of shape (R,), int64
        Indices into ``second``, or -1.
    """
    if rows is None:
        rows = np.arange(points.n_samples)
    found = np.full(len(rows), -1, np.int64)
    for code in np.unique(codes[rows]):
        places = np.flatnonzero(codes[rows] == code)
        neurons = np.flatnonzero(second.owners == code)
        if not len(neurons):
            continue

        def keep(
            start: int, stop: int, on: np.ndarray, places: np.ndarray = places,
            neurons: np.ndarray = neurons,
        ) -> None:  # fmt: skip
            earliest = neurons[on.argmax(axis=0)]
            found[places[start:stop]] = np.where(on.any(axis=0), earliest, -1)

        own = CoverLayer(second.masks[neurons], second.thresholds[neurons], second.owners[neurons])
        _stream(SomePoints(points, rows[places]), first, own, n_threads, keep)
    return found


def _stream(
    points: Points,
    first: Hyperplanes,
    second: CoverLayer,
    n_threads: int,
    keep: Callable[[int, int, np.ndarray], object],
) -> None:
    """Call keep(start, stop, on) for all ranges of points; on (m, stop - start) bool."""
    m = len(second)
    if second.activation == "relu":
        sums = RealSums(first, points.is_sparse)
        masks = sums.masks(second.masks)
        size = sums.task_rows(points, m)

        def use(start: int, stop: int, tiles: np.ndarray) -> None:
            on = np.empty((m, stop - start), np.bool_)
            for part, rows in rows_in_parts(points, start, stop, tiles, size):
                here = np.empty((m, part.stop - part.start), np.bool_)
                sums_below(sums.layer, masks, second.thresholds, rows, here)
                on[:, part] = here
            keep(start, stop, on)
    else:
        margins = CountMargins(second, np.arange(m), m)  # each neuron a block of its own
        size = margins.task_rows(points)

        def use(start: int, stop: int, tiles: np.ndarray) -> None:
            keep(start, stop, margins.of(points, start, stop, tiles, False) > 0)

    tiles_of_blocks(points, first, n_threads, use, size)
