"""The finished network: its predictions, its report and its file."""

from fastmem.network.loading import load
from fastmem.network.network import Network

__all__ = ["Network", "load"]
