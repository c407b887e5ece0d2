"""Which processors of a cluster a fit takes, and which blocks go to which node."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import ray
from ray.util import placement_group, placement_group_table, remove_placement_group

from fastmem.errors import InvalidInputError
from fastmem.inputs import check_count

_log = logging.getLogger(__name__)
_QUIET_SECONDS = 10
"""How long processors are waited for without a word,"""
_BUSY_SECONDS = 600
"""and at all, where others have them,"""
_SMALL_SECONDS = 120
"""or where the cluster has not so many, but may grow."""
_PIECES = 4
"""Of what each shard has on average, a piece of a block is at most one part in so many."""


class Room(NamedTuple):
    """Processors that are a fit's.

    Attributes
    ----------
    group : ray.util.placement_group.PlacementGroup
    nodes : list of str
        The node of each actor.
    num_cpus : int
        Processors of each.
    """

    group: Any
    nodes: list[str]
    num_cpus: int

    def give_up(self) -> None:
        """Let others have the processors."""
        remove_placement_group(self.group)


def reserve(num_actors: int | None, num_cpus: int | None) -> Room:
    """Wait until all actors have their processors, at once or not at all.

    If each took them as they come, two fits could wait for each other for ever.

    Raises
    ------
    InvalidInputError
        If there are too few, or too few become free in ten minutes.
    """
    nodes = [
        int(node["Resources"]["CPU"])
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    ]
    n = check_count("num_actors", max(1, len(nodes)) if num_actors is None else num_actors, 1)
    if num_cpus is None:
        each = -(-n // max(1, len(nodes)))
        num_cpus = max(1, min(nodes, default=1) // each)
    each = check_count("num_cpus", num_cpus, 1)
    group = placement_group([{"CPU": each}] * n, strategy="SPREAD")
    try:
        _wait(group, n, each)
        table = placement_group_table(group)["bundles_to_node_id"]
        return Room(group, [table[place] for place in sorted(table)], each)
    except BaseException:
        remove_placement_group(group)
        raise


def _wait(group: Any, n: int, each: int) -> None:
    started, is_told = time.monotonic(), False
    asked = f"{n} actors of {each} {'processor' if each == 1 else 'processors'} each"
    while not group.wait(0.5):
        waited = time.monotonic() - started
        total = sum(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
        is_small = total < n * each
        if waited > (_SMALL_SECONDS if is_small else _BUSY_SECONDS):
            lacks = f"has {total:g}" if is_small else f"has {total:g}, but too few become free"
            raise InvalidInputError(
                f"there is no room for {asked}: the cluster {lacks}; pass fewer num_actors or "
                f"num_cpus"
            )
        if waited > _QUIET_SECONDS and not is_told:
            is_told = True
            _log.warning("waiting for room for %s; the cluster has %g processors", asked, total)


class Piece(NamedTuple):
    """Rows start..stop-1 of a block."""

    block: int
    start: int
    stop: int


def shared_out(
    sizes: Sequence[int], places: Sequence[Sequence[str]], nodes: Sequence[str]
) -> list[list[tuple[int, Piece]]]:
    """Numbered pieces of blocks, for each shard: where they are, as far as that is even.

    Pieces are numbered in the order of rows. A block that is large beside what a shard has is cut.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each block.
    places : sequence of sequence of str
        Nodes that have each block.
    nodes : sequence of str
        The node of each shard.
    """
    total, shards = sum(sizes), range(len(nodes))
    most, large = -(-total // len(nodes)), -(-total // (_PIECES * len(nodes)))
    pieces = [
        Piece(block, start, min(start + large, size))
        for block, size in enumerate(sizes)
        for start in range(0, size, large)
    ]
    loads, owners = [0] * len(nodes), [-1] * len(pieces)
    for is_anywhere in (False, True):
        for i, (block, start, stop) in enumerate(pieces):
            if owners[i] >= 0:
                continue
            loaded = [(loads[s], nodes[s] not in places[block], s) for s in shards]
            fit = [one for one in loaded if is_anywhere or (one[0] < most and not one[1])]
            if fit:
                owners[i] = min(fit)[2]
                loads[owners[i]] += stop - start
    return _joined(pieces, owners, len(nodes))


def _joined(
    pieces: Sequence[Piece], owners: Sequence[int], n_shards: int
) -> list[list[tuple[int, Piece]]]:
    """Join pieces that follow each other on a shard, and number them."""
    found: list[list[tuple[int, Piece]]] = [[] for _ in range(n_shards)]
    number = 0
    for i, owner in enumerate(owners):
        piece = pieces[i]
        if i and owner == owners[i - 1] and piece.block == pieces[i - 1].block:
            last, whole = found[owner][-1]
            found[owner][-1] = last, whole._replace(stop=piece.stop)
            continue
        found[owner].append((number, piece))
        number += 1
    return found
