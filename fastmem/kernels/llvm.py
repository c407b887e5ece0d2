"""What intrinsics share: LLVM types and pointers."""

from __future__ import annotations

from llvmlite import ir

FLOAT32 = ir.FloatType()
INT32 = ir.IntType(32)
INT64 = ir.IntType(64)


def array_pointer(context, builder, array_type, array):
    """Where the data of an array begin."""
    return context.make_array(array_type)(context, builder, array).data
