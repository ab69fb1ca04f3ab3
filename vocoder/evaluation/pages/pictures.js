// A picture over time, with axes, a cursor, and a region that can be dragged: of levels by frequency, with pitch, or of
// whatever paints into it.

const VIRIDIS = [
  "#440154", "#48186a", "#472d7b", "#424086", "#3b528b", "#33638d", "#2c728e", "#26828e", "#21918c",
  "#1fa088", "#28ae80", "#3fbc73", "#5ec962", "#84d44b", "#addc30", "#d8e219", "#fde725",
]; // prettier-ignore
const WEAKER_TO_STRONGER = { light: ["#0072b2", "#ffffff", "#d55e00"], dark: ["#56b4e9", "#14171a", "#e6791a"] };
const DARK = matchMedia("(prefers-color-scheme: dark)");
const HERTZ_TICKS = [100, 250, 500, 1000, 2000, 4000, 8000, 16000];
const SECONDS_STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60];
const TICK_PIXELS = 70; // at least, from one time to the next
const DRAG_PIXELS = 5; // less is a click

const differenceColours = () => WEAKER_TO_STRONGER[DARK.matches ? "dark" : "light"];

/** 256 colours evenly between the given ones, each the four bytes of a pixel as one number. */
function colourTable(colours) {
  const bytes = new Uint8ClampedArray(4 * 256).fill(255);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (colours.length - 1);
    const below = Math.min(Math.floor(place), colours.length - 2);
    for (let channel = 0; channel < 3; channel++) {
      const [from, to] = [colours[below], colours[below + 1]].map((hex) =>
        parseInt(hex.slice(1 + 2 * channel, 3 + 2 * channel), 16),
      );
      bytes[4 * i + channel] = from + (place - below) * (to - from);
    }
  }
  return new Uint32Array(bytes.buffer);
}

