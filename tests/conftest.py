from __future__ import annotations

import signal
import warnings
from pathlib import Path

import hypothesis
import numba
import pytest

import fastmem

KERNELS = Path(fastmem.__file__).parent / "kernels"

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


def pytest_configure(config):
    # Numba's cache looks at a kernel's own file only, but kernels hold code of others.
    newest = max(path.stat().st_mtime for path in KERNELS.glob("*.py"))
    for cached in KERNELS.glob("__pycache__/*.nb[ic]"):
        if cached.stat().st_mtime < newest:
            cached.unlink()


@pytest.fixture(autouse=True)
def plain_python_may_overflow():
    """With the JIT off, what wraps or overflows silently in kernels warns in NumPy."""
    with warnings.catch_warnings():
        if numba.config.DISABLE_JIT:
            warnings.simplefilter("ignore", RuntimeWarning)
        yield
