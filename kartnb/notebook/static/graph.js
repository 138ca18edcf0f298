// The live picture of a plan, for any anywidget host: it imports nothing, and uses `model`, `el` and `document` only.
//
// Python lays the picture out (trait `scene`), tells the tasks (`tasks`), their states with one letter each (`states`),
// how the build stands (`status`) and what its tasks did so far (`record`, brought up to date by messages). Every text
// is written as text. Only the preview of a result, which Python has escaped, is markup.

const SVG = "http://www.w3.org/2000/svg";
const PADDING = 10, NAME_HEIGHT = 18, LINE_HEIGHT = 16, SHEET = 4, BAR_HEIGHT = 5;
const TALLEST = 640, LOWEST = 120, WITH_INSPECTOR = 380, SMALLEST_SCALE = 0.6, LEGIBLE_SCALE = 0.8, LARGEST_SCALE = 3;
const LEVELS = { DEBUG: 10, INFO: 20, WARNING: 30, ERROR: 40, CRITICAL: 50 };
const MAX_HITS = 12, MAX_ROWS = 200, MAX_LINES = 400, MAX_LINKS = 20, PATIENCE = 1200;

// ---------------------------------------------------------------- small parts

function make(g, tag, kind, text) {
  const element = g.document.createElement(tag);
  if (kind) element.className = kind;
  if (text !== undefined) element.textContent = text;
  return element;
}

function draw(g, tag, attributes, text) {
  const element = g.document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
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

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function count(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ",");
}

function counted(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}

function duration(seconds) {
  const s = Math.max(seconds, 0);
  if (s < 0.995) return `${s.toFixed(2)} s`;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60), rest = whole % 60;
  if (minutes < 60) return rest ? `${minutes} min ${rest} s` : `${minutes} min`;
  const hours = Math.floor(Math.round(whole / 60) / 60), left = Math.round(whole / 60) % 60;
  return left ? `${hours} h ${left} min` : `${hours} h`;
}

function whole(seconds) {
  if (seconds < 1) return "under 1 s";
  return seconds < 59.5 ? `${Math.round(seconds)} s` : duration(seconds);
}

function parsed(text, otherwise) {
  try {
    return JSON.parse(text);
  } catch {
    return otherwise;
  }
}

// ---------------------------------------------------------------- what is known

function lookOf(g, position) {
  return g.looks.get(g.states[position]) || g.looks.get("c");
}

function nameOf(g, position) {
  return g.tasks.names[g.tasks.name[position]] ?? "";
}

function shownParameters(g, position, most) {
  const text = (g.tasks.parameters[position] || []).map(([name, value]) => `${name}=${value}`).join(", ");
  return most && text.length > most ? `${text.slice(0, most)}…` : text;
}

function titleOf(g, position, most) {
  return `${nameOf(g, position)}(${shownParameters(g, position, most)})`;
}

function countStates(g, members) {
  const found = new Map();
  for (const position of members) found.set(g.states[position], (found.get(g.states[position]) || 0) + 1);
  return [...g.looks.values()].filter((look) => found.has(look.letter)).map((look) => [look, found.get(look.letter)]);
}

function elapsed(g) {
  const since = isActive(g) ? (g.window.performance.now() - g.statusAt) / 1000 : 0;
  return (g.status.elapsed || 0) + since;
}

function isActive(g) {
  return g.status.phase === "running" || g.status.phase === "stopping";
}

function timeNote(g, position) {
  const run = g.runs[position];
  if (!run) return "";
  const word = lookOf(g, position).word;
  if (word === "running") return run.percent != null ? `${Math.round(run.percent)} %` : whole(elapsed(g) - run.start);
  return run.seconds != null ? duration(run.seconds) : "";
}

function requiringOf(g, position) {
  if (!g.requiring) {
    g.requiring = g.tasks.name.map(() => []);
    g.tasks.requires.forEach((needed, i) => needed.forEach((j) => g.requiring[j].push(i)));
  }
  return g.requiring[position];
}

function readTasks(g) {
  g.tasks = parsed(g.model.get("tasks"), null) || { names: [], name: [], id: [], parameters: [], requires: [], reason: [] };
  g.requiring = g.haystacks = null;
}

// A running task has asked for more tasks: positions have changed.
function renewTasks(g) {
  const chosen = g.selected === null ? null : `${nameOf(g, g.selected)} ${g.tasks.id[g.selected]}`;
  readTasks(g);
  g.runs = {};
  g.lines = {};
  g.details = {};
  readRecord(g);
  readDetails(g);
  if (chosen === null) return schedule(g);
  const position = g.tasks.id.findIndex((id, i) => chosen === `${nameOf(g, i)} ${id}`);
  if (position < 0) return closeInspector(g);
  g.selected = position;
  drawInspector(g);
}

function readStatus(g) {
  g.status = g.model.get("status") || {};
  g.statusAt = g.window.performance.now();
}

function readRecord(g) {
  const record = parsed(g.model.get("record"), {});
  Object.assign(g.runs, record.runs || {});
  takeLines(g, record.lines || []);
}

