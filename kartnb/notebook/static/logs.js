// The lines that tasks printed and logged.
//
// Python sends the lines (trait `content`), and while a build runs the new ones (messages). Filtering and copying need no
// kernel. Every text is written as text, never as markup.

const MOST_SHOWN = 1000, AT_END = 24;

function isWanted(g, row) {
  return row.weight >= Number(g.level.value) && holds(`${row.task} ${row.level} ${row.text}`, g.words);
}

function isAtEnd(g) {
  return g.place.scrollHeight - g.place.scrollTop - g.place.clientHeight < AT_END;
}

// ---------------------------------------------------------------- the lines

function lineOf(g, row) {
  const line = make(g, "tr");
  const kind = row.slug ? `kartnb-${row.slug}` : "";
  line.append(make(g, "td", "kartnb-note", row.clock), make(g, "td", "kartnb-note"), make(g, "td"), make(g, "td"));
  if (row.task) line.children[1].append(taskButton(g, row.task));
  line.children[2].append(make(g, "span", kind && `kartnb-state ${kind}`, row.level));
  const text = make(g, "pre", kind);
  text.append(make(g, "bdi", "", row.text));
  line.children[3].append(text);
  return line;
}

function taskButton(g, task) {
  return button(g, "kartnb-logs-task", task, `Show only the lines of ${task}`, () => {
    g.filter.value = g.filter.value === task ? "" : task;
    fill(g);
  });
}

function fill(g) {
  const stay = isAtEnd(g);
  g.words = wordsOf(g.filter);
  const wanted = g.rows.filter((row) => isWanted(g, row));
  g.number = wanted.length;
  g.body.replaceChildren(...wanted.slice(-MOST_SHOWN).map((row) => lineOf(g, row)));
  settle(g, stay);
}

function add(g, rows) {
  const stay = isAtEnd(g);
  g.rows.push(...rows);
  g.rows.splice(0, g.rows.length - g.content.most);
  const wanted = rows.filter((row) => isWanted(g, row));
  g.number = Math.min(g.number + wanted.length, g.content.most);
  g.body.append(...wanted.map((row) => lineOf(g, row)));
  while (g.body.children.length > MOST_SHOWN) g.body.firstChild.remove();
  settle(g, stay);
}

function toEnd(g) {
  g.place.scrollTop = g.place.scrollHeight;
}

function settle(g, stay) {
  if (stay) toEnd(g);
  else if (!isAtEnd(g)) g.end.hidden = false;
  const filtered = g.words.length || g.level.value !== "0";
  setText(g.count, filtered ? `${count(g.number)} of ${counted(g.rows.length, "line")}` : "");
  const nothing = g.rows.length ? "No line matches." : g.content.live ? "Nothing yet." : "Nothing was printed or logged.";
  setText(g.empty, g.number ? "" : nothing);
  g.place.hidden = !g.number;
}

// ---------------------------------------------------------------- the frame

function frame(g) {
  g.root = make(g, "div", "kartnb kartnb-live kartnb-logs-live");
  g.root.dataset.lmSuppressShortcuts = "true"; // JupyterLab's keys stay out of here
  const row = make(g, "div", "kartnb-live-row"), table = make(g, "table", "kartnb-log");
  g.title = make(g, "strong", "kartnb-live-title");
  g.state = make(g, "span", "kartnb-state kartnb-running");
  g.count = make(g, "span", "kartnb-note");
  g.count.setAttribute("role", "status");
  g.filter = searchField(g, "Filter lines", "Show the lines with these words", () => fill(g));
  g.level = levelChoice(g, () => fill(g));
  const copy = copyButton(g, "", "Copy the lines that are shown", () => textOf(g));
  row.append(g.title, g.state, make(g, "span", "kartnb-live-space"), g.count, g.filter, g.level, copy);
  g.earlier = make(g, "p", "kartnb-note");
  g.body = table.createTBody();
  g.place = make(g, "div", "kartnb-scroll");
  g.place.setAttribute("tabindex", "0");
  g.place.setAttribute("role", "log");
  g.place.setAttribute("aria-live", "off");
  g.place.append(table);
  g.place.addEventListener("scroll", () => { g.end.hidden = isAtEnd(g); });
  g.end = button(g, "kartnb-logs-end", "↓ to the end", "Go to the last line, and stay there", () => toEnd(g));
  g.end.hidden = true;
  g.empty = make(g, "p", "kartnb-note");
  g.files = make(g, "details");
  g.files.append(make(g, "summary"), make(g, "div"));
  const lines = make(g, "div", "kartnb-logs-lines");
  lines.append(g.place, g.end);
  g.hide = make(g, "style", "", hidingRule(g.model.get("key")));
  g.root.append(g.hide, row, g.earlier, lines, g.empty, g.files);
  g.el.append(g.root);
}

function textOf(g) {
  const shown = g.rows.filter((row) => isWanted(g, row));
  return shown.map((row) => [row.clock, row.task, row.level, row.text].filter(Boolean).join("  ")).join("\n");
}

function head(g, content) {
  setText(g.title, content.heading);
  setText(g.state, content.live ? "► the build is running" : "");
  setText(g.earlier, content.earlier);
  g.files.hidden = !content.files.length;
  setText(g.files.firstChild, "Files with all lines");
  g.files.lastChild.replaceChildren(...content.files.map((file) => make(g, "p", "kartnb-note", file)));
}

function render({ model, el }) {
  const document = el.ownerDocument, window = document.defaultView;
  const g = { model, el, document, window, rows: [], words: [], number: 0 };
  frame(g);
  const take = () => {
    const stay = !g.content || isAtEnd(g);
    g.content = parsed(model.get("content"), { rows: [], files: [], heading: "", earlier: "", most: 0 });
    g.rows = g.content.rows;
    head(g, g.content);
    fill(g);
    if (stay) toEnd(g);
    window.requestAnimationFrame(() => { if (stay) toEnd(g); }); // on the first call it is not on the page yet
  };
  const hear = (message) => {
    if (!message || message.kind !== "lines") return;
    setText(g.title, message.heading);
    const last = g.rows.length ? g.rows[g.rows.length - 1].number : -1; // what the trait had already
    add(g, message.rows.filter((row) => row.number > last));
  };
  model.on("change:content", take);
  model.on("msg:custom", hear);
  take();
  return () => {
    model.off("change:content", take);
    model.off("msg:custom", hear);
    g.root.remove();
  };
}

export default { render };
