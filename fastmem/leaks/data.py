"""Points that an audit looks at, and what the network says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.inputs import Points, check_known_labels, scaled
from fastmem.inputs.points import some_points
from fastmem.inputs.refusals import typed
from fastmem.leaks.nearest import Values
from fastmem.machine.threads import ranges

if TYPE_CHECKING:
    from fastmem.network.network import Network

_SCORES_AT_ONCE = 1 << 20
_REACH = 4.0
"""Times the first layer's radius: where values are looked for of which nothing is known."""


@dataclass(frozen=True)
class Data:
    """Points that were passed, or a sample of them.

    Attributes
    ----------
    n_samples : int
        Points that were passed.
    rows : ndarray of shape (N,), int64
        Those that are looked at, ascending.
    plain : Points
        In the units of the features, and
    points : Points
        as the first layer takes them.
    codes : ndarray of shape (N,), integer
        Their classes.
    """

    n_samples: int
    rows: np.ndarray
    plain: Points
    points: Points
    codes: np.ndarray


def checked_data(
    network: Network, X: Any, y: Any, names: tuple[str, str], most: int, random: np.random.Generator
) -> Data | None:
    """Check points and labels, and draw ``most`` of more; None where neither was passed."""
    if X is None and y is None:
        return None
    if X is None or y is None:
        one, other = names if X is None else names[::-1]
        raise InvalidInputError(f"{one} is None where {other} is not; pass both, or neither")
    plain = network.checked_points(X, name=names[0])
    if not plain.n_samples:
        raise InvalidInputError(f"{names[0]} has no rows; pass at least one point")
    codes = check_known_labels(y, plain.n_samples, network.classes_, name=names[1])
    n_samples = plain.n_samples
    rows = np.arange(n_samples)
    if n_samples > most:
        rows = np.sort(random.choice(n_samples, most, replace=False))
        plain, codes = some_points(plain, rows), codes[rows]
    return Data(n_samples, rows, plain, scaled(plain, network.scale), codes)


def own_scores(network: Network, data: Data, n_threads: int) -> tuple[np.ndarray, np.ndarray]:
    """The score of each point's class less the largest of the others, and whether it is predicted.

    float64 and bool, of shape (N,) each.
    """
    n, n_classes = len(data.codes), len(network.classes_)
    margins, is_right = np.empty(n), np.empty(n, np.bool_)
    for start, stop in ranges(n, max(256, _SCORES_AT_ONCE // n_classes)):
        codes = data.codes[start:stop]
        rows = some_points(data.plain, np.arange(start, stop))
        found = network.decision_function(rows, n_threads=n_threads)
        if n_classes == 2:
            margins[start:stop] = np.where(codes == 1, found, -found)
            is_right[start:stop] = (found > 0) == (codes == 1)
            continue
        is_right[start:stop] = found.argmax(axis=1) == codes
        places = np.arange(stop - start)
        own = found[places, codes]
        found[places, codes] = -np.inf
        # a class without neurons has -inf, and may be the only other one
        others = found.max(axis=1)
        finite = np.isfinite(own) & np.isfinite(others)
        margins[start:stop] = np.where(own > others, np.inf, -np.inf)
        margins[start:stop][finite] = own[finite] - others[finite]
    return margins, is_right


@dataclass(frozen=True)
class Box:
    """Between which values points are looked for, as the first layer takes them.

    Attributes
    ----------
    low, high : ndarray of shape (d,), float64
    words : str
        Where it comes from.
    """

    low: np.ndarray
    high: np.ndarray
    words: str


def known_box(network: Network, box: Any, known: Values | None) -> Box:
    """The box that was passed, that of the data, or a wide one about the hyperplanes' origin."""
    scale = 1.0 if network.scale is None else network.scale
    if box is not None:
        low, high = _edges(box, network.n_features_in_)
        return Box(low * scale, high * scale, "the values that were passed as box")
    if known is not None:
        words = "the least and the greatest value of each feature in X"
        return Box(known.low * scale, known.high * scale, words)
    reach = _REACH * network.first.radius
    return Box(
        network.first.origin - reach, network.first.origin + reach,
        f"nothing but {_REACH:g} times the radius that the first layer is made for",
    )  # fmt: skip


def _edges(box: Any, d: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        low, high = (np.broadcast_to(np.asarray(edge, np.float64), (d,)) for edge in box)
    except (TypeError, ValueError):
        raise InvalidInputError(
            f"box is {typed(box)}; pass (low, high), numbers or arrays of {d} numbers, or None"
        ) from None
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()):
        raise InvalidInputError(
            "box has an edge that is not finite, or a low above its high; pass (low, high) with "
            "low <= high"
        )
    return low, high
