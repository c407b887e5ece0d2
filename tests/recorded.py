"""What fits and other results were, bit for bit, before the package was rearranged.

`python -m tests.recorded` makes everything anew, with one thread and with two, and compares it with
tests/recorded.json: it prints what differs, and ends with exit code 1 if anything does. With
`--write` it records instead; `--only TEXT` takes the cases whose names hold the text.

For each case stand there

- "sha256", over the arrays and plain facts that define a network, and what it says of unseen
  points. It depends on neither zlib nor the version of fastmem, and on no processor: points are
  rounded to a few binary digits, since the last bit of a sine is not everywhere the same.
- "facts", which it is made of, with the first twelve digits of each array's own SHA-256, so that
  it can be said what is different.
- "file", the SHA-256 of the model file's bytes, with "-" for fastmem's version in its summary. It
  is compared where zlib is the one that it was recorded with.
- "margins" of networks with ReLU: a few values of their decision function, which have the precision
  of float32 (only their signs are exact, and among the facts), and "margins_sha256" of all of them,
  which is compared on a processor of the same kind only.

All else is left to fastmem's promise: the same data, parameters and seed give the same network.
What NumPy's generators draw may change with NumPy; "draws" tells whether it did.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

import fastmem
from fastmem import datasets

RECORD = Path(__file__).with_name("recorded.json")
THREADS = (1, 2)
N_UNSEEN = 150

Data = tuple[Any, Any, Any]
"""Points, their labels, and unseen points."""


# Points -----------------------------------------------------------------------------------------


def rounded(values: Any, bits: int = 12) -> np.ndarray:
    """Values with ``bits`` binary digits after the point, in their own dtype."""
    values = np.asarray(values)
    return (np.round(values.astype(np.float64) * 2.0**bits) / 2.0**bits).astype(values.dtype)


def moons(n: int = 800, dtype: Any = np.float64) -> Data:
    X, y = datasets.two_moons(n + N_UNSEEN, seed=5)
    X = rounded(X).astype(dtype)
    return X[:n], y[:n], X[n:]


def blobs(n: int = 400, d: int = 8, n_classes: int = 5, dtype: Any = np.float64) -> Data:
    """Classes that overlap: three blobs each."""
    rng = np.random.default_rng(11)
    centres = rng.integers(-12, 13, (3 * n_classes, d)) / 8
    which = rng.integers(0, len(centres), n + N_UNSEEN)
    noise = rng.integers(-500, 501, (n + N_UNSEEN, d)) / 1024
    X = (centres[which] + noise).astype(dtype)
    y = which % n_classes
    return X[:n], y[:n], X[n:]


def coin_flips(n: int = 200, d: int = 12, n_classes: int = 2, dtype: Any = np.float32) -> Data:
    """Labels that nothing tells but the points themselves."""
    rng = np.random.default_rng(3)
    X = (rng.integers(-2048, 2049, (n + N_UNSEEN, d)) / 1024).astype(dtype)
    return X[:n], rng.integers(0, n_classes, n), X[n:]


def rare(n: int = 120, d: int = 300, each: int = 9, n_classes: int = 3, more: int = 50) -> Data:
    """CSR points of few values; the first two are as near as floats can be."""
    rng = np.random.default_rng(7)
    values = rng.integers(1, 64, (n + more, each)) / 16
    columns = rng.integers(0, d - each, (n + more, 1)) + np.arange(each)
    columns[1], values[1] = columns[0], values[0]
    values[1, 0] = np.nextafter(values[0, 0], 9)
    shape, starts = (n + more, d), np.arange(0, each * (n + more) + 1, each)
    X = sparse.csr_matrix((values.ravel(), columns.ravel(), starts), shape)
    y = rng.integers(0, n_classes, n)
    y[:2] = 0, 1
    return X[:n], y, X[n:]


def scaled(data: Data, factor: float) -> Data:
    return data[0] * factor, data[1], data[2] * factor


def moved(data: Data, by: float) -> Data:
    dtype = data[0].dtype.type
    return data[0] + dtype(by), data[1], data[2] + dtype(by)


def labelled(data: Data, names: Any) -> Data:
    return data[0], np.array(names)[data[1]], data[2]


def neighbours(data: Data) -> Data:
    """Ten points moved next to points of another label, so that growth needs targeted rows."""
    X, y, unseen = data
    X = X.copy()
    others = [int(np.flatnonzero(y != y[i])[i]) for i in range(10)]
    X[:10] = X[others]
    X[:10, 0] = np.nextafter(X[others, 0], X.dtype.type(9))
    return X, y, unseen


def contradicting(data: Data) -> Data:
    """Ten points once more, under other labels, and ten more under their own."""
    X, y, unseen = data
    again = np.concatenate([X[:20], X])
    return again, np.concatenate([(y[:10] + 1) % 2, y[10:20], y]), unseen


def from_datasets(name: str, n: int, **arguments: Any) -> Data:
    """Points that fastmem.datasets draws, of which the last are unseen."""
    X, y = getattr(datasets, name)(**arguments)
    X = rounded(X, 16)
    return X[:n], y[:n], X[n:]


def digits(n: int) -> Data:
    """scikit-learn's digits, each pixel as three by three."""
    from sklearn.datasets import load_digits

    images, y = load_digits().images[: n + 100], load_digits().target
    X = images.repeat(3, axis=1).repeat(3, axis=2).reshape(len(images), -1) / 16
    return X[:n], y[:n], X[n:]


