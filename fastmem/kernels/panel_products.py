"""Products of rows with a panel of columns, subtracted in float64.

Without fused operations and in a set order: the same numbers on every machine. With
``NUMBA_DISABLE_JIT=1`` the same name is plain Python.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

from fastmem.kernels.llvm import INT64, Vectors, array_pointer

PANEL = 64
PANEL_ROWS = 4
"""Rows at once: with _LANES columns each, eight registers of AVX-512 hold their sums."""
_LANES = 16

if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def subtract_products(matrix, row, depth, panel, sums):
        """See the compiled version."""
        for k in range(depth):
            sums -= matrix[row : row + PANEL_ROWS, k, None] * panel[k]

else:

    @intrinsic
    def subtract_products(typingctx, matrix, row, depth, panel, sums):
        """sums[r, j] -= sum over k < depth of matrix[row + r, k] panel[k, j], k ascending.

        For r < PANEL_ROWS and j < PANEL. matrix (rows, n), panel (>= depth, PANEL) and sums
        (PANEL_ROWS, PANEL) float64, C-contiguous.
        """
        signature = types.void(matrix, types.intp, types.intp, panel, sums)

        def codegen(context, builder, signature, args):
            kinds = signature.args
            shape = context.make_array(kinds[0])(context, builder, args[0]).shape
            pitch = builder.extract_value(shape, 1)
            source = array_pointer(context, builder, kinds[0], args[0])
            columns = array_pointer(context, builder, kinds[3], args[3])
            target = array_pointer(context, builder, kinds[4], args[4])
            row, depth = args[1:3]
            vectors = Vectors(builder, _LANES, ir.DoubleType())
            starts = [
                builder.mul(builder.add(row, ir.Constant(INT64, r)), pitch)
                for r in range(PANEL_ROWS)
            ]
            zero = ir.Constant(INT64, 0)
            some = builder.icmp_signed(">", depth, zero)
            with builder.if_then(some):
                for first in range(0, PANEL, _LANES):
                    places = [ir.Constant(INT64, r * PANEL + first) for r in range(PANEL_ROWS)]
                    before = builder.block
                    initial = [vectors.load(target, place) for place in places]
                    loop = builder.append_basic_block("depth")
                    after = builder.append_basic_block("depth.end")
                    builder.branch(loop)
                    builder.position_at_end(loop)
                    k = builder.phi(INT64)
                    k.add_incoming(zero, before)
                    held = []
                    for value in initial:
                        phi = builder.phi(vectors.vector)
                        phi.add_incoming(value, before)
                        held.append(phi)
                    at = builder.add(
                        builder.mul(k, ir.Constant(INT64, PANEL)), ir.Constant(INT64, first)
                    )
                    column = vectors.load(columns, at)
                    following = builder.add(k, ir.Constant(INT64, 1))
                    k.add_incoming(following, loop)
                    updated = []
                    for r in range(PANEL_ROWS):
                        factor = vectors.splat_at(source, builder.add(starts[r], k))
                        updated.append(builder.fsub(held[r], builder.fmul(factor, column)))
                        held[r].add_incoming(updated[r], loop)
                    builder.cbranch(builder.icmp_signed("<", following, depth), loop, after)
                    builder.position_at_end(after)
                    for place, value in zip(places, updated, strict=True):
                        vectors.store(value, target, place)
            return context.get_dummy_value()

        return signature, codegen
