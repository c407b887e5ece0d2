"""Runs compiled loops on several cores.

Workers share a queue of tasks (``kernels.queue``), by Numba's ``prange`` where `threading_layer`
allows it, else by plain Python threads. A launch is short: the main thread takes Ctrl-C between
two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numba
import numpy as np
from numba import _dispatcher
from numba.core import config

from fastmem.kernels.queue import new_queue
from fastmem.kernels.side_by_side import address_of, compile_for, make_calls, new_room, pack_call
from fastmem.machine.threading_layer import may_use_prange
from fastmem.machine.threads import run_tasks

_LAUNCH_SECONDS = 0.3
"""What a launch of a loop should last: Ctrl-C waits for its end, all cores for the last of them."""
_REST = 1.5
"""A launch that would leave less than half as many tasks takes these too."""
_FIRST_TASKS = 2
"""Tasks a worker in the first launch of a loop, which says how long one takes."""
_FASTER = 32
"""A launch has at most so many times the tasks of the one before."""


def run_loop(
    worker: Any,
    n_tasks: int,
    n_threads: int,
    arguments: tuple[Any, ...],
    most: int | None = None,
    after: Callable[[int, int], object] | None = None,
) -> None:
    """Do the tasks 0..n_tasks-1 of a loop on up to ``n_threads`` threads, in no set order.

    Parameters
    ----------
    worker : kernel
        As in ``kernels.queue``, called with a queue, where to stop, and ``arguments``. Every task
        must write only what is its own, so that results do not depend on the order.
    most : int, optional
        Tasks a launch at most; in any case one lasts half a second at most.
    after : callable, optional
        ``after(first, last)`` is called on the calling thread when the tasks first..last-1 and all
        before are done.
    """
    n_threads = min(n_threads, n_tasks)
    queue = new_queue()
    if n_tasks == 1:  # small fits are made of these
        _called.add(worker)
        worker(queue, 1, *arguments)
        if after is not None:
            after(0, 1)
        return
    first, size = 0, min(n_tasks, most or n_tasks, _FIRST_TASKS * n_threads)
    while first < n_tasks:
        last = first + size
        if most is None and first and first + _REST * size >= n_tasks:
            last = n_tasks
        last = min(n_tasks, last)
        queue[0] = first
        start = perf_counter()
        run_calls(worker, [(queue, last, *arguments)] * n_threads, n_threads)
        took = max(perf_counter() - start, 1e-6)
        if after is not None:
            after(first, last)
        first = last
        size = max(n_threads, int(size * min(_FASTER, _LAUNCH_SECONDS / took)))
        size = min(size, most or size)


def run_calls(kernel: Any, calls: Sequence[tuple[Any, ...]], n_threads: int) -> None:
    """Call a kernel with each of these arguments, on up to ``n_threads`` threads.

    It returns nothing, and writes only to arguments that are its call's own, or by atomic
    operations. Equal calls that follow one another are cheap. A call should last well under a
    second: Ctrl-C waits for it.
    """
    _called.add(kernel)
    n_threads = min(n_threads, len(calls))
    if n_threads <= 1:
        for call in calls:
            kernel(*call)
    elif may_use_prange() and _is_compiled(kernel):
        _run_by_prange(kernel, calls, n_threads)
    else:
        run_tasks(lambda call: kernel(*call), calls, n_threads)


def _is_compiled(kernel: Any) -> bool:
    """Whether it has an address: not if somebody has wrapped it, to count its calls say."""
    return hasattr(kernel, "overloads")


def _run_by_prange(kernel: Any, calls: Sequence[tuple[Any, ...]], n_threads: int) -> None:
    failures = np.zeros(1, np.int64)
    makers, places = np.empty((2, len(calls)), np.int64)
    rooms: list[np.ndarray] = []
    for i, call in enumerate(calls):
        if i and call is calls[i - 1]:
            makers[i], places[i] = makers[i - 1], places[i - 1]
            continue
        rooms.append(new_room())
        makers[i] = pack_call(rooms[-1], _address(kernel, call), call, failures)
        places[i] = rooms[-1].ctypes.data
    mask = numba.get_num_threads()
    try:
        numba.set_num_threads(min(n_threads, config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
        make_calls(n_threads, new_queue(), makers, places)
    finally:
        numba.set_num_threads(mask)
    if failures[0]:
        raise MemoryError("there is no memory left for what kernels work in")


_called: set[Any] = set()
_addresses: dict[tuple[Any, Any], int] = {}


def compile_calls() -> None:
    """Compile what runs side by side the kernels that `run_calls` has called, on one thread say."""
    if may_use_prange():
        numba.get_num_threads()  # starts the layer, which compiled code needs
        for kernel in filter(_is_compiled, _called):
            for kinds in kernel.signatures:
                compile_for(kinds)


def _address(kernel: Any, arguments: tuple[Any, ...]) -> int:
    """Where the machine code of a kernel for these arguments begins."""
    # Numba's own, a hundred times faster than asking for the types
    fingerprint = getattr(_dispatcher, "compute_fingerprint", None)
    kinds = fingerprint(arguments) if fingerprint else tuple(map(numba.typeof, arguments))
    key = kernel, kinds
    if key not in _addresses:
        _addresses[key] = address_of(kernel, tuple(map(numba.typeof, arguments)))
    return _addresses[key]
