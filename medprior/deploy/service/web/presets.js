// Windows that show one kind of tissue, from the grey levels of the radiograph.

/** @type {Record<string, {title: string, from: number, to: number}>} shares of the pixels below each end */
export const PRESETS = {
  whole: { title: "Whole range", from: 0, to: 1 },
  contrast: { title: "More contrast", from: 0.05, to: 0.95 },
  lungs: { title: "Lungs (dark parts)", from: 0.02, to: 0.6 },
  heart: { title: "Heart and bone (bright parts)", from: 0.4, to: 0.995 },
};

/**
 * The window between two quantiles of the values.
 * @param {Uint16Array} values
 * @param {string} name of a preset
 * @returns {{level: number, width: number}} shares of the full range
 */
export function computeWindow(values, name) {
  const { from, to } = PRESETS[name];
  if (from === 0 && to === 1) return { level: 0.5, width: 1 };
  const counts = new Uint32Array(65536);
  for (const value of values) counts[value] += 1;
  const [low, high] = [from, to].map((share) => {
    let rest = share * values.length;
    let level = 0;
    while (level < 65535 && rest > counts[level]) {
      rest -= counts[level];
      level += 1;
    }
    return level / 65535;
  });
  return { level: (low + high) / 2, width: Math.max(0.01, high - low) };
}
