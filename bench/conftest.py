"""How pytest-benchmark runs cases: full sizes, or tiny with --smoke or FASTMEM_BENCH_SMOKE=1."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import fastmem
from bench.cases import OURS, Case, Run
from bench.measuring import all_threads
from bench.workloads import FULL, SMOKE, smoke_wanted


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--smoke``."""
    parser.addoption(
        "--smoke",
        action="store_true",
        default=smoke_wanted(),
        help="tiny sizes, each benchmark once and untimed: does it still run?",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Switch pytest-benchmark's timing off in a smoke run."""
    if config.getoption("--smoke"):
        config.option.benchmark_disable = True


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each case of a file once for fastmem and once for each peer."""
    sides = [(case, side) for case in metafunc.module.CASES for side in (OURS, *case.peers)]
    metafunc.parametrize(
        ("case", "side"),
        sides,
        ids=[f"{case.name}-{side.replace(' ', '-')}" for case, side in sides],
    )


@pytest.fixture
def run(benchmark: Any, pytestconfig: pytest.Config) -> Run:
    """Time a side of a case, check what it returns and note what is worth it."""

    def run(case: Case, side: str) -> None:
        sizes = SMOKE if pytestconfig.getoption("--smoke") else FULL
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
            work = case.prepare(sizes, all_threads())
            try:
                chosen = work.side(side)
            except ModuleNotFoundError as error:
                if str(error.name).partition(".")[0] in ("bench", "fastmem"):
                    raise
                pytest.skip(f"{side}: {error}")
            benchmark.group = case.name
            warmup = int(chosen.rounds > 1)
            result = benchmark.pedantic(chosen.call, rounds=chosen.rounds, warmup_rounds=warmup)
            benchmark.extra_info.update(chosen.check(result))

    return run
