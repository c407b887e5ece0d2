"""Pickles and model files that were made once, and must be readable for ever.

`tests/pickles` and `tests/model_files` hold them, each with a facts.json that says what they hold
and by which commit they were made. They come from

    PYTHONPATH=. python tests/kept.py pickles tests/pickles
    PYTHONPATH=. python tests/kept.py model-files tests/model_files

Files that are there already are left alone: what an older package wrote cannot be written again.
`tests/pickles/names.txt` lists all that the pickles import, as "module:name".

Those in `tests/model_files/older` were written by the first commits that could write versions 1, 2
and 3, e84c514, 8099767 and 9804905, with their package on PYTHONPATH and the names of some files
behind the folder. Files of versions 4 to 10 are, byte by byte, what the first such commits write.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import pickletools
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
from scipy import sparse

import fastmem

PICKLES = Path(__file__).with_name("pickles")
MODEL_FILES = Path(__file__).with_name("model_files")
PROTOCOL = 4
"""The default of Python 3.8 to 3.13."""

PUBLIC = {
    "fastmem": [
        "ContradictionError", "CoverLayer", "FitReport", "GrowthStep", "Hyperplanes",
        "InvalidInputError", "ModelFileError", "Network", "SeededHyperplanes",
        "StructuredHyperplanes", "UnseparatedWarning", "interpolate", "load", "sign_patterns",
        "warmup",
    ],
    "fastmem.compact": ["Trial"],
    "fastmem.memory": ["NotEnoughMemoryError"],
    "fastmem.datasets": [
        "clusters", "digit_pair", "digits784", "parallel_lines", "random_labels", "spheres",
        "two_moons", "unit_moons",
    ],
    "fastmem.geometry": ["MutualCovering", "mutual_covering"],
    "fastmem.sklearn": ["ContradictionWarning", "HyperplanePatterns", "InterpolatingClassifier"],
    "fastmem.export": ["ExportReport", "ExportWarning"],
    "fastmem.experiments.complexity": [
        "ClassFacts", "ComplexityReport", "Covering", "Curves", "Gap", "HardPoint", "Widths",
    ],
    "fastmem.experiments.hardness": ["Hardness"],
    "fastmem.experiments.study": ["Cell", "Result"],
}  # fmt: skip
"""The paths of the documentation under which users find what they pickle."""


def public(path: str) -> Any:
    """What stands under a path such as "fastmem.compact.Trial"."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


# Points that no generator draws -----------------------------------------------------------------


def points(n: int, d: int, start: int = 0) -> np.ndarray:
    """Points in [-2, 2): eleven binary digits each, by a formula."""
    k = np.arange(start * d, (start + n) * d, dtype=np.uint64) + np.uint64(12345)
    for _ in range(2):
        k = k * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        k ^= k >> np.uint64(29)
    return ((k >> np.uint64(40)) % np.uint64(4096)).astype(np.float64).reshape(n, d) / 1024 - 2


def labels(n: int, n_classes: int = 3) -> np.ndarray:
    return (points(n, 1, 10_000)[:, 0] * 1024).astype(np.int64) % n_classes