function readDetails(g) {
  Object.assign(g.details, parsed(g.model.get("details"), {}));
}

function takeLines(g, lines) {
  for (const line of lines) {
    const kept = (g.lines[line.task] ||= []);
    if (kept.length && kept[kept.length - 1].number >= line.number) continue;
    kept.push(line);
    if (kept.length > MAX_LINES) kept.shift();
  }
}

// ---------------------------------------------------------------- the frame

function buildFrame(g) {
  g.root = make(g, "div", "kartnb kartnb-live");
  g.root.setAttribute("role", "region");
  g.root.dataset.lmSuppressShortcuts = "true"; // JupyterLab's keys stay out of here
  g.hide = make(g, "style", "", hidingRule(g.model.get("key")));
  g.root.append(g.hide, buildHeader(g), buildBody(g), buildTable(g));
  g.note = make(g, "p", "kartnb-live-note kartnb-note");
  g.note.setAttribute("role", "status");
  g.root.append(g.note);
  g.root.addEventListener("keydown", (event) => onKey(g, event));
  g.el.append(g.root);
}

function hidingRule(key) {
  const safe = String(key).replace(/[^0-9a-zA-Z-]/g, "");
  const place = `[data-kart="${safe}"],.jp-OutputArea-child:has(> .jp-OutputArea-output [data-kart="${safe}"])`;
  return `@media screen{${place}{display:none!important}}`; // on paper the stored picture stands
}

function buildHeader(g) {
  const header = make(g, "div", "kartnb-live-header");
  const first = make(g, "div", "kartnb-live-row");
  g.title = make(g, "strong", "kartnb-live-title");
  g.words = make(g, "span", "kartnb-live-words");
  g.stop = make(g, "span", "kartnb-live-stop");
  first.append(g.title, g.words, make(g, "span", "kartnb-live-space"), g.stop);
  g.bar = make(g, "div", "kartnb-live-bar");
  g.bar.setAttribute("role", "progressbar");
  const second = make(g, "div", "kartnb-live-row");
  g.counts = make(g, "span", "kartnb-live-counts");
  second.append(g.counts, make(g, "span", "kartnb-live-space"), buildSearch(g), buildZoom(g));
  g.trail = make(g, "div", "kartnb-live-row kartnb-live-trail");
  header.append(first, g.bar, second, g.trail);
  return header;
}

function buildSearch(g) {
  const place = make(g, "span", "kartnb-live-search");
  g.search = make(g, "input");
  g.search.type = "search";
  g.search.placeholder = "Search tasks";
  g.search.setAttribute("aria-label", "Search tasks by class, parameters or id");
  g.search.addEventListener("input", () => showHits(g));
  g.search.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && g.hits.firstChild) g.hits.firstChild.click();
    if (event.key === "ArrowDown" && g.hits.firstChild) g.hits.firstChild.focus();
  });
  g.hits = make(g, "div", "kartnb-live-hits");
  g.hits.hidden = true;
  place.append(g.search, g.hits);
  return place;
}

function buildZoom(g) {
  const place = make(g, "span", "kartnb-live-zoom");
  place.append(
    button(g, "", "−", "Zoom out", () => zoomAtCentre(g, 1 / 1.25)),
    button(g, "", "+", "Zoom in", () => zoomAtCentre(g, 1.25)),
    button(g, "", "Fit", "Fit the graph to the view", () => fit(g, true)),
  );
  return place;
}

function buildBody(g) {
  const body = make(g, "div", "kartnb-live-body");
  g.stage = make(g, "div", "kartnb-live-stage");
  g.picture = draw(g, "svg", { role: "group" });
  g.ground = draw(g, "g", {});
  g.picture.append(g.ground);
  g.tip = make(g, "div", "kartnb-live-tip");
  g.tip.setAttribute("role", "tooltip");
  g.tip.hidden = true;
  g.stage.append(g.picture, g.tip);
  g.inspector = make(g, "aside", "kartnb-live-inspector");
  g.inspector.setAttribute("tabindex", "-1");
  g.inspector.hidden = true;
  body.append(g.stage, g.inspector);
  addPanning(g);
  return body;
}

function buildTable(g) {
  g.table = make(g, "details", "kartnb-live-table");
  g.table.append(make(g, "summary", "", "Tasks as a table"), make(g, "div", "kartnb-scroll"));
  g.table.addEventListener("toggle", () => drawTable(g));
  return g.table;
}

