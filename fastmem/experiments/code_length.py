"""Bits a label: how short a decision list can say the labels to who knows the points.

The file of the smallest network is a code of the labels given the points, so its length measures
their structure without a test set: far below the labels' entropy where classes are simple, near it
or above where labels are noise. Labels in a random order, which have the same entropy and no
structure, tell what "above" means for these points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.algorithm import interpolate
from fastmem.decision_list.tables import conjunction_bits
from fastmem.experiments.complexity_points import rows_of
from fastmem.inputs import check_count, check_labels, check_points, check_seed, check_threads
from fastmem.inputs.points import some_points
from fastmem.network.network import Network
from fastmem.network.report import label_entropy

__all__ = ["CodeLength", "code_length"]

MOST_POINTS = 5_000
KEYS = 3
PERMUTED = 2
MOST_COSTLY = 100

Array = NDArray[Any]


@dataclass(frozen=True)
class CodeLength:
    """What `code_length` found.

    Attributes
    ----------
    n_samples : int
        Points that were memorised, some of all where these are many.
    label_entropy : float
        Bits of one of their labels where only the shares of the classes are known.
    bits : list of float
        Bits of all conjunctions, for each label, from each key. The file has a head of some 30
        bytes beside them.
    permuted : list of float
        The same for labels in a random order, one for each order.
    by_class : list of float
        Bits of the conjunctions of each class for each of its labels, mean over the keys. The class
        that is the default takes none for the points where no neuron is on.
    neurons, literals : list of int
        Conjunctions, and literals in them, for each key.
    costliest : list of [int, float]
        Rows of the points whose labels take most bits, and these; the first hundred.
    rows : ndarray of shape (n_samples,), int64, or None
        The points, by their rows, and
    points : ndarray of shape (n_samples,), float64, or None
        bits of each point's label: those of the conjunction that decides it, shared by the points
        that this decides; mean over the keys. Neither is part of the JSON.
    """

    n_samples: int
    label_entropy: float
    bits: list[float]
    permuted: list[float]
    by_class: list[float]
    neurons: list[int]
    literals: list[int]
    costliest: list[list[float]]
    rows: Array | None = field(default=None, compare=False, repr=False)
    points: Array | None = field(default=None, compare=False, repr=False)

    @property
    def to_entropy(self) -> float:
        """Mean bits as a share of the entropy."""
        return float(np.mean(self.bits)) / self.label_entropy if self.label_entropy else 0.0

    @property
    def to_permuted(self) -> float:
        """Mean bits as a share of those of labels in a random order."""
        return float(np.mean(self.bits) / np.mean(self.permuted))

    def among(self, numbers: Array) -> CodeLength:
        """The same, where row i of these points is row numbers[i] of all."""
        assert self.rows is not None
        costliest = [[int(numbers[int(row)]), bits] for row, bits in self.costliest]
        return replace(self, rows=numbers[self.rows], costliest=costliest)

    def __str__(self) -> str:
        return (
            f"{np.mean(self.bits):.3g} bits a label, {self.to_entropy:.2f} of their entropy "
            f"{self.label_entropy:.3g}; in a random order they take {np.mean(self.permuted):.3g}"
        )


def code_length(
    X: Any,
    y: Any,
    *,
    keys: int = KEYS,
    permuted: int = PERMUTED,
    most_points: int = MOST_POINTS,
    effort: float | None = None,
    scale: Any = "auto",
    seed: Any = None,
    n_threads: int | None = None,
    say: Callable[[int, int], object] | None = None,
) -> CodeLength:
    """Measure the bits a label that the smallest decision list takes.

    Parameters
    ----------
    X : array-like or CSR matrix of shape (n_samples, n_features)
        As `fastmem.interpolate` takes it. Equal points with several labels have the most frequent
        one of them.
    y : array-like of shape (n_samples,)
    keys : int, default 3
        Networks from different keys, for the spread.
    permuted : int, default 2
        Random orders of the labels.
    most_points : int, default 5,000
        Of more points a random sample is taken, for the true labels and the others.
    effort, scale, n_threads
        As of `fastmem.interpolate`.
    seed : int, numpy.random.Generator, SeedSequence or None
    say : callable, optional
        Called with the number of networks that are done, and of all.

    Returns
    -------
    CodeLength

    Raises
    ------
    InvalidInputError
        For any argument that cannot be used.

    Notes
    -----
    A few per cent depend on the key, most with few points. With 20 per cent of wrong labels, say,
    a list already takes more than the entropy though there is structure: compare with
    ``permuted``, not with 1.
    """
    points = check_points(X)
    classes, codes = check_labels(y, points.n_samples)
    for name, value in (("keys", keys), ("permuted", permuted), ("most_points", most_points)):
        check_count(name, value, 1)
    threads = check_threads(n_threads)
    sample_seed, order_seed, fit_seed = check_seed(seed).spawn(3)
    rows = _sample(codes, most_points, np.random.default_rng(sample_seed))
    if len(rows) < points.n_samples:
        points, codes = some_points(points, rows), codes[rows]
    options: dict[str, Any] = {
        "objective": "bytes", "contradictions": "majority", "scale": scale, "effort": effort,
        "n_threads": threads,
    }  # fmt: skip
    held = points.block(0, points.n_samples) if not points.is_sparse else rows_of(X, rows)
    seeds = [int(s.generate_state(1, np.uint64)[0]) for s in fit_seed.spawn(keys + permuted)]
    bits, neurons, literals = [], [], []
    costs = np.zeros(points.n_samples)
    for done, one in enumerate(seeds[:keys]):
        net = interpolate(held, codes, seed=one, **options)
        bits.append(_bits(net) / points.n_samples)
        neurons.append(len(net.second))
        literals.append(int(np.bitwise_count(net.second.masks).sum()))
        costs += _costs(net, held) / keys
        if say is not None:
            say(done + 1, len(seeds))
    orders = np.random.default_rng(order_seed)
    noise = []
    for done, one in enumerate(seeds[keys:], keys):
        net = interpolate(held, orders.permutation(codes), seed=one, **options)
        noise.append(_bits(net) / points.n_samples)
        if say is not None:
            say(done + 1, len(seeds))
    counts = np.bincount(codes, minlength=len(classes))
    of_class = np.bincount(codes, costs, minlength=len(classes)) / np.maximum(counts, 1)
    first = np.argsort(-costs, kind="stable")[:MOST_COSTLY]
    costliest = [[int(rows[i]), round(float(costs[i]), 3)] for i in first]
    return CodeLength(
        points.n_samples, label_entropy(counts), bits, noise, of_class.tolist(), neurons, literals,
        costliest, rows, costs,
    )  # fmt: skip


def _bits(net: Network) -> float:
    """Bits of all conjunctions: the file without its head."""
    assert net.report is not None and net.report.ordered is not None
    return net.report.ordered.estimated_bits


def _costs(net: Network, X: Any) -> Array:
    """Bits of each point's label: its conjunction's, shared by all that it decides."""
    rules = net.deciding_neurons(X)
    sizes = np.bitwise_count(net.second.masks).sum(axis=1)
    assert net.report is not None and net.report.ordered is not None
    lengths = conjunction_bits(net.report.ordered.n_candidates, len(net.classes_))
    own = lengths[np.minimum(sizes, len(lengths) - 1)]
    decided = np.bincount(rules[rules >= 0], minlength=len(own))
    shares = np.append(own / np.maximum(decided, 1), 0.0)  # -1 is the default
    found: Array = shares[rules]
    return found


def _sample(codes: Array, most: int, generator: np.random.Generator) -> Array:
    """Rows, ascending, with all classes."""
    if len(codes) <= most:
        return np.arange(len(codes))
    order = generator.permutation(len(codes))
    first = order[np.unique(codes[order], return_index=True)[1]]
    others = order[~np.isin(order, first)]
    return np.sort(np.concatenate([first, others[: max(0, most - len(first))]]))
