"""Time, memory and machine: what every measurement here takes and states."""

from __future__ import annotations

import gc
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import fastmem
from bench.parts import all_threads

FEWEST_RUNS = 3
"""Runs that a median is taken of, however small the budget."""


class Timing:
    """Wall-clock seconds of some runs of one call, after a first one that does not count.

    Parameters
    ----------
    call : callable
    runs : int
    slow : float
        If the first run takes longer, it is the only one, and counts.
    budget : float
        Seconds that the runs should take together; there are at least FEWEST_RUNS all the same.

    Attributes
    ----------
    seconds : list of float
    result : object
        What the last run returned.
    """

    def __init__(
        self,
        call: Callable[[], Any],
        runs: int,
        *,
        slow: float = math.inf,
        budget: float = math.inf,
    ) -> None:
        gc.collect()
        self.seconds = [self._run(call)]
        if self.seconds[0] > slow:
            return  # one run of this length tells enough, and what it compiles is little beside it
        if math.isfinite(budget):
            runs = min(runs, max(FEWEST_RUNS, int(budget / max(self.seconds[0], 1e-9))))
        self.seconds = [self._run(call) for _ in range(runs)]

    def _run(self, call: Callable[[], Any]) -> float:
        self.result: Any = None  # the run before must not hold memory during this one
        start = time.perf_counter()
        self.result = call()
        return time.perf_counter() - start

    @property
    def median(self) -> float:
        """Median of the runs."""
        return median(self.seconds)

    def __str__(self) -> str:
        """Median, range and number of the runs."""
        if len(self.seconds) == 1:
            return f"{duration(self.median)} (1 run)"
        low, high = min(self.seconds), max(self.seconds)
        return f"{duration(self.median)} ({low:.3g} to {high:.3g}, {len(self.seconds)} runs)"


def duration(seconds: float) -> str:
    """Write seconds with three figures."""
    return f"{seconds:.3g} s"


def peak_of_this_process() -> float:
    """Largest resident memory of this process so far, in bytes.

    Linux keeps it in VmHWM. Its ru_maxrss will not do in a child process: it starts from the
    parent's peak at the time of the fork, which here may be that of an 8 GB matrix.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return 1024.0 * int(line.split()[1])
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return float(unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def in_fresh_process(code: str, **variables: str) -> str:
    """Run Python code in a new process that finds this project and return what it prints."""
    root = Path(__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables, "PYTHONPATH": path},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the measured process failed:\n{done.stderr}")
    return done.stdout


def machine() -> dict[str, Any]:
    """Describe what the figures depend on: processor, cores, versions, BLAS and its threads."""
    state: dict[str, Any] = {
        "processor": _processor(),
        "cores for this process": all_threads(),
        "load average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "fastmem": fastmem.__version__,
    }
    try:
        from threadpoolctl import threadpool_info
    except ModuleNotFoundError:
        return state
    for library in threadpool_info():
        name = f"{library['internal_api']} {library.get('version')}"
        state[name] = f"{library['num_threads']} threads, {library.get('architecture', '')}"
    return state


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
