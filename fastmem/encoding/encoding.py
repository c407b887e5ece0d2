"""Encoding: what every column of a raw table became, kept so that others become the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from fastmem.encoding.column import Column, Place, Surprises
from fastmem.encoding.members import column_from, columns_to
from fastmem.encoding.numbers import Number
from fastmem.encoding.profile import KINDS, Profile
from fastmem.encoding.tables import ArrowSource, arrow_table
from fastmem.errors import InvalidInputError, UnknownValueWarning
from fastmem.inputs import Wording
from fastmem.inputs.refusals import did_you_mean, refuse, show
from fastmem.machine.warned import warn_user

VERSION = 1
MOST_BYTES = 8 << 20
"""Of an encoding as JSON: what a model file may hold. A column of 4,044 levels takes some 60 KB; of
a forged text JSON makes up to thirty times as much."""


class Source(Protocol):
    """A table whose batches can be taken several times."""

    names: list[str]
    types: list[Any]
    decimal: str

    def batches(self) -> Iterator[Any]:
        """Record batches, columns in the order of ``names``."""


class SourceElsewhere(Source):
    """A table that is elsewhere, where profiles of its columns are shown all rows."""

    def show(self, profiles: Mapping[int, Profile]) -> None:
        """Let profiles, which have seen nothing yet, know all rows; they go by column."""
        raise NotImplementedError


@dataclass(frozen=True)
class Choices:
    """What a user wants of the columns.

    Attributes
    ----------
    kinds : mapping of str to str
        For some columns one of ``number``, ``bool``, ``category``, ``one-hot``, ``code``,
        ``ordinal``, ``date``, ``time``, or a pattern as of ``strptime``.
    drop : sequence of str
        Columns that are left out.
    keep : sequence of str or None
        Columns that are taken, all others left out.
    key : int
        From which the codes of categories with many levels are made.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    drop: Sequence[str] = ()
    keep: Sequence[str] | None = None
    key: int = 0

    def check(self, names: Sequence[str], table: str) -> None:
        """Refuse columns that the table has not, and kinds that there are not."""
        for name in (*self.kinds, *self.drop, *(self.keep or ())):
            if name not in names:
                shown = ", ".join(map(show, names[:8])) + (", ..." if len(names) > 8 else "")
                refuse(
                    f"{table} has no column {show(name)}{did_you_mean(name, list(names))}: its "
                    f"columns are {shown}"
                )
        for name, kind in self.kinds.items():
            if kind not in KINDS and "%" not in kind:
                refuse(
                    f"column {show(name)} is to be read as {show(kind)}"
                    f"{did_you_mean(kind, KINDS)}; choose among {', '.join(KINDS)}, or give a "
                    f"pattern such as %d.%m.%Y"
                )

    def takes(self, name: str) -> bool:
        """Whether the user leaves a column in."""
        return name not in self.drop and (self.keep is None or name in self.keep)


