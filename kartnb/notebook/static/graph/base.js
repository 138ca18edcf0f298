// The live picture of a plan.
//
// Python sends the layout (trait `scene`), the tasks (`tasks`), their states with one letter each (`states`), the progress
// of the build (`progress`, `status`) and what its tasks did so far (`record`, updated by messages). Every text is written
// as text. Only the preview of a result, which Python has escaped, is markup.

const SVG = "http://www.w3.org/2000/svg";
const PADDING = 10, NAME_HEIGHT = 18, LINE_HEIGHT = 16, SHEET = 4, BAR_HEIGHT = 5, FRAME_LEFT = 12, FRAME_TITLE = 20;
const TALLEST = 640, LOWEST = 120, WITH_INSPECTOR = 380, NARROW = 720, SMALLEST_SCALE = 0.6, LEGIBLE_SCALE = 0.8, LARGEST_SCALE = 3;
const MAX_HITS = 12, MAX_ROWS = 200, MAX_LINES = 400, MAX_LINKS = 20, PATIENCE = 300;
const ASKED = {
  upstream: "What it needs", downstream: "What needs it", expand: "Show one by one", collapse: "Put into one stack",
  whole: "Show the whole graph", load: "Load result", stop: "Stop",
};

function draw(g, tag, attributes, text) {
  const element = g.document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function duration(seconds) {
  const s = Math.max(seconds, 0);
  if (s < 0.995) return `${s.toFixed(2)} s`;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60), rest = whole % 60;
  if (minutes < 60) return rest ? `${minutes} min ${rest} s` : `${minutes} min`;
  const hours = Math.floor(Math.round(whole / 60) / 60), left = Math.round(whole / 60) % 60;
  return left ? `${hours} h ${left} min` : `${hours} h`;
}

function about(seconds) {
  return seconds < 1 ? whole(seconds) : `about ${whole(seconds)}`;
}

function whole(seconds) {
  if (seconds < 1) return "under 1 s";
  return seconds < 59.5 ? `${Math.round(seconds)} s` : duration(seconds);
}
