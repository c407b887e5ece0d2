"""Kernels made slower on purpose: what ``python -m bench.check --slow`` must notice."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

import fastmem.kernels


def kernels() -> dict[str, Any]:
    """Return the compiled kernels by name; none with NUMBA_DISABLE_JIT=1."""
    found = {}
    for info in pkgutil.iter_modules(fastmem.kernels.__path__):
        module = importlib.import_module(f"fastmem.kernels.{info.name}")
        for name, value in vars(module).items():
            own = getattr(getattr(value, "py_func", None), "__module__", "") == module.__name__
            if own and not name.startswith("_"):
                found[name] = value
    return found


@contextmanager
def slowed(name: str, factor: float) -> Iterator[SlowedKernel]:
    """Let a kernel take ``factor`` times as long, wherever fastmem calls it."""
    kernel = kernels()[name]
    slow = SlowedKernel(kernel, factor)
    places = [
        (module, key)
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").startswith("fastmem.")
        for key, value in list(vars(module).items())
        if value is kernel
    ]
    for module, key in places:
        setattr(module, key, slow)
    try:
        yield slow
    finally:
        for module, key in places:
            setattr(module, key, kernel)


class SlowedKernel:
    """A kernel that also runs on copies of what it may write, for a part of its range.

    The range is one that the names of its parameters tell: tiles, words, positions or points. What
    has none is run again as a whole, at every other call for a factor of 1.5.

    Attributes
    ----------
    calls : int
        How often it was called.
    """

    _RANGES = (("first_tile", "last_tile"), ("first_word", "last_word"))
    _ROWS = ("positions", "sizes", "points")
    _KEPT = frozenset(
        {
            "tiles", "sizes", "own", "others", "masks", "thresholds", "points", "weights", "panels",
            "layer", "rows", "queries", "references", "planes", "blocks",
        }
    )  # fmt: skip
    """Only read, or written with what is there again: large, and not worth a copy."""

    def __init__(self, kernel: Any, factor: float) -> None:
        self.kernel, self.factor = kernel, factor
        self.names = list(inspect.signature(kernel.py_func).parameters)
        self.calls = 0
        self._owed = 0.0
        self._lock = threading.Lock()

    def __call__(self, *args: Any) -> Any:
        """Do the extra work first, because the kernel changes what it works on."""
        size = self._size(args)
        with self._lock:
            self.calls += 1
            self._owed += (self.factor - 1) * size
            units = int(self._owed + 0.5)
            self._owed -= units
        while units > 0:
            self.kernel(*self._part(args, min(units, size)))
            units -= size
        return self.kernel(*args)

    def _size(self, args: Sequence[Any]) -> int:
        for first, last in self._RANGES:
            if first in self.names:
                low, high = args[self.names.index(first)], args[self.names.index(last)]
                return max(1, int(high - low))
        for rows in self._ROWS:
            if rows in self.names:
                return max(1, len(args[self.names.index(rows)]))
        return 1

    def _part(self, args: Sequence[Any], units: int) -> list[Any]:
        part = [
            value if name in self._KEPT else self._copied(value)
            for name, value in zip(self.names, args, strict=True)
        ]
        for first, last in self._RANGES:
            if first in self.names:
                at = self.names.index(last)
                part[at] = min(part[at], part[self.names.index(first)] + units)
                return part
        for rows in self._ROWS:
            if rows in self.names:
                at = self.names.index(rows)
                part[at] = part[at][:units]
                return part
        return part

    def _copied(self, value: Any) -> Any:
        """Copy an array, or the arrays of a NamedTuple that are not kept."""
        if isinstance(value, np.ndarray):
            return value.copy()
        if hasattr(value, "_fields"):
            fields = zip(value._fields, value, strict=True)
            return type(value)(
                *(v if name in self._KEPT else self._copied(v) for name, v in fields)
            )
        return value
