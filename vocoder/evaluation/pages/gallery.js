// The pictures of an utterance's versions, one below the other, on one scale and one time axis.

const PITCH = { recording: "#ff8c42", copy: "#ffffff" };
const LEVEL_RANGE = 80; // dB, from the loudest bin down
const DIFFERENCE_RANGE = 20; // dB, either way

class Gallery {
  #node;
  #legend;
  #evaluation;
  #gestures;
  #view = new View(0);
  #withPitch = true;
  #top = 0; // dB, the highest level shown
  #entries = []; // {system, figure, pictures: {picture, paint: () => what `Picture.show` takes}[]}

  /** @param {object} gestures as `Picture` takes them; and save: function(string), of a system's sound */
  constructor(node, legend, evaluation, gestures) {
    this.#node = node;
    this.#legend = legend;
    this.#evaluation = evaluation;
    this.#gestures = gestures;
    DARK.addEventListener("change", () => this.#paint());
  }

  /**
   * @param {{name: string, buffer: AudioBuffer, f0: (number|null)[]}[]} tracks none to clear
   * @param {View} view of all pictures
   */
  show(tracks, view) {
    const { sample_rate: rate, mel, systems } = this.#evaluation;
    const versions = tracks.map((track) => {
      const samples = track.buffer.getChannelData(0);
      return { ...track, samples, levels: spectrogram(samples, rate, mel) };
    });
    const recording = versions.find(({ name }) => name === systems[0]);
    const peak = peakOf(versions.map(({ samples }) => samples));
    this.#view = view;
    this.#top = Math.ceil(Math.max(...versions.map(({ levels }) => levels.loudest)));
    this.#entries = versions.flatMap((version) =>
      recording && version !== recording
        ? [this.#version(version, recording, peak), this.#difference(version, recording)]
        : [this.#version(version, null, peak)],
    );
    this.#node.replaceChildren(...this.#entries.map(({ figure }) => figure));
    this.#paint();
  }

  /** After a change of the view. */
  draw() {
    for (const { pictures } of this.#entries) for (const { picture } of pictures) picture.draw();
  }

  /** Lines of F0 over the spectrograms, or none. */
  showPitch(shown) {
    this.#withPitch = shown;
    this.draw();
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

  #version({ name, samples, levels, f0 }, recording, peak) {
    const own = { f0, colour: recording ? PITCH.copy : PITCH.recording };
    const pitches = recording ? [{ f0: recording.f0, colour: PITCH.recording }, own] : [own];
    const range = [this.#top - LEVEL_RANGE, this.#top];
    const spectrum = this.#levels(`Spectrogram of ${name}`, levels, range, () => VIRIDIS, pitches);
    return this.#frame(name, name, "version", [this.#waveform(name, samples, peak), spectrum]);
  }

  #difference(copy, recording) {
    const levels = difference(copy.levels, recording.levels, this.#top - LEVEL_RANGE);
    const label = `Level of ${copy.name} less that of ${recording.name}`;
    const picture = this.#levels(label, levels, [-DIFFERENCE_RANGE, DIFFERENCE_RANGE], differenceColours);
    return this.#frame(copy.name, `${copy.name} − ${recording.name}`, "difference", [picture]);
  }

  #waveform(name, samples, peak) {
    const { sample_rate: sampleRate } = this.#evaluation;
    const picture = new Picture(`Waveform of ${name}`, this.#view, [], this.#gestures);
    picture.node.classList.add("waveform");
    const paint = () => (context, width, height) => {
      const colour = getComputedStyle(picture.node).color;
      drawWaveform(context, width, height, { samples, sampleRate, view: this.#view, peak, colour });
    };
    return { picture, paint };
  }

  #levels(label, levels, [low, high], colours, pitches = []) {
    const { sample_rate: sampleRate, mel, f0_seconds: f0Step } = this.#evaluation;
    const picture = new Picture(label, this.#view, hertzTicks(sampleRate), this.#gestures);
    const view = this.#view;
    const step = mel.hop_length / sampleRate;
    const paint = () => {
      let image = null; // made when it is first seen
      return (context, width, height) => {
        image ??= paintLevels(levels, colours(), low, high);
        drawLevels(context, width, height, { image, view, step });
        for (const one of this.#withPitch ? pitches : [])
          drawPitch(context, width, height, { ...one, step: f0Step, view, sampleRate });
      };
    };
    return { picture, paint };
  }

  #frame(system, title, kind, pictures) {
    const caption = element("figcaption", {}, element("strong", {}, title), element("span", { className: "remark" }));
    if (kind === "version") caption.append(this.#saveButton(system));
    const figure = element("figure", { className: kind }, caption, ...pictures.map(({ picture }) => picture.node));
    return { system, pictures, figure };
  }

  #saveButton(system) {
    const button = element("button", { type: "button", className: "link", ariaLabel: `Save ${system}` }, "Save");
    button.onclick = () => this.#gestures.save(system);
    return button;
  }

  #paint() {
    for (const { pictures } of this.#entries) for (const { picture, paint } of pictures) picture.show(paint());
    this.#legend.replaceChildren(...(this.#entries.length ? this.#legends() : []));
  }

  #legends() {
    const line = (colour, text) => {
      const sample = element("span", { className: "line" });
      sample.style.background = colour;
      return element("span", { className: "pitch" }, sample, text);
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
