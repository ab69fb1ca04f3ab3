// One utterance: its versions to hear and to see, and its figures.

const ZOOM = 2; // how much closer at each step

class Panel {
  #evaluation;
  #player;
  #gallery;
  #overview;
  #utterance;
  #number;
  #view = new View(0);
  #region = null; // {start, end} in seconds
  #position = 0; // in seconds, when last looked at
  #node = (id) => document.getElementById(id);

  constructor(evaluation, player) {
    this.#evaluation = evaluation;
    this.#player = player;
    const gestures = {
      seek: (seconds) => this.#seek(seconds),
      drag: (start, end) => this.#showRegion({ start, end }),
      select: (start, end) => this.#choose({ start, end }),
      wheel: (event, seconds) => this.#wheel(event, seconds),
      save: (system) => this.save(system),
    };
    this.#gallery = new Gallery(this.#node("pictures"), this.#node("legend"), evaluation, gestures);
    this.#overview = new Overview(this.#node("overview"), gestures);
    player.onchange = () => this.#refresh();
    for (const name of ["loop", "match", "waveforms", "pitch", "difference"]) {
      this.#node(name).onclick = () => this.press(name);
    }
    this.#node("play").onclick = () => player.toggle();
    this.#node("zoom-in").onclick = () => this.zoomIn();
    this.#node("zoom-out").onclick = () => this.zoomOut();
    this.#node("systems").replaceChildren(...evaluation.systems.map((system, i) => this.#systemButton(system, i)));
    this.#showParts();
  }

  /** Show an utterance and load its sound; if another one was playing, this one does now. */
  async open(number) {
    const { playing, selected } = this.#player;
    this.#player.load([]);
    this.#view = new View(0);
    this.#gallery.show([], this.#view);
    this.#region = null;
    this.#number = number;
    this.#utterance = this.#evaluation.utterances[number];
    this.#write();
    const tracks = await this.#decode(number);
    if (this.#number !== number) return; // yet another was opened meanwhile
    this.#player.load(tracks);
    this.#view = new View(this.#player.duration);
    if (tracks.some(({ name }) => name === selected)) this.#player.select(selected);
    if (playing) this.#player.play();
    this.#gallery.show(tracks, this.#view);
    this.#overview.load(tracks, this.#evaluation.sample_rate, this.#view);
    this.#match();
    this.#repeat();
    this.#refresh();
    this.#draw();
  }

  /** Hear the system of a place in the list, if there is one and it has a copy. */
  select(place) {
    const button = this.#node("systems").children[place];
    if (button && !button.disabled) this.#player.select(this.#evaluation.systems[place]);
  }

  /** Press one of the buttons that stay down: loop, match, waveforms, pitch, difference. */
  press(name) {
    this.#node(name).ariaPressed = `${!this.#pressed(name)}`;
    if (name === "loop") this.#repeat();
    else if (name === "match") this.#match();
    else this.#showParts();
  }

  /** Begin or end the region where the player is. */
  bound(edge) {
    const { position, duration } = this.#player;
    const region = { start: 0, end: duration, ...this.#region, [edge]: position };
    if (region.start >= region.end) Object.assign(region, edge === "start" ? { end: duration } : { start: 0 });
    if (region.start < region.end) this.#choose(region, position);
  }

  /** Closer: to the region if one is chosen, then to where the player is. */
  zoomIn() {
    const { start, end } = this.#region ?? { start: 0, end: Infinity };
    if (end - start < 0.99 * this.#view.length) this.#view.show(start, end);
    else this.#zoom(1 / ZOOM);
    this.#draw();
  }

  zoomOut() {
    this.#zoom(ZOOM);
    this.#draw();
  }

  showAll() {
    this.#view.show(0, this.#player.duration);
    this.#draw();
  }

  /** Hand out a system's file, bit for bit; the one that is heard unless another is named. */
  save(system = this.#player.selected) {
    if (system === null) return;
    const { id, systems } = this.#utterance;
    const [suffix] = systems[system].audio.match(/\.[^.]*$/);
    const name = `${id}.${system}`.replace(/[^\p{L}\p{N}._-]+/gu, "-") + suffix;
    download(name, toBytes(readData(`utterance-${this.#number}`)[system].audio), "application/octet-stream");
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
    const { id, text, speaker, systems } = this.#utterance;
    this.#node("utterance-id").textContent = speaker ? `${id}, voice ${speaker}` : id;
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

  #choose(region, position = region.start) {
    this.#region = region;
    this.#node("loop").ariaPressed = "true";
    this.#repeat();
    this.#player.seek(position);
  }

  #repeat() {
    const { start, end } = this.#region ?? { start: 0, end: this.#player.duration };
    if (this.#pressed("loop") && end > start) this.#player.loop(start, end);
    else this.#player.loop(null);
    this.#showRegion(this.#region);
  }

  #zoom(factor, centre = this.#player.position) {
    const seen = this.#view.start <= centre && centre <= this.#view.end;
    this.#view.zoom(factor, seen ? centre : (this.#view.start + this.#view.end) / 2);
  }

  /** A turn of the wheel with ctrl, which a pinch on a touchpad is too, or sideways; any other scrolls the page. */
  #wheel(event, seconds) {
    const sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
    const along = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (event.ctrlKey) this.#view.zoom(ZOOM ** (event.deltaY / 100), seconds);
    else if (along && !this.#view.whole) this.#view.pan((sideways / 1000) * this.#view.length);
    else return;
    event.preventDefault();
    this.#draw();
  }

  /** Mark a region, or none, in all pictures; not in those that show nothing else. */
  #showRegion(region) {
    for (const [node, view] of this.#views()) {
      const marked = region && (view.start < region.start || region.end < view.end);
      node.style.setProperty("--start", marked ? view.share(region.start) : 0);
      node.style.setProperty("--end", marked ? view.share(region.end) : 0);
    }
  }

  #views() {
    return [
      [this.#node("pictures"), this.#view],
      [this.#node("overview"), new View(this.#player.duration)],
    ];
  }

  #refresh() {
    const { playing, selected } = this.#player;
    this.#node("play").firstChild.textContent = playing ? "Pause" : "Play";
    [...this.#node("systems").children].forEach((button, i) => {
      button.ariaPressed = `${this.#evaluation.systems[i] === selected}`;
    });
    this.#gallery.mark(selected);
    this.#overview.mark(selected);
    this.#follow();
  }

  /** Of the pictures those parts that are wanted. */
  #showParts() {
    for (const name of ["waveforms", "pitch", "difference"]) {
      this.#node("panel").classList.toggle(`with-${name}`, this.#pressed(name));
    }
    this.#gallery.showPitch(this.#pressed("pitch"));
  }

  /** Pictures, after a change of the view. */
  #draw() {
    this.#gallery.draw();
    this.#overview.frame(this.#view);
    this.#node("zoom-out").disabled = this.#view.whole;
    this.#showRegion(this.#region);
    this.#showPosition();
  }

  /** Clock, cursors and view, as long as it plays. A view that looks elsewhere is left alone while nothing moves. */
  #follow() {
    const { position } = this.#player;
    if (position !== this.#position && this.#view.follow(position)) this.#draw();
    this.#position = position;
    this.#showPosition();
    if (this.#player.playing) requestAnimationFrame(() => this.#follow());
  }

  #showPosition() {
    const { position, duration } = this.#player;
    this.#node("time").textContent = `${position.toFixed(3)} / ${duration.toFixed(3)} s`;
    for (const [node, view] of this.#views()) node.style.setProperty("--position", view.share(position));
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