@dataclass(frozen=True, eq=False)
class Encoding:
    """How the columns of a raw table become features.

    Made by :meth:`fit`; a network that was fitted with one keeps it, also in its file.

    Attributes
    ----------
    columns : tuple of Column
        Those that became features, in order.
    left_out : dict of str to str
        The others, and why.
    named : bool
        Whether the table's columns had names; else they go by their places.
    narrow : bool
        Whether float32 held all values at the fit.
    """

    columns: tuple[Column, ...]
    left_out: dict[str, str] = field(default_factory=dict)
    named: bool = True
    narrow: bool = False

    @classmethod
    def fit(
        cls,
        table: Any,
        *,
        kinds: Mapping[str, str] | None = None,
        drop: Sequence[str] = (),
        keep: Sequence[str] | None = None,
    ) -> Encoding:
        """Find out what the columns of a table hold.

        Parameters
        ----------
        table : pandas or polars data frame, pyarrow Table or RecordBatch, or dict of columns
            The features, without the labels.
        kinds : mapping of str to str, optional
            For some columns ``number``, ``bool``, ``category``, ``one-hot``, ``code``,
            ``ordinal``, ``date``, ``time``, or a pattern for dates as of ``strptime``. The others
            are looked at: numbers, truth values, dates and times are taken for what they are,
            also where they are written out; all else is a category, one-hot up to 100 levels,
            beyond them a code of signs. An ordered dictionary is ordinal.
        drop, keep : sequence of str, optional
            Columns to leave out, or the only ones to take. By themselves columns are left out
            that hold no value, one value, or in every row a text of its own.

        Returns
        -------
        Encoding

        Raises
        ------
        InvalidInputError
            If the table or a choice cannot be used, or no column is left.
        """
        choices = Choices(dict(kinds or {}), tuple(drop), None if keep is None else tuple(keep))
        return cls.of_source(ArrowSource(arrow_table(table, "table")), choices, Wording("table"))

    @classmethod
    def of_source(
        cls, source: Source, choices: Choices, wording: Wording, *, named: bool = True
    ) -> Encoding:
        """Find out what the columns of a source hold; all of it is read once or twice."""
        choices.check(source.names, wording.table)
        left_out = {name: "as you asked" for name in source.names if not choices.takes(name)}
        profiles: dict[int, Profile] = {}
        for at, (name, kind) in enumerate(zip(source.names, source.types, strict=True)):
            if name not in left_out:
                choice = choices.kinds.get(name)
                profiles[at] = Profile(name, kind, wording, source.decimal, choice)
        _show(source, profiles)
        if not any(one.n_rows for one in profiles.values()):
            refuse(f"{wording.table} has no rows of data: give at least one point")
        again = {at: one for at, one in profiles.items() if one.needs_another_look}
        for one in again.values():
            one.look_again()
        if again:
            _show(source, again)
        columns = []
        narrow = True
        for one in profiles.values():
            decided = one.decided(choices.key)
            if isinstance(decided, str):
                left_out[one.name] = decided
            else:
                columns.append(decided)
                narrow = narrow and one.fits_float32
        if not any(one.width for one in columns):
            left_out |= {one.name: "one level alone" for one in columns}
            whys = "; ".join(f"{show(name)}: {why}" for name, why in list(left_out.items())[:4])
            refuse(
                f"{wording.table} has no column that tells its rows apart ({whys}); give at least "
                f"one feature"
            )
        encoding = cls(tuple(columns), left_out, named, narrow)
        if len(json.dumps(encoding.to_dict())) > MOST_BYTES:
            longest = max(columns, key=lambda one: len(str(one)))
            refuse(
                f"the categories of {wording.table} take more than {MOST_BYTES >> 20} MB, which is "
                f"too much for a model file; leave some out with drop (--drop), first of all "
                f"column {show(longest.name)}"
            )
        return encoding

    @property
    def feature_names(self) -> list[str]:
        """Names of the features, in order."""
        return [name for column in self.columns for name in column.feature_names]

    @property
    def is_plain(self) -> bool:
        """Whether all columns are numbers that are taken as they are, and none is left out."""
        return not self.left_out and all(
            isinstance(one, Number) and one.form == "number" and not one.flags_missing
            for one in self.columns
        )

    @property
    def n_features(self) -> int:
        """How many features there are."""
        return sum(column.width for column in self.columns)

    def __repr__(self) -> str:
        out = f", {len(self.left_out)} left out" if self.left_out else ""
        return (
            f"<fastmem.tables.Encoding: {len(self.columns)} columns, "
            f"{self.n_features} features{out}>"
        )

    def rows(self) -> list[tuple[str, str, int]]:
        """For every column its name, what it became or why it was left out, and its features."""
        made = []
        for column in self.columns:
            flag = ", and whether it is missing" if column.flags_missing else ""
            made.append((column.name, column.described() + flag, column.width))
        return made + [(name, f"left out: {why}", 0) for name, why in self.left_out.items()]

    def places(self, names: Sequence[str], table: str) -> list[int]:
        """Where the columns are among those of another table.

        Raises InvalidInputError where one is not there. Others are not looked at.
        """
        at = {name: i for i, name in enumerate(names)}
        lacking = [column.name for column in self.columns if column.name not in at]
        if lacking:
            shown = ", ".join(map(show, lacking[:8])) + (", ..." if len(lacking) > 8 else "")
            refuse(
                f"{table} has no column {shown} of the fit"
                f"{did_you_mean(lacking[0], list(names))}; give a table with the columns of the fit"
            )
        return [at[column.name] for column in self.columns]

    def encoded(
        self, batch: Any, places: Sequence[int], place: Place, surprises: Surprises
    ) -> np.ndarray:
        """The features of a record batch, (rows, n_features) float32 or float64."""
        out = np.empty((batch.num_rows, self.n_features))
        at = 0
        for column, i in zip(self.columns, places, strict=True):
            chunk = batch.column(i)
            column.encode(chunk, out[:, at : at + column.width], place, surprises)
            at += column.width
        if not self.narrow:
            return out
        with np.errstate(over="ignore", under="ignore"):
            short = out.astype(np.float32)
        return short if (short == out).all() else out

    def batches(
        self, source: Source, wording: Wording, surprises: Surprises
    ) -> Iterator[np.ndarray]:
        """The features of a source, batch by batch."""
        places, row = self.places(source.names, wording.table), 0
        for batch in source.batches():
            yield self.encoded(
                batch, places, Place(wording, row, decimal=source.decimal), surprises
            )
            row += batch.num_rows

    def transform(self, table: Any) -> np.ndarray:
        """The features of a table.

        Parameters
        ----------
        table : data frame, as of :meth:`fit`
            With the columns of the fit, in any order; others are not looked at. Labels unknown to
            the fit count as none, missing values are filled: with the median, or as a level that
            is none of the known ones.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32 or float64

        Raises
        ------
        InvalidInputError
            If a column is not there, or holds what is no number (date, time) where the fit had
            such.

        Warns
        -----
        UnknownValueWarning
            Of categories that the fit did not know, and of missing values in columns that had
            none.
        """
        surprises = Surprises()
        X = self.features(table, "table", surprises)
        for sentence in surprises.sentences():
            warn_user(sentence, UnknownValueWarning)
        return X

    def features(self, table: Any, name: str, surprises: Surprises) -> np.ndarray:
        """As `transform`, with what was met noted in ``surprises``."""
        source = ArrowSource(arrow_table(table, name))
        blocks = list(self.batches(source, Wording(name), surprises))
        if not blocks:
            return np.empty((0, self.n_features), np.float32 if self.narrow else np.float64)
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        return {
            "version": VERSION,
            "named": self.named,
            "narrow": self.narrow,
            "columns": columns_to(self.columns),
            "left_out": dict(self.left_out),
        }

    @classmethod
    def from_dict(cls, stored: Any) -> Encoding:
        """The reverse of `to_dict`; nothing is believed.

        Raises InvalidInputError where something is wrong.
        """
        if not isinstance(stored, dict) or stored.get("version") != VERSION:
            raise InvalidInputError(
                f"an encoding is not a dict of version {VERSION}; save the network again"
            )
        named, narrow = stored.get("named"), stored.get("narrow")
        left_out, columns = stored.get("left_out"), stored.get("columns")
        if not (isinstance(named, bool) and isinstance(narrow, bool)):
            refuse("an encoding does not say whether its columns are named; save the network again")
        if not isinstance(left_out, dict) or not all(
            isinstance(text, str) for pair in left_out.items() for text in pair
        ):
            refuse("an encoding names columns without a reason; save the network again")
        if not isinstance(columns, list) or not columns:
            refuse("an encoding has no columns; save the network again")
        made = tuple(column_from(one) for one in columns)
        names = [column.name for column in made]
        if len(set(names)) < len(names):
            refuse("an encoding has two columns of one name; save the network again")
        return cls(made, left_out, named, narrow)


def _show(source: Source, profiles: Mapping[int, Profile]) -> None:
    if isinstance(source, SourceElsewhere):
        source.show(profiles)
        return
    for batch in source.batches():
        for at, one in profiles.items():
            one.see(batch.column(at))
