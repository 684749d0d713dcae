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
  return OpenSeadragon({
    element,
    drawer: "canvas",
    showNavigationControl: false,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    animationTime: 0.3,
    ...options,
  });
}
