"""A scikit-learn classifier that memorises."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from fastmem.algorithm import interpolate
from fastmem.inputs import InvalidInputError
from fastmem.inputs.layers import MAX_BLOCK
from fastmem.machine.warned import warn_user
from fastmem.network.network import Network
from fastmem.sklearn.arguments import checked, seed_of, threads_of


class ContradictionWarning(UserWarning):
    """Equal points have different labels, and some were taken for their most frequent label."""


def has_probabilities(classifier: InterpolatingClassifier) -> bool:
    """Whether a classifier has, or will have, probabilities."""
    network = getattr(classifier, "network_", None)
    if network is not None:
        return network.readout is not None
    return classifier._decision() == "vote"


class InterpolatingClassifier(ClassifierMixin, BaseEstimator):
    """Classifier that memorises its training set exactly, without training.

    A network by :func:`fastmem.interpolate`: right on every training point, except where equal
    points have different labels. By default a vote of random cosine features predicts, about as
    well as the nearest neighbour or better, and neurons memorise what it gets wrong.

    Parameters
    ----------
    decision : {"auto", "vote", "cells"}, default "auto"
        How the network decides. "vote" is for points that it was not shown, "cells" is the paper's
        network, whose widths measure the data. "auto" is "vote", unless another parameter has a
        meaning for cells alone: ``width="smallest"``, ``compact`` or a ``covered`` class by name;
        or ``objective`` is "bytes"; or X is sparse with more columns than a vote takes, 65,536.
    width : int, "auto" or "smallest", default "auto"
        With a vote the number of its features, a multiple of 64 or rounded up to one; "auto"
        chooses it by leaving training points out. With cells the number of hyperplanes of the first
        layer. "auto" adds them until every point can be covered; "smallest" goes on to the width
        with the fewest parameters in all. With a number the points that it leaves unseparated are
        predicted wrong, listed in ``network_.report.unseparated``, and there is a warning.
    max_bias : float or "auto", default "auto"
        The paper's lambda: biases are uniform on [-max_bias, max_bias]. "auto" takes the largest
        norm of a point, after centring.
    selection : {"merge", "random"}, default "merge"
        How neurons of the second layer are chosen: each grown over several points, or, as in the
        paper, for one random point each, which takes many times as many.
    projection : {"auto", "gaussian", "structured"}, default "auto"
        Hyperplanes with Gaussian weights as in the paper, or rows of Walsh-Hadamard transforms with
        random signs, faster and smaller; "auto" takes these for dense points of at least 128
        features.
    covered : "auto", "all", label or list of labels, default "auto"
        Classes that get neurons. "auto" leaves the widest one out, which is then predicted where no
        neuron is on; with a ``margin`` it covers all.
    center : bool, default True
        Shift the points by their mean first.
    max_width : int or None, default None
        Where "auto" and "smallest" stop in any case.
    margin : float from 0 to 1 or "auto", default "auto"
        How deep inside its neuron's cell every training point must lie: 0 is the narrowest network.
        "auto" is 0.2 for the exceptions of a vote, 0 for cells, of which those with 0.5 or 1, a
        ``width`` of 1,024 or more and ``complete=True`` predict unseen points best, and give
        training points away: see :func:`fastmem.audit`.
    compact : bool, default False
        Spend more time on a network with fewer parameters, right on the same points.
    memory_limit : int, str or None, default None
        Bytes, or a text like "4 GB", that the fit may hold beside the points; beyond it a temporary
        file is used. The predictions are the same.
    scale : "none", "auto", "std" or array-like of shape (n_features,)
        Powers of two by which the features are multiplied; "std" takes those nearest to 1 /
        standard deviation, "auto" measures on a sample whether that predicts points that are left
        out better; with cells, whether it needs fewer hyperplanes.
    contradictions : {"majority", "raise"}, default "majority"
        What to do with equal points of different labels, on all of which no classifier can be
        right. "majority" takes their most frequent label (of equals the first) and warns, as
        scikit-learn's trees would silently do; "raise" is as of :func:`fastmem.interpolate`.
    complete : bool, default False
        As of :func:`fastmem.interpolate`: whether a given ``width`` is added to until every
        training point is right.
    objective : {"neurons", "bytes"}, default "neurons"
        "bytes" looks for the smallest file instead: an ordered list of short conjunctions, as of
        :func:`fastmem.interpolate`, with ``decision="auto"`` or "cells".
    effort : float or None, default None
        Seconds that ``objective="bytes"`` may take.
    random_state : int, RandomState, Generator or None, default None
        An int is the ``seed`` of :func:`fastmem.interpolate`. None draws from NumPy's global state.
    n_jobs : int or None, default None
        Threads of fits and predictions: None is 1 unless in a ``joblib.parallel_config`` context,
        -1 all cores. No result depends on it.
    verbose : int, default 0
        1 prints a line about every fit, 2 also draws progress bars on a terminal (needs the extra
        ``cli``).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only after a fit to a data frame whose column names are all strings.
    network_ : fastmem.Network
        With ``widths``, ``report``, ``save`` and all else.
    relabelled_ : ndarray of int64
        Training rows whose label was overruled by that of equal points, ascending.

    See Also
    --------
    fastmem.interpolate : The same without scikit-learn.

    Notes
    -----
    Neither sample weights nor class weights are taken: a network that is right on every training
    point is so under all weights. ``score`` takes sample weights.

    ``predict_proba`` is there with a vote: softmax of votes at a temperature that was fitted to
    training points, each left out by itself.

    With cells it is not: margins count hyperplanes, and what a count is worth depends on the
    network. On held-out scikit-learn digits the temperature of the best softmax of margins goes
    from 0.6 to 23 between ``width=512, margin=0`` and ``width=4096, margin=1``, and the training
    set cannot tell it, because the right class wins on every point of it: fitted there, the softmax
    has a log-loss of 0.46 to 1.5. Calibrated on held-out folds, by
    ``CalibratedClassifierCV(classifier, method="temperature", ensemble=False)`` (scikit-learn 1.8),
    which takes ``decision_function``, it has 0.06 to 0.31, close to the best temperature in
    hindsight (0.05 to 0.29; all with ``covered="all"``).

    Scorers of scikit-learn that ask for probabilities therefore give nan and a warning in
    ``cross_val_score``, as they do for LinearSVC: "neg_log_loss", "roc_auc_ovr" and, of more than
    two classes, "roc_auc". A calibrated classifier has a score there; of margins alone, the area
    of each class against the others is ``roc_auc_score(label_binarize(y, classes=c.classes_),
    c.decision_function(X))``.

    Dirksen, Finke and Genzel, "Memorization With Neural Nets: Going Beyond the Worst Case",
    JMLR 25(347), 2024 (arXiv 2310.00327).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastmem.sklearn import InterpolatingClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> InterpolatingClassifier(random_state=0).fit(X, y).score(X, y)
    1.0
    """

    classes_: np.ndarray
    network_: Network
    # of classifiers that older releases pickled
    scale: Any = "none"
    complete: bool = False
    decision: str = "cells"
    objective: str = "neurons"
    effort: float | None = None

    def __init__(
        self,
        *,
        decision: str = "auto",
        width: int | str = "auto",
        max_bias: float | str = "auto",
        selection: str = "merge",
        projection: str = "auto",
        covered: Any = "auto",
        center: bool = True,
        max_width: int | None = None,
        margin: float | str = "auto",
        compact: bool = False,
        memory_limit: int | str | None = None,
        scale: Any = "auto",
        contradictions: str = "majority",
        complete: bool = False,
        objective: str = "neurons",
        effort: float | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.decision = decision
        self.width = width
        self.max_bias = max_bias
        self.selection = selection
        self.projection = projection
        self.covered = covered
        self.center = center
        self.max_width = max_width
        self.margin = margin
        self.compact = compact
        self.memory_limit = memory_limit
        self.scale = scale
        self.contradictions = contradictions
        self.complete = complete
        self.objective = objective
        self.effort = effort
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def fit(self, X: Any, y: Any) -> InterpolatingClassifier:
        """Memorise a training set.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            At least two classes.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For input or parameters that cannot be used, with the place and the remedy.

        Warns
        -----
        ContradictionWarning
            If equal points have different labels.
        UnseparatedWarning
            If a given ``width`` leaves points that cannot be covered.
        """
        start = time.perf_counter()
        threads = threads_of(self.n_jobs)
        X, y = checked(self, X, y=y, multi_output=True)  # y is looked at in the next line
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        classes = np.unique(y)
        if len(classes) == 1:
            raise InvalidInputError(
                f"y holds one class only, {classes.tolist()[0]!r}; "
                f"pass labels of at least two classes"
            )
        network = interpolate(X, y, **self._parameters(X), n_threads=threads)
        # scikit-learn has taken the names off X
        return self._keep(network, classes, getattr(self, "feature_names_in_", None), start)

    def _parameters(self, X: Any) -> dict[str, Any]:
        """What `interpolate` is given, but for threads."""
        return dict(
            width=self.width, max_bias=self.max_bias, selection=self.selection,
            projection=self.projection, covered=self.covered, center=self.center,
            seed=seed_of(self.random_state), progress=self.verbose > 1,
            max_width=self.max_width, margin=self.margin, compact=self.compact,
            memory_limit=self.memory_limit, contradictions=self.contradictions,
            complete=self.complete, scale=self.scale, decision=self._decision(X),
            objective=self.objective, effort=self.effort,
        )  # fmt: skip

    def _keep(self, network: Network, classes: np.ndarray, names: Any, start: float) -> Any:
        """Be fitted: with a network, of labels as they came, that took from ``start`` on."""
        assert network.report is not None
        self.classes_ = classes
        self.relabelled_ = network.report.relabelled
        n_samples = network.report.n_samples
        if len(self.relabelled_):
            self._warn_of_relabelled(n_samples)
        self.network_ = _with_classes(network, classes, names)
        if self.verbose > 0:
            n, m = self.network_.widths
            vote = network.report.vote
            votes = "" if vote is None else f"{vote.width:,} features, "
            print(
                f"[{type(self).__name__}] {n_samples:,} points of {len(classes)} classes: {votes}"
                f"{n:,} hyperplanes, {m:,} neurons, {time.perf_counter() - start:.2f} s"
            )
        return self

    def _decision(self, X: Any = None) -> str:
        """What ``decision`` comes to, for some points."""
        if not isinstance(self.decision, str) or self.decision != "auto":
            return self.decision
        is_named = not (isinstance(self.covered, str) and self.covered in ("auto", "all"))
        is_smallest = isinstance(self.width, str) and self.width == "smallest"
        is_wide = X is not None and X.shape[1] > MAX_BLOCK
        is_list = isinstance(self.objective, str) and self.objective == "bytes"
        others = self.compact or is_named or is_smallest or is_wide or is_list
        return "cells" if others else "vote"

    def _warn_of_relabelled(self, n_samples: int) -> None:
        rows = self.relabelled_
        warn_user(
            f"{len(rows)} of {n_samples} training points (rows "
            f"{', '.join(str(row) for row in rows[:3])}{', ...' if len(rows) > 3 else ''}; all in "
            f"relabelled_) equal points of another label that is as frequent or more, which they "
            f"are predicted as; remove or relabel them, or pass contradictions='raise'",
            ContradictionWarning,
        )

    def predict(self, X: Any, *, abstain: float | None = None) -> np.ndarray:
        """Label every point.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        abstain : float from 0 to 1, optional
            As of :meth:`fastmem.Network.predict`: mask labels of a probability below it.

        Returns
        -------
        ndarray of shape (n_samples,), dtype of classes_
            The class with the largest score (see :meth:`decision_function`). A masked array with
            ``abstain``.
        """
        check_is_fitted(self)
        X = checked(self, X, reset=False)
        labels = self.network_.predict(X, n_threads=threads_of(self.n_jobs), abstain=abstain)
        return labels.astype(self.classes_.dtype, copy=False)

    @available_if(has_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes; with a vote only.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            As of :meth:`fastmem.Network.predict_proba`.
        """
        check_is_fitted(self)
        X = checked(self, X, reset=False)
        return self.network_.predict_proba(X, n_threads=threads_of(self.n_jobs))

    def decision_function(self, X: Any) -> np.ndarray:
        """Margins: how far each point is inside, or outside, the cells of each class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64, or (n_samples,) for two classes
            As of :meth:`fastmem.Network.decision_function`; for two classes, what is positive means
            ``classes_[1]``.
        """
        check_is_fitted(self)
        X = checked(self, X, reset=False)
        return self.network_.decision_function(X, n_threads=threads_of(self.n_jobs))


def _with_classes(network: Network, classes: np.ndarray, names: Any) -> Network:
    """The network with names, and classes of the dtype that scikit-learn finds."""
    known = np.array(classes.tolist()) if classes.dtype.kind == "O" else network.classes_
    return Network(
        known, network.first, network.second, network.covered, network.report, network.summary,
        names, network.scale, network.encoding, network.readout, network.default,
    )  # fmt: skip
