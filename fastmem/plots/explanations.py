"""Explanations of images: the point beside what its neuron stores and what it excludes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.machine.extras import needs
from fastmem.plots.canvas import check_made, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastmem.network.explanations.report import Explanation

_LEAST_SIDE = 4


@needs("plot")
def explained_image(explanation: Explanation, *, shape: Sequence[int] | None = None) -> Figure:
    """Draw an image, its prototypes and counter-prototypes, and images with another label.

    Parameters
    ----------
    explanation : Explanation
        Of a network whose features are pixels, row by row.
    shape : sequence of int, optional
        Height and width, and 3 for colours from 0 to 1 or 0 to 255; by default a square.

    Returns
    -------
    matplotlib.figure.Figure
        A figure that pyplot does not know of: a row of the image and its prototypes, one of its
        counter-prototypes, and one of the image changed in single pixels, which are marked, and on
        the way to the first counter-prototype.

    Raises
    ------
    InvalidInputError
        If the features are no image of this shape.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    check_made(explanation, "explanation", "Explanation", "network.explain")
    size = image_shape(len(explanation.features), shape)
    found = explanation
    rows: list[list[tuple[str, tuple[float, ...], int | None]]] = [
        [(f"the point: {found.label}", found.features, None)],
        [],
        [],
    ]
    for place, name, examples in (
        (0, "prototype", found.prototypes),
        (1, "counter-prototype", found.counter_prototypes),
    ):
        for one in examples:
            count = "" if one.count is None else f", count {one.count:.4g}"
            title = f"{name}\nrow {one.row}: {one.label}{count}"
            rows[place].append((title, one.features, None))
    for change in found.changes:
        differ = np.flatnonzero(np.array(change.features) != np.array(found.features))
        pixel = int(differ[0]) if len(differ) == 1 else None
        way = "" if pixel is not None else f"\n{change.distance:.3g} of the way"
        rows[2].append((f"changed: {change.label}{way}", change.features, pixel))
    rows = [row for row in rows if row]
    everything = np.array([features for row in rows for _, features, _ in row])
    columns = max(map(len, rows))
    figure = new_figure((1.9 * columns, 2.3 * len(rows)))
    axes = figure.subplots(len(rows), columns, squeeze=False)
    limits = float(everything.min()), float(everything.max())
    for row, line in zip(rows, axes, strict=True):
        for axis in line:
            axis.set_axis_off()
        for (title, features, pixel), axis in zip(row, line, strict=False):
            _show(axis, np.array(features).reshape(size), limits)
            axis.set_title(title, fontsize="small")
            if pixel is not None:
                y, x = np.unravel_index(pixel, size)[:2]
                axis.plot(x, y, "s", ms=7, mfc="none", mec="#D55E00", mew=1.5)
    return figure


def _show(axis: Any, image: NDArray[np.float64], limits: tuple[float, float]) -> None:
    low, high = limits
    if image.ndim == 3:
        axis.imshow(np.clip(image / (255 if high > 1 else 1), 0, 1), interpolation="nearest")
    else:
        axis.imshow(image, cmap="gray_r", vmin=low, vmax=high, interpolation="nearest")


def image_shape(n_features: int, shape: Sequence[int] | None) -> tuple[int, ...]:
    """The shape of an image of so many features: the one given, or a square."""
    side = math.isqrt(n_features)
    given: Any = (side, side) if shape is None else shape
    size = tuple(given) if np.iterable(given) else ()
    are_whole = all(isinstance(one, int | np.integer) and one > 0 for one in size)
    if shape is None and (side * side != n_features or side < _LEAST_SIDE):
        raise InvalidInputError(
            f"the points have {n_features:,} features, which are no square image; pass shape "
            f"(--shape), or use the table of the explanation"
        )
    if not are_whole or math.prod(size) != n_features or len(size) not in (2, 3):
        raise InvalidInputError(
            f"shape is {shape!r} for {n_features:,} features; pass a height and a width whose "
            f"product that is"
        )
    if len(size) == 3 and size[2] != 3:
        raise InvalidInputError(f"shape is {shape!r}; pass 3 as the number of colours")
    return size
