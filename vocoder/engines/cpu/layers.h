// The dilated layers: one step of each, and the sum of what they say.
//
// A dilated tap reads what is known `dilation` steps ahead. So the products of the past taps are made for a block of up
// to sixteen steps at once, one block ahead of time: their weights (a third of all with two taps, half with three) are
// read once per block, and they are off the critical path, which is: current tap → gate → residual → next layer.
#pragma once
#include "state.h"

namespace ISA {

template <class P> struct Layers {
  const Model<P> &m;
  const State<P> &s;
  const int rows;

  typedef typename State<P>::Layer Layer;

  void begin() const {
    for (int i = 0; i < m.groups * rows; i++) s.z.scale[i] = P::Z_SCALE;
  }

  float *sums(int l, int64_t n) const {  // of step n: (rows, 2 H)
    const Layer &layer = s.layers[l];
    return layer.sums + ((n / layer.block % 2) * layer.block + n % layer.block) * rows * 2 * m.H;
  }

  // x, which the layer reads, is noted.
  void note(int l, int64_t n) const {
    const Operand here = ring(l, n);
    for (int r = 0; r < rows; r++) P::put(here.at(r), m.R, s.x + (size_t)r * m.R);
  }

  // z = tanh(a_filter) ⊙ σ(a_gate), with the current tap; the sums hold all else of a by now.
  void run_gate(int l, int64_t n) const {
    float *a = sums(l, n);
    product<P>(a, 2 * m.H, m.layers[l].current, ring(l, n), rows);
    const Operand z = gates(l);
    const int half = m.H;
    for (int r = 0; r < rows; r++, a += 2 * half)
      for (int c = 0; c < half; c += W) P::put_gate(z.at(r), c, gate(load(a + c), load(a + half + c)));
  }

  // x ← (x + W_res z + b_res) · residual_scale, which is in the weights; the last layer's is never read.
  void add_residual(int l) const {
    if (l + 1 == m.shape.layers) return;
    const float *bias = m.layers[l].residual_bias;
    const Floats scale = splat(m.shape.residual_scale);
    for (int r = 0; r < rows; r++) {
      float *x = s.x + (size_t)r * m.R;
      for (int c = 0; c < m.R; c += W) store(x + c, fma(load(x + c), scale, load(bias + c)));
    }
    product<P>(s.x, m.R, m.layers[l].residual, gates(l), rows);
  }

  // The sum of all layers' z, a group of layers after the other.
  void skip_group(int g) const {
    for (int r = 0; g == 0 && r < rows; r++) copy(s.skip + (size_t)r * m.S, m.skip_bias, m.S);
    product<P>(s.skip, m.S, m.skip[g], s.z.at(g * rows), rows);
  }

  // The past taps of the layer's next block; each layer has its turn at another step.
  void run_past(int l, int64_t n) const {
    const Layer &layer = s.layers[l];
    if (n % layer.block != layer.stagger) return;
    const int count = layer.block * rows, taps = m.shape.kernel_size;
    float *to = layer.sums + (next_block(layer, n) / layer.block % 2) * count * 2 * m.H;
    memset(to, 0, 4 * (size_t)count * 2 * m.H);
    for (int tap = 0; tap < taps - 1; tap++)
      product<P>(to, 2 * m.H, m.layers[l].past[tap], layer.ring.at(past_slot(l, n, tap) * rows), count);
  }

  // Rings of many utterances lie far away: what `run_past` will read may come nearer meanwhile.
  void fetch_past(int l, int64_t n) const {
    const Layer &layer = s.layers[l];
    if (n % layer.block != layer.stagger) return;
    const char *data = layer.ring.at(past_slot(l, n, 0) * rows).data;
    for (ptrdiff_t b = 0; b < layer.ring.stride * layer.block * rows; b += 64) __builtin_prefetch(data + b);
  }

  void fetch_sums(int l, int64_t n) const {  // which the other thread wrote
    for (int c = 0; c < 2 * m.H; c += 16) __builtin_prefetch(sums(l, n) + c);
  }

 private:
  Operand ring(int l, int64_t n) const { return s.layers[l].ring.at(n % s.layers[l].capacity * rows); }

  Operand gates(int l) const {
    return s.z.at(l / m.group_layers * rows, l % m.group_layers * m.H * (P::PLANES ? 1 : P::ACTIVATION_BYTES));
  }

  static int64_t next_block(const Layer &layer, int64_t n) { return (n / layer.block + 1) * layer.block; }

  // Where in the ring a tap of the next block begins to read.
  int64_t past_slot(int l, int64_t n, int tap) const {
    const Layer &layer = s.layers[l];
    const int64_t back = (int64_t)(m.shape.kernel_size - 1 - tap) * m.layers[l].dilation;
    return (next_block(layer, n) - back + layer.capacity) % layer.capacity;
  }
};

}  // namespace ISA
