// AMX: products of sixteen rows and sixteen outputs at a time, in the layout of the panels in products.h.
#pragma once
#include "products.h"

namespace ISA {

#if defined(__AMX_TILE__)

// GCC 12 believes that the intrinsics read less memory than they do; what was stored must have been stored.
INLINE void written(const void *memory) { __asm__ volatile("" ::"r"(memory) : "memory"); }

// Registers are configured once per thread and run: eight full tiles.
struct Tiles {
  Tiles() {
    struct { uint8_t palette, start, zero[14]; uint16_t row_bytes[16]; uint8_t rows[16]; } config = {};
    config.palette = 1;
    for (int i = 0; i < 8; i++) config.row_bytes[i] = 64, config.rows[i] = 16;
    written(&config);
    _tile_loadconfig(&config);
  }
  ~Tiles() { _tile_release(); }
};

// Accumulators 0 to 3 are (rows 0-15, 16-31) × (outputs 0-15, 16-31); a product of fewer rows uses half of them.
// Both blocks of outputs share the loads of activations, both blocks of rows those of weights.
#define LOAD_WEIGHTS() _tile_loadd(6, weights, row_bytes); _tile_loadd(7, weights + 64, row_bytes)
#define MULTIPLY(dot, x)                                                             \
  _tile_loadd(4, x, stride); dot(0, 4, 6); dot(1, 4, 7);                              \
  if (TWO) { _tile_loadd(5, x + 16 * stride, stride); dot(2, 5, 6); dot(3, 5, 7); }
#define CLEAR() _tile_zero(0); _tile_zero(1); if (TWO) { _tile_zero(2); _tile_zero(3); }
#define ACCUMULATORS(call, to, to_stride)                                             \
  call(0, to, to_stride); call(1, (char *)to + 64, to_stride);                         \
  if (TWO) { call(2, (char *)to + 16 * to_stride, to_stride); call(3, (char *)to + 16 * to_stride + 64, to_stride); }

// 16 or 32 rows times 32 outputs are added to `to`, whose rows are `to_stride` bytes apart.
template <bool TWO>
INLINE void tile_bf16(float *to, ptrdiff_t to_stride, const char *weights, int row_bytes, int steps, const char *x,
                      ptrdiff_t stride) {
  written(x);
  ACCUMULATORS(_tile_loadd, to, to_stride)
  for (int k = 0; k < steps; k++, weights += 16 * row_bytes, x += 64) {
    LOAD_WEIGHTS();
    MULTIPLY(_tile_dpbf16ps, x)
  }
  ACCUMULATORS(_tile_stored, to, to_stride)
}

// The same as integers, into `to` (rows, 32).
template <bool TWO>
INLINE void tile_bytes(int32_t *to, const char *weights, int row_bytes, int steps, const char *x, ptrdiff_t stride) {
  written(x);
  CLEAR()
  for (int k = 0; k < steps; k++, weights += 16 * row_bytes, x += 64) {
    LOAD_WEIGHTS();
    MULTIPLY(_tile_dpbusd, x)
  }
  ACCUMULATORS(_tile_stored, to, 128)
}

#undef LOAD_WEIGHTS
#undef MULTIPLY
#undef CLEAR
#undef ACCUMULATORS

// Calls `run(output, weights, row_bytes)` for each 32 outputs; the packed matrices' outputs are multiples of 32.
template <class P, class F> INLINE void each_32_outputs(const Matrix &m, F run) {
  const char *weights = m.weights;
  for (int output = 0; output < m.outputs;) {
    const int width = panel_width((m.outputs - output) / W), row_bytes = width * P::VECTOR_BYTES;
    for (int v = 0; v < width; v += 2) run(output + v * W, weights + v * P::VECTOR_BYTES, row_bytes);
    weights += (ptrdiff_t)row_bytes * (m.inputs / P::STEP);
    output += width * W;
  }
}

// Tiles read and write sixteen rows: where there are fewer, in a copy. Rows of a tile do not mix, so whatever lies in the
// others, unset or being written by the other thread, goes nowhere.
INLINE void product_of_bf16(float *y, int y_stride, const char *weights, int row_bytes, int steps, Operand x, int rows) {
  if (rows == 32) return tile_bf16<true>(y, 4 * y_stride, weights, row_bytes, steps, x.data, x.stride);
  if (rows == 16) return tile_bf16<false>(y, 4 * y_stride, weights, row_bytes, steps, x.data, x.stride);
  float copy[32 * 32] __attribute__((aligned(64)));
  for (int r = 0; r < rows; r++) memcpy(copy + 32 * r, y + r * y_stride, 128);
  if (rows > 16) tile_bf16<true>(copy, 128, weights, row_bytes, steps, x.data, x.stride);
  else tile_bf16<false>(copy, 128, weights, row_bytes, steps, x.data, x.stride);
  for (int r = 0; r < rows; r++) memcpy(y + r * y_stride, copy + 32 * r, 128);
}

template <> inline void product<Bf16>(float *y, int y_stride, const Matrix &m, Operand x, int rows) {
  each_32_outputs<Bf16>(m, [&](int output, const char *weights, int row_bytes) {
    for (int first = 0; first < rows; first += 32)
      product_of_bf16(y + first * y_stride + output, y_stride, weights, row_bytes, m.inputs / 32, x.at(first),
                      rows - first < 32 ? rows - first : 32);
  });
}

// The integers are those of the vector products, and so is every bit of the result.
template <bool WIDE> INLINE void product_of_bytes(float *y, int y_stride, const Matrix &m, Operand x, int rows) {
  typedef Quads<WIDE> P;
  int32_t high[32 * 32] __attribute__((aligned(64))), low[32 * 32] __attribute__((aligned(64)));
  each_32_outputs<P>(m, [&](int output, const char *weights, int row_bytes) {
    for (int first = 0; first < rows; first += 32) {
      const int count = rows - first < 32 ? rows - first : 32, steps = m.inputs / 64;
      const char *from = x.data + first * x.stride;
      if (count > 16) {
        tile_bytes<true>(high, weights, row_bytes, steps, from, x.stride);
        if (WIDE) tile_bytes<true>(low, weights, row_bytes, steps, from + x.plane, x.stride);
      } else {
        tile_bytes<false>(high, weights, row_bytes, steps, from, x.stride);
        if (WIDE) tile_bytes<false>(low, weights, row_bytes, steps, from + x.plane, x.stride);
      }
      for (int r = 0; r < count; r++)
        for (int v = 0; v < 32; v += W) {
          float *to = y + (first + r) * y_stride + output + v;
          const typename P::Sum sum = {*(const Ints *)(high + 32 * r + v), *(const Ints *)(low + 32 * r + v)};
          store(to, P::end(sum, to, m, output + v, x.scale[first + r]));
        }
    }
  });
}

constexpr int TILE_ROWS = 6;  // from so many rows on, tiles beat vectors
template <> inline void product<W8A16>(float *y, int y_stride, const Matrix &m, Operand x, int rows) {
  if (rows < TILE_ROWS) vector_product<W8A16>(y, y_stride, m, x, rows);
  else product_of_bytes<true>(y, y_stride, m, x, rows);
}
template <> inline void product<Int8>(float *y, int y_stride, const Matrix &m, Operand x, int rows) {
  if (rows < TILE_ROWS) vector_product<Int8>(y, y_stride, m, x, rows);
  else product_of_bytes<false>(y, y_stride, m, x, rows);
}

#else

struct Tiles { ~Tiles() {} };

#endif

}  // namespace ISA
