// The vertices of the edited contours by keys and for screen readers.
const STEP_PX = 1;
const LONG_STEP_PX = 10;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function listVertices(group) {
  const vertices = [];
  group.eachLayer((layer) => {
    const markers = layer.pm.enabled() ? layer.pm._markers?.[0] || [] : [];
    markers.forEach((marker, index) => vertices.push({ layer, marker, index, count: markers.length }));
  });
  return vertices;
}

export function labelVertices({ element, group, titleOf }) {
  // Midpoints are for the mouse only: keys move vertices.
  for (const icon of element.querySelectorAll(".marker-icon")) {
    icon.tabIndex = -1;
    icon.setAttribute("aria-hidden", "true");
  }
  for (const { layer, marker, index, count } of listVertices(group)) {
    const icon = marker.getElement();
    if (!icon) continue;
    icon.tabIndex = 0;
    icon.removeAttribute("aria-hidden");
    icon.setAttribute("role", "button");
    icon.setAttribute("aria-label",
      `${titleOf(layer.structure)}, point ${index + 1} of ${count}: arrow keys move it, Delete removes it`);
  }
}

// Move or remove the focused vertex.
export function handleVertexKey(board, event) {
  const icon = event.target.closest?.(".marker-icon");
  const vertex = icon && listVertices(board.group).find((item) => item.marker.getElement() === icon);
  const arrow = ARROWS[event.key];
  const isDelete = event.key === "Delete" || event.key === "Backspace";
  if (!vertex || event.ctrlKey || event.metaKey || !(arrow || isDelete)) return;
  event.preventDefault();
  event.stopPropagation();
  const { structure, part } = vertex.layer;
  const contours = JSON.parse(JSON.stringify(board.drawing[structure]));
  const contour = contours[part];
  let next = vertex.index;
  if (arrow) {
    // One step is at least one screen pixel at any zoom.
    const step = (event.shiftKey ? LONG_STEP_PX : STEP_PX) * Math.max(1, 1 / board.map.getZoomScale(board.map.getZoom(), 0));
    contour[next] = [contour[next][0] + arrow[0] * step, contour[next][1] + arrow[1] * step];
  } else if (contour.length > 3) {
    contour.splice(next, 1);
    next %= contour.length;
  } else {
    return;
  }
  board.setContours(contours, { [structure]: contours });
  listVertices(board.group).filter((item) => item.layer.structure === structure && item.layer.part === part)
    .find((item) => item.index === next)?.marker.getElement()?.focus();
}
