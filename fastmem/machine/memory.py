"""How much memory is free, and a refusal where the work would take more.

Linux grants memory that it does not have, and kills the process in the middle of the work. So the
need, estimated from shapes before the work, is compared with what is free: on the machine, in the
control group (of a container) and under the limits of the process.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from fastmem.errors import NotEnoughMemoryError

UNCHECKED = 64 << 20
"""Needs below this are not compared with what is free: to find that out takes longer than a small
prediction."""
_PREDICTED = 96 << 20
"""Patterns of the points that are under way."""

PROCESS = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")


def require_for_prediction(n_samples: int, each: int) -> None:
    """Raise NotEnoughMemoryError unless results of ``each`` bytes a point have room."""
    if n_samples * each >= UNCHECKED:
        what = f"a prediction of {n_samples:,} points"
        require(n_samples * each + _PREDICTED, what, "pass fewer points at a time")


def require(needed: int, what: str, remedy: str) -> None:
    """Raise NotEnoughMemoryError unless ``needed`` bytes are free."""
    if needed < UNCHECKED:
        return
    free, where = available()
    if needed > free:
        raise NotEnoughMemoryError(
            f"{what} takes up to {readable(needed)} of memory, but {readable(free)} {where}; "
            f"{remedy}"
        )


def readable(n_bytes: float) -> str:
    """Return a size in MB or GB."""
    mega = max(0.0, n_bytes) / 1e6
    return f"{mega / 1e3:,.1f} GB" if mega >= 1e3 else f"{mega:,.0f} MB"


def available(limit: int | None = None) -> tuple[float, str]:
    """Return the bytes that this process can still take, and who says so.

    The least of what the system has free (with swap), what the control groups of the process leave
    (cgroup 1 and 2), and what its limits of address space and data leave, and a ``limit`` of what
    it may have in memory; infinity where nobody says anything.
    """
    found = [(math.inf, "are free")]
    readers: list[Callable[[], Iterator[tuple[float, str]]]] = [
        _free_on_the_machine,
        _free_in_the_groups,
        _free_by_the_limits,
    ]
    if limit is not None:
        readers.append(partial(_free_below, limit))
    for reader in readers:
        with suppress(OSError, ValueError, LookupError):
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


def _free_below(limit: int) -> Iterator[tuple[float, str]]:
    resident = int((PROCESS / "self" / "statm").read_text().split()[1])
    yield limit - resident * os.sysconf("SC_PAGE_SIZE"), "are left to this worker"


def _free_by_the_limits() -> Iterator[tuple[float, str]]:
    import resource

    pages = [int(n) for n in (PROCESS / "self" / "statm").read_text().split()]
    size = os.sysconf("SC_PAGE_SIZE")
    for limit, used in ((resource.RLIMIT_AS, pages[0]), (resource.RLIMIT_DATA, pages[5])):
        most = resource.getrlimit(limit)[0]
        if most != resource.RLIM_INFINITY:
            yield most - used * size, "are left under the limits of this process"
