"""What networks say of Dask's collections: lazily, part by part."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import uuid4

import dask
import numpy as np

from fastmem.dask.collections import is_frame, require_points
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import InvalidInputError
from fastmem.network.network import Network
from fastmem.patterns import of_points


def predict(network: Network, X: Any) -> Any:
    """Label every point, when it is computed.

    Parameters
    ----------
    network : Network
    X : dask array or data frame of shape (n_samples, n_features)
        In parts of whole rows.

    Returns
    -------
    dask array or series of shape (n_samples,), dtype of network.classes_
        As of :meth:`fastmem.Network.predict`, in the parts of X; of a frame with its index.

    Raises
    ------
    InvalidInputError
        If X is no Dask collection or in chunks of columns; when computed, if a part cannot be
        used.

    Examples
    --------
    >>> import dask.array as da
    >>> import fastmem.dask
    >>> from fastmem.datasets import two_moons
    >>> X, y = two_moons(400, seed=0)
    >>> net = fastmem.interpolate(X, y, seed=0)
    >>> labels = fastmem.dask.predict(net, da.from_array(X, chunks=(100, -1)))
    >>> bool((labels.compute() == y).all())
    True
    """
    return by_parts(_of(network), "predict", X, network.classes_.dtype, n_threads=1)


def predict_proba(network: Network, X: Any) -> Any:
    """Probabilities of the classes, when it is computed.

    Parameters
    ----------
    network : Network
        With a vote.
    X
        As of :func:`predict`.

    Returns
    -------
    dask array or data frame of shape (n_samples, K), float64
        As of :meth:`fastmem.Network.predict_proba`; columns of a frame are the classes.

    Raises
    ------
    InvalidInputError
        As of :func:`predict`.
    """
    classes = _of(network).classes_
    return by_parts(network, "predict_proba", X, np.dtype(np.float64), classes, n_threads=1)


def decision_function(network: Network, X: Any) -> Any:
    """Margins of the classes, when it is computed.

    Parameters
    ----------
    network, X
        As of :func:`predict`.

    Returns
    -------
    dask array or data frame of shape (n_samples, K), float64, or (n_samples,) for two classes
        As of :meth:`fastmem.Network.decision_function`; columns of a frame are the classes.

    Raises
    ------
    InvalidInputError
        As of :func:`predict`.
    """
    classes = _of(network).classes_
    columns = classes if len(classes) > 2 else None
    return by_parts(network, "decision_function", X, np.dtype(np.float64), columns, n_threads=1)


def sign_patterns(X: Any, hyperplanes: Hyperplanes) -> Any:
    """Sign pattern of every point, when it is computed.

    Parameters
    ----------
    X
        As of :func:`predict`.
    hyperplanes : Hyperplanes

    Returns
    -------
    dask array or data frame of shape (n_samples, ceil(n / 64)), uint64
        As of `fastmem.sign_patterns`; columns of a frame are the words' numbers.

    Raises
    ------
    InvalidInputError
        As of :func:`predict`.
    """
    if not isinstance(hyperplanes, Hyperplanes):
        hyperplanes = Hyperplanes(*hyperplanes)
    words = np.arange(hyperplanes.n_words)
    return by_parts(_Patterns(hyperplanes), "of", X, np.dtype(np.uint64), words)


class _Patterns(NamedTuple):
    """Hyperplanes, so that they travel as networks do."""

    hyperplanes: Hyperplanes

    def of(self, X: Any) -> np.ndarray:
        return of_points.sign_patterns(X, self.hyperplanes, n_threads=1)


def _of(network: Any) -> Network:
    if not isinstance(network, Network):
        raise InvalidInputError(
            f"network is of type {type(network).__name__}; pass what interpolate returned"
        )
    return network


def by_parts(
    owner: Any,
    method: str,
    X: Any,
    dtype: np.dtype,
    columns: np.ndarray | None = None,
    **more: Any,
) -> Any:
    """What a method of an object returns for each part of X, of some columns or of one.

    The object goes into the graph, once, by itself: data that is scattered is lost with its worker.
    """
    require_points(X)
    name = f"{type(owner).__name__}-{uuid4().hex}"
    asked = _Asked(method, dtype, columns, more)
    one = dask.delayed(owner, name=name, traverse=False)
    if is_frame(X):
        nothing = np.empty((0,) if columns is None else (0, len(columns)), dtype)
        meta = asked.frame(nothing, X._meta.index[:0])
        return X.map_partitions(asked.of_frame, one, meta=meta)
    if columns is None:
        return X.map_blocks(
            asked.of_rows, owner=one, dtype=dtype, drop_axis=1, meta=np.empty(0, dtype)
        )
    chunks = X.chunks[0], (len(columns),)
    return X.map_blocks(
        asked.of_rows, owner=one, dtype=dtype, chunks=chunks, meta=np.empty((0, 0), dtype)
    )


class _Asked(NamedTuple):
    """A method that is called for parts, and what it returns."""

    method: str
    dtype: np.dtype
    columns: np.ndarray | None
    more: dict[str, Any]

    def of_rows(self, X: Any, owner: Any) -> np.ndarray:
        if not X.shape[0]:
            return np.empty((0,) if self.columns is None else (0, len(self.columns)), self.dtype)
        found: np.ndarray = getattr(owner, self.method)(X, **self.more)
        return found

    def of_frame(self, X: Any, owner: Any) -> Any:
        return self.frame(self.of_rows(X, owner), X.index)

    def frame(self, found: np.ndarray, index: Any) -> Any:
        import pandas

        if self.columns is None:
            return pandas.Series(found, index=index)
        return pandas.DataFrame(found, index=index, columns=self.columns)
