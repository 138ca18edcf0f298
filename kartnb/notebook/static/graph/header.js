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
  const idle = isActive(g) && !counts.some(([look]) => look.word === "running");
  if (idle && g.status.starting) words.push(g.status.starting);
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
    const stop = button(g, "kartnb-live-stop-button", "■ Stop", "Stop the build", () => {
      stop.disabled = true;
      ask(g, { kind: "stop" });
    });
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
