"""Renders one prediction over its radiograph: mask contours, measured diameters, attention maps."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from medprior.dicom.display.resample import resize_pixels
from medprior.dicom.radiograph import FRONTAL_VIEWS, RESEARCH_NOTE
from medprior.palette import structure_rgb
from medprior.side_markers import MARKER_X, draw_side_marker, draw_side_markers

if TYPE_CHECKING:
    from medprior.deploy.inference.prediction import RadiographPrediction
    from medprior.dicom.derived.native_grid import NativeGrid
    from medprior.metrics.cardiothoracic_ratio import CardiothoracicRatio

GreyPixels = NDArray[np.float32]
RgbPixels = NDArray[np.float64]
PANEL_SIDE_PX = 640  # longest side of a panel
FULL_COLOUR_ATTENTION = 4.0  # attention in units of its mean that gets full colour at the earliest


def render_overlay(prediction: RadiographPrediction) -> Image.Image:
    """Render panels side by side: contours with the diameters, then attention by structure or head.

    Returns:
        RGB image, each panel at most 640 pixels on its longest side, with a caption.
    """
    grey = resize_to_panel(prediction.pixels)
    pictures = {format_ratio_title(prediction): render_mask_contours(grey, prediction.masks, prediction.cardiothoracic)}
    for index, (name, attention) in enumerate(prediction.attention.items()):
        title = f"attention: {name.replace('_', ' ')}"
        pictures[title] = blend_attention(grey, attention, structure_rgb(name, index))
    if is_frontal(prediction):
        for picture in pictures.values():
            draw_side_markers(picture)
    panels = [add_panel_caption(picture, title) for title, picture in pictures.items()]
    height = max(panel.height for panel in panels)
    sheet = Image.new("RGB", (sum(panel.width + 6 for panel in panels) - 6, height), (20, 20, 24))
    x = 0
    for panel in panels:
        sheet.paste(panel, (x, 0))
        x += panel.width + 6
    return sheet


def is_frontal(prediction: RadiographPrediction) -> bool:
    """Whether the radiograph has the patient's right on its left."""
    return prediction.facts.get("view", "UNKNOWN") in FRONTAL_VIEWS


def format_ratio_title(prediction: RadiographPrediction) -> str:
    """Caption of the first panel."""
    if prediction.cardiothoracic is None:
        return "radiograph"
    return f"cardiothoracic ratio {prediction.cardiothoracic.ratio:.2f}"


