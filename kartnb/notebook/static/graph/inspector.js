// ---------------------------------------------------------------- the inspector

function activate(g, index) {
  const { box } = g.boxes[index];
  hideTip(g);
  if (box.kind === "task") select(g, box.members[0]);
  else selectGroup(g, box);
}

function select(g, position) {
  g.selected = position;
  g.group = null;
  openInspector(g);
  drawInspector(g);
  markSelected(g);
  g.model.send({ kind: "inspect", position, view: g.name });
}

function selectGroup(g, box) {
  g.selected = null;
  g.group = box;
  openInspector(g);
  drawInspector(g);
  markSelected(g);
}

function openInspector(g) {
  if (!g.inspector.hidden) return;
  g.inspector.hidden = false;
  sizeStage(g);
}

function closeInspector(g) {
  g.inspector.hidden = true;
  const index = g.selected === null ? g.current : g.boxOf.get(g.selected);
  g.selected = g.group = null;
  sizeStage(g);
  markSelected(g);
  if (index !== undefined) focusBox(g, index);
}

function markSelected(g) {
  updateBoxes(g);
  const index = g.selected === null ? g.boxes.findIndex((drawn) => drawn.box === g.group) : g.boxOf.get(g.selected) ?? -1;
  markArrows(g, "chosen", index);
  if (index >= 0 && !g.inspector.hidden) reveal(g, index);
}

function drawInspector(g) {
  const parts = g.group ? groupParts(g) : taskParts(g);
  const close = button(g, "kartnb-live-close", "×", "Close the inspector", () => closeInspector(g));
  const hadFocus = g.inspector.contains(g.document.activeElement);
  g.inspector.setAttribute("aria-label", g.group ? g.group.name : titleOf(g, g.selected, 80));
  g.inspector.replaceChildren(close, ...parts);
  g.inspector.scrollTop = 0;
  if (hadFocus) g.inspector.focus({ preventScroll: true }); // what had it is gone
  updateInspector(g);
}

function groupParts(g) {
  const { group } = g, member = group.members[0];
  const actions = make(g, "p", "kartnb-live-actions");
  if (group.frame !== undefined) {
    actions.append(make(g, "span", "kartnb-note", "The most urgent tasks are beside this one; search finds any."));
  } else if (group.kind === "stack") {
    actions.append(button(g, "", "Show one by one", "", () => ask(g, { kind: "expand", position: member })));
  }
  const list = make(g, "div", "kartnb-live-members");
  g.members = list;
  return [make(g, "h4", "", group.name), actions, list];
}

function taskParts(g) {
  const position = g.selected;
  g.stateLine = make(g, "p", "kartnb-live-state");
  const parts = [make(g, "h4", "", nameOf(g, position)), g.stateLine];
  g.reasonLine = make(g, "p", "kartnb-live-reason");
  parts.push(g.reasonLine);
  g.resultPlace = make(g, "div", "kartnb-live-result");
  g.logPlace = logPane(g);
  g.filePlace = make(g, "div");
  g.detailPlace = make(g, "div");
  g.detailsShown = null;
  g.resultShown = undefined;
  parts.push(taskActions(g, position), g.resultPlace, parameterTable(g, position), g.logPlace, idLine(g, position), g.filePlace);
  parts.push(linkList(g, "requires", g.tasks.requires[position] || []), linkList(g, "required by", requiringOf(g, position)));
  parts.push(g.detailPlace);
  return parts;
}

function whyLine(g, position) {
  const reason = reasonOf(g, position), { word, begun } = lookOf(g, position);
  const asked = g.tasks.instead[word] ? "why it does not run" : begun && word !== "running" ? "why it ran" : "why it runs";
  return reason && `${asked}: ${reason}`;
}

function taskActions(g, position) {
  const actions = make(g, "p", "kartnb-live-actions");
  for (const [direction, words] of [["upstream", "What it needs"], ["downstream", "What needs it"]]) {
    actions.append(button(g, "", words, `Show only what is ${direction}`, () => ask(g, { kind: "focus", position, direction })));
  }
  g.load = button(g, "", "Load result", "Load the result from its file, and preview it", () => {
    ask(g, { kind: "load", position });
    updateResult(g);
  });
  actions.append(g.load);
  return actions;
}

function parameterTable(g, position) {
  const parameters = g.tasks.parameters[position] || [];
  if (!parameters.length) return make(g, "p", "kartnb-note", "no parameters");
  const table = make(g, "table"), body = make(g, "tbody");
  for (const [name, text, significant] of parameters) {
    const row = make(g, "tr"), head = make(g, "th", "", name), value = make(g, "td");
    head.scope = "row";
    value.append(make(g, "code", "", text));
    if (!significant) value.append(make(g, "span", "kartnb-note", " not in the id"));
    row.append(head, value);
    body.append(row);
  }
  table.append(body);
  return table;
}

function idLine(g, position) {
  const line = make(g, "p", "kartnb-live-id", "id ");
  line.append(make(g, "code", "", g.tasks.id[position]), copyButton(g, "kartnb-live-copy", "Copy the id", () => g.tasks.id[position]));
  return line;
}

