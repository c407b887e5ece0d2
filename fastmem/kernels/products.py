"""Products of points and weights in registers, and their signs as bits.

In float32 for WORD_BITS hyperplanes side by side, in float64 for DOUBLES of whatever it is, and in
int32 for WORD_BITS columns of whole numbers.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from fastmem.kernels.layout import FEW_LANES, TILE_ROWS, WORD_BITS
from fastmem.kernels.llvm import FLOAT32, FLOAT64, INT32, INT64, Vectors, array_pointer

DOUBLES = WORD_BITS // 2
"""Numbers in float64 that take the room of WORD_BITS in float32."""


def lanes_of(context) -> int:
    """Hyperplanes in flight: all 64 with AVX-512's 32 wide registers, else 16 a pass."""
    features = context.codegen().magic_tuple()[-1]
    return WORD_BITS if "+avx512f" in features else 16


def pair_instruction(context) -> tuple[str, int] | None:
    """What adds products of pairs of int16 up, in how many lanes; None but on x86."""
    triple, _, features = context.codegen().magic_tuple()
    if not triple.startswith("x86_64"):
        return None
    if "+avx512bw" in features:
        return "llvm.x86.avx512.pmaddw.d.512", 16
    return ("llvm.x86.avx2.pmadd.wd", 8) if "+avx2" in features else ("llvm.x86.sse2.pmadd.wd", 4)


class _TileBuilder(Vectors):
    """Emits the loop over features that multiplies TILE_ROWS points by ``lanes`` hyperplanes."""

    def __init__(self, builder, lanes, panel, points, depth, element=FLOAT32):
        super().__init__(builder, lanes, element)
        self.width = DOUBLES if element == FLOAT64 else WORD_BITS
        self.panel, self.points, self.depth = panel, points, depth

    def products(self, first_lane):
        """Sums over the depth of weights x coordinates, one vector a point."""
        builder = self.builder
        before = builder.block
        loop = builder.function.append_basic_block("feature")
        after = builder.function.append_basic_block("features.end")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(INT64)
        k.add_incoming(ir.Constant(INT64, 0), before)
        sums = []
        for _ in range(TILE_ROWS):
            accumulator = builder.phi(self.vector)
            accumulator.add_incoming(ir.Constant(self.vector, None), before)
            sums.append(accumulator)
        weights = self.load(
            self.panel,
            builder.add(
                builder.mul(k, ir.Constant(INT64, self.width)), ir.Constant(INT64, first_lane)
            ),
        )
        at_point = builder.mul(k, ir.Constant(INT64, TILE_ROWS))
        updated = []
        for row, accumulator in enumerate(sums):
            coordinate = self.splat_at(self.points, builder.add(at_point, ir.Constant(INT64, row)))
            updated.append(self.multiplied(weights, coordinate, accumulator))
        following = builder.add(k, ir.Constant(INT64, 1))
        k.add_incoming(following, loop)
        for accumulator, value in zip(sums, updated, strict=True):
            accumulator.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, self.depth), loop, after)
        builder.position_at_end(after)
        return updated

    def multiplied(self, weights, coordinate, accumulator):
        """Sum of ``accumulator`` and the products of two vectors."""
        kind = "f64" if self.vector.element == FLOAT64 else "f32"
        multiply_add = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(self.vector, [self.vector] * 3),
            f"llvm.fmuladd.v{self.lanes}{kind}",
        )
        return self.builder.call(multiply_add, [weights, coordinate, accumulator])

    def added(self, first, second):
        """Sum of two vectors."""
        return self.builder.fadd(first, second)

    def mask(self, condition):
        """Comparison of ``lanes`` floats as the low bits of a 64-bit word."""
        bits = self.builder.bitcast(condition, ir.IntType(self.lanes))
        return bits if self.lanes == WORD_BITS else self.builder.zext(bits, INT64)


