"""How points and patterns lie in memory: sizes that kernels and their callers share."""

from __future__ import annotations

WORD_BITS = 64
TILE_ROWS = 6
"""Points that one register tile multiplies at once.

On AVX-512, 6 points x 64 hyperplanes are 24 accumulators of 16 floats, which leaves 8 of the 32
registers for weights and broadcasts. Fewer points load each weight more often; the page
"Measurements" has the rates.
"""
FEW_LANES = 16
"""Hyperplanes whose weights are read at once where those of a whole word take too much room."""
TILE = 192
"""Points a tile: a multiple of TILE_ROWS and of 8 (words in a vector register)."""
DEPTH = 512
"""Features summed at once: a panel of 64 hyperplanes x DEPTH (128 KB) stays in the L2 cache, and
the error bound, which grows with the length of a sum, is halved at d = 784."""
GROUPS = TILE // TILE_ROWS
MASK_GROUP = 4
"""Masks counted at once; stacks of masks are padded to a multiple of it with empty masks."""
