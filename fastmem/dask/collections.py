"""Dask's collections as parts of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask
from dask.utils import is_arraylike, is_dataframe_like, is_series_like
from distributed import Client, get_worker
from distributed.client import futures_of

from fastmem.dask.clients import on_worker
from fastmem.distributed.parts import Part
from fastmem.distributed.versions import require_same, versions
from fastmem.inputs import InvalidInputError
from fastmem.machine.warned import warn_user


class Recipes:
    """How to make each part of X and y, wherever, and again where a worker is lost.

    Parameters
    ----------
    X, y : dask collections
        As of `fastmem.dask.interpolate`.
    of_points : (str, str), optional
        Module and name of a function that changes the points of each part, on its worker.

    Raises
    ------
    InvalidInputError
        If they are no collections, or not in the same parts.
    """

    def __init__(self, X: Any, y: Any, of_points: tuple[str, str] | None = None) -> None:
        require_points(X)
        require_labels(X, y)
        require_same_parts(X, y)
        self._pairs = together(X, y)
        self._of_points, self._remedy = of_points, remedy(X, y)
        self._futures = futures_of([X, y])

    def __len__(self) -> int:
        return len(self._pairs)

    def delayed(self, numbers: Sequence[int]) -> list[Any]:
        """New tasks, of names never used before, that make some parts."""
        make = dask.delayed(on_worker(__name__, "make_part"), pure=False)
        known = versions()
        return [
            make(number, self._pairs[number], self._of_points, self._remedy, known,
                 dask_key_name=f"fastmem-part-{number}-{_unique()}")
            for number in numbers
        ]  # fmt: skip

    def warn_of_scattered(self, client: Client) -> None:
        """Warn of data that was sent to workers and cannot be made again where it is lost."""
        if not self._futures:
            return
        keys = [future.key for future in self._futures]

        def without_recipe(dask_scheduler: Any) -> int:  # inside, so that it is sent as code
            tasks = [dask_scheduler.tasks.get(key) for key in keys]
            return sum(task is not None and task.run_spec is None for task in tasks)

        try:
            n_scattered = client.run_on_scheduler(without_recipe)
        except Exception:  # schedulers may refuse to run what clients send
            return
        if n_scattered:
            warn_user(
                f"X or y holds {n_scattered} pieces that were scattered; where their worker is "
                f"lost they are, too, and so is the fit; read the data on the workers instead, "
                f"from files or with dask.delayed",
                UserWarning,
            )


def _unique() -> str:
    from uuid import uuid4

    return uuid4().hex


def make_part(
    number: int,
    pair: tuple[Any, Any],
    of_points: tuple[str, str] | None,
    remedy: str,
    client: dict[str, str],
) -> Part:
    """A part, of what Dask has of it; where the worker has what the ``client`` has."""
    require_same(client, f"worker {get_worker().address}")
    points, labels = pair
    if len(labels) != points.shape[0]:
        raise InvalidInputError(
            f"part {number} has {points.shape[0]} rows in X and {len(labels)} in y; {remedy}"
        )
    return Part(number, points if of_points is None else on_worker(*of_points)(points), labels)


def is_frame(X: Any) -> bool:
    """Whether a collection is a data frame."""
    return bool(is_dataframe_like(X))


def is_array(X: Any) -> bool:
    """Whether a collection is an array; of a Delayed any attribute is there."""
    return bool(is_arraylike(X)) and isinstance(X.numblocks, tuple)


def require_points(X: Any) -> None:
    """Refuse what is no matrix in parts of whole rows."""
    if not dask.is_dask_collection(X) or not (is_frame(X) or is_array(X)):
        raise InvalidInputError(
            f"X is of type {type(X).__name__}; pass a Dask array or data frame, such as "
            f"dask.array.from_array(X, chunks=(100_000, -1)), or call fastmem without Dask"
        )
    if is_frame(X):
        return
    if X.ndim != 2:
        raise InvalidInputError(f"X has {X.ndim} dimensions; pass one row per point")
    if X.numblocks[1] > 1:
        raise InvalidInputError(
            f"X has {X.numblocks[1]} chunks of columns; pass whole rows, X.rechunk({{1: -1}})"
        )


def require_labels(X: Any, y: Any) -> None:
    """Refuse labels that are not in parts, or of more than one column."""
    if isinstance(y, str) and is_frame(X):
        raise InvalidInputError(
            f"y is a name; pass the labels, interpolate(X.drop(columns={y!r}), X[{y!r}])"
        )
    if not dask.is_dask_collection(y) or not (is_series_like(y) or is_array(y)):
        raise InvalidInputError(
            f"y is of type {type(y).__name__}; pass a Dask array or series in the parts of X, such "
            f"as dask.array.from_array(y, chunks=X.chunks[0])"
        )
    if y.ndim != 1:
        raise InvalidInputError(f"y has {y.ndim} dimensions; pass one label per row")


def require_same_parts(X: Any, y: Any) -> None:
    """Refuse labels in other parts than points, as far as is known."""
    mine, theirs = (c.npartitions for c in (X, y))
    if mine != theirs:
        raise InvalidInputError(f"X has {mine} parts and y has {theirs}; {remedy(X, y)}")
    if is_frame(X) or is_series_like(y):
        return  # whose lengths are known where they are made
    for number, (mine, theirs) in enumerate(zip(X.chunks[0], y.chunks[0], strict=True)):
        if mine != theirs and mine == mine and theirs == theirs:  # nan where it is not known
            raise InvalidInputError(
                f"part {number} has {mine} rows in X and {theirs} in y; {remedy(X, y)}"
            )


def together(*collections: Any) -> list[Any]:
    """Tasks for tuples of what collections have in each part."""
    if all(map(_is_of_pandas, collections)):
        # in one expression, or Dask reads files twice, and may join small parts of one of them only
        first, *others = collections
        joint = first.map_partitions(
            lambda *pieces: pieces,
            *others,
            meta=first._meta,
            enforce_metadata=False,
            align_dataframes=False,
        )
        return list(joint.to_delayed(optimize_graph=_can_be_optimized(joint)))
    return [dask.delayed(some) for some in zip(*map(_blocks_of, collections), strict=True)]


def _can_be_optimized(joint: Any) -> bool:
    """Whether the collections of a joint one are in the same parts then.

    Dask may read small files together for one of them, and not for another that was repartitioned.
    """
    expression = joint.optimize(fuse=False).expr
    return len({one.npartitions for one in expression.dependencies()}) == 1


def _is_of_pandas(collection: Any) -> bool:
    return bool(is_dataframe_like(collection) or is_series_like(collection))


def remedy(X: Any, y: Any) -> str:
    """How to bring y into the parts of X."""
    if not is_frame(X) and not is_series_like(y):
        return "pass them in the same chunks, y.rechunk({0: X.chunks[0]})"
    if is_frame(X) and is_series_like(y):
        return (
            "pass columns of one frame, which is persisted before they are taken, if at all, or "
            "repartition both alike"
        )
    return "pass both as frames or both as arrays, of one frame, frame.to_dask_array(lengths=True)"


def _blocks_of(collection: Any) -> list[Any]:
    """The parts of a collection, in order, each a task of its own."""
    if _is_of_pandas(collection):
        return list(collection.to_delayed(optimize_graph=False))  # or small parts may be joined
    return list(collection.to_delayed().ravel())
