"""Runs work on several cores: the only place that starts threads.

Compiled loops run by `run_loop`: workers that share a queue of tasks, by Numba's ``prange`` where
`threading_layer` allows it, else by plain Python threads. What is Python between two kernels (a
block of rows converted, a result handed to a caller) runs by `run_tasks`, on plain threads, while
kernels release the GIL. The main thread takes Ctrl-C between two launches or tasks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core import config

from fastmem.kernels.queue import Loop, new_queue
from fastmem.machine.threading_layer import may_use_prange

Task = TypeVar("Task")

_LAUNCH_SECONDS = 0.15
"""About the longest launch of a loop: Ctrl-C waits for its end."""
_FIRST_TASKS = 8
"""Tasks a worker in the first launch of a loop, which says how long one takes."""
_FASTER = 32
"""A launch has at most so many times the tasks of the one before."""


def run_loop(
    loop: Loop,
    n_tasks: int,
    n_threads: int,
    arguments: tuple[Any, ...],
    most: int | None = None,
    after: Callable[[int, int], object] | None = None,
) -> None:
    """Do the tasks 0..n_tasks-1 of a loop on up to ``n_threads`` threads, in no set order.

    Parameters
    ----------
    loop : Loop
        Its worker is called with a queue, where to stop, and ``arguments``. Every task must write
        only what is its own, so that results do not depend on the order.
    most : int, optional
        Tasks a launch at most; in any case one lasts about 0.15 s.
    after : callable, optional
        ``after(first, last)`` is called on the calling thread when the tasks first..last-1 and all
        before are done.
    """
    n_threads = min(n_threads, n_tasks)
    by_prange = n_threads > 1 and may_use_prange()
    mask = numba.get_num_threads() if by_prange else 0
    queue = new_queue()
    try:
        if by_prange:
            n_threads = min(n_threads, config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
            numba.set_num_threads(n_threads)
        first, size = 0, min(n_tasks, most or n_tasks, _FIRST_TASKS * n_threads)
        while first < n_tasks:
            last = min(n_tasks, first + size)
            queue[0] = first
            start = perf_counter()
            if by_prange:
                loop.by_prange(n_threads, queue, last, *arguments)
            elif n_threads > 1:
                work = partial(_run_worker, loop.worker, queue, last, arguments)
                run_tasks(work, range(n_threads), n_threads)
            else:
                loop.worker(queue, last, *arguments)
            took = max(perf_counter() - start, 1e-6)
            if after is not None:
                after(first, last)
            first = last
            size = max(n_threads, int(size * min(_FASTER, _LAUNCH_SECONDS / took)))
            size = min(size, most or size)
    finally:
        if by_prange:
            numba.set_num_threads(mask)


def _run_worker(
    worker: Any, queue: np.ndarray, stop: int, arguments: tuple[Any, ...], number: int
) -> None:
    worker(queue, stop, *arguments)


def run_tasks(work: Callable[[Task], object], tasks: Sequence[Task], n_threads: int) -> None:
    """Call ``work`` once for every task, on up to ``n_threads`` threads, in no set order.

    ``work`` must write only what is its task's own (or hold a lock), so that results do not depend
    on the order. A task should last well under a second: an exception in any thread, Ctrl-C
    included, ends the rest before their next task and is raised here.
    """
    n_threads = min(n_threads, len(tasks))
    if n_threads <= 1:
        for task in tasks:
            work(task)
        return
    todo = iter(tasks)
    lock = threading.Lock()
    errors: list[BaseException] = []

    def take_tasks() -> None:
        while True:
            with lock:
                task = next(todo, todo)
            if task is todo or errors:
                return
            try:
                work(task)  # type: ignore[arg-type]
            except BaseException as error:
                errors.append(error)
                return

    helpers = [threading.Thread(target=take_tasks, daemon=True) for _ in range(n_threads - 1)]
    try:
        with suppress(RuntimeError):  # no room for one more: those that run do the rest
            for helper in helpers:
                helper.start()
        take_tasks()
    except BaseException as error:
        errors.append(error)
    for helper in helpers:
        if helper.ident is not None:
            helper.join()
    if errors:
        raise errors[0]


def ranges(stop: int, size: int) -> list[tuple[int, int]]:
    """0..stop-1 cut into ranges of ``size``."""
    return [(start, min(start + size, stop)) for start in range(0, stop, size)]