function drawTable(g) {
  if (!g.table.open) return;
  const table = make(g, "table"), head = make(g, "tr"), body = make(g, "tbody");
  for (const title of ["state", "task", "parameters", "unique id", "why it runs"]) {
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
  row.append(make(g, "td", "kartnb-id", g.tasks.id[position]), make(g, "td", "", g.tasks.reason[position] || ""));
  return row;
}

// ---------------------------------------------------------------- the header's texts

function updateHeader(g) {
  const status = g.status;
  say(g.title, status.title || "");
  g.root.setAttribute("aria-label", `Graph of ${status.title || "a task"}`);
  const members = g.tasks.name.map((_, i) => i);
  const counts = countStates(g, members);
  updateCounts(g, counts, members.length);
  updateProgress(g);
  updateStop(g);
}

function takingPart(g) {
  const part = [];
  for (let i = 0; i < g.states.length; i++) {
    if (g.tasks.runs[i] === "1" || g.looks.get(g.states[i])?.inBuild) part.push(i);
  }
  return part;
}

function updateProgress(g) {
  const part = takingPart(g), counts = countStates(g, part);
  const ended = counts.reduce((sum, [look, number]) => sum + (look.ended ? number : 0), 0);
  const done = counts.find(([look]) => look.word === "done")?.[1] || 0;
  const words = [phaseWords(g, part.length, g.status.phase === "stopped" ? done : ended)];
  if (g.status.phase !== "plan") words.push(duration(elapsed(g)));
  const left = g.status.remaining == null ? null : g.status.remaining - (elapsed(g) - g.status.elapsed);
  if (isActive(g) && left !== null) words.push(`about ${whole(Math.max(left, 1))} left`);
  if (g.status.phase === "plan" && g.status.remaining) words.push(`about ${whole(g.status.remaining)}`);
  say(g.words, words.filter(Boolean).join(" · "));
  g.bar.hidden = g.status.phase === "plan" || !part.length;
  g.bar.setAttribute("aria-label", "build");
  g.bar.setAttribute("aria-valuemin", "0");
  g.bar.setAttribute("aria-valuemax", String(part.length));
  g.bar.setAttribute("aria-valuenow", String(ended));
  g.bar.setAttribute("aria-valuetext", words.join(" · "));
  fillBar(g, g.bar, counts.filter(([look]) => look.ended || look.word === "running"), part.length);
}

function phaseWords(g, total, ended) {
  const share = `${count(ended)}/${count(total)}`;
  switch (g.status.phase) {
    case "running": return total ? `running ${share}` : "nothing to run";
    case "stopping": return `stopping ${share}`;
    case "done": return "✓ succeeded";
    case "failed": return "✗ failed";
    case "stopped": return `■ stopped after ${share}`;
    default: return total ? `${count(total)} will run` : "nothing will run";
  }
}

function fillBar(g, bar, counts, total) {
  const order = [...counts].sort(([a], [b]) => a.bar - b.bar);
  while (bar.children.length < order.length) bar.append(make(g, "div"));
  while (bar.children.length > order.length) bar.lastChild.remove();
  order.forEach(([look, number], i) => {
    const segment = bar.children[i];
    segment.className = `kartnb-${look.slug}`;
    segment.title = `${count(number)} ${look.word}`;
    segment.style.width = `${(100 * number) / Math.max(total, 1)}%`;
  });
}

function updateCounts(g, counts, total) {
  const wanted = counts.map(([look]) => look.letter).join("");
  if (wanted !== g.countsShown) {
    g.countsShown = wanted;
    const chips = counts.map(([look]) => {
      const chip = button(g, `kartnb-live-chip kartnb-${look.slug}`, "", "", () => filterBy(g, look.letter));
      chip.dataset.letter = look.letter;
      return chip;
    });
    g.counts.replaceChildren(make(g, "span", "kartnb-live-total"), ...chips);
  }
  say(g.counts.firstChild, counted(total, "task"));
  counts.forEach(([look, number], i) => {
    const chip = g.counts.children[i + 1];
    say(chip, `${look.glyph} ${count(number)} ${look.word}`);
    chip.setAttribute("aria-pressed", String(g.filter === look.letter));
  });
}

function updateStop(g) {
  const wanted = isActive(g) ? `${g.status.stop || ""}/${g.status.phase}` : "";
  if (wanted === g.stopShown) return;
  g.stopShown = wanted;
  if (!wanted) g.stop.replaceChildren();
  else if (g.status.stop === "button") {
    const stop = button(g, "kartnb-live-stop-button", "■ Stop", "Stop the build", () => ask(g, { kind: "stop" }));
    stop.disabled = g.status.phase === "stopping";
    g.stop.replaceChildren(stop);
  } else if (g.status.stop === "kernel") {
    g.stop.replaceChildren(make(g, "span", "kartnb-note", "to stop: interrupt the kernel"));
  }
}

function updateTrail(g) {
  const parts = [];
  const { focus, opened } = g.scene;
  if (focus) {
    const words = { upstream: "upstream of", downstream: "downstream of", both: "around" }[focus.direction];
    parts.push(crumb(g, `${words} ${titleOf(g, focus.position, 40)}`, "Show the whole graph", { kind: "whole" }));
  }
  for (const member of opened || []) {
    parts.push(crumb(g, `${nameOf(g, member)} one by one`, "Put into one stack again", { kind: "collapse", position: member }));
  }
  g.trail.hidden = !parts.length;
  g.trail.replaceChildren(...parts);
}

function crumb(g, text, title, message) {
  const part = make(g, "span", "kartnb-live-crumb", text);
  part.append(button(g, "", "×", title, () => ask(g, message)));
  return part;
}

// ---------------------------------------------------------------- the picture

function drawScene(g) {
  g.scene = parsed(g.model.get("scene"), null) || { width: 0, height: 0, boxes: [], arrows: [] };
  g.ground.replaceChildren();
  g.arrows = g.scene.arrows.map((arrow) => drawArrow(g, arrow));
  g.boxes = g.scene.boxes.map((box, i) => drawBox(g, box, i));
  g.boxOf = new Map();
  g.scene.boxes.forEach((box, i) => box.members.forEach((position) => g.boxOf.set(position, i)));
  g.picture.setAttribute("aria-label", "Tasks; arrows go from a task to the tasks that need it");
  g.current = Math.max(0, g.boxes.length - 1);
  if (g.boxes.length) g.boxes[g.current].element.setAttribute("tabindex", "0");
  updateTrail(g);
  g.free = true;
  sizeStage(g);
  fit(g, false);
  updateBoxes(g);
  markSelected(g);
}

function drawArrow(g, arrow) {
  const element = draw(g, "g", { class: "arrow" });
  element.append(draw(g, "path", { class: "edge", d: arrow.line }), draw(g, "path", { class: "tip", d: arrow.tip }));
  g.ground.append(element);
  return { ...arrow, element };
}

function drawBox(g, box, index) {
  const element = draw(g, "g", { class: "box", role: "button", tabindex: "-1", transform: `translate(${box.x} ${box.y})` });
  if (box.kind === "stack") for (const step of [2, 1]) element.append(plate(g, box, SHEET * step));
  element.append(plate(g, box, 0));
  element.append(draw(g, "rect", { class: "stripe", x: 1, y: 1, width: 5, height: box.height - 2, rx: 3 }));
  const drawn = { box, element, lines: [], segments: draw(g, "g", {}), note: null };
  writeBox(g, drawn);
  element.addEventListener("click", () => activate(g, index));
  element.addEventListener("pointerenter", () => showTip(g, index));
  element.addEventListener("pointerleave", () => hideTip(g));
  element.addEventListener("focus", () => { g.current = index; showTip(g, index); });
  element.addEventListener("blur", () => hideTip(g));
  g.ground.append(element);
  return drawn;
}

function plate(g, box, shift) {
  const kind = `plate${box.kind === "more" ? " more" : ""}`;
  return draw(g, "rect", { class: kind, x: shift + 1, y: shift + 1, width: box.width - 2, height: box.height - 2, rx: 6 });
}

function writeBox(g, drawn) {
  const { box, element } = drawn, left = PADDING + 2;
  let y = PADDING + NAME_HEIGHT - 5;
  const write = (kind, text) => {
    const line = draw(g, "text", { class: kind, x: left, y }, text);
    element.append(line);
    y += LINE_HEIGHT;
    return line;
  };
  write("name", box.name);
  for (const detail of box.details) write("detail", detail);
  if (box.why) write("why", box.why);
  for (let i = 0; i < box.rows; i++) drawn.lines.push(write("state", ""));
  if (box.kind === "task") {
    drawn.note = draw(g, "text", { class: "note", x: box.width - PADDING, y: y - LINE_HEIGHT }, "");
    element.append(drawn.note);
  } else {
    drawn.segments.setAttribute("transform", `translate(${left} ${y - LINE_HEIGHT + 8})`);
    element.append(drawn.segments);
  }
}

function updateBoxes(g) {
  for (const drawn of g.boxes) {
    const { box } = drawn, counts = countStates(g, box.members);
    if (!counts.length) continue;
    const slug = counts[0][0].slug;
    drawn.element.setAttribute("class", boxClass(g, drawn, slug, counts));
    if (box.kind === "task") updateTaskBox(g, drawn, counts[0][0]);
    else updateStackBox(g, drawn, counts);
  }
}

function boxClass(g, drawn, slug, counts) {
  const dimmed = (g.filter && !counts.some(([look]) => look.letter === g.filter))
    || (g.found && !drawn.box.members.some((position) => g.found.has(position)));
  const chosen = g.selected !== null && drawn.box.members.includes(g.selected);
  return `box ${drawn.box.kind} is-${slug}${dimmed ? " dim" : ""}${chosen ? " chosen" : ""}`;
}

function updateTaskBox(g, drawn, look) {
  const position = drawn.box.members[0], note = timeNote(g, position);
  const text = `${look.glyph} ${look.word}${note ? ` ${note}` : ""}`;
  say(drawn.lines[0], text);
  say(drawn.note, text.length > 15 ? "" : drawn.box.id);
  drawn.element.setAttribute("aria-label", `${titleOf(g, position, 80)}, ${look.word}`);
}

function updateStackBox(g, drawn, counts) {
  const { box } = drawn, total = box.members.length;
  drawn.lines.forEach((line, i) => {
    const entry = counts[i];
    const rest = i === drawn.lines.length - 1 && counts.length > drawn.lines.length;
    say(line, !entry ? "" : rest ? restOf(counts.slice(i)) : `${entry[0].glyph} ${count(entry[1])} ${entry[0].word}`);
    line.setAttribute("class", entry && !rest ? `state is-${entry[0].slug}` : "state why");
  });
  const room = box.width - 2 * PADDING - 2;
  const segments = [...counts].sort(([a], [b]) => a.bar - b.bar);
  let x = 0;
  while (drawn.segments.children.length < segments.length) drawn.segments.append(draw(g, "rect", { y: 0, height: BAR_HEIGHT }));
  while (drawn.segments.children.length > segments.length) drawn.segments.lastChild.remove();
  segments.forEach(([look, number], i) => {
    const part = drawn.segments.children[i], width = (room * number) / total;
    part.setAttribute("class", `fill is-${look.slug}`);
    part.setAttribute("x", x.toFixed(1));
    part.setAttribute("width", width.toFixed(1));
    x += width;
  });
  const words = counts.map(([look, number]) => `${count(number)} ${look.word}`).join(", ");
  drawn.element.setAttribute("aria-label", `${box.name}, ${counted(total, "task")}: ${words}`);
}

function restOf(counts) {
  const number = counts.reduce((sum, [, n]) => sum + n, 0);
  return `${count(number)} in ${counts.length} more states`;
}

// ---------------------------------------------------------------- pan, zoom, fit

function sizeStage(g) {
  const width = g.stage.clientWidth || g.root.clientWidth || 800;
  const scale = Math.min(1, Math.max(SMALLEST_SCALE, (width - 16) / Math.max(g.scene.width, 1)));
  const height = Math.min(TALLEST, Math.max(LOWEST, g.scene.height * scale + 16));
  const tall = `${Math.round(Math.max(height, g.inspector.hidden ? 0 : WITH_INSPECTOR))}px`;
  g.stage.style.height = tall;
  g.inspector.style.maxHeight = tall;
}

function fit(g, whole) {
  const width = g.stage.clientWidth, height = g.stage.clientHeight;
  if (!width || !height) return;
  const full = Math.min(1, (width - 16) / Math.max(g.scene.width, 1), (height - 12) / Math.max(g.scene.height, 1));
  g.scale = whole ? full : Math.max(full, Math.min(1, g.inspector.hidden ? SMALLEST_SCALE : LEGIBLE_SCALE));
  g.x = (width - g.scene.width * g.scale) / 2;
  g.y = (height - g.scene.height * g.scale) / 2;
  keepRootInSight(g, width, height);
  g.free = true;
  place(g);
  const chosen = g.selected === null ? undefined : g.boxOf.get(g.selected);
  if (chosen !== undefined && !whole) reveal(g, chosen);
}

// Where the picture is larger than the view, what was asked for stays in it.
function keepRootInSight(g, width, height) {
  const root = g.boxes[g.boxOf.get(g.scene.focus?.position ?? g.tasks.name.length - 1)]?.box;
  if (!root) return;
  if (g.scene.width * g.scale > width) g.x = inside(width, g.scene.width * g.scale, (root.x + root.width / 2) * g.scale);
  if (g.scene.height * g.scale > height) g.y = inside(height, g.scene.height * g.scale, (root.y + root.height / 2) * g.scale);
}

function inside(room, size, middle) {
  return Math.max(room - size - 8, Math.min(8, room / 2 - middle));
}

function place(g) {
  g.ground.setAttribute("transform", `translate(${g.x.toFixed(2)} ${g.y.toFixed(2)}) scale(${g.scale.toFixed(4)})`);
}

function zoomAt(g, factor, x, y) {
  const scale = Math.min(LARGEST_SCALE, Math.max(0.05, g.scale * factor));
  g.x = x - ((x - g.x) * scale) / g.scale;
  g.y = y - ((y - g.y) * scale) / g.scale;
  g.scale = scale;
  g.free = false;
  place(g);
}

function zoomAtCentre(g, factor) {
  zoomAt(g, factor, g.stage.clientWidth / 2, g.stage.clientHeight / 2);
}

function addPanning(g) {
  let from = null;
  g.stage.addEventListener("pointerdown", (event) => {
    if (event.button === 0 && !event.target.closest(".box")) from = { x: event.clientX - g.x, y: event.clientY - g.y };
    if (from) g.stage.setPointerCapture(event.pointerId);
  });
  g.stage.addEventListener("pointermove", (event) => {
    if (!from) return;
    g.x = event.clientX - from.x;
    g.y = event.clientY - from.y;
    g.free = false;
    place(g);
  });
  for (const name of ["pointerup", "pointercancel"]) g.stage.addEventListener(name, () => { from = null; });
  g.stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // else the page scrolls
    event.preventDefault();
    const place = g.stage.getBoundingClientRect();
    zoomAt(g, Math.exp(-event.deltaY / 300), event.clientX - place.left, event.clientY - place.top);
  }, { passive: false });
  g.stage.addEventListener("dblclick", (event) => { if (!event.target.closest(".box")) fit(g, true); });
}