class _PairBuilder(_TileBuilder):
    """The same for whole numbers: two of 16 bits in a lane, whose products are added in 32 bits.

    x86 has one instruction for that, with twice the products of one for float32. LLVM does not find
    it where a factor is the same in all lanes, so that it is asked for by name.
    """

    instruction: tuple[str, int] | None = None

    def multiplied(self, weights, coordinate, accumulator):
        """See _TileBuilder."""
        builder = self.builder
        name, n = self.instruction or ("", self.lanes)
        part, halves = ir.VectorType(INT32, n), ir.VectorType(ir.IntType(16), 2 * n)
        sums = []
        for first in range(0, self.lanes, n):
            places = ir.Constant(part, list(range(first, first + n)))
            pairs = [
                builder.bitcast(builder.shuffle_vector(vector, vector, places), halves)
                for vector in (weights, coordinate)
            ]
            if name:
                kind = ir.FunctionType(part, [halves, halves])
                call = cgutils.get_or_insert_function(builder.module, kind, name)
                sums.append(builder.call(call, pairs))
            else:
                sums.append(self._sums_of_pairs(pairs, part))
        while len(sums) > 1:
            n *= 2
            places = ir.Constant(ir.VectorType(INT32, n), list(range(n)))
            sums = [
                builder.shuffle_vector(low, high, places)
                for low, high in zip(sums[::2], sums[1::2], strict=True)
            ]
        return builder.add(accumulator, sums[0])

    def _sums_of_pairs(self, pairs, part):
        builder = self.builder
        products = []
        for half in range(2):
            places = ir.Constant(part, list(range(half, 2 * part.count, 2)))
            factors = [
                builder.sext(builder.shuffle_vector(pair, pair, places), part) for pair in pairs
            ]
            products.append(builder.mul(*factors))
        return builder.add(*products)

    def added(self, first, second):
        """See _TileBuilder."""
        return self.builder.add(first, second)


def _tile(context, builder, panels_type, panels, word, first, last, points_type, points, group):
    """Tile of panels[word, first:last] x points[group, first:last]; last > first."""
    element, width, lanes, kind = FLOAT32, WORD_BITS, lanes_of(context), _TileBuilder
    if panels_type.dtype == types.float64:
        element, width, lanes = FLOAT64, DOUBLES, lanes // 2
    elif panels_type.dtype == types.int32:
        element, kind = INT32, _PairBuilder
        kind.instruction = pair_instruction(context)
    panel_array = context.make_array(panels_type)(context, builder, panels)
    features = builder.extract_value(panel_array.shape, 1)
    row = builder.add(builder.mul(word, features), first)
    panel = builder.gep(panel_array.data, [builder.mul(row, ir.Constant(INT64, width))])
    row = builder.add(builder.mul(group, features), first)
    point = builder.gep(
        array_pointer(context, builder, points_type, points),
        [builder.mul(row, ir.Constant(INT64, TILE_ROWS))],
    )
    return kind(builder, lanes, panel, point, builder.sub(last, first), element)


if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def _products(panels, word, first, last, points, group):
        weights, coordinates = panels[word, first:last], points[group, first:last]
        if panels.dtype == np.int32:
            weights, coordinates = _by_half(weights), _by_half(coordinates)
        return coordinates.T @ weights

    def _by_half(pairs):
        halves = np.ascontiguousarray(pairs).view(np.int16).astype(np.int32)
        return halves.reshape(*pairs.shape, 2).transpose(0, 2, 1).reshape(-1, pairs.shape[1])

    def add_products(panels, word, first, last, points, group, sums):
        """See the compiled version."""
        sums[group] += _products(panels, word, first, last, points, group)

    def sign_words(
        panels, word, first, last, points, group, initial, origin, step, slack, positive, doubtful
    ):
        """See the compiled version."""
        rows = initial.reshape(-1)[
            origin + step * np.arange(TILE_ROWS)[:, None] + np.arange(WORD_BITS)
        ]
        sums = _products(panels, word, first, last, points, group) + rows
        certain = np.packbits(sums > slack, axis=1, bitorder="little").view(np.uint64)[:, 0]
        possible = np.packbits(~(sums < -slack), axis=1, bitorder="little").view(np.uint64)[:, 0]
        positive[:] = certain
        doubtful[:] = certain ^ possible

    def add_rows(panels, group, columns, values, start, stop, sums):
        """See the compiled version."""
        entries = slice(start, stop)
        sums[: panels.shape[2]] += values[entries] @ panels[group, columns[entries]]

    add_few_rows = add_rows

    def compare(sums, slack, words):
        """See the compiled version."""
        certain = np.packbits(sums > slack, bitorder="little").view(np.uint64)[0]
        possible = np.packbits(~(sums < -slack), bitorder="little").view(np.uint64)[0]
        words[0], words[1] = certain, certain ^ possible

