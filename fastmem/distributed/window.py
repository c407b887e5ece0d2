"""The next open points of a class along its random order, at the driver."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.layout import TILE
from fastmem.patterns.words import tiles_of
from fastmem.second_layer.counting import TiledPoints, sizes_of
from fastmem.second_layer.random_order import RandomOrder

_LEAST, _MOST = 256, 1 << 16
"""Points that are asked for at a time."""
_MOST_WALKED = 4096
"""Where more are ahead, and few of them open, shards are asked which: else all numbers of a class
are sent to every shard, to see that none is open any more."""
_SPARSE, _MOST_NARROW = 16, 1 << 20
"""One in so many, and so many at all."""


class Window:
    """Some points of a class, the open ones of which are the next along the random order.

    Parameters
    ----------
    size : int
        Points of the class.
    generator : numpy.random.Generator
    members : ndarray of int32, or None
        Those that are to be covered, by number; None for all.
    n_words : int

    Attributes
    ----------
    members : ndarray of int32, or None
    n_members : int
        How many they are.
    n_open : int
        Points that are here and not known to be covered or failed.
    """

    def __init__(
        self, size: int, generator: np.random.Generator, members: np.ndarray | None, n_words: int
    ) -> None:
        self._order = RandomOrder(size, generator)
        self.members, self.n_members = members, size if members is None else len(members)
        # what is gone through in place of the order, once it is known to hold all that is open
        self._few = None if members is None else self._order.put_in_order(members)
        self._walked, self._size = 0, self.n_members
        self._numbers = np.empty(0, np.int64)
        self._patterns = np.empty((0, n_words), np.uint64)
        self._set_up(np.empty(0, np.int64))

    def _set_up(self, kept: np.ndarray) -> None:
        """Keep the points at some places only, all of them open."""
        self._numbers, self._patterns = self._numbers[kept], self._patterns[kept]
        self._points = TiledPoints(tiles_of(self._patterns), sizes_of(len(kept)))
        self._uncovered = np.zeros((len(self._points.tiles), TILE), np.bool_)
        self._flat = self._uncovered.reshape(-1)
        self._flat[: len(kept)] = True
        self._by_number = np.argsort(self._numbers)
        self.n_open = len(kept)

    def lacks(self, count: int) -> bool:
        """Whether fewer are open, and there may be more."""
        return self.n_open < count and self._walked < self._size

    def is_long(self, n_open: int) -> bool:
        """Whether far more points are ahead than the ``n_open`` at most that are open."""
        ahead = self._size - self._walked
        return ahead > _MOST_WALKED and n_open < min(_MOST_NARROW, ahead // _SPARSE)

    def narrow(self, numbers: np.ndarray) -> None:
        """Go through ``numbers`` only: no other point of the class is open."""
        if self._few is None:
            self._few = self._order.put_in_order(numbers.astype(np.int32), self._walked)
        else:
            ahead = self._few[self._walked :]
            self._few = ahead[np.isin(ahead, numbers)]
        self._walked, self._size = 0, len(self._few)

    def stretch(self, count: int, remaining: int) -> np.ndarray:
        """The numbers that follow along the order, so many that ``count`` may be open then.

        ``remaining`` of the class are, or somewhat fewer.
        """
        ahead = self._size - self._walked
        share = max(remaining - self.n_open, 1) / ahead
        size = int(min(1.1 * (count - self.n_open) / share, _MOST))
        start = self._walked
        self._walked = stop = min(start + max(size, _LEAST), self._size)
        some = self._order.stretch(start, stop) if self._few is None else self._few[start:stop]
        return some.astype(np.int64)

    def take_in(self, numbers: np.ndarray, patterns: np.ndarray) -> None:
        """Take in what is open of a stretch, in its order."""
        kept = np.flatnonzero(self._flat)
        self._numbers = np.concatenate([self._numbers[kept], numbers])
        self._patterns = np.concatenate([self._patterns[kept], patterns])
        self._set_up(np.arange(len(self._numbers)))

    def next_open(self, count: int) -> np.ndarray:
        """The first open points, by number; int64."""
        return self._numbers[np.flatnonzero(self._flat)[:count]]

    def is_open(self, numbers: np.ndarray) -> np.ndarray:
        """Whether points are here and open; bool."""
        places, is_here = self._places(numbers)
        return is_here & self._flat[places] if len(self._numbers) else is_here

    def patterns(self, numbers: np.ndarray) -> np.ndarray:
        """Patterns of points that are here, one row each."""
        return self._patterns[self._places(numbers)[0]]

    def gathered(self, numbers: np.ndarray) -> TiledPoints:
        """Copies of points that are here."""
        tiles = tiles_of(self.patterns(numbers))
        return TiledPoints(tiles, sizes_of(len(numbers)))

    def take_covered(self, masks: np.ndarray, levels: np.ndarray, n_threads: int) -> None:
        """Close what neurons cover."""
        if self.n_open:
            self._points.take_covered(masks, levels, self._uncovered, n_threads)
            self.n_open = int(np.count_nonzero(self._flat))

    def close(self, numbers: np.ndarray) -> None:
        """Close points that are here."""
        self._flat[self._places(numbers)[0]] = False
        self.n_open = int(np.count_nonzero(self._flat))

    def _places(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where points are here, and whether they are."""
        if not len(self._numbers):
            return np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.bool_)
        at = np.searchsorted(self._numbers, numbers, sorter=self._by_number)
        places = self._by_number[np.minimum(at, len(self._numbers) - 1)]
        return places, self._numbers[places] == numbers
