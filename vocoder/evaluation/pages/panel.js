// One utterance: its versions to hear and to see, and its figures.

class Panel {
  #evaluation;
  #player;
  #gallery;
  #utterance;
  #region = null; // {start, end} in seconds
  #node = (id) => document.getElementById(id);

  constructor(evaluation, player) {
    this.#evaluation = evaluation;
    this.#player = player;
    this.#gallery = new Gallery(this.#node("pictures"), this.#node("legend"), evaluation, {
      seek: (seconds) => this.#seek(seconds),
      drag: (start, end) => this.#showRegion({ start, end }),
      select: (start, end) => this.#choose({ start, end }),
    });
    player.onchange = () => this.#refresh();
    for (const name of ["loop", "match", "difference"]) this.#node(name).onclick = () => this.press(name);
    this.#node("play").onclick = () => player.toggle();
    this.#node("systems").replaceChildren(...evaluation.systems.map((system, i) => this.#systemButton(system, i)));
  }

  /** Show an utterance and load its sound; if another one was playing, this one does now. */
  async open(number) {
    const { playing, selected } = this.#player;
    this.#player.load([]);
    this.#gallery.show([]);
    this.#region = null;
    this.#utterance = this.#evaluation.utterances[number];
    this.#write();
    const tracks = await this.#decode(number);
    if (this.#utterance !== this.#evaluation.utterances[number]) return; // yet another was opened meanwhile
    this.#player.load(tracks);
    if (tracks.some(({ name }) => name === selected)) this.#player.select(selected);
    if (playing) this.#player.play();
    this.#gallery.show(tracks);
    this.#match();
    this.#repeat();
    this.#refresh();
  }

  /** Hear the system of a place in the list, if there is one and it has a copy. */
  select(place) {
    const button = this.#node("systems").children[place];
    if (button && !button.disabled) this.#player.select(this.#evaluation.systems[place]);
  }

  /** Press one of the buttons that stay down: loop, match, difference. */
  press(name) {
    this.#node(name).ariaPressed = `${!this.#pressed(name)}`;
    ({ loop: () => this.#repeat(), match: () => this.#match(), difference: () => this.#refresh() })[name]();
  }

  #pressed(name) {
    return this.#node(name).ariaPressed === "true";
  }

  #systemButton(system, place) {
    const key = element("kbd", {}, `${place + 1}`);
    const button = element("button", { type: "button", ariaPressed: "false" }, key, ` ${system}`);
    button.onclick = () => this.#player.select(system);
    return button;
  }

  #write() {
    const { id, seconds, text, systems } = this.#utterance;
    this.#node("utterance-id").textContent = id;
    this.#node("utterance-seconds").textContent = `${fixed(seconds, 2)} s`;
    this.#node("utterance-text").textContent = text;
    this.#node("utterance-measures").replaceChildren(utteranceTable(this.#evaluation, this.#utterance));
    this.#writeProblems(this.#problems());
    this.#evaluation.systems.forEach((system, i) => {
      this.#node("systems").children[i].disabled = !systems[system]?.audio;
    });
  }

  #writeProblems(lines) {
    this.#node("problems").replaceChildren(...lines.map((line) => element("li", {}, line)));
  }

  #problems() {
    const { measures, systems } = this.#evaluation;
    const names = new Map(measures.map(({ key, name }) => [key, name]));
    return systems.flatMap((system) => {
      const { audio = null, problems = {} } = this.#utterance.systems[system] ?? {};
      const entries = Object.entries(audio === null ? { audio: "it is missing.", ...problems } : problems);
      return entries.map(([key, problem]) => `${system}, ${names.get(key) ?? "copy"}: ${problem}`);
    });
  }

  async #decode(number) {
    const sound = readData(`utterance-${number}`);
    const { systems, sample_rate: rate } = this.#evaluation;
    const names = systems.filter((system) => sound[system]);
    const buffers = await Promise.all(names.map((name) => Player.decode(sound[name].audio, rate)));
    return names.map((name, i) => ({ name, buffer: buffers[i], gain: 1, f0: sound[name].f0 }));
  }

  #match() {
    const gains = matchedGains(this.#utterance.systems, this.#pressed("match"));
    this.#player.setGains(gains);
    for (const [system, { loudness }] of Object.entries(this.#utterance.systems)) {
      const level = loudness === null ? "loudness n/a" : `${fixed(loudness, 1)} LUFS`;
      const decibels = fixed(20 * Math.log10(gains[system]), 1);
      const change = Number(gains[system].toFixed(2)) < 1 ? `, played ${decibels} dB` : "";
      this.#gallery.remark(system, level + change);
    }
  }

  #seek(seconds) {
    const { start, end } = this.#region ?? { start: 0, end: Infinity };
    if (seconds < start || seconds >= end) this.#region = null;
    this.#repeat();
    this.#player.seek(seconds);
  }

  #choose(region) {
    this.#region = region;
    this.#node("loop").ariaPressed = "true";
    this.#repeat();
    this.#player.seek(region.start);
  }

  #repeat() {
    const { start, end } = this.#region ?? { start: 0, end: this.#player.duration };
    if (this.#pressed("loop") && end > start) this.#player.loop(start, end);
    else this.#player.loop(null);
    this.#showRegion(this.#region ?? { start: 0, end: 0 });
  }

  #showRegion({ start, end }) {
    this.#node("pictures").style.setProperty("--start", start / this.#player.duration);
    this.#node("pictures").style.setProperty("--end", end / this.#player.duration);
  }

  #refresh() {
    const { playing, selected } = this.#player;
    this.#node("play").firstChild.textContent = playing ? "Pause" : "Play";
    [...this.#node("systems").children].forEach((button, i) => {
      button.ariaPressed = `${this.#evaluation.systems[i] === selected}`;
    });
    this.#gallery.mark(selected);
    this.#node("panel").classList.toggle("with-differences", this.#pressed("difference"));
    this.#follow();
  }

  /** Clock and cursors, as long as it plays. */
  #follow() {
    const { position, duration, playing } = this.#player;
    this.#node("time").textContent = `${position.toFixed(3)} / ${duration.toFixed(3)} s`;
    this.#node("pictures").style.setProperty("--position", duration ? position / duration : 0);
    if (playing) requestAnimationFrame(() => this.#follow());
  }
}

/** Down to the quietest, so that nothing is clipped; as they are, if not to be matched. */
function matchedGains(systems, match) {
  const loudness = Object.entries(systems).map(([name, output]) => [name, output.loudness]);
  const quietest = Math.min(...loudness.map(([, lufs]) => lufs ?? Infinity));
  return Object.fromEntries(
    loudness.map(([name, lufs]) => [name, match && lufs !== null ? 10 ** ((quietest - lufs) / 20) : 1]),
  );
}
