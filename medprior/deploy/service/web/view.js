// What is seen: OpenSeadragon moves and zooms, one canvas over it draws every layer.

/* global OpenSeadragon */

import { FURTHER_COLOURS } from "/shared/palette.js";
import { createViewer } from "/shared/viewer.js";

const BOX_COLOUR = FURTHER_COLOURS[0];
// One transparent pixel: the viewer needs an image to move, the layers draw the real one.
const EMPTY = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNgYGBgAAAABQABeqhXUAAAAABJRU5ErkJggg==";

/** @typedef {{name: string, sides: number[]}} Box left, top, right and bottom in radiograph pixels */

/**
 * @typedef {object} Layers
 * @property {HTMLCanvasElement | null} picture
 * @property {HTMLCanvasElement | null} heat
 * @property {number} strength opacity of the heat in [0, 1]
 * @property {{colour: string, lines: [number, number][][]}[]} outlines
 * @property {[number, number][][]} rulers in radiograph pixels
 * @property {Box[]} boxes of findings
 * @property {boolean} sides whether R and L are drawn
 */

/** The view of one radiograph. */
export class View {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.viewer = createViewer(element, {
      minZoomImageRatio: 0.8, maxZoomPixelRatio: 12, visibilityRatio: 0.3,
    });
    this.canvas = document.createElement("canvas");
    this.canvas.className = "layers";
    this.viewer.canvas.append(this.canvas);
    this.viewer.canvas.setAttribute("aria-label", "Radiograph; arrow keys move, plus and minus zoom");
    this.viewer.canvas.setAttribute("role", "application");
    /** @type {Layers} */
    this.layers = { picture: null, heat: null, strength: 1, outlines: [], rulers: [], boxes: [], sides: false };
    this.size = { width: 1, height: 1 };
    for (const name of ["update-viewport", "resize", "open"]) {
      this.viewer.addHandler(name, () => this.draw());
    }
  }

  /**
   * Show a radiograph of this size, whole.
   * @param {number} width
   * @param {number} height
   */
  open(width, height) {
    this.size = { width, height };
    const side = Math.max(width, height);
    this.viewer.open({
      width, height, tileSize: side, minLevel: 0, maxLevel: 0, getTileUrl: () => EMPTY,
    });
  }

  /** The whole radiograph again. */
  home() {
    if (this.viewer.isOpen()) this.viewer.viewport.goHome();
  }

  /** Draw all layers as the viewport has them now. */
  draw() {
    const { canvas, layers, viewer } = this;
    const dense = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * dense);
    const height = Math.round(canvas.clientHeight * dense);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    const item = viewer.world.getItemAt(0);
    if (!item || !layers.picture) return;
    const origin = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(0, 0));
    const corner = item.imageToViewerElementCoordinates(
      new OpenSeadragon.Point(this.size.width, this.size.height),
    );
    const scale = ((corner.x - origin.x) / this.size.width) * dense;
    context.setTransform(scale, 0, 0, scale, origin.x * dense, origin.y * dense);
    this.#drawLayers(context, dense / scale, scale < 4);
  }

  /**
   * The whole radiograph with its layers, as large as it was sent.
   * @returns {HTMLCanvasElement}
   */
  render() {
    const { picture } = this.layers;
    const width = picture?.width ?? 1;
    const canvas = Object.assign(document.createElement("canvas"), { width, height: picture?.height ?? 1 });
    const context = canvas.getContext("2d");
    const scale = width / this.size.width;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    this.#drawLayers(context, Math.max(1, width / 1000) / scale, true);
    return canvas;
  }

  /**
   * @param {CanvasRenderingContext2D} context in pixels of the radiograph
   * @param {number} unit a screen pixel in them
   * @param {boolean} smooth
   */
  #drawLayers(context, unit, smooth) {
    const { layers } = this;
    if (!layers.picture) return;
    context.imageSmoothingQuality = "high";
    context.imageSmoothingEnabled = smooth;
    context.drawImage(layers.picture, 0, 0, this.size.width, this.size.height);
    if (layers.heat) {
      context.imageSmoothingEnabled = true;
      context.globalAlpha = layers.strength;
      context.drawImage(layers.heat, 0, 0, this.size.width, this.size.height);
      context.globalAlpha = 1;
    }
    for (const outline of layers.outlines) strokes(context, outline.lines, outline.colour, 2 * unit);
    if (layers.rulers.length) {
      strokes(context, layers.rulers, "#000", 4.5 * unit);
      strokes(context, layers.rulers, "#fff", 2 * unit);
    }
    for (const box of layers.boxes) drawBox(context, box, unit);
    if (layers.sides) sides(context, this.size, 24 * unit);
  }
}

/**
 * A dashed box with its name above it, or inside where there is no room.
 * @param {CanvasRenderingContext2D} context
 * @param {Box} box
 * @param {number} unit a screen pixel in radiograph pixels
 */
function drawBox(context, { name, sides: [left, top, right, bottom] }, unit) {
  context.lineJoin = "round";
  context.setLineDash([8 * unit, 5 * unit]);
  for (const [style, width] of /** @type {[string, number][]} */ ([["#000", 4.5], [BOX_COLOUR, 2]])) {
    context.strokeStyle = style;
    context.lineWidth = width * unit;
    context.strokeRect(left, top, right - left, bottom - top);
  }
  context.setLineDash([]);
  context.font = `600 ${14 * unit}px system-ui, sans-serif`;
  context.textAlign = "left";
  context.textBaseline = "bottom";
  const y = top > 20 * unit ? top - 3 * unit : top + 19 * unit;
  context.lineWidth = 4 * unit;
  context.strokeStyle = "#000";
  context.strokeText(name, left + 2 * unit, y);
  context.fillStyle = BOX_COLOUR;
  context.fillText(name, left + 2 * unit, y);
}

/**
 * R and L in the upper corners of a frontal radiograph: the patient's right is on its left.
 * @param {CanvasRenderingContext2D} context
 * @param {{width: number, height: number}} size of the radiograph
 * @param {number} height of the letters in its pixels
 */
export function sides(context, size, height) {
  context.font = `700 ${height}px system-ui, sans-serif`;
  context.textBaseline = "top";
  context.lineJoin = "round";
  context.lineWidth = height / 6;
  context.strokeStyle = "#000";
  context.fillStyle = "#fff";
  for (const [letter, align, x] of [["R", "left", height / 2], ["L", "right", size.width - height / 2]]) {
    context.textAlign = align;
    context.strokeText(letter, x, height / 2);
    context.fillText(letter, x, height / 2);
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {[number, number][][]} lines
 * @param {string} colour
 * @param {number} width
 */
function strokes(context, lines, colour, width) {
  context.beginPath();
  for (const line of lines) line.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.lineJoin = "round";
  context.stroke();
}
