// The weights of a network, packed for one precision.
#pragma once
#include "arena.h"
#include "tiles.h"
#include "weights.h"

namespace ISA {

constexpr int GROUP_INPUTS = 128;  // of one skip product: as many layers as fit, and at least one

template <class P> struct Model {
  struct Layer {
    Matrix *past;  // (kernel_size - 1), the oldest tap first
    Matrix current, residual;
    float *residual_bias;
    int dilation;
  };

  Shape shape;
  int R, H, S, C, O;             // padded: residual, half, skip, channels of the sample network, parameters
  int width;                     // of what conditioning adds to all layers: layers · 2 H
  int inputs;                    // that a step reads; 0: a row of the table for each level
  int group_layers, groups;      // of the skip sum
  float *input, *input_bias;     // (inputs or levels, R), (R)
  float *kernel;                 // (hop / step, taps), of the upsampling
  Matrix V, U;                   // of all layers, in fp32: context → width, speaker → width
  float *bias;                   // (width)
  Layer *layers;
  Matrix *skip;                  // of each group
  float *skip_bias;
  Matrix *output_1;              // of each place in a step
  float *bias_1;                 // (step, C)
  float *near_weights;           // (near, C): what the sample network reads beside; null if nothing
  int near;                      // the sample before, the linear prediction, the echo and the last excitations; or 0
  Matrix output_2;               // in fp32 if there is something near
  float *bias_2;

  static Model *at(void *block) { return (Model *)block; }
  static size_t bytes(const Shape &shape) {
    Arena arena{nullptr};
    Model model;
    arena.take<Model>(1);
    model.build(arena, shape, nullptr);
    return arena.used;
  }
  static Model outline(const Shape &shape) {  // sizes without weights
    Arena arena{nullptr};
    Model model;
    model.build(arena, shape, nullptr);
    return model;
  }
  static void pack(void *block, const Shape &shape, const float *weights) {
    Arena arena{(char *)block};
    arena.take<Model>(1)->build(arena, shape, weights);
  }

  int last_layer_of(int group) const { return min_int((group + 1) * group_layers, shape.layers); }

 private:
  static int min_int(int a, int b) { return a < b ? a : b; }

  void build(Arena &arena, const Shape &given, const float *weights) {
    shape = given;
    R = pad(shape.residual, P::ALIGN), H = pad(shape.half, P::ALIGN), S = pad(shape.skip, P::ALIGN);
    C = pad(shape.sample, P::ALIGN), O = pad(shape.parameters, P::ALIGN);
    width = shape.layers * 2 * H;
    inputs = count_inputs(shape), near = count_near(shape);
    const int half = pad(shape.half, 16);  // not H: the groups, and so the sums, are the same for every instruction set
    group_layers = half < GROUP_INPUTS ? min_int(GROUP_INPUTS / half, shape.layers) : 1;
    groups = (shape.layers + group_layers - 1) / group_layers;
    layers = arena.take<Layer>(shape.layers);
    skip = arena.take<Matrix>(groups);

    const Weights from = list_weights(shape, weights);
    const int r = shape.residual, phases = shape.hop / shape.step;
    input = table(arena, inputs ? inputs : shape.parameters, R, from.input, r);
    input_bias = vector(arena, R, from.input_bias, r);
    kernel = vector(arena, phases * shape.taps, from.kernel, phases * shape.taps);

    // In the order in which a step reads them, so that what is fetched ahead of use is what is used next.
    for (int l = 0; l < shape.layers; l++) build_layer(arena, l, from.layer[l]);
    for (int g = 0; g < groups; g++) build_skip(arena, g, from.skip);
    skip_bias = vector(arena, S, from.skip_bias, shape.skip, shape.skip_scale);
    build_sample_network(arena, from);
    for (int l = 0; l < shape.layers; l++) build_past(arena, l, from.layer[l]);
    build_conditioning(arena, from);
  }

  // Row of a layer's own weights for a padded unit of its 2 H, or -1.
  int gate_row(int o) const {
    const int unit = o < H ? o : o - H;
    return unit >= shape.half ? -1 : o < H ? unit : unit + shape.half;
  }

  Matrix build_tap(Arena &arena, int tap, const float *w) {
    const int r = shape.residual, taps = shape.kernel_size;
    return matrix<P>(arena, R, r, 2 * H, 2 * H, [&](int o, int i) {
      return gate_row(o) < 0 ? 0.0f : w[((size_t)gate_row(o) * taps + tap) * r + i];
    }, w);
  }

  void build_layer(Arena &arena, int l, const Weights::Layer &from) {
    const int r = shape.residual, h = shape.half;
    const Matrix current = build_tap(arena, shape.kernel_size - 1, from.W);
    float *bias = vector(arena, R, from.residual_bias, r, shape.residual_scale);
    auto at = [&](int o, int i) { return from.residual[o * h + i] * shape.residual_scale; };
    const Matrix residual = matrix<P>(arena, H, h, R, r, at, from.residual);
    if (layers) layers[l] = {nullptr, current, residual, bias, shape.dilation[l]};
  }

  void build_skip(Arena &arena, int g, const float *w) {
    const int first = g * group_layers, count = last_layer_of(g) - first, h = shape.half;
    auto at = [&](int o, int i) {
      return i % H < h ? w[((size_t)o * shape.layers + first + i / H) * h + i % H] * shape.skip_scale : 0.0f;
    };
    const Matrix one = matrix<P>(arena, group_layers * H, count * H, S, shape.skip, at, w);
    if (skip) skip[g] = one;
  }

  void build_sample_network(Arena &arena, const Weights &from) {
    const int s = shape.skip, c = shape.sample;
    output_1 = arena.take<Matrix>(shape.step);
    for (int place = 0; place < shape.step; place++) {
      auto at = [&](int o, int i) { return from.output_1[((size_t)place * c + o) * s + i]; };
      const Matrix one = matrix<P>(arena, S, s, C, c, at, from.input);
      if (output_1) output_1[place] = one;
    }
    bias_1 = table(arena, shape.step, C, from.bias_1, c);
    near_weights = near ? vector(arena, (size_t)near * C) : nullptr;
    // What is known last comes last: the sums need not wait for it.
    for (int i = 0; near_weights && from.input && i < near; i++)
      for (int o = 0; o < c; o++) near_weights[(i + 3) % near * C + o] = from.recent[o * near + i];
    auto at = [&](int o, int i) { return from.output_2[(size_t)o * c + i]; };
    // What waits for the sample before is a chain of small products: rounding its operands would take longer than it saves.
    output_2 = near ? matrix<Fp32>(arena, C, c, O, shape.parameters, at, from.input)
                    : matrix<P>(arena, C, c, O, shape.parameters, at, from.input);
    bias_2 = vector(arena, O, from.bias_2, shape.parameters);
  }

  void build_past(Arena &arena, int l, const Weights::Layer &from) {
    Matrix *past = arena.take<Matrix>(shape.kernel_size - 1);
    for (int tap = 0; tap < shape.kernel_size - 1; tap++) {
      const Matrix one = build_tap(arena, tap, from.W);
      if (past) past[tap] = one;
    }
    if (layers) layers[l].past = past;
  }

  void build_conditioning(Arena &arena, const Weights &from) {
    bias = vector(arena, width);
    for (int o = 0; bias && o < width; o++)
      if (gate_row(o % (2 * H)) >= 0) bias[o] = from.layer[o / (2 * H)].bias[gate_row(o % (2 * H))];
    const int columns = shape.conditioning + shape.speaker;
    auto from_column = [&](int first) {
      return [&, first](int o, int i) {
        const int row = gate_row(o % (2 * H));
        return row < 0 ? 0.0f : from.layer[o / (2 * H)].V[(size_t)row * columns + first + i];
      };
    };
    V = matrix<Fp32>(arena, shape.conditioning, shape.conditioning, width, width, from_column(0), from.input);
    U = matrix<Fp32>(arena, shape.speaker, shape.speaker, width, width, from_column(shape.conditioning), from.input);
  }

  // Rows of `count` numbers, each filled up with zeros.
  static float *table(Arena &arena, int rows, int padded, const float *from, int count) {
    float *to = vector(arena, (size_t)rows * padded);
    for (int i = 0; to && from && i < rows; i++) memcpy(to + (size_t)i * padded, from + (size_t)i * count, 4 * (size_t)count);
    return to;
  }

  static float *vector(Arena &arena, size_t padded, const float *from = nullptr, int count = 0, float factor = 1) {
    float *to = arena.take<float>(padded);
    if (!to) return to;
    memset(to, 0, 4 * padded);
    for (int i = 0; from && i < count; i++) to[i] = from[i] * factor;
    return to;
  }

  // `at(o, i)` is the weight from input i to output o; beyond `real_inputs` and `real_outputs` it is zero.
  template <class Q, class At>
  static Matrix matrix(Arena &arena, int inputs, int real_inputs, int outputs, int real_outputs, At at, const void *fill) {
    char *weights = arena.take<char>((size_t)inputs * outputs * Q::WEIGHT_BYTES);
    float *scale = arena.take<float>(Q::LIMIT ? outputs : 0);
    int32_t *offset = arena.take<int32_t>(Q::LIMIT ? outputs : 0);
    if (fill && weights) {
      auto value = [&](int o, int i) { return o < real_outputs && i < real_inputs ? at(o, i) : 0.0f; };
      for (int o = 0; Q::LIMIT && o < outputs; o++) scale[o] = unit<Q>(real_inputs, [&](int i) { return value(o, i); });
      place<Q>(weights, offset, inputs, outputs, scale, value);
    }
    return {weights, scale, offset, inputs, outputs};
  }

  // Value of one unit of an output's weights: so that they fit, and so that no sum of products overflows.
  template <class Q, class Value> static float unit(int inputs, Value value) {
    float top = 0, sum = 0;
    for (int i = 0; i < inputs; i++) {
      const float w = value(i) < 0 ? -value(i) : value(i);
      top = w > top ? w : top, sum += w;
    }
    const float by_top = top / Q::LIMIT, by_sum = sum / (65535 - inputs);
    return by_top > by_sum ? by_top : by_sum;
  }

  template <class Q, class Value>
  static void place(char *to, int32_t *offset, int inputs, int outputs, const float *scale, Value value) {
    for (int first = 0; first < outputs;) {
      const int panel = panel_width((outputs - first) / W) * W;
      for (int step = 0; step < inputs / Q::STEP; step++)
        for (int o = first; o < first + panel; o++)
          for (int i = step * Q::STEP; i < (step + 1) * Q::STEP; i++, to += Q::WEIGHT_BYTES)
            write<Q>(to, value(o, i), scale ? scale[o] : 0);
      first += panel;
    }
    for (int o = 0; Q::LIMIT && o < outputs; o++) {
      int32_t sum = 0;
      for (int i = 0; i < inputs; i++) sum += integer<Q>(value(o, i), scale[o]);
      offset[o] = (Q::PLANES ? 32768 : 128) * sum;
    }
  }

  template <class Q> static int32_t integer(float w, float unit) {
    const float v = unit > 0 ? w / unit : 0;
    const int32_t q = (int32_t)(v < 0 ? v - 0.5f : v + 0.5f);
    return q > Q::LIMIT ? Q::LIMIT : q < -Q::LIMIT ? -Q::LIMIT : q;
  }

  template <class Q> static void write(char *to, float w, float unit) {
    if (Q::LIMIT == 0 && Q::WEIGHT_BYTES == 4) {
      memcpy(to, &w, 4);
    } else if (Q::LIMIT == 0) {
      const int16_t b = to_bf16(splat(w))[0];
      memcpy(to, &b, 2);
    } else if (Q::WEIGHT_BYTES == 2) {
      const int16_t q = (int16_t)integer<Q>(w, unit);
      memcpy(to, &q, 2);
    } else {
      *(int8_t *)to = (int8_t)integer<Q>(w, unit);
    }
  }
};

}  // namespace ISA
