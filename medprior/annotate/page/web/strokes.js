// A line drawn with the button or a finger held down: freehand contours, brush and eraser.
const L = window.L;
const PAINTING = ["brush", "eraser"];
export const STROKES = ["freehand", ...PAINTING];

// board: has element, map, mode, radius (image pixels), colour. onFreehand(points), onPaint(mode, points): (x, y) in
// image pixels.
export function listenStrokes(board, toPoint, { onFreehand, onPaint }) {
  const { element, map } = board;
  let path = null;
  let line = null;
  const isPainting = () => PAINTING.includes(board.mode);
  const getWeight = () => (isPainting() ? 2 * board.radius * map.getZoomScale(map.getZoom(), 0) : 3);
  element.addEventListener("pointerdown", (event) => {
    if (!STROKES.includes(board.mode) || event.button !== 0 || event.target.closest(".leaflet-control")) return;
    element.setPointerCapture(event.pointerId);
    path = [map.mouseEventToLatLng(event)];
    line = L.polyline(path, {
      color: board.mode === "eraser" ? "#000" : board.colour, weight: getWeight(), pmIgnore: true,
      opacity: isPainting() ? 0.5 : 1, lineCap: "round", lineJoin: "round", interactive: false,
    }).addTo(map);
  });
  element.addEventListener("pointermove", (event) => {
    if (!path) return;
    path.push(map.mouseEventToLatLng(event));
    line.setLatLngs(path);
  });
  const finish = () => {
    if (!path) return;
    const points = path.map((latlng) => map.latLngToContainerPoint(latlng));
    path = null;
    line.remove();
    const simplified = L.LineUtil.simplify(points, isPainting() ? 1 : 2)
      .map((point) => toPoint(map.containerPointToLatLng(point)));
    if (isPainting()) onPaint(board.mode, simplified);
    else if (board.mode === "freehand" && simplified.length > 3) onFreehand(simplified);
  };
  element.addEventListener("pointerup", finish);
  element.addEventListener("pointercancel", finish);
}
