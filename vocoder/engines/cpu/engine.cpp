// The C interface: models, states, threads. Compiled for any CPU.
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "kernels.h"
#include "shape.h"

namespace {

struct Handle {
  const Kernels *kernels;
  void *block;
};

const Kernels *find(const char *instruction_set, const char *precision) {
  for (const InstructionSet *set = instruction_sets; set->name; set++) {
    if (std::strcmp(set->name, instruction_set) || !set->available()) continue;
    for (const Kernels *k = set->kernels; k->precision; k++)
      if (!std::strcmp(k->precision, precision)) return k;
  }
  return nullptr;
}

// On a new thread, or on this one where the system gives no more.
template <class F> void start(std::vector<std::thread> &threads, F run) {
  try {
    threads.emplace_back(run);
  } catch (const std::exception &) {
    run();
  }
}

}  // namespace

extern "C" {

int vocoder_abi(void) { return VOCODER_ABI; }

void vocoder_struct_bytes(size_t bytes[4]) {
  bytes[0] = sizeof(Shape), bytes[1] = sizeof(Row), bytes[2] = sizeof(Job), bytes[3] = sizeof(Rollout);
}

const char *vocoder_shape_obstacle(const Shape *shape) { return find_obstacle(*shape); }

const char *vocoder_instruction_sets(void) {
  static const std::string names = [] {
    std::string all;
    for (const InstructionSet *set = instruction_sets; set->name; set++)
      if (set->available()) all += (all.empty() ? "" : " ") + std::string(set->name);
    return all;
  }();
  return names.c_str();
}

void *vocoder_model_new(const char *instruction_set, const char *precision, const Shape *shape, const float *weights) {
  const Kernels *kernels = find(instruction_set, precision);
  if (!kernels || find_obstacle(*shape)) return nullptr;
  void *block = std::aligned_alloc(64, (kernels->model_bytes(shape) + 63) / 64 * 64);
  Handle *handle = block ? new (std::nothrow) Handle{kernels, block} : nullptr;
  if (handle) kernels->pack(block, shape, weights);
  else std::free(block);
  return handle;
}

void vocoder_model_free(void *model) {
  if (!model) return;
  std::free(((Handle *)model)->block);
  delete (Handle *)model;
}

size_t vocoder_model_bytes(const char *instruction_set, const char *precision, const Shape *shape) {
  const Kernels *kernels = find(instruction_set, precision);
  return kernels && !find_obstacle(*shape) ? kernels->model_bytes(shape) : 0;
}

size_t vocoder_state_bytes(const char *instruction_set, const char *precision, const Shape *shape, int32_t rows) {
  const Kernels *kernels = find(instruction_set, precision);
  return kernels && !find_obstacle(*shape) && rows > 0 ? kernels->state_bytes(shape, rows) : 0;
}

void vocoder_state_clear(const void *model, void *state, int32_t rows, int32_t row) {
  const Handle *handle = (const Handle *)model;
  handle->kernels->clear(handle->block, state, rows, row);
}

void vocoder_run(const void *model, const Job *jobs, int32_t count, int32_t helper) {
  const Handle *handle = (const Handle *)model;
  const Kernels &kernels = *handle->kernels;
  for (int32_t i = 0; i < count; i++) kernels.prepare(handle->block, jobs + i);
  Link link{};
  std::vector<std::thread> threads;
  threads.reserve(count);
  if (helper && count == 1 && jobs->rows == 1) {
    try {
      threads.emplace_back([&] { kernels.assist(handle->block, jobs, &link); });
    } catch (const std::exception &) {
      helper = 0;
    }
    kernels.lead(handle->block, jobs, helper ? &link : nullptr);
  } else {
    for (int32_t i = 1; i < count; i++) start(threads, [&, i] { kernels.lead(handle->block, jobs + i, nullptr); });
    if (count) kernels.lead(handle->block, jobs, nullptr);
  }
  for (std::thread &thread : threads) thread.join();
}

size_t vocoder_tape_size(const char *instruction_set, const Shape *shape) {
  const Kernels *kernels = find(instruction_set, "fp32");
  return kernels ? kernels->tape_size(shape) : 0;
}

int vocoder_rollout(const char *instruction_set, const Shape *shape, const float *weights, const Rollout *job,
                    int back) {
  const Kernels *kernels = find(instruction_set, "fp32");
  if (!kernels || find_obstacle(*shape)) return 0;
  void *memory = std::aligned_alloc(64, (kernels->rollout_bytes(shape, job->steps) + 63) / 64 * 64);
  if (!memory) return 0;
  kernels->rollout(shape, weights, job, memory, back);
  std::free(memory);
  return 1;
}

void vocoder_probe_read(const char *instruction_set, const char *precision, const void *from, size_t bytes,
                        int32_t times) {
  if (const Kernels *kernels = find(instruction_set, precision)) kernels->probe_read(from, bytes, times);
}

int64_t vocoder_probe_multiply(const char *instruction_set, const char *precision, int32_t times) {
  const Kernels *kernels = find(instruction_set, precision);
  return kernels ? kernels->probe_multiply(times) : 0;
}

}  // extern "C"
