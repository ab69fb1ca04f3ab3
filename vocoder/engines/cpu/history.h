// What has been heard so far, and what is read of it: linear prediction, the last excitations, the echo.
#pragma once
#include <math.h>

#include "distribution.h"
#include "state.h"

namespace ISA {

template <class P> struct History {
  const Model<P> &m;
  const State<P> &s;
  const Job &job;

  // x of the step whose first sample is the run's i-th and the utterance's t-th.
  void read_step(int64_t t, int i) const {
    for (int r = 0; r < job.rows; r++) {
      float *x = s.x + (size_t)r * m.R;
      if (m.shape.categorical) {
        const int level = encode_level(s.waveform.before(r, t)[-1], m.shape.parameters);
        memcpy(x, m.input + (size_t)level * m.R, 4 * (size_t)m.R);
        continue;
      }
      find_frame(r, i);
      gather(r, t);
      copy(x, m.input_bias, m.R);
      add_rows(x, s.inputs, m.input, m.inputs, m.R);
    }
  }

  // p[t] = Σ_k a[k] · waveform[t - 1 - k]
  float predict(int r, int64_t t) const {
    const float *past = s.waveform.before(r, t), *coefficients = s.frame[r].coefficients;
    float sum = 0;
    for (int k = 0; k < m.shape.order; k++) sum += coefficients[k] * past[-1 - k];
    return sum;
  }

  float echo(int r, int64_t t) const { return s.excitation.at(r, t - s.frame[r].lag); }

  void remember(int r, int64_t t, float sample) const {
    s.waveform.put(r, t, sample);
    if (m.shape.order) s.excitation.put(r, t, asinhf((sample - s.frame[r].at.location) / s.frame[r].at.scale));
  }

 private:
  void find_frame(int r, int i) const {
    s.frame[r] = {nullptr, 1, {0, 1, 0, INFINITY, INFINITY}};
    if (!m.shape.order) return;
    const Row &row = job.row[r];
    const int frame = (row.phase + i) / m.shape.hop;
    const float scale = row.scale[frame], reach = row.reach[frame];
    const Place at{0, scale, logf(scale), reach, logf(reach)};
    s.frame[r] = {row.coefficients + (size_t)frame * m.shape.order, row.lag[frame], at};
  }

  // What a step reads, in the order of `WaveNet.read`.
  void gather(int r, int64_t t) const {
    const int step = m.shape.step;
    float *to = s.inputs;
    memcpy(to, s.waveform.before(r, t) - step, 4 * (size_t)step);
    if (!m.shape.order) return;
    to[step] = s.frame[r].at.location = predict(r, t);
    memcpy(to + step + 1, s.excitation.before(r, t) - step, 4 * (size_t)step);
    for (int j = 0; j < step; j++) to[2 * step + 1 + j] = echo(r, t + j);
  }
};

}  // namespace ISA
