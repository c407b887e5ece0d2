"""A region of space on a shard: the points that lie there, and cells that grow among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fastmem.fit_memory import COPIES_BYTES, FETCHED_BYTES
from fastmem.kernels.bounds import BLOCK, FAN, BoundTree, bound_nodes
from fastmem.kernels.layout import TILE
from fastmem.kernels.near_cells import Ground, Manner, close_points, covered_by, grow_near
from fastmem.machine.arrays import aligned_zeros, forget, frozen, reserved_zeros
from fastmem.machine.loops import run_calls, run_loop
from fastmem.patterns.bound_tree import bound_tree, marked_below, n_groups, tree_shape
from fastmem.patterns.spatial_order import in_neighbourhoods
from fastmem.patterns.words import valid_bits
from fastmem.second_layer.near_cells import new_cells

_MOST_MISSING = 64
"""Blocks that a cell asks for at a time."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Where all points of a fit are in a spatial order, class by class.

    Attributes
    ----------
    key : int
        Names the order, and its division into regions.
    sizes : ndarray of shape (K,), int64
        Points of each class.
    first_tile : ndarray of shape (K + 1,), int64
    n_hyperplanes : int
    """

    key: int
    sizes: np.ndarray
    first_tile: np.ndarray
    n_hyperplanes: int

    @property
    def n_words(self) -> int:
        """Words of a pattern."""
        return len(self.valid)

    @cached_property
    def valid(self) -> np.ndarray:
        """The ones of a full mask, (n_words,) uint64."""
        return valid_bits(self.n_hyperplanes)

    @cached_property
    def first_blocks(self) -> np.ndarray:
        """The first block of each class, (K + 1,) int64: those of few points have none."""
        n_blocks = np.where(self.sizes > FAN, -(-self.sizes // BLOCK), 0)
        return np.concatenate([[0], np.cumsum(n_blocks)])

    def codes_at(self, positions: np.ndarray) -> np.ndarray:
        """Classes of the points at some positions, int64."""
        return np.searchsorted(self.first_tile, positions // TILE, side="right") - 1

    def in_classes(self, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Classes of blocks, and their numbers there, int64."""
        codes = np.searchsorted(self.first_blocks, blocks, side="right") - 1
        return codes, blocks - self.first_blocks[codes]

    def starts_of(self, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the first points of blocks, and their classes, int64."""
        codes, numbers = self.in_classes(blocks)
        return TILE * self.first_tile[codes] + BLOCK * numbers, codes

    def points_of(self, block: int) -> np.ndarray:
        """Positions of the points of a block, int64."""
        (code,), (number,) = self.in_classes(np.array([block]))
        start = BLOCK * int(number)
        stop = min(start + BLOCK, int(self.sizes[code]))
        return TILE * int(self.first_tile[code]) + np.arange(start, stop)


class Settlers(NamedTuple):
    """Points of some leaves that come to their region.

    Attributes
    ----------
    runs, codes, places : ndarrays of shape (R,), int64
        Numbers of the runs of points of one class and leaf, ascending, by class and leaf; their
        classes; and where in the order of its class each begins.
    run_of, numbers : ndarrays of shape (P,), int64
        The run of each point, and its number within its class.
    patterns : ndarray of shape (P, n_words), uint64
    points : ndarray of shape (P, d), or None
        Where neighbours are brought together within runs too.
    """

    runs: np.ndarray
    codes: np.ndarray
    places: np.ndarray
    run_of: np.ndarray
    numbers: np.ndarray
    patterns: np.ndarray
    points: np.ndarray | None


class Blocks(NamedTuple):
    """Some blocks, int64, and the patterns of all their points, one row each."""

    blocks: np.ndarray
    patterns: np.ndarray


class Order(NamedTuple):
    """Cells to be grown.

    Attributes
    ----------
    version, n_closed : int
        The ground that they are to grow on, and points of it that the region knows to be closed.
    closed, closed_codes : ndarrays of int64
        Others that are, by position and class.
    starts, codes : ndarrays of int64
        The points that cells begin from, by position and class.
    manner : Manner
    blocks : Blocks, or None
        Some that were asked for, and that it did not fetch.
    """

    version: int
    n_closed: int
    closed: np.ndarray
    closed_codes: np.ndarray
    starts: np.ndarray
    codes: np.ndarray
    manner: Manner
    blocks: Blocks | None


class Cells(NamedTuple):
    """Cells that have grown.

    Attributes
    ----------
    which : ndarray of int64
        Which of those that were asked for; and of each of them
    masks, thresholds, witnesses, looked : ndarrays
        as of ``kernels.near_cells.Grown``.
    n_covered : ndarray of int64
        How many uncovered points each covers, and
    covered : ndarray of int64
        their positions, cell by cell.
    missing : ndarray of int64
        Some blocks that the other cells need, of `FETCHED_BYTES` at most, or one.
    """

    which: np.ndarray
    masks: np.ndarray
    thresholds: np.ndarray
    witnesses: np.ndarray
    looked: np.ndarray
    n_covered: np.ndarray
    covered: np.ndarray
    missing: np.ndarray


class Region:
    """Points of some leaves of a spatial order, and what is known of all others: a tree of bounds.

    All points have the positions that they would have on one machine. Arrays are as long as if all
    were here, but take memory only where something is. The points below a node of level 2, a block,
    are here together, since they are the region's own or were asked for, or not at all; nodes of
    level 2 and above are everywhere, and so are classes that have none. Blocks that were asked for
    stay, as cells that grow later need them too, and are forgotten once they are too many.

    It is not among the numbered states of a shard: where something is lacking, the answer is None,
    and the driver brings it.
    """

    asks: ClassVar = frozenset({
        "has_all", "n_settled", "settle", "placed", "complete", "equip", "stand", "blocks", "grow",
    })  # fmt: skip

    tells: ClassVar = frozenset({"blocks"})
    """What other shards may ask, at any time."""

    def __init__(self, layout: Layout, n_threads: int) -> None:
        self.layout, self._n_threads = layout, n_threads
        first_tile, n_words = layout.first_tile, layout.n_words
        self._block_bytes = 8 * BLOCK * n_words
        firsts, n_nodes, tops = tree_shape(TILE * first_tile[:-1], layout.sizes)
        points = reserved_zeros((int(first_tile[-1]) * TILE // FAN, n_words, FAN), np.uint64)
        ands, ors = (reserved_zeros((n_groups(n_nodes), n_words, FAN), np.uint64) for _ in range(2))
        absent = np.ones(layout.first_blocks[-1], np.bool_)
        self._tree = BoundTree(points, ands, ors, firsts, n_nodes, tops, absent)
        self._n_settled, self._is_equipped = 0, False
        self._settled = np.zeros((len(layout.sizes), 2), np.int64)  # places of each class
        self._own_blocks = np.empty(0, np.int64)
        self._version = self._n_closed = -1
        self._ground: Ground
        self._sizes: np.ndarray | None = None

    def has_all(self) -> bool:
        """Whether nothing is lacking."""
        return self._is_equipped

    def n_settled(self) -> int:
        """How many times points came, of which the driver knows then: else the region is lost."""
        return self._n_settled

    def settle(self, number: int, settlers: Settlers) -> np.ndarray | None:
        """Take in the points of the next leaves; returns their numbers, by run and in order."""
        if number != self._n_settled:
            return None
        self._n_settled += 1
        rows = np.lexsort((settlers.numbers, settlers.run_of))
        begins = np.searchsorted(settlers.run_of[rows], settlers.runs)
        ends = np.append(begins[1:], len(rows))
        if settlers.points is not None:
            in_neighbourhoods(
                frozen(settlers.points), np.append(begins, len(rows)), settlers.places, rows,
                self._n_threads,
            )  # fmt: skip
        shift = np.repeat(settlers.places - begins, ends - begins)
        positions = TILE * self.layout.first_tile[np.repeat(settlers.codes, ends - begins)]
        self._put(positions + shift + np.arange(len(rows)), settlers.patterns[rows])
        for code in np.unique(settlers.codes):
            mine = settlers.codes == code
            start = int(settlers.places[mine].min())
            size = int((ends - begins)[mine].sum())
            if self._settled[code, 0] == self._settled[code, 1]:
                self._settled[code] = start
            self._settled[code, 1] += size
        numbers: np.ndarray = settlers.numbers[rows]
        return numbers

    def placed(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of some points, by position, have settled here, and their patterns."""
        codes = self.layout.codes_at(positions)
        places = positions - TILE * self.layout.first_tile[codes]
        settled = self._settled[codes]
        which = np.flatnonzero((settled[:, 0] <= places) & (places < settled[:, 1]))
        return which, self._patterns(positions[which])

    def complete(
        self, blocks: np.ndarray, positions: np.ndarray, patterns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Make its own blocks, given their last points, which settled elsewhere.

        Returns the AND and the OR of each block's patterns, (len(blocks), n_words) uint64.
        """
        self._put(positions, patterns)
        self._own_blocks = blocks
        self._make_nodes(blocks)
        return self._nodes_above(blocks)

    def equip(
        self, ands: np.ndarray, ors: np.ndarray, positions: np.ndarray, patterns: np.ndarray
    ) -> bool:
        """Take in the nodes of level 2 and above, and points of classes that have none."""
        self._tree.ands[len(self._tree.absent) :] = ands
        self._tree.ors[len(self._tree.absent) :] = ors
        self._put(positions, patterns)
        self._is_equipped = True
        return True

    def stand(
        self,
        version: int,
        n_closed: int,
        uncovered: np.ndarray,
        sizes: np.ndarray | None,
        patterns: np.ndarray | None,
        before: int = -1,
        kept: np.ndarray | None = None,
    ) -> bool:
        """Know what is uncovered, as packed bits by position; returns whether it does.

        Among all points; or among some of them, of each class as many as ``sizes`` says: with their
        patterns, or those of the ground ``before`` whose bits are set in ``kept``.
        """
        tree = self._tree
        if kept is not None:
            if before != self._version or self._sizes is None:
                return False
            patterns = self._patterns_of_ground(kept)
        if patterns is not None and sizes is not None:
            n_own = -(-sizes // FAN)
            first = FAN * (np.cumsum(n_own) - n_own)
            shape = max(1, int(n_own.sum())), self.layout.n_words, FAN
            points = aligned_zeros(shape, np.uint64)
            ends = np.cumsum(sizes)
            for start, end, size in zip(first, ends, sizes, strict=True):
                _put_columns(points, start + np.arange(size), patterns[end - size : end])
            tree = bound_tree(points, first, sizes, self._n_threads)
        n_positions = tree.points.shape[0] * FAN
        marks = np.unpackbits(uncovered, count=n_positions).astype(np.bool_)
        n_open = marked_below(tree, marks)
        self._ground = Ground(self._tree, tree, self.layout.valid, marks, n_open)
        self._version, self._n_closed, self._sizes = version, n_closed, sizes
        return True

    def _patterns_of_ground(self, kept: np.ndarray) -> np.ndarray:
        """Patterns of those points of the ground whose packed bits are set, one row each."""
        sizes, own = self._sizes, self._ground.own
        assert sizes is not None
        starts = np.repeat(own.first[0] - np.cumsum(sizes) + sizes, sizes)
        is_kept = np.unpackbits(kept, count=len(starts)).astype(np.bool_)
        return columns_at(own.points, (starts + np.arange(len(starts)))[is_kept])

    def blocks(self, wanted: np.ndarray) -> Blocks | None:
        """Those of some blocks that are its own; they do not change once nothing is lacking."""
        if not self._is_equipped:
            return None
        mine = wanted[np.isin(wanted, self._own_blocks)]
        positions = [self.layout.points_of(block) for block in mine]
        return Blocks(mine, self._patterns(np.concatenate([np.empty(0, np.int64), *positions])))

    def grow(self, order: Order, fetched: Sequence[Blocks | None]) -> Cells | None:
        """Grow cells as far as what is here tells, with blocks that it fetched from others."""
        if order.version != self._version or order.n_closed != self._n_closed:
            return None
        self._n_closed += len(order.closed)
        ground = self._ground
        close_points(tuple(ground), order.closed_codes, order.closed)
        brought = [some for some in (order.blocks, *fetched) if some is not None]
        if not brought:  # else cells wait for some
            self._forget_copies()
        for blocks, patterns in brought:
            positions = [self.layout.points_of(block) for block in blocks]
            self._put(np.concatenate([np.empty(0, np.int64), *positions]), patterns)
            self._make_nodes(blocks)
        grown = new_cells(order.starts, order.codes, self.layout.n_words, _MOST_MISSING)
        parts = tuple(ground), tuple(order.manner), tuple(grown)
        if len(order.starts):
            run_loop(grow_near, len(order.starts), self._n_threads, parts)
        lists, missing = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for task in range(len(order.starts)):
            n_missing, count = int(grown.n_missing[task]), int(grown.n_covered[task])
            if n_missing:
                missing.append(grown.missing[task, :n_missing])
                continue
            some = grown.covered[task, :count]
            if len(some) < count:
                some = np.empty(count, np.int64)
                covered_by(*parts, task, some)
            lists.append(some)
        which = np.flatnonzero(grown.n_missing == 0)
        return Cells(
            which, grown.masks[which], grown.thresholds[which], grown.witnesses[which],
            grown.looked[which], grown.n_covered[which], np.concatenate(lists),
            np.unique(np.concatenate(missing))[: max(1, FETCHED_BYTES // self._block_bytes)],
        )  # fmt: skip

    def _forget_copies(self) -> None:
        """Forget the blocks of other regions, where they take too much memory."""
        tree = self._tree
        most = max(len(self._own_blocks), COPIES_BYTES // self._block_bytes)
        if np.count_nonzero(~tree.absent) - len(self._own_blocks) <= most:
            return
        # others ask for what settled here, which may be the end of a block that begins elsewhere
        starts, ends = self._settled.T
        first_blocks = self.layout.first_blocks
        is_edge = (starts < ends) & (np.diff(first_blocks) > 0)
        edges = (first_blocks[:-1] + starts // BLOCK)[is_edge]
        kept = np.union1d(self._own_blocks, edges)
        copies = np.setdiff1d(np.flatnonzero(~tree.absent), kept, assume_unique=True)
        tree.absent[copies] = True
        for block in copies:
            groups = self.layout.points_of(block)[::FAN] // FAN
            forget(tree.points[groups[0] : groups[-1] + 1])

    def _put(self, positions: np.ndarray, patterns: np.ndarray) -> None:
        _put_columns(self._tree.points, positions, patterns)

    def _patterns(self, positions: np.ndarray) -> np.ndarray:
        """Patterns of points that are here, one row each."""
        return columns_at(self._tree.points, positions)

    def _make_nodes(self, blocks: np.ndarray) -> None:
        """Make the nodes of level 1 of blocks whose points are here."""
        tree = self._tree
        codes, groups = self.layout.in_classes(blocks)
        calls = [
            (tree.points, tree.points, tree.first[0, code], tree.n_nodes[0, code], tree.ands,
             tree.ors, tree.first[1, code], FAN * group,
             min(FAN * (group + 1), tree.n_nodes[1, code]))
            for code, group in zip(codes, groups, strict=True)
        ]  # fmt: skip
        run_calls(bound_nodes, calls, self._n_threads)
        tree.absent[blocks] = False

    def _nodes_above(self, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The AND and the OR of each block's patterns, by its nodes of level 1."""
        tree = self._tree
        codes, groups = self.layout.in_classes(blocks)
        ands, ors = np.empty((2, len(blocks), self.layout.n_words), np.uint64)
        for i, (code, group) in enumerate(zip(codes, groups, strict=True)):
            count = min(FAN, int(tree.n_nodes[1, code]) - FAN * int(group))
            ands[i] = np.bitwise_and.reduce(tree.ands[blocks[i], :, :count], axis=1)
            ors[i] = np.bitwise_or.reduce(tree.ors[blocks[i], :, :count], axis=1)
        return ands, ors


def columns_at(blocks: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Columns of blocks, one row each, (len(positions), n_words) uint64."""
    found: np.ndarray = blocks[positions // FAN, :, positions % FAN]
    return found


def _put_columns(blocks: np.ndarray, positions: np.ndarray, columns: np.ndarray) -> None:
    """Write rows to columns of blocks."""
    blocks[positions // FAN, :, positions % FAN] = columns


def region_of(region: Region | None, key: int, name: str, arguments: Sequence[Any]) -> Any:
    """What a region says; None where it is not that of ``key``."""
    if name not in Region.asks:
        raise ValueError(f"{name} is no command of a region")
    if region is None or region.layout.key != key:
        return None
    return getattr(region, name)(*arguments)
