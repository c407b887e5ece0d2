"""Products of features with weights and with residuals, LANES points side by side.

Without fused operations, in a set order: the same float32 numbers on every machine. With
``NUMBA_DISABLE_JIT=1`` the same names are plain Python.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from fastmem.kernels.butterflies import LANES
from fastmem.kernels.layout import WORD_BITS
from fastmem.kernels.llvm import INT64, Vectors, array_pointer

_CHAINS = 4
"""Sums that are made side by side, or each addition would wait for the one before."""
TILES = 4
"""Tiles whose products `add_slopes` adds at once: slopes are read and written once for all."""

if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def add_votes(features, weights, first, votes):
        """See the compiled version."""
        rows = features.reshape(WORD_BITS, LANES)
        for c in range(len(votes)):
            sums = np.zeros((_CHAINS, LANES), np.float32)
            for h in range(WORD_BITS):
                sums[h % _CHAINS] += rows[h] * weights[first + h, c]
            votes[c] += (sums[0] + sums[1]) + (sums[2] + sums[3])

    def add_slopes(features, residuals, first, slopes):
        """See the compiled version."""
        rows = features.reshape(TILES, WORD_BITS, 1, LANES)
        for t in range(TILES):
            slopes[first : first + WORD_BITS] += rows[t] * residuals[t]

else:

    def _unpacked(context, builder, signature, args):
        """Pointers of the three arrays, the row ``first``, and K, the rows of the second-last."""
        pointers = [array_pointer(context, builder, signature.args[i], args[i]) for i in (0, 1, 3)]
        return pointers, args[2]

    @intrinsic
    def add_votes(typingctx, features, weights, first, votes):
        """votes[c] += sum over h < 64 of features[h] weights[first + h, c].

        features (64 LANES,), weights (n, K) and votes (K, LANES) float32, C-contiguous.
        """
        signature = types.void(features, weights, types.intp, votes)

        def codegen(context, builder, signature, args):
            (rows, table, target), first = _unpacked(context, builder, signature, args)
            shape = context.make_array(signature.args[1])(context, builder, args[1]).shape
            columns = builder.extract_value(shape, 1)
            vectors = Vectors(builder, LANES)
            with cgutils.for_range(builder, columns) as loop:
                sums = [vectors.constant(0.0)] * _CHAINS
                for h in range(WORD_BITS):
                    row = vectors.load(rows, ir.Constant(INT64, h * LANES))
                    place = builder.mul(builder.add(first, ir.Constant(INT64, h)), columns)
                    weight = vectors.splat_at(table, builder.add(place, loop.index))
                    product = builder.fmul(row, weight)
                    sums[h % _CHAINS] = builder.fadd(sums[h % _CHAINS], product)
                total = builder.fadd(builder.fadd(*sums[:2]), builder.fadd(*sums[2:]))
                at = builder.mul(loop.index, ir.Constant(INT64, LANES))
                vectors.store(builder.fadd(vectors.load(target, at), total), target, at)
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def add_slopes(typingctx, features, residuals, first, slopes):
        """slopes[first + h, c] += features[t, h] residuals[t, c] for h < 64, lane by lane.

        For t = 0, ..., TILES - 1, in this order. features (TILES 64 LANES,), residuals
        (TILES, K, LANES) and slopes (n, K, LANES) float32, C-contiguous.
        """
        signature = types.void(features, residuals, types.intp, slopes)

        def codegen(context, builder, signature, args):
            (rows, others, target), first = _unpacked(context, builder, signature, args)
            shape = context.make_array(signature.args[1])(context, builder, args[1]).shape
            columns = builder.extract_value(shape, 1)
            vectors = Vectors(builder, LANES)
            lanes = ir.Constant(INT64, LANES)
            with cgutils.for_range(builder, columns) as loop:
                residuals = []
                for t in range(TILES):
                    place = builder.mul(ir.Constant(INT64, t), columns)
                    place = builder.mul(builder.add(place, loop.index), lanes)
                    residuals.append(vectors.load(others, place))
                for h in range(WORD_BITS):
                    place = builder.mul(builder.add(first, ir.Constant(INT64, h)), columns)
                    at = builder.mul(builder.add(place, loop.index), lanes)
                    total = vectors.load(target, at)
                    for t, residual in enumerate(residuals):
                        at_row = ir.Constant(INT64, (t * WORD_BITS + h) * LANES)
                        product = builder.fmul(vectors.load(rows, at_row), residual)
                        total = builder.fadd(total, product)
                    vectors.store(total, target, at)
            return context.get_dummy_value()

        return signature, codegen
