// The law of one sample: from the network's parameters and noise to the sample. The twin of model/distributions.py.
#pragma once
#include <math.h>

#include "simd.h"

namespace ISA {

constexpr float LEVELS = 32768;                         // of 16-bit audio on each side of zero
constexpr float MIN_LOG_SCALE = -13.815510557964274f;   // ln 1e-6

// The first of `count` classes whose cumulative probability reaches u. The logits become their exponentials; they lie
// in whole vectors.
INLINE int choose(float *logits, int count, float inverse_temperature, float u) {
  float top = logits[0];
  for (int i = 1; i < count; i++) top = logits[i] > top ? logits[i] : top;
  for (int i = 0; i < count; i += W) store(logits + i, exp((load(logits + i) - top) * inverse_temperature));
  float sum = 0, cumulative = 0;
  for (int i = 0; i < count; i++) sum += logits[i];
  int chosen = 0;
  for (int i = 0; i < count; i++) {
    cumulative += logits[i] / sum;
    chosen += u > cumulative;
  }
  return chosen < count ? chosen : count - 1;
}

INLINE float draw_level(float *parameters, int levels, float temperature, const float *noise) {
  const int level = choose(parameters, levels, 1 / temperature, noise[0]);
  const float mu = (float)(levels - 1), companded = 2 * level / mu - 1;
  const float size = expm1f(fabsf(companded) * log1pf(mu)) / mu;
  return companded < 0 ? -size : size;
}

INLINE int encode_level(float sample, int levels) {
  const float mu = (float)(levels - 1), size = log1pf(mu * fabsf(sample)) / log1pf(mu);
  const float level = floorf(((sample < 0 ? -size : size) + 1) / 2 * mu + 0.5f);
  return (int)(level > 0 ? level < mu ? level : mu : 0);  // of what is no number: 0
}

// `parameters` (logits, locations, log-scales) lie where they belong; `scratch` holds whole vectors of the logits.
INLINE float draw_mixture(const float *parameters, int components, float temperature, const float *noise, float *scratch) {
  for (int i = 0; i < components; i++) scratch[i] = parameters[i];
  const int chosen = choose(scratch, components, 1, noise[0]);
  const float log_scale = parameters[2 * components + chosen];
  const float spread = temperature * expf(log_scale > MIN_LOG_SCALE ? log_scale : MIN_LOG_SCALE);
  const float level = rintf((parameters[components + chosen] + spread * noise[1]) * LEVELS) / LEVELS;
  return level < -1 ? -1 : level > (LEVELS - 1) / LEVELS ? (LEVELS - 1) / LEVELS : level;
}

}  // namespace ISA
