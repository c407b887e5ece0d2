"""A process that measures cells for `running`: ``python -m fastmem.experiments.worker``.

Standard input brings one line of JSON with what all cells share, then a line a cell; each is
answered by a line of JSON. The process ends with its input, so that none is left behind whatever
becomes of the parent. It is no multiprocessing worker, because those import the parent's main
script again, which a script of cells does not survive.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from dataclasses import asdict
from typing import Any

import numpy as np


def main() -> None:
    """Answer cells until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints must not come between the answers

    from fastmem.errors import InvalidInputError
    from fastmem.experiments.study import Cell, measure

    shared = json.loads(sys.stdin.readline())
    # Mapped, not read: all workers share the operating system's copy.
    data: dict[str, Any] = {
        name: tuple(np.load(path, mmap_mode="r").view(np.ndarray) for path in paths)
        for name, paths in shared.pop("data").items()
    }
    for line in sys.stdin:
        cell = Cell(**json.loads(line))
        answer: dict[str, Any]
        try:
            answer = {"result": asdict(measure(cell, data[cell.dataset], **shared))}
        except InvalidInputError as error:
            answer = {"refusal": str(error)}
        except Exception:
            answer = {"failure": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
