"""Sizes of the benchmarks: full, or tiny with ``--smoke`` or FASTMEM_BENCH_SMOKE=1."""

from __future__ import annotations

import pytest

from bench.workloads import FULL, SMOKE, Sizes, smoke_wanted


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


@pytest.fixture(scope="session")
def sizes(pytestconfig: pytest.Config) -> Sizes:
    """Sizes of all that is measured."""
    return SMOKE if pytestconfig.getoption("--smoke") else FULL
