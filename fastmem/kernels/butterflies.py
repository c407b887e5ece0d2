"""Hadamard butterflies in vector registers: the machine code behind ``kernels.hadamard``.

Arrays hold LANES points side by side: row i is the LANES numbers at [LANES i, LANES i + LANES).
`butterflies` and `double_butterflies` take float32, or int32, whose sums are modulo 2^32. With
``NUMBA_DISABLE_JIT=1`` the same names are plain Python.

The explicit vectors matter: left to itself, LLVM uses 256-bit registers where 512 bits are there.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

from fastmem.kernels.llvm import INT32, INT64, Vectors, array_pointer

LANES = 16
"""Points side by side: one AVX-512 register of floats, two of AVX, four of NEON or SSE."""
STAGES = 5
"""Most stages of a transform done in registers at once: 32 rows, what AVX-512 has registers for."""


def _width(context) -> int:
    """Floats in a register."""
    features = context.codegen().magic_tuple()[-1]
    return 16 if "+avx512f" in features else 8 if "+avx," in features + "," else 4


class _Rows:
    """Emits loads, butterflies and stores of ``width`` lanes, from ``lane`` on."""

    def __init__(self, builder, width, lane, is_integer=False):
        self.builder, self.width, self.lane = builder, width, lane
        self.floats, self.words = Vectors(builder, width), Vectors(builder, width, INT32)
        self.numbers = self.words if is_integer else self.floats

    def offset(self, start, step, index):
        builder = self.builder
        row = builder.add(start, builder.mul(step, ir.Constant(INT64, index)))
        return builder.add(
            builder.mul(row, ir.Constant(INT64, LANES)), ir.Constant(INT64, self.lane)
        )

    def load(self, pointer, start, step, index):
        return self.numbers.load(pointer, self.offset(start, step, index))

    def store(self, vector, pointer, start, step, index):
        self.numbers.store(vector, pointer, self.offset(start, step, index))

    def splat(self, pointer, start, step, index, kind):
        """The scalar start + step * index of an array, in all lanes."""
        builder = self.builder
        place = builder.add(start, builder.mul(step, ir.Constant(INT64, index)))
        return kind.splat_at(pointer, place)

    def flip(self, vector, pointer, start, step, index):
        """Change signs where the word of ``pointer`` has its highest bit set."""
        builder = self.builder
        word = self.splat(pointer, start, step, index, self.words)
        if self.numbers is self.words:
            mask = builder.ashr(word, self.words.constant(31))
            return builder.sub(builder.xor(vector, mask), mask)
        bits = builder.xor(builder.bitcast(vector, self.words.vector), word)
        return builder.bitcast(bits, self.floats.vector)

    def pair(self, low, high):
        builder = self.builder
        if self.numbers is self.words:
            return builder.add(low, high), builder.sub(low, high)
        return builder.fadd(low, high), builder.fsub(low, high)

    def late(self, load, count, first=0):
        """Transform of load(first), ..., load(first + count - 1), each loaded when needed."""
        if count == 1:
            return [load(first)]
        half = count // 2
        low, high = self.late(load, half, first), self.late(load, half, first + half)
        pairs = [self.pair(a, b) for a, b in zip(low, high, strict=True)]
        return [a for a, _ in pairs] + [b for _, b in pairs]

    def early(self, rows, use, first=0):
        """use(first + i, i-th row of the transform of ``rows``), each used as soon as ready."""
        if len(rows) == 1:
            use(first, rows[0])
            return
        half = len(rows) // 2
        pairs = [self.pair(a, b) for a, b in zip(rows[:half], rows[half:], strict=True)]
        self.early([a for a, _ in pairs], use, first)
        self.early([b for _, b in pairs], use, first + half)


class _Signs:
    """Emits transforms of 32 rows whose results are only looked at: signs, and the least size.

    ``least`` is the least so far of the uint32 with the bits of a sum, shifted left by one: a float
    without its sign, in the order of magnitudes, with not-a-number above all.
    """

    def __init__(self, rows, biases, biases_at):
        self.rows, self.biases, self.biases_at = rows, biases, biases_at
        self.least = rows.words.constant(0xFFFFFFFF)

    def of(self, array, start, first):
        """Words of 32 bits: bit h is 1 where row h of the transform plus its bias is >= +0."""
        rows, builder, one = self.rows, self.rows.builder, ir.Constant(INT64, 1)
        negative = [rows.words.constant(0)]

        def look(h, vector):
            bias = rows.splat(self.biases, self.biases_at, one, first + h, rows.floats)
            bits = builder.bitcast(builder.fadd(vector, bias), rows.words.vector)
            sign = builder.and_(bits, rows.words.constant(1 << 31))
            negative[0] = builder.or_(builder.lshr(negative[0], rows.words.constant(1)), sign)
            doubled = builder.shl(bits, rows.words.constant(1))
            less = builder.icmp_unsigned("<", doubled, self.least)
            self.least = builder.select(less, doubled, self.least)

        rows.early([rows.load(array, start, one, j) for j in range(32)], look)
        return builder.not_(negative[0])


def _emit_for_stages(context, builder, stages, array_type, emit):
    """emit(rows, 2^stages) for the value of ``stages`` at run time, 1 to STAGES.

    ``array_type`` is of the numbers that are transformed.
    """
    is_integer = array_type.dtype == types.int32
    width = _width(context)
    after = builder.append_basic_block("butterflies.end")
    impossible = builder.append_basic_block("butterflies.none")
    switch = builder.switch(stages, impossible)
    builder.position_at_end(impossible)
    builder.branch(after)
    for count in range(1, STAGES + 1):
        block = builder.append_basic_block(f"butterflies.{count}")
        switch.add_case(ir.Constant(INT64, count), block)
        builder.position_at_end(block)
        for lane in range(0, LANES, width):
            emit(_Rows(builder, width, lane, is_integer), 1 << count)
        builder.branch(after)
    builder.position_at_end(after)


if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def _transform(rows):
        count = len(rows)
        if count == 1:
            return rows
        low, high = _transform(rows[: count // 2]), _transform(rows[count // 2 :])
        return np.concatenate([low + high, low - high])

    def _flipped(rows, flips, flips_at, step):
        words = flips.reshape(-1)[flips_at + step * np.arange(len(rows))]
        if rows.dtype == np.int32:
            return np.where(words[:, None] != 0, -rows, rows)
        return (rows.view(np.uint32) ^ words[:, None]).view(np.float32)

    def butterflies(stages, source, at, step, flips, flips_at, flips_step, target, target_at):
        """See the compiled version."""
        places = step * np.arange(1 << stages)
        rows = source.reshape(-1, LANES)[at + places]
        rows = _transform(_flipped(rows, flips, flips_at, flips_step))
        target.reshape(-1, LANES)[target_at + places] = rows

    def double_butterflies(stages, rows, at, step, flips, flips_at, flips_step):
        """See the compiled version."""
        places = at + step * np.arange(1 << stages)
        table = rows.reshape(-1, LANES)
        table[places] = _transform(_flipped(_transform(table[places]), flips, flips_at, flips_step))

    def butterfly_signs(rows, at, biases, biases_at, limits, words):
        """See the compiled version."""
        table = rows.reshape(-1, LANES)[at : at + 64 + 1]
        sums = np.concatenate([_transform(table[:32]), _transform(table[33:])])
        sums = sums + biases.reshape(-1)[biases_at : biases_at + 64, None]
        sums = sums.astype(np.float32, copy=False)
        octets = np.packbits(~np.signbit(sums), axis=0, bitorder="little")
        words[:] = np.ascontiguousarray(octets.T).view(np.uint64)[:, 0]
        doubled = np.ascontiguousarray(sums).view(np.uint32) << np.uint32(1)
        in_doubt = (doubled <= limits).any(axis=0)
        return np.int64(np.packbits(in_doubt, bitorder="little").view(np.uint16)[0])

    def transpose(rows, at, pitch, target, target_at):
        """See the compiled version."""
        places = at + pitch * np.arange(LANES)[:, None] + np.arange(LANES)
        target.reshape(-1, LANES)[target_at : target_at + LANES] = rows.reshape(-1)[places].T

else:

    @intrinsic
    def butterflies(
        typingctx, stages, source, at, step, flips, flips_at, flips_step, target, target_at
    ):
        """Transform 2^stages rows of ``source``, 1 <= stages <= STAGES, after flipping signs.

        Reads row ``at + step j``, changes its sign where flips.flat[flips_at + flips_step j]
        (uint32) is 2^31 and not 0, and writes row j of the transform to row
        ``target_at + step j`` of ``target``, which may be ``source``.
        """
        index = types.intp
        signature = types.void(index, source, index, index, flips, index, index, target, index)

        def codegen(context, builder, signature, args):
            stages, source, at, step, flips, flips_at, flips_step, target, target_at = args
            kinds = signature.args
            source = array_pointer(context, builder, kinds[1], source)
            flips = array_pointer(context, builder, kinds[4], flips)
            target = array_pointer(context, builder, kinds[7], target)

            def emit(rows, count):
                def load(j):
                    vector = rows.load(source, at, step, j)
                    return rows.flip(vector, flips, flips_at, flips_step, j)

                for j, vector in enumerate(rows.late(load, count)):
                    rows.store(vector, target, target_at, step, j)

            _emit_for_stages(context, builder, stages, kinds[1], emit)
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def double_butterflies(typingctx, stages, rows, at, step, flips, flips_at, flips_step):
        """In place: transform 2^stages rows as ``butterflies``, flip signs, transform again."""
        index = types.intp
        signature = types.void(index, rows, index, index, flips, index, index)

        def codegen(context, builder, signature, args):
            stages, array, at, step, flips, flips_at, flips_step = args
            array = array_pointer(context, builder, signature.args[1], array)
            flips = array_pointer(context, builder, signature.args[4], flips)

            def emit(rows, count):
                middle = rows.late(lambda j: rows.load(array, at, step, j), count)
                middle = [
                    rows.flip(vector, flips, flips_at, flips_step, j)
                    for j, vector in enumerate(middle)
                ]
                rows.early(middle, lambda j, vector: rows.store(vector, array, at, step, j))

            _emit_for_stages(context, builder, stages, signature.args[1], emit)
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def butterfly_signs(typingctx, rows, at, biases, biases_at, limits, words):
        """Transform 2 x 32 rows, add biases, and keep the signs: 64 bits a point.

        The rows are at, ..., at + 31 and at + 33, ..., at + 64. To row h of the transforms is
        added biases.flat[biases_at + h]; bit h of words[lane] is 1 where the sum is not negative.
        Returns a mask: its bit ``lane`` is 1 if any sum s of that lane is in doubt, that is if
        twice the uint32 with the bits of s, which shifts its sign out, is at most limits[lane].
        """
        index = types.intp
        signature = types.int64(rows, index, biases, index, limits, words)

        def codegen(context, builder, signature, args):
            array, at, biases, biases_at, limits, words = args
            kinds = signature.args
            array = array_pointer(context, builder, kinds[0], array)
            biases = array_pointer(context, builder, kinds[2], biases)
            limits = array_pointer(context, builder, kinds[4], limits)
            words = array_pointer(context, builder, kinds[5], words)
            width = _width(context)
            doubt = ir.Constant(INT64, 0)
            for lane in range(0, LANES, width):
                rows = _Rows(builder, width, lane)
                signs = _Signs(rows, biases, biases_at)
                halves = [
                    signs.of(array, builder.add(at, ir.Constant(INT64, 33 * half)), 32 * half)
                    for half in range(2)
                ]
                limit = rows.words.load(limits, ir.Constant(INT64, lane))
                doubtful = builder.icmp_unsigned("<=", signs.least, limit)
                flags = builder.bitcast(doubtful, ir.IntType(width))
                flags = builder.shl(builder.zext(flags, INT64), ir.Constant(INT64, lane))
                doubt = builder.or_(doubt, flags)
                order = [i + width * half for i in range(width) for half in range(2)]
                pairs = builder.shuffle_vector(
                    *halves, ir.Constant(ir.VectorType(INT32, 2 * width), order)
                )
                pairs = builder.bitcast(pairs, ir.VectorType(INT64, width))
                target = builder.gep(words, [ir.Constant(INT64, lane)])
                target = builder.bitcast(target, pairs.type.as_pointer())
                builder.store(pairs, target).align = 8
            return doubt

        return signature, codegen

    @intrinsic
    def transpose(typingctx, rows, at, pitch, target, target_at):
        """Rows target_at, ..., target_at + 15 of ``target`` become the columns of a square.

        Element (i, j) of the square is rows.flat[at + pitch i + j], i, j < LANES.
        """
        index = types.intp
        signature = types.void(rows, index, index, target, index)

        def codegen(context, builder, signature, args):
            source, at, pitch, target, target_at = args
            source = array_pointer(context, builder, signature.args[0], source)
            target = array_pointer(context, builder, signature.args[3], target)
            one = ir.Constant(INT64, 1)
            square = _Rows(builder, LANES, 0)
            vectors = []
            for i in range(LANES):
                place = builder.add(at, builder.mul(pitch, ir.Constant(INT64, i)))
                vectors.append(square.floats.load(source, place))
            # perfect shuffles of rows i and i + 8, four times
            mask = ir.VectorType(INT32, LANES)
            low = ir.Constant(mask, [i // 2 + LANES * (i % 2) for i in range(LANES)])
            high = ir.Constant(mask, [LANES // 2 + i // 2 + LANES * (i % 2) for i in range(LANES)])
            for _ in range(4):
                vectors = [
                    builder.shuffle_vector(vectors[i // 2], vectors[i // 2 + 8], (low, high)[i % 2])
                    for i in range(LANES)
                ]
            for j, vector in enumerate(vectors):
                square.store(vector, target, target_at, one, j)
            return context.get_dummy_value()

        return signature, codegen
