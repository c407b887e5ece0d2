from __future__ import annotations

import signal
import warnings

import hypothesis
import numba
import pytest

# A shell's background job ignores Ctrl-C, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# a loaded machine draws slowly; a failing example prints how to repeat it
hypothesis.settings.register_profile(
    "fastmem",
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("fastmem")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let ``pytest -n 2`` keep a file's tests together, which share what it begins, as a cluster.

    Files go in order, as some of few tests take longest.
    """
    from xdist.scheduler import LoadFileScheduling

    if config.getvalue("dist") != "load":
        return None
    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


@pytest.fixture(autouse=True)
def plain_python_may_overflow():
    """With the JIT off, what wraps or overflows silently in kernels warns in NumPy."""
    with warnings.catch_warnings():
        if numba.config.DISABLE_JIT:
            warnings.simplefilter("ignore", RuntimeWarning)
        yield
