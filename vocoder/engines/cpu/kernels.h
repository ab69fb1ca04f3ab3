// What each instruction set provides, and how it is found: kernels.cpp is compiled once per instruction set.
#pragma once
#include <sched.h>

#include "abi.h"

// Progress of the two threads of one run; each counter has one writer and a cache line of its own.
struct alignas(64) Counter {
  int64_t value;

  __attribute__((always_inline)) void publish(int64_t v) { __atomic_store_n(&value, v, __ATOMIC_RELEASE); }
  __attribute__((always_inline)) int64_t read() const { return __atomic_load_n(&value, __ATOMIC_ACQUIRE); }
  __attribute__((always_inline)) void wait(int64_t v) const {
    for (int spin = 0; read() < v; spin++) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
      if (spin > 1000) sched_yield();  // the other thread may be waiting for this core
    }
  }
};

struct Link {
  Counter made;     // by the first thread: z of so many skip groups
  Counter summed;   // by the first: what the layers say, s, of so many steps
  Counter skipped;  // by the second: the skip products of so many groups
  Counter ready;    // by the second: past and conditioning, for the next step, of so many groups' layers
  Counter said;     // by the second: what the layers say to so many samples, without the first of each step
};

struct Kernels {  // of one precision
  const char *precision;
  size_t (*model_bytes)(const Shape *);
  void (*pack)(void *model, const Shape *, const float *weights);
  size_t (*state_bytes)(const Shape *, int rows);
  void (*clear)(const void *model, void *state, int rows, int row);
  void (*prepare)(const void *model, const Job *);         // before a run, by one thread
  void (*lead)(const void *model, const Job *, Link *);    // a whole run, or with a link its first thread
  void (*assist)(const void *model, const Job *, Link *);  // its second thread
  size_t (*tape_size)(const Shape *);  // the same for each precision, as all that follow
  size_t (*rollout_bytes)(const Shape *, int steps);
  void (*rollout)(const Shape *, const float *weights, const Rollout *, void *memory, int back);
  void (*probe_read)(const void *from, size_t bytes, int times);
  int64_t (*probe_multiply)(int times);
};

struct InstructionSet {
  const char *name;
  bool (*available)();
  const Kernels *kernels;  // the last has no name
};

extern const InstructionSet instruction_sets[];  // best first; the last has no name
