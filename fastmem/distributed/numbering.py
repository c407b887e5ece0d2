"""Which points are where: rows, and numbers within classes, of parts and of shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from fastmem.inputs.arrays import stay_sparse
from fastmem.kernels.layout import TILE


@dataclass(frozen=True, eq=False)
class Placing:
    """Where the parts of a data set begin, of any shard.

    Points have the numbers within their classes, and the positions in all patterns, that they would
    have on one machine, so that of equal counts the same point is named.

    Attributes
    ----------
    classes : ndarray of shape (K,)
        Labels, ascending.
    n_features : int
    dtype : str
        Of the points: float32 or float64.
    part_counts : ndarray of shape (parts, K), int64
        Points of each class in each part.
    n_stored : int or None
        Stored values of CSR parts, before equal points counted once; None for dense ones.
    names : list of str, or None
        Of the columns of data frames.
    is_one_array : bool
        Whether dense points would be in one array on one machine.
    n_given : int or None
        Rows that there were before equal points counted once; None if they do not.
    """

    classes: np.ndarray
    n_features: int
    dtype: str
    part_counts: np.ndarray
    n_stored: int | None = None
    names: list[str] | None = None
    is_one_array: bool = True
    n_given: int | None = None

    @property
    def is_sparse(self) -> bool:
        """Whether points are handed out as sparse rows."""
        n_rows = self.n_given or self.n_rows
        return self.n_stored is not None and stay_sparse(n_rows, self.n_features, self.n_stored)

    @property
    def row_values(self) -> int:
        """Values of a row, as `Points` would have them on one machine."""
        if not self.is_sparse or self.n_stored is None:
            return self.n_features
        return 1 + self.n_stored // max(1, self.n_given or self.n_rows)

    @property
    def code_dtype(self) -> np.dtype:
        """Of codes: uint16 while there are not too many classes, else int64."""
        return np.dtype(np.uint16 if len(self.classes) <= 1 << 16 else np.int64)

    @cached_property
    def counts(self) -> np.ndarray:
        """Points of each class, (K,) int64."""
        counts: np.ndarray = self.part_counts.sum(axis=0)
        return counts

    @cached_property
    def first_rows(self) -> np.ndarray:
        """The first row of each part, (parts + 1,) int64."""
        return np.concatenate([[0], np.cumsum(self.part_counts.sum(axis=1))])

    @cached_property
    def first_numbers(self) -> np.ndarray:
        """The first number of each class in each part, (parts, K) int64."""
        return np.cumsum(self.part_counts, axis=0) - self.part_counts

    @cached_property
    def first_tile(self) -> np.ndarray:
        """The first tile of each class on one machine, (K + 1,) int64."""
        return np.concatenate([[0], np.cumsum(-(-self.counts // TILE))])

    @property
    def n_rows(self) -> int:
        """All rows."""
        return int(self.first_rows[-1])

    def with_some(self, rows: np.ndarray, codes: np.ndarray) -> Placing:
        """The same parts where only some ``rows``, ascending, are left, of classes ``codes``."""
        bounds = np.searchsorted(rows, self.first_rows)
        counts = [
            np.bincount(codes[start:stop], minlength=len(self.classes))
            for start, stop in pairwise(bounds.tolist())
        ]
        return replace(self, part_counts=np.array(counts))

    def parts_of(self, rows: np.ndarray) -> np.ndarray:
        """The part of each of some rows, int64."""
        return np.searchsorted(self.first_rows, rows, side="right") - 1

    def part_rows(self, part: int) -> int:
        """Rows of a part."""
        return int(self.first_rows[part + 1] - self.first_rows[part])

    def position_of(self, codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Positions in all patterns of points by class and number, int64."""
        positions: np.ndarray = TILE * self.first_tile[codes] + numbers
        return positions

    def points_at(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The reverse: classes and numbers, int64."""
        codes = np.searchsorted(self.first_tile, positions // TILE, side="right") - 1
        return codes, positions - TILE * self.first_tile[codes]


class Numbering:
    """From numbers within classes, and rows, of all points to those of some parts, and back.

    Parameters
    ----------
    placing : Placing
    parts : sequence of int
        Numbers of the parts, ascending; their points stand one part after the other.
    """

    def __init__(self, placing: Placing, parts: Sequence[int]) -> None:
        chosen = np.array(parts, np.int64)
        counts = placing.part_counts[chosen]
        self._of_class = [
            _Pieces(placing.first_numbers[chosen, code], counts[:, code])
            for code in range(len(placing.counts))
        ]
        self._rows = _Pieces(placing.first_rows[chosen], counts.sum(axis=1))

    def places_of(self, code: int, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of some points of a class, by number, are here, and their numbers here."""
        return self._of_class[code].here(numbers)

    def numbers_of(self, codes: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Numbers of points within their classes, by their numbers here; int64."""
        numbers = np.empty(len(places), np.int64)
        for code in np.unique(codes):
            some = codes == code
            numbers[some] = self._of_class[code].there(places[some])
        return numbers

    def local_rows(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of some rows are here, and their rows here."""
        return self._rows.here(rows)

    def global_rows(self, rows: np.ndarray) -> np.ndarray:
        """Rows among all, by rows here; int64."""
        return self._rows.there(rows)


class _Pieces:
    """Ranges of numbers: firsts[i]..firsts[i] + sizes[i] - 1, ascending, stand side by side."""

    def __init__(self, firsts: np.ndarray, sizes: np.ndarray) -> None:
        some = sizes > 0
        self._firsts, self._sizes = firsts[some], sizes[some]
        self._starts = np.cumsum(self._sizes) - self._sizes

    def here(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of some numbers lie in a range, and where they stand; int64 each."""
        if not len(self._firsts):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        piece = np.searchsorted(self._firsts, numbers, side="right") - 1
        beyond = numbers - self._firsts[piece]
        which = np.flatnonzero((piece >= 0) & (beyond < self._sizes[piece]))
        return which, (self._starts[piece] + beyond)[which].astype(np.int64)

    def there(self, places: np.ndarray) -> np.ndarray:
        """The numbers that stand at some places, int64."""
        if not len(places):
            return np.empty(0, np.int64)
        piece = np.searchsorted(self._starts, places, side="right") - 1
        numbers: np.ndarray = self._firsts[piece] + (places - self._starts[piece])
        return numbers.astype(np.int64)
