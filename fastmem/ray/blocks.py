"""What is in a dataset of Ray: its blocks, in their order, and their columns as points and labels.

A block is an Arrow table or a frame of pandas, as Ray has it. Tables are not copied: points are
views of what lies in Ray's object store.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import ray.data

from fastmem.errors import InvalidInputError
from fastmem.inputs.refusals import did_you_mean, show, typed

_ordering = threading.Lock()


class Blocks(NamedTuple):
    """The blocks of a dataset.

    Attributes
    ----------
    refs : list of ray.ObjectRef
        Of the blocks that have rows, in the order of rows.
    sizes : list of int
        Rows of each.
    columns : list of str
        Of all of them, in the dataset's order.
    """

    refs: list[Any]
    sizes: list[int]
    columns: list[str]


def check_dataset(dataset: Any) -> None:
    """Refuse what is no dataset of Ray."""
    if not isinstance(dataset, ray.data.Dataset):
        raise InvalidInputError(
            f"dataset is {typed(dataset)}; pass a ray.data.Dataset, or fit on one machine with "
            f"fastmem.interpolate"
        )


def blocks_of(dataset: Any) -> Blocks:
    """Compute all blocks of a dataset, which stay in Ray's object store while they are referred to.

    Raises
    ------
    InvalidInputError
        If it is no dataset, or has no rows.
    """
    check_dataset(dataset)
    # else blocks come in the order in which their tasks end, and networks with them
    options = dataset.context.execution_options
    with _ordering:
        before = options.preserve_order
        options.preserve_order = True
        try:
            whole = dataset.materialize()
        finally:
            options.preserve_order = before
    refs, sizes = [], []
    for bundle in whole.iter_internal_ref_bundles():
        for ref, metadata in zip(bundle.block_refs, bundle.metadata, strict=True):
            if metadata.num_rows:
                refs.append(ref)
                sizes.append(metadata.num_rows)
    if not refs:
        raise InvalidInputError("dataset has no rows; pass one with points")
    return Blocks(refs, sizes, list(whole.schema().names))


def feature_columns(columns: Sequence[str], label_column: Any) -> list[str]:
    """Columns that are features: all but that of the labels."""
    if label_column not in columns:
        raise InvalidInputError(
            f"label_column is {typed(label_column)}, which is no column of the dataset"
            f"{did_you_mean(label_column, columns)}; pass one of {', '.join(map(show, columns))}"
        )
    features = [name for name in columns if name != label_column]
    if not features:
        raise InvalidInputError(
            f"dataset has no column but {show(label_column)}, the labels; pass features too"
        )
    return features


def columns_of(block: Any) -> list[str]:
    """Columns of an Arrow table, or a frame of pandas."""
    return list(block.column_names if is_arrow(block) else block.columns)


def is_arrow(block: Any) -> bool:
    """Whether a block is an Arrow table, and else a frame of pandas."""
    return hasattr(block, "column_names")


def rows_of(block: Any, start: int, stop: int) -> Any:
    """Some rows of a block, not copied."""
    return block.slice(start, stop - start) if is_arrow(block) else block.iloc[start:stop]


def points_in(block: Any, columns: Sequence[str], name: str) -> Any:
    """Some columns of a block in this order, as `check_points` takes them."""
    here = set(columns_of(block))
    missing = [column for column in columns if column not in here]
    if missing:
        raise InvalidInputError(
            f"{name} has no column {', '.join(map(show, missing))}, which others have; give all "
            f"blocks the same columns"
        )
    if not is_arrow(block):
        return block[list(columns)]
    import pyarrow

    chosen = block.select(columns)
    for place, field in enumerate(chosen.schema):
        if isinstance(field.type, pyarrow.BaseExtensionType):
            lists = _lists(chosen.column(place), f"column {show(field.name)} of {name}")
            chosen = chosen.set_column(place, field.name, lists)
    return chosen


def _lists(column: Any, title: str) -> Any:
    """A column of tensors as lists, which is how Ray stores it."""
    import pyarrow

    shape = getattr(column.type, "shape", None)
    if shape is None or len(shape) != 1:
        what = "values" if shape is None else f"tensors of shape {tuple(shape)}"
        raise InvalidInputError(
            f"{title} holds {what} of type {column.type}; make one list of numbers of each"
        )
    kind = column.type.storage_type
    return pyarrow.chunked_array([chunk.storage for chunk in column.chunks], kind)


def labels_in(block: Any, column: str) -> Any:
    """The labels of a block, as `interpolate` takes them."""
    return block.column(column) if is_arrow(block) else block[column]
