"""What a fit with decision="vote" asks of points that are on shards."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmem.distributed.fleet import Fleet, in_order
from fastmem.distributed.numbering import Placing
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.machine.threads import ranges
from fastmem.readout import ReadOut
from fastmem.readout.costs import GRAM_BYTES
from fastmem.second_layer.cover_layer import CoverLayer
from fastmem.vote.elsewhere import Misread
from fastmem.vote.sums import NormalSums, Recipe, joined


class RemoteVotes:
    """See ``vote.elsewhere``."""

    def __init__(self, fleet: Fleet, placing: Placing) -> None:
        self._fleet, self.counts = fleet, placing.counts

    def sums(self, rows: np.ndarray | None, recipe: Recipe) -> RemoteSums:
        """Sums over the features of some rows, or of all."""
        return RemoteSums(self._fleet, rows, recipe)

    def misread(self, readout: ReadOut) -> Misread:
        """See ``vote.elsewhere``."""
        found = self._fleet.ask(("votes", "misread", readout))[0]
        some = Misread(*(np.concatenate(part) for part in zip(*found, strict=True)))
        order = np.argsort(some.rows)
        return Misread(*(part[order] for part in some))

    def numbers(self, rows: np.ndarray) -> np.ndarray:
        """See ``vote.elsewhere``."""
        return in_order(self._fleet.ask(("votes", "numbers", rows))[0])[1]

    def pairs_on(
        self, some: Misread, first: Hyperplanes, second: CoverLayer
    ) -> tuple[np.ndarray, np.ndarray]:
        """See ``vote.elsewhere``."""
        found = self._fleet.ask(("votes", "pairs_on", some.rows, some.codes, first, second))[0]
        neurons, places = (np.concatenate(part) for part in zip(*found, strict=True))
        return neurons, places


class RemoteSums:
    """`FeatureSums` of points on shards."""

    def __init__(self, fleet: Fleet, rows: np.ndarray | None, recipe: Recipe) -> None:
        self._fleet, self._recipe = fleet, recipe
        self._rows = None if rows is None else np.sort(rows)
        self.n_waves = recipe.n

    def add_gram(self, products: np.ndarray) -> None:
        """See `FeatureSums`."""
        n_rows, n = products.shape
        at_once = max(1, GRAM_BYTES // (8 * n * self._fleet.n_shards))
        for start, stop in ranges(n_rows, at_once):
            for some in self._ask("gram", n_rows - n - 1, start, stop):
                products[start:stop] += some

    def by_class(self, n_classes: int) -> np.ndarray:
        """See `FeatureSums`."""
        total: np.ndarray = np.sum(self._ask("by_class", n_classes), axis=0)
        return total

    def normal(self, weights: np.ndarray, shift: np.ndarray, scale: np.ndarray) -> NormalSums:
        """See `FeatureSums`."""
        return joined(self._ask("normal", weights, shift, scale))

    def _ask(self, name: str, *arguments: Any) -> list[Any]:
        return self._fleet.ask(("votes", name, self._rows, self._recipe, *arguments))[0]
