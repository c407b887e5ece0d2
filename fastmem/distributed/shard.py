"""Where the points are: some parts of a data set, and what is computed of them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fastmem.distributed.leaves import Leaves
from fastmem.distributed.numbering import Numbering, Placing
from fastmem.distributed.parts import Part, PartFacts, facts_of, joined
from fastmem.distributed.region import Layout, Region, region_of
from fastmem.distributed.shard_tables import Met, ShardTables
from fastmem.distributed.shard_votes import ShardVotes
from fastmem.encoding import Encoding
from fastmem.fit_memory import Room
from fastmem.hyperplanes.extent import PointMeasures
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.inputs.equal_rows import occurrences, row_digests, row_hashes
from fastmem.inputs.points import some_points
from fastmem.inputs.scaled_points import Inexact, ScaledPoints, first_inexact
from fastmem.inputs.spread import ranges_of, spread_sums
from fastmem.kernels.layout import TILE
from fastmem.machine.memory import available
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.spatial_order import LeafTree
from fastmem.patterns.words import rows_of
from fastmem.second_layer.bounded_points import all_points, class_points
from fastmem.second_layer.counting import TiledPoints, least_over

Command = tuple[Any, ...]
"""The name of one of a shard's methods, and its arguments."""
NEVER = np.int64(2**62)
"""A count where there is no point."""
_MOST_NEAREST = 64
"""Points of a shard that become near to a new cell, at most."""


class StaleShard(Exception):
    """A shard is not in the state that the driver takes it to be in."""


class Nearest(NamedTuple):
    """What a shard has counted of a mask by ranges of points.

    Attributes
    ----------
    least : int
    counts, positions : ndarrays of shape (k,), int64
        Points that are worth knowing, by their positions in all patterns.
    patterns : ndarray of shape (k, n_words), uint64
    """

    least: int
    counts: np.ndarray
    positions: np.ndarray
    patterns: np.ndarray


class _Open(NamedTuple):
    """Points of a class that are being covered: uncovered (n_tiles, TILE) bool."""

    code: int
    points: Any
    uncovered: np.ndarray


