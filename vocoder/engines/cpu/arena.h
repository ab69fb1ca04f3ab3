// Memory in one block.
#pragma once
#include <stddef.h>

namespace ISA {

// Hands out aligned pieces of one block of memory; without a block it only counts.
struct Arena {
  char *base;
  size_t used = 0;

  template <class T> T *take(size_t count) {
    used = (used + 63) / 64 * 64;
    T *piece = base ? (T *)(base + used) : nullptr;
    used += count * sizeof(T);
    return piece;
  }
};

}  // namespace ISA
