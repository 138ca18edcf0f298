// A button that copies a line of code; where the page may not write to the clipboard, the line is selected instead.
function render({ model, el }) {
  const stop = new AbortController();
  const row = el.ownerDocument.createElement("div");
  row.className = "kartnb kartnb-copy";
  const button = el.ownerDocument.createElement("button");
  button.type = "button";
  button.textContent = "Copy as code";
  const code = el.ownerDocument.createElement("code");
  const note = el.ownerDocument.createElement("span");
  note.setAttribute("role", "status");
  const show = () => {
    code.textContent = model.get("code");
    row.hidden = !model.get("code");
    note.textContent = "";
  };
  const select = () => {
    const range = el.ownerDocument.createRange();
    range.selectNodeContents(code);
    const selection = el.ownerDocument.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    note.textContent = " selected";
  };
  button.addEventListener(
    "click",
    async () => {
      try {
        await el.ownerDocument.defaultView.navigator.clipboard.writeText(model.get("code"));
        note.textContent = " ✓ copied";
      } catch {
        select();
      }
    },
    { signal: stop.signal },
  );
  model.on("change:code", show);
  show();
  row.append(button, " ", code, note);
  el.append(row);
  return () => {
    stop.abort();
    model.off("change:code", show);
  };
}

export default { render };
