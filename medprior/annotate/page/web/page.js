// The drawing page: choose a radiograph, draw its structures, preview the annotation on other patients.
import { Board } from "/static/board.js";
import { showLegend, showResult } from "/static/result.js";
import { buildPictureUrl, postJson, request, uploadFile } from "/static/server.js";
import { prepareWindowing } from "/static/windowing.js";

const $ = (id) => document.getElementById(id);
const SIDES = { left: "on the picture's right", right: "on the picture's left" };
const HINTS = {
  "": "Choose how to draw. Drag the picture to move it; the wheel zooms.",
  points: "Click along the edge; click the first point or press Enter to close. Ctrl+Z removes the last point, Escape stops.",
  freehand: "Hold the button down and draw around the structure; let go to close. Escape stops.",
  edit: "Drag the white points. Drag a dark point to add one; right-click, or Delete, removes one.",
};
const state = { key: "", names: [], colours: {}, further: [], unsaved: false, suggestions: [] };

const titleOf = (name) => {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
};
const listUnknown = () => state.names.filter((name) => !state.colours[name]);
const colourOf = (name) => state.colours[name] || state.further[listUnknown().indexOf(name) % state.further.length];
const toIdentifier = (text) => text.normalize("NFKD").toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_+|_+$/g, "");

function showAlert(text) {
  $("alert").hidden = !text;
  $("alert").firstElementChild.textContent = text;
}

function withAlert(work) {
  return async (...args) => {
    showAlert("");
    try {
      await work(...args);
    } catch (error) {
      showAlert(error.message || String(error));
    }
  };
}

function showStep(step) {
  for (const id of ["choose", "draw", "result", "end"]) $(id).hidden = id !== step;
  for (const item of $("steps").children) {
    if (item.dataset.step === step) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  }
}

const board = new Board($("board"), {
  colourOf, titleOf, onChange: () => refresh(), onPick: (name) => selectStructure(name),
});
const resetWindowing = prepareWindowing();

function refresh() {
  if (!board?.history) return;
  const drawing = board.drawing;
  for (const button of $("structures").children) {
    const parts = (drawing[button.dataset.name] || []).length;
    button.lastElementChild.textContent = parts > 1 ? `${parts} parts` : parts ? "drawn" : "";
  }
  const hasContour = Boolean(drawing[board.active]);
  $("points").setAttribute("aria-pressed", board.mode === "points");
  $("freehand").setAttribute("aria-pressed", board.mode === "freehand");
  $("hint").textContent = HINTS[board.mode || (hasContour ? "edit" : "")];
  $("remove").disabled = !hasContour;
  $("undo").disabled = !board.history.canUndo && board.mode !== "points";
  $("redo").disabled = !board.history.canRedo;
  $("save").disabled = Object.keys(drawing).length === 0;
  state.unsaved = JSON.stringify(drawing) !== state.saved && Object.keys(drawing).length > 0;
}

function selectStructure(name) {
  board.select(name);
  for (const button of $("structures").children) {
    const isActive = button.dataset.name === name;
    button.setAttribute("aria-checked", isActive);
    button.tabIndex = isActive ? 0 : -1;
  }
  refresh();
}

function listStructures() {
  $("structures").replaceChildren(...state.names.map((name, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.name = name;
    button.setAttribute("role", "radio");
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = colourOf(name);
    const label = document.createElement("span");
    const side = SIDES[name.split("_")[0]];
    label.textContent = `${index < 9 ? `${index + 1}  ` : ""}${titleOf(name)}`;
    if (side) button.title = `The patient's ${name.split("_")[0]}: ${side}`;
    button.append(swatch, label, document.createElement("small"));
    button.addEventListener("click", () => selectStructure(name));
    return button;
  }));
  selectStructure(state.names.includes(board.active) ? board.active : state.names[0]);
}

// Return to the drawing for the same image; confirm before another one replaces unsaved contours.
async function openAnother(key) {
  if (key === state.key) {
    actions.again();
    return;
  }
  if (state.unsaved && !window.confirm("The drawing is not saved. Leave it?")) return;
  await openPicture(key);
}

async function openPicture(key) {
  const picture = await request(`/api/picture?key=${encodeURIComponent(key)}`);
  state.key = key;
  const contours = {};
  for (const { name, contours: parts } of picture.structures) {
    if (parts.length) contours[name] = parts;
    if (!state.names.includes(name)) state.names.push(name);
  }
  showStep("draw");
  state.saved = JSON.stringify(contours);
  resetWindowing();
  board.active = state.names[0];
  board.open(buildPictureUrl(key), picture.rows, picture.cols, contours);
  listStructures();
}

