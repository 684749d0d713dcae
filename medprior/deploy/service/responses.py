"""Builds the JSON response of the service from a prediction, with the pictures it includes."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict

import medprior
from medprior.deploy.inference.finding_locations import FindingLocation
from medprior.deploy.inference.overlays import (
    FULL_COLOUR_ATTENTION,
    PANEL_SIDE_PX,
    encode_png_base64,
    render_attention_map,
    render_mask,
)
from medprior.deploy.inference.prediction import FindingCall, RadiographPrediction, round_boxes
from medprior.dicom.display.resample import compute_resized_shape, resize_pixels
from medprior.dicom.radiograph import WHITE_16_BIT
from medprior.geometry import find_mask_box
from medprior.pages.problem import Problem

ResponseExtra = Literal["masks", "attention", "contours", "pixels", "locations"]
EXTRA_NAMES: tuple[str, ...] = get_args(ResponseExtra)
ATTENTION_KEYS = ("attention", "attention_peak", "attention_full")
MAX_SIDE_PX = 2048
THINNING_TOLERANCE_PX = 0.1  # of one round of a contour's thinning, pixels of the reduced mask (our choice)
THINNING_ROUNDS = 6


class LocationEvidenceResponse(BaseModel):
    """How often the maximum of a finding's map lies in the finding, on the `images` of the test set that show it."""

    threshold: float
    hit_rate: float
    hit_rate_ci95: tuple[float, float]
    images: int


class EvidenceResponse(BaseModel):
    """How well the model tells a finding, on a `test set` or on its own `validation` images."""

    source: Literal["test set", "validation"]
    auc: float
    auc_ci95: tuple[float, float]
    sensitivity: float | None
    specificity: float | None
    location: LocationEvidenceResponse | None = None


class FindingResponse(BaseModel):
    """One finding; `present` where the calibrated probability reaches the threshold.

    Where the model has `evidence` of the finding, `call` says what follows: `none` where the 95 %
    interval of its AUC reaches 0.5.
    """

    probability: float
    threshold: float
    present: bool
    call: FindingCall | None = None
    evidence: EvidenceResponse | None = None


class LocationResponse(BaseModel):
    """Where the model looks for a finding that it calls present: weak localisation.

    `attention` is as that of structures; `boxes` are (left, top, right, bottom) in pixels of the radiograph, none where
    the evidence does not say how often they hit.
    """

    attention: str
    attention_peak: float
    attention_full: float
    boxes: list[tuple[float, float, float, float]]


class RatioResponse(BaseModel):
    """Cardiothoracic ratio; lines from (x, y) to (x, y) in pixels of the radiograph, diameters in mm."""

    value: float
    heart_line: list[list[float]]
    thorax_line: list[list[float]]
    heart_mm: float | None = None
    thorax_mm: float | None = None
    plausible: bool


class PredictionResponse(BaseModel):
    """The response of `/v1/predict` for one radiograph.

    `masks` and `attention` are base64 PNG over the radiograph's frame; 255 in an attention map is
    `attention_peak` times the mean over the patches; `attention_full` is the value of full colour.
    `locations` are those of findings that are called present.
    `contours` are closed lines of (x, y); `pixels` is the displayed image, base64 of little-endian
    uint16 rows.
    """

    model_config = ConfigDict(extra="allow")

    status: Literal["ok"]
    findings: dict[str, FindingResponse]
    cardiothoracic_ratio: RatioResponse | None
    structures: list[str]
    rows: int
    columns: int
    view: str
    flags: list[str]
    pixel_sha256: str
    model_digest: str
    medprior_version: str
    masks: dict[str, str] | None = None
    attention: dict[str, str] | None = None
    attention_peak: dict[str, float] | None = None
    attention_full: dict[str, float] | None = None
    contours: dict[str, list[list[list[float]]]] | None = None
    pixels: dict[str, Any] | None = None
    locations: dict[str, LocationResponse] | None = None


class RefusalResponse(BaseModel):
    """The reason of a refused request; `code` is stable."""

    code: str
    message: str


def parse_include(include: str) -> set[str]:
    """Parse the extras of `?include=a,b`.

    Raises:
        Problem: 422, an extra does not exist.
    """
    extras = {word.strip() for word in include.split(",") if word.strip()}
    if extras - set(EXTRA_NAMES):
        raise Problem(422, "invalid_request", f"include takes {', '.join(EXTRA_NAMES)}")
    return extras


