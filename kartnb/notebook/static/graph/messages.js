// ---------------------------------------------------------------- to and from Python

// A running cell may keep the kernel from answering: until it does, the request is named. Python answers each request
// once, in order; one that is waiting already is not sent again.
function ask(g, message) {
  const key = JSON.stringify(message);
  if ([...g.asked.values()].some((other) => other.key === key)) return;
  g.number += 1;
  g.asked.set(g.number, { key, message });
  g.model.send({ ...message, view: g.name, number: g.number });
  setText(g.note, "");
  g.window.clearTimeout(g.waiting);
  g.waiting = g.window.setTimeout(() => showWaiting(g), isBlocked(g) ? 0 : PATIENCE);
}

function isAsked(g, kind, position) {
  return [...g.asked.values()].some(({ message }) => message.kind === kind && message.position === position);
}

// While a build runs in a cell, the kernel has no time for anything else.
function isBlocked(g) {
  return isActive(g) && g.status.stop === "kernel";
}

function showWaiting(g) {
  const words = [...g.asked.values()].map(({ message }) => ASKED[message.direction || message.kind] || message.kind);
  if (words.length) setText(g.note, `… waiting for the kernel: ${words.join(", ")}`);
  updateInspector(g);
}

function onMessage(g, message) {
  if (!message || typeof message !== "object") return;
  Object.assign(g.details, message.details || {});
  if (message.kind === "changes") {
    Object.assign(g.runs, message.runs || {});
    takeLines(g, message.lines || []);
  }
  schedule(g);
  if (message.view === g.name) takeAnswer(g, message);
}

function takeAnswer(g, message) {
  if (message.kind === "result") g.results.set(message.position, message.html);
  if (!g.asked.delete(message.number)) return; // the details that a click on a task requests are not waited for
  if (!g.asked.size) g.window.clearTimeout(g.waiting);
  setText(g.note, message.note || "");
  if (g.asked.size) showWaiting(g);
  updateInspector(g);
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
    asked: new Map(), results: new Map(), number: 0,
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
    "change:progress": () => { g.progress = model.get("progress") || {}; schedule(g); },
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
