// The radiograph with its contours: Leaflet displays and zooms it, Geoman edits vertices.
import { History } from "/static/history.js";

const L = window.L;
const STEP_PX = 1;
const LONG_STEP_PX = 10;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
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
  constructor(element, { colourOf, titleOf, onChange, onPick }) {
    Object.assign(this, { element, colourOf, titleOf, onChange, onPick });
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
    this.map.on("pm:create", (event) => this.#addLayer(event.layer));
    this.map.on("pm:drawend", () => { if (this.mode === "points") this.#setMode(""); });
    this.#listenFreehand();
    element.addEventListener("keydown", (event) => this.#handleVertexKey(event), true);
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

  select(name) {
    this.stop();
    this.active = name;
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

  drawFreehand() {
    this.stop();
    this.#showVertices(false);
    this.map.dragging.disable();
    this.#setMode("freehand");
  }

  // End drawing without a new contour.
  stop() {
    const previousMode = this.mode;
    this.mode = "";
    this.map.pm.disableDraw();
    this.map.dragging.enable();
    if (this.stroke) this.stroke.remove();
    this.stroke = null;
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

  remove() {
    const state = copyState(this.drawing);
    if (!state[this.active]) return false;
    delete state[this.active];
    this.#commit(state);
    return true;
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

  #addContour(points) {
    const state = copyState(this.drawing);
    state[this.active] = [...(state[this.active] || []), points];
    this.stop();
    this.#commit(state);
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
    this.#labelVertices();
  }

  #rebuild() {
    this.group.eachLayer((layer) => layer.pm.disable());
    this.group.clearLayers();
    for (const [name, contours] of Object.entries(this.drawing)) {
      for (const contour of contours) this.#showContour(name, contour);
    }
    this.#showVertices(this.mode === "");
    this.onChange();
  }

  #showContour(name, contour) {
    const isActive = name === this.active;
    const layer = L.polygon(contour.map(toLatLng), {
      color: this.colourOf(name), weight: isActive ? 3 : 2, fillOpacity: isActive ? 0.16 : 0.06,
      className: `contour contour-${name}`,
    });
    layer.structure = name;
    // Leaflet would read a text as HTML.
    layer.bindTooltip(document.createTextNode(this.titleOf(name)), { permanent: true, direction: "center", className: "name" });
    layer.on("click", () => { if (this.mode === "" && !isActive) this.onPick(name); });
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
    this.#labelVertices();
  }

  #listVertices() {
    const vertices = [];
    this.group.eachLayer((layer) => {
      const markers = layer.pm.enabled() ? layer.pm._markers?.[0] || [] : [];
      markers.forEach((marker, index) => vertices.push({ layer, marker, index, count: markers.length }));
    });
    return vertices;
  }

  #labelVertices() {
    // Midpoints are for the mouse only: keys move vertices.
    for (const icon of this.element.querySelectorAll(".marker-icon")) {
      icon.tabIndex = -1;
      icon.setAttribute("aria-hidden", "true");
    }
    for (const { layer, marker, index, count } of this.#listVertices()) {
      const icon = marker.getElement();
      if (!icon) continue;
      icon.tabIndex = 0;
      icon.removeAttribute("aria-hidden");
      icon.setAttribute("aria-label",
        `${this.titleOf(layer.structure)}, point ${index + 1} of ${count}: arrow keys move it, Delete removes it`);
    }
  }

  #handleVertexKey(event) {
    const icon = event.target.closest?.(".marker-icon");
    const vertex = icon && this.#listVertices().find((item) => item.marker.getElement() === icon);
    const arrow = ARROWS[event.key];
    const isDelete = event.key === "Delete" || event.key === "Backspace";
    if (!vertex || event.ctrlKey || event.metaKey || !(arrow || isDelete)) return;
    event.preventDefault();
    event.stopPropagation();
    const layers = [];
    this.group.eachLayer((layer) => layers.push(layer));
    const number = layers.filter((item) => item.structure === vertex.layer.structure).indexOf(vertex.layer);
    const state = copyState(this.drawing);
    const contour = state[vertex.layer.structure][number];
    let next = vertex.index;
    if (arrow) {
      // One step is at least one screen pixel at any zoom.
      const step = (event.shiftKey ? LONG_STEP_PX : STEP_PX) * Math.max(1, 1 / this.map.getZoomScale(this.map.getZoom(), 0));
      contour[next] = [contour[next][0] + arrow[0] * step, contour[next][1] + arrow[1] * step];
    } else if (contour.length > 3) {
      contour.splice(next, 1);
      next %= contour.length;
    } else {
      return;
    }
    this.#commit(state);
    this.#listVertices().filter((item) => item.layer.structure === vertex.layer.structure)
      .find((item) => item.index === next)?.marker.getElement()?.focus();
  }

  #listenFreehand() {
    let path = null;
    const locate = (event) => this.map.mouseEventToLatLng(event);
    this.element.addEventListener("pointerdown", (event) => {
      if (this.mode !== "freehand" || event.button !== 0 || event.target.closest(".leaflet-control")) return;
      this.element.setPointerCapture(event.pointerId);
      path = [locate(event)];
      this.stroke = L.polyline(path, { color: this.colourOf(this.active), weight: 3, pmIgnore: true }).addTo(this.map);
    });
    this.element.addEventListener("pointermove", (event) => {
      if (!path || this.mode !== "freehand") return;
      path.push(locate(event));
      this.stroke.setLatLngs(path);
    });
    const finish = () => {
      if (!path) return;
      const points = path.map((latlng) => this.map.latLngToContainerPoint(latlng));
      path = null;
      if (this.mode !== "freehand") return;
      const simplified = L.LineUtil.simplify(points, 2).map((p) => toPoint(this.map.containerPointToLatLng(p)));
      if (simplified.length > 3) this.#addContour(simplified);
      else if (this.stroke) this.stroke.remove();
    };
    this.element.addEventListener("pointerup", finish);
    this.element.addEventListener("pointercancel", finish);
  }
}
