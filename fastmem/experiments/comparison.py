"""Sets two tables of results against each other, cell by cell, in standard errors.

Of each cell two figures are compared: the share of trials that memorise every point (two
proportions, pooled) and the mean number of neurons (two means). Beside the cells, sums over ranges
of lambda and of n show departures that are too small for one cell but have a system.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fastmem.errors import InvalidInputError
from fastmem.experiments.study import Result

__all__ = [
    "Band",
    "Pair",
    "bands",
    "errors_of_probability",
    "errors_of_width",
    "matched",
    "report",
    "share_within",
]

BAND_COUNT = 5
FARTHEST_SHOWN = 5


@dataclass(frozen=True)
class Pair:
    """The same cell in two tables.

    Attributes
    ----------
    ours, theirs : Result
    z_probability, z_width : float
        Ours less theirs, in standard errors of the difference.
    """

    ours: Result
    theirs: Result

    @property
    def certain(self) -> bool:
        """Whether both probabilities are 0, or both 1: no difference, whatever the trials."""
        ours, theirs = self.ours.interpolation_probability, self.theirs.interpolation_probability
        return ours == theirs and ours in (0.0, 1.0)

    @property
    def z_probability(self) -> float:
        """Difference of the interpolation probabilities."""
        return errors_of_probability(self.ours, self.theirs)

    @property
    def z_width(self) -> float:
        """Difference of the mean second widths."""
        return errors_of_width(self.ours, self.theirs)


@dataclass(frozen=True)
class Band:
    """The cells within a range of one setting, added up.

    Attributes
    ----------
    axis : str
        "lambda" or "n".
    low, high : float
        The range, both ends in it.
    n_cells : int
    z_probability, z_width : float
        The sum of the differences in units of its standard error: about standard normal if both
        tables come from the same distribution.
    """

    axis: str
    low: float
    high: float
    n_cells: int
    z_probability: float
    z_width: float


def matched(ours: Sequence[Result], theirs: Sequence[Result]) -> list[Pair]:
    """Find the cells that two tables share.

    Parameters
    ----------
    ours, theirs : sequence of Result
        Cells are the same if n, lambda and, where both tell, the data set's size are.

    Returns
    -------
    list of Pair
        In the order of ``ours``.

    Raises
    ------
    InvalidInputError
        If they share none, or one of them holds several data sets.
    """
    for results in (ours, theirs):
        if len({result.dataset for result in results}) > 1:
            raise InvalidInputError(
                "A table with several data sets cannot be compared: give tables with one"
            )

    def place(result: Result, with_size: bool) -> tuple[int, float, int]:
        size = result.n_samples if with_size else 0
        return result.first_width, round(result.max_bias, 9), size

    sizes = all(result.n_samples for result in (*ours, *theirs))
    there = {place(result, sizes): result for result in theirs}
    pairs = [Pair(r, there[place(r, sizes)]) for r in ours if place(r, sizes) in there]
    if not pairs:
        raise InvalidInputError("The two tables share no cell: give tables of the same study")
    return pairs


def errors_of_probability(one: Result, two: Result) -> float:
    """Difference of two shares in standard errors of it, pooled; 0 where both are 0 or both 1."""
    return _in_errors(
        one.interpolation_probability - two.interpolation_probability, _share_variance(one, two)
    )


def errors_of_width(one: Result, two: Result) -> float:
    """Difference of two mean widths in standard errors of it."""
    return _in_errors(one.mean_second_width - two.mean_second_width, _width_variance(one, two))


def share_within(values: Sequence[float], limit: float) -> float:
    """Give the share of values of magnitude at most ``limit``."""
    return sum(abs(value) <= limit for value in values) / len(values)


def bands(pairs: Sequence[Pair]) -> Iterator[Band]:
    """Add up the differences over ranges of lambda, then of n, then over all cells.

    Parameters
    ----------
    pairs : sequence of Pair
        At least one.

    Yields
    ------
    Band
        Up to five for each axis, of about as many values each; last, all cells as "all".
    """
    axes: list[tuple[str, Callable[[Pair], float]]] = [
        ("lambda", lambda pair: pair.ours.max_bias),
        ("n", lambda pair: pair.ours.first_width),
    ]
    for axis, value in axes:
        values = sorted({value(pair) for pair in pairs})
        size = math.ceil(len(values) / BAND_COUNT)
        for start in range(0, len(values), size):
            low, high = values[start], values[min(start + size, len(values)) - 1]
            yield _band(axis, low, high, [p for p in pairs if low <= value(p) <= high])
    yield _band("all", math.nan, math.nan, pairs)


def report(pairs: Sequence[Pair], limit: float = 3.0) -> str:
    """Say in lines of text how far two tables agree.

    Parameters
    ----------
    pairs : sequence of Pair
        At least one.
    limit : float, default 3
        Largest difference that counts as agreement, in standard errors.

    Returns
    -------
    str
        Shares of agreeing cells, the cells farthest apart, and the bands, as Markdown tables.
    """
    probability = [pair.z_probability for pair in pairs]
    width = [pair.z_width for pair in pairs]
    told = [z for z, pair in zip(probability, pairs, strict=True) if not pair.certain]
    lines = [
        f"{len(pairs):,} cells of {pairs[0].ours.trials} trials, ours, and of "
        f"{pairs[0].theirs.trials}, theirs; differences, ours less theirs, in standard errors.",
        "",
        f"| | cells within {limit:g} standard errors | expected by chance "
        "| mean square (1 by chance) |",
        "| --- " * 4 + "|",
        _row("interpolation probability", probability, limit),
        _row("the same, but where both are 0 or both 1", told, limit),
        _row("mean second width", width, limit),
        "",
        "| n | λ | p, ours | p, theirs | difference | width, ours | width, theirs | difference |",
        "| --- " * 8 + "|",
    ]
    farthest = sorted(pairs, key=lambda p: -max(abs(p.z_probability), abs(p.z_width)))
    for pair in farthest[:FARTHEST_SHOWN]:
        mine, other = pair.ours, pair.theirs
        lines.append(
            f"| {mine.first_width} | {mine.max_bias:g} | {mine.interpolation_probability:.2f} "
            f"| {other.interpolation_probability:.2f} | {pair.z_probability:+.1f} "
            f"| {mine.mean_second_width:.2f} | {other.mean_second_width:.2f} "
            f"| {pair.z_width:+.1f} |"
        )
    lines += [
        "",
        "| cells added up | cells | probability | second width |",
        "| --- " * 4 + "|",
    ]
    for band in bands(pairs):
        range_ = "" if band.axis == "all" else f" {band.low:g} to {band.high:g}"
        lines.append(
            f"| {band.axis.replace('lambda', 'λ')}{range_} | {band.n_cells:,} "
            f"| {band.z_probability:+.1f} | {band.z_width:+.1f} |"
        )
    return "\n".join(lines)


def _row(name: str, values: Sequence[float], limit: float) -> str:
    if not values:
        return f"| {name} | - | - | - |"
    within = sum(abs(value) <= limit for value in values)
    expected = math.erf(limit / math.sqrt(2))
    mean_square = sum(value * value for value in values) / len(values)
    return (
        f"| {name} | {100 * within / len(values):.2f} % ({within:,} of {len(values):,}) "
        f"| {100 * expected:.2f} % | {mean_square:.2f} |"
    )


def _band(axis: str, low: float, high: float, pairs: Sequence[Pair]) -> Band:
    probability = [
        (
            p.ours.interpolation_probability - p.theirs.interpolation_probability,
            _share_variance(p.ours, p.theirs),
        )
        for p in pairs
    ]
    width = [
        (p.ours.mean_second_width - p.theirs.mean_second_width, _width_variance(p.ours, p.theirs))
        for p in pairs
    ]
    z_probability, z_width = (
        _in_errors(sum(d for d, _ in some), sum(v for _, v in some))
        for some in (probability, width)
    )
    return Band(axis, low, high, len(pairs), z_probability, z_width)


def _share_variance(one: Result, two: Result) -> float:
    successes = (
        one.interpolation_probability * one.trials + two.interpolation_probability * two.trials
    )
    pooled = successes / (one.trials + two.trials)
    return pooled * (1 - pooled) * (1 / one.trials + 1 / two.trials)


def _width_variance(one: Result, two: Result) -> float:
    return one.sd_second_width**2 / one.trials + two.sd_second_width**2 / two.trials


def _in_errors(difference: float, variance: float) -> float:
    if variance > 0:
        return difference / math.sqrt(variance)
    return 0.0 if abs(difference) < 1e-12 else math.copysign(math.inf, difference)
