// The weights of a network as they come, in the order of `list_weights` in native.py: where each lies.
#pragma once
#include "abi.h"

namespace ISA {

struct Weights {
  struct Layer { const float *W, *V, *bias, *residual, *residual_bias; };
  const float *input, *input_bias, *kernel, *skip, *skip_bias, *output_1, *bias_1, *recent, *output_2, *bias_2;
  Layer layer[VOCODER_MAX_LAYERS];
};

// What a step reads: numbers; 0 for a level, which is looked up.
static inline int count_inputs(const Shape &shape) {
  return shape.categorical ? 0 : shape.order ? 3 * shape.step + 1 : 1;
}
// What the sample network reads beside the layers: the last excitations, the sample before, the prediction, the echo.
static inline int count_near(const Shape &shape) { return shape.recent ? shape.recent + 3 : 0; }

// Without weights every place is null.
static inline Weights list_weights(const Shape &shape, const float *weights) {
  Weights at;
  auto read = [&](size_t count) { const float *here = weights; if (weights) weights += count; return here; };
  const size_t r = shape.residual, h = shape.half, s = shape.skip, c = shape.sample;
  at.input = read((shape.categorical ? shape.parameters : count_inputs(shape)) * r), at.input_bias = read(r);
  at.kernel = read((size_t)(shape.hop / shape.step) * shape.taps);
  for (int l = 0; l < shape.layers; l++) {
    auto &layer = at.layer[l];
    layer.W = read(2 * h * shape.kernel_size * r), layer.V = read(2 * h * (shape.conditioning + shape.speaker));
    layer.bias = read(2 * h);
    layer.residual = read(r * h), layer.residual_bias = read(r);
  }
  at.skip = read(s * shape.layers * h), at.skip_bias = read(s);
  at.output_1 = read(shape.step * c * s), at.bias_1 = read(shape.step * c);
  at.recent = read(c * count_near(shape));
  at.output_2 = read(shape.parameters * c), at.bias_2 = read(shape.parameters);
  return at;
}

}  // namespace ISA
