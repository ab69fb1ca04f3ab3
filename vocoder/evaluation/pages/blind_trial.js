// One trial on the screen: what is heard, and how it is rated.

class TrialScreen {
  #test; // {sampleRate, gains: {code: factor}}
  #player;
  #decoded = new Map(); // promises of buffers, by code
  #session = null;
  #shown = 0; // when the trial came onto the screen, or was last kept
  #frame = 0; // in which the position is shown next

  constructor(test) {
    this.#test = test;
    this.#player = new Player(test.sampleRate);
    this.#player.onchange = () => this.#showPlaying();
    $("toggle").onclick = () => this.#toggle();
    $("position").oninput = () => this.#player.seek($("position").valueAsNumber);
  }

  /** Show the session's present trial; nothing can be heard until it is decoded. */
  async show(session) {
    this.#session = session;
    this.#shown = performance.now();
    this.#player.load([]);
    this.#draw();
    $("question").focus({ preventScroll: true });
    const { trial } = session;
    const tracks = await Promise.all(Object.entries(trial.codes).map((entry) => this.#track(...entry)));
    if (this.#session?.trial !== trial) return; // the listener was quicker
    this.#player.load(tracks);
    if (MODES[session.mode].loops) this.#player.loop(0, this.#player.duration);
  }

  /** Keep what there is of the answer, and fall silent. */
  leave() {
    this.keep();
    this.#session = null;
    this.#player.load([]);
  }

  keep() {
    if (!this.#session) return;
    const now = performance.now();
    this.#session.answer.seconds += (now - this.#shown) / 1000;
    this.#shown = now;
    this.#session.keep();
  }

  /** A key that no control has taken; lower case. */
  press(key) {
    const { choices } = MODES[this.#session.mode];
    const chosen = choices && $("ratings").querySelector(`[data-key="${CSS.escape(key)}"]`);
    const sound = choices ? key : key === "0" ? "reference" : key;
    const button = $("trial").querySelector(`[data-sound="${CSS.escape(sound)}" i]`);
    if (key === " ") this.#toggle();
    else if (chosen) focusAndClick(chosen);
    else if (button) {
      focusAndClick(button);
      button.parentElement.querySelector("input:enabled")?.focus();
    }
  }

  async #track(name, code) {
    const { sampleRate, gains } = this.#test;
    if (!this.#decoded.has(code)) {
      this.#decoded.set(code, Player.decode(JSON.parse($(`audio-${code}`).textContent), sampleRate));
    }
    return { name, buffer: await this.#decoded.get(code), gain: gains[code] };
  }

  // What is heard.

  #toggle() {
    if (this.#player.playing) this.#player.pause();
    else if (this.#player.selected) this.#play(this.#player.selected);
  }

  // One press on what is heard stops it; on another goes over to that.
  #play(name) {
    if (!this.#player.duration) return;
    if (this.#player.playing && this.#player.selected === name) return this.#player.pause();
    const { plays } = this.#session.answer;
    plays[name] = (plays[name] ?? 0) + 1;
    this.#player.select(name);
    this.#player.play();
    this.#showAnswer();
  }

  #showPlaying() {
    const { playing, selected, duration, position } = this.#player;
    $("toggle").textContent = playing ? "Pause" : "Play";
    $("toggle").disabled = $("position").disabled = !duration;
    for (const button of $("trial").querySelectorAll("[data-sound]")) {
      button.setAttribute("aria-pressed", playing && button.dataset.sound === selected);
    }
    $("position").max = duration;
    $("position").value = position;
    $("time").textContent = `${position.toFixed(1)} / ${duration.toFixed(1)} s`;
    cancelAnimationFrame(this.#frame);
    if (playing) this.#frame = requestAnimationFrame(() => this.#showPlaying());
  }

  // How it is rated.

  #rate(name, value) {
    this.#session.answer.ratings[name] = value;
    this.keep();
    this.#showAnswer();
  }

  #draw() {
    const { mode, trial } = this.#session;
    const { question, advice, choices, keys } = MODES[mode];
    const rate = (name, value) => this.#rate(name, value);
    const button = (name) => soundButton(name, () => this.#play(name));
    const names = Object.keys(trial.codes);
    $("trial").className = mode;
    $("question").textContent = question;
    $("advice").textContent = advice;
    $("advice").hidden = !advice;
    $("sounds").hidden = names.length === 1; // it has the play button
    $("sounds").replaceChildren(...names.filter((name) => choices || name === "Reference").map(button));
    $("ratings").replaceChildren(
      ...(choices ? choiceButtons(choices, trial.rated[0], rate) : sliders(trial.rated, button, rate)),
    );
    $("keys").replaceChildren(...describeKeys([["Space", "play or pause"], ...keys, ["Enter", "next"]]));
    this.#showAnswer();
  }

  #showAnswer() {
    const { unheard, unrated, answer } = this.#session;
    for (const button of $("trial").querySelectorAll("[data-sound]")) {
      button.classList.toggle("heard", !unheard.includes(button.dataset.sound));
    }
    for (const control of $("ratings").querySelectorAll("input")) {
      showRating(control, answer.ratings[control.name]);
      control.disabled = unheard.length > 0;
    }
    $("next").disabled = unheard.length + unrated.length > 0;
    $("hint").textContent = this.#hint(unheard, unrated);
  }

  #hint(unheard, unrated) {
    const { mode } = this.#session;
    if (unheard.length) return `Please listen first${mode === "mos" ? "" : ` to ${unheard.join(", ")}`}.`;
    return mode === "mushra" && unrated.length ? `Still to rate: ${unrated.join(", ")}.` : "";
  }
}
