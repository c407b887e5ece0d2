"""The data sets of the measurements: moons, digits, lines, clusters, spheres, coin flips.

Each function gives points X, shape (n_samples, d), and integer labels y, shape (n_samples,), that
depend on its arguments and the seed only.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.machine.extras import needs

__all__ = [
    "clusters",
    "digit_pair",
    "digits784",
    "parallel_lines",
    "random_labels",
    "spheres",
    "two_moons",
    "unit_moons",
]

Labels = NDArray[np.intp]

CANVAS = 28
ENLARGED = 20
# Rows resampled at once: 256 pictures of 784 pixels in float32 (0.8 MB) stay in the cache.
PICTURES_PER_BLOCK = 256
# Spreads cluster centres out: each is the best of this many draws, which keeps clusters of
# different classes apart in two dimensions too.
CENTRE_CANDIDATES = 32


def two_moons(
    n_samples: int, noise: float = 0.05, seed: int = 0
) -> tuple[NDArray[np.float64], Labels]:
    """Draw two interleaving half circles, the points of ``sklearn.datasets.make_moons``.

    Parameters
    ----------
    n_samples : int
        Number of points, at least 2; the lower moon has one more when it is odd.
    noise : float, default 0.05
        Standard deviation of the Gaussian noise added to both coordinates.
    seed : int, default 0
        Seed, 0 to 2**32 - 1; the same seed gives ``make_moons`` with that ``random_state``.

    Returns
    -------
    X : ndarray of shape (n_samples, 2), float64
        The points, in random order.
    y : ndarray of shape (n_samples,), intp
        0 for the upper moon, 1 for the lower.

    Raises
    ------
    InvalidInputError
        If an argument is out of range.
    """
    n_samples = _count("n_samples", n_samples, least=2)
    noise = _finite("noise", noise, least=0.0)
    # The old generator, on purpose: scikit-learn's points come from it, in this order of draws.
    generator = np.random.RandomState(_count("seed", seed, least=0, most=2**32 - 1))
    n_upper = n_samples // 2
    upper = np.linspace(0, np.pi, n_upper)
    lower = np.linspace(0, np.pi, n_samples - n_upper)
    X = np.empty((n_samples, 2))
    X[:n_upper, 0] = np.cos(upper)
    X[:n_upper, 1] = np.sin(upper)
    X[n_upper:, 0] = 1 - np.cos(lower)
    X[n_upper:, 1] = 1 - np.sin(lower) - 0.5
    y = np.repeat(np.arange(2, dtype=np.intp), [n_upper, n_samples - n_upper])
    order = np.arange(n_samples)
    generator.shuffle(order)
    X, y = X[order], y[order]
    if noise > 0:
        X += generator.normal(scale=noise, size=X.shape)
    return X, y


def unit_moons(
    n_samples: int = 1_000_000, noise: float = 0.05, seed: int = 0
) -> tuple[NDArray[np.float32], Labels]:
    """Draw the workload moons-1m: two moons divided by the largest norm, in float32.

    Parameters
    ----------
    n_samples : int, default 1,000,000
        Number of points, at least 2.
    noise : float, default 0.05
        Standard deviation of the noise before the division.
    seed : int, default 0
        Seed of `two_moons`.

    Returns
    -------
    X : ndarray of shape (n_samples, 2), float32
        The points; the largest norm is 1.
    y : ndarray of shape (n_samples,), intp
        0 or 1.

    Raises
    ------
    InvalidInputError
        If an argument is out of range.
    """
    X, y = two_moons(n_samples, noise, seed)
    X /= np.sqrt(np.einsum("ij,ij->i", X, X).max())
    return X.astype(np.float32), y


def digits784(n_samples: int = 20_000, seed: int = 0) -> tuple[NDArray[np.float32], Labels]:
    """Draw the workload digits784-N: scikit-learn's digits, distorted, at 28 x 28 pixels.

    Each 8 x 8 digit is enlarged to 20 x 20 pixels, rotated by at most 15 degrees, scaled by
    0.85 to 1.15 and shifted by at most 3 pixels each way on a 28 x 28 canvas, all uniformly at
    random and by linear interpolation. The pictures are divided by the largest norm.

    Parameters
    ----------
    n_samples : int, default 20,000
        Number of pictures, at least 1. Picture i shows digit ``i % 1797`` of a random
        permutation of the 1,797, so that every digit is used equally often; the first pictures
        of a larger draw are those of a smaller one but for the common divisor.
    seed : int, default 0
        Seed of ``numpy.random.default_rng``.

    Returns
    -------
    X : ndarray of shape (n_samples, 784), float32
        The pictures, row by row; the largest norm is 1.
    y : ndarray of shape (n_samples,), intp
        The digits, 0 to 9.

    Raises
    ------
    InvalidInputError
        If an argument is out of range.
    ModuleNotFoundError
        If scikit-learn, which carries the digits, is not installed.
    """
    n_samples = _count("n_samples", n_samples, least=1)
    seed = _count("seed", seed, least=0)
    small, digits = _bundled_digits()
    source, distortions = _draw_pictures(n_samples, len(small), seed)
    return _pictures(small, source, distortions), digits[source]


def digit_pair(
    n_samples: int = 20_000, first: int = 1, second: int = 8, seed: int = 0
) -> tuple[NDArray[np.float32], Labels]:
    """Draw the pictures of `digits784` that show one of two digits.

    Parameters
    ----------
    n_samples : int, default 20,000
        Number of pictures, at least 1: those of the two digits in a draw that is large enough (a
        fifth of all show one of two). The first pictures of a larger draw are those of a smaller
        one but for the common divisor.
    first, second : int, default 1 and 8
        Two different digits, 0 to 9.
    seed : int, default 0
        Seed of `digits784`.

    Returns
    -------
    X : ndarray of shape (n_samples, 784), float32
        The pictures, row by row; the largest norm is 1.
    y : ndarray of shape (n_samples,), intp
        The digits, each `first` or `second`.

    Raises
    ------
    InvalidInputError
        If an argument is out of range.
    ModuleNotFoundError
        If scikit-learn, which carries the digits, is not installed.
    """
    n_samples = _count("n_samples", n_samples, least=1)
    seed = _count("seed", seed, least=0)
    pair = _count("first", first, least=0, most=9), _count("second", second, least=0, most=9)
    if pair[0] == pair[1]:
        raise InvalidInputError(f"first and second are both {first}: give two different digits")
    small, digits = _bundled_digits()
    # Each permutation of the bundled digits holds equally many of the pair.
    rounds = -(-n_samples // int(np.isin(digits, pair).sum()))
    source, distortions = _draw_pictures(rounds * len(small), len(small), seed)
    chosen = np.flatnonzero(np.isin(digits[source], pair))[:n_samples]
    source = source[chosen]
    return _pictures(small, source, distortions[chosen]), digits[source]


def parallel_lines(n_samples: int, gap: float) -> tuple[NDArray[np.float64], Labels]:
    """Place points on two parallel lines, one class each: the paper's narrow-gap example.

    Parameters
    ----------
    n_samples : int
        Number of points, at least 2; they alternate between the lines.
    gap : float
        Distance of the two lines, above 0.

    Returns
    -------
    X : ndarray of shape (n_samples, 2), float64
        First coordinate evenly spaced from -1 to 1 on each line, second -gap/2 or gap/2.
    y : ndarray of shape (n_samples,), intp
        0 for the line at -gap/2, 1 for the line at gap/2.

    Raises
    ------
    InvalidInputError
        If an argument is out of range.
    """
    n_samples = _count("n_samples", n_samples, least=2)
    gap = _finite("gap", gap, least=0.0)
    if gap / 2 == 0.0:
        raise InvalidInputError(
            f"gap is {gap!r}: the two lines must be apart, so give a number above 0"
        )
    y = np.arange(n_samples, dtype=np.intp) % 2
    X = np.empty((n_samples, 2))
    for label in (0, 1):
        on_line = y == label
        X[on_line, 0] = np.linspace(-1.0, 1.0, int(on_line.sum()))
        X[on_line, 1] = (label - 0.5) * gap
    return X, y


def clusters(
    n_samples: int, k: int, d: int, seed: int = 0, *, radius: float = 0.05
) -> tuple[NDArray[np.float32], Labels]:
    """Draw two classes of k Gaussian clusters each, with centres spread over the unit sphere.

    Parameters
    ----------
    n_samples : int
        Number of points, at least 1; point i belongs to cluster ``i % (2 * k)``.
    k : int
        Number of clusters of each class, at least 1.
    d : int
        Dimension, at least 1 (in one dimension the sphere has only two points, so take more).
    seed : int, default 0
        Seed of ``numpy.random.default_rng``; the centres do not depend on `n_samples`.
    radius : float, default 0.05
        Root mean square distance of a cluster's points from its centre.

    Returns
    -------
    X : ndarray of shape (n_samples, d), float32
        The points.
    y : ndarray of shape (n_samples,), intp
        The class, 0 or 1.

    Raises
    ------
    InvalidInputError
        If an argument is out of range.
    """
    n_samples = _count("n_samples", n_samples, least=1)
    k = _count("k", k, least=1)
    d = _count("d", d, least=1)
    radius = _finite("radius", radius, least=0.0)
    centre_stream, point_stream = np.random.default_rng(_count("seed", seed, least=0)).spawn(2)
    centres = _spread_centres(2 * k, d, centre_stream)
    cluster = np.arange(n_samples) % (2 * k)
    X = point_stream.standard_normal((n_samples, d), dtype=np.float32)
    X *= np.float32(radius / math.sqrt(d))
    X += centres[cluster]
    return X, cluster % 2


def spheres(
    n_samples: int,
    d: int = 2,
    *,
    n_shells: int = 2,
    gap: float = 0.2,
    thickness: float = 0.1,
    seed: int = 0,
) -> tuple[NDArray[np.float32], Labels]:
    """Draw concentric shells whose labels alternate; in the plane, annuli.

    The outermost shell reaches norm 1. Directions are uniform on the sphere, norms uniform across
    the shell.

    Parameters
    ----------
    n_samples : int
        Number of points, at least 1; point i belongs to shell ``i % n_shells`` from within.
    d : int, default 2
        Dimension, at least 1.
    n_shells : int, default 2
        Number of shells, at least 1.
    gap : float, default 0.2
        Distance between a shell and the next.
    thickness : float, default 0.1
        Difference of the largest and the smallest norm in a shell; 0 gives spheres.
    seed : int, default 0
        Seed of ``numpy.random.default_rng``.

    Returns
    -------
    X : ndarray of shape (n_samples, d), float32
        The points.
    y : ndarray of shape (n_samples,), intp
        The shell modulo 2.

    Raises
    ------
    InvalidInputError
        If an argument is out of range, or the shells do not fit into the unit ball.
    """
    n_samples = _count("n_samples", n_samples, least=1)
    d = _count("d", d, least=1)
    n_shells = _count("n_shells", n_shells, least=1)
    gap = _finite("gap", gap, least=0.0)
    thickness = _finite("thickness", thickness, least=0.0)
    innermost = 1.0 - n_shells * thickness - (n_shells - 1) * gap
    if not innermost >= 0:
        raise InvalidInputError(
            f"{n_shells} shells of thickness {thickness:g} and gaps of {gap:g} need a radius of "
            f"{1 - innermost:g}: give smaller ones, which fit into the unit ball"
        )
    generator = np.random.default_rng(_count("seed", seed, least=0))
    shell = np.arange(n_samples) % n_shells
    X = generator.standard_normal((n_samples, d))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    norms = innermost + shell * (thickness + gap) + thickness * generator.random(n_samples)
    return (norms[:, None] * X).astype(np.float32), shell % 2


def random_labels(n_samples: int, d: int, seed: int = 0) -> tuple[NDArray[np.float32], Labels]:
    """Draw standard Gaussian points with coin-flip labels: the worst case for memorising.

    Parameters
    ----------
    n_samples : int
        Number of points, at least 1 (very few may all get the same label).
    d : int
        Dimension, at least 1.
    seed : int, default 0
        Seed of ``numpy.random.default_rng``.

    Returns
    -------
    X : ndarray of shape (n_samples, d), float32
        Independent standard normal entries.
    y : ndarray of shape (n_samples,), intp
        0 or 1 with equal probability, independent of X.

    Raises
    ------
    InvalidInputError
        If an argument is out of range.
    """
    n_samples = _count("n_samples", n_samples, least=1)
    d = _count("d", d, least=1)
    generator = np.random.default_rng(_count("seed", seed, least=0))
    X = generator.standard_normal((n_samples, d), dtype=np.float32)
    return X, generator.integers(0, 2, n_samples, dtype=np.intp)


def _draw_pictures(
    n_samples: int, n_digits: int, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Draw which bundled digit each picture shows, and its angle, scale and two shifts."""
    # A separate stream for the distortions, drawn row by row, keeps the pictures of a smaller
    # draw at the head of a larger one.
    order_stream, distortion_stream = np.random.default_rng(seed).spawn(2)
    source = order_stream.permutation(n_digits)[np.arange(n_samples) % n_digits]
    distortions = distortion_stream.uniform(
        low=[-math.radians(15), 0.85, -3.0, -3.0],
        high=[math.radians(15), 1.15, 3.0, 3.0],
        size=(n_samples, 4),
    )
    return source, distortions


