"""Cells of one class: whether some of them have a common point, proved either way.

A cell is {x : <W_k, x> + b_k <= 0 for all k in its mask}, so that a set of cells meets iff the
inequalities of all their masks have a solution. A linear program looks for the deepest one, in a
box about the data. Its answer is never believed:

- a point is in the cells if its exact signs say so;
- no point of the box is in them if whole numbers q_k >= 0 make sum_k q_k (<W_k, x> + b_k) positive
  at every corner (Farkas, Theorie der einfachen Ungleichungen, 1902), which integers decide.

A proof that cells do not meet names a few hyperplanes, and serves for all cells that have these.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.machine.programs import solved
from fastmem.network.lists import literals_of, masks_of
from fastmem.patterns.of_points import sign_patterns
from fastmem.second_layer.cover_layer import CoverLayer

_INSIDE = 1 - 2.0**-20
"""Share of the box in which points are looked for: rounding does not bring them out of it."""
_MULTIPLIER_BITS = 60

Floats = NDArray[np.float64]


class Cells:
    """Cells of some neurons, all of threshold 1.

    Parameters
    ----------
    first : Hyperplanes
    second : CoverLayer
        The neurons.
    middle : ndarray of shape (d,), float64
    radius : float
        Where the points of the network are.
    box : float
        The box is about the middle, so many radii to each side.
    seen : ndarray of shape (m, S), bool
        Points in the box that are known: which neurons they turn on.
    most_programs : int
        Linear programs that may be solved.

    Attributes
    ----------
    seen : ndarray of shape (m, S), bool
        As given.
    n_programs, n_undecided : int
        Linear programs solved so far, and sets of cells that were asked for and not decided.
    half_width : float
        Of the box.
    """

    def __init__(
        self,
        first: Hyperplanes,
        second: CoverLayer,
        middle: Floats,
        radius: float,
        box: float,
        seen: NDArray[np.bool_],
        most_programs: int,
    ) -> None:
        self._first, self._masks = first, second.masks
        self._middle, self._radius, self._box = middle, radius, box
        starts, literals = literals_of(second, len(first))
        self._literals = [literals[a:b] for a, b in pairwise(starts)]
        # bit j of _points[i]: the j-th known point is in cell i
        self._points = [_bit_set(np.flatnonzero(row)) for row in seen]
        self._n_points = seen.shape[1]
        self.seen, self._most_programs = seen, most_programs
        # hyperplanes of each proof that cells are apart; more than there are so far
        self._apart = np.empty((16, self._masks.shape[1]), np.uint64)
        self._n_apart = 0
        self._rows: dict[int, tuple[Floats, float, float]] = {}
        self._exact: dict[int, tuple[NDArray[Any], Fraction]] = {}
        self.half_width = box * radius
        self.n_programs = self.n_undecided = 0

    @property
    def dimension(self) -> int:
        """Of the space of the cells."""
        return self._first.n_features

    def __len__(self) -> int:
        return len(self._literals)

    def meet(self, cells: tuple[int, ...]) -> bool:
        """Whether cells have a common point; not, and counted, where neither is proved."""
        answer = self.decide(cells)
        self.n_undecided += answer is None
        return bool(answer)

    def decide(self, cells: tuple[int, ...]) -> bool | None:
        """Whether cells have a common point; None where neither is proved."""
        known = self.known(cells)
        return self._solve(cells) if known is None else known

    @property
    def is_exhausted(self) -> bool:
        """Whether no further program may be solved."""
        return self.n_programs >= self._most_programs

    def known(self, cells: tuple[int, ...]) -> bool | None:
        """Whether they have one by the points and proofs so far; None where these do not say."""
        shared = -1
        for i in cells:
            shared &= self._points[i]
        if shared:
            return True
        missing = ~np.bitwise_or.reduce(self._masks[list(cells)])
        proofs = self._apart[: self._n_apart]
        return None if (proofs & missing).any(axis=1).all() else False

    def _solve(self, cells: tuple[int, ...]) -> bool | None:
        if self.is_exhausted:
            return None
        d = self._first.n_features
        depth = np.append(np.zeros(d), 1.0)
        chosen, multipliers, found = self._solved(cells, depth)
        if found is None:
            return None
        if found[d] > 0 and self._keep_point(found[:d], cells):
            return True
        return False if found[d] < 0 and self._keep_proof(chosen, multipliers) else None

    def _solved(
        self, cells: tuple[int, ...], objective: Floats
    ) -> tuple[NDArray[np.int32], Floats, Floats | None]:
        """Maximise over the cells; of (d + 1,) numbers the last is the depth, which is at most 1.

        Without an objective for it the depth is 0. Returns hyperplanes, their multipliers, and the
        solution, or None.
        """
        self.n_programs += 1
        chosen = np.unique(np.concatenate([self._literals[i] for i in cells]))
        parts = [self._row(int(k)) for k in chosen]
        normals = np.array([row for row, _, _ in parts]).reshape(len(chosen), -1)
        depths = (None, 1.0) if objective[-1] else (0.0, 0.0)
        reach = _INSIDE * self._box
        found = solved(
            -objective,
            np.column_stack([normals, np.ones(len(chosen))]),
            np.array([offset for _, offset, _ in parts]),
            [(-reach, reach)] * normals.shape[1] + [depths],
        )
        if found is None or not found.is_optimal:
            return chosen, np.zeros(len(chosen)), None
        norms = np.array([norm for _, _, norm in parts])
        return chosen, np.maximum(found.multipliers, 0.0) / norms, found.x

    def upper_bound(self, cell: int, direction: NDArray[np.int64]) -> float:
        """A number that <direction, x> does not exceed for any x of the cell in the box.

        Multipliers q >= 0 with sum_k q_k W_k near the direction make it
        <direction, x> <= <direction - sum_k q_k W_k, x> - sum_k q_k b_k, in exact arithmetic.
        """
        chosen, multipliers, found = self._solved((cell,), np.append(direction, 0.0))
        level = Fraction(0)
        rest = [Fraction(int(value)) for value in direction]
        if found is not None and np.isfinite(multipliers).all():
            for k in np.flatnonzero(multipliers):
                factor = Fraction(float(multipliers[k]))
                weights, bias = self._exact_row(int(chosen[k]))
                rest = [r - factor * w / _UNIT for r, w in zip(rest, weights, strict=True)]
                level -= factor * bias
        half_width = Fraction(self.half_width)
        for value, middle in zip(rest, self._middle.tolist(), strict=True):
            level += value * Fraction(middle) + abs(value) * half_width
        bound = float(level)
        return bound if Fraction(bound) >= level else math.nextafter(bound, math.inf)

    def _row(self, k: int) -> tuple[Floats, float, float]:
        """<normal, z> <= offset for a hyperplane, with x = middle + radius z, and its norm."""
        if k not in self._rows:
            weights = self._first.weights[k].astype(np.float64)
            norm = float(np.linalg.norm(weights)) or 1.0
            offset = -(self._first.biases[k] + weights @ self._middle) / (norm * self._radius)
            self._rows[k] = weights / norm, float(offset), norm
        return self._rows[k]

    def _keep_point(self, z: Floats, cells: tuple[int, ...]) -> bool:
        """Keep a point, with all cells that it is in; whether these cells are among them."""
        x = self._middle + self._radius * z
        pattern = sign_patterns(x[None], self._first, n_threads=1)
        inside = ~(self._masks & pattern).any(axis=1)
        for i in np.flatnonzero(inside):
            self._points[i] |= 1 << self._n_points
        self._n_points += 1
        return bool(inside[list(cells)].all())

    def _keep_proof(self, chosen: NDArray[np.int32], multipliers: Floats) -> bool:
        """Keep what proves that no point of the box is in cells with these hyperplanes."""
        most = multipliers.max()
        if not 0 < most < np.inf:
            return False
        factors = {
            int(k): factor
            for k, share in zip(chosen, multipliers / most, strict=True)
            if (factor := int(share * 2.0**_MULTIPLIER_BITS))
        }
        total, level = np.zeros(self._first.n_features, object), Fraction(0)
        for k, factor in factors.items():
            weights, bias = self._exact_row(k)
            total = total + factor * weights
            level += factor * bias
        # the least of <total, x> + level over the box
        half_width = Fraction(self.half_width)
        for value, middle in zip(total, self._middle.tolist(), strict=True):
            if value:
                level += (value * Fraction(middle) - abs(value) * half_width) / _UNIT
        if level <= 0:
            return False
        if self._n_apart == len(self._apart):
            self._apart = np.concatenate([self._apart, np.empty_like(self._apart)])
        starts = np.array([0, len(factors)])
        self._apart[self._n_apart] = masks_of(starts, np.array(list(factors)), len(self._first))[0]
        self._n_apart += 1
        return True

    def _exact_row(self, k: int) -> tuple[NDArray[Any], Fraction]:
        """The weights of a hyperplane as whole multiples of 1 / _UNIT, and its bias."""
        if k not in self._exact:
            weights = [int(Fraction(w) * _UNIT) for w in self._first.weights[k].tolist()]
            self._exact[k] = np.array(weights, object), Fraction(float(self._first.biases[k]))
        return self._exact[k]


_UNIT = 1 << 149
"""float32 numbers are whole multiples of 2^-149."""


def _bit_set(members: NDArray[Any]) -> int:
    """A set of small numbers as the ones of an integer."""
    bits = 0
    for member in members.tolist():
        bits |= 1 << member
    return bits
