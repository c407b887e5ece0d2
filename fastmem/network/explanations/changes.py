"""The nearest points with another label: along single features, and on a line to another point.

Where patterns decide, a label changes only where a line crosses a hyperplane. Crossings are
computed in float64 and taken in order; whatever they say is then asked of the network itself, by
bisection down to two neighbouring float64, of which one has the old label and the other a new one.
Votes and real activations change anywhere: there a line is looked at in equal steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.kernels.layout import WORD_BITS
from fastmem.machine.threads import ranges
from fastmem.network.cells import Cells
from fastmem.network.explanations.directions import STEPS, Directions, goes_by_steps, values_of
from fastmem.network.explanations.report import Change
from fastmem.network.lists import DecisionList

if TYPE_CHECKING:
    from fastmem.network.network import Network

_ON_A_LINE = 8 * STEPS
"""Steps to another point, for votes."""
_BLOCK_VALUES = 1 << 22
_BLOCK_WORDS = 1 << 22
_MOST_ROUNDS = 2200
"""Halvings of an interval of float64 at most."""

Codes = Callable[[np.ndarray], np.ndarray]
"""The classes of points (P, d) float64 as the network takes them, (P,) intp."""


@dataclass(frozen=True)
class Start:
    """The point that is to be changed.

    Attributes
    ----------
    point : ndarray of shape (d,), float64
        As the network takes it, not scaled.
    pattern : ndarray of shape (n_words,), uint64
    code : int
        Its class.
    """

    point: np.ndarray
    pattern: np.ndarray
    code: int


@dataclass(frozen=True)
class _Lines:
    """Lines from a point, each in one direction: point + t direction, for t from 0 to reach.

    Attributes
    ----------
    features : ndarray of shape (L,), int64
        The feature that changes, or -1 for the way to ``target``.
    reaches : ndarray of shape (L,), float64
        Of a feature the last value; of the way to a target 1.
    target : ndarray of shape (d,), float64, or None
    """

    point: np.ndarray
    features: np.ndarray
    reaches: np.ndarray
    target: np.ndarray | None = None

    def starts(self) -> np.ndarray:
        """The parameter at the point: the feature's value, or 0; (L,)."""
        return np.where(self.features < 0, 0.0, self.point[self.features])

    def points(self, lines: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        """The points of some lines at these parameters, (len(lines), d)."""
        some = np.repeat(self.point[None], len(lines), axis=0)
        features = self.features[lines]
        along = features >= 0
        some[np.flatnonzero(along), features[along]] = parameters[along]
        if self.target is not None:
            share = parameters[~along, None]
            some[~along] = (1 - share) * self.point + share * self.target
        return some


@dataclass(frozen=True)
class _Brackets:
    """Where labels change first on some of the lines; arrays of one entry each.

    Attributes
    ----------
    lines : ndarray of int64
    inside, outside : ndarrays of float64
        Parameters on either side of the change, to be confirmed.
    near : ndarray of float64
        About where it is.
    """

    lines: np.ndarray
    inside: np.ndarray
    outside: np.ndarray
    near: np.ndarray

    def some(self, chosen: np.ndarray) -> _Brackets:
        return _Brackets(*(part[chosen] for part in vars(self).values()))


def changes_along_features(
    network: Network,
    decider: Any,
    start: Start,
    ways: Directions,
    spans: tuple[np.ndarray, np.ndarray],
    most: int,
    codes: Codes,
) -> list[Change]:
    """The nearest changes along single columns, at most one in each direction of a feature."""
    labels = network.classes_.tolist()
    low, high = spans[0][ways.features], spans[1][ways.features]
    here = start.point[ways.features]
    down, up = low < here, here < high
    features = np.concatenate([ways.features[down], ways.features[up]])
    lines = _Lines(start.point, features, np.concatenate([low[down], high[up]]))
    widths = (spans[1] - spans[0])[features]
    found = []
    brackets = _brackets(network, decider, start, lines, codes)
    away = np.abs(brackets.near - lines.starts()[brackets.lines]) / widths[brackets.lines]
    nearest = np.argsort(away, kind="stable")[: 2 * most]
    for line, value, code, point in _narrowed(lines, start.code, codes, brackets.some(nearest)):
        k = int(features[line])
        before = float(start.point[k])
        name = ways.names[int(np.searchsorted(ways.features, k))]
        share = float(abs(value - before) / widths[line])
        found.append(Change(name, before, value, labels[code], share, point))
    values = values_of(network, start.point)
    for first, last in ranges(len(ways.others), max(1, _BLOCK_VALUES // len(start.point))):
        some = ways.others[first:last]
        points = np.array([other.of(start.point) for other in some])
        for other, code, point in zip(some, codes(points).tolist(), points, strict=True):
            if code != start.code:
                now, whole = values.get(other.name), tuple(point.tolist())
                found.append(Change(other.name, now, other.value, labels[code], 1.0, whole))
    return sorted(found, key=lambda change: change.distance)[:most]


def change_on_line(
    network: Network, decider: Any, start: Start, target: np.ndarray, codes: Codes
) -> Change | None:
    """The first change on the straight line from a point to another (d,) float64."""
    lines = _Lines(start.point, np.array([-1]), np.array([1.0]), target)
    brackets = _brackets(network, decider, start, lines, codes)
    for _, share, code, point in _narrowed(lines, start.code, codes, brackets):
        return Change(None, 0.0, share, network.classes_.tolist()[code], share, point)
    return None


def _brackets(
    network: Network, decider: Any, start: Start, lines: _Lines, codes: Codes
) -> _Brackets:
    if goes_by_steps(network):
        return _by_steps(start.code, lines, codes)
    return _by_crossings(network, decider, start, lines)


def _by_crossings(
    network: Network, decider: Cells | DecisionList, start: Start, lines: _Lines
) -> _Brackets:
    """Follow the pattern across every hyperplane that a line meets."""
    which, planes, places = _crossings(network, lines)
    starts = lines.starts()
    order = np.lexsort((planes, np.abs(places - starts[which]), which))
    which, planes, places = which[order], planes[order], places[order]
    bounds = np.searchsorted(which, np.arange(len(starts) + 1))
    found: list[tuple[int, float, float, float]] = []
    n_words = len(start.pattern)
    first = 0
    while first < len(starts):  # some lines at a time
        last = int(np.searchsorted(bounds, bounds[first] + _BLOCK_WORDS // n_words, side="right"))
        last = min(max(first + 1, last - 1), len(starts))
        a, b = int(bounds[first]), int(bounds[last])
        if a < b:
            patterns = _patterns_after(start.pattern, which[a:b], planes[a:b])
            changed = decider.codes_of_patterns(patterns) != start.code
            ends = np.append(places[a + 1 : b], np.nan)
            closing = np.append(which[a + 1 : b] != which[a : b - 1], True)
            ends[closing] = lines.reaches[which[a:b][closing]]
            # a pattern between two crossings that are one float is no point's
            changed &= ends != places[a:b]
            places_of = np.flatnonzero(changed)
            _, earliest = np.unique(which[a:b][places_of], return_index=True)
            for i in places_of[earliest].tolist():
                line, near = int(which[a + i]), float(places[a + i])
                opens = i == 0 or which[a + i - 1] != line
                before = float(starts[line] if opens else places[a + i - 1])
                outside = near + (float(ends[i]) - near) / 2
                found.append((line, before + (near - before) / 2, outside, near))
        first = last
    columns = np.array(found).reshape(-1, 4).T
    return _Brackets(columns[0].astype(np.int64), *columns[1:])


def _crossings(network: Network, lines: _Lines) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where lines cross hyperplanes: which line, which hyperplane, at what parameter."""
    first, scale = network.first, network.scale
    d = first.n_features
    along = np.flatnonzero(lines.features >= 0)
    toward = np.flatnonzero(lines.features < 0)
    starts = lines.starts()
    rises = lines.reaches > starts
    low, high = np.minimum(starts, lines.reaches), np.maximum(starts, lines.reaches)
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for a, b in ranges(len(first), max(1, _BLOCK_VALUES // max(d, len(starts)))):
        weights = first.subset(np.arange(a, b)).weights.astype(np.float64)
        if scale is not None:
            weights *= scale
        with np.errstate(all="ignore"):  # what is not finite is no place on a line
            values = weights @ lines.point + first.biases[a:b]
            slopes = np.empty((b - a, len(starts)))
            slopes[:, along] = weights[:, lines.features[along]]
            if lines.target is not None:
                slopes[:, toward] = (weights @ (lines.target - lines.point))[:, None]
            places = starts - values[:, None] / slopes
            # from a bit that is 0 on the hyperplane itself, only the way up crosses it
            leaves = (places != starts) | ((slopes > 0) == rises)
            crosses = (places >= low) & (places <= high) & (slopes != 0) & leaves
        planes, which = np.nonzero(crosses)
        parts.append((which, a + planes, places[planes, which]))
    which, planes, places = (np.concatenate(part) for part in zip(*parts, strict=True))
    return which, planes, places


def _patterns_after(pattern: np.ndarray, which: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """The pattern after each crossing, (C, n_words) uint64, from ``pattern`` on for every line."""
    bits = np.zeros((len(planes), len(pattern)), np.uint64)
    one = np.uint64(1) << (planes % WORD_BITS).astype(np.uint64)
    bits[np.arange(len(planes)), planes // WORD_BITS] = one
    np.bitwise_xor.accumulate(bits, axis=0, out=bits)
    opens = np.flatnonzero(np.append(True, which[1:] != which[:-1]))
    before = np.zeros((len(opens), len(pattern)), np.uint64)
    before[1:] = bits[opens[1:] - 1]
    sizes = np.diff(np.append(opens, len(which)))
    after: np.ndarray = bits ^ np.repeat(before, sizes, axis=0) ^ pattern
    return after


def _by_steps(code: int, lines: _Lines, codes: Codes) -> _Brackets:
    """Look at lines in equal steps."""
    starts = lines.starts()
    n_steps = STEPS if lines.target is None else _ON_A_LINE
    shares = np.arange(n_steps + 1) / n_steps
    found: list[tuple[int, float, float, float]] = []
    size = max(1, _BLOCK_VALUES // (n_steps * len(lines.point)))
    for a, b in ranges(len(starts), size):
        places = starts[a:b, None] + (lines.reaches[a:b] - starts[a:b])[:, None] * shares
        which = np.repeat(np.arange(a, b), n_steps)
        got = codes(lines.points(which, places[:, 1:].ravel())).reshape(b - a, n_steps) != code
        for line in np.flatnonzero(got.any(axis=1)).tolist():
            i = int(got[line].argmax())
            inside, outside = places[line, i : i + 2].tolist()
            found.append((a + line, inside, outside, outside))
    columns = np.array(found).reshape(-1, 4).T
    return _Brackets(columns[0].astype(np.int64), *columns[1:])


def _narrowed(
    lines: _Lines, code: int, codes: Codes, brackets: _Brackets
) -> Iterator[tuple[int, float, int, tuple[float, ...]]]:
    """Halve brackets until nothing is between; those that the network does not confirm are left.

    Yields the line, the first parameter with another label, that label's class and the point.
    """
    if not len(brackets.lines):
        return
    which, inside, outside = brackets.lines, brackets.inside.copy(), brackets.outside.copy()
    labels = codes(lines.points(which, outside))
    # what the crossings say of the near side need not be so; the point itself is certain
    astray = codes(lines.points(which, inside)) != code
    inside[astray] = lines.starts()[which[astray]]
    for _ in range(_MOST_ROUNDS):
        middle = inside + (outside - inside) / 2
        open_ones = np.flatnonzero((middle != inside) & (middle != outside) & (labels != code))
        if not len(open_ones):
            break
        got = codes(lines.points(which[open_ones], middle[open_ones]))
        changed = got != code
        outside[open_ones[changed]] = middle[open_ones[changed]]
        labels[open_ones[changed]] = got[changed]
        inside[open_ones[~changed]] = middle[open_ones[~changed]]
    points = lines.points(which, outside)
    for i in np.flatnonzero(labels != code).tolist():
        yield int(which[i]), float(outside[i]), int(labels[i]), tuple(points[i].tolist())
