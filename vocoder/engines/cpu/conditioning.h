// What the mel and the speaker add to the gates of all layers: V c + U g at frame rate, interpolated to steps.
#pragma once
#include "state.h"

namespace ISA {

constexpr int MAX_TAPS = VOCODER_MAX_TAPS;

template <class P> struct Conditioning {
  const Model<P> &m;
  const State<P> &s;
  const Job &job;

  void begin() const {
    for (int r = 0; r < job.rows; r++) {
      s.cursor[r] = {0, job.row[r].phase / m.shape.step};
      for (int j = 0; j < m.shape.taps; j++) project(r, j);
      if (!m.shape.speaker) continue;
      memcpy(s.bias + (size_t)r * m.width, m.bias, 4 * (size_t)m.width);
      multiply(s.bias + (size_t)r * m.width, m.U, job.row[r].speaker);
    }
  }

  void advance() const {  // to the next step
    for (int r = 0; r < job.rows; r++)
      if (++s.cursor[r].phase == m.shape.hop / m.shape.step) {
        s.cursor[r] = {s.cursor[r].frame + 1, 0};
        project(r, s.cursor[r].frame + m.shape.taps - 1);
      }
  }

  // To a layer's sums of one step (rows, 2 H): bias + U g + V h.
  void add(int l, float *to) const {
    for (int r = 0; r < job.rows; r++, to += 2 * m.H) switch (m.shape.taps) {
        case 1: interpolate<1>(r, l, to); break;
        case 3: interpolate<3>(r, l, to); break;
        default: interpolate<0>(r, l, to);
      }
  }

 private:
  void project(int r, int frame) const {
    float *to = s.projected + ((size_t)r * m.shape.taps + frame % m.shape.taps) * m.width;
    memset(to, 0, 4 * (size_t)m.width);
    multiply(to, m.V, job.row[r].context + (size_t)frame * m.shape.conditioning);
  }

  static void multiply(float *y, const Matrix &matrix, const float *x) {
    product<Fp32>(y, 0, matrix, {(char *)x, nullptr, 0, 0}, 1);
  }

  template <int TAPS> void interpolate(int r, int l, float *to) const {  // 0: any number
    const int taps = TAPS ? TAPS : m.shape.taps, channels = 2 * m.H;
    const float *const weight = m.kernel + s.cursor[r].phase * taps;
    const float *const bias = (m.shape.speaker ? s.bias + (size_t)r * m.width : m.bias) + l * channels;
    const float *frame[TAPS ? TAPS : MAX_TAPS];
    for (int j = 0; j < taps; j++)
      frame[j] = s.projected + ((size_t)r * taps + (s.cursor[r].frame + j) % taps) * m.width + l * channels;
    for (int c = 0; c < channels; c += W) {
      Floats sum = load(bias + c);
      for (int j = 0; j < taps; j++) sum = fma(splat(weight[j]), load(frame[j] + c), sum);
      store(to + c, load(to + c) + sum);
    }
  }
};

}  // namespace ISA
