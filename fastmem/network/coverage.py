"""How many points each neuron of a network covers that no neuron before it does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.inputs import check_known_labels, check_points, check_threads
from fastmem.kernels.cover import cover
from fastmem.machine.threads import ranges, run_tasks
from fastmem.network.network import Network
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.words import padded
from fastmem.second_layer.real_sums import first_neuron_on

_TILES = 16
_AT_ONCE = 64


def coverage(
    network: Network, X: Any, y: Any, *, n_threads: int | None = None
) -> NDArray[np.int64]:
    """Count for each neuron the points of its class that it is the first to cover.

    Parameters
    ----------
    network : Network
    X : array-like or CSR matrix of shape (n_samples, n_features)
        As a rule the training points.
    y : array-like of shape (n_samples,)
        Their labels.
    n_threads : int, optional
        Threads to use; all cores by default.

    Returns
    -------
    ndarray of shape (n_neurons,), int64
        In the order of ``network.second``, where the neurons of a class that covered most when they
        were chosen come first.

    Raises
    ------
    InvalidInputError
        If X and y do not belong to the network.
    """
    points = check_points(X, n_features=network.n_features_in_)
    codes = check_known_labels(y, points.n_samples, network.classes_)
    threads = check_threads(n_threads)
    second = network.second
    if second.activation == "relu":
        first = first_neuron_on(
            np.arange(len(codes)), points, codes, network.first, second.masks, second.thresholds,
            second.owners, threads,
        )  # fmt: skip
        return np.bincount(first[first >= 0], minlength=len(second))
    gained = np.zeros(len(second), np.int64)
    # a class may have no points here, but patterns have a tile for each
    kept = np.unique(codes)
    patterns = Patterns(np.searchsorted(kept, codes), len(kept), network.first.n_words)
    patterns.fill(points, network.first, threads)
    for place, code in enumerate(kept):
        neurons = np.flatnonzero(second.owners == code)
        part = slice(*patterns.first_tile[place : place + 2])
        gained[neurons] = _gained(
            patterns.tiles[part], patterns.sizes[part], second.masks[neurons],
            second.thresholds[neurons].astype(np.int64), threads,
        )  # fmt: skip
    return gained


def _gained(
    tiles: NDArray[np.uint64],
    sizes: NDArray[np.int64],
    masks: NDArray[np.uint64],
    levels: NDArray[np.int64],
    n_threads: int,
) -> NDArray[np.int64]:
    """Points of one class that each mask is the first to cover."""
    uncovered = np.arange(tiles.shape[2]) < sizes[:, None]
    stack, levels = padded(masks), padded(levels)
    tasks = ranges(len(tiles), _TILES)
    gained = np.zeros((len(tasks), len(stack)), np.int64)

    def work(task: int) -> None:
        first, last = tasks[task]
        for start, stop in ranges(len(stack), _AT_ONCE):
            cover(
                tiles, sizes, first, last, stack[start:stop], levels[start:stop], uncovered,
                gained[task, start:stop],
            )  # fmt: skip

    run_tasks(work, range(len(tasks)), n_threads)
    counts: NDArray[np.int64] = gained.sum(axis=0)[: len(masks)]
    return counts
