// From samples to levels in dB: short-time spectra in the frames of the model's mel.

const ROWS = 256;
const CORNER_HERTZ = 200; // linear below, logarithmic above: higher up, pitch would be a line at the bottom

/** Where a frequency lies on the vertical axis: 0 at the bottom, 1 at half the sample rate. */
const axisShare = (hertz, sampleRate) =>
  Math.log1p(hertz / CORNER_HERTZ) / Math.log1p(sampleRate / 2 / CORNER_HERTZ);
const axisHertz = (share, sampleRate) =>
  CORNER_HERTZ * Math.expm1(share * Math.log1p(sampleRate / 2 / CORNER_HERTZ));

/** Transforms of one size, in place: radix 2, decimation in time (Cooley and Tukey 1965). */
class FourierTransform {
  constructor(size) {
    this.size = size;
    const bits = Math.log2(size);
    this.order = Uint32Array.from({ length: size }, (_, i) => {
      let reversed = 0;
      for (let bit = 0; bit < bits; bit++) reversed |= ((i >> bit) & 1) << (bits - 1 - bit);
      return reversed;
    });
    this.cosine = Float64Array.from({ length: size / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / size));
    this.sine = Float64Array.from({ length: size / 2 }, (_, i) => -Math.sin((2 * Math.PI * i) / size));
  }

  /** real and imaginary: size values each, already in `order`. */
  run(real, imaginary) {
    for (let half = 1; half < this.size; half *= 2) {
      const step = this.size / (2 * half);
      for (let first = 0; first < this.size; first += 2 * half) {
        for (let k = 0; k < half; k++) this.#butterfly(real, imaginary, first + k, first + k + half, k * step);
      }
    }
  }

  #butterfly(real, imaginary, a, b, turn) {
    const cosine = this.cosine[turn];
    const sine = this.sine[turn];
    const re = real[b] * cosine - imaginary[b] * sine;
    const im = real[b] * sine + imaginary[b] * cosine;
    real[b] = real[a] - re;
    imaginary[b] = imaginary[a] - im;
    real[a] += re;
    imaginary[a] += im;
  }
}

/**
 * Levels of one version of an utterance.
 *
 * Frame k is centred on sample (k + ½) · hop_length, so that column k of a picture shows what is heard there; beyond its
 * ends the waveform is silent.
 *
 * @returns {{frames: number, decibels: Float32Array, loudest: number}} frames · ROWS values, the lowest row first; 0 dB
 *   is a sine of amplitude 1.
 */
function spectrogram(samples, sampleRate, mel) {
  const transform = new FourierTransform(2 ** Math.ceil(Math.log2(mel.n_fft)));
  const window = hann(mel.win_length);
  const scale = (2 / window.reduce((sum, value) => sum + value)) ** 2;
  const rows = rowsOfBins(transform.size, sampleRate);
  const frames = Math.max(1, Math.ceil(samples.length / mel.hop_length));
  const decibels = new Float32Array(frames * ROWS);
  const real = new Float64Array(transform.size);
  const imaginary = new Float64Array(transform.size);
  const power = new Float64Array(transform.size / 2 + 1);
  for (let frame = 0; frame < frames; frame++) {
    const first = Math.round((frame + 0.5) * mel.hop_length - mel.win_length / 2);
    for (let i = 0; i < transform.size; i++) {
      const place = transform.order[i];
      real[i] = place < window.length ? (samples[first + place] ?? 0) * window[place] : 0;
    }
    imaginary.fill(0);
    transform.run(real, imaginary);
    for (let bin = 0; bin < power.length; bin++) power[bin] = scale * (real[bin] ** 2 + imaginary[bin] ** 2);
    rows.forEach((row, i) => (decibels[frame * ROWS + i] = 10 * Math.log10(meanPower(power, row) + 1e-20)));
  }
  return { frames, decibels, loudest: decibels.reduce((a, b) => Math.max(a, b)) };
}

function hann(length) {
  return Float64Array.from({ length }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / length));
}

/** For each row of the picture its lower and upper edge, in bins. */
function rowsOfBins(size, sampleRate) {
  const edge = (row) => (axisHertz(row / ROWS, sampleRate) * size) / sampleRate;
  return Array.from({ length: ROWS }, (_, row) => [edge(row), edge(row + 1)]);
}

/** Over the bins inside a row; between two bins where a row is narrower than a bin. */
function meanPower(power, [low, high]) {
  const first = Math.ceil(low);
  const last = Math.min(Math.floor(high), power.length - 1);
  if (last > first) {
    let sum = 0;
    for (let bin = first; bin <= last; bin++) sum += power[bin];
    return sum / (last - first + 1);
  }
  const centre = Math.min((low + high) / 2, power.length - 1);
  const below = Math.floor(centre);
  const above = Math.min(below + 1, power.length - 1);
  return power[below] + (centre - below) * (power[above] - power[below]);
}

/** How much louder `copy` is than `original`, in dB; levels below the floor count as the floor. */
function difference(copy, original, floor) {
  const frames = Math.min(copy.frames, original.frames);
  const decibels = new Float32Array(frames * ROWS);
  for (let i = 0; i < decibels.length; i++) {
    decibels[i] = Math.max(copy.decibels[i], floor) - Math.max(original.decibels[i], floor);
  }
  return { frames, decibels };
}
