"""All that fastmem raises or warns of by a name of its own."""

from __future__ import annotations

from typing import Any


class InvalidInputError(ValueError):
    """An argument that fastmem cannot use; the message names it, where it is and the remedy."""


class ContradictionError(InvalidInputError):
    """Equal points with different labels: no function can be right on all of them.

    Attributes
    ----------
    pairs : list of (int, int)
        The first few such pairs of rows.
    count : int
        Points that share their coordinates with a point of another class.
    """

    def __init__(self, message: str, pairs: list[tuple[int, int]], count: int) -> None:
        super().__init__(message)
        self.pairs, self.count = pairs, count

    def __reduce__(self) -> tuple[type[ContradictionError], tuple[object, ...], dict[str, Any]]:
        # an exception is made anew from its args, which hold the message alone
        return type(self), (str(self), self.pairs, self.count), self.__dict__


class NotEnoughMemoryError(MemoryError):
    """Less memory is free than the work is going to take; the message says what to do."""


class UnseparatedWarning(UserWarning):
    """Some training points cannot be covered at the width that was given."""


class UnknownValueWarning(UserWarning):
    """A table holds categories that the fit did not know, or lacks values where it lacked none."""


class ModelFileError(ValueError):
    """A file is not a whole and valid fastmem model, or a network cannot be written as one."""
