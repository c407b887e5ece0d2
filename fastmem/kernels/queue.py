"""A queue of tasks that several workers share.

A *worker* is a serial kernel ``worker(queue, stop, *arguments)``: it takes the numbers of tasks off
the queue until they reach ``stop``. Several workers on several cores share the tasks whatever the
speed of each core, where a static share would leave the faster one waiting. ``side_by_side`` runs
workers by ``prange``, ``machine.loops.run_loop`` decides how.
"""

from __future__ import annotations

import threading

import numpy as np
from numba import types
from numba.core import config
from numba.extending import intrinsic

from fastmem.kernels.compiling import njit


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

    def take_many(counter, amount):
        """What a counter was before ``amount`` was added: that many numbers, no one else's."""
        with _lock:
            first = np.int64(counter[0])
            counter[0] += amount
        return first

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

    @njit(nogil=True, cache=True)
    def take_many(counter, amount):
        """What a counter was before ``amount`` was added: that many numbers, no one else's."""
        return _fetch_and_add(counter, np.int64(amount))  # type: ignore[call-arg]
