"""What a fit says of itself: times, memory, growth, and the points that it could not separate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastmem.network.pages import report_page
from fastmem.version import __version__


@dataclass(frozen=True)
class Scaling:
    """Whether features were multiplied by powers of two before the fit, and why.

    Attributes
    ----------
    asked : {"none", "auto", "std", "given"}
        What ``scale`` was passed; "given" stands for powers of two.
    exponents : tuple of int or None
        Of the powers of two, one a feature; None where points stayed as they are.
    without, with_it : int or None
        Hyperplanes that separate a sample of the points without scaling and with it, where "auto"
        had to measure. Where it scaled, so many without scaling do not separate the sample.
    """

    asked: str = "none"
    exponents: tuple[int, ...] | None = None
    without: int | None = None
    with_it: int | None = None

    def __str__(self) -> str:
        if self.exponents is None:
            text, first, second = "not scaled", self.without, self.with_it
        else:
            low, high = min(self.exponents), max(self.exponents)
            text, first, second = "scaled by powers of two", self.with_it, self.without
            text += f" from 2^{low} to 2^{high}"
        if first is None or second is None:
            return text
        more = "" if self.exponents is None else "more than "
        return f"{text}: {first:,} hyperplanes of a sample against {more}{second:,}"


@dataclass(frozen=True)
class VoteReport:
    """What a fit with ``decision="vote"`` found.

    Attributes
    ----------
    width : int
        Cosine features of the read-out.
    bandwidth : float
        How far their projections spread, in radians, within a factor of 1.12.
    penalty : float
        Of the ridge regression: the prior variance of noise over that of the function.
    right : int
        Points (of ``n_distinct``) that the read-out gets right by itself.
    exceptions : int
        Neurons that memorise the others.
    left_out : float
        Share of ``n_left_out`` training points that a regression without the point gets right, each
        left out by itself: an estimate of the accuracy on unseen points.
    n_left_out : int
    """

    width: int
    bandwidth: float
    penalty: float
    right: int
    exceptions: int
    left_out: float
    n_left_out: int

    def __str__(self) -> str:
        return (
            f"{self.width:,} features get {self.right:,} points right, {self.exceptions:,} neurons "
            f"memorise the others; leave-one-out accuracy {self.left_out:.4f}"
        )


@dataclass(frozen=True)
class ListReport:
    """What a fit with ``objective="bytes"`` found.

    Attributes
    ----------
    n_candidates : int
        Hyperplanes that were chosen from; each counts with both of its sides.
    neurons, literals : int
        Conjunctions, and hyperplanes in all of them.
    estimated_bits : float
        What all conjunctions take, coded one by one; the file takes some per cent less for them,
        and its head.
    trials : tuple of (int, float)
        Numbers of candidates that were tried, and the estimated bits with each.
    """

    n_candidates: int
    neurons: int
    literals: int
    estimated_bits: float
    trials: tuple[tuple[int, float], ...] = ()

    def __str__(self) -> str:
        return (
            f"{self.neurons:,} conjunctions of {self.literals:,} literals in all, chosen from "
            f"{self.n_candidates:,} hyperplanes: about {self.estimated_bits / 8:,.0f} bytes"
        )


@dataclass
class FitReport:
    """What :func:`fastmem.interpolate` did.

    Attributes
    ----------
    n_samples, n_features : int
        Shape of the training set.
    classes : ndarray of shape (K,)
        The labels, sorted.
    covered : tuple of int
        Indices into ``classes`` of the classes that have a block of neurons.
    unseparated : ndarray of int64
        Training rows that no neuron can cover (with ReLU activations: that none covers),
        ascending: the only ones predicted wrong, beside those in ``relabelled``.
    contradictory : ndarray of int64
        Those of them that equal a point of another label, which no width can mend.
    relabelled : ndarray of int64
        Rows whose own label gave way to a more frequent one of equal points, ascending; with
        ``contradictions="majority"`` only.
    n_distinct : int
        Points that the work was done on: ``n_samples``, or, where at least half of the rows repeat
        others, equal points of one label counted once.
    seconds : dict of str to float
        Wall-clock seconds of each stage and in total.
    peak_bytes : int
        Largest resident memory of the process so far, by the operating system's account; 0 where
        it gives none.
    estimated_bytes : int
        Memory that the fit was expected to take at most beside what the process held, its input
        included, for the width that it came to; checked against what was free before the work.
    evaluations : int
        (mask, point) pairs counted: what the second layer cost. Where a class is left out, its
        share, up to where its block was given up, depends on the threads a little.
    evaluations_per_candidate : float
        Those of the second layer, for each point from which a neuron was tried: about n_samples by
        random selection, some times as many where cells are merged.
    doubtful_bits : int
        Signs that float32 could not decide.
    growth : list of GrowthStep
        Rounds of ``width="auto"`` or ``complete``; empty for a given width alone.
    seed : int
        Repeats the fit, also where none was given.
    n_threads : int
    selection : {"merge", "random"}
    activation : {"threshold", "relu"}
    projection : {"gaussian", "structured"}
    max_bias : float
        The paper's lambda: no bias about the centre was drawn beyond it.
    biases : {"uniform", "norms"}
        Whether biases are uniform up to it, or each up to the norm of a random training point.
    margin : float
    trials : list of Trial
        What ``width="smallest"`` and ``compact=True`` tried; empty without them.
    file_bytes : int
        Size of the temporary file that held the sign patterns; 0 where they were in memory.
    scale : Scaling
        Whether features were multiplied by powers of two, and why.
    vote : VoteReport or None
        What the read-out does; None without one.
    ordered : ListReport or None
        What the decision list is made of; None but with ``objective="bytes"``.
    label_entropy : float
        Bits of a label where only the shares of the classes are known, with ``objective="bytes"``.
    """

    n_samples: int
    n_features: int
    classes: np.ndarray
    covered: tuple[int, ...]
    unseparated: np.ndarray
    seconds: dict[str, float]
    peak_bytes: int
    evaluations: int
    evaluations_per_candidate: float
    doubtful_bits: int
    seed: int | Sequence[int] | None
    n_threads: int
    selection: str
    projection: str
    max_bias: float
    margin: float = 0.0
    activation: str = "threshold"
    growth: list[GrowthStep] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    file_bytes: int = 0
    estimated_bytes: int = 0
    biases: str = "uniform"
    scale: Scaling = Scaling()
    contradictory: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    relabelled: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    n_distinct: int = 0
    vote: VoteReport | None = None
    ordered: ListReport | None = None
    label_entropy: float = 0.0

    def __post_init__(self) -> None:
        self.n_distinct = self.n_distinct or self.n_samples

    def __setstate__(self, state: dict[str, Any]) -> None:
        # pickles of version 0.1.0 know of no contradictions
        none = np.empty(0, np.int64)
        new = {
            "contradictory": none, "relabelled": none, "n_distinct": state["n_samples"],
            "vote": None, "ordered": None,
        }  # fmt: skip
        self.__dict__.update(new | state)

    def summary(self) -> dict[str, int | float | str | None]:
        """The facts that are saved with the network; with a decision list the fewest."""
        if self.ordered is not None:
            few: dict[str, int | float | str | None] = {
                "n_samples": self.n_samples,
                "label_entropy": self.label_entropy,
            }
            return few
        facts: dict[str, int | float | str | None] = {
            "fastmem": __version__,
            "n_samples": self.n_samples,
            "n_unseparated": len(self.unseparated),
            **({"n_relabelled": len(self.relabelled)} if len(self.relabelled) else {}),
            "selection": self.selection,
            "activation": self.activation,
            "projection": self.projection,
            "max_bias": self.max_bias,
            "margin": self.margin,
            "seed": str(self.seed),  # may have more than 64 bits
        }
        if self.biases != "uniform":
            facts["biases"] = self.biases
        if self.scale.exponents is not None:
            facts["scale"] = str(self.scale)
        if self.vote is not None:
            facts["decision"] = "vote"
            facts["exceptions"] = self.vote.exceptions
            facts["left_out"] = self.vote.left_out
        return facts

    def _repr_html_(self) -> str:
        """What notebooks show."""
        return report_page(self)

    def warning(self, width: int, *, is_limited: bool = False) -> str | None:
        """One sentence on the points that were not separated, if there are any.

        ``is_limited`` where hyperplanes were added until ``max_width`` was reached.
        """
        failed = len(self.unseparated)
        if not failed:
            return None
        rows = ", ".join(str(row) for row in self.unseparated[:3])
        which = (
            f"{failed} of {self.n_samples} training points (rows {rows}"
            f"{', ...' if failed > 3 else ''}; all in report.unseparated)"
        )
        remedy = "raise width, or pass complete=True or width='auto'"
        if is_limited:
            remedy = "raise max_width"
        contrary = len(self.contradictory)
        if not contrary:
            return (
                f"{which} cannot be covered with {width} hyperplanes and are predicted wrong; "
                f"{remedy}"
            )
        settle = "pass contradictions='majority', or remove or relabel them"
        if contrary == failed:
            return (
                f"{which} equal a point of another label and are predicted wrong, as some would be "
                f"at any width; {settle}"
            )
        return (
            f"{which} are predicted wrong: {contrary} equal a point of another label ({settle}), "
            f"and {failed - contrary} cannot be covered with {width} hyperplanes ({remedy})"
        )


@dataclass(frozen=True)
class GrowthStep:
    """One round of growth: what was added, and what was open after it.

    Attributes
    ----------
    width : int
        Hyperplanes after the step.
    kind : {"gaussian", "structured", "targeted"}
        How its rows were chosen.
    open_points : int
        Points of the classes to cover that are not known to be separated after it.
    """

    width: int
    kind: str
    open_points: int


@dataclass(frozen=True)
class Trial:
    """One width that was tried: hyperplanes, neurons and parameters of the network.

    Attributes
    ----------
    width, neurons, n_parameters : int
        As ``Network.widths`` and ``Network.n_parameters``.
    """

    width: int
    neurons: int
    n_parameters: int


def label_entropy(counts: np.ndarray) -> float:
    """Bits of a label whose class is drawn as often as ``counts`` (K,) say.

    Rounded to 1 / 4,096 bit, as the file of a decision list keeps it.
    """
    some = counts[counts > 0] / counts.sum()
    return round(float(-np.sum(some * np.log2(some))) * 4096) / 4096 + 0.0


def n_parameters(width: int, neurons: int, n_features: int) -> int:
    """Weights and biases of all three layers: n (d + 1) + m (n + 1) + m."""
    return width * (n_features + 1) + neurons * (width + 2)
