// Matrix products y += W x in each precision: how operands are stored and multiplied.
//
// Outputs lie in the lanes of vectors, inputs are broadcast, so that no sum runs across lanes. A packed matrix is a
// sequence of panels of up to eight vectors of outputs; within a panel the weights of one step of inputs lie together.
//
// Sums run over the inputs in their order, in one chain per output, however many rows are multiplied at once: a row's
// result has the same bits alone and in company. In fixed point sums are exact anyway. z lies in (-1, 1), so its scale is
// fixed; the residual stream is scaled by each vector's own maximum.
#pragma once
#include "simd.h"

namespace ISA {

struct Matrix {  // packed
  const char *weights;
  const float *scale;     // fixed point: value of one unit of weight, for each output
  const int32_t *offset;  // unsigned activations: what their offset adds to each output
  int32_t inputs, outputs;  // padded
};

struct Operand {  // rows of activations
  char *data;
  float *scale;  // fixed point: value of one unit, for each row
  ptrdiff_t stride;  // from row to row, in bytes
  ptrdiff_t plane;   // from high to low bytes, where they are kept apart

  Operand at(ptrdiff_t row, ptrdiff_t bytes = 0) const { return {data + row * stride + bytes, scale + row, stride, plane}; }
};

constexpr int AHEAD = 1024;  // bytes of weights that are fetched before their use
constexpr int pad(int n, int to) { return (n + to - 1) / to * to; }
INLINE int panel_width(int vectors) { return vectors >= 8 ? 8 : vectors >= 4 ? 4 : vectors >= 2 ? 2 : 1; }

// --- fp32 ---------------------------------------------------------------------------------------------------------

struct Fp32 {
  typedef Floats Sum;
  typedef Floats Input;
  static constexpr int STEP = 1, ALIGN = 16, ACTIVATION_BYTES = 4, WEIGHT_BYTES = 4, LIMIT = 0, TILE = W == 16 ? 4 : 2;
  static constexpr bool PLANES = false;
  static constexpr float Z_SCALE = 1;
  static constexpr int VECTOR_BYTES = 4 * W;  // weights of one vector of outputs and one step

  INLINE Sum begin(const float *y) { return load(y); }
  INLINE Input broadcast(const char *x, ptrdiff_t, int step) { return splat(((const float *)x)[step]); }
  INLINE Sum dot(Sum sum, const char *w, Input x) { return fma(*(const Floats *)w, x, sum); }
  INLINE Floats end(Sum sum, const float *, const Matrix &, int, float) { return sum; }

  INLINE void put(Operand x, int channels, const float *from) { memcpy(x.data, from, 4 * channels); }
  INLINE void put_gate(Operand x, int channel, Floats z) { store((float *)x.data + channel, z); }
};

// --- bf16: multiplicands rounded to eight bits, sums in fp32 --------------------------------------------------------

INLINE Shorts to_bf16(Floats v) {  // to nearest, ties to even
  const Ints bits = (Ints)v;
  return __builtin_convertvector((bits + 0x7fff + ((bits >> 16) & 1)) >> 16, Shorts);
}

struct Bf16 {
  static constexpr int STEP = 2, ACTIVATION_BYTES = 2, WEIGHT_BYTES = 2, LIMIT = 0, TILE = W == 16 ? 4 : 2;
  static constexpr bool PLANES = false;
  static constexpr float Z_SCALE = 1;
  static constexpr int VECTOR_BYTES = 4 * W;
#if defined(__AMX_BF16__)
  static constexpr int ALIGN = 32;
#else
  static constexpr int ALIGN = 16;
#endif
  typedef Floats Sum;
  INLINE Sum begin(const float *y) { return load(y); }
#if defined(__AVX512BF16__)
  typedef Ints Input;
  INLINE Input broadcast(const char *x, ptrdiff_t, int step) { return splat(((const int32_t *)x)[step]); }
  INLINE Sum dot(Sum sum, const char *w, Input x) {
    return (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_load_si512(w), (__m512bh)x);
  }
#else
  struct Input { Floats even, odd; };
  INLINE Input broadcast(const char *x, ptrdiff_t, int step) {
    const Ints pair = splat(((const int32_t *)x)[step]);
    return {(Floats)(pair << 16), (Floats)(pair & (int32_t)0xffff0000)};
  }
  INLINE Sum dot(Sum sum, const char *w, Input x) {
    const Ints pair = *(const Ints *)w;
    sum = fma((Floats)(pair << 16), x.even, sum);
    return fma((Floats)(pair & (int32_t)0xffff0000), x.odd, sum);
  }
#endif
  INLINE Floats end(Sum sum, const float *, const Matrix &, int, float) { return sum; }
  INLINE void put(Operand x, int channels, const float *from) {
    for (int i = 0; i < channels; i += W) *(Shorts *)(x.data + 2 * i) = to_bf16(load(from + i));
  }
  INLINE void put_gate(Operand x, int channel, Floats z) { *(Shorts *)(x.data + 2 * channel) = to_bf16(z); }
};

// --- fixed point: a scale for each output's weights and each row of activations, sums exact in 32 bits ---------------
//
// A row's weights are scaled so that their magnitudes sum to less than 2^16: no sum of products with 16-bit
// activations can overflow.

constexpr int FULL = 32767;

INLINE float largest(const float *x, int channels) {
  Floats m = abs(load(x));
  for (int i = W; i < channels; i += W) m = max(m, abs(load(x + i)));
  return highest(m);
}

template <int TOP> struct Rounded {  // a row of activations as integers from -TOP to TOP
  float inverse;
  INLINE Rounded scaled(Operand x, int channels, const float *from) {
    const float top = largest(from, channels);
    *x.scale = top * (1.0f / TOP);
    return {top > 1e-30f ? TOP / top : 0.0f};
  }
  Ints operator()(const float *from) const { return round(load(from) * inverse); }
};

INLINE Ints multiply_pairs(Ints sum, Ints w, Ints x) {  // sum + w0 · x0 + w1 · x1 of 16-bit pairs
#if defined(__AVX512VNNI__)
  return (Ints)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)w, (__m512i)x);
