"""Sign patterns as features of scikit-learn."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fastmem.hyperplanes.extent import extent_of
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.sources import bias_norms, row_source
from fastmem.inputs import (
    InvalidInputError,
    check_interpolate,
    check_points,
    exactly_scaled,
    scale_without_labels,
    scaled,
)
from fastmem.patterns.of_points import sign_patterns
from fastmem.patterns.words import unpacked
from fastmem.sklearn.arguments import checked, seed_of, threads_of

_OUTPUTS = ("uint8", "bool", "packed")


class HyperplanePatterns(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Sides of random hyperplanes as binary features: the first layer of the networks.

    Feature i of x is 1 iff <w_i, x> + b_i > 0, decided exactly. The hyperplanes are those of
    :func:`fastmem.interpolate` with the same width, parameters and seed. The share of features in
    which two points differ grows with their distance, and a linear model of the features is not a
    linear one of the points.

    Parameters
    ----------
    n_hyperplanes : int, default 256
    max_bias, projection, center
        As of :func:`fastmem.interpolate`. ``max_bias=0`` makes the hyperplanes pass through the
        mean, so that features tell angles only.
    scale : "none", "std" or array-like of shape (n_features,), default "none"
        As of :func:`fastmem.interpolate`; "auto" needs labels.
    output : {"uint8", "bool", "packed"}, default "uint8"
        "uint8" and "bool" give a column a hyperplane, "packed" 64 hyperplanes in each uint64: bit k
        of word j is hyperplane 64 j + k.
    random_state : int, RandomState, Generator or None, default None
        As of :class:`InterpolatingClassifier`.
    n_jobs : int or None, default None
        Threads, by joblib's rules. No result depends on it.

    Attributes
    ----------
    hyperplanes_ : fastmem.Hyperplanes
    scale_ : ndarray of shape (n_features_in_,), float64, or None
        Powers of two by which points are multiplied first.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only after a fit to a data frame whose column names are all strings.

    Notes
    -----
    Phi of Dirksen, Finke and Genzel (arXiv 2310.00327), section 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmem.sklearn import HyperplanePatterns
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> HyperplanePatterns(5, random_state=0).fit_transform(X).shape
    (3, 5)
    """

    hyperplanes_: Hyperplanes
    # of transformers that older releases pickled
    scale: Any = "none"
    scale_: np.ndarray | None = None

    def __init__(
        self,
        n_hyperplanes: int = 256,
        *,
        max_bias: float | str = "auto",
        projection: str = "auto",
        center: bool = True,
        scale: Any = "none",
        output: str = "uint8",
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_hyperplanes = n_hyperplanes
        self.max_bias = max_bias
        self.projection = projection
        self.center = center
        self.scale = scale
        self.output = output
        self.random_state = random_state
        self.n_jobs = n_jobs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    @property
    def _n_features_out(self) -> int:
        packs = self.output == "packed"
        return self.hyperplanes_.n_words if packs else len(self.hyperplanes_)

    def fit(self, X: Any, y: Any = None) -> HyperplanePatterns:
        """Draw the hyperplanes, about the mean of the points and as far out as they reach.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For input or parameters that cannot be used, with the place and the remedy.
        """
        threads = threads_of(self.n_jobs)
        points = check_points(checked(self, X))
        if not isinstance(self.n_hyperplanes, numbers.Integral) or self.n_hyperplanes < 1:
            raise InvalidInputError(
                f"n_hyperplanes is {self.n_hyperplanes!r}; pass an int of at least 1"
            )
        if self.output not in _OUTPUTS:
            raise InvalidInputError(f"output is {self.output!r}; pass 'uint8', 'bool' or 'packed'")
        settings = check_interpolate(
            np.arange(2), points.n_features, width=self.n_hyperplanes, max_bias=self.max_bias,
            projection=self.projection, center=self.center, seed=seed_of(self.random_state),
            n_threads=threads, is_sparse=points.is_sparse, scale=self.scale,
        )  # fmt: skip
        self.scale_ = scale_without_labels(points, settings.scale)
        points = exactly_scaled(points, self.scale_)
        extent = extent_of(points, threads)
        # the first of the seeds that interpolate() spawns, so that both draw the same rows
        generator = np.random.default_rng(settings.seed.spawn(3)[0])
        norms = bias_norms(settings, points, extent)
        source = row_source(settings, generator, extent, norms)
        self.hyperplanes_ = source.start(int(self.n_hyperplanes), extent.centre, extent.radius)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Sides of all hyperplanes for every point.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray
            (n_samples, n_hyperplanes) of uint8 or bool, or (n_samples, ceil(n_hyperplanes / 64)) of
            uint64, as ``output`` says.
        """
        check_is_fitted(self)
        X = checked(self, X, reset=False)
        points = scaled(check_points(X, n_features=self.hyperplanes_.n_features), self.scale_)
        words = sign_patterns(points, self.hyperplanes_, n_threads=threads_of(self.n_jobs))
        if self.output == "packed":
            return words
        bits = unpacked(words, len(self.hyperplanes_))
        return bits if self.output == "bool" else bits.view(np.uint8)
