"""What a study is: cells, each of them some trials of the algorithm with the same settings."""

from __future__ import annotations

import hashlib
import struct
import threading
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, stdev
from typing import Any

import numpy as np

from fastmem.algorithm import interpolate
from fastmem.errors import UnseparatedWarning

__all__ = ["PAPER", "Cell", "Result", "Study", "measure"]

PAPER: Mapping[str, Any] = {"selection": "random", "projection": "gaussian", "center": False}
"""Settings of `fastmem.interpolate` that make it the paper's Algorithm 2, for a given width."""


@dataclass(frozen=True)
class Cell:
    """One combination of settings, repeated over some trials.

    Attributes
    ----------
    dataset : str
        Name of the points in the study.
    n_samples : int
        Points memorised, N: the first so many, so that samples are nested.
    first_width : int
        Hyperplanes, n.
    max_bias : float
        Largest bias, the paper's lambda.
    """

    dataset: str
    n_samples: int
    first_width: int
    max_bias: float


@dataclass(frozen=True)
class Result:
    """What the trials of a cell gave: one row of a table of results.

    Attributes
    ----------
    dataset, n_samples, first_width, max_bias
        The cell; n_samples is 0 where a table does not tell it.
    trials : int
    interpolation_probability : float
        Share of the trials whose network separates every point of the covered classes, and so
        labels every point correctly. With several covered classes a point that is not separated
        may be labelled correctly all the same, by its margin; that does not count.
    mean_accuracy : float
        Mean share of the points that are labelled correctly.
    mean_second_width, sd_second_width : float
        Mean and standard deviation (with ``trials - 1``) of the number of neurons; a trial
        without a neuron counts as 1, as in the results that the paper's authors published.
    """

    dataset: str
    n_samples: int
    first_width: int
    max_bias: float
    trials: int
    interpolation_probability: float
    mean_accuracy: float
    mean_second_width: float
    sd_second_width: float

    @property
    def cell(self) -> Cell:
        """The cell that was measured."""
        return Cell(self.dataset, self.n_samples, self.first_width, self.max_bias)


@dataclass(frozen=True)
class Study:
    """Cells to measure, the points they need, and what makes their trials repeatable.

    Attributes
    ----------
    name : str
        As in ``fastmem reproduce NAME``.
    data : dict of str to (X, y)
        The points by the cells' ``dataset``; X of shape (n_samples, n_features), y (n_samples,).
    cells : sequence of Cell
        In the order in which the table lists them.
    trials : int
        Trials of each cell.
    seed : int
        Every trial's own seed is made of it, of its cell and of its number: results depend
        neither on the order nor on what else is measured.
    fit : dict
        Settings of `fastmem.interpolate` beside the width and the largest bias.
    """

    name: str
    data: Mapping[str, tuple[Any, Any]]
    cells: Sequence[Cell]
    trials: int
    seed: int
    fit: Mapping[str, Any] = field(default_factory=lambda: dict(PAPER))

    def settings(self) -> dict[str, Any]:
        """Give all that the results depend on, as JSON can hold it."""
        return {
            "study": self.name,
            "seed": self.seed,
            "trials": self.trials,
            "fit": dict(self.fit),
            "data": {name: _fingerprint(*points) for name, points in self.data.items()},
            "N": sorted({cell.n_samples for cell in self.cells}),
            "n": sorted({cell.first_width for cell in self.cells}),
            "lambda": sorted({cell.max_bias for cell in self.cells}),
            "cells": len(self.cells),
        }


class _WithoutWarnings:
    """Ignores UnseparatedWarning in all threads, as an executor's may be, while one is inside."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.simplefilter("ignore", UnseparatedWarning)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.__exit__(None, None, None)


_expected_warnings = _WithoutWarnings()


def measure(
    cell: Cell,
    points: tuple[Any, Any],
    *,
    trials: int,
    seed: int,
    fit: Mapping[str, Any],
    n_threads: int = 1,
) -> Result:
    """Run the trials of a cell, one after the other.

    Parameters
    ----------
    cell : Cell
    points : tuple of ndarray
        X and y of its data set, at least ``cell.n_samples`` rows.
    trials, seed, fit
        As in `Study`.
    n_threads : int, default 1
        Threads of each fit; the result does not depend on it.

    Returns
    -------
    Result

    Raises
    ------
    InvalidInputError
        As `fastmem.interpolate`.
    """
    X, y = (array[: cell.n_samples] for array in points)
    successes = 0
    accuracies: list[float] = []
    widths: list[int] = []
    for trial in range(trials):
        with _expected_warnings:
            network = interpolate(
                X,
                y,
                width=cell.first_width,
                max_bias=cell.max_bias,
                scale="none",
                seed=trial_seed(seed, cell, trial),
                n_threads=n_threads,
                **fit,
            )
        # Predicted, not taken from the report alone: a study should not rest on what it looks into.
        right = np.count_nonzero(network.predict(X, n_threads=n_threads) == y)
        assert network.report is not None
        successes += right == len(y) and len(network.report.unseparated) == 0
        accuracies.append(right / len(y))
        widths.append(max(1, network.widths[1]))
    return Result(
        **asdict(cell),
        trials=trials,
        interpolation_probability=successes / trials,
        mean_accuracy=fmean(accuracies),
        mean_second_width=fmean(widths),
        sd_second_width=stdev(widths) if trials > 1 else 0.0,
    )


def trial_seed(seed: int, cell: Cell, trial: int) -> np.random.SeedSequence:
    """Give the seed of a trial, which depends on what the cell is and not on where it stands."""
    bias = struct.unpack("<2I", struct.pack("<d", cell.max_bias))
    name = zlib.crc32(cell.dataset.encode())
    key = (name, cell.n_samples, cell.first_width, *bias, trial)
    return np.random.SeedSequence(seed, spawn_key=key)


def _fingerprint(X: Any, y: Any) -> str:
    """Tell points apart: their number, features, and a hash of all bytes."""
    digest = hashlib.sha256()
    for array in (X, y):
        plain = np.ascontiguousarray(array)
        digest.update(str(plain.dtype).encode())
        digest.update(plain.reshape(-1).view(np.uint8).data)
    return f"{len(X)} x {X.shape[1]}, {digest.hexdigest()[:16]}"
