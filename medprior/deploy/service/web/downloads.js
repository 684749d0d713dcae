// The answer as files: JSON, the picture as it is seen, and DICOM objects that the server makes anew.

const DICOM_MAGIC = "DICM";
const MAGIC_AT = 128; // bytes

/**
 * @param {Blob} blob
 * @param {string} name of the file
 */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/**
 * The name of a download: that of the radiograph's file with another ending.
 * @param {File} file
 * @param {string} ending
 */
function rename(file, ending) {
  return `${file.name.replace(/\.(dcm|dicom|png|jpe?g|tiff?|bmp)$/i, "") || "radiograph"}${ending}`;
}

/** @param {File} file */
export async function isDicom(file) {
  return (await file.slice(MAGIC_AT, MAGIC_AT + 4).text()) === DICOM_MAGIC;
}

/**
 * @param {File} file
 * @param {any} answer
 */
export function saveJson(file, answer) {
  const text = JSON.stringify(answer, (key, value) => (value === null && ["pixels", "attention"].includes(key) ? undefined : value), 1);
  save(new Blob([text], { type: "application/json" }), rename(file, ".json"));
}

/**
 * @param {File} file
 * @param {HTMLCanvasElement} canvas
 */
export async function savePicture(file, canvas) {
  const blob = await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  save(blob, rename(file, "_medprior.png"));
}

/**
 * @param {File} file
 * @param {"seg" | "sr"} kind
 * @returns {Promise<string>} why there is none, or an empty text
 */
export async function saveDicom(file, kind) {
  const response = await fetch(`/v1/dicom/${kind}`, {
    method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" },
  }).catch(() => null);
  if (!response) return "The server cannot be reached.";
  if (!response.ok) return `No DICOM ${kind.toUpperCase()}: ${(await response.json()).message}.`;
  save(await response.blob(), rename(file, `.${kind}.dcm`));
  return "";
}