function reveal(g, index) {
  const { box } = g.boxes[index], width = g.stage.clientWidth, height = g.stage.clientHeight;
  const left = g.x + box.x * g.scale, top = g.y + box.y * g.scale;
  const right = left + box.width * g.scale, bottom = top + box.height * g.scale;
  if (left < 0) g.x += 8 - left;
  else if (right > width) g.x -= right - width + 8;
  if (top < 0) g.y += 8 - top;
  else if (bottom > height) g.y -= bottom - height + 8;
  place(g);
}

// ---------------------------------------------------------------- tooltip, keys, search

function showTip(g, index) {
  const { box } = g.boxes[index];
  const stage = g.stage.getBoundingClientRect();
  g.tip.textContent = tipText(g, box);
  g.tip.hidden = false;
  const top = g.y + (box.y + box.height) * g.scale + 6;
  const room = stage.height - g.tip.offsetHeight - 4;
  g.tip.style.left = `${Math.max(4, Math.min(g.x + box.x * g.scale, stage.width - g.tip.offsetWidth - 4))}px`;
  g.tip.style.top = `${top <= room ? top : Math.max(4, g.y + box.y * g.scale - g.tip.offsetHeight - 6)}px`;
  for (const arrow of g.arrows) {
    arrow.element.classList.toggle("near", arrow.from === index || arrow.to === index);
  }
}

