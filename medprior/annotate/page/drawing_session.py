"""State of one drawing session: images to choose from, and the saved annotation."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medprior.annotate.annotation import Annotation
from medprior.annotate.page.contours import ContourDrawing
from medprior.annotate.sources import check_masks_or_preview, create_cohort_annotation
from medprior.annotate.typicality import select_medoids
from medprior.cohort import Cohort
from medprior.dicom import Radiograph
from medprior.errors import InputMissing
from medprior.provenance import atomic_write

SUGGESTION_COUNT = 12
MAX_OPEN_FILES = 8
FILE_KEY_PREFIX = "file-"
CONTOURS_FILE = "contours.json"
ReadRadiograph = Callable[[bytes], Radiograph]


@dataclass(frozen=True)
class SessionPicture:
    """A radiograph of the session; `image_id` is None for an opened file."""

    pixels: NDArray[np.float32] = field(repr=False)
    image_id: str | None = None
    radiograph: Radiograph | None = field(default=None, repr=False)


class DrawingSession:
    """Images of one session and the annotation drawn on one of them; thread-safe.

    Args:
        out: annotation folder.
        cohort: images to choose from, or None.
        read: reads an opened file.
        notes: free text for the annotation.
    """

    def __init__(self, out: Path, cohort: Cohort | None, read: ReadRadiograph, notes: str = "") -> None:
        self.out, self.cohort, self.notes = out, cohort, notes
        self._read, self._lock = read, threading.RLock()
        self._files: dict[str, Radiograph] = {}
        self._opened_count = 0
        self._suggested_ids: tuple[str, ...] | None = None
        self.annotation: Annotation | None = None

    def suggest_images(self) -> tuple[str, ...]:
        """Image ids to annotate, the most typical first; none without a cohort."""
        if self.cohort is None:
            return ()
        with self._lock:
            if self._suggested_ids is None:
                self._suggested_ids = select_medoids(self.cohort, SUGGESTION_COUNT)
            return self._suggested_ids

    def add_file(self, data: bytes) -> str:
        """Add the image of a file, and return its key.

        Raises:
            Rejected: the file is no usable radiograph.
        """
        radiograph = self._read(data)
        with self._lock:
            self._opened_count += 1
            key = f"{FILE_KEY_PREFIX}{self._opened_count}"
            self._files[key] = radiograph
            for old_key in list(self._files)[:-MAX_OPEN_FILES]:
                del self._files[old_key]
        return key

    def get_picture(self, key: str) -> SessionPicture:
        """An image by its key: an image id, or a key from `add_file`.

        Raises:
            InputMissing: the session has no such image.
        """
        with self._lock:
            radiograph = self._files.get(key)
        if radiograph is not None:
            return SessionPicture(radiograph.pixels, None, radiograph)
        if self.cohort is None or key not in self.cohort.image_ids:
            raise InputMissing("this picture is not open", where="picture", fix="open it")
        return SessionPicture(self.cohort.pixels(key), key)

    def save(self, drawing: ContourDrawing) -> Annotation:
        """Save contours as the annotation, and replace an earlier one in the folder.

        Raises:
            MedpriorError: the masks are invalid (see `check_masks`).
        """
        picture = self.get_picture(drawing.picture)
        shape = (picture.pixels.shape[0], picture.pixels.shape[1])
        masks = drawing.masks(shape)
        check_masks_or_preview(picture.pixels, masks, None)
        if picture.radiograph is not None:
            annotation = Annotation(
                picture.pixels, masks, pixel_sha256=picture.radiograph.pixel_sha256,
                spacing_mm=picture.radiograph.spacing_mm, author=drawing.author, notes=self.notes,
            )  # fmt: skip
        else:
            assert self.cohort is not None
            annotation = create_cohort_annotation(self.cohort, drawing.picture, masks, drawing.author, self.notes)
        with self._lock:
            self._replace(annotation, drawing)
        return annotation

    def _replace(self, annotation: Annotation, drawing: ContourDrawing) -> None:
        if self.annotation is not None:
            for name in set(self.annotation.structures) - set(annotation.structures):
                (self.out / f"{name}.png").unlink(missing_ok=True)
        annotation.save(self.out)
        # The page reloads the vertices from this file; the annotation consists of the masks.
        with atomic_write(self.out / CONTOURS_FILE) as temporary:
            temporary.write_text(drawing.model_dump_json(indent=1), encoding="utf-8")
        self.annotation = annotation
