// What all scripts here share. Python joins the parts of a script into one ES module (kartnb/notebook/widgets.py), for
// any anywidget host: nothing is imported, and a script uses only `model`, `el` and `document`. The first argument of
// nearly every function is the state of one view; it has `document` and `window`.

const LEVELS = { DEBUG: 10, INFO: 20, WARNING: 30, ERROR: 40, CRITICAL: 50 };
const LEVEL_CHOICES = [["0", "all levels"], ["20", "info and above"], ["30", "warnings and errors"], ["40", "errors"]];

function make(g, tag, kind, text) {
  const element = g.document.createElement(tag);
  if (kind) element.className = kind;
  if (text !== undefined) element.textContent = text;
  return element;
}

function button(g, kind, text, title, action) {
  const element = make(g, "button", kind, text);
  element.type = "button";
  if (title) {
    element.title = title;
    element.setAttribute("aria-label", title);
  }
  element.addEventListener("click", action);
  return element;
}

function searchField(g, words, title, action) {
  const element = make(g, "input");
  element.type = "search";
  element.placeholder = words;
  element.setAttribute("aria-label", title);
  element.addEventListener("input", action);
  return element;
}

function levelChoice(g, action) {
  const element = make(g, "select");
  element.setAttribute("aria-label", "Lowest level");
  for (const [value, word] of LEVEL_CHOICES) {
    const option = make(g, "option", "", word);
    option.value = value;
    element.append(option);
  }
  element.addEventListener("change", action);
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function count(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ",");
}

function counted(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}

function parsed(text, otherwise) {
  try {
    return JSON.parse(text);
  } catch {
    return otherwise;
  }
}

// Whether a text has all of some words.
function holds(text, words) {
  const lower = text.toLowerCase();
  return words.every((word) => lower.includes(word));
}

function wordsOf(field) {
  return field.value.toLowerCase().split(/\s+/).filter(Boolean);
}

// Hides the stored form while the live one is there; a printed page shows the stored one.
function hidingRule(key) {
  const safe = String(key).replace(/[^0-9a-zA-Z-]/g, "");
  const place = `[data-kart="${safe}"],.jp-OutputArea-child:has(> .jp-OutputArea-output [data-kart="${safe}"])`;
  return `@media screen{${place}{display:none!important}}`;
}

// Some pages may not write to the clipboard through the new interface: try the old one there.
async function copyText(g, text) {
  try {
    await g.window.navigator.clipboard.writeText(text);
    return true;
  } catch {
    const place = make(g, "textarea");
    place.value = text;
    place.style.position = "fixed";
    g.root.append(place);
    place.select();
    const done = g.document.execCommand("copy");
    place.remove();
    return done;
  }
}

function copyButton(g, kind, title, textOf) {
  const element = button(g, kind, "copy", title, async () => {
    setText(element, (await copyText(g, textOf())) ? "copied" : "not allowed here");
    g.window.setTimeout(() => setText(element, "copy"), 2000);
  });
  return element;
}
