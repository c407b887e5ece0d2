"""Data at the limits: ``python -m bench.limits [ten-million|sparse|wide ...] [--smoke]``.

Every run is a process of its own, so that its peak memory is its own too. Data are made by yet
another process and read from a temporary file, as a user's would be.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import fastmem
from bench.measuring import PeakWatch, timed
from bench.workloads import Data, blobs, hashed_text
from fastmem.datasets import unit_moons


@dataclass(frozen=True)
class Run:
    """One fit in a process of its own.

    Attributes
    ----------
    name, kind : str
        Its line in the table; how its data are made.
    n_samples, n_features : int
    settings : dict
        Of ``interpolate``.
    """

    name: str
    kind: str
    n_samples: int
    n_features: int
    settings: dict[str, Any] = field(default_factory=dict)

    def make(self, place: Path) -> None:
        """Write the data."""
        if self.kind == "moons":
            X, y = unit_moons(self.n_samples)
        elif self.kind == "text":
            X, y = hashed_text(self.n_samples, self.n_features)
            for part in ("data", "indices", "indptr"):
                np.save(place / f"{part}.npy", getattr(X, part))
        else:
            X, y = blobs(self.n_samples, self.n_features)
        if self.kind != "text":
            np.save(place / "X.npy", X)
        np.save(place / "y.npy", y.astype(np.int8))

    def load(self, place: Path) -> Data:
        """Map the data into memory."""
        y = np.load(place / "y.npy")
        if self.kind != "text":
            return np.load(place / "X.npy", mmap_mode="r"), y
        from scipy import sparse

        parts = [
            np.load(place / f"{part}.npy", mmap_mode="r") for part in ("data", "indices", "indptr")
        ]
        return sparse.csr_matrix(tuple(parts), (self.n_samples, self.n_features), copy=False), y

    def fit(self, place: Path) -> dict[str, Any]:
        """Memorise the data; what it took, in seconds and MB."""
        small, labels = unit_moons(500)
        fastmem.interpolate(small, labels, width=64, seed=0)  # kernels come from their cache
        X, y = self.load(place)
        peak = PeakWatch()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
            seconds, network = timed(lambda: fastmem.interpolate(X, y, seed=0, **self.settings))
        report = network.report
        assert report is not None
        most = peak.stop()
        scoring, accuracy = timed(lambda: network.score(X, y))
        return {
            "fit s": round(seconds, 1),
            "patterns s": round(report.seconds.get("patterns", report.seconds.get("growth", 0)), 1),
            "selection s": round(report.seconds["selection"], 1),
            "predict s": round(scoring, 1),
            **most,
            "file MB": report.file_bytes >> 20,
            "widths": network.widths,
            "model MB": round(network.nbytes / 1e6, 2),
            "first layer": type(network.first).__name__,
            "unseparated": len(report.unseparated),
            "accuracy": accuracy,
            "digest": _digest(network),
        }


def _digest(network: fastmem.Network) -> str:
    """Name the network by its second layer and biases: the same in equal networks."""
    import hashlib

    second = network.second
    parts = (network.first.biases, second.masks, second.thresholds, second.owners)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:12]


def runs(smoke: bool) -> dict[str, list[Run]]:
    """Return the runs of each limit."""
    moons = (20_000 if smoke else 10_000_000, 2)
    text = (2_000 if smoke else 1_000_000, 1 << 14 if smoke else 1 << 20)
    wide = (400, 1_000) if smoke else (20_000, 10_000)
    n = 256 if smoke else 2_048
    limits: list[dict[str, Any]] = [{}, {"memory_limit": "8 GB"}, {"memory_limit": "1 GB"}]
    gaussian = {"width": 300 if smoke else 8_192, "projection": "gaussian"}
    return {
        "ten-million": [
            Run(f"moons, {limit.get('memory_limit', 'no limit')}", "moons", *moons,
                {"width": n, "max_bias": 1.0, **limit})
            for limit in limits
        ],
        "sparse": [
            Run(f"hashed text, width {width}", "text", *text, {"width": width})
            for width in (512, 256, "auto")
        ],
        "wide": [
            Run("clusters, Gaussian weights computed", "blobs", *wide,
                {**gaussian, "memory_limit": "280 MB"} if smoke else gaussian),
            Run("clusters, Gaussian weights stored", "blobs", *wide,
                {**gaussian, "memory_limit": None if smoke else "64 GB"}),
            Run("clusters, structured", "blobs", *wide, {"width": gaussian["width"]}),
            Run("clusters, width auto", "blobs", *wide, {}),
        ],
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Run the limits that are named, all by default, and print a line of JSON for each fit."""
    parser = argparse.ArgumentParser(prog="python -m bench.limits", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="ten-million, sparse, wide")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--child", nargs=2, metavar=("STEP", "RUN"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        step, text = options.child
        place = Path(options.names[0])
        run = Run(**json.loads(text))
        if step == "make":
            run.make(place)
        else:
            print(json.dumps({"run": run.name, **run.fit(place)}))
        return
    known = runs(options.smoke)
    if unknown := set(options.names) - set(known):
        parser.error(f"{', '.join(sorted(unknown))}: give some of {', '.join(known)}")
    for name in options.names or known:
        with tempfile.TemporaryDirectory() as place:
            for i, run in enumerate(known[name]):
                for step in ("make", "fit") if i == 0 else ("fit",):
                    child = (sys.executable, "-m", "bench.limits", place, "--child", step)
                    subprocess.run([*child, json.dumps(asdict(run))], check=True)


if __name__ == "__main__":
    main()
