// One sample after the other: what one utterance, or several side by side, do in time. The order is that of
// WaveNet.forward; see also ReferenceEngine.
//
// A dilated tap reads what is known `dilation` samples ahead. So the products of the past taps are made for a block of
// up to sixteen samples at once, one block ahead of time: their weights are read once per block, and they are off the
// critical path, which is: current tap → gate → residual → next layer.
#pragma once
#include "kernels.h"
#include "law.h"
#include "model.h"

namespace ISA {

constexpr int BLOCK_ROWS = 16;
constexpr int MAX_TAPS = VOCODER_MAX_TAPS;

template <class P> struct State {
  struct Layer {
    Operand ring;       // (capacity · rows, R): the layer's last inputs
    float *sums;        // (2, block · rows, 2 H): what its gates take, as far as it is known, of this block and the next
    int capacity, block, stagger;
  };
  struct Cursor { int frame, phase; };

  int64_t *time;
  Layer *layers;
  float *history;    // (rows, order): last samples, the newest first
  float *residual;   // (rows, longest): what linear prediction left of the last samples; slot t mod longest

  // Room to work in; what is above outlives a run.
  float *x, *skip, *hidden, *parameters, *logits, *location;
  float *projected;  // (rows, taps, width): V of the neighbouring frames
  float *bias;       // (rows, width) of speakers
  Operand z, wide;   // of each group (groups · rows, group_layers · H); of the output layers
  Cursor *cursor;    // of the conditioning, for each row

  static size_t bytes(const Model<P> &m, int rows) {
    Arena arena{nullptr};
    State state;
    arena.take<State>(1);
    state.build(arena, m, rows);
    return arena.used;
  }

  // Finds everything in its place again; a copy of a state may lie elsewhere.
  static State *prepare(const Model<P> &m, void *block, int rows) {
    Arena arena{(char *)block};
    State *state = arena.take<State>(1);
    state->build(arena, m, rows);
    return state;
  }

 private:
  void build(Arena &arena, const Model<P> &m, int rows) {
    const Shape &shape = m.shape;
    time = arena.take<int64_t>(1);
    layers = arena.take<Layer>(shape.layers);
    for (int l = 0; l < shape.layers; l++) {
      Layer unused, &layer = layers ? layers[l] : unused;
      const int d = shape.dilation[l];
      layer.block = 1;
      // A block must be known before it begins, and lie in one piece in the ring.
      while (2 * layer.block * rows <= BLOCK_ROWS && 4 * layer.block - 1 <= d && d % (2 * layer.block) == 0) layer.block *= 2;
      layer.stagger = l * 5 % layer.block;
      layer.capacity = (shape.kernel_size - 1) * d + layer.block;
      layer.ring = operand(arena, layer.capacity * rows, m.R);
      layer.sums = arena.take<float>((size_t)2 * layer.block * rows * 2 * m.H);
    }
    history = arena.take<float>((size_t)rows * (shape.order > 0 ? shape.order : 1));
    residual = arena.take<float>((size_t)rows * shape.longest);
    x = arena.take<float>((size_t)rows * m.R);
    skip = arena.take<float>((size_t)rows * m.S);
    hidden = arena.take<float>((size_t)rows * m.S);
    parameters = arena.take<float>((size_t)rows * m.O);
    logits = arena.take<float>(m.O);
    location = arena.take<float>(rows);
    projected = arena.take<float>((size_t)rows * shape.taps * m.width);
    bias = arena.take<float>(shape.speaker ? (size_t)rows * m.width : 0);
    z = operand(arena, m.groups * rows, m.group_layers * m.H);
    wide = operand(arena, rows, m.S);
    cursor = arena.take<Cursor>(rows);
  }

  static Operand operand(Arena &arena, int rows, int channels) {
    const ptrdiff_t stride = (ptrdiff_t)channels * P::ACTIVATION_BYTES;
    const int beyond = P::ALIGN > 16 ? 16 : 0;  // tiles read sixteen rows, however many are meant
    char *data = arena.take<char>((rows + beyond) * stride);
    return {data, arena.take<float>(rows), stride, P::PLANES ? channels : 0};
  }
};

// One utterance of a state begins anew: silence before it. Operands and sums of one sample lie row after row, so that
// every piece of a state is an array (times, rows, values of a row).
template <class P> void clear_row(const Model<P> &m, void *state, int rows, int row) {
  const State<P> &s = *State<P>::prepare(m, state, rows);
  auto clear = [&](void *piece, int times, size_t bytes) {
    for (int t = 0; t < times; t++) memset((char *)piece + ((size_t)t * rows + row) * bytes, 0, bytes);
  };
  for (int l = 0; l < m.shape.layers; l++) {
    const auto &layer = s.layers[l];
    clear(layer.ring.data, layer.capacity, layer.ring.stride);
    clear(layer.ring.scale, layer.capacity, 4);
    clear(layer.sums, 2 * layer.block, 8 * (size_t)m.H);
  }
  clear(s.history, 1, 4 * (size_t)(m.shape.order > 0 ? m.shape.order : 1));
  clear(s.residual, 1, 4 * (size_t)m.shape.longest);
}

template <class P> struct Run {
  const Model<P> &m;
  const Job &job;
  const int rows;
  const Shape &shape;
  const State<P> &s;
  Link *const link;     // with a second thread
  const int64_t start;  // index of the first sample

  Run(const Model<P> &model, const Job &run, Link *between)
      : m(model), job(run), rows(run.rows), shape(model.shape), s(*(const State<P> *)run.state), link(between),
        start(*s.time) {}

  // --- conditioning: V c at frame rate, interpolated to samples -----------------------------------------------------

  void begin_conditioning() {
    for (int r = 0; r < rows; r++) {
      s.cursor[r] = {0, job.row[r].phase};
      for (int j = 0; j < shape.taps; j++) project(r, j);
      if (!shape.speaker) continue;
      memcpy(s.bias + (size_t)r * m.width, m.bias, 4 * (size_t)m.width);
      multiply(s.bias + (size_t)r * m.width, m.U, job.row[r].speaker);
    }
    for (int i = 0; i < m.groups * rows; i++) s.z.scale[i] = P::Z_SCALE;
  }

  void advance_conditioning() {
    for (int r = 0; r < rows; r++)
      if (++s.cursor[r].phase == shape.hop) {
        s.cursor[r] = {s.cursor[r].frame + 1, 0};
        project(r, s.cursor[r].frame + shape.taps - 1);
      }
  }

  void project(int r, int frame) {
    float *to = s.projected + ((size_t)r * shape.taps + frame % shape.taps) * m.width;
    memset(to, 0, 4 * (size_t)m.width);
    multiply(to, m.V, job.row[r].context + (size_t)frame * shape.conditioning);
  }

  static void multiply(float *y, const Matrix &matrix, const float *x) {
    product<Fp32>(y, 0, matrix, {(char *)x, nullptr, 0, 0}, 1);
  }

  // To a layer's sums of one sample: bias + U g + V h.
  void condition_layer(int l, int64_t t) {
    float *to = sums(l, t);
    for (int r = 0; r < rows; r++, to += 2 * m.H) switch (shape.taps) {
        case 1: interpolate<1>(r, l, to); break;
        case 3: interpolate<3>(r, l, to); break;
        default: interpolate<0>(r, l, to);
      }
  }

  template <int TAPS> void interpolate(int r, int l, float *to) {  // 0: any number
    const int taps = TAPS ? TAPS : shape.taps, channels = 2 * m.H;
    const float *const weight = m.kernel + s.cursor[r].phase * taps;
    const float *const bias = (shape.speaker ? s.bias + (size_t)r * m.width : m.bias) + l * channels;
    const float *frame[TAPS ? TAPS : MAX_TAPS];
    for (int j = 0; j < taps; j++)
      frame[j] = s.projected + ((size_t)r * taps + (s.cursor[r].frame + j) % taps) * m.width + l * channels;
    for (int c = 0; c < channels; c += W) {
      Floats sum = load(bias + c);
      for (int j = 0; j < taps; j++) sum = fma(splat(weight[j]), load(frame[j] + c), sum);
      store(to + c, load(to + c) + sum);
    }
  }

  float *sums(int l, int64_t t) const {  // of one sample: (rows, 2 H)
    const typename State<P>::Layer &layer = s.layers[l];
    return layer.sums + ((t / layer.block % 2) * layer.block + t % layer.block) * rows * 2 * m.H;
  }

  // --- the past taps, one block ahead -------------------------------------------------------------------------------

  void past_layer(int l, int64_t t) {
    const typename State<P>::Layer &layer = s.layers[l];
    if (t % layer.block != layer.stagger) return;
    const int64_t first = next_block(layer, t);
    const int count = layer.block * rows, taps = shape.kernel_size;
    float *to = layer.sums + (first / layer.block % 2) * count * 2 * m.H;
    memset(to, 0, 4 * (size_t)count * 2 * m.H);
    for (int tap = 0; tap < taps - 1; tap++)
      product<P>(to, 2 * m.H, m.layers[l].past[tap], layer.ring.at(past_slot(l, t, tap) * rows), count);
  }

  static int64_t next_block(const typename State<P>::Layer &layer, int64_t t) {
    return (t / layer.block + 1) * layer.block;
  }

  // Where in the ring a tap of the next block begins to read.
  int64_t past_slot(int l, int64_t t, int tap) const {
    const typename State<P>::Layer &layer = s.layers[l];
    const int64_t back = (int64_t)(shape.kernel_size - 1 - tap) * m.layers[l].dilation;
    return (next_block(layer, t) - back + layer.capacity) % layer.capacity;
  }

  // Rings of many utterances lie far away: what `past_layer` will read may come nearer meanwhile.
  void fetch_past(int l, int64_t t) {
    const typename State<P>::Layer &layer = s.layers[l];
    if (t % layer.block != layer.stagger) return;
    const int64_t from = past_slot(l, t, 0);
    const char *data = layer.ring.at(from * rows).data;
    for (ptrdiff_t b = 0; b < layer.ring.stride * layer.block * rows; b += 64) __builtin_prefetch(data + b);
  }

  void fetch_sums(int l, int64_t t) {  // which the other thread wrote
    for (int c = 0; c < 2 * m.H; c += 16) __builtin_prefetch(sums(l, t) + c);
  }

  // --- the critical path --------------------------------------------------------------------------------------------

  void read_inputs(int i) {
    for (int r = 0; r < rows; r++) {
      const Row &row = job.row[r];
      const int frame = (row.phase + i) / shape.hop;
      const float *history = s.history + r * (shape.order > 0 ? shape.order : 1);
      float *x = s.x + r * m.R;
      if (shape.categorical) {
        memcpy(x, m.input + encode_level(history[0], shape.parameters) * m.R, 4 * m.R);
        continue;
      }
      float value[4] = {history[0]};
      if (shape.order) {
        const float *coefficients = row.coefficients + (size_t)frame * shape.order;
        float location = 0;
        for (int k = 0; k < shape.order; k++) location += coefficients[k] * history[k];
        const float *residual = s.residual + (size_t)r * shape.longest;
        const int64_t t = start + i + shape.longest;
        s.location[r] = value[1] = location;
        value[2] = asinhf(residual[(t - 1) % shape.longest]);
        value[3] = asinhf(residual[(t - row.distance[frame]) % shape.longest]);
      }
      for (int c = 0; c < m.R; c += W) {
        Floats sum = load(m.input_bias + c);
        for (int k = 0; k < m.inputs; k++) sum = fma(splat(value[k]), load(m.input + k * m.R + c), sum);
        store(x + c, sum);
      }
    }
  }

  void run_layer(int l, int64_t t) {
    const typename State<P>::Layer &layer = s.layers[l];
    const auto &weights = m.layers[l];
    const Operand here = layer.ring.at(t % layer.capacity * rows);
    if (rows > 1 && !link) fetch_past(l, t);
    if (link) fetch_sums(l, t);
    for (int r = 0; r < rows; r++) P::put(here.at(r), m.R, s.x + r * m.R);
    if (!link) condition_layer(l, t);
    float *a = sums(l, t);
    product<P>(a, 2 * m.H, weights.current, here, rows);

    const int column = l % m.group_layers * m.H * (P::PLANES ? 1 : P::ACTIVATION_BYTES);
    const Operand z = s.z.at(l / m.group_layers * rows, column);
    const int half = m.H;
    for (int r = 0; r < rows; r++, a += 2 * half)
      for (int c = 0; c < half; c += W) P::put_gate(z.at(r), c, gate(load(a + c), load(a + half + c)));
    if (l + 1 == shape.layers) return;
    const Floats scale = splat(shape.residual_scale);
    for (int i = 0; i < rows * m.R; i += m.R)
      for (int c = 0; c < m.R; c += W) store(s.x + i + c, fma(load(s.x + i + c), scale, load(weights.residual_bias + c)));
    product<P>(s.x, m.R, weights.residual, z, rows);
  }

  void skip_group(int g) {
    for (int r = 0; g == 0 && r < rows; r++) memcpy(s.skip + r * m.S, m.skip_bias, 4 * m.S);
    product<P>(s.skip, m.S, m.skip[g], s.z.at(g * rows), rows);
  }

  void output_layer(float *y, int channels, const Matrix &matrix, const float *bias, float *x) {  // of relu(x)
    for (int r = 0; r < rows; r++) {
      for (int c = 0; c < m.S; c += W) store(x + r * m.S + c, max(load(x + r * m.S + c), Floats{}));
      P::put(s.wide.at(r), m.S, x + r * m.S);
      memcpy(y + r * channels, bias, 4 * channels);
    }
    product<P>(y, channels, matrix, s.wide, rows);
  }

  void draw(int i) {
    output_layer(s.hidden, m.S, m.output_1, m.bias_1, s.skip);
    output_layer(s.parameters, m.O, m.output_2, m.bias_2, s.hidden);
    for (int r = 0; r < rows; r++) {
      const Row &row = job.row[r];
      float *law = s.parameters + r * m.O;
      const float scale = shape.order ? row.scale[(row.phase + i) / shape.hop] : 1;
      if (shape.order) place(law, s.location[r], scale);
      if (row.parameters) memcpy(row.parameters + (size_t)i * shape.parameters, law, 4 * shape.parameters);
      remember(r, i, row.waveform[i] = row.given ? row.given[i] : draw_row(law, row.noise + 2 * (size_t)i), scale);
    }
  }

  void place(float *law, float location, float scale) {
    const int components = shape.parameters / 3;
    const float log_scale = logf(scale);
    for (int k = 0; k < components; k++) {
      law[components + k] = location + scale * law[components + k];
      law[2 * components + k] += log_scale;
    }
  }

  float draw_row(float *law, const float *noise) {
    return shape.categorical ? draw_level(law, shape.parameters, job.temperature, noise)
                             : draw_mixture(law, shape.parameters / 3, job.temperature, noise, s.logits);
  }

  void remember(int r, int i, float sample, float scale) {
    const int order = shape.order > 0 ? shape.order : 1;
    float *history = s.history + r * order;
    memmove(history + 1, history, 4 * (order - 1));
    history[0] = sample;
    if (shape.order)
      s.residual[(size_t)r * shape.longest + (start + i) % shape.longest] = (sample - s.location[r]) / scale;
  }

  // --- one thread, or two -------------------------------------------------------------------------------------------

  // Everything, or with a link what depends on the sample before.
  void lead() {
    if (!link) begin_conditioning();
    for (int i = 0; i < job.samples; i++) {
      const int64_t t = start + i, done = (int64_t)i * m.groups;
      read_inputs(i);
      for (int g = 0; g < m.groups; g++) {
        const int first = g * m.group_layers, last = m.last_layer_of(g);
        if (link) link->ready.wait(done + g + 1);
        for (int l = first; l < last; l++) run_layer(l, t);
        if (link) link->made.publish(done + g + 1);
        else skip_group(g);
        for (int l = first; !link && l < last; l++) past_layer(l, t);
      }
      if (link) {
        if (m.groups > 1) link->skipped.wait(done + m.groups - 1);
        skip_group(m.groups - 1);
      }
      draw(i);
      if (!link && i + 1 < job.samples) advance_conditioning();
    }
    *s.time = start + job.samples;
  }

  // The rest, one sample ahead for past and conditioning. The skip products, for which the first thread will wait, come
  // before, as soon as their z is made; only the last group's is the first thread's own.
  void assist() {
    begin_conditioning();
    for (int l = 0; l < shape.layers; l++) condition_layer(l, start);
    link->ready.publish(m.groups);
    int64_t skipped = 0;
    for (int i = 0; i < job.samples; i++) {
      const int64_t t = start + i, done = (int64_t)i * m.groups;
      const bool more = i + 1 < job.samples;
      if (more) advance_conditioning();
      for (int g = 0; g < m.groups; g++) {
        link->made.wait(done + g + 1);
        for (int l = g * m.group_layers; l < m.last_layer_of(g); l++) {
          skipped = skip_made(skipped);
          past_layer(l, t);
          if (more) condition_layer(l, t + 1);
        }
        link->ready.publish(done + m.groups + g + 1);
      }
    }
  }

  // The skip products of all groups that are made and were not among the first so many; gives how many they are now.
  int64_t skip_made(int64_t skipped) {
    for (; skipped < link->made.read(); skipped++) {
      const int g = skipped % m.groups;
      if (g + 1 == m.groups) continue;
      skip_group(g);
      link->skipped.publish(skipped + 1);
    }
    return skipped;
  }
};

}  // namespace ISA
