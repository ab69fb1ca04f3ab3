// The page of an evaluation: what was found in total, the list of utterances, one of them open, and the keys.

const evaluation = readData("evaluation");
const player = new Player(evaluation.sample_rate);
const panel = new Panel(evaluation, player);
const list = new UtteranceList(evaluation, document.getElementById("utterances"), document.getElementById("measure"));
const help = document.getElementById("help");

const SEEK_SECONDS = { far: 0.5, near: 0.05 };

const KEYS = {
  " ": () => player.toggle(),
  ArrowLeft: (event) => player.seek(player.position - (event.shiftKey ? SEEK_SECONDS.near : SEEK_SECONDS.far)),
  ArrowRight: (event) => player.seek(player.position + (event.shiftKey ? SEEK_SECONDS.near : SEEK_SECONDS.far)),
  ArrowUp: () => list.step(-1),
  ArrowDown: () => list.step(1),
  k: () => list.step(-1),
  j: () => list.step(1),
  l: () => panel.press("loop"),
  m: () => panel.press("match"),
  w: () => panel.press("waveforms"),
  f: () => panel.press("pitch"),
  d: () => panel.press("difference"),
  "[": () => panel.bound("start"),
  "]": () => panel.bound("end"),
  "+": () => panel.zoomIn(),
  "=": () => panel.zoomIn(), // + without shift on many keyboards
  "-": () => panel.zoomOut(),
  0: () => panel.showAll(),
  s: () => panel.save(),
  "?": () => help.showModal(),
};

/** Keys that an element takes for itself. */
function takes(node, key) {
  if (node.matches("select, input")) return true;
  return node.matches("button, summary") && key === " ";
}

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || help.open || takes(target, key)) return;
  const act = /^[1-9]$/.test(key) ? () => panel.select(Number(key) - 1) : KEYS[key];
  if (!act) return;
  event.preventDefault();
  act(event);
});

// What is clicked shall not take the focus, and with it the space bar.
document.addEventListener("mousedown", (event) => {
  if (!event.target.closest("button, summary")) return;
  event.preventDefault();
  document.activeElement.blur();
});

function writeHead() {
  const { model, model_hash: weights, vocoder, corpus, part } = evaluation.facts;
  const count = evaluation.utterances.length;
  const about = [
    `${count} ${count === 1 ? "utterance" : "utterances"} of ${corpus} (${part}), each copied from its mel`,
    weights && `weights ${weights}`,
    vocoder && `vocoder ${vocoder}`,
  ];
  document.getElementById("model").textContent = model;
  document.getElementById("version").textContent = about.filter(Boolean).join(" · ");
  document.getElementById("headline").textContent = evaluation.headline;
  document.getElementById("facts").append(factList(evaluation.facts));
  document.getElementById("totals").append(totalsTable(evaluation));
}

writeHead();
document.getElementById("show-help").onclick = () => help.showModal();
document.getElementById("previous").onclick = () => list.step(-1);
document.getElementById("next").onclick = () => list.step(1);
list.onchoose = (number) => panel.open(number);
if (evaluation.utterances.length) list.choose(0);