function tipText(g, box) {
  if (box.kind !== "task") {
    const counts = countStates(g, box.members).map(([look, n]) => `${look.glyph} ${count(n)} ${look.word}`);
    return [box.kind === "stack" ? `${nameOf(g, box.members[0])}: ${counted(box.members.length, "task")}` : box.name, counts.join(", ")].join("\n");
  }
  const position = box.members[0], look = lookOf(g, position), run = g.runs[position] || {};
  const lines = [titleOf(g, position, 400), `${look.glyph} ${look.word} ${timeNote(g, position)}`.trimEnd()];
  lines.push(g.tasks.reason[position] || "", run.message || "", run.error || "", `id ${g.tasks.id[position]}`);
  return lines.filter(Boolean).join("\n");
}

function hideTip(g) {
  g.tip.hidden = true;
  for (const arrow of g.arrows) arrow.element.classList.remove("near");
}

function onKey(g, event) {
  event.stopPropagation();
  if (event.key === "Escape") {
    if (g.search.value) clearSearch(g);
    else if (!g.inspector.hidden) closeInspector(g);
    else hideTip(g);
    return;
  }
  const index = g.boxes.findIndex((drawn) => drawn.element === g.document.activeElement || drawn.element === event.target);
  if (index < 0) return;
  if (event.key === "Enter" || event.key === " ") activate(g, index);
  else if (event.key === "+") zoomAtCentre(g, 1.25);
  else if (event.key === "-") zoomAtCentre(g, 1 / 1.25);
  else if (event.key === "0") fit(g, true);
  else if (event.key === "Home") focusBox(g, 0);
  else if (event.key === "End") focusBox(g, g.boxes.length - 1);
  else if (event.key.startsWith("Arrow")) focusBox(g, nextBox(g, index, event.key));
  else return;
  event.preventDefault();
}

