"""The pieces of a C99 header that votes; `c_source.Source` fills in what starts with @."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastmem.export.layers import largest_votes, wave_signs
from fastmem.patterns.words import packed
from fastmem.readout import ReadOut

KEYED = """
/* Signs of the transforms, 64 a word: SplitMix64, from a key. */
static inline uint64_t @p_flips(long i) {
  uint64_t word = UINT64_C(@key) + ((uint64_t)i + 1) * UINT64_C(0x9e3779b97f4a7c15);
  word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
  return word ^ (word >> 31);
}
"""
STORED_FLIPS = """
/* Signs of the transforms, 64 a word. */
static inline uint64_t @p_flips(long i) { return @p_flip_words[i]; }
"""
GRID_DOUBLE = """
/* Coordinate k on the grid: x * 2^@exponent - offset, rounded half to even. The product is exact,
   so that it does not matter whether it is fused with the difference. */
static int32_t @p_grid(@point x, long k) {
  const double value = @step * @scaled - (double)@p_offsets[k];
  int32_t whole;
  double rest;
  if (!(value > -1073741824.0)) return -1073741824;
  if (value > 1073741824.0) return 1073741824;
  whole = (int32_t)value;
  rest = value - (double)whole;
  if (rest > 0.5 || (rest == 0.5 && (whole & 1))) whole++;
  if (rest < -0.5 || (rest == -0.5 && (whole & 1))) whole--;
  return whole;
}
"""
GRID_WHOLE = """
/* v / 2^n, rounded half to even. */
static uint64_t @p_rounded(uint64_t v, int n) {
  const uint64_t whole = v >> n, rest = v - (whole << n), half = ((uint64_t)1 << n) >> 1;
  return whole + (n > 0 && (rest > half || (rest == half && (whole & 1))));
}

/* Coordinate k on the grid: x * 2^@exponents - offset, rounded half to even, by whole numbers
   alone, as if the difference were a double: 53 bits of it are kept before it is rounded. */
static int32_t @p_grid(@point x, long k) {
  const int64_t offset = @p_offsets[k];
  int64_t v;
  uint64_t size;
  uint32_t word, digits;
  int shift, cut = 0;
  memcpy(&word, &x, sizeof word);
  digits = word & 0x7fffffu;
  shift = (int)(word >> 23 & 255);
  if (shift) digits |= 0x800000u; else shift = 1;
  shift += @exponent - 150; /* x = +-digits * 2^shift */
  for (; digits && digits < 0x800000u; shift--) digits <<= 1;
  if (!digits || shift < -25) { /* less than a quarter of a unit */
    v = -offset;
    shift = 0;
  } else {
    const int64_t whole = word >> 31 ? -(int64_t)digits : (int64_t)digits;
    if (shift > 38) return whole < 0 ? -1073741824 : 1073741824;
    if (shift >= 0) {
      v = whole * ((int64_t)1 << shift) - offset;
      shift = 0;
    } else {
@far      v = whole - offset * ((int64_t)1 << -shift);
    }
  }
  size = v < 0 ? (uint64_t)-v : (uint64_t)v;
  while (size >> (53 + cut)) cut++;
  size = @p_rounded(@p_rounded(size, cut) << cut, -shift);
  if (size > 1073741824u) size = 1073741824u;
  return v < 0 ? -(int32_t)size : (int32_t)size;
}
"""
READ = """
/* The votes of the read-out: @waves cosines of random projections, in whole numbers alone. A sum
   modulo 2^32 is an angle, 2^32 a full turn; its upper 8 bits give a cosine of 7 bits. */
static void @p_read(const @p_point *x, @p_vote *votes) {
  uint32_t t[@UP_BLOCK];
  long h = 0, block, step, i, j, k;
  int round, c;
  @none
  for (c = 0; c < @columns; c++) votes[c] = @p_intercepts[c];
  for (block = 0; h < @waves; block++) {
    for (k = 0; k < @UP_BLOCK; k++) t[k] = k < @d ? @times(uint32_t)@p_grid(x[k], k) : 0u;
    for (round = 0; round < @rounds; round++) {
      uint64_t flips = 0;
      for (k = 0; k < @UP_BLOCK; k++) {
        if (!(k & 63)) flips = @p_flips(((block * @rounds + round) * @UP_BLOCK + k) >> 6);
        if (flips & 1) t[k] = 0u - t[k];
        flips >>= 1;
      }
      for (step = 1; step < @UP_BLOCK; step *= 2)
        for (i = 0; i < @UP_BLOCK; i += 2 * step)
          for (j = i; j < i + step; j++) {
            const uint32_t a = t[j], b = t[j + step];
            t[j] = a + b;
            t[j + step] = a - b;
          }
    }
    for (k = 0; k < @UP_BLOCK && h < @waves; k++, h++) {
      const int8_t *weights = @p_vote_weights + h * @columns;
      const int angle = (int)((t[k] + ((uint32_t)h + 1u) * 0x9e3779b9u) >> 24), r = angle & 127;
      const int size = ((2 * r + 1) * (255 - 2 * r)) >> 7, cosine = angle < 128 ? size : -size;
      for (c = 0; c < @columns; c++) votes[c] += cosine * weights[c];
    }
  }
}
"""
VOTES = """
/* The votes for the classes: those of fastmem, whole numbers. */
static inline void @p_votes(const @p_point *x, @p_vote *votes) {
  @p_read(x, votes);
@exceptions}

