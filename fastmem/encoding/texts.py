"""What texts say: numbers, truth values, dates and times. Arrow in, Arrow out.

Each function takes a string array without nulls and returns what all of its texts mean, or None
where one means nothing of the kind.
"""

from __future__ import annotations

from typing import Any

_PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$"
_ISO_DATE = r"^\d{4}-\d{2}-\d{2}"
_ISO_TIME = r"^\d{1,2}:\d{2}(:\d{2}(\.\d{1,9})?)?$"


def _all(texts: Any, pattern: str) -> bool:
    from pyarrow import compute

    found = compute.all(compute.match_substring_regex(texts, pattern))
    return found.as_py() is not False


def with_point(texts: Any, decimal: str) -> Any:
    """The texts as they would be with a decimal point, and commas between thousands."""
    from pyarrow import compute

    if decimal != ",":
        return texts
    held = compute.replace_substring(texts, ".", "\0")
    held = compute.replace_substring(held, ",", ".")
    return compute.replace_substring(held, "\0", ",")


def numbers(texts: Any) -> Any | None:
    """Float64, each the nearest to its text, where all are numbers with a decimal point."""
    from pyarrow import ArrowInvalid, compute, float64

    try:
        values = texts.cast(float64())
    except ArrowInvalid:
        if not _all(texts, _PLAIN):
            return None
        values = compute.replace_substring_regex(texts, r"^\+", "").cast(float64())
    return values if compute.all(compute.is_finite(values)).as_py() is not False else None


def are_number(texts: Any) -> Any:
    """Which of the texts are numbers, bool."""
    from pyarrow import compute

    return compute.match_substring_regex(texts, _PLAIN)


def integers(texts: Any) -> Any | None:
    """Int64, or else uint64, where all are whole numbers of so many bits."""
    from pyarrow import ArrowInvalid, int64, uint64

    for kind in (int64(), uint64()):
        try:
            return texts.cast(kind)
        except ArrowInvalid:
            continue
    return None


def without_thousands(texts: Any) -> Any | None:
    """The texts without commas between thousands, where some have such and all are numbers."""
    from pyarrow import compute

    grouped = compute.match_substring_regex(texts, _THOUSANDS)
    if not compute.all(compute.or_(grouped, are_number(texts))).as_py():
        return None
    return compute.if_else(grouped, compute.replace_substring(texts, ",", ""), texts)


def truths(texts: Any) -> Any | None:
    """Bool where all are true or false, in any letters."""
    from pyarrow import array, compute

    low = compute.utf8_lower(texts)
    is_true = compute.equal(low, "true")
    known = compute.is_in(low, array(["true", "false"], low.type))
    return is_true if compute.all(known).as_py() is not False else None


def moments(texts: Any) -> Any | None:
    """Dates or timestamps, where all are written as ISO 8601 has it."""
    from pyarrow import ArrowInvalid, date32, timestamp

    if not _all(texts, _ISO_DATE):
        return None
    kinds = (date32(), timestamp("s"), timestamp("us"), timestamp("ns"))
    zoned = (timestamp("us", "UTC"), timestamp("ns", "UTC"))
    for kind in (*kinds, *zoned):
        try:
            return texts.cast(kind)
        except ArrowInvalid:
            continue
    return None


def moments_by(texts: Any, pattern: str) -> Any | None:
    """Timestamps, where all are written by a pattern as of ``strptime``."""
    from pyarrow import compute

    try:
        found = compute.strptime(texts, format=pattern, unit="s", error_is_null=True)
    except Exception:  # a pattern that is none
        return None
    return None if found.null_count else found


def times(texts: Any) -> Any | None:
    """Seconds since midnight, float64, where all are hours and minutes, perhaps with seconds."""
    from pyarrow import compute

    if not _all(texts, _ISO_TIME):
        return None
    parts = compute.extract_regex(texts, r"^(?P<h>\d{1,2}):(?P<m>\d{2}):?(?P<s>[\d.]*)$")
    seconds = compute.struct_field(parts, "s")
    seconds = compute.if_else(compute.equal(seconds, ""), "0", seconds).cast("float64")
    minutes = compute.struct_field(parts, "m").cast("float64")
    hours = compute.struct_field(parts, "h").cast("float64")
    return compute.add(compute.add(compute.multiply(hours, 3600.0),
                                   compute.multiply(minutes, 60.0)), seconds)  # fmt: skip
