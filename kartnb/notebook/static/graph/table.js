// ---------------------------------------------------------------- the same as a table

function buildTable(g) {
  g.table = make(g, "details", "kartnb-live-table");
  g.table.append(make(g, "summary", "", "Tasks as a table"), make(g, "div", "kartnb-scroll"));
  g.table.addEventListener("toggle", () => drawTable(g));
  return g.table;
}

function drawTable(g) {
  if (!g.table.open) return;
  const table = make(g, "table"), head = make(g, "tr"), body = make(g, "tbody");
  for (const title of ["state", "task", "parameters", "unique id", "reason"]) {
    const cell = make(g, "th", "", title);
    cell.scope = "col";
    head.append(cell);
  }
  const order = [...g.states].map((letter, i) => i).reverse();
  order.sort((a, b) => lookOf(g, a).rank - lookOf(g, b).rank);
  for (const i of order.slice(0, MAX_ROWS)) body.append(tableRow(g, i));
  const top = make(g, "thead");
  top.append(head);
  table.append(top, body);
  const parts = [table];
  if (order.length > MAX_ROWS) parts.push(make(g, "p", "kartnb-note", `… ${count(order.length - MAX_ROWS)} more; search finds them.`));
  g.table.lastChild.replaceChildren(...parts);
}

function tableRow(g, position) {
  const row = make(g, "tr"), look = lookOf(g, position);
  const state = make(g, "td");
  state.append(make(g, "span", `kartnb-state kartnb-${look.slug}`, `${look.glyph} ${look.word}`));
  const name = make(g, "td");
  name.append(button(g, "kartnb-live-link", nameOf(g, position), "", () => select(g, position)));
  row.append(state, name, make(g, "td", "", shownParameters(g, position, 200)));
  const why = [waitsOf(g, position) || heldOf(g, position), reasonOf(g, position)].filter(Boolean).join("; ");
  row.append(make(g, "td", "kartnb-id", g.tasks.id[position]), make(g, "td", "", why));
  return row;
}
