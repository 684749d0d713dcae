// The reading page: a file in, a radiograph with what is said of it out.

import { FURTHER_COLOURS, STRUCTURE_COLOURS } from "/shared/palette.js";
import { isDicom, saveDicom, saveJson, savePicture } from "./downloads.js";
import { FileList } from "./files.js";
import { listenKeys } from "./keys.js";
import { heat, Picture } from "./picture.js";
import { computeWindow, PRESETS } from "./presets.js";
import { callOf, element, part, report } from "./report.js";
import { View } from "./view.js";
import { reason, title, words } from "./words.js";

const FRONTAL = ["PA", "AP", "UNKNOWN"]; // a view that is not recorded counts as frontal, as on the server
const FIRST = "contours,attention,pixels";
const PLACES = "locations"; // asked for afterwards: each finding needs a pass of its own
const FINDING = "finding:"; // in names of attention maps, so that a finding may be called like a structure
const FINDING_COLOUR = FURTHER_COLOURS[0];

const view = new View(part("viewer"));
const files = new FileList((file) => read(file));
/** @type {{file: File, answer: any, picture: Picture, heats: Map<string, HTMLCanvasElement>, boxes: Box[]} | null} */
let shown = null;
let attention = "";
let asked = 0;

/** @typedef {import("./view.js").Box} Box */

/**
 * @param {string} name
 * @param {number} order
 * @returns {string} #rrggbb
 */
function colour(name, order) {
  return STRUCTURE_COLOURS[name] ?? FURTHER_COLOURS[order % FURTHER_COLOURS.length];
}

/** @param {string} id */
function input(id) {
  return /** @type {HTMLInputElement} */ (part(id));
}

/**
 * Send a file and show the answer.
 * @param {File} file
 * @returns {Promise<string>} what came out, in a few words
 */
async function read(file) {
  asked += 1;
  const turn = asked;
  part("busy").hidden = false;
  part("status").textContent = "Reading …";
  const { code, message, answer } = await ask(file, FIRST);
  const summary = answer ? summarise(answer) : "not read";
  if (turn !== asked) return summary;
  part("busy").hidden = true;
  if (!answer) refuse(code, message);
  else {
    await show(file, answer);
    void locate(file, turn);
  }
  part("another").hidden = false;
  return summary;
}

/**
 * An answer in a few words, for the list of files.
 * @param {any} answer
 */
function summarise(answer) {
  const present = Object.values(answer.findings).filter((/** @type {any} */ finding) => callOf(finding) === "present");
  const parts = [];
  if (answer.flags.includes("far_from_training")) parts.push("unlike the training images");
  if (answer.cardiothoracic_ratio) parts.push(`heart ${answer.cardiothoracic_ratio.value.toFixed(2)}`);
  if (Object.keys(answer.findings).length) parts.push(`${present.length} present`);
  return parts.join(", ") || "read";
}

/**
 * @param {File} file
 * @param {string} include extras of the answer
 * @returns {Promise<{code: string, message: string, answer: any}>}
 */
async function ask(file, include) {
  try {
    const response = await fetch(`/v1/predict?include=${include}`, {
      method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" },
    });
    const body = await response.json();
    if (response.ok) return { code: "", message: "", answer: body };
    return { code: String(body.code), message: String(body.message), answer: null };
  } catch {
    return { code: "offline", message: "", answer: null };
  }
}

/**
 * @param {string} code
 * @param {string} message
 */
function refuse(code, message) {
  shown = null;
  view.layers = { ...view.layers, picture: null };
  view.draw();
  part("status").textContent = "The file was not read.";
  part("refusal-text").textContent = reason(code, message);
  part("refusal-code").textContent = code;
  for (const id of ["reading", "controls", "keys", "unfamiliar"]) part(id).hidden = true;
  part("facts").textContent = "";
  part("refusal").hidden = false;
  part("empty").hidden = false;
}

/**
 * @param {File} file
 * @param {any} answer
 */
