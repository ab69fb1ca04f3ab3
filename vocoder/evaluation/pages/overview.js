// The whole utterance as it is heard, as a waveform, however close the pictures below look: what they show is framed.

class Overview {
  #node;
  #gestures;
  #picture = null;
  #paint = () => {};
  #frame = element("div", { className: "frame" });
  #samples = {}; // by system
  #heard = null;

  /** @param {object} gestures as `Picture` takes them */
  constructor(node, gestures) {
    this.#node = node;
    this.#gestures = gestures;
    DARK.addEventListener("change", () => this.#picture?.draw());
  }

  /** @param {{name: string, buffer: AudioBuffer}[]} tracks */
  load(tracks, sampleRate, view) {
    this.#samples = Object.fromEntries(tracks.map(({ name, buffer }) => [name, buffer.getChannelData(0)]));
    const whole = new View(view.duration);
    const peak = peakOf(Object.values(this.#samples));
    this.#picture = new Picture("Waveform of the version that is heard", whole, [], this.#gestures);
    this.#picture.node.querySelector(".plot").append(this.#frame);
    this.#node.replaceChildren(this.#picture.node);
    this.#heard = null;
    this.frame(view);
    this.#paint = (context, width, height) => {
      const samples = this.#samples[this.#heard];
      const colour = getComputedStyle(this.#node).color;
      if (samples) drawWaveform(context, width, height, { samples, sampleRate, view: whole, peak, colour });
    };
  }

  /** Show the version that is heard. */
  mark(heard) {
    if (heard === this.#heard) return;
    this.#heard = heard;
    this.#picture?.show(this.#paint);
  }

  /** Frame what the pictures show. */
  frame(view) {
    this.#frame.hidden = view.whole;
    this.#frame.style.left = `${(100 * view.start) / view.duration}%`;
    this.#frame.style.width = `${(100 * view.length) / view.duration}%`;
  }
}
