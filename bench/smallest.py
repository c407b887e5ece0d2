"""Bytes that give back all labels: ``python -m bench.smallest [--only NAME] [--keys 5] [--smoke]``.

Every data set is memorised with ``objective="bytes"`` from several seeds, and the file is read
again: the network must be right on every training point, but for those whose label
``contradictions="majority"`` has overruled, also (``--c``) as the C compiler makes it. Beside it,
whole bytes where there is a file, else bits rounded up:

- ``entropy``: what the labels take, perfectly coded, without the points: N times their entropy;
- ``static function``: what tables that know no geometry take, 1.05 times that (Belazzougui and
  Venturini, Compressed static functions with applications, 2013);
- ``tree, coded``: the smaller of two unpruned trees of scikit-learn (Gini, entropy), a bit a node
  for its shape, log2 of the features and of the thresholds between points of its node a split, and
  the entropy of the leaves' classes: a bound from below, no file;
- ``LightGBM``: boosted until every label is right, one round after another, 8 bits a threshold and
  a leaf's value, and log2 of the features a split;
- ``condensed 1-NN``: prototypes that classify all points (Hart, 1968), as bytes where points are
  whole numbers below 256, else as float32;
- ``compact``: the file of today's ``compact=True``.

Seconds are of the fit, beside those of ``compact=True`` and of an unpruned tree, in one process.
``--picture`` draws bytes against the labels' entropy.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastmem
import fastmem.datasets
import fastmem.export
from bench.markdown import table
from bench.measuring import machine, timed
from bench.unseen import SETS
from bench.workloads import blobs

Data = tuple[np.ndarray, np.ndarray]
CONDENSED_ON, BOOSTED_ON = 20_000, 60_000
WITHOUT_COMPACT = {"clusters-1m"}
"""Many noisy points, which ``compact=True`` has no answer to in minutes."""
MOST_ROUNDS = 2_000


def _random_labels() -> Data:
    rng = np.random.default_rng(0)
    return rng.standard_normal((3500, 50)).astype(np.float32), rng.integers(0, 2, 3500)


def _scaled_cancer() -> Data:
    X, y = SETS["breast cancer"]()
    return (X - X.mean(axis=0)) / X.std(axis=0), y


CASES: dict[str, Callable[[], Data]] = {
    "scikit-learn digits": SETS["scikit-learn digits"],
    "random labels, 3,500 x 50": _random_labels,
    "breast cancer, standardised": _scaled_cancer,
    "digits784-20k": SETS["digits784-20k"],
    "digits784-70k": SETS["digits784-70k"],
    "moons-1m": lambda: fastmem.datasets.unit_moons(1_000_000),
    "clusters-1m": lambda: blobs(1_000_000, 16),
    "diamonds, cut": SETS["diamonds, cut"],
    "flights, late": SETS["flights, late"],
    "letter": SETS["letter"],
}


def entropy_bits(y: np.ndarray) -> float:
    """Bits of all labels, perfectly coded one by one."""
    counts = np.unique(y, return_counts=True)[1].astype(float)
    return float(-(counts * np.log2(counts / counts.sum())).sum())


def tree_bits(X: np.ndarray, y: np.ndarray, criterion: str) -> float:
    """Bits of an unpruned tree, as the module says."""
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(criterion=criterion, random_state=0).fit(X, y).tree_
    inner = tree.children_left >= 0
    # points of a node lie at up to so many places along a feature
    places = np.maximum(tree.n_node_samples[inner] - 1, 1)
    leaves = tree.value[~inner][:, 0].argmax(axis=1)
    return float(
        tree.node_count + inner.sum() * math.log2(X.shape[1]) + np.log2(places).sum()
        + entropy_bits(leaves)
    )  # fmt: skip


def boosted_bytes(X: np.ndarray, y: np.ndarray) -> int | None:
    """Bytes of trees boosted until they are exact; None where they are not."""
    import lightgbm

    n_classes = int(y.max()) + 1
    options = {
        "objective": "binary" if n_classes == 2 else "multiclass", "verbose": -1,
        "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0.0, "learning_rate": 0.3,
        "num_leaves": 255, "min_data_in_bin": 1, "seed": 0,
    }  # fmt: skip
    if n_classes > 2:
        options["num_class"] = n_classes
    wrong: list[int] = []

    def stop(state: Any) -> None:
        if (state.iteration + 1) % 5 == 0:
            scores = state.model.predict(X, raw_score=True)
            said = scores.argmax(axis=1) if n_classes > 2 else scores > 0
            wrong.append(int((said != y).sum()))
            if wrong[-1] == 0:
                raise lightgbm.callback.EarlyStopException(state.iteration, [])

    data = lightgbm.Dataset(X, y)
    try:
        booster = lightgbm.train(options, data, MOST_ROUNDS // 10, callbacks=[stop])
    except lightgbm.basic.LightGBMError:  # it finds a best split without points: diamonds
        return None
    if not wrong or wrong[-1]:
        return None
    leaves = booster.trees_to_dataframe()["left_child"].isna().sum()
    splits = len(booster.trees_to_dataframe()) - leaves
    return math.ceil((splits * (8 + 1 + math.log2(X.shape[1])) + leaves * (8 + 1)) / 8)


def condensed_bytes(X: np.ndarray, y: np.ndarray) -> int:
    """Bytes of Hart's condensed nearest neighbour."""
    X = X.astype(np.float32)
    squares = (X * X).sum(axis=1)
    order = np.random.default_rng(0).permutation(len(X))
    kept = [int(order[0])]
    nearest, said = np.full(len(X), np.inf), np.zeros(len(X), y.dtype)

    def near(new: int) -> None:
        away = squares + squares[new] - 2 * (X @ X[new])
        closer = away < nearest
        nearest[closer], said[closer] = away[closer], y[new]
        nearest[new], said[new] = -np.inf, y[new]

    near(kept[0])
    while True:
        wrong = order[said[order] != y[order]]
        if len(wrong) == 0:
            break
        near(int(wrong[0]))
        kept.append(int(wrong[0]))
    is_bytes = (np.rint(X) == X).all() and X.min() >= 0 and X.max() < 256
    size = len(kept) * X.shape[1] * (1 if is_bytes else 4)
    return size + math.ceil(entropy_bits(y[kept]) / 8)


