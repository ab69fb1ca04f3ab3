// Small things that all parts of a page use.

const MISSING = "–";

/** An element with properties and children. Texts stay texts, whatever they hold. */
function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/** The data that the page carries under an id. */
function readData(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

/** With a true minus sign. */
function fixed(number, digits) {
  return number.toFixed(digits).replace("-", "−");
}

function signed(number, digits) {
  const text = fixed(number, digits);
  return number > 0 ? `+${text}` : text;
}
