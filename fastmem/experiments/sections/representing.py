"""What the representation of the points does: units, rotations, components, noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.experiments.section_facts import POWERS, Representation, Representations
from fastmem.experiments.sections.study import Array, Skip, Study, memorised
from fastmem.inputs import check_count, check_labels, check_points, check_seed, check_threads

MOST_POINTS = 4_000
MOST_FEATURES = 1_024
"""Rotations and components take the cube of it."""
UNSEEN_SHARE = 5
"""One point in so many is held out."""
LEAST_POINTS = 50
MOST_COMPONENTS = 20
HELD_VARIANCE = 0.95
NOISE_COLUMNS = 64
WIDTH = 2_048


def representation(study: Study) -> Representations:
    """Measure widths and unseen accuracy of the points, represented in several ways."""
    rows = np.sort(study.usable.rows[:MOST_POINTS])
    X, y = study.usable.sample(MOST_POINTS)
    points, given = check_points(X), check_points(study.given_rows(rows))
    if points.is_sparse:
        raise Skip("points are sparse")
    if points.n_features > MOST_FEATURES:
        raise Skip(f"{points.n_features:,} features are more than {MOST_FEATURES:,}")
    if len(rows) < LEAST_POINTS:
        raise Skip(f"fewer than {LEAST_POINTS} points leave too few to hold out")
    every = np.arange(len(rows))
    dense = points.dense(every).astype(np.float64)
    raw = given.dense(every).astype(np.float64)
    try:
        return _represented(
            None if np.array_equal(dense, raw) else raw, dense, y, study.width,
            study.seeds.several("representation", study.trials), study.fit, study.tell,
        )  # fmt: skip
    except (InvalidInputError, np.linalg.LinAlgError) as error:
        raise Skip(f"values are too large or too small: {error}") from error


def representations(
    X: Any,
    y: Any,
    *,
    width: int = WIDTH,
    trials: int = 3,
    max_bias: float | str = "radius",
    projection: str = "auto",
    seed: Any = None,
    n_threads: int | None = None,
) -> Representations:
    """Measure what representations of points do to widths and to unseen points.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Dense points, all of which are used; at least 50, and up to 1,024 features.
    y : array-like of shape (n_samples,)
        Labels of at least two classes. Of equal points of different labels the most frequent one
        counts where they are memorised.
    width : int, default 2,048
        Hyperplanes at which neurons and unseen accuracy are compared.
    trials : int, default 3
        Each holds out another fifth of the points and draws other hyperplanes.
    max_bias, projection, n_threads
        As for `fastmem.interpolate`.
    seed : int, numpy.random.Generator, SeedSequence or None

    Returns
    -------
    Representations

    Raises
    ------
    InvalidInputError
        For any argument that cannot be used.

    Notes
    -----
    What is estimated (deviations, components) is estimated from the points that are memorised. The
    components are as many as hold 95 per cent of the variance, but at most 20; whitened are all
    that have any. Noise columns are Gaussian, each as wide as a column is on average. A shift, or
    one power of two for all columns, changes no width: hyperplanes are drawn about the mean and as
    far as the points reach.
    """
    points = check_points(X)
    check_labels(y, points.n_samples)
    width, trials = check_count("width", width, 1), check_count("trials", trials, 1)
    if points.is_sparse:
        raise InvalidInputError("X is sparse; pass a dense array, X.toarray()")
    for what, value, least, most in (
        ("points", points.n_samples, LEAST_POINTS, points.n_samples),
        ("features", points.n_features, 1, MOST_FEATURES),
    ):
        if not least <= value <= max(least, most):
            raise InvalidInputError(
                f"X has {value:,} {what}; pass {least:,} at least"
                + (f", and {most:,} at most" if what == "features" else "")
            )
    seeds = [int(child.generate_state(1, np.uint64)[0]) for child in check_seed(seed).spawn(trials)]
    fit = {"max_bias": max_bias, "projection": projection, "n_threads": check_threads(n_threads)}
    dense = points.dense(np.arange(points.n_samples)).astype(np.float64)
    return _represented(None, dense, np.asarray(y).reshape(-1), width, seeds, fit)


def _represented(
    raw: Array | None, X: Array, y: Array, width: int, seeds: Sequence[int],
    fit: dict[str, Any], tell: Any = None,
) -> Representations:  # fmt: skip
    """The table: of the points, and first of ``raw`` where these are something else."""
    rows: dict[str, Representation] = {}
    n_unseen = 0
    for done, seed in enumerate(seeds):
        generator = np.random.default_rng(seed)
        fitted, unseen = _split(y, generator)
        n_unseen = len(unseen)
        kinds = [(POWERS, X[fitted], X[unseen])]
        if raw is not None:
            kinds.insert(0, ("as given", raw[fitted], raw[unseen]))
        else:
            kinds = [("as given", X[fitted], X[unseen])]
        kinds += _kinds(X[fitted], X[unseen], generator)
        for name, own, other in kinds:
            row = rows.setdefault(name, Representation(name, own.shape[1], [], [], [], []))
            _measure(row, (own, y[fitted]), (other, y[unseen]), width, fit | {"seed": seed})
        if tell is not None:
            tell("representations", done + 1, len(seeds), 0)
    return Representations(len(y) - n_unseen, n_unseen, width, list(rows.values()))


def _measure(
    row: Representation, own: tuple[Array, Array], other: tuple[Array, Array], width: int,
    fit: dict[str, Any],
) -> None:  # fmt: skip
    """Add the widths and the accuracy of one trial."""
    settings = {"covered": "all", "contradictions": "majority"} | fit
    least = memorised(*own, width="auto", **settings)
    row.least.append(least.widths[0])
    row.merged_at_least.append(least.widths[1])
    network = memorised(*own, width=width, **settings)
    row.merged.append(network.widths[1])
    row.unseen.append(round(float(np.mean(network.predict(other[0]) == other[1])), 6))


def _split(y: Array, generator: np.random.Generator) -> tuple[Array, Array]:
    """Rows that are memorised, and a fifth that is not; each class has one of the former."""
    order = generator.permutation(len(y))
    first = np.unique(y[order], return_index=True)[1]
    order = np.concatenate([order[first], np.delete(order, first)])
    n_unseen = min(len(y) // UNSEEN_SHARE, len(y) - len(first))
    return np.sort(order[: len(y) - n_unseen]), np.sort(order[len(y) - n_unseen :])


def _kinds(
    own: Array, other: Array, generator: np.random.Generator
) -> Iterator[tuple[str, Array, Array]]:
    """Both parts of the points in each representation that is estimated from the first."""
    d = own.shape[1]
    # squares stay in the range of numbers; a power of two changes no width
    exponent = -int(np.frexp(np.abs(own).max())[1])
    own, other = np.ldexp(own, exponent), np.ldexp(other, exponent)
    middle = own.mean(axis=0)
    centred, moved = own - middle, other - middle
    deviations = centred.std(axis=0)
    wide = np.where(deviations > 0, deviations, 1.0)
    yield "each column of deviation 1", centred / wide, moved / wide
    turn = np.linalg.qr(generator.standard_normal((d, d)))[0]
    if d > 1:
        yield "rotated at random", centred @ turn, moved @ turn
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    n_axes = int(np.sum(lengths > 1e-9 * lengths[0]))
    if n_axes == 0:  # all memorised points are equal
        return
    shares = np.cumsum(lengths**2) / np.sum(lengths**2)
    n_held = min(MOST_COMPONENTS, n_axes, int(np.searchsorted(shares, HELD_VARIANCE)) + 1)
    if d > 1:
        kept = axes[:n_held].T
        yield "principal components", centred @ kept, moved @ kept
        kept = axes[:n_axes].T / (lengths[:n_axes] / np.sqrt(len(own)))
        yield "whitened", centred @ kept, moved @ kept
    size = float(np.sqrt(np.mean(deviations**2)))
    noise = [size * generator.standard_normal((len(X), NOISE_COLUMNS)) for X in (own, other)]
    yield (
        f"with {NOISE_COLUMNS} columns of noise",
        np.hstack([own, noise[0]]),
        np.hstack([other, noise[1]]),
    )