def _pictures(
    small: NDArray[np.float32], source: NDArray[np.intp], distortions: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Make the pictures, (n_samples, 784), divided by the largest norm."""
    enlarged = _enlarge(small)
    X = np.empty((len(source), CANVAS * CANVAS), np.float32)
    for start in range(0, len(source), PICTURES_PER_BLOCK):
        block = slice(start, start + PICTURES_PER_BLOCK)
        _distort(enlarged, source[block], distortions[block], out=X[block])
    X /= np.float32(math.sqrt(float(np.einsum("ij,ij->i", X, X, dtype=np.float64).max())))
    return X


def _bundled_digits() -> tuple[NDArray[np.float32], Labels]:
    """Scikit-learn's 1,797 digits: pictures (1797, 8, 8) with values 0 to 1, and labels."""
    with needs("sklearn"):
        from sklearn.datasets import load_digits
    bundled: Any = load_digits()
    return (bundled.images / 16).astype(np.float32), bundled.target.astype(np.intp)


def _enlarge(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Interpolate 8 x 8 pictures linearly to 20 x 20, corner on corner, inside a zero frame."""
    size = small.shape[1]
    position = np.linspace(0, size - 1, ENLARGED)
    left = np.minimum(position.astype(np.intp), size - 2)
    right_share = position - left
    interpolate = np.zeros((ENLARGED, size), np.float32)
    rows = np.arange(ENLARGED)
    interpolate[rows, left] = 1 - right_share
    interpolate[rows, left + 1] = right_share
    enlarged = interpolate @ small @ interpolate.T
    # One pixel before and two after: a position clipped to the frame still has four neighbours.
    return np.pad(enlarged, ((0, 0), (1, 2), (1, 2)))


def _distort(
    enlarged: NDArray[np.float32],
    source: NDArray[np.intp],
    distortions: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    """Draw distorted pictures into `out`, shape (n, 784), by bilinear resampling.

    `enlarged` is what `_enlarge` gives, `source` (n,) names the picture, and the columns of
    `distortions` (n, 4) are the angle, the scale and the shift in rows and in columns.
    """
    angle, scale, down, right = distortions.T[:, :, None]
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    offset = np.arange(CANVAS) - (CANVAS - 1) / 2
    from_row, from_column = offset - down, offset - right
    # Position in the framed picture that each pixel of the canvas shows: the inverse rotation
    # and scaling about the centre, which is the sum of a row's part and a column's part.
    centre = (ENLARGED - 1) / 2 + 1
    row = _sum_of_parts(cosine * from_row + centre, sine * from_column)
    column = _sum_of_parts(-sine * from_row + centre, cosine * from_column)
    # The frame is zero, so whatever lies outside it may be read from its edge.
    np.clip(row, 0, ENLARGED + 1, out=row)
    np.clip(column, 0, ENLARGED + 1, out=column)
    top, left = row.astype(np.int32), column.astype(np.int32)
    row -= top
    column -= left
    stride = enlarged.shape[2]
    base = (source * (enlarged.shape[1] * stride)).astype(np.int32)[:, None]
    corner = base + top * np.int32(stride) + left
    pixels = enlarged.reshape(-1)
    above = pixels.take(corner)
    above += column * (pixels.take(corner + 1) - above)
    corner += np.int32(stride)
    below = pixels.take(corner)
    below += column * (pixels.take(corner + 1) - below)
    below -= above
    np.multiply(row, below, out=out)
    out += above


def _sum_of_parts(
    by_row: NDArray[np.float64], by_column: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Add (n, 28) and (n, 28) to (n, 784) in float32: one value for each pixel of the canvas."""
    both = by_row.astype(np.float32)[:, :, None] + by_column.astype(np.float32)[:, None, :]
    return both.reshape(len(both), -1)


def _spread_centres(n_centres: int, d: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Draw unit vectors one by one, each the farthest of a few draws from those before it."""
    draws = generator.standard_normal((n_centres, CENTRE_CANDIDATES, d))
    draws /= np.linalg.norm(draws, axis=2, keepdims=True)
    centres = np.empty((n_centres, d))
    centres[0] = draws[0, 0]
    for i in range(1, n_centres):
        nearest = (draws[i] @ centres[:i].T).max(axis=1)
        centres[i] = draws[i, int(nearest.argmin())]
    return centres.astype(np.float32)


def _count(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Check a whole number of at least `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least or (most is not None and number > most):
        limit = f"at least {least}" if most is None else f"{least} to {most}"
        raise InvalidInputError(f"{name} is {value!r}: give a whole number of {limit}")
    return number


def _finite(name: str, value: Any, least: float) -> float:
    """Check a finite number of at least `least`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= least):
        raise InvalidInputError(f"{name} is {value!r}: give a finite number of at least {least:g}")
    return number