#elif defined(__AVX512BW__)
  return sum + (Ints)_mm512_madd_epi16((__m512i)w, (__m512i)x);
#elif defined(__AVX2__)
  return sum + (Ints)_mm256_madd_epi16((__m256i)w, (__m256i)x);
#elif defined(__SSE2__)
  return sum + (Ints)_mm_madd_epi16((__m128i)w, (__m128i)x);
#else
  const Ints even = ((w << 16) >> 16) * ((x << 16) >> 16), odd = (w >> 16) * (x >> 16);
  return sum + even + odd;
#endif
}

INLINE Ints widen(const char *w) {  // 2 W signed bytes to 16 bits
#if defined(__AVX512BW__)
  return (Ints)_mm512_cvtepi8_epi16(_mm256_load_si256((const __m256i *)w));
#elif defined(__AVX2__)
  return (Ints)_mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)w));
#elif defined(__SSE2__)
  const __m128i bytes = _mm_loadl_epi64((const __m128i *)w);
  return (Ints)_mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
#else
  typedef int8_t Narrow __attribute__((vector_size(2 * W), may_alias));
  typedef int16_t Wide __attribute__((vector_size(4 * W), may_alias));
  return (Ints) __builtin_convertvector(*(const Narrow *)w, Wide);
#endif
}

// Activations of up to 16 bits as signed pairs; weights of 16 bits, or of 8 that are widened on their way.
template <int BYTES, int TOP> struct Pairs {
  typedef Ints Sum;
  typedef Ints Input;
  static constexpr int STEP = 2, ALIGN = 16, ACTIVATION_BYTES = 2, WEIGHT_BYTES = BYTES, TILE = W == 16 ? 4 : 2;
  static constexpr int LIMIT = BYTES == 1 ? 127 : 32767;
  static constexpr bool PLANES = false;
  static constexpr float Z_SCALE = 1.0f / TOP;
  static constexpr int VECTOR_BYTES = 2 * BYTES * W;

  INLINE Sum begin(const float *) { return Ints{}; }
  INLINE Input broadcast(const char *x, ptrdiff_t, int step) { return splat(((const int32_t *)x)[step]); }
  INLINE Sum dot(Sum sum, const char *w, Input x) {
    return multiply_pairs(sum, BYTES == 1 ? widen(w) : *(const Ints *)w, x);
  }
  INLINE Floats end(Sum sum, const float *y, const Matrix &m, int output, float scale) {
    return fma(convert(sum), load(m.scale + output) * scale, load(y));
  }
  INLINE void put(Operand x, int channels, const float *from) {
    const auto rounded = Rounded<TOP>::scaled(x, channels, from);
    for (int i = 0; i < channels; i += W) put_integers(x, i, rounded(from + i));
  }
  INLINE void put_gate(Operand x, int channel, Floats z) { put_integers(x, channel, round(z * (float)TOP)); }
  INLINE void put_integers(Operand x, int channel, Ints v) {
    *(Shorts *)(x.data + 2 * channel) = __builtin_convertvector(v, Shorts);
  }
};

