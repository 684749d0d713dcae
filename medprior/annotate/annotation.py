"""The annotation folder: one radiograph, one mask per structure, and their origin."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medprior.annotate.body_check import warn_outside_body
from medprior.annotate.checks import check_masks
from medprior.annotate.preview import save_mask_preview
from medprior.dicom.display.resample import resize_pixels
from medprior.dicom.radiograph import WHITE_16_BIT
from medprior.errors import InputMissing
from medprior.locks import PRIVATE_FOLDER_MODE
from medprior.provenance import atomic_write, read_config, sha256_file, write_config, write_json

ImageArray = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Annotation:
    """One annotated radiograph.

    Shape:
        image: float32 [rows, cols] in [0, 1], air dark and bone bright.
        masks: structure -> bool [rows, cols] on the same grid.

    Attributes:
        image_id: id of the image in its cohort, or None for a separate file.
        pixel_sha256: of the decoded stored pixels, which identifies the image.
        spacing_mm: (row, column) millimetres per pixel, or None.
        author: who annotated it, free text.
        notes: free text.
        warnings: about files and masks; those of `check_masks` and `warn_outside_body` are added.
    """

    image: ImageArray = field(repr=False)
    masks: dict[str, Mask] = field(repr=False)
    image_id: str | None = None
    pixel_sha256: str = ""
    spacing_mm: tuple[float, float] | None = None
    author: str = ""
    notes: str = ""
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = (self.image.shape[0], self.image.shape[1])
        warnings = (*self.warnings, *check_masks(shape, self.masks))
        warnings += warn_outside_body(self.image, self.masks)
        object.__setattr__(self, "warnings", tuple(dict.fromkeys(warnings)))

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the annotated structures, sorted."""
        return tuple(sorted(self.masks))

    def square(self, size: int) -> ImageArray:
        """The image on the unit square: float32 [size, size] in [0, 1], area-averaged."""
        return np.clip(resize_pixels(self.image, size, size), 0, 1)

    def coverage(self, size: int) -> ImageArray:
        """Share of each pixel that a structure covers: float32 [K, size, size] in [0, 1].

        K follows `structures`.
        """
        layers = [self.masks[name].astype(np.float32) for name in self.structures]
        return np.stack([np.clip(resize_pixels(layer, size, size), 0, 1) for layer in layers])

    def save(self, path: Path | str) -> None:
        """Write the annotation folder; `config.json` is written last."""
        folder = Path(path)
        folder.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        levels = np.rint(np.clip(self.image, 0, 1) * WHITE_16_BIT).astype(np.uint16)
        with atomic_write(folder / "image.png") as temporary:
            Image.fromarray(levels).save(temporary, format="PNG")
        for name, mask in self.masks.items():
            with atomic_write(folder / f"{name}.png") as temporary:
                Image.fromarray(mask).save(temporary, format="PNG")
        files = ("image.png", *(f"{name}.png" for name in self.structures))
        write_json(folder / "annotation.json", self._record())
        save_mask_preview(self.image, self.masks, folder / "preview.png")
        write_config(folder, "annotate", {}, outputs=("annotation.json", *files))

    def _record(self) -> dict[str, object]:
        rows, cols = self.image.shape
        return {
            "image_id": self.image_id,
            "pixel_sha256": self.pixel_sha256,
            "structures": list(self.structures),
            "geometry": {"rows": rows, "cols": cols, "spacing_mm": self.spacing_mm},
            "author": self.author,
            "notes": self.notes,
            "warnings": list(self.warnings),
        }

    @classmethod
    def load(cls, path: Path | str) -> Annotation:
        """Read an annotation folder.

        Raises:
            InputMissing: the annotation is missing, incomplete or was changed.
            MedpriorError: its masks do not fit its image.
        """
        folder = Path(path)
        outputs = read_config(folder, "annotate")["outputs"]
        for name, digest in outputs.items():
            if not (folder / name).is_file() or sha256_file(folder / name) != digest:
                raise InputMissing(
                    f"{name} is missing or was changed by hand",
                    where=folder.name,
                    fix="run `medprior annotate` again with the changed files",
                )
        try:
            return cls._read(folder)
        except (ArithmeticError, LookupError, OSError, RecursionError, TypeError, ValueError,
                Image.DecompressionBombError):  # fmt: skip
            raise InputMissing(
                "annotation.json or a picture is not readable", where=folder.name, fix="run `medprior annotate` again"
            ) from None

    @classmethod
    def _read(cls, folder: Path) -> Annotation:
        record = json.loads((folder / "annotation.json").read_text(encoding="utf-8"))
        if any(Path(name).name != name for name in record["structures"]):
            raise ValueError("the name of a structure is a path")
        with Image.open(folder / "image.png") as image:
            pixels = np.asarray(image).astype(np.float32) / np.float32(WHITE_16_BIT)
        spacing = record["geometry"]["spacing_mm"]
        return cls(
            image=pixels,
            masks={name: read_binary_mask(folder / f"{name}.png") for name in record["structures"]},
            image_id=record["image_id"],
            pixel_sha256=record["pixel_sha256"],
            spacing_mm=(float(spacing[0]), float(spacing[1])) if spacing else None,
            author=record["author"],
            notes=record["notes"],
            warnings=tuple(record["warnings"]),
        )


def read_binary_mask(path: Path) -> Mask:
    """A one-bit PNG as bool [rows, cols]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("1"), dtype=bool)
