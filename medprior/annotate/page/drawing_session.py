"""What lies on the table of one drawing session: pictures to choose from, and what was drawn."""

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
    """A radiograph on the table; `image_id` is None for a file of its own."""

    pixels: NDArray[np.float32] = field(repr=False)
    image_id: str | None = None
    radiograph: Radiograph | None = field(default=None, repr=False)


class DrawingSession:
    """Pictures in, one annotation out; safe to share between threads.

    Args:
        out: the annotation's folder.
        cohort: pictures to choose from, or None.
        read: reads a file that the user opens.
        notes: free text for the annotation.
    """

    def __init__(self, out: Path, cohort: Cohort | None, read: ReadRadiograph, notes: str = "") -> None:
        self.out, self.cohort, self.notes = out, cohort, notes
        self._read, self._lock = read, threading.RLock()
        self._files: dict[str, Radiograph] = {}
        self._count = 0
        self._suggested: tuple[str, ...] | None = None
        self.saved: Annotation | None = None

    def suggestions(self) -> tuple[str, ...]:
        """Image ids worth drawing, the most typical first; none without a cohort."""
        if self.cohort is None:
            return ()
        with self._lock:
            if self._suggested is None:
                self._suggested = select_medoids(self.cohort, SUGGESTION_COUNT)
            return self._suggested

    def add(self, data: bytes) -> str:
        """Put a file's picture on the table and give its key.

        Raises:
            Rejected: it is no usable radiograph.
        """
        radiograph = self._read(data)
        with self._lock:
            self._count += 1
            key = f"{FILE_KEY_PREFIX}{self._count}"
            self._files[key] = radiograph
            for old in list(self._files)[:-MAX_OPEN_FILES]:
                del self._files[old]
        return key

    def picture(self, key: str) -> SessionPicture:
        """A picture by its key, an image id or what `add` gave.

        Raises:
            InputMissing: there is none.
        """
        with self._lock:
            radiograph = self._files.get(key)
        if radiograph is not None:
            return SessionPicture(radiograph.pixels, None, radiograph)
        if self.cohort is None or key not in self.cohort.image_ids:
            raise InputMissing("this picture is not on the table", where="picture", fix="open it")
        return SessionPicture(self.cohort.pixels(key), key)

    def save(self, drawn: ContourDrawing) -> Annotation:
        """Keep a drawing as the annotation; an earlier one in the folder is replaced.

        Raises:
            MedpriorError: the masks cannot be right (see `check_masks`).
        """
        picture = self.picture(drawn.picture)
        shape = (picture.pixels.shape[0], picture.pixels.shape[1])
        masks = drawn.masks(shape)
        check_masks_or_preview(picture.pixels, masks, None)
        if picture.radiograph is not None:
            made = Annotation(
                picture.pixels, masks, pixel_sha256=picture.radiograph.pixel_sha256,
                spacing_mm=picture.radiograph.spacing_mm, author=drawn.author, notes=self.notes,
            )  # fmt: skip
        else:
            assert self.cohort is not None
            made = create_cohort_annotation(self.cohort, drawn.picture, masks, drawn.author, self.notes)
        with self._lock:
            self._replace(made, drawn)
        return made

    def _replace(self, made: Annotation, drawn: ContourDrawing) -> None:
        if self.saved is not None:
            for name in set(self.saved.structures) - set(made.structures):
                (self.out / f"{name}.png").unlink(missing_ok=True)
        made.save(self.out)
        # The vertices, to go on with another day; the masks are what counts.
        with atomic_write(self.out / CONTOURS_FILE) as temporary:
            temporary.write_text(drawn.model_dump_json(indent=1), encoding="utf-8")
        self.saved = made
