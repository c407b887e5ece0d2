"""Whether what was passed as a network is one."""

from __future__ import annotations

from typing import Any

from fastmem.inputs.refusals import refuse, typed
from fastmem.network.network import Network


def check_network(network: Any) -> Network:
    """Give back a network.

    Raises
    ------
    InvalidInputError
        For anything else.
    """
    if isinstance(network, Network):
        return network
    refuse(
        f"network is {typed(network)}; pass a fastmem.Network, as fastmem.interpolate and "
        f"fastmem.load return it"
    )
