"""What a decision list is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastmem.decision_list.tables import conjunction_bits


class Neuron(NamedTuple):
    """One conjunction of a list.

    Attributes
    ----------
    literals : ndarray of shape (k,), int32
        Ascending: 2 k for candidate k, 2 k + 1 for its mirror.
    code : int
        Its class.
    coverage : int
        Points that it decides.
    """

    literals: np.ndarray
    code: int
    coverage: int


class DecisionList(NamedTuple):
    """Conjunctions in order, the first of which that is on decides (decision list, Rivest 1987).

    Attributes
    ----------
    literals : ndarray of shape (sum of lengths,), int32
        Those of neuron j are literals[starts[j] : starts[j + 1]], ascending: 2 k for candidate k,
        2 k + 1 for its mirror.
    starts : ndarray of shape (R + 1,), int64
    classes : ndarray of shape (R,), int64
        The class of each neuron.
    default : int
        The class where no neuron is on.
    coverage : ndarray of shape (R,), int64
        Points that each neuron decides.
    """

    literals: np.ndarray
    starts: np.ndarray
    classes: np.ndarray
    default: int
    coverage: np.ndarray

    @property
    def neurons(self) -> list[Neuron]:
        """The neurons one by one, in order."""
        parts = np.split(self.literals, self.starts[1:-1]) if len(self.classes) else []
        numbers = self.classes.tolist(), self.coverage.tolist()
        return [Neuron(*neuron) for neuron in zip(parts, *numbers, strict=True)]

    @property
    def n_runs(self) -> int:
        """Runs of neurons of one class, whose order among them does not matter."""
        changes = np.count_nonzero(np.diff(self.classes))
        return int(changes) + (len(self.classes) > 0)

    def estimated_bits(self, n: int, n_classes: int) -> float:
        """Length of a code for neurons one by one, of n candidates."""
        return float(np.sum(conjunction_bits(n, n_classes)[np.diff(self.starts)]))


def new_list(neurons: Sequence[Neuron], default: int) -> DecisionList:
    """The list of these neurons."""
    literals = [neuron.literals for neuron in neurons]
    starts = np.zeros(len(neurons) + 1, np.int64)
    np.cumsum([len(some) for some in literals], out=starts[1:])
    return DecisionList(
        np.concatenate([*literals, np.empty(0, np.int32)]).astype(np.int32),
        starts,
        np.array([neuron.code for neuron in neurons], np.int64),
        default,
        np.array([neuron.coverage for neuron in neurons], np.int64),
    )
