"""Points that are on shards: rows are fetched, and all of them measured there."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np

from fastmem.distributed.fleet import Fleet, in_order
from fastmem.distributed.numbering import Placing
from fastmem.distributed.remote_codes import RemoteCodes
from fastmem.distributed.remote_votes import RemoteVotes
from fastmem.fit_memory import Room
from fastmem.inputs import Points, SparseRows
from fastmem.inputs.equal_rows import repeated
from fastmem.inputs.points import BLOCK_BYTES, NarrowPoints, PointsOfPoints, are_copied
from fastmem.inputs.scaled_points import Inexact
from fastmem.machine.arrays import frozen

_HASHES = 1 << 22
"""Hashes that are at the driver at a time."""


class RemotePoints(Points):
    """Points on shards, of which single rows are fetched.

    Parameters
    ----------
    fleet : Fleet
    placing : Placing
    """

    __slots__ = ("_fleet", "_is_one_array", "_measures", "_row_values", "is_sparse")
    array = None

    def __init__(self, fleet: Fleet, placing: Placing) -> None:
        self._fleet = fleet
        self.n_samples, self.n_features = placing.n_rows, placing.n_features
        self.dtype = np.dtype(placing.dtype)
        self.feature_names, self._is_one_array = placing.names, placing.is_one_array
        self.is_sparse, self._row_values = placing.is_sparse, placing.row_values
        row_bytes = 16 * self.row_values if self.is_sparse else 8 * self.n_features
        self.max_block_rows = max(1, BLOCK_BYTES // row_bytes)
        self._measures = _RemoteMeasures(fleet, placing)

    @property
    def elsewhere(self) -> _RemoteMeasures:
        """What measures the points on the shards."""
        return self._measures

    @property
    def placing(self) -> Placing:
        """Which points are where, by the labels that they have now."""
        return self._measures.placing

    @property
    def is_one_array(self) -> bool:
        """Whether the points would be in one array on one machine, by what the parts are."""
        return self._is_one_array

    @property
    def row_values(self) -> int:
        """Return values of a row as in `Points`."""
        return self._row_values

    def block(self, start: int, stop: int) -> Any:
        """Return rows as in `Points`, fetched."""
        return self.take(np.arange(start, min(stop, self.n_samples)))

    def take(self, indices: np.ndarray) -> Any:
        """Return rows as in `Points`, fetched in one round."""
        rows = np.asarray(indices, np.int64)
        pieces = self._fleet.ask(("take", rows))[0]
        if self.is_sparse:
            return _sparse_in_order(pieces, self.n_features)
        return frozen(np.ascontiguousarray(in_order(pieces)[1], self.dtype))

    def at_hand(self, indices: np.ndarray) -> Points:
        """Return points of which the rows at ``indices`` are here."""
        return _Fetched(self, np.unique(indices))


class _Fetched(PointsOfPoints):
    """Some rows of points that were fetched; they go by their rows there."""

    __slots__ = ("_places",)

    def __init__(self, points: Points, rows: np.ndarray) -> None:
        block = points.take(rows)
        if isinstance(block, SparseRows):
            from scipy import sparse

            parts = block.values, block.columns, block.starts
            matrix = sparse.csr_matrix(parts, shape=(len(block), block.n_features), copy=False)
            some: Points = NarrowPoints(matrix, points.dtype, has_duplicates=False)
        else:
            some = Points(block)
        super().__init__(some, points.n_samples, points.dtype)
        self._places = rows

    def take(self, indices: np.ndarray) -> Any:
        """Return those at ``indices``, which are among the rows."""
        return self._points.take(np.searchsorted(self._places, indices))


def _sparse_in_order(pieces: list[tuple[np.ndarray, SparseRows]], n_features: int) -> SparseRows:
    """Join what shards have of some rows."""
    counts = np.concatenate([np.diff(rows.starts) for _, rows in pieces])
    order = np.argsort(np.concatenate([which for which, _ in pieces]), kind="stable")
    ends = np.cumsum(counts[order])
    starts = np.concatenate([[0], ends])
    before = (np.cumsum(counts) - counts)[order]
    chosen = np.arange(starts[-1]) + np.repeat(before - starts[:-1], counts[order])
    values = np.concatenate([rows.values for _, rows in pieces])[chosen]
    columns = np.concatenate([rows.columns for _, rows in pieces])[chosen]
    return SparseRows(frozen(values), frozen(columns), frozen(starts), n_features)


class _RemoteMeasures:
    """See ``inputs.measures``."""

    def __init__(self, fleet: Fleet, placing: Placing) -> None:
        self._fleet, self.placing = fleet, placing
        self.n_samples = placing.n_rows

    @property
    def votes(self) -> RemoteVotes:
        """What a fit with decision="vote" asks."""
        return RemoteVotes(self._fleet, self.placing)

    def extremes(self) -> tuple[np.ndarray, np.ndarray]:
        """See ``inputs.measures``."""
        found = [pair for pair in self._fleet.ask(("extremes",))[0] if pair is not None]
        lows, highs = zip(*found, strict=True)
        return np.min(lows, axis=0), np.max(highs, axis=0)

    def sums(self, middle: np.ndarray, digits: np.ndarray) -> np.ndarray:
        """See ``inputs.measures``."""
        total: np.ndarray = np.sum(self._fleet.ask(("sums", middle, digits))[0], axis=0)
        return total

    def largest_squares(self, mean: np.ndarray, scale: float) -> tuple[float, float]:
        """See ``inputs.measures``."""
        norms, radii = zip(*self._fleet.ask(("largest_squares", mean, scale))[0], strict=True)
        return max(norms), max(radii)

    def n_rounds(self) -> int:
        """See ``inputs.measures``."""
        return self._fleet.n_rounds

    def rooms(self) -> list[Room]:
        """See ``inputs.measures``."""
        found = self._fleet.ask(("room",))[0]
        return [room._replace(shard=i) for i, room in enumerate(found)]

    def equal_hashes(self, like: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, int]:
        """See ``inputs.measures``: looked for by ranges of hashes, so that few are here at once."""
        if like is not None:
            rows = np.asarray(like, np.int64)
            wanted = np.unique(np.concatenate(self._fleet.ask(("hashes_of", rows))[0]))
        else:
            n_ranges = -(-self.n_samples // _HASHES)
            bounds = [2**64 * i // n_ranges for i in range(n_ranges + 1)]
            found = []
            for low, stop in itertools.pairwise(bounds):
                pieces = self._fleet.ask(("hashes", low, stop - 1))[0]
                found.append(repeated(np.sort(np.concatenate(pieces))))
            wanted = np.concatenate(found)
        rows, group = in_order(self._fleet.ask(("with_hashes", wanted))[0])
        return rows, group, len(wanted)

    def digests(self, rows: np.ndarray) -> np.ndarray:
        """See ``inputs.measures``."""
        return in_order(self._fleet.ask(("digests", rows))[0])[1]

    def relabel(self, rows: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, RemoteCodes]:
        """See ``inputs.measures``."""
        placing, before = self.placing, RemoteCodes(self._fleet, self.placing)[rows]
        counts, parts = placing.part_counts.copy(), placing.parts_of(rows)
        np.add.at(counts, (parts, codes), 1)
        np.subtract.at(counts, (parts, before), 1)
        occurs = counts.any(axis=0)
        kept = np.flatnonzero(occurs)
        new = (np.cumsum(occurs) - 1).astype(codes.dtype)  # of a class that is lost no row is left
        self.placing = replace(
            placing,
            classes=placing.classes[kept],
            part_counts=np.ascontiguousarray(counts[:, kept]),
        )
        self._fleet.tell("relabel", self.placing, rows, new[codes], new)
        return kept, RemoteCodes(self._fleet, self.placing)

    def once(self, rows: np.ndarray) -> tuple[RemotePoints, RemoteCodes]:
        """See ``inputs.measures``."""
        placing, n_given = self.placing, self.n_samples
        is_one_array = are_copied(RemotePoints(self._fleet, placing), len(rows))
        placing = placing.with_some(rows, RemoteCodes(self._fleet, placing)[rows])
        placing = replace(placing, is_one_array=is_one_array, n_given=n_given)
        is_left = np.zeros(n_given, np.bool_)
        is_left[rows] = True
        self._fleet.tell("keep", placing, np.packbits(is_left))
        return RemotePoints(self._fleet, placing), RemoteCodes(self._fleet, placing)

    def ranges(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See ``inputs.measures``."""
        lows, highs, least = zip(*self._fleet.ask(("ranges",))[0], strict=True)
        return np.min(lows, axis=0), np.max(highs, axis=0), np.min(least, axis=0)

    def spread_sums(self, middle: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """See ``inputs.measures``."""
        total: np.ndarray = np.sum(self._fleet.ask(("spread_sums", middle, shift))[0], axis=0)
        return total

    def magnitudes(self) -> tuple[float, float]:
        """See ``inputs.measures``."""
        found = [pair for pair in self._fleet.ask(("magnitudes",))[0] if pair is not None]
        if not found:
            return 1.0, 1.0
        smallest, largest = zip(*found, strict=True)
        return min(smallest), max(largest)

    def first_inexact(self, scale: np.ndarray, too_large: bool) -> Inexact | None:
        """See ``inputs.measures``."""
        found = self._fleet.ask(("first_inexact", scale, too_large))[0]
        return min((one for one in found if one is not None), default=None)

    def times(self, scale: np.ndarray, dtype: np.dtype) -> RemotePoints:
        """See ``inputs.measures``."""
        self._fleet.tell("scale", scale, dtype.name)
        return RemotePoints(self._fleet, replace(self.placing, dtype=dtype.name))
