// Vectors of the instruction set that this file is compiled for. Results of a lane do not depend on the vector's
// width, so that all instruction sets with a fused multiply-add compute the same bits.
//
// Everything that is compiled more than once lives in a namespace of its own (ISA): the linker would otherwise keep
// one copy of an inline function for all, perhaps one that this machine cannot run. For the same reason nothing here
// uses templates of the standard library.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

namespace ISA {

#if defined(__AVX512F__)
constexpr int W = 16;
#elif defined(__AVX2__) && defined(__FMA__)
constexpr int W = 8;
#else
constexpr int W = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * W), may_alias));
typedef int32_t Ints __attribute__((vector_size(4 * W), may_alias));
typedef int16_t Shorts __attribute__((vector_size(2 * W), may_alias));
typedef uint8_t Bytes __attribute__((vector_size(W), may_alias));

INLINE Floats load(const float *p) { return *(const Floats *)p; }
INLINE void store(float *p, Floats v) { *(Floats *)p = v; }
INLINE Floats splat(float v) { return v - Floats{}; }
INLINE Ints splat(int32_t v) { return v - Ints{}; }

INLINE Floats fma(Floats a, Floats b, Floats c) {  // a · b + c
#if defined(__AVX512F__)
  return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (Floats)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

INLINE Floats max(Floats a, Floats b) {
#if defined(__AVX512F__)
  return (Floats)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (Floats)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
  return (Floats)_mm_max_ps((__m128)a, (__m128)b);
#else
  return a > b ? a : b;
#endif
}

INLINE Floats min(Floats a, Floats b) {
#if defined(__AVX512F__)
  return (Floats)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (Floats)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
  return (Floats)_mm_min_ps((__m128)a, (__m128)b);
#else
  return a < b ? a : b;
#endif
}

INLINE void copy(float *to, const float *from, int count) {  // whole vectors
  for (int i = 0; i < count; i += W) store(to + i, load(from + i));
}

INLINE Floats first_lanes(Floats v, int count, float others) {
  Ints lane;
  UNROLL for (int i = 0; i < W; i++) lane[i] = i;
  return lane < splat(count) ? v : splat(others);
}

INLINE Floats abs(Floats a) { return (Floats)((Ints)a & 0x7fffffff); }
INLINE Floats convert(Ints a) { return __builtin_convertvector(a, Floats); }

INLINE float highest(Floats v) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps((__m512)v);
#else
#if defined(__AVX2__)
  const __m128 halves = _mm_max_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
#elif defined(__SSE2__)
  const __m128 halves = (__m128)v;
#else
  const Floats halves = v;
#endif
  const float ab = halves[0] > halves[1] ? halves[0] : halves[1], cd = halves[2] > halves[3] ? halves[2] : halves[3];
  return ab > cd ? ab : cd;
#endif
}

// Nearest integer, ties to even, of |v| < 2^22: the addition pushes the fraction out of the mantissa.
constexpr float ROUNDING = 12582912.0f;  // 1.5 · 2^23
INLINE Ints round(Floats v) { return (Ints)(v + ROUNDING) - 0x4b400000; }

// 2^(log2_base · v), for exponents in [-126, 127], within 2 units in the last place of the exact power of the rounded
// exponent. The polynomial is minimax for 2^r, |r| <= 1/2, in relative error (9.1e-8), with a constant of exactly 1; it
// is summed by halves, which is the shortest way to the result.
INLINE Floats power(Floats v, float log2_base) {
  const Floats shifted = fma(v, splat(log2_base), splat(ROUNDING));
  const Floats r = fma(v, splat(log2_base), ROUNDING - shifted), r2 = r * r;
  const Floats p01 = fma(r, splat(6.931470037e-1f), splat(1.0f));
  const Floats p23 = fma(r, splat(5.550733581e-2f), splat(2.402224243e-1f));
  const Floats p45 = fma(r, splat(1.326472731e-3f), splat(9.671512991e-3f));
  const Floats p = fma(r2, fma(r2, p45, p23), p01);
  return (Floats)((Ints)p + ((Ints)shifted << 23));  // all but the exponent's own bits of ROUNDING are shifted out
}

INLINE Floats clamp(Floats v, float low, float high) { return max(splat(low), min(splat(high), v)); }
constexpr float LOG2_E = 1.44269504f;
INLINE Floats exp(Floats v) { return power(clamp(v, -87.0f, 88.0f), LOG2_E); }

// 1 / v within 2 units in the last place, for normal positive v: a guess from the exponent, off by 12 % at most, and two
// steps of third order. Division takes four times as long, and the processors' own guesses differ.
INLINE Floats reciprocal(Floats v) {
  Floats y = (Floats)(0x7ef311c7 - (Ints)v);
  UNROLL for (int i = 0; i < 2; i++) {
    const Floats error = fma(-v, y, splat(1.0f));
    y = fma(y, fma(error, error, error), y);
  }
  return y;
}

// tanh(f) · sigmoid(g): van den Oord et al. 2016, eq. 2.
INLINE Floats gate(Floats f, Floats g) {
  const Floats e = power(clamp(f, -15.0f, 15.0f), -2 * LOG2_E), s = power(clamp(g, -40.0f, 40.0f), -LOG2_E);
  return (1.0f - e) * reciprocal((1.0f + e) * (1.0f + s));
}

}  // namespace ISA
