"""Random data sets and parameters of every kind, and what must hold of a fit of them.

`python tests/random_fits.py 1234` repeats one case, `python tests/random_fits.py 0 5000` tries
many.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import gc
import json
import os
import pickle
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import fastmem
from fastmem import ContradictionError, InvalidInputError, UnseparatedWarning

REFUSALS = ("beyond 1.05e+298", "less than 1e-316")


def pick(rng: np.random.Generator, options):
    return options[int(rng.integers(len(options)))]


# Data -------------------------------------------------------------------------------------------


def _coordinates(rng: np.random.Generator, n: int, d: int, dtype: type) -> np.ndarray:
    kind = pick(rng, ["normal", "normal", "grid", "line", "blobs", "binary", "neighbours", "bits"])
    if kind == "normal":
        return rng.standard_normal((n, d))
    if kind == "grid":
        return rng.integers(-3, 4, (n, d)).astype(float)
    if kind == "line":
        return np.arange(n)[:, None] * np.ones(d) + rng.integers(0, 2, (n, d)) * 1e-9
    if kind == "blobs":
        return rng.standard_normal((3, d))[rng.integers(0, 3, n)] + 1e-3 * rng.standard_normal(
            (n, d)
        )
    if kind == "binary":
        return rng.integers(0, 2, (n, d)).astype(float)
    if kind == "neighbours":
        start = np.full((n, d), rng.standard_normal(), dtype)
        return start + rng.integers(0, 4, (n, d)) * np.spacing(start)
    bits = np.frombuffer(rng.bytes(n * d * np.dtype(dtype).itemsize), dtype).reshape(n, d).copy()
    bits[~np.isfinite(bits)] = 0
    return bits


def a_data_set(rng: np.random.Generator, most: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Points of any size, scale and offset, labels of any type, perhaps with duplicates."""
    n = int(pick(rng, [2, 3, 5, 50, rng.integers(2, most), rng.integers(2, most)]))
    d = int(pick(rng, [1, 1, 2, 3, rng.integers(1, 40), rng.integers(1, 300)]))
    dtype = pick(rng, [np.float32, np.float64])
    info = np.finfo(dtype)
    with np.errstate(all="ignore"):
        X = _coordinates(rng, n, d, dtype)
        if not rng.integers(3):
            low, high = (-44, 38) if dtype is np.float32 else (-320, 300)
            scale = 10.0 ** rng.uniform(low, high, d if rng.integers(2) else 1)
            X = X * scale
        if not rng.integers(4):
            X = X + 10.0 ** rng.uniform(-8, 8) * rng.standard_normal(d)
        X = np.clip(X, info.min, info.max).astype(dtype)
    X[~np.isfinite(X)] = 0
    if not rng.integers(6):
        X[rng.random(X.shape) < 0.2] = pick(
            rng, [info.max, info.min, info.tiny, info.smallest_subnormal, -0.0, 0.0, 2.0**100]
        )
    if not rng.integers(5):
        X[:, rng.integers(0, d, max(1, d // 3))] = X[0, 0]
    if not rng.integers(4):
        X = X[rng.integers(0, n, n)]
    K = int(pick(rng, [2, 2, 2, 3, 5, n]))
    y = rng.integers(0, min(K, n), n)
    if not rng.integers(3) and X.ndim == 2:  # labels that depend on the points
        y = np.unique(X, axis=0, return_inverse=True)[1].reshape(-1) % min(K, n)
    if len(np.unique(y)) < 2:
        y[0] = 1 - y[0] if y[0] < 2 else 0
    if len(np.unique(y)) < 2:
        y[-1] += 1
    labels: Any = y
    kind = pick(rng, ["int", "int", "str", "bool", "float", "narrow", "wide"])
    if kind == "str":
        labels = np.array([f"ä{i}" for i in y])
    elif kind == "bool" and len(np.unique(y)) == 2:
        labels = y == y.max()
    elif kind == "float":
        labels = y.astype(float)
    elif kind == "narrow" and y.max() < 100:
        labels = (y - 50).astype(np.int8)
    elif kind == "wide":
        labels = (y.astype(np.uint64) << 50) + np.uint64(2**63)
    return X, labels


def distinct(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first of each group of equal points."""
    _, first = np.unique(X + 0.0, axis=0, return_index=True)
    return X[np.sort(first)], y[np.sort(first)]


def contradicts(X: np.ndarray, y: np.ndarray) -> bool:
    """Whether equal points have different labels; zeros of both signs are equal."""
    known: dict[bytes, Any] = {}
    return any(known.setdefault((x + 0.0).tobytes(), c) != c for x, c in zip(X, y, strict=True))


# Parameters -------------------------------------------------------------------------------------


def some_settings(rng: np.random.Generator, y: np.ndarray) -> dict[str, Any]:
    """A combination of parameters that `interpolate` takes."""
    settings: dict[str, Any] = {"seed": int(rng.integers(2**40))}

    def maybe(name: str, share: float, options) -> None:
        if rng.random() < share:
            settings[name] = pick(rng, options)

    maybe("width", 0.5, [1, 2, 63, 64, 65, 130, 400, "smallest", "auto"])
    maybe("selection", 0.4, ["random", "merge"])
    maybe("projection", 0.5, ["gaussian", "structured"])
    maybe("activation", 0.25, ["relu"])
    labels = np.unique(y)
    maybe("covered", 0.3, ["all", "auto", labels[0].item() if len(labels) == 2 else "all"])
    maybe("center", 0.2, [False])
    maybe("margin", 0.2, [0.2, 0.5, 1.0])
    maybe("max_bias", 0.15, [0.0, 1.0, 1e-3, 1e6])
    maybe("n_threads", 0.5, [1, 2, 3])
    maybe("memory_limit", 0.1, ["300 MB", "1 GiB"])
    if settings.get("selection") != "random":
        maybe("compact", 0.2, [True])
    if settings.get("width", "auto") in ("auto", "smallest"):
        maybe("max_width", 0.15, [1, 50, 500])
    maybe("complete", 0.15, [True])
    maybe("decision", 0.15, ["vote"])
    if "decision" in settings:
        for name in ("activation", "compact"):
            settings.pop(name, None)
        if settings.get("covered", "auto") not in ("auto", "all"):
            del settings["covered"]
        if settings.get("width") == "smallest":
            del settings["width"]
    return settings


def a_case(seed: int, most: int = 200) -> tuple[Any, np.ndarray, dict[str, Any]]:
    """Points (an array, or CSR), labels and parameters number ``seed``."""
    rng = np.random.default_rng(seed)
    X, y = a_data_set(rng, most)
    settings = some_settings(rng, y)
    if "width" not in settings and rng.random() < 0.8:
        X, y = distinct(X, y)
        if len(np.unique(y)) < 2:
            X = np.concatenate([X, X[:1]])
            X[-1] = np.where(X[-1] == 1, 2, 1)
            y = np.concatenate([y, y[:1]])
            y[0] = "other" if y.dtype.kind in "U" else not y[0] if y.dtype == bool else y[0] + 1
        settings.pop("covered", None)
    form = rng.integers(12)
    if form == 0:
        import scipy.sparse

        if rng.integers(2):
            X = np.where(rng.random(X.shape) < 0.9, 0, X).astype(X.dtype)
        return scipy.sparse.csr_matrix(X), y, settings
    if form == 1:
        return np.asfortranarray(X), y, settings
    return X, y, settings


# What must hold ---------------------------------------------------------------------------------


def check(X: Any, y: np.ndarray, settings: dict[str, Any], folder: Path, seed: int = 0) -> str:
    """Fit and check a network; returns "right", "some unseparated" or the kind of refusal."""
    rng = np.random.default_rng(seed)
    dense = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
    automatic = settings.get("width", "auto") in ("auto", "smallest")
    automatic |= "complete" in settings or "decision" in settings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        warnings.simplefilter("always", UnseparatedWarning)
        try:
            network = fastmem.interpolate(X, y, **settings)
        except ContradictionError:
            assert automatic and contradicts(dense, y), "no contradiction"
            return "contradiction"
        except InvalidInputError as error:
            sentence = str(error)
            assert "\n" not in sentence and any(why in sentence for why in REFUSALS), sentence
            return f"refused: {next(why for why in REFUSALS if why in sentence)}"
    assert not (automatic and contradicts(dense, y)), "a contradiction was not seen"
    report = network.report
    assert bool(caught) == bool(len(report.unseparated))
    if automatic and "max_width" not in settings:
        assert not len(report.unseparated), f"{len(report.unseparated)} unseparated"
    found = network.predict(X)
    wrong = np.flatnonzero(found != y)
    extra = np.setdiff1d(wrong, report.unseparated)
    assert not len(extra), f"wrong rows that are not in report.unseparated: {extra[:5]}"
    check_same(network, X, found, rng)
    network.save(folder / "net.npz")
    loaded = fastmem.load(folder / "net.npz")
    for same in (loaded, pickle.loads(pickle.dumps(network)), copy.copy(network)):
        np.testing.assert_array_equal(same.predict(X), found)
        assert same.widths == network.widths
    assert (folder / "net.npz").stat().st_size == network.nbytes
    return "some unseparated" if len(report.unseparated) else "right"


def check_same(network: Any, X: Any, found: np.ndarray, rng: np.random.Generator) -> None:
    """The same labels in other batches and orders, and from the scores."""
    n = len(found)
    order = rng.permutation(n)
    np.testing.assert_array_equal(network.predict(X[order]), found[order])
    for i in order[:5]:
        assert network.predict(X[i : i + 1])[0] == found[i]
    size = int(rng.integers(1, n + 1))
    parts = [network.predict(X[i : i + size], n_threads=1) for i in range(0, n, size)]
    np.testing.assert_array_equal(np.concatenate(parts), found)
    check_scores(network, X, found)


def check_scores(network: Any, X: Any, found: np.ndarray) -> None:
    """`predict` is what `decision_function` says: the largest score, of equals the first."""
    scores = network.decision_function(X)
    assert not np.isnan(scores).any()
    best = scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0).astype(int)
    np.testing.assert_array_equal(network.classes_[best], found)


def outcome(seed: int, folder: Path) -> str:
    """Try case ``seed``; a fault is printed."""
    X, y, settings = a_case(seed)
    try:
        return check(X, y, settings, folder, seed)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} {str(error)[:300]}".replace("\n", " ")
        print("fault", seed, X.shape, X.dtype, settings, where.name, what, flush=True)
        return "FAULT"


def resident() -> int:
    """Bytes that are resident once all that is free is given back."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


def soak(start: int, n_rounds: int, hold: bool = False) -> dict[str, Any]:
    """Fit ``n_rounds`` cases one after another, and see what grows meanwhile.

    Returns the outcomes, and resident memory, threads and open files at the middle and at the end.
    ``hold`` keeps a part of every case, to see that a leak is noticed.
    """
    outcomes: Counter[str] = Counter()
    seen: list[dict[str, int]] = []
    held = []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(n_rounds):
            outcomes[outcome(start + i, Path(folder))] += 1
            if hold:
                held.append(np.ones(10_000))
            if i + 1 in (n_rounds // 2, n_rounds):
                files = len(os.listdir("/proc/self/fd"))
                threads = len(os.listdir("/proc/self/task"))
                seen.append({"memory": resident(), "threads": threads, "files": files})
    return {"outcomes": dict(outcomes), "middle": seen[0], "end": seen[-1]}


def main() -> None:
    begun = time.monotonic()
    if sys.argv[1] == "soak":
        print(json.dumps(soak(int(sys.argv[2]), int(sys.argv[3]), len(sys.argv) > 4)))
        return
    start, stop = int(sys.argv[1]), int(sys.argv[-1]) + (len(sys.argv) == 2)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(start, stop):
            if len(sys.argv) == 2:
                X, y, settings = a_case(seed)
                print(X.shape, X.dtype, y.dtype, len(np.unique(y)), settings)
            before = time.monotonic()
            outcomes[outcome(seed, Path(folder))] += 1
            if time.monotonic() - before > 20:
                print("slow", seed, time.monotonic() - before, flush=True)
    print(dict(outcomes), f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
