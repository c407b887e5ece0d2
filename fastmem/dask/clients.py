"""The client that a fit uses, and what its workers have installed."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Any

from distributed import Client, get_client, get_worker, worker_client

from fastmem.inputs import InvalidInputError
from fastmem.version import __version__

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


def versions() -> dict[str, str]:
    """Versions on which networks, or what is sent, may depend."""
    return {
        "fastmem": __version__, "numba": version("numba"), "numpy": version("numpy"),
        "Python": ".".join(platform.python_version_tuple()[:2]),
    }  # fmt: skip


def require_same(theirs: dict[str, str]) -> None:
    """Refuse to work, on a worker, for a client with other versions.

    Raises
    ------
    InvalidInputError
        Which names the worker and what differs.
    """
    mine = versions()
    differing = [
        f"{name} {mine[name]} and the client {name} {theirs[name]}"
        for name in theirs
        if mine[name] != theirs[name]
    ]
    if differing:
        raise InvalidInputError(
            f"worker {get_worker().address} has {'; '.join(differing)}; install the same versions, "
            f"as the network would depend on who computes what"
        )


def without_fastmem(client: Client, error: BaseException) -> InvalidInputError | None:
    """The sentence for an error that comes of a process of the cluster without fastmem, if so."""
    last: BaseException | None = error
    while last is not None and not isinstance(last, ModuleNotFoundError):
        last = last.__cause__
    if last is None or not (last.name or "").startswith("fastmem"):
        return None

    def lacks() -> bool:  # inside, so that it is sent as code: there is no module to import it from
        from importlib.util import find_spec

        return find_spec("fastmem") is None

    where = [name for name, is_so in client.run(lacks, on_error="return").items() if is_so is True]
    with suppress(Exception):  # some schedulers do not run what clients send
        where += ["the scheduler"] if client.run_on_scheduler(lacks) else []
    return InvalidInputError(
        f"fastmem is not installed everywhere in the cluster: it is missing on "
        f"{', '.join(where) or 'some workers'}; run pip install fastmem-nets=={__version__} there"
    )
