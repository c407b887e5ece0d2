"""Where no width can separate: points in one direction from where all hyperplanes pass through.

With all biases 0 a feature max(<w, x>, 0) grows in proportion along a ray from the origin, so that
every score is affine on it and each class wins on an interval: labels 0, 1, 0 in one direction
cannot be separated. Sign bits do not change along a ray at all.
"""

from __future__ import annotations

import math

import numpy as np

from fastmem.inputs import Points
from fastmem.separation.scores import whole_numbers

_MOST_VALUES = 1 << 20
"""Coordinates of points that are looked at: some seconds."""


def alternate(points: Points, codes: np.ndarray, activation: str) -> bool:
    """Whether labels of points in one direction from the origin forbid any separation.

    Parameters
    ----------
    points : Points
    codes : ndarray of shape (N,), integer
    activation : {"relu", "threshold"}

    Returns
    -------
    bool
        False also where points are too many to be looked at.
    """
    if points.n_samples * points.n_features > _MOST_VALUES:
        return False
    on_ray: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    at_origin: list[int] = []
    for i, code in enumerate(codes.tolist()):
        numbers, _ = whole_numbers(points.dense(np.array([i]))[0].astype(np.float64))
        factor = math.gcd(*numbers.tolist())
        if not factor:
            at_origin.append(code)
            continue
        ray = tuple((numbers // factor).tolist())
        on_ray.setdefault(ray, []).append((i, code))
    for members in on_ray.values():
        places = [(_length(points, i), code) for i, code in members]
        places += [(0.0, code) for code in at_origin]
        if activation == "threshold":
            here = {code for length, code in places if length > 0}
            if len(here) > 1:
                return True
            continue
        order = [code for _, code in sorted(places)]
        starts = [code for k, code in enumerate(order) if k == 0 or code != order[k - 1]]
        if len(starts) > len(set(starts)):
            return True
    return False


def _length(points: Points, row: int) -> float:
    """Something that grows along a ray: the largest magnitude of a coordinate."""
    return float(np.abs(points.dense(np.array([row]))[0].astype(np.float64)).max())
