// Keys of the reading page.

import { PRESETS } from "./presets.js";
import { part } from "./report.js";

const WITHOUT_PICTURE = new Set(["?", "n", "p"]);

/**
 * @param {T[]} items
 * @param {T} item
 * @returns {T} the one after it, the first after the last
 * @template T
 */
function nextOf(items, item) {
  return items[(items.indexOf(item) + 1) % items.length];
}

/**
 * @param {object} actions
 * @param {(attention: string) => void} actions.choose shows an attention map, or none for an empty name
 * @param {(step: number) => void} actions.move shows another file
 * @param {(preset: string) => void} actions.preset sets a window
 */
export function listenKeys({ choose, move, preset }) {
  const help = /** @type {HTMLDialogElement} */ (part("help"));
  part("help-open").addEventListener("click", () => help.showModal());
  const keys = {
    i: () => part("invert").click(),
    w: () => preset(nextOf(Object.keys(PRESETS), /** @type {HTMLSelectElement} */ (part("preset")).value)),
    c: () => {
      const boxes = [...part("structures").querySelectorAll("input")];
      const checked = !boxes.some((box) => box.checked);
      for (const box of boxes) if (box.checked !== checked) box.click();
    },
    a: () => {
      const buttons = [...part("attention").querySelectorAll("button")];
      const pressed = buttons.find((button) => button.getAttribute("aria-pressed") === "true");
      const name = nextOf(buttons, pressed ?? buttons[0])?.dataset.attention ?? "none";
      choose(name === "none" ? "" : name);
    },
    n: () => move(1),
    p: () => move(-1),
    "?": () => help.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || help.open || target.matches("select")) return;
    const key = event.key.toLowerCase();
    const action = keys[/** @type {keyof typeof keys} */ (key)];
    // Without a picture, as after a refused file, there is nothing to window.
    if (!action || (!WITHOUT_PICTURE.has(key) && part("controls").hidden)) return;
    event.preventDefault();
    action();
  });
}
