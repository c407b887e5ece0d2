"""Whether Numba's ``prange`` may be used here and now.

Numba runs ``prange`` by one threading layer for the whole process, which it starts at the first
parallel kernel that is compiled or read from its cache. So the question comes before any of them
is touched, and is answered without starting anything:

- TBB and OpenMP take launches from several threads at once. Workqueue ends the process there, so
  it is never used; nor is there a layer where neither library is installed.
- A child that was forked after a layer had started has none of its threads: GNU OpenMP ends it. The
  same where another user of its library had, which hangs.
- Inside a parallel region of the caller's, OpenMP would give a launch one thread.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module

from numba.core import config

_SPINS = 1000
"""Looks at a lock before GNU OpenMP lets a thread sleep."""

_forked_from_a_layer = False


def may_use_prange() -> bool:
    """Whether workers may run by ``prange`` on the calling thread; else plain threads run them."""
    if _forked_from_a_layer or config.DISABLE_JIT:  # type: ignore[attr-defined]
        return False
    layer = _started() or _would_start(
        str(config.THREADING_LAYER).lower(),  # type: ignore[attr-defined]
        tuple(config.THREADING_LAYER_PRIORITY),  # type: ignore[attr-defined]
    )
    return layer == "tbb" or (layer == "omp" and not _in_parallel_region()())


def _started() -> str | None:
    """The layer that this process runs already."""
    parallel = sys.modules.get("numba.np.ufunc.parallel")
    name: str | None = getattr(parallel, "_threading_layer", None)
    return name


@cache
def _would_start(wanted: str, priority: tuple[str, ...]) -> str | None:
    """The layer that Numba would start, by its variable NUMBA_THREADING_LAYER and its order."""
    candidates = {
        "default": priority,
        "safe": ("tbb",),
        "threadsafe": ("tbb", "omp"),
        "forksafe": ("tbb", "workqueue"),
    }.get(wanted, (wanted,))
    return next((name for name in candidates if _is_there(name)), None)


def _is_there(layer: str) -> bool:
    if layer == "workqueue":
        return True
    try:
        parallel = import_module("numba.np.ufunc.parallel")
        if layer == "tbb":
            parallel._check_tbb_version_compatible()
            import_module("numba.np.ufunc.tbbpool")
        else:
            _load_openmp()
    except ImportError:
        return False
    return True


def _load_openmp() -> None:
    """Load Numba's OpenMP layer, where GNU's library is not to spin for long.

    By itself it spins for milliseconds before a thread that waits for others sleeps, which on a
    busy machine keeps these others from running. Nobody can say so later: it reads its variables
    once. What a user has set is respected, and so is a library that somebody else has loaded.
    """
    is_set = any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"))
    if not is_set and not _has_libgomp():
        os.environ["GOMP_SPINCOUNT"] = str(_SPINS)
    try:
        import_module("numba.np.ufunc.omppool")
    finally:
        if not is_set:
            os.environ.pop("GOMP_SPINCOUNT", None)


@cache
def _in_parallel_region() -> Callable[[], int]:
    """OpenMP's own answer, of the library that Numba's layer is linked to."""
    try:
        pool = import_module("numba.np.ufunc.omppool")
        function = ctypes.CDLL(pool.__file__).omp_in_parallel
    except (ImportError, OSError, AttributeError):
        return lambda: 0
    return function


def _after_fork() -> None:
    global _forked_from_a_layer
    _forked_from_a_layer = _forked_from_a_layer or _started() is not None or _has_libgomp()


def _has_libgomp() -> bool:
    """Whether GNU OpenMP's library is in this process, whoever brought it."""
    try:
        ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOLOAD)
    except (OSError, AttributeError):
        return False
    return True


def _has_lost_its_threads() -> bool:
    """Whether this process may be a child that was forked before it imported fastmem."""
    try:
        return _started() is not None and len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
    _forked_from_a_layer = _has_lost_its_threads()