async function show(file, answer) {
  const picture = new Picture(answer.pixels);
  const heats = new Map();
  for (const [order, [name, png]] of Object.entries(answer.attention).entries()) {
    const gain = answer.attention_peak[name] / answer.attention_full[name];
    heats.set(name, await heat(png, gain, colour(name, order)));
  }
  answer.pixels = answer.attention = null;
  shown = { file, answer, picture, heats, boxes: [] };
  attention = "";
  for (const id of ["refusal", "empty"]) part(id).hidden = true;
  for (const id of ["reading", "controls", "keys"]) part(id).hidden = false;
  report(answer);
  choices(answer, heats);
  part("boxes-row").hidden = true;
  resetWindow();
  part("download-note").textContent = "";
  const dicom = await isDicom(file);
  for (const kind of ["seg", "sr"]) downloadButton(kind).hidden = !dicom || (kind === "seg" && !answer.structures.length);
  view.open(answer.columns, answer.rows);
  const calls = Object.values(answer.findings).map((/** @type {any} */ finding) => callOf(finding));
  const present = calls.filter((call) => call === "present").length;
  const open = calls.filter((call) => call === "none").length;
  part("status").textContent = calls.length
    ? `Read. ${present} of ${calls.length} findings present${open ? `, ${open} not called` : ""}.`
    : "Read.";
}

/**
 * Ask where the model looks for the findings that it calls present, and add what it says to the layers.
 * @param {File} file
 * @param {number} turn of the file that is shown
 */
async function locate(file, turn) {
  if (!shown || shown.answer.flags.includes("far_from_training")) return;
  if (!Object.values(shown.answer.findings).some((finding) => callOf(finding) === "present")) return;
  const { answer } = await ask(file, PLACES);
  if (!answer || turn !== asked || !shown) return;
  shown.answer.boxes = Object.fromEntries(Object.entries(answer.locations).map(([name, item]) => [name, item.boxes]));
  for (const [name, item] of Object.entries(answer.locations)) {
    const gain = item.attention_peak / item.attention_full;
    shown.heats.set(FINDING + name, await heat(item.attention, gain, FINDING_COLOUR));
    for (const box of item.boxes) shown.boxes.push({ name: title(name), sides: box });
  }
  if (turn !== asked) return;
  choices(shown.answer, shown.heats);
  part("boxes-row").hidden = shown.boxes.length === 0;
  layers();
}

/**
 * Build the switches of contours and attention.
 * @param {any} answer
 * @param {Map<string, HTMLCanvasElement>} heats
 */
function choices(answer, heats) {
  const boxes = Object.keys(answer.contours).map((name, order) => {
    const label = element("label", "", "choice");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
    box.dataset.structure = name;
    box.addEventListener("change", layers);
    const swatch = element("span", "", "swatch");
    swatch.style.background = colour(name, order);
    label.append(box, swatch, title(name));
    return label;
  });
  part("structures").replaceChildren(...boxes);
  input("show-lines").disabled = !answer.cardiothoracic_ratio;
  const names = ["", ...heats.keys()];
  const buttons = names.map((name) => {
    const button = element("button", name ? words(name.replace(FINDING, "")) : "none");
    Object.assign(button, { type: "button" });
    button.dataset.attention = name || "none";
    button.setAttribute("aria-pressed", String(name === attention));
    button.addEventListener("click", () => choose(name));
    return button;
  });
  part("attention").replaceChildren(element("span", "Attention", "caption"), ...buttons);
}

/** @param {string} name of an attention map, or empty for none */
function choose(name) {
  attention = name;
  for (const button of part("attention").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.attention === (name || "none")));
  }
  layers();
}

/** Hand the view what the switches ask for. */
function layers() {
  if (!shown) return;
  const { answer, heats, picture } = shown;
  const wanted = [...part("structures").querySelectorAll("input")];
  const ratio = input("show-lines").checked ? answer.cardiothoracic_ratio : null;
  view.layers = {
    picture: picture.canvas,
    heat: heats.get(attention) ?? null,
    strength: Number(input("strength").value) / 100,
    outlines: wanted.flatMap((box, order) => {
      const name = box.dataset.structure ?? "";
      return box.checked ? [{ colour: colour(name, order), lines: answer.contours[name] }] : [];
    }),
    rulers: ratio ? rulers(ratio) : [],
    boxes: input("show-boxes").checked ? shown.boxes : [],
    sides: FRONTAL.includes(answer.view),
  };
  part("strength-value").textContent = `${input("strength").value} %`;
  view.draw();
}