function nextBox(g, index, key) {
  const across = key === "ArrowLeft" || key === "ArrowRight", sign = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
  const middle = ({ box }) => [box.x + box.width / 2, box.y + box.height / 2];
  const [x, y] = middle(g.boxes[index]);
  let best = index, least = Infinity;
  g.boxes.forEach((drawn, i) => {
    const [bx, by] = middle(drawn);
    const along = sign * (across ? bx - x : by - y), aside = Math.abs(across ? by - y : bx - x);
    if (i !== index && along > 1 && along + 2 * aside < least) [best, least] = [i, along + 2 * aside];
  });
  return best;
}

function focusBox(g, index) {
  if (!g.boxes[index]) return;
  for (const drawn of g.boxes) drawn.element.setAttribute("tabindex", "-1");
  g.boxes[index].element.setAttribute("tabindex", "0");
  reveal(g, index);
  g.boxes[index].element.focus({ preventScroll: true });
}

function filterBy(g, letter) {
  g.filter = g.filter === letter ? "" : letter;
  schedule(g);
}

function showHits(g) {
  const wanted = g.search.value.trim().toLowerCase();
  if (!wanted) return clearSearch(g);
  g.haystacks ||= g.tasks.name.map((_, i) => `${titleOf(g, i)} ${g.tasks.id[i]}`.toLowerCase());
  const words = wanted.split(/\s+/);
  const found = [];
  g.haystacks.forEach((text, i) => { if (words.every((word) => text.includes(word))) found.push(i); });
  g.found = new Set(found);
  found.sort((a, b) => lookOf(g, a).rank - lookOf(g, b).rank);
  const rows = found.slice(0, MAX_HITS).map((position) => {
    const look = lookOf(g, position);
    const row = button(g, "kartnb-live-hit", "", "", () => { clearSearch(g); select(g, position); });
    row.append(make(g, "span", `kartnb-state kartnb-${look.slug}`, `${look.glyph} ${look.word}`), make(g, "span", "", ` ${titleOf(g, position, 60)}`));
    row.addEventListener("keydown", (event) => moveInHits(g, row, event));
    return row;
  });
  const more = found.length - rows.length;
  if (more > 0) rows.push(make(g, "p", "kartnb-note", `… ${count(more)} more`));
  if (!found.length) rows.push(make(g, "p", "kartnb-note", "no task has this in its class, parameters or id"));
  g.hits.replaceChildren(...rows);
  g.hits.hidden = false;
  schedule(g);
}

