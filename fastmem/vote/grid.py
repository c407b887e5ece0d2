"""The grid that points are put on before they are projected: whole numbers, and their unit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastmem.inputs import Points, block_rows
from fastmem.machine.threads import ranges
from fastmem.readout import MULTIPLIERS
from fastmem.readout.waves import rows_at_once

_TURN = 2.0**32 / (2 * np.pi)
"""One radian of an angle in ``kernels.cosines``."""
_MOST = 2.0**1000
_LAST = 1000


class Grid(NamedTuple):
    """Coordinates are multiplied by 2^exponent, and offsets (d,) float64 are taken off.

    These are multiples of the power of two below the root mean square distance of points from their
    mean. What is rounded then is multiplied by ``multiplier``.
    """

    exponent: int
    offsets: np.ndarray
    multiplier: int


class Cloud(NamedTuple):
    """Mean (d,) float64 of some points and their root mean square distance 2^shift rms from it."""

    mean: np.ndarray
    rms: float
    shift: int


def cloud_of(points: Points, rows: np.ndarray) -> Cloud:
    """Mean and spread of some rows of points, however large or small their numbers."""

    def blocks() -> Iterator[np.ndarray]:
        for start, stop in ranges(len(rows), rows_at_once(points)):
            yield points.dense(rows[start:stop]).astype(np.float64)

    shift = _exponent(blocks())
    mean = sum(np.ldexp(block, -shift).sum(axis=0) for block in blocks()) / len(rows)

    def away() -> Iterator[np.ndarray]:
        for block in blocks():
            yield np.ldexp(block, -shift) - mean

    away_shift = _exponent(away())
    squares = sum(float((np.ldexp(some, -away_shift) ** 2).sum(axis=1).sum()) for some in away())
    return Cloud(np.ldexp(mean, shift), math.sqrt(squares / len(rows)), shift + away_shift)


def _exponent(blocks: Iterator[np.ndarray]) -> int:
    """The least power of two, by its exponent, that all numbers are below in size."""
    return int(np.frexp(max(float(np.abs(block).max(initial=0.0)) for block in blocks))[1])


def grid_of(cloud: Cloud, bandwidth: float) -> Grid:
    """The grid on which projections spread by ``bandwidth`` radians, within a factor sqrt(5/4)."""
    wanted = bandwidth * _TURN / block_rows(len(cloud.mean))
    part, exponent = np.frexp(wanted / cloud.rms if cloud.rms > 0 else wanted)
    # part is from 1/2 to 1: the nearest in ratio of all multiplier 2^-shift there, with 1/2 and 1
    near = {
        (multiplier, shift): abs(math.log(part * 2**shift / multiplier))
        for multiplier in MULTIPLIERS
        for shift in {multiplier.bit_length(), (multiplier - 1).bit_length()}
    }
    multiplier, shift = min(near, key=near.__getitem__)
    nearest = max(-_LAST, min(_LAST, int(exponent) - shift - cloud.shift))
    # that they are near the mean matters to the largest coordinates alone, and takes few bits: what
    # shifts all points turns all features
    spread = int(np.frexp(cloud.rms)[1]) + cloud.shift + nearest - 1
    unit = max(0, spread if cloud.rms > 0 else 0)
    with np.errstate(over="ignore"):
        offsets = np.ldexp(np.rint(np.ldexp(cloud.mean, nearest - unit)), unit)
    return Grid(nearest, np.clip(offsets, -_MOST, _MOST), multiplier)
