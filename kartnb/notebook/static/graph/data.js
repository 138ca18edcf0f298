// ---------------------------------------------------------------- the data of tasks

function lookOf(g, position) {
  return g.looks.get(g.states[position]) || g.looks.get("c");
}

function nameOf(g, position) {
  return g.tasks.names[g.tasks.name[position]] ?? "";
}

function shownParameters(g, position, most) {
  const parameters = g.tasks.parameters[position];
  const text = parameters ? parameters.map(([name, value]) => `${name}=${value}`).join(", ") : "…";
  return most && text.length > most ? `${text.slice(0, most)}…` : text;
}

function titleOf(g, position, most) {
  return `${nameOf(g, position)}(${shownParameters(g, position, most)})`;
}

// Why a task runs, or ran, in words that are true in its state now; the detail only where there is room for it.
function reasonOf(g, position, brief) {
  const reason = g.tasks.reason[position];
  if (!reason) return "";
  const [kind, detail, note] = reason, look = lookOf(g, position);
  const unchanged = kind === "an upstream result may change" && g.tasks.unchanged[look.word];
  const instead = kind && (unchanged || g.tasks.instead[look.word]);
  if (instead) return brief ? unchanged || "" : [instead, note].filter(Boolean).join("; ");
  const words = look.begun ? g.tasks.kinds[kind] || kind : kind, alike = isAlike(g, position) ? g.tasks.alike : "";
  // of a file that has changed, the detail says what has become of it
  const ofFile = detail && kind === "a file that it reads has changed";
  if (brief) return alike || ((ofFile || look.open) && reason[4]) || words || reason[4];
  const full = ofFile ? detail : detail ? `${words}: ${detail}` : words;
  return [full, alike, note].filter(Boolean).join("; ");
}

// Whether a task was recomputed, and what would have run because of a change stays cached.
function isAlike(g, position) {
  return lookOf(g, position).word === "done" && requiringOf(g, position).some((other) =>
    g.tasks.reason[other]?.[0] === "an upstream result may change" && lookOf(g, other).word === "cached");
}

// What the plan says of who runs a task, until the build takes it up.
function heldOf(g, position) {
  const counts = g.status.phase === "plan" || lookOf(g, position).open;
  return (counts && g.tasks.reason[position]?.[3]) || "";
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

// The state of a task in words, for how long already, and for whom it waits.
function stateText(g, position) {
  const look = lookOf(g, position), note = timeNote(g, position), waits = waitsOf(g, position);
  return `${look.glyph} ${waits ? [waits, note].join(" · ") : `${look.word} ${note}`.trimEnd()}`;
}

function waitsOf(g, position) {
  return (lookOf(g, position).word === "waiting" && g.runs[position]?.waits) || "";
}

function timeNote(g, position) {
  const run = g.runs[position];
  if (!run) return "";
  const word = lookOf(g, position).word;
  if (word === "waiting") return run.since != null ? whole(elapsed(g) - run.since) : "";
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
  g.tasks = parsed(g.model.get("tasks"), null) || { names: [], name: [], id: [], parameters: [], requires: [], reason: [], kinds: {}, instead: {}, unchanged: {} };
  g.requiring = g.haystacks = null;
}

// A running task has asked for more tasks: positions have changed.
function renewTasks(g) {
  const chosen = g.selected === null ? null : `${nameOf(g, g.selected)} ${g.tasks.id[g.selected]}`;
  readTasks(g);
  g.runs = {};
  g.lines = {};
  g.details = {};
  g.results.clear();
  readRecord(g);
  readDetails(g);
  if (chosen === null) return schedule(g);
  const position = g.tasks.id.findIndex((id, i) => chosen === `${nameOf(g, i)} ${id}`);
  if (position < 0) return closeInspector(g);
  g.selected = position;
  drawInspector(g);
}

function readStatus(g) {
  g.progress = g.model.get("progress") || {};
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
