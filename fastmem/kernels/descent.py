"""Steps towards the wanted sides of all hyperplanes, for some points side by side."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import TILE_ROWS, WORD_BITS
from fastmem.kernels.products import add_products


@njit(nogil=True, cache=True)
def descend(panels, rows, offsets, wanted, scalars, box, x, ahead, momentum, n_steps):
    """Take ``n_steps`` steps of Nesterov's method, projected to a box; returns the last's length.

    Minimises the sum over k of max(0, distance - wanted[k] (<normals[k], x> + offsets[k]))^2 for
    each of TILE_ROWS points. Momentum starts anew where it points uphill.

    The normals in two orders, n and d up to whole words with zeros: panels (n_words, d_padded, 64),
    where panels[w, j, i] is normals[64 w + i, j], and rows (d_padded / 64, 64 n_words, 64), where
    rows[v, k, i] is normals[k, 64 v + i]. offsets (64 n_words,); wanted (64 n_words, TILE_ROWS),
    signs, 0 for what is padding; scalars (2,): distance and step; box (2, d_padded): floor and
    ceiling; x and ahead (1, d_padded, TILE_ROWS) and momentum (TILE_ROWS,) are read and written.
    All float32. The length is the largest distance that a point was moved by in the last step.
    """
    n_words, d = panels.shape[0], panels.shape[1]
    sums = np.empty((1, TILE_ROWS, WORD_BITS), np.float32)
    missing = np.empty((1, n_words * WORD_BITS, TILE_ROWS), np.float32)
    slope = np.empty((d // WORD_BITS, 1, TILE_ROWS, WORD_BITS), np.float32)
    uphill = np.empty(TILE_ROWS, np.float32)
    length = np.empty(TILE_ROWS, np.float32)
    zero, one, two, four = np.float32(0), np.float32(1), np.float32(2), np.float32(4)
    distance, step = scalars[0], two * scalars[1]
    for _ in range(n_steps):
        slope[:] = zero
        for w in range(n_words):
            sums[:] = zero
            add_products(panels, w, 0, d, ahead, 0, sums)
            is_missing = False
            for i in range(WORD_BITS):
                k = w * WORD_BITS + i
                for p in range(TILE_ROWS):
                    sign = wanted[k, p]
                    gap = sign * (distance - sign * (sums[0, p, i] + offsets[k]))
                    missing[0, k, p] = gap if gap * sign > zero else zero
                    is_missing |= gap * sign > zero
            if is_missing:
                for v in range(d // WORD_BITS):
                    first = w * WORD_BITS
                    add_products(rows, v, first, first + WORD_BITS, missing, 0, slope[v])
        uphill[:] = zero
        length[:] = zero
        for j in range(d):
            v, i = j // WORD_BITS, j % WORD_BITS
            for p in range(TILE_ROWS):
                new = ahead[0, j, p] + step * slope[v, 0, p, i]
                new = min(max(new, box[0, j]), box[1, j])
                moved = new - x[0, j, p]
                uphill[p] += (ahead[0, j, p] - new) * moved
                length[p] += moved * moved
                x[0, j, p] = new
                slope[v, 0, p, i] = moved
        for p in range(TILE_ROWS):
            before = one if uphill[p] > zero else momentum[p]
            momentum[p] = (one + np.sqrt(one + four * before * before)) / two
            uphill[p] = (before - one) / momentum[p]
        for j in range(d):
            v, i = j // WORD_BITS, j % WORD_BITS
            for p in range(TILE_ROWS):
                ahead[0, j, p] = x[0, j, p] + uphill[p] * slope[v, 0, p, i]
    return np.sqrt(length.max())