function moveInHits(g, row, event) {
  const next = event.key === "ArrowDown" ? row.nextSibling : event.key === "ArrowUp" ? row.previousSibling || g.search : null;
  if (next?.focus) {
    next.focus();
    event.preventDefault();
  }
}

function clearSearch(g) {
  g.search.value = "";
  g.found = null;
  g.hits.hidden = true;
  schedule(g);
}

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
  ask(g, { kind: "inspect", position }, true);
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
  for (const arrow of g.arrows) arrow.element.classList.toggle("chosen", arrow.from === index || arrow.to === index);
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
  if (group.kind === "stack") {
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
  if (g.tasks.reason[position]) parts.push(make(g, "p", "kartnb-live-reason", `why it runs: ${shortReason(g, position)}`));
  g.resultPlace = make(g, "div", "kartnb-live-result");
  g.logPlace = logPane(g);
  g.filePlace = make(g, "div");
  g.detailPlace = make(g, "div");
  g.detailsShown = null;
  parts.push(taskActions(g, position), g.resultPlace, parameterTable(g, position), g.logPlace, idLine(g, position), g.filePlace);
  parts.push(linkList(g, "requires", g.tasks.requires[position] || []), linkList(g, "required by", requiringOf(g, position)));
  parts.push(g.detailPlace);
  return parts;
}

// Without the path of the output that is missing: the outputs stand below.
function shortReason(g, position) {
  const reason = g.tasks.reason[position];
  const path = ((g.tasks.outputs || [])[position] || []).find((output) => reason.endsWith(`: ${output}`));
  return path ? reason.slice(0, -path.length - 2) : reason;
}

