"""Compiled kernels side by side on several cores by Numba's ``prange``: the one parallel loop.

A kernel is called by its address. Called by its name, its code would be compiled twice more, into
the body of the loop and into the function around it: for the sign patterns alone three seconds,
where this takes a third of one for all kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmem.kernels.compiling import njit
from fastmem.kernels.llvm import INT64
from fastmem.kernels.queue import take

CALL_BYTES = 4096
"""Room for the arguments of a call."""


def _not_counted(context, builder, kind, value):
    """The value with no references counted, where it outlives the function that has it."""
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value)
        array.meminfo = ir.Constant(array.meminfo.type, None)
        return array._getvalue()
    if isinstance(kind, types.Tuple | types.UniTuple | types.NamedTuple | types.NamedUniTuple):
        parts = cgutils.unpack_tuple(builder, value, len(kind.types))
        pairs = zip(kind.types, parts, strict=True)
        parts = [_not_counted(context, builder, *pair) for pair in pairs]
        return context.make_tuple(builder, kind, parts)
    return value


@intrinsic
def _pack(typingctx, room, address, arguments, failures):
    """Write a call to ``room``; returns the address of a C function that makes such calls.

    room (CALL_BYTES,) uint8; address, an integer, and arguments, a tuple: the kernel, which returns
    nothing. failures (1,) int64 grows by 1 where the call ends by an exception. The C function
    takes the address of the room.
    """

    def codegen(context, builder, signature, args):
        kinds = list(signature.args[2].types)
        convention = context.call_conv
        pointers = [
            context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 3)
        ]
        held = _not_counted(context, builder, signature.args[2], args[2])
        call = cgutils.make_anonymous_struct(builder, [args[1], held, pointers[1]])
        if context.get_abi_sizeof(call.type) > CALL_BYTES:
            raise NotImplementedError(f"a call's arguments take more than {CALL_BYTES} bytes")
        place = call.type.as_pointer()
        builder.store(call, builder.bitcast(pointers[0], place))
        maker = ir.Function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [INT64]),
            f"{builder.function.name}.call",
        )
        maker.linkage = "internal"
        inner = ir.IRBuilder(maker.append_basic_block())
        held = inner.load(inner.inttoptr(maker.args[0], place))
        kind = convention.get_function_type(types.none, kinds).as_pointer()
        kernel = inner.inttoptr(inner.extract_value(held, 0), kind)
        unpacked = cgutils.unpack_tuple(inner, inner.extract_value(held, 1), len(kinds))
        status, _ = convention.call_function(inner, kernel, types.none, kinds, unpacked)
        with cgutils.if_unlikely(inner, status.is_error):
            one = ir.Constant(INT64, 1)
            inner.atomic_rmw("add", inner.extract_value(held, 2), one, "monotonic")
        inner.ret_void()
        return builder.ptrtoint(maker, INT64)

    return types.int64(room, types.int64, arguments, failures), codegen


@intrinsic
def _make_call(typingctx, maker, room):
    """Make the call that was written to ``room``."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [INT64]).as_pointer()
        builder.call(builder.inttoptr(args[0], kind), [args[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@njit(nogil=True, cache=True)
def pack_call(room, address, arguments, failures):
    """Write a call of the compiled kernel at ``address`` to ``room``; returns what makes it.

    room (CALL_BYTES,) uint8; arguments a tuple of the types that the kernel was compiled for, to
    which the caller holds on; failures (1,) int64.
    """
    return _pack(room, address, arguments, failures)  # type: ignore[call-arg]


@njit(nogil=True, cache=True, parallel=True)
def make_calls(n_threads, queue, makers, rooms):
    """Make the calls of ``rooms``, each on one of ``n_threads`` threads; makers, rooms (C,) int64.

    makers[i] is what `pack_call` gave, rooms[i] the address of the room.
    """
    for _ in prange(n_threads):
        while True:
            call = take(queue)
            if call >= rooms.shape[0]:
                break
            _make_call(makers[call], rooms[call])  # type: ignore[call-arg]


def compile_for(kinds: tuple[Any, ...]) -> None:
    """Compile what makes calls of kernels with arguments of these Numba types."""
    numbers = types.Array(types.int64, 1, "C")
    room = types.Array(types.uint8, 1, "C")
    pack_call.compile((room, types.int64, types.BaseTuple.from_types(kinds), numbers))
    make_calls.compile((types.int64, numbers, numbers, numbers))


def address_of(kernel: Any, kinds: tuple[Any, ...]) -> int:
    """Where the machine code of a kernel for arguments of these Numba types begins."""
    kernel.compile(kinds)
    compiled = kernel.overloads[kinds]
    address: int = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return address


def new_room() -> np.ndarray:
    """Room for one call, (CALL_BYTES,) uint8, aligned as NumPy aligns."""
    return np.empty(CALL_BYTES // 16, np.complex128).view(np.uint8)
