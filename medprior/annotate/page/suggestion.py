"""Suggests contours to correct: those of the anatomy model, or of a saved drawing carried over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medprior.annotate.page.drawing_session import SessionPicture
from medprior.annotate.page.mask_editing import trace_contours
from medprior.annotate.page.rendering import encode_picture_png
from medprior.dicom.radiograph import WHITE_16_BIT
from medprior.errors import MedpriorError
from medprior.workers.request_process import RequestProcess

Mask = NDArray[np.bool_]
MAX_KEPT_SUGGESTIONS = 32
UNFAMILIAR_FLAG = "far_from_training"
UNFAMILIAR_NOTE = "This radiograph is unlike those that the model was trained on: check every line."
WHERE = "suggestion"


@dataclass(frozen=True)
class Suggestion:
    """Masks to start from.

    Attributes:
        masks: structure -> bool [h, w] over the image.
        note: a warning for the user, or ''.
    """

    masks: Mapping[str, Mask]
    note: str = ""

    def record(self, size: tuple[int, int]) -> dict[str, Any]:
        """JSON values: contours by structure, in pixels of an image of `size` (rows, cols), and the note."""
        traced = {name: trace_contours(mask, size) for name, mask in self.masks.items()}
        structures = [{"name": name, "contours": contours} for name, contours in traced.items() if contours]
        return {"structures": structures, "note": self.note}


Suggest = Callable[[NDArray[np.float32]], Suggestion]


class SuggestionProcess:
    """Suggests lungs and heart of the anatomy model, in a process that waits with the model loaded; thread-safe."""

    def __init__(self) -> None:
        self._process = RequestProcess("medprior.deploy.inference.mask_worker", [], WHERE)

    def __call__(self, pixels: NDArray[np.float32]) -> Suggestion:
        """Suggest contours for a radiograph.

        Args:
            pixels: float32 [rows, cols] in [0, 1].

        Raises:
            MedpriorError: the model is missing, or it finds no structure.
        """
        levels = np.rint(np.clip(pixels, 0, 1) * WHITE_16_BIT).astype(np.uint16)
        file = np.frombuffer(encode_picture_png(Image.fromarray(levels)), np.uint8)
        suggestions: list[Suggestion] = []

        def receive(facts: dict[str, Any], masks: list[NDArray[Any]]) -> None:
            """Keep the masks."""
            note = UNFAMILIAR_NOTE if UNFAMILIAR_FLAG in facts["flags"] else ""
            suggestions.append(Suggestion(dict(zip(facts["names"], masks, strict=True)), note))

        self._process.request({}, receive, [file])
        if not any(mask.any() for mask in suggestions[0].masks.values()):
            raise MedpriorError("the model finds no lung and no heart here", where=WHERE, fix="draw the contours")
        return suggestions[0]

    def close(self) -> None:
        """End the process."""
        self._process.close()


class Suggestions:
    """Makes one suggestion at a time and keeps the latest ones.

    Args:
        suggest: makes the suggestion for an image.
    """

    def __init__(self, suggest: Suggest) -> None:
        self._suggest, self._lock = suggest, threading.Lock()
        self._kept: dict[str, Suggestion] = {}

    def suggest(self, key: str, picture: SessionPicture) -> Suggestion:
        """The suggestion for an image, which is made where it is not kept.

        Raises:
            MedpriorError: see `SuggestionProcess`.
        """
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._suggest(picture.pixels)
                for old_key in list(self._kept)[:-MAX_KEPT_SUGGESTIONS]:
                    del self._kept[old_key]
            return self._kept[key]
