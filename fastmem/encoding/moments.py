"""Columns of dates and timestamps: whole days, the time of day, the weekday and the season."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastmem.encoding import texts
from fastmem.encoding.column import Column, Place, Surprises, first_unread, is_text, plain

_PARTS = {
    "days": "days since {start}",
    "seconds": "second of the day",
    "weekday": "weekday",
    "yearday": "day of the year",
}
"""Names of the features that a moment may give; days and seconds together tell all apart."""
PARTS = tuple(_PARTS)
_A_DAY = 86_400


@dataclass(frozen=True)
class Moment(Column):
    """A column of dates or timestamps.

    Attributes
    ----------
    pattern : str
        How texts are written, as of ``strptime``; empty for ISO 8601.
    start : int
        The day from which days are counted, in days since 1970-01-01.
    parts : tuple of str
        Among `PARTS`: those that vary.
    fill : tuple of float
        What stands for missing values in each part: that of the median.
    """

    kind: ClassVar[str] = "moment"
    name: str
    pattern: str
    start: int
    parts: tuple[str, ...]
    fill: tuple[float, ...]
    flags_missing: bool

    @property
    def own_features(self) -> list[str]:
        """One for each part."""
        start = np.datetime64(self.start, "D")
        return [f"{self.name}: {_PARTS[part].format(start=start)}" for part in self.parts]

    def _write(
        self, chunk: Any, missing: np.ndarray, out: np.ndarray, place: Place, surprises: Surprises
    ) -> None:
        from pyarrow import array

        out[:, : len(self.parts)] = self.fill
        if missing.all():  # of whatever type the chunk is
            return
        rows = np.flatnonzero(~missing)
        values = plain(chunk.filter(array(~missing)) if missing.any() else chunk)
        found = moments_of(values, self.pattern)
        if found is None:
            i = first_unread(values, lambda some: moments_of(some, self.pattern))
            place.refuse(self.name, int(rows[i]), values[i].as_py(), "not a date")
        parts = parts_of(found, self.start)
        for j, part in enumerate(self.parts):
            out[rows, j] = parts[part]

    def _value(self, features: np.ndarray) -> Any:
        found = dict(zip(self.parts, features.tolist(), strict=False))
        if "days" not in found:
            return {part: found[part] for part in self.parts}
        day = np.datetime64(self.start + int(found["days"]), "D")
        if "seconds" not in found:
            return str(day)
        return (
            str(day + np.timedelta64(round(found["seconds"] * 1e9), "ns")).rstrip("0").rstrip(".")
        )

    def described(self) -> str:
        """What the column became."""
        return "date: " + ", ".join(
            _PARTS[part].format(start=np.datetime64(self.start, "D")) for part in self.parts
        )


def moments_of(values: Any, pattern: str) -> np.ndarray | None:
    """Days since 1970-01-01 and nanoseconds of the day, (rows, 2) int64; None where one is none."""
    from pyarrow import types

    if is_text(values.type):
        found = texts.moments_by(values, pattern) if pattern else texts.moments(values)
        if found is None:
            return None
        values = found
    kind = values.type
    if types.is_date(kind):
        days = values.cast("date32").cast("int32").to_numpy(zero_copy_only=False)
        return np.stack([days.astype(np.int64), np.zeros(len(days), np.int64)], axis=1)
    if not types.is_timestamp(kind):
        return None
    unit = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    ticks = np.asarray(values.cast("int64").to_numpy(zero_copy_only=False))
    days, rest = np.divmod(ticks, _A_DAY * unit)
    return np.stack([days, rest * (10**9 // unit)], axis=1)


def parts_of(moments: np.ndarray, start: int) -> dict[str, np.ndarray]:
    """All parts of moments (rows, 2) as `moments_of` gives them, float64."""
    days = moments[:, 0]
    dates = days.astype("datetime64[D]")
    first = dates.astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    return {
        "days": (days - start).astype(np.float64),
        "seconds": moments[:, 1] / 1e9,
        "weekday": ((days + 3) % 7).astype(np.float64),
        "yearday": (days - first + 1).astype(np.float64),
    }
