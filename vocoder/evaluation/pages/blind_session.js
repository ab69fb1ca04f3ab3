// One listener's way through one mode: kept after every step, gone on with after a reload, and told as CSV.

// What the browser keeps for this test; in memory only where it refuses.
class Store {
  #prefix;
  #memory = new Map();
  lasting = true;

  constructor(test) {
    this.#prefix = `vocoder-listening-test/${test}/`;
    this.set("probe", 1);
    this.remove("probe");
  }

  get(key) {
    if (!this.lasting) return this.#memory.get(key) ?? null;
    return JSON.parse(localStorage.getItem(this.#prefix + key));
  }

  set(key, value) {
    this.#memory.set(key, value);
    try {
      if (this.lasting) localStorage.setItem(this.#prefix + key, JSON.stringify(value));
    } catch {
      this.lasting = false;
    }
  }

  remove(key) {
    this.#memory.delete(key);
    if (this.lasting) localStorage.removeItem(this.#prefix + key);
  }
}

class Session {
  static COLUMNS = [
    "test", "mode", "listener", "trial", "utterance", "stimulus", "a", "b", "answer", "seconds", "plays",
  ]; // prettier-ignore

  #store;
  #state; // {seed, at, answers: [{ratings, plays, seconds}]}, by trial; what a reload needs

  /** Begins, or goes on where this listener left off. */
  constructor(store, test, mode, listener) {
    Object.assign(this, { test: test.test, mode, listener });
    this.#store = store;
    this.#state = Session.find(store, mode, listener) ?? {
      seed: crypto.getRandomValues(new Uint32Array(1))[0],
      at: 0,
      answers: [],
    };
    this.trials = layOutTrials(mode, test.trials[mode], this.#state.seed);
    this.keep();
  }

  /** @returns what is kept of a listener, or null. */
  static find(store, mode, listener) {
    return store.get(`${mode}/${listener}`);
  }

  static discard(store, mode, listener) {
    store.remove(`${mode}/${listener}`);
  }

  /** Number of the trial on the screen, from 0; that of trials at the end. */
  get at() {
    return this.#state.at;
  }

  get trial() {
    return this.trials[this.at];
  }

  /** @returns {{ratings: Object, plays: Object, seconds: number}} of the trial on the screen, to be changed in place. */
  get answer() {
    return (this.#state.answers[this.at] ??= { ratings: {}, plays: {}, seconds: 0 });
  }

  get atEnd() {
    return this.at === this.trials.length;
  }

  /** Sounds of the trial that were never played, by which it cannot be rated yet. */
  get unheard() {
    return Object.keys(this.trial.codes).filter((name) => !this.answer.plays[name]);
  }

  get unrated() {
    return this.trial.rated.filter((name) => !(name in this.answer.ratings));
  }

  move(step) {
    this.#state.at += step;
    this.keep();
  }

  keep() {
    this.#store.set(`${this.mode}/${this.listener}`, this.#state);
  }

  /** One row for each rating, in the order of the trials. */
  toCsv() {
    const rows = this.trials.flatMap((trial, i) => this.#rows(trial, i, this.#state.answers[i]));
    return [Session.COLUMNS, ...rows].map((row) => row.map(quote).join(",") + "\n").join("");
  }

  #rows({ utterance, codes, rated }, i, answer) {
    return rated
      .filter((name) => name in (answer?.ratings ?? {}))
      .map((name) => [
        this.test, this.mode, this.listener, i + 1, utterance, codes[name], codes.A ?? "", codes.B ?? "",
        answer.ratings[name], answer.seconds.toFixed(1), answer.plays[name],
      ]); // prettier-ignore
  }
}

function quote(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
