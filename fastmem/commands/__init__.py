"""The commands behind `fastmem.cli`."""

from fastmem.commands import (  # noqa: F401 (they add commands)
    auditing,
    explaining,
    fitting,
    knowing,
    networks,
    predicting,
    studies,
)
from fastmem.commands.application import app

__all__ = ["app"]
