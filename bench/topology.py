"""Shapes of classes: ``python -m bench.topology [--only shapes voids digits times] [--smoke]``.

- ``shapes``: known shapes (``bench.shapes``), their true Betti numbers beside those of points and
  of patterns (2,048 hyperplanes) and of the region of a network with ``compact=True``, with its
  cells and the linear programs that were solved, and the fewest neurons that the shape forces;
- ``voids``: how often the numbers of a shell and of the ball in it are right, over seeds, with
  epsilon as it is measured and a tenth more, which is what ``topology`` takes from beta_2 on;
- ``digits``: the classes of scikit-learn's digits, 180 points each: bars without numbers, regions;
- ``times``: seconds on one thread and megabytes at the peak beyond the points and the network, each
  in a fresh process, at 1,000, 10,000 and 100,000 points, nothing of which is sampled; beside it
  ``ripser`` with as many points of its own greedy permutation, on points alone, without regions.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator

import numpy as np

import fastmem
from bench.markdown import line, table
from bench.measuring import in_fresh_process, machine, timed
from bench.shapes import SHAPES, shape
from fastmem.shapes import Persistence, topology

POINTS, SEEDS = 4_000, 4


def _numbers(betti: tuple[int, ...] | None) -> str:
    return "-" if betti is None else ", ".join(map(str, betti))


def shapes(n: int, landmarks: int) -> Iterator[list[str]]:
    """Rows of the table of known shapes."""
    yield ["class", "true", "points", "patterns", "region", "cells, least", "programs", "seconds"]
    for name, (_, truths) in SHAPES.items():
        X, y = shape(name, n if len(truths[0]) == 2 else 3 * n)
        k = len(truths[0]) - 1
        wide = fastmem.interpolate(X, y, seed=0, width=2048, covered="all")
        compact = fastmem.interpolate(X, y, seed=0, compact=True, covered="all")
        by_data = topology(wide, X, y, landmarks=landmarks, max_dimension=k)
        seconds, found = timed(
            lambda compact=compact, X=X, y=y, k=k: topology(
                compact, X, y, landmarks=landmarks, max_dimension=k
            )
        )
        for label in (0, 1):
            data, cells = by_data.classes[label], found.classes[label].region
            assert cells is not None
            yield [
                f"{name}: {label}", _numbers(truths[label]), _numbers(data.points.betti),
                _numbers(data.patterns.betti), _numbers(cells.betti),
                f"{cells.n_cells}, {data.least_neurons}", str(cells.n_programs), f"{seconds:.2f}",
            ]  # fmt: skip


def _counted(found: Persistence, slack: float) -> tuple[int, ...]:
    """Betti numbers with epsilon multiplied in all dimensions."""
    epsilon = slack * found.epsilon
    return tuple(
        sum(
            birth <= 2 * epsilon and (death is None or death > 4 * epsilon) for birth, death in bars
        )
        for bars in found.bars
    )


def voids(n: int, landmarks: int, seeds: int) -> Iterator[list[str]]:
    """Rows of the table of epsilon for a shell around a ball."""
    yield ["shell and ball", "classes", "points, 1", "points, 1.1", "patterns, 1", "patterns, 1.1"]
    truths = SHAPES["sphere around ball"][1]
    for size, some in ((3 * n, landmarks), (3 * n, landmarks // 2), (10 * n, landmarks)):
        right = np.zeros((2, 2), int)
        for seed in range(seeds):
            X, y = shape("sphere around ball", size, seed)
            network = fastmem.interpolate(X, y, seed=seed, width=2048)
            report = topology(network, X, y, landmarks=some, max_dimension=2)
            for entry, true in zip(report.classes, truths, strict=True):
                for i, found in enumerate((entry.points, entry.patterns)):
                    right[i] += [_counted(found, slack) == true for slack in (1.0, 1.1)]
        name = f"{size:,} points, {some} landmarks"
        yield [name, str(2 * seeds), *map(str, right.ravel())]


def digits() -> Iterator[list[str]]:
    """Rows of the table of scikit-learn's digits."""
    from sklearn.datasets import load_digits

    yield [
        "digit", "points", "epsilon", "longest bar that ends, 0; 1", "patterns' epsilon",
        "longest, 0; 1", "region", "cells", "programs",
    ]  # fmt: skip
    X, y = load_digits(return_X_y=True)
    network = fastmem.interpolate(X, y, seed=0, compact=True, covered="all")
    # a third of the smallest class: more give no numbers
    for entry in topology(network, X, y, landmarks=58).classes:
        row = [str(entry.label), str(entry.n_points)]
        for found in (entry.points, entry.patterns):
            lengths = [
                max((death - birth for birth, death in bars if death is not None), default=0.0)
                for bars in found.bars
            ]
            row += [f"{found.epsilon:.3g}", "; ".join(f"{length:.3g}" for length in lengths)]
        assert entry.region is not None
        row += [_numbers(entry.region.betti), str(entry.region.n_cells)]
        yield [*row, str(entry.region.n_programs)]


