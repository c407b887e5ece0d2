"""Networks as ONNX files: products, comparisons and maxima that every runtime has."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.export.checking import ExportReport, best_arithmetic, reference
from fastmem.export.layers import (
    Arithmetic,
    SecondLayer,
    check_choice,
    check_network,
    check_size,
    refuse,
    second_layer,
    transforms_of,
)
from fastmem.hyperplanes.structured import StructuredHyperplanes, flips_of
from fastmem.inputs import InvalidInputError, check_threads
from fastmem.machine.extras import needs

if TYPE_CHECKING:
    from fastmem.network.network import Network

OPSET = 18
"""The first with ReduceMax by an input and with BitwiseAnd; of December 2022."""
IR_VERSION = 8
_TRANSFORM_BYTES = 4096
"""What the nodes of three rounds take in a file."""


def to_onnx(
    network: Network,
    path: str | os.PathLike[str],
    X: Any = None,
    y: Any = None,
    *,
    dtype: str = "auto",
    adjust: bool = True,
    first: str = "auto",
    masks: str = "packed",
    n_threads: int | None = None,
) -> ExportReport:
    """Write a network as an ONNX file of opset 18, and check it by onnxruntime.

    The graph: MatMul, Greater, Cast; MatMul and subtraction; ReduceMax over each class's block;
    ArgMax and a table of labels. Input ``points`` (N, d), outputs ``label`` (N,) and ``scores``
    (N, K) float32, those of ``decision_function``. Floats may round a bit that is doubtful, so
    pass the points that the network has memorised: all of them are run through the file. Names of
    features, where the network has some, are the metadata ``feature_names``, a JSON list.

    Parameters
    ----------
    network : Network
    path : str or os.PathLike
        Ends in .onnx. The file is written whole or not at all.
    X : array-like or CSR matrix of shape (n_samples, n_features_in_), optional
        Points on which the file must agree with the network. Their type, float32 or float64, is
        that of the input; without them it is float32.
    y : array-like of shape (n_samples,), optional
        Their labels, to be told which rows are wrong.
    dtype : {"auto", "float32", "float64"}
        Of the first layer's products. "auto" is float32 where that labels every point right, else
        float64; float64 without X.
    adjust : bool
        Whether biases may be moved, inside the gap between the points, where floats round a bit.
    first : {"auto", "explicit", "transforms"}
        Structured hyperplanes as a matrix, or as Walsh-Hadamard transforms; "auto" is the smaller.
    masks : {"packed", "int8", "float32"}
        Masks as eight bits a byte, which the runtime unpacks once; as integers with MatMulInteger;
        or as floats.
    n_threads : int, optional
        Threads of the check; all cores by default.

    Returns
    -------
    ExportReport
        ``rows`` are those that get another label than from the network, and there is then an
        ExportWarning.

    Raises
    ------
    InvalidInputError
        If an argument is no such thing, a label cannot be written, the file cannot be written, or
        the extra ``onnx`` is not installed.
    """
    check_network(network)
    check_choice("dtype", dtype, ("auto", "float32", "float64"))
    check_choice("first", first, ("auto", "explicit", "transforms"))
    check_choice("masks", masks, ("packed", "int8", "float32"))
    threads = check_threads(n_threads)
    path = Path(path)
    from fastmem.machine.files import check_output, moved_when_complete

    check_output(path, (".onnx",))
    with needs("onnx"):
        import onnx  # noqa: F401

        if X is not None:
            import onnxruntime  # noqa: F401
    transforms = _transforms(network, first)
    if transforms is None:
        check_size(network)
        order = np.arange(len(network.first))
    else:
        order = np.concatenate(
            [np.flatnonzero(transforms.rows >= 0), np.flatnonzero(transforms.rows < 0)]
        )
    layer = second_layer(network, order)
    labels = _labels(network.classes_)
    ref = reference(network, X, y, n_threads)
    point_type = np.dtype(np.float32) if ref is None else ref.points.dtype

    def build(way: Arithmetic) -> _Session:
        graph = _Graph(network, way, point_type)
        written = graph.model(transforms, layer, masks, labels)
        return _Session(written, None if ref is None else threads, len(order), network.classes_)

    session, way, report = best_arithmetic(network, order, build, ref, dtype, adjust)
    assert isinstance(session, _Session)
    with moved_when_complete(path) as temporary:
        temporary.write_bytes(session.model)
    settings = {
        "opset": str(OPSET),
        "first layer": "transforms" if transforms is not None else "explicit",
        "arithmetic": str(way),
        "masks": masks,
        "points": str(point_type),
    }
    report = replace(report, format="onnx", settings=settings, n_bytes=len(session.model))
    report.warn()
    return report


def _transforms(network: Network, first: str) -> StructuredHyperplanes | None:
    """The hyperplanes, where they are to be written as transforms."""
    planes = transforms_of(network.first)
    if planes is None or first == "explicit":
        if first == "transforms":
            refuse(
                "the network has no structured hyperplanes to write as transforms; pass "
                "first='auto', or fit with projection='structured'"
            )
        return None
    smaller = _TRANSFORM_BYTES + planes.signs.nbytes < 4 * len(planes) * planes.n_features
    return planes if smaller or first == "transforms" else None


def _labels(classes: np.ndarray) -> np.ndarray:
    """Labels in a type that ONNX has."""
    kind = classes.dtype.kind
    if kind == "U":
        for label in classes.tolist():
            try:
                encoded = label.encode("utf-8")
            except UnicodeEncodeError as error:
                raise InvalidInputError(
                    f"the label {label!r} is no text that UTF-8 can hold; rename it before the fit"
                ) from error
            if b"\0" in encoded:
                refuse(f"the label {label!r} holds NUL, which ends a text; rename it")
        return classes.astype(object)
    if kind == "i":
        return classes.astype(np.int64)
    if kind == "u":
        return classes.astype(np.int64 if int(classes.max()) < 1 << 63 else np.uint64)
    if kind == "f" and classes.dtype.itemsize < 4:
        return classes.astype(np.float32)
    return classes


class _Graph:
    """Collects nodes and constants of one model."""

    def __init__(self, network: Network, way: Arithmetic, point_type: np.dtype) -> None:
        self.network, self.way, self.point_type = network, way, point_type
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, values: np.ndarray) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def cast(self, name: str, dtype: Any, output: str) -> str:
        from onnx import helper

        return self.node(
            "Cast", [name], output, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        )

    def model(
        self,
        transforms: StructuredHyperplanes | None,
        layer: SecondLayer,
        masks: str,
        labels: np.ndarray,
    ) -> bytes:
        """The whole file."""
        from onnx import checker, helper

        way = self.way
        x = "points"
        if way.wide != self.point_type:
            x = self.cast(x, way.wide, "wide_points")
        if way.scale is not None:
            scale = self.constant("scale", way.scale.astype(way.wide))
            x = self.node("Mul", [x, scale], "scaled_points")
        if way.shift is not None:
            shift = self.constant("shift", way.shift.astype(way.wide))
            x = self.node("Sub", [x, shift], "centred_points")
        if way.dtype != way.wide:
            x = self.cast(x, way.dtype, "narrow_points")
        if transforms is None:
            weights = self.constant("weights", self.network.first.weights.T.astype(way.dtype))
            products = self.node("MatMul", [x, weights], "products")
        else:
            products = self.transformed(transforms, x)
        levels = self.constant("levels", way.levels)
        bits = self.node("Greater", [products, levels], "bits")
        scores = self.scores(bits, layer, masks)
        code = self.node("ArgMax", [scores], "code", axis=1, keepdims=0)
        table = self.constant("labels", labels)
        self.node("Gather", [table, code], "label", axis=0)
        of = helper.np_dtype_to_tensor_dtype
        d, k = self.network.n_features_in_, len(self.network.classes_)
        graph = helper.make_graph(
            self.nodes,
            "fastmem",
            [helper.make_tensor_value_info("points", of(self.point_type), ["N", d])],
            [
                helper.make_tensor_value_info("label", of(np.dtype(labels.dtype)), ["N"]),
                helper.make_tensor_value_info("scores", of(np.dtype(np.float32)), ["N", k]),
            ],
            self.constants,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
            producer_name="fastmem",
        )  # fmt: skip
        if self.network.feature_names is not None:
            names = json.dumps(list(self.network.feature_names))
            helper.set_model_props(model, {"feature_names": names})
        checker.check_model(model, full_check=True)
        written: bytes = model.SerializeToString(deterministic=True)
        return written

    def scores(self, bits: str, layer: SecondLayer, masks: str) -> str:
        """Maxima, over the neurons of each class, of m - <u, bits>; whole numbers below 2^24."""
        if masks == "int8":
            ones = self.cast(bits, np.uint8, "bit_bytes")
            weights = self.constant("masks", layer.masks.T)
            counts = self.node("MatMulInteger", [ones, weights], "whole_counts")
            counts = self.cast(counts, np.float32, "counts")
        else:
            ones = self.cast(bits, np.float32, "bit_floats")
            if masks == "packed":
                weights = self.unpacked(layer.masks)
            else:
                weights = self.constant("masks", layer.masks.T.astype(np.float32))
            counts = self.node("MatMul", [ones, weights], "counts")
        levels = self.constant("thresholds", layer.levels)
        margins = self.node("Sub", [levels, counts], "margins")
        axes = self.constant("class_axis", np.array([1], np.int64))
        from onnx import helper

        names = [f"block_{i}" for i in range(len(layer.widths))]
        sizes = self.constant("widths", np.array(layer.widths, np.int64))
        self.nodes.append(helper.make_node("Split", [margins, sizes], names, axis=1, name="blocks"))
        best = [
            name if width == 1 else self.node("ReduceMax", [name, axes], f"best_{i}", keepdims=1)
            for i, (name, width) in enumerate(zip(names, layer.widths, strict=True))
        ]
        return self.node("Concat", best, "scores", axis=1)

    def unpacked(self, masks: np.ndarray) -> str:
        """Masks from eight bits a byte, as (n, m) floats; runtimes compute constants once."""
        m, n = masks.shape
        octets = np.packbits(masks.T, axis=0, bitorder="little")  # (ceil(n / 8), m)
        packed = self.constant("packed_masks", octets[:, None, :])
        places = self.constant("bit_places", np.arange(8, dtype=np.uint8)[:, None])
        shifted = self.node("BitShift", [packed, places], "moved_masks", direction="RIGHT")
        one = self.constant("one_bit", np.array([1], np.uint8))
        alone = self.node("BitwiseAnd", [shifted, one], "mask_bits")
        shape = self.constant("mask_shape", np.array([-1, m], np.int64))
        flat = self.node("Reshape", [alone, shape], "padded_masks")
        begin = self.constant("mask_begin", np.array([0], np.int64))
        end = self.constant("mask_end", np.array([n], np.int64))
        axis = self.constant("mask_axis", np.array([0], np.int64))
        cut = self.node("Slice", [flat, begin, end, axis], "cut_masks")
        return self.cast(cut, np.float32, "masks")

    def transformed(self, planes: StructuredHyperplanes, x: str) -> str:
        """Products of the generated rows, then those of the stored ones.

        A block of D = a b rows takes its points as a x b matrices M: H_D is H_a M H_b. Each round
        multiplies by H_b on the right, transposes, multiplies by H_a on the right, and leaves the
        matrix transposed, so that the next round's signs are those of the transposed matrix.
        """
        dtype = self.way.dtype
        size, d = planes.block_rows, planes.n_features
        n_blocks, rounds, _ = planes.signs.shape
        b = 1 << (size.bit_length() // 2)
        a = size // b
        whole = x
        if d < size:
            pads = self.constant("padding", np.array([0, 0, 0, size - d], np.int64))
            zero = self.constant("zero", np.array(0, dtype))
            x = self.node("Pad", [x, pads, zero], "padded_points", mode="constant")
        # 0 is as many points as come in, also none of them, where -1 would be undefined
        shape = self.constant("matrix_shape", np.array([0, 1, a, b], np.int64))
        state = self.node("Reshape", [x, shape], "matrices")
        signs = 1 - 2 * (flips_of(planes.signs) >> 31).astype(np.int8).reshape(
            n_blocks, rounds, size
        )
        octets = np.packbits(signs < 0, axis=2, bitorder="little")
        shape_now = (a, b)
        hadamard = {}
        for side in {a, b}:
            values = _hadamard(side).astype(dtype)
            hadamard[side] = self.constant(f"hadamard_{side}", values)
        # exact: D is a power of two; first, so that nothing on the way is larger than the result
        share = self.constant("share", np.array(1.0 / size, dtype))
        state = self.node("Mul", [state, share], "scaled_matrices")
        places = self.constant("sign_places", np.arange(8, dtype=np.uint8))
        one = self.constant("sign_bit", np.array([1], np.uint8))
        two = self.constant("minus_two", np.array(-2, dtype))
        plus = self.constant("plus_one", np.array(1, dtype))
        for t in range(rounds):
            rows, columns = shape_now
            name = f"round_{t}"
            wanted = octets[:, t] if t % 2 == 0 else _transposed(octets[:, t], a, b)
            packed = self.constant(f"{name}_signs", wanted[:, :, None])
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
            shape_now = (columns, rows)
        flat = self.constant("flat_shape", np.array([0, n_blocks * size], np.int64))
        state = self.node("Reshape", [state, flat], "all_products")
        numbers = planes.rows[planes.rows >= 0].astype(np.int64)
        if shape_now != (a, b) or rounds % 2:
            block, place = np.divmod(numbers, size)
            row, column = np.divmod(place, b)
            numbers = block * size + column * a + row
        kept = self.constant("generated_rows", numbers)
        products = self.node("Gather", [state, kept], "generated_products", axis=1)
        stored = planes.rows[planes.rows < 0]
        if len(stored) == 0:
            return products
        weights = self.constant("stored_weights", planes.extra[-1 - stored].T.astype(dtype))
        more = self.node("MatMul", [whole, weights], "stored_products")
        return self.node("Concat", [products, more], "products", axis=1)


def _hadamard(size: int) -> np.ndarray:
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def _transposed(octets: np.ndarray, a: int, b: int) -> np.ndarray:
    bits = np.unpackbits(octets, axis=1, bitorder="little").reshape(-1, a, b)
    turned = bits.transpose(0, 2, 1).reshape(len(bits), -1)
    return np.packbits(turned, axis=1, bitorder="little")


class _Session:
    """A model in onnxruntime."""

    def __init__(self, model: bytes, threads: int | None, n: int, classes: np.ndarray) -> None:
        self.model, self.threads, self.classes = model, threads, classes
        if threads is not None:
            self.session = self._opened(model)
        self._products: Any = None

    def _opened(self, model: bytes) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def labels(self, block: np.ndarray) -> np.ndarray:
        """Labels of points, as the network's type."""
        (found,) = self.session.run(["label"], {"points": block})
        return np.array(found.tolist()) if self.classes.dtype.kind == "U" else found

    def products(self, block: np.ndarray) -> np.ndarray:
        """What the first layer compares: the input of the node ``bits``."""
        if self._products is None:
            import onnx
            from onnx import helper

            model = onnx.load_model_from_string(self.model)
            (compare,) = (node for node in model.graph.node if node.name == "bits")
            (levels,) = (c for c in model.graph.initializer if c.name == "levels")
            shown = helper.make_tensor_value_info(compare.input[0], levels.data_type, None)
            model.graph.output.append(shown)
            self._products = self._opened(model.SerializeToString()), compare.input[0]
        session, name = self._products
        products: np.ndarray = session.run([name], {"points": block})[0]
        return products
