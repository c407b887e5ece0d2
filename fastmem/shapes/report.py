"""What `topology` found, as plain data that ``dataclasses.asdict`` makes JSON of."""

from __future__ import annotations

from dataclasses import dataclass

Label = int | float | str | bool
Bar = tuple[float, float | None]


@dataclass(frozen=True)
class Persistence:
    """Persistent homology of one class, as its points or its patterns lie.

    Attributes
    ----------
    metric : str
        "euclidean", for points, or "hamming", for patterns: hyperplanes between two points.
    n_different : int
        Different points, or patterns, of the class.
    landmarks : tuple of int
        Rows of X: each the farthest from those before it, the first row of the class first.
    epsilon : float
        Largest distance of a point of the class from the nearest landmark, in scaled units or in
        hyperplanes.
    bars : tuple of tuple of (float, float or None)
        For each dimension k the bars (birth, death) of the landmarks' Rips complexes, by the length
        of edges, longest first; None where what is born does not die.
    cut : float or None
        Length of edges where the bars of voids, and beyond, are cut off; None without these.
    betti : tuple of int, or None
        beta_0, beta_1, ...: bars with birth <= 2 epsilon and death > 4 epsilon, with a tenth more
        epsilon from beta_2 on; None where the landmarks do not allow a count.
    betti_sure : tuple of int, or None
        Those with death > 8 epsilon, of beta_0 and beta_1.
    is_stable : bool or None
        Whether half the landmarks give the same ``betti``.
    reason : str
        Why there are no numbers; "" where there are.
    """

    metric: str
    n_different: int
    landmarks: tuple[int, ...]
    epsilon: float
    bars: tuple[tuple[Bar, ...], ...]
    cut: float | None
    betti: tuple[int, ...] | None
    betti_sure: tuple[int, ...] | None
    is_stable: bool | None
    reason: str


@dataclass(frozen=True)
class Region:
    """The union of the cells of one class, by the nerve of the cells.

    Attributes
    ----------
    neurons : tuple of int
        Rows of ``network.second`` whose cells are there: vertices of the nerve.
    n_empty : int
        Neurons of the class that no point turns on.
    have_common : bool
        Whether one point is in all cells: the region is a star about it, and ``simplices`` are not
        listed.
    simplices : tuple of tuple of tuple of int
        simplices[k - 1] are the sets of k + 1 cells that have a point in common, by their places in
        ``neurons``: pairs, triples, ...; of pairs, where only beta_0 is asked, as many as
        connect the components. Each is proved by a point whose signs are exact.
    betti : tuple of int, or None
        beta_0, beta_1, ... of the region; None where a set of cells was not decided.
    n_programs : int
        Linear programs that were solved.
    n_undecided : int
        Sets of cells that were neither proved to have a common point nor to have none.
    half_width : float
        Of the box about the middle of the points, in scaled units, in which cells meet.
    reason : str
        Why there are fewer numbers than were asked for; "" where there are all.
    """

    neurons: tuple[int, ...]
    n_empty: int
    have_common: bool
    simplices: tuple[tuple[tuple[int, ...], ...], ...]
    betti: tuple[int, ...] | None
    n_programs: int
    n_undecided: int
    half_width: float
    reason: str

    @property
    def n_cells(self) -> int:
        """Vertices of the nerve."""
        return len(self.neurons)


@dataclass(frozen=True)
class ClassShape:
    """The shape of one class.

    Attributes
    ----------
    label : int, float, str or bool
    n_points : int
    points, patterns : Persistence
    region : Region or None
        None where the class has no cells, or the network's are not convex.
    least_neurons : int or None
        The fewest neurons whose union of cells has the Betti numbers of the points; see
        `least_neurons`.
    """

    label: Label
    n_points: int
    points: Persistence
    patterns: Persistence
    region: Region | None
    least_neurons: int | None


@dataclass(frozen=True)
class TopologyReport:
    """What `topology` found.

    Attributes
    ----------
    n_samples, n_features, n_hyperplanes : int
    landmarks, max_dimension, max_cells : int
        As they were asked for.
    classes : tuple of ClassShape
    without_region : str
        Why no class has a region, and what to do; "" where it is looked at.
    """

    n_samples: int
    n_features: int
    n_hyperplanes: int
    landmarks: int
    max_dimension: int
    max_cells: int
    classes: tuple[ClassShape, ...]
    without_region: str

    def differences(self) -> list[str]:
        """Sentences about classes whose region has another shape than their points."""
        said = []
        for entry in self.classes:
            points, region = entry.points.betti, None
            if entry.region is not None:
                region = entry.region.betti
            if points is None or region is None:
                continue
            shared = min(len(points), len(region))
            if points[:shared] != region[:shared]:
                said.append(
                    f"Class {entry.label}: the points have Betti numbers {shown(points)}, the "
                    f"region {shown(region)}"
                )
        return said


def shown(betti: tuple[int, ...] | None) -> str:
    """Betti numbers as text; a dash where there are none."""
    return "-" if betti is None else ", ".join(map(str, betti))
