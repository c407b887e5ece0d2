"""The finished separator: predict, scores, save and load."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.encoding import encoded_points, is_table
from fastmem.errors import InvalidInputError
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import (
    Points,
    check_known_labels,
    check_points,
    check_threads,
    checked_scale,
    scaled,
)
from fastmem.machine.arrays import frozen
from fastmem.machine.memory import require_for_prediction
from fastmem.separation import file
from fastmem.separation.features import Features
from fastmem.separation.report import SeparationReport
from fastmem.separation.rounding import MOST_BITS
from fastmem.separation.scores import Scores

if TYPE_CHECKING:
    from fastmem.encoding import Encoding


class Separator:
    """A linear read-out of random features that is right on what it is certified for.

    See :func:`fastmem.separate`.

    Raises
    ------
    InvalidInputError
        If the parts do not fit together.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The labels, sorted.
    n_features_in_ : int
        Columns that points must have.
    first : Hyperplanes
        The hyperplanes of the features.
    activation : {"relu", "threshold"}
    weights : ndarray of shape (n, K), int64
        Of the read-out; (n, 1) for two classes, whose positive scores say the second.
    intercepts : ndarray of shape (K,) or (1,), float64
    report : SeparationReport or None
        None for a separator that was loaded.
    summary : dict of str to int, float, str or None
        Small facts; they are saved with the separator.
    feature_names, scale, encoding
        As of :class:`fastmem.Network`.
    """

    def __init__(
        self,
        classes: np.ndarray,
        first: Hyperplanes,
        activation: str,
        weights: np.ndarray,
        intercepts: np.ndarray,
        report: SeparationReport | None = None,
        summary: Mapping[str, int | float | str | None] | None = None,
        feature_names: Sequence[str] | None = None,
        scale: np.ndarray | None = None,
        encoding: Encoding | None = None,
    ) -> None:
        columns = 1 if len(classes) == 2 else len(classes)
        if weights.shape != (len(first), columns) or intercepts.shape != (columns,):
            raise InvalidInputError(
                f"weights has shape {weights.shape} and intercepts {intercepts.shape}; pass "
                f"{(len(first), columns)} and {(columns,)} for {len(first)} features and "
                f"{len(classes)} classes"
            )
        # not by np.abs, which leaves -2^63 below 0
        most = 1 << (MOST_BITS - 1)
        if weights.dtype != np.int64 or not -most < weights.min() <= weights.max() < most:
            raise InvalidInputError(
                f"weights has dtype {weights.dtype}, or one of more than {MOST_BITS} bits; pass "
                f"int64 of fewer"
            )
        if activation not in ("relu", "threshold"):
            raise InvalidInputError(f"activation is {activation!r}; pass 'relu' or 'threshold'")
        if intercepts.dtype != np.float64 or not np.isfinite(intercepts).all():
            raise InvalidInputError("intercepts is no float64 array of finite numbers; convert it")
        self.classes_, self.first, self.activation = classes, first, activation
        self.weights = frozen(weights.copy())
        self.intercepts = frozen(intercepts.copy())
        self.report = report
        self.summary = dict(summary or {})
        self.n_features_in_ = first.n_features
        self.feature_names = None if feature_names is None else tuple(map(str, feature_names))
        self.scale = None if scale is None else checked_scale(scale, first.n_features)
        self.encoding = encoding

    def __repr__(self) -> str:
        kind = "ReLU features" if self.activation == "relu" else "sign bits"
        return (
            f"<fastmem.Separator: {self.n_features_in_} features, {len(self.first)} {kind}, "
            f"{len(self.classes_)} classes>"
        )

    def __getstate__(self) -> dict[str, Any]:
        """What pickle and copy take: not what is computed on demand."""
        return {name: value for name, value in vars(self).items() if name != "_scores"}

    @property
    def nbytes(self) -> int:
        """Size of the file, in bytes."""
        return len(file.contents(self._parts()))

    def predict(self, X, *, n_threads: int | None = None) -> np.ndarray:
        """Label every point; right on every training point that was separated.

        Parameters
        ----------
        X : array-like, CSR matrix or data frame of shape (n_samples, n_features_in_)
        n_threads : int, optional
            Threads to use; all cores by default.

        Returns
        -------
        ndarray of shape (n_samples,), dtype of classes_
            The class with the largest score as the stored numbers define it, exactly; of equals
            the first. It depends on the point alone.

        Raises
        ------
        InvalidInputError
            If X is not a finite real matrix with as many columns as the training set, or a data
            frame with other columns, or in another order.
        """
        return self.classes_[self._codes(self._points(X), n_threads)]

    def decision_function(self, X, *, n_threads: int | None = None) -> np.ndarray:
        """Scores of the classes in float64.

        Parameters
        ----------
        X, n_threads
            As for :meth:`predict`.

        Returns
        -------
        ndarray of shape (n_samples, K), float64, or (n_samples,) for two classes
            The largest is that of the predicted class. For two classes, what is positive means
            ``classes_[1]``.

        Raises
        ------
        InvalidInputError
            As :meth:`predict`.
        """
        points = self._points(X)
        require_for_prediction(points.n_samples, 8 * len(self.classes_))
        scores = self._scores.values(points, check_threads(n_threads))
        return scores if len(self.classes_) > 2 else scores[:, 1] - scores[:, 0]

    def score(self, X, y, *, n_threads: int | None = None) -> float:
        """Share of points whose label is predicted right.

        Parameters
        ----------
        X, n_threads
            As for :meth:`predict`.
        y : array-like of shape (n_samples,)
            Labels among ``classes_``.

        Returns
        -------
        float

        Raises
        ------
        InvalidInputError
            As :meth:`predict`; or where y has another length than X, or unknown labels.
        """
        points = self._points(X)
        codes = check_known_labels(y, points.n_samples, self.classes_)
        return float(np.mean(self._codes(points, n_threads) == codes))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the separator to ``path``, under that very name; see :meth:`load`.

        The file holds the key of the hyperplanes instead of their weights. It is written to a
        temporary name and then moved.

        Raises
        ------
        ModelFileError
            If ``path`` is there and no regular file.
        OSError
            If the file cannot be written.
        """
        file.save(self._parts(), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Separator:
        """Read a separator that :meth:`save` wrote; nothing in the file is executed or believed.

        Parameters
        ----------
        path : str or os.PathLike

        Returns
        -------
        Separator
            Equal to the saved one bit for bit, except that ``report`` is None.

        Raises
        ------
        ModelFileError
            If the file is damaged or no separator's, or was written by a newer fastmem.
        OSError
            As from ``open``.
        """
        parts = file.read(path)
        return cls(
            parts.classes, parts.first, parts.activation, parts.weights, parts.intercepts, None,
            parts.summary, parts.feature_names, parts.scale, parts.encoding,
        )  # fmt: skip

    def _parts(self) -> file.SeparatorParts:
        return file.SeparatorParts(
            self.classes_, self.first, self.activation, self.weights, self.intercepts,
            self.summary, self.feature_names, self.scale, self.encoding,
        )  # fmt: skip

    def _codes(self, points: Points, n_threads: int | None) -> np.ndarray:
        require_for_prediction(points.n_samples, 8 + self.classes_.itemsize)
        return self._scores.codes(points, check_threads(n_threads))

    def _points(self, X: Any) -> Points:
        if self.encoding is not None and is_table(X):
            X = encoded_points(X, self.encoding)
        points = check_points(X, n_features=self.n_features_in_, feature_names=self.feature_names)
        return scaled(points, self.scale)

    @cached_property
    def _scores(self) -> Scores:
        features = Features(self.first, self.activation)
        return Scores(features, self.weights, self.intercepts)