def build_response(
    prediction: RadiographPrediction, include: set[str], locations: Mapping[str, FindingLocation] | None = None
) -> dict[str, Any]:
    """Build the JSON values of one prediction, with the `locations` of its findings; see `PredictionResponse`."""
    record = prediction.record() | {"medprior_version": medprior.__version__}
    with ThreadPoolExecutor(1) as thread:
        attention = thread.submit(encode_attention_maps, prediction) if "attention" in include else None
        if "masks" in include:
            record["masks"] = {name: encode_png_base64(render_mask(mask)) for name, mask in prediction.masks.items()}
        if "contours" in include:
            record["contours"] = {name: extract_contours(mask) for name, mask in prediction.masks.items()}
        if "pixels" in include:
            record["pixels"] = encode_displayed_pixels(prediction.pixels)
        record |= attention.result() if attention else {}
    if locations is not None:
        record["locations"] = {name: encode_location(location) for name, location in locations.items()}
    return record


def encode_attention_maps(prediction: RadiographPrediction) -> dict[str, Any]:
    """Attention maps as base64 PNG, with the attention at pixel value 255 and at full overlay colour."""
    maps = {name: encode_attention_map(item) for name, item in prediction.attention.items()}
    return {key: {name: item[key] for name, item in maps.items()} for key in ATTENTION_KEYS}


def encode_attention_map(attention: NDArray[np.float32]) -> dict[str, Any]:
    """One attention map as base64 PNG, with the attention at pixel value 255 and at full overlay colour."""
    full = max(float(np.quantile(attention, 0.995)), FULL_COLOUR_ATTENTION)
    values = (encode_png_base64(render_attention_map(attention)), round(float(attention.max()), 4), round(full, 4))
    return dict(zip(ATTENTION_KEYS, values, strict=True))


def encode_location(location: FindingLocation) -> dict[str, Any]:
    """The values of a `LocationResponse`."""
    return encode_attention_map(location.attention) | {"boxes": round_boxes(location.boxes)}


def extract_contours(mask: NDArray[np.bool_]) -> list[list[list[float]]]:
    """Borders of a mask as closed lines of (x, y) in its pixels, with subpixel accuracy."""
    from skimage import measure as untyped_measure

    measure: Any = untyped_measure
    if not mask.any():
        return []
    rows, columns = compute_resized_shape(mask.shape, PANEL_SIDE_PX)
    scale = mask.shape[0] / rows, mask.shape[1] / columns
    box = find_mask_box(mask)
    # The reduced mask is made where the mask is, which is faster than all of it.
    top, left = (int(part.start / factor) for part, factor in zip(box, scale, strict=True))
    bottom, right = (math.ceil(part.stop / factor) for part, factor in zip(box, scale, strict=True))
    levels = Image.fromarray(mask.view(np.uint8) * np.uint8(255))  # eight bits, which Pillow resizes fastest
    source = (left * scale[1], top * scale[0], right * scale[1], bottom * scale[0])
    part = levels.resize((right - left, bottom - top), Image.Resampling.BOX, source)
    small = np.asarray(part, dtype=np.float32)
    lines = []
    for line in measure.find_contours(np.pad(small, 1), 127.5):
        thinned = thin_line(line)
        if len(thinned) > 3:
            # After padding, index 1 is the centre of the first pixel, half a pixel from the edge.
            points = (thinned[:, ::-1] - 0.5 + (left, top)) * (scale[1], scale[0])
            lines.append(np.round(points, 1).tolist())
    return lines


def thin_line(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """A line [n, 2] without points that lie within a tenth of a pixel of the line through their neighbours.

    Every second point is tested at once, in six rounds: for long lines far faster than Douglas and Peucker's recursion.
    """
    for _ in range(THINNING_ROUNDS):
        before, middle, after = line[:-2:2], line[1:-1:2], line[2::2]
        along, offset = after - before, middle - before
        distance = np.abs(along[:, 0] * offset[:, 1] - along[:, 1] * offset[:, 0])
        is_kept = np.ones(len(line), dtype=bool)
        is_kept[1:-1:2] = distance > THINNING_TOLERANCE_PX * np.hypot(along[:, 0], along[:, 1])
        line = line[is_kept]
    return line


def encode_displayed_pixels(pixels: NDArray[np.float32]) -> dict[str, Any]:
    """The displayed radiograph as 16-bit values, its longest side at most 2048 pixels."""
    levels = convert_to_levels(pixels)
    return {"rows": levels.shape[0], "columns": levels.shape[1], "data": base64.b64encode(levels).decode("ascii")}


def encode_pixels_json(pixels: NDArray[np.float32]) -> bytes:
    """JSON of `encode_displayed_pixels`, written without checking megabytes of text for what JSON escapes."""
    levels = convert_to_levels(pixels)
    return b'{"rows":%d,"columns":%d,"data":"%b"}' % (*levels.shape, base64.b64encode(levels))


def convert_to_levels(pixels: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Pixels in [0, 1] as 16-bit values, little-endian, the longest side at most 2048 pixels."""
    rows, columns = compute_resized_shape(pixels.shape, MAX_SIDE_PX)
    small = resize_pixels(pixels, rows, columns) if pixels.shape != (rows, columns) else pixels
    values = np.clip(small, 0, 1)
    values *= WHITE_16_BIT
    return np.rint(values, out=values).astype("<u2")
