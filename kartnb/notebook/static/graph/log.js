// ---------------------------------------------------------------- the log of a task

// The lines of this build, or else those that were kept of the last run.
function linesOf(g, position) {
  if (g.lines[position]) return g.lines[position];
  const kept = g.details[position]?.log?.lines || [];
  return kept.map((line, i) => ({ number: i, level: LEVELS[line.level] || 0, source: line.stream, text: line.text }));
}

function logPane(g) {
  const pane = make(g, "details", "kartnb-live-log");
  pane.open = true;
  const again = () => { g.logShown = ""; updateLog(g); };
  g.logFilter = searchField(g, "Filter lines", "Filter the log lines", again);
  g.logLevel = levelChoice(g, again);
  g.log = make(g, "pre", "kartnb-live-lines");
  g.log.setAttribute("tabindex", "0");
  g.log.setAttribute("aria-label", "log");
  const controls = make(g, "p", "kartnb-live-actions");
  const copy = copyButton(g, "kartnb-live-copy", "Copy the log lines", () => g.log.textContent);
  controls.append(g.logFilter, g.logLevel, copy);
  g.logShown = "";
  pane.append(make(g, "summary", "", "Log"), controls, g.log);
  return pane;
}

function updateLog(g) {
  const lines = linesOf(g, g.selected), least = Number(g.logLevel.value), words = wordsOf(g.logFilter);
  const last = lines.length ? lines[lines.length - 1].number : -1, shown = `${g.selected}/${last}/${least}/${words}`;
  if (shown === g.logShown) return;
  g.logShown = shown;
  g.logPlace.hidden = !lines.length;
  const kept = lines.filter((line) => (line.level || LEVELS.INFO) >= least && holds(line.text, words));
  const atEnd = g.log.scrollHeight - g.log.scrollTop - g.log.clientHeight < 24;
  g.log.replaceChildren(...kept.map((line) => {
    const kind = line.level >= 40 ? "error" : line.level >= 30 ? "warning" : line.source === "stderr" ? "stderr" : "plain";
    const word = Object.keys(LEVELS).find((name) => LEVELS[name] === line.level) || line.level;
    const mark = line.level ? `${word} ` : "";
    return make(g, "span", `kartnb-live-line ${kind}`, `${mark}${line.text}\n`);
  }));
  if (atEnd) g.log.scrollTop = g.log.scrollHeight;
}
