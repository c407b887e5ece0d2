"""Machine instructions that Numba does not offer: popcount, the lowest one, picked bits.

Only this file, ``products``, ``butterflies`` and what they share, ``llvm``, know LLVM. With
``NUMBA_DISABLE_JIT=1`` the same names are plain Python, here as there.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic


def _extract_bits(word, chosen):
    result = np.uint64(0)
    at = np.uint64(1)
    while chosen != np.uint64(0):
        lowest = chosen & (~chosen + np.uint64(1))
        if word & lowest != np.uint64(0):
            result |= at
        at <<= np.uint64(1)
        chosen ^= lowest
    return result


def _deposit_bits(word, chosen):
    result = np.uint64(0)
    while chosen != np.uint64(0):
        lowest = chosen & (~chosen + np.uint64(1))
        if word & np.uint64(1) != np.uint64(0):
            result |= lowest
        word >>= np.uint64(1)
        chosen ^= lowest
    return result


if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def popcount(word):
        """Number of ones in a uint64."""
        return np.uint64(int(word).bit_count())

    def trailing_zeros(word):
        """Index of the lowest one of a uint64 that is not zero."""
        word = int(word)
        return np.int64((word & -word).bit_length() - 1)

    def extract_bits(word, chosen):
        """The bits of a uint64 at the ones of ``chosen``, side by side from the lowest on."""
        return _extract_bits(word, chosen)

    def deposit_bits(word, chosen):
        """The reverse: the lowest bits of a uint64 at the ones of ``chosen``."""
        return _deposit_bits(word, chosen)

else:

    @intrinsic
    def popcount(typingctx, word):
        """Number of ones in a uint64."""

        def codegen(context, builder, signature, args):
            return builder.ctpop(args[0])

        return types.uint64(types.uint64), codegen

    @intrinsic
    def trailing_zeros(typingctx, word):
        """Index of the lowest one of a uint64 that is not zero."""

        def codegen(context, builder, signature, args):
            return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

        return types.int64(types.uint64), codegen

    def _picking(name, slow):
        """An intrinsic for an instruction of BMI2, or ``slow`` where the processor has none."""

        @intrinsic
        def pick(typingctx, word, chosen):
            signature = types.uint64(types.uint64, types.uint64)

            def codegen(context, builder, signature, args):
                if "+bmi2" not in context.codegen().magic_tuple()[-1]:
                    return context.compile_internal(builder, slow, signature, args)
                word = ir.IntType(64)
                function = cgutils.get_or_insert_function(
                    builder.module, ir.FunctionType(word, [word, word]), name
                )
                return builder.call(function, args)

            return signature, codegen

        return pick

    extract_bits = _picking("llvm.x86.bmi.pext.64", _extract_bits)
    deposit_bits = _picking("llvm.x86.bmi.pdep.64", _deposit_bits)
