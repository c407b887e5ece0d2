"""The baseline of `bench.check`: the ratios that each class of machine is known to reach."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("baseline.json")
_FORMAT = 1


class BaselineError(ValueError):
    """The baseline file cannot be used."""


@dataclass
class Machine:
    """What one class of machine reached.

    Attributes
    ----------
    made : dict of str to str
        Versions with which it was measured.
    ratios : dict of str to (str, float)
        For each entry its calibration and its ratio to it.
    """

    made: dict[str, str] = field(default_factory=dict)
    ratios: dict[str, tuple[str, float]] = field(default_factory=dict)

    def ratio(self, entry: str, calibration: str) -> float | None:
        """Return the ratio of an entry; None if it is new or has a new calibration."""
        known, ratio = self.ratios.get(entry, ("", 0.0))
        return ratio if known == calibration else None


def read(path: Path) -> dict[str, Machine]:
    """Read the machines in a baseline file; none if there is no file.

    Raises
    ------
    BaselineError
        In one sentence, if the file is damaged.
    """
    remedy = "restore it, or delete it and run python -m bench.check --update"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BaselineError(f"{path} cannot be read ({error}); {remedy}") from error
    try:
        return _machines(json.loads(text))
    except RecursionError as error:
        raise BaselineError(f"{path} is damaged (nested too deeply); {remedy}") from error
    except ValueError as error:
        raise BaselineError(f"{path} is damaged ({error}); {remedy}") from error


def _machines(content: Any) -> dict[str, Machine]:
    content = _table(content, "the whole")
    if content.get("format") != _FORMAT:
        raise ValueError(f"format is {content.get('format')!r} instead of {_FORMAT}")
    machines = {}
    for name, entry in _table(content.get("machines"), "machines").items():
        entry = _table(entry, f"machine {name!r}")
        machine = Machine({k: str(v) for k, v in _table(entry.get("made"), "made").items()})
        for key, row in _table(entry.get("ratios"), "ratios").items():
            row = _table(row, f"the row of {key!r}")
            ratio, calibration = row.get("ratio"), row.get("calibration")
            if not isinstance(ratio, float) or not 0 < ratio < math.inf:
                raise ValueError(f"the ratio of {key!r} is {ratio!r} and not above 0")
            if not isinstance(calibration, str):
                raise ValueError(f"the calibration of {key!r} is {calibration!r}")
            machine.ratios[key] = calibration, ratio
        machines[name] = machine
    return machines


def _table(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no JSON object")
    return value


def write(path: Path, machines: dict[str, Machine]) -> None:
    """Write a baseline file, whole or not at all."""
    content = {
        "format": _FORMAT,
        "machines": {
            name: {
                "made": machine.made,
                "ratios": {
                    entry: {"calibration": calibration, "ratio": float(f"{ratio:.4g}")}
                    for entry, (calibration, ratio) in machine.ratios.items()
                },
            }
            for name, machine in sorted(machines.items())
        },
    }
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)
