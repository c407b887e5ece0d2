"""Checks of an export against the network itself, and what helps where floats round a bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastmem.export.layers import Arithmetic, arithmetic, has_patterns
from fastmem.inputs import InvalidInputError, Points, check_known_labels
from fastmem.kernels.exact import shifted_biases
from fastmem.machine.arrays import frozen
from fastmem.machine.warned import warn_user
from fastmem.patterns.of_points import sign_patterns
from fastmem.patterns.words import unpacked

if TYPE_CHECKING:
    from fastmem.network.network import Network

_VALUES = 1 << 22
"""Products that are held at once."""
_ALONE = 64
"""Points, those nearest to a hyperplane, that are also checked one at a time: a product of one row
may be summed in another order."""
WHOLE = "whole numbers"
"""The arithmetic of a vote without exceptions."""

Rows = np.ndarray
_NONE = np.empty(0, np.int64)


class ExportWarning(UserWarning):
    """An exported network labels some of the points otherwise than fastmem."""


@dataclass(frozen=True)
class ExportReport:
    """What was exported, and what the check of it found.

    Attributes
    ----------
    format : str
        "onnx", "c" or "torch".
    settings : dict of str to str
        What was chosen: arithmetic, form of the masks, opset.
    n_bytes : int
        Size of the file; of a C header, the bytes of its constant arrays; of a module, its buffers.
    n_checked : int
        Points on which the export was run; 0 where none were given.
    unchecked : str
        Why nothing was run, or "".
    rows : ndarray of int64
        Rows of X that get another label than from ``network.predict``.
    wrong : ndarray of int64, or None
        Rows of X whose label is not the one in y; None without y.
    smallest_distance : float or None
        From a point of X, scaled as the network does, to a hyperplane, in float64; None where none
        is used.
    attempts : tuple of (str, int)
        What was tried, and how many rows had another label.
    remedy : str
        What helps, in one sentence; "" where nothing is needed.
    """

    format: str
    settings: dict[str, str]
    n_bytes: int = 0
    n_checked: int = 0
    unchecked: str = ""
    rows: Rows = field(default_factory=_NONE.copy)
    wrong: Rows | None = None
    smallest_distance: float | None = None
    attempts: tuple[tuple[str, int], ...] = ()
    remedy: str = ""

    @property
    def exact(self) -> bool:
        """Whether all points of X were checked and get the network's label."""
        return self.n_checked > 0 and len(self.rows) == 0

    def warn(self) -> None:
        """Warn of rows with another label."""
        if len(self.rows):
            shown = ", ".join(map(str, self.rows[:5])) + (", ..." if len(self.rows) > 5 else "")
            warn_user(
                f"{len(self.rows)} of {self.n_checked} points get another label from the export "
                f"than from the network (rows {shown}): {self.remedy}",
                ExportWarning,
            )


