"""Patterns by hyperplane: which points each hyperplane has on its positive side.

``columns`` is uint64 (n, 3 * n_tiles): bit i of word 3 t + j is the hyperplane's bit at column
64 j + i of tile t of ``tiles`` (``kernels.signs``). Here a set of points is a row of such words, so
that what a hyperplane adds to a set is counted 64 points at a time.
"""

from __future__ import annotations

import numpy as np

from fastmem.kernels.bits import popcount, trailing_zeros
from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import TILE, WORD_BITS

TILE_WORDS = TILE // WORD_BITS
_EMPTY = np.uint64(0)
_ONE = np.uint64(1)


@njit(nogil=True, cache=True)
def transpose_tiles(tiles, sizes, which, columns, first, last):
    """Fill the words of the tiles which[first:last]: tile which[t] becomes tile t of ``columns``.

    tiles (n_tiles, n_words, TILE) uint64, sizes (n_tiles,) and which (T,) int64, columns
    (n, 3 T) uint64.
    """
    n = columns.shape[0]
    for t in range(first, last):
        for h in range(n):
            for j in range(TILE_WORDS):
                columns[h, TILE_WORDS * t + j] = _EMPTY
        tile = which[t]
        for i in range(sizes[tile]):
            place = TILE_WORDS * t + i // WORD_BITS
            bit = _ONE << np.uint64(i % WORD_BITS)
            for word in range(tiles.shape[1]):
                rest = tiles[tile, word, i]
                while rest != _EMPTY:
                    columns[word * WORD_BITS + trailing_zeros(rest), place] |= bit
                    rest &= rest - _ONE


@njit(nogil=True, cache=True)
def copy_columns(tiles, first, last, chosen, out):
    """Copy the bits of the hyperplanes ``chosen`` (k,) int64 of the tiles first..last-1.

    tiles (n_tiles, n_words, TILE), out (n_tiles, ceil(k / 64), TILE) uint64: bit i of the copy is
    the bit chosen[i].
    """
    for tile in range(first, last):
        for word in range(out.shape[1]):
            for c in range(TILE):
                out[tile, word, c] = _EMPTY
        for i in range(chosen.shape[0]):
            source = tiles[tile, chosen[i] // WORD_BITS]
            target = out[tile, i // WORD_BITS]
            down = np.uint64(chosen[i] % WORD_BITS)
            up = np.uint64(i % WORD_BITS)
            for c in range(TILE):
                target[c] |= ((source[c] >> down) & _ONE) << up


@njit(nogil=True, cache=True)
def gains(columns, which, missed, usable, out):
    """out[i] = how many (neuron, point) pairs the hyperplane which[i] would hit.

    columns (n, W) uint64, which (k,) int64; missed (m, W) uint64, the points that neuron j must
    still hit; usable (n, m) bool: whether neuron j may use the hyperplane; out (k,) int64.
    """
    for i in range(which.shape[0]):
        h = which[i]
        column = columns[h]
        total = np.int64(0)
        for j in range(missed.shape[0]):
            if usable[h, j]:
                row = missed[j]
                hits = _EMPTY
                for word in range(column.shape[0]):
                    hits += popcount(row[word] & column[word])
                total += np.int64(hits)
        out[i] = total


@njit(nogil=True, cache=True)
def strike(column, missed, usable):
    """Take the points of ``column`` (W,) from missed[j] for every neuron j that is usable (m,)."""
    for j in range(missed.shape[0]):
        if usable[j]:
            for word in range(column.shape[0]):
                missed[j, word] &= ~column[word]


@njit(nogil=True, cache=True)
def thin_mask(columns, missed, mask):
    """Keep of ``mask`` a greedy choice of hyperplanes that together hit all of ``missed``.

    columns (n, W) uint64; missed (W,) uint64, which is emptied; mask (n_words,) uint64. Each time
    the hyperplane that hits most of what is missed is kept (ties: the lowest).
    """
    n_words = mask.shape[0]
    candidates = np.empty(n_words * WORD_BITS, np.int64)
    n_candidates = 0
    for word in range(n_words):
        rest = mask[word]
        while rest != _EMPTY:
            candidates[n_candidates] = word * WORD_BITS + trailing_zeros(rest)
            n_candidates += 1
            rest &= rest - _ONE
        mask[word] = _EMPTY
    places = np.empty(missed.shape[0], np.int64)
    rests = np.empty(missed.shape[0], np.uint64)
    n_places = 0
    for place in range(missed.shape[0]):
        if missed[place] != _EMPTY:
            places[n_places] = place
            n_places += 1
    while n_places:
        for k in range(n_places):
            rests[k] = missed[places[k]]
        best = np.int64(0)
        best_candidate = -1
        for i in range(n_candidates):
            column = columns[candidates[i]]
            hits = _EMPTY
            for k in range(n_places):
                hits += popcount(rests[k] & column[places[k]])
            if np.int64(hits) > best:
                best = np.int64(hits)
                best_candidate = i
        if best_candidate < 0:
            return False
        h = candidates[best_candidate]
        mask[h // WORD_BITS] |= _ONE << np.uint64(h % WORD_BITS)
        kept = 0
        for k in range(n_places):
            missed[places[k]] &= ~columns[h, places[k]]
            if missed[places[k]] != _EMPTY:
                places[kept] = places[k]
                kept += 1
        n_places = kept
    return True


@njit(nogil=True, cache=True)
def inside(columns, first, last, mask, points):
    """points[w] &= not column[first + w] for every hyperplane in ``mask``; w < last - first."""
    for word in range(mask.shape[0]):
        rest = mask[word]
        while rest != _EMPTY:
            column = columns[word * WORD_BITS + trailing_zeros(rest)]
            for place in range(first, last):
                points[place - first] &= ~column[place]
            rest &= rest - _ONE
