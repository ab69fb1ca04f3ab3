// The weights of a network, packed for one precision. They are read once, in the order of NativeEngine's list.
#pragma once
#include "abi.h"
#include "tiles.h"

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

constexpr int GROUP_INPUTS = 128;  // of one skip product: as many layers as fit, and at least one

template <class P> struct Model {
  struct Layer {
    Matrix *past;  // (kernel_size - 1), the oldest tap first
    Matrix current, residual;
    float *residual_bias;
    int dilation;
  };

  Shape shape;
  int R, H, S, O;                // padded: residual, half, skip, parameters
  int width;                     // of what conditioning adds to all layers: layers · 2 H
  int inputs;                    // that the first layer reads; 0: a row of the table for each level
  int group_layers, groups;      // of the skip sum
  float *input, *input_bias;     // (inputs or levels, R), (R)
  float *kernel;                 // (hop, taps), of the upsampling
  Matrix V, U;                   // of all layers, in fp32: context → width, speaker → width
  float *bias;                   // (width)
  Layer *layers;
  Matrix *skip;                  // of each group
  float *skip_bias, *bias_1, *bias_2;
  Matrix output_1, output_2;

  static Model *at(void *block) { return (Model *)block; }
  static size_t bytes(const Shape &shape) {
    Arena arena{nullptr};
    Model model;
    arena.take<Model>(1);
    model.build(arena, shape, nullptr);
    return arena.used;
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
    O = pad(shape.parameters, P::ALIGN);
    width = shape.layers * 2 * H;
    inputs = shape.categorical ? 0 : shape.order ? 4 : 1;
    group_layers = H < GROUP_INPUTS ? min_int(GROUP_INPUTS / H, shape.layers) : 1;
    groups = (shape.layers + group_layers - 1) / group_layers;
    layers = arena.take<Layer>(shape.layers);
    skip = arena.take<Matrix>(groups);

    const float *next = weights;
    auto read = [&](size_t count) { const float *here = next; if (next) next += count; return here; };
    const int rows = inputs ? inputs : shape.parameters, r = shape.residual, h = shape.half, s = shape.skip;
    input = vector(arena, rows * R);
    if (const float *w = read((size_t)rows * r))
      for (int i = 0; i < rows; i++)
        for (int c = 0; c < r; c++) input[i * R + c] = w[i * r + c];
    input_bias = vector(arena, R, read(r), r);
    const int kernel_size = shape.hop * shape.taps;
    kernel = vector(arena, kernel_size, read(kernel_size), kernel_size);
    bias = vector(arena, width);
    const float *conditioning[VOCODER_MAX_LAYERS];
    for (int l = 0; l < shape.layers; l++) conditioning[l] = build_layer(arena, l, read);
    const int v = shape.conditioning + shape.speaker;
    auto condition = [&](int first) {
      return [&conditioning, this, v, first](int o, int i) {
        const int unit = o % (2 * H), row = unit < H ? unit : unit - H + shape.half;
        const bool real = unit < H ? unit < shape.half : unit - H < shape.half;
        return real ? conditioning[o / (2 * H)][row * v + first + i] : 0.0f;
      };
    };
    V = matrix<Fp32>(arena, shape.conditioning, shape.conditioning, width, width, condition(0), weights);
    U = matrix<Fp32>(arena, shape.speaker, shape.speaker, width, width, condition(shape.conditioning), weights);
    const float *w = read((size_t)s * shape.layers * h);
    for (int g = 0; g < groups; g++) {
      const int first = g * group_layers, count = last_layer_of(g) - first;
      auto at = [&](int o, int i) {
        return i % H < h ? w[(size_t)o * shape.layers * h + (first + i / H) * h + i % H] * shape.skip_scale : 0.0f;
      };
      const Matrix one = matrix<P>(arena, group_layers * H, count * H, S, s, at, weights);
      if (skip) skip[g] = one;
    }
    skip_bias = vector(arena, S, read(s), s, shape.skip_scale);
    w = read((size_t)s * s);
    output_1 = matrix<P>(arena, S, s, S, s, [&](int o, int i) { return w[o * s + i]; }, weights);
    bias_1 = vector(arena, S, read(s), s);
    w = read((size_t)shape.parameters * s);
    output_2 = matrix<P>(arena, S, s, O, shape.parameters, [&](int o, int i) { return w[o * s + i]; }, weights);
    bias_2 = vector(arena, O, read(shape.parameters), shape.parameters);
  }

  // Returns where the layer's V lies among the weights.
  template <class Read> const float *build_layer(Arena &arena, int index, Read &read) {
    Layer unused, &layer = layers ? layers[index] : unused;
    const int r = shape.residual, h = shape.half, taps = shape.kernel_size;
    layer.dilation = shape.dilation[index];
    layer.past = arena.take<Matrix>(taps - 1);
    const float *w = read((size_t)2 * h * taps * r);
    for (int tap = 0; tap < taps; tap++) {
      const Matrix one = matrix<P>(arena, R, r, 2 * H, 2 * H, [&](int o, int i) {
        const int unit = o < H ? o : o - H;
        return unit < h ? w[(size_t)(o < H ? unit : unit + h) * taps * r + tap * r + i] : 0.0f;
      }, w);
      if (tap == taps - 1) layer.current = one;
      else if (layer.past) layer.past[tap] = one;
    }
    const float *v = read((size_t)2 * h * (shape.conditioning + shape.speaker));
    if (const float *b = read(2 * h))
      for (int unit = 0; unit < h; unit++)
        bias[index * 2 * H + unit] = b[unit], bias[index * 2 * H + H + unit] = b[h + unit];
    w = read((size_t)r * h);
    layer.residual = matrix<P>(arena, H, h, R, r, [&](int o, int i) { return w[o * h + i] * shape.residual_scale; }, w);
    layer.residual_bias = vector(arena, R, read(r), r, shape.residual_scale);
    return v;
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
      for (int o = 0; Q::LIMIT && o < outputs; o++) scale[o] = unit<Q>(inputs, [&](int i) { return value(o, i); });
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
