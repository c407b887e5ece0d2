"""What sections of the complexity report found, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from fastmem.network.graph import Connectivity

__all__ = ["CompactNetwork", "Representation", "Representations"]

POWERS = "in powers of two"


@dataclass(frozen=True)
class Representation:
    """Widths and unseen accuracy of the same points, represented in one way.

    Attributes
    ----------
    name : str
    n_features : int
    least, merged_at_least : list of int
        Hyperplanes of ``width="auto"``, and neurons of that network, for each trial.
    merged : list of int
        Neurons of the width that is compared.
    unseen : list of float
        Share of the held-out points whose label that network gives.
    """

    name: str
    n_features: int
    least: list[int]
    merged_at_least: list[int]
    merged: list[int]
    unseen: list[float]


@dataclass(frozen=True)
class Representations:
    """What representations of the points do to widths and to unseen points.

    Attributes
    ----------
    n_fitted, n_unseen : int
        Points that were memorised and held out, each trial others.
    width : int
        Hyperplanes of ``merged`` and ``unseen``.
    rows : list of Representation
    """

    n_fitted: int
    n_unseen: int
    width: int
    rows: list[Representation]

    def usual(self) -> Representation:
        """The points as a fit sees them: in powers of two, where it would scale them."""
        named = [row for row in self.rows if row.name == POWERS]
        return (named or self.rows)[0]

    def best(self) -> Representation:
        """The first one of the largest median accuracy on unseen points."""
        return max(self.rows, key=lambda row: sorted(row.unseen)[len(row.unseen) // 2])


@dataclass(frozen=True)
class CompactNetwork:
    """A network with as few connections as ``compact=True`` finds.

    Attributes
    ----------
    n_samples : int
        Points that it memorises, some of all where these are many.
    n_hyperplanes, n_neurons : int
    connectivity : Connectivity
    n_bytes : int
        Of its file.
    """

    n_samples: int
    n_hyperplanes: int
    n_neurons: int
    connectivity: Connectivity
    n_bytes: int
