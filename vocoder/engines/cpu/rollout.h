// Free running and its gradient, to train on: segments of several utterances, each in a lane of the vectors.
//
// `run` makes samples as an engine does, but in fp32 and unrounded, and writes down what derivatives need (the tape).
// `pull` goes back in time: from what a loss says of each sample to what it says of it when all that later samples read
// of it is counted, which is what its law's parameters have to answer for.
#pragma once
#include "arena.h"
#include "simd.h"
#include "weights.h"

namespace ISA {

INLINE Floats fall(Floats v) { return power(clamp(v, -40.0f, 40.0f), -LOG2_E); }  // exp(-v)

// y[o] += Σ_i matrix[o][i] x[i], a matrix of `stride` columns; BACK: y[i] += Σ_o matrix[o][i] x[o].
template <bool BACK>
static void multiply(Floats *y, const float *matrix, int stride, int outputs, int inputs, const Floats *x) {
  const int count = BACK ? inputs : outputs, terms = BACK ? outputs : inputs;
  const int along = BACK ? 1 : stride, across = BACK ? stride : 1;  // from one y to the next, from one x to the next
  int i = 0;
  for (; i + 8 <= count; i += 8) {  // eight sums at a time hide the latency of a multiply-add
    Floats sum[8];
    UNROLL for (int k = 0; k < 8; k++) sum[k] = y[i + k];
    const float *m = matrix + (size_t)i * along;
    for (int j = 0; j < terms; j++, m += across)
      UNROLL for (int k = 0; k < 8; k++) sum[k] = fma(splat(m[(size_t)k * along]), x[j], sum[k]);
    UNROLL for (int k = 0; k < 8; k++) y[i + k] = sum[k];
  }
  for (; i < count; i++) {
    const float *m = matrix + (size_t)i * along;
    for (int j = 0; j < terms; j++, m += across) y[i] = fma(splat(*m), x[j], y[i]);
  }
}

// Where the numbers of one step lie on the tape.
struct TapePlan {
  int filtered, gate, skip, hidden, shift, move, slope, size;

  explicit TapePlan(const Shape &s) {
    const int z = s.layers * s.half;
    filtered = 0, gate = z, skip = 2 * z;  // tanh and σ of all layers; relu(s)
    hidden = skip + s.skip;                // of each sample: relu of the sample network,
    shift = hidden + s.step * s.sample;    // what a unit of its mean and
    move = shift + s.step;                 // one of its log-scale move it by: nothing beyond their bounds;
    slope = move + s.step;                 // and what it moves its excitation by
    size = slope + s.step;
  }
};

struct RolloutRoom {  // to work in
  Floats *waveform, *excitation;  // of all samples; going back: what the loss says of them
  Floats *past;                   // layer after layer, the last (kernel_size - 1) · dilation inputs; likewise
  Floats *h, *x, *a, *z, *s, *places, *near, *inputs, *echoes;

  RolloutRoom(Arena &arena, const Shape &shape, int steps) {
    size_t slots = 0;
    for (int l = 0; l < shape.layers; l++) slots += (size_t)(shape.kernel_size - 1) * shape.dilation[l];
    const size_t samples = (size_t)steps * shape.step;
    waveform = arena.take<Floats>(samples), excitation = arena.take<Floats>(samples);
    past = arena.take<Floats>(slots * shape.residual);
    h = arena.take<Floats>(shape.conditioning + shape.speaker);
    x = arena.take<Floats>(shape.residual), a = arena.take<Floats>(2 * shape.half);
    z = arena.take<Floats>((size_t)shape.layers * shape.half), s = arena.take<Floats>(shape.skip);
    places = arena.take<Floats>(shape.step * shape.sample), near = arena.take<Floats>(count_near(shape));
    inputs = arena.take<Floats>(count_inputs(shape)), echoes = arena.take<Floats>(shape.step);
  }
};

struct RolloutPass {  // of one block of W rows
  const Shape &shape;
  const Weights &w;
  const Rollout &job;
  const RolloutRoom &room;
  const int row;  // the first
  const TapePlan tape;

  RolloutPass(const Shape &s, const Weights &weights, const Rollout &j, const RolloutRoom &r, int first)
      : shape(s), w(weights), job(j), room(r), row(first), tape(s) {}

