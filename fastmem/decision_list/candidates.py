"""Candidates that literals of a decision list are chosen from, and their bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fastmem.hyperplanes.gaussian import rows_between
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.inputs.points import some_points
from fastmem.kernels.bit_rows import TASK_COLUMNS, pick_points
from fastmem.kernels.layout import WORD_BITS
from fastmem.machine.loops import run_loop
from fastmem.patterns.bit_columns import bit_columns
from fastmem.patterns.words import packed, unpacked

_PAIRS = 256
"""Pairs between which rows are put at a time: one row may part many of those that follow."""


class Candidates(Protocol):
    """n rows of hyperplanes at N points; literal 2 k is row k, 2 k + 1 its mirror.

    Attributes
    ----------
    n_points : int
    n_keyed : int
        Rows that come from a key; those after them are stored, and chosen only where they must be.
    sides : ndarray of shape (n,), uint8
        2; or 1 where a point that was looked at lies on the hyperplane: its bit is 0, and that of
        the mirror too. A neuron asks for bits that are 0, so that then only 2 k + 1 is a literal.
    """

    n_points: int
    n_keyed: int
    sides: np.ndarray

    def at(self, points: np.ndarray | None) -> np.ndarray:
        """Bits of all rows at some points, or at all, (n, ceil(M / 64)) uint64."""

    def columns(self, numbers: np.ndarray) -> np.ndarray:
        """Bits of some rows at all points, (len(numbers), ceil(N / 64)) uint64."""

    def part(self, pairs: np.ndarray) -> bool:
        """Add stored rows between pairs (m, 2) of points, or say that there are none to add."""

    def stored_bits(self, literals: np.ndarray) -> int:
        """Bits that the stored rows of these literals take in a file, about."""


class GivenColumns:
    """Candidates whose bits at all points are in memory.

    Parameters
    ----------
    columns : ndarray of shape (n, ceil(N / 64)), uint64
        Bit i of word w is that of point 64 w + i; bits beyond the points are 0.
    n_points : int
    """

    def __init__(self, columns: np.ndarray, n_points: int) -> None:
        self.n_points, self.n_keyed = n_points, len(columns)
        self.sides = np.full(len(columns), 2, np.uint8)
        self._columns = columns

    def at(self, points: np.ndarray | None) -> np.ndarray:
        """See Candidates."""
        return self._columns if points is None else picked(self._columns, points, 1)

    def columns(self, numbers: np.ndarray) -> np.ndarray:
        """See Candidates."""
        return self._columns[numbers]

    def part(self, pairs: np.ndarray) -> bool:
        """See Candidates."""
        return False

    def stored_bits(self, literals: np.ndarray) -> int:
        """See Candidates."""
        return 0


class RowCandidates:
    """Candidates whose bits are computed from their rows.

    Parameters
    ----------
    hyperplanes : Hyperplanes
        All from a key, whose numbers literals name.
    points : Points
    generator : numpy.random.Generator
        Of what is random about rows between points.
    n_threads : int

    Attributes
    ----------
    hyperplanes : Hyperplanes
        With the rows that were put between points, at the end.
    """

    def __init__(
        self, hyperplanes: Hyperplanes, points: Points, generator: np.random.Generator,
        n_threads: int,
    ) -> None:  # fmt: skip
        self.hyperplanes: Hyperplanes = hyperplanes
        self.n_points, self.n_keyed = points.n_samples, len(hyperplanes)
        self.sides = np.full(len(hyperplanes), 2, np.uint8)
        self._points, self._generator, self._n_threads = points, generator, n_threads

    def at(self, points: np.ndarray | None) -> np.ndarray:
        """See Candidates."""
        asked = self._points if points is None else some_points(self._points, points)
        return self._bits(np.arange(len(self.hyperplanes)), asked)

    def columns(self, numbers: np.ndarray) -> np.ndarray:
        """See Candidates."""
        kept, places = np.unique(numbers, return_inverse=True)
        return self._bits(kept, self._points)[places]

    def part(self, pairs: np.ndarray) -> bool:
        """See Candidates."""
        for start in range(0, len(pairs), _PAIRS):
            self._part_some(pairs[start : start + _PAIRS])
        return True

    def stored_bits(self, literals: np.ndarray) -> int:
        """See Candidates."""
        numbers = np.unique(literals >> 1)
        numbers = numbers[numbers >= self.n_keyed]
        if len(numbers) == 0:
            return 0
        stored = self.hyperplanes.subset(numbers)
        return 32 * stored.n_nonzero + 64 * len(stored)

    def _bits(self, kept: np.ndarray, points: Points) -> np.ndarray:
        rows = self.hyperplanes
        some = rows if len(kept) == len(rows) else rows.subset(kept)
        columns, touched = bit_columns(some, points, self._n_threads)
        self.sides[kept[touched]] = 1
        return columns

    def _part_some(self, pairs: np.ndarray) -> None:
        points = some_points(self._points, pairs.ravel())
        low, high = (self._points.dense(side).astype(np.float64) for side in pairs.T)
        # from both ends: of a row through a point only the side with the point is a literal
        ends = zip(np.concatenate([low, high]), np.concatenate([high, low]), strict=True)
        made = [rows_between(*one, self._generator, 0) for one in ends]
        weights = np.concatenate([rows for rows, _ in made])
        biases = np.concatenate([shifts for _, shifts in made])
        biases = np.where(np.isfinite(biases), biases, 0.0)
        rows = Hyperplanes(weights, biases, self.hyperplanes.origin, self.hyperplanes.radius)
        columns, touched = bit_columns(rows, points, self._n_threads)
        bits = unpacked(columns, 2 * len(pairs))
        parts = bits[:, 0::2] != bits[:, 1::2]
        chosen: list[int] = []
        left = np.ones(len(pairs), bool)
        for pair in range(len(pairs)):
            if left[pair]:
                for first in (2 * pair, 2 * (len(pairs) + pair)):
                    row = first if parts[first, pair] else first + 1
                    chosen.append(row)
                left &= ~parts[chosen[-2]]
        self.hyperplanes = self.hyperplanes.extended(weights[chosen], biases[chosen])
        more = np.where(touched[chosen], 1, 2).astype(np.uint8)
        self.sides = np.concatenate([self.sides, more])


def picked(columns: np.ndarray, points: np.ndarray, n_threads: int) -> np.ndarray:
    """Bits of some points, ascending, side by side: (n, ceil(len(points) / 64)) uint64."""
    chosen = words_of(points, WORD_BITS * columns.shape[1])
    out = np.empty((len(columns), -(-len(points) // WORD_BITS)), np.uint64)
    run_loop(pick_points, -(-len(columns) // TASK_COLUMNS), n_threads, (columns, chosen, out))
    return out


def words_of(points: np.ndarray | Sequence[int], n_points: int) -> np.ndarray:
    """Numbers of points as ones among ``n_points`` bits, (ceil(n_points / 64),) uint64."""
    on = np.zeros((1, n_points), bool)
    on[0, points] = True
    return packed(on)[0]


def points_of(words: np.ndarray) -> np.ndarray:
    """The reverse: places of the ones, ascending int64."""
    return np.flatnonzero(unpacked(words[None], WORD_BITS * len(words))[0])
