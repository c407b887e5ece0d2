"""Workers on several cores by Numba's ``prange``: the one parallel loop, for all of them.

A worker is called by its address. Called by its name, its code would be compiled twice more, into
the body of the loop and into the function around it: for the sign patterns alone three seconds,
where this takes a third of one for all workers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmem.kernels.compiling import njit
from fastmem.kernels.llvm import INT64

_DATA = ir.IntType(8).as_pointer()


@intrinsic
def _packed(typingctx, address, arguments, failures):
    """A C function of one pointer that calls ``address`` with ``arguments``, and that pointer.

    Both as integers; the pointer is to the stack of the function that asks for it. failures (1,)
    int64 grows by 1 for every call that ends by an exception.
    """

    def codegen(context, builder, signature, args):
        kinds = list(signature.args[1].types)
        convention = context.call_conv
        counter = context.make_array(signature.args[2])(context, builder, args[2]).data
        held = cgutils.make_anonymous_struct(builder, [args[0], args[1], counter])
        pack = cgutils.alloca_once_value(builder, held)
        stub = ir.Function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [_DATA]),
            f"{builder.function.name}.worker",
        )
        stub.linkage = "internal"
        inner = ir.IRBuilder(stub.append_basic_block())
        held = inner.load(inner.bitcast(stub.args[0], pack.type))
        kind = convention.get_function_type(types.none, kinds).as_pointer()
        worker = inner.inttoptr(inner.extract_value(held, 0), kind)
        unpacked = cgutils.unpack_tuple(inner, inner.extract_value(held, 1), len(kinds))
        status, _ = convention.call_function(inner, worker, types.none, kinds, unpacked)
        with cgutils.if_unlikely(inner, status.is_error):
            one = ir.Constant(INT64, 1)
            inner.atomic_rmw("add", inner.extract_value(held, 2), one, "monotonic")
        inner.ret_void()
        numbers = [builder.ptrtoint(pointer, INT64) for pointer in (stub, pack)]
        return context.make_tuple(builder, signature.return_type, numbers)

    return types.UniTuple(types.int64, 2)(types.int64, arguments, failures), codegen


@intrinsic
def _call(typingctx, function, data):
    """Call a C function with a pointer."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [_DATA]).as_pointer()
        builder.call(builder.inttoptr(args[0], kind), [builder.inttoptr(args[1], _DATA)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@njit(nogil=True, cache=True, parallel=True)
def _call_side_by_side(n_workers, function, data):
    for _ in prange(n_workers):
        _call(function, data)  # type: ignore[call-arg]


@njit(nogil=True, cache=True)
def start_workers(n_workers, address, arguments, failures):
    """Run ``n_workers`` calls of the compiled worker at ``address`` and wait for all of them.

    arguments: a tuple of the types that it was compiled for. failures (1,) int64 grows by the
    number of workers that an exception ended: there was no memory for what they work in.
    """
    pair = _packed(address, arguments, failures)  # type: ignore[call-arg, var-annotated]
    _call_side_by_side(n_workers, pair[0], pair[1])


def address_of(worker: Any, kinds: tuple[Any, ...]) -> int:
    """Where the machine code of a kernel for arguments of these Numba types begins."""
    worker.compile(kinds)
    compiled = worker.overloads[kinds]
    address: int = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return address
