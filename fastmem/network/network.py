"""The finished network: predict, margins, score, widths."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.encoding import encoded_points, is_table
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import (
    InvalidInputError,
    Points,
    check_known_labels,
    check_points,
    check_threads,
    checked_scale,
    scaled,
    share,
)
from fastmem.machine.memory import require_for_prediction
from fastmem.network import model_file
from fastmem.network.cells import Cells
from fastmem.network.coincidence import codes_by_coincidence, takes_coincidence
from fastmem.network.consistency import check_parts
from fastmem.network.graph import Connectivity, connectivity, n_nonzero, network_graph
from fastmem.network.lists import DecisionList
from fastmem.network.margins import lead_of_second
from fastmem.network.pages import network_page, short_text
from fastmem.network.report import FitReport, n_parameters
from fastmem.network.rules import labelled_rules
from fastmem.network.votes import Votes
from fastmem.readout import ReadOut
from fastmem.second_layer.cover_layer import CoverLayer

if TYPE_CHECKING:
    import networkx as nx

    from fastmem.encoding import Encoding
    from fastmem.network.explanations.report import Explanation

_NO_ORDER = "neurons of this network have no order; fit with objective='bytes' for one"
_COMPUTED, _COMPUTED_BEFORE = ("_decider", "nbytes"), ("_stack", "_real")
"""Attributes computed from the layers on demand, and those that pickles of 0.1.0 may hold."""


class Network:
    """Three-layer threshold network that memorises a data set; see :func:`fastmem.interpolate`.

    Raises
    ------
    InvalidInputError
        If the layers do not fit together.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The labels, sorted.
    n_features_in_ : int
        Columns that points must have.
    first : Hyperplanes
        First layer: weights (n, d) float32, biases (n,) float64.
    second : CoverLayer
        Second layer: masks (m, ceil(n / 64)) uint64, thresholds (m,) int32 or, for ReLU
        activations, float64, owners (m,) int32.
    covered : tuple of int
        Indices into ``classes_`` of the classes with a block of neurons, ascending.
    report : FitReport or None
        None for a network that was loaded.
    summary : dict of str to int, float, str or None
        Small facts of the fit; they are saved with the network.
    feature_names : tuple of str or None
        The columns of the data frame that it was fitted to. Frames must then have these columns in
        this order; arrays have no names and are taken as they are.
    scale : ndarray of shape (n_features_in_,), float64, or None
        Powers of two, by which points are multiplied before the first layer; exact, but for numbers
        that float64 cannot hold without rounding, below 2^-1022.
    encoding : Encoding or None
        What the columns of a raw table become before they are points.
    readout : ReadOut or None
        What votes for the classes, with ``decision="vote"``; the neurons add to its votes.
    default : int or None
        Index into ``classes_`` of the class where no neuron is on, where the neurons are a decision
        list: they have an order, and the first that is on decides. None for all other networks.
    """

    # of networks that older releases pickled
    feature_names: tuple[str, ...] | None = None
    scale: np.ndarray | None = None
    encoding: Encoding | None = None
    readout: ReadOut | None = None
    default: int | None = None

    def __init__(
        self,
        classes: np.ndarray,
        first: Hyperplanes,
        second: CoverLayer,
        covered: tuple[int, ...],
        report: FitReport | None = None,
        summary: Mapping[str, int | float | str | None] | None = None,
        feature_names: Sequence[str] | None = None,
        scale: np.ndarray | None = None,
        encoding: Encoding | None = None,
        readout: ReadOut | None = None,
        default: int | None = None,
    ) -> None:
        summary = dict(summary or {})
        check_parts(
            model_file.ModelParts(
                classes, first, second, covered, summary, feature_names, scale, encoding, readout,
                default,
            )
        )  # fmt: skip
        self.classes_ = classes
        self.first = first
        self.second = second
        self.covered = tuple(sorted(int(code) for code in covered))
        self.report = report
        self.summary = summary
        self.n_features_in_ = first.n_features
        self.feature_names = None if feature_names is None else tuple(map(str, feature_names))
        self.scale = None if scale is None else checked_scale(scale, first.n_features)
        self.encoding = encoding
        self.readout = readout
        self.default = None if default is None else int(default)

    def __getstate__(self) -> dict[str, Any]:
        """What pickle and copy take: not what is computed from the layers on demand."""
        return {name: value for name, value in vars(self).items() if name not in _COMPUTED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(
            {name: value for name, value in state.items() if name not in _COMPUTED_BEFORE}
        )

    def __repr__(self) -> str:
        return short_text(self)

    def _repr_html_(self) -> str:
        """What notebooks show."""
        return network_page(self)

    @property
    def decision(self) -> str:
        """What decides: "cells" (the largest margin), "vote" or "list" (the first neuron on)."""
        if self.default is not None:
            return "list"
        return "cells" if self.readout is None else "vote"

    @property
    def widths(self) -> tuple[int, int]:
        """Hyperplanes in the first layer and neurons in the second."""
        return len(self.first), len(self.second)

    @property
    def n_parameters(self) -> int:
        """Weights and biases of all three layers, zeros included: n (d + 1) + m (n + 1) + m.

        And those of the read-out, whose projections come from a key.
        """
        votes = 0 if self.readout is None else self.readout.n_parameters
        return n_parameters(*self.widths, self.n_features_in_) + votes

    @property
    def n_nonzero(self) -> int:
        """Weights and biases that are not zero."""
        return n_nonzero(self.first, self.second, self.readout)

    @cached_property
    def nbytes(self) -> int:
        """Size of the model in its file, in bytes."""
        return model_file.size_in_file(self._parts())

    @property
    def bits_per_label(self) -> float | None:
        """Bits of the file for each training point; None where their number is not known."""
        n_samples = self.summary.get("n_samples")
        return 8 * self.nbytes / n_samples if isinstance(n_samples, int) and n_samples else None

    @property
    def label_entropy(self) -> float | None:
        """Entropy of the training labels' frequencies, in bits; None where it is not known."""
        entropy = self.summary.get("label_entropy")
        return entropy if isinstance(entropy, float) else None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to ``path``, under that very name; see :func:`fastmem.load`.

        The file is an uncompressed or compressed ``.npz`` without pickles; of a decision list it is
        of a kind of its own, some ten times smaller, whatever its suffix. It is written to a
        temporary name and then moved, so that the path never holds half a file.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        model_file.save(self._parts(), path)

    def _parts(self) -> model_file.ModelParts:
        return model_file.ModelParts(
            self.classes_, self.first, self.second, self.covered, self.summary, self.feature_names,
            self.scale, self.encoding, self.readout, self.default,
        )  # fmt: skip

    def predict(
        self, X, *, n_threads: int | None = None, abstain: float | None = None,
        rule: str = "margin",
    ) -> np.ndarray:  # fmt: skip
        """Label every point; right on every training point that was separated.

        Parameters
        ----------
        X : array-like, CSR matrix or data frame of shape (n_samples, n_features_in_)
        n_threads : int, optional
            Threads to use; all cores by default.
        abstain : float from 0 to 1, optional
            Withhold the label of a point whose class has a probability below it (see
            :meth:`predict_proba`), be it a training point, and of one that is further from the
            middle than all training points. Only networks with ``decision="vote"`` can.
        rule : {"margin", "coincidence"}, default "margin"
            With "coincidence", of the classes with a neuron on, or of all where none is, the one
            whose masks u coincide most with q, the zeros of the point's pattern: the largest
            |q and u|^2 / (|q or u| min(|q|, |u|)). On training points both rules agree. Of cells
            with ``covered="all"`` and a ``margin`` of at least 0.5 only. Scores of
            :meth:`decision_function` are margins all the same.

        Returns
        -------
        ndarray of shape (n_samples,), dtype of classes_
            The class with the largest score (see :meth:`decision_function`); of equals the first.
            With ``abstain`` a numpy.ma.MaskedArray, masked where the label is withheld.

        Raises
        ------
        InvalidInputError
            If X is not a finite real matrix with as many columns as the training set, or a data
            frame with other columns, or in another order; if the network cannot be asked in this
            way.
        MemoryError
            If results for so many points have no room.
        """
        points = self._points(X)
        require_for_prediction(points.n_samples, 8 + self.classes_.itemsize)
        threads = check_threads(n_threads)
        if takes_coincidence(self, rule, abstain):
            return self.classes_[codes_by_coincidence(self, points, threads)]
        if abstain is None:
            return self.classes_[self._decider.codes(points, threads)]
        least = share(abstain, "abstain")
        codes, unsure = self._asked_votes().sure_codes(points, threads, least)
        return np.ma.MaskedArray(self.classes_[codes], unsure)

    def decision_function(self, X, *, n_threads: int | None = None) -> np.ndarray:
        """Margins: how far each point is inside, or outside, the cells of each class.

        Parameters
        ----------
        X, n_threads
            As for :meth:`predict`.

        Returns
        -------
        ndarray of shape (n_samples, K), float64, or (n_samples,) for two classes
            The score of a class is the maximum over its neurons of m - <u, Phi(x)>, which is at
            least 1 where one of them is on and at most 0 where all are off; -inf for a block
            without neurons. A class that was left out scores 0.5. For two classes, what is
            positive means ``classes_[1]``: the difference of the two scores.

            With ``activation="relu"`` the score is the maximum of m - <u, max(Wx + b, 0)>, a real
            number in the units of Wx + b, with the precision of float32. Its sign is exact:
            positive where a neuron is on, negative where all are off, and a class that was left
            out scores 0.

            With ``decision="vote"`` they are votes, whole numbers. In a decision list neighbours of
            one class are a run, and the score of a class is R - r if the first of its neurons that
            is on is of run r of R, from 0; 0 if none is on, but at least 0.5 for the default.

        Raises
        ------
        InvalidInputError
            As :meth:`predict`.
        """
        points = self._points(X)
        require_for_prediction(points.n_samples, 8 * len(self.classes_))
        scores = self._decider.scores(points, check_threads(n_threads))
        if len(self.classes_) > 2:
            return scores
        return lead_of_second(scores)

    def predict_proba(self, X, *, n_threads: int | None = None) -> np.ndarray:
        """Probabilities of the classes: softmax of the votes at a temperature.

        It was fitted to votes for training points that the read-out had not seen, each left out by
        itself. Only networks with ``decision="vote"`` have probabilities.

        Parameters
        ----------
        X, n_threads
            As for :meth:`predict`.

        Returns
        -------
        ndarray of shape (n_samples, K), float64

        Raises
        ------
        InvalidInputError
            As :meth:`predict`; or if the network has no read-out.
        """
        points = self._points(X)
        require_for_prediction(points.n_samples, 8 * len(self.classes_))
        return self._asked_votes().probabilities(points, check_threads(n_threads))

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
        return float(np.mean(self._decider.codes(points, check_threads(n_threads)) == codes))

    def deciding_neurons(self, X, *, n_threads: int | None = None) -> np.ndarray:
        """The neuron of a decision list that decides for each point: the first that is on.

        Parameters
        ----------
        X, n_threads
            As for :meth:`predict`.

        Returns
        -------
        ndarray of shape (n_samples,), int64
            Rows of ``second``; -1 where none is on, which is the default's.

        Raises
        ------
        InvalidInputError
            As for :meth:`predict`, and for a network that is no decision list.
        """
        if not isinstance(self._decider, DecisionList):
            raise InvalidInputError(_NO_ORDER)
        return self._decider.rules(self._points(X), check_threads(n_threads))

    def rules(self) -> list[tuple[str, Any]]:
        """The neurons of a decision list in words, and the label that each gives.

        The first whose comparisons all hold decides; the last, without any, is the default.

        Returns
        -------
        list of (str, label)
            Numbers in the text are rounded: the network decides by exact ones.

        Raises
        ------
        InvalidInputError
            If the network is no decision list.
        """
        if self.default is None:
            raise InvalidInputError(_NO_ORDER)
        return labelled_rules(self)

    def explain(
        self, x, X, y, *, n_prototypes: int = 3, n_changes: int = 3, n_threads: int | None = None
    ) -> Explanation | list[Explanation]:
        """Say why points get their labels: what decided, rows like it, what would change it.

        Parameters
        ----------
        x : array-like of shape (n_features_in_,), or of a dict's columns; or as X
            One point, or several in rows.
        X : array-like, CSR matrix or data frame of shape (n_samples, n_features_in_)
            As a rule the training points.
        y : array-like of shape (n_samples,)
            Their labels, among ``classes_``.
        n_prototypes : int, default 3
            Rows of either kind at most.
        n_changes : int, default 3
            Changes of single columns at most; with 0 none are looked for, nor bits to flip.
        n_threads : int, optional

        Returns
        -------
        Explanation, or list of Explanation
            One for a point, also in a matrix or frame of one row; a list for several rows.

        Raises
        ------
        InvalidInputError
            As :meth:`predict` and :meth:`score`; or if there are more than 1,000 points.

        Notes
        -----
        Rows with count 0 are what a neuron of the paper (arXiv 2310.00327) stores, its prototypes;
        those of other classes with the least count, by which its threshold was set, are its
        counter-prototypes. In a list (Rivest 1987) only rows that come as far as the rule count.
        """
        from fastmem.network.explanations.explaining import explain  # some ms of every import

        return explain(self, self._decider, (x, X, y), n_prototypes, n_changes, n_threads)

    def graph(self, *, features: bool = False) -> nx.DiGraph:
        """The network as a graph: hyperplanes, neurons and classes, an edge for each connection.

        Parameters
        ----------
        features : bool, default False
            Whether to have the features too, and an edge for each weight that is not zero.

        Returns
        -------
        networkx.DiGraph
            For networkx.write_graphml. Nodes "h0", "n0", "c0", "x0" and so on with ``layer``:
            hyperplanes have ``bias``, neurons ``threshold``, ``class``, in a list ``place``, in a
            vote ``gain``, classes ``label``, features ``name``; edges from features ``weight``.

        Raises
        ------
        InvalidInputError
            If it had more than ten million edges.
        ModuleNotFoundError
            If networkx, of the extra ``study``, is not installed.
        """
        return network_graph(self, features)

    @property
    def connectivity(self) -> Connectivity:
        """How many connections lead from the first to the second layer."""
        return connectivity(self.first, self.second)

    def checked_points(self, X, *, name: str = "X") -> Points:
        """Check points, and encode a raw table where the network was fitted to one; do not scale.

        Parameters
        ----------
        X : array-like, CSR matrix, data frame or Points
        name : str
            What messages call X.

        Returns
        -------
        Points

        Raises
        ------
        InvalidInputError
            As :meth:`predict`.

        Warns
        -----
        UnknownValueWarning
            As :meth:`fastmem.tables.Encoding.transform`.
        """
        if self.encoding is not None and is_table(X):
            X = encoded_points(X, self.encoding, name=name)
        names = self.feature_names
        return check_points(X, n_features=self.n_features_in_, feature_names=names, name=name)

    def _points(self, X) -> Points:
        return scaled(self.checked_points(X), self.scale)

    @cached_property
    def _decider(self) -> Cells | Votes | DecisionList:
        """What gives points their classes."""
        first, second, n_classes = self.first, self.second, len(self.classes_)
        if self.readout is not None:
            return Votes(first, second, self.readout)
        if self.default is not None:
            return DecisionList(first, second, self.default, n_classes)
        return Cells(first, second, self.covered, n_classes)

    def _asked_votes(self) -> Votes:
        """What votes, where a caller needs it."""
        if not isinstance(self._decider, Votes):
            raise InvalidInputError(
                "margins of cells are no probabilities; fit with decision='vote' for these"
            )
        return self._decider