def rare_points(n: int, d: int, start: int = 0) -> Any:
    """CSR points of two values each, in 40 of the columns."""
    place = (points(n, 2, 20_000 + start) * 1024).astype(np.int64) % 20 + [0, 20]
    columns = place * (d // 40)
    starts = np.arange(0, 2 * n + 1, 2)
    return sparse.csr_matrix((points(n, 2, start).ravel(), columns.ravel(), starts), (n, d))


def unseen(network: fastmem.Network) -> Any:
    """Points for which facts.json holds labels and margins."""
    if network.n_features_in_ > 1000:
        return rare_points(30, network.n_features_in_, 500)
    return points(30, network.n_features_in_, 500)


def names(d: int) -> list[str]:
    return ["größte Länge", "", 'say "hi"\n', *(f"x{i}" for i in range(3, d))][:d]


def framed(X: np.ndarray) -> Any:
    import pandas as pd

    return pd.DataFrame(X, columns=names(X.shape[1]))


def quietly(call: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


# Facts ------------------------------------------------------------------------------------------


def array_facts(array: np.ndarray) -> Any:
    """Type, shape and values of an array; of many values their SHA-256."""
    if array.dtype.kind in "OTU" or array.size <= 8:
        kind = "text" if array.dtype.kind in "OTU" else str(array.dtype)
        return [kind, list(array.shape), array.ravel().tolist()]
    content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return [str(array.dtype), list(array.shape), hashlib.sha256(content).hexdigest()[:12]]


def margin_facts(margins: np.ndarray) -> list[Any]:
    """Shape and first values, "-inf" as text; the rest is seen in the labels."""
    return [list(margins.shape), [str(x) if np.isinf(x) else x for x in margins.ravel()[:6]]]


def facts(thing: Any) -> Any:
    """What JSON can hold of a thing, and does not depend on versions of anything."""
    if isinstance(thing, type | FunctionType):
        return thing.__name__
    if isinstance(thing, np.ndarray):
        return array_facts(thing)
    if isinstance(thing, np.generic):
        return [str(thing.dtype), thing.item()]
    if isinstance(thing, fastmem.Network):
        return network_facts(thing)
    if isinstance(thing, fastmem.Hyperplanes):
        return layer_facts(thing)
    if isinstance(thing, BaseException):
        return {"text": str(thing), "args": facts(thing.args), **facts(vars(thing))}
    if hasattr(thing, "get_params"):
        return estimator_facts(thing)
    if is_dataclass(thing):
        return {field.name: facts(getattr(thing, field.name, None)) for field in fields(thing)}
    if isinstance(thing, dict):
        return {str(key): facts(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [facts(value) for value in thing]
    return thing


def layer_facts(first: fastmem.Hyperplanes) -> dict[str, Any]:
    """The arrays that define hyperplanes, and signs by them."""
    found = {}
    for name in ("key", "signs", "rows", "extra", "biases", "origin", "radius"):
        if hasattr(first, name):
            found[name] = facts(getattr(first, name))
    d = len(first.origin)
    some = points(30, d, 500) if d <= 1000 else None
    if some is not None:
        found["weights"] = array_facts(first.weights)
        found["patterns"] = array_facts(fastmem.sign_patterns(some, first))
    return found


def network_facts(network: fastmem.Network) -> dict[str, Any]:
    """All that a network is, and what it says of unseen points."""
    X, second = unseen(network), network.second
    return {
        "widths": list(network.widths),
        "classes": array_facts(network.classes_),
        "covered": list(network.covered),
        "feature_names": facts(getattr(network, "feature_names", None)),
        **({} if network.scale is None else {"scale": array_facts(network.scale)}),
        "summary": facts(network.summary),
        "report": None if network.report is None else facts(network.report.unseparated),
        "first": type(network.first).__name__,
        "layer": layer_facts(network.first),
        "masks": array_facts(second.masks),
        "thresholds": array_facts(second.thresholds),
        "owners": array_facts(second.owners),
        "predict": network.predict(X).tolist(),
        "margins": margin_facts(network.decision_function(X)),
        **({} if network.readout is None else readout_facts(network)),
    }


def readout_facts(network: fastmem.Network) -> dict[str, Any]:
    """What votes, and its probabilities."""
    shares = network.predict_proba(unseen(network))
    return {"readout": facts(network.readout), "margins_of_shares": margin_facts(shares)}


def estimator_facts(estimator: Any) -> dict[str, Any]:
    X = points(30, estimator.n_features_in_, 500)
    found = {"params": facts(estimator.get_params())}
    if hasattr(estimator, "transform"):
        return found | {"transform": facts(estimator.transform(X))}
    return found | {
        "classes": facts(estimator.classes_),
        "relabelled": facts(estimator.relabelled_),
        "predict": quietly(lambda: estimator.predict(X)).tolist(),  # X has no names
        "network": network_facts(estimator.network_),
    }


def changes(entry: dict[str, Any], thing: Any) -> list[str]:
    """In which facts a thing is not what facts.json says."""
    return list(unlike(entry["facts"], json.loads(json.dumps(facts(thing)))))


def unlike(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Where two facts differ; margins may by the precision of float32."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old:  # there may be more by now
            yield from unlike(old[key], new.get(key), f"{where}.{key}" if where else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, pair in enumerate(zip(old, new, strict=True)):
            yield from unlike(*pair, f"{where}[{i}]")
    elif isinstance(old, float) and isinstance(new, float) and "margins" in where:
        if not np.isclose(old, new, rtol=1e-4, atol=0):
            yield f"{where} was {old!r}, is {new!r}"
    elif old != new or type(old) is not type(new):
        yield f"{where} was {old!r}, is {new!r}"


# Model files ------------------------------------------------------------------------------------

D_SEEDED = 70_000
"""So many features that the weights of 1,024 hyperplanes are not stored."""


def fitted(d: int = 4, n: int = 60, n_classes: int = 3, **settings: Any) -> fastmem.Network:
    return fastmem.interpolate(points(n, d), labels(n, n_classes), seed=7, **settings)


def named(d: int = 4, n: int = 60, **settings: Any) -> fastmem.Network:
    return fastmem.interpolate(framed(points(n, d)), labels(n), seed=7, **settings)


def texts() -> fastmem.Network:
    y = np.array(["", "Zürich", "雪"])[labels(20)]
    return fastmem.interpolate(points(20, 2), y, covered="all", selection="random", seed=7)


def neighbours() -> tuple[np.ndarray, np.ndarray]:
    """Points of which two are as near as floats can be: targeted rows are stored."""
    X, y = points(40, 70), labels(40, 2)
    X[1], y[:2] = X[0], (0, 1)
    X[1, 3] = np.nextafter(X[0, 3], 9)
    return X, y


def with_key(n: int = 60, **settings: Any) -> fastmem.Network:
    return fastmem.interpolate(rare_points(n, D_SEEDED), labels(n), seed=7, **settings)


def small_with_key(frame: bool = False, **settings: Any) -> fastmem.Network:
    """Few hyperplanes of a key, in few dimensions: chosen from very many."""
    X = points(30, 170)
    return fastmem.interpolate(
        framed(X) if frame else X, labels(30), width=100_000, projection="gaussian", compact=True,
        memory_limit=(256 << 20) + 32 * 30, seed=7, **settings,
    )  # fmt: skip


def voting(d: int = 4, n: int = 60, **settings: Any) -> fastmem.Network:
    """A network with a read-out that gets some points of this formula wrong."""
    return fitted(d, n, decision="vote", **settings)


def voting_alone() -> fastmem.Network:
    """A network with a read-out that gets all points right."""
    X = points(40, 3)
    y = np.where(X[:, 0] > 0, "right", "left")
    X[:, 0] += np.sign(X[:, 0])
    return fastmem.interpolate(framed(X), y, decision="vote", scale=[1, 0.5, 8], seed=7)


def voting_with_key() -> fastmem.Network:
    """As weights of few hyperplanes are stored up to a quarter of the limit, it has a key."""
    return fastmem.interpolate(
        rare_points(60, 40_000), labels(60), decision="vote", projection="gaussian",
        memory_limit=(256 << 20) + (8 << 20), seed=7,
    )  # fmt: skip


MAKERS: dict[str, Callable[[], fastmem.Network]] = {
    "1": fitted,
    "1-strings": texts,
    "1-booleans": lambda: fastmem.interpolate(points(20, 2), labels(20) == 1, seed=7),
    "1-unsigned": lambda: fastmem.interpolate(
        points(40, 3), labels(40).astype(np.uint64) + np.uint64(2**64 - 3), margin=0.5, seed=7
    ),
    "2": partial(fitted, projection="structured", width=150),
    "2-extra": lambda: fastmem.interpolate(*neighbours(), projection="structured", seed=7),
    "2-lists": partial(fitted, 140, 50, compact=True),
    "3": with_key,
    "3-compact": small_with_key,
    "4": partial(fitted, activation="relu", selection="random"),
    "5": partial(fitted, 70, activation="relu", projection="structured"),
    "5-lists": partial(fitted, 140, 50, activation="relu", compact=True),
    "6": named,
    "7": partial(named, projection="structured"),
    "8": partial(small_with_key, frame=True),
    "9": partial(named, activation="relu"),
    "10": partial(named, 6, activation="relu", projection="structured", compact=True),
    "11": partial(fitted, scale=[1, 0.25, 2.0**-70, 8]),
    "11-named": partial(named, scale=[1, 0.25, 2.0**-70, 8]),
    "12": partial(fitted, projection="structured", width=150, scale=[1, 0.25, 0.5, 8]),
    "13": partial(small_with_key, scale=[2.0**k for k in range(-85, 85)]),
    "14": partial(named, activation="relu", scale=[1, 0.25, 0.5, 8]),
    "15": partial(fitted, 70, activation="relu", projection="structured", scale=[0.5] + [2] * 69),
    "16": partial(voting, projection="gaussian"),
    "16-alone": voting_alone,
    "17": voting,
    "17-two": partial(voting, 70, n_classes=2, scale=[0.5] + [2] * 69),
    "18": voting_with_key,
    "19": fitted,
    "19-targeted": lambda: fastmem.interpolate(*neighbours(), projection="gaussian", seed=7),
    "19-norms": partial(fitted, max_bias="norms", center=False),
    "19-named": partial(named, scale=[1, 0.25, 2.0**-70, 8]),
    "19-compact": small_with_key,
    "20": partial(fitted, projection="structured", width=150),
    "20-targeted": lambda: fastmem.interpolate(*neighbours(), projection="structured", seed=7),
    "20-compact": partial(fitted, 140, 50, compact=True),
    "21": partial(fitted, activation="relu", selection="random"),
    "22": partial(fitted, 70, activation="relu", projection="structured"),
    "23": partial(voting, projection="gaussian"),
    "24": voting,
}
"""How the network of each model file is made; the names begin with the format version.

Since version 19, all that is drawn comes from a key: those before were made by older packages.
"""


def members(path: Path) -> dict[str, bytes]:
    """The arrays of a model file, as bytes that do not depend on zlib."""
    with np.load(path, allow_pickle=False) as archive:
        return {
            name: f"{archive[name].dtype.str} {archive[name].shape} ".encode()
            + archive[name].tobytes()
            for name in archive.files
        }


def make_model_files(folder: Path, chosen: list[str]) -> None:
    record = begun(folder)
    for name in chosen or list(MAKERS):
        path = folder / f"version-{name}.npz"
        if path.exists():
            continue
        network = MAKERS[name]()
        network.save(path)
        with np.load(path) as archive:
            version = str(archive["format_version"])
        if name.partition("-")[0] != version:
            path.unlink()
            raise SystemExit(f"{name} is of version {version} now; take an older package")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        entry = {"commit": commit(), "sha256": sha256, "facts": network_facts(network)}
        entry["facts"]["report"] = None  # it is not saved
        assert not changes(entry, fastmem.load(path)), name
        record["files"][path.name] = entry
        print(f"{path.name:28} {path.stat().st_size:7,} bytes  {network!r}")
    finished(folder, record)


# Pickles ----------------------------------------------------------------------------------------


def asked(network: fastmem.Network) -> fastmem.Network:
    """The same network after a prediction, for which it computes more."""
    network.predict(unseen(network))
    return network


def asked_as_csr(network: fastmem.Network) -> fastmem.Network:
    network.predict(sparse.csr_matrix(unseen(network)))
    return network


def as_an_older_one(network: fastmem.Network) -> fastmem.Network:
    """As pickled before networks knew feature names or ReLU."""
    del network.feature_names, network._real
    return network


def raised(call: Callable[[], object]) -> BaseException:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def warned(call: Callable[[], object]) -> Warning:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    (one,) = caught
    assert isinstance(one.message, Warning)
    return one.message


def load_garbage() -> None:
    with tempfile.TemporaryDirectory() as folder:
        before = os.getcwd()
        os.chdir(folder)
        try:
            Path("net.npz").write_text("no model")
            fastmem.load("net.npz")
        finally:
            os.chdir(before)


def export_report() -> Any:
    from fastmem.export import to_c

    with tempfile.TemporaryDirectory() as folder:
        return to_c(fitted(), Path(folder) / "net.h", points(60, 4), labels(60))


def complexity_report() -> Any:
    from fastmem.experiments.complexity import complexity

    X, y = points(40, 3), np.where(points(40, 3)[:, 0] > 0, "right", "left")
    y[:2] = y[1::-1]
    return complexity(X, y, width=128, trials=2, n_layers=2, hard_points=5, seed=7)


def result_of_study() -> Any:
    from fastmem.experiments.study import Cell, Result

    return [Cell("moons", 100, 64, 1.5), Result("moons", 100, 64, 1.5, 3, 0.5, 0.875, 4.0, 0.25)]


def classifier() -> Any:
    from fastmem.sklearn import InterpolatingClassifier

    X, y = framed(points(50, 3)), np.array(["no", "yes"])[labels(50, 2)]
    return InterpolatingClassifier(margin=0.2, random_state=7).fit(X, y)


def classifier_relabelled() -> Any:
    from fastmem.sklearn import InterpolatingClassifier

    X, y = points(40, 3), labels(40)
    X[20:24], y[20:24] = X[:4], (y[:4] + 1) % 3
    return quietly(lambda: InterpolatingClassifier(random_state=7).fit(X, y))


def hyperplane_patterns() -> Any:
    from fastmem.sklearn import HyperplanePatterns

    return HyperplanePatterns(70, random_state=7, projection="structured").fit(points(40, 5))


def contradiction_warning() -> Any:
    from fastmem.sklearn import InterpolatingClassifier

    X, y = np.repeat(points(20, 3), 2, axis=0), labels(40)
    return warned(lambda: InterpolatingClassifier(random_state=7).fit(X, y))


def covering() -> Any:
    from fastmem.geometry import mutual_covering

    return mutual_covering(points(40, 3), points(40, 3)[:, 0] > 0, seed=7)


def paths() -> Iterator[str]:
    for module, all_names in PUBLIC.items():
        yield from (f"{module}.{name}" for name in all_names)


PICKLED: dict[str, Callable[[], Any]] = {
    "network-gaussian": fitted,
    "network-gaussian-asked": lambda: asked(fitted(covered="all")),
    "network-random-texts": texts,
    "network-margin": partial(fitted, margin=0.5, max_width=100),
    "network-compact": partial(fitted, compact=True, width=600),
    "network-structured-asked": lambda: asked(
        fastmem.interpolate(*neighbours(), projection="structured", seed=7)
    ),
    "network-structured-compact": partial(fitted, 140, 50, compact=True),
    "network-seeded": small_with_key,
    "network-sparse": lambda: fastmem.interpolate(
        rare_points(12, 40), labels(12), seed=7, width=20
    ),
    "network-sparse-structured": lambda: fastmem.interpolate(
        rare_points(60, 80), labels(60), seed=7, projection="structured"
    ),
    "network-relu": partial(fitted, activation="relu"),
    "network-relu-asked": lambda: asked(fitted(3, 20, activation="relu", width=40)),
    "network-relu-random-asked": lambda: asked(
        fitted(2, 16, 2, activation="relu", selection="random", width=60)
    ),
    "network-relu-structured-asked": lambda: asked(
        fitted(8, activation="relu", projection="structured", compact=True)
    ),
    "network-named": named,
    "network-named-relu": partial(named, activation="relu"),
    "network-sparse-relu-asked": lambda: asked_as_csr(fitted(3, 16, activation="relu", width=40)),
    "network-unseparated": lambda: quietly(partial(fitted, width=5)),
    "network-loaded": lambda: fastmem.load(MODEL_FILES / "version-1-booleans.npz"),
    "network-older": lambda: as_an_older_one(fitted()),
    "network-keyed": lambda: asked(fitted()),
    "network-keyed-structured": partial(fitted, 140, 50, compact=True),
    "network-keyed-targeted": lambda: fastmem.interpolate(*neighbours(), seed=7),
    "hyperplanes-keyed": lambda: fitted(width=80, max_bias="norms").first,
    "hyperplanes": lambda: fitted(width=80).first,
    "hyperplanes-structured": lambda: fitted(width=80, projection="structured").first,
    "hyperplanes-seeded": lambda: small_with_key().first,
    "cover-layer": lambda: fitted().second,
    "cover-layer-relu": lambda: fitted(activation="relu").second,
    "fit-report": lambda: fastmem.interpolate(*neighbours(), compact=True, seed=7).report,
    "fit-report-unseparated": lambda: quietly(partial(fitted, width=5)).report,
    "growth-step": lambda: fitted().report.growth[0],
    "trial": lambda: fitted(width=300, compact=True).report.trials[0],
    "error-invalid-input": lambda: raised(lambda: fitted(width=-1)),
    "error-model-file": lambda: raised(load_garbage),
    "error-memory": lambda: raised(
        lambda: fastmem.interpolate(np.zeros((10**6, 1)), np.arange(10**6) % 2, width=10**6)
    ),
    "warning-unseparated": lambda: warned(partial(fitted, width=5)),
    "warning-contradiction": contradiction_warning,
    "classifier": classifier,
    "classifier-relabelled": classifier_relabelled,
    "hyperplane-patterns": hyperplane_patterns,
    "mutual-covering": covering,
    "export-report": export_report,
    "complexity-report": complexity_report,
    "study-results": result_of_study,
    "functions": lambda: {path: public(path) for path in paths()},
}
"""What each pickle holds; one more of some is made by the oldest and the newest protocol."""

PROTOCOLS = {"network-gaussian": (5,), "network-structured-compact": (2,), "fit-report": (2, 5)}


def names_in(content: bytes) -> set[str]:
    """What a pickle imports, as "module:name", without importing it."""
    found, memo, strings = set(), {}, []
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "GLOBAL":
            found.add(argument.replace(" ", ":"))
        elif opcode.name == "STACK_GLOBAL":
            found.add(":".join(strings[-2:]))
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = strings[-1]
            continue
        elif opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = strings[-1]
            continue
        if opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            argument = memo[int(argument)]
        strings.append(argument if isinstance(argument, str) else "")
    return found


def public_type(thing: Any) -> str:
    """Under which public path the type of a thing stands."""
    return next((path for path in paths() if type(thing) is public(path)), type(thing).__name__)


def make_pickles(folder: Path, chosen: list[str]) -> None:
    record = begun(folder)
    for name in chosen or list(PICKLED):
        for protocol in (PROTOCOL, *PROTOCOLS.get(name, ())):
            file = f"{name}.pickle" if protocol == PROTOCOL else f"{name}-{protocol}.pickle"
            if (folder / file).exists():
                continue
            thing = PICKLED[name]()
            content = pickle.dumps(thing, protocol)
            (folder / file).write_bytes(content)
            entry = {"commit": commit(), "sha256": hashlib.sha256(content).hexdigest()}
            loaded = pickle.loads(content)
            entry |= {"type": public_type(loaded), "facts": facts(loaded)}
            record["files"][file] = entry
            print(f"{file:40} {len(content):7,} bytes  {entry['type']}")
    every = {name for path in folder.glob("*.pickle") for name in names_in(path.read_bytes())}
    (folder / "names.txt").write_text("".join(f"{name}\n" for name in sorted(every)))
    finished(folder, record)


# Where they are ---------------------------------------------------------------------------------


def commit() -> str:
    """The commit of the package that is imported; "" where it is none."""
    place = Path(fastmem.__file__).parent
    done = subprocess.run(
        ["git", "-C", place, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return os.environ.get("KEPT_COMMIT") or done.stdout.strip()[:12]


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """What facts.json says of each file of a folder."""
    return json.loads((folder / "facts.json").read_text(encoding="utf-8"))["files"]


def begun(folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "facts.json").exists():
        return json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    return {"files": {}}


def finished(folder: Path, record: dict[str, Any]) -> None:
    plain = partial(json.dumps, ensure_ascii=False, separators=(",", ":"))
    rows = [f"{plain(name)}: {plain(entry)}" for name, entry in record["files"].items()]
    text = '{"files": {\n' + ",\n".join(rows) + "\n}}\n"
    (folder / "facts.json").write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python tests/kept.py")
    parser.add_argument("what", choices=["pickles", "model-files"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="some of them only")
    arguments = parser.parse_args()
    print(f"fastmem of {os.path.dirname(fastmem.__file__)}")
    make = make_pickles if arguments.what == "pickles" else make_model_files
    make(arguments.folder, arguments.names)


if __name__ == "__main__":
    sys.exit(main())
