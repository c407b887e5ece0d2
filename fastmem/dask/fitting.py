"""Fits of Dask's collections."""

from __future__ import annotations

import inspect
from typing import Any

from fastmem import algorithm
from fastmem.dask.clients import using
from fastmem.dask.collections import Recipes
from fastmem.dask.shards import DaskShards
from fastmem.distributed.fitting import interpolate_on
from fastmem.network.network import Network


def interpolate(X: Any, y: Any, *, client: Any = None, **parameters: Any) -> Network:
    """As `fastmem.interpolate`, where the points are: on the workers of a Dask cluster.

    Parts stay on the workers that make them, which count for the driver, this process. The network
    is the one of a single machine, its file byte for byte: it depends neither on the number of
    workers nor on parts, nor on workers that are lost meanwhile.

    Parameters
    ----------
    X : dask array or data frame of shape (n_samples, n_features)
        In parts of whole rows, of any lengths, which need not be known. Arrays of NumPy's or CSR
        blocks (SciPy); frames of numeric columns, and with ``encode`` of any.
    y : dask array or series of shape (n_samples,)
        In the same parts. Labels as of `fastmem.interpolate`.
    client : distributed.Client, optional
        By default the current one. Inside a task the worker's.
    **parameters
        Of `fastmem.interpolate`, with the same defaults. ``n_threads`` are those of the driver; on
        a worker its threads are used.

    Returns
    -------
    Network
        An ordinary one, here.

    Raises
    ------
    InvalidInputError
        For what `fastmem.interpolate` refuses, and naming the part where one cannot be used; for
        settings that are for one machine only; if X or y are no Dask collections or not in the same
        parts; and if workers have other versions of fastmem, numba or NumPy.
    ContradictionError
        As `fastmem.interpolate`.
    NotEnoughMemoryError
        If what a worker may have in memory is too little for its parts.
    LostShardError
        If the same parts are lost five times in one round, whose workers and numbers it tells; or
        if no worker takes tasks for five minutes.

    Warns
    -----
    UnseparatedWarning, UnknownValueWarning
        As `fastmem.interpolate`.
    UserWarning
        If the data was scattered to workers: it cannot be made again where one is lost.

    Notes
    -----
    A lost worker, killed, stopped or taken from the cluster, costs its parts, which are made again
    from their graph on another, and what was counted of them. Dask notices a stopped worker after
    ``distributed.scheduler.worker-ttl``, five minutes by default.

    Examples
    --------
    >>> import dask.array as da
    >>> import fastmem.dask
    >>> from distributed import Client  # doctest: +SKIP
    >>> client = Client()  # doctest: +SKIP
    >>> X = da.random.random((1_000_000, 20), chunks=(100_000, -1))
    >>> y = X[:, 0] > 0.5
    >>> net = fastmem.dask.interpolate(X, y, seed=0)  # doctest: +SKIP
    """
    inspect.signature(algorithm.interpolate).bind(X, y, **parameters)  # a wrong name before work
    return fit_parts(X, y, client, None, parameters)


def fit_parts(
    X: Any,
    y: Any,
    client: Any,
    of_points: tuple[str, str] | None,
    parameters: dict[str, Any],
) -> Network:
    """As `interpolate`, with the points of each part changed by a function on its worker."""
    recipes = Recipes(X, y, of_points)
    with using(client) as known:
        recipes.warn_of_scattered(known)
        with DaskShards(known, recipes) as shards:
            return interpolate_on(shards, **parameters)