function taskActions(g, position) {
  const actions = make(g, "p", "kartnb-live-actions");
  for (const [direction, words] of [["upstream", "What it needs"], ["downstream", "What needs it"]]) {
    actions.append(button(g, "", words, `Show only what is ${direction}`, () => ask(g, { kind: "focus", position, direction })));
  }
  g.load = button(g, "", "Load result", "Load the result from its file, and preview it", () => {
    g.load.disabled = true;
    ask(g, { kind: "load", position });
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
  line.append(make(g, "code", "", g.tasks.id[position]), copyButton(g, g.tasks.id[position], "Copy the id"));
  return line;
}

function outputLines(g, position, details) {
  const outputs = details ? details.outputs : ((g.tasks.outputs || [])[position] || []).map((path) => ({ path }));
  return outputs.map((output) => {
    const line = make(g, "p", "kartnb-live-output", "output ");
    line.append(make(g, "code", "", output.path), copyButton(g, output.path, "Copy the path"));
    const facts = [output.format, output.size_text, output.modified, output.exists === false ? "not there" : ""].filter(Boolean);
    if (facts.length) line.append(make(g, "br"), make(g, "span", "kartnb-note", facts.join(" · ")));
    return line;
  });
}

// What the files of the task tell; it comes with the graph for the tasks that are drawn, and else when asked for.
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

function copyButton(g, text, title) {
  const element = button(g, "kartnb-live-copy", "copy", title, () => {
    const done = () => { element.textContent = "copied"; };
    g.window.navigator.clipboard?.writeText(text).then(done, () => copyBySelection(g, text, done)) ?? copyBySelection(g, text, done);
  });
  return element;
}

function copyBySelection(g, text, done) {
  const place = make(g, "textarea");
  place.value = text;
  g.root.append(place);
  place.select();
  if (g.document.execCommand("copy")) done();
  place.remove();
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
  const look = lookOf(g, g.selected), run = g.runs[g.selected] || {}, note = timeNote(g, g.selected);
  g.stateLine.className = `kartnb-live-state kartnb-state kartnb-${look.slug}`;
  say(g.stateLine, [`${look.glyph} ${look.word}${note ? ` ${note}` : ""}`, run.message, run.error].filter(Boolean).join(" · "));
  updateDetails(g);
  updateLog(g);
}

// The lines of this build, or else those that were kept of the last run.
function linesOf(g, position) {
  if (g.lines[position]) return g.lines[position];
  const kept = g.details[position]?.log?.lines || [];
  return kept.map((line, i) => ({ number: i, level: LEVELS[line.level] || 0, source: line.stream, text: line.text }));
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

function logPane(g) {
  const pane = make(g, "details", "kartnb-live-log");
  pane.open = true;
  g.logFilter = make(g, "input");
  g.logFilter.type = "search";
  g.logFilter.placeholder = "Filter";
  g.logFilter.setAttribute("aria-label", "Filter the log lines");
  g.logLevel = make(g, "select");
  g.logLevel.setAttribute("aria-label", "From which level on");
  for (const [value, word] of [["0", "all"], ["20", "info"], ["30", "warning"], ["40", "error"]]) {
    const option = make(g, "option", "", word);
    option.value = value;
    g.logLevel.append(option);
  }
  g.log = make(g, "pre", "kartnb-live-lines");
  g.log.setAttribute("tabindex", "0");
  g.log.setAttribute("aria-label", "log");
  const controls = make(g, "p", "kartnb-live-actions");
  const copy = button(g, "kartnb-live-copy", "copy", "Copy the log lines", () => copyBySelection(g, g.log.textContent, () => say(copy, "copied")));
  controls.append(g.logFilter, g.logLevel, copy);
  for (const name of ["input", "change"]) controls.addEventListener(name, () => { g.logShown = ""; updateLog(g); });
  g.logShown = "";
  pane.append(make(g, "summary", "", "Log"), controls, g.log);
  return pane;
}

function updateLog(g) {
  const lines = linesOf(g, g.selected), least = Number(g.logLevel.value), wanted = g.logFilter.value.toLowerCase();
  const last = lines.length ? lines[lines.length - 1].number : -1, shown = `${g.selected}/${last}/${least}/${wanted}`;
  if (shown === g.logShown) return;
  g.logShown = shown;
  g.logPlace.hidden = !lines.length;
  const kept = lines.filter((line) => line.level >= least && line.text.toLowerCase().includes(wanted));
  const atEnd = g.log.scrollHeight - g.log.scrollTop - g.log.clientHeight < 24;
  g.log.replaceChildren(...kept.map((line) => {
    const kind = line.level >= 40 ? "error" : line.level >= 30 ? "warning" : line.source === "stderr" ? "stderr" : "plain";
    const word = Object.keys(LEVELS).find((name) => LEVELS[name] === line.level) || line.level;
    const mark = line.level ? `${word} ` : "";
    return make(g, "span", `kartnb-live-line ${kind}`, `${mark}${line.text}\n`);
  }));
  if (atEnd) g.log.scrollTop = g.log.scrollHeight;
}

function showResult(g, answer) {
  if (g.selected !== answer.position) return;
  g.load.disabled = false;
  say(g.load, "Load again");
  g.resultPlace.innerHTML = answer.html; // the one piece of markup: kartnb.view.previews has made and escaped it
}

// ---------------------------------------------------------------- to and from Python

function ask(g, message, silent) {
  g.model.send({ ...message, view: g.name });
  if (silent) return;
  g.window.clearTimeout(g.waiting);
  g.waiting = g.window.setTimeout(() => say(g.note, "The kernel is busy; this follows when it is free."), PATIENCE);
}

function onMessage(g, message) {
  if (!message || typeof message !== "object") return;
  Object.assign(g.details, message.details || {});
  if (message.kind === "news") {
    Object.assign(g.runs, message.runs || {});
    takeLines(g, message.lines || []);
  }
  schedule(g);
  if (message.view !== g.name) return;
  g.window.clearTimeout(g.waiting);
  say(g.note, message.note || "");
  if (message.kind === "result") showResult(g, message);
}

function schedule(g) {
  if (g.scheduled) return;
  g.scheduled = true;
  g.window.requestAnimationFrame(() => {
    g.scheduled = false;
    if (g.over) return;
    updateHeader(g);
    updateBoxes(g);
    updateInspector(g);
  });
}

function everySecond(g) {
  if (isActive(g)) schedule(g);
  if (g.table.open && g.tableStates !== g.states) {
    g.tableStates = g.states;
    drawTable(g);
  }
}

function render({ model, el }) {
  const document = el.ownerDocument, window = document.defaultView;
  const g = {
    model, el, document, window, name: Math.random().toString(36).slice(2), selected: null, group: null, filter: "",
    found: null, runs: {}, lines: {}, details: {}, boxes: [], arrows: [], boxOf: new Map(), x: 0, y: 0, scale: 1, free: true,
  };
  g.looks = new Map((model.get("looks") || []).map((look, rank) => [look.letter, { ...look, rank }]));
  readTasks(g);
  readStatus(g);
  g.states = model.get("states") || "";
  readRecord(g);
  readDetails(g);
  buildFrame(g);
  drawScene(g);
  updateHeader(g);
  const handlers = {
    "change:tasks": () => renewTasks(g),
    "change:scene": () => drawScene(g),
    "change:states": () => { g.states = model.get("states") || ""; schedule(g); },
    "change:status": () => { readStatus(g); schedule(g); },
    "change:record": () => { readRecord(g); schedule(g); },
    "change:details": () => { readDetails(g); schedule(g); },
    "msg:custom": (message) => onMessage(g, message),
  };
  for (const [name, handler] of Object.entries(handlers)) model.on(name, handler);
  const observer = new window.ResizeObserver(() => {
    sizeStage(g);
    if (g.free) fit(g, false);
  });
  observer.observe(g.stage);
  const clock = window.setInterval(() => everySecond(g), 500);
  return () => {
    g.over = true;
    for (const [name, handler] of Object.entries(handlers)) model.off(name, handler);
    observer.disconnect();
    window.clearInterval(clock);
    window.clearTimeout(g.waiting);
    g.root.remove();
  };
}

export default { render };
