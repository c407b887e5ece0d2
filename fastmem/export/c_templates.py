"""The pieces of a C99 header, in its order; `c_source.Source` fills in what starts with @."""

HEAD = """
/* @what, @K classes.
   int @p_predict(const @p_point *x): the class, 0 to @K - 1, of @d coordinates.
@votes   @p_labels: the name of each class. C99, no library, no malloc.
   @how@names */
#ifndef @UP_FASTMEM_H
#define @UP_FASTMEM_H

#include <float.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

/* What each compiler defines where it may reorder sums: they would break the error bounds. */
#if defined(__FAST_MATH__) || defined(__FP_FAST)
#error "compile without -ffast-math, -Ofast: sums that are reordered break the error bounds"
#endif
#if defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__)
#error "compile without -funsafe-math-optimizations, -fassociative-math, -freciprocal-math"
#endif
#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ > 0
#error "compile without -ffinite-math-only: bounds of huge coordinates are infinite"
#endif
#if defined(__GCC_IEC_559) && defined(__GNUC__) && !defined(__clang__)
#if __GCC_IEC_559 < 1 && __GNUC__ < 12 && (defined(__x86_64__) || defined(__aarch64__))
#error "compile without -funsafe-math-optimizations and its parts, which gcc 11 does not tell apart"
#endif
#endif
#ifdef _M_FP_FAST
#error "compile with /fp:precise: sums that are reordered break the error bounds"
#endif
#if defined(FLT_EVAL_METHOD) && (FLT_EVAL_METHOD == 2 || FLT_EVAL_METHOD < 0)
#error "compile for SSE2 or soft floats: extended precision breaks the exact sums"
#endif
#if defined(__FLT_EVAL_METHOD__) && (__FLT_EVAL_METHOD__ == 2 || __FLT_EVAL_METHOD__ < 0)
#error "compile for SSE2 or soft floats: extended precision breaks the exact sums"
#endif
#if FLT_RADIX != 2 || FLT_MANT_DIG != 24
#error "float is not that of IEEE 754 on this processor: the labels would not be those of fastmem"
#endif
@doubles
#if INT_MAX < @K
#error "int cannot hold the number of a class on this processor: export fewer classes"
#endif

/* Compilers whose fast models define nothing: what follows is to be computed as it stands. */
#if defined(_MSC_VER) || defined(__INTEL_COMPILER) || defined(__INTEL_LLVM_COMPILER)
#pragma float_control(precise, on, push)
#elif defined(__clang_major__) && __clang_major__ >= 13
#pragma float_control(push)
#pragma float_control(precise, on)
#endif

#define @UP_FEATURES @d
#define @UP_CLASSES @K

typedef @point @p_point;
"""
DOUBLES = """
#if DBL_MANT_DIG != 53
#error "double has not 53 bits here; fit float32 points and export with exact=False"
#endif
typedef char @p_must_be_compiled_without_fsingle_precision_constant
    [sizeof(1.0) == sizeof(double) ? 1 : -1];"""
