// What was evaluated, and the figures: in total, and of one utterance.

const ARROWS = { low: ["↓", "lower is better"], high: ["↑", "higher is better"], zero: ["→ 0", "nearer to zero is better"] };

/** Facts as terms and values; what was left out, with its reasons. */
function factList(facts) {
  const words = (value) => {
    if (value === null || value === "" || value.length === 0) return MISSING;
    if (Array.isArray(value)) return value.join(", ");
    return typeof value === "object" ? Object.entries(value).map((pair) => pair.join(": ")).join("; ") || MISSING : `${value}`;
  };
  const rows = Object.entries(facts).map(([name, value]) =>
    element("div", {}, element("dt", {}, name.replaceAll("_", " ")), element("dd", {}, words(value))),
  );
  return element("dl", {}, ...rows);
}

/** Means over all utterances with their intervals, the best of each row marked. */
function totalsTable({ measures, systems, totals, utterances }) {
  const cell = (measure, system) => {
    const total = totals[system]?.[measure.key];
    if (!total) return null;
    if (total.mean === null) return { value: null, remark: firstProblem(utterances, system, measure.key) };
    const bounds = total.low === null ? [] : [total.low, total.high];
    const interval = bounds.map((bound) => fixed(bound, measure.digits)).join(" … ");
    const { mean: value, missing } = total;
    return { value, missing, interval: missing ? `${interval} (${missing} n/a)` : interval };
  };
  return measureTable(measures, systems, cell);
}

/** The figures of one utterance. */
function utteranceTable({ measures, systems }, utterance) {
  const cell = (measure, system) => {
    const value = utterance.systems[system]?.measures[measure.key];
    return value === undefined ? null : { value };
  };
  return measureTable(measures, systems, cell);
}

function firstProblem(utterances, system, key) {
  return utterances.map((one) => one.systems[system]?.problems[key]).find(Boolean) ?? "";
}

/**
 * Rows are measures, columns those systems that have any.
 *
 * @param {function(object, string): ?{value: ?number, interval?: string, remark?: string, missing?: number}} cell of a
 *   measure and a system
 */
function measureTable(measures, systems, cell) {
  const shown = systems.filter((system) => measures.some((measure) => cell(measure, system)));
  const rows = measures.flatMap((measure) => {
    const cells = shown.map((system) => cell(measure, system));
    if (!cells.some(Boolean)) return [];
    const best = bestOf(cells, measure);
    return element("tr", {}, measureHead(measure), ...cells.map((one) => figure(one, measure.digits, best === one)));
  });
  const heads = shown.map((system) => element("th", { scope: "col" }, system));
  const corner = element("td", {}, element("span", { className: "unseen" }, "Measure"));
  const head = element("thead", {}, element("tr", {}, corner, ...heads));
  const table = element("table", { className: "measures stacked" }, head, element("tbody", {}, ...rows));
  table.style.setProperty("--columns", shown.length);
  return element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Measures" }, table);
}

/**
 * The best cell; null where there is nothing to choose from, or two look alike. A mean over fewer utterances than
 * another's does not count: they may be the easy ones.
 */
function bestOf(cells, { better, digits }) {
  const given = cells.filter((one) => one && one.value !== null);
  const fewest = Math.min(...given.map(({ missing = 0 }) => missing));
  const cost = ({ value }) => ({ low: 1, high: -1, zero: Math.sign(value) })[better] * Number(value.toFixed(digits));
  const [first, second] = given.filter(({ missing = 0 }) => missing === fewest).sort((a, b) => cost(a) - cost(b));
  return second && cost(first) < cost(second) ? first : null;
}

function measureHead(measure) {
  const [arrow, meaning] = ARROWS[measure.better];
  const summary = element(
    "summary",
    {},
    measure.name,
    element("span", { className: "faint" }, ` ${measure.unit} `),
    element("span", { className: "arrow", role: "img", ariaLabel: meaning, title: meaning }, arrow),
  );
  const about = element("p", { className: "about" }, measure.about);
  return element("th", { scope: "row" }, element("details", {}, summary, about));
}

function figure(one, digits, best) {
  if (!one) return element("td", { className: "faint" }, MISSING);
  const value = element(best ? "strong" : "span", {}, one.value === null ? "n/a" : fixed(one.value, digits));
  if (best) value.prepend(element("span", { className: "best", role: "img", ariaLabel: "best", title: "best" }, "★"));
  const interval = one.interval === undefined ? [] : [" ", element("span", { className: "interval" }, one.interval)];
  const remark = one.remark ? [element("span", { className: "remark" }, one.remark)] : [];
  return element("td", {}, value, ...interval, ...remark);
}
