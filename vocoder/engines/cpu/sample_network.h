// From what the layers say about a step to its samples, one after the other: the sample network, its law, the draw.
//
// In fp32: its products are small (11 × 64, 64 × 3) and each waits for the sample before, so that to round and scale their
// operands would take longer than they do. Sums run in eight chains, added at the end, and last an eighth of the time.
// Without recent excitations nothing waits, the network may be wide (mu-law: 256 levels), and its product is like all
// others.
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
    for (int r = 0; r < job.rows; r++) copy(place(j, r), m.bias_1 + (size_t)j * m.C, m.C);
    product<P>(place(j, 0), m.C, m.output_1[j], s.s, job.rows);
  }

  // The j-th sample of the step, which is the run's i-th and the utterance's t-th.
  void draw(int64_t t, int i, int j) const {
    if (m.shape.order && j)  // a step has predicted its first sample
      for (int r = 0; r < job.rows; r++) s.frame[r].at.location = history.predict(r, t);
    if (m.near) run_near(t, place(j, 0));
    else run(place(j, 0));
    for (int r = 0; r < job.rows; r++) {
      const float *law = s.parameters + (size_t)r * m.O;
      if (job.row[r].parameters) tell(r, i, law);
      float *sample = job.row[r].waveform + i;
      *sample = job.row[r].given ? job.row[r].given[i] : choose_sample(r, i, law);
      history.remember(r, t, *sample);
    }
  }

 private:
  float *place(int j, int r) const { return s.places + ((size_t)j * job.rows + r) * m.C; }

  // The sample network: from what the layers say, y, to the parameters of the law. It also reads what is near: the sample
  // before, the linear prediction, the echo and the last excitations.
  void run_near(int64_t t, float *y) const {
    for (int r = 0; r < job.rows; r++) {
      float *here = y + (size_t)r * m.C;
      const float beside[3] = {s.waveform.before(r, t)[-1], s.frame[r].at.location, history.echo(r, t)};
      add_rows(here, beside, m.near_weights, 3, m.C);
      add_rows(here, s.excitation.before(r, t) - m.shape.recent, m.near_weights + 3 * m.C, m.shape.recent, m.C);
      relu(here, m.C);
    }
    short_product(s.parameters, m.O, m.bias_2, m.output_2, y, m.C, job.rows);
  }

  // The same of what the layers say alone: a product like all others.
  void run(float *y) const {
    for (int r = 0; r < job.rows; r++) {
      relu(y + (size_t)r * m.C, m.C);
      P::put(s.hidden.at(r), m.C, y + (size_t)r * m.C);
      copy(s.parameters + (size_t)r * m.O, m.bias_2, m.O);
    }
    product<P>(s.parameters, m.O, m.output_2, s.hidden, job.rows);
  }

  static void relu(float *x, int channels) {
    for (int c = 0; c < channels; c += W) store(x + c, max(load(x + c), Floats{}));
  }

  void tell(int r, int i, const float *law) const {
    float *to = job.row[r].parameters + (size_t)i * m.shape.parameters;
    if (m.shape.categorical) memcpy(to, law, 4 * (size_t)m.shape.parameters);
    else place_mixture(to, law, m.shape.parameters / 3, s.frame[r].at);
  }

  float choose_sample(int r, int i, const float *law) const {
    const float *noise = job.row[r].noise + 2 * (size_t)i;
    if (m.shape.categorical) return draw_level(law, m.shape.parameters, job.temperature, noise, s.scratch);
    return draw_mixture(law, m.shape.parameters / 3, s.frame[r].at, job.temperature, noise, s.scratch);
  }
};

}  // namespace ISA