class Shard:
    """Some parts of a data set on one machine.

    Parameters
    ----------
    parts : sequence of Part
        In any order; none, or some without rows, where there is nothing for this machine.
    n_threads : int
    memory_limit : int, optional
        Bytes that this process may have in memory, where more than the machine says.
    name : str
        Of the worker, for messages.
    """

    _changes: ClassVar = frozenset({
        "encode", "place", "relabel", "keep", "scale", "fill", "open_class", "cover", "be_at",
    })  # fmt: skip
    _asks: ClassVar = frozenset({
        "tables", "facts", "room", "codes", "codes_at", "extremes", "sums", "largest_squares",
        "ranges", "spread_sums", "magnitudes", "first_inexact", "take", "hashes_of", "hashes",
        "with_hashes", "digests", "rows", "peek", "left", "least", "nearest", "patterns_at",
        "votes", "leaf_counts", "leaf_points", "begin_region", "in_region",
    })  # fmt: skip
    points: Points
    patterns: Patterns

    def __init__(
        self,
        parts: Sequence[Part],
        n_threads: int = 1,
        memory_limit: int | None = None,
        name: str = "",
    ) -> None:
        self._given = self._parts = sorted(parts, key=lambda part: part.number)
        self._n_threads = n_threads
        self._memory_limit, self._name = memory_limit, name
        self._seq = 0
        self._open: dict[int, _Open] = {}
        self._hashes: np.ndarray | None = None
        self._votes: ShardVotes | None = None
        self._leaves: Leaves | None = None
        self._region: Region | None = None

    def run(self, seq: int, commands: Sequence[Command]) -> list[Any]:
        """Run commands in order, if the shard is at the number ``seq``; returns their results.

        Every command that changes the state takes the number on by one.

        Raises
        ------
        StaleShard
            If it is at another number. Then nothing was done.
        """
        if seq != self._seq:
            raise StaleShard(f"the shard is at {self._seq}, not at {seq}")
        replies = []
        for name, *arguments in commands:
            if name not in self._changes and name not in self._asks:
                raise ValueError(f"{name} is no command of a shard")
            if name in self._changes:
                self._seq += 1
                self._votes = None  # which knows the points as they were
            method: Callable[..., Any] = getattr(self, name)
            replies.append(method(*arguments))
        return replies

    def tell(self, name: str, *arguments: Any) -> Any:
        """Answer to another shard, also while a command runs: what never changes once it is here.

        None where it is not, as this shard was lost, or is not as far; the number is not looked at.
        """
        if name != "in_region" or arguments[1] not in Region.tells:
            raise ValueError(f"{name} is no question of another shard")
        return self.in_region(*arguments)

    # What changes the state -----------------------------------------------------------------------

    def be_at(self, seq: int) -> None:
        """Take this number: all that led to it was repeated."""
        self._seq = seq

    def encode(self, schema: Any, encoding: Encoding | None) -> Met:
        """Make features of raw tables, or take points as they came."""
        met: Met = []
        self._parts = self._given
        if encoding is not None:
            self._parts, met = ShardTables(self._given).encoded(schema, encoding)
        return met

    def place(self, placing: Placing) -> None:
        """Learn which of all points these are."""
        self._placing = placing
        self.points, self._codes = joined(self._parts, placing)
        self._numbering = Numbering(placing, [part.number for part in self._parts])
        self._measures = PointMeasures(self.points, self._n_threads)

    def relabel(
        self, placing: Placing, rows: np.ndarray, codes: np.ndarray, new: np.ndarray
    ) -> None:
        """Give some rows other classes, and all others the ``new`` code of their old one."""
        which, places = self._numbering.local_rows(rows)
        changed = new[self._codes]
        changed[places] = codes[which]
        self._codes, self._placing = changed, placing
        self._numbering = Numbering(placing, [part.number for part in self._parts])

    def keep(self, placing: Placing, is_left: np.ndarray) -> None:
        """Drop rows but for those whose bits in ``is_left``, of all rows, are set."""
        rows = self._numbering.global_rows(np.arange(len(self._codes)))
        left = np.flatnonzero(is_left[rows >> 3] >> (7 - (rows & 7)).astype(np.uint8) & 1)
        self.points, self._codes = some_points(self.points, left), self._codes[left]
        self._hashes, self._placing = None, placing
        self._numbering = Numbering(placing, [part.number for part in self._parts])
        self._measures = PointMeasures(self.points, self._n_threads)

    def scale(self, scale: np.ndarray, dtype: str) -> None:
        """Multiply all points."""
        self.points, self._hashes = ScaledPoints(self.points, scale, np.dtype(dtype)), None
        self._measures = PointMeasures(self.points, self._n_threads)

    def fill(self, hyperplanes: Hyperplanes, first: int) -> int:
        """Compute the patterns' bits for all but the first hyperplanes; returns doubtful bits."""
        self._open, self._hashes, self._leaves, self._region = {}, None, None, None
        self._n_words = hyperplanes.n_words
        if not first:
            self.patterns = Patterns(self._codes, len(self._placing.counts))
        before = self.patterns.doubtful
        if len(self._codes):
            self.patterns.fill(self.points, hyperplanes, self._n_threads, first)
        return self.patterns.doubtful - before

    def open_class(self, cover: int, code: int, members: np.ndarray | None) -> None:
        """Begin a cover of a class, or of some of its points, by number."""
        points = class_points(self.patterns, code)
        uncovered = np.zeros((points.n_tiles, TILE), np.bool_)
        if members is None:
            uncovered.reshape(-1)[: self.patterns.class_size(code)] = True
        else:
            _, places = self._numbering.places_of(code, members)
            uncovered.reshape(-1)[places] = True
        self._open[cover] = _Open(code, points, uncovered)

    def cover(self, cover: int, masks: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Take covered points from those of a cover; how many each mask is first at, int64."""
        points, uncovered = self._open[cover].points, self._open[cover].uncovered
        if not points.n_tiles:
            return np.zeros(len(masks), np.int64)
        gained: np.ndarray = points.take_covered(masks, levels, uncovered, self._n_threads)
        return gained

    # Before there are patterns --------------------------------------------------------------------

    def tables(self, name: str, *arguments: Any) -> Any:
        """What `ShardTables` answers."""
        return getattr(ShardTables(self._given), name)(*arguments)

    def facts(self) -> list[PartFacts]:
        """What the driver must know of the parts."""
        return [facts_of(part) for part in self._parts]

    def room(self) -> Room:
        """What there is for a fit."""
        free, where = available(self._memory_limit)
        n_samples = self.points.n_samples
        return Room(self._name, n_samples, self._n_threads, free, where, _this_process())

    def codes(self) -> list[tuple[int, np.ndarray]]:
        """The first row of each part, and the codes of its points."""
        found, start = [], 0
        for part in self._parts:
            stop = start + self._placing.part_rows(part.number)
            first = int(self._placing.first_rows[part.number])
            found.append((first, self._codes[start:stop]))
            start = stop
        return found

    def codes_at(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of some rows, by place among them, are here, and their codes."""
        which, places = self._numbering.local_rows(rows)
        return which, self._codes[places]

    def extremes(self) -> tuple[np.ndarray, np.ndarray] | None:
        """See ``inputs.measures``; None where there is no point."""
        return self._measures.extremes() if self.points.n_samples else None

    def sums(self, middle: np.ndarray, digits: np.ndarray) -> np.ndarray:
        """See ``inputs.measures``."""
        return self._measures.sums(middle, digits)

    def largest_squares(self, mean: np.ndarray, scale: float) -> tuple[float, float]:
        """See ``inputs.measures``."""
        return self._measures.largest_squares(mean, scale)

    def ranges(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See ``inputs.measures``."""
        found = ranges_of(self.points)
        return found.low, found.high, found.least

    def spread_sums(self, middle: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """See ``inputs.measures``."""
        return spread_sums(self.points, middle, shift)

    def magnitudes(self) -> tuple[float, float] | None:
        """See ``inputs.measures``; None where all coordinates are 0."""
        found = ranges_of(self.points)
        largest = max(np.abs(found.low).max(), np.abs(found.high).max())
        is_zero = not self.points.n_samples or not largest
        return None if is_zero else (float(found.least.min()), float(largest))

    def first_inexact(self, scale: np.ndarray, too_large: bool) -> Inexact | None:
        """See ``inputs.measures``."""
        found = first_inexact(self.points, scale, too_large)
        if found is None:
            return None
        return found._replace(row=int(self._numbering.global_rows(np.array([found.row]))[0]))

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, Any]:
        """Which of some rows, by place among them, are here, and their points."""
        which, places = self._numbering.local_rows(rows)
        return which, self.points.take(places)

    def hashes_of(self, rows: np.ndarray) -> np.ndarray:
        """Hashes of those of some rows that are here."""
        _, places = self._numbering.local_rows(rows)
        return self._all_hashes()[places]

    def hashes(self, low: int, high: int) -> np.ndarray:
        """All hashes from ``low`` to ``high``, which counts, ascending uint64."""
        found = self._all_hashes()
        found = found[(found >= np.uint64(low)) & (found <= np.uint64(high))]
        found.sort()
        return found

    def with_hashes(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows whose hash is among the ascending ``wanted``, and its place there."""
        places, which = _occurrences(self._all_hashes(), wanted)
        return self._numbering.global_rows(places), which

    def votes(self, name: str, *arguments: Any) -> Any:
        """What `ShardVotes` answers."""
        if self._votes is None:
            of_points = self.points, self._codes, self._numbering, self._n_threads
            self._votes = ShardVotes(*of_points)
        return getattr(self._votes, name)(*arguments)

    def digests(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of some rows, by place among them, are here, and their digests."""
        which, places = self._numbering.local_rows(rows)
        return which, row_digests(self.points, places)

    def _all_hashes(self) -> np.ndarray:
        """Hashes of all rows; kept until there are patterns, as ranges of them are asked for."""
        if self._hashes is None:
            self._hashes = row_hashes(self.points, self._n_threads)
        return self._hashes

    # With patterns --------------------------------------------------------------------------------

    def rows(self, codes: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of some points, by class and number, are here, and their rows."""
        found, rows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for code in np.unique(codes):
            here = np.flatnonzero(codes == code)
            which, places = self._numbering.places_of(int(code), numbers[here])
            found.append(here[which])
            rows.append(self._numbering.global_rows(self.patterns.rows(int(code), places)))
        return np.concatenate(found), np.concatenate(rows)

    def peek(self, cover: int, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of some points of a cover's class are here and uncovered, and their patterns."""
        code, points, uncovered = self._open[cover]
        which, places = self._numbering.places_of(code, numbers)
        is_open = uncovered.reshape(-1)[places]
        return which[is_open], self._patterns_of(points, places[is_open])

    def left(self, cover: int) -> np.ndarray:
        """Numbers of the points that are here and uncovered, int64."""
        code, _, uncovered = self._open[cover]
        places = np.flatnonzero(uncovered)
        return self._numbering.numbers_of(np.full(len(places), code), places)

    def least(self, masks: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Least counts of masks of classes over all others, and positions of the first points."""
        least, nearest = self._least(masks, codes, False)
        is_there = least < NEVER
        nearest[is_there] = self._positions(nearest[is_there])
        return least, nearest

    def nearest(
        self, masks: np.ndarray, codes: np.ndarray, levels: np.ndarray | None
    ) -> list[Nearest]:
        """The same, of each mask, with points that are near by ranges: all below its level."""
        if not len(self.patterns.sizes):
            nothing, none = np.empty(0, np.int64), np.empty((0, masks.shape[1]), np.uint64)
            return [Nearest(int(NEVER), nothing, nothing, none)] * len(masks)
        least, nearest = self._least(masks, codes, True)
        found = []
        for i in range(len(masks)):
            wanted = nearest[:, i] >= 0
            if levels is not None:
                wanted &= least[:, i] < levels[i]
            chosen = np.flatnonzero(wanted)
            if levels is None and len(chosen) > _MOST_NEAREST:
                chosen = chosen[np.argsort(least[chosen, i], kind="stable")[:_MOST_NEAREST]]
            places = nearest[chosen, i]
            found.append(Nearest(
                int(least[:, i].min()), least[chosen, i], self._positions(places),
                self._patterns_of(all_points(self.patterns), places),
            ))  # fmt: skip
        return found

    def patterns_at(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of some positions in all patterns are here, and their patterns."""
        codes, numbers = self._placing.points_at(positions)
        found, places = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for code in np.unique(codes):
            here = np.flatnonzero(codes == code)
            which, some = self._numbering.places_of(int(code), numbers[here])
            found.append(here[which])
            places.append(some + TILE * int(self.patterns.first_tile[code]))
        points = all_points(self.patterns)
        return np.concatenate(found), self._patterns_of(points, np.concatenate(places))

    # In regions of space, where neighbours have come together -------------------------------------

    def leaf_counts(self, tree: LeafTree) -> tuple[np.ndarray, np.ndarray]:
        """Points in each leaf of each class; see `Leaves`."""
        self._leaves = None  # there may be those of another tree
        return self._in_leaves(tree).counts()

    def leaf_points(
        self, tree: LeafTree, low: int, high: int, with_points: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        """Of points in some leaves: runs, numbers, patterns, and the points; see `Settlers`."""
        leaves = self._in_leaves(tree)
        runs, rows, numbers = leaves.between(low, high)
        patterns = self._patterns_of(all_points(self.patterns), leaves.positions(rows))
        return runs, numbers, patterns, self.points.take(rows) if with_points else None

    def begin_region(self, layout: Layout) -> None:
        """Make room for a region, of which nothing is here."""
        self._region = Region(layout, self._n_threads)

    def in_region(self, key: int, name: str, *arguments: Any) -> Any:
        """What a region says; None where there is none, or another, or where it lacks something."""
        return region_of(self._region, key, name, arguments)

    def _in_leaves(self, tree: LeafTree) -> Leaves:
        if self._leaves is None:
            self._leaves = Leaves(
                self.points, self._codes, self.patterns, self._numbering, tree, self._n_threads
            )
        return self._leaves

    def _least(
        self, masks: np.ndarray, codes: np.ndarray, by_range: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        patterns = self.patterns
        if not len(patterns.sizes):
            return np.full(len(masks), NEVER), np.full(len(masks), -1)
        skip = np.stack([patterns.first_tile[codes], patterns.first_tile[codes + 1]], axis=1)
        points = all_points(patterns)
        assert isinstance(points, TiledPoints)
        return least_over(points, masks, skip.astype(np.int64), self._n_threads, by_range)

    def _positions(self, places: np.ndarray) -> np.ndarray:
        """Positions in all patterns of points at positions in those that are here."""
        codes = self.patterns.codes_at(places)
        numbers = places - TILE * self.patterns.first_tile[codes]
        return self._placing.position_of(codes, self._numbering.numbers_of(codes, numbers))

    def _patterns_of(self, points: Any, places: np.ndarray) -> np.ndarray:
        """Patterns of points, one row each, (len(places), n_words) uint64."""
        if not len(places):
            return np.empty((0, self._n_words), np.uint64)
        tiles = points.gathered(places.astype(np.int64)).tiles
        return np.ascontiguousarray(rows_of(tiles, len(places)))


def _this_process() -> str:
    """A name that no other process has, whatever machine it is on."""
    return f"{_token()} {os.getpid()}"


@cache
def _token() -> str:
    return secrets.token_hex(16)


def _occurrences(hashes: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See `occurrences`; nothing where there is no hash, or none is wanted."""
    if not len(hashes) or not len(wanted):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return occurrences(hashes, wanted)
