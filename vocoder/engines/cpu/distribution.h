// The law of one sample: from the network's parameters and noise to the sample. The twin of model/distributions.py.
#pragma once
#include <math.h>

#include "simd.h"

namespace ISA {

constexpr float LEVELS = 32768;                         // of 16-bit audio on each side of zero
constexpr float MIN_LOG_SCALE = -13.815510557964274f;   // ln 1e-6

// The first of `count` classes whose cumulative probability reaches u. Logits and `scratch` are whole vectors.
INLINE int choose(const float *logits, int count, float inverse_temperature, float u, float *scratch) {
  auto logit = [&](int i) { return first_lanes(load(logits + i), count - i, -INFINITY); };
  Floats highest_of = logit(0);
  for (int i = W; i < count; i += W) highest_of = max(highest_of, logit(i));
  const float top = highest(highest_of);
  for (int i = 0; i < count; i += W) store(scratch + i, exp((logit(i) - top) * inverse_temperature));
  float sum = 0, cumulative = 0;
  for (int i = 0; i < count; i++) sum += scratch[i];
  for (int i = 0; i < count; i += W) store(scratch + i, load(scratch + i) / sum);
  int chosen = 0;
  for (int i = 0; i < count; i++) {
    cumulative += scratch[i];
    chosen += u > cumulative;
  }
  return chosen < count ? chosen : count - 1;
}

INLINE float draw_level(const float *logits, int levels, float temperature, const float *noise, float *scratch) {
  const int level = choose(logits, levels, 1 / temperature, noise[0], scratch);
  const float mu = (float)(levels - 1), companded = 2 * level / mu - 1;
  const float size = expm1f(fabsf(companded) * log1pf(mu)) / mu;
  return companded < 0 ? -size : size;
}

INLINE int encode_level(float sample, int levels) {
  const float mu = (float)(levels - 1), size = log1pf(mu * fabsf(sample)) / log1pf(mu);
  const float level = floorf(((sample < 0 ? -size : size) + 1) / 2 * mu + 0.5f);
  return (int)(level > 0 ? level < mu ? level : mu : 0);  // of what is no number: 0
}

// Where a continuous law belongs: locations are relative to a prediction and in units of a scale, as is the spread.
// Neither may be more than `reach` scales.
struct Place {
  float location, scale, log_scale, reach, log_reach;

  float locate(float mean) const { return location + scale * fminf(fmaxf(mean, -reach), reach); }
  float log_spread(float own) const { return log_scale + fminf(own, log_reach); }
};

// `parameters` are logits, locations and log-scales.
INLINE float draw_mixture(const float *parameters, int components, const Place &at, float temperature, const float *noise,
                          float *scratch) {
  const int chosen = components == 1 ? 0 : choose(parameters, components, 1, noise[0], scratch);
  const float location = at.locate(parameters[components + chosen]);
  const float log_scale = at.log_spread(parameters[2 * components + chosen]);
  const float spread = temperature * expf(log_scale > MIN_LOG_SCALE ? log_scale : MIN_LOG_SCALE);
  const float level = rintf((location + spread * noise[1]) * LEVELS) / LEVELS;
  return level < -1 ? -1 : level > (LEVELS - 1) / LEVELS ? (LEVELS - 1) / LEVELS : level;
}

// All of a mixture's parameters where they belong.
INLINE void place_mixture(float *to, const float *parameters, int components, const Place &at) {
  for (int k = 0; k < components; k++) {
    to[k] = parameters[k];
    to[components + k] = at.locate(parameters[components + k]);
    to[2 * components + k] = at.log_spread(parameters[2 * components + k]);
  }
}

}  // namespace ISA
