// From what the layers say about a step to its samples, one after the other: the sample network, its law, the draw.
#pragma once
#include "history.h"

namespace ISA {

template <class P> struct SampleNetwork {
  const Model<P> &m;
  const State<P> &s;
  const Job &job;
  const History<P> &history;

  // s = relu(skip), which all places of the step read.
  void begin() const {
    for (int r = 0; r < job.rows; r++) {
      relu(s.skip + (size_t)r * m.S, m.S);
      P::put(s.s.at(r), m.S, s.skip + (size_t)r * m.S);
    }
  }

  // What the layers say to the j-th sample of the step.
  void say(int j) const {
    for (int r = 0; r < job.rows; r++) memcpy(place(j, r), m.bias_1 + (size_t)j * m.C, 4 * (size_t)m.C);
    product<P>(place(j, 0), m.C, m.output_1[j], s.s, job.rows);
  }

  // The j-th sample of the step, which is the run's i-th and the utterance's t-th.
  void draw(int64_t t, int i, int j) const {
    if (m.shape.order && j)  // a step has predicted its first sample
      for (int r = 0; r < job.rows; r++) s.location[r] = history.predict(r, t);
    run(t, j);
    for (int r = 0; r < job.rows; r++) {
      const Row &row = job.row[r];
      float *law = s.parameters + (size_t)r * m.O;
      if (m.shape.order) locate(law, s.location[r], s.frame[r]);
      if (row.parameters)
        memcpy(row.parameters + (size_t)i * m.shape.parameters, law, 4 * (size_t)m.shape.parameters);
      row.waveform[i] = row.given ? row.given[i] : choose_sample(law, row.noise + 2 * (size_t)i);
      history.remember(r, t, row.waveform[i]);
    }
  }

 private:
  float *place(int j, int r) const { return s.places + ((size_t)j * job.rows + r) * m.C; }

  // The sample network: what the layers say, and what is near, to the parameters of a law.
  void run(int64_t t, int j) const {
    float *y = place(j, 0);
    for (int r = 0; r < job.rows; r++) memcpy(s.parameters + (size_t)r * m.O, m.bias_2, 4 * (size_t)m.O);
    for (int r = 0; r < job.rows; r++) {
      if (m.near) add_near(r, t, y + (size_t)r * m.C);
      relu(y + (size_t)r * m.C, m.C);
      if (!m.near) P::put(s.hidden.at(r), m.C, y + (size_t)r * m.C);
    }
    if (m.near) short_product(s.parameters, m.O, m.output_2, y, m.C, job.rows);
    else product<P>(s.parameters, m.O, m.output_2, s.hidden, job.rows);
  }

  // The last excitations, the sample before, the linear prediction and the echo, in the order of `WaveNet.law`.
  void add_near(int r, int64_t t, float *y) const {
    const int recent = m.shape.recent;
    float *from = s.inputs;
    memcpy(from, s.excitation.before(r, t) - recent, 4 * (size_t)recent);
    from[recent] = s.waveform.before(r, t)[-1];
    from[recent + 1] = s.location[r];
    from[recent + 2] = history.echo(r, t);
    for (int c = 0; c < m.C; c += W) {
      Floats sum = load(y + c);
      for (int k = 0; k < m.near; k++) sum = fma(splat(from[k]), load(m.recent + k * m.C + c), sum);
      store(y + c, sum);
    }
  }

  static void relu(float *x, int channels) {
    for (int c = 0; c < channels; c += W) store(x + c, max(load(x + c), Floats{}));
  }

  // Puts the law where linear prediction expects the sample, in units of what it expects to leave.
  void locate(float *law, float location, const typename State<P>::Frame &frame) const {
    const int components = m.shape.parameters / 3;
    for (int k = 0; k < components; k++) {
      law[components + k] = location + frame.scale * law[components + k];
      law[2 * components + k] += frame.log_scale;
    }
  }

  float choose_sample(float *law, const float *noise) const {
    return m.shape.categorical ? draw_level(law, m.shape.parameters, job.temperature, noise)
                               : draw_mixture(law, m.shape.parameters / 3, job.temperature, noise, s.logits);
  }
};

}  // namespace ISA
