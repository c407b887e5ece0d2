"""How many points each neuron of a network covers that no neuron before it does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.inputs import check_known_labels, check_points, check_threads, scaled
from fastmem.network.network import Network
from fastmem.network.neurons_on import first_neuron_on


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
    points = scaled(check_points(X, n_features=network.n_features_in_), network.scale)
    codes = check_known_labels(y, points.n_samples, network.classes_)
    threads = check_threads(n_threads)
    on = first_neuron_on(points, codes, network.first, network.second, threads)
    return np.bincount(on[on >= 0], minlength=len(network.second))
