"""Compiles every kernel, once for an installation."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from fastmem.algorithm import interpolate
from fastmem.hyperplanes.seeded import GaussianRows
from fastmem.hyperplanes.structured import StructuredRows
from fastmem.inputs import check_points
from fastmem.kernels.keyed_order import keyed_order, keyed_places
from fastmem.kernels.layout import TILE
from fastmem.machine.loops import compile_calls
from fastmem.machine.progress import ProgressCallback, drawing
from fastmem.network.in_order import run_in_order
from fastmem.network.margins import CountMargins
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.of_points import sign_patterns
from fastmem.patterns.spatial_order import leaves_of
from fastmem.second_layer.class_cover import ClassCover
from fastmem.second_layer.near_cells import NearCells
from fastmem.second_layer.selection import Selector, cover_layer
from fastmem.vote.conjugate import NormalEquations
from fastmem.vote.ridge import mean_and_right
from fastmem.vote.sums import Recipe, SumsHere
from fastmem.widths.open_points import OpenPoints

_N_SAMPLES = 120


def warmup(*, progress: bool | ProgressCallback = False) -> int:
    """Compile all kernels, and keep them for later processes.

    Otherwise each is compiled where it is first used: some seconds in the first fit of a new
    installation. Where Numba finds no directory to keep them in, this process alone has them; the
    environment variable NUMBA_CACHE_DIR names one.

    Parameters
    ----------
    progress : bool or callable, default False
        As of :func:`fastmem.interpolate`.

    Returns
    -------
    int
        Kernels compiled; 0 where all were there.
    """
    before = _n_compiled()
    with drawing(progress) as tell:
        cases = list(_cases())
        for i, case in enumerate(cases):
            tell("kernels", i, len(cases), 0)
            case()
        compile_calls()
        tell("kernels", len(cases), len(cases), 0)
    return _n_compiled() - before


def kernels() -> Iterator[Any]:
    """All compiled functions of ``fastmem.kernels``; none with the JIT switched off."""
    package = import_module("fastmem.kernels")
    for found in pkgutil.iter_modules(package.__path__):
        module = import_module(f"{package.__name__}.{found.name}")
        for kernel in vars(module).values():
            if hasattr(kernel, "py_func") and kernel.__module__ == module.__name__:
                yield kernel


def cache_directory() -> str | None:
    """Where kernels are kept, or None."""
    paths = (kernel.stats.cache_path for kernel in kernels())
    return next((str(path) for path in paths if path is not None), None)


def _n_compiled() -> int:
    """Kernels, by signature, that this process has compiled and not read."""
    return sum(
        len(kernel.signatures) - sum(kernel.stats.cache_hits.values()) for kernel in kernels()
    )


def _cases() -> Iterator[Callable[[], object]]:
    """Small pieces of work that together use every kernel with every dtype.

    Points have so many features that each kind of hyperplane is evaluated in its own way, and two
    of them are equal.
    """
    from scipy import sparse

    generator = np.random.default_rng(0)
    y = np.arange(_N_SAMPLES) % 3
    for dtype in (np.float32, np.float64):
        narrow, wide = (generator.standard_normal((_N_SAMPLES, d)).astype(dtype) for d in (2, 140))
        narrow[3] = narrow[0]
        rare = np.where(generator.random((_N_SAMPLES, 200)) < 0.05, 1, 0).astype(dtype)
        rare[:, 0] = narrow[:, 1]
        rows = sparse.csr_matrix(rare)
        yield partial(_use, narrow, y)
        yield partial(_use, narrow, y, compact=True)
        yield partial(_use, narrow, y, projection="structured")
        yield partial(_use, wide, y, width=256)
        yield partial(_use, wide, y, projection="structured", compact=True)
        yield partial(_use, rows, y)
        yield partial(_use, rows, y, projection="structured", compact=True)
        for points in (narrow, wide, rows):
            yield partial(_use, points, y, decision="vote", width=64)
        yield partial(_use_steps, narrow)
        for points in (narrow, rows):
            yield partial(_use, points, y, objective="bytes", contradictions="majority", width=256)
        yield partial(_use_seeded, narrow, 2)
        yield partial(_use_seeded, rows, 200)
        for points in (narrow, rows):
            yield partial(_use, points, y, activation="relu", projection="gaussian")
        yield partial(_use, narrow, y, activation="relu", selection="random")
        yield partial(_study, narrow[4:], y[4:])
        yield partial(_separate, narrow[4:], y[4:])
        yield partial(_use_neighbours, narrow)
        yield partial(_use_bounds, generator.standard_normal((4 * TILE, 2)).astype(dtype))
    yield partial(_use_coincidence, narrow, y)
    yield _use_scattered
    yield _use_keyed_order
    yield _use_shapes
    yield _use_audit


def _separate(X: np.ndarray, y: np.ndarray) -> None:
    from fastmem.separation import separate  # as late

    # more features than points, which leave none that would be warned of
    separate(X, y, width=128, seed=0, n_threads=1)


def _use_audit() -> None:
    """The search for stored records."""
    from fastmem.leaks import audit  # which programs that only warm up need not import

    X = np.random.default_rng(0).standard_normal((_N_SAMPLES, 2))
    y = np.arange(_N_SAMPLES) % 3
    audit(interpolate(X, y, seed=0, n_threads=1), X, y, reconstruct=2, seed=0, n_threads=1)


def _use(X: Any, y: np.ndarray, **settings: Any) -> None:
    network = interpolate(X, y, seed=0, n_threads=1, **settings)
    network.decision_function(X, n_threads=1)
    if not isinstance(X, np.ndarray):
        network.predict(X.toarray(), n_threads=1)


def _use_coincidence(X: np.ndarray, y: np.ndarray) -> None:
    """The rule that few ask for."""
    network = interpolate(X, y, seed=0, n_threads=1, covered="all", margin=0.5)
    network.predict(X, rule="coincidence", n_threads=1)


def _use_seeded(X: Any, d: int) -> None:
    """Weights that are computed again and again, which only large fits have."""
    source = GaussianRows(np.random.default_rng(0), np.zeros(d), 1.0, weight_bytes=0)
    hyperplanes = source.start(64, np.zeros(d), 1.0)
    sign_patterns(X, hyperplanes, n_threads=1)


def _use_steps(X: np.ndarray) -> None:
    """Steps of conjugate gradients, which only regressions on points by the thousand take."""
    codes = np.arange(len(X)) % 2
    sums = SumsHere(check_points(X), codes, None, Recipe(0, 0, np.zeros(2), 64, 1), 1)
    mean, right = mean_and_right(sums, np.bincount(codes))
    NormalEquations(sums, mean, 1.0, np.zeros((1, 64))).product(right)


def _study(X: np.ndarray, y: np.ndarray) -> None:
    """What measures data sets, whose points of different labels differ."""
    from fastmem.experiments.hardness import hardness
    from fastmem.experiments.theory import least_widths
    from fastmem.geometry.covering import mutual_covering

    labels = y == 0
    mutual_covering(X, labels, seed=0, n_threads=1)
    hardness(X, y, n_hyperplanes=64, n_layers=1, seed=0, n_threads=1)
    least_widths(X, labels, trials=1)


def _use_bounds(X: np.ndarray) -> None:
    """Bounding tiles, which only points by the ten thousand have."""
    points = check_points(X)
    codes = (np.arange(len(X)) % 2).astype(np.uint16)
    source = GaussianRows(np.random.default_rng(0), np.zeros(2), 1.0)
    hyperplanes = source.start(64, np.zeros(2), 1.0)
    leaves = leaves_of(points, 1)
    patterns = Patterns(codes, 2, leaves=leaves, with_bounds=True)
    patterns.fill(points, hyperplanes, 1)
    for selection in ("random", "merge"):
        seeds = np.random.SeedSequence(0).spawn(2)
        selector = Selector(selection, 0.0, False, seeds, 1, lambda done, total, neurons: None)
        covers = selector.covers(patterns, hyperplanes, [0])
    sums = Selector("random", 0.0, False, seeds, 1, lambda done, total, neurons: None, points)
    sums.covers(patterns, hyperplanes, [0])
    OpenPoints(patterns, 0).look(patterns, 64, seeds[0], 1)
    second = cover_layer(covers)
    margins = CountMargins(second, np.zeros(len(second), np.int64), 1)
    run_in_order(points, hyperplanes, margins, 1, True, lambda rows, best: None)


def _use_neighbours(X: np.ndarray) -> None:
    """Cells among neighbours, which only noisy points by the thousand have."""
    points = check_points(X)
    codes = (np.arange(len(X)) % 2).astype(np.uint16)
    hyperplanes = GaussianRows(np.random.default_rng(0), np.zeros(2), 1.0).start(
        64, np.zeros(2), 1.0
    )
    leaves = np.zeros(len(X), np.int32)
    patterns = Patterns(codes, 2, leaves=leaves, points=points.array)
    patterns.fill(points, hyperplanes, 1)
    OpenPoints(patterns, 0).look(patterns, 64, np.random.SeedSequence(0), 1)
    for are_merged in (False, True):
        cover = ClassCover(patterns, 64, 0, np.random.default_rng(0), 1)
        NearCells([cover], are_merged).step([cover])


def _use_scattered() -> None:
    """Rows of a transform that are not in order: their bits are brought to their places."""
    d = 512
    source = StructuredRows(np.random.default_rng(0), np.zeros(d), 1.0)
    some = source.start(d, np.zeros(d), 1.0).subset(np.arange(1, d))
    sign_patterns(np.ones((_N_SAMPLES, d), np.float32), some, n_threads=1)


def _use_keyed_order() -> None:
    """An order that only classes of points by the million have."""
    numbers = np.empty(5, np.int32)
    keyed_order(np.uint64(0), 5, 0, numbers)
    keyed_places(np.uint64(0), 5, numbers, np.empty(5, np.int32))


def _use_shapes() -> None:
    """Distances of patterns, which only what looks at the shape of classes asks for."""
    from fastmem.shapes.dimension import pattern_dimension
    from fastmem.shapes.landmarks import hamming_landmarks

    X = np.random.default_rng(0).standard_normal((_N_SAMPLES, 2))
    codes = (np.arange(len(X)) % 2).astype(np.uint16)
    network = interpolate(X, codes, seed=0, n_threads=1)
    patterns = Patterns(codes, 2)
    patterns.fill(check_points(X), network.first, 1)
    hamming_landmarks(patterns, 0, 2, 1)
    pattern_dimension(network, X, n_points=_N_SAMPLES, n_threads=1)
