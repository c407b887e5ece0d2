"""What is said of a separation: widths that were tried, margins, and who says what."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fastmem.network.report import Scaling

WORDS = {
    "margins": "all margins are positive",
    "hull": "a convex combination of the features is 0 but for rounding: the solver's word",
    "lp": "the linear program's optimum is 0: the solver's word",
    "open": "neither a separation nor a proof against one was found",
    "rays": "three points in one direction, whose labels alternate: a proof, for any width",
}


@dataclass(frozen=True)
class TriedWidth:
    """A number of features, and whether they separate the classes.

    Attributes
    ----------
    width : int
    is_separated : bool
    word : {"margins", "hull", "lp", "open"}
        Who says so. "margins": all margins are positive. "hull": the support vector machine's
        violations are a convex combination of features, each with its sign, that is 0 but for
        rounding; "lp": HiGHS found no positive margin; both are the solver's word. "open": neither
        was found, which counts as not separated.
    bound : float or None
        Where the word is "hull": no margin is above this share of the longest vector of features.
    seconds : float
    """

    width: int
    is_separated: bool
    word: str
    bound: float | None
    seconds: float


@dataclass(frozen=True)
class SeparationReport:
    """What `fastmem.separate` found.

    Attributes
    ----------
    n_samples, n_features : int
    classes : ndarray of shape (K,)
    width : int
        Features.
    is_separated : bool
        Whether the own score of every training point is larger than all others: certified, of
        the integer read-out.
    unseparated : ndarray of int64
        Training points, ascending, of which that is not so.
    is_least : bool
        Whether ``width`` was found to be the least one, up to the step of the search, by
        the solver's word.
    tried : tuple of TriedWidth
        In the order in which they were.
    word : {"margins", "hull", "lp", "open", "rays"}
        Why classes are not separated, or that they are; ``WORDS`` has it in words.
    bits : int
        Of each weight; more than was asked for where fewer lose a training point.
    least_margin : float
        Least own score less largest other one of a training point, as a share of the median one.
    n_exact : int
        Training points whose certificate took whole numbers of any size.
    activation : {"relu", "threshold"}
    max_bias : float
    scale : Scaling
    stopped : {"", "max_width", "time_limit"}
        What ended the search before it was done.
    seed, n_threads : int
    seconds : dict of str to float
        By stage, with "total".
    peak_bytes : int
    """

    n_samples: int
    n_features: int
    classes: np.ndarray
    width: int
    is_separated: bool
    unseparated: np.ndarray
    is_least: bool
    tried: tuple[TriedWidth, ...]
    word: str
    bits: int
    least_margin: float
    n_exact: int
    activation: str
    max_bias: float
    scale: Scaling
    stopped: str
    seed: int
    n_threads: int
    seconds: dict[str, float] = field(default_factory=dict)
    peak_bytes: int = 0

    def summary(self) -> dict[str, int | float | str | None]:
        """Small facts, as they are saved with the separator."""
        return {
            "n_samples": self.n_samples, "width": self.width, "bits": self.bits,
            "is_separated": self.is_separated, "is_least": self.is_least,
            "unseparated": len(self.unseparated), "activation": self.activation,
            "max_bias": self.max_bias, "least_margin": self.least_margin,
            "seed": str(self.seed), "word": self.word, "stopped": self.stopped,
        }  # fmt: skip

    def warning(self) -> str | None:
        """What to say where some points are not separated."""
        count = len(self.unseparated)
        if not count:
            return None
        why = {
            "max_width": "; pass a larger max_width",
            "time_limit": "; pass a longer time_limit, or None",
            "": "; pass a larger width, or 'auto'",
        }[self.stopped]
        if self.word == "rays":
            why = "; pass a max_bias above 0"
        return (
            f"{count:,} of {self.n_samples:,} training points are not separated by {self.width:,} "
            f"features ({WORDS[self.word]}); they are in report.unseparated{why}"
        )

    def __str__(self) -> str:
        lines = [
            f"{self.n_samples:,} points, {self.n_features:,} features, {len(self.classes)} classes",
            f"{self.width:,} {'ReLU features' if self.activation == 'relu' else 'sign bits'}, "
            f"weights of {self.bits} bits: "
            + (
                "every training point is certified"
                if self.is_separated
                else f"{len(self.unseparated):,} training points are not separated"
            ),
            WORDS[self.word],
        ]
        if self.tried:
            lines.append(
                "tried "
                + ", ".join(f"{t.width} {'yes' if t.is_separated else 'no'}" for t in self.tried)
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class SeparationWidth:
    """The least number of random features that separate the classes of (a sample of) points.

    Attributes
    ----------
    width : int or None
        The median over the seeds; None where most of them found none up to ``max_width``.
    widths : tuple of (int or None)
        Of each seed.
    activation : {"relu", "threshold"}
    n_samples, n_used : int
        Points, and how many of them were used.
    max_width : int
    seconds : float
    note : str
        What was sampled, or stopped early; empty where nothing was.
    """

    width: int | None
    widths: tuple[int | None, ...]
    activation: str
    n_samples: int
    n_used: int
    max_width: int
    seconds: float
    note: str = ""
