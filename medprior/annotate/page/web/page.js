// The drawing page: choose a radiograph, draw its structures, preview the annotation on other patients.
import { showAlert, withAlert } from "/static/alerts.js";
import { Board } from "/static/board.js";
import { listenKeys } from "/static/keys.js";
import { ask, copyText } from "/static/questions.js";
import { endResult, showLegend, showResult } from "/static/result.js";
import { buildPictureUrl, postJson, request, uploadFile } from "/static/server.js";
import { prepareWindowing } from "/static/windowing.js";

const $ = (id) => document.getElementById(id);
const SIDES = { left: "on the picture's right", right: "on the picture's left" };
const HINTS = {
  "": "Press Suggest and correct it, or choose how to draw. Drag the picture to move it; the wheel zooms.",
  points: "Click along the edge; click the first point or press Enter to close. Ctrl+Z removes the last point, Escape stops.",
  freehand: "Hold the button down and draw around the structure; let go to close. Escape stops.",
  brush: "Hold the button down and paint what belongs to the structure. Escape stops.",
  eraser: "Hold the button down and wipe off what does not belong to it. Escape stops.",
  shape: "Drag ✥ to move, ⤡ to size, ↻ to turn it; or arrows, + and −, [ and ]. Escape stops.",
  edit: "Drag the white points. Drag a dark point to add one; right-click, or Delete, removes one.",
};
const state = { key: "", names: [], colours: {}, further: [], unsaved: false, suggestions: [], isFurther: false, note: "" };

const titleOf = (name) => {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
};
const listUnknown = () => state.names.filter((name) => !state.colours[name]);
const colourOf = (name) => state.colours[name] || state.further[listUnknown().indexOf(name) % state.further.length];
const toIdentifier = (text) => text.normalize("NFKD").toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_+|_+$/g, "");

function showStep(step) {
  for (const id of ["choose", "draw", "result", "end"]) $(id).hidden = id !== step;
  for (const item of $("steps").children) {
    if (item.dataset.step === step) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  }
}

