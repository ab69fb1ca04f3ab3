// Which shapes can be handled. Within these limits no index overflows: numbers of elements are counted in 64 bits, those
// of one row, one matrix's side or one layer's ring of one utterance in 32.
#pragma once
#include "abi.h"

namespace {

constexpr int32_t MAX_CHANNELS = 16384;     // of a layer; fixed point leaves room for as many roundings of weights
constexpr int32_t MAX_LENGTH = 1 << 24;     // of a frame or of a remembered past, in samples
constexpr int32_t MAX_RING = 1 << 24;       // of past steps that a layer reads: some gigabytes

// The name in NetworkConfig or MelConfig of what is out of range, and the range; null if nothing is.
const char *find_obstacle(const Shape &shape) {
#define WITHIN(field, low, high, text) \
  if (shape.field < (low) || shape.field > (high)) return text
  WITHIN(residual, 1, MAX_CHANNELS, "residual_channels up to 16384");
  WITHIN(half, 1, MAX_CHANNELS, "gate_channels up to 32768");
  WITHIN(skip, 1, MAX_CHANNELS, "skip_channels up to 16384");
  WITHIN(conditioning, 1, MAX_CHANNELS, "conditioning_channels up to 16384");
  WITHIN(speaker, 0, MAX_CHANNELS, "speaker_channels up to 16384");
  WITHIN(sample, 1, MAX_CHANNELS, "sample_channels up to 16384");
  WITHIN(layers, 1, VOCODER_MAX_LAYERS, "up to 256 layers (dilation_cycles times layers_per_cycle)");
  WITHIN(taps, 1, VOCODER_MAX_TAPS, "upsampling_taps up to 64");
  WITHIN(hop, 1, MAX_LENGTH, "hop_length up to 2^24");
  WITHIN(step, 1, shape.hop, "samples_per_step up to hop_length");
  if (shape.hop % shape.step) return "samples_per_step that divides hop_length";
  WITHIN(order, 0, MAX_CHANNELS, "linear_prediction_order up to 16384");
  WITHIN(recent, 0, MAX_CHANNELS, "recent_excitations up to 16384");
  if (shape.order == 0 && (shape.step > 1 || shape.recent)) return "samples_per_step and recent_excitations with linear prediction";
  WITHIN(samples, shape.order > shape.step ? shape.order : shape.step, MAX_LENGTH, "a remembered past up to 2^24 samples");
  WITHIN(excitations, shape.recent > shape.step ? shape.recent : shape.step, MAX_LENGTH, "lags of an echo up to 2^24 samples");
  WITHIN(parameters, shape.categorical ? 2 : 3, 3 * MAX_CHANNELS, "num_components up to 16384");
  if (!shape.categorical && shape.parameters % 3) return "three parameters for each component";
  WITHIN(kernel_size, 2, MAX_RING, "kernel_size of at least 2");
  for (int32_t l = 0; l < shape.layers; l++)
    if (shape.dilation[l] < 1 || (int64_t)(shape.kernel_size - 1) * shape.dilation[l] > MAX_RING)
      return "layers_per_cycle and kernel_size with which no layer looks back more than 2^24 steps";
#undef WITHIN
  return nullptr;
}

}  // namespace
