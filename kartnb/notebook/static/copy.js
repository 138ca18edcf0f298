// A button that copies a line of code; where the page may not write to the clipboard, the line is selected instead.
function render({ model, el }) {
  const stop = new AbortController();
  const row = el.ownerDocument.createElement("div");
  row.className = "kartnb kartnb-copy";
  const button = el.ownerDocument.createElement("button");
  button.type = "button";
  button.textContent = "Copy as code";
  const code = el.ownerDocument.createElement("code");
  const told = el.ownerDocument.createElement("span");
  told.setAttribute("role", "status");
  const show = () => {
    code.textContent = model.get("code");
    row.hidden = !model.get("code");
    told.textContent = "";
  };
  const select = () => {
    const range = el.ownerDocument.createRange();
    range.selectNodeContents(code);
    const selection = el.ownerDocument.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    told.textContent = " selected";
  };
  button.addEventListener(
    "click",
    async () => {
      try {
        await el.ownerDocument.defaultView.navigator.clipboard.writeText(model.get("code"));
        told.textContent = " ✓ copied";
      } catch {
        select();
      }
    },
    { signal: stop.signal },
  );
  model.on("change:code", show);
  show();
  row.append(button, " ", code, told);
  el.append(row);
  return () => {
    stop.abort();
    model.off("change:code", show);
  };
}

export default { render };
