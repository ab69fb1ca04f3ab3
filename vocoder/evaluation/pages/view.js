// The stretch of an utterance that pictures show: all of it, or closer.

const SHORTEST_VIEW = 0.01; // seconds; of speech at least a period of the pitch

class View {
  /** @param {number} duration in seconds, as are all times here */
  constructor(duration) {
    this.duration = duration;
    this.start = 0;
    this.end = duration;
  }

  get length() {
    return this.end - this.start;
  }

  get whole() {
    return this.length >= this.duration;
  }

  /** Where a time lies: 0 at the left edge, 1 at the right. */
  share(seconds) {
    return this.length ? (seconds - this.start) / this.length : 0;
  }

  seconds(share) {
    return this.start + Math.min(Math.max(share, 0), 1) * this.length;
  }

  /** Show a stretch `factor` times as long, in which `centre` lies where it lay. */
  zoom(factor, centre) {
    const share = Math.min(Math.max(this.share(centre), 0), 1);
    const length = Math.min(Math.max(factor * this.length, SHORTEST_VIEW), this.duration);
    this.#place(centre - share * length, length);
  }

  show(start, end) {
    this.#place(start, Math.min(Math.max(end - start, SHORTEST_VIEW), this.duration));
  }

  pan(seconds) {
    this.#place(this.start + seconds, this.length);
  }

  /** Turn to where a time is seen, if it is not; true if that was so. */
  follow(seconds) {
    const seen = this.start <= seconds && seconds <= this.end;
    if (!seen) this.#place(seconds, this.length);
    return !seen;
  }

  #place(start, length) {
    this.start = Math.min(Math.max(start, 0), this.duration - length);
    this.end = this.start + length;
  }
}
