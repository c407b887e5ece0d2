"""A fit of points on shards, from the first look at them to the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from fastmem.algorithm import covering_cells, voting
from fastmem.distributed.fleet import Fleet
from fastmem.distributed.labels import classes_of
from fastmem.distributed.numbering import Placing
from fastmem.distributed.one_machine import for_one_machine
from fastmem.distributed.parts import PartFacts
from fastmem.distributed.remote_codes import RemoteCodes
from fastmem.distributed.remote_patterns import RemotePatterns
from fastmem.distributed.remote_points import RemotePoints
from fastmem.distributed.tables import encoded_on
from fastmem.distributed.transport import Transport
from fastmem.encoding import Encoding
from fastmem.fit_memory import require_elsewhere
from fastmem.inputs import InvalidInputError
from fastmem.inputs.labels import require_two
from fastmem.machine.clock import Clock
from fastmem.network.network import Network
from fastmem.problem import Problem, problem_of
from fastmem.widths.first_layer import FirstLayer
from fastmem.widths.scaling import chosen_scale


class RemoteLayer(FirstLayer):
    """A first layer whose points, and patterns, are on shards."""

    def __init__(self, fleet: Fleet, problem: Problem, seed: np.random.SeedSequence) -> None:
        super().__init__(problem, seed)
        self._fleet = fleet

    def fill(
        self,
        progress: Callable[[int, int, int], object] = lambda done, total, neurons: None,
    ) -> None:
        """As of points that are here, if the shards have room for it."""
        problem, n_filled = self._problem, self._n_filled
        if n_filled and n_filled < len(self):
            measures: Any = problem.points.elsewhere
            require_elsewhere(
                problem.shape, problem.settings, measures.rooms, len(self), filled=n_filled
            )
        super().fill(progress)

    def _prepare_patterns(self) -> None:
        points: Any = self.points
        patterns: Any = RemotePatterns(self._fleet, points, *self._pays())
        self.patterns = patterns


def interpolate_on(
    transport: Transport, *, encode: bool | Encoding = False, **parameters: Any
) -> Network:
    """As `fastmem.interpolate`, of the parts that shards hold: the same network, byte for byte.

    Rows are in the order of parts.

    Parameters
    ----------
    transport : Transport
    encode : bool or fastmem.tables.Encoding, default False
    **parameters
        Of `fastmem.interpolate`, but for X and y.

    Raises
    ------
    InvalidInputError
        For what `fastmem.interpolate` refuses, and for settings that are for one machine only.
    NotEnoughMemoryError
        If a shard would take more memory than is free there; before the work, or before the width
        grows.
    LostShardError
        If a shard is lost again and again.
    """
    _refuse_what_is_local(parameters)
    clock = Clock()
    fleet = Fleet(transport)
    with clock.stage("encoding"):
        encoding = encoded_on(fleet, encode)
    return network_of(fleet, clock, encoding, **parameters)


def network_of(fleet: Fleet, clock: Clock, encoding: Encoding | None, **parameters: Any) -> Network:
    """As `interpolate_on`, of parts whose tables were encoded, if there are any.

    What is `for_one_machine` is refused before.
    """
    with clock.stage("check"):
        facts = [fact for some in fleet.ask(("facts",))[0] for fact in some]
        placing = _placing(facts)
        if encoding is not None:
            placing = replace(placing, names=encoding.feature_names)
        fleet.tell("place", placing)
        codes: Any = RemoteCodes(fleet, placing)
        problem = problem_of(RemotePoints(fleet, placing), placing.classes, codes, **parameters)
    make_layer = partial(RemoteLayer, fleet)
    if problem.settings.decision == "vote":
        return voting(problem, clock, encoding, make_layer)
    return covering_cells(*chosen_scale(problem, clock), clock, encoding, make_layer)


def _placing(facts: list[PartFacts]) -> Placing:
    """Where all parts begin, by what shards say of them."""
    facts = sorted(facts, key=lambda fact: fact.number)
    numbers = [fact.number for fact in facts]
    if numbers != list(range(len(facts))):
        raise InvalidInputError(f"the parts are {numbers}; pass each of them once, from 0 on")
    some = [fact for fact in facts if fact.n_rows]
    if not some:
        raise InvalidInputError("X has no rows; pass parts with points")
    for fact in some:
        if fact.n_features != some[0].n_features:
            raise InvalidInputError(
                f"part {fact.number} has {fact.n_features} features and part {some[0].number} has "
                f"{some[0].n_features}; pass the same columns in all parts"
            )
        if fact.names != some[0].names:
            raise InvalidInputError(
                f"part {fact.number} has other names of columns than part {some[0].number}; pass "
                f"frames with the same columns, or arrays"
            )
    stored = [fact.n_stored for fact in some]
    known = [count for count in stored if count is not None]
    if known and len(known) < len(some):
        raise InvalidInputError(
            f"part {some[stored.index(None)].number} is dense and others are sparse; pass all "
            f"parts in one way"
        )
    classes, codes = classes_of(some)
    require_two(classes, sum(fact.n_rows for fact in some), "y")
    counts = np.zeros((len(facts), len(classes)), np.int64)
    for fact, own in zip(some, codes, strict=True):
        counts[fact.number, own] = fact.counts
    dtype = np.result_type(*[fact.dtype for fact in some])
    return Placing(
        classes, some[0].n_features, dtype.name, counts, sum(known) if known else None,
        some[0].names, not known and all(fact.is_array for fact in some),
    )  # fmt: skip


def _refuse_what_is_local(parameters: Mapping[str, Any]) -> None:
    found = for_one_machine(parameters)
    if found is not None:
        name, value = found
        asked = name if value is None else f"{name}={value!r}"
        raise InvalidInputError(
            f"{asked} is for points on one machine; leave it out, or fit a sample there"
        )
