// The radiograph with its contours: Leaflet displays and zooms it, Geoman edits vertices.
import { History } from "/static/history.js";
import { Shape } from "/static/shape.js";
import { listenStrokes, STROKES } from "/static/strokes.js";
import { handleVertexKey, labelVertices } from "/static/vertices.js";

const L = window.L;
// Templates of structures: centre and radii as fractions of width and height.
const TEMPLATES = {
  right_lung: [0.31, 0.45, 0.13, 0.26],
  left_lung: [0.69, 0.45, 0.13, 0.26],
  heart: [0.56, 0.62, 0.17, 0.13],
};

const toPoint = (latlng) => [Number(latlng.lng.toFixed(3)), Number((-latlng.lat).toFixed(3))];
const toLatLng = ([x, y]) => L.latLng(-y, x);
const copyState = (state) => JSON.parse(JSON.stringify(state));

export class Board {
  // colourOf(name), titleOf(name): colour and title of a structure.
  // onChange(): called after every change; onPick(name): called for a clicked contour.
  // onSecondPart(name): promise of "replace", "add" or "cancel", for a structure that has a contour already.
  // onPaint(edit): promise of the contours after a stroke of the brush or eraser.
  constructor(element, { colourOf, titleOf, onChange, onPick, onSecondPart, onPaint }) {
    Object.assign(this, { element, colourOf, titleOf, onChange, onPick, onSecondPart, onPaint });
    this.map = L.map(element, {
      crs: L.CRS.Simple, minZoom: -6, maxZoom: 5, zoomSnap: 0, zoomDelta: 0.5,
      wheelPxPerZoomLevel: 120, attributionControl: false, doubleClickZoom: false,
      boxZoom: false, zoomAnimation: false, pmIgnore: false,
    });
    this.map.pm.setGlobalOptions({
      snappable: false, allowSelfIntersection: false, tooltips: false, finishOnEnter: true,
    });
    this.group = L.featureGroup().addTo(this.map);
    this.history = new History({});
    this.active = "";
    this.mode = "";
    this.part = 0;
    this.radius = 1;
    this.shape = new Shape(this.map, toPoint, toLatLng);
    this.map.on("pm:create", (event) => this.#addLayer(event.layer));
    this.map.on("pm:drawend", () => { if (this.mode === "points") this.#setMode(""); });
    listenStrokes(this, toPoint, {
      onFreehand: (points) => this.#addContour(points), onPaint: (mode, points) => this.#paint(mode, points),
    });
    element.addEventListener("keydown", (event) => this.#handleKey(event), true);
  }

  open(url, rows, cols, contours) {
    this.stop();
    if (this.picture) this.picture.remove();
    this.size = [rows, cols];
    const bounds = L.latLngBounds([[-rows, 0], [0, cols]]);
    this.picture = L.imageOverlay(url, bounds, {
      className: "radiograph", alt: "Chest radiograph", pmIgnore: true,
    }).addTo(this.map);
    this.history = new History(contours);
    this.fit();
    this.#rebuild();
  }

  fit() {
    this.map.invalidateSize();
    this.map.fitBounds(this.picture.getBounds(), { padding: [8, 8], animate: false });
  }

  get drawing() {
    return this.history.current;
  }

  get colour() {
    return this.colourOf(this.active);
  }

  // Contours of the active structure.
  get parts() {
    return this.drawing[this.active] || [];
  }

  select(name, part = 0) {
    this.stop();
    this.active = name;
    this.part = part;
    this.#rebuild();
  }

  drawPoints() {
    this.stop();
    this.#showVertices(false);
    const color = this.colourOf(this.active);
    this.map.pm.enableDraw("Polygon", {
      templineStyle: { color, weight: 2.5 },
      hintlineStyle: { color, weight: 2, dashArray: [5, 5] },
      pathOptions: { color },
    });
    this.#setMode("points");
  }

  // mode: freehand, brush or eraser.
  drawStrokes(mode) {
    this.stop();
    this.#showVertices(false);
    this.map.dragging.disable();
    this.#setMode(mode);
  }

  // Move, scale and turn the selected part.
  transform() {
    this.stop();
    if (!this.parts.length) return;
    this.mode = "shape";
    this.#rebuild();
    this.#setMode("shape");
  }

  // End drawing without a new contour.
  stop() {
    const previousMode = this.mode;
    this.mode = "";
    this.map.pm.disableDraw();
    this.map.dragging.enable();
    this.shape.hide();
    this.#showVertices(true);
    this.#setMode("");
    return previousMode !== "";
  }

  template() {
    const [rows, cols] = this.size;
    const [x, y, rx, ry] = TEMPLATES[this.active] || [0.5, 0.5, 0.1, 0.1];
    const corners = [...Array(16).keys()].map((i) => {
      const angle = (i * Math.PI) / 8;
      return [(x + rx * Math.cos(angle)) * cols, (y + ry * Math.sin(angle)) * rows];
    });
    this.#addContour(corners);
  }

  // Remove the selected part; the structure with its last one.
  remove() {
    const parts = this.parts.filter((_, index) => index !== this.part);
    if (parts.length === this.parts.length) return false;
    this.setContours(parts);
    return true;
  }

  // Replace all contours of the active structure, or with `drawing` those of several ones.
  setContours(contours, drawing = { [this.active]: contours }) {
    const state = copyState(this.drawing);
    for (const [name, parts] of Object.entries(drawing)) {
      if (parts.length) state[name] = parts;
      else delete state[name];
    }
    this.#commit(state);
  }

  undo() {
    if (this.mode === "points" && this.map.pm.Draw.Polygon._markers?.length) {
      this.map.pm.Draw.Polygon._removeLastVertex();
      return;
    }
    this.stop();
    this.history.undo();
    this.#rebuild();
  }

  redo() {
    this.stop();
    this.history.redo();
    this.#rebuild();
  }

  #setMode(mode) {
    this.mode = mode;
    this.element.classList.toggle("drawing", mode !== "");
    this.onChange();
  }

  #addLayer(layer) {
    const points = layer.getLatLngs()[0].map(toPoint);
    layer.remove();
    this.#addContour(points);
  }

  async #addContour(points) {
    this.stop();
    const name = this.active;
    const answer = this.parts.length ? await this.onSecondPart(name) : "add";
    if (answer === "cancel" || name !== this.active) {
      this.#rebuild();
      return;
    }
    const parts = answer === "add" ? [...this.parts, points] : [points];
    this.part = parts.length - 1;
    this.setContours(parts);
  }

  async #paint(kind, stroke) {
    const name = this.active;
    const before = this.drawing;
    const contours = await this.onPaint({ kind, size: this.size, contours: this.parts, stroke, radius: this.radius });
    if (contours && before === this.drawing) this.setContours(contours, { [name]: contours });
  }

