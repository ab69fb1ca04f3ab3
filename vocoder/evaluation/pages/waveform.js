// Samples as a picture: from the lowest to the highest in each column; a line where there are fewer than columns.

/** @returns {number} the largest magnitude, of silence 1, by which waveforms are drawn on one scale */
function peakOf(channels) {
  const peak = (samples) => samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
  return Math.max(...channels.map(peak)) || 1;
}

function drawWaveform(context, width, height, { samples, sampleRate, view, peak, colour }) {
  Object.assign(context, { fillStyle: colour, strokeStyle: colour, lineWidth: 1.25, lineJoin: "round" });
  const x = (sample) => view.share(sample / sampleRate) * width;
  const y = (value) => (0.5 - (0.48 * value) / peak) * height; // a little air above and below
  if (view.length * sampleRate > 2 * width) drawExtremes(context, width, { samples, sampleRate, view, y });
  else drawLine(context, samples, view.start * sampleRate, view.end * sampleRate, x, y);
}

function drawExtremes(context, width, { samples, sampleRate, view, y }) {
  const column = 1 / window.devicePixelRatio;
  for (let left = 0; left < width; left += column) {
    const first = Math.floor(view.seconds(left / width) * sampleRate);
    const last = Math.floor(view.seconds((left + column) / width) * sampleRate);
    const [low, high] = extremes(samples.subarray(first, last + 1)); // with the next column's first: no gaps
    context.fillRect(left, y(high), column, Math.max(y(low) - y(high), column));
  }
}

function extremes(samples) {
  let [low, high] = samples.length ? [samples[0], samples[0]] : [0, 0];
  for (const sample of samples) {
    if (sample < low) low = sample;
    if (sample > high) high = sample;
  }
  return [low, high];
}

function drawLine(context, samples, start, end, x, y) {
  const first = Math.max(Math.floor(start), 0);
  const last = Math.min(Math.ceil(end), samples.length - 1);
  context.beginPath();
  for (let i = first; i <= last; i++) context.lineTo(x(i), y(samples[i]));
  context.stroke();
}
