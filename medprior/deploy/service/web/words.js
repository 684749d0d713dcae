// Codes and names as words.

/** @type {Record<string, string>} */
const REASONS = {
  empty: "The file is empty.",
  too_large: "The file is too large for this server.",
  malformed: "The DICOM file breaks the standard.",
  truncated: "The file is cut short; fetch it again.",
  modality: "This is no X-ray image.",
  sop_class: "This kind of DICOM object is no radiograph.",
  secondary_capture: "This is a screen capture, not a radiograph.",
  for_processing: "This is raw detector data; export the image for presentation.",
  body_part: "The file says that it does not show the chest.",
  burned_in: "Text is burned into the picture.",
  colour: "This is a colour picture.",
  frames: "The file holds several frames.",
  size: "The picture is too small or too large.",
  constant: "The picture has no contrast.",
  timeout: "The file took too long to decode.",
  memory: "The file needs too much memory to decode.",
  worker_died: "The file made its decoder crash.",
  syntax_unsupported: "The file is compressed in a way that cannot be read here.",
  busy: "The server is busy; try again in a moment.",
  too_slow: "The server did not answer in time; try again.",
  token: "Open this page with the address that the server printed.",
  far_from_training: "The picture is unlike those the model was trained on.",
  offline: "The server cannot be reached.",
};

/** @type {Record<string, string>} */
const FLAGS = {
  not_frontal: "not a frontal view",
  child: "the patient is a child",
  ap_magnifies_heart: "AP view: the heart looks larger",
  implausible_cardiothoracic_ratio: "the heart-size ratio is implausible",
  far_from_training: "unlike the training images: do not rely on the answer",
  familiarity_unknown: "this model cannot tell whether the picture is like its training images",
  implausible_masks: "the contours are implausible",
  burned_in_text: "text is burned into the picture; it may name the patient",
  pixels_inverted: "the picture seems to be inverted: black for white",
  pixels_rotated: "the picture seems to be turned; check which side is which",
  pixels_not_frontal: "the picture does not look like a frontal chest",
  burned_in_unknown: "it is not known whether text is burned in",
  orientation_mirrored: "the stored picture was mirrored; it was turned back",
  orientation_rotated: "the stored picture was rotated; it was turned back",
  orientation_unusual: "the file states an unusual orientation; check which side is which",
  orientation_unusable: "the file's orientation cannot be used; check which side is which",
  exif_orientation: "the picture was turned upright as its file says",
  secondary_capture: "the file is a capture, not the original radiograph",
  derived: "the picture was processed after its acquisition",
  secondary: "the file is a secondary image",
  marked_image: "marks may be drawn on the picture",
  for_processing: "raw detector data, not meant for reading",
  body_part_missing: "the file does not say which part of the body it shows",
  body_part_unusual: "the file names the part of the body in an unusual way",
  other_body_part: "the file says that it does not show the chest",
  modality_missing: "the file does not say that it is an X-ray image",
  modality_dr: "the file names its kind of X-ray image in an outdated way",
  recognisable_features: "the file says that the patient can be recognised on it",
  view_unusual: "the file names the projection in an unusual way",
  view_conflict: "the file contradicts itself about the projection",
  window_unusable: "the file's window cannot be used; the whole range is shown",
  voi_lut_unusable: "the file's display table cannot be used; the whole range is shown",
  modality_lut_unusable: "the file's table of pixel values cannot be used; stored values are shown",
  modality_lut_and_rescale: "the file gives two rules for its pixel values",
  presentation_shape_conflict: "the file contradicts itself about black and white",
  shutter: "what lies outside the exposed field is left out",
  shutter_unusable: "the file's exposed field cannot be used; the whole picture is shown",
  spacing_unusable: "the file's pixel spacing cannot be used: no sizes in mm",
  aspect_unusable: "the file's pixel shape cannot be used; pixels count as square",
  syntax_guessed: "the file does not say how it is encoded; that was recognised from its content",
  mask_unusable: "a mask in the file cannot be used",
  low_range: "the picture uses little of the range from black to white; change the window",
};

/**
 * @param {string} name such as `left_lung`
 * @returns {string} such as `left lung`
 */
export function words(name) {
  return name.replaceAll("_", " ");
}

/**
 * @param {string} name
 * @returns {string} with a capital letter
 */
export function title(name) {
  const text = words(name);
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/**
 * @param {string} code reject code
 * @param {string} message the server's sentence
 * @returns {string}
 */
export function reason(code, message) {
  const kind = /: the file is (.+)$/.exec(message);
  if (code === "not_dicom") return `This is ${kind ? `${kind[1]}, ` : ""}no DICOM file.`;
  if (code === "not_an_image") return `This is ${kind ? `${kind[1]}, ` : ""}no picture that can be read.`;
  const said = message ? message.charAt(0).toUpperCase() + message.slice(1) : "";
  return REASONS[code] ?? (said ? `${said.replace(/\.$/, "")}.` : "It was refused.");
}

/**
 * @param {string} flag
 * @returns {string}
 */
export function flagged(flag) {
  return FLAGS[flag] ?? words(flag);
}
