"""Labels of points that are on shards."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmem.distributed.fleet import Fleet, in_order
from fastmem.distributed.numbering import Placing

_AT_ONCE = 1 << 20
"""Labels that are fetched at a time."""


class RemoteCodes:
    """The codes of points on shards; ``codes[rows]`` fetches some.

    Parameters
    ----------
    fleet : Fleet
    placing : Placing

    Attributes
    ----------
    dtype : numpy.dtype
        uint16 or int64.
    """

    def __init__(self, fleet: Fleet, placing: Placing) -> None:
        self._fleet, self._placing = fleet, placing
        self.dtype = placing.code_dtype

    def __len__(self) -> int:
        return self._placing.n_rows

    def __getitem__(self, rows: Any) -> Any:
        """Codes of some rows, as of an array; rows are int, a slice or integers of shape (m,)."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        wanted = np.atleast_1d(np.asarray(rows, np.int64))
        if 4 * len(wanted) > len(self):  # all of them are fewer bytes than these rows
            found = self._all()[wanted]
        else:
            found = np.empty(len(wanted), self.dtype)
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                found[start : start + len(some)] = in_order(self._fleet.ask(("codes_at", some))[0])[
                    1
                ]
        return found if np.ndim(rows) else found[0]

    def _all(self) -> np.ndarray:
        codes = np.empty(len(self), self.dtype)
        for pieces in self._fleet.ask(("codes",))[0]:
            for first, part in pieces:
                codes[first : first + len(part)] = part
        return codes
