"""The grid that points are put on before they are projected: a power of two and whole numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmem.inputs import block_rows

_TURN = 2.0**32 / (2 * np.pi)
"""One radian of an angle in ``kernels.cosines``."""
_MOST = 2.0**60
_LAST = 1000
_ROOT_HALF = 0.7071067811865476


class Grid(NamedTuple):
    """Coordinates are multiplied by 2^exponent, and offsets (d,) float64 are taken off.

    These are multiples of the power of two below the root mean square distance of points from their
    mean.
    """

    exponent: int
    offsets: np.ndarray


class Cloud(NamedTuple):
    """Mean (d,) float64 of some points and their root mean square distance 2^shift rms from it."""

    mean: np.ndarray
    rms: float
    shift: int


def cloud_of(rows: np.ndarray) -> Cloud:
    """Mean and spread of rows (m, d) float64, however large or small their numbers."""
    shift = int(np.frexp(np.abs(rows).max(initial=0.0))[1])
    small = np.ldexp(rows, -shift)
    mean = small.sum(axis=0) / len(rows)
    away = small - mean
    away_shift = int(np.frexp(np.abs(away).max(initial=0.0))[1])
    away = np.ldexp(away, -away_shift)
    squares = (away * away).sum(axis=1)
    return Cloud(
        np.ldexp(mean, shift), float(np.sqrt(squares.sum() / len(rows))), shift + away_shift
    )


def grid_of(cloud: Cloud, bandwidth: float) -> Grid:
    """The grid on which projections spread by ``bandwidth`` radians, within a factor sqrt(2)."""
    wanted = bandwidth * _TURN / block_rows(len(cloud.mean))
    part, exponent = np.frexp(wanted / cloud.rms if cloud.rms > 0 else wanted)
    nearest = int(exponent) - (1 if part < _ROOT_HALF else 0) - cloud.shift
    nearest = max(-_LAST, min(_LAST, nearest))
    # that they are near the mean matters to the largest coordinates alone, and takes few bits: what
    # shifts all points turns all features
    spread = int(np.frexp(cloud.rms)[1]) + cloud.shift + nearest - 1
    unit = max(0, spread if cloud.rms > 0 else 0)
    with np.errstate(over="ignore"):
        offsets = np.ldexp(np.rint(np.ldexp(cloud.mean, nearest - unit)), unit)
    return Grid(nearest, np.clip(offsets, -_MOST, _MOST))
