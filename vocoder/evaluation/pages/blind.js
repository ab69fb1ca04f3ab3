// The test as one sees it: an overview of the modes, one trial after the other, and the end.

class BlindTest {
  #test; // {test, sampleRate, trials: {mode: […]}, gains: {code: factor}}
  #store;
  #screen;
  #session = null;

  constructor(test) {
    this.#test = test;
    this.#store = new Store(test.test);
    this.#screen = new TrialScreen(test);
    this.#listen();
    const current = this.#store.get("current");
    if (current && this.#modes.includes(current.mode)) this.#open(current.mode, current.listener);
    else this.#showOverview();
  }

  // Those that the address asks for, as in blind.html#mos, of those that have trials.
  get #modes() {
    const asked = location.hash.slice(1);
    return Object.keys(MODES).filter((mode) => this.#test.trials[mode].length && (!(asked in MODES) || asked === mode));
  }

  get #listener() {
    return $("listener").value.trim() || $("listener").placeholder;
  }

  #listen() {
    $("listener").placeholder = `listener-${crypto.getRandomValues(new Uint16Array(1))[0].toString(16)}`;
    $("listener").oninput = () => this.#drawCards();
    $("trial").onsubmit = (event) => {
      event.preventDefault(); // nothing is sent anywhere
      this.#move(1);
    };
    $("back").onclick = $("revise").onclick = () => this.#move(-1);
    $("close").onclick = onhashchange = () => this.#close();
    $("download").onclick = () => download(`${this.#session.mode}-${this.#session.listener}`, this.#session.toCsv());
    onkeydown = (event) => this.#press(event);
    onpagehide = () => this.#screen.keep();
  }

  #press(event) {
    const { target, key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || $("trial").hidden) return;
    const takers = { " ": "button, input[type=radio]:not(:checked)", Enter: "button" }; // for which the key has a use
    if (key in takers) {
      if (target.matches(takers[key])) return;
      event.preventDefault();
    }
    if (key === "Enter") $("next").click();
    else this.#screen.press(key.toLowerCase());
  }

  // The overview.

  #showOverview() {
    this.#show("start");
    this.#drawCards();
  }

  #show(section) {
    for (const id of ["start", "trial", "end"]) $(id).hidden = id !== section;
    $("session").hidden = section === "start";
    $("unkept").hidden = this.#store.lasting;
  }

  #drawCards() {
    $("modes").replaceChildren(...this.#modes.map((mode) => this.#card(mode)));
  }

  #card(mode) {
    const card = $("mode").content.cloneNode(true);
    const part = (name) => card.querySelector(`.${name}`);
    const count = this.#test.trials[mode].length;
    const begun = Session.find(this.#store, mode, this.#listener);
    const { title, about } = MODES[mode];
    part("title").textContent = title;
    part("about").textContent = about;
    part("count").textContent = `${begun?.at ?? 0} of ${count} done`;
    part("begin").textContent = begun ? "Go on" : "Begin";
    part("begin").onclick = () => this.#open(mode, this.#listener);
    part("discard").hidden = !begun;
    part("discard").onclick = () => this.#discard(mode);
    return card;
  }

  #discard(mode) {
    if (!confirm(`Discard ${this.#listener}’s answers to “${MODES[mode].title}”?`)) return;
    Session.discard(this.#store, mode, this.#listener);
    this.#drawCards();
  }

  // A session.

  #open(mode, listener) {
    this.#session = new Session(this.#store, this.#test, mode, listener);
    this.#store.set("current", { mode, listener });
    $("listener").value = listener;
    this.#showTrial();
  }

  #close() {
    this.#screen.leave();
    this.#session = null;
    this.#store.remove("current");
    this.#showOverview();
  }

  #move(step) {
    this.#screen.leave();
    this.#session.move(step);
    this.#showTrial();
  }

  #showTrial() {
    const { mode, at, trials, atEnd } = this.#session;
    $("count").textContent = `${MODES[mode].title}: ${at + 1} of ${trials.length}`;
    Object.assign($("progress"), { max: trials.length, value: at });
    $("back").disabled = at === 0;
    this.#show(atEnd ? "end" : "trial");
    if (!atEnd) this.#screen.show(this.#session);
  }
}

new BlindTest(JSON.parse($("test").textContent));
