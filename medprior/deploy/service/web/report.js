// What is said of the radiograph, as text.

import { flagged, title, words } from "./words.js";

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
  const findings = Object.entries(answer.findings);
  findings.sort((one, two) => two[1].present - one[1].present || two[1].probability - one[1].probability);
  part("findings").replaceChildren(...findings.map(([name, finding]) => row(name, finding)));
  part("findings-block").hidden = findings.length === 0;
  heart(answer.cardiothoracic_ratio, answer.structures);
  part("flags").replaceChildren(
    ...answer.flags.map((/** @type {string} */ flag) => element("li", flagged(flag))),
  );
  part("flags-block").hidden = answer.flags.length === 0;
  part("facts").textContent = facts(answer);
}

/**
 * @param {string} name
 * @param {{probability: number, threshold: number, present: boolean}} finding
 */
function row(name, finding) {
  const made = document.createElement("tr");
  made.className = finding.present ? "present" : "absent";
  made.dataset.finding = name;
  const label = element("td", title(name));
  label.append(scale(finding));
  const probability = element("td", percent(finding.probability), "number");
  const threshold = element("td", percent(finding.threshold), "number");
  made.append(label, probability, threshold, element("td", finding.present ? "● present" : "○ below"));
  return made;
}

/** @param {{probability: number, threshold: number, present: boolean}} finding */
function scale(finding) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 100 6");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "scale");
  svg.setAttribute("aria-hidden", "true");
  const full = box(0, 100, "#343a45");
  const filled = box(0, 100 * finding.probability, finding.present ? "var(--orange)" : "var(--blue)");
  svg.append(full, filled, box(Math.min(99, 100 * finding.threshold), 1, "#ffffff"));
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
 * @param {{value: number, plausible: boolean} | null} ratio
 * @param {string[]} structures
 */
function heart(ratio, structures) {
  const place = part("ratio");
  if (!ratio) {
    place.replaceChildren(element("small", "Not measured"));
    part("ratio-note").textContent = structures.length
      ? "Heart or lungs were not found, or the view is not frontal."
      : "This model segments nothing.";
    return;
  }
  place.replaceChildren(ratio.value.toFixed(2), element("small", "  cardiothoracic ratio"));
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

/** @param {number} value in [0, 1] */
function percent(value) {
  return `${(100 * value).toFixed(1)} %`;
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
