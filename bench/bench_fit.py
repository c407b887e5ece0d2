"""The whole fit of each workload, against the dense peers, or the first layer's sgemm alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import fastmem
from bench.cases import Case, Facts, Run, Side, Work
from bench.peers import DenseNetwork, fit_as_published, fit_dense, sgemm_in_blocks
from bench.workloads import Sizes, Workload

DENSE = {"dense as published": fit_as_published, "dense tuned": fit_dense}


def fit(workload: str, sizes: Sizes, n_threads: int, **changes: Any) -> Work:
    """Memorise a workload, named by `Sizes`; the dense peers get the same hyperplanes."""
    chosen: Workload = getattr(sizes, workload)
    X, y = chosen.data()

    def memorise() -> fastmem.Network:
        return chosen.fit(n_threads=n_threads, **changes)

    def check(network: fastmem.Network) -> Facts:
        assert network.report is not None
        wrong = np.flatnonzero(network.predict(X) != y)
        assert np.isin(wrong, network.report.unseparated).all()
        return {"widths": network.widths}

    def dense(make: Any) -> Side:
        network = memorise()
        first = network.first

        def check(peer: DenseNetwork) -> Facts:
            assert network.report is not None
            # The same points fail with the same hyperplanes, whatever the order of selection, but
            # for the signs that float32 arithmetic gets wrong.
            assert abs(peer.n_failed - len(network.report.unseparated)) <= 1 + len(X) // 1000
            return {"widths": (len(peer.weights), len(peer.masks))}

        call = partial(make, X, y, first.weights, first.biases, network.covered)
        return Side(call, check, rounds=1)

    def sgemm() -> Side:
        generator = np.random.default_rng(0)
        weights = generator.standard_normal((chosen.width, X.shape[1]), dtype=np.float32)
        return Side(lambda: sgemm_in_blocks(X, weights))

    peers: dict[str, Any] = {name: partial(dense, make) for name, make in DENSE.items()}
    what = f"{chosen.name}, {chosen.selection}, n = {chosen.width}"
    return Work(Side(memorise, check), peers | {"sgemm": sgemm}, what=what)


CASES = [
    Case("fit-moons-random", partial(fit, "moons_random"), tuple(DENSE)),
    Case("fit-moons-merge", partial(fit, "moons_merge")),
    Case("fit-digits-random", partial(fit, "digits_random"), tuple(DENSE)),
    Case("fit-digits-merge", partial(fit, "digits_merge")),
    Case("fit-more-digits-merge", partial(fit, "more_digits_merge"), ("sgemm",)),
    Case("fit-more-digits-structured", partial(fit, "more_digits_structured"), ("sgemm",)),
]


def test_fit(case: Case, side: str, run: Run) -> None:
    run(case, side)
