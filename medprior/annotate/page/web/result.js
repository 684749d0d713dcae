// The third step: preview of the annotation on other patients.
import { request } from "/static/server.js";

const $ = (id) => document.getElementById(id);
const POLL_MS = 700;
let latestNumber = 0;

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

function formatVerdict(doubtful) {
  const count = doubtful.length;
  const doubtfulCount = doubtful.filter((words) => words).length;
  const patients = count === 1 ? "one other patient" : `${count} other patients`;
  if (!doubtfulCount) return `Carried over to ${patients}. Look whether the lines lie where you would have drawn them.`;
  return `Carried over to ${patients}; ${doubtfulCount} of them ${doubtfulCount === 1 ? "is" : "are"} doubtful (dashed frame). `
    + "If many lines are wrong, change the drawing, or draw on a more typical radiograph.";
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

export async function showResult(saved) {
  const number = ++latestNumber;
  $("warnings").replaceChildren(...saved.warnings.map((text) => {
    const item = document.createElement("li");
    item.textContent = `Please look: ${text.replaceAll("_", " ").replace("see preview.png", "see the picture")}`;
    return item;
  }));
  const savedAt = Date.now();
  const createOwnPanel = () => createPanel(`/api/preview.png?at=${savedAt}`, "Your drawing", false, "Your drawing on the radiograph");
  $("panels").replaceChildren(createOwnPanel());
  $("panels").className = "single";
  if (!saved.carrying) {
    $("verdict").textContent = "Without a cohort there are no other patients to show it on.";
    return;
  }
  $("verdict").textContent = "Carrying it over to a few other patients; this takes some seconds.";
  for (;;) {
    const transfer = await request("/api/carried");
    if (number !== latestNumber) return;
    if (transfer.state === "failed") {
      $("verdict").textContent = `Your drawing is kept, but it could not be carried over: ${transfer.message}`;
      return;
    }
    if (transfer.state === "done") {
      $("verdict").textContent = formatVerdict(transfer.doubtful);
      $("panels").className = "";
      $("panels").replaceChildren(createOwnPanel(), ...transfer.doubtful.map((words, i) => createPanel(
        `/api/carried.png?number=${i}&at=${savedAt}`,
        words ? `Patient ${i + 1}: doubtful, ${words}` : `Patient ${i + 1}`, words !== "",
        `Patient ${i + 1} with your drawing carried over${words ? ", doubtful" : ""}`)));
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
