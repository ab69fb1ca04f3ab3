// What each mode asks, and in which order one listener meets it.

const BANDS = ["Bad", "Poor", "Fair", "Good", "Excellent"]; // ITU-T P.800: 1 to 5; ITU-R BS.1534: fifths of 100

const MODES = {
  abx: {
    title: "ABX",
    about: "A and B differ, and X is one of them. Can you tell which?",
    question: "Is X the same as A, or as B?",
    advice: "If you cannot tell, guess.",
    choices: [
      { key: "1", value: "a", text: "X is A" },
      { key: "2", value: "b", text: "X is B" },
    ],
    loops: true,
    keys: [["A B X", "listen"], ["1 2", "choose"]], // prettier-ignore
    layOut: ({ stimuli }, random) => {
      const [a, b] = shuffle(stimuli, random);
      return { A: a, B: b, X: random() < 0.5 ? a : b };
    },
  },
  mos: {
    title: "Opinion",
    about: "One recording at a time. How good is it?",
    question: "How good is the quality of this speech?",
    advice: "",
    choices: BANDS.map((text, i) => ({ key: `${i + 1}`, value: i + 1, text })).reverse(),
    loops: false,
    keys: [["1 … 5", "choose"]],
    layOut: ({ stimuli }) => ({ Speech: stimuli[0] }),
  },
  mushra: {
    title: "Comparison",
    about: "Several versions of one recording beside a reference. How good is each?",
    question: "How good is each version, compared with the reference?",
    advice: "One of them is the reference itself, and deserves 100.",
    choices: null, // sliders instead
    loops: true,
    keys: [["0", "reference"], ["1 … 9", "version"], ["← →", "rate it"]], // prettier-ignore
    layOut: ({ reference, stimuli }, random) => {
      const versions = shuffle(stimuli, random).map((code, i) => [`${i + 1}`, code]);
      return { ...Object.fromEntries(versions), Reference: reference };
    },
  },
};

/**
 * @param {string} mode
 * @param {{utterance: string, stimuli: string[], reference: ?string}[]} trials as they stand in the page
 * @param {number} seed of all that is random
 * @returns {{utterance: string, codes: Object<string, string>, rated: string[]}[]} codes by the name on the screen
 */
function layOutTrials(mode, trials, seed) {
  const random = randomNumbers(seed);
  return shuffle(trials, random).map((trial) => {
    const codes = MODES[mode].layOut(trial, random);
    const rated = mode === "abx" ? ["X"] : Object.keys(codes).filter((name) => name !== "Reference");
    return { utterance: trial.utterance, codes, rated };
  });
}

// Fisher and Yates.
function shuffle(items, random) {
  const shuffled = [...items];
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [shuffled[last], shuffled[other]] = [shuffled[other], shuffled[last]];
  }
  return shuffled;
}

// Mulberry32: uniform in [0, 1), the same for the same seed. Math.random takes none.
function randomNumbers(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}
