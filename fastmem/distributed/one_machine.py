"""Settings that are for points on one machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastmem.inputs.refusals import is_text

_ONLY_THERE = {
    "objective": "bytes", "activation": "relu", "compact": True, "width": "smallest",
    "memory_limit": None,
}  # fmt: skip
"""Parameters of `fastmem.interpolate`, and their values; None stands for any."""


def for_one_machine(parameters: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The first of the parameters of a fit that is for points on one machine; None if none is.

    Returns its name and its value, None where any value is refused.
    """
    for name, value in _ONLY_THERE.items():
        given = parameters.get(name)
        if value is None:
            is_asked = given is not None
        elif isinstance(value, str):
            is_asked = is_text(given, value)
        else:
            is_asked = isinstance(given, bool | np.bool_) and bool(given) == value
        if is_asked:
            return name, value
    return None
