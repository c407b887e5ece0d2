"""What `bench.check` times: cases of the benchmarks, at sizes of milliseconds on one thread."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from bench.bench_counts import counts
from bench.bench_cover import cover
from bench.bench_fit import fit
from bench.bench_points import extent, fingerprints
from bench.bench_predict import margins, predict
from bench.bench_selection import select
from bench.bench_signs import signs
from bench.cases import Prepare

TOLERANCE = 1.25
"""A ratio worse than the baseline's by more than this factor is a regression."""
WORDS = 32
"""Words in a row that is counted."""


@dataclass(frozen=True)
class Entry:
    """One line of the table.

    Attributes
    ----------
    name : str
    calibration : {"sgemm", "popcount"}
        Its time is divided by that of this calibration.
    prepare : callable
        Given sizes and a number of threads, makes its case ready.
    n_threads : int
        Of the call. With one, processor time is measured; with more, wall-clock time.
    tolerance : float
    """

    name: str
    calibration: str
    prepare: Prepare
    n_threads: int = 1
    tolerance: float = TOLERANCE


# Of the two calibrations the one with which the ratio moved least beside processes that copied
# memory, counted ones or ran plain Python. A copy of memory as a third did worse: beside others
# that copy, ratios to it moved far more, and no kernel here is bound by memory.
ENTRIES = [
    Entry("signs-2", "sgemm", partial(signs, 2, 10)),
    Entry("signs-784", "sgemm", partial(signs, 784, 1)),
    Entry("counts", "popcount", partial(counts, WORDS)),
    Entry("coverage", "popcount", partial(cover, WORDS)),
    Entry("margins", "popcount", partial(margins, 4)),
    Entry("select-random", "popcount", partial(select, "digits_random")),
    Entry("select-merge", "popcount", partial(select, "digits_merge")),
    Entry("fingerprints", "popcount", fingerprints),
    Entry("extent", "popcount", extent, tolerance=1.12),  # two kernels, a half each, and steady
    Entry("fit-moons", "sgemm", partial(fit, "moons_random")),
    Entry("fit-digits", "sgemm", partial(fit, "digits_merge")),
    Entry("fit-auto", "sgemm", partial(fit, "digits_merge", width="auto")),
    Entry("predict-moons", "sgemm", partial(predict, "moons_merge")),
    Entry("margins-2-threads", "popcount", partial(margins, 16), n_threads=2, tolerance=1.4),
]
