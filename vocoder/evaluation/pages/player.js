// Several versions of one recording on one clock: all play at once, one is heard. Switching keeps the position to the
// sample. Tracks are of equal length.

class Player {
  // In gains, and where playing begins and ends, so that nothing clicks. Versions of one recording are alike, so gains
  // that add up to one (rather than powers) keep the level on the way from one to another.
  static #FADE_SECONDS = 0.01;

  // From the call to the first sample, so that all tracks are ready and begin in the same one.
  static #LEAD_SECONDS = 0.02;

  #sampleRate;
  #context = null;
  #tracks = [];
  #selected = null;
  #position = 0; // while it rests
  #run = null; // while it plays: {when, from, sources, gains, output}
  #region = null; // {start, end}, repeated

  /** Called without arguments at play, pause, end, select and seek. */
  onchange = () => {};

  /** @param {number} sampleRate in Hz, of all tracks */
  constructor(sampleRate) {
    this.#sampleRate = sampleRate;
  }

  /** @returns {Promise<AudioBuffer>} of a whole audio file in base64, at sampleRate. */
  static async decode(base64, sampleRate) {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    return new OfflineAudioContext(1, 1, sampleRate).decodeAudioData(bytes.buffer);
  }

  /** @param {{name: string, buffer: AudioBuffer, gain: number}[]} tracks gain is a factor, not dB */
  load(tracks) {
    this.#halt();
    this.#tracks = tracks.map((track) => ({ ...track }));
    this.#selected = tracks.length ? tracks[0].name : null;
    this.#position = 0;
    this.#region = null;
    this.onchange();
  }

  get playing() {
    return this.#run !== null;
  }

  get selected() {
    return this.#selected;
  }

  /** In seconds. */
  get duration() {
    return Math.max(0, ...this.#tracks.map((track) => track.buffer.duration));
  }

  /** In seconds. */
  get position() {
    return this.#run ? this.#positionAt(this.#context.currentTime) : this.#position;
  }

  /** To be called first from a click or a key: browsers allow no sound before. */
  play() {
    if (this.#run || !this.#tracks.length) return;
    this.#context ??= new AudioContext({ sampleRate: this.#sampleRate });
    if (this.#context.state !== "running") this.#context.resume();
    this.#begin(this.#position >= this.duration ? 0 : this.#position);
    this.onchange();
  }

  pause() {
    if (!this.#run) return;
    this.#position = this.position;
    this.#halt();
    this.onchange();
  }

  toggle() {
    if (this.#run) this.pause();
    else this.play();
  }

  seek(seconds) {
    this.#position = Math.min(Math.max(seconds, 0), this.duration);
    if (this.#run) this.#begin(this.#position);
    this.onchange();
  }

  select(name) {
    if (!this.#tracks.some((track) => track.name === name)) throw new RangeError(`There is no track ${name}.`);
    this.#selected = name;
    this.#fadeGains();
    this.onchange();
  }

  /** @param {Object<string, number>} gains by track; the others' stay */
  setGains(gains) {
    for (const track of this.#tracks) track.gain = gains[track.name] ?? track.gain;
    this.#fadeGains();
  }

  /** Repeat what lies between, or nothing: loop(null). */
  loop(startSeconds, endSeconds) {
    const reached = this.#run && this.#positionAt(this.#nextStart());
    this.#region =
      startSeconds === null ? null : { start: this.#onSample(startSeconds), end: this.#onSample(endSeconds) };
    if (this.#run) this.#begin(reached);
  }

  #begin(seconds) {
    const when = this.#nextStart();
    const region = this.#region;
    const inside = !region || (region.start <= seconds && seconds < region.end);
    const from = this.#onSample(inside ? seconds : region.start);
    this.#halt(when);

    const output = this.#fader(0, this.#context.destination);
    output.gain.setTargetAtTime(1, when, Player.#FADE_SECONDS / 4);
    const gains = this.#tracks.map((track) => this.#fader(this.#audibleGain(track), output));
    const sources = this.#tracks.map((track, i) => {
      const source = new AudioBufferSourceNode(this.#context, { buffer: track.buffer });
      if (region) Object.assign(source, { loop: true, loopStart: region.start, loopEnd: region.end });
      source.connect(gains[i]);
      source.start(when, from);
      return source;
    });
    this.#run = { when, from, sources, gains, output };
    sources[0].onended = () => this.#end(sources);
  }

  #halt(when = this.#context?.currentTime) {
    if (!this.#run) return;
    const { sources, output } = this.#run;
    this.#run = null;
    output.gain.setTargetAtTime(0, when, Player.#FADE_SECONDS / 4);
    for (const source of sources) source.stop(when + 2 * Player.#FADE_SECONDS);
    sources[0].onended = () => output.disconnect();
  }

  #end(sources) {
    if (this.#run?.sources !== sources) return;
    this.#run.output.disconnect();
    this.#run = null;
    this.#position = this.duration;
    this.onchange();
  }

  #fadeGains() {
    this.#run?.gains.forEach((node, i) => {
      const gain = this.#audibleGain(this.#tracks[i]);
      node.gain.setTargetAtTime(gain, this.#context.currentTime, Player.#FADE_SECONDS / 4);
    });
  }

  #audibleGain(track) {
    return track.name === this.#selected ? track.gain : 0;
  }

  #fader(gain, destination) {
    const node = new GainNode(this.#context, { gain });
    node.connect(destination);
    return node;
  }

  #positionAt(time) {
    const { when, from } = this.#run;
    const reached = from + Math.max(0, time - when);
    if (!this.#region || reached < this.#region.end) return Math.min(reached, this.duration);
    const { start, end } = this.#region;
    return start + ((reached - start) % (end - start));
  }

  #nextStart() {
    return this.#onSample(this.#context.currentTime + Player.#LEAD_SECONDS);
  }

  // Between samples a browser would interpolate, and dull the sound.
  #onSample(seconds) {
    return Math.round(seconds * this.#sampleRate) / this.#sampleRate;
  }
}