#if defined(__AVX512VNNI__)
// Bytes times bytes in fours. Activations are offset to be unsigned; those of 16 bits are kept as a plane of high and
// one of low bytes, and each weight is loaded once for both. The integers are the same as those of `Pairs`.
template <bool WIDE> struct Quads {
  struct Sum { Ints high, low; };
  struct Input { Ints high, low; };
#if defined(__AMX_INT8__)
  static constexpr int ALIGN = 64;
#else
  static constexpr int ALIGN = 16;
#endif
  static constexpr int STEP = 4, ACTIVATION_BYTES = WIDE ? 2 : 1, WEIGHT_BYTES = 1, LIMIT = 127, TILE = WIDE ? 2 : 4;
  static constexpr int TOP = WIDE ? FULL : 127, OFFSET = WIDE ? 32768 : 128;
  static constexpr bool PLANES = WIDE;
  static constexpr float Z_SCALE = 1.0f / TOP;
  static constexpr int VECTOR_BYTES = 4 * W;

  INLINE Sum begin(const float *) { return {Ints{}, Ints{}}; }
  INLINE Input broadcast(const char *x, ptrdiff_t plane, int step) {
    return {splat(((const int32_t *)x)[step]), WIDE ? splat(((const int32_t *)(x + plane))[step]) : Ints{}};
  }
  INLINE Sum dot(Sum sum, const char *w, Input x) {
    __m512i weights = _mm512_load_si512(w);
    if (WIDE) __asm__("" : "+v"(weights));  // stays in its register: GCC would load it for each product anew
    sum.high = (Ints)_mm512_dpbusd_epi32((__m512i)sum.high, (__m512i)x.high, weights);
    if (WIDE) sum.low = (Ints)_mm512_dpbusd_epi32((__m512i)sum.low, (__m512i)x.low, weights);
    return sum;
  }
  INLINE Floats end(Sum sum, const float *y, const Matrix &m, int output, float scale) {
    // Modulo 2^32: the parts may overflow, the whole cannot.
    const Ints whole = (WIDE ? (sum.high << 8) + sum.low : sum.high) - *(const Ints *)(m.offset + output);
    return fma(convert(whole), load(m.scale + output) * scale, load(y));
  }
  INLINE void put(Operand x, int channels, const float *from) {
    const auto rounded = Rounded<TOP>::scaled(x, channels, from);
    for (int i = 0; i < channels; i += W) put_integers(x, i, rounded(from + i));
  }
  INLINE void put_gate(Operand x, int channel, Floats z) { put_integers(x, channel, round(z * (float)TOP)); }
  INLINE void put_integers(Operand x, int channel, Ints v) {
    const Ints u = v + OFFSET;
    *(Bytes *)(x.data + channel) = __builtin_convertvector(WIDE ? u >> 8 : u, Bytes);
    if (WIDE) *(Bytes *)(x.data + x.plane + channel) = __builtin_convertvector(u, Bytes);
  }
};
typedef Quads<true> W8A16;
typedef Quads<false> Int8;
#else
typedef Pairs<1, FULL> W8A16;
typedef Pairs<1, 127> Int8;
#endif
typedef Pairs<2, FULL> Int16;

// --- the product --------------------------------------------------------------------------------------------------

// ROWS rows times NV of the panel's vectors.
template <class P, int ROWS, int NV>
INLINE void tile(float *y, int y_stride, const Matrix &m, const char *weights, int panel, int output, Operand x) {
  typename P::Sum sum[ROWS][NV];
  UNROLL for (int r = 0; r < ROWS; r++)
    UNROLL for (int v = 0; v < NV; v++) sum[r][v] = P::begin(y + r * y_stride + output + v * W);
  const char *row[ROWS];
  UNROLL for (int r = 0; r < ROWS; r++) row[r] = x.data + r * x.stride;
  for (int step = 0; step < m.inputs / P::STEP; step++, weights += panel * P::VECTOR_BYTES) {
    if (ROWS == 1)  // a weight is used once: fetch ahead, also from the matrix that follows in memory
      for (int b = 0; b < panel * P::VECTOR_BYTES; b += 64) __builtin_prefetch(weights + AHEAD + b);
    typename P::Input input[ROWS];
    UNROLL for (int r = 0; r < ROWS; r++) input[r] = P::broadcast(row[r], x.plane, step);
    UNROLL for (int v = 0; v < NV; v++)
      UNROLL for (int r = 0; r < ROWS; r++) sum[r][v] = P::dot(sum[r][v], weights + v * P::VECTOR_BYTES, input[r]);
  }
  UNROLL for (int r = 0; r < ROWS; r++)
    UNROLL for (int v = 0; v < NV; v++) {
      float *to = y + r * y_stride + output + v * W;
      store(to, P::end(sum[r][v], to, m, output + v * W, P::LIMIT ? x.scale[r] : 0.0f));
    }
}

