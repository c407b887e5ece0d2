"""The numbers that define hyperplanes, from users and from model files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastmem.inputs.refusals import at, refuse, show, whole
from fastmem.inputs.tables import check_points
from fastmem.inputs.values import as_array, check_dtype, check_values
from fastmem.machine.arrays import frozen

MAX_BLOCK = 1 << 16
"""Rows of the largest block of structured hyperplanes, and so their most features: D^1.5 = 2^24 is
the last integer up to which float32 holds all, see kernels/hadamard.py."""
_MAX_GENERATED = 1 << 21
"""Rows in all blocks: a transform takes some 40 bytes a row, whether it is used or not."""


def check_hyperplanes(weights: Any, biases: Any) -> tuple[np.ndarray, np.ndarray]:
    """Check the numbers that define hyperplanes.

    Parameters
    ----------
    weights : array-like of shape (n, n_features)
        Values that float32 holds exactly.
    biases : array-like of shape (n,)
        Values that float64 holds exactly.

    Returns
    -------
    weights : ndarray of shape (n, n_features), float32
    biases : ndarray of shape (n,), float64
        Both C-contiguous and flagged read-only; views where the arguments are so already.

    Raises
    ------
    InvalidInputError
        Wrong shapes, NaN or infinite values, values that would be rounded, or no hyperplane.
    """
    points = check_points(weights, name="weights")
    exact = points.block(0, points.n_samples)
    with np.errstate(over="ignore", under="ignore"):
        narrow = exact.astype(np.float32, copy=False)
    if narrow is not exact and (narrow != exact).any():
        first = np.argwhere(narrow != exact)[0]
        refuse(
            f"{at('weights', first)} is {show(exact[tuple(first)])}, which float32 cannot hold "
            f"exactly; round yourself with np.asarray(weights, dtype=np.float32)"
        )
    levels = as_array(biases, "biases")
    if levels.shape != (len(exact),):
        refuse(
            f"biases has shape {levels.shape} but weights has {len(exact)} rows; "
            f"pass one bias for each row, shape ({len(exact)},)"
        )
    check_dtype(levels, "biases")
    check_values(levels, "biases")
    return frozen(narrow), frozen(np.require(levels, np.float64, ["C", "A"]).view())


def _arrays(**wanted: tuple[Any, int, type[np.generic]]) -> Iterator[np.ndarray]:
    """The arrays, C-contiguous, if they have these dimensions and dtypes."""
    for name, (array, n_dimensions, dtype) in wanted.items():
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != n_dimensions:
            what = f"of shape {np.shape(array)} and dtype {getattr(array, 'dtype', 'none')}"
            refuse(
                f"{name} is a {type(array).__name__} {what}; "
                f"pass a {n_dimensions}-dimensional array of {np.dtype(dtype)}"
            )
    return (np.ascontiguousarray(array) for array, _, _ in wanted.values())


def _check_lengths(rows: np.ndarray, biases: np.ndarray) -> None:
    if len(rows) < 1 or len(biases) != len(rows):
        refuse(
            f"rows and biases have lengths {len(rows)} and {len(biases)}; "
            f"pass one bias for each row, and at least one row"
        )


def _check_stored(rows: np.ndarray, extra: np.ndarray, biases: np.ndarray) -> None:
    if not np.array_equal(rows[rows < 0], -1 - np.arange(len(extra))):
        refuse(
            f"the negative numbers of rows are not -1 to -{len(extra)} in this order; "
            f"name each row of extra once, in order"
        )
    for name, array in (("extra", extra), ("biases", biases)):
        if array.size:
            check_values(array, name)


def check_seeded(
    key: Any, rows: Any, extra: Any, biases: Any
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Check the numbers that define seeded hyperplanes.

    Parameters
    ----------
    key : int
        0 to 2^64 - 1.
    rows : ndarray of shape (n,), int32
        Numbers of generated rows, and -1, -2, ..., -n_extra in this order.
    extra : ndarray of shape (n_extra, n_features), float32
    biases : ndarray of shape (n,), float64

    Returns
    -------
    key, rows, extra, biases
        Arrays C-contiguous; views where they are so already.

    Raises
    ------
    InvalidInputError
        Wrong types, shapes or values, or no hyperplane.
    """
    key = whole(key, "key", "the key of a layer", low=0, high=2**64 - 1)
    rows, extra, biases = _arrays(
        rows=(rows, 1, np.int32), extra=(extra, 2, np.float32), biases=(biases, 1, np.float64)
    )
    if extra.shape[1] < 1:
        refuse("extra has no columns; pass one for each feature")
    _check_lengths(rows, biases)
    _check_stored(rows, extra, biases)
    return key, rows, extra, biases


