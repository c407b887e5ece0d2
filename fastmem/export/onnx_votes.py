"""The votes of a read-out as nodes of an ONNX graph, in float64, where all of it is exact.

``kernels.cosines`` computes in integers modulo 2^32. Here such an integer t is t / 2^32 in turns:
a multiple of 2^-32 whose whole turns do not count. A sum of such numbers is not rounded, in
whatever order it is made, while it stays below 2^21:

- Points on the grid are at most 1/4, and 7/4 where they are multiplied by 7. A transform of D <=
  2^16 of these has sums below 2^17, and one of fractions below 2^16, so it is enough to keep the
  fraction after each transform.
- Up to D = 1,024 not even that is needed. The 2-norm of a point is at most 7/4 sqrt(D); a transform
  stretches 2-norms by sqrt(D), and its sums are at most the result's 2-norm: after three
  7/4 D^2, which with a phase is below 2^21.

So are sums of up to 2^16 products of two numbers of 7 bits.
"""

from __future__ import annotations

import numpy as np

from fastmem.export.layers import SecondLayer, cosine_table, wave_signs
from fastmem.export.onnx_graph import Graph
from fastmem.kernels.cosines import GRID_LIMIT, PHASE_STEP
from fastmem.readout import ReadOut

_TURN = 2.0**-32
_UNWRAPPED = 1024
_DOUBLE = np.dtype(np.float64)


def add_votes(
    graph: Graph,
    readout: ReadOut,
    scale: np.ndarray | None,
    point_type: np.dtype,
    margins: str | None,
    layer: SecondLayer,
) -> str:
    """Add the outputs ``scores`` and ``probabilities``; return scores less the largest.

    ``margins`` (N, m) are positive for neurons of ``layer`` that are on; None without neurons.
    """
    votes = _read(graph, readout, _angles(graph, readout, _grid(graph, readout, scale, point_type)))
    if margins is not None:
        assert layer.gains is not None
        zero = graph.constant("no_margin", np.array(0, np.float32))
        on = graph.cast(graph.node("Greater", [margins, zero], "on"), np.int64, "ones")
        gains = graph.constant("gains", layer.gains)
        gained = graph.node("Mul", [on, gains], "gained")
        sums = graph.by_class(gained, layer.widths, "ReduceSum", "corrections")
        votes = graph.node("Add", [votes, sums], "corrected_votes")
    votes = graph.node("Identity", [votes], "scores")
    axes = graph.constant("vote_axis", np.array([1], np.int64))
    most = graph.node("ReduceMax", [votes, axes], "most", keepdims=1)
    less = graph.cast(graph.node("Sub", [votes, most], "whole_less"), np.float64, "less")
    temperature = graph.constant("temperature", np.array(readout.temperature))
    logits = graph.node("Div", [less, temperature], "logits")
    graph.node("Softmax", [logits], "probabilities", axis=1)
    return less


def _grid(graph: Graph, readout: ReadOut, scale: np.ndarray | None, point_type: np.dtype) -> str:
    """Points on the grid, in turns."""
    x = "points"
    if point_type != _DOUBLE:
        x = graph.cast(x, np.float64, "double_points")
    if scale is not None:
        x = graph.node("Mul", [x, graph.constant("vote_scale", scale)], "vote_points")
    step = graph.constant("grid_step", np.array(np.ldexp(1.0, readout.exponent)))
    offsets = graph.whole_numbers("offsets", readout.offsets, np.float64)
    x = graph.node("Mul", [x, step], "large_points")
    x = graph.node("Sub", [x, offsets], "moved_points")
    low = graph.constant("grid_low", np.array(-GRID_LIMIT))
    high = graph.constant("grid_high", np.array(GRID_LIMIT))
    x = graph.node("Round", [graph.node("Clip", [x, low, high], "near_points")], "grid")
    return graph.node(
        "Mul", [x, graph.constant("turn", np.array(readout.multiplier * _TURN))], "grid_turns"
    )


def _angles(graph: Graph, readout: ReadOut, x: str) -> str:
    """Angles of all cosines, (N, n) turns from 0 to 1."""
    signs = wave_signs(readout)
    n_blocks, rounds, size = signs.shape
    wraps = rounds > 3 or size > _UNWRAPPED
    state, _ = graph.transform(x, readout.n_features, signs, _DOUBLE, "vote_", wraps)
    if rounds % 2:
        state = graph.node("Transpose", [state], "vote_blocks", perm=[0, 1, 3, 2])
    flat = graph.constant("vote_flat", np.array([0, n_blocks * size], np.int64))
    state = graph.node("Reshape", [state, flat], "vote_sums")
    n = len(readout)
    if n < n_blocks * size:
        ends = [
            graph.constant(f"vote_{name}", np.array([value], np.int64))
            for name, value in (("begin", 0), ("end", n), ("columns", 1))
        ]
        state = graph.node("Slice", [state, *ends], "vote_used")
    numbers = graph.node(
        "Range",
        [
            graph.constant("first_number", np.array(1.0)),
            graph.constant("last_number", np.array(n + 1.0)),
            graph.constant("next_number", np.array(1.0)),
        ],
        "numbers",
    )
    step = graph.constant("phase_step", np.array(PHASE_STEP * _TURN))
    phases = graph.node("Mul", [numbers, step], "phases")
    return graph.fraction(graph.node("Add", [state, phases], "angles"), "angle")


def _read(graph: Graph, readout: ReadOut, angles: str) -> str:
    """Votes of cosines, (N, K) int64."""
    parts = graph.constant("parts_of_a_turn", np.array(256.0))
    places = graph.cast(graph.node("Mul", [angles, parts], "parts"), np.int32, "places")
    table = graph.whole_numbers("cosine_table", cosine_table(), np.float64)
    cosines = graph.node("Gather", [table, places], "cosines", axis=0)
    weights = graph.whole_numbers("vote_weights", readout.weights, np.float64)
    votes = graph.cast(graph.node("MatMul", [cosines, weights], "vote_sums_of"), np.int64, "votes")
    intercepts = graph.constant("intercepts", readout.intercepts)
    votes = graph.node("Add", [votes, intercepts], "all_votes")
    if readout.weights.shape[1] > 1:
        return votes
    pads = graph.constant("vote_pads", np.array([0, 1, 0, 0], np.int64))
    none = graph.constant("no_votes", np.array(0, np.int64))
    return graph.node("Pad", [votes, pads, none], "both_votes", mode="constant")