  void run() const {
    for (int n = 0; n < job.steps; n++) {
      const int t = n * shape.step;
      for (int q = 0; q < shape.step; q++) room.echoes[q] = echo(t + q);
      run_layers(n);
      for (int i = 0; i < shape.step * shape.sample; i++) room.places[i] = splat(w.bias_1[i]);
      multiply<false>(room.places, w.output_1, shape.skip, shape.step * shape.sample, shape.skip, room.s);
      for (int q = 0; q < shape.step; q++) draw(n, q);
    }
  }

  void pull() const {
    for (int t = 0; t < job.steps * shape.step; t++)
      room.waveform[t] = at(job.gradient, t), room.excitation[t] = Floats{};
    for (int n = job.steps - 1; n >= 0; n--) {
      Floats first{};  // what the prediction of the step's first sample has to answer for
      for (int q = shape.step - 1; q >= 0; q--) {
        const Floats prediction = pull_sample(n, q);
        if (q) pull_prediction(n * shape.step + q, prediction);
        else first = prediction;
      }
      pull_layers(n);
      pull_inputs(n, first);
    }
  }

 private:
  // Of arrays that hold `rows` numbers for each index.
  Floats at(const float *array, size_t index) const { return load(array + index * job.rows + row); }
  void put(float *array, size_t index, Floats v) const { store(array + index * job.rows + row, v); }
  size_t taped(int n, int part, int index = 0) const { return (size_t)n * tape.size + part + index; }
  int frame(int t) const { return t / shape.hop; }
  int slots(int l) const { return (shape.kernel_size - 1) * shape.dilation[l]; }
  const float *of_location() const { return w.output_2 + shape.sample; }       // rows of the law's parameters:
  const float *of_log_scale() const { return w.output_2 + 2 * shape.sample; }  // weight, location, log-scale

  Floats waveform(int t) const { return t < 0 ? Floats{} : room.waveform[t]; }
  Floats excitation(int t) const { return t < 0 ? Floats{} : room.excitation[t]; }

  Floats echo(int t) const {
    const int32_t *lag = job.lag + (size_t)frame(t) * job.rows + row;
    Floats v{};
    for (int i = 0; i < W; i++)
      if (t >= lag[i]) v[i] = room.excitation[t - lag[i]][i];
    return v;
  }

  Floats predict(int t) const {
    Floats sum{};
    for (int k = 0; k < shape.order && k < t; k++)
      sum = fma(at(job.coefficients, (size_t)frame(t) * shape.order + k), room.waveform[t - 1 - k], sum);
    return sum;
  }

  void run_layers(int n) const {
    const int R = shape.residual, H = shape.half, G = shape.step, t = n * G;
    const int columns = shape.conditioning + shape.speaker;
    for (int q = 0; q < G; q++) {
      room.inputs[q] = waveform(t - G + q), room.inputs[G + 1 + q] = excitation(t - G + q);
      room.inputs[2 * G + 1 + q] = room.echoes[q];
    }
    room.inputs[G] = predict(t);
    for (int c = 0; c < columns; c++) room.h[c] = at(job.h, (size_t)n * columns + c);
    for (int c = 0; c < R; c++) room.x[c] = splat(w.input_bias[c]);
    multiply<true>(room.x, w.input, R, 3 * G + 1, R, room.inputs);  // the input's matrix comes transposed
    Floats *past = room.past;
    for (int l = 0; l < shape.layers; past += (size_t)slots(l) * R, l++) {
      const auto &layer = w.layer[l];
      for (int c = 0; c < 2 * H; c++) room.a[c] = splat(layer.bias[c]);
      for (int tap = 0; tap + 1 < shape.kernel_size; tap++) {  // the slot of time n - d is that of n + (K - 2) d
        const Floats *slot = past + (size_t)((n + tap * shape.dilation[l]) % slots(l)) * R;
        multiply<false>(room.a, layer.W + tap * R, shape.kernel_size * R, 2 * H, R, slot);
      }
      multiply<false>(room.a, layer.W + (shape.kernel_size - 1) * R, shape.kernel_size * R, 2 * H, R, room.x);
      multiply<false>(room.a, layer.V, columns, 2 * H, columns, room.h);
      memcpy(past + (size_t)(n % slots(l)) * R, room.x, sizeof(Floats) * R);
      Floats *z = room.z + l * H;
      for (int c = 0; c < H; c++) {
        const Floats e = fall(2 * room.a[c]), filtered = (1 - e) / (1 + e), gate = 1 / (1 + fall(room.a[H + c]));
        put(job.tape, taped(n, tape.filtered, l * H + c), filtered);
        put(job.tape, taped(n, tape.gate, l * H + c), gate);
        z[c] = filtered * gate;
      }
      for (int c = 0; c < R; c++) room.x[c] += layer.residual_bias[c];
      multiply<false>(room.x, layer.residual, H, R, H, z);
      for (int c = 0; c < R; c++) room.x[c] *= shape.residual_scale;
    }
    for (int c = 0; c < shape.skip; c++) room.s[c] = splat(w.skip_bias[c]);
    multiply<false>(room.s, w.skip, shape.layers * H, shape.skip, shape.layers * H, room.z);
    for (int c = 0; c < shape.skip; c++) {
      room.s[c] = max(room.s[c] * shape.skip_scale, Floats{});
      put(job.tape, taped(n, tape.skip, c), room.s[c]);
    }
  }

