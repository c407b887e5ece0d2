"""The classifier, of Dask's collections."""

from __future__ import annotations

import inspect
import time
from typing import Any

import dask
import numpy as np
from distributed import Client
from sklearn.base import clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from fastmem.dask.clients import client_of
from fastmem.dask.collections import (
    is_frame,
    require_labels,
    require_points,
    require_same_parts,
    together,
)
from fastmem.dask.fitting import fit_parts
from fastmem.dask.predicting import by_parts
from fastmem.inputs import InvalidInputError
from fastmem.sklearn.arguments import threads_of
from fastmem.sklearn.classifier import InterpolatingClassifier, has_probabilities


class DaskInterpolatingClassifier(InterpolatingClassifier):
    """Classifier that memorises Dask's collections, with the network of a single machine.

    It is `fastmem.sklearn.InterpolatingClassifier` where the points are on a cluster: with the same
    parameters and defaults, and after a fit with the same ``network_``, byte for byte. Predictions
    are lazy.

    Parameters
    ----------
    client : distributed.Client, optional
        By default the current one, when it is needed. It is not pickled.
    **parameters
        Of `fastmem.sklearn.InterpolatingClassifier`. ``n_jobs`` are threads of the driver in fits
        and of each task in predictions; in fits workers use theirs.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only after a fit to a data frame whose column names are all strings.
    network_ : fastmem.Network
    relabelled_ : ndarray of int64
        Training rows whose label was overruled by that of equal points, ascending.

    See Also
    --------
    fastmem.dask.interpolate : The same without scikit-learn.

    Examples
    --------
    >>> from fastmem.dask import DaskInterpolatingClassifier
    >>> classifier = DaskInterpolatingClassifier(random_state=0)
    >>> classifier.fit(X, y).predict(X).compute()  # doctest: +SKIP
    """

    def __init__(self, *, client: Client | None = None, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.client = client

    def __getstate__(self) -> Any:
        return super().__getstate__() | {"client": None}

    def __sklearn_clone__(self) -> DaskInterpolatingClassifier:
        fresh = type(self)(**{
            name: clone(value, safe=False)
            for name, value in self.get_params(deep=False).items()
            if name != "client"
        })  # fmt: skip
        return fresh.set_params(client=self.client)  # which cannot be copied

    @property
    def client_(self) -> Client:
        """The client that is used: the one that was passed, or the current one."""
        return client_of(self.client)

    def fit(self, X: Any, y: Any) -> DaskInterpolatingClassifier:
        """Memorise a training set.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features)
            As of `fastmem.dask.interpolate`.
        y : dask array or series of shape (n_samples,)
            At least two classes.

        Returns
        -------
        self

        Raises
        ------
        ValueError, LostShardError
            As of `fastmem.dask.interpolate`.

        Warns
        -----
        ContradictionWarning, UnseparatedWarning
            As of the local class.
        """
        start = time.perf_counter()
        threads = threads_of(self.n_jobs)
        require_points(X)
        require_labels(X, y)
        parameters = {**self._parameters(X), "n_threads": threads}
        network = fit_parts(X, y, self.client, (__name__, "as_array"), parameters)
        known = X._meta if is_frame(X) else np.empty((0, network.n_features_in_))
        validate_data(self, known, skip_check_array=True)
        classes = network.classes_.astype(np.asarray(y._meta).dtype)
        names = getattr(self, "feature_names_in_", None)
        self._keep(network, classes, names, start)
        return self

    def predict(self, X: Any, *, abstain: float | None = None) -> Any:
        """Label every point, when it is computed.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features)
        abstain : float from 0 to 1, optional
            Not for data frames. As of the local class: mask labels of a probability below it.

        Returns
        -------
        dask array or series of shape (n_samples,), dtype of classes_
        """
        check_is_fitted(self)
        if abstain is not None and is_frame(X):
            raise InvalidInputError("abstain masks labels of arrays only; pass X.to_dask_array()")
        return by_parts(self.to_local(), "predict", X, self.classes_.dtype, abstain=abstain)

    @available_if(has_probabilities)
    def predict_proba(self, X: Any) -> Any:
        """Probabilities of the classes, when it is computed; with a vote only.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features)

        Returns
        -------
        dask array or data frame of shape (n_samples, n_classes), float64
        """
        check_is_fitted(self)
        kind = np.dtype(np.float64)
        return by_parts(self.to_local(), "predict_proba", X, kind, self.classes_)

    def decision_function(self, X: Any) -> Any:
        """Margins, when it is computed; see the local class.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features)

        Returns
        -------
        dask array, data frame or series, float64
            Of shape (n_samples, n_classes), or (n_samples,) for two classes.
        """
        check_is_fitted(self)
        columns = self.classes_ if len(self.classes_) > 2 else None
        kind = np.dtype(np.float64)
        return by_parts(self.to_local(), "decision_function", X, kind, columns)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of points that are predicted right.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features)
        y : dask array or series of shape (n_samples,)
            In the same parts.
        sample_weight : dask array or series of shape (n_samples,), optional

        Returns
        -------
        float
        """
        check_is_fitted(self)
        require_labels(X, y)
        require_same_parts(X, y)
        columns = [self.predict(X), y, *([] if sample_weight is None else [sample_weight])]
        count = dask.delayed(_right, pure=True)
        found = [count(some) for some in together(*columns)]
        right, total = np.sum(dask.compute(*found, scheduler=self.client), axis=0)
        return float(right / total)

    def to_local(self) -> InterpolatingClassifier:
        """The same without Dask, fitted where this is.

        Returns
        -------
        fastmem.sklearn.InterpolatingClassifier
        """
        parameters = self.get_params(deep=False)
        del parameters["client"]
        local = InterpolatingClassifier(**parameters)
        fitted = {name: value for name, value in vars(self).items() if name[-1] == "_"}
        for name, value in fitted.items():
            setattr(local, name, value)
        return local


def _signature() -> inspect.Signature:
    """Of a constructor: ``client``, and all that the local class takes."""
    ours = inspect.signature(DaskInterpolatingClassifier.__init__).parameters
    theirs = inspect.signature(InterpolatingClassifier.__init__).parameters
    some = {**theirs, "client": ours["client"]}
    names = ["self", "client", *(name for name in theirs if name != "self")]
    return inspect.Signature([some[name] for name in names])


# scikit-learn reads parameters from there
DaskInterpolatingClassifier.__init__.__signature__ = _signature()  # type: ignore[attr-defined]


def as_array(points: Any) -> Any:
    """Points of a part as the local class takes them."""
    return check_array(points, accept_sparse="csr", dtype="numeric", ensure_min_samples=0)


def _right(columns: tuple[Any, ...]) -> tuple[float, float]:
    """The weight of what is predicted right, and of all; predictions, labels, perhaps weights."""
    predicted, y, *more = map(np.asarray, columns)
    weights = more[0] if more else np.ones(len(y))
    return float(weights[predicted == y].sum()), float(weights.sum())
