// ---------------------------------------------------------------- pan, zoom, fit

function sizeStage(g) {
  const isNarrow = g.root.clientWidth < NARROW; // then the inspector is below the picture
  g.root.classList.toggle("kartnb-live-narrow", isNarrow);
  const width = g.stage.clientWidth || g.root.clientWidth || 800;
  const scale = Math.min(1, Math.max(SMALLEST_SCALE, (width - 16) / Math.max(g.scene.width, 1)));
  const height = Math.min(TALLEST, Math.max(LOWEST, g.scene.height * scale + 16));
  const tall = `${Math.round(Math.max(height, g.inspector.hidden || isNarrow ? 0 : WITH_INSPECTOR))}px`;
  g.stage.style.height = tall;
  g.inspector.style.maxHeight = isNarrow ? `${WITH_INSPECTOR}px` : tall;
}

function fit(g, whole) {
  const width = g.stage.clientWidth, height = g.stage.clientHeight;
  if (!width || !height) return;
  const full = Math.min(1, (width - 16) / Math.max(g.scene.width, 1), (height - 12) / Math.max(g.scene.height, 1));
  g.scale = whole ? full : Math.max(full, Math.min(1, g.inspector.hidden ? SMALLEST_SCALE : LEGIBLE_SCALE));
  g.x = (width - g.scene.width * g.scale) / 2;
  g.y = (height - g.scene.height * g.scale) / 2;
  keepInView(g, width, height);
  g.free = true;
  place(g);
  const chosen = g.selected === null ? undefined : g.boxOf.get(g.selected);
  if (chosen !== undefined && !whole) reveal(g, chosen);
}

// Where the picture is larger than the view, keep the focus in view: a task, an opened stack, or the root.
function keepInView(g, width, height) {
  const { focus, frames } = g.scene, root = g.boxes[g.boxOf.get(focus?.position ?? g.tasks.name.length - 1)]?.box;
  const wanted = focus ? root : frames[frames.length - 1] || root;
  if (!wanted) return;
  if (g.scene.width * g.scale > width) g.x = inside(width, g.scene.width * g.scale, wanted.x * g.scale, wanted.width * g.scale);
  if (g.scene.height * g.scale > height) g.y = inside(height, g.scene.height * g.scale, wanted.y * g.scale, wanted.height * g.scale);
}

// Centred; what does not fit, from its start.
function inside(room, size, start, length) {
  return Math.max(room - size - 8, Math.min(8, length > room ? 8 - start : (room - length) / 2 - start));
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
