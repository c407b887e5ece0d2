"""numba.njit, also where compiled kernels cannot be kept."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import numba


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """numba.njit, without its cache where no directory for it can be written.

    With a read-only installation and no home directory numba refuses cache=True when the module is
    imported (its issues 4032 and 5566); from a zip archive it fails at the first call.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            kernel = numba.njit(**options)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
        else:
            stats = getattr(kernel, "stats", None)  # with the JIT off it is the function itself
            if stats is None or stats.cache_path is None:
                return kernel
            if _is_writable(stats.cache_path):
                _let_saving_fail(kernel)
                return kernel
        return numba.njit(**options | {"cache": False})(function)

    return compiled


def _let_saving_fail(kernel: Any) -> None:
    """Where the disk is full a compiled kernel is used all the same, and not kept."""
    files: Any = getattr(kernel, "_cache", None)  # Numba's own: another version may have another
    keep = getattr(files, "save_overload", None)
    if keep is None:
        return

    def keep_if_there_is_room(*compiled: Any) -> None:
        with suppress(OSError):
            keep(*compiled)

    files.save_overload = keep_if_there_is_room


@cache
def _is_writable(directory: str) -> bool:
    try:
        os.makedirs(directory, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError:
        return False
    return True
