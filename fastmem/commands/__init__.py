"""The commands behind `fastmem.cli`."""

from fastmem.commands import networks, studies  # noqa: F401 (they add their commands)
from fastmem.commands.application import app

__all__ = ["app"]
