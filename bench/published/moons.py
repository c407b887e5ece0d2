"""Compare with the moons that the paper's authors published: ``python -m bench.published.moons``.

Both sides memorise ``sklearn.datasets.make_moons(1000, noise=0.05, random_state=0)``, cast to
float32 and divided by its largest norm, with the paper's Algorithm 2: label 1 covered, the cell's
width n and largest bias lambda, no centring, random selection. Two figures of each cell are
compared, in units of the standard error of their difference: the share of trials that memorise
every point, and the mean number of neurons; see `fastmem.experiments.comparison`. All cells at
once, with a picture: ``fastmem reproduce moons --compare FILE``.

``moons.csv`` holds the cells compared by default, taken from the results in the authors'
repository, https://github.com/patrickfinke/memo (MIT licence, copyright 2023 Patrick Finke), of
arXiv 2310.00327; ``--csv`` reads a file of the same columns with more of them.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.markdown import head, line
from fastmem.experiments.comparison import matched
from fastmem.experiments.results import read_results
from fastmem.experiments.running import run
from fastmem.experiments.studies import make_study
from fastmem.experiments.study import Result

EXCERPT = Path(__file__).with_name("moons.csv")
MOST_ERRORS = 4.0
"""Largest difference that counts as agreement, in standard errors."""


def spread(results: Sequence[Result], count: int) -> list[Result]:
    """Choose cells evenly over the grid, half of them, if there are so many, with 0 < p < 1.

    The targets are the plane's golden-ratio sequence, and each takes the nearest cell left.
    """
    if count >= len(results):
        return list(results)
    widths, biases = [r.first_width for r in results], [r.max_bias for r in results]

    def share(value: float, values: Sequence[float]) -> float:
        return (value - min(values)) / ((max(values) - min(values)) or 1.0)

    place = {r: (share(r.first_width, widths), share(r.max_bias, biases)) for r in results}
    uncertain = {r for r in results if 0 < r.interpolation_probability < 1}
    plastic = 1.3247179572447460  # the real root of x**3 = x + 1
    chosen: list[Result] = []
    for i in range(count):
        target = ((0.5 + (i + 1) / plastic) % 1, (0.5 + (i + 1) / plastic**2) % 1)
        wanted = uncertain if i % 2 == 0 else set(results) - uncertain
        left = (wanted - set(chosen)) or (set(results) - set(chosen))
        chosen.append(min(left, key=lambda r: (math.dist(place[r], target), *_order(r))))
    return sorted(chosen, key=_order)


def _order(result: Result) -> tuple[int, float]:
    return result.first_width, result.max_bias


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit code is 0 iff every cell agrees."""
    parser = argparse.ArgumentParser(prog="python -m bench.published.moons", description=__doc__)
    parser.add_argument("--csv", type=Path, default=EXCERPT, help="published cells")
    parser.add_argument("--cells", type=int, default=24, help="cells to compare, spread evenly")
    parser.add_argument("--trials", type=int, default=50, help="trials of each cell")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    published = spread(read_results(options.csv)[1], options.cells)
    study = make_study("moons", trials=options.trials, seed=options.seed)
    places = {_order(result) for result in published}
    cells = [cell for cell in study.cells if (cell.first_width, cell.max_bias) in places]
    with tempfile.TemporaryDirectory() as directory:
        ours = run(replace(study, cells=cells), Path(directory, "moons.csv"), workers=1)

    print(f"{options.trials} trials a cell, seed {options.seed}; differences in standard errors")
    print()
    figures = ["p, published", "p, ours", "difference", "width, published", "width, ours"]
    print(head(["n", "λ", *figures, "difference", "agree"]))
    n_agree = 0
    for pair in matched(ours, published):
        differences = pair.z_probability, pair.z_width
        agree = max(map(abs, differences)) <= MOST_ERRORS
        n_agree += agree
        mine, theirs = pair.ours, pair.theirs
        cells = [
            f"{mine.first_width}",
            f"{mine.max_bias:g}",
            f"{theirs.interpolation_probability:.2f}",
            f"{mine.interpolation_probability:.2f}",
            f"{differences[0]:+.1f}",
            f"{theirs.mean_second_width:.2f}",
            f"{mine.mean_second_width:.2f}",
            f"{differences[1]:+.1f}",
            "yes" if agree else "NO",
        ]
        print(line(cells))
    uncertain = sum(0 < result.interpolation_probability < 1 for result in published)
    print()
    print(
        f"{n_agree} of {len(published)} cells agree within {MOST_ERRORS:g} standard errors; "
        f"{uncertain} of them have a published probability strictly between 0 and 1."
    )
    return 0 if n_agree == len(published) else 1


if __name__ == "__main__":
    sys.exit(main())
