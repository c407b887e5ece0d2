"""Raw tables whose parts are on shards: what their columns hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from fastmem.distributed.fleet import Fleet
from fastmem.distributed.labels import classes_of
from fastmem.distributed.shard_tables import TableFacts
from fastmem.encoding import Encoding, Surprises
from fastmem.encoding.column import EXAMPLES, is_text
from fastmem.encoding.encoding import Choices, SourceElsewhere
from fastmem.encoding.profile import Profile
from fastmem.encoding.tables import schema_of_all
from fastmem.errors import InvalidInputError, UnknownValueWarning
from fastmem.inputs import Wording
from fastmem.inputs.refusals import typed
from fastmem.machine.warned import warn_user


class RemoteTable(SourceElsewhere):
    """A table in parts on shards, as an encoding looks at it.

    Attributes
    ----------
    schema : pyarrow.Schema
        Of all parts together.
    is_frame : bool
        Whether all parts are frames.
    n_rows, n_unlabelled : int
        Of all parts.
    """

    decimal = "."

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        facts = [fact for some in fleet.ask(("tables", "facts"))[0] for fact in some]
        facts.sort(key=lambda fact: fact.number)
        self.is_frame = all(fact.is_frame for fact in facts)
        self.n_rows = sum(fact.n_rows for fact in facts)
        self.n_unlabelled = sum(fact.n_unlabelled for fact in facts)
        self.schema = _together(facts)
        self.names, self.types = list(self.schema.names), list(self.schema.types)

    def batches(self) -> Iterator[Any]:
        """The rows are not here."""
        raise NotImplementedError

    def show(self, profiles: Mapping[int, Profile]) -> None:
        """See `SourceElsewhere`: each part to profiles of its own, which are joined in order."""
        before: dict[int, dict[int, int]] = {}  # values of columns before each part
        for number, seen in self._ask("seen", dict(profiles)):
            before[number] = {at: one.n_values for at, one in profiles.items()}
            for at, one in profiles.items():
                one.join(seen[at])
        measured = {
            at: one for at, one in profiles.items() if one.has_median and not one.needs_another_look
        }
        if not measured:
            return
        samples: dict[int, list[np.ndarray]] = {at: [] for at in measured}
        for _, found in self._ask("sampled", measured, before):
            for at, some in found.items():
                samples[at].extend(some)
        for at, some in samples.items():
            profiles[at].take_sample(some)

    def _ask(self, name: str, *arguments: Any) -> list[tuple[int, Any]]:
        """What shards answer of each part, in the order of parts."""
        found = self._fleet.ask(("tables", name, self.schema, *arguments))[0]
        return sorted((pair for some in found for pair in some), key=lambda pair: pair[0])


def encoded_on(fleet: Fleet, encode: bool | Encoding) -> Encoding | None:
    """As `encoding.encode_table`, of parts on shards, whose points are what it makes of them then.

    Parameters
    ----------
    fleet : Fleet
        None of whose points were looked at.
    encode : bool or Encoding

    Raises
    ------
    InvalidInputError
        If ``encode`` is neither, or the parts cannot be encoded.
    """
    if isinstance(encode, bool | np.bool_) and not encode:
        fleet.tell("encode", None, None)  # an earlier fit may have made features
        return None
    if not isinstance(encode, bool | np.bool_ | Encoding):
        raise InvalidInputError(
            f"encode is {typed(encode)}; pass True, False or a fastmem.tables.Encoding"
        )
    table = RemoteTable(fleet)
    if isinstance(encode, Encoding):
        encoding = encode
        encoding.places(table.names, "X")
    else:
        encoding = Encoding.of_source(table, Choices(), Wording("X"))
        if encoding.is_plain and not any(map(is_text, table.types)) and table.is_frame:
            fleet.tell("encode", None, None)
            return None
    _encode(fleet, table, encoding)
    return encoding


def _encode(fleet: Fleet, table: RemoteTable, encoding: Encoding) -> None:
    met: list[list[tuple[int, Surprises]]] = []
    fleet.tell("encode", table.schema, encoding, then=met.extend)
    fleet.flush()
    for sentence in _together_met([one for some in met for one in some]).sentences():
        warn_user(sentence, UnknownValueWarning)


class Read(NamedTuple):
    """What was made of the tables of files.

    Attributes
    ----------
    encoding : Encoding or None
        What makes points of them; None where they are taken as they stand in the files.
    labels : ndarray
        Those that occur, ascending.
    n_unlabelled : int
        Rows without a label, which were left out.
    """

    encoding: Encoding | None
    labels: np.ndarray
    n_unlabelled: int


def read_on(fleet: Fleet, choices: Choices, wording: Wording) -> Read:
    """As `fastmem.tables.load_labelled`, of files whose rows are the tables of parts on shards.

    Parameters
    ----------
    fleet : Fleet
        None of whose points were looked at.
    choices : Choices
        What the user wants of the columns.
    wording : Wording
        How messages speak of the files.

    Raises
    ------
    InvalidInputError
        If no row has a label, or the columns cannot be encoded.
    """
    table = RemoteTable(fleet)
    if table.n_unlabelled and not table.n_rows:
        raise InvalidInputError(
            f"{wording.table} has no row with a label; give the column that holds the labels"
        )
    if choices == Choices() and not table.n_unlabelled:
        # numbers alone are taken as they stand in the files
        fleet.tell("encode", None, None)
        fleet.flush()
        with suppress(InvalidInputError):
            return Read(None, _labels(fleet), 0)
    encoding = Encoding.of_source(table, choices, wording)
    _encode(fleet, table, encoding)
    return Read(encoding, _labels(fleet), table.n_unlabelled)


def _labels(fleet: Fleet) -> np.ndarray:
    facts = [fact for some in fleet.ask(("facts",))[0] for fact in some if fact.n_rows]
    return classes_of(facts)[0]


def _together_met(met: Sequence[tuple[int, Surprises]]) -> Surprises:
    """What all parts have met, by their numbers."""
    whole = Surprises()
    for _, one in sorted(met, key=lambda pair: pair[0]):
        whole.missing.update(one.missing)
        whole.unknown.update(one.unknown)
        for name, some in one.examples.items():
            examples = whole.examples.setdefault(name, [])
            examples += [value for value in some if value not in examples]
            del examples[EXAMPLES:]
    return whole


def _together(facts: Sequence[TableFacts]) -> Any:
    """The schema of all parts: types as one table would have them."""
    some = [fact for fact in facts if fact.n_rows] or facts
    for fact in some:
        if fact.schema.names != some[0].schema.names:
            raise InvalidInputError(
                f"part {fact.number} has other columns than part {some[0].number}; pass tables "
                f"with the same columns in the same order"
            )
    schemas = [fact.schema for fact in some]
    titles = [f"part {fact.number}" for fact in some]
    # pandas makes numbers of truth values below an empty column of floats
    bools = {at for schema in schemas for at, kind in enumerate(schema.types) if kind == "bool"}
    return schema_of_all(
        schemas, titles, [fact.levels for fact in some],
        lambda part, at: at in some[part].empty and at not in bools,
    )  # fmt: skip
