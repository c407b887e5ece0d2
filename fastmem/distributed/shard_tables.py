"""What a shard does with its parts while they are raw tables."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmem.distributed.parts import Part
from fastmem.encoding import Encoding, Surprises, arrow_table
from fastmem.encoding.profile import Profile
from fastmem.encoding.tables import ArrowSource, levels_of, with_schema
from fastmem.errors import InvalidInputError
from fastmem.inputs import Wording
from fastmem.inputs.frames import is_frame

Met = list[tuple[int, Surprises]]
"""What parts, by number, hold that an encoding does not know."""


class TableFacts(NamedTuple):
    """What is known of a part before its columns are looked at.

    Attributes
    ----------
    number, n_rows : int
    schema : pyarrow.Schema
    is_frame : bool
        Whether it is one as `fastmem.interpolate` takes them without an encoding.
    n_unlabelled : int
        Of the part.
    levels : dict of int to list
        Of columns of ordered categories, by place: the categories.
    empty : set of int
        Places of columns in which no row has a value.
    """

    number: int
    n_rows: int
    schema: Any
    is_frame: bool
    n_unlabelled: int
    levels: dict[int, list[Any]]
    empty: set[int]


class ShardTables:
    """What a shard does with its parts while they are raw tables.

    Parameters
    ----------
    parts : sequence of Part
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    def facts(self) -> list[TableFacts]:
        """What the driver must know of the parts."""
        found = []
        for part in self._parts:
            table = arrow_table(part.points)
            known = part.number, table.num_rows, table.schema, is_frame(part.points)
            levels = levels_of(table) if table.num_rows else {}
            empty = {
                at for at, column in enumerate(table.columns) if column.null_count == len(column)
            }
            found.append(TableFacts(*known, part.n_unlabelled, levels, empty))
        return found

    def seen(self, schema: Any, profiles: dict[int, Profile]) -> list[tuple[int, Any]]:
        """What each part shows profiles that have seen nothing."""
        found = []
        for part, source in self._sources(schema):
            mine = copy.deepcopy(profiles)
            for batch in source.batches():
                for at, one in mine.items():
                    one.see(batch.column(at))
            found.append((part.number, {at: one.without_sample() for at, one in mine.items()}))
        return found

    def sampled(
        self, schema: Any, profiles: dict[int, Profile], before: dict[int, dict[int, int]]
    ) -> list[tuple[int, dict[int, list[np.ndarray]]]]:
        """What each part holds of the samples of all values."""
        found = []
        for part, source in self._sources(schema):
            here: dict[int, list[np.ndarray]] = {at: [] for at in profiles}
            counts = dict(before[part.number])
            for batch in source.batches():
                for at, one in profiles.items():
                    some, counts[at] = one.sample_in(batch.column(at), counts[at])
                    here[at].append(some)
            found.append((part.number, here))
        return found

    def encoded(self, schema: Any, encoding: Encoding) -> tuple[list[Part], Met]:
        """Parts of features, and what was met that the encoding does not know."""
        parts: list[Part] = []
        met: Met = []
        for part, source in self._sources(schema):
            surprises = Surprises()
            wording = _wording(part)
            blocks = list(encoding.batches(source, wording, surprises))
            none = np.empty((0, encoding.n_features), np.float32)
            parts.append(part._replace(points=np.concatenate(blocks) if blocks else none))
            met.append((part.number, surprises))
        return parts, met

    def _sources(self, schema: Any) -> Iterator[tuple[Part, ArrowSource]]:
        for part in self._parts:
            table = arrow_table(part.points)
            if table.num_rows:
                yield part, ArrowSource(_cast(table, schema, part))
            else:
                yield part, ArrowSource(schema.empty_table())


def _cast(table: Any, schema: Any, part: Part) -> Any:
    try:
        return with_schema(table, schema)
    except InvalidInputError as refused:
        raise InvalidInputError(f"in part {part.number}, {refused}") from refused


def _wording(part: Part) -> Wording:
    return Wording("X", f"row {{}} of part {part.number}")
