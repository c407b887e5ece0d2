"""What a column of a raw table holds, found out chunk by chunk, and what it should become."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmem.encoding import texts
from fastmem.encoding.categories import Code, OneHot, Ordinal
from fastmem.encoding.codes import code_bits
from fastmem.encoding.column import Column, as_texts, first_unread, is_text, nulls, plain
from fastmem.encoding.moments import PARTS, Moment, moments_of, parts_of
from fastmem.encoding.numbers import EXACT, FORMS, Integer, Number, Vector, values_of
from fastmem.errors import InvalidInputError
from fastmem.inputs import Wording
from fastmem.inputs.refusals import refuse, show

ONE_HOT = 100
"""Levels of a category up to which each gets a feature of its own."""
IDENTIFIES = 20
"""Rows from which on a text of its own in each row is taken for a name, and left out."""
MOST_LEVELS = 1 << 17
MOST_LEVEL_BYTES = 4 << 20
"""Of the texts of a column's levels, which the model file holds."""
KINDS = ("number", "bool", "category", "one-hot", "code", "ordinal", "date", "time")
"""What a user may ask for; a pattern with % is that of a date."""
_WANTED = {
    "number": "a number that float64 holds",
    "grouped": "a finite number",
    "bool": "true or false",
    "time": "a time of day",
}
_SAMPLE = 1 << 16
_ODD_SHOWN = 3
_LEVELS = "levels"
_MANY = f"more than {MOST_LEVELS:,} levels, or {MOST_LEVEL_BYTES >> 20} MB of them"