_TIMED = """
import json, warnings
warnings.simplefilter("ignore")
import numpy as np
import fastmem
from bench.measuring import peak_of_this_process, timed
from bench.shapes import shape
from fastmem.datasets import digits784
from fastmem.shapes import topology
from ripser import ripser
X, y = {data}
network = fastmem.interpolate(X, y, seed=0, compact=True, covered="all", n_threads=1)
few = np.arange(min(len(X), 400))
topology(network, X[few], y[few], landmarks=30, n_threads=1)
before = peak_of_this_process()
seconds, report = timed(lambda: topology(network, X, y, n_threads=1))
more = peak_of_this_process() - before
def theirs():
    for label in np.unique(y):
        own = X[y == label]
        ripser(own, maxdim=1, n_perm=min(300, len(own) - 1))
peer = timed(theirs)[0] if {with_peer} else None
regions = [entry.region for entry in report.classes]
print(json.dumps([seconds, more, peer, [region.n_cells for region in regions],
                  sum(region.n_programs for region in regions)]))
"""


def times(sizes: list[int]) -> Iterator[list[str]]:
    """Rows of the table of seconds and memory."""
    yield ["data", "points", "seconds", "ripser, greedy", "ratio", "MB", "cells", "programs"]
    cases = [("holes and discs", n, f'shape("3 x 3 holes and discs", {n})') for n in sizes]
    cases += [("digits784", n, f"digits784({n})") for n in sizes if n <= 10_000]
    for name, n, data in cases:
        code = _TIMED.format(data=data, with_peer=True)
        seconds, more, peer, cells, programs = json.loads(in_fresh_process(code).splitlines()[-1])
        yield [
            name, f"{n:,}", f"{seconds:.2f}", f"{peer:.2f}", f"{seconds / peer:.2f}",
            f"{more / 1e6:.0f}", ", ".join(map(str, cells)), str(programs),
        ]  # fmt: skip


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ["shapes", "voids", "digits", "times"]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--smoke", action="store_true", help="few points, whatever comes out")
    arguments = parser.parse_args()
    small = arguments.smoke
    n, landmarks = (400, 40) if small else (POINTS, 300)
    tables = {
        "shapes": lambda: shapes(n, landmarks),
        "voids": lambda: voids(n, landmarks, 1 if small else SEEDS),
        "digits": digits,
        "times": lambda: times([400] if small else [1_000, 10_000, 100_000]),
    }
    for name in arguments.only:
        rows = tables[name]()
        print(f"\n{name}\n\n{table(next(rows), [])}", flush=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for row in rows:
                print(line(row), flush=True)
    print("\n" + ", ".join(f"{key}: {value}" for key, value in machine().items()))


if __name__ == "__main__":
    main()
