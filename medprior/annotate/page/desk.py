"""What lies on the table of one drawing session: pictures to choose from, and what was drawn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medprior.annotate.annotation import Annotation
from medprior.annotate.page.contours import Drawn
from medprior.annotate.sources import checked, cohort_annotation
from medprior.annotate.typical import medoids
from medprior.cohort import Cohort
from medprior.dicom import Radiograph
from medprior.errors import InputMissing
from medprior.provenance import atomic

SUGGESTED = 12
MOST_FILES = 8
FILE = "file-"
KEPT = "contours.json"
Read = Callable[[bytes], Radiograph]


@dataclass(frozen=True)
class Picture:
    """A radiograph on the table; `image_id` is None for a file of its own."""

    pixels: NDArray[np.float32] = field(repr=False)
    image_id: str | None = None
    radiograph: Radiograph | None = field(default=None, repr=False)


class Desk:
    """Pictures in, one annotation out; safe to share between threads.

    Args:
        out: the annotation's folder.
        cohort: pictures to choose from, or None.
        read: reads a file that the user opens.
        notes: free text for the annotation.
    """

    def __init__(self, out: Path, cohort: Cohort | None, read: Read, notes: str = "") -> None:
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
                self._suggested = medoids(self.cohort, SUGGESTED)
            return self._suggested

    def add(self, data: bytes) -> str:
        """Put a file's picture on the table and give its key.

        Raises:
            Rejected: it is no usable radiograph.
        """
        radiograph = self._read(data)
        with self._lock:
            self._count += 1
            key = f"{FILE}{self._count}"
            self._files[key] = radiograph
            for old in list(self._files)[:-MOST_FILES]:
                del self._files[old]
        return key

    def picture(self, key: str) -> Picture:
        """A picture by its key, an image id or what `add` gave.

        Raises:
            InputMissing: there is none.
        """
        with self._lock:
            radiograph = self._files.get(key)
        if radiograph is not None:
            return Picture(radiograph.pixels, None, radiograph)
        if self.cohort is None or key not in self.cohort.image_ids:
            raise InputMissing("this picture is not on the table", where="picture", fix="open it")
        return Picture(self.cohort.pixels(key), key)

    def save(self, drawn: Drawn) -> Annotation:
        """Keep a drawing as the annotation; an earlier one in the folder is replaced.

        Raises:
            MedpriorError: the masks cannot be right (see `check_masks`).
        """
        picture = self.picture(drawn.picture)
        shape = (picture.pixels.shape[0], picture.pixels.shape[1])
        masks = drawn.masks(shape)
        checked(picture.pixels, masks, None)
        if picture.radiograph is not None:
            made = Annotation(
                picture.pixels, masks, pixel_sha256=picture.radiograph.pixel_sha256,
                spacing_mm=picture.radiograph.spacing_mm, author=drawn.author, notes=self.notes,
            )  # fmt: skip
        else:
            assert self.cohort is not None
            made = cohort_annotation(self.cohort, drawn.picture, masks, drawn.author, self.notes)
        with self._lock:
            self._replace(made, drawn)
        return made

    def _replace(self, made: Annotation, drawn: Drawn) -> None:
        if self.saved is not None:
            for name in set(self.saved.structures) - set(made.structures):
                (self.out / f"{name}.png").unlink(missing_ok=True)
        made.save(self.out)
        # The vertices, to go on with another day; the masks are what counts.
        with atomic(self.out / KEPT) as temporary:
            temporary.write_text(drawn.model_dump_json(indent=1), encoding="utf-8")
        self.saved = made
