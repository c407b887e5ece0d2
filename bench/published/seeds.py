"""Repeat the published trials of two moons themselves: ``python -m bench.published.seeds``.

`bench.published.moons` compares distributions. Here the authors' own trials are drawn again: each
uses ``numpy.random.default_rng(k)``, where k numbers the trials of their whole grid, lambda slowest
(0, 0.05, ..., 2.5), then n (10, 20, ..., 500), then the trial (0 to 49). It gives the weights, the
biases, then the order of the second layer. So three questions have exact answers, cell by cell:

- does the algorithm in plain float32 NumPy give the published figures to the last digit,
- how many signs does float32 get wrong (fastmem's are exact),
- does fastmem, given the same hyperplanes, fail at the same points?

The seeding is that of the code beside the results, see `bench.published.moons`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import fastmem
from bench.parts import uncoverable
from bench.published.moons import EXCERPT, spread
from fastmem.experiments.results import read_results
from fastmem.experiments.studies import make_study
from fastmem.experiments.study import Result

BIASES = np.arange(0.0, 2.55, 0.05)
WIDTHS = np.arange(10, 510, 10)
TRIALS = 50


def hyperplanes(result: Result, trial: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Draw a trial's weights (n, 2) and biases (n,), float32; the generator goes on from there."""
    n = result.first_width
    bias = int(np.argmin(np.abs(BIASES - result.max_bias)))
    width = int(np.flatnonzero(n == WIDTHS)[0])
    generator = np.random.default_rng((bias * len(WIDTHS) + width) * TRIALS + trial)
    weights = generator.standard_normal((n, 2), dtype=np.float32)
    shares = generator.random(n, dtype=np.float32)
    return weights, (2 * shares - 1) * np.float32(BIASES[bias]), generator


def second_layer(
    covered: np.ndarray, others: np.ndarray, generator: np.random.Generator
) -> tuple[int, int]:
    """Select neurons in dense NumPy; return how many, and how many points cannot be covered."""
    covered, others = covered.astype(np.float32), others.astype(np.float32)
    is_open = np.ones(len(covered), bool)
    neurons = failed = 0
    while is_open.any():
        chosen = generator.choice(np.flatnonzero(is_open))
        mask = 1 - covered[chosen]
        threshold = (others @ mask).min()
        is_open[chosen] = False
        if threshold > 0:
            neurons += 1
            is_open &= covered @ mask >= threshold
        else:
            failed += 1
    return neurons, failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit code is 0 iff all cells agree to the last digit."""
    parser = argparse.ArgumentParser(prog="python -m bench.published.seeds", description=__doc__)
    parser.add_argument("--csv", type=Path, default=EXCERPT, help="published cells")
    parser.add_argument("--cells", type=int, default=24, help="cells to repeat, spread evenly")
    options = parser.parse_args(arguments)

    X, y = make_study("moons").data["moons"]
    n_equal = n_same = wrong = n_bits = 0
    cells = spread(read_results(options.csv)[1], options.cells)
    for cell in cells:
        widths, failed, failed_ours = [], [], []
        for trial in range(TRIALS):
            weights, biases, generator = hyperplanes(cell, trial)
            bits = X @ weights.T + biases > 0
            neurons, n_failed = second_layer(bits[y == 1], bits[y == 0], generator)
            widths.append(max(1, neurons))
            failed.append(n_failed)
            planes = fastmem.Hyperplanes(weights, biases.astype(np.float64))
            failed_ours.append(uncoverable(X, y, planes, 1))
            words = fastmem.sign_patterns(X, planes, n_threads=1)
            exact = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
            wrong += int((exact[:, : bits.shape[1]] != bits).sum())
            n_bits += bits.size
        figures = [
            (float(np.mean(np.equal(failed, 0))), cell.interpolation_probability, 1e-9),
            (1 - float(np.mean(failed)) / len(y), cell.mean_accuracy, 1e-9),
            (float(np.mean(widths)), cell.mean_second_width, 1e-9),
            (float(np.std(widths, ddof=1)), cell.sd_second_width, 5.01e-4),  # three decimals
        ]
        equal = all(abs(mine - theirs) <= error for mine, theirs, error in figures)
        same = failed == failed_ours
        n_equal += equal
        n_same += same
        if not (equal and same):
            print(f"n = {cell.first_width}, λ = {cell.max_bias:g}: {figures}, same {same}")
    print(
        f"{len(cells):,} cells of {TRIALS} trials. NumPy with the published seeds gives the "
        f"published figures to the last digit in {n_equal:,}; fastmem on the same hyperplanes "
        f"fails at as many points in every trial in {n_same:,}; float32 has {wrong:,} of "
        f"{n_bits:,} signs wrong."
    )
    return 0 if n_equal == n_same == len(cells) else 1


if __name__ == "__main__":
    sys.exit(main())
