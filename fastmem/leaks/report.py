"""What an audit found, as plain data, and its JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastmem.errors import InvalidInputError
from fastmem.machine.files import moved_when_complete

FORMAT = 1
FALSE_POSITIVES = 0.01
"""The share of false positives at which the true ones are reported."""

Label = int | float | str | bool


@dataclass(frozen=True)
class StoredRecords:
    """Which records the second layer holds, as the training points show it.

    Attributes
    ----------
    n_records : int
        Training points that were looked at.
    n_in_full : int
        Of them, how many have their whole sign pattern in the weights: a mask is 1 - Phi(x).
    n_without : int
        Of them, how many are of a class that has no neurons.
    n_neurons : int
        Neurons of the network.
    n_full_neurons : int
        Neurons whose mask is the whole pattern of one of the records.
    n_single : int
        Neurons whose mask misses one of the records of their class and no other: count 0 for it
        alone.
    median_zero : float
        Median over the neurons of the records of their class with count 0.
    """

    n_records: int
    n_in_full: int
    n_without: int
    n_neurons: int
    n_full_neurons: int
    n_single: int
    median_zero: float

    @property
    def share(self) -> float:
        """Share of the records that are stored in full."""
        return self.n_in_full / self.n_records


@dataclass(frozen=True)
class Membership:
    """How well one signal tells training points (members) from unseen ones.

    Attributes
    ----------
    words : str
        What the signal is.
    n_members, n_unseen : int
        Points of both kinds that have the signal.
    auc : float
        Area under the curve of true against false positives: 0.5 is a guess.
    advantage : float
        Largest difference of the true and the false positive rate over all thresholds, 0 to 1.
    chance : float
        The advantage that a signal without any information exceeds once in twenty times (Smirnov).
    tpr : float
        True positive rate at the threshold with at most 1 % false positives.
    edges : list of float
        Of the intervals in which points are counted.
    members, unseen : list of int
        Points in each interval.
    """

    words: str
    n_members: int
    n_unseen: int
    auc: float
    advantage: float
    chance: float
    tpr: float
    edges: list[float]
    members: list[int]
    unseen: list[int]


@dataclass(frozen=True)
class MaskTest:
    """Which neurons hold the pattern of one point, from the network alone.

    A mask that is 1 - Phi(x) of some x says where x is: in a cell of the tessellation that is not
    empty. The mask of several points together is, as a rule, no such pattern.

    Attributes
    ----------
    n_neurons, n_tested : int
    patterns : int
        Neurons for which a point was found that has just this pattern, checked by exact signs.
    empty : int
        Neurons for which the linear program has no point: the solver's word.
    undecided : int
    why : str
        Why neurons were not tested or not decided; "" where all were.
    """

    n_neurons: int
    n_tested: int
    patterns: int
    empty: int
    undecided: int
    why: str


@dataclass(frozen=True)
class Reconstruction:
    """A point recovered from one neuron's mask and the hyperplanes.

    Attributes
    ----------
    neuron : int
        Row of ``network.second``.
    label : int, float, str or bool
        Its class.
    is_consistent : bool
        Whether the point has the whole pattern that the mask would hold, checked by exact signs.
    values : list of float or None
        The point; None where there are too many features.
    n_stored : int or None
        Training points of the class that the mask could be of, with count 0; None without data.
    row : int or None
        Of those, the row nearest to the reconstruction,
    error : float or None
        and its distance, as a share of the data's radius R (0 is exact).
    nearest : int or None
        The row nearest to the reconstruction among all training points.
    right : float or None
        Share of the values that are right once rounded; where all data are whole numbers.
    record : list of float or None
        The values of ``row``.
    """

    neuron: int
    label: Label
    is_consistent: bool
    values: list[float] | None
    n_stored: int | None = None
    row: int | None = None
    error: float | None = None
    nearest: int | None = None
    right: float | None = None
    record: list[float] | None = None

    @property
    def is_identified(self) -> bool | None:
        """Whether no training point is nearer than one that the mask could be of."""
        return None if self.row is None else self.row == self.nearest


@dataclass(frozen=True)
class LeakReport:
    """What `fastmem.audit` found.

    Low figures prove no privacy: they say that these attacks did not succeed.

    Attributes
    ----------
    decision : str
        "cells", "vote" or "list".
    activation : str
        "threshold" or "relu".
    n_features, n_hyperplanes, n_neurons : int
    n_samples, n_unseen : int or None
        Points that were passed; None where none were.
    n_audited : int or None
        Training points that were looked at: drawn at random where fewer than passed.
    training_accuracy, unseen_accuracy : float or None
        Shares of the points looked at whose label the network gives.
    stored : StoredRecords or None
    membership : dict of str to Membership
        By the signal: "counts" of the neurons of the point's class, and "score", its margin over
        all other classes as `decision_function` gives it. Empty without unseen points.
    masks : MaskTest or None
    reconstructions : list of Reconstruction
    box : str
        What the reconstructions took for known of the values.
    feature_names : list of str or None
    skipped : dict of str to str
        What was not measured or means nothing here, and why.
    seconds : dict of str to float
    seed : str
        Repeats the audit.
    """

    decision: str
    activation: str
    n_features: int
    n_hyperplanes: int
    n_neurons: int
    n_samples: int | None
    n_unseen: int | None
    n_audited: int | None
    training_accuracy: float | None
    unseen_accuracy: float | None
    stored: StoredRecords | None
    membership: dict[str, Membership]
    masks: MaskTest | None
    reconstructions: list[Reconstruction]
    box: str
    feature_names: list[str] | None
    skipped: dict[str, str]
    seconds: dict[str, float]
    seed: str

    @property
    def proved_unseen(self) -> float | None:
        """Share of the unseen points that their label alone proves to be no training points.

        The network is right on all training points, so whatever it gets wrong is none. None where
        that is not so or not known, or no unseen points were passed.
        """
        if self.unseen_accuracy is None or self.training_accuracy != 1.0:
            return None
        return 1 - self.unseen_accuracy

    def to_json(self) -> str:
        """The report as JSON text; numbers that are not finite are null."""
        facts = _finite({"format": FORMAT, **asdict(self)})
        return json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> LeakReport:
        """Read a report that `to_json` wrote.

        Raises
        ------
        InvalidInputError
            If the text is no such report.
        """
        try:
            facts = json.loads(text)
            if facts.pop("format") != FORMAT:
                raise KeyError("format")
            facts["stored"] = _or_none(StoredRecords, facts["stored"])
            facts["masks"] = _or_none(MaskTest, facts["masks"])
            facts["membership"] = {
                name: Membership(**entry) for name, entry in facts["membership"].items()
            }
            facts["reconstructions"] = [
                Reconstruction(**entry) for entry in facts["reconstructions"]
            ]
            return cls(**facts)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInputError(
                f"This is no leak report of format {FORMAT}: give what to_json wrote"
            ) from error

    def save_json(self, path: Path) -> None:
        """Write `to_json` to a file, whole or not at all."""
        with (
            moved_when_complete(Path(path)) as temporary,
            open(temporary, "x", encoding="utf-8") as file,
        ):
            file.write(self.to_json() + "\n")


def _or_none(kind: Any, facts: dict[str, Any] | None) -> Any:
    return None if facts is None else kind(**facts)


def _finite(value: Any) -> Any:
    """The same without NaN and infinities, which JSON has no words for."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
