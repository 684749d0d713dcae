"""Looks for text in the pixels of a radiograph: the detector and reader of the extra `text` (RapidOCR, Apache-2.0).

The weights come with the package; nothing is fetched. What was read is compared with the words of technicians and
then dropped: it may be a name.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.dicom.display.resample import compute_resized_shape, resize_pixels
from medprior.dicom.radiograph import Radiograph
from medprior.errors import ConfigError

TEXT_FLAG = "burned_in_text"
WHITE_8_BIT = 255
LOOK_PX = 800  # longest side of what is searched at once: the detector misses large pictures' small texts
QUARTER_SHARE = 0.55  # of a side; quarters of a larger picture overlap (our choice)
MIN_CHARACTERS, MIN_SCORE = 3, 0.7  # of a text that counts (our choice): side markers have one or two letters
# Markers of side, projection and position, and their parts: they name no patient.
MARKER_WORDS = frozenset(
    {
        "LEFT", "RIGHT", "LINKS", "RECHTS", "LAT", "LATERAL", "ERECT", "UPRIGHT", "STANDING", "STEHEND", "SITTING",
        "SITZEND", "SUPINE", "LIEGEND", "DECUBITUS", "PORTABLE", "MOBILE", "INSP", "EXP", "INSPIRATION", "EXPIRATION",
        "CHEST", "THORAX", "WALL", "BED",
    }
)  # fmt: skip


def require_text_detector() -> None:
    """Check that the detector is installed.

    Raises:
        ConfigError: it is not.
    """
    missing = [name for name in ("rapidocr", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the text detector is not installed ({', '.join(missing)})",
            where="policy.detect_text",
            fix="pip install 'medprior[text]'",
        )


@lru_cache(maxsize=1)
def load_text_detector() -> Any:
    """Load the detector, with one thread; a confined process calls this before it is confined."""
    from rapidocr import RapidOCR

    single_thread = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_cls": False,
            **{f"EngineConfig.onnxruntime.{name}": count for name, count in single_thread.items()},
        }
    )


def flag_burned_in_text(radiograph: Radiograph) -> Radiograph:
    """Add the flag `burned_in_text` where the picture holds text beyond markers of side, projection and position."""
    if not has_text(radiograph.pixels):
        return radiograph
    return replace(radiograph, flags=tuple(dict.fromkeys((*radiograph.flags, TEXT_FLAG))))


def has_text(pixels: NDArray[np.float32]) -> bool:
    """Whether a picture holds text that is no marker.

    Args:
        pixels: float32 [rows, cols] in [0, 1].
    """
    return any(
        score >= MIN_SCORE and not is_marker(text) for part in iter_parts(pixels) for text, score in read_texts(part)
    )


def iter_parts(pixels: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """The whole picture, and where it is large its four quarters; each with its longest side at most `LOOK_PX`."""
    rows, cols = pixels.shape
    yield resize_pixels(pixels, *compute_resized_shape(pixels.shape, LOOK_PX))
    if max(rows, cols) <= LOOK_PX:
        return
    height, width = math.ceil(rows * QUARTER_SHARE), math.ceil(cols * QUARTER_SHARE)
    for quarter in (
        pixels[:height, :width],
        pixels[:height, -width:],
        pixels[-height:, :width],
        pixels[-height:, -width:],
    ):
        yield resize_pixels(quarter, *compute_resized_shape(quarter.shape, LOOK_PX))


def read_texts(pixels: NDArray[np.float32]) -> list[tuple[str, float]]:
    """Texts of a picture, float32 [rows, cols] in [0, 1], and how sure the detector is of each."""
    grey = np.rint(np.clip(pixels, 0, 1) * WHITE_8_BIT).astype(np.uint8)
    result = load_text_detector()(np.repeat(grey[..., None], 3, axis=2))
    return list(zip(result.txts or (), result.scores or (), strict=True))


def is_marker(text: str) -> bool:
    """Whether a text is a marker, or too short to name anybody."""
    words = re.findall(r"\w+", text.upper())
    return all(len(word) < MIN_CHARACTERS or word in MARKER_WORDS for word in words)
