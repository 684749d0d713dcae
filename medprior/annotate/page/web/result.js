// The third step: what the drawing does to other patients.
import { ask } from "/static/server.js";

const $ = (id) => document.getElementById(id);
const WAIT = 700;
let turn = 0;

function panel(url, text, doubtful, alt) {
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

function verdict(doubtful) {
  const count = doubtful.length;
  const bad = doubtful.filter((words) => words).length;
  const patients = count === 1 ? "one other patient" : `${count} other patients`;
  if (!bad) return `Carried over to ${patients}. Look whether the lines lie where you would have drawn them.`;
  return `Carried over to ${patients}; ${bad} of them ${bad === 1 ? "is" : "are"} doubtful (dashed frame). `
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
  const mine = ++turn;
  $("warnings").replaceChildren(...saved.warnings.map((text) => {
    const item = document.createElement("li");
    item.textContent = `Please look: ${text.replaceAll("_", " ").replace("see preview.png", "see the picture")}`;
    return item;
  }));
  const stamp = Date.now();
  const own = () => panel(`/api/preview.png?at=${stamp}`, "Your drawing", false, "Your drawing on the radiograph");
  $("panels").replaceChildren(own());
  $("panels").className = "single";
  if (!saved.carrying) {
    $("verdict").textContent = "Without a cohort there are no other patients to show it on.";
    return;
  }
  $("verdict").textContent = "Carrying it over to a few other patients; this takes some seconds.";
  for (;;) {
    const found = await ask("/api/carried");
    if (mine !== turn) return;
    if (found.state === "failed") {
      $("verdict").textContent = `Your drawing is kept, but it could not be carried over: ${found.message}`;
      return;
    }
    if (found.state === "done") {
      $("verdict").textContent = verdict(found.doubtful);
      $("panels").className = "";
      $("panels").replaceChildren(own(), ...found.doubtful.map((words, i) => panel(
        `/api/carried.png?number=${i}&at=${stamp}`,
        words ? `Patient ${i + 1}: doubtful, ${words}` : `Patient ${i + 1}`, words !== "",
        `Patient ${i + 1} with your drawing carried over${words ? ", doubtful" : ""}`)));
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, WAIT));
  }
}
