"""What regressions for a read-out take: points of a Gram matrix, multiplications, bytes."""

from __future__ import annotations

from fastmem.kernels.butterflies import LANES

FEWEST = 4096
"""Points that a Gram matrix holds at least, where there are so many."""
STEPS = 5
"""Of conjugate gradients: as good as the exact solution on unseen points of digits784."""
STEP_COST = 3
"""What a multiplication costs in such a step, in those of a Gram matrix."""
MOST_WIDTH = 4096
_COST_A_POINT, _COST = 2_500_000, 2_000_000_000
"""Multiplications that a fit may take."""
LEAST_WIDTH = 256
"""Features that are tried first."""
FEW = 1024
"""Up to so many features, several penalties are tried with one Gram matrix."""
MOST_LEFT_OUT = 1024
FEATURE_BYTES = 32 << 20
"""Features that are kept: to make them again takes little of a fit."""
PANEL_BYTES = 16 << 20
"""Features of points that are multiplied at once, in float32."""
PART_BYTES = 24 << 20
"""Features, and products with them, of points in a step of conjugate gradients."""
MOST_COLUMNS = 16
"""Columns at a time in such a step: a thread needs n x 64 bytes for each."""
GRAM_BYTES = 32 << 20
"""Of a Gram matrix's rows, from all shards together, that are sent at a time."""
BLOCK_VALUES = 1 << 21
"""Values of points that are made dense at a time."""
BLOCK_VOTES = 1 << 20


def points_in_gram(n: int, n_points: int, n_columns: int) -> int:
    """Points of the Gram matrix: all, or fewer where steps on all then cost less."""
    fewer = max(FEWEST, 2 * n)
    with_steps = fewer * n // 2 + 2 * STEPS * STEP_COST * n_points * n_columns
    return fewer if with_steps < n_points * n // 2 else n_points


def affords(n: int, n_points: int, n_columns: int) -> bool:
    """Whether so many features may be tried."""
    cost = points_in_gram(n, n_points, n_columns) * n * n // 2 + 2 * n**3 // 3
    return n <= MOST_WIDTH and cost <= _COST_A_POINT * n_points + _COST


def regression_bytes(
    n: int | None, n_points: int, n_features: int, n_classes: int, n_threads: int
) -> int:
    """Bytes that the regression on n features, None for as many as are tried, takes at most."""
    width, _ = widths_of(n, n_points, n_classes)
    return solution_bytes(n, n_points, n_classes) + _sums_bytes(
        width, n_points, n_features, n_classes, n_threads
    )


def widths_of(n: int | None, n_points: int, n_classes: int) -> tuple[int, int]:
    """How many features are tried at most, and how many before, whose matrix may still be there.

    ``n`` as of `regression_bytes`.
    """
    width, before = n or LEAST_WIDTH, 0
    while n is None and affords(2 * width, n_points, _columns(n_classes)):
        width, before = 2 * width, width
    return max(64, width), before


def solution_bytes(n: int | None, n_points: int, n_classes: int) -> int:
    """Bytes of the matrices that are solved where the regression is made."""
    width, before = widths_of(n, n_points, n_classes)
    more = n_classes + min(n_points, MOST_LEFT_OUT)
    return 8 * width * (width + more) * (3 if width <= FEW else 1) + 8 * before * (before + more)


def driver_bytes(
    n: int | None, n_points: int, n_features: int, n_classes: int, n_threads: int
) -> int:
    """As `regression_bytes`, of points that are elsewhere but for those of a matrix, if so many."""
    width, _ = widths_of(n, n_points, n_classes)
    here = points_in_gram(width, n_points, _columns(n_classes))
    sums = _sums_bytes(width, here, n_features, n_classes, n_threads)
    fetched = 3 * min(8 * here * n_features, 8 * width**2)  # in pieces, unpacked, and together
    return solution_bytes(n, n_points, n_classes) + max(2 * GRAM_BYTES, fetched) + sums


def shard_bytes(n: int, n_points: int, n_features: int, n_classes: int, n_threads: int) -> int:
    """Bytes that sums over n features of points take where these are, if they are elsewhere."""
    products = 8 * n * (n + n_classes + 1)
    sent = 2 * min(products, GRAM_BYTES)
    return products + sent + _sums_bytes(n, n_points, n_features, n_classes, n_threads)


def _sums_bytes(n: int, n_points: int, n_features: int, n_classes: int, n_threads: int) -> int:
    """Bytes of features, and of sums over them but for their products with each other."""
    n_columns = _columns(n_classes)
    columns = 8 * 8 * n * n_columns + n_threads * 4 * LANES * n * min(n_columns, MOST_COLUMNS)
    features = min(PANEL_BYTES, 8 * n * n_points) + min(2 * FEATURE_BYTES, 2 * n * n_points)
    block = 24 * min(BLOCK_VALUES, n_points * n_features) + 24 * min(
        BLOCK_VOTES, n_points * n_classes
    )
    return columns + features + PART_BYTES + block + 48 * n_points


def _columns(n_classes: int) -> int:
    return 1 if n_classes == 2 else n_classes
