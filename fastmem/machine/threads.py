"""Runs Python work on several threads, while the kernels that it calls release the GIL.

Compiled loops run by ``machine.loops``. Here is what is Python between two kernels: a block of rows
converted, a result handed to a caller. The main thread takes Ctrl-C between two tasks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

Task = TypeVar("Task")


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
