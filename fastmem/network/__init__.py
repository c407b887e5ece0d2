"""The finished network: its predictions, its report and its file."""

from fastmem.network.network import Network, load

__all__ = ["Network", "load"]
