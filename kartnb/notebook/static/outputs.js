// The outputs of a plan as a live table.
//
// Python sends the rows (trait `table`); sorting, filtering and copying need no kernel. A message asks for a preview:
// Python loads the result, and answers with markup in which every text is escaped. All else is written as text.

const PAGE = 100, PATIENCE = 1500;
const COLUMNS = [
  ["state", "state"], ["task", "task"], ["parameters", "parameters"], ["id", "id"], ["format", "format"],
  ["size", "size"], ["modified", "modified"], ["path", "path"],
];
const KINDS = {
  task: "kartnb-name", parameters: "kartnb-long", id: "kartnb-id", size: "kartnb-number", modified: "kartnb-when",
  path: "kartnb-long",
};

// ---------------------------------------------------------------- which rows, in which order

function wanted(v) {
  const words = wordsOf(v.filter);
  const textOf = (row) => [row.state, row.task, row.parameters, row.unique_id, row.format, row.path].join(" ");
  const rows = v.table.rows.filter((row) => holds(textOf(row), words));
  if (v.by) rows.sort((one, other) => compare(one, other, v.by) * (v.descending ? -1 : 1) || one.index - other.index);
  return rows;
}

function compare(one, other, by) {
  if (by === "size") return (one.bytes ?? -1) - (other.bytes ?? -1);
  return one[by] < other[by] ? -1 : one[by] > other[by] ? 1 : 0;
}

function sortBy(v, name) {
  v.descending = v.by === name && !v.descending;
  v.by = name;
  fill(v);
}

// ---------------------------------------------------------------- the table

function fill(v) {
  const rows = wanted(v);
  for (const [name, head] of v.heads) {
    const sorted = v.by === name;
    head.setAttribute("aria-sort", sorted ? (v.descending ? "descending" : "ascending") : "none");
    head.firstChild.textContent = name + (sorted ? (v.descending ? " ▼" : " ▲") : "");
  }
  v.body.replaceChildren(...rows.slice(0, v.most).map((row) => rowOf(v, row)));
  v.more.hidden = rows.length <= v.most;
  v.more.textContent = `Show ${Math.min(PAGE, rows.length - v.most)} more`;
  const left = v.table.omitted ? `; ${v.table.omitted} more are not in this table` : "";
  v.count.textContent = `${rows.length} of ${v.table.rows.length}${left}`;
}

function rowOf(v, row) {
  const element = make(v, "tr");
  for (const [name] of COLUMNS) {
    const cell = make(v, "td", KINDS[name] || "");
    const inside = make(v, name === "id" || name === "path" ? "code" : "bdi", "", name === "state" ? row.look : row[name]);
    if (name === "id") inside.title = row.unique_id;
    if (name === "state") inside.className = `kartnb-state kartnb-${row.slug}`;
    cell.append(inside);
    element.append(cell);
  }
  const cell = make(v, "td", "kartnb-outputs-buttons");
  const name = `${row.task} ${row.id}`;
  if (row.exists) cell.append(button(v, "", "preview", `Load and preview the result of ${name}`, () => ask(v, row, element)));
  cell.append(button(v, "", "copy path", `Copy the path of ${name}`, () => copy(v, row.place)));
  cell.append(button(v, "", "copy code", `Copy a line of Python that loads ${name}`, () => copy(v, row.code)));
  element.append(cell);
  return element;
}

// ---------------------------------------------------------------- preview and copy

function ask(v, row, element) {
  const open = element.nextSibling;
  if (open && open.dataset.preview) {
    open.remove();
    return;
  }
  const place = make(v, "tr");
  place.dataset.preview = String(row.index);
  const cell = make(v, "td", "", "Loading …");
  cell.colSpan = COLUMNS.length + 1;
  place.append(cell);
  element.after(place);
  const waits = v.window.setTimeout(() => {
    cell.textContent = "The kernel is busy: the result is shown as soon as it is free.";
  }, PATIENCE);
  v.waiting.set(row.index, (html) => {
    v.window.clearTimeout(waits);
    cell.innerHTML = html;
  });
  v.model.send({ kind: "preview", index: row.index });
}

function answered(v, message) {
  if (message && message.kind === "preview" && v.waiting.has(message.index)) {
    v.waiting.get(message.index)(message.html);
    v.waiting.delete(message.index);
  }
}

async function copy(v, text) {
  setText(v.note, (await copyText(v, text)) ? `Copied: ${text}` : text);
}

// ---------------------------------------------------------------- building it

function build(v, el) {
  const root = make(v, "div", "kartnb kartnb-live kartnb-outputs-live");
  root.dataset.lmSuppressShortcuts = "true"; // JupyterLab's keys stay out of here
  const row = make(v, "div", "kartnb-live-row");
  v.filter = searchField(v, "Filter outputs", "Show outputs with these words", () => {
    v.most = PAGE;
    fill(v);
  });
  v.count = make(v, "span", "kartnb-note");
  v.heading = make(v, "strong", "kartnb-live-title");
  row.append(v.heading, make(v, "span", "kartnb-live-space"), v.count, v.filter);
  const table = make(v, "table", "kartnb-outputs");
  const head = table.createTHead().insertRow();
  v.heads = COLUMNS.map(([name]) => {
    const cell = make(v, "th");
    cell.scope = "col";
    cell.append(button(v, "", name, `Sort by ${name}`, () => sortBy(v, name)));
    head.append(cell);
    return [name, cell];
  });
  head.append(make(v, "th"));
  v.body = table.createTBody();
  v.more = button(v, "", "", "Show more outputs", () => {
    v.most += PAGE;
    fill(v);
  });
  v.note = make(v, "p", "kartnb-note");
  v.note.setAttribute("role", "status");
  const scroll = make(v, "div", "kartnb-scroll");
  scroll.append(table, v.more);
  v.root = root;
  v.hide = make(v, "style", "", hidingRule(v.model.get("key")));
  root.append(v.hide, row, scroll, v.note);
  el.append(root);
  return root;
}

function render({ model, el }) {
  const document = el.ownerDocument;
  const v = { model, document, window: document.defaultView, by: "", descending: false, most: PAGE, waiting: new Map() };
  const root = build(v, el);
  const take = () => {
    v.table = parsed(model.get("table"), { heading: "", rows: [], omitted: 0 });
    v.table.rows.forEach((row, index) => (row.index = index));
    v.heading.textContent = v.table.heading;
    fill(v);
  };
  const hear = (message) => answered(v, message);
  model.on("change:table", take);
  model.on("msg:custom", hear);
  take();
  return () => {
    model.off("change:table", take);
    model.off("msg:custom", hear);
    root.remove();
  };
}

export default { render };
