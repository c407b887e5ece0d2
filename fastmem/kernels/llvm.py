"""What intrinsics share: LLVM types, pointers, and vectors of numbers."""

from __future__ import annotations

from llvmlite import ir

FLOAT32 = ir.FloatType()
FLOAT64 = ir.DoubleType()
INT32 = ir.IntType(32)
INT64 = ir.IntType(64)


def array_pointer(context, builder, array_type, array):
    """Where the data of an array begin."""
    return context.make_array(array_type)(context, builder, array).data


class Vectors:
    """Emits loads and stores of ``lanes`` numbers of 32 or 64 bits, which lie anywhere."""

    def __init__(self, builder, lanes, element=FLOAT32):
        self.builder, self.lanes = builder, lanes
        self.vector = ir.VectorType(element, lanes)

    def _address(self, pointer, offset):
        address = self.builder.gep(pointer, [offset])
        return self.builder.bitcast(address, self.vector.as_pointer())

    def load(self, pointer, offset):
        """The numbers offset, ..., offset + lanes - 1 of an array."""
        vector = self.builder.load(self._address(pointer, offset), typ=self.vector)
        vector.align = 4
        return vector

    def store(self, vector, pointer, offset):
        """Write them."""
        self.builder.store(vector, self._address(pointer, offset)).align = 4

    def splat(self, scalar):
        """A number in all lanes."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
        zeros = ir.Constant(ir.VectorType(INT32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, zeros)

    def splat_at(self, pointer, offset):
        """The number ``offset`` of an array in all lanes."""
        address = self.builder.gep(pointer, [offset])
        scalar = self.builder.load(address, typ=self.vector.element)
        scalar.align = 4
        return self.splat(scalar)

    def constant(self, value):
        """A number known now in all lanes."""
        return ir.Constant(self.vector, [value] * self.lanes)
