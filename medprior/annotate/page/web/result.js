// The third step: preview of the annotation on other patients.
import { ask } from "/static/questions.js";
import { request } from "/static/server.js";

const $ = (id) => document.getElementById(id);
const POLL_MS = 200;
let latestNumber = 0;
let latest = { keys: [] };

function createPanel(url, text, doubtful, alt) {
  const item = document.createElement("li");
  if (doubtful) item.className = "doubtful";
  const image = document.createElement("img");
  image.src = url;
  image.alt = alt;
  const caption = document.createElement("span");
  caption.textContent = text;
  item.append(image, caption);
  return item;
}

// What is known of a patient's panel, as a sentence.
function describePanel(transfer, index) {
  const patient = `Patient ${index + 1}`;
  if (transfer.annotated[index]) return `${patient}: your drawing`;
  const match = `match ${transfer.matches[index].toFixed(2)}`;
  const doubt = transfer.doubtful[index];
  return doubt ? `${patient}: doubtful, ${doubt} (${match})` : `${patient}: ${match}`;
}

function formatVerdict(doubtful) {
  const count = doubtful.length;
  const doubtfulCount = doubtful.filter((words) => words).length;
  const patients = count === 1 ? "one other patient" : `${count} other patients`;
  if (!doubtfulCount) return `Carried over to ${patients}. Look whether the lines lie where you would have drawn them.`;
  return `Carried over to ${patients}; ${doubtfulCount} of them ${doubtfulCount === 1 ? "is" : "are"} doubtful (dashed frame). `
    + "If many lines are wrong, enlarge one and correct it, change the drawing, or draw on a more typical radiograph.";
}

export function showLegend(colours, titleOf) {
  $("legend").replaceChildren(...Object.entries(colours).map(([name, colour]) => {
    const item = document.createElement("li");
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = colour;
    item.append(swatch, titleOf(name));
    return item;
  }));
}

// Enlarge a patient's panel; the arrows lead to the others that are done, and "Correct this one" to the drawing.
async function enlarge(start, onCorrect) {
  for (let index = start; ;) {
    const transfer = latest;
    const words = describePanel(transfer, index);
    $("enlarged-title").textContent = words;
    $("enlarged-image").src = `/api/carried.png?number=${index}&large=true&at=${latestNumber}`;
    $("enlarged-image").alt = words;
    const answer = await ask("enlarged");
    if (answer === "correct") return onCorrect(transfer.keys[index], index);
    if (answer === "cancel") return undefined;
    const count = latest.keys.length;
    index = (index + (answer === "next" ? 1 : count - 1)) % count;
  }
}

function createPatientPanel(transfer, index, at, onCorrect) {
  const doubt = transfer.doubtful[index];
  const item = createPanel("", "", doubt !== "", "");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "enlarge";
  button.setAttribute("aria-label", `Enlarge. ${describePanel(transfer, index)}`);
  button.append(...createPanel(`/api/carried.png?number=${index}&at=${at}`, describePanel(transfer, index), false,
    `Patient ${index + 1} with your drawing carried over${doubt ? ", doubtful" : ""}`).children);
  button.addEventListener("click", () => enlarge(index, onCorrect));
  item.replaceChildren(button);
  return item;
}

function showOffer(transfer, onCorrect) {
  const index = transfer.next;
  $("offer").hidden = index === null || transfer.annotated[index];
  if ($("offer").hidden) return;
  $("offer-text").textContent =
    `Of these patients, number ${index + 1} is typical yet unlike what you drew: a second drawing helps most there.`;
  $("offer-open").onclick = () => onCorrect(transfer.keys[index], index);
}

// onCorrect(key, index): called for the patient whose contours are to be corrected.
export async function showResult(saved, onCorrect) {
  const number = ++latestNumber;
  $("offer").hidden = true;
  $("warnings").replaceChildren(...saved.warnings.map((text) => {
    const item = document.createElement("li");
    item.textContent = `Please look: ${text.replaceAll("_", " ").replace("see preview.png", "see the picture")}`;
    return item;
  }));
  const savedAt = Date.now();
  const createOwnPanel = () => createPanel(`/api/preview.png?key=${encodeURIComponent(saved.key)}&at=${savedAt}`, "Your drawing", false, "Your drawing on the radiograph");
  $("panels").replaceChildren(createOwnPanel());
  $("panels").className = "single";
  if (!saved.carrying) {
    $("verdict").textContent = "Without a cohort there are no other patients to show it on.";
    return;
  }
  $("verdict").textContent = "Carrying it over to a few other patients…";
  for (;;) {
    const transfer = await request("/api/carried");
    if (number !== latestNumber) return;
    latest = transfer;
    for (let index = $("panels").childElementCount - 1; index < transfer.keys.length; index += 1) {
      $("panels").className = "";
      $("panels").append(createPatientPanel(transfer, index, savedAt, onCorrect));
    }
    if (transfer.state === "failed") {
      $("verdict").textContent = `Your drawing is kept, but it could not be carried over: ${transfer.message}`;
      return;
    }
    if (transfer.state === "done") {
      $("verdict").textContent = formatVerdict(transfer.doubtful);
      showOffer(transfer, onCorrect);
      return;
    }
    if (transfer.keys.length) {
      $("verdict").textContent = `Carrying it over: ${transfer.keys.length} of ${transfer.count} patients are done.`;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (number !== latestNumber) return;
  }
}

// Ask no more for patients that are still to come.
export function endResult() {
  latestNumber += 1;
}
