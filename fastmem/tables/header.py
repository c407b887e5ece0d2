"""Whether the first row of a table holds names or data.

A point that is taken for names is lost, and names that are numbers become a point that nobody
would miss; so the first row is compared with those below it, and where both could be, the user is
asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fastmem.errors import InvalidInputError
from fastmem.inputs.refusals import show
from fastmem.tables.columns import is_index

_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")
_FEWEST_ROWS = 8
"""Rows from which the range of a column can be judged."""
_FEWEST_STEPS = 3
"""Numbers at the same distance from each other that are no coincidence."""


@dataclass
class _Column:
    """A cell of the first row, and what stands below it."""

    cell: str
    number: float | None  # that the cell holds
    below: list[str]  # without missing values
    numbers: list[float]  # all of those below, or none where one of them is no number

    @property
    def is_whole(self) -> bool:
        return _WHOLE.fullmatch(self.cell) is not None

    @property
    def fits(self) -> bool:
        """Whether the number of the first row could be one more value of the column."""
        if self.number is None or not self.numbers:
            return False
        if self.is_whole and not any(_WHOLE.fullmatch(text.lstrip("+-")) for text in self.below):
            return False  # no program writes 3 above 39.1, 40.0, ...
        if len(self.numbers) < _FEWEST_ROWS:
            return True
        low, high = min(self.numbers), max(self.numbers)
        room = max(high - low, 1.0)  # as a column that is sorted needs
        return low - room <= self.number <= high + room


def has_header(
    rows: Sequence[Sequence[str]], *, is_missing: Callable[[str], bool],
    number_of: Callable[[str], float | None], label: str | None,
    known_names: Sequence[str] | None, path: str,
) -> bool:  # fmt: skip
    """Say whether the first row is a header.

    Parameters
    ----------
    rows : sequence of sequence of str
        The first rows, at least one.
    is_missing, number_of : callable
        What a cell holds.
    label : str or None
        The label column's name or index.
    known_names : sequence of str or None
        Names that the columns should have.
    path : str
        For messages.

    Raises
    ------
    InvalidInputError
        If it could be either.
    """
    first = list(rows[0])
    if known_names is not None and set(known_names) <= set(first):
        return True
    if label is not None and not is_index(label) and label in first:
        return True  # recognised by the name that was asked for
    return _judged(first, rows, is_missing, number_of, label, path)


def _judged(
    first: list[str], rows: Sequence[Sequence[str]], is_missing: Callable[[str], bool],
    number_of: Callable[[str], float | None], label: str | None, path: str,
) -> bool:  # fmt: skip
    below = [row for row in rows[1:] if len(row) == len(first)]
    columns = []
    for j, cell in enumerate(first):
        if is_missing(cell):
            continue
        texts = [row[j] for row in below if not is_missing(row[j])]
        found = [number_of(text) for text in texts]
        numbers = [value for value in found if value is not None]
        if len(numbers) < len(found):
            numbers = []
        columns.append(_Column(cell, number_of(cell), texts, numbers))
    named = [column for column in columns if column.number is None]
    counted = [column for column in columns if column.number is not None]
    if not columns:  # nothing but missing values
        return False
    is_named_otherwise = label is not None and not is_index(label)  # it is refused in any case
    if not counted:
        verdict = _of_texts(named)
    elif len({column.cell for column in counted}) < len(counted):
        verdict = False  # names differ
    elif is_named_otherwise and not named:
        verdict = False
    else:
        verdict = _of_numbers(first, named, counted)
    if verdict is None:
        cells = ", ".join(show(cell) for cell in first[:6]) + (", ..." if len(first) > 6 else "")
        raise InvalidInputError(
            f"{path} begins with the row {cells}, which could be names of columns or data: say "
            "which with --header or --no-header"
        )
    return verdict


def _of_texts(named: Sequence[_Column]) -> bool | None:
    """Judge a first row without a number; None: it could be either."""
    if any(column.numbers and _is_name(column.cell) for column in named):
        return True  # a word above numbers
    again = sum(column.cell in column.below for column in named)
    if not again:
        differ = len({column.cell for column in named}) == len(named)
        return True if differ or not named[0].below else None
    return False if 2 * again > len(named) else None


def _of_numbers(
    first: Sequence[str], named: Sequence[_Column], counted: Sequence[_Column]
) -> bool | None:
    """Judge a first row that holds numbers, which all differ."""
    values = [column.number or 0.0 for column in counted]
    if any(column.cell in column.below for column in named):
        return False  # a label that comes again
    judged = [column for column in counted if column.below]
    strange = sum(not column.fits for column in judged) / len(judged) if judged else 0.0
    word_above_numbers = any(column.numbers and _is_name(column.cell) for column in named)
    if word_above_numbers and judged and strange == 1.0:
        return True
    if not all(column.is_whole for column in counted):
        steps = {round(b - a, 9) for a, b in pairwise(values)}
        is_scale = len(values) >= _FEWEST_STEPS and len(steps) == 1
        if word_above_numbers or (is_scale and strange > 0.5):
            return None  # wavelengths, say
        return False
    if word_above_numbers:
        return None
    if _are_places(first, counted):
        if len(counted) == 1:  # a number alone is no order
            return None if named and strange else False
        return True if strange >= 0.5 else None
    steps = {b - a for a, b in pairwise(values)}
    if len(values) >= _FEWEST_STEPS and len(steps) == 1:  # years, say
        return True if strange == 1.0 and named else None
    return None if strange == 1.0 and len(values) > 1 else False


def _are_places(first: Sequence[str], counted: Sequence[_Column]) -> bool:
    """Whether the numbers count the columns: 0, 1, 2, ... or 1, 2, 3, ..., an index before them."""
    places = [j for j, cell in enumerate(first) if any(cell == c.cell for c in counted)]
    values = [int(column.cell) for column in counted]
    shifts = {value - place for value, place in zip(values, places, strict=False)}
    starts_low = values[0] in (0, 1)
    return len(places) == len(values) and starts_low and len(shifts) == 1


def _is_name(cell: str) -> bool:
    """Whether a cell that is no number has a letter, which signs for missing values have not."""
    return any(c.isalpha() for c in cell)
