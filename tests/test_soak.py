"""Over a thousand random fits in one process: none is wrong, and nothing grows.

`FASTMEM_SOAK=30 pytest tests/test_soak.py` makes thirty times as many, in about a quarter of an
hour; `random_fits.py` makes them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import random_fits

SCALE = float(os.environ.get("FASTMEM_SOAK", "1"))
ROUNDS = 1600
GROWTH = 4 << 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's account")


def soak(start, n_rounds, *more):
    done = subprocess.run(
        [sys.executable, random_fits.__file__, "soak", str(start), str(n_rounds), *more],
        env=os.environ | {"PYTHONPATH": str(Path(random_fits.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    *faults, last = done.stdout.splitlines() or [""]
    assert not faults, "\n".join(faults)
    assert done.returncode == 0, done.stderr
    return json.loads(last)


@pytest.mark.timeout(0)
def test_random_fits_are_right_and_leave_nothing_behind():
    n_rounds = int(SCALE * ROUNDS)
    found = soak(0, n_rounds)
    assert sum(found["outcomes"].values()) == n_rounds
    assert found["outcomes"]["right"] > n_rounds // 3
    middle, end = found["middle"], found["end"]
    assert end["memory"] - middle["memory"] < GROWTH
    assert end["threads"] <= middle["threads"] and end["files"] <= middle["files"]


def test_a_leak_is_noticed():
    """As above, with 80 KB held in each round."""
    found = soak(0, 300, "hold")
    assert found["end"]["memory"] - found["middle"]["memory"] > GROWTH


def test_wrong_predictions_are_noticed(monkeypatch, tmp_path, capsys):
    X, y, settings = random_fits.a_case(2)
    assert random_fits.check(X, y, settings, tmp_path) == "right"
    predict = random_fits.fastmem.Network.predict

    def flipped(self, X, **more):
        labels = predict(self, X, **more).copy()
        labels[0] = next(label for label in self.classes_ if label != labels[0])
        return labels

    monkeypatch.setattr(random_fits.fastmem.Network, "predict", flipped)
    with pytest.raises(AssertionError, match="wrong rows"):
        random_fits.check(X, y, settings, tmp_path)
    assert random_fits.outcome(2, tmp_path) == "FAULT"
    assert "wrong rows" in capsys.readouterr().out
