"""What all kinds of encoded columns have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn

import numpy as np

from fastmem.inputs import Wording
from fastmem.inputs.refusals import refuse, show

EXAMPLES = 3
MISSING = "is missing"


@dataclass
class Surprises:
    """What an encoding met that it had not met at the fit, by column.

    Attributes
    ----------
    missing : Counter of str
        Missing values in columns that had none.
    unknown : Counter of str
        Values of categories that have no code.
    examples : dict of str to list of str
        Some of the latter.
    """

    missing: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.missing or self.unknown)

    def sentences(self) -> list[str]:
        """One for each column, with what became of the values."""
        said = []
        for name, count in self.unknown.items():
            shown = ", ".join(show(one) for one in self.examples.get(name, ()))
            said.append(
                f"column {show(name)} has {count:,} values that the fit did not know ({shown}): "
                f"they count as none of the known ones"
            )
        for name, count in self.missing.items():
            said.append(
                f"column {show(name)} lacks {count:,} values where the fit lacked none: "
                f"they count as its median, or as none of its levels"
            )
        return said


@dataclass(frozen=True)
class Place:
    """Where a chunk of a column stands, and what is said of it.

    Attributes
    ----------
    wording : Wording
    row : int
        Rows before it.
    taken : ndarray of int64 or None
        Which of the rows from there on it holds; None: all.
    decimal : {".", ","}
        What stands before the decimals of numbers in texts.
    """

    wording: Wording
    row: int
    taken: np.ndarray | None = None
    decimal: str = "."

    def refuse(self, name: str, within: int, value: Any, unlike: str) -> NoReturn:
        """Refuse the value in row ``within`` of the chunk, which is unlike those of the fit."""
        within = within if self.taken is None else int(self.taken[within])
        where = self.wording.place(self.row + within, name)
        refuse(
            f"{where} is {show(value)}, which is {unlike} as at the fit; mend it, remove the row, "
            f"or name it with --missing if it stands for a missing value"
        )


class Column:
    """An encoded column: what it was, and the features that it became.

    Attributes
    ----------
    name : str
    flags_missing : bool
        Whether a feature says that a value is missing: where some were missing at the fit.
    """

    kind: ClassVar[str]
    name: str
    flags_missing: bool

    @property
    def own_features(self) -> list[str]:
        """Names of the features but for the one that flags missing values: the column itself."""
        return [self.name]

    @property
    def feature_names(self) -> list[str]:
        """Names of the features, in order."""
        flag = [f"{self.name} {MISSING}"] if self.flags_missing else []
        return self.own_features + flag

    @property
    def width(self) -> int:
        """How many features."""
        return len(self.feature_names)

    def encode(self, chunk: Any, out: np.ndarray, place: Place, surprises: Surprises) -> None:
        """Write the features of a chunk, (rows, width) floats."""
        missing = nulls(chunk)
        self._write(chunk, missing, out, place, surprises)
        if self.flags_missing:
            out[:, -1] = missing
        elif missing.any():
            surprises.missing[self.name] += int(missing.sum())

    def _write(
        self, chunk: Any, missing: np.ndarray, out: np.ndarray, place: Place, surprises: Surprises
    ) -> None:
        raise NotImplementedError

    def described(self) -> str:
        """What the column became, in a few words."""
        raise NotImplementedError

    def read_back(self, features: np.ndarray) -> Any:
        """The value that features (width,) stand for; None where it is missing or unknown."""
        return None if self.flags_missing and features[-1] else self._value(features)

    def _value(self, features: np.ndarray) -> Any:
        raise NotImplementedError

    @property
    def moves_freely(self) -> bool:
        """Whether each feature may take any value by itself, and the column has others then."""
        return False

    def others(self, features: np.ndarray) -> Iterator[tuple[Any, np.ndarray]]:
        """The other values of a column of few, each with the features that stand for it."""
        yield from ()


def nulls(chunk: Any) -> np.ndarray:
    """Which values are missing: nulls, also those of a dictionary, and NaN."""
    from pyarrow import types

    chunk = plain(chunk)
    if types.is_floating(chunk.type):
        return np.asarray(chunk.is_null(nan_is_null=True).to_numpy(zero_copy_only=False))
    return np.array(chunk.is_null().to_numpy(zero_copy_only=False))


def first_unread(values: Any, read: Callable[[Any], object | None]) -> int:
    """The place of the first value with which ``read``, given it and all before, gives None.

    Not of the first that gives None alone: dates with and without a zone are only wrong together.
    """
    low, high = 0, len(values)  # so many are read, so many are not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if read(values.slice(0, middle)) is None else (middle, high)
    return low


def is_text(kind: Any) -> bool:
    """Whether an Arrow type holds texts."""
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def plain(chunk: Any) -> Any:
    """A chunk without a dictionary, and texts as ``string``."""
    from pyarrow import large_string, string, types

    if types.is_dictionary(chunk.type):
        chunk = chunk.cast(chunk.type.value_type)
    if types.is_string_view(chunk.type):
        chunk = chunk.cast(large_string())
    return chunk.cast(string()) if types.is_null(chunk.type) else chunk


def as_texts(chunk: Any, column: str) -> Any:
    """The values of a category as texts: as they are written, numbers and dates as Arrow does.

    Raises InvalidInputError, in which ``column`` stands for the column, where Arrow writes none.
    """
    from pyarrow import ArrowException, string, types

    chunk = plain(chunk)
    if is_text(chunk.type) and not types.is_large_string(chunk.type):
        return chunk
    try:
        return chunk.cast(string())
    except ArrowException:
        refuse(
            f"{column} holds {chunk.type}, of which Arrow makes no texts; make texts of its "
            f"values, or leave the column out"
        )
