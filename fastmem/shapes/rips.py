"""Bars of Rips complexes by ripser, in a process of its own where that takes more than moments.

ripser keeps the interpreter until it ends, so that Ctrl-C would wait for minutes where there are
many landmarks or voids; and where its memory is not enough, nothing else dies of it.
"""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.machine.extras import needs

_AT_HAND = 11_000_000
"""Simplices up to which bars take less than half a second: holes of 400 landmarks, voids of 128."""
_CHILD = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
import io, numpy, ripser
low, end = int(sys.argv[2]), float(sys.argv[3])
distances = numpy.load(io.BytesIO(sys.stdin.buffer.read()))
found = ripser.ripser(distances, maxdim=low, thresh=end, distance_matrix=True)["dgms"]
numpy.savez(sys.stdout.buffer, *found)
"""


@needs("topology")
def rips_bars(
    distances: NDArray[Any], max_dimension: int, end: float = np.inf
) -> list[NDArray[Any]]:
    """Bars of the Rips complexes of points.

    Parameters
    ----------
    distances : ndarray of shape (L, L), float64
        Of at least two points.
    max_dimension : int
    end : float
        Longest edge that is looked at.

    Returns
    -------
    list of ndarray of shape (m, 2)
        Birth and death of each bar, for each dimension.

    Raises
    ------
    MemoryError
        If the process of its own is ended from outside, as systems do where memory is short.
    RuntimeError
        If it fails in any other way.
    """
    from ripser import ripser

    n_simplices = math.comb(len(distances), max_dimension + 2)
    if n_simplices <= _AT_HAND or not _has_interpreter():
        found = ripser(distances, maxdim=max_dimension, thresh=end, distance_matrix=True)["dgms"]
        return list(found)
    file = io.BytesIO()
    np.save(file, distances)
    command = [
        sys.executable, "-c", _CHILD, json.dumps(list(map(str, sys.path))), str(max_dimension),
        repr(float(end)),
    ]  # fmt: skip
    # an exception here, Ctrl-C too, ends that process
    ended = subprocess.run(command, input=file.getvalue(), capture_output=True, check=False)
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        is_short = ended.returncode < 0 or "MemoryError" in said
        raise (MemoryError if is_short else RuntimeError)(
            f"ripser ended without bars of {len(distances):,} landmarks up to dimension "
            f"{max_dimension} ({said or f'exit code {ended.returncode}'}); pass fewer landmarks or "
            f"a lower max_dimension"
        )
    with np.load(io.BytesIO(ended.stdout)) as arrays:
        return [arrays[name] for name in arrays.files]


def _has_interpreter() -> bool:
    """Whether a command starts Python, not the program that it is frozen or built into."""
    is_frozen = getattr(sys, "frozen", False)
    return not is_frozen and "python" in os.path.basename(sys.executable or "").lower()
