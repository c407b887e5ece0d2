"""The studies that there are, by name: the paper's on its data sets, and the same on any other.

Each is made of axes, lists of values for N (samples), n (hyperplanes) and lambda (largest bias),
that a caller may replace one by one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.experiments.study import PAPER, Cell, Study

__all__ = ["STUDIES", "Recipe", "make_study", "read_axes"]

Axes = Mapping[str, Sequence[float]]
Points = tuple[NDArray[Any], NDArray[Any]]

AXES = ("N", "n", "lambda")
MOST_VALUES = 10_000
DATA_SEED = 0


@dataclass(frozen=True)
class Recipe:
    """How a study is made unless its caller wants otherwise.

    Attributes
    ----------
    summary : str
        What it shows, in a line.
    trials : int
        Trials of each cell.
    axes : dict
        Values of N, n and lambda; without N, all points, and with an empty list of N, sizes in
        equal ratios up to all points.
    points : callable or None
        Makes the data sets for the largest N (or None): a dict of name to (X, y, covered). None:
        the caller brings the points.
    over_samples : bool
        Whether N is what the picture shows along its axis.
    """

    summary: str
    trials: int
    axes: Axes
    points: Callable[[int | None], dict[str, tuple[Any, Any, Any]]] | None
    over_samples: bool = False


def _moons(n_samples: int | None, default: int) -> dict[str, tuple[Any, Any, Any]]:
    """Two moons in the unit disc; label 1 is covered, as in the published results."""
    from fastmem.datasets import two_moons

    X, y = two_moons(n_samples or default, seed=DATA_SEED)
    X = X.astype(np.float32)
    X /= np.linalg.norm(X, axis=1).max()  # in this order, as the paper's authors did
    return {"moons": (X, y, [1])}


def _annuli(n_samples: int | None) -> dict[str, tuple[Any, Any, Any]]:
    """Two annuli of the unit disc with a gap that no noise closes; the outer one is covered."""
    from fastmem.datasets import spheres

    return {"annuli": (*spheres(n_samples or 1_000_000, 2, gap=0.2, seed=DATA_SEED), [1])}


def _pairs(n_samples: int | None) -> dict[str, tuple[Any, Any, Any]]:
    """Ones against eights and against nines; the ones are covered."""
    from fastmem.datasets import digit_pair

    return {
        f"1 against {other}": (*digit_pair(n_samples or 20_000, 1, other, seed=DATA_SEED), [1])
        for other in (8, 9)
    }


def _classes(n_samples: int | None) -> dict[str, tuple[Any, Any, Any]]:
    """All ten digits, each covered against the others."""
    from fastmem.datasets import digits784

    return {"digits784": (*digits784(n_samples or 2_000, seed=DATA_SEED), "all")}


def _steps(start: float, stop: float, step: float) -> list[float]:
    """Give start, start + step, ... up to and with stop, without the errors of adding up."""
    count = math.floor((stop - start) / step + 1e-9) + 1
    return [round(start + i * step, 10) for i in range(count)]


SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 200_000, 400_000, 600_000, 800_000, 1_000_000)

STUDIES: Mapping[str, Recipe] = {
    "moons": Recipe(
        "1,000 two-moons points over (n, lambda), as the paper's authors published it",
        50,
        {"n": _steps(20, 500, 20), "lambda": _steps(0, 2.5, 0.05)},
        partial(_moons, default=1_000),
    ),
    "moons-samples": Recipe(
        "nested samples of up to a million two-moons points, n = 200 to 2,000, over N",
        20,
        {"N": SIZES, "n": [200, 400, 600, 1_000, 2_000], "lambda": [1.0]},
        partial(_moons, default=1_000_000),
        over_samples=True,
    ),
    "annuli-samples": Recipe(
        "the same of two annuli, whose gap does not shrink as N grows",
        10,
        {"N": SIZES, "n": [200, 400, 600, 1_000, 2_000], "lambda": [1.0]},
        _annuli,
        over_samples=True,
    ),
    "digits-pairs": Recipe(
        "digits at 28 x 28 pixels, 1 against 8 and 1 against 9, over N",
        5,
        {
            "N": [500, 1_000, 2_000, 5_000, 10_000, 20_000],
            "n": [500, 2_000, 5_000],
            "lambda": [0.5],
        },
        _pairs,
        over_samples=True,
    ),
    "digits-classes": Recipe(
        "all ten digits at 28 x 28 pixels, each class covered, over (n, lambda)",
        10,
        {"n": [*_steps(20, 200, 20), *_steps(240, 400, 40)], "lambda": _steps(0, 2.5, 0.25)},
        _classes,
    ),
    "grid": Recipe(
        "your own DATA over (n, lambda)",
        20,
        {"n": [20, 50, 100, 150, 200, 300, 400, 500], "lambda": _steps(0, 2, 0.25)},
        None,
    ),
    "samples": Recipe(
        "nested samples of your own DATA over N",
        10,
        {"N": [], "n": [200, 500, 1_000, 2_000], "lambda": [1.0]},
        None,
        over_samples=True,
    ),
}  # fmt: skip
"""All studies by their names, which ``fastmem reproduce --list`` shows."""


def make_study(
    name: str,
    *,
    axes: Axes | None = None,
    trials: int | None = None,
    seed: int = 0,
    data: Points | None = None,
    covered: Any = None,
) -> Study:
    """Make a study by its name.

    Parameters
    ----------
    name : str
        A key of `STUDIES`.
    axes : dict of str to sequence of numbers, optional
        Values of "N", "n" or "lambda" instead of the study's own.
    trials : int, optional
        Trials of each cell instead of the study's own.
    seed : int, default 0
        Seed of the trials. The points do not depend on it, but for the order of ``data``.
    data : tuple of array_like (X, y), optional
        The points of "grid" and "samples", n_samples by n_features, and their labels. They are
        shifted by their mean and divided by the largest norm, so that lambda is in units of the
        radius, and shuffled, so that the first N are a sample.
    covered : label, list of labels or "all", optional
        Classes that get neurons, for ``data``: by default the last label of two, as in the
        paper's experiments, and all of more.

    Returns
    -------
    Study

    Raises
    ------
    InvalidInputError
        If there is no such study, or an argument does not fit it.
    """
    if name not in STUDIES:
        raise InvalidInputError(f"There is no study {name!r}: give one of {', '.join(STUDIES)}")
    recipe = STUDIES[name]
    for what, value, least in (("trials", trials, 1), ("seed", seed, 0)):
        if value is not None and value < least:
            raise InvalidInputError(f"{what} is {value}: give a whole number of at least {least}")
    if (recipe.points is None) != (data is not None):
        raise InvalidInputError(
            f"The study {name} needs points: give a data file"
            if recipe.points is None
            else f"The study {name} brings its own points: leave the data file out, or take the "
            "study grid or samples"
        )
    values = dict(recipe.axes) | _checked(axes or {})
    wanted = max((int(n) for n in values.get("N", [])), default=None)
    if recipe.points is not None:
        data_sets = recipe.points(wanted)
    else:
        assert data is not None
        data_sets = {"data": _prepared(*data, covered, seed)}
    size = min(len(X) for X, _, _ in data_sets.values())
    if wanted is not None and wanted > size:
        raise InvalidInputError(
            f"N is {wanted:,} but there are {size:,} points: give at most so many"
        )
    sizes = [int(n) for n in values.get("N", [size])] or _ratios(size)
    cells = [
        Cell(data_set, n_samples, int(n), float(bias))
        for data_set in data_sets
        for n in values["n"]
        for bias in values["lambda"]
        for n_samples in sizes
    ]
    covers = [classes for _, _, classes in data_sets.values()]
    return Study(
        name,
        {data_set: (X, y) for data_set, (X, y, _) in data_sets.items()},
        cells,
        recipe.trials if trials is None else trials,
        seed,
        dict(PAPER) | {"covered": covers[0]},
    )


def read_axes(texts: Sequence[str]) -> dict[str, list[float]]:
    """Read axes as the command line has them: ``n=20:500:20`` or ``lambda=0.5,1,2``.

    Parameters
    ----------
    texts : sequence of str
        Each "NAME=VALUES", where VALUES are numbers between commas, or START:STOP:STEP with STOP
        among them.

    Returns
    -------
    dict of str to list of float

    Raises
    ------
    InvalidInputError
        If a text is none of these.
    """
    axes: dict[str, list[float]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        try:
            if name not in AXES or name in axes:
                raise ValueError
            parts = [float(value.replace("_", "")) for value in re.split("[:,]", values)]
            if ":" not in values:
                axes[name] = parts
            elif "," not in values and len(parts) == 3 and parts[2] > 0 and parts[1] >= parts[0]:
                if (parts[1] - parts[0]) / parts[2] > MOST_VALUES:
                    raise ValueError
                axes[name] = _steps(*parts)
            else:
                raise ValueError
        except ValueError as error:
            raise InvalidInputError(
                f"--grid is {text!r}: give N=, n= or lambda= once each, followed by numbers "
                "between commas or by START:STOP:STEP"
            ) from error
    return axes


def _checked(axes: Axes) -> dict[str, list[float]]:
    """Check names and values of axes, and sort out repetitions."""
    checked: dict[str, list[float]] = {}
    for name, values in axes.items():
        if name not in AXES or len(values) == 0:
            raise InvalidInputError(
                f"{name!r} is no axis with values: give N, n or lambda and at least one number"
            )
        least = 0 if name == "lambda" else 2 if name == "N" else 1
        for value in values:
            whole = name == "lambda" or float(value).is_integer()
            if not (math.isfinite(value) and value >= least and whole):
                kind = "finite number" if name == "lambda" else "whole number"
                raise InvalidInputError(f"{name} is {value!r}: give a {kind} of at least {least}")
        checked[name] = sorted({float(value) for value in values})
    return checked


def _prepared(X: Any, y: Any, covered: Any, seed: int) -> tuple[Any, Any, Any]:
    """Centre, scale and shuffle a caller's points, and choose the classes that get neurons."""
    points = np.array(X, np.float64, ndmin=2)
    labels = np.asarray(y).reshape(-1)
    if labels.dtype == object:
        labels = labels.astype(str)
    if points.ndim != 2 or len(points) != len(labels) or not np.isfinite(points).all():
        raise InvalidInputError(
            f"X has shape {points.shape} and y {labels.shape}: give finite points, one row and "
            "one label each"
        )
    classes = np.unique(labels).tolist()
    if len(classes) < 2:
        raise InvalidInputError(f"All {len(labels)} points have the same label: give two classes")
    points -= points.mean(axis=0)
    radius = float(np.linalg.norm(points, axis=1).max())
    if radius > 0:
        points /= radius
    order = np.random.default_rng(seed).permutation(len(points))
    if covered is None:
        covered = [classes[-1]] if len(classes) == 2 else "all"
    elif covered != "all":
        covered = covered if isinstance(covered, list) else [covered]
        for label in covered:
            if label not in classes:
                shown = ", ".join(map(str, classes[:8])) + (", ..." if len(classes) > 8 else "")
                raise InvalidInputError(f"covered names {label!r}: give labels among {shown}")
    return points[order], labels[order], covered


def _ratios(size: int) -> list[int]:
    """Give up to seven sizes in equal ratios, from about a hundredth of all points to all."""
    least = max(min(20, size), size // 100)
    return sorted({round(n) for n in np.geomspace(least, size, 7).tolist()})
