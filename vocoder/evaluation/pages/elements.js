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

/** Hand a file to whoever looks at the page. */
function download(name, bytes, type) {
  const url = URL.createObjectURL(new Blob([bytes], { type }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000); // it may still be being written
}

/** The bytes of base64. */
function toBytes(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}
