"""Has a kernel become slower? ``python -m bench.check [--only NAME] [--update] [--smoke]``.

Each entry of `bench.check.entries`, a case of the benchmarks, is timed in turns with a calibration,
work of the same kind that fastmem has no part in, which pytest-benchmark does not do. The ratio of
the two is compared with ``bench/check/baseline.json``. A ratio above the baseline's times the
entry's tolerance is measured again, up to REPEATS times, as long as the median of all measurements
stays above; where it does to the end, the verdict is SLOWER.

What keeps the ratios steady on a machine with other work:

- Entries run on one thread and are measured in processor time, which leaves out what other
  processes take; but for the one that runs on two threads.
- A ratio is a mean over pairs of neighbours, an entry's call and the calibration just before and
  after it, without the tenth at either end.
- Where buffers lie in memory (at a multiple of 64 bytes or not) is worth more than the tolerances.
  So before each pair the heap is stirred, and each of the PASSES passes over all entries makes
  their data anew; and it is a mean, because a median would jump between the two.
- BLAS is held to one thread.

Exit codes: 0, nothing is slower (or --smoke, or --update); 1, an entry is slower; 2, arguments or
baseline cannot be used; 3, the baseline knows no machine of this class, nothing was compared.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numba
import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

import fastmem
from bench.cases import Call
from bench.check import baseline
from bench.check.baseline import BaselineError, Machine
from bench.check.calibrations import CALIBRATIONS
from bench.check.entries import ENTRIES, Entry
from bench.check.slowed import kernels, slowed
from bench.markdown import head, line
from bench.measuring import Pairs, all_threads
from bench.workloads import CHECK, SMOKE, smoke_wanted

RUNS = 5
"""Pairs of calibration and entry in a pass; up to SHORT times as many of an entry that is over
sooner than in PAIR_SECONDS."""
SHORT = 8
PAIR_SECONDS = 0.05
PASSES = 5
REPEATS = 4
"""Times that an entry that looks slower is measured again, by as many passes each time."""
PAUSE = 3.0
"""Seconds before a repeat: a burst of other work may pass."""
UPDATES = 3
"""Measurements whose median becomes the baseline."""

SLOWER, FASTER, SAME, NEW = "SLOWER", "faster", "same", "new"


@dataclass(frozen=True)
class Comparison:
    """An entry beside its baseline: one line of the table.

    Attributes
    ----------
    entry, calibration : str
    seconds, calibration_seconds : float
        Medians of the last measurement.
    ratios : list of float
        Of each measurement: more than one if the first looked slower.
    baseline, tolerance : float
        The baseline is None if there is none.
    verdict : {"SLOWER", "faster", "same", "new"} or ""
    """

    entry: str
    calibration: str
    seconds: float
    calibration_seconds: float
    ratios: list[float]
    baseline: float | None
    tolerance: float
    verdict: str

    def cells(self) -> list[str]:
        """Columns of the table."""
        ratio = median(self.ratios)
        known = self.baseline is not None
        return [
            self.entry,
            f"{1e3 * self.seconds:.2f} ms",
            f"{self.calibration} {1e3 * self.calibration_seconds:.2f} ms",
            f"{ratio:.3f}",
            f"{self.baseline:.3f}" if known else "",
            f"{ratio / self.baseline:.2f}" if known else "",
            f"{self.tolerance:g}",
            self.verdict + (f" ({len(self.ratios)} times)" if len(self.ratios) > 1 else ""),
        ]


COLUMNS = [
    "entry", "time", "calibration", "ratio", "baseline", "change", "tolerance", "verdict"
]  # fmt: skip


def verdict(ratios: Sequence[float], known: float | None, tolerance: float) -> str:
    """Compare the median ratio of some measurements with the baseline's."""
    if known is None:
        return NEW
    change = median(ratios) / known
    if change > tolerance:
        return SLOWER
    return FASTER if change < 1 / tolerance else SAME


def machine_class() -> str:
    """Name what ratios depend on: processor, instruction set, what BLAS uses of it, cores."""
    fields = {}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    processor = fields.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in fields:
        processor += f" (family {fields['cpu family']}, model {fields.get('model', '')})"
    from numba.core.registry import cpu_target

    features = cpu_target.target_context.codegen().magic_tuple()[-1].split(",")
    sets = [s for s in ("avx2", "avx512f", "avx512vpopcntdq", "neon") if f"+{s}" in features]
    blas = [str(x.get("architecture", "")) for x in threadpool_info() if x["user_api"] == "blas"]
    return ", ".join(
        [processor, " ".join(sets), f"BLAS {' '.join(sorted(set(blas)))}", f"{all_threads()} cores"]
    )