static inline int @p_predict(const @p_point *x) {
  @p_vote votes[@UP_CLASSES];
  int c, found = 0;
  @p_votes(x, votes);
  for (c = 1; c < @UP_CLASSES; c++)
    if (votes[c] > votes[found]) found = c;
  return found;
}
"""
EXCEPTIONS = """
/* What the neurons that are on add: training points that the read-out alone gets wrong. */
static void @p_correct(const @p_point *x, @p_vote *votes) {
  uint32_t bits[@n_words];
  const long best = 0;
  long j = 0, block;
@prelude
  @p_pattern(x, bits);
  for (block = 0; block < @blocks; block++)
    for (; j < (long)@p_block_end[block]; j++) {
      long score = @p_levels[j];
@count
      if (score > best) votes[@p_block_class[block]] += (@p_vote)@p_gains[j];
    }
}
"""
FAR = """      if (offset >= (int64_t)1 << 32) return -1073741824;
      if (offset <= -((int64_t)1 << 32)) return 1073741824;
"""
CORRECTED = """  @p_correct(x, votes);
"""
CORRECTED_SCALED = """  {
    @value scaled[@d];
    long k;
    for (k = 0; k < @d; k++) scaled[k] = (@value)x[k] * @p_scale[k];
    @p_correct(scaled, votes);
  }
"""

_KEY_BYTES = 128
"""What the function of KEYED takes in machine code, where gcc makes it small: signs of fewer bytes
are stored."""
_LONG_OFFSET = 2.0**60


class VoteSource:
    """What a header holds of a read-out.

    ``takes_whole`` is whether points become whole numbers without any product of floats.
    """

    def __init__(
        self, readout: ReadOut, owners: np.ndarray, takes_double: bool, scale: np.ndarray | None
    ) -> None:
        self._readout, self._scale = readout, scale
        offsets = readout.offsets
        self.takes_whole = not takes_double and bool((np.abs(offsets) <= _LONG_OFFSET).all())
        self._is_short = largest_votes(readout, owners) < 1 << 31
        self._signs = wave_signs(readout)
        self._stores_signs = self._signs.size <= 8 * _KEY_BYTES

    def arrays(self, add: Callable[[str, str, np.ndarray], None]) -> None:
        """Call add(type, name, values) for each constant array."""
        readout = self._readout
        add("int8_t", "vote_weights", readout.weights.reshape(-1))
        dtype = np.int32 if self._is_short else np.int64
        add(f"{np.dtype(dtype)}_t", "intercepts", readout.intercepts.astype(dtype))
        if len(readout.gains):
            add(*_typed("gains", readout.gains))
        if (np.abs(readout.offsets) <= _LONG_OFFSET).all():
            add(*_typed("offsets", readout.offsets.astype(np.int64)))
        else:
            add("double", "offsets", readout.offsets)
        if self.takes_whole and self._scale is not None:
            exponents = np.frexp(self._scale)[1] - 1 + readout.exponent
            add("int16_t", "exponents", exponents.astype(np.int16))
        if self._stores_signs:
            add("uint64_t", "flip_words", packed(self._signs.reshape(1, -1))[0])

    def types(self) -> str:
        """Definitions for the head of the header."""
        kind = "int32_t" if self._is_short else "int64_t"
        return f"\n#define @UP_BLOCK {self._signs.shape[2]}\n\ntypedef {kind} @p_vote;\n"

    def read(self) -> list[str]:
        """The functions of the read-out, which take points as they come."""
        readout = self._readout
        columns = readout.weights.shape[1]
        is_scaled = self._scale is not None
        grid = GRID_WHOLE if self.takes_whole else GRID_DOUBLE
        values = {
            "@far": FAR if (np.abs(readout.offsets) >= 2.0**32).any() else "",
            "@scaled": "((double)x * @p_scale[k])" if is_scaled else "(double)x",
            "@exponents": "@p_exponents[k]" if is_scaled else str(readout.exponent),
            "@exponent": "@p_exponents[k]" if is_scaled and self.takes_whole
            else str(readout.exponent),
            "@step": f"{np.ldexp(1.0, readout.exponent):.16e}",
            "@key": f"0x{readout.key:016x}",
            "  @none\n": "  *votes++ = 0; /* of two classes the second has weights */\n"
            if columns == 1 else "",
            "@times": f"{readout.multiplier}u * " if readout.multiplier > 1 else "",
            "@waves": str(len(readout)),
            "@columns": str(columns),
            "@rounds": str(self._signs.shape[1]),
        }  # fmt: skip
        parts = [STORED_FLIPS if self._stores_signs else KEYED, grid, READ]
        for key, value in values.items():
            parts = [part.replace(key, value) for part in parts]
        return parts

    def votes(self) -> str:
        """The functions that a program calls."""
        corrected = CORRECTED_SCALED if self._scale is not None else CORRECTED
        return VOTES.replace("@exceptions", corrected if len(self._readout.gains) else "")

    def comment(self) -> str:
        """What the first comment says of votes."""
        return (
            "   void @p_votes(const @p_point *x, @p_vote *votes): the votes for all classes.\n"
            f"   Probabilities are softmax(votes / {self._readout.temperature:.6g}).\n"
        )


def _typed(name: str, values: np.ndarray) -> tuple[str, str, np.ndarray]:
    """The smallest signed type that holds all of some whole numbers."""
    top = max(-int(values.min()), int(values.max()))
    bits = next(bits for bits in (8, 16, 32, 64) if top < 1 << (bits - 1))
    return f"int{bits}_t", name, values.astype(f"int{bits}")