POPCOUNT = """
static inline int @p_count(uint32_t v) {
#if defined(__GNUC__) && UINT_MAX >= 0xffffffff
  return __builtin_popcount(v);
#elif defined(__GNUC__)
  return __builtin_popcountl(v); /* int has 16 bits, long has 32 */
#else
  v = v - ((v >> 1) & 0x55555555u);
  v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
  v = (v + (v >> 4)) & 0x0f0f0f0fu;
  return (int)((uint32_t)(v * 0x01010101u) >> 24);
#endif
}
"""
NORM = """
/* At least the 2-norm of x: Newton's method from above, so that each step is a bound. */
static inline @real @p_norm(const @p_point *x) {
  @real largest = 0, sum = 0, root;
  long k;
  for (k = 0; k < @d; k++) {
    const @real size = (@real)(x[k] < 0 ? -x[k] : x[k]);
    if (size > largest) largest = size;
  }
  if (largest == 0) return 0;
  for (k = 0; k < @d; k++) {
    const @real part = (@real)x[k] / largest;
    sum += part * part;
  }
  root = (1 + sum) / 2;
  for (k = 0; k < 8; k++) root = (root + sum / root) / 2;
  return (@real)@inflate * root * largest;
}
"""
GROW = """
/* Adds b to an expansion of *n components, without error; zeros are left out. No compiler
   rearranges what stands between volatile numbers, whatever it is told. */
static inline void @p_grow(double *parts, int *n, double b) {
  int i, kept = 0;
  for (i = 0; i < *n; i++) {
    const double a = parts[i];
    const volatile double sum = a + b, back = sum - a, front = sum - back;
    const volatile double left = a - front, right = b - back, rest = left + right;
    if (rest != 0) parts[kept++] = rest;
    b = sum;
  }
  if (b != 0) parts[kept++] = b;
  *n = kept;
}
"""
POSITIVE = """
/* Whether <w, x> + bias > 0: in double with a bound, then exactly. */
static int @p_positive(const float *w, const @p_point *x, double bias) {
  double parts[@cap], total = bias, size = bias < 0 ? -bias : bias, bound;
  long k;
  int n = 0;
  for (k = 0; k < @d; k++) {
    const double term = (double)w[k] * (double)x[k];
    total += term;
    size += term < 0 ? -term : term;
  }
  bound = (@d + 4) * 1.2e-16 * size + 1e-290;
  if (total > bound) return 1;
  if (total < -bound) return 0;
  @p_grow(parts, &n, bias);
  for (k = 0; k < @d; k++) {
@parts
  }
  return n > 0 && parts[n - 1] > 0;
}
"""
EXACT = NORM + GROW + POSITIVE
PART_FLOAT = """    @p_grow(parts, &n, (double)w[k] * (double)x[k]);"""
PART_DOUBLE = """    /* the upper 29 bits of x, times 24 bits, are 53 */
    const double whole = x[k];
    uint64_t word;
    double high;
    volatile double low;
    memcpy(&word, &whole, sizeof word);
    word &= ~(uint64_t)0xffffff;
    memcpy(&high, &word, sizeof word);
    low = whole - high;
    @p_grow(parts, &n, (double)w[k] * low);
    @p_grow(parts, &n, (double)w[k] * high);"""
TRANSFORM = """
/* v <- H v, the Walsh-Hadamard transform in place. */
static inline void @p_transform(@real *v) {
  long step, i, j;
  for (step = 1; step < @UP_ROWS; step *= 2)
    for (i = 0; i < @UP_ROWS; i += 2 * step)
      for (j = i; j < i + step; j++) {
        const @real a = v[j], b = v[j + step];
        v[j] = a + b;
        v[j + step] = a - b;
      }
}
"""
ROW = """
/* One row of a block, all of whose sums are exact in float. */
static void @p_row(long block, long number, float *v) {
  long step, i, j;
  int t;
  for (i = 0; i < @UP_ROWS; i++) v[i] = i == number ? 1.0f : 0.0f;
  for (t = @UP_ROUNDS - 1; t >= 0; t--) {
    const uint32_t *signs = @p_signs + (block * @UP_ROUNDS + t) * (@UP_ROWS / 32);
    for (step = 1; step < @UP_ROWS; step *= 2)
      for (i = 0; i < @UP_ROWS; i += 2 * step)
        for (j = i; j < i + step; j++) {
          const float a = v[j], b = v[j + step];
          v[j] = a + b;
          v[j + step] = a - b;
        }
    for (i = 0; i < @UP_ROWS; i++)
      if (signs[i >> 5] >> (i & 31) & 1) v[i] = -v[i];
  }
  for (i = 0; i < @UP_ROWS; i++) v[i] *= 1.0f / @UP_ROWS;
}
"""
SLACK = """
      const @real size = beta < 0 ? -beta : beta;
      const @real slack = @norm * reach + @bias * size + @tiny;
      const int usable = reach < @limit;"""
