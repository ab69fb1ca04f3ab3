// What this machine does at best on one thread, for `vocoder bench` to compare with: reading what lies in a cache, and
// multiplying what lies in registers.
#pragma once
#include "tiles.h"

namespace ISA {

inline void probe_read(const void *from, size_t bytes, int times) {
  constexpr int VECTORS = 8;
  Ints sum[VECTORS] = {};
  for (int i = 0; i < times; i++) {
    const Ints *next = (const Ints *)from;
    for (size_t n = bytes / sizeof(sum); n > 0; n--, next += VECTORS)
      UNROLL for (int v = 0; v < VECTORS; v++) sum[v] ^= next[v];
    __asm__ volatile("" ::: "memory");  // whatever the last pass found may have changed
  }
  Ints seen[VECTORS];  // `sum` itself would stay in memory if its address were taken
  UNROLL for (int v = 0; v < VECTORS; v++) seen[v] = sum[v];
  __asm__ volatile("" ::"r"(seen) : "memory");
}

// Twelve chains hide the latency of a multiplication everywhere, and still fit into sixteen registers. Operands are
// loaded once for several of them, from the first-level cache: a compiler that sees constants would not multiply.
template <class P> int64_t probe_multiply(int times) {
  constexpr int ROWS = 6, VECTORS = 2, PLANE = 64;
  alignas(64) char weights[VECTORS * P::VECTOR_BYTES] = {}, x[2 * PLANE] = {};
  typename P::Sum sum[ROWS][VECTORS] = {}, seen[ROWS][VECTORS];
  for (int i = 0; i < times; i++) {
    __asm__ volatile("" ::"r"(weights), "r"(x) : "memory");
    UNROLL for (int r = 0; r < ROWS; r++) {
      const typename P::Input input = P::broadcast(x, PLANE, r);
      UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] = P::dot(sum[r][v], weights + v * P::VECTOR_BYTES, input);
    }
  }
  UNROLL for (int r = 0; r < ROWS; r++)
    UNROLL for (int v = 0; v < VECTORS; v++) seen[r][v] = sum[r][v];
  __asm__ volatile("" ::"r"(seen) : "memory");
  return (int64_t)times * ROWS * VECTORS * W * P::STEP;
}

#if defined(__AMX_TILE__)

#define MULTIPLY_TILES(dot)                                                              \
  Tiles tiles;                                                                           \
  _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);                            \
  _tile_zero(4); _tile_zero(5); _tile_zero(6); _tile_zero(7);                            \
  for (int i = 0; i < times; i++) { dot(0, 4, 6); dot(1, 4, 7); dot(2, 5, 6); dot(3, 5, 7); }

constexpr int64_t TILE_PRODUCTS = 4 * 16 * 16;  // of the four above: sums that each adds to

template <> inline int64_t probe_multiply<Bf16>(int times) {
  MULTIPLY_TILES(_tile_dpbf16ps)
  return times * TILE_PRODUCTS * 32;
}
template <> inline int64_t probe_multiply<Int8>(int times) {
  MULTIPLY_TILES(_tile_dpbusd)
  return times * TILE_PRODUCTS * 64;
}
template <> inline int64_t probe_multiply<W8A16>(int times) {  // high and low bytes apart: two for one
  MULTIPLY_TILES(_tile_dpbusd)
  return times * TILE_PRODUCTS * 32;
}

#undef MULTIPLY_TILES
#endif

}  // namespace ISA
