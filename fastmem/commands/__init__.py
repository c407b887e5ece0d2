"""The commands behind `fastmem.cli`."""

from fastmem.commands import explaining, fitting, networks, predicting, studies  # noqa: F401 (they add commands)
from fastmem.commands.application import app

__all__ = ["app"]