else:

    @intrinsic
    def add_products(typingctx, panels, word, first, last, points, group, sums):
        """Add the products of one tile to ``sums``.

        panels (words, d, 64) float32, points (groups, d, TILE_ROWS) float32,
        sums (groups, TILE_ROWS, 64) float32: sums[group] += points[group]^T panels[word] over the
        features first..last-1, of which there is one at least. Or all in float64, and DOUBLES for
        64. Or all in int32, where numbers of panels and points are pairs of int16, two features
        each, and sums wrap around.
        """
        index = types.intp
        signature = types.void(panels, index, index, index, points, index, sums)

        def codegen(context, builder, signature, args):
            panels, word, first, last, points, group, sums = args
            tile = _tile(
                context, builder, signature.args[0], panels, word, first, last,
                signature.args[4], points, group,
            )  # fmt: skip
            pointer = array_pointer(context, builder, signature.args[6], sums)
            base = builder.mul(group, ir.Constant(INT64, TILE_ROWS * tile.width))
            for lane in range(0, tile.width, tile.lanes):
                for row, products in enumerate(tile.products(lane)):
                    at = builder.add(base, ir.Constant(INT64, row * tile.width + lane))
                    tile.store(tile.added(tile.load(pointer, at), products), pointer, at)
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def sign_words(
        typingctx, panels, word, first, last, points, group, initial, origin, step, slack,
        positive, doubtful,
    ):  # fmt: skip
        """Signs of one tile, as one word a point.

        To the products over the features first..last-1 (as in ``add_products``) is added, for
        the point ``row`` of the group, initial.flat[origin + step * row:][:64]. Bit h of
        positive[row] is 1 where the sum exceeds slack[h]; bit h of doubtful[row] where the sum
        lies within +-slack[h] or is not a number.
        """
        index = types.intp
        signature = types.void(
            panels, index, index, index, points, index, initial, index, index, slack,
            positive, doubtful,
        )  # fmt: skip

        def codegen(context, builder, signature, args):
            (panels, word, first, last, points, group, initial, origin, step, slack,
             positive, doubtful) = args  # fmt: skip
            kinds = signature.args
            tile = _tile(
                context, builder, kinds[0], panels, word, first, last, kinds[4], points, group
            )
            initial = array_pointer(context, builder, kinds[6], initial)
            slack = array_pointer(context, builder, kinds[9], slack)
            certain = [ir.Constant(INT64, 0)] * TILE_ROWS
            doubt = [ir.Constant(INT64, 0)] * TILE_ROWS
            for lane in range(0, WORD_BITS, tile.lanes):
                upper = None
                for row, products in enumerate(tile.products(lane)):
                    if upper is None:
                        upper = tile.load(slack, ir.Constant(INT64, lane))
                        lower = builder.fneg(upper)
                    at = builder.add(origin, builder.mul(step, ir.Constant(INT64, row)))
                    at = builder.add(at, ir.Constant(INT64, lane))
                    sums = builder.fadd(products, tile.load(initial, at))
                    is_positive = tile.mask(builder.fcmp_ordered(">", sums, upper))
                    # unordered and >=: NaN and -inf, which an overflow leaves, are doubtful
                    may_be = tile.mask(builder.fcmp_unordered(">=", sums, lower))
                    shift = ir.Constant(INT64, lane)
                    certain[row] = builder.or_(certain[row], builder.shl(is_positive, shift))
                    doubt[row] = builder.or_(
                        doubt[row], builder.shl(builder.xor(is_positive, may_be), shift)
                    )
            for array, kind, words in (
                (positive, kinds[10], certain),
                (doubtful, kinds[11], doubt),
            ):
                pointer = array_pointer(context, builder, kind, array)
                for row, value in enumerate(words):
                    builder.store(value, builder.gep(pointer, [ir.Constant(INT64, row)]))
            return context.get_dummy_value()

        return signature, codegen

    def _row_adder(lanes):
        """Intrinsic that adds multiples of rows of ``lanes`` floats, held in registers."""

        @intrinsic
        def add(typingctx, panels, group, columns, values, start, stop, sums):
            """sums[:lanes] += sum over start <= k < stop of values[k] panels[group, columns[k]].

            panels (groups, d, lanes) float32, columns and values (nonzeros,), sums (64,) float32.
            """
            index = types.intp
            signature = types.void(panels, index, columns, values, index, index, sums)

            def codegen(context, builder, signature, args):
                panels, group, columns, values, start, stop, sums = args
                kinds = signature.args
                panel_array = context.make_array(kinds[0])(context, builder, panels)
                at = builder.mul(group, builder.extract_value(panel_array.shape, 1))
                panel = builder.gep(panel_array.data, [builder.mul(at, ir.Constant(INT64, lanes))])
                columns = array_pointer(context, builder, kinds[2], columns)
                values = array_pointer(context, builder, kinds[3], values)
                sums = array_pointer(context, builder, kinds[6], sums)
                tile = _TileBuilder(builder, lanes, panel, values, stop)
                multiply_add = cgutils.get_or_insert_function(
                    builder.module,
                    ir.FunctionType(tile.vector, [tile.vector] * 3),
                    f"llvm.fmuladd.v{lanes}f32",
                )
                initial = tile.load(sums, ir.Constant(INT64, 0))
                before = builder.block
                loop = builder.function.append_basic_block("nonzero")
                body = builder.function.append_basic_block("nonzero.body")
                after = builder.function.append_basic_block("nonzeros.end")
                builder.branch(loop)
                builder.position_at_end(loop)
                k = builder.phi(INT64)
                k.add_incoming(start, before)
                total = builder.phi(tile.vector)
                total.add_incoming(initial, before)
                builder.cbranch(builder.icmp_signed("<", k, stop), body, after)
                builder.position_at_end(body)
                column = builder.load(builder.gep(columns, [k]))
                if column.type != INT64:
                    column = builder.sext(column, INT64)
                value = builder.load(builder.gep(values, [k]), typ=FLOAT32)
                row = tile.load(panel, builder.mul(column, ir.Constant(INT64, lanes)))
                updated = builder.call(multiply_add, [row, tile.splat(value), total])
                k.add_incoming(builder.add(k, ir.Constant(INT64, 1)), body)
                total.add_incoming(updated, body)
                builder.branch(loop)
                builder.position_at_end(after)
                tile.store(total, sums, ir.Constant(INT64, 0))
                return context.get_dummy_value()

            return signature, codegen

        return add

    add_rows = _row_adder(WORD_BITS)
    add_few_rows = _row_adder(FEW_LANES)

    @intrinsic
    def compare(typingctx, sums, slack, words):
        """Bit h of words[0]: sums[h] > slack[h]; of words[1]: within +-slack[h] or no number.

        sums, slack (64,) float32, words (2,) uint64.
        """
        signature = types.void(sums, slack, words)

        def codegen(context, builder, signature, args):
            sums, slack, words = (
                array_pointer(context, builder, kind, array)
                for kind, array in zip(signature.args, args, strict=True)
            )
            tile = _TileBuilder(builder, WORD_BITS, None, None, None)
            zero = ir.Constant(INT64, 0)
            total, upper = tile.load(sums, zero), tile.load(slack, zero)
            positive = tile.mask(builder.fcmp_ordered(">", total, upper))
            may_be = tile.mask(builder.fcmp_unordered(">=", total, builder.fneg(upper)))
            builder.store(positive, words)
            builder.store(
                builder.xor(positive, may_be), builder.gep(words, [ir.Constant(INT64, 1)])
            )
            return context.get_dummy_value()

        return signature, codegen