  #commit(state) {
    this.history.push(state);
    this.#rebuild();
  }

  // Read the contours from the layers after a vertex was moved, added or removed.
  #readLayers() {
    const state = {};
    this.group.eachLayer((layer) => {
      const points = layer.getLatLngs()[0].map(toPoint);
      if (points.length > 2) state[layer.structure] = [...(state[layer.structure] || []), points];
    });
    if (this.history.push(state)) this.onChange();
    labelVertices(this);
  }

  #rebuild() {
    this.group.eachLayer((layer) => layer.pm.disable());
    this.group.clearLayers();
    for (const [name, contours] of Object.entries(this.drawing)) {
      contours.forEach((contour, index) => this.#showContour(name, contour, index));
    }
    this.part = Math.max(0, Math.min(this.part, this.parts.length - 1));
    this.#showVertices(this.mode === "");
    if (this.mode === "shape") this.#showShape();
    this.onChange();
  }

  #showShape() {
    const layers = [];
    this.group.eachLayer((layer) => { if (layer.structure === this.active) layers.push(layer); });
    if (!layers.length) {
      this.stop();
      return;
    }
    const show = (points) => layers[this.part].setLatLngs(points.map(toLatLng));
    this.shape.show(this.parts[this.part], show, (points) => {
      this.setContours(this.parts.map((part, index) => (index === this.part ? points : part)));
    });
  }

  #pickPart(name, index) {
    if (STROKES.includes(this.mode) || this.mode === "points") return;
    if (name !== this.active) this.onPick(name);
    if (this.part === index) return;
    this.part = index;
    this.#rebuild();
  }

  #showContour(name, contour, index) {
    const isActive = name === this.active;
    const layer = L.polygon(contour.map(toLatLng), {
      color: this.colourOf(name), weight: isActive ? 3 : 2, fillOpacity: isActive ? 0.16 : 0.06,
      dashArray: isActive && this.parts.length > 1 && index !== this.part ? "7 5" : null,
      className: `contour contour-${name}`,
    });
    Object.assign(layer, { structure: name, part: index });
    // Leaflet would read a text as HTML.
    layer.bindTooltip(document.createTextNode(this.titleOf(name)), { permanent: true, direction: "center", className: "name" });
    layer.on("click", () => this.#pickPart(name, index));
    layer.on("pm:markerdragend pm:vertexadded pm:vertexremoved", () => this.#readLayers());
    layer.addTo(this.group);
  }

  // Show vertices of the active structure, except while a new contour is drawn.
  #showVertices(visible) {
    this.group.eachLayer((layer) => {
      layer.pm.disable();
      if (visible && layer.structure === this.active) {
        layer.pm.enable({ snappable: false, allowSelfIntersection: false, draggable: false,
          removeLayerBelowMinVertexCount: false });
      }
    });
    labelVertices(this);
  }

  #handleKey(event) {
    if (this.mode === "shape" && !event.ctrlKey && !event.metaKey && this.shape.handleKey(event)) {
      event.preventDefault();
      event.stopPropagation();
    } else {
      handleVertexKey(this, event);
    }
  }
}