/** A canvas of one pixel for each frame and row; `low` and `high` in dB take the first and the last colour. */
function paintLevels({ frames, decibels }, colours, low, high) {
  const canvas = element("canvas", { width: frames, height: ROWS });
  const context = canvas.getContext("2d");
  const image = context.createImageData(frames, ROWS);
  const pixels = new Uint32Array(image.data.buffer);
  const table = colourTable(colours);
  for (let frame = 0; frame < frames; frame++) {
    for (let row = 0; row < ROWS; row++) {
      const share = (decibels[frame * ROWS + row] - low) / (high - low);
      pixels[(ROWS - 1 - row) * frames + frame] = table[Math.round(255 * Math.min(Math.max(share, 0), 1))];
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** The colours between two levels, for the legend. */
function colourBar(colours, low, high) {
  const bar = element("span", { className: "bar" });
  bar.style.background = `linear-gradient(to right, ${colours.join(", ")})`;
  return element("span", {}, `${fixed(low, 0)} `, bar, ` ${signed(high, 0)} dB`);
}

class Picture {
  #canvas = element("canvas");
  #plot = element("div", { className: "plot" }, this.#canvas);
  #times = element("div", { className: "times" });
  #axes;
  #view;
  #paint = () => {};

  /**
   * @param {string} label for those who do not see it
   * @param {View} view what is shown; after a change it is to be drawn again
   * @param {HTMLElement[]} ticks of the vertical axis, from bottom to top
   * @param {{seek: function(number), drag: function(number, number), select: function(number, number),
   *   wheel: function(WheelEvent, number)}} on a click, while a region is drawn, when it is, at a turn of the wheel; in
   *   seconds
   */
  constructor(label, view, ticks, on) {
    this.#view = view;
    this.#canvas.role = "img";
    this.#canvas.ariaLabel = label;
    this.#plot.append(element("div", { className: "region" }), element("div", { className: "cursor" }));
    const vertical = element("div", { className: "ticks" }, ...ticks);
    this.#axes = element("div", { className: "axes" }, this.#plot, vertical, this.#times);
    this.#listen(on);
    new ResizeObserver(() => this.draw()).observe(this.#plot);
  }

  get node() {
    return this.#axes;
  }

  /** @param {function(CanvasRenderingContext2D, number, number)} paint draws into width × height */
  show(paint) {
    this.#paint = paint;
    this.draw();
  }

  draw() {
    const scale = window.devicePixelRatio;
    const { clientWidth: width, clientHeight: height } = this.#plot;
    if (!width) return;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    const context = this.#canvas.getContext("2d");
    context.setTransform(this.#canvas.width / width, 0, 0, this.#canvas.height / height, 0, 0);
    this.#paint(context, width, height);
    this.#times.replaceChildren(...timeTicks(this.#view, width));
  }

  #listen(on) {
    let begin = null;
    const dragged = (event) => Math.abs(event.clientX - begin) >= DRAG_PIXELS;
    this.#plot.onpointerdown = (event) => {
      if (event.button !== 0) return;
      begin = event.clientX;
      this.#plot.setPointerCapture(event.pointerId);
    };
    this.#plot.onpointermove = (event) => {
      if (begin !== null && dragged(event)) on.drag(...this.#between(begin, event));
    };
    this.#plot.onpointerup = (event) => {
      if (begin === null) return;
      if (dragged(event)) on.select(...this.#between(begin, event));
      else on.seek(this.#seconds(event.clientX));
      begin = null;
    };
    this.#plot.onpointercancel = () => (begin = null);
    this.#plot.addEventListener("wheel", (event) => on.wheel(event, this.#seconds(event.clientX)), { passive: false });
  }

  #between(begin, event) {
    return [this.#seconds(begin), this.#seconds(event.clientX)].sort((a, b) => a - b);
  }

  #seconds(clientX) {
    const { left, width } = this.#plot.getBoundingClientRect();
    return this.#view.seconds((clientX - left) / width);
  }
}

/** The vertical axis of a spectrogram. */
function hertzTicks(sampleRate) {
  return HERTZ_TICKS.filter((tick) => tick < 0.45 * sampleRate).map((tick) => {
    const node = element("span", {}, tick < 1000 ? `${tick} Hz` : `${tick / 1000} kHz`);
    node.style.bottom = `${100 * axisShare(tick, sampleRate)}%`;
    return node;
  });
}

/** The horizontal axis: round times, as many as have room. */
function timeTicks(view, width) {
  const step = SECONDS_STEPS.find((one) => view.length / one <= width / TICK_PIXELS) ?? SECONDS_STEPS.at(-1);
  const digits = Math.max(0, Math.ceil(-Math.log10(step)));
  const first = Math.ceil(view.start / step);
  const count = Math.floor(view.end / step) - first + 1;
  return Array.from({ length: count }, (_, i) => {
    const node = element("span", {}, `${((first + i) * step).toFixed(digits)} s`);
    const share = view.share((first + i) * step);
    node.style.left = `${100 * share}%`;
    if (share * width < TICK_PIXELS / 4) node.className = "leftmost";
    else if ((1 - share) * width < TICK_PIXELS / 4) node.className = "rightmost";
    return node;
  });
}

/** A picture of levels, as made by `paintLevels`, of which frame k begins at k · step. */
function drawLevels(context, width, height, { image, view, step }) {
  context.drawImage(image, view.start / step, 0, view.length / step, ROWS, 0, 0, width, height);
}

/** Pitch as a line over the picture, broken where there is no voice. */
function drawPitch(context, width, height, { f0, step, view, sampleRate, colour }) {
  context.beginPath();
  f0.forEach((hertz, i) => {
    if (hertz === null) return;
    const x = view.share(i * step) * width;
    const y = (1 - axisShare(hertz, sampleRate)) * height;
    if (i > 0 && f0[i - 1] !== null) context.lineTo(x, y);
    else context.moveTo(x, y);
  });
  Object.assign(context, { strokeStyle: colour, lineWidth: 1.5, lineJoin: "round", lineCap: "round" });
  context.stroke();
}