function listSuggestions() {
  $("choose-help").textContent = state.suggestions.length
    ? "These represent many others of your cohort, the most typical first. Prefer a typical one: the annotation is carried over to all others."
    : "Open a radiograph as DICOM, PNG, JPEG, TIFF or BMP. It stays on this machine.";
  $("suggestions").replaceChildren(...state.suggestions.map((key, index) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    const image = document.createElement("img");
    image.src = buildPictureUrl(key, true);
    image.alt = "";
    const text = document.createElement("span");
    text.textContent = index ? `Radiograph ${index + 1}` : "1: the most typical";
    button.append(image, text);
    button.addEventListener("click", withAlert(() => openAnother(key)));
    item.append(button);
    return item;
  }));
}

const openFile = withAlert(async (file) => {
  if (!file) return;
  const { key } = await uploadFile(file);
  await openAnother(key);
});

const save = withAlert(async () => {
  board.stop();
  const drawing = board.drawing;
  const structures = Object.entries(drawing).map(([name, contours]) => ({ name, contours }));
  $("save").disabled = true;
  $("hint").textContent = "Saving…";
  try {
    const saved = await postJson("/api/save", { picture: state.key, structures, author: $("author").value });
    state.saved = JSON.stringify(drawing);
    $("next").textContent = saved.next;
    showStep("result");
    showLegend(saved.colours, titleOf);
    $("again").focus();
    refresh();
    await showResult(saved);
  } finally {
    refresh();
  }
});

const actions = {
  points: () => (board.mode === "points" ? board.stop() : board.drawPoints()),
  freehand: () => (board.mode === "freehand" ? board.stop() : board.drawFreehand()),
  template: () => board.template(),
  remove: () => board.remove(),
  undo: () => board.undo(),
  redo: () => board.redo(),
  reset: () => { resetWindowing(); board.fit(); },
  save,
  back: () => { board.stop(); showStep("choose"); },
  again: () => { showStep("draw"); board.fit(); },
  finish: withAlert(async () => { await postJson("/api/finish", {}); state.unsaved = false; showStep("end"); }),
};
for (const [id, action] of Object.entries(actions)) $(id).addEventListener("click", action);

$("alert-close").addEventListener("click", () => showAlert(""));
$("open").addEventListener("change", (event) => { openFile(event.target.files[0]); event.target.value = ""; });
for (const kind of ["dragover", "dragleave", "drop"]) {
  $("choose").addEventListener(kind, (event) => {
    event.preventDefault();
    $("choose").classList.toggle("dropping", kind === "dragover");
    if (kind === "drop") openFile(event.dataTransfer.files[0]);
  });
}
$("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = toIdentifier($("add-name").value);
  if (!/^[a-z]/.test(name)) {
    showAlert("Give the structure a name that begins with a letter, for example left clavicle.");
    return;
  }
  showAlert("");
  if (!state.names.includes(name)) state.names.push(name);
  $("add-name").value = "";
  board.active = name;
  listStructures();
});

const KEYS = { d: "points", f: "freehand", t: "template" };
document.addEventListener("keydown", (event) => {
  if ($("draw").hidden || event.defaultPrevented) return;
  const typing = event.target.matches("input[type=text]");
  const chord = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  let done = true;
  if (key === "escape") board.stop();
  else if (typing) done = false;
  else if (chord && (key === "y" || (key === "z" && event.shiftKey))) board.redo();
  else if (chord && key === "z") board.undo();
  else if (chord || event.altKey) done = false;
  else if (/^[1-9]$/.test(key) && state.names[Number(key) - 1]) selectStructure(state.names[Number(key) - 1]);
  else if (key === "delete") board.remove();
  else if (KEYS[key]) actions[KEYS[key]]();
  else done = false;
  if (done) event.preventDefault();
});
$("structures").addEventListener("keydown", (event) => {
  const way = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (!way) return;
  event.preventDefault();
  const at = state.names.indexOf(board.active);
  selectStructure(state.names[(at + way + state.names.length) % state.names.length]);
  $("structures").querySelector("[aria-checked=true]").focus();
});
window.addEventListener("beforeunload", (event) => { if (state.unsaved) event.preventDefault(); });

withAlert(async () => {
  // The cookie replaces the token in the address.
  window.history.replaceState(null, "", "/");
  const start = await request("/api/start");
  state.names = [...start.structures];
  state.colours = start.colours;
  state.further = start.further;
  state.suggestions = start.suggestions;
  listSuggestions();
  if (start.first) await openPicture(start.first);
  else showStep("choose");
})();
