"""The version that is installed, of the distribution fastmem-nets: fastmem is a stranger's."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("fastmem-nets")
except PackageNotFoundError:  # a checkout on the path, not installed
    __version__ = "0+unknown"
