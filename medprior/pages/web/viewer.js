// OpenSeadragon as our pages use it: under a strict Content-Security-Policy, focus kept visible.

/* global OpenSeadragon */

/**
 * A viewer; load `/vendor/openseadragon/openseadragon.min.js` before.
 * @param {HTMLElement} element
 * @param {object} [options] further options of OpenSeadragon
 * @returns {any} the `OpenSeadragon.Viewer`
 */
export function createViewer(element, options = {}) {
  // OpenSeadragon adds an inline style that hides the focus of touch devices, unless it finds one
  // that is marked so. Ours is in no namespace, hence no style: the policy has nothing to refuse.
  const mark = document.createElementNS(null, "style");
  mark.setAttribute("data-openseadragon-mobile-css", "true");
  document.head.append(mark);
  const viewer = OpenSeadragon({
    element,
    drawer: "canvas",
    showNavigationControl: false,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    animationTime: 0.3,
    ...options,
  });
  viewer.addHandler("canvas-key", (/** @type {any} */ event) => press(viewer, event));
  return viewer;
}

/**
 * Zoom by what a key says, on any keyboard layout. OpenSeadragon's keys to flip and to turn a picture
 * do nothing: a mirrored chest is a dangerous one.
 * @param {any} viewer
 * @param {any} event `canvas-key`
 */
function press(viewer, event) {
  const { key, ctrlKey, metaKey, altKey } = event.originalEvent;
  if (ctrlKey || metaKey || altKey) return;
  if ("rRfFjJkK".includes(key)) event.preventDefaultAction = true;
  const factor = { "+": 1.25, "=": 1.25, "-": 0.8, _: 0.8 }[/** @type {string} */ (key)];
  if (!factor) return;
  event.preventDefaultAction = true;
  viewer.viewport.zoomBy(factor);
  viewer.viewport.applyConstraints();
}