def check(network: fastmem.Network, X: np.ndarray, y: np.ndarray, in_c: bool) -> int:
    """Bytes of the file, from which the network must be right on all points."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.npz"
        network.save(path)
        read = fastmem.load(path)
        if not (read.predict(X) == y).all():
            raise SystemExit("labels are wrong")
        if in_c:
            report = fastmem.export.to_c(read, Path(folder) / "net.h", X, y)
            if not report.exact or report.wrong is None or len(report.wrong):
                raise SystemExit(f"labels are wrong in C: {report}")
        return path.stat().st_size


def measured(name: str, n_keys: int, in_c: bool, peers: bool) -> dict[str, Any]:
    """One row: bytes of all sides."""
    X, y = CASES[name]()
    X, y = np.ascontiguousarray(X), np.unique(y, return_inverse=True)[1]

    def ours(key: int) -> Callable[[], fastmem.Network]:
        return lambda: fastmem.interpolate(
            X, y, objective="bytes", seed=key, contradictions="majority"
        )

    first = ours(0)()  # compiles
    assert first.report is not None
    overruled = first.report.relabelled
    if len(overruled):
        y[overruled] = first.predict(X[overruled])
    fits = [timed(ours(key)) for key in range(n_keys)]
    sizes = [check(network, X, y, in_c) for _, network in fits]
    found: dict[str, Any] = {
        "points": len(X),
        "entropy": entropy_bits(y) / 8,
        "ours": sizes,
        "seconds": float(np.median([s for s, _ in fits])),
        "widths": fits[0][1].widths,
    }
    if name not in WITHOUT_COMPACT:
        seconds, compact = timed(lambda: fastmem.interpolate(X, y, compact=True, seed=0))
        found |= {"compact": compact.nbytes, "compact seconds": seconds}
    from sklearn.tree import DecisionTreeClassifier

    found["tree seconds"] = timed(lambda: DecisionTreeClassifier(random_state=0).fit(X, y))[0]
    found["tree"] = min(tree_bits(X, y, c) for c in ("gini", "entropy")) / 8
    if peers:
        found["LightGBM"] = boosted_bytes(X, y) if len(X) <= BOOSTED_ON else None
        found["condensed"] = condensed_bytes(X, y) if len(X) <= CONDENSED_ON else None
    return found


COLUMNS = (
    "data", "points", "entropy", "ours, mean", "range", "to entropy", "static function",
    "tree, coded", "LightGBM", "condensed 1-NN", "compact", "seconds, compact's, a tree's",
)  # fmt: skip


def row(name: str, found: dict[str, Any]) -> list[str]:
    """A row of the table."""
    sizes = found["ours"]

    def shown(value: float | None) -> str:
        return "-" if value is None else f"{value:,.0f}"

    return [
        name, shown(found["points"]), shown(found["entropy"]), shown(np.mean(sizes)),
        f"{min(sizes):,}-{max(sizes):,}", f"{np.mean(sizes) / found['entropy']:.2f}",
        shown(1.05 * found["entropy"]), shown(found["tree"]), shown(found.get("LightGBM")),
        shown(found.get("condensed")), shown(found.get("compact")),
        f"{found['seconds']:.2f}, {found.get('compact seconds', math.nan):.2f}, "
        f"{found['tree seconds']:.2f}",
    ]  # fmt: skip


def picture(path: Path, everything: dict[str, dict[str, Any]]) -> None:
    """Bytes of all sides as a share of the labels' entropy, a row a data set."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7.5, 0.5 * len(everything) + 1.5), layout="constrained")
    sides = {
        "fastmem, bytes": lambda f: np.mean(f["ours"]), "a coded tree": lambda f: f["tree"],
        "LightGBM": lambda f: f.get("LightGBM"), "condensed 1-NN": lambda f: f.get("condensed"),
        "fastmem, compact": lambda f: f.get("compact"),
    }  # fmt: skip
    places = np.arange(len(everything))[::-1]
    for i, (side, of) in enumerate(sides.items()):
        values = [of(found) for found in everything.values()]
        kept = [k for k, value in enumerate(values) if value is not None]
        shares = [values[k] / everything[list(everything)[k]]["entropy"] for k in kept]
        axis.plot(shares, places[kept], "*" if i == 0 else "o", ms=12 if i == 0 else 6, label=side)
    axis.axvline(1.0, color="0.5", linewidth=1)
    axis.set(xscale="log", xlabel="bytes, as a share of what the labels alone take (entropy)")
    axis.set_yticks(places, list(everything))
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="data sets whose name has it")
    parser.add_argument("--keys", type=int, default=5, help="seeds that are tried")
    parser.add_argument("--c", action="store_true", help="check the C header too")
    parser.add_argument("--ours", action="store_true", help="leave the slow peers out")
    parser.add_argument("--picture", type=Path, help="picture to draw")
    parser.add_argument("--smoke", action="store_true", help="the smallest set, one seed")
    arguments = parser.parse_args()
    names = list(CASES)
    if arguments.smoke:
        names, arguments.keys = ["breast cancer, standardised"], 1
    if arguments.only:
        names = [name for name in names if any(o in name for o in arguments.only)]
    everything = {}
    print(table(COLUMNS, []), flush=True)
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = measured(name, arguments.keys, arguments.c, not arguments.ours)
            except (ModuleNotFoundError, FileNotFoundError) as missing:
                print(f"{name} is left out: {missing}")
                continue
        everything[name] = found
        print("| " + " | ".join(row(name, found)) + " |", flush=True)
    if arguments.picture:
        picture(arguments.picture, everything)
    print("\n" + ", ".join(f"{key}: {value}" for key, value in machine().items()))


if __name__ == "__main__":
    main()
