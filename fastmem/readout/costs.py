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
    n_columns = 1 if n_classes == 2 else n_classes
    width, before = n or LEAST_WIDTH, 0
    while n is None and affords(2 * width, n_points, n_columns):
        width, before = 2 * width, width
    n = max(64, width)
    n_left = min(n_points, MOST_LEFT_OUT)
    matrix = 8 * n * (n + n_classes + n_left) * (3 if n <= FEW else 1)
    matrix += 8 * before * (before + n_classes + n_left)
    columns = 8 * 8 * n * n_columns + n_threads * 4 * LANES * n * min(n_columns, MOST_COLUMNS)
    features = min(PANEL_BYTES, 8 * n * n_points) + min(2 * FEATURE_BYTES, 2 * n * n_points)
    block = 24 * min(BLOCK_VALUES, n_points * n_features) + 24 * min(
        BLOCK_VOTES, n_points * n_classes
    )
    return matrix + columns + features + PART_BYTES + block + 48 * n_points
