"""Regions on shards: one shuffle brings neighbours to one place, and cells grow there."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from fastmem.distributed.fleet import Fleet, in_order
from fastmem.distributed.numbering import Placing
from fastmem.distributed.peers import Fetched
from fastmem.distributed.region import Blocks, Cells, Layout, Order, Settlers
from fastmem.distributed.transport import ATTEMPTS, LostShardError
from fastmem.inputs import Points
from fastmem.kernels.bounds import BLOCK, FAN
from fastmem.kernels.layout import TILE
from fastmem.kernels.near_cells import Grown, Manner
from fastmem.machine.arrays import reserved_zeros
from fastmem.machine.threads import ranges
from fastmem.patterns.bound_tree import add_nodes, n_groups, tree_shape
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.spatial_order import leaf_tree
from fastmem.second_layer.near_cells import new_cells

_CHUNK_BYTES = 32 << 20
"""Points that are on their way at a time."""
_NONE = np.empty(0, np.int64)


class PlacedPatterns(Patterns):
    """Where patterns are in a spatial order, without their bits, which are on shards.

    Parameters
    ----------
    layout : Layout
    numbers : ndarray of shape (N,), int32 or int64
        The number within its class of each point, class by class in the order.
    rows_of : callable
        As the method.
    """

    def __init__(
        self,
        layout: Layout,
        numbers: np.ndarray,
        rows_of: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> None:
        self._begin(layout.sizes)
        self.numbers, self.places = numbers, np.empty_like(numbers)
        for start, stop in pairwise(self.starts.tolist()):
            some = self.places[start:stop]
            some[numbers[start:stop]] = np.arange(stop - start, dtype=numbers.dtype)
        self._rows_of = rows_of

    def rows_of(self, codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Rows of points of several classes; the shards are asked."""
        return self._rows_of(codes, numbers)


class _Gathered(NamedTuple):
    """What cells grow on: some points, by their positions, ascending, or all where sizes is None.

    version int; positions (P,) int64; sizes (K,) int64, of each class; patterns (P, n_words) uint64
    """

    version: int
    positions: np.ndarray
    sizes: np.ndarray | None
    patterns: np.ndarray | None


def _places_among(all_of_them: np.ndarray, some: np.ndarray) -> np.ndarray | None:
    """Where some ascending numbers are among others, int64; None where one is not."""
    if not len(all_of_them):
        return None
    places = np.searchsorted(all_of_them, some)
    places[places == len(all_of_them)] = 0
    return places if np.array_equal(all_of_them[places], some) else None


