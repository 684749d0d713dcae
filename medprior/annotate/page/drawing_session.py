"""State of one drawing session: images to choose from, and the saved annotations."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
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
from medprior.errors import InputMissing, MedpriorError
from medprior.provenance import atomic_write

SUGGESTION_COUNT = 12
MAX_OPEN_FILES = 8
FILE_KEY_PREFIX = "file-"
CONTOURS_FILE = "contours.json"
MAX_EXAMPLES = 9
ReadRadiograph = Callable[[bytes], Radiograph]


@dataclass(frozen=True)
class SessionPicture:
    """A radiograph of the session; `image_id` is None for an opened file."""

    pixels: NDArray[np.float32] = field(repr=False)
    image_id: str | None = None
    radiograph: Radiograph | None = field(default=None, repr=False)


@dataclass(frozen=True)
class SavedExample:
    """An annotation saved in this session: key of its image, and its folder."""

    key: str
    folder: Path
    annotation: Annotation = field(repr=False)


class DrawingSession:
    """Images of one session and the annotations drawn on them; thread-safe.

    The first annotation is in the folder `out`; further ones are in `out/example_2`, `out/example_3` and so on.

    Args:
        out: folder of the first annotation.
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
        self.examples: tuple[SavedExample, ...] = ()

    @property
    def annotation(self) -> Annotation | None:
        """The first annotation; None before it is saved."""
        return self.examples[0].annotation if self.examples else None

    def list_annotation_folders(self) -> tuple[Path, ...]:
        """Folders of the annotations of this session; before the first one, of an earlier session's in `out`."""
        if self.examples:
            return tuple(example.folder for example in self.examples)
        return (self.out,) if (self.out / "annotation.json").is_file() else ()

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

    def get_shape(self, key: str) -> tuple[int, int]:
        """(rows, cols) of an image by its key; raises InputMissing as `get_picture` does."""
        rows, cols = self.get_picture(key).pixels.shape
        return rows, cols

    def save(self, drawing: ContourDrawing) -> Annotation:
        """Save contours as an annotation.

        It replaces the one on the same image, is added to the others where the drawing says so, and else replaces
        all others.

        Raises:
            MedpriorError: the masks are invalid (see `check_masks`), a further drawing is of other structures than
                the first, or there are too many.
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
            self._place(annotation, drawing)
        return annotation

    def _place(self, annotation: Annotation, drawing: ContourDrawing) -> None:
        keys = [example.key for example in self.examples]
        if not drawing.is_further and drawing.picture not in keys:
            for example in self.examples[1:]:
                shutil.rmtree(example.folder, ignore_errors=True)
            self.examples, keys = self.examples[:1], []
        number = keys.index(drawing.picture) if drawing.picture in keys else len(keys)
        others = [example for example in self.examples if keys and example.key != drawing.picture]
        check_further_example(annotation, others)
        folder = self.out / f"example_{number + 1}" if number else self.out
        earlier = self.examples[number].annotation if number < len(self.examples) else None
        replace_annotation(folder, annotation, earlier, drawing)
        saved = SavedExample(drawing.picture, folder, annotation)
        self.examples = (*self.examples[:number], saved, *self.examples[number + 1 :])


def check_further_example(annotation: Annotation, others: Sequence[SavedExample]) -> None:
    """Raise MedpriorError if an annotation cannot stand beside the others: same structures, at most nine."""
    if len(others) >= MAX_EXAMPLES:
        raise MedpriorError(f"there are {MAX_EXAMPLES} drawings already", where="drawing", fix="press Done")
    for other in others[:1]:
        if other.annotation.structures != annotation.structures:
            raise MedpriorError(
                "several drawings need the same structures",
                where="drawing",
                expected=", ".join(other.annotation.structures),
                found=", ".join(annotation.structures),
                fix="draw the missing structures, or delete the others",
            )


def replace_annotation(
    folder: Path, annotation: Annotation, earlier: Annotation | None, drawing: ContourDrawing
) -> None:
    """Write an annotation and its contours to a folder, in place of `earlier`."""
    if earlier is not None:
        for name in set(earlier.structures) - set(annotation.structures):
            (folder / f"{name}.png").unlink(missing_ok=True)
    annotation.save(folder)
    # The page reloads the vertices from this file; the annotation consists of the masks.
    with atomic_write(folder / CONTOURS_FILE) as temporary:
        temporary.write_text(drawing.model_dump_json(indent=1), encoding="utf-8")
