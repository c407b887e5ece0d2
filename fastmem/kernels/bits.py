"""Machine instructions that Numba does not offer: popcount and the lowest one of a word.

Only this file, ``products``, ``butterflies`` and what they share, ``llvm``, know LLVM. With
``NUMBA_DISABLE_JIT=1`` the same names are plain Python, here as there.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def popcount(word):
        """Number of ones in a uint64."""
        return np.uint64(int(word).bit_count())

    def trailing_zeros(word):
        """Index of the lowest one of a uint64 that is not zero."""
        word = int(word)
        return np.int64((word & -word).bit_length() - 1)

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