function outputLines(g, position, details) {
  const outputs = details ? details.outputs : ((g.tasks.outputs || [])[position] || []).map((path) => ({ path }));
  return outputs.map((output) => {
    const line = make(g, "p", "kartnb-live-output", "output ");
    line.append(make(g, "code", "", output.path), copyButton(g, "kartnb-live-copy", "Copy the path", () => output.path));
    const facts = [output.format, output.size_text, output.modified, output.exists === false ? "missing" : ""].filter(Boolean);
    if (facts.length) line.append(make(g, "br"), make(g, "span", "kartnb-note", facts.join(" · ")));
    return line;
  });
}

// What records and logs of the task hold; sent with the graph for the tasks that are drawn, for others on a click.
function updateDetails(g) {
  const details = g.details[g.selected];
  if (details === g.detailsShown && g.filePlace.childNodes.length) return;
  g.detailsShown = details;
  g.filePlace.replaceChildren(...outputLines(g, g.selected, details));
  if (!details) return g.detailPlace.replaceChildren();
  const open = new Set([...g.detailPlace.querySelectorAll("details[open]")].map((part) => part.dataset.kind));
  const parts = [...runLines(g, details.run), ...runLines(g, details.failure), ...gokartLogs(g, details), sourcePart(g, details.source)];
  g.detailPlace.replaceChildren(...parts.filter(Boolean));
  for (const part of g.detailPlace.querySelectorAll("details")) part.open = open.has(part.dataset.kind);
  g.logShown = "";
}

function runLines(g, run) {
  if (!run) return [];
  const where = [run.seconds_text && `in ${run.seconds_text}`, run.host && `on ${run.host}`, run.notebook && `by ${run.notebook}`];
  const words = [`${run.glyph} ${run.state} ${run.started_text}`, ...where].filter(Boolean).join(" ");
  const lines = [make(g, "p", "kartnb-live-run", `last run: ${words}`)];
  if (run.error) lines.push(make(g, "p", "kartnb-live-line error", run.error));
  return lines;
}

function gokartLogs(g, details) {
  return (details.gokart_logs || []).filter((log) => log.lines.length || log.problem).map((log) => {
    const text = log.problem || log.lines.join("\n") + (log.omitted ? `\n… ${counted(log.omitted, "more line")}` : "");
    return folded(g, log.kind, log.kind.replaceAll("_", " "), text, log.path);
  });
}

function sourcePart(g, source) {
  if (!source) return null;
  const text = source.text ? source.text + (source.omitted ? `\n… ${counted(source.omitted, "more line")}` : "") : source.problem;
  return text ? folded(g, "source", "source", text, source.place) : null;
}

function folded(g, kind, title, text, place) {
  const part = make(g, "details");
  part.dataset.kind = kind;
  const body = make(g, "pre", "kartnb-live-lines", text);
  body.setAttribute("tabindex", "0");
  part.append(make(g, "summary", "", title), body);
  if (place) part.append(make(g, "p", "kartnb-note", place));
  return part;
}

function linkList(g, words, positions) {
  const line = make(g, "p", "kartnb-live-links", `${words} `);
  if (!positions.length) line.append(make(g, "span", "kartnb-note", "nothing"));
  for (const position of positions.slice(0, MAX_LINKS)) {
    const look = lookOf(g, position);
    const link = button(g, "kartnb-live-link", `${look.glyph} ${titleOf(g, position, 40)}`, "", () => select(g, position));
    link.title = look.word;
    line.append(link, " ");
  }
  if (positions.length > MAX_LINKS) line.append(make(g, "span", "kartnb-note", `… ${count(positions.length - MAX_LINKS)} more`));
  return line;
}

function updateInspector(g) {
  if (g.inspector.hidden) return;
  if (g.group) return updateMembers(g);
  const look = lookOf(g, g.selected), run = g.runs[g.selected] || {};
  g.stateLine.className = `kartnb-live-state kartnb-state kartnb-${look.slug}`;
  setText(g.stateLine, [stateText(g, g.selected), heldOf(g, g.selected), run.message, run.error].filter(Boolean).join(" · "));
  setText(g.reasonLine, whyLine(g, g.selected));
  g.reasonLine.hidden = !g.reasonLine.textContent;
  updateResult(g);
  updateDetails(g);
  updateLog(g);
}

function updateMembers(g) {
  const order = [...g.group.members].sort((a, b) => lookOf(g, a).rank - lookOf(g, b).rank || a - b).slice(0, 50);
  const wanted = order.map((position) => `${position}${g.states[position]}${timeNote(g, position)}`).join();
  if (wanted === g.members.dataset.shown) return;
  g.members.dataset.shown = wanted;
  const rows = order.map((position) => {
    const look = lookOf(g, position), row = make(g, "p");
    row.append(make(g, "span", `kartnb-state kartnb-${look.slug}`, `${look.glyph} ${look.word} ${timeNote(g, position)} `));
    row.append(button(g, "kartnb-live-link", titleOf(g, position, 60), "", () => select(g, position)));
    return row;
  });
  const more = g.group.members.length - order.length;
  if (more > 0) rows.push(make(g, "p", "kartnb-note", `… ${count(more)} more; search finds them.`));
  g.members.replaceChildren(...rows);
}

// A result is kept with its task, so that it is still there after a look at another task.
function updateResult(g) {
  const waits = isAsked(g, "load", g.selected), html = g.results.get(g.selected);
  g.load.disabled = waits;
  setText(g.load, waits ? "Loading …" : html === undefined ? "Load result" : "Load again");
  if (html === undefined || html === g.resultShown) return;
  g.resultShown = html;
  g.resultPlace.innerHTML = html; // the only markup: made and escaped by kartnb.view.previews
}
