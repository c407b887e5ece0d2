"""Predictions and sign patterns of a dataset's rows, block by block, without state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import ray.data
from ray.data.block import BlockAccessor

from fastmem.errors import InvalidInputError
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import check_count
from fastmem.inputs.refusals import show, typed
from fastmem.network.network import Network
from fastmem.patterns import of_points
from fastmem.ray.blocks import check_dataset, columns_of, is_arrow, points_in


def predict(
    network: Network,
    dataset: ray.data.Dataset,
    *,
    output_column: str = "predicted",
    num_cpus: int = 1,
    **options: Any,
) -> ray.data.Dataset:
    """Label every row of a dataset, lazily: with its columns and one more.

    Parameters
    ----------
    network : Network
        Ray puts it into its object store once.
    dataset : ray.data.Dataset
        With the columns of the fit, by name, whatever there is beside them, such as labels. A
        network that was not fitted to columns with names takes all columns, in their order.
    output_column : str, default "predicted"
        The name of the column to add.
    num_cpus : int, default 1
        Processors, and threads, of a task.
    **options
        Of ``ray.data.Dataset.map_batches``, as ``batch_size``.

    Returns
    -------
    ray.data.Dataset

    Raises
    ------
    InvalidInputError
        If ``dataset`` is no dataset; when it is computed, if columns are missing, or for what
        `Network.predict` refuses.

    Examples
    --------
    >>> import fastmem.ray, ray.data  # doctest: +SKIP
    >>> net = fastmem.load("net.npz")  # doctest: +SKIP
    >>> labelled = fastmem.ray.predict(net, ray.data.read_parquet("test/"))  # doctest: +SKIP
    >>> labelled.write_parquet("labelled/")  # doctest: +SKIP
    """
    return _answered(network, "predict", dataset, output_column, num_cpus, options)


def predict_proba(
    network: Network,
    dataset: ray.data.Dataset,
    *,
    output_column: str = "probabilities",
    num_cpus: int = 1,
    **options: Any,
) -> ray.data.Dataset:
    """Probabilities of the classes for every row, as tensors; see `predict`.

    Parameters
    ----------
    network : Network
        One with ``decision="vote"``.
    dataset, output_column, num_cpus, **options
        As of `predict`.

    Returns
    -------
    ray.data.Dataset

    Raises
    ------
    InvalidInputError
        As `predict`; when it is computed, for what `Network.predict_proba` refuses.
    """
    return _answered(network, "predict_proba", dataset, output_column, num_cpus, options)


def decision_function(
    network: Network,
    dataset: ray.data.Dataset,
    *,
    output_column: str = "scores",
    num_cpus: int = 1,
    **options: Any,
) -> ray.data.Dataset:
    """Scores of the classes for every row, as tensors, or of two classes as numbers; see `predict`.

    Parameters
    ----------
    network, dataset, output_column, num_cpus, **options
        As of `predict`.

    Returns
    -------
    ray.data.Dataset

    Raises
    ------
    InvalidInputError
        As `predict`.
    """
    return _answered(network, "decision_function", dataset, output_column, num_cpus, options)


def sign_patterns(
    dataset: ray.data.Dataset,
    hyperplanes: Hyperplanes,
    *,
    columns: Sequence[str] | None = None,
    output_column: str = "pattern",
    num_cpus: int = 1,
    **options: Any,
) -> ray.data.Dataset:
    """Sign pattern of every row of a dataset, lazily: with its columns and one more.

    Parameters
    ----------
    dataset : ray.data.Dataset
    hyperplanes : Hyperplanes
        Ray puts them into its object store once.
    columns : sequence of str, optional
        Those that are coordinates, in this order; by default all.
    output_column : str, default "pattern"
        The name of the column to add: tensors of ceil(n / 64) uint64 each, as of
        :func:`fastmem.sign_patterns`.
    num_cpus : int, default 1
        Processors, and threads, of a task.
    **options
        Of ``ray.data.Dataset.map_batches``, as ``batch_size``.

    Returns
    -------
    ray.data.Dataset

    Raises
    ------
    InvalidInputError
        If ``dataset`` is no dataset; when it is computed, for what :func:`fastmem.sign_patterns`
        refuses.
    """
    if not isinstance(hyperplanes, Hyperplanes):
        raise InvalidInputError(f"hyperplanes is {typed(hyperplanes)}; pass fastmem.Hyperplanes")
    chosen = None if columns is None else list(columns)
    return _mapped(dataset, (hyperplanes, chosen), _patterns, output_column, num_cpus, options)


def _answered(
    network: Any,
    method: str,
    dataset: Any,
    output_column: Any,
    num_cpus: Any,
    options: dict[str, Any],
) -> Any:
    """What a method of a network says of each batch."""
    if not isinstance(network, Network):
        raise InvalidInputError(f"network is {typed(network)}; pass a fastmem.Network")
    return _mapped(dataset, (network, method), _asked, output_column, num_cpus, options)


def _mapped(
    dataset: Any,
    known: Any,
    work: Callable[[Any, Any, int], np.ndarray],
    output_column: Any,
    num_cpus: Any,
    options: dict[str, Any],
) -> Any:
    check_dataset(dataset)
    if not isinstance(output_column, str):
        raise InvalidInputError(f"output_column is {typed(output_column)}; pass a name")
    num_cpus = check_count("num_cpus", num_cpus, 1)
    return dataset.map_batches(
        _with_column,
        batch_format=None,  # as blocks are, not copied
        fn_args=(known, work, output_column, num_cpus),  # which Ray puts into its store, once
        num_cpus=num_cpus,
        **{"zero_copy_batch": True, "batch_size": None, **options},
    )


def _with_column(
    batch: Any,
    known: Any,
    work: Callable[[Any, Any, int], np.ndarray],
    output_column: str,
    n_threads: int,
) -> Any:
    if output_column in columns_of(batch):
        raise InvalidInputError(
            f"the dataset has a column {show(output_column)}; pass another name as output_column"
        )
    found = work(batch, known, n_threads)
    if not is_arrow(batch):
        return batch.assign(**{output_column: found if found.ndim == 1 else list(found)})
    # Ray knows how its tables hold tensors
    made = BlockAccessor.batch_to_block({output_column: found})
    return batch.append_column(output_column, made.column(output_column))


def _asked(batch: Any, known: tuple[Network, str], n_threads: int) -> np.ndarray:
    network, method = known
    columns = columns_of(batch)
    if network.encoding is not None:
        columns = [column.name for column in network.encoding.columns]
    elif network.feature_names is not None:
        columns = _bases(network.feature_names, columns)
    points = points_in(batch, columns, "the dataset")
    found: np.ndarray = getattr(network, method)(points, n_threads=n_threads)
    return found


def _patterns(
    batch: Any, known: tuple[Hyperplanes, list[str] | None], n_threads: int
) -> np.ndarray:
    hyperplanes, columns = known
    points = points_in(batch, columns_of(batch) if columns is None else columns, "the dataset")
    return of_points.sign_patterns(points, hyperplanes, n_threads=n_threads)


def _bases(names: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Columns that gave the features of some names: itself, or lists whose values have numbers."""
    here = set(columns)
    bases = (name if name in here else name.rpartition("[")[0] or name for name in names)
    return list(dict.fromkeys(bases))
