// The pictures of an utterance's versions, one below the other, on one scale and one time axis.

const PITCH = { recording: "#e8590c", copy: "#ffffff" };
const LEVEL_RANGE = 80; // dB, from the loudest bin down
const DIFFERENCE_RANGE = 20; // dB, either way

class Gallery {
  #node;
  #legend;
  #evaluation;
  #gestures;
  #top = 0; // dB, the highest level shown
  #entries = []; // {system, figure, picture, levels, low, high, colours, pitches}

  /** @param {object} gestures as `Picture` takes them */
  constructor(node, legend, evaluation, gestures) {
    this.#node = node;
    this.#legend = legend;
    this.#evaluation = evaluation;
    this.#gestures = gestures;
    DARK.onchange = () => this.#paint();
  }

  /** @param {{name: string, buffer: AudioBuffer, f0: (number|null)[]}[]} tracks none to clear */
  show(tracks) {
    const { sample_rate: rate, mel, systems } = this.#evaluation;
    const versions = tracks.map((track) => ({
      ...track,
      levels: spectrogram(track.buffer.getChannelData(0), rate, mel),
    }));
    const recording = versions.find(({ name }) => name === systems[0]);
    this.#top = Math.ceil(Math.max(...versions.map(({ levels }) => levels.loudest)));
    this.#entries = versions.flatMap((version) =>
      recording && version !== recording
        ? [this.#spectrogram(version, recording), this.#difference(version, recording)]
        : [this.#spectrogram(version, null)],
    );
    this.#node.replaceChildren(...this.#entries.map(({ figure }) => figure));
    this.#paint();
  }

  /** Mark the version that is heard. */
  mark(heard) {
    for (const { system, figure } of this.#entries) figure.classList.toggle("heard", system === heard);
  }

  /** What is said beside a version's name. */
  remark(system, text) {
    const own = this.#entries.find((entry) => entry.system === system);
    if (own) own.figure.querySelector(".remark").textContent = text;
  }

  #spectrogram({ name, buffer, levels, f0 }, recording) {
    const own = { f0, colour: PITCH.copy, thickness: 1.5 };
    const given = { f0: recording ? recording.f0 : f0, colour: PITCH.recording, thickness: 4 }; // shines out below
    const pitches = recording ? [given, own] : [given];
    const frame = this.#frame(name, name, `Spectrogram of ${name}`, buffer.duration);
    return { ...frame, levels, low: this.#top - LEVEL_RANGE, high: this.#top, colours: () => VIRIDIS, pitches };
  }

  #difference(copy, recording) {
    const levels = difference(copy.levels, recording.levels, this.#top - LEVEL_RANGE);
    const label = `Level of ${copy.name} less that of ${recording.name}`;
    const frame = this.#frame(copy.name, `${copy.name} − ${recording.name}`, label, copy.buffer.duration);
    frame.figure.classList.add("difference");
    return { ...frame, levels, low: -DIFFERENCE_RANGE, high: DIFFERENCE_RANGE, colours: differenceColours, pitches: [] };
  }

  #frame(system, title, label, duration) {
    const picture = new Picture(label, duration, this.#evaluation.sample_rate, this.#gestures);
    const caption = element("figcaption", {}, element("strong", {}, title), element("span", { className: "remark" }));
    return { system, picture, figure: element("figure", {}, caption, picture.node) };
  }

  #paint() {
    const { sample_rate: sampleRate, mel, f0_seconds: step } = this.#evaluation;
    for (const { picture, levels, low, high, colours, pitches } of this.#entries) {
      const image = paintLevels(levels, colours(), low, high);
      const { duration } = picture;
      const share = (levels.frames * mel.hop_length) / sampleRate / duration; // the last frame may reach beyond the end
      picture.show((context, width, height) => {
        context.drawImage(image, 0, 0, width * share, height);
        for (const pitch of pitches) drawPitch(context, width, height, { ...pitch, step, duration, sampleRate });
      });
    }
    this.#legend.replaceChildren(...(this.#entries.length ? this.#legends() : []));
  }

  #legends() {
    const line = (colour, text) => {
      const sample = element("span", { className: "line" });
      sample.style.background = colour;
      return element("span", {}, sample, text);
    };
    const difference = colourBar(differenceColours(), -DIFFERENCE_RANGE, DIFFERENCE_RANGE);
    difference.className = "difference";
    return [
      colourBar(VIRIDIS, this.#top - LEVEL_RANGE, this.#top),
      difference,
      line(PITCH.recording, "F0 of the recording"),
      line(PITCH.copy, "of a copy"),
    ];
  }
}