def check_keyed(
    key: Any, rows: Any, n_entries: Any, extra: Any, extra_biases: Any
) -> tuple[int, np.ndarray, int, np.ndarray, np.ndarray]:
    """Check the numbers that define hyperplanes of a few entries from a key.

    Parameters
    ----------
    key : int
        0 to 2^64 - 1.
    rows : ndarray of shape (n,), int32
        Numbers of generated rows, and -1, -2, ..., -n_extra in this order.
    n_entries : int
        1 to 65,535.
    extra : ndarray of shape (n_extra, n_features), float32
    extra_biases : ndarray of shape (n_extra,), float64

    Returns
    -------
    key, rows, n_entries, extra, extra_biases
        Arrays C-contiguous; views where they are so already.

    Raises
    ------
    InvalidInputError
        Wrong types, shapes or values, or no hyperplane.
    """
    key = whole(key, "key", "the key of a layer", low=0, high=2**64 - 1)
    n_entries = whole(n_entries, "n_entries", "entries of a row", low=1, high=2**16 - 1)
    rows, extra, extra_biases = _arrays(
        rows=(rows, 1, np.int32), extra=(extra, 2, np.float32),
        extra_biases=(extra_biases, 1, np.float64),
    )  # fmt: skip
    if not 1 <= extra.shape[1] < 2**31:
        refuse(f"extra has {extra.shape[1]} columns; pass one for each of 1 to 2^31 - 1 features")
    if len(rows) < 1 or len(extra_biases) != len(extra):
        refuse(
            f"rows, extra and extra_biases have lengths {len(rows)}, {len(extra)} and "
            f"{len(extra_biases)}; pass at least one row, and a bias for each row of extra"
        )
    _check_stored(rows, extra, extra_biases)
    return key, rows, n_entries, extra, extra_biases


def check_structured(
    signs: Any, rows: Any, extra: Any, biases: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Check the numbers that define structured hyperplanes.

    Parameters
    ----------
    signs : ndarray of shape (n_blocks, rounds, D / 64), uint64
        1 to 3 rounds; D is the least power of two that is at least 64 and at least n_features.
    rows : ndarray of shape (n,), int32
        Each number from 0 to n_blocks D - 1 at most once, and -1, -2, ..., -n_extra in this order.
    extra : ndarray of shape (n_extra, n_features), float32
    biases : ndarray of shape (n,), float64

    Returns
    -------
    signs, rows, extra, biases : ndarrays
        C-contiguous; views where the arguments are so already.

    Raises
    ------
    InvalidInputError
        Wrong types, shapes or values, or no hyperplane.
    """
    signs, rows, extra, biases = _arrays(
        signs=(signs, 3, np.uint64), rows=(rows, 1, np.int32), extra=(extra, 2, np.float32),
        biases=(biases, 1, np.float64),
    )  # fmt: skip
    n_blocks, rounds, words = signs.shape
    if n_blocks * 64 * words > _MAX_GENERATED:
        refuse(
            f"signs has {n_blocks} blocks of {64 * words} rows; pass at most "
            f"{_MAX_GENERATED:,} rows in all"
        )
    d = extra.shape[1]
    if not 1 <= d <= MAX_BLOCK:
        refuse(f"extra has {d} columns; pass 1 to {MAX_BLOCK:,} features")
    size = block_rows(d)
    if not 1 <= rounds <= 3 or 64 * words != size:
        refuse(
            f"signs has shape {signs.shape}; pass 1 to 3 rounds of {size // 64} words, "
            f"as blocks of {size} rows for {d} features have"
        )
    beyond = _bits_beyond(signs[:, 0], d)
    if beyond.any():
        block = int(np.argmax(beyond))
        refuse(f"signs[{block}, 0] has bits beyond the {d} features; clear them")
    _check_lengths(rows, biases)
    wrong = rows >= n_blocks * size
    if wrong.any():
        i = int(np.argmax(wrong))
        refuse(
            f"rows[{i}] is {rows[i]} where {n_blocks} blocks have rows 0 to "
            f"{n_blocks * size - 1}; pass numbers of these"
        )
    generated = np.sort(rows[rows >= 0])
    twice = generated[1:] == generated[:-1]
    if twice.any():
        refuse(f"rows holds {generated[int(np.argmax(twice))]} twice; name each row once")
    _check_stored(rows, extra, biases)
    return signs, rows, extra, biases


def check_blocks(blocks: np.ndarray, n_features: int) -> None:
    """Check numbers of blocks of structured hyperplanes that a key stands for.

    Parameters
    ----------
    blocks : ndarray of shape (n_blocks,), int64
        Ascending.
    n_features : int

    Raises
    ------
    InvalidInputError
        For others, or too many.
    """
    if not 1 <= n_features <= MAX_BLOCK:
        refuse(f"blocks are for {n_features} features; pass 1 to {MAX_BLOCK:,}")
    size = block_rows(n_features)
    if len(blocks) * size > _MAX_GENERATED:
        refuse(
            f"blocks names {len(blocks)} blocks of {size} rows; pass at most "
            f"{_MAX_GENERATED:,} rows in all"
        )
    if (np.diff(blocks, prepend=-1) < 1).any():
        refuse("blocks does not ascend from 0 or above; name each block once, in order")


def block_rows(n_features: int) -> int:
    """D: rows in a block of structured hyperplanes, a power of two of at least 64."""
    return max(64, 1 << (n_features - 1).bit_length())


def _bits_beyond(words: np.ndarray, n: int) -> np.ndarray:
    """Whether each row of words, (m, n_words) uint64, has bits at n or beyond; (m,) bool."""
    spare = words[:, n // 64 :].copy()
    if n % 64:
        spare[:, 0] >>= np.uint64(n % 64)
    beyond: np.ndarray = np.asarray(spare.any(axis=1))
    return beyond
