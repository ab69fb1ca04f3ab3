// The controls of a trial. Each is named by the sound that it rates.

const $ = (id) => document.getElementById(id);

/** @returns {HTMLElement} of a kind, with properties, attributes and children. */
function make(kind, { dataset = {}, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(kind), properties);
  Object.assign(element.dataset, dataset);
  element.append(...children);
  return element;
}

function soundButton(name, onclick) {
  return make("button", { type: "button", dataset: { sound: name }, onclick }, name);
}

/** One of several, for the one sound that is rated. */
function choiceButtons(choices, sound, rate) {
  return choices.map(({ key, value, text }) => {
    const onchange = () => rate(sound, value);
    const control = make("input", { type: "radio", name: sound, value, onchange, dataset: { key } });
    return make("label", { className: "choice" }, control, make("kbd", {}, key), text);
  });
}

/** A slider beside each sound, below the names of its fifths. */
function sliders(sounds, button, rate) {
  const names = make("div", {}, ...BANDS.map((band) => make("span", {}, band)));
  const bands = make("div", { className: "bands small", ariaHidden: true }, names); // each slider says its own
  return [bands, ...sounds.map((sound) => make("div", { className: "slider" }, button(sound), ...slider(sound, rate)))];
}

function slider(sound, rate) {
  const control = make("input", { type: "range", name: sound, max: 100, ariaLabel: `Quality of ${sound}` });
  // A click where the thumb lies already is a rating, too, but no input.
  control.oninput = control.onclick = () => rate(sound, control.valueAsNumber);
  return [control, make("output", { className: "number" })];
}

/** Bring a control to the rating that was given, or undefined. */
function showRating(control, rating) {
  if (control.type === "radio") control.checked = String(rating) === control.value;
  else {
    control.value = rating ?? 50;
    control.classList.toggle("unrated", rating === undefined);
    control.ariaValueText = rating === undefined ? "not rated" : `${rating}, ${bandOf(rating)}`;
    control.nextElementSibling.textContent = rating ?? "–";
  }
}

function bandOf(rating) {
  return BANDS[Math.min(Math.floor(rating / 20), BANDS.length - 1)];
}

/** @param {string[][]} keys each with what it does */
function describeKeys(keys) {
  return keys.map(([names, text]) => {
    const caps = names.split(" ").map((name) => (name === "…" ? "–" : make("kbd", {}, name)));
    return make("span", {}, ...caps, ` ${text}`);
  });
}

function focusAndClick(control) {
  control.focus();
  control.click();
}

function download(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  make("a", { href: address, download: `${name.replace(/[^\p{L}\p{N}._-]+/gu, "-")}.csv` }).click();
  URL.revokeObjectURL(address);
}
