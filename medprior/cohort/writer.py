"""Writes a cohort image by image; a killed writer resumes where it stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.cohort.columns import build_manifest
from medprior.cohort.committing import Committer
from medprior.cohort.correction_log import CorrectionLog, locate_valid_mask
from medprior.cohort.journal import Journal, encode_json_line
from medprior.cohort.kept_splits import PatientSplitRule, PublishedSplits, SplitRequest
from medprior.cohort.publishing import QuarantineRows, load_published_tables, write_cohort_files
from medprior.cohort.records import (
    ImageMetadata,
    ImageRecords,
    build_metadata_record,
    check_cohort_image,
    compute_array_sha256,
    dump_labels,
)
from medprior.cohort.store import (
    PixelLocation,
    PixelStore,
    ShardAppender,
    encode_stored_pixels,
    parse_pixel_location,
    read_mask,
    remove_partial_files,
    write_mask,
)
from medprior.dicom.display.resample import compute_resized_shape, resize_pixels
from medprior.errors import ConfigError, MedpriorError
from medprior.locks import LOCK_FILE, acquire_lock

COMMIT_IMAGES, COMMIT_SECONDS = 64, 2.0


class CohortWriter:
    """The one writer of a cohort folder. Use it as a context manager, call `finish` at the end.

    Images are committed in batches while further ones are added; see `Committer`. After a kill or a
    power cut every journal line names complete files; at most the last batches must be added again.

    Args:
        path: the cohort folder; an existing cohort, finished or not, is continued.
        store_size: longest side of stored images in pixels; smaller images keep their size.

    Raises:
        MedpriorError: another process writes this folder.
        ConfigError: the cohort has another `store_size`.
    """

    def __init__(self, path: Path | str, store_size: int = 512) -> None:
        self.path = Path(path)
        self.store_size = store_size
        self._lock = acquire_lock(self.path / LOCK_FILE, "this cohort")
        try:
            self._records, self.corrections = ImageRecords(), CorrectionLog()
            self._last_location: PixelLocation | None = None
            self._begun_store_size: int | None = None
            self._journal = Journal(self.path / "journal.jsonl", on_record=self._replay_record)
            self._check_store_size()
        except BaseException:
            self._lock.release()
            raise
        remove_partial_files(self.path)
        self._shards = ShardAppender(self.path, self._last_location)
        self._store = PixelStore(self.path)
        self._committer = Committer(self._journal)
        self._pending: list[bytes] = []
        self._unsynced_masks: list[Path] = []
        self._run_tables: dict[str, str] = {}
        self._last_commit_time = time.monotonic()

    def _replay_record(self, record: dict[str, Any], line: bytes) -> None:
        """Read one line of the journal; the first holds the store size."""
        if self._begun_store_size is None:
            self._begun_store_size = int(record.get("store_size", 0))
        if "shard" in record:
            location = parse_pixel_location(record)
            last = self._last_location
            if last is None or (last.shard, last.end) < (location.shard, location.end):
                self._last_location = location
        self._follow_record(record, line)

    def _follow_record(self, record: dict[str, Any], line: bytes) -> None:
        """Take over one record, read or new."""
        earlier = self._records.get(record["image_id"]) if "image_id" in record else None
        self.corrections.note_record(record, earlier)
        self._records.add(record, line)

    def _check_store_size(self) -> None:
        expected = self._begun_store_size
        if expected is None:
            self._journal.append({"store_size": self.store_size})
        elif expected != self.store_size:
            raise ConfigError(
                "this cohort has another store_size",
                where=self.path.name,
                expected=str(expected),
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
        """Close files and release the lock."""
        # On a full disk the last flush fails again; the first error is already raised.
        with suppress(OSError):
            self.commit()
        self._committer.close()
        with suppress(OSError):
            self._shards.close()
        with suppress(OSError):
            self._journal.close()
        self._lock.release()

    def pixels(self, image_id: str) -> NDArray[np.float32]:
        """The pixels of an image already added, float32 [h, w] in [0, 1]."""
        return self._store.read(parse_pixel_location(self._records[image_id]))

    def masks(self, image_id: str) -> dict[str, NDArray[np.bool_]]:
        """The masks of an image already added, structure -> bool [h, w]."""
        paths = self._records[image_id]["masks"]
        return {name: read_mask(self.path / path) for name, path in paths.items()}

    def get_pixel_sha256(self, image_id: str) -> str:
        """`pixel_sha256` of an image already added."""
        return str(self._records[image_id]["pixel_sha256"])

    @property
    def records(self) -> Mapping[str, dict[str, Any]]:
        """Journal records by image_id."""
        return self._records

    def manifest(self) -> pd.DataFrame:
        """The manifest so far, sorted by image_id, `split` still empty."""
        return build_manifest(self._records.sorted_records())

    def add(
        self,
        *,
        image_id: str,
        pixels: NDArray[np.float32] | NDArray[np.uint16],
        patient_id: str,
        labels: Mapping[str, float] | None = None,
        masks: Mapping[str, NDArray[np.bool_]] | None = None,
        valid: NDArray[np.bool_] | None = None,
        source_size: tuple[int, int] | None = None,
        replace: bool = False,
        **metadata: Unpack[ImageMetadata],
    ) -> None:
        """Add one image; an image_id that exists is not changed, unless `replace` is set.

        Args:
            image_id: unique name without patient data; also the file name of masks.
            pixels: float32 [rows, cols] in [0, 1], or uint16 as stored (65535 is 1); square
                pixels, air dark and bone bright.
            patient_id: pseudonym; images of one patient stay in one split.
            labels: name -> value in [0, 1]; a missing name or NaN is unknown.
            masks: structure -> bool [rows, cols] on the grid of `pixels`.
            valid: bool [rows, cols], False in padding and outside the shutter.
            source_size: (rows, cols) of the source where `pixels` is already reduced.
            replace: an image_id that exists gets these pixels, masks and metadata.
            metadata: see `ImageMetadata`.

        Raises:
            ConfigError: a cohort cannot hold this image.
        """
        if image_id in self._records and not replace:
            return
        if pixels.dtype != np.uint16:
            pixels = np.asarray(pixels, dtype=np.float32)
        check_cohort_image(image_id, pixels, labels or {}, masks or {})
        size = compute_resized_shape((pixels.shape[0], pixels.shape[1]), self.store_size)
        paths = {name: self._write_mask(name, image_id, mask, size) for name, mask in sorted((masks or {}).items())}
        if valid is not None and not valid.all():
            self._write_mask("valid", image_id, valid, size)
        else:
            self._remove_unused_valid_mask(image_id, replace)
        rows, cols = source_size or pixels.shape
        record = build_metadata_record(image_id, patient_id, metadata) | {
            "rows": int(rows),
            "cols": int(cols),
            "pixel_sha256": metadata.get("pixel_sha256") or compute_array_sha256(pixels),
            "labels": dump_labels(labels or {}),
            "masks": paths,
            **self._shards.append(encode_stored_pixels(pixels, size)).record(),
        }
        self.append_record(record)

    def append_record(self, record: dict[str, Any]) -> None:
        """Add a record that replaces or removes an image's; see `medprior.cohort.correcting`."""
        line = encode_json_line(record)
        self._pending.append(line)
        self._follow_record(record, line)
        is_due = time.monotonic() - self._last_commit_time > COMMIT_SECONDS
        if is_due or len(self._pending) >= COMMIT_IMAGES:
            self._start_commit()

    def _remove_unused_valid_mask(self, image_id: str, replace: bool) -> None:
        name = locate_valid_mask(image_id)
        path = self.path / name
        if (replace or name in self.corrections.unused_masks) and path.exists():
            self._committer.wait()  # its batch may be on the way to the disk
            self._unsynced_masks = [mask for mask in self._unsynced_masks if mask != path]
            path.unlink()

    def begin_tables(self, dataset: str, digest: str) -> None:
        """Record under which tables and descriptor the images of a data set are added or corrected from now on."""
        self._run_tables[dataset] = digest
        if self.corrections.digests.get(dataset) != digest:
            record = {"dataset": dataset, "tables": digest}
            self._journal.append(record)
            self.corrections.note_record(record, None)

    def _write_mask(self, structure: str, image_id: str, mask: NDArray[np.bool_], size: tuple[int, int]) -> str:
        relative = f"masks/{structure}/{image_id}.png"
        if mask.shape != size:
            mask = resize_pixels(np.asarray(mask, dtype=np.float32), *size) >= 0.5
        write_mask(self.path / relative, np.asarray(mask, dtype=bool))
        self._unsynced_masks.append(self.path / relative)
        return relative

    def commit(self) -> None:
        """Force all images added so far onto the disk and wait until they are there."""
        self._start_commit()
        self._committer.wait()

    def _start_commit(self) -> None:
        lines, self._pending = self._pending, []
        masks, self._unsynced_masks = self._unsynced_masks, []
        self._last_commit_time = time.monotonic()
        if lines:
            self._committer.begin(lines, masks, self._shards.duplicate_descriptor())

    def finish(
        self,
        split: Mapping[str, str | None] | None = None,
        *,
        fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
        seed: int = 0,
        resplit: bool = False,
        quarantine: QuarantineRows = (),
        summary: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Split the images and publish the cohort; `config.json` is written last.

        Images of a cohort finished before with the same seed and fractions keep their split, also where their
        pixels have another id now.

        Args:
            split: split by image_id instead of the images' `official` (see `assign_patient_splits`).
            fractions: expected shares of train, val and test without official split.
            seed: of the hash that splits.
            resplit: split anew, whatever the splits were before.
            quarantine: rows (item, code, message) of `quarantine.csv`.
            summary: further entries of `summary.json`.
            settings: recorded as the stage's settings.

        Raises:
            MedpriorError: no image was added, or an image would leave its published split.
        """
        if not self._records:
            raise MedpriorError("no image was added", where=self.path.name, fix="check the input folder")
        self.commit()
        rule = PatientSplitRule(seed, fractions)
        published = PublishedSplits.load(self.path, rule)
        counts = self.corrections.count_corrections()
        tables = load_published_tables(self.path) | self._run_tables
        write_cohort_files(
            self.path,
            self._records,
            SplitRequest(rule, published, split or {}, self.corrections.changed_official, resplit),
            quarantine,
            {"store_size": self.store_size, **(summary or {}), **({"corrections": counts} if counts else {})},
            settings or {"store_size": self.store_size},
            {"tables": tables} if tables else {},
        )
        for name in sorted(self.corrections.unused_masks):
            (self.path / name).unlink(missing_ok=True)
