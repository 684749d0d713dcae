"""Defines and checks the journal record of one image."""

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
    """Metadata of an image; see the manifest's columns.

    Attributes:
        study_id: pseudonym of the study.
        dataset: name of the source data set.
        view: PA, AP, LATERAL, LL, RL or UNKNOWN.
        sex: M, F, O or None.
        age: years, or None.
        spacing_mm: millimetres per source pixel, or None.
        spacing_kind: calibrated, detector, estimated, film or none.
        polarity_inverted: the source was stored with low values bright.
        flags: irregularities of the file.
        pixel_sha256: of the decoded stored array and its shape; computed from `pixels` if absent.
        official: the data set's own split: train, val, test, train_val or None (by hash).
        decoding: digest of the rules by which the file was decoded; in the journal only.
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
    decoding: str


class ImageRecords(Mapping[str, dict[str, Any]]):
    """Records by image_id, held as JSON lines in a sixth of the memory of dictionaries."""

    def __init__(self) -> None:
        self._lines: dict[str, bytes] = {}

    def add(self, record: Mapping[str, Any], line: bytes) -> None:
        """Add or replace one record, or remove that of a `removed` image; a record without image_id is ignored."""
        if record.get("removed"):
            self._lines.pop(record["image_id"], None)
        elif "image_id" in record:
            self._lines[record["image_id"]] = line

    def __getitem__(self, image_id: str) -> dict[str, Any]:
        return dict(json.loads(self._lines[image_id]))

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._lines

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def sorted_records(self) -> Iterator[dict[str, Any]]:
        """All records, sorted by image_id."""
        return (self[image_id] for image_id in sorted(self._lines))


def build_metadata_record(image_id: str, patient_id: str, metadata: ImageMetadata) -> dict[str, Any]:
    """The JSON-able metadata of one image with defaults."""
    return {
        "image_id": image_id,
        "patient_id": patient_id,
        "study_id": metadata.get("study_id") or patient_id,
        "dataset": metadata.get("dataset", ""),
        "view": metadata.get("view", "UNKNOWN"),
        "sex": metadata.get("sex"),
        "age": finite_or_none(metadata.get("age")),
        "spacing_mm": finite_or_none(metadata.get("spacing_mm")),
        "spacing_kind": metadata.get("spacing_kind", "none"),
        "polarity_inverted": bool(metadata.get("polarity_inverted", False)),
        "flags": "|".join(metadata.get("flags", ())),
        "official": metadata.get("official"),
        **({"decoding": metadata["decoding"]} if "decoding" in metadata else {}),
    }


def correct_record(
    record: Mapping[str, Any], patient_id: str, labels: Mapping[str, float], metadata: ImageMetadata
) -> dict[str, Any]:
    """A copy of an image's record with other labels, patient and metadata; what `metadata` lacks stays."""
    given = build_metadata_record(record["image_id"], patient_id, metadata)
    corrected = {name: given[name] for name in metadata}
    return {**record, "patient_id": patient_id, **corrected, "labels": dump_labels(labels)}


def dump_labels(labels: Mapping[str, float]) -> dict[str, float | None]:
    """JSON-able labels; None is unknown."""
    return {name: finite_or_none(float(value)) for name, value in labels.items()}


def check_cohort_image(
    image_id: str,
    pixels: NDArray[np.float32] | NDArray[np.uint16],
    labels: Mapping[str, float],
    masks: Mapping[str, NDArray[np.bool_]],
) -> None:
    """Raise ConfigError for an image that a cohort cannot hold."""
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
    """Hex sha256 of an array's shape, type and bytes: equal images have equal digests."""
    digest = hashlib.sha256(f"{array.shape}{array.dtype.str}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
