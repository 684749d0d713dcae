// The radiograph's 16-bit values, windowed onto a canvas; and attention maps as coloured canvases.

/** @typedef {{rows: number, columns: number, data: string}} Pixels */
/** @typedef {{level: number, width: number, inverted: boolean}} Window in shares of the full range */

/** A radiograph whose window can be changed. */
export class Picture {
  /** @param {Pixels} pixels of the server's answer */
  constructor(pixels) {
    this.canvas = canvas(pixels.columns, pixels.rows);
    const text = atob(pixels.data);
    this.values = new Uint16Array(pixels.rows * pixels.columns);
    for (let i = 0; i < this.values.length; i += 1) {
      this.values[i] = text.charCodeAt(2 * i) | (text.charCodeAt(2 * i + 1) << 8);
    }
    this.image = new ImageData(pixels.columns, pixels.rows);
    this.words = new Uint32Array(this.image.data.buffer);
  }

  /**
   * Draw with a window.
   * @param {Window} window
   */
  draw(window) {
    const shades = new Uint32Array(65536);
    const low = window.level - window.width / 2;
    for (let value = 0; value < 65536; value += 1) {
      const share = Math.min(1, Math.max(0, (value / 65535 - low) / window.width));
      const grey = Math.round(255 * (window.inverted ? 1 - share : share));
      shades[value] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
    for (let i = 0; i < this.values.length; i += 1) this.words[i] = shades[this.values[i]];
    this.canvas.getContext("2d").putImageData(this.image, 0, 0);
  }
}

/**
 * An attention map as a canvas of one colour whose opacity follows the map.
 * @param {string} png base64
 * @param {number} gain share of full colour that the map's white stands for
 * @param {string} colour #rrggbb
 * @returns {Promise<HTMLCanvasElement>}
 */
export async function heat(png, gain, colour) {
  const image = new Image();
  image.src = `data:image/png;base64,${png}`;
  await image.decode();
  const made = canvas(image.naturalWidth, image.naturalHeight);
  const context = made.getContext("2d");
  context.drawImage(image, 0, 0);
  const rgb = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const data = context.getImageData(0, 0, made.width, made.height);
  for (let i = 0; i < data.data.length; i += 4) {
    const share = Math.min(1, (data.data[i] / 255) * gain);
    [data.data[i], data.data[i + 1], data.data[i + 2]] = rgb;
    data.data[i + 3] = Math.round(255 * share);
  }
  context.putImageData(data, 0, 0);
  return made;
}

/**
 * @param {number} width
 * @param {number} height
 * @returns {HTMLCanvasElement}
 */
function canvas(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}
