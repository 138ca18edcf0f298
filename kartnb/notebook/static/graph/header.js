// ---------------------------------------------------------------- the header's texts

function updateHeader(g) {
  setText(g.title, g.status.title || "");
  g.root.setAttribute("aria-label", `Graph of ${g.status.title || "a task"}`);
  updateCounts(g, withLooks(g, g.progress.counts), g.tasks.name.length);
  setText(g.sharing, g.status.sharing || "");
  g.sharing.hidden = !g.status.sharing;
  updateProgress(g);
  updateStop(g);
}

// Python counts; between its messages the times are updated here.
function updateProgress(g) {
  const { words: first, total = 0, ended = 0, idle, bar } = g.progress;
  const words = [first];
  if (isActive(g) && idle && g.status.starting) words.push(g.status.starting);
  if (g.status.phase !== "plan") words.push(duration(elapsed(g)));
  const left = g.status.remaining == null ? null : g.status.remaining - (elapsed(g) - g.status.elapsed);
  if (isActive(g) && left !== null) words.push(`about ${whole(Math.max(left, 1))} left`);
  if (isActive(g)) words.push(...(g.status.waits || [])); // last: they may be long
  if (g.status.phase === "plan" && g.status.remaining) words.push(about(g.status.remaining));
  setText(g.words, words.filter(Boolean).join(" · "));
  g.bar.hidden = g.status.phase === "plan" || !total;
  g.bar.setAttribute("aria-label", "build");
  g.bar.setAttribute("aria-valuemin", "0");
  g.bar.setAttribute("aria-valuemax", String(total));
  g.bar.setAttribute("aria-valuenow", String(ended));
  g.bar.setAttribute("aria-valuetext", words.join(" · "));
  fillBar(g, g.bar, withLooks(g, bar), total);
}

function withLooks(g, counts) {
  return (counts || []).map(([letter, number]) => [g.looks.get(letter), number]);
}

function fillBar(g, bar, counts, total) {
  while (bar.children.length < counts.length) bar.append(make(g, "div"));
  while (bar.children.length > counts.length) bar.lastChild.remove();
  counts.forEach(([look, number], i) => {
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
  setText(g.counts.firstChild, counted(total, "task"));
  counts.forEach(([look, number], i) => {
    const chip = g.counts.children[i + 1];
    setText(chip, `${look.glyph} ${count(number)} ${look.word}`);
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