  void draw(int n, int q) const {
    const int t = n * shape.step + q, C = shape.sample, recent = shape.recent;
    Floats *y = room.places + q * C;
    const Floats location = predict(t), scale = at(job.scale, frame(t)), reach = at(job.reach, frame(t));
    for (int i = 0; i < recent; i++) room.near[i] = excitation(t - recent + i);
    room.near[recent] = waveform(t - 1), room.near[recent + 1] = location, room.near[recent + 2] = room.echoes[q];
    multiply<false>(y, w.recent, recent + 3, C, recent + 3, room.near);
    Floats mean = splat(w.bias_2[1]), log_scale = splat(w.bias_2[2]);
    for (int c = 0; c < C; c++) {
      y[c] = max(y[c], Floats{});
      put(job.tape, taped(n, tape.hidden, q * C + c), y[c]);
      mean = fma(splat(of_location()[c]), y[c], mean);
      log_scale = fma(splat(of_log_scale()[c]), y[c], log_scale);
    }
    const Floats within = max(-reach, min(reach, mean)), spread = min(reach, exp(log_scale));
    const Floats noise = scale * spread * at(job.noise, t);
    const Floats shift = within == mean ? scale : Floats{}, move = spread < reach ? noise : Floats{};
    const Floats sample = clamp(location + scale * within + noise, -1.0f, 1.0f), ratio = (sample - location) / scale;
    Floats excitation{}, slope{};
    for (int i = 0; i < W; i++) {
      excitation[i] = __builtin_asinhf(ratio[i]);
      slope[i] = 1 / (scale[i] * __builtin_sqrtf(1 + ratio[i] * ratio[i]));
    }
    room.waveform[t] = sample, room.excitation[t] = excitation;
    put(job.waveform, t, sample);
    put(job.tape, taped(n, tape.shift, q), shift), put(job.tape, taped(n, tape.move, q), move);
    put(job.tape, taped(n, tape.slope, q), slope);
  }

  // From a sample to what its law read; gives what its prediction has to answer for.
  Floats pull_sample(int n, int q) const {
    const int t = n * shape.step + q, C = shape.sample, recent = shape.recent;
    const Floats scale = at(job.scale, frame(t)), most = at(job.bound, 0) / scale;
    const Floats through = room.excitation[t] * at(job.tape, taped(n, tape.slope, q));
    const Floats sum = room.waveform[t] + through, total = max(-most, min(most, sum));
    put(job.total, t, total);
    const Floats by_shift = total * at(job.tape, taped(n, tape.shift, q));
    const Floats by_move = total * at(job.tape, taped(n, tape.move, q));
    Floats *y = room.places + q * C;
    for (int c = 0; c < C; c++) {
      const Floats back = splat(of_location()[c]) * by_shift + splat(of_log_scale()[c]) * by_move;
      y[c] = at(job.tape, taped(n, tape.hidden, q * C + c)) > Floats{} ? back : Floats{};
    }
    for (int i = 0; i < recent + 3; i++) room.near[i] = Floats{};
    multiply<true>(room.near, w.recent, recent + 3, C, recent + 3, y);
    for (int i = 0; i < recent; i++)
      if (t - recent + i >= 0) room.excitation[t - recent + i] += room.near[i];
    if (t) room.waveform[t - 1] += room.near[recent];
    room.echoes[q] = room.near[recent + 2];
    // A sample that was held back by the bound holds back what its excitation has moved, too.
    return total - (total == sum ? through : Floats{}) + room.near[recent + 1];
  }

