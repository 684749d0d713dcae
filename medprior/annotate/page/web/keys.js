// Keys of the drawing step.

const $ = (id) => document.getElementById(id);
const BUTTONS = {
  d: "points", f: "freehand", t: "template", b: "brush", e: "eraser", s: "smooth", m: "shape", g: "suggest", c: "carry",
  n: "snap",
};

// pick(number): choose a structure, counted from 0.
export function listenKeys(board, pick) {
  document.addEventListener("keydown", (event) => {
    if ($("draw").hidden || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const typing = event.target.matches("input[type=text]");
    const chord = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    let done = true;
    if (key === "escape") board.stop();
    else if (typing) done = false;
    else if (chord && (key === "y" || (key === "z" && event.shiftKey))) board.redo();
    else if (chord && key === "z") board.undo();
    else if (chord || event.altKey) done = false;
    else if (board.mode === "shape" && board.shape.handleKey(event)) done = true;
    else if (/^[1-9]$/.test(key)) pick(Number(key) - 1);
    else if (key === "delete") board.remove();
    else if (BUTTONS[key] && !$(BUTTONS[key]).hidden) $(BUTTONS[key]).click();
    else done = false;
    if (done) event.preventDefault();
  });
}
