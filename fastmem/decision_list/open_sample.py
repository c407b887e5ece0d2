"""Points of a sample, or all points, that no neuron of a list claims yet, with all their bits."""

from __future__ import annotations

import numpy as np

from fastmem.decision_list.candidates import Candidates, picked, points_of
from fastmem.kernels.bit_rows import (
    GROUP,
    ROW_WORDS,
    TASK_WORDS,
    ones_of,
    rows_of_columns,
)
from fastmem.kernels.conjunctions import claim
from fastmem.kernels.layout import WORD_BITS
from fastmem.kernels.open_conjunctions import Open
from fastmem.machine.loops import run_loop
from fastmem.patterns.words import packed, valid_bits

_COUNTED_CLASSES = 64
"""With more, counts of each class are made when they are asked for: classes are small then."""
_COMPACTED = 0.6
"""Columns are packed anew where so few of their points are open still."""
_HASHED_ROWS = 4096


class OpenSample:
    """Open points with their bits by point and by candidate.

    Parameters
    ----------
    candidates : Candidates
    numbers : ndarray of shape (M,), int64, or None
        Points, ascending; None for all.
    codes : ndarray of shape (N,)
        The class of each point of the data.
    n_classes : int
    n_threads : int
    n_spare : int
        Points that may be added later.

    Attributes
    ----------
    numbers : ndarray of shape (64 W,), int64
        The point of each place, -1 where there is none.
    data : Open
        What kernels take.
    """

    def __init__(
        self, candidates: Candidates, numbers: np.ndarray | None, codes: np.ndarray,
        n_classes: int, n_threads: int, n_spare: int = 0,
    ) -> None:  # fmt: skip
        self._candidates, self._codes = candidates, codes
        self._n_classes, self._n_threads = n_classes, n_threads
        some = np.arange(len(codes)) if numbers is None else numbers
        self._load(candidates.at(numbers), some, -(-n_spare // WORD_BITS))

    def _load(self, columns: np.ndarray, numbers: np.ndarray, n_spare: int) -> None:
        """Begin with these points, all of them open, whose bits are (n, W) uint64."""
        size, self._n_used = len(numbers), columns.shape[1]
        if n_spare:
            columns = np.pad(columns, ((0, 0), (0, n_spare)))
        capacity = WORD_BITS * columns.shape[1]
        self.numbers = np.full(capacity, -1, np.int64)
        self.numbers[:size] = numbers
        width = -(-len(columns) // (ROW_WORDS * WORD_BITS)) * ROW_WORDS
        rows = np.zeros((capacity + 1, width), np.uint64)
        n_tasks = -(-columns.shape[1] // TASK_WORDS)
        run_loop(rows_of_columns, n_tasks, self._n_threads, (columns, 0, rows))
        codes = np.zeros(capacity, np.int32)
        codes[:size] = self._codes[numbers]
        alive = np.zeros(columns.shape[1], np.uint64)
        alive[: self._n_used] = valid_bits(size)
        members = np.argsort(codes[:size], kind="stable").astype(np.int32)
        sizes = np.bincount(codes[:size], minlength=self._n_classes).astype(np.int64)
        counts = self._counts(rows, members, sizes)
        first = np.cumsum(sizes) - sizes
        own = np.zeros((0, columns.shape[1]), np.uint64)
        if self._n_classes <= _COUNTED_CLASSES:
            own = np.concatenate([packed((codes == c)[None]) for c in range(self._n_classes)])
            own &= alive
            members = np.empty(0, np.int32)
        self.data = Open(rows, columns, codes, alive, sizes, own, members, first, counts)

    def add(self, numbers: np.ndarray) -> bool:
        """Add up to 64 points, which are open, or say that there is no room for them."""
        data, word = self.data, self._n_used
        if word == data.columns.shape[1]:
            return False
        self._n_used += 1
        places = np.arange(WORD_BITS * word, WORD_BITS * word + len(numbers))
        data.columns[:, word] = self._candidates.at(numbers)[:, 0]
        run_loop(rows_of_columns, 1, 1, (data.columns, word, data.rows))
        codes = self._codes[numbers].astype(np.int32)
        self.numbers[places], data.codes[places] = numbers, codes
        data.alive[word] = valid_bits(len(numbers))[0]
        more = np.bincount(codes, minlength=self._n_classes).astype(np.int64)
        order = np.argsort(codes, kind="stable")
        members = data.members
        if len(data.own):
            np.bitwise_or.at(
                data.own[:, word], codes, np.uint64(1) << (places - places[0]).astype(np.uint64)
            )
        else:
            behind = (data.first + data.sizes)[codes[order]]
            members = np.insert(members, behind, places[order])
        data.sizes[:] += more
        data.counts[:] += self._counts(data.rows, places[order].astype(np.int32), more)
        first = data.first + np.cumsum(more) - more
        self.data = data._replace(members=members, first=first)
        return True

    def _counts(self, rows: np.ndarray, members: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        width = WORD_BITS * rows.shape[1]
        planes = np.empty((32, ROW_WORDS), np.uint64)
        if self._n_classes > _COUNTED_CLASSES:
            counts = np.zeros((1, width), np.int32)
            ones_of(rows, with_room(members), len(members), planes, counts[0])
            return counts
        counts = np.zeros((self._n_classes + 1, width), np.int32)
        parts = np.split(members, np.cumsum(sizes)[:-1])
        for some, row in zip(parts, counts[:-1], strict=True):
            ones_of(rows, with_room(some), len(some), planes, row)
        counts[-1] = counts[:-1].sum(axis=0, dtype=np.int32)
        return counts

    @property
    def n_open(self) -> int:
        """Points that are open."""
        return int(self.data.sizes.sum())

    @property
    def open_numbers(self) -> np.ndarray:
        """The points that are open, ascending."""
        return np.sort(self.numbers[points_of(self.data.alive)])

    def claim(self, code: int, literals: np.ndarray) -> int:
        """Take the open points of a class that are inside the literals; returns how many."""
        return int(claim(self.data, code, literals))

    def compact(self) -> None:
        """Forget the points that are claimed, where they are many."""
        n_words = self.data.columns.shape[1]
        if n_words > TASK_WORDS and self.n_open < _COMPACTED * WORD_BITS * n_words:
            places = points_of(self.data.alive)
            columns = self.data.columns
            del self.data  # its rows, before there are others
            columns = picked(columns, places, self._n_threads)
            self._load(columns, self.numbers[places], 0)

    def unseparated(self) -> np.ndarray:
        """Pairs of points with equal bits and different classes, (m, 2) int64.

        For each such pattern the first of its points beside the first of another class.
        """
        places = points_of(self.data.alive)
        rows = self.data.rows[: len(places)]
        if places[-1:] >= len(places):
            rows = self.data.rows[places]
        return self.numbers[places][pairs_of(rows, self.data.codes[places])]

    def stuck(self, sides: np.ndarray) -> np.ndarray:
        """Pairs (m, 2) int64 of an open point and points of other classes that no literal parts.

        ``sides`` as of `Candidates`. The first point that has such; there are none if none has.
        """
        data = self.data
        places = points_of(data.alive)
        rows, codes = data.rows[places], data.codes[places]
        both = np.zeros((2, WORD_BITS * rows.shape[1]), bool)
        for row, wanted in zip(both, (2, 1), strict=True):
            row[: len(sides)] = sides == wanted
        whole, one_sided = packed(both)
        for place, (row, code) in enumerate(zip(rows, codes, strict=True)):
            is_told = (((rows ^ row) & whole) | (rows & ~row & one_sided)).any(axis=1)
            others = np.flatnonzero((codes != code) & ~is_told)
            if len(others):
                pairs = np.stack([np.full(len(others), place), others], axis=1)
                found: np.ndarray = self.numbers[places][pairs]
                return found
        return np.empty((0, 2), np.int64)


def with_room(points: np.ndarray) -> np.ndarray:
    """Points (m,) int32 as `ones_of` takes them."""
    room = np.empty(len(points) + GROUP, np.int32)
    room[: len(points)] = points
    return room


def pairs_of(rows: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Places of equal rows (M, n_words) uint64 of different classes, (m, 2) int64; see above."""
    generator = np.random.Generator(np.random.PCG64(0))
    factors = generator.integers(2**63, size=rows.shape[1], dtype=np.uint64) * np.uint64(2)
    factors += np.uint64(1)
    hashes = np.empty(len(rows), np.uint64)
    for start in range(0, len(rows), _HASHED_ROWS):
        some = rows[start : start + _HASHED_ROWS]
        mixed = (some ^ (some >> np.uint64(29))) * factors
        hashes[start : start + len(some)] = np.bitwise_xor.reduce(
            mixed ^ (mixed >> np.uint64(32)), axis=1
        )
    order = np.argsort(hashes, kind="stable")
    sorted_hashes = hashes[order]
    begins = np.ones(len(rows), bool)
    begins[1:] = sorted_hashes[1:] != sorted_hashes[:-1]
    group = np.cumsum(begins) - 1
    first = order[begins][group]
    differs = np.flatnonzero(codes[order] != codes[first])
    if len(differs) == 0:
        return np.empty((0, 2), np.int64)
    _, at = np.unique(group[differs], return_index=True)
    pairs = np.stack([first[differs[at]], order[differs[at]]], axis=1)
    return pairs[(rows[pairs[:, 0]] == rows[pairs[:, 1]]).all(axis=1)].astype(np.int64)
