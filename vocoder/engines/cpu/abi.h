// What crosses the border to Python: plain C structs and functions, mirrored field by field in library.py.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define VOCODER_ABI 5
#define VOCODER_MAX_LAYERS 256
#define VOCODER_MAX_TAPS 64  // of the upsampling

#ifdef __cplusplus
extern "C" {
#endif

// The sizes of a network; see NetworkConfig.
typedef struct {
  int32_t residual, half, skip, conditioning, speaker, sample;  // channels; half = gate_channels / 2
  int32_t kernel_size, layers;
  int32_t step, hop, taps;  // samples of a step and of a frame; taps of the upsampling
  int32_t order, recent;    // of the linear predictor, 0 for none; excitations that the sample network reads
  int32_t samples, excitations;  // of the past that are remembered
  int32_t categorical;  // 1: softmax over `parameters` mu-law levels; 0: a mixture of parameters / 3 components
  int32_t parameters;   // of one sample's law
  float residual_scale, skip_scale;
  int32_t dilation[VOCODER_MAX_LAYERS];  // in steps
} Shape;

// One utterance's part of a run. Frames are counted from the one that holds the first sample.
typedef struct {
  const float *context;       // (frames + taps - 1, conditioning)
  const float *coefficients;  // (frames, order)
  const float *scale;         // (frames), expected size of the excitation
  const int32_t *lag;         // (frames), how far back the echo lies
  const float *reach;         // (frames), bound on a law's location and spread, in units of its scale
  const float *speaker;       // (speaker)
  const float *noise;         // (samples, 2)
  const float *given;         // (samples): follow these instead of drawing; or null
  float *waveform;            // (samples), written
  float *parameters;          // (samples, parameters), written; or null
  int32_t phase;              // of the first sample within its frame, from 0 to hop - 1, a multiple of `step`
} Row;

// Utterances that advance together: `rows` of them by `samples` samples, a multiple of `step`.
typedef struct {
  void *state;
  const Row *row;
  int32_t rows, samples;
  float temperature;
} Job;

// Segments made freely to train on, and their gradient. Arrays hold `rows` numbers for each index, one of each segment.
typedef struct {
  const float *h;             // (steps, conditioning + speaker, rows), upsampled
  const float *coefficients;  // (frames, order, rows)
  const float *scale;         // (frames, rows)
  const int32_t *lag;         // (frames, rows)
  const float *reach;         // (frames, rows)
  const float *noise;         // (samples, rows)
  float *waveform;            // (samples, rows), written
  float *tape;                // (steps, vocoder_tape_size, rows), written; read to go back
  const float *gradient;      // (samples, rows), of a loss by each sample alone
  const float *bound;         // (rows), of what a sample may answer for, in units of its scale
  float *total;               // (samples, rows), written: the same with all that follows from the sample
  int32_t rows, steps;        // a multiple of 16; of `step` samples
} Rollout;

#pragma GCC visibility push(default)  // everything else is compiled with -fvisibility=hidden

int vocoder_abi(void);
// Bytes of a Shape, a Row, a Job and a Rollout, as this library was compiled.
void vocoder_struct_bytes(size_t bytes[4]);
// The name of the first field of a shape that is out of range, and its range; null if all of them can be handled.
const char *vocoder_shape_obstacle(const Shape *shape);
// Instruction sets that this machine can run, best first, separated by blanks.
const char *vocoder_instruction_sets(void);
// Packs the weights, which lie one after the other as `NativeEngine` lists them. Null: unknown name, a shape that cannot
// be handled, or no memory.
void *vocoder_model_new(const char *instruction_set, const char *precision, const Shape *shape, const float *weights);
void vocoder_model_free(void *model);
// Bytes of the packed weights of a shape; 0 for an unknown name, or a shape that cannot be handled.
size_t vocoder_model_bytes(const char *instruction_set, const char *precision, const Shape *shape);
// A state of so many utterances is so many bytes of memory, 64-byte aligned, all zero before the first sample; 0 as above.
size_t vocoder_state_bytes(const char *instruction_set, const char *precision, const Shape *shape, int32_t rows);
// One utterance of a state begins anew.
void vocoder_state_clear(const void *model, void *state, int32_t rows, int32_t row);
// Runs each job on a thread of its own; with `helper` the only job gets a second thread.
void vocoder_run(const void *model, const Job *jobs, int32_t count, int32_t helper);
// Numbers that a step of one row puts on the tape.
size_t vocoder_tape_size(const char *instruction_set, const Shape *shape);
// Makes the samples of a rollout or, to go `back`, their total gradient, on this thread. The law must have a single
// component, and the sample network recent excitations. 0 if there is no memory, or no such instruction set.
int vocoder_rollout(const char *instruction_set, const Shape *shape, const float *weights, const Rollout *job,
                    int back);
// For benchmarks, on this thread. Reads `bytes` at `from`, 64-byte aligned, so many times over.
void vocoder_probe_read(const char *instruction_set, const char *precision, const void *from, size_t bytes,
                        int32_t times);
// Multiplies in registers; returns how many multiply-adds it made.
int64_t vocoder_probe_multiply(const char *instruction_set, const char *precision, int32_t times);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
