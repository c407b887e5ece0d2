"""Point sets of two classes whose Betti numbers are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Sample = tuple[np.ndarray, np.ndarray]
Rng = np.random.Generator


def _shell(n: int, d: int, inner: float, outer: float, rng: Rng) -> np.ndarray:
    """Points uniform by volume between two spheres, (n, d); a ball where ``inner`` is 0."""
    X = rng.standard_normal((n, d))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    return X * rng.uniform(inner**d, outer**d, (n, 1)) ** (1 / d)


def _labelled(first: np.ndarray, second: np.ndarray) -> Sample:
    y = np.repeat([0, 1], [len(first), len(second)])
    return np.concatenate([first, second]), y


def disc_in_ring(n: int, rng: Rng) -> Sample:
    """A disc, and a ring around it."""
    return _labelled(_shell(n // 2, 2, 0, 0.5, rng), _shell(n - n // 2, 2, 0.8, 1.2, rng))


def annuli(n: int, rng: Rng) -> Sample:
    """Two rings, one around the other."""
    return _labelled(_shell(n // 2, 2, 0.4, 0.7, rng), _shell(n - n // 2, 2, 1.0, 1.3, rng))


def holes(n: int, rng: Rng) -> Sample:
    """A square with 3 x 3 round holes, and a disc in each."""
    centres = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), axis=-1).reshape(-1, 2)
    square = rng.uniform(-1.6, 1.6, (4 * n, 2))
    gaps = np.linalg.norm(square[:, None] - centres, axis=2).min(axis=1)
    discs = _shell(n - n // 2, 2, 0, 0.15, rng) + centres[np.arange(n - n // 2) % 9]
    return _labelled(square[gaps > 0.35][: n // 2], discs)


def moons(n: int, rng: Rng) -> Sample:
    """Two half rings, one in the bow of the other."""
    angles, norms = rng.uniform(0, np.pi, n), rng.uniform(0.88, 1.12, n)
    X = np.stack([norms * np.cos(angles), norms * np.sin(angles)], axis=1)
    X[n // 2 :] = [1, 0.5] - X[n // 2 :]
    return _labelled(X[: n // 2], X[n // 2 :])


def linked_rings(n: int, rng: Rng) -> Sample:
    """Two rings in space, one through the other."""
    angles = rng.uniform(0, 2 * np.pi, n)
    across = _shell(n, 2, 0, 0.2, rng)
    norms = 1 + across[:, 0]
    X = np.stack([norms * np.cos(angles), norms * np.sin(angles), across[:, 1]], axis=1)
    X[n // 2 :] = X[n // 2 :, [0, 2, 1]] + [1, 0, 0]
    return _labelled(X[: n // 2], X[n // 2 :])


def sphere_around_ball(n: int, rng: Rng) -> Sample:
    """A ball in space, and a shell around it."""
    return _labelled(_shell(n // 4, 3, 0, 0.4, rng), _shell(n - n // 4, 3, 0.9, 1.1, rng))


SHAPES: dict[str, tuple[Callable[[int, Rng], Sample], tuple[tuple[int, ...], tuple[int, ...]]]] = {
    "disc in ring": (disc_in_ring, ((1, 0), (1, 1))),
    "two annuli": (annuli, ((1, 1), (1, 1))),
    "3 x 3 holes and discs": (holes, ((1, 9), (9, 0))),
    "moons": (moons, ((1, 0), (1, 0))),
    "linked rings": (linked_rings, ((1, 1), (1, 1))),
    "sphere around ball": (sphere_around_ball, ((1, 0, 0), (1, 0, 1))),
}
"""By name: what draws n points with a generator, and beta_0, beta_1, ... of either class."""


def shape(name: str, n: int = 4_000, seed: int = 0) -> Sample:
    """Points, (n, d) float64, and labels 0 and 1, of one of SHAPES."""
    return SHAPES[name][0](n, np.random.default_rng(seed))
