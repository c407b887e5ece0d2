"""The connections of a compact network."""

from __future__ import annotations

from fastmem.experiments.section_facts import CompactNetwork
from fastmem.experiments.sections.study import Study, memorised
from fastmem.network.network import Network

MOST_POINTS = 5_000


def connectivity(study: Study) -> tuple[CompactNetwork, Network]:
    """What a compact network of (a sample of) the points has, and that network."""
    X, y = study.usable.sample(MOST_POINTS)
    seed = study.seeds.several("connectivity", 1)[0]
    network = memorised(X, y, width="auto", compact=True, covered="all", seed=seed, **study.fit)
    n, m = network.widths
    study.tell("connections", 1, 1, 0)
    return CompactNetwork(len(y), n, m, network.connectivity, network.nbytes), network
