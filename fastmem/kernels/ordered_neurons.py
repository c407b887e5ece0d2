"""Decision lists: conjunctions in an order, the first of which that is on decides.

Rivest, Learning decision lists, 1987.

64 points go through the list side by side: a neuron is on for those whose bits of its hyperplanes
are all 0. Signs are computed when a neuron needs them, and no more once all points are decided.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmem.kernels.bits import trailing_zeros
from fastmem.kernels.compiling import njit
from fastmem.kernels.keyed_rows import (
    first_bits,
    load_dense,
    load_sparse,
    new_block,
    new_scratch,
    row_word,
)
from fastmem.kernels.layout import WORD_BITS

_NO_BITS = np.uint64(0)
_ONE = np.uint64(1)


class OrderedNeurons(NamedTuple):
    """m conjunctions in an order.

    starts (m + 1,) int64: neuron j is on where the bits of all hyperplanes
    literals[starts[j]:starts[j + 1]], int32, are 0. groups (m,) int64 below n_groups: of each group
    the first neuron that is on is asked for.
    """

    starts: np.ndarray
    literals: np.ndarray
    groups: np.ndarray
    n_groups: int


class _Word(NamedTuple):
    """What is known of 64 points.

    bits (n,) uint64 where known (n,) bool; open (n_groups,) uint64: for which points a group has
    had no neuron that is on.
    """

    bits: np.ndarray
    known: np.ndarray
    open: np.ndarray


@njit(nogil=True, cache=True)
def _new_word(rows, neurons):
    n = rows.biases.shape[0]
    return _Word(
        np.empty(n, np.uint64), np.empty(n, np.bool_), np.empty(neurons.n_groups, np.uint64)
    )


@njit(nogil=True, cache=True)
def _ask_word(rows, neurons, block, count, first, word, scratch, found):
    """found[g, first + i] = the first neuron of group g that is on for point i < count, or -1."""
    valid = first_bits(count)
    word.known[:] = False
    word.open[:] = valid
    left = neurons.n_groups
    for g in range(neurons.n_groups):
        found[g, first : first + count] = -1
    for j in range(neurons.groups.shape[0]):
        g = neurons.groups[j]
        on = word.open[g]
        if on == _NO_BITS:
            continue
        for k in range(neurons.starts[j], neurons.starts[j + 1]):
            h = neurons.literals[k]
            if not word.known[h]:
                word.bits[h], _ = row_word(rows, h, block, valid, scratch)
                word.known[h] = True
            on &= ~word.bits[h]
            if on == _NO_BITS:
                break
        if on == _NO_BITS:
            continue
        word.open[g] &= ~on
        while on != _NO_BITS:
            found[g, first + trailing_zeros(on)] = j
            on &= on - _ONE
        if word.open[g] == _NO_BITS:
            left -= 1
            if left == 0:
                return


@njit(nogil=True, cache=True)
def first_of_dense(points, used, rows, neurons, found):
    """found (n_groups, m) int64: the first neuron of each group that is on for each point, or -1.

    points (m, d) float32 or float64; used (u,) int64 features, rows `keyed_rows.ShortRows` in
    these; neurons `OrderedNeurons`.
    """
    block, scratch = new_block(used.shape[0]), new_scratch()
    word = _new_word(rows, neurons)
    for start in range(0, points.shape[0], WORD_BITS):
        stop = min(start + WORD_BITS, points.shape[0])
        load_dense(points, start, stop, used, rows, block)
        _ask_word(rows, neurons, block, stop - start, start, word, scratch, found)


@njit(nogil=True, cache=True)
def first_of_sparse(values, places, bounds, rows, neurons, found):
    """As `first_of_dense`, of sparse points as `keyed_rows.sparse_columns` takes them."""
    n_points = bounds.shape[0] - 1
    block, scratch = new_block(rows.origin.shape[0]), new_scratch()
    word = _new_word(rows, neurons)
    for start in range(0, n_points, WORD_BITS):
        stop = min(start + WORD_BITS, n_points)
        load_sparse((values, places, bounds), start, stop, rows, block)
        _ask_word(rows, neurons, block, stop - start, start, word, scratch, found)
