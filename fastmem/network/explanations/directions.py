"""In which directions a point may be changed: features that take any value, values of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastmem.network.network import Network

MOST_FEATURES = 1024
MOST_VALUES = 4096
"""Features, and other values of columns of few, along which changes are looked for."""
_WORK = 1 << 23
"""Values of the points of so many features, whose number is cut down where points are wide."""
STEPS = 32
"""Points across the data's range of a feature, where labels change anywhere and not at hyperplanes:
of votes and real activations, each way."""
_STEPS_WORK = 1 << 26
"""Values of all these points: a second or two."""


@dataclass(frozen=True)
class Other:
    """Another value of a column.

    Attributes
    ----------
    name : str
    value : object
    place : int
        Where the column's features begin.
    features : ndarray of shape (width,), float64
    """

    name: str
    value: Any
    place: int
    features: np.ndarray

    def of(self, point: np.ndarray) -> np.ndarray:
        """A point (d,) with this value."""
        other = point.copy()
        other[self.place : self.place + len(self.features)] = self.features
        return other


@dataclass(frozen=True)
class Directions:
    """What of a point may change.

    Attributes
    ----------
    features : ndarray of shape (F,), int64
        Those that take any value by themselves.
    names : list of str
        Theirs.
    others : list of Other
    n_columns : int
        Columns, or features without an encoding, that these are of.
    """

    features: np.ndarray
    names: list[str]
    others: list[Other]
    n_columns: int


def directions(
    network: Network, point: np.ndarray, low: np.ndarray, high: np.ndarray
) -> Directions:
    """Those along which the data vary; of too many features those that vary most.

    point (d,) float64 as the network takes it; low and high (d,) are the data's. Columns that give
    several features which only change together (dates with weekdays, long integers) and missing
    numbers stay as they are.
    """
    others: list[Other] = []
    if network.encoding is None:
        names = list(network.feature_names or feature_names(len(point)))
        free = np.arange(len(point))
    else:
        names, at = network.encoding.feature_names, 0
        chosen: list[int] = []
        for column in network.encoding.columns:
            here = point[at : at + column.width]
            for value, features in column.others(here):
                others.append(Other(column.name, value, at, features))
            if column.moves_freely and not (column.flags_missing and here[-1]):
                chosen += range(at, at + column.width - column.flags_missing)
            at += column.width
        free = np.array(chosen, np.int64)
    free = free[low[free] < high[free]]
    work = _STEPS_WORK // (2 * STEPS) if goes_by_steps(network) else _WORK
    most = min(MOST_FEATURES, max(8, work // len(point)))
    if len(free) > most:
        widths = high[free] - low[free]
        if network.scale is not None:
            widths = widths * network.scale[free]
        free = np.sort(free[np.argsort(-widths, kind="stable")[:most]])
    others = others[:MOST_VALUES]
    n_columns = len(free) + len({other.name for other in others})
    return Directions(free, [names[k] for k in free], others, n_columns)


def goes_by_steps(network: Network) -> bool:
    """Whether the label may change between hyperplanes."""
    return network.readout is not None or network.second.activation == "relu"


def feature_names(d: int) -> list[str]:
    """What features without names are called, as in ``network.rules()``."""
    return [f"x{k}" for k in range(d)]


def values_of(network: Network, point: np.ndarray) -> dict[str, Any]:
    """A point's columns as the user's table has them; empty for features without names."""
    if network.encoding is None:
        return dict(zip(network.feature_names or (), point.tolist(), strict=False))
    values, at = {}, 0
    for column in network.encoding.columns:
        values[column.name] = column.read_back(point[at : at + column.width])
        at += column.width
    return values
