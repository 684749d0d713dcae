"""Writes a cohort image by image; killed at any moment, it goes on where it was."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.cohort.columns import SPLITS, check_label_names, manifest_frame, number
from medprior.cohort.journal import FolderLock, Journal
from medprior.cohort.splits import patient_splits
from medprior.cohort.store import (
    PixelStore,
    Place,
    ShardAppender,
    place_of,
    read_mask,
    write_mask,
)
from medprior.dicom.resample import fitted, resized
from medprior.errors import ConfigError, MedpriorError
from medprior.provenance import atomic, read_config, write_config, write_json

SYNC_EVERY = 64
Quarantine = Sequence[tuple[str, str, str]]


class Facts(TypedDict, total=False):
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


class CohortWriter:
    """The one writer of a cohort folder. Use it as a context manager, call `finish` at the end.

    Args:
        path: the cohort folder; an unfinished or finished cohort there is continued.
        store_size: longest side of stored pictures; smaller ones stay as they are.

    Raises:
        MedpriorError: another process writes this folder.
        ConfigError: it was begun with another `store_size`.
    """

    def __init__(self, path: Path | str, store_size: int = 512) -> None:
        self.path = Path(path)
        self.store_size = store_size
        self._lock = FolderLock(self.path)
        try:
            self._journal = Journal(self.path / "journal.jsonl")
            self._check_store_size()
        except BaseException:
            self._lock.release()
            raise
        remove_drafts(self.path)
        self._records = {r["image_id"]: r for r in self._journal.records if "image_id" in r}
        last = next(reversed(self._records.values()), None)
        self._shards = ShardAppender(self.path, place_of(last) if last else None)
        self._store = PixelStore(self.path)

    def _check_store_size(self) -> None:
        if not self._journal.records:
            self._journal.append({"store_size": self.store_size})
        begun = self._journal.records[0].get("store_size")
        if begun != self.store_size:
            raise ConfigError(
                "this cohort was begun with another store_size",
                where=self.path.name,
                expected=str(begun),
                found=str(self.store_size),
                fix="use the same value or another folder",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._records

    def close(self) -> None:
        """Close files and let the next writer in."""
        self._shards.close()
        self._journal.close()
        self._lock.release()

    def pixels(self, image_id: str) -> NDArray[np.float32]:
        """A picture already added, float32 [h, w] in [0, 1]."""
        return self._store.read(place_of(self._records[image_id]))

    def masks(self, image_id: str) -> dict[str, NDArray[np.bool_]]:
        """The masks of an image already added, structure -> bool [h, w]."""
        paths = self._records[image_id]["masks"]
        return {name: read_mask(self.path / path) for name, path in paths.items()}

    def sha_of(self, image_id: str) -> str:
        """`pixel_sha256` of an image already added."""
        return str(self._records[image_id]["pixel_sha256"])

    def manifest(self) -> pd.DataFrame:
        """The manifest so far, `split` still empty."""
        return manifest_frame(self._records.values(), dict.fromkeys(self._records, ""))

    def add(
        self,
        *,
        image_id: str,
        pixels: NDArray[np.float32],
        patient_id: str,
        labels: Mapping[str, float] | None = None,
        masks: Mapping[str, NDArray[np.bool_]] | None = None,
        valid: NDArray[np.bool_] | None = None,
        source_size: tuple[int, int] | None = None,
        **facts: Unpack[Facts],
    ) -> None:
        """Add one image; one that is already there is left as it is.

        Args:
            image_id: unique name without patient data; becomes a file name of masks.
            pixels: float32 [rows, cols] in [0, 1], square pixels, air dark and bone bright.
            patient_id: pseudonym; images of one patient stay in one split.
            labels: name -> value in [0, 1]; a missing name or NaN is unknown.
            masks: structure -> bool [rows, cols] on the grid of `pixels`.
            valid: bool [rows, cols], False where there is no picture (padding, shutter).
            source_size: (rows, cols) of the source where `pixels` was already reduced.
            facts: see `Facts`.

        Raises:
            ConfigError: what is given cannot be an image of a cohort.
        """
        if image_id in self._records:
            return
        pixels = np.asarray(pixels, dtype=np.float32)
        check_image(image_id, pixels, labels or {}, masks or {})
        size = fitted((pixels.shape[0], pixels.shape[1]), self.store_size)
        paths = {
            name: self._write_mask(name, image_id, mask, size)
            for name, mask in sorted((masks or {}).items())
        }
        if valid is not None and not valid.all():
            self._write_mask("valid", image_id, valid, size)
        rows, cols = source_size or pixels.shape
        record = facts_record(image_id, patient_id, facts) | {
            "rows": int(rows),
            "cols": int(cols),
            "pixel_sha256": facts.get("pixel_sha256") or sha256_of(pixels),
            "labels": {name: number(float(value)) for name, value in (labels or {}).items()},
            "masks": paths,
            **self._shards.append(resized(pixels, *size)).record(),
        }
        self._journal.append(record)
        self._records[image_id] = record
        if len(self._records) % SYNC_EVERY == 0:
            self._sync()

    def _write_mask(
        self, structure: str, image_id: str, mask: NDArray[np.bool_], size: tuple[int, int]
    ) -> str:
        relative = f"masks/{structure}/{image_id}.png"
        reduced = resized(np.asarray(mask, dtype=np.float32), *size) >= 0.5
        write_mask(self.path / relative, reduced)
        return relative

    def _sync(self) -> None:
        # Pixels first: a journal line must never outlive the picture that it names.
        os.fsync(self._shards.fileno())
        self._journal.sync()

    def finish(
        self,
        split: Mapping[str, str | None] | None = None,
        *,
        fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
        seed: int = 0,
        quarantine: Quarantine = (),
        summary: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Split the images and publish the cohort; `config.json` is written last.

        Images of a cohort that was finished before by the same seed and fractions keep theirs.

        Args:
            split: split by image_id instead of the images' `official` (see `patient_splits`).
            fractions: expected shares of train, val and test among what is drawn.
            seed: of the drawn split.
            quarantine: rows (item, code, message) of `quarantine.csv`.
            summary: further entries of `summary.json`.
            settings: what to record as the stage's settings.

        Raises:
            MedpriorError: no image was added.
        """
        if not self._records:
            raise MedpriorError(
                "no image was added", where=self.path.name, fix="check the input folder"
            )
        self._sync()
        records = sorted(self._records.values(), key=lambda record: str(record["image_id"]))
        rule = {"seed": seed, "fractions": list(fractions)}
        fixed = self._kept_splits(rule) | dict(split or {})
        chosen = patient_splits(
            [record["patient_id"] for record in records],
            [record["pixel_sha256"] for record in records],
            fractions,
            seed,
            [fixed.get(record["image_id"], record["official"]) for record in records],
        )
        names = dict(zip((record["image_id"] for record in records), chosen.tolist(), strict=True))
        frame = manifest_frame(records, names)
        shutil.rmtree(self.path / "cache", ignore_errors=True)
        write_index(self.path / "pixels" / "index.parquet", records)
        write_quarantine(self.path / "quarantine.csv", quarantine)
        counts: dict[str, Any] = {
            "images": len(frame),
            "patients": int(frame.patient_id.nunique()),
            "splits": {name: int((frame.split == name).sum()) for name in SPLITS},
            "store_size": self.store_size,
        }
        write_json(self.path / "summary.json", counts | dict(summary or {}))
        write_table(self.path / "manifest.parquet", frame)
        outputs = ("manifest.parquet", "pixels/index.parquet", "summary.json", "quarantine.csv")
        recorded = dict(settings or {"store_size": self.store_size})
        facts = {"split_rule": rule}
        write_config(self.path, "ingest", recorded, outputs=outputs, seed=seed, facts=facts)

    def _kept_splits(self, rule: Mapping[str, Any]) -> dict[str, str | None]:
        """Splits of a cohort that was finished before under the same rule: they stay."""
        if not (self.path / "config.json").is_file():
            return {}
        if read_config(self.path, "ingest").get("split_rule") != rule:
            return {}
        old = pd.read_parquet(self.path / "manifest.parquet", columns=["image_id", "split"])
        return dict(zip(old.image_id.tolist(), old.split.tolist(), strict=True))