def versions() -> dict[str, str]:
    """Versions that ratios depend on."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "fastmem": fastmem.__version__,
    }


class Stirrer:
    """Gives the heap another shape, so that the next buffers lie elsewhere."""

    def __init__(self) -> None:
        self._generator = np.random.default_rng(0)
        self._kept: list[Any] = []

    def stir(self) -> None:
        """Take blocks of random sizes and leave random gaps."""
        sizes = (2 ** self._generator.uniform(10, 17, size=200)).astype(int).tolist()
        self._kept = [np.empty(size, np.uint8) for size in sizes][::2]


class Bench:
    """Times entries: the calls, calibrations and threads that they need."""

    def __init__(self, runs: int, smoke: bool) -> None:
        self.runs, self.smoke = runs, smoke
        self.sizes = SMOKE if smoke else CHECK
        self._calibrations: dict[tuple[str, int], Call] = {}
        self._stirrer = Stirrer()

    def _calibration(self, entry: Entry) -> Call:
        key = entry.calibration, entry.n_threads
        if key not in self._calibrations:
            make = CALIBRATIONS[entry.calibration]
            calls = [make(self.smoke) for _ in range(entry.n_threads)]
            self._calibrations[key] = calls[0] if len(calls) == 1 else _side_by_side(calls)
            self._calibrations[key]()
        return self._calibrations[key]

    def add_pass(self, entry: Entry, timing: Pairs) -> None:
        """Time ``runs`` pairs of an entry or more, its data made anew."""
        clock = time.process_time if entry.n_threads == 1 else time.perf_counter
        call = entry.prepare(self.sizes, entry.n_threads).ours.call
        timing.add(call, self._calibration(entry), self._count, clock, self._stirrer.stir)

    def _count(self, pair: float) -> int:
        return self.runs * max(1, min(SHORT, int(PAIR_SECONDS / pair)))

    def measure(self, entries: Sequence[Entry], passes: int) -> list[Pairs]:
        """Time entries in passes over all of them, so that each is spread over the whole time."""
        timings = [Pairs() for _ in entries]
        for _ in range(passes):
            for entry, timing in zip(entries, timings, strict=True):
                self.add_pass(entry, timing)
        return timings

    def pause(self) -> None:
        """Wait before a repeat."""
        time.sleep(PAUSE)


def _side_by_side(calls: list[Call]) -> Call:
    """Run each call a few times, each on a thread of its own."""
    pool = ThreadPoolExecutor(len(calls))
    times = 5
    return lambda: list(pool.map(lambda call: [call() for _ in range(times)], calls))


def compare(bench: Bench, entries: Sequence[Entry], known: Machine) -> list[Comparison]:
    """Measure entries, after a pause those again that look slower, and judge them."""
    baselines = [known.ratio(entry.name, entry.calibration) for entry in entries]
    timings = [[timing] for timing in bench.measure(entries, PASSES)]

    def judged(i: int) -> str:
        return verdict([t.ratio for t in timings[i]], baselines[i], entries[i].tolerance)

    for _ in range(REPEATS):
        suspects = [i for i in range(len(entries)) if judged(i) == SLOWER]
        if not suspects:
            break
        bench.pause()
        again = bench.measure([entries[i] for i in suspects], PASSES)
        for i, timing in zip(suspects, again, strict=True):
            timings[i].append(timing)
    return [
        row(entry, timings[i][-1], [t.ratio for t in timings[i]], baselines[i], judged(i))
        for i, entry in enumerate(entries)
    ]


def row(
    entry: Entry, timing: Pairs, ratios: list[float], known: float | None, judged: str
) -> Comparison:
    """Fill a line of the table."""
    return Comparison(
        entry.name, entry.calibration, median(timing.seconds), median(timing.other),
        ratios, known, entry.tolerance, judged,
    )  # fmt: skip


def update(bench: Bench, entries: Sequence[Entry], machine: Machine) -> list[Comparison]:
    """Measure entries UPDATES times; the medians become the machine's ratios."""
    rows = []
    rounds = [bench.measure(entries, PASSES) for _ in range(UPDATES)]
    for entry, timings in zip(entries, zip(*rounds, strict=True), strict=True):
        before = machine.ratio(entry.name, entry.calibration)
        ratio = median(timing.ratio for timing in timings)
        machine.ratios[entry.name] = entry.calibration, ratio
        judged = verdict([ratio], before, entry.tolerance)
        rows.append(row(entry, timings[-1], [ratio], before, judged))
    machine.made = versions()
    return rows


