// Brightness and contrast of the image, by the SVG filter of the page; contours do not change.

const $ = (id) => document.getElementById(id);

export function prepareWindowing() {
  const functions = [...document.querySelectorAll("#windowing feComponentTransfer > *")];
  const apply = () => {
    // Contrast 50 shows the picture as it is; each 25 doubles or halves the slope.
    const slope = 2 ** ((Number($("window").value) - 50) / 25);
    const centre = 1 - Number($("level").value) / 100;
    const intercept = 0.5 - slope * centre;
    const sign = $("invert").checked ? -1 : 1;
    for (const transfer of functions) {
      transfer.setAttribute("slope", sign * slope);
      transfer.setAttribute("intercept", sign > 0 ? intercept : 1 - intercept);
    }
  };
  const reset = () => {
    $("level").value = 50;
    $("window").value = 50;
    $("invert").checked = false;
    apply();
  };
  for (const id of ["level", "window", "invert"]) $(id).addEventListener("input", apply);
  return reset;
}
