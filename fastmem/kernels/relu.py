"""Sums of ReLU activations: S = <u, max(W x + b, 0)> of a mask u and a point x, compared exactly.

Layout of ``tiles``, points and masks as in ``kernels.signs`` and ``kernels.cover``. Which terms of
a sum count is said by the exact bits, so that S is a sum of positive numbers, and 0 exactly where
the count |u and Phi(x)| is 0.

Whatever is decided about a sum is decided for the real number that the stored weights, biases and
coordinates define, as a sign pattern's bit is. Three stages do it, each rigorous: float32 for 64
points side by side (``kernels.relu_lanes``); float64 for one point, and where that leaves both
sides of what is asked for, integers (``kernels.relu_exact``). NaN and infinities, which an overflow
may leave, fail every comparison and so reach the last stage.

Thresholds are sums rounded down to 24 significant bits (0 below 2^-1050). That is far coarser than
the bound of stage 2, so that it decides nearly all of them, too; stage 3 would have to decide
nearly all roundings to 53 bits. And as rounding down is monotone, the least of the rounded sums is
the rounded least sum, whatever the order in which points are looked at.
"""

from __future__ import annotations

import numpy as np

from fastmem.kernels.compiling import njit
from fastmem.kernels.relu_exact import exact_sum, interval, is_below, rounded_down
from fastmem.kernels.relu_lanes import (
    DONE,
    LANES,
    add_up,
    load_lanes,
    lowest_lane,
    new_lanes,
    slack_of,
    sum_reaching,
)

_TINY = 2.0**-1074


@njit(nogil=True, cache=True)
def least_sums(layer, masks, owners, rows, codes, least):
    """Lower least[b] to the least sum of mask b over the points of other classes, rounded down.

    owners (B,) and codes (P,) int64, the classes of masks and points; least (B,) float64.
    """
    n_points = rows.places.shape[0]
    lanes = new_lanes(layer, rows)
    for start in range(0, n_points, LANES):
        size = min(LANES, n_points - start)
        load_lanes(layer, rows, start, lanes)
        for b in range(masks.words.shape[0]):
            relative, absolute = slack_of(layer, masks, b, lanes)
            reaching = sum_reaching(layer.scale, least[b], relative, absolute)
            others = 0
            for lane in range(LANES):
                is_other = lane < size and codes[min(start + lane, n_points - 1)] != owners[b]
                lanes.needed[lane] = reaching if is_other else DONE
                others += is_other
            if others == 0 or not add_up(layer, rows, masks.words[b], lanes):
                continue
            lane = lowest_lane(lanes, size)
            while lane >= 0:
                lanes.needed[lane] = DONE
                i = start + lane
                low, high = interval(layer, rows, i, masks.words[b], least[b])
                if not low >= least[b]:
                    found = rounded_down(low)
                    if found != rounded_down(high):
                        found = rounded_down(exact_sum(layer, rows, i, masks.words[b]))
                    least[b] = min(least[b], found)
                    reaching = sum_reaching(layer.scale, least[b], relative, absolute)
                    for k in range(size):
                        if lanes.needed[k] != DONE:
                            lanes.needed[k] = reaching
                lane = lowest_lane(lanes, size)


@njit(nogil=True, cache=True)
def sums_below(layer, masks, limits, rows, below):
    """below[b, i] = whether the sum of mask b and point i is below limits[b].

    limits (B,) float64, below (B, P) bool.
    """
    n_points = rows.places.shape[0]
    lanes = new_lanes(layer, rows)
    for start in range(0, n_points, LANES):
        size = min(LANES, n_points - start)
        load_lanes(layer, rows, start, lanes)
        for b in range(masks.words.shape[0]):
            relative, absolute = slack_of(layer, masks, b, lanes)
            reaching = sum_reaching(layer.scale, limits[b], relative, absolute)
            for lane in range(LANES):
                lanes.needed[lane] = reaching if lane < size else DONE
            below[b, start : start + size] = False
            if not add_up(layer, rows, masks.words[b], lanes):
                continue
            for lane in range(size):
                total = np.float64(lanes.sums[lane])
                if total >= reaching:
                    continue
                i = start + lane
                if total * (1.0 + relative) + absolute < layer.scale * limits[b] * (1.0 - 1e-6):
                    below[b, i] = True
                else:
                    below[b, i] = is_below(layer, rows, i, masks.words[b], limits[b])


@njit(nogil=True, cache=True)
def sum_margins(layer, masks, thresholds, blocks, rows, stop_when_on, best):
    """best[k, i] = max over the neurons b of block k of thresholds[b] - the sum of point i.

    thresholds (B,) float64, blocks (B,) int64 the row of ``best`` that neuron b belongs to; best
    (n_blocks, P) float64 is filled by the caller with -inf. The numbers are those of stage 1, and
    depend on the point alone. Their sign is exact: positive where a neuron of the block is on, else
    negative; where stage 1 is in doubt or wrong, it is the number next to 0 on that side. A neuron
    is left as soon as it cannot be the best for any of LANES points. With ``stop_when_on`` (one
    block only) points that are on are left: then only the sign of best is right.
    """
    n_points = rows.places.shape[0]
    scale = layer.scale
    lanes = new_lanes(layer, rows)
    for start in range(0, n_points, LANES):
        size = min(LANES, n_points - start)
        load_lanes(layer, rows, start, lanes)
        for b in range(masks.words.shape[0]):
            relative, absolute = slack_of(layer, masks, b, lanes)
            threshold = thresholds[b]
            reached = best[blocks[b], start : start + size]
            for lane in range(LANES):
                lanes.needed[lane] = DONE
            for lane in range(size):
                if not (stop_when_on and reached[lane] > 0.0):
                    limit = threshold - reached[lane]
                    lanes.needed[lane] = sum_reaching(scale, limit, relative, absolute)
            if not add_up(layer, rows, masks.words[b], lanes):
                continue
            for lane in range(size):
                if lanes.sums[lane] >= lanes.needed[lane]:
                    continue
                total = np.float64(lanes.sums[lane])
                middle = scale * threshold
                if total * (1.0 + relative) + absolute < middle * (1.0 - 1e-6):
                    is_on = True
                elif total * (1.0 - relative) - absolute > middle * (1.0 + 1e-6):
                    is_on = False
                else:
                    is_on = is_below(layer, rows, start + lane, masks.words[b], threshold)
                margin = threshold - total / scale
                margin = max(margin, _TINY) if is_on else min(margin, -_TINY)
                reached[lane] = max(reached[lane], margin)
