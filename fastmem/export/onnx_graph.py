"""Nodes and constants of an ONNX model, and transforms made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

_NODE_BYTES = 120
"""What one more node takes in a file."""


class Graph:
    """Collects nodes and constants of one model."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, values: np.ndarray) -> str:
        """Add a constant, and return its name."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node with one output, and return that."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def cast(self, name: str, dtype: Any, output: str) -> str:
        """Add a node that changes a type."""
        from onnx import helper

        return self.node(
            "Cast", [name], output, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        )

    def whole_numbers(self, name: str, values: np.ndarray, dtype: Any) -> str:
        """A constant of whole numbers, stored in fewer bytes and cast, which runtimes do once."""
        size = np.abs(values).max(initial=0)
        kinds = [np.dtype(f"int{bits}") for bits in (8, 16, 32) if size < 1 << (bits - 1)]
        if not kinds or values.size * (np.dtype(dtype).itemsize - kinds[0].itemsize) < _NODE_BYTES:
            return self.constant(name, values.astype(dtype))
        return self.cast(self.constant(f"{name}_stored", values.astype(kinds[0])), dtype, name)

    def zeros(self, name: str, shape: tuple[int, ...], dtype: Any) -> str:
        """An array of zeros, which takes no room."""
        from onnx import numpy_helper

        extents = self.constant(f"{name}_shape", np.array(shape, np.int64))
        zero = numpy_helper.from_array(np.zeros(1, dtype))
        return self.node("ConstantOfShape", [extents], name, value=zero)

    def by_class(self, rows: str, widths: list[int], kind: str, output: str) -> str:
        """``kind``, as ReduceMax, over the columns of each class; (N, K)."""
        from onnx import helper

        if max(widths) > 1:  # or runtimes warn that nothing uses it
            self.constant("class_axis", np.array([1], np.int64))
        names = [f"block_{i}" for i in range(len(widths))]
        sizes = self.constant("widths", np.array(widths, np.int64))
        self.nodes.append(helper.make_node("Split", [rows, sizes], names, axis=1, name="blocks"))
        one_each = list(names)
        for i, (name, width) in enumerate(zip(names, widths, strict=True)):
            if width > 1:
                inputs = [name, "class_axis"]
                one_each[i] = self.node(kind, inputs, f"{output}_{i}", keepdims=1)
        return self.node("Concat", one_each, output, axis=1)

    def transform(
        self, x: str, d: int, signs: np.ndarray, dtype: np.dtype, prefix: str, turns: bool = False
    ) -> tuple[str, tuple[int, int]]:
        """H S_r ... H S_1 x of rows x (N, d): (N, n_blocks, rows, columns), and rows and columns.

        signs (n_blocks, rounds, D) bool: where S has -1. A block of D = a b rows takes its points
        as a x b matrices M: H_D is H_a M H_b. Each round multiplies by H_b on the right,
        transposes, multiplies by H_a on the right, and leaves the matrix transposed, so that the
        next round's signs are those of the transposed matrix. With ``turns`` only the fractions of
        the results are kept, after each round.
        """
        n_blocks, rounds, size = signs.shape
        b = 1 << (size.bit_length() // 2)
        a = size // b
        if d < size:
            pads = self.constant(f"{prefix}padding", np.array([0, 0, 0, size - d], np.int64))
            zero = self.constant(f"{prefix}zero", np.array(0, dtype))
            x = self.node("Pad", [x, pads, zero], f"{prefix}padded_points", mode="constant")
        # 0 is as many points as come in, also none of them, where -1 would be undefined
        shape = self.constant(f"{prefix}matrix_shape", np.array([0, 1, a, b], np.int64))
        state = self.node("Reshape", [x, shape], f"{prefix}matrices")
        shape_now = (a, b)
        hadamard = {}
        for side in {a, b}:
            hadamard[side] = self.whole_numbers(f"{prefix}hadamard_{side}", _hadamard(side), dtype)
        places = self.constant(f"{prefix}sign_places", np.arange(8, dtype=np.uint8))
        one = self.constant(f"{prefix}sign_bit", np.array([1], np.uint8))
        two = self.constant(f"{prefix}minus_two", np.array(-2, dtype))
        plus = self.constant(f"{prefix}plus_one", np.array(1, dtype))
        for t in range(rounds):
            rows, columns = shape_now
            name = f"{prefix}round_{t}"
            wanted = signs[:, t] if t % 2 == 0 else _transposed(signs[:, t], a, b)
            octets = np.packbits(wanted, axis=1, bitorder="little")
            packed = self.constant(f"{name}_signs", octets[:, :, None])
            moved = self.node("BitShift", [packed, places], f"{name}_moved", direction="RIGHT")
            alone = self.node("BitwiseAnd", [moved, one], f"{name}_bits")
            shape = self.constant(f"{name}_shape", np.array([n_blocks, rows, columns], np.int64))
            matrix = self.node("Reshape", [alone, shape], f"{name}_matrix")
            floats = self.cast(matrix, dtype, f"{name}_floats")
            twice = self.node("Mul", [floats, two], f"{name}_twice")
            diagonal = self.node("Add", [twice, plus], f"{name}_diagonal")
            state = self.node("Mul", [state, diagonal], f"{name}_flipped")
            state = self.node("MatMul", [state, hadamard[columns]], f"{name}_half")
            state = self.node("Transpose", [state], f"{name}_turned", perm=[0, 1, 3, 2])
            state = self.node("MatMul", [state, hadamard[rows]], f"{name}_whole")
            if turns:
                state = self.fraction(state, name)
            shape_now = (columns, rows)
        return state, shape_now

    def fraction(self, x: str, prefix: str) -> str:
        """What is left of numbers above the next whole one below."""
        return self.node("Sub", [x, self.node("Floor", [x], f"{prefix}_floor")], f"{prefix}_rest")


def _hadamard(size: int) -> np.ndarray:
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def _transposed(bits: np.ndarray, a: int, b: int) -> np.ndarray:
    return bits.reshape(-1, a, b).transpose(0, 2, 1).reshape(len(bits), -1)