def framed(data: Data, strings: bool = False) -> Data:
    import pandas as pd

    X, y, unseen = data
    names = [f"größe {i}" if i else "" for i in range(X.shape[1])]
    labels: Any = pd.Series(y)
    if strings:
        labels = pd.Categorical([f"Sorte {label}" for label in y])
    return pd.DataFrame(X, columns=names), labels, pd.DataFrame(unseen, columns=names)


def tabled(data: Data) -> Data:
    import pyarrow as pa

    X, y, unseen = data
    names = [f"column {i}" for i in range(X.shape[1])]
    frames = [pa.table(dict(zip(names, points.T, strict=True))) for points in (X, unseen)]
    return frames[0], pa.array(y), frames[1]


def strided(data: Data) -> Data:
    """The same points in other layouts: by columns, and every other row backwards."""
    X, y, unseen = data
    return np.asfortranarray(X), y[::-1][::-1], np.repeat(unseen, 2, axis=0)[::2]


# Cases ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One fit: how its points are made, and the arguments of `fastmem.interpolate`."""

    data: Callable[[], Data]
    settings: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    kind: str = "network"

    def missing(self) -> list[str]:
        """Packages that it needs and that are not there."""
        return [name for name in self.needs if find_spec(name) is None]


def fit(data: Callable[[], Data], *needs: str, seed: Any = 1, **settings: Any) -> Case:
    return Case(data, {"seed": seed, **settings}, needs)


def least_limit(n: int) -> int:
    """The memory limit for n points that leaves no room for sign patterns: all are in a file."""
    return (256 << 20) + 32 * n


def seeded(*size: int, **settings: Any) -> Case:
    """More weights than a quarter of the memory limit: they are computed from a key."""
    limit = least_limit(size[0])
    return fit(lambda: rare(*size), memory_limit=limit, projection="gaussian", **settings)


TEXTS = ["Zürich", "", "雪", "b", "a longer label"]
INTS = [-(2**40), -1, 0, 7, 2**50]

