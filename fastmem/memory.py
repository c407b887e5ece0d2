"""How much memory a fit or a prediction takes, and whether there is so much.

Linux grants memory that it does not have, and kills the process in the middle of the work. So the
need is estimated from shapes before the work and compared with what is free: on the machine, in
the control group (of a container) and under the limits of the process. The estimate counts what
comes on top of what the process holds already, its input included.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from fastmem.inputs import Points, Settings, stores_weights
from fastmem.kernels.bits import WORD_BITS
from fastmem.kernels.signs import TILE

UNCHECKED = 64 << 20
"""Needs below this are not compared with what is free, which takes 0.2 ms to find out."""
_FIXED = 24 << 20
_THREAD = 16 << 20
"""Two blocks of points, and what is computed of them."""
_POINT = 24
"""Order, numbers and marks of a point; at another time its hash, sorted and in a copy."""
_COMPACTED = 64 << 20
"""Patterns that are still uncovered, in a copy; see ``blocks``."""
_NEAR = 256
"""Points of other classes that a merged cell remembers, for each class."""
_CLASS = 1 << 14
_STORED = 2.25
"""Weights and their panels in float32, and what both are made of in between."""
_RELU = 1.5
"""Once more in groups for real sums, and their norms."""
_SEEDED = 96 << 20
"""Panels of weights from a key, for some hyperplanes at a time."""
_PREDICTED = 96 << 20
"""Patterns of the points that are under way."""

PROCESS = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")


class NotEnoughMemoryError(MemoryError):
    """Less memory is free than the work is going to take; the message says what to do."""


def pattern_bytes(n_samples: int, n_classes: int, width: int) -> int:
    """Bytes of sign patterns in tiles, of which every class starts a new one; at most so many."""
    return (n_samples // TILE + n_classes) * TILE * 8 * -(-width // WORD_BITS)


def fit_bytes(
    points: Points, n_classes: int, settings: Settings, room: int | None, width: int
) -> int:
    """Bytes that a fit takes at its peak beside the process and its input.

    Parameters
    ----------
    points : Points
    n_classes : int
    settings : Settings
    room : int or None
        Bytes of patterns that may be in memory; more are in a file.
    width : int
        Hyperplanes, where ``settings`` does not say how many: those so far.
    """
    n_samples, d = points.n_samples, points.n_features
    n_words = -(-width // WORD_BITS)
    patterns = pattern_bytes(n_samples, n_classes, width)
    total = _FIXED + settings.n_threads * _THREAD + _POINT * n_samples + _CLASS * n_classes
    total += patterns if room is None or patterns <= room else 0
    total += min(_COMPACTED, patterns)
    if settings.selection == "merge":
        total += n_classes * min(_NEAR, n_samples) * n_words * 8
    if settings.margin:  # nearly a neuron for each point, and each mask twice
        total += int(2 * min(1.0, settings.margin) * n_samples * (n_words * 8 + 200))
    if settings.compact:  # patterns of the hyperplanes that stay, also by hyperplane
        total += patterns
    total += _layer_bytes(settings, d, width)
    # sums of columns, for each range of rows
    total += 16 * d if points.is_sparse else 8 * d * (n_samples * points.row_values // (1 << 22))
    return int(total)


def _layer_bytes(settings: Settings, d: int, width: int) -> int:
    """Bytes of the first layer while it is made and used."""
    if settings.projection == "structured":
        return 64 * d
    if not stores_weights(settings, d):
        return _SEEDED + 16 * d
    copies = _STORED + (_RELU if settings.activation == "relu" else 0)
    return int(copies * 4 * width * d)


def require_for_fit(
    points: Points, n_classes: int, settings: Settings, room: int | None, width: int
) -> None:
    """Raise NotEnoughMemoryError unless a fit at ``width`` hyperplanes has room.

    As for `fit_bytes`.
    """
    needed = fit_bytes(points, n_classes, settings, room, width)
    if needed < UNCHECKED:
        return
    patterns = pattern_bytes(points.n_samples, n_classes, width)
    remedies = []
    if room is None and 2 * patterns > needed:
        remedies.append("memory_limit= so that sign patterns go to a temporary file")
    if 2 * _layer_bytes(settings, points.n_features, width) > needed:
        remedies.append("projection='structured' or fewer features")
    what = f"a fit of {points.n_samples:,} points with {width:,} hyperplanes"
    require(needed, what, ", ".join([*remedies, "a smaller width", "or fewer points"]))


def require(needed: int, what: str, remedy: str) -> None:
    """Raise NotEnoughMemoryError unless ``needed`` bytes are free."""
    if needed < UNCHECKED:
        return
    free, where = available()
    if needed > free:
        raise NotEnoughMemoryError(
            f"{what} takes up to {readable(needed)} of memory where {readable(free)} {where}; "
            f"pass {remedy}"
        )


def readable(n_bytes: float) -> str:
    """Return a size in MB or GB."""
    mega = max(0.0, n_bytes) / 1e6
    return f"{mega / 1e3:,.1f} GB" if mega >= 1e3 else f"{mega:,.0f} MB"


def available() -> tuple[float, str]:
    """Return the bytes that this process can still take, and who says so.

    The least of what the system has free (with swap), what the control groups of the process leave
    (cgroup 1 and 2), and what its limits of address space and data leave; infinity where nobody
    says anything.
    """
    found = [(np.inf, "are free")]
    for reader in (_free_on_the_machine, _free_in_the_groups, _free_by_the_limits):
        with suppress(OSError, ValueError, IndexError):
            found += reader()
    return min(found, key=lambda pair: pair[0])


def _free_on_the_machine() -> Iterator[tuple[float, str]]:
    fields = dict(line.split(":") for line in (PROCESS / "meminfo").read_text().splitlines())
    sizes = [int(fields[name].split()[0]) for name in ("MemAvailable", "SwapFree")]
    yield 1024 * sum(sizes), "are free"


def _free_in_the_groups() -> Iterator[tuple[float, str]]:
    for line in (PROCESS / "self" / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, names = GROUPS, ("memory.max", "memory.current", "")
        elif "memory" in controllers.split(","):
            top = GROUPS / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
        else:
            continue
        group = top / path.lstrip("/")
        # a container may see its own group only, at the top
        for place in (group, *group.parents):
            yield from _free_in(place, *names)
            if place == top:
                break


def _free_in(group: Path, limit: str, usage: str, prefix: str) -> Iterator[tuple[float, str]]:
    with suppress(OSError, ValueError):
        most = int((group / limit).read_text())  # "max" is no number
        if most < 1 << 60:
            used = int((group / usage).read_text())
            for line in (group / "memory.stat").read_text().splitlines():
                name, size = line.split()
                if name in (f"{prefix}inactive_file", f"{prefix}active_file"):
                    used -= int(size)  # given back where it is needed
            yield most - max(0, used), "are left to the control group of this process"


def _free_by_the_limits() -> Iterator[tuple[float, str]]:
    import resource

    pages = [int(n) for n in (PROCESS / "self" / "statm").read_text().split()]
    size = os.sysconf("SC_PAGE_SIZE")
    for limit, used in ((resource.RLIMIT_AS, pages[0]), (resource.RLIMIT_DATA, pages[5])):
        most = resource.getrlimit(limit)[0]
        if most != resource.RLIM_INFINITY:
            yield most - used * size, "are left under the limits of this process"