  void pull_prediction(int t, Floats by) const {
    for (int k = 0; k < shape.order && k < t; k++)
      room.waveform[t - 1 - k] += at(job.coefficients, (size_t)frame(t) * shape.order + k) * by;
  }

  void pull_layers(int n) const {
    const int R = shape.residual, H = shape.half;
    for (int c = 0; c < shape.skip; c++) room.s[c] = Floats{};
    multiply<true>(room.s, w.output_1, shape.skip, shape.step * shape.sample, shape.skip, room.places);
    for (int c = 0; c < shape.skip; c++)
      room.s[c] = at(job.tape, taped(n, tape.skip, c)) > Floats{} ? room.s[c] * shape.skip_scale : Floats{};
    for (int i = 0; i < shape.layers * H; i++) room.z[i] = Floats{};
    multiply<true>(room.z, w.skip, shape.layers * H, shape.skip, shape.layers * H, room.s);
    for (int c = 0; c < R; c++) room.x[c] = Floats{};
    Floats *past = room.past;
    for (int l = 0; l < shape.layers; l++) past += (size_t)slots(l) * R;
    for (int l = shape.layers - 1; l >= 0; l--) {
      const auto &layer = w.layer[l];
      past -= (size_t)slots(l) * R;
      Floats *z = room.z + l * H;
      for (int c = 0; c < R; c++) room.x[c] *= shape.residual_scale;
      multiply<true>(z, layer.residual, H, R, H, room.x);
      for (int c = 0; c < H; c++) {
        const Floats filtered = at(job.tape, taped(n, tape.filtered, l * H + c));
        const Floats gate = at(job.tape, taped(n, tape.gate, l * H + c));
        room.a[c] = z[c] * gate * (1 - filtered * filtered), room.a[H + c] = z[c] * filtered * gate * (1 - gate);
      }
      // Later steps have left in the slot of n what they read of this layer's input.
      Floats *mine = past + (size_t)(n % slots(l)) * R;
      for (int c = 0; c < R; c++) room.x[c] += mine[c], mine[c] = Floats{};
      multiply<true>(room.x, layer.W + (shape.kernel_size - 1) * R, shape.kernel_size * R, 2 * H, R, room.a);
      for (int tap = 0; tap + 1 < shape.kernel_size; tap++) {
        Floats *slot = past + (size_t)((n + tap * shape.dilation[l]) % slots(l)) * R;
        multiply<true>(slot, layer.W + tap * R, shape.kernel_size * R, 2 * H, R, room.a);
      }
    }
  }

  void pull_inputs(int n, Floats prediction) const {
    const int R = shape.residual, G = shape.step, t = n * G;
    for (int i = 0; i < 3 * G + 1; i++) room.inputs[i] = Floats{};
    multiply<false>(room.inputs, w.input, R, 3 * G + 1, R, room.x);
    for (int q = 0; q < G; q++) {
      if (t) room.waveform[t - G + q] += room.inputs[q], room.excitation[t - G + q] += room.inputs[G + 1 + q];
      pull_echo(t + q, room.echoes[q] + room.inputs[2 * G + 1 + q]);
    }
    pull_prediction(t, prediction + room.inputs[G]);
  }

  void pull_echo(int t, Floats by) const {
    const int32_t *lag = job.lag + (size_t)frame(t) * job.rows + row;
    for (int i = 0; i < W; i++)
      if (t >= lag[i]) room.excitation[t - lag[i]][i] += by[i];
  }
};

static size_t tape_size(const Shape *shape) { return TapePlan(*shape).size; }

static size_t rollout_bytes(const Shape *shape, int steps) {
  Arena arena{nullptr};
  RolloutRoom(arena, *shape, steps);
  return arena.used;
}

static void rollout(const Shape *shape, const float *weights, const Rollout *job, void *memory, int back) {
  Arena arena{(char *)memory};
  const Weights w = list_weights(*shape, weights);
  const RolloutRoom room(arena, *shape, job->steps);
  for (int row = 0; row < job->rows; row += W) {
    memset(memory, 0, arena.used);
    const RolloutPass pass(*shape, w, *job, room, row);
    if (back) pass.pull();
    else pass.run();
  }
}

}  // namespace ISA