class Regions:
    """The regions of a fit: who has which points, and cells that grow there.

    Parameters
    ----------
    fleet : Fleet
    placing : Placing
    points : Points
        Those of the fit, as far as the driver has them.
    n_hyperplanes, n_threads : int
    within_leaves : bool
        Whether neighbours are brought together within leaves too.

    Attributes
    ----------
    layout : Layout
    numbers : ndarray of shape (N,)
        See `PlacedPatterns`.
    """

    def __init__(
        self,
        fleet: Fleet,
        placing: Placing,
        points: Points,
        n_hyperplanes: int,
        n_threads: int,
        within_leaves: bool,
    ) -> None:
        self._fleet, self._n_threads, self._within_leaves = fleet, n_threads, within_leaves
        key = secrets.randbits(62)
        self.layout = Layout(key, placing.counts, placing.first_tile, n_hyperplanes)
        n_words = self.layout.n_words
        self._tree = leaf_tree(points, n_threads)
        pieces = fleet.ask(("leaf_counts", self._tree))[0]
        keys, which = np.unique(np.concatenate([keys for keys, _ in pieces]), return_inverse=True)
        sizes = np.zeros(len(keys), np.int64)
        np.add.at(sizes, which, np.concatenate([sizes for _, sizes in pieces]))
        codes, leaves = np.divmod(keys, self._tree.n_leaves)
        class_starts = np.cumsum(placing.counts) - placing.counts
        places = np.cumsum(sizes) - sizes - class_starts[codes]
        self._runs = keys, codes, leaves, places, sizes
        in_leaf = np.zeros(self._tree.n_leaves, np.int64)
        np.add.at(in_leaf, leaves, sizes)
        self._leaf_ends = np.cumsum(in_leaf)
        # regions: ranges of leaves, with about the same number of points
        goals = placing.n_rows * np.arange(1, fleet.n_shards) // fleet.n_shards
        inner = np.searchsorted(self._leaf_ends, goals)
        self._bounds = np.concatenate([[0], inner, [self._tree.n_leaves]])
        # (shards + 1, K): where regions begin in the order of each class
        self._begins = np.zeros((fleet.n_shards + 1, len(placing.counts)), np.int64)
        for i, bound in enumerate(self._bounds):
            before = leaves < bound
            np.add.at(self._begins[i], codes[before], sizes[before])
        self._point_bytes = 8 * n_words + 24 + (8 * points.n_features if within_leaves else 0)
        self.numbers = np.empty(placing.n_rows, np.int32 if placing.n_rows < 1 << 31 else np.int64)
        self._upper: tuple[np.ndarray, np.ndarray] | None = None
        self._closed: list[tuple[np.ndarray, np.ndarray]] = []
        self._told = np.zeros(fleet.n_shards, np.int64)
        self._uncovered = np.empty(0, np.bool_)
        self._ground = _Gathered(-1, _NONE, None, np.empty((0, n_words), np.uint64))
        self.equip()

    # Bringing points to their regions -------------------------------------------------------------

    def equip(self) -> None:
        """Bring to every shard what it lacks: all at first, later what a lost one had."""
        most = ATTEMPTS * self._fleet.n_shards
        for _ in range(most):
            states, begun = self._fleet.ask(self._command("has_all"), self._command("n_settled"))
            lacking = [shard for shard, state in enumerate(states) if not state]
            if not lacking:
                return
            if all([self._settle(shard, begun[shard]) for shard in lacking]):
                self._complete(lacking)
        raise LostShardError(
            f"shards were lost {most} times while points came to their regions; look at their "
            f"machines, or fit on others"
        )

    def _settle(self, shard: int, n_settled: int | None) -> bool:
        """Bring the points of a shard's leaves there, some leaves at a time; not once more."""
        if n_settled is None:
            self._fleet.ask_one(shard, ("begin_region", self.layout))
        keys, codes, leaves, places, sizes = self._runs
        low, high = self._bounds[shard : shard + 2]
        begins = np.cumsum(self.layout.sizes) - self.layout.sizes
        chunk = self._leaf_ends[low:high] * self._point_bytes // _CHUNK_BYTES
        cuts = low + 1 + np.flatnonzero(np.diff(chunk))
        borders = [int(low), *cuts.tolist(), int(high)]
        for number, (first, stop) in enumerate(pairwise(borders)):
            if number < (n_settled or 0):
                continue
            asked = "leaf_points", self._tree, first, stop, self._within_leaves
            pieces = [piece for piece in self._fleet.ask(asked)[0] if piece is not None]
            run_of, numbers, patterns, points = (list(some) for some in zip(*pieces, strict=True))
            mine = (first <= leaves) & (leaves < stop)
            settlers = Settlers(
                keys[mine], codes[mine], places[mine], np.concatenate(run_of),
                np.concatenate(numbers), np.concatenate(patterns),
                np.concatenate(points) if self._within_leaves else None,
            )  # fmt: skip
            found = self._ask_one(shard, "settle", number, settlers)
            if found is None:
                return False
            shift = begins[codes] + places
            shift = (shift[mine] - np.cumsum(sizes[mine]) + sizes[mine]).repeat(sizes[mine])
            self.numbers[shift + np.arange(len(found))] = found
        return True

    def _complete(self, shards: list[int]) -> None:
        """Bring what lies around their own points; gives up where some shard lacks anything."""
        layout, first_blocks = self.layout, self.layout.first_blocks
        blocks, edges = [], []
        has_blocks = np.diff(first_blocks) > 0
        for shard in shards:
            first, stop = -(-self._begins[shard : shard + 2] // BLOCK)
            last = self._begins[shard + 1]
            of_class = [
                first_blocks[code] + np.arange(first[code], stop[code])
                for code in np.flatnonzero(has_blocks)
            ]
            blocks.append(np.concatenate([_NONE, *of_class]))
            ends = np.minimum(BLOCK * stop, layout.sizes)
            # of blocks that begin in the region
            beyond = [
                TILE * layout.first_tile[code] + np.arange(last[code], ends[code])
                for code in np.flatnonzero(has_blocks & (first < stop))
            ]
            edges.append(np.concatenate([_NONE, *beyond]))
        few = [
            TILE * layout.first_tile[code] + np.arange(layout.sizes[code])
            for code in np.flatnonzero(~has_blocks)
        ]
        asked = np.concatenate([_NONE, *few, *edges])
        found = self.patterns_at(asked)
        if found is None:
            return
        n_few = sum(map(len, few))
        parts = np.split(found[n_few:], np.cumsum([len(edge) for edge in edges])[:-1])
        messages = self._messages(
            {
                shard: ("complete", *some)
                for shard, *some in zip(shards, blocks, edges, parts, strict=True)
            }
        )
        replies = self._fleet.ask_each(messages)
        made = {shard: replies[shard][0] for shard in shards}
        if any(nodes is None for nodes in made.values()):
            return
        if self._upper is None:
            self._upper = self._nodes_above(blocks, [made[shard] for shard in shards])
        small = asked[:n_few], found[:n_few]
        self._fleet.ask_each(self._messages(dict.fromkeys(shards, ("equip", *self._upper, *small))))

    def _nodes_above(
        self, blocks: list[np.ndarray], made: list[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nodes of level 2 and above, of what lies above each block."""
        layout, first_blocks = self.layout, self.layout.first_blocks
        firsts, n_nodes, _ = tree_shape(TILE * layout.first_tile[:-1], layout.sizes)
        shape = n_groups(n_nodes), layout.n_words, FAN
        ands, ors = (reserved_zeros(shape, np.uint64) for _ in range(2))
        if len(n_nodes) > 2:
            codes, groups = layout.in_classes(np.concatenate(blocks))
            has_node = n_nodes[2, codes] > 0
            positions = (firsts[2, codes] + groups)[has_node]
            for nodes, values in zip((ands, ors), zip(*made, strict=True), strict=True):
                nodes[positions // FAN, :, positions % FAN] = np.concatenate(values)[has_node]
            add_nodes(ands[:0], ands, ors, firsts, n_nodes, self._n_threads, lowest=3)
        return ands[first_blocks[-1] :], ors[first_blocks[-1] :]

    def patterns_at(self, positions: np.ndarray) -> np.ndarray | None:
        """Patterns of points by position, one row each; None where a shard lacks them."""
        found = np.empty((len(positions), self.layout.n_words), np.uint64)
        size = max(1, _CHUNK_BYTES // (8 * self.layout.n_words))
        for start, stop in ranges(len(positions), size):
            pieces = self._ask_all("placed", positions[start:stop])
            if any(piece is None for piece in pieces):
                return None
            which, patterns = in_order(pieces)
            if len(which) < stop - start:
                return None
            found[start:stop] = patterns
        return found

    # Cells ----------------------------------------------------------------------------------------

    def stand(
        self,
        uncovered: np.ndarray,
        codes_at: Callable[[np.ndarray], np.ndarray],
        chosen: Sequence[np.ndarray] | None,
    ) -> None:
        """Let all shards know what is uncovered: among all points, or a few of each class."""
        sizes = patterns = kept = None
        before = self._ground
        positions = _NONE
        if chosen is not None:
            sizes = np.array([len(some) for some in chosen], np.int64)
            positions = np.concatenate([_NONE, *chosen])
            kept = _places_among(before.positions, positions)
            if kept is not None and before.patterns is not None:
                patterns = before.patterns[kept]
            while patterns is None:
                patterns = self.patterns_at(positions)
                if patterns is None:
                    self.equip()
        self._uncovered, self._codes_at = uncovered, codes_at
        self._ground = _Gathered(secrets.randbits(62), positions, sizes, patterns)
        self._closed = []
        self._n_closed = 0
        shards: Sequence[int] = range(self._fleet.n_shards)
        if kept is not None:  # the shards have them, but for a new one
            is_kept = np.zeros(len(before.positions), np.bool_)
            is_kept[kept] = True
            stands = self._stand_on(shards, before.version, np.packbits(is_kept))
            shards = [shard for shard in shards if not stands[shard]]
        if shards:
            self._stand_on(shards)

    def _stand_on(
        self, shards: Sequence[int], before: int = -1, kept: np.ndarray | None = None
    ) -> list[Any]:
        """Let shards stand on the ground: by what they have of one before, or by its patterns."""
        version, _, sizes, patterns = self._ground
        if kept is not None:
            patterns = None
        packed = np.packbits(self._uncovered)
        stand = "stand", version, self._n_closed, packed, sizes, patterns, before, kept
        replies = self._fleet.ask_each(self._messages(dict.fromkeys(shards, stand)))
        self._told[list(shards)] = len(self._closed)
        return [some[0] if some else None for some in replies]

    def note_closed(self, positions: np.ndarray) -> None:
        """Points, by position on the ground, are not uncovered any more."""
        self._closed.append((positions.copy(), self._codes_at(positions)))
        self._n_closed += len(positions)

    def grow(
        self, starts: np.ndarray, codes: np.ndarray, placed: np.ndarray, manner: Manner,
    ) -> tuple[Grown, np.ndarray, np.ndarray]:  # fmt: skip
        """As of `NearCells`; placed (S,) int64 are the starts' positions among all points."""
        grown = new_cells(starts, codes, self.layout.n_words)._replace(
            covered=np.empty((len(starts), 0), np.int64)
        )
        owners = self._owners(placed, codes)
        lists: list[np.ndarray] = [_NONE] * len(starts)
        pending = np.ones(len(starts), np.bool_)
        wanted: dict[int, np.ndarray] = {}
        while pending.any():
            fetched, left = self._fetch(wanted)
            blocks = self._blocks(left)
            asked = {
                int(owner): np.flatnonzero(pending & (owners == owner))
                for owner in np.unique(owners[pending])
            }
            messages = self._messages({
                owner: ("grow", self._order(
                    owner, starts[mine], codes[mine], manner, blocks.get(owner)), fetched)
                for owner, mine in asked.items()
            })  # fmt: skip
            replies = self._fleet.ask_each(messages)
            wanted, lacking = {}, []
            for owner, mine in asked.items():
                cells: Cells | None = replies[owner][0]
                if cells is None:
                    lacking.append(owner)
                    continue
                self._told[owner] = len(self._closed)
                which = mine[cells.which]
                pending[which] = False
                grown.masks[which], grown.thresholds[which] = cells.masks, cells.thresholds
                grown.witnesses[which], grown.looked[which] = cells.witnesses, cells.looked
                grown.n_covered[which] = cells.n_covered
                ends = np.cumsum(cells.n_covered)[:-1]
                for task, some in zip(which, np.split(cells.covered, ends), strict=len(which) > 0):
                    lists[task] = some
                if len(cells.missing):
                    wanted[owner] = cells.missing
            if lacking:
                self.equip()
                self._stand_on(lacking)
        ends = np.concatenate([[0], np.cumsum([len(some) for some in lists])])
        return grown, np.concatenate([_NONE, *lists]), ends.astype(np.int64)

    def _order(
        self, owner: int, starts: np.ndarray, codes: np.ndarray, manner: Manner,
        blocks: Blocks | None,
    ) -> Order:  # fmt: skip
        new = self._closed[self._told[owner] :]
        closed, closed_codes = (np.concatenate([_NONE, *some]) for some in zip(
            (_NONE, _NONE), *new, strict=True))  # fmt: skip
        return Order(
            self._ground.version, self._n_closed - len(closed), closed, closed_codes, starts, codes,
            manner, blocks,
        )  # fmt: skip

    def _owners(self, positions: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """The shard that has the block of each point: the one where it begins."""
        places = positions - TILE * self.layout.first_tile[codes]
        has_block = self.layout.sizes[codes] > FAN
        firsts = np.where(has_block, places // BLOCK * BLOCK, places)
        owners = np.empty(len(positions), np.int64)
        for code in np.unique(codes):
            mine = codes == code
            owners[mine] = np.searchsorted(self._begins[1:, code], firsts[mine], side="right")
        return owners

    def _fetch(self, wanted: dict[int, np.ndarray]) -> tuple[Fetched, dict[int, np.ndarray]]:
        """Let shards fetch blocks from their owners; returns those that did not come."""
        if not wanted:
            return Fetched(0), {}
        asked = {}
        for shard, blocks in wanted.items():
            owners = self._owners(*self.layout.starts_of(blocks))
            asked[shard] = [(int(one), blocks[owners == one]) for one in np.unique(owners)]
        fetched, came = self._fleet.fetch(
            {
                shard: [(owner, self._command("blocks", some)) for owner, some in their]
                for shard, their in asked.items()
            }
        )
        left = {}
        for shard, their in asked.items():
            some = [some for (_, some), is_there in zip(their, came[shard], strict=True)
                    if not is_there]  # fmt: skip
            if some:
                left[shard] = np.concatenate(some)
        return fetched, left

    def _blocks(self, wanted: dict[int, np.ndarray]) -> dict[int, Blocks]:
        """Blocks that shards want, but for lost ones, with the patterns of their points."""
        if not wanted:
            return {}
        every = np.unique(np.concatenate(list(wanted.values())))
        known: dict[int, np.ndarray] = {}
        for piece in self._ask_all("blocks", every):
            if piece is not None:
                which, patterns = piece
                counts = [len(self.layout.points_of(block)) for block in which]
                some = np.split(patterns, np.cumsum(counts)[:-1])
                known.update(zip(which.tolist(), some, strict=len(which) > 0))
        found = {}
        for shard, blocks in wanted.items():
            here = [block for block in blocks.tolist() if block in known]
            if here:
                patterns = np.concatenate([known[block] for block in here])
                found[shard] = Blocks(np.array(here, np.int64), patterns)
        if len(known) < len(every):
            self.equip()
        return found

    def _ask_all(self, name: str, *arguments: Any) -> list[Any]:
        return self._fleet.ask(self._command(name, *arguments))[0]

    def _ask_one(self, shard: int, name: str, *arguments: Any) -> Any:
        return self._fleet.ask_one(shard, self._command(name, *arguments))

    def _messages(self, commands: dict[int, tuple[Any, ...]]) -> list[list[Any]]:
        """A message for each shard, of one command or none: one list for all with the same."""
        nothing: list[Any] = []
        made = {id(some): [self._command(*some)] for some in commands.values()}
        return [
            made[id(commands[shard])] if shard in commands else nothing
            for shard in range(self._fleet.n_shards)
        ]

    def _command(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        return "in_region", self.layout.key, name, *arguments
