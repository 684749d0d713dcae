// Move, scale and turn one contour, by three handles or by keys.
const L = window.L;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const SCALES = { "+": 1.03, "=": 1.03, "-": 1 / 1.03 };
const TURNS = { "[": -2, "]": 2 }; // degrees
const LONG_STEP_PX = 10;

const move = (points, dx, dy) => points.map(([x, y]) => [x + dx, y + dy]);

// Scale by `factor` and turn by `angle` (radians) around a centre.
function turn(points, [cx, cy], factor, angle) {
  const [cos, sin] = [factor * Math.cos(angle), factor * Math.sin(angle)];
  return points.map(([x, y]) => [
    cx + cos * (x - cx) - sin * (y - cy), cy + sin * (x - cx) + cos * (y - cy),
  ]);
}

function measure(points) {
  const [xs, ys] = [points.map((p) => p[0]), points.map((p) => p[1])];
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  return { centre: [(left + right) / 2, (top + bottom) / 2], corner: [right, bottom], top: [(left + right) / 2, top] };
}

export class Shape {
  constructor(map, toPoint, toLatLng) {
    Object.assign(this, { map, toPoint, toLatLng, handles: [], points: null });
  }

  // onMove(points): while a handle is dragged; onDone(points): after it, or after a key.
  show(points, onMove, onDone) {
    this.hide();
    Object.assign(this, { points, onMove, onDone });
    const { centre, corner, top } = measure(points);
    const vector = ([x, y]) => [x - centre[0], y - centre[1]];
    this.#addHandle("move", "✥", "Move: drag, or arrow keys", centre,
      ([x, y]) => move(points, x - centre[0], y - centre[1]));
    this.#addHandle("scale", "⤡", "Size: drag, or plus and minus", corner, (point) => turn(points, centre,
      Math.max(0.05, Math.hypot(...vector(point)) / Math.max(1e-6, Math.hypot(...vector(corner)))), 0));
    this.#addHandle("turn", "↻", "Turn: drag, or [ and ]", top, (point) => {
      const angle = ([x, y]) => Math.atan2(y, x);
      return turn(points, centre, 1, angle(vector(point)) - angle(vector(top)));
    });
  }

  hide() {
    for (const handle of this.handles) handle.remove();
    this.handles = [];
    this.points = null;
  }

  // Apply a key; false where it means nothing here.
  handleKey({ key, shiftKey }) {
    if (!this.points) return false;
    const { centre } = measure(this.points);
    const step = (shiftKey ? LONG_STEP_PX : 1) * Math.max(1, 1 / this.map.getZoomScale(this.map.getZoom(), 0));
    if (ARROWS[key]) this.onDone(move(this.points, ARROWS[key][0] * step, ARROWS[key][1] * step));
    else if (SCALES[key]) this.onDone(turn(this.points, centre, SCALES[key], 0));
    else if (TURNS[key]) this.onDone(turn(this.points, centre, 1, (TURNS[key] * Math.PI) / 180));
    else return false;
    return true;
  }

  #addHandle(name, sign, title, point, transform) {
    const icon = L.divIcon({ className: `handle handle-${name}`, html: sign, iconSize: [30, 30] });
    const handle = L.marker(this.toLatLng(point), { icon, draggable: true, autoPan: false, pmIgnore: true, title, alt: title });
    handle.on("drag", () => this.onMove(transform(this.toPoint(handle.getLatLng()))));
    handle.on("dragend", () => this.onDone(transform(this.toPoint(handle.getLatLng()))));
    handle.addTo(this.map);
    this.handles.push(handle);
  }
}
