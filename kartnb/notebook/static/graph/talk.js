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
