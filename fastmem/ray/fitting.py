"""interpolate(): a fit of a dataset of Ray, in actors that hold its blocks."""

from __future__ import annotations

import inspect
from contextlib import closing
from typing import Any

import ray
import ray.data

from fastmem import algorithm
from fastmem.distributed.fitting import interpolate_on
from fastmem.network.network import Network
from fastmem.ray.blocks import blocks_of, check_dataset, feature_columns
from fastmem.ray.shards import RayShards


def interpolate(
    dataset: ray.data.Dataset,
    *,
    label_column: str,
    num_actors: int | None = None,
    num_cpus: int | None = None,
    **parameters: Any,
) -> Network:
    """As `fastmem.interpolate`, of a dataset on a Ray cluster: the same network, byte for byte.

    It is the network of ``fastmem.interpolate(frame, labels)`` for all rows in one frame, whatever
    the blocks, actors and losses.

    Parameters
    ----------
    dataset : ray.data.Dataset
        All columns but that of the labels are features, in their order: numbers, or lists or
        tensors of as many numbers each, and with ``encode`` of any kind. Rows are in the order of
        the dataset's blocks, and of one that was not computed yet in that of what it reads, as with
        ``preserve_order``.
    label_column : str
    num_actors : int, optional
        Actors that hold the points; by default one for each node that has processors.
    num_cpus : int, optional
        Processors, and threads, of each; by default as many as fit on the smallest node.
    **parameters
        Of :func:`fastmem.interpolate`, but for X and y.

    Returns
    -------
    Network

    Raises
    ------
    InvalidInputError
        For what :func:`fastmem.interpolate` refuses; for settings that are for one machine only;
        where processors are too few, or have other versions of fastmem, numba or numpy.
    LostShardError
        If an actor is lost five times in one round, or a block that Ray cannot make again. It
        (``fastmem.distributed.transport``) is a RuntimeError.
    ContradictionError, MemoryError
        As :func:`fastmem.interpolate`.

    Warns
    -----
    UnseparatedWarning
        As :func:`fastmem.interpolate`.

    Notes
    -----
    A lost actor is made again, and costs the time in which its blocks are loaded and its patterns
    computed. Ray makes the blocks of a lost node again where it knows how: those that were read
    from files, and what was made of them by functions. It does not those that came from a frame in
    memory (``ray.data.from_pandas``), nor those that an actor has made: then the fit ends with that
    sentence.

    An actor that shows no sign of life for half a minute, as its process is stopped, counts as
    lost. If Ray was not initialised, ``ray.init()`` is called, which goes by ``RAY_ADDRESS``.

    Examples
    --------
    >>> import fastmem.ray, ray.data  # doctest: +SKIP
    >>> train = ray.data.read_parquet("train/")  # doctest: +SKIP
    >>> net = fastmem.ray.interpolate(train, label_column="y", seed=0)  # doctest: +SKIP
    """
    inspect.signature(algorithm.interpolate).bind(None, None, **parameters)  # names, before work
    check_dataset(dataset)
    if not ray.is_initialized():
        ray.init()
    blocks = blocks_of(dataset)
    columns = feature_columns(blocks.columns, label_column), label_column
    with closing(RayShards(blocks, columns, num_actors, num_cpus)) as shards:
        return interpolate_on(shards, **parameters)
