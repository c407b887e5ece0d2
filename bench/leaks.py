"""What networks give away: ``python -m bench.leaks [--only NAME] [--sizes] [--smoke]``.

Networks of each kind are fitted to a part of a data set and audited (`fastmem.audit`) with that
part and one of about the same size that they have not seen:

- ``in full``: training points whose whole sign pattern is in the weights;
- for each signal (``counts`` of the second layer, ``score`` of `decision_function`, the predicted
  ``label``) the advantage max(TPR - FPR) and the true positives at 1 % false ones; ``chance`` is
  what a signal without information exceeds once in twenty times;
- ``patterns / empty / undecided``: masks that are one point's pattern, are proved to be none, and
  neither, of those tested;
- ``error / R``, ``identified``, ``values right``: points recovered from masks, mean distance to the
  training point, how many are nearest to it, and the mean share of whole values that are right.

``--planted`` recovers every record of scikit-learn's digits, ``margin=1``, from n of 1,024, 2,048
and 64 d = 4,096 hyperplanes. ``--sizes`` measures seconds and peak memory of an audit at 1,000,
10,000 and 100,000 points, beside the fit and a predict of the same points; memory is the whole
process's, some 300 MB of libraries included, but for the points.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import fastmem
import fastmem.datasets
from bench.markdown import table
from bench.measuring import PeakWatch, machine, timed

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
WIDTH = 2048
NETWORKS: dict[str, dict[str, Any]] = {
    "random": {"selection": "random", "width": WIDTH, "complete": True},
    "merge": {"width": WIDTH, "complete": True},
    "compact": {"compact": True},
    "margin 0.5": {"margin": 0.5, "width": WIDTH, "complete": True},
    "margin 1": {"margin": 1.0, "width": WIDTH, "complete": True},
    "vote": {"decision": "vote"},
    "bytes": {"objective": "bytes"},
}


def _digits() -> Data:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return _halves(X, y, 1257)


def _digits784() -> Data:
    return _halves(*fastmem.datasets.digits784(8000, seed=0), 4000)


def _moons() -> Data:
    return _halves(*fastmem.datasets.two_moons(8000, noise=0.15, seed=0), 4000)


def _halves(X: np.ndarray, y: np.ndarray, n: int) -> Data:
    order = np.random.default_rng(0).permutation(len(X))
    members, others = order[:n], order[n:]
    return X[members], y[members], X[others], y[others]


SETS: dict[str, Callable[[], Data]] = {
    "scikit-learn digits": _digits, "digits784": _digits784, "moons": _moons,
}  # fmt: skip


def audits(data: Data, names: list[str], reconstruct: int) -> Iterator[list[str]]:
    """A row of the table for each network."""
    X, y, U, v = data
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
            network = fastmem.interpolate(X, y, seed=0, **NETWORKS[name])
        seconds, report = timed(
            lambda network=network: fastmem.audit(
                network, X, y, unseen=(U, v), reconstruct=reconstruct, seed=0
            )
        )
        stored = report.stored
        yield [
            name, f"{network.widths[0]:,}", f"{network.widths[1]:,}",
            "-" if stored is None else f"{100 * stored.share:.1f} %",
            *(_signal(report, key) for key in ("counts", "score", "label")),
            _masks(report), *_recovered(report), f"{report.unseen_accuracy:.3f}", f"{seconds:.2f}",
        ]  # fmt: skip


def _signal(report: Any, name: str) -> str:
    signal = report.membership.get(name)
    if signal is None:
        return "-"
    return f"{signal.advantage:.2f} ({signal.chance:.2f}); {signal.tpr:.2f}"


def _masks(report: Any) -> str:
    masks = report.masks
    if masks is None or not masks.n_tested:
        return "-"
    return f"{masks.patterns} / {masks.empty} / {masks.undecided}"


def _recovered(report: Any) -> list[str]:
    made = [entry for entry in report.reconstructions if entry.error is not None]
    if not made:
        return ["-", "-", "-"]
    right = [entry.right for entry in made if entry.right is not None]
    return [
        f"{np.mean([entry.error for entry in made]):.3f}",
        f"{sum(entry.is_identified for entry in made)} of {len(report.reconstructions)}",
        f"{100 * np.mean(right):.0f} %" if right else "-",
    ]


def planted(widths: list[int], reconstruct: int) -> Iterator[list[str]]:
    """Recover records that a network stores one by one."""
    X, y, _, _ = _digits()
    for n in widths:
        network = fastmem.interpolate(X, y, width=n, margin=1, selection="random", seed=0)
        seconds, report = timed(
            lambda network=network: fastmem.audit(network, X, y, reconstruct=reconstruct, seed=0)
        )
        right = [entry.right or 0.0 for entry in report.reconstructions]
        yield [
            f"{n:,}", f"{100 * np.mean(right):.2f} %",
            f"{sum(share == 1 for share in right):,} of {len(right):,}", f"{seconds:.1f}",
        ]  # fmt: skip


def sizes(counts: list[int]) -> Iterator[list[str]]:
    """Seconds and memory of audits of ever more points."""
    for n in counts:
        # of 100,000 records that are stored one by one, counts and scores take minutes
        for name in ("merge", "margin 1") if n < 100_000 else ("merge",):
            X, y, U, v = _halves(*fastmem.datasets.digits784(n + min(n, 20_000), seed=0), n)
            fit, network = timed(
                lambda X=X, y=y, name=name: fastmem.interpolate(X, y, seed=0, **NETWORKS[name])
            )
            predict, _ = timed(lambda network=network, X=X: network.predict(X))
            watch = PeakWatch()
            seconds, report = timed(
                lambda network=network, X=X, y=y, U=U, v=v: fastmem.audit(
                    network, X, y, unseen=(U, v), seed=0
                )
            )
            parts = ", ".join(f"{key} {value:.1f}" for key, value in report.seconds.items()
                              if key != "total")  # fmt: skip
            yield [
                f"{len(X):,}", name, f"{network.widths[1]:,}", f"{report.n_audited:,}",
                f"{fit:.1f}", f"{predict:.2f}", f"{seconds:.1f}", parts,
                f"{watch.stop()['peak MB'] - (X.nbytes + U.nbytes >> 20):,.0f}",
            ]  # fmt: skip


def main() -> None:
    """Print what was asked for, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", choices=SETS, help="these sets")
    parser.add_argument("--planted", action="store_true", help="recover all records")
    parser.add_argument("--sizes", action="store_true", help="seconds and memory")
    parser.add_argument("--smoke", action="store_true", help="the smallest, a record each")
    arguments = parser.parse_args()
    print(machine(), "\n")
    if arguments.planted or arguments.smoke:
        widths = [512] if arguments.smoke else [1024, 2048, 4096]
        rows = planted(widths, 2 if arguments.smoke else 1257)
        print(table(["n", "pixels right", "images wholly", "s"], rows), "\n")
    if arguments.sizes or arguments.smoke:
        header = ["N", "network", "neurons", "looked at", "fit, s", "predict, s", "audit, s",
                  "parts, s", "MB beyond points"]  # fmt: skip
        print(table(header, sizes([500] if arguments.smoke else [1000, 10_000, 100_000])), "\n")
    if (arguments.planted or arguments.sizes) and not arguments.only:
        return
    header = ["network", "n", "neurons", "in full", "counts", "score", "label",
              "patterns / empty / undecided", "error / R", "identified", "values right",
              "unseen accuracy", "s"]  # fmt: skip
    chosen = ["moons"] if arguments.smoke else arguments.only or list(SETS)
    for name in chosen:
        names = ["merge", "bytes"] if arguments.smoke else list(NETWORKS)
        print(f"### {name}\n")
        print(table(header, audits(SETS[name](), names, 10)), "\n")


if __name__ == "__main__":
    main()
