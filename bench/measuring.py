"""Time, memory and machine: all that is timed here by other means than pytest-benchmark."""

from __future__ import annotations

import gc
import math
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

import fastmem

FEWEST_RUNS = 3
"""Runs that a median is taken of, however small the budget."""
PAUSE = 0.05
"""Seconds between turns. The threads of OpenBLAS and of OpenMP wait for more work in a loop before
they sleep, and would take a core from who comes next."""


class Timing:
    """Wall-clock seconds of runs of one call.

    Parameters
    ----------
    call : callable

    Attributes
    ----------
    seconds : list of float
        Of the runs that count.
    result : object
        What the last run returned.
    """

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.seconds: list[float] = []
        self.result: Any = None

    def run(self) -> float:
        """Run once more; return its seconds, which count."""
        self.result = None  # the run before must not hold memory during this one
        seconds, self.result = timed(self.call)
        self.seconds.append(seconds)
        return seconds

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


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the wall-clock seconds of a call, and what it returned."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def in_turns(
    calls: Sequence[Callable[[], Any]],
    runs: int,
    *,
    slow: float = math.inf,
    budget: float = math.inf,
) -> list[Timing]:
    """Time calls in turns, so that what else the machine does falls on all of them.

    Parameters
    ----------
    calls : sequence of callable
    runs : int
        Of each call, after a first one that compiles and does not count.
    slow : float
        If the first run takes more seconds, it is the only one, and counts: what it compiles is
        little beside it.
    budget : float
        Seconds that the runs of a call should take together; there are FEWEST_RUNS all the same.
    """
    gc.collect()
    timings = [Timing(call) for call in calls]
    left = []
    for timing in timings:
        first = timing.run()
        left.append(0)
        if first <= slow:
            timing.seconds.clear()
            few = runs
            if math.isfinite(budget):
                few = min(runs, max(FEWEST_RUNS, int(budget / max(first, 1e-9))))
            left[-1] = few
    for turn in range(max(left)):
        for timing, count in zip(timings, left, strict=True):
            if turn < count:
                if len(calls) > 1:
                    time.sleep(PAUSE)
                timing.run()
    return timings


def time_alone(call: Callable[[], Any], runs: int, **limits: float) -> Timing:
    """Time a call that is compared with nothing; the limits are those of `in_turns`."""
    (timing,) = in_turns([call], runs, **limits)
    return timing


@dataclass
class Pairs:
    """Seconds of the calls of one side, and for each those of the other just before and after it.

    Attributes
    ----------
    seconds, other : list of float
    """

    seconds: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)

    def add(
        self,
        call: Callable[[], Any],
        other: Callable[[], Any],
        count: Callable[[float], int],
        clock: Callable[[], float],
        between: Callable[[], None],
    ) -> None:
        """Time some more pairs, after a call that does not count.

        Parameters
        ----------
        call, other : callable
        count : callable
            Given the seconds of a pair, returns how many to time.
        clock : callable
            Seconds of the process, or of the world.
        between : callable
            What is done before each pair.
        """

        def seconds(what: Callable[[], Any]) -> float:
            start = clock()
            what()
            return max(clock() - start, 1e-9)

        call()
        gc.collect()
        gc.disable()
        try:
            before = seconds(other)
            for _ in range(count(before + seconds(call))):
                between()
                self.seconds.append(seconds(call))
                after = seconds(other)
                self.other.append((before + after) / 2)
                before = after
        finally:
            gc.enable()

    @property
    def ratio(self) -> float:
        """Geometric mean over the pairs, without the tenth at either end."""
        logs = sorted(math.log(a / b) for a, b in zip(self.seconds, self.other, strict=True))
        cut = len(logs) // 10
        return math.exp(fmean(logs[cut : len(logs) - cut]))


def all_threads() -> int:
    """Cores that this process may use: the default of `interpolate`."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


class PeakWatch:
    """Largest resident memory, looked at every 10 ms: all, anonymous, of files."""

    _FIELDS = ("VmRSS", "RssAnon", "RssFile")

    def __init__(self) -> None:
        self._most = dict.fromkeys(self._FIELDS, 0)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, int]:
        """Return the maxima in MB."""
        self._done.set()
        self._thread.join()
        names = ("peak MB", "anonymous MB", "mapped MB")
        return dict(zip(names, self._most.values(), strict=True))

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            try:
                lines = Path("/proc/self/status").read_text().splitlines()
            except OSError:
                return
            for line in lines:
                name = line.partition(":")[0]
                if name in self._most:
                    self._most[name] = max(self._most[name], int(line.split()[1]) >> 10)


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


def import_seconds(names: Sequence[str], runs: int) -> list[float]:
    """Medians of what importing modules takes in fresh processes, each after those before it."""
    lines = ["import time", "times = [time.perf_counter()]"]
    for name in names:
        lines += [f"import {name}", "times.append(time.perf_counter())"]
    lines.append("print(*times)")
    code = "\n".join(lines)
    in_fresh_process(code)  # compiles to bytecode
    times = [[float(v) for v in in_fresh_process(code).split()] for _ in range(runs)]
    return [median(column) for column in np.diff(times, axis=1).T.tolist()]


def first_and_second(setup: str, call: str, runs: int) -> tuple[float, list[tuple[float, float]]]:
    """Time two calls in a row in fresh processes.

    Returns
    -------
    float
        Seconds of the first with nothing compiled.
    list of (float, float)
        Of the first and the second with what the first compiled in its cache, one a process.
    """
    code = f"""
from bench.measuring import timed
{setup}
print(*(timed(lambda: {call})[0] for _ in range(2)))
"""
    with tempfile.TemporaryDirectory() as empty:
        compiling = float(in_fresh_process(code, NUMBA_CACHE_DIR=empty).split()[0])
    in_fresh_process(code)
    pairs = []
    for _ in range(runs):
        first, second = map(float, in_fresh_process(code).split())
        pairs.append((first, second))
    return compiling, pairs


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
