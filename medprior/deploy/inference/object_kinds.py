"""The kinds of files that a prediction can be written as, and how users name them."""

from __future__ import annotations

from collections.abc import Sequence

from medprior.errors import ConfigError, suggest_nearest

OBJECT_KINDS = {
    "seg": "segmentation, one binary frame for each structure",
    "sr": "structured report with measurements, lines and boxes",
    "sc": "secondary capture: the overlay as a picture",
    "gsps": "presentation state: contours and lines as graphics",
    "labelmap": "segmentation as one label map",
    "nrrd": "segmentation of 3D Slicer, .seg.nrrd",
}
DEFAULT_OBJECTS = ("seg", "sr", "sc")
MASK_OBJECTS = {"seg", "labelmap", "nrrd"}
SENT_KINDS = tuple(kind for kind in OBJECT_KINDS if kind != "nrrd")  # to an archive: it takes DICOM alone
FILE_ENDINGS = {"nrrd": "seg.nrrd"}


def parse_object_kinds(text: str, where: str, allowed: Sequence[str] = tuple(OBJECT_KINDS)) -> tuple[str, ...]:
    """Parse kinds that are joined by commas, each once, in the order of `OBJECT_KINDS`.

    Raises:
        ConfigError: an unknown kind, or none.
    """
    names = {name.strip().lower() for name in text.split(",")} - {""}
    unknown = sorted(names - set(allowed))
    if unknown or not names:
        raise ConfigError(
            "no such kind of object" if unknown else "no kind of object",
            where=where,
            expected=f"some of {', '.join(allowed)}, joined by commas",
            found=repr(unknown[0] if unknown else text),
            fix=suggest_nearest(unknown[0], allowed) if unknown else "",
        )
    return tuple(kind for kind in OBJECT_KINDS if kind in names)


def format_object_file(item: str, kind: str) -> str:
    """The file name of an object of an item."""
    return f"{item}.{FILE_ENDINGS.get(kind, f'{kind}.dcm')}"
