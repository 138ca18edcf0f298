// ---------------------------------------------------------------- the picture

function drawScene(g) {
  g.scene = parsed(g.model.get("scene"), null) || { width: 0, height: 0, boxes: [], frames: [], arrows: [] };
  g.ground.replaceChildren();
  for (const frame of g.scene.frames) drawFrame(g, frame);
  g.arrows = g.scene.arrows.map((arrow) => drawArrow(g, arrow));
  g.boxes = g.scene.boxes.map((box, i) => drawBox(g, box, i));
  g.boxOf = new Map();
  g.scene.boxes.forEach((box, i) => box.members.forEach((position) => g.boxOf.set(position, i)));
  g.picture.setAttribute("aria-label", "Tasks; arrows go from a task to the tasks that require it");
  g.current = Math.max(0, g.boxes.length - 1);
  if (g.boxes.length) g.boxes[g.current].element.setAttribute("tabindex", "0");
  updateTrail(g);
  keepGroup(g);
  g.free = true;
  sizeStage(g);
  fit(g, false);
  updateBoxes(g);
  markSelected(g);
}

// The stack in the inspector may be redrawn, or be opened: then the inspector has nothing to show.
function keepGroup(g) {
  if (!g.group) return;
  const { members } = g.group;
  g.group = g.scene.boxes.find((box) => box.kind !== "task" && box.members.length === members.length && box.members[0] === members[0]) || null;
  if (!g.group) g.inspector.hidden = true;
}

// The frame of an opened stack, behind its tasks.
function drawFrame(g, frame) {
  const element = draw(g, "g", { class: "frame", transform: `translate(${frame.x} ${frame.y})` });
  element.append(draw(g, "rect", { width: frame.width, height: frame.height, rx: 8 }));
  element.append(draw(g, "text", { class: "name", x: FRAME_LEFT, y: FRAME_TITLE }, frame.title));
  g.ground.append(element);
}

// How arrows name a box: a task in a frame has the arrows of its frame.
function endOf(g, index) {
  const frame = g.scene.boxes[index]?.frame;
  return frame === undefined ? `box ${index}` : `frame ${frame}`;
}

function markArrows(g, kind, index) {
  const end = endOf(g, index);
  for (const arrow of g.arrows) arrow.element.classList.toggle(kind, index >= 0 && (arrow.from === end || arrow.to === end));
}

function drawArrow(g, arrow) {
  const element = draw(g, "g", { class: "arrow" });
  element.append(draw(g, "path", { class: "edge", d: arrow.line }), draw(g, "path", { class: "tip", d: arrow.tip }));
  g.ground.append(element);
  return { ...arrow, element };
}

function drawBox(g, box, index) {
  const element = draw(g, "g", { class: "box", role: "button", tabindex: "-1", transform: `translate(${box.x} ${box.y})` });
  if (box.kind === "stack") for (const step of [2, 1]) element.append(card(g, box, SHEET * step));
  element.append(card(g, box, 0));
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

function card(g, box, shift) {
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
  if (box.why) drawn.why = write("why", box.why);
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
  setText(drawn.lines[0], text);
  setText(drawn.note, text.length > 15 ? "" : drawn.box.id);
  if (drawn.why) setText(drawn.why, reasonOf(g, position, true));
  drawn.element.setAttribute("aria-label", `${titleOf(g, position, 80)}, ${waitsOf(g, position) || look.word}`);
}

function updateStackBox(g, drawn, counts) {
  const { box } = drawn, total = box.members.length;
  drawn.lines.forEach((line, i) => {
    const entry = counts[i];
    const rest = i === drawn.lines.length - 1 && counts.length > drawn.lines.length;
    setText(line, !entry ? "" : rest ? restOf(counts.slice(i)) : `${entry[0].glyph} ${count(entry[1])} ${entry[0].word}`);
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