@dataclass(frozen=True)
class Reference:
    """Points, and the labels that an export should give them."""

    network: Network
    points: Points
    labels: np.ndarray
    truth: np.ndarray | None

    def blocks(self, values: int) -> Iterator[tuple[int, np.ndarray]]:
        """Dense blocks of rows, of so many values a row that a block fits in memory."""
        size = max(1, min(_VALUES // max(1, values), 1 << 16))
        for start in range(0, self.points.n_samples, size):
            stop = min(start + size, self.points.n_samples)
            yield start, self.rows(np.arange(start, stop))

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """Some of the points, dense."""
        return np.array(self.points.dense(rows))  # other programs may want to write

    def scaled(self, block: np.ndarray) -> np.ndarray:
        """Rows as the first layer takes them; exact in float64."""
        scale = self.network.scale
        return block if scale is None else block * scale

    def differing(self, labels: Callable[[np.ndarray], Any], nearest: Rows) -> tuple[Rows, Rows]:
        """Rows that ``labels`` names otherwise than the network, and than y."""
        cosines = 0 if self.network.readout is None else len(self.network.readout)
        width = max(self.points.n_features, sum(self.network.widths), 2 * cosines)
        blocks = [np.asarray(labels(block)) for _, block in self.blocks(width)]
        found = np.concatenate(blocks)
        rows = found != self.labels
        wrong = rows if self.truth is None else found != self.truth
        for row in nearest:
            alone = np.asarray(labels(self.rows(np.array([row]))))[0]
            rows[row] |= alone != self.labels[row]
            if self.truth is not None:
                wrong[row] |= alone != self.truth[row]
        return np.flatnonzero(rows), np.flatnonzero(wrong)


def reference(network: Network, X: Any, y: Any, n_threads: int | None) -> Reference | None:
    """What to check with, or None without points."""
    if X is None:
        if y is not None:
            raise InvalidInputError("y was given without X; pass the points of these labels too")
        return None
    points = network.checked_points(X)
    if points.n_samples == 0:
        raise InvalidInputError("X has no rows; pass at least one point, or no X at all")
    truth = None
    if y is not None:
        truth = network.classes_[check_known_labels(y, points.n_samples, network.classes_)]
    return Reference(network, points, network.predict(points, n_threads=n_threads), truth)


def distances(reference: Reference) -> np.ndarray | None:
    """Distance from each point to the nearest hyperplane, (n_samples,), computed in float64.

    None where no hyperplane is used.
    """
    if not has_patterns(reference.network):
        return None
    first = reference.network.first
    moved, errors = np.empty(len(first)), np.empty(len(first))
    shifted_biases(frozen(first.weights), frozen(first.biases), frozen(first.origin), moved, errors)
    weights = first.weights.T.astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->j", weights, weights))
    norms[norms == 0] = np.inf
    nearest = np.full(reference.points.n_samples, np.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        for start, block in reference.blocks(max(len(first), first.n_features)):
            products = (reference.scaled(block) - first.origin) @ weights
            products += moved
            np.abs(products, out=products)
            products /= norms
            nearest[start : start + len(block)] = products.min(axis=1)
    return nearest


def nearest_rows(away: np.ndarray | None, reference: Reference, n: int) -> Rows:
    """The n points nearest to a hyperplane; the first ones where none is used."""
    if away is None:
        return np.arange(min(n, reference.points.n_samples))
    return np.argsort(away, kind="stable")[:n]


def smallest(away: np.ndarray | None) -> float | None:
    """The smallest distance, if there is one."""
    return None if away is None else float(away.min())


class Engine(Protocol):
    """Another program that runs an exported network."""

    def labels(self, block: np.ndarray) -> np.ndarray:
        """Labels of points."""

    def products(self, block: np.ndarray) -> np.ndarray:
        """What the first layer compares with its levels, (rows, n)."""


def _adjusted(way: Arithmetic, engine: Engine, order: np.ndarray, ref: Reference) -> Arithmetic:
    """Levels moved, as little as is safe, to where the engine's own products give every bit.

    Between the largest product of a point whose bit is 0 and the smallest of one whose bit is 1,
    in the middle; hyperplanes that are right already, or that no level makes right, stay.
    """
    n = len(way.levels)
    low, high = np.full(n, -np.inf), np.full(n, np.inf)
    for _, block in ref.blocks(max(n, ref.points.n_features)):
        bits = unpacked(sign_patterns(ref.scaled(block), ref.network.first), n)[:, order]
        products = engine.products(block).astype(np.float64)
        low = np.maximum(low, np.where(bits, -np.inf, products).max(axis=0))
        high = np.minimum(high, np.where(bits, products, np.inf).min(axis=0))
    levels = way.levels.astype(np.float64)
    wrong = ((low > levels) | (high <= levels)) & (low < high)
    with np.errstate(invalid="ignore"):
        middle = (low / 2 + high / 2).astype(way.dtype).astype(np.float64)
    # between neighbouring numbers the middle may round to the upper one
    middle = np.where((low <= middle) & (middle < high), middle, low)
    usable = wrong & np.isfinite(middle)
    levels[usable] = middle[usable]
    return replace(way, levels=levels.astype(way.dtype), adjusted=int(usable.sum()))


def _ways(
    network: Network, order: np.ndarray, ref: Reference | None, dtype: str
) -> list[Arithmetic]:
    """Arithmetics of the first layer, the quickest first."""
    given = np.dtype(np.float32) if ref is None else ref.points.dtype
    names = {"float32": ["float32"], "float64": ["float64"]}.get(dtype, ["float32", "float64"])
    if ref is None:
        names = names[-1:]
    ways = [
        way
        for name in names
        for centred in (True, False)
        if (way := arithmetic(network, given, np.dtype(name), centred)) is not None
    ]
    if not ways:
        raise InvalidInputError(
            f"the biases reach {np.abs(network.first.biases).max():.3g}, more than {dtype} holds; "
            f"pass dtype='float64', or scale the points before the fit"
        )
    return [replace(way, levels=way.levels[order]) for way in ways]


def best_arithmetic(
    network: Network,
    order: np.ndarray,
    build: Callable[[Arithmetic | None], Engine],
    ref: Reference | None,
    dtype: str,
    adjust: bool,
) -> tuple[Engine, Arithmetic | None, ExportReport]:
    """Choose how floats compute the first layer: the first way that labels every point right.

    float32 before float64, centred points before points as they are, biases as they are before
    biases that were moved. Without points there is nothing to tell by: float64 for "auto". None is
    the way of a vote without exceptions, which has no first layer.
    """
    ways: Sequence[Arithmetic | None] = [None]
    if has_patterns(network):
        ways = _ways(network, order, ref, dtype)
    report = ExportReport("", {})
    if ref is None:
        return build(ways[0]), ways[0], replace(report, unchecked="no points were given")
    away = distances(ref)
    nearest = nearest_rows(away, ref, _ALONE)
    report = replace(report, n_checked=ref.points.n_samples, smallest_distance=smallest(away))
    best: tuple[Engine, Arithmetic | None, Rows, Rows] | None = None
    attempts: list[tuple[str, int]] = []
    for way in ways:
        for moved in (False, True) if adjust and way is not None else (False,):
            engine = build(way)
            if moved and way is not None:
                way = _adjusted(way, engine, order, ref)
                if not way.adjusted:
                    continue
                engine = build(way)
            rows, wrong = ref.differing(engine.labels, nearest)
            attempts.append((str(way or WHOLE), len(rows)))
            if best is None or len(rows) < len(best[2]):
                best = engine, way, rows, wrong
            if len(rows) == 0:
                break
        if len(best[2]) == 0:  # type: ignore[index]
            break
    assert best is not None
    engine, way, rows, wrong = best
    return engine, way, replace(
        report, rows=rows, wrong=None if ref.truth is None else wrong, attempts=tuple(attempts),
        remedy=_remedy(dtype, adjust) if len(rows) else "",
    )  # fmt: skip


def _remedy(dtype: str, adjust: bool) -> str:
    if dtype == "float32":
        more = "" if adjust else " or adjust=True"
        return f"their bits need more digits than float32 has; pass dtype='float64'{more}"
    if not adjust:
        return "their bits need more digits than float64 has; pass adjust=True"
    return "their bits need exact arithmetic; use fastmem itself or the C export, which has it"
