"""What an explanation is made of."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from fastmem.network.explanations.words import explanation_page, explanation_text


@dataclass(frozen=True)
class Example:
    """A row that explains a label: a prototype or a counter-prototype.

    Attributes
    ----------
    row : int
        Of the X that was passed.
    label : object
        Its label in y.
    count : int or float or None
        Ones of its pattern inside the mask of the neuron that decided: 0 for what the neuron
        stores, the threshold or more for what it excludes. A sum with ``activation="relu"``; None
        where no neuron decided.
    distance : int or float
        Hyperplanes between it and the point explained: bits in which their patterns differ. Of
        votes that no neuron decided, Euclidean, in scaled features.
    values : dict of str to object
        Its columns, as the user's table has them; empty for features without names.
    features : tuple of float
        What the network was given.
    """

    row: int
    label: Any
    count: int | float | None
    distance: int | float
    values: dict[str, Any]
    features: tuple[float, ...]


@dataclass(frozen=True)
class Change:
    """A point near by that has another label; ``network.predict`` has confirmed that.

    Attributes
    ----------
    column : str or None
        The column that changes; None on the straight line to the first counter-prototype.
    before, after : object
        The column's value, and the next one with another label: for numbers the very float64 at
        which the label changes. On a line the share of the way, from 0 to 1.
    label : object
        What it changes to.
    distance : float
        The way to there, as a share of the column's range in X; 1 for a value that is no number. On
        a line the share of the way.
    features : tuple of float
        The point there, as the network takes it.
    """

    column: str | None
    before: Any
    after: Any
    label: Any
    distance: float
    features: tuple[float, ...]


@dataclass(frozen=True)
class Flips:
    """Bits of the pattern that would have to be others for another label.

    Whether any point has such a pattern is another question.

    Attributes
    ----------
    hyperplanes : tuple of int
        Rows of ``network.first``.
    label : object
        The label with these bits flipped.
    are_fewest : bool
        Whether fewer are proved not to do; where False, fewer may.
    """

    hyperplanes: tuple[int, ...]
    label: Any
    are_fewest: bool


@dataclass(frozen=True)
class Rule:
    """A neuron of a decision list, and what it asks for.

    Attributes
    ----------
    neuron : int
        Its place in the list.
    label : object
    comparisons : tuple of str
        Numbers are rounded.
    hold : tuple of bool
        Which of them the point satisfies, exactly.
    """

    neuron: int
    label: Any
    comparisons: tuple[str, ...]
    hold: tuple[bool, ...]


@dataclass(frozen=True)
class Contribution:
    """What a feature of the read-out adds to the label's votes more than to the runner-up's.

    Attributes
    ----------
    feature : int
        Row of ``network.readout.weights``.
    value : int
        The feature of the point, -127 to 127.
    weight : int
        The label's weight less the runner-up's.
    votes : int
        Their product.
    """

    feature: int
    value: int
    weight: int
    votes: int


@dataclass(frozen=True)
class Explanation:
    """Why a network gives a point its label; see :meth:`fastmem.Network.explain`.

    Attributes
    ----------
    label : object
        What :meth:`fastmem.Network.predict` says.
    decision : {"cells", "vote", "list"}
        What decided, as ``network.decision``.
    values : dict of str to object
        The point's columns, as the user's table has them; empty for features without names.
    features : tuple of float
        What the network was given.
    score, runner_up, runner_up_score : float, object, float
        The score of the label, the class with the next largest and its score, as of
        :meth:`fastmem.Network.decision_function`.
    neuron, threshold, count : int, int or float, int or float; or None
        The neuron that decided, a row of ``network.second``; its threshold; ones of the point's
        pattern inside its mask, or their sum with ``activation="relu"``. It is on where the count
        is below the threshold. None where no neuron decided: the label is then that of points
        outside all cells, of no rule, or of the read-out.
    runner_up_neuron : int or None
        The neuron with the runner-up's score.
    n_rows, n_covered, n_stored : int
        Rows of X with this label; those that the neuron is on for, and decides for in a list; those
        with count 0. The last two are 0 without a neuron.
    prototypes, counter_prototypes : tuple of Example
        Rows with this label and count 0, nearest to the point first; rows with another label, of
        least count first, then by distance. Without a neuron both are by distance.
    flips : Flips or None
        None for votes and real activations, which no set of bits decides, and where there is none.
    changes : tuple of Change
        Along single columns, nearest first, then on the line to the first counter-prototype.
    n_searched : int
        Columns along which changes were looked for.
    rules : tuple of Rule
        Of a list: the rule that decided, if one did, and the earlier ones that give another label
        and fail by fewest comparisons.
    contributions : tuple of Contribution
        Of a vote: the features that add most for or against the label.
    readout_votes, neuron_votes : int
        Of a vote: by how much the label leads in the read-out alone, and what the neurons that are
        on add to that.
    """

    label: Any
    decision: str
    values: dict[str, Any]
    features: tuple[float, ...]
    score: float
    runner_up: Any
    runner_up_score: float
    neuron: int | None
    threshold: int | float | None
    count: int | float | None
    runner_up_neuron: int | None
    n_rows: int
    n_covered: int
    n_stored: int
    prototypes: tuple[Example, ...]
    counter_prototypes: tuple[Example, ...]
    flips: Flips | None
    changes: tuple[Change, ...]
    n_searched: int
    rules: tuple[Rule, ...] = ()
    contributions: tuple[Contribution, ...] = ()
    readout_votes: int = 0
    neuron_votes: int = 0

    def __str__(self) -> str:
        return explanation_text(self)

    def _repr_html_(self) -> str:
        """What notebooks show."""
        return explanation_page(self)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON holds it: what is no number, truth value or text as its text."""
        found: dict[str, Any] = _plain(asdict(self))
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)