def resize_to_panel(pixels: GreyPixels) -> GreyPixels:
    """The radiograph at panel size, area averaged; float32 in [0, 1]."""
    image = Image.fromarray(np.asarray(pixels, dtype=np.float32))
    scale = min(1.0, PANEL_SIDE_PX / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return np.asarray(image.resize(size, Image.Resampling.BOX, reducing_gap=None))


def render_mask_contours(
    grey: GreyPixels,
    masks: Mapping[str, NDArray[np.bool_]],
    ratio: CardiothoracicRatio | None,
    line_width: int = 2,
) -> Image.Image:
    """Draw outlines of the masks over the radiograph, and the two measured diameters.

    Args:
        grey: float32 [rows, columns] in [0, 1], the radiograph at any size.
        masks: bool, each at the radiograph's own size.
        ratio: measured on the masks, or None.
        line_width: in pixels of `grey`.
    """
    rgb = convert_grey_to_rgb(grey)
    scale = np.ones(2)
    for index, (name, mask) in enumerate(masks.items()):
        scale = np.array(grey.shape) / mask.shape
        small = np.asarray(Image.fromarray(mask).resize(grey.shape[::-1], Image.Resampling.NEAREST), dtype=bool)
        edge = small & ~ndimage.binary_erosion(small, iterations=line_width, border_value=1)
        rgb[edge] = structure_rgb(name, index)
    image = Image.fromarray(rgb.round().astype(np.uint8))
    if ratio is not None:
        draw_diameters(ImageDraw.Draw(image), ratio, (float(scale[1]), float(scale[0])), line_width)
    return image


def draw_diameters(
    draw: ImageDraw.ImageDraw, ratio: CardiothoracicRatio, scale: tuple[float, float], line_width: int
) -> None:
    """Draw the thoracic and the cardiac diameter, and lines from its ends to the heart's border."""
    scale_x, scale_y = scale
    x0, x1, y = ratio.thorax
    draw.line([(x0 * scale_x, y * scale_y), (x1 * scale_x, y * scale_y)], (255, 255, 255), line_width)
    (left, upper), (right, lower) = ratio.heart
    heart_y = (upper + lower) / 2 * scale_y
    colour = structure_rgb("heart", 0)
    draw.line([(left * scale_x, heart_y), (right * scale_x, heart_y)], colour, line_width)
    for x, end in ((left, upper), (right, lower)):
        draw.line([(x * scale_x, end * scale_y), (x * scale_x, heart_y)], colour, max(1, line_width // 2))


def render_native_overlay(prediction: RadiographPrediction) -> NDArray[np.uint8]:
    """Contours, diameters and a note on the pixels of the DICOM file: uint8 [rows, columns, 3].

    The picture keeps the orientation of the file; the note is upright on it.

    Raises:
        ValueError: the source of the prediction is not a DICOM file.
    """
    native = prediction.native
    if native is None:
        raise ValueError("the prediction needs a DICOM file as its source")
    grey = resize_pixels(prediction.pixels, *native.stored_shape)
    line_width = max(1, round(max(native.stored_shape) / 400))
    overlay = render_mask_contours(grey, prediction.masks, prediction.cardiothoracic, line_width)
    image = Image.fromarray(native.reorient_pixels(np.asarray(overlay)))
    if is_frontal(prediction):
        draw_native_side_markers(image, native)
    size = max(9, native.stored_shape[1] // 45)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    for line, text in enumerate(format_overlay_notes(prediction)):
        position = (size // 2, size // 2 + line * (size + size // 3))
        draw.text(position, text, (255, 236, 120), font, stroke_width=max(1, size // 12), stroke_fill=0)
    return np.asarray(image)


def draw_native_side_markers(image: Image.Image, native: NativeGrid) -> None:
    """Draw upright R and L, in place, where the orientation of the file has the patient's sides.

    They stand at mid height of the upright radiograph: the notes are at the top of the file's.
    """
    rows, columns = native.stored_shape
    for letter, share in (("R", MARKER_X), ("L", 1 - MARKER_X)):
        spot = np.zeros((rows, columns), np.uint8)
        spot[rows // 2, min(columns - 1, int(share * columns))] = 1
        (y, x), *_ = np.argwhere(native.reorient_pixels(spot))
        draw_side_marker(image, letter, (float(x), float(y)))


def format_overlay_notes(prediction: RadiographPrediction) -> list[str]:
    """Lines of text on an exported picture: the research note, the ratio, the flags."""
    lines = [RESEARCH_NOTE, format_ratio_title(prediction)] if prediction.cardiothoracic else [RESEARCH_NOTE]
    doubts = ", ".join(flag.replace("_", " ") for flag in prediction.flags)
    return [*lines, *([f"doubt: {doubts}"] if doubts else [])]


def blend_attention(grey: GreyPixels, attention: GreyPixels, rgb: tuple[int, int, int]) -> Image.Image:
    """Blend one attention map over the radiograph.

    Full colour is its 99.5th percentile, but at least four times the mean over the patches, so that
    attention that is the same everywhere looks like it (our choice).

    Args:
        grey: float32 [rows, columns] in [0, 1].
        attention: float32 [h, w]; 1 is the mean over the patches.
        rgb: colour of the map.
    """
    size = (grey.shape[1], grey.shape[0])
    smooth = np.asarray(
        Image.fromarray(np.asarray(attention, dtype=np.float32)).resize(size, Image.Resampling.BILINEAR)
    )
    top = max(float(np.quantile(smooth, 0.995)), FULL_COLOUR_ATTENTION)
    alpha = 0.75 * np.clip(smooth / top, 0, 1)[..., None]
    mixed = convert_grey_to_rgb(grey) * (1 - alpha) + np.array(rgb) * alpha
    return Image.fromarray(mixed.round().astype(np.uint8))


def convert_grey_to_rgb(grey: GreyPixels) -> RgbPixels:
    """Grey values in [0, 1] as float RGB in [0, 255]."""
    return np.repeat(np.clip(grey, 0, 1)[..., None].astype(np.float64) * 255, 3, axis=2)


def add_panel_caption(panel: Image.Image, text: str) -> Image.Image:
    """Add one line of text above a panel."""
    captioned = Image.new("RGB", (panel.width, panel.height + 22), (20, 20, 24))
    captioned.paste(panel, (0, 22))
    ImageDraw.Draw(captioned).text((6, 5), text, fill=(235, 235, 235))
    return captioned


def render_mask(mask: NDArray[np.bool_]) -> Image.Image:
    """A mask as an 8-bit picture, 255 inside."""
    return Image.fromarray(mask.astype(np.uint8) * 255)


def render_attention_map(attention: GreyPixels) -> Image.Image:
    """An attention map as an 8-bit picture; 255 is its largest value, non-finite values are 0."""
    attention = np.nan_to_num(attention, nan=0.0, posinf=0.0, neginf=0.0)
    top = max(float(np.max(attention)), 1e-12)
    return Image.fromarray(np.round(np.clip(attention / top, 0, 1) * 255).astype(np.uint8))


def encode_png_base64(image: Image.Image) -> str:
    """A picture as base64 text of its PNG file, with the fastest compression."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