def _slowing(text: str) -> tuple[str, float]:
    """Parse KERNEL=FACTOR."""
    name, _, factor = text.partition("=")
    try:
        value = float(factor)
    except ValueError:
        value = math.nan
    if not 1 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not KERNEL=FACTOR, with a factor from 1 on")
    if name not in kernels():
        raise argparse.ArgumentTypeError(
            f"no kernel is called {name!r}: choose from {', '.join(sorted(kernels()))}"
        )
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.check",
        description=__doc__,
        epilog="entries: " + ", ".join(entry.name for entry in ENTRIES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="this entry (repeatable)")
    parser.add_argument("--runs", type=int, default=RUNS, help="pairs in each of the passes")
    parser.add_argument("--update", action="store_true", help="make this machine's new baseline")
    parser.add_argument("--smoke", action="store_true", default=smoke_wanted(), help="tiny sizes")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument(
        "--slow",
        action="append",
        type=_slowing,
        default=[],
        metavar="KERNEL=1.5",
        help="test the check: let a kernel do 1.5 times its work (repeatable)",
    )
    parser.add_argument("--baseline", type=Path, default=baseline.PATH, help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; see the module's docstring for the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    names = [entry.name for entry in ENTRIES]
    if unknown := [name for name in options.only or [] if name not in names]:
        parser.error(f"no entry is called {unknown[0]!r}: choose from {', '.join(names)}")
    if options.runs < 1:
        parser.error(f"--runs is {options.runs}; pass at least 1")
    if options.update and (options.smoke or options.slow):
        parser.error("--update goes neither with --smoke nor with --slow")
    try:
        machines = baseline.read(options.baseline)
    except BaselineError as error:
        print(error, file=sys.stderr)
        return 2
    entries = [
        entry
        for entry in ENTRIES
        if entry.name in (options.only or names) and entry.n_threads <= all_threads()
    ]
    here = machine_class()
    machine = machines.get(here, Machine())
    print(f"machine: {here}")
    for name, version in versions().items():
        was = machine.made.get(name, version)
        print(f"{name}: {version}" + (f" (baseline: {was})" if was != version else ""))
    print(flush=True)

    start = time.perf_counter()
    bench = Bench(1 if options.smoke else options.runs, options.smoke)
    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(1, user_api="blas"))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        slow = {name: stack.enter_context(slowed(name, factor)) for name, factor in options.slow}
        if options.smoke:
            timings = bench.measure(entries, 1)
            rows = [row(e, t, [t.ratio], None, "") for e, t in zip(entries, timings, strict=True)]
        elif options.update:
            rows = update(bench, entries, machine)
        else:
            rows = compare(bench, entries, machine)
    if unused := [name for name, kernel in slow.items() if not kernel.calls]:
        print(f"none of these entries calls the kernel {unused[0]}", file=sys.stderr)
        return 2

    print(head(COLUMNS))
    for one in rows:
        print(line(one.cells()))
    print(f"\n{len(rows)} entries in {time.perf_counter() - start:.0f} s.")
    if options.json:
        content = {"machine": here, "versions": versions(), "rows": [asdict(r) for r in rows]}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if options.smoke:
        print("Tiny sizes: that it runs is all that this shows.")
        return 0
    if options.update:
        machines[here] = machine
        baseline.write(options.baseline, machines)
        print(f"{options.baseline} is written.")
        return 0
    return conclude(rows, here in machines)


def conclude(rows: Sequence[Comparison], known: bool) -> int:
    """Say what follows from the table and return the exit code."""
    advice = "run python -m bench.check --update on it while it is quiet"
    if not known:
        print(f"The baseline knows no machine of this class, so nothing was compared: {advice}.")
        return 3
    by_verdict = {v: [r.entry for r in rows if r.verdict == v] for v in (SLOWER, FASTER, NEW)}
    if new := by_verdict[NEW]:
        print(f"Not in the baseline: {', '.join(new)}; {advice}, with --only for each.")
    if faster := by_verdict[FASTER]:
        print(f"Faster than the baseline: {', '.join(faster)}; to hold on to it, {advice}.")
    if slower := by_verdict[SLOWER]:
        print(f"Slower than the baseline: {', '.join(slower)}.")
        return 1
    print("Nothing is slower than the baseline.")
    return 0
