// ---------------------------------------------------------------- the frame

function buildFrame(g) {
  g.root = make(g, "div", "kartnb kartnb-live");
  g.root.setAttribute("role", "region");
  g.root.dataset.lmSuppressShortcuts = "true"; // JupyterLab's keys stay out of here
  g.hide = make(g, "style", "", hidingRule(g.model.get("key")));
  g.root.append(g.hide, buildHeader(g), buildBody(g), buildTable(g));
  g.root.addEventListener("keydown", (event) => onKey(g, event));
  g.el.append(g.root);
}

function buildHeader(g) {
  const header = make(g, "div", "kartnb-live-header");
  const first = make(g, "div", "kartnb-live-row");
  g.title = make(g, "strong", "kartnb-live-title");
  g.words = make(g, "span", "kartnb-live-words");
  g.stop = make(g, "span", "kartnb-live-stop");
  first.append(g.title, g.words, make(g, "span", "kartnb-live-space"), g.stop);
  g.bar = make(g, "div", "kartnb-live-bar");
  g.bar.setAttribute("role", "progressbar");
  const second = make(g, "div", "kartnb-live-row");
  g.counts = make(g, "span", "kartnb-live-counts");
  second.append(g.counts, make(g, "span", "kartnb-live-space"), buildSearch(g), buildZoom(g));
  g.trail = make(g, "div", "kartnb-live-row kartnb-live-trail");
  g.sharing = make(g, "p", "kartnb-note");
  header.append(first, g.bar, second, g.sharing, g.trail);
  return header;
}

function buildSearch(g) {
  const place = make(g, "span", "kartnb-live-search");
  g.search = searchField(g, "Search tasks", "Search tasks by class, parameters or id", () => showHits(g));
  g.search.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && g.hits.firstChild) g.hits.firstChild.click();
    if (event.key === "ArrowDown" && g.hits.firstChild) g.hits.firstChild.focus();
  });
  g.hits = make(g, "div", "kartnb-live-hits");
  g.hits.hidden = true;
  place.append(g.search, g.hits);
  return place;
}

function buildZoom(g) {
  const place = make(g, "span", "kartnb-live-zoom");
  place.append(
    button(g, "", "−", "Zoom out", () => zoomAtCentre(g, 1 / 1.25)),
    button(g, "", "+", "Zoom in", () => zoomAtCentre(g, 1.25)),
    button(g, "", "Fit", "Fit the graph to the view", () => fit(g, true)),
  );
  return place;
}

function buildBody(g) {
  const body = make(g, "div", "kartnb-live-body");
  g.stage = make(g, "div", "kartnb-live-stage");
  g.picture = draw(g, "svg", { role: "group" });
  g.ground = draw(g, "g", {});
  g.picture.append(g.ground);
  g.tip = make(g, "div", "kartnb-live-tip");
  g.tip.setAttribute("role", "tooltip");
  g.tip.hidden = true;
  g.note = make(g, "p", "kartnb-live-note");
  g.note.setAttribute("role", "status");
  g.stage.append(g.picture, g.tip, g.note);
  g.inspector = make(g, "aside", "kartnb-live-inspector");
  g.inspector.setAttribute("tabindex", "-1");
  g.inspector.hidden = true;
  body.append(g.stage, g.inspector);
  addPanning(g);
  return body;
}
