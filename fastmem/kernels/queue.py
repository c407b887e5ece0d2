"""Loops whose tasks several cores share.

A loop's *worker* is a serial kernel ``worker(queue, stop, *arguments)``: it takes the numbers of
tasks off the queue until they reach ``stop``. Several workers on several cores share the tasks
whatever the speed of each core, where a static share would leave the faster one waiting: Numba's
OpenMP layer cuts a ``prange`` into equal parts, so the ``prange`` is over the workers.

::

    @njit(nogil=True, cache=True, parallel=True)
    def _things_by_prange(n_workers, queue, stop, things):
        for _ in prange(n_workers):
            things_of(queue, stop, things)

    THINGS = Loop(things_of, _things_by_prange)

``machine.threads.run_loop`` runs a `Loop`: by ``prange``, by plain threads, or on one thread.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.core import config
from numba.extending import intrinsic

from fastmem.kernels.compiling import njit


class Loop(NamedTuple):
    """A worker, and the workers side by side: ``by_prange(n_workers, queue, stop, ...)``."""

    worker: Any
    by_prange: Any


def new_queue() -> np.ndarray:
    """A queue at task 0, alone on its cache lines; int64."""
    return np.zeros(48, np.int64)[16:32]


if config.DISABLE_JIT:  # type: ignore[attr-defined]
    _lock = threading.Lock()

    def take(queue):
        """The next task number, which no other worker gets."""
        with _lock:
            task = np.int64(queue[0])
            queue[0] += 1
        return task

else:

    @intrinsic
    def _fetch_and_add(typingctx, queue, amount):
        """queue[0] += amount in one piece; what it was."""

        def codegen(context, builder, signature, args):
            array = context.make_array(signature.args[0])(context, builder, args[0])
            return builder.atomic_rmw("add", array.data, args[1], "monotonic")

        return types.int64(queue, types.int64), codegen

    @njit(nogil=True, cache=True)
    def take(queue):
        """The next task number, which no other worker gets."""
        return _fetch_and_add(queue, np.int64(1))  # type: ignore[call-arg]