const board = new Board($("board"), {
  colourOf, titleOf, onChange: () => refresh(), onPick: (name) => selectStructure(name),
  onSecondPart: () => ask("second-part"), onPaint: (edit) => sendEdit(edit),
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
  for (const id of ["points", "freehand", "brush", "eraser", "shape"]) {
    $(id).setAttribute("aria-pressed", board.mode === id);
  }
  $("radius-row").hidden = !["brush", "eraser"].includes(board.mode);
  $("hint").textContent = (drawing === state.noted && state.note) || HINTS[board.mode || (hasContour ? "edit" : "")];
  for (const id of ["remove", "eraser", "smooth", "snap", "shape"]) $(id).disabled = !hasContour;
  $("remove").textContent = board.parts.length > 1 ? "Delete part" : "Delete";
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

// Contours by structure from the server's list; names that are new become structures to draw.
function readContours(structures) {
  const contours = {};
  for (const { name, contours: parts } of structures) {
    if (parts.length) contours[name] = parts;
    if (!state.names.includes(name)) state.names.push(name);
  }
  return contours;
}

// structures: contours to start from, in place of those saved; isFurther: a second drawing beside the first.
async function openPicture(key, structures = null, isFurther = false) {
  const picture = await request(`/api/picture?key=${encodeURIComponent(key)}`);
  Object.assign(state, { key, isFurther, note: "" });
  const contours = readContours(structures ?? picture.structures);
  showStep("draw");
  state.saved = JSON.stringify(structures ? {} : contours);
  resetWindowing();
  board.active = state.names[0];
  board.open(buildPictureUrl(key), picture.rows, picture.cols, contours);
  setRadius();
  $("carry").hidden = !state.hasDrawing || state.key.startsWith("file-");
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

// Show a sentence in place of the hint until the drawing changes.
function showNote(text) {
  Object.assign(state, { note: text, noted: board.drawing });
  refresh();
}

// Contours after a stroke, smoothing or snapping; null where the server refuses them.
async function sendEdit(edit, path = "/api/edit") {
  try {
    return (await postJson(path, edit)).contours;
  } catch (error) {
    showAlert(error.message);
    return null;
  }
}

async function changeContours(edit, path) {
  board.stop();
  const { active: name, drawing } = board;
  const contours = await sendEdit({ ...edit, contours: board.parts }, path);
  if (contours && drawing === board.drawing) board.setContours(contours, { [name]: contours });
}
const smooth = () => changeContours({ kind: "smooth", size: board.size, radius: board.radius / 2 });
const snap = () => changeContours({ picture: state.key }, "/api/snap");

// Put suggested contours in place of the structures that they name; Ctrl+Z brings the former ones back.
const suggestFrom = (path) => withAlert(async () => {
  board.stop();
  const key = state.key;
  for (const id of ["suggest", "carry"]) $(id).disabled = true;
  $("hint").textContent = "Looking for the structures; this takes some seconds…";
  try {
    const { structures, note } = await request(`${path}?key=${encodeURIComponent(key)}`);
    if (key !== state.key) return;
    board.setContours([], readContours(structures));
    listStructures();
    showNote(note);
  } finally {
    for (const id of ["suggest", "carry"]) $(id).disabled = false;
    refresh();
  }
});

// Draw on one of the other patients, from the contours that were carried over to it.
const correct = withAlert(async (key, number) => {
  const { structures } = await request(`/api/carried/contours?number=${number}`);
  await openPicture(key, structures, true);
  showNote("Correct the lines, then save: all is carried over again with both drawings.");
});

const save = withAlert(async () => {
  board.stop();
  const drawing = board.drawing;
  const structures = Object.entries(drawing).map(([name, contours]) => ({ name, contours }));
  $("save").disabled = true;
  $("hint").textContent = "Saving…";
  try {
    const saved = await postJson("/api/save", {
      picture: state.key, structures, author: $("author").value, is_further: state.isFurther,
    });
    state.saved = JSON.stringify(drawing);
    state.hasDrawing = saved.carrying;
    $("next").textContent = saved.next;
    showStep("result");
    showLegend(saved.colours, titleOf);
    $("again").focus();
    refresh();
    await showResult({ ...saved, key: state.key }, correct);
  } finally {
    refresh();
  }
});

const actions = {
  points: () => (board.mode === "points" ? board.stop() : board.drawPoints()),
  ...Object.fromEntries(["freehand", "brush", "eraser"].map((mode) => [
    mode, () => (board.mode === mode ? board.stop() : board.drawStrokes(mode)),
  ])),
  shape: () => (board.mode === "shape" ? board.stop() : board.transform()),
  smooth,
  snap,
  suggest: suggestFrom("/api/suggestion"),
  carry: suggestFrom("/api/transferred"),
  copy: () => copyText($("next").textContent, $("copy")),
  template: () => board.template(),
  remove: () => board.remove(),
  undo: () => board.undo(),
  redo: () => board.redo(),
  reset: () => { resetWindowing(); board.fit(); },
  save,
  back: () => { board.stop(); showStep("choose"); },
  again: () => { showStep("draw"); board.fit(); },
  finish: withAlert(async () => {
    endResult();
    await postJson("/api/finish", {});
    state.unsaved = false;
    showStep("end");
  }),
};
for (const [id, action] of Object.entries(actions)) $(id).addEventListener("click", action);

// Radius of brush and eraser: a share of the radiograph's longer side, in its pixels.
const setRadius = () => { board.radius = (Number($("radius").value) / 1000) * Math.max(...(board.size || [1])); };
$("radius").addEventListener("input", setRadius);
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

listenKeys(board, (number) => state.names[number] && selectStructure(state.names[number]));
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
  state.hasDrawing = start.drawing;
  $("suggest-row").hidden = !start.model && !start.cohort;
  $("suggest").hidden = !start.model;
  listSuggestions();
  if (start.first) await openPicture(start.first);
  else showStep("choose");
})();
