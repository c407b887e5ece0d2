"""How many of some points each of many rows of hyperplanes has on its positive side.

Points are rows of words here, bit k % 64 of word k // 64 that of candidate k, and the bits of
sixteen points are added at a time in carry-save form: bit i of plane b is bit b of the count of
candidate i. So the counts of all candidates cost some instructions for each *live* point and 512
candidates, however few the live points are, where columns of words would be read whole.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

from fastmem.kernels.bits import extract_bits, popcount
from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import WORD_BITS
from fastmem.kernels.llvm import INT64, Vectors, array_pointer
from fastmem.kernels.queue import take

ROW_WORDS = 8
"""Words of a row that are added at once; rows have a multiple of so many."""
GROUP = 16
"""Points that are added at once; lists of points have room for so many more."""
TASK_WORDS = 16
"""Words of points that a task of `rows_of_columns` writes the rows of."""
TASK_COLUMNS = 64
_LOW_PLANES = 4
_ONE = np.uint64(1)
_HALF = np.uint64(32)
_LOW = np.uint64(0x00000000FFFFFFFF)

if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def _add_groups(rows, offset, stride, which, n_groups, planes, n_planes):
        """See below."""
        words = rows.reshape(-1)
        places = which[: GROUP * n_groups].astype(np.int64) * stride + offset
        bits = words[places[:, None] + np.arange(ROW_WORDS)]
        shifts = np.arange(WORD_BITS, dtype=np.uint64)
        ones = ((bits[:, :, None] >> shifts) & _ONE).sum(axis=0, dtype=np.uint64)
        for plane in range(n_planes):
            some = (ones >> np.uint64(plane)) & _ONE
            planes[plane] = (some << shifts).sum(axis=1, dtype=np.uint64)

else:

    @intrinsic
    def _add_groups(typingctx, rows, offset, stride, which, n_groups, planes, n_planes):
        """planes (>= n_planes, ROW_WORDS) uint64, which are zeros = counts of ROW_WORDS words.

        Of the words offset + stride * which[i] and the seven after them, i < GROUP * n_groups, of
        ``rows``, uint64 and C-contiguous; which int32. n_planes >= 4 bits must hold the counts.
        """

        def codegen(context, builder, signature, args):
            words, numbers, out = (
                array_pointer(context, builder, signature.args[i], args[i]) for i in (0, 3, 5)
            )
            emit = Vectors(builder, ROW_WORDS, INT64)
            zero = emit.constant(0)

            def constant(value):
                return ir.Constant(INT64, value)

            def block(name):
                return builder.function.append_basic_block(name)

            def add(a, b, c):
                """Sum and carry of three bits."""
                either = builder.xor(a, b)
                carry = builder.or_(builder.and_(a, b), builder.and_(either, c))
                return builder.xor(either, c), carry

            before, loop, ripple, done, after = (
                builder.block, block("group"), block("ripple"), block("rippled"), block("end"),
            )  # fmt: skip
            none = builder.icmp_signed("<=", args[4], constant(0))
            builder.cbranch(none, after, loop)

            builder.position_at_end(loop)
            group = builder.phi(INT64)
            low = [builder.phi(emit.vector) for _ in range(_LOW_PLANES)]
            first = builder.mul(group, constant(GROUP))

            def row(i):
                address = builder.gep(numbers, [builder.add(first, constant(i))])
                number = builder.sext(builder.load(address), INT64)
                place = builder.add(builder.mul(number, args[2]), args[1])
                return emit.load(words, place)

            sums = list(low)

            def carry_of(level, start):
                """Carry out of ``level`` once 2^(level + 1) rows from ``start`` on are added."""
                if level == 0:
                    a, b = row(start), row(start + 1)
                else:
                    a = carry_of(level - 1, start)
                    b = carry_of(level - 1, start + (1 << level))
                sums[level], carry = add(sums[level], a, b)
                return carry

            carried = carry_of(_LOW_PLANES - 1, 0)
            end_of_loop = builder.block
            builder.branch(ripple)

            builder.position_at_end(ripple)
            plane, carry = builder.phi(INT64), builder.phi(emit.vector)
            plane.add_incoming(constant(_LOW_PLANES), end_of_loop)
            carry.add_incoming(carried, end_of_loop)
            more = builder.icmp_signed("<", plane, args[6])
            body = block("plane")
            builder.cbranch(more, body, done)
            builder.position_at_end(body)
            place = builder.mul(plane, constant(ROW_WORDS))
            held = emit.load(out, place)
            emit.store(builder.xor(held, carry), out, place)
            plane.add_incoming(builder.add(plane, constant(1)), body)
            carry.add_incoming(builder.and_(held, carry), body)
            builder.branch(ripple)

            builder.position_at_end(done)
            following = builder.add(group, constant(1))
            group.add_incoming(constant(0), before)
            group.add_incoming(following, done)
            for held, value in zip(low, sums, strict=True):
                held.add_incoming(zero, before)
                held.add_incoming(value, done)
            builder.cbranch(builder.icmp_signed("<", following, args[4]), loop, after)

            builder.position_at_end(after)
            ends = [builder.phi(emit.vector) for _ in range(_LOW_PLANES)]
            for i, value in enumerate(ends):
                value.add_incoming(zero, before)
                value.add_incoming(sums[i], done)
                emit.store(value, out, constant(i * ROW_WORDS))
            return context.get_dummy_value()

        return (
            types.void(rows, types.int64, types.int64, which, types.int64, planes, types.int64),
            codegen,
        )


@njit(nogil=True, cache=True)
def ones_of(rows, which, n_which, planes, counts):
    """counts[k] = how many of the rows which[:n_which] have bit k.

    rows (M + 1, n_words) uint64, n_words a multiple of ROW_WORDS, the last row zero; which int32
    with room for GROUP numbers more, which are overwritten; planes (32, ROW_WORDS) uint64, room to
    work in; counts (64 n_words,) int32.
    """
    n_words = rows.shape[1]
    n_groups = (n_which + GROUP - 1) // GROUP
    for i in range(n_which, n_groups * GROUP):
        which[i] = rows.shape[0] - 1
    n_planes = np.int64(_LOW_PLANES)
    while n_which >> n_planes:
        n_planes += 1
    used = np.int64(0)
    while n_which >> used:
        used += 1
    for start in range(0, n_words, ROW_WORDS):
        for plane in range(n_planes):
            for j in range(ROW_WORDS):
                planes[plane, j] = np.uint64(0)
        _add_groups(rows, np.int64(start), np.int64(n_words), which, n_groups, planes, n_planes)
        for j in range(ROW_WORDS):
            some = counts[(start + j) * WORD_BITS : (start + j + 1) * WORD_BITS]
            for i in range(WORD_BITS):
                some[i] = np.int32(0)
            for plane in range(used):
                word = planes[plane, j]
                for i in range(WORD_BITS):
                    some[i] += np.int32((word >> np.uint64(i)) & _ONE) << np.int32(plane)


@njit(nogil=True, cache=True)
def transpose_square(square):
    """Bit i of word j becomes bit j of word i; square (64,) uint64."""
    width = np.int64(32)
    mask = _LOW
    while width:
        shift = np.uint64(width)
        for start in range(0, WORD_BITS, 2 * width):
            for j in range(start, start + width):
                differ = ((square[j] >> shift) ^ square[j + width]) & mask
                square[j] ^= differ << shift
                square[j + width] ^= differ
        width >>= 1
        mask ^= mask << np.uint64(width)


@njit(nogil=True, cache=True)
def rows_of_columns(queue, stop, columns, first, rows):
    """Worker: bit k of row p = bit p of column k, for the points of words first + 16 t, ...

    columns (n, W) uint64, bit i of word w that of point 64 w + i; rows (>= 64 W, n_words) uint64,
    n_words >= n / 64: what is beyond n is 0.
    """
    n = columns.shape[0]
    square = np.empty(WORD_BITS, np.uint64)
    while True:
        task = take(queue)
        if task >= stop:
            break
        start = first + TASK_WORDS * task
        for word in range(start, min(start + TASK_WORDS, columns.shape[1])):
            for place in range(rows.shape[1]):
                for j in range(WORD_BITS):
                    k = place * WORD_BITS + j
                    square[j] = columns[k, word] if k < n else np.uint64(0)
                transpose_square(square)
                for i in range(WORD_BITS):
                    rows[word * WORD_BITS + i, place] = square[i]


@njit(nogil=True, cache=True)
def pick_points(queue, stop, columns, chosen, out):
    """Worker: the bits at the ones of ``chosen`` side by side, for TASK_COLUMNS columns a task.

    columns (n, W) uint64, chosen (W,) uint64, out (n, >= ceil(ones / 64)) uint64.
    """
    while True:
        task = take(queue)
        if task >= stop:
            break
        start = TASK_COLUMNS * task
        for k in range(start, min(start + TASK_COLUMNS, columns.shape[0])):
            column, packed = columns[k], out[k]
            packed[:] = np.uint64(0)
            place, filled = np.int64(0), np.int64(0)
            for w in range(chosen.shape[0]):
                if chosen[w] != np.uint64(0):
                    bits = extract_bits(column[w], chosen[w])
                    size = np.int64(popcount(chosen[w]))
                    packed[place] |= bits << np.uint64(filled)
                    filled += size
                    if filled >= WORD_BITS:
                        place += 1
                        filled -= WORD_BITS
                        if filled:
                            packed[place] = bits >> np.uint64(size - filled)
