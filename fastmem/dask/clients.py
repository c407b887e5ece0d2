"""The client that a fit uses, and what it asks of workers by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client, get_client, get_worker, worker_client

from fastmem.inputs import InvalidInputError

_NO_CLIENT = (
    "there is no Dask client; begin one, client = distributed.Client(...), or pass it as client="
)


def client_of(client: Any) -> Client:
    """The client that was passed, or else the current one.

    Raises
    ------
    InvalidInputError
        If there is none, or one that is asynchronous or closed.
    """
    if client is None:
        try:
            client = get_client()
        except ValueError as none:
            raise InvalidInputError(_NO_CLIENT) from none
    if not isinstance(client, Client):
        raise InvalidInputError(f"client is of type {type(client).__name__}; pass a Dask client")
    if client.asynchronous:
        raise InvalidInputError(
            "client is asynchronous; pass one that is not, distributed.Client(client.scheduler."
            "address), and await the fit in a thread: asyncio.to_thread(...)"
        )
    if client.status in ("closing", "closed"):
        raise InvalidInputError("client is closed; pass one that is connected")
    return client


@contextmanager
def using(client: Any) -> Iterator[Client]:
    """As `client_of`; inside a task of a worker, its thread is free for others meanwhile."""
    try:
        get_worker()
    except ValueError:
        yield client_of(client)
        return
    with worker_client() as own:  # which lets the parts be computed where the fit was called
        yield client_of(own if client is None else client)


def on_worker(module: str, function: str) -> Callable[..., Any]:
    """A function of fastmem that is looked up where it runs.

    It is sent as code: a worker that cannot import what it is sent by name closes.
    """

    def run(*arguments: Any) -> Any:
        from importlib import import_module

        try:
            found = getattr(import_module(module), function)
        except ModuleNotFoundError as missing:
            from distributed import get_worker

            raise ModuleNotFoundError(
                f"worker {get_worker().address} has no module {missing.name}; install fastmem and "
                f"what it needs on all workers",
                name=missing.name,
            ) from None
        return found(*arguments)

    return run
