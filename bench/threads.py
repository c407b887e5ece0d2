"""How much faster more threads make fits, predictions and kernels: for the bars and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from threadpoolctl import ThreadpoolController

from bench.bench_counts import counts
from bench.bench_fit import fit
from bench.bench_predict import predict
from bench.bench_selection import select
from bench.bench_signs import signs
from bench.bench_structured import of_digits
from bench.cases import OURS, Call, Prepare
from bench.measuring import Timing, in_turns
from bench.workloads import Sizes


@dataclass(frozen=True)
class Threaded:
    """A case by number of threads.

    Attributes
    ----------
    panel, series : str
        On what data, and what is done.
    prepare : callable
        Given sizes and a number of threads, makes the case ready.
    barred : bool
        Whether two threads should be nearly twice as fast as one: it is not bound by memory.
    side : str
        The side of the case that is timed.
    """

    panel: str
    series: str
    prepare: Prepare
    barred: bool = False
    side: str = OURS

    def on(self, sizes: Sizes, numbers: Sequence[int], runs: int, **limits: float) -> list[Timing]:
        """Time the case on each number of threads, in turns; limits as in `in_turns`."""
        calls = [self._call(sizes, n_threads) for n_threads in numbers]
        return in_turns(calls, runs, **limits)

    def _call(self, sizes: Sizes, n_threads: int) -> Call:
        call = self.prepare(sizes, n_threads).side(self.side).call
        if self.side == OURS:
            return call
        blas = ThreadpoolController()

        def limited() -> object:
            with blas.limit(limits=n_threads, user_api="blas"):
                return call()

        return limited


def _of_workload(panel: str, name: str, barred: Sequence[str] = ()) -> list[Threaded]:
    """Fit, second layer and prediction, for both selections."""
    found = []
    for selection in ("random", "merge"):
        for what, make in (("fit", fit), ("selection", select), ("predict", predict)):
            series = f"{what}, {selection}"
            prepare = partial(make, f"{name}_{selection}")
            found.append(Threaded(panel, series, prepare, series in barred))
    return found


WORDS = 160
THREADED = [
    *_of_workload("moons", "moons", ["fit, random"]),
    Threaded("moons", "sign patterns", partial(signs, 2, 50)),
    *_of_workload("digits784", "digits", ["fit, random", "fit, merge", "predict, random"]),
    Threaded("digits784", "sign patterns", partial(signs, 784, 1), barred=True),
    Threaded("digits784", "sgemm (BLAS)", partial(signs, 784, 1), side="sgemm"),
    Threaded("digits784", "structured sign patterns", of_digits, barred=True),
    Threaded("packed rows", f"counts, {WORDS} words", partial(counts, WORDS), barred=True),
]
