"""Counts of a mask over a few columns that lie next to each other, all at once in registers."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from fastmem.kernels.llvm import INT32, INT64, array_pointer

FAN = 16
"""Columns that are counted at once, and children of a node of ``kernels.bounds``: two vector
registers of words. Larger nodes leave more points to look at, smaller ones make more nodes."""
if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def columns_below(blocks, offset, stride, mask, limit, counts):
        """See below."""
        words = blocks.reshape(-1)[offset:]
        columns = np.stack([words[w * stride :][:FAN] for w in range(len(mask))])
        counts[:] = np.bitwise_count(columns & mask[:, None]).sum(axis=0)
        return np.int64(sum(1 << i for i in range(FAN) if counts[i] < limit))

else:

    @intrinsic
    def columns_below(typingctx, blocks, offset, stride, mask, limit, counts):
        """Count FAN columns of words; returns which are below ``limit``, as bits.

        counts[i] = |mask and the words at offset + i, offset + stride + i, ...|, i < FAN. blocks
        uint64 of any shape, C-contiguous; mask (n_words,) uint64, counts (FAN,) int64. Where none
        is below, 0 is returned as soon as that is known, and counts may be too small.
        """

        def codegen(context, builder, signature, args):
            vector = ir.VectorType(INT64, FAN)
            words, masks, out = (
                array_pointer(context, builder, signature.args[i], args[i]) for i in (0, 3, 5)
            )
            n_words = builder.extract_value(
                context.make_array(signature.args[3])(context, builder, args[3]).shape, 0
            )
            popcounts = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector]), f"llvm.ctpop.v{FAN}i64"
            )

            def splat(scalar):
                undefined = ir.Constant(vector, ir.Undefined)
                first = builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
                zeros = ir.Constant(ir.VectorType(INT32, FAN), [0] * FAN)
                return builder.shuffle_vector(first, undefined, zeros)

            limits = splat(args[4])
            before = builder.block
            loop = builder.function.append_basic_block("word")
            after = builder.function.append_basic_block("words.end")
            builder.cbranch(builder.icmp_signed(">", n_words, ir.Constant(INT64, 0)), loop, after)
            builder.position_at_end(loop)
            zero = ir.Constant(vector, [0] * FAN)
            word, at, sums = builder.phi(INT64), builder.phi(INT64), builder.phi(vector)
            word.add_incoming(ir.Constant(INT64, 0), before)
            at.add_incoming(args[1], before)
            sums.add_incoming(zero, before)
            address = builder.bitcast(builder.gep(words, [at]), vector.as_pointer())
            columns = builder.load(address, typ=vector)
            columns.align = 8
            inside = builder.and_(columns, splat(builder.load(builder.gep(masks, [word]))))
            more = builder.add(sums, builder.call(popcounts, [inside]))
            bits = builder.bitcast(builder.icmp_signed("<", more, limits), ir.IntType(FAN))
            following = builder.add(word, ir.Constant(INT64, 1))
            word.add_incoming(following, loop)
            at.add_incoming(builder.add(at, args[2]), loop)
            sums.add_incoming(more, loop)
            goes_on = builder.and_(
                builder.icmp_signed("<", following, n_words),
                builder.icmp_unsigned("!=", bits, ir.Constant(ir.IntType(FAN), 0)),
            )
            builder.cbranch(goes_on, loop, after)
            builder.position_at_end(after)
            total, below = builder.phi(vector), builder.phi(ir.IntType(FAN))
            total.add_incoming(zero, before)
            total.add_incoming(more, loop)
            below.add_incoming(ir.Constant(ir.IntType(FAN), 0), before)
            below.add_incoming(bits, loop)
            builder.store(total, builder.bitcast(out, vector.as_pointer())).align = 8
            return builder.zext(below, INT64)

        return (
            types.int64(blocks, types.int64, types.int64, mask, types.int64, counts),
            codegen,
        )
