"""Rows of the theory study, and the constants that are fitted to them."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.machine.files import moved_when_complete

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """What was predicted from one data set's geometry, and what was measured.

    Attributes
    ----------
    name : str
        The data set.
    n_samples, n_features : int
    n_negative, n_positive, delta, radius, omega, omega_error
        As of `fastmem.geometry.MutualCovering`.
    first_half, first_most : float
        The least first widths that interpolate with probability 0.5 and 0.95.
    second_random, second_merge : float
        Mean second widths there, at the larger of them.
    """

    name: str
    n_samples: int
    n_features: int
    n_negative: int
    n_positive: int
    delta: float
    radius: float
    omega: float
    omega_error: float
    first_half: float
    first_most: float
    second_random: float
    second_merge: float

    @property
    def separation(self) -> float:
        """R / delta log(2 M^- M^+)."""
        return self.radius / self.delta * math.log(2.0 * self.n_negative * self.n_positive)

    @property
    def width(self) -> float:
        """R omega."""
        return self.radius * self.omega


@dataclass(frozen=True)
class Constants:
    """The constants that the paper leaves open, and how well the predictions then do.

    Attributes
    ----------
    first : (float, float)
        Factors of R / delta log(2 M^- M^+) and of R omega in the first width.
    second : float
        Factor of M^- in the second width, ``selection="random"``.
    first_spread, second_spread : float
        Root mean squares of log(predicted / measured), as factors.
    """

    first: tuple[float, float]
    second: float
    first_spread: float
    second_spread: float


def fit_constants(rows: Sequence[Row]) -> Constants:
    """Fit the constants, none negative, by least squares of log(predicted / measured).

    Parameters
    ----------
    rows : sequence of Row
        At least two, of which both widths are above 0; the first width is the one that
        interpolates with probability 0.5.

    Returns
    -------
    Constants
    """
    from scipy.optimize import least_squares

    terms = np.array([[row.separation, row.width] for row in rows])
    measured = np.array([row.first_half for row in rows])

    def errors(constants: Floats) -> Floats:
        logarithms: Floats = np.log(np.maximum(terms @ constants, 1e-300) / measured)
        return logarithms

    start = np.array([np.exp(np.mean(np.log(measured / terms[:, 0]))), 0.1])
    first = least_squares(errors, start, bounds=(0.0, np.inf)).x
    ratios = np.log([row.second_random / row.n_negative for row in rows])
    return Constants(
        (float(first[0]), float(first[1])),
        float(np.exp(ratios.mean())),
        float(np.exp(np.sqrt(np.mean(errors(first) ** 2)))),
        float(np.exp(ratios.std())),
    )


def leave_one_out_errors(rows: Sequence[Row], i: int) -> tuple[float, float]:
    """Logarithms of predicted / measured of row i, both widths, from all the other rows."""
    row = rows[i]
    constants = fit_constants([*rows[:i], *rows[i + 1 :]])
    first = constants.first[0] * row.separation + constants.first[1] * row.width
    second = constants.second * row.n_negative
    return math.log(first / row.first_half), math.log(second / row.second_random)


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rho of two series of the same length; nan where one is constant."""
    from scipy.stats import spearmanr

    if len(set(a)) < 2 or len(set(b)) < 2:
        return math.nan
    return float(spearmanr(a, b).statistic)


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write a csv file, whole or not at all."""
    with (
        moved_when_complete(path) as temporary,
        open(temporary, "x", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, [f.name for f in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def read_rows(path: Path) -> list[Row]:
    """Read what `write_rows` wrote; a file of another kind is refused in one sentence."""
    kinds: dict[str, Callable[[str], Any]] = {"str": str, "int": int, "float": float}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [
                Row(**{f.name: kinds[str(f.type)](line[f.name]) for f in fields(Row)})
                for line in csv.DictReader(file)
            ]
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise InvalidInputError(
            f"{path} is not a table of this study ({type(error).__name__}: {error}); move it away "
            "or name another directory"
        ) from error
