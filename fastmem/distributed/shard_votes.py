"""What a shard does for a fit with decision="vote"."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmem.distributed.numbering import Numbering
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.readout import ReadOut
from fastmem.second_layer.cover_layer import CoverLayer
from fastmem.vote.elsewhere import Misread, misread, numbers_of, pairs_on
from fastmem.vote.sums import NormalSums, Recipe, SumsHere


class ShardVotes:
    """What a shard answers: of its points, as they are now.

    Parameters
    ----------
    points : Points
    codes : ndarray of shape (N,), integer
    numbering : Numbering
    n_threads : int
    """

    def __init__(
        self, points: Points, codes: np.ndarray, numbering: Numbering, n_threads: int
    ) -> None:
        self._points, self._codes, self._numbering = points, codes, numbering
        self._n_threads = n_threads
        self._last: tuple[Any, SumsHere] | None = None
        self._products: np.ndarray | None = None

    def gram(
        self, rows: np.ndarray | None, recipe: Recipe, n_classes: int, start: int, stop: int
    ) -> np.ndarray:
        """Some rows of the products of all features, float64; see ``vote.gram.add_gram``.

        All (n + K + 1, n) are kept until the last of them was asked for.
        """
        sums, products = self._sums(rows, recipe), self._products
        if products is None:
            products = np.zeros((recipe.n + n_classes + 1, recipe.n))
            sums.add_gram(products)
        self._products = products if stop < len(products) else None
        return products[start:stop]

    def by_class(self, rows: np.ndarray | None, recipe: Recipe, n_classes: int) -> np.ndarray:
        """See `FeatureSums`."""
        return self._sums(rows, recipe).by_class(n_classes)

    def normal(self, rows: np.ndarray | None, recipe: Recipe, *arguments: np.ndarray) -> NormalSums:
        """See `FeatureSums`."""
        return self._sums(rows, recipe).normal(*arguments)

    def misread(self, readout: ReadOut) -> Misread:
        """See ``vote.elsewhere``."""
        found = misread(self._points, self._codes, readout, self._n_threads)
        return found._replace(rows=self._numbering.global_rows(found.rows))

    def numbers(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of some rows, by place among them, are here, and their numbers in their classes."""
        which, places = self._numbering.local_rows(rows)
        codes = self._codes[places]
        return which, self._numbering.numbers_of(codes, numbers_of(self._codes, places))

    def pairs_on(
        self, rows: np.ndarray, codes: np.ndarray, first: Hyperplanes, second: CoverLayer
    ) -> tuple[np.ndarray, np.ndarray]:
        """See ``vote.elsewhere``: of those rows that are here."""
        which, places = self._numbering.local_rows(rows)
        some = Misread(places, codes[which], which)
        neurons, found = pairs_on(self._points, some, first, second, self._n_threads)
        return neurons, which[found]

    def _sums(self, rows: np.ndarray | None, recipe: Recipe) -> SumsHere:
        """Sums over what features are here; those of the last recipe may be kept."""
        some = None if rows is None else self._numbering.local_rows(rows)[1]
        asked = some, recipe
        if self._last is None or not _are_equal(self._last[0], asked):
            self._last = self._products = None
            codes = self._codes if some is None else self._codes[some]
            sums = SumsHere(self._points, codes, some, recipe, self._n_threads)
            self._last = asked, sums
        return self._last[1]


def _are_equal(one: Any, other: Any) -> bool:
    """Whether two lists of arrays and numbers are, one in another, the same."""
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_are_equal, one, other))
    return np.array_equal(one, other)