template <class P, int PANEL_WIDTH>
INLINE void panel_product(float *y, int y_stride, const Matrix &m, const char *weights, int output, Operand x, int rows) {
  constexpr int NV = PANEL_WIDTH < P::TILE ? PANEL_WIDTH : P::TILE;
  int r = 0;
  for (; r + 4 <= rows; r += 4)
    for (int v = 0; v < PANEL_WIDTH; v += NV)
      tile<P, 4, NV>(y + r * y_stride, y_stride, m, weights + v * P::VECTOR_BYTES, PANEL_WIDTH, output + v * W, x.at(r));
  for (; r < rows; r++) tile<P, 1, PANEL_WIDTH>(y + r * y_stride, y_stride, m, weights, PANEL_WIDTH, output, x.at(r));
}

// y (rows, outputs) += x (rows, inputs) · W
template <class P> INLINE void vector_product(float *y, int y_stride, const Matrix &m, Operand x, int rows) {
  const char *weights = m.weights;
  for (int output = 0; output < m.outputs;) {
    const int width = panel_width((m.outputs - output) / W);
    switch (width) {
      case 8: panel_product<P, 8>(y, y_stride, m, weights, output, x, rows); break;
      case 4: panel_product<P, 4>(y, y_stride, m, weights, output, x, rows); break;
      case 2: panel_product<P, 2>(y, y_stride, m, weights, output, x, rows); break;
      default: panel_product<P, 1>(y, y_stride, m, weights, output, x, rows);
    }
    weights += (ptrdiff_t)width * P::VECTOR_BYTES * (m.inputs / P::STEP);
    output += width * W;
  }
}

// The same by the best means there are; see also tiles.h.
template <class P> inline void product(float *y, int y_stride, const Matrix &m, Operand x, int rows) {
  vector_product<P>(y, y_stride, m, x, rows);
}

// --- small products in fp32, on the way from one sample to the next ------------------------------------------------

// y += Σ_k x[k] · rows[k], rows of `channels` numbers.
template <int NV> INLINE void add_rows_to(float *y, const float *x, const float *rows, int count, int channels) {
  Floats sum[NV];
  UNROLL for (int v = 0; v < NV; v++) sum[v] = load(y + v * W);
  for (int k = 0; k < count; k++, rows += channels)
    UNROLL for (int v = 0; v < NV; v++) sum[v] = fma(splat(x[k]), load(rows + v * W), sum[v]);
  UNROLL for (int v = 0; v < NV; v++) store(y + v * W, sum[v]);
}
INLINE void add_rows(float *y, const float *x, const float *rows, int count, int channels) {
  int c = 0;
  for (; c + 4 * W <= channels; c += 4 * W) add_rows_to<4>(y + c, x, rows + c, count, channels);
  for (; c < channels; c += W) add_rows_to<1>(y + c, x, rows + c, count, channels);
}

// y = bias + W x. Each sum runs in eight chains, which are added at the end: the next step waits for the result, and a
// single chain would last eight times as long. The packed matrices' inputs are multiples of eight.
constexpr int CHAINS = 8;
template <int ROWS>
INLINE void short_tile(float *y, int y_stride, const float *bias, const float *weights, int panel, int inputs,
                       const float *x, int x_stride) {
  Floats sum[ROWS][CHAINS] = {};
  for (int i = 0; i < inputs; i += CHAINS, weights += CHAINS * panel * W)
    UNROLL for (int k = 0; k < CHAINS; k++)
      UNROLL for (int r = 0; r < ROWS; r++)
        sum[r][k] = fma(load(weights + k * panel * W), splat(x[r * x_stride + i + k]), sum[r][k]);
  UNROLL for (int r = 0; r < ROWS; r++) {
    const Floats *s = sum[r];
    store(y + r * y_stride, load(bias) + (((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]))));
  }
}

INLINE void short_product(float *y, int y_stride, const float *bias, const Matrix &m, const float *x, int x_stride,
                          int rows) {
  constexpr int ROWS = W == 16 ? 2 : 1;  // as many sums as there are registers
  const float *weights = (const float *)m.weights;
  for (int output = 0; output < m.outputs;) {
    const int panel = panel_width((m.outputs - output) / W);
    for (int v = 0; v < panel; v++) {
      float *to = y + output + v * W;
      const float *start = bias + output + v * W, *from = weights + v * W;
      int r = 0;
      for (; r + ROWS <= rows; r += ROWS)
        short_tile<ROWS>(to + r * y_stride, y_stride, start, from, panel, m.inputs, x + r * x_stride, x_stride);
      for (; r < rows; r++)
        short_tile<1>(to + r * y_stride, y_stride, start, from, panel, m.inputs, x + r * x_stride, x_stride);
    }
    weights += (ptrdiff_t)panel * m.inputs * W;
    output += panel * W;
  }
}

}  // namespace ISA