CASES: dict[str, Case] = {
    # widths and selections
    "moons": fit(moons),
    "moons, random": fit(moons, selection="random"),
    "moons, width": fit(moons, width=200),
    "moons, width, random": fit(moons, width=200, selection="random"),
    "moons, smallest": fit(moons, width="smallest"),
    "moons, smallest, random": fit(moons, width="smallest", selection="random", max_width=400),
    "moons, width too small": fit(moons, width=9),
    "moons, max_width too small": fit(moons, max_width=20, selection="random"),
    "moons, float32": fit(lambda: moons(dtype=np.float32), width=130),
    "many points": fit(lambda: moons(70_000), width=2048),
    "many points, compact": fit(lambda: blobs(20_000, 4, 3), width=400, compact=True),
    "many values": fit(lambda: blobs(18_000, 120, 4, np.float32), width=200),
    "many points, random": fit(lambda: moons(30_000), width=300, selection="random"),
    "many points, relu": fit(lambda: moons(8_000), width=200, activation="relu"),
    "coin flips": fit(coin_flips),
    "coin flips, random": fit(coin_flips, selection="random"),
    "coin flips, smallest": fit(lambda: coin_flips(d=3), width="smallest"),
    "coin flips, flat": fit(lambda: coin_flips(400, 2)),
    "coin flips, line": fit(lambda: (np.arange(90.0)[:, None], np.arange(90) % 2, [[0.5], [7.0]])),
    "neighbours": fit(lambda: neighbours(coin_flips())),
    "neighbours, random": fit(lambda: neighbours(coin_flips(dtype=np.float64)), selection="random"),
    "lines": fit(lambda: from_datasets("parallel_lines", 300, n_samples=400, gap=0.01)),
    "clusters": fit(lambda: from_datasets("clusters", 500, n_samples=600, k=6, d=4, seed=2)),
    "spheres": fit(lambda: from_datasets("spheres", 500, n_samples=600, d=3, seed=2), width=256),
    # classes
    "blobs": fit(blobs),
    "blobs, random, width": fit(blobs, width=150, selection="random"),
    "many points, classes": fit(lambda: blobs(20_000, 4, 10), width=1500, covered="all"),
    "many classes": fit(lambda: coin_flips(300, 6, 40, np.float64)),
    "many classes, random": fit(lambda: coin_flips(300, 6, 40), selection="random", width=200),
    "covered all": fit(blobs, covered="all"),
    "covered all, random": fit(blobs, covered="all", selection="random", width=300),
    "covered a label": fit(lambda: labelled(moons(300), ["no", "yes"]), covered="yes"),
    "covered a list": fit(blobs, covered=[4, 0, 1, 2]),
    "string labels": fit(lambda: labelled(blobs(), TEXTS), covered={"", "b", "雪", "Zürich"}),
    "boolean labels": fit(lambda: labelled(moons(300), [False, True]), width=150),
    "wide integer labels": fit(lambda: labelled(blobs(), INTS), width=400),
    "contradictions": fit(lambda: contradicting(moons(300)), width=200),
    "contradictions, random": fit(lambda: contradicting(moons(300)), width=200, selection="random"),
    "contradictions, compact": fit(lambda: contradicting(moons(300)), width=200, compact=True),
    # margin and compact
    "margin": fit(moons, margin=0.4),
    "margin, random": fit(lambda: blobs(200), margin=0.5, selection="random", width=200),
    "margin 1": fit(lambda: blobs(200), margin=1.0),
    "compact": fit(moons, compact=True),
    "compact, width": fit(blobs, compact=True, width=512, covered="all"),
    "compact, smallest": fit(lambda: coin_flips(100, 6), compact=True, width="smallest"),
    "compact, margin": fit(blobs, compact=True, margin=0.3, max_width=300),
    # ReLU
    "relu": fit(moons, activation="relu"),
    "relu, random": fit(moons, activation="relu", selection="random", width=150),
    "relu, margin": fit(lambda: blobs(200), activation="relu", margin=0.5),
    "relu, compact": fit(blobs, activation="relu", compact=True),
    "relu, structured": fit(lambda: coin_flips(150, 130, 3), activation="relu"),
    "relu, sparse, random": fit(rare, activation="relu", selection="random", covered="all"),
    "relu, width too small": fit(moons, activation="relu", selection="random", width=9),
    # projections
    "structured": fit(lambda: coin_flips(200, 140, 4)),
    "structured, random": fit(lambda: coin_flips(200, 140, 4), width=600, selection="random"),
    "structured, few features": fit(lambda: coin_flips(300, 3, 3), projection="structured"),
    "structured, neighbours": fit(lambda: neighbours(coin_flips(150, 130))),
    "structured, compact": fit(lambda: coin_flips(150, 140, 4, np.float64), compact=True),
    "structured, margin": fit(lambda: coin_flips(100, 140), margin=0.5, width=200),
    "many features": fit(lambda: coin_flips(200, 140, 4), projection="gaussian", width=300),
    "digits": fit(lambda: digits(400), "sklearn"),
    "sparse": fit(rare),
    "sparse, random, width": fit(rare, width=300, selection="random"),
    "sparse, structured": fit(rare, projection="structured", compact=True),
    "seeded": seeded(60, 20_000, selection="random"),
    "seeded, width": seeded(60, 250_000, width=70),
    "seeded, growth": seeded(200, 17_000, 2, 8),
    "seeded, dense": fit(
        lambda: neighbours(coin_flips(40, 17_000)), projection="gaussian",
        memory_limit=least_limit(40),
    ),
    "seeded, compact": seeded(60, 17_000, width=1000, compact=True),
    # patterns in a file
    "file": fit(moons, memory_limit=least_limit(800), selection="random"),
    "file, growth": fit(coin_flips, memory_limit=least_limit(200)),
    "file, compact": fit(blobs, memory_limit=least_limit(400), compact=True, width=300),
    "file, sparse": fit(rare, memory_limit=least_limit(120), width=300),
    # where the points are
    "not centred": fit(lambda: moved(blobs(), 3.0), center=False),
    "not centred, structured": fit(lambda: coin_flips(100, 130), center=False, width=200),
    "max_bias": fit(blobs, max_bias=0.75),
    "max_bias 0": fit(lambda: moved(blobs(200, 6), -5), max_bias=0, width=300),
    "far away": fit(lambda: moved(blobs(200, 6, 3, np.float32), 1e5), width="auto"),
    "tiny": fit(lambda: scaled(blobs(200, 6, 3), 2.0**-1000)),
    "tiny, relu": fit(lambda: scaled(blobs(200, 6, 3), 2.0**-900), activation="relu", width=200),
    "huge": fit(lambda: scaled(blobs(200, 6, 3), 2.0**960), selection="random"),
    "huge, structured": fit(lambda: scaled(coin_flips(80, 130, 3, np.float64), 2.0**960)),
    "float32 limits": fit(lambda: scaled(blobs(200, 6, 3, np.float32), np.float32(2.0**120))),
    "other layout": fit(lambda: strided(moons()), width=200),
    "lists of integers": fit(
        lambda: ([[i % 7, i // 7, -i] for i in range(40)], [i % 3 for i in range(40)], [[1, 2, 3]])
    ),
    "a frame": fit(lambda: framed(blobs(200)), "pandas"),
    "a frame, structured, strings": fit(
        lambda: framed(coin_flips(100, 130, 3), True), "pandas", activation="relu"
    ),
    "an Arrow table": fit(lambda: tabled(blobs(200, dtype=np.float32)), "pyarrow", width=200),
    # seeds
    "seed 0": fit(moons, seed=0, width=128),
    "seed of 100 bits": fit(moons, seed=2**100 + 17, width=128),
    "seed generator": fit(moons, seed=lambda: np.random.default_rng(4), width=128),
    "seed sequence": fit(coin_flips, seed=lambda: np.random.SeedSequence(8).spawn(2)[1]),
    # scikit-learn's estimators, and what is beside networks
    "classifier": Case(
        lambda: contradicting(moons(200)), {"random_state": 3, "margin": 0.2},
        ("sklearn",), "classifier",
    ),
    "hyperplane patterns": Case(blobs, {"random_state": 3}, ("sklearn",), "transformer"),
    "hyperplane patterns, structured": Case(
        lambda: coin_flips(50, 140), {"random_state": 3, "n_hyperplanes": 70, "output": "packed"},
        ("sklearn",), "transformer",
    ),
    "mutual covering": Case(lambda: blobs(150, 3, 2), {"seed": 0}, (), "covering"),
}  # fmt: skip


# Facts and digests ------------------------------------------------------------------------------

Facts = dict[str, Any]
"""Numbers, texts and lists by name, and for every array a text "dtype shape digest"."""


def digest(array: Any) -> str:
    """Dtype, shape and SHA-256 of an array; texts and objects by their values."""
    array = np.asarray(array)
    if array.dtype.kind in "OTU":
        kind, content = "text", json.dumps(array.tolist()).encode()
    else:
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        kind, content = str(array.dtype), little.tobytes()
    shape = "x".join(map(str, array.shape)) or "1"
    return f"{kind} {shape} {hashlib.sha256(content).hexdigest()}"


def shortened(facts: Facts) -> Facts:
    """Facts as they are recorded: twelve digits of each SHA-256, and nothing that is empty."""
    text = re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", json.dumps(facts))
    short = {name: fact for name, fact in json.loads(text).items() if fact not in (None, [], 0)}
    if "summary" in short:
        short["summary"] = list(short["summary"].values())
    return short


def facts_of_points(data: Data) -> Facts:
    """Digests of the points themselves, to know whether another network is one of other points."""
    X, y, unseen = data
    facts = {"data.y": digest(y)}
    for name, points in (("X", X), ("unseen", unseen)):
        if sparse.issparse(points):
            facts[f"data.{name}.values"] = digest(points.data)
            places = np.concatenate([points.indptr, points.indices]).astype(np.int64)
            facts[f"data.{name}.places"] = digest(places)
        else:
            facts[f"data.{name}"] = digest(points)
    return facts


def facts_of_hyperplanes(first: fastmem.Hyperplanes) -> Facts:
    """Class, and the arrays that define it; of weights that are computed the first few."""
    facts: Facts = {"first": type(first).__name__, "first.radius": float(first.radius).hex()}
    names = ["biases", "origin", "weights"]
    if isinstance(first, fastmem.StructuredHyperplanes):
        names += ["signs", "rows", "extra"]
    elif isinstance(first, fastmem.SeededHyperplanes):
        names[2:] = ["rows", "extra"]
        facts["first.key"] = str(first.key)
        few = np.unique(np.linspace(0, len(first) - 1, 3).astype(int))
        facts["first.weights"] = digest(first.subset(few).weights)
    return facts | {f"first.{name}": digest(getattr(first, name)) for name in names}


def facts_of_network(network: fastmem.Network, data: Data, n_threads: int) -> Facts:
    """All that a network is, and what it says of points."""
    X, _, unseen = data
    second, report = network.second, network.report
    labels = network.predict(unseen, n_threads=n_threads)
    margins = network.decision_function(unseen, n_threads=n_threads)
    patterns = fastmem.sign_patterns(unseen, network.first, n_threads=n_threads)
    return {
        "widths": list(network.widths),
        "n_nonzero": network.n_nonzero,
        "classes": digest(network.classes_),
        "feature_names": network.feature_names and list(network.feature_names),
        "covered": list(network.covered),
        **facts_of_hyperplanes(network.first),
        "second.masks": digest(second.masks),
        "second.thresholds": digest(second.thresholds),
        "second.owners": digest(second.owners),
        "summary": {name: fact for name, fact in network.summary.items() if name != "fastmem"},
        "report.unseparated": digest(report.unseparated),
        "report.growth": [[step.width, step.kind, step.open_points] for step in report.growth],
        "report.trials": [[t.width, t.neurons, t.n_parameters] for t in report.trials],
        "report.file_bytes": report.file_bytes,
        "unseen.sign_patterns": digest(patterns),
        "unseen.predict": digest(labels),
        "unseen.decision_function": digest(
            np.sign(margins) if second.activation == "relu" else margins
        ),
        "seen.predict": digest(network.predict(X, n_threads=n_threads)),
    }


def file_digest(network: fastmem.Network) -> str:
    """SHA-256 of the model file, without fastmem's version in it."""
    before = network.summary
    network.summary = before | {"fastmem": "-"}
    try:
        with tempfile.TemporaryDirectory() as folder:
            network.save(Path(folder) / "net.npz")
            content = (Path(folder) / "net.npz").read_bytes()
    finally:
        network.summary = before
    return hashlib.sha256(content).hexdigest()


def made(case: Case, data: Data, n_threads: int) -> tuple[Facts, fastmem.Network | None]:
    """The facts of a case, and its network where it has one."""
    X, y, unseen = data
    settings = dict(case.settings)
    if callable(settings.get("seed")):
        settings["seed"] = settings["seed"]()
    if case.kind == "network":
        network = fastmem.interpolate(X, y, **({"scale": "none"} | settings), n_threads=n_threads)
        return facts_of_network(network, data, n_threads), network
    if case.kind == "covering":
        from fastmem.geometry import mutual_covering

        covering = mutual_covering(X, y, **settings, n_threads=n_threads)
        names = ("centres_negative", "centres_positive", "members")
        sizes = [covering.n_negative, covering.n_positive, covering.n_uncovered]
        return {name: digest(getattr(covering, name)) for name in names} | {"sizes": sizes}, None

    from fastmem.sklearn import HyperplanePatterns, InterpolatingClassifier

    if case.kind == "classifier":
        usual = {"scale": "none", "decision": "cells"}
        model = InterpolatingClassifier(**(usual | settings), n_jobs=n_threads).fit(X, y)
        facts = facts_of_network(model.network_, data, n_threads)
        facts["relabelled"] = digest(model.relabelled_)
        facts["unseen.classifier"] = digest(model.decision_function(unseen))
        return facts, model.network_
    patterns = HyperplanePatterns(**settings, n_jobs=n_threads).fit(X)
    facts = facts_of_hyperplanes(patterns.hyperplanes_)
    return facts | {"unseen.transform": digest(patterns.transform(unseen))}, None


def found(name: str, n_threads: int) -> dict[str, Any]:
    """Make a case, and give what is recorded of it."""
    data = CASES[name].data()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        facts, network = made(CASES[name], data, n_threads)
    facts["warnings"] = [
        f"{w.category.__name__}: {w.message}"
        for w in caught
        if w.category is RuntimeWarning or w.category.__module__.startswith("fastmem")
    ]
    facts = facts_of_points(data) | facts
    content = json.dumps(facts, sort_keys=True).encode()
    entry = {"sha256": hashlib.sha256(content).hexdigest()}
    if network is not None:
        entry["file"] = file_digest(network)
        if network.second.activation == "relu":
            margins = network.decision_function(data[2], n_threads=n_threads)
            entry["margins"] = margins.ravel()[:6].tolist()
            entry["margins_sha256"] = digest(margins)
    return entry | {"facts": shortened(facts)}


# The record -------------------------------------------------------------------------------------


def draws() -> str:
    """Digest of what NumPy's generators draw, in every way that fits draw."""
    first, second = np.random.SeedSequence(12).spawn(2)
    rng = np.random.default_rng(first)
    parts = [
        rng.standard_normal(5000, np.float32), rng.uniform(-1.0, 1.0, 500),
        rng.integers(2**64, size=50, dtype=np.uint64), rng.permutation(500),
        rng.choice(5000, 500, replace=False), rng.chisquare(130, 500), rng.random(500),
        rng.integers(-500, 501, 500), np.frombuffer(rng.bytes(64), np.uint8),
        np.random.default_rng(second).permutation(50).astype(np.int32),
        np.random.RandomState(3).normal(scale=0.05, size=500),
        np.random.RandomState(3).randint(2**31 - 1, size=5), second.generate_state(4),
    ]  # fmt: skip
    return hashlib.sha256("".join(map(digest, parts)).encode()).hexdigest()


def environment() -> dict[str, str]:
    """Versions of all that a record may depend on, and the processor's instructions."""
    versions = {}
    for name in ("numpy", "scipy", "numba", "llvmlite", "pandas", "pyarrow", "scikit-learn"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "none"
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    return {
        "fastmem": fastmem.__version__,
        "python": platform.python_version(),
        **versions,
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "machine": f"{platform.system()} {platform.machine()} {' '.join(simd.get('found', []))}",
    }


@cache
def recorded() -> dict[str, Any]:
    """What tests/recorded.json holds."""
    return json.loads(RECORD.read_text(encoding="utf-8"))


def same(*names: str) -> bool:
    """Whether these versions are the recorded ones."""
    return all(recorded()["environment"][name] == environment()[name] for name in names)


def differences(name: str, now: dict[str, Any]) -> list[str]:
    """What is otherwise than recorded on any machine, one line each; none where all is the same."""
    before = recorded()["cases"][name]
    lines = []
    for key in before["facts"] | now["facts"]:
        old, new = (entry["facts"].get(key, "none") for entry in (before, now))
        if old != new:
            lines.append(f"{key} was {old}, is {new}")
    if before["sha256"] != now["sha256"] and not lines:
        lines.append("sha256 differs, though no fact does")
    for old, new in zip(before.get("margins", []), now.get("margins", []), strict=True):
        if not np.isclose(old, new, rtol=1e-4, atol=0) and np.isfinite(old):
            lines.append(f"a margin was {old}, is {new}")
    return lines


def differences_here(name: str, now: dict[str, Any]) -> list[str]:
    """What is otherwise than recorded, and cannot come from this machine."""
    before = recorded()["cases"][name]
    lines = []
    if same("zlib") and before.get("file") != now.get("file"):
        lines.append("the model file has other bytes")
    exact = "margins_sha256"
    if same("machine", "numpy", "numba", "llvmlite") and before.get(exact) != now.get(exact):
        lines.append(f"all margins were {before.get(exact)}, are {now.get(exact)}")
    return lines


def circumstances() -> str:
    """One sentence on what else is not as it was when this was recorded."""
    then, here = recorded()["environment"], environment()
    changed = [f"{key} {then[key]} (here {here[key]})" for key in then if then[key] != here[key]]
    with_what = f"with {', '.join(changed)}" if changed else "with the versions that are here"
    if recorded()["draws"] == draws():
        return f"recorded {with_what}"
    return f"NumPy's generators drew other numbers: recorded {with_what}"


def write(names: list[str]) -> None:
    """Record some cases; the others stay as they are."""
    old = recorded()["cases"] if RECORD.exists() and len(names) < len(CASES) else {}
    cases = {}
    for name in CASES:
        if name in names:
            cases[name], again = (found(name, n_threads) for n_threads in THREADS)
            assert again == cases[name], f"{name} depends on the number of threads"
        elif name in old:
            cases[name] = old[name]
    head = {"environment": environment(), "draws": draws()}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    plain = partial(json.dumps, ensure_ascii=False, separators=(",", ":"))
    rows = [f"{plain(name)}: {plain(case)}" for name, case in cases.items()]
    text = "{\n" + ",\n".join(lines) + ',\n"cases": {\n' + ",\n".join(rows) + "\n}\n}\n"
    RECORD.write_text(text, encoding="utf-8")
    print(f"{len(cases)} cases in {RECORD}, {len(text.encode()):,} bytes")


def compare(names: list[str]) -> Iterator[str]:
    """Lines on all that differs."""
    for name in names:
        if name not in recorded()["cases"]:
            yield f"{name}: not recorded"
            continue
        for n_threads in THREADS:
            now = found(name, n_threads)
            for line in differences(name, now) + differences_here(name, now):
                yield f"{name}, {n_threads} thread{'s' * (n_threads > 1)}: {line}"
    for name in recorded()["cases"]:
        if name not in CASES:
            yield f"{name}: recorded, but no longer a case"


def main() -> int:
    summary = __doc__.partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m tests.recorded", description=summary)
    parser.add_argument("--write", action="store_true", help="record instead of comparing")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose names hold it")
    arguments = parser.parse_args()
    print(f"fastmem of {os.path.dirname(fastmem.__file__)}")
    names = []
    for name, case in CASES.items():
        if missing := case.missing():
            print(f"{name}: left out, needs {', '.join(missing)}")
        elif arguments.only in name:
            names.append(name)
    if arguments.write:
        write(names)
        return 0
    lines = []
    for line in compare(names):
        print(line, flush=True)
        lines.append(line)
    print(f"{len(names)} cases, {len(lines)} differences; {circumstances()}")
    if not same("zlib"):
        print("The bytes of model files were not compared: zlib is another.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
