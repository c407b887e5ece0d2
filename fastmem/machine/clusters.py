"""Clusters of Dask that commands are given, by the address of a scheduler or for their own time."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import resource_tracker
from typing import Any

from fastmem.errors import InvalidInputError
from fastmem.machine.extras import needs

TO_CONNECT = 10
"""Seconds in which a scheduler must answer,"""
TO_CONNECT_HERE = 60
"""or one of this process, which is there but may be slow."""
FOR_WORKERS = 30
"""Seconds that a cluster has to bring a worker."""
_LOCAL = re.compile(r"local(:[1-9]\d{0,3})?")


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """A client of a cluster that has workers.

    Parameters
    ----------
    address : str
        Of the scheduler, tcp://host:port; or "local", a worker process of this machine, or
        "local:4", so many, which end with the context and share its cores.

    Raises
    ------
    InvalidInputError
        If nothing answers there, or no worker comes.
    ModuleNotFoundError
        If dask and distributed are not installed.
    """
    with ExitStack() as stack:
        held = stack.enter_context(_interrupts())
        with needs("dask"):
            from distributed import Client, LocalCluster
        where: Any = address
        seconds = TO_CONNECT
        if _LOCAL.fullmatch(address):
            n_workers = int(address.partition(":")[2] or 1)
            begin = partial(
                LocalCluster, n_workers=n_workers, dashboard_address=":0", silence_logs=50
            )
            where = stack.enter_context(_deaf_to_interrupts(begin))
            seconds = TO_CONNECT_HERE
        try:
            client = Client(where, timeout=seconds, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InvalidInputError(
                f"no scheduler of Dask answers at {address!r} ({type(error).__name__}); start one "
                f"with 'dask scheduler', or give the address that it tells, like tcp://host:8786"
            ) from error
        stack.enter_context(client)
        _require_workers(client, address)
        if held:
            raise KeyboardInterrupt
        yield client


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Those that came: what Dask calls at each collection of garbage may swallow one."""
    came: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: Any) -> Any:
        came.append(number)
        return before(number, frame)  # type: ignore[operator, misc]

    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield came
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)


def _deaf_to_interrupts(begin: Callable[[], Any]) -> Any:
    """A cluster whose processes a terminal's Ctrl-C does not reach: this one ends them.

    They inherit the blocked signal from the thread that starts them.
    """
    resource_tracker.ensure_running()  # or its start would take the block away
    block = partial(signal.pthread_sigmask, signal.SIG_BLOCK, {signal.SIGINT})
    with ThreadPoolExecutor(1, initializer=block) as thread:
        future = thread.submit(begin)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.result().close()
            raise


def _require_workers(client: Any, address: str) -> None:
    if client.scheduler_info(n_workers=-1)["workers"]:
        return
    try:  # clusters that adapt bring workers when there is work
        client.submit(os.getpid, pure=False).result(timeout=FOR_WORKERS)
    except TimeoutError:
        raise InvalidInputError(
            f"the cluster at {address!r} has no workers, nor did any come within {FOR_WORKERS} s; "
            f"start some: 'dask worker {address}'"
        ) from None
