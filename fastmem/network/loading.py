"""Reading a network from its file."""

from __future__ import annotations

import os

from fastmem.network import model_file
from fastmem.network.network import Network


def load(path: str | os.PathLike[str]) -> Network:
    """Read a network that :meth:`Network.save` wrote.

    Nothing in the file is executed or believed: it holds no pickle, and every size, type and value
    is checked before it is used.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    Network
        Equal to the saved one bit for bit, except that ``report`` is None.

    Raises
    ------
    ModelFileError
        If the file is damaged, is not a fastmem model, or was written by a newer fastmem.
    OSError
        As from ``open``: no such file, no permission, a directory.
    """
    parts = model_file.read(path)
    return Network(
        parts.classes, parts.first, parts.second, parts.covered, None, parts.summary,
        parts.feature_names, parts.scale, parts.encoding, parts.readout, parts.default,
    )  # fmt: skip
