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
    without_unused,
)
from fastmem.export.onnx_graph import Graph
from fastmem.export.onnx_votes import add_votes
from fastmem.hyperplanes.keyed import KeyedHyperplanes
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

    In a decision list the score of a neuron that is on is a whole number, the larger the earlier
    it stands, so that the largest of each class and ArgMax find the first.

    With ``decision="vote"`` the scores are votes, whole numbers in int64, and there is a third
    output, ``probabilities`` (N, K) float64. The read-out is computed in float64, which holds all
    its whole numbers: votes are those of fastmem on every machine, but for what doubtful bits of
    exceptions add.

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
    network = without_unused(network)
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

    def build(way: Arithmetic | None) -> _Session:
        written = _Model(network, way, point_type).written(transforms, layer, masks, labels)
        return _Session(written, None if ref is None else threads, len(order), network.classes_)

    session, way, report = best_arithmetic(network, order, build, ref, dtype, adjust)
    assert isinstance(session, _Session)
    with moved_when_complete(path) as temporary:
        temporary.write_bytes(session.model)
    settings = {"opset": str(OPSET)}
    if network.readout is not None:
        settings["cosines"] = f"{len(network.readout):,}"
    if way is not None:
        settings |= {
            "first layer": "transforms" if transforms is not None else "explicit",
            "arithmetic": str(way),
            "masks": masks,
        }
    settings["points"] = str(point_type)
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


class _Model(Graph):
    """The graph of one network; ``way`` is None for a vote without exceptions."""

    def __init__(self, network: Network, way: Arithmetic | None, point_type: np.dtype) -> None:
        super().__init__()
        self.network, self.way, self.point_type = network, way, point_type

    def written(
        self,
        transforms: StructuredHyperplanes | None,
        layer: SecondLayer,
        masks: str,
        labels: np.ndarray,
    ) -> bytes:
        """The whole file."""
        from onnx import checker, helper

        readout = self.network.readout
        margins = None
        if self.way is not None:
            margins = self.margins(self.bits(self.way, transforms), layer, masks)
        outputs: dict[str, Any] = {"label": labels.dtype}
        if readout is not None:
            best = add_votes(self, readout, self.network.scale, self.point_type, margins, layer)
            outputs |= {"scores": np.int64, "probabilities": np.float64}
        else:
            assert margins is not None
            if layer.values is not None:
                margins = self.values(margins, layer.values)
            best = self.by_class(margins, layer.widths, "ReduceMax", "scores")
            outputs["scores"] = np.float32
        code = self.node("ArgMax", [best], "code", axis=1, keepdims=0)
        table = self.constant("labels", labels)
        self.node("Gather", [table, code], "label", axis=0)
        d, k = self.network.n_features_in_, len(self.network.classes_)

        def value(name: str, dtype: Any, *shape: Any) -> Any:
            of = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            return helper.make_tensor_value_info(name, of, ["N", *shape])

        graph = helper.make_graph(
            self.nodes,
            "fastmem",
            [value("points", self.point_type, d)],
            [
                value(name, dtype, *([] if name == "label" else [k]))
                for name, dtype in outputs.items()
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

    def bits(self, way: Arithmetic, transforms: StructuredHyperplanes | None) -> str:
        """Sign patterns, (N, n) bool."""
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
            first = self.network.first
            if isinstance(first, KeyedHyperplanes) and not len(first.extra):
                weights = self.scattered(first, way.dtype)
            else:
                weights = self.constant("weights", first.weights.T.astype(way.dtype))
            products = self.node("MatMul", [x, weights], "products")
        else:
            products = self.transformed(transforms, x, way.dtype)
        levels = self.constant("levels", way.levels)
        return self.node("Greater", [products, levels], "bits")

    def margins(self, bits: str, layer: SecondLayer, masks: str) -> str:
        """m - <u, bits> of all neurons; whole numbers below 2^24."""
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
        return self.node("Sub", [levels, counts], "margins")

    def scattered(self, first: KeyedHyperplanes, dtype: np.dtype) -> str:
        """Weights of rows of few entries, (d, n), from the entries; runtimes do it once."""
        n, s = len(first), first.n_entries
        columns = first.entries.columns.reshape(n, s).T
        places = self.whole_numbers("entry_places", columns, np.int64)
        signs = first.entries.weights.reshape(n, s).T
        entries = self.whole_numbers("entries", signs, dtype)
        empty = self.zeros("no_weights", (first.n_features, n), dtype)
        return self.node(
            "ScatterElements", [empty, places, entries], "weights", axis=0, reduction="add"
        )

    def values(self, margins: str, values: np.ndarray) -> str:
        """Scores of the neurons of a decision list: their values where they are on, else 0."""
        zero = self.constant("no_margin", np.array(0, np.float32))
        on = self.cast(self.node("Greater", [margins, zero], "on"), np.float32, "ones")
        return self.node("Mul", [on, self.constant("values", values)], "values_on")

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

    def transformed(self, planes: StructuredHyperplanes, x: str, dtype: np.dtype) -> str:
        """Products of the generated rows, then those of the stored ones."""
        size, d = planes.block_rows, planes.n_features
        # exact: D is a power of two; first, so that nothing on the way is larger than the result
        share = self.constant("share", np.array(1.0 / size, dtype))
        scaled = self.node("Mul", [x, share], "scaled_rows")
        signs = flips_of(planes.signs) != 0
        state, (rows, columns) = self.transform(scaled, d, signs, dtype, "")
        n_blocks, rounds, _ = signs.shape
        flat = self.constant("flat_shape", np.array([0, n_blocks * size], np.int64))
        state = self.node("Reshape", [state, flat], "all_products")
        numbers = planes.rows[planes.rows >= 0].astype(np.int64)
        if rounds % 2:  # they stand transposed
            block, place = np.divmod(numbers, size)
            row, column = np.divmod(place, rows)
            numbers = block * size + column * columns + row
        kept = self.constant("generated_rows", numbers)
        products = self.node("Gather", [state, kept], "generated_products", axis=1)
        stored = planes.rows[planes.rows < 0]
        if len(stored) == 0:
            return products
        weights = self.constant("stored_weights", planes.extra[-1 - stored].T.astype(dtype))
        more = self.node("MatMul", [x, weights], "stored_products")
        return self.node("Concat", [products, more], "products", axis=1)


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
