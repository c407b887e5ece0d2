"""numba.njit, whose cache knows all kernels' sources, also where nothing can be kept."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from glob import escape as glob_escaped
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numba


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """numba.njit, without its cache where no directory for it can be written.

    What is in the cache is used as long as no file of this room has changed: a kernel holds the
    code of the kernels that it calls, and Numba looks at its own file only.

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
                _stamp_with_all_sources(kernel)
                _let_saving_fail(kernel)
                return kernel
        return numba.njit(**options | {"cache": False})(function)

    return compiled


@cache
def _digest() -> bytes:
    """Of the sources of all kernels."""
    found = blake2b(digest_size=16)
    with suppress(OSError):  # there may be compiled modules alone
        for path in sorted(Path(__file__).parent.glob("*.py")):
            found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.digest()


def _stamp_with_all_sources(kernel: Any) -> None:
    """Make the index of a kernel's files stale where any kernel's source has changed."""
    index: Any = getattr(getattr(kernel, "_cache", None), "_cache_file", None)
    stamp = getattr(index, "_source_stamp", None)
    if stamp is not None:
        index._source_stamp = (stamp, _digest())


def _forget_stale(files: Any) -> None:
    """Delete what an index does not know: Numba names new files like old ones, the index first.

    Where a process ended between the two, the new index would name an old file.
    """
    index: Any = getattr(files, "_cache_file", None)
    path = Path(getattr(index, "_index_path", ""))
    if path.suffix == ".nbi" and not index._load_index():
        for old in path.parent.glob(f"{glob_escaped(path.stem)}.*.nbc"):
            old.unlink(missing_ok=True)


def _let_saving_fail(kernel: Any) -> None:
    """Where the disk is full a compiled kernel is used all the same, and not kept."""
    files: Any = getattr(kernel, "_cache", None)  # Numba's own: another version may have another
    keep = getattr(files, "save_overload", None)
    if keep is None:
        return

    def keep_if_there_is_room(*compiled: Any) -> None:
        with suppress(OSError):
            _forget_stale(files)
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
