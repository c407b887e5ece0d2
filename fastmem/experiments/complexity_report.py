"""What the study of complexity found, as plain data, and its JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.experiments.code_length import CodeLength
from fastmem.experiments.hardness import Hardness
from fastmem.experiments.plain_data import built
from fastmem.experiments.section_facts import CompactNetwork, Representations
from fastmem.inputs import Points
from fastmem.machine.files import moved_when_complete
from fastmem.machine.wording import printable
from fastmem.network.network import Network
from fastmem.separation.report import SeparationWidth
from fastmem.shapes.dimension import Dimensions
from fastmem.shapes.report import TopologyReport

FORMAT = 1
BINS = 50
NEARER_TO_ANOTHER = 0.5
"""Points of a larger hardness are nearer to another class than to their own."""
VALUES_SHOWN = 100

Label = int | float | str | bool


@dataclass(frozen=True)
class ComplexityReport:
    """What `complexity` found.

    Attributes
    ----------
    name : str
        Of the data set.
    n_samples, n_features : int
    n_contradictory : int
        Points that equal a point of another class: left out of all but the hardness.
    contradictory : list of list of int
        The first of the groups of rows that are equal.
    classes : list of ClassFacts
    radius : float
        R, the largest distance of a point from the mean.
    gap : Gap or None
    dimension : dict of str to float, or None
        Intrinsic dimension by several estimators; see `gap.intrinsic_dimension`.
    width : int
        Hyperplanes of the second widths that are compared over N, and of the hardness.
    widths : list of Widths
        Over nested samples, the smallest first.
    hardest : list of HardPoint
        The hardest first.
    curves : Curves
    skipped : dict of str to str
        What was not measured, and why.
    seconds : dict of str to float
        Time of each part.
    seed : str
        Repeats the study.
    trials : int
    scale : str
        Whether the features were multiplied by powers of two, and why; "" where nobody asked.
    bits : CodeLength or None
        What the smallest network takes for a label; None in older reports.
    separation : SeparationWidth or None
        How many random features make the classes linearly separable.
    topology : TopologyReport or None
        Components and holes of each class, with the longest bars.
    patterns : Dimensions or None
        The intrinsic dimension of patterns beside that of the same points.
    representation : Representations or None
    connectivity : CompactNetwork or None
        These five are None in older reports, and where ``skipped`` says why.
    points : Hardness or None
        The values of all points; not part of the JSON.
    network : Network or None
        That of ``connectivity``; not part of the JSON.
    """

    name: str
    n_samples: int
    n_features: int
    n_contradictory: int
    contradictory: list[list[int]]
    classes: list[ClassFacts]
    radius: float
    gap: Gap | None
    dimension: dict[str, float] | None
    width: int
    widths: list[Widths]
    hardest: list[HardPoint]
    curves: Curves
    skipped: dict[str, str]
    seconds: dict[str, float]
    seed: str
    trials: int
    scale: str = ""
    bits: CodeLength | None = None
    separation: SeparationWidth | None = None
    topology: TopologyReport | None = None
    patterns: Dimensions | None = None
    representation: Representations | None = None
    connectivity: CompactNetwork | None = None
    points: Hardness | None = field(default=None, compare=False, repr=False)
    network: Network | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> str:
        """The report as JSON text, all but ``points`` and ``network``."""
        bits = None if self.bits is None else replace(self.bits, rows=None, points=None)
        facts = asdict(replace(self, points=None, network=None, bits=bits))
        del facts["points"], facts["network"]
        if bits is not None:
            del facts["bits"]["rows"], facts["bits"]["points"]
        return json.dumps({"format": FORMAT, **facts}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ComplexityReport:
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
            report: ComplexityReport = built(cls, facts)
            return report
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInputError(
                f"This is no complexity report of format {FORMAT}: give what to_json wrote"
            ) from error

    def save_json(self, path: Path) -> None:
        """Write `to_json` to a file, whole or not at all."""
        with (
            moved_when_complete(path) as temporary,
            open(temporary, "x", encoding="utf-8") as file,
        ):
            file.write(self.to_json() + "\n")


@dataclass(frozen=True)
class Widths:
    """Widths for one of the nested samples: a list has a value for each seed.

    Attributes
    ----------
    n_samples : int
    least : list of int
        Hyperplanes of ``width="auto"``: with fewer, some points could not be covered.
    merged_at_least, random_at_least : list of int
        Neurons at that width, by ``selection="merge"`` and by the paper's ``"random"``.
    merged, random : list of int
        Neurons at the report's ``width``, the same for all samples.
    unseparated : list of int
        Points that ``width`` hyperplanes leave unseparated.
    """

    n_samples: int
    least: list[int]
    merged_at_least: list[int]
    random_at_least: list[int]
    merged: list[int]
    random: list[int]
    unseparated: list[int]


@dataclass(frozen=True)
class Gap:
    """Least distance of points of different classes.

    Attributes
    ----------
    delta : float
    rows : list of int
        Two rows at that distance.
    labels : list
        Their labels.
    is_exact : bool
        False where it may be too large, because there are too many points for all pairs.
    """

    delta: float
    rows: list[int]
    labels: list[Label]
    is_exact: bool


@dataclass(frozen=True)
class Covering:
    """Mutual covering of a class (X^-) and all other points (X^+); see `fastmem.geometry`.

    Attributes
    ----------
    n_negative, n_positive : int
        M^- and M^+, the balls that cover the class and the others.
    delta, radius, omega, omega_error : float
        Least distance of centres of unlike classes, R, and omega with its standard error.
    first_width, second_width : float
        What the theorem predicts.
    is_complete : bool
        Whether the balls cover all points.
    """

    n_negative: int
    n_positive: int
    delta: float
    radius: float
    omega: float
    omega_error: float
    first_width: float
    second_width: float
    is_complete: bool


@dataclass(frozen=True)
class ClassFacts:
    """One class against all others.

    Attributes
    ----------
    label : int, float, str or bool
    n_samples : int
    separated_at : dict of str to list of int
        For the shares "0.5", "0.9", "0.99" and "1.0" of the class: how many random hyperplanes are
        needed until so many of its points can be covered, for each first layer; one more than the
        width tried where that was not enough.
    least_width : list of int or None
        Hyperplanes of ``width="auto"``, some of which are aimed at points that are left, for each
        seed; None where there are too many classes.
    covering : Covering or None
    hardness : float
        Median over its points.
    nearer_to_another : int
        Points of hardness above 1/2.
    """

    label: Label
    n_samples: int
    separated_at: dict[str, list[int]]
    least_width: list[int] | None
    covering: Covering | None
    hardness: float
    nearer_to_another: int


@dataclass(frozen=True)
class HardPoint:
    """A point that is hard to memorise; see `fastmem.experiments.hardness.Hardness`.

    Attributes
    ----------
    row : int
    label, suggested : int, float, str or bool
        Its label, and that of the nearest other class.
    hardness : float
        Above 1/2 it is nearer to that class than to its own.
    threshold : float
        m of its own neuron, as a share of the hyperplanes, and
    relative_threshold : float
        the same divided by the median of its class.
    alone : float
        Share of the first layers in which that neuron covers no other point.
    separated_at : float
        Hyperplanes needed until it can be covered, median.
    nearest : int
        Row of the nearest point of another class.
    values : str
        The point's features, as far as `VALUES_SHOWN` characters go; "" in older reports.
    """

    row: int
    label: Label
    suggested: Label
    hardness: float
    threshold: float
    relative_threshold: float
    alone: float
    separated_at: float
    nearest: int
    values: str = ""


@dataclass(frozen=True)
class Curves:
    """Numbers behind the pictures.

    Attributes
    ----------
    covered : dict of str to list of [int, int]
        For "merge" and "random": pairs of neurons and of points that they cover, from 0 neurons
        on; the neurons that cover most come first. All covered classes together, all points.
    separated : dict of str to list of [int, float]
        For each class, by its number among the report's classes: pairs of hyperplanes and of the
        share of its points that can be covered, for the first of the first layers.
    hardness : list of int
        Points in each of fifty equal intervals of hardness, from 0 to 1.
    """

    covered: dict[str, list[list[int]]]
    separated: dict[str, list[list[float]]]
    hardness: list[int]


def shown_values(points: Points, row: int, names: Sequence[str], zeros: bool) -> str:
    """Give a point as text: names and values in the order of the columns, zeros only if asked."""
    values = points.dense(np.array([row]))[0]
    kept = np.arange(len(values)) if zeros else np.flatnonzero(values)
    text = ""
    for k in kept.tolist():
        text += f"{', ' if text else ''}{printable(names[k], VALUES_SHOWN)} = {values[k]:.6g}"
        if len(text) > VALUES_SHOWN:
            return text[: VALUES_SHOWN - 3] + "..."
    return text