class _Sample:
    """Every so many of the values, at most `_SAMPLE`: their median is near that of all."""

    def __init__(self) -> None:
        self._kept: list[np.ndarray] = []
        self._step, self._next, self._count = 1, 0, 0

    def add(self, values: np.ndarray) -> None:
        """Take values, (rows,) or (rows, k)."""
        chosen = values[self._next :: self._step]
        self._next += len(chosen) * self._step - len(values)
        if len(chosen):
            self._kept.append(np.array(chosen))
            self._count += len(chosen)
        while self._count > _SAMPLE:
            last = self._next - self._step  # of the one before the next, seen from here
            kept = self.values
            self._kept = [kept[::2]]
            self._step *= 2
            self._next = last + (self._step if len(kept) % 2 else self._step // 2)
            self._count = len(self._kept[0])

    @staticmethod
    def step_for(count: int) -> int:
        """Which share of so many values are kept: those whose number is a multiple of it."""
        step = 1
        while -(-count // step) > _SAMPLE:
            step *= 2
        return step

    @property
    def values(self) -> np.ndarray:
        """Those that were kept."""
        return np.concatenate(self._kept) if self._kept else np.empty(0)

    def median(self) -> Any:
        """The lower median, one of the values; of rows by their first entry and then the next."""
        values = self.values
        order = np.argsort(values) if values.ndim == 1 else np.lexsort(values.T[::-1])
        return values[order[(len(order) - 1) // 2]]


class Profile:
    """What one column holds.

    Parameters
    ----------
    name : str
    kind : pyarrow.DataType
    wording : Wording
    decimal : {".", ","}
    choice : str or None
        One of `KINDS`, or a pattern as of ``strptime``.

    Attributes
    ----------
    needs_another_look : bool
        Whether all chunks must be shown once more, after `look_again`.
    """

    def __init__(
        self, name: str, kind: Any, wording: Wording, decimal: str, choice: str | None
    ) -> None:
        from pyarrow import types

        self.name, self.wording, self.decimal, self.choice = name, wording, decimal, choice
        self.is_ordered = types.is_dictionary(kind) and kind.ordered
        self.pattern = choice if choice and "%" in choice else ""
        self.needs_another_look = False
        self.is_text = is_text(kind)
        self._kind = kind
        self._order: list[str] | None = None
        self._form = self._first_form(kind)
        self._reset()

    def _first_form(self, kind: Any) -> str | None:
        from pyarrow import types

        asked = {
            "category": _LEVELS, "one-hot": _LEVELS, "code": _LEVELS, "ordinal": _LEVELS,
            "number": "number", "bool": "bool", "date": "moment", "time": "time", None: None,
        }  # fmt: skip
        if self.pattern:
            return "moment"
        if self.choice is not None:
            return asked[self.choice]
        if types.is_dictionary(kind):
            return _LEVELS
        if types.is_nested(kind):
            return "vector"
        if types.is_date(kind) or types.is_timestamp(kind):
            return "moment"
        if types.is_time(kind) or types.is_duration(kind):
            return "time"
        if types.is_boolean(kind):
            return "bool"
        if self.is_text or types.is_null(kind):
            return None
        if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
            return "number"
        refuse(
            f"{self.wording.column(self.name)} holds {kind}, which nothing is made of; leave it "
            f"out with drop (--drop)"
        )

    def _reset(self) -> None:
        self.n_rows = self.n_missing = 0
        self._sample = _Sample()
        self._low: Any = None
        self._high: Any = None
        self._levels: dict[str, None] = {}
        self._level_bytes = 0
        self._fits32 = self._is_whole = True
        self._is_long = self._too_many = False
        self._varying: set[str] = set()
        self._first_moment: np.ndarray | None = None
        self._odd: dict[str, None] = {}
        self._n_numbers = 0
        self.length: int | None = None

    def look_again(self) -> None:
        """Begin anew, as a column of levels."""
        self._reset()
        self._form, self.needs_another_look = _LEVELS, False

    def see(self, chunk: Any) -> None:
        """Take note of a chunk."""
        from pyarrow import array, types

        missing = nulls(chunk)
        self.n_missing += int(missing.sum())
        if self._form == "vector":
            self._see_lists(chunk)
            self.n_rows += len(chunk)
            return
        has_levels = types.is_dictionary(chunk.type) and len(chunk)
        if has_levels and self.is_ordered and self._order is None:
            self._order = self._as_texts(chunk.dictionary).to_pylist() or None
        values = plain(chunk.filter(array(~missing)) if missing.any() else chunk)
        self.n_rows += len(chunk)
        if self.needs_another_look or not len(values):
            return
        if self._form is None:
            self._form = self._form_of(values)
        if self._form == _LEVELS:
            self._see_levels(values)
        elif self._form == "moment":
            self._see_moments(values)
        else:
            self._see_numbers(values)

    def join(self, other: Profile) -> None:
        """Take note of what another profile of the column has seen, of rows that come after.

        All but the sample that medians are of: see `sample_in`.
        """
        had_values, self.n_rows = self.n_rows > self.n_missing, self.n_rows + other.n_rows
        self.n_missing += other.n_missing
        self._order = self._order or other._order
        if other.length is not None:
            self._take_lengths({other.length, self.length or other.length})
        if other.n_rows == other.n_missing or self.needs_another_look:
            return
        forms = {self._form, other._form} if had_values else {other._form}
        if other.needs_another_look or not (len(forms) == 1 or forms == {"number", "grouped"}):
            self._form, self.needs_another_look = _LEVELS, True
            return
        self._form = "grouped" if len(forms) > 1 else other._form
        if not had_values:
            self._low, self._high, self._first_moment = other._low, other._high, other._first_moment
        elif other._low is not None:
            self._low, self._high = min(self._low, other._low), max(self._high, other._high)
        self._fits32 &= other._fits32
        self._is_whole &= other._is_whole
        self._is_long |= other._is_long
        self._varying |= other._varying
        if self._first_moment is not None and other._first_moment is not None:
            self._vary(other._first_moment)
        self._odd |= other._odd
        self._n_numbers += other._n_numbers
        self._take_levels([text for text in other._levels if text not in self._levels])
        self._too_many |= other._too_many

    def without_sample(self) -> Profile:
        """What was seen, but for the sample."""
        self._sample = _Sample()
        return self

    @property
    def n_values(self) -> int:
        """Rows that hold a value."""
        return self.n_rows - self.n_missing

    @property
    def has_median(self) -> bool:
        """Whether a median of its values is asked for."""
        return self.n_values > 0 and self._form not in (_LEVELS, "vector")

    def sample_in(self, chunk: Any, before: int) -> tuple[np.ndarray, int]:
        """Which values of a chunk the sample of all holds, where so many come before it.

        Returns them, and how many come before the next chunk.
        """
        from pyarrow import array

        missing = nulls(chunk)
        values = plain(chunk.filter(array(~missing)) if missing.any() else chunk)
        step = _Sample.step_for(self.n_values)
        first = -before % step
        found = self._read(values) if len(values) > first else None
        return (np.empty(0) if found is None else found[first::step]), before + len(values)

    def take_sample(self, parts: list[np.ndarray]) -> None:
        """Take what `sample_in` found in all chunks."""
        for values in parts:
            if len(values):
                self._sample.add(values)

    def _form_of(self, values: Any) -> str:
        for form in FORMS:
            if values_of(values, form, self.decimal) is not None:
                return form
        return "moment" if moments_of(values, "") is not None else _LEVELS

    def _turned(self, values: Any, wanted: str) -> None:
        """Another form than so far: the column is one of levels, if nobody asked for more."""
        if self.choice is not None or not self.is_text:
            cure = "remove those rows, or fill them with null"
            if self.is_text:
                cure = (
                    "choose another kind for it (--as), or name the text with --missing if it "
                    "stands for a missing value"
                )
            refuse(
                f"{self.wording.column(self.name)} holds {show(self._example(values))}, which is "
                f"not {wanted}; {cure}"
            )
        self._form, self.needs_another_look = _LEVELS, True

    def _example(self, values: Any) -> Any:
        return values[first_unread(values, self._read)].as_py()

    def _read(self, values: Any) -> np.ndarray | None:
        """Values in the form of the column."""
        if self._form == "moment":
            return moments_of(values, self.pattern)
        return values_of(values, str(self._form), self.decimal)

    def _see_numbers(self, values: Any) -> None:
        found = values_of(values, str(self._form), self.decimal)
        if found is None and self._form == "number" and self.is_text:
            found = values_of(values, "grouped", self.decimal)
            self._form = "number" if found is None else "grouped"
        if found is None:
            self._turned(values, _WANTED[str(self._form)])
            return
        low, high = found.min(), found.max()
        if max(-low, high) >= EXACT and self._form in ("number", "grouped"):
            self._see_long(values, found)
            if self.needs_another_look:
                return
        else:
            self._span(low, high)
        self._is_whole = self._is_whole and bool((np.trunc(found) == found).all())
        if self._fits32:
            with np.errstate(over="ignore", under="ignore"):
                self._fits32 = bool((found.astype(np.float32) == found).all())
        self._sample.add(found)

    def _span(self, low: Any, high: Any) -> None:
        low = int(low) if float(low).is_integer() else float(low)
        high = int(high) if float(high).is_integer() else float(high)
        self._low = low if self._low is None else min(self._low, low)
        self._high = high if self._high is None else max(self._high, high)

    def _see_long(self, values: Any, found: np.ndarray) -> None:
        """Numbers of which some are beyond 2^53: whole ones must not be rounded."""
        from pyarrow import compute, types

        whole = values if types.is_integer(values.type) else None
        if self.is_text:
            pointed = texts.with_point(values, self.decimal)
            pointed = texts.without_thousands(pointed) if self._form == "grouped" else pointed
            whole = texts.integers(pointed)
        if whole is not None:
            ends = compute.min_max(whole).as_py()
            self._low = ends["min"] if self._low is None else min(self._low, ends["min"])
            self._high = ends["max"] if self._high is None else max(self._high, ends["max"])
            self._is_long = True
        elif (
            self.is_text
            and compute.any(compute.match_substring_regex(values, r"^[+-]?\d{17,}$")).as_py()
        ):  # numbers of more than 64 bits name something
            self._turned(values, "a number that float64 holds")
        else:
            self._span(found.min(), found.max())

    def _see_moments(self, values: Any) -> None:
        found = moments_of(values, self.pattern)
        if found is None:
            self._turned(values, "a date" + (f" like {self.pattern}" if self.pattern else ""))
            return
        if self._first_moment is None:
            self._first_moment = found[:1]
        days = found[:, 0]
        self._span(days.min(), days.max())
        self._is_whole = self._is_whole and not (found[:, 1] % 10**9).any()
        self._vary(found)
        self._sample.add(found)

    def _vary(self, moments: np.ndarray) -> None:
        """Take note of the parts in which moments differ from the first."""
        assert self._first_moment is not None
        first, parts = parts_of(self._first_moment, 0), parts_of(moments, 0)
        self._varying |= {part for part in PARTS if (parts[part] != first[part]).any()}

    def _see_levels(self, values: Any) -> None:
        from pyarrow import compute

        if self._too_many:
            return
        distinct = compute.unique(self._as_texts(values))
        if self.is_text and len(self._odd) <= _ODD_SHOWN:
            is_number = texts.are_number(texts.with_point(distinct, self.decimal))
            self._n_numbers += int(compute.sum(is_number).as_py() or 0)
            odd = distinct.filter(compute.invert(is_number))
            self._odd |= dict.fromkeys(odd.slice(0, _ODD_SHOWN + 1).to_pylist())
        self._take_levels([text for text in distinct.to_pylist() if text not in self._levels])

    def _as_texts(self, values: Any) -> Any:
        return as_texts(values, self.wording.column(self.name))

    def _take_levels(self, new: list[str]) -> None:
        self._levels |= dict.fromkeys(new)
        self._level_bytes += sum(map(len, new))
        self._too_many = len(self._levels) > MOST_LEVELS or self._level_bytes > MOST_LEVEL_BYTES

    def _see_lists(self, chunk: Any) -> None:
        from pyarrow import compute, types

        if types.is_struct(chunk.type) or types.is_map(chunk.type) or chunk.null_count:
            what = "no list in some rows" if chunk.null_count else f"{chunk.type}"
            refuse(
                f"{self.wording.column(self.name)} holds {what}, of which nothing is made; leave "
                f"it out with drop (--drop)"
            )
        lengths = compute.min_max(compute.list_value_length(chunk)).as_py()
        self._take_lengths({lengths["min"], lengths["max"], self.length} - {None})

    def _take_lengths(self, ends: set[Any]) -> None:
        if len(ends) > 1 or ends == {0}:
            refuse(
                f"{self.wording.column(self.name)} holds lists of {min(ends)} and of {max(ends)} "
                f"values; give every row the same number of values, or leave it out with drop "
                f"(--drop)"
            )
        self.length = ends.pop() if ends else None

    def decided(self, key: int) -> Column | str:
        """What the column becomes, or why it is left out.

        Parameters
        ----------
        key : int
            Of the signs of many levels.
        """
        if self._form == "vector":
            return Vector(self.name, self.length or 0) if self.length else "no values"
        if self.n_missing == self.n_rows:
            return "no values"
        flags = self.n_missing > 0
        if self._form == _LEVELS:
            return self._category(flags, key)
        if self._form == "moment":
            return self._moment(flags)
        if self._is_long and self._is_whole:
            low, high = int(self._low), int(self._high)
            if max(-low, high) > EXACT:
                fill = min(high, max(low, int(self._sample.median())))
                return Integer(self.name, low, high - low > EXACT, fill, flags)
        form = str(self._form)
        assert form in FORMS, form
        return Number(self.name, form, float(self._sample.median()), flags)

    @property
    def fits_float32(self) -> bool:
        """Whether float32 holds all values of the features."""
        if self._form == _LEVELS:
            return len(self._levels) <= 1 << 24
        if self._form == "moment":
            return self._is_whole  # days are fewer than 2^24
        return self._form in FORMS and self._fits32 and not (self._is_long and self._is_whole)

    def _category(self, flags: bool, key: int) -> Column | str:
        levels = sorted(self._levels, key=_rank)
        count = len(levels)
        if self.choice is None:
            self._refuse_odd(count)
            if count == 1 and not flags:
                return f"the same value in all rows, {show(levels[0])}"
            rows = self.n_rows - self.n_missing
            if self._too_many:
                return _MANY
            if self.is_text and count == rows >= IDENTIFIES:
                return "a text of its own in every row"
        if self._too_many:
            refuse(
                f"{self.wording.column(self.name)} has {_MANY}, too many to "
                f"be kept with a network; leave it out with drop (--drop)"
            )
        if self.choice == "ordinal" or (self.choice is None and self.is_ordered):
            if self._order is not None:
                levels = [level for level in self._order if level in self._levels]
            return Ordinal(self.name, tuple(levels), flags, float((count - 1) // 2))
        if self.choice == "code" or (self.choice != "one-hot" and count > ONE_HOT):
            return Code(self.name, tuple(levels), flags, code_bits(levels, key), key)
        return OneHot(self.name, tuple(levels), flags)

    def _refuse_odd(self, count: int) -> None:
        """Refuse to take numbers for categories because of a few texts among them."""
        odd = list(self._odd)
        is_mark = all(not any(c.isalnum() for c in one) for one in odd)
        if not 1 <= len(odd) <= _ODD_SHOWN or not self._n_numbers:
            return
        if not (is_mark or count > max(IDENTIFIES, 10 * len(odd))):
            return
        shown = " and ".join(show(one) for one in odd)
        options = " ".join(f"--missing {one!r}" for one in odd)
        raise InvalidInputError(
            f"{self.wording.column(self.name)} holds {shown} among numbers: give {options} if that "
            f"stands for missing values, or --as {show(self.name + '=category')} if the numbers "
            f"only name something"
        )

    def _moment(self, flags: bool) -> Column | str:
        if not self._varying and not flags and self.choice is None:
            return "the same date in all rows"
        start, median = int(self._low), self._sample.median()
        parts = tuple(part for part in PARTS if part in self._varying) or ("days",)
        values = parts_of(median[None], start)
        fill = tuple(float(values[part][0]) for part in parts)
        return Moment(self.name, self.pattern, start, parts, fill, flags)


def _rank(level: str) -> tuple[bool, float, str]:
    """Numbers first, by their size, then texts."""
    try:
        number = float(level)
    except ValueError:
        return True, 0.0, level
    return number != number, number if number == number else 0.0, level
