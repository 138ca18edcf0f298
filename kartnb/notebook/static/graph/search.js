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
  markArrows(g, "near", index);
}

function tipText(g, box) {
  if (box.kind !== "task") {
    const counts = countStates(g, box.members).map(([look, n]) => `${look.glyph} ${count(n)} ${look.word}`);
    return [box.kind === "stack" ? `${nameOf(g, box.members[0])}: ${counted(box.members.length, "task")}` : box.name, counts.join(", ")].join("\n");
  }
  const position = box.members[0], look = lookOf(g, position), run = g.runs[position] || {};
  const lines = [titleOf(g, position, 400), stateText(g, position)];
  const isPlain = look.word === "missing" && g.tasks.reason[position]?.[0] === "output missing"; // by the state
  lines.push(heldOf(g, position), isPlain ? "" : reasonOf(g, position), run.message || "", run.error || "", `id ${g.tasks.id[position]}`);
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
  if (!found.length) rows.push(make(g, "p", "kartnb-note", "No class, parameter or id matches."));
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