/**
 * The chest's diameter, and the heart's brought down to it from its two ends.
 * @param {{heart_line: [number, number][], thorax_line: [number, number][]}} ratio
 * @returns {[number, number][][]}
 */
function rulers(ratio) {
  const [left, right] = ratio.heart_line;
  const middle = (left[1] + right[1]) / 2;
  const across = /** @type {[number, number][]} */ ([[left[0], middle], [right[0], middle]]);
  const tick = Math.abs(ratio.thorax_line[1][0] - ratio.thorax_line[0][0]) * 0.02;
  const ends = [...ratio.thorax_line, ...across].map(
    ([x, y]) => /** @type {[number, number][]} */ ([[x, y - tick], [x, y + tick]]),
  );
  return [ratio.thorax_line, across, ...ends];
}

/** Window the picture as the sliders say. */
function redraw() {
  if (!shown) return;
  const level = Number(input("level").value) / 100;
  const width = Number(input("width").value) / 100;
  part("level-value").textContent = `${input("level").value} %`;
  part("width-value").textContent = `${input("width").value} %`;
  shown.picture.draw({ level, width, inverted: part("invert").getAttribute("aria-pressed") === "true" });
  layers();
}

/**
 * Set the sliders to a preset.
 * @param {string} name
 */
function applyPreset(name) {
  if (!shown) return;
  input("preset").value = name;
  const { level, width } = computeWindow(shown.picture.values, name);
  input("level").value = String(Math.round(100 * level));
  input("width").value = String(Math.max(1, Math.round(100 * width)));
  redraw();
}

/** The window and view as they were. */
function resetWindow() {
  input("level").value = "50";
  input("width").value = "100";
  input("preset").value = "whole";
  part("invert").setAttribute("aria-pressed", "false");
  redraw();
}

/** @param {string} kind */
function downloadButton(kind) {
  return /** @type {HTMLButtonElement} */ (document.querySelector(`[data-download="${kind}"]`));
}

/** @param {string} kind */
async function download(kind) {
  if (!shown) return;
  const note = part("download-note");
  if (kind === "json") saveJson(shown.file, shown.answer);
  else if (kind === "png") await savePicture(shown.file, view.render());
  else {
    note.textContent = "Writing …";
    const problem = await saveDicom(shown.file, kind === "seg" ? "seg" : "sr");
    note.textContent = problem || "It holds the patient's name, as the archive needs it.";
  }
}

/** Read the radiograph that comes with medprior. */
async function tryExample() {
  const response = await fetch("/example.png").catch(() => null);
  if (!response?.ok) refuse("example", "the example is missing from this installation");
  else await files.add([new File([await response.blob()], "example.png")]);
}

let frame = 0;
for (const id of ["level", "width"]) {
  part(id).addEventListener("input", () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(redraw);
  });
}
part("strength").addEventListener("input", layers);
for (const id of ["show-lines", "show-boxes"]) part(id).addEventListener("change", layers);
part("invert").addEventListener("click", () => {
  const button = part("invert");
  button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
  redraw();
});
part("reset").addEventListener("click", () => {
  resetWindow();
  view.home();
});
for (const id of ["file", "file-first"]) {
  part(id).addEventListener("change", () => {
    void files.add([...(input(id).files ?? [])]);
    input(id).value = "";
  });
}
for (const [name, preset] of Object.entries(PRESETS)) {
  part("preset").append(Object.assign(element("option", preset.title), { value: name }));
}
part("preset").addEventListener("change", () => applyPreset(input("preset").value));
part("example").addEventListener("click", () => void tryExample());
for (const button of document.querySelectorAll("[data-download]")) {
  button.addEventListener("click", () => void download(button.getAttribute("data-download") ?? ""));
}
listenKeys({ choose, move: (step) => void files.move(step), preset: applyPreset });
const stage = /** @type {HTMLElement} */ (document.querySelector(".view"));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  stage.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) stage.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  stage.classList.remove("over");
  void files.add([...(event.dataTransfer?.files ?? [])]);
});
// A token in the address has done its work: the cookie is set.
if (location.search) history.replaceState(null, "", location.pathname);
document.body.dataset.ready = "true";
