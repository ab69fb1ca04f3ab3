// What an utterance, or several side by side, remember between two steps, and room for what a step makes.
#pragma once
#include "distribution.h"
#include "model.h"

namespace ISA {

constexpr int BLOCK_ROWS = 16;

// The last values of a signal of each row, in a ring: slot t mod `length` holds time t. So does the slot `length` later:
// any stretch of the past lies in one piece.
struct Signal {
  float *values;   // (rows, stride)
  int64_t length;  // a power of two

  // Rows that are a power of two apart would contend for the same lines of the cache.
  int64_t stride() const { return 2 * length + 16; }
  // x with x[-k] the value k samples before time t, for k from 1 to `length`.
  const float *before(int row, int64_t t) const { return values + row * stride() + length + (t & (length - 1)); }
  float at(int row, int64_t t) const { return values[row * stride() + (t & (length - 1))]; }
  void put(int row, int64_t t, float value) const {
    float *slot = values + row * stride() + (t & (length - 1));
    slot[0] = slot[length] = value;
  }
};

template <class P> struct State {
  struct Layer {
    Operand ring;       // (capacity · rows, R): the layer's last inputs
    float *sums;        // (2, block · rows, 2 H): what its gates take, as far as it is known, of this block and the next
    int64_t capacity;
    int block, stagger;
  };
  struct Cursor { int frame, phase; };  // phase in steps
  struct Frame {  // what the mel says of the linear prediction of a step
    const float *coefficients;
    int lag;
    Place at;     // of the next sample
  };

  int64_t *steps;     // made so far
  Layer *layers;
  Signal waveform;    // the last samples
  Signal excitation;  // what linear prediction left of them, in units of its expected size, compressed

  // Room to work in; what is above outlives a run.
  float *projected;   // (rows, taps, width): V of the neighbouring frames
  float *bias;        // (rows, width) of speakers
  Cursor *cursor;     // of the conditioning, for each row
  Frame *frame;       // of each row
  float *inputs;      // that a step reads
  float *x, *skip;    // (rows, R), (rows, S)
  Operand z, s;       // of each group (groups · rows, group_layers · H); what the layers say (rows, S)
  float *places;      // (step, rows, C): what the layers say to each sample of a step
  Operand hidden;     // (rows, C)
  float *parameters, *scratch;  // (rows, O), (O)

  static size_t bytes(const Shape &shape, int rows) {
    Arena arena{nullptr};
    State state;
    arena.take<State>(1);
    state.build(arena, Model<P>::outline(shape), rows);
    return arena.used;
  }

  // Finds everything in its place again; a copy of a state may lie elsewhere.
  static State *prepare(const Model<P> &m, void *block, int rows) {
    Arena arena{(char *)block};
    State *state = arena.take<State>(1);
    state->build(arena, m, rows);
    return state;
  }

  // One utterance begins anew: silence before it. Operands and sums of one step lie row after row, so that every piece is
  // an array (times, rows, values of a row).
  void clear(const Model<P> &m, int rows, int row) const {
    auto clear = [&](void *piece, int64_t times, size_t bytes) {
      for (int64_t t = 0; t < times; t++) memset((char *)piece + ((size_t)t * rows + row) * bytes, 0, bytes);
    };
    for (int l = 0; l < m.shape.layers; l++) {
      clear(layers[l].ring.data, layers[l].capacity, layers[l].ring.stride);
      clear(layers[l].ring.scale, layers[l].capacity, 4);
      clear(layers[l].sums, 2 * layers[l].block, 8 * (size_t)m.H);
    }
    clear(waveform.values, 1, 4 * waveform.stride());
    clear(excitation.values, 1, 4 * excitation.stride());
  }

 private:
  void build(Arena &arena, const Model<P> &m, int rows) {
    const Shape &shape = m.shape;
    const size_t n = rows;
    steps = arena.take<int64_t>(1);
    layers = arena.take<Layer>(shape.layers);
    for (int l = 0; l < shape.layers; l++) {
      Layer layer = build_layer(arena, m, rows, shape.dilation[l]);
      layer.stagger = l * 5 % layer.block;
      if (layers) layers[l] = layer;
    }
    waveform = signal(arena, rows, shape.samples);
    excitation = signal(arena, rows, shape.excitations);
    projected = arena.take<float>(n * shape.taps * m.width);
    bias = arena.take<float>(shape.speaker ? n * m.width : 0);
    cursor = arena.take<Cursor>(rows);
    frame = arena.take<Frame>(rows);
    inputs = arena.take<float>(m.inputs);
    x = arena.take<float>(n * m.R);
    skip = arena.take<float>(n * m.S);
    z = operand(arena, (int64_t)m.groups * rows, m.group_layers * m.H);
    s = operand(arena, rows, m.S);
    places = arena.take<float>(n * shape.step * m.C);
    hidden = operand(arena, rows, m.C);
    parameters = arena.take<float>(n * m.O);
    scratch = arena.take<float>(m.O);
  }

  static Layer build_layer(Arena &arena, const Model<P> &m, int rows, int dilation) {
    Layer layer{};
    layer.block = 1;
    // A block must be known before it begins, and lie in one piece in the ring.
    while (2 * layer.block * rows <= BLOCK_ROWS && 4 * (int64_t)layer.block - 1 <= dilation && dilation % (2 * layer.block) == 0)
      layer.block *= 2;
    layer.capacity = (int64_t)(m.shape.kernel_size - 1) * dilation + layer.block;
    layer.ring = operand(arena, layer.capacity * rows, m.R);
    layer.sums = arena.take<float>((size_t)2 * layer.block * rows * 2 * m.H);
    return layer;
  }

  static Signal signal(Arena &arena, int rows, int count) {
    Signal signal{nullptr, 1};
    while (signal.length < count) signal.length *= 2;
    signal.values = arena.take<float>(rows * signal.stride());
    return signal;
  }

  static Operand operand(Arena &arena, int64_t rows, int channels) {
    const ptrdiff_t stride = (ptrdiff_t)channels * P::ACTIVATION_BYTES;
    const int beyond = P::ALIGN > 16 ? 16 : 0;  // tiles read sixteen rows, however many are meant
    char *data = arena.take<char>((rows + beyond) * stride);
    return {data, arena.take<float>(rows), stride, P::PLANES ? channels : 0};
  }
};

}  // namespace ISA
