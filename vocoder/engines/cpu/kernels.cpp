// All precisions for one instruction set. ISA is the name of this compilation's namespace.
#include "kernels.h"
#include "probe.h"
#include "rollout.h"
#include "run.h"

namespace ISA {

// Denormals are zero within a run: a decaying state would otherwise slow down a hundredfold.
struct FlushDenormals {
#if defined(__x86_64__)
  const unsigned int before = _mm_getcsr();
  FlushDenormals() { _mm_setcsr(before | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before); }
#elif defined(__aarch64__)
  uint64_t before;
  FlushDenormals() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" ::"r"(before | (1ull << 24)));
  }
  ~FlushDenormals() { __asm__ volatile("msr fpcr, %0" ::"r"(before)); }
#endif
};

template <class P> size_t model_bytes(const Shape *shape) { return Model<P>::bytes(*shape); }
template <class P> void pack(void *model, const Shape *shape, const float *weights) {
  Model<P>::pack(model, *shape, weights);
}
template <class P> size_t state_bytes(const Shape *shape, int rows) { return State<P>::bytes(*shape, rows); }
template <class P> void clear(const void *model, void *state, int rows, int row) {
  const Model<P> &m = *(const Model<P> *)model;
  State<P>::prepare(m, state, rows)->clear(m, rows, row);
}
template <class P> void prepare(const void *model, const Job *job) {
  State<P>::prepare(*(const Model<P> *)model, job->state, job->rows);
}
template <class P> void lead(const void *model, const Job *job, Link *link) {
  FlushDenormals flush;
  Tiles tiles;
  Run<P>(*(const Model<P> *)model, *job, link).lead();
}
template <class P> void assist(const void *model, const Job *job, Link *link) {
  FlushDenormals flush;
  Tiles tiles;
  Run<P>(*(const Model<P> *)model, *job, link).assist();
}

static void rollout_flushed(const Shape *shape, const float *weights, const Rollout *job, void *memory, int back) {
  FlushDenormals flush;
  rollout(shape, weights, job, memory, back);
}

template <class P> constexpr Kernels kernels_of(const char *name) {
  return {name,    model_bytes<P>, pack<P>,    state_bytes<P>,   clear<P>, prepare<P>,
          lead<P>, assist<P>,      tape_size,  rollout_bytes,     rollout_flushed,
          probe_read, probe_multiply<P>};
}

extern const Kernels kernels[];
const Kernels kernels[] = {kernels_of<Fp32>("fp32"), kernels_of<Int16>("int16"), kernels_of<W8A16>("w8a16"),
                           kernels_of<Bf16>("bf16"), kernels_of<Int8>("int8"), {}};

}  // namespace ISA
