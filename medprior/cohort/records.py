"""What is known of one image, checked, in the form that the journal keeps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from medprior.cohort.columns import check_label_names, finite_or_none
from medprior.errors import ConfigError


class ImageMetadata(TypedDict, total=False):
    """What a cohort knows of an image besides its picture; see the manifest's columns.

    Attributes:
        study_id: pseudonym of the study.
        dataset: name of the source data set.
        view: PA, AP, LATERAL, LL, RL or UNKNOWN.
        sex: M, F, O or None.
        age: years, or None.
        spacing_mm: millimetres per source pixel, or None.
        spacing_kind: calibrated, detector, estimated, film or none.
        polarity_inverted: the source was stored with low values bright.
        flags: what was odd about the file.
        pixel_sha256: of the decoded stored array and its shape; made from `pixels` if absent.
        official: the data set's own split: train, val, test, train_val or None (drawn).
    """

    study_id: str
    dataset: str
    view: str
    sex: str | None
    age: float | None
    spacing_mm: float | None
    spacing_kind: str
    polarity_inverted: bool
    flags: Sequence[str]
    pixel_sha256: str
    official: str | None


class ImageRecords(Mapping[str, dict[str, Any]]):
    """Records by image_id, kept as lines: a sixth of the memory that dictionaries take."""

    def __init__(self) -> None:
        self._lines: dict[str, bytes] = {}

    def keep(self, record: Mapping[str, Any], line: bytes) -> None:
        """Take one in; what is no image is left out."""
        if "image_id" in record:
            self._lines[record["image_id"]] = line

    def __getitem__(self, image_id: str) -> dict[str, Any]:
        return dict(json.loads(self._lines[image_id]))

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._lines

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def in_order(self) -> Iterator[dict[str, Any]]:
        """All, by image_id."""
        return (self[image_id] for image_id in sorted(self._lines))


def build_metadata_record(image_id: str, patient_id: str, facts: ImageMetadata) -> dict[str, Any]:
    """The JSON-able facts of one image, defaults filled in."""
    return {
        "image_id": image_id,
        "patient_id": patient_id,
        "study_id": facts.get("study_id") or patient_id,
        "dataset": facts.get("dataset", ""),
        "view": facts.get("view", "UNKNOWN"),
        "sex": facts.get("sex"),
        "age": finite_or_none(facts.get("age")),
        "spacing_mm": finite_or_none(facts.get("spacing_mm")),
        "spacing_kind": facts.get("spacing_kind", "none"),
        "polarity_inverted": bool(facts.get("polarity_inverted", False)),
        "flags": "|".join(facts.get("flags", ())),
        "official": facts.get("official"),
    }


def check_cohort_image(
    image_id: str,
    pixels: NDArray[np.float32] | NDArray[np.uint16],
    labels: Mapping[str, float],
    masks: Mapping[str, NDArray[np.bool_]],
) -> None:
    """ConfigError for what would make a broken cohort."""
    where = f"image {image_id}"
    if not image_id or not all(char.isalnum() or char in "-_." for char in image_id):
        raise ConfigError("image_id must be letters, digits, - _ .", where="image_id")
    if pixels.ndim != 2 or not np.isfinite(pixels).all():
        raise ConfigError("pixels must be finite [rows, cols]", where=where)
    check_label_names(labels)
    for name, mask in masks.items():
        if mask.shape != pixels.shape:
            raise ConfigError(
                f"mask {name!r} has another size",
                where=where,
                expected=f"{pixels.shape[0]}x{pixels.shape[1]}",
                found="x".join(map(str, mask.shape)),
            )


def compute_array_sha256(array: NDArray[Any]) -> str:
    """Hex sha256 of an array's shape, type and bytes: equal pictures, equal digest."""
    digest = hashlib.sha256(f"{array.shape}{array.dtype.str}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