def facts_record(image_id: str, patient_id: str, facts: Facts) -> dict[str, Any]:
    """The JSON-able facts of one image, defaults filled in."""
    return {
        "image_id": image_id,
        "patient_id": patient_id,
        "study_id": facts.get("study_id") or patient_id,
        "dataset": facts.get("dataset", ""),
        "view": facts.get("view", "UNKNOWN"),
        "sex": facts.get("sex"),
        "age": number(facts.get("age")),
        "spacing_mm": number(facts.get("spacing_mm")),
        "spacing_kind": facts.get("spacing_kind", "none"),
        "polarity_inverted": bool(facts.get("polarity_inverted", False)),
        "flags": "|".join(facts.get("flags", ())),
        "official": facts.get("official"),
    }


def remove_drafts(folder: Path) -> None:
    """Remove half-written files that a killed writer left behind."""
    for path in (folder, folder / "pixels", *(folder / "masks").glob("*")):
        if path.is_dir():
            for entry in os.scandir(path):
                if entry.name.startswith(".") and entry.name != ".lock":
                    Path(entry.path).unlink(missing_ok=True)


def check_image(
    image_id: str,
    pixels: NDArray[np.float32],
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


def sha256_of(array: NDArray[Any]) -> str:
    """Hex sha256 of an array's shape, type and bytes: equal pictures, equal digest."""
    digest = hashlib.sha256(f"{array.shape}{array.dtype.str}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a parquet file atomically."""
    with atomic(path) as temporary:
        frame.to_parquet(temporary, index=False)


def write_index(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write the pixel index: image_id and place of every picture."""
    columns = ("image_id", *Place.__dataclass_fields__)
    write_table(path, pd.DataFrame([{key: r[key] for key in columns} for r in records]))


def write_quarantine(path: Path, rows: Quarantine) -> None:
    """Write `quarantine.csv`."""
    frame = pd.DataFrame(list(rows), columns=["item", "code", "message"])
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False)
