// A run: one step after the other, by one thread or two. The order is that of WaveNet.forward; see also engines/step.py.
//
// Of two threads the first keeps the chain (current tap, gate, residual; the samples of a step), the second makes all
// else: past taps, conditioning, and the skip products but the last, these before all else, because the first waits for
// them. What both add to a layer is one sum in one place: it travels between the cores once. What the layers say to each
// sample of a step is a product of its own, so the first thread draws the first sample while the second makes the others'.
#pragma once
#include "conditioning.h"
#include "kernels.h"
#include "layers.h"
#include "sample_network.h"

namespace ISA {

template <class P> struct Run {
  const Model<P> &m;
  const State<P> &s;
  const Job &job;
  Link *const link;     // with a second thread
  const int steps;
  const int64_t first;  // step
  const Conditioning<P> conditioning;
  const Layers<P> layers;
  const History<P> history;
  const SampleNetwork<P> samples;

  Run(const Model<P> &model, const Job &run, Link *between)
      : m(model), s(*(const State<P> *)run.state), job(run), link(between), steps(run.samples / model.shape.step),
        first(*s.steps), conditioning{m, s, job}, layers{m, s, job.rows}, history{m, s, job},
        samples{m, s, job, history} {}

  // Everything, or with a link what depends on the sample before.
  void lead() const {
    layers.begin();
    if (!link) conditioning.begin();
    for (int i = 0; i < steps; i++) {
      const int64_t n = first + i;
      history.read_step(n * m.shape.step, i * m.shape.step);
      for (int g = 0; g < m.groups; g++) link ? lead_group(i, g) : run_group(n, g);
      if (link) lead_samples(i);
      else run_samples(i);
      if (!link && i + 1 < steps) conditioning.advance();
    }
    *s.steps = first + steps;
  }

  // The rest, one step ahead for past and conditioning. What the first thread will wait for comes before: the skip
  // products, as soon as their z is made, and what the layers say to all samples of a step but the first.
  void assist() const {
    conditioning.begin();
    for (int l = 0; l < m.shape.layers; l++) conditioning.add(l, layers.sums(l, first));
    link->ready.publish(m.groups);
    int64_t skipped = 0;
    for (int i = 0; i < steps; i++) {
      if (i + 1 < steps) conditioning.advance();
      for (int g = 0; g < m.groups; g++) {
        link->made.wait((int64_t)i * m.groups + g + 1);
        for (int l = g * m.group_layers; l < m.last_layer_of(g); l++) {
          skipped = skip_made(skipped);
          layers.run_past(l, first + i);
          if (i + 1 < steps) conditioning.add(l, layers.sums(l, first + i + 1));
        }
        link->ready.publish((int64_t)(i + 1) * m.groups + g + 1);
      }
      say_others(i);
    }
  }

 private:
  // --- alone --------------------------------------------------------------------------------------------------------

  void run_group(int64_t n, int g) const {
    const int begin = g * m.group_layers, end = m.last_layer_of(g);
    for (int l = begin; l < end; l++) {
      if (job.rows > 1) layers.fetch_past(l, n);
      layers.note(l, n);
      conditioning.add(l, layers.sums(l, n));
      layers.run_gate(l, n);
      layers.add_residual(l);
    }
    layers.skip_group(g);
    for (int l = begin; l < end; l++) layers.run_past(l, n);
  }

  void run_samples(int i) const {
    samples.begin();
    for (int j = 0; j < m.shape.step; j++) samples.say(j), draw(i, j);
  }

  void draw(int i, int j) const {
    samples.draw((first + i) * m.shape.step + j, i * m.shape.step + j, j);
  }

  // --- the first of two threads -------------------------------------------------------------------------------------

  void lead_group(int i, int g) const {
    const int64_t count = (int64_t)i * m.groups + g + 1;
    link->ready.wait(count);
    for (int l = g * m.group_layers; l < m.last_layer_of(g); l++) {
      layers.fetch_sums(l, first + i);
      layers.note(l, first + i);
      layers.run_gate(l, first + i);
      layers.add_residual(l);
    }
    link->made.publish(count);
  }

  void lead_samples(int i) const {
    if (m.groups > 1) link->skipped.wait((int64_t)i * m.groups + m.groups - 1);
    layers.skip_group(m.groups - 1);
    samples.begin();
    link->summed.publish(i + 1);
    samples.say(0);
    for (int j = 0; j < m.shape.step; j++) {
      link->said.wait((int64_t)i * (m.shape.step - 1) + j);
      draw(i, j);
    }
  }

  // --- the second ---------------------------------------------------------------------------------------------------

  // The skip products of all groups that are made and were not among the first so many; gives how many they are now.
  int64_t skip_made(int64_t skipped) const {
    for (; skipped < link->made.read(); skipped++) {
      const int g = skipped % m.groups;
      if (g + 1 == m.groups) continue;  // the first thread's own
      layers.skip_group(g);
      link->skipped.publish(skipped + 1);
    }
    return skipped;
  }

  void say_others(int i) const {
    if (m.shape.step == 1) return;
    link->summed.wait(i + 1);
    for (int j = 1; j < m.shape.step; j++) {
      samples.say(j);
      link->said.publish((int64_t)i * (m.shape.step - 1) + j);
    }
  }
};

}  // namespace ISA