DECIDE_FLOAT = "z > 0"
DECIDE_ROW = """
usable && z > slack ? 1 : usable && z < -slack ? 0
        : (@p_row(block, place, row), @p_positive(row, x, @p_biases[i]))"""
DECIDE_STORED = """
usable && z > slack ? 1 : usable && z < -slack ? 0
        : @p_positive(w, x, @p_biases[i])"""
TRANSFORMED = """
  @real v[@D];
@buffers  long block, place, k;
  int t;
  for (block = 0; block < @n_transforms; block++) {
    for (k = 0; k < @D; k++) v[k] = k < @d ? (@real)x[k] : 0;
    for (t = 0; t < @rounds; t++) {
      const uint32_t *signs = @p_signs + (block * @rounds + t) * (@D / 32);
      for (k = 0; k < @D; k++)
        if (signs[k >> 5] >> (k & 31) & 1) v[k] = -v[k];
      @p_transform(v);
    }
    for (place = 0; place < @D; place++) {
      if (!(@p_used[block * (@D / 32) + (place >> 5)] >> (place & 31) & 1)) continue;
      {
      const @real beta = (@real)(@p_biases[i] * @D), z = v[place] + beta;@slack
      bits[i >> 5] |= (uint32_t)(@decide) << (i & 31);
      i++;
      }
    }
  }"""
SUM = """@real acc[@lanes] = {0}, sum = 0;
      long h;
      int l;
      for (h = 0; h < @whole; h += @lanes)
        for (l = 0; l < @lanes; l++) acc[l] += w[h + l] * (@real)x[h + l];
      for (h = @whole; h < @d; h++) sum += w[h] * (@real)x[h];
      for (l = 0; l < @lanes; l++) sum += acc[l];"""
SHORT_SUM = """@real sum = 0;
      long h;
      for (h = 0; h < @d; h++) sum += w[h] * (@real)x[h];"""
STORED = """
  {
    long j;
    for (j = 0; j < @n_stored; j++, i++) {
      const float *w = @p_weights + j * @d;
      const @real beta = (@real)@p_biases[i];
      @real z;
      @sum
      z = sum + beta;
      {@slack
      bits[i >> 5] |= (uint32_t)(@decide) << (i & 31);
      }
    }
  }"""
PREDICT = """
static inline int @p_predict(const @p_point *x) {
  uint32_t bits[@n_words];
  long j = 0, block;
  @start
@prelude
  @p_pattern(x, bits);
  for (block = 0; block < @blocks; block++)
    for (; j < (long)@p_block_end[block]; j++) {
      long score = @p_levels[j];
@count
      if (score > best) {
        best = score;
        found = @p_block_class[block];
      }
    }
  return found;
}
"""
SCALED = (
    "(const @p_point *x) {\n",
    """(const @p_point *point) {
  @value x[@d];
  int feature;
  for (feature = 0; feature < @d; feature++)
    x[feature] = (@value)point[feature] * @p_scale[feature];
""",
)
"""What the beginning of PREDICT becomes where points are multiplied by powers of two."""
LISTS = """
      {
        const uint8_t *end = gaps + @p_mask_size[j];
        long place = 0;
        for (; gaps < end && score > best; gaps++) {
          place += *gaps;
          if (*gaps == 255) continue;
          score -= bits[place >> 5] >> (place & 31) & 1;
          place++;
        }
        gaps = end;
      }"""
BITS = """
      {
        const uint32_t *mask = @p_masks + j * @n_words;
        long k;
        for (k = 0; k < @n_words && score > best; k++) score -= @p_count(mask[k] & bits[k]);
      }"""
TAIL = """
#if defined(_MSC_VER) || defined(__INTEL_COMPILER) || defined(__INTEL_LLVM_COMPILER)
#pragma float_control(pop)
#elif defined(__clang_major__) && __clang_major__ >= 13
#pragma float_control(pop)
#endif

#endif
"""
