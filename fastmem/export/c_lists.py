"""The pieces of a C99 header of a decision list; `c_source.Source` fills in what starts with @."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.export.c_templates import GROW
from fastmem.hyperplanes.keyed import KeyedHyperplanes, as_keyed
from fastmem.network.lists import literals_of

if TYPE_CHECKING:
    from fastmem.network.network import Network

MIX = """
/* SplitMix64, by which a key gives all rows. */
static inline uint64_t @p_mix(uint64_t word) {
  word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
  return word ^ (word >> 31);
}
static inline uint64_t @p_word(uint64_t seed, int j) {
  return @p_mix(seed + ((uint64_t)j + 1) * UINT64_C(0x9e3779b97f4a7c15));
}
static inline long @p_column(uint64_t word) { return (long)((word >> 32) * @d >> 32); }
"""
SIDE = """
/* The sign of <w, x> + b for a row of the key, whose @s entries are +-1. The products of the bias
   are exact, so that it does not matter whether they are fused with the sums. */
static int @p_side(uint32_t number, const @p_point *x) {
  const uint64_t seed = @p_mix(UINT64_C(@seed) ^
                               ((uint64_t)number + 1) * UINT64_C(0x94d049bb133111eb));
  double total = 0, size = 0, bias, unit, bound;
  long ones = 0@coded_start;
  int j;
  for (j = 0; j < @s; j++) {
    const uint64_t word = @p_word(seed, j);
    const int sign = word & 1 ? -1 : 1;
    const double value = (double)x[@p_column(word)];
    total += sign < 0 ? -value : value;
    size += value < 0 ? -value : value;
    ones += sign;@coded_sum
  }
  unit = ((double)(int32_t)(2 * (@p_word(seed, @s) >> 40) + 1) - 16777216.0) / 16777216.0;
  bias = -((@low * (double)ones@coded) + @reach * unit);
  size += bias < 0 ? -bias : bias;
  total += bias;
  bound = @bound;
  if (total > bound) return 1;
  if (total < -bound) return -1;@decide
}
"""
CODED = {
    "@coded_start": ", coded = 0",
    "@coded_sum": "\n    coded += sign * (long)@p_codes[@p_column(word)];",
    "@coded": " + @step * (double)coded",
}
DECIDE = """
  {
    double parts[@s + 2];
    int n = 0;
    @p_grow(parts, &n, bias);
    for (j = 0; j < @s; j++) {
      const uint64_t word = @p_word(seed, j);
      const double value = (double)x[@p_column(word)];
      @p_grow(parts, &n, word & 1 ? -value : value);
    }
    return n == 0 ? 0 : parts[n - 1] > 0 ? 1 : -1;
  }"""
ROUNDED = """
static int @p_positive(const float *w, const @p_point *x, double bias) {
  long k;
  for (k = 0; k < @d; k++) bias += (double)w[k] * (double)x[k];
  return bias > 0;
}
"""
BIT = """
/* Whether a point is on the positive side of a row; odd ones are those before them, mirrored. */
static inline int @p_bit(uint32_t row, const @p_point *x) {
@stored  return row & 1 ? @p_side(row >> 1, x) < 0 : @p_side(row >> 1, x) > 0;
}
"""
BIT_STORED = """  if (row >= @n_keyed)
    return @p_positive(@p_weights + (row - @n_keyed) * @d, x, @p_biases[row - @n_keyed]);
"""
FIRST_ON = """
/* The neurons in their order: the first of whose rows none is positive decides. */
static inline int @p_predict(const @p_point *x) {
  const @row_kind *row = @p_rows;
  long j;
  for (j = 0; j < @m; j++) {
    const @row_kind *end = row + @p_sizes[j];
    while (row < end && !@p_bit(*row, x)) row++;
    if (row == end) return @p_classes[j];
    row = end;
  }
  return @default;
}
"""
_STEP, _MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1


class ListSource:
    """What a header holds of a decision list: a key, numbers of rows, and stored rows."""

    def __init__(self, network: Network, exact: bool) -> None:
        self._network, self._exact = network, exact
        self._first: KeyedHyperplanes = as_keyed(network.first)
        starts, literals = literals_of(network.second, len(network.first))
        self._sizes = np.diff(starts)
        numbers = self._first.rows.astype(np.int64)
        # what is stored comes behind the rows of the key
        self._n_keyed = (int(numbers.max(initial=-1)) + 2) // 2 * 2
        numbers = np.where(numbers < 0, self._n_keyed - 1 - numbers, numbers)
        self._rows = numbers[literals]
        self._row_kind = whole_kind(self._rows)[0]

    def arrays(self, add: Callable[[str, str, np.ndarray], None]) -> None:
        """Call add(type, name, values) for each constant array."""
        first = self._first
        owners = self._network.second.owners
        for name, values in (("rows", self._rows), ("sizes", self._sizes), ("classes", owners)):
            kind, dtype = whole_kind(values)
            add(kind, name, values.astype(dtype))
        if self._has_codes:
            add("uint8_t", "codes", first.center.codes)
        if len(first.extra):
            add("float", "weights", first.extra.reshape(-1))
            add("double", "biases", first.extra_biases)

    @property
    def _has_codes(self) -> bool:
        return bool(self._first.center.codes.any()) and self._n_keyed > 0

    def patterns(self, positive: str) -> list[str]:
        """The functions that decide a sign; ``positive`` is that of stored rows, if it is exact."""
        first = self._first
        size = 1.2e-16 * (first.n_entries + 4)
        values = {
            "@decide": DECIDE if self._exact else "\n  return 0;",
            **(CODED if self._has_codes else dict.fromkeys(CODED, "")),
            "@seed": f"0x{_mixed(first.key + _STEP & _MASK):016x}",
            "@bound": f"{size:.16e} * size + 1e-290" if self._exact else "0 * size",
            "@low": f"{first.center.low:.16e}",
            "@step": f"{first.center.step:.16e}",
            "@reach": f"{first.reach:.16e}",
            "@stored": BIT_STORED.replace("@n_keyed", str(self._n_keyed))
            if len(first.extra) else "",
            "@s": str(first.n_entries),
        }  # fmt: skip
        parts = [MIX, SIDE, BIT]
        if len(first.extra):
            parts.insert(0, positive if self._exact else ROUNDED)
        elif self._exact:
            parts.insert(0, GROW)
        # the longest first, of which others may be the beginning
        for key in sorted(values, key=len, reverse=True):
            parts = [part.replace(key, values[key]) for part in parts]
        return parts

    def predict(self) -> str:
        """The function that a program calls."""
        text = FIRST_ON.replace("@row_kind", self._row_kind)
        return text.replace("@default", str(self._network.default))


def _mixed(word: int) -> int:
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    word = (word ^ word >> 27) * 0x94D049BB133111EB & _MASK
    return word ^ word >> 31


def whole_kind(values: np.ndarray) -> tuple[str, Any]:
    """The smallest unsigned type that holds some whole numbers, in C and in NumPy."""
    top = int(values.max(initial=0))
    if top < 1 << 8:
        return "uint8_t", np.uint8
    return ("uint16_t", np.uint16) if top < 1 << 16 else ("uint32_t", np.uint32)
