// What is said of the radiograph, as text.

import { flagged, title, words } from "./words.js";

/**
 * @typedef {object} Finding
 * @property {number} probability
 * @property {number} threshold
 * @property {boolean} present
 * @property {"present" | "below" | "none"} [call] only with evidence
 * @property {{source: string, auc: number, auc_ci95: number[], sensitivity: number | null,
 *   specificity: number | null, location?: {hit_rate: number, hit_rate_ci95: number[], images: number}}} [evidence]
 */

const UNFAMILIAR = "far_from_training";
const CALLS = { present: "● present", below: "○ below", none: "– not called" };
const RANKS = { present: 2, below: 1, none: 0 };
/** @type {Record<string, string>} */
const SPACINGS = {
  detector: " at the detector, larger than in the patient", film: " on the film, larger than in the patient",
  estimated: ", estimated from the distances of the exposure",
};
const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
export function part(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

/**
 * Fill the findings, heart size and flags.
 * @param {any} answer of `/v1/predict`
 */
export function report(answer) {
  part("unfamiliar").hidden = !answer.flags.includes(UNFAMILIAR);
  part("findings").classList.toggle("doubtful", answer.flags.includes(UNFAMILIAR));
  const findings = Object.entries(answer.findings);
  findings.sort((one, two) => order(two[1]) - order(one[1]));
  part("findings").replaceChildren(...findings.map(([name, finding]) => row(name, finding)));
  part("findings-block").hidden = findings.length === 0;
  heart(answer.cardiothoracic_ratio, answer.structures, answer.spacing_kind);
  const flags = answer.flags.filter((/** @type {string} */ flag) => flag !== UNFAMILIAR);
  part("flags").replaceChildren(
    ...flags.map((/** @type {string} */ flag) => element("li", flagged(flag))),
  );
  part("flags-block").hidden = flags.length === 0;
  part("facts").textContent = facts(answer);
}

/**
 * What is said of a finding: `none` where the model may not tell it better than chance.
 * @param {Finding} finding
 */
export function callOf(finding) {
  return finding.call ?? (finding.present ? "present" : "below");
}

/**
 * Called findings first, the farthest above its threshold on top.
 * @param {Finding} finding
 */
function order(finding) {
  return RANKS[callOf(finding)] + distance(finding);
}

/**
 * Place between certainly absent (0), the threshold (0.5) and certainly present (1).
 * @param {Finding} finding
 */
export function distance({ probability, threshold }) {
  if (probability < threshold) return (0.5 * probability) / threshold;
  return threshold < 1 ? 0.5 + (0.5 * (probability - threshold)) / (1 - threshold) : 1;
}

/**
 * @param {string} name
 * @param {Finding} finding
 */
function row(name, finding) {
  const made = document.createElement("tr");
  made.className = callOf(finding);
  made.dataset.finding = name;
  const label = element("td", title(name));
  label.append(scale(finding), element("small", proof(finding)));
  const probability = element("td", percent(finding.probability), "number");
  probability.append(element("small", `threshold ${percent(finding.threshold)}`));
  made.append(label, probability, element("td", CALLS[callOf(finding)]));
  return made;
}

/**
 * How well the model tells a finding, in words.
 * @param {Finding} finding
 */
function proof({ evidence }) {
  if (!evidence) return "How well the model tells this is not known.";
  const [low, high] = evidence.auc_ci95.map((bound) => bound.toFixed(2));
  const measured = [`AUC ${evidence.auc.toFixed(2)} [${low}, ${high}]`];
  if (evidence.sensitivity !== null) measured.push(`sensitivity ${percent(evidence.sensitivity, 0)}`);
  if (evidence.specificity !== null) measured.push(`specificity ${percent(evidence.specificity, 0)}`);
  const where = evidence.source === "validation" ? "on validation" : "on the test set";
  const { location } = evidence;
  const bounds = location?.hit_rate_ci95.map((bound) => percent(bound, 0)).join(" to ");
  const hits = location
    ? `. Its place is hit in ${percent(location.hit_rate, 0)} [${bounds}] of ${location.images} images` : "";
  return `${measured.join(", ")} ${where}${hits}`;
}

/** @param {Finding} finding */
function scale(finding) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 100 6");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "scale");
  svg.setAttribute("aria-hidden", "true");
  const full = box(0, 100, "#343a45");
  const filled = box(0, 100 * distance(finding), callOf(finding) === "present" ? "var(--text)" : "var(--quiet)");
  svg.append(full, filled, box(49.5, 1, "#ffffff"));
  return svg;
}

/**
 * @param {number} x
 * @param {number} width
 * @param {string} colour
 */
function box(x, width, colour) {
  const made = document.createElementNS(SVG, "rect");
  const values = { x, y: 0, width, height: 6, fill: colour };
  for (const [name, value] of Object.entries(values)) made.setAttribute(name, String(value));
  return made;
}

/**
 * @param {{value: number, heart_mm?: number | null, thorax_mm: number, plausible: boolean} | null} ratio
 * @param {string[]} structures
 * @param {string} spacing kind of the pixel spacing
 */
function heart(ratio, structures, spacing) {
  const place = part("ratio");
  if (!ratio) {
    place.replaceChildren(element("small", "Not measured"));
    part("ratio-note").textContent = structures.length
      ? "Heart or lungs were not found, or the view is not frontal."
      : "This model segments nothing.";
    return;
  }
  place.replaceChildren(ratio.value.toFixed(2), element("small", "  cardiothoracic ratio"));
  if (ratio.heart_mm) {
    const sizes = `heart ${Math.round(ratio.heart_mm)} mm, chest ${Math.round(ratio.thorax_mm)} mm`;
    place.append(element("small", `${sizes}${SPACINGS[spacing] ?? ""}`, "sizes"));
  }
  part("ratio-note").textContent = ratio.plausible
    ? "Widest heart over widest chest; the white lines show what was measured."
    : "Outside what frontal chests have; look at the contours before using it.";
}

/** @param {any} answer */
function facts(answer) {
  const spacing = answer.spacing_mm ? `${answer.spacing_mm[0].toFixed(3)} mm per pixel` : "no pixel spacing";
  return [
    `${answer.columns} × ${answer.rows} pixels`, spacing, `view ${words(answer.view).toUpperCase()}`,
    `model ${answer.model_digest.slice(0, 12)}`, `medprior ${answer.medprior_version}`,
  ].join(" · ");
}

/**
 * @param {number} value in [0, 1]
 * @param {number} [digits] behind the point
 */
function percent(value, digits = 1) {
  return `${(100 * value).toFixed(digits)} %`;
}

/**
 * @param {string} tag
 * @param {string} text
 * @param {string} [kind] class
 */
export function element(tag, text, kind) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}
