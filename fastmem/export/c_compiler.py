"""A header in use: compiled by the C compiler of this machine, and called from Python."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np

from fastmem.errors import InvalidInputError

_COMPILERS = ("cc", "gcc", "clang")
_NUMBERS = count()


def find_compiler() -> str | None:
    """The first C compiler on the path."""
    return next((found for name in _COMPILERS if (found := shutil.which(name))), None)


def _run(compiler: str, *arguments: str) -> None:
    command = [compiler, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidInputError(f"the C compiler {compiler!r} cannot be run: {error}") from error
    if done.returncode:
        lines = (done.stderr.strip() or "no message").splitlines()
        raise InvalidInputError(f"the C compiler {compiler!r} fails: {' '.join(lines[:3])}")


def compiled(
    text: str,
    prefix: str,
    point_type: str,
    folder: Path,
    compiler: str,
    options: tuple[str, ...] = ("-O2",),
) -> Callable[[np.ndarray], np.ndarray]:
    """Compile a header and return codes(block), which runs it on the rows of an ndarray."""
    (folder / "net.h").write_text(text, encoding="ascii")
    source = folder / "net.c"
    source.write_text(
        f'#include "net.h"\nvoid all_codes(const {prefix}_point *x, long long n, int *codes);\n'
        f"void all_codes(const {prefix}_point *x, long long n, int *codes) {{\n"
        f"  long long i;\n"
        f"  for (i = 0; i < n; i++) codes[i] = {prefix}_predict(x + i * {prefix.upper()}_FEATURES);"
        f"\n}}\n",
        encoding="ascii",
    )
    # a name of its own: the loader takes an equal one for the library that it has already
    library = folder / f"net{next(_NUMBERS)}.so"
    unlinked = library.with_suffix(".o")
    _run(compiler, "-std=c99", *options, "-fPIC", "-c", "-o", str(unlinked), str(source))
    # linked without the options: gcc -ffast-math would add what turns subnormal numbers off in the
    # thread that loads the library, and so in all that runs there later
    _run(compiler, "-shared", "-o", str(library), str(unlinked))
    run = ctypes.CDLL(str(library)).all_codes
    run.restype = None
    run.argtypes = [ctypes.c_void_p, ctypes.c_longlong, ctypes.c_void_p]

    def codes(block: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(block, point_type)
        found = np.empty(len(rows), np.int32)
        run(rows.ctypes.data, len(rows), found.ctypes.data)
        return found

    return codes
