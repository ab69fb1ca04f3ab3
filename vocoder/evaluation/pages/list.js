// The list of utterances: sorted by any column, one of them open.

class UtteranceList {
  #evaluation;
  #rows;
  #order;
  #column = null; // by which it is sorted: {index, descending}; null for the corpus's own order
  #measure;
  #open = 0;
  #table = element("table", { className: "stacked" }, element("thead"), element("tbody"));

  /** Called with the number of the utterance that is chosen. */
  onchoose = () => {};

  constructor(evaluation, node, select) {
    this.#evaluation = evaluation;
    this.#order = evaluation.utterances.map((_, number) => number);
    this.#rows = evaluation.utterances.map((utterance, number) => this.#row(utterance, number));
    const taken = (measure) => this.#systems(measure).length;
    const measures = evaluation.measures.filter(taken);
    select.append(...measures.map((one) => element("option", { value: one.key }, `${one.name}${one.unit && `, ${one.unit}`}`)));
    this.#measure = measures.find((one) => taken(one) > 1) ?? measures[0];
    select.value = this.#measure?.key;
    select.onchange = () => {
      this.#measure = measures.find((one) => one.key === select.value);
      this.#column = null;
      this.#sort();
    };
    node.append(this.#table);
    this.#sort();
  }

  choose(number) {
    this.#open = number;
    this.#rows.forEach((row, i) => (row.ariaCurrent = i === number ? "true" : null));
    this.onchoose(number);
  }

  /** The utterance so many places further down, as the list is sorted now. */
  step(places) {
    const next = this.#order[this.#order.indexOf(this.#open) + places];
    if (next === undefined) return;
    this.choose(next);
    this.#rows[next].scrollIntoView({ block: "nearest" });
  }

  #systems(measure) {
    const has = (system) => this.#evaluation.utterances.some((one) => one.systems[system]?.measures[measure.key] !== undefined);
    return this.#evaluation.systems.filter(has);
  }

  #columns() {
    const figures = this.#measure ? this.#systems(this.#measure) : [];
    return [
      { name: "Utterance", value: (one) => one.id },
      { name: "Seconds", value: (one) => one.seconds, digits: 1 },
      ...figures.map((system) => ({
        name: system,
        value: (one) => one.systems[system]?.measures[this.#measure.key] ?? null,
        digits: this.#measure.digits,
      })),
    ];
  }

  #row(utterance, number) {
    const button = element("button", { type: "button", className: "plain" }, utterance.id);
    const row = element("tr", {}, element("td", {}, button, element("span", { className: "remark" }, utterance.text)));
    row.onclick = () => this.choose(number);
    return row;
  }

  #sort() {
    const columns = this.#columns();
    if (this.#column) {
      const { index, descending } = this.#column;
      const values = this.#evaluation.utterances.map(columns[index].value);
      this.#order.sort((a, b) => compareValues(values[a], values[b], descending) || a - b);
    }
    this.#table.style.setProperty("--columns", columns.length - 1);
    this.#table.tHead.replaceChildren(element("tr", {}, ...columns.map((column, i) => this.#head(column.name, i))));
    for (const number of this.#order) this.#fill(number, columns);
    this.#table.tBodies[0].replaceChildren(...this.#order.map((number) => this.#rows[number]));
  }

  #fill(number, columns) {
    const cells = columns.slice(1).map(({ value, digits }) => {
      const figure = value(this.#evaluation.utterances[number]);
      return element("td", {}, figure === null ? MISSING : fixed(figure, digits));
    });
    this.#rows[number].replaceChildren(this.#rows[number].firstChild, ...cells);
  }

  #head(name, index) {
    const sorted = this.#column?.index === index ? (this.#column.descending ? "descending" : "ascending") : "none";
    const button = element("button", { type: "button", className: "plain" }, name);
    button.onclick = () => {
      this.#column = { index, descending: sorted === "ascending" };
      this.#sort();
      this.#table.tHead.querySelectorAll("button")[index].focus();
    };
    return element("th", { scope: "col", ariaSort: sorted }, button);
  }
}

/** Texts as people sort them, numbers by size, nothing last. */
function compareValues(a, b, descending) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
  return descending ? -order : order;
}
