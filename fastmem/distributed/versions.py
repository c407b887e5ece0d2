"""What is installed on machines that fit together."""

from __future__ import annotations

import platform
from importlib.metadata import version

from fastmem.errors import InvalidInputError
from fastmem.version import __version__


def versions() -> dict[str, str]:
    """Versions on which networks, or what is sent, may depend."""
    return {
        "fastmem": __version__, "numba": version("numba"), "numpy": version("numpy"),
        "Python": ".".join(platform.python_version_tuple()[:2]),
    }  # fmt: skip


def require_same(theirs: dict[str, str], place: str) -> None:
    """Refuse to work, at a place, for a driver with other versions.

    Raises
    ------
    InvalidInputError
        Which names the place and what differs.
    """
    mine = versions()
    differing = [
        f"{name} {mine[name]} and the driver {name} {theirs[name]}"
        for name in theirs
        if mine[name] != theirs[name]
    ]
    if differing:
        raise InvalidInputError(
            f"{place} has {'; '.join(differing)}; install the same versions, as the network would "
            f"depend on who computes what"
        )
