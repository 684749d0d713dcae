"""Writes a cohort image by image; killed at any moment, it goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.cohort.columns import build_manifest, finite_or_none
from medprior.cohort.committing import Committer
from medprior.cohort.journal import Journal, encode_json_line
from medprior.cohort.publishing import PatientSplitRule, QuarantineRows, load_previous_splits, publish_cohort
from medprior.cohort.records import (
    ImageMetadata,
    ImageRecords,
    build_metadata_record,
    check_cohort_image,
    compute_array_sha256,
)
from medprior.cohort.store import (
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

    Images are committed in batches while further ones are added; see `Committer`. Whatever ends
    the writer, kill or power cut, a line of the journal never names what is not there; at most the
    last batches are added again.

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
        self._lock = acquire_lock(self.path / LOCK_FILE, "this cohort")
        try:
            self._records, self._last = ImageRecords(), ""
            self._begun: int | None = None
            self._journal = Journal(self.path / "journal.jsonl", each=self._replay_record)
            self._check_store_size()
        except BaseException:
            self._lock.release()
            raise
        remove_partial_files(self.path)
        last = parse_pixel_location(self._records[self._last]) if self._last else None
        self._shards = ShardAppender(self.path, last)
        self._store = PixelStore(self.path)
        self._committer = Committer(self._journal)
        self._pending: list[bytes] = []
        self._unsynced_masks: list[Path] = []
        self._last_commit_time = time.monotonic()

    def _replay_record(self, record: dict[str, Any], line: bytes) -> None:
        """Take in one line of the journal; the first says the store size."""
        if self._begun is None:
            self._begun = int(record.get("store_size", 0))
        self._records.keep(record, line)
        self._last = record.get("image_id", self._last)

    def _check_store_size(self) -> None:
        if self._begun is None:
            self._journal.append({"store_size": self.store_size})
        begun = self.store_size if self._begun is None else self._begun
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
        # On a full disk the last flush fails again; the error that led here is already on its way.
        with suppress(OSError):
            self.commit()
        self._committer.close()
        with suppress(OSError):
            self._shards.close()
        with suppress(OSError):
            self._journal.close()
        self._lock.release()

    def pixels(self, image_id: str) -> NDArray[np.float32]:
        """A picture already added, float32 [h, w] in [0, 1]."""
        return self._store.read(parse_pixel_location(self._records[image_id]))

    def masks(self, image_id: str) -> dict[str, NDArray[np.bool_]]:
        """The masks of an image already added, structure -> bool [h, w]."""
        paths = self._records[image_id]["masks"]
        return {name: read_mask(self.path / path) for name, path in paths.items()}

    def get_pixel_sha256(self, image_id: str) -> str:
        """`pixel_sha256` of an image already added."""
        return str(self._records[image_id]["pixel_sha256"])

    def manifest(self) -> pd.DataFrame:
        """The manifest so far, by image_id, `split` still empty."""
        return build_manifest(self._records.in_order())

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
        **facts: Unpack[ImageMetadata],
    ) -> None:
        """Add one image; one that is already there is left as it is.

        Args:
            image_id: unique name without patient data; becomes a file name of masks.
            pixels: float32 [rows, cols] in [0, 1], or uint16 as stored (65535 is 1); square
                pixels, air dark and bone bright.
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
        if pixels.dtype != np.uint16:
            pixels = np.asarray(pixels, dtype=np.float32)
        check_cohort_image(image_id, pixels, labels or {}, masks or {})
        size = compute_resized_shape((pixels.shape[0], pixels.shape[1]), self.store_size)
        paths = {name: self._write_mask(name, image_id, mask, size) for name, mask in sorted((masks or {}).items())}
        if valid is not None and not valid.all():
            self._write_mask("valid", image_id, valid, size)
        rows, cols = source_size or pixels.shape
        record = build_metadata_record(image_id, patient_id, facts) | {
            "rows": int(rows),
            "cols": int(cols),
            "pixel_sha256": facts.get("pixel_sha256") or compute_array_sha256(pixels),
            "labels": {name: finite_or_none(float(value)) for name, value in (labels or {}).items()},
            "masks": paths,
            **self._shards.append(encode_stored_pixels(pixels, size)).record(),
        }
        line = encode_json_line(record)
        self._pending.append(line)
        self._records.keep(record, line)
        late = time.monotonic() - self._last_commit_time > COMMIT_SECONDS
        if late or len(self._pending) >= COMMIT_IMAGES:
            self._start_commit()

    def _write_mask(self, structure: str, image_id: str, mask: NDArray[np.bool_], size: tuple[int, int]) -> str:
        relative = f"masks/{structure}/{image_id}.png"
        if mask.shape != size:
            mask = resize_pixels(np.asarray(mask, dtype=np.float32), *size) >= 0.5
        write_mask(self.path / relative, np.asarray(mask, dtype=bool))
        self._unsynced_masks.append(self.path / relative)
        return relative

    def commit(self) -> None:
        """Make all images added so far survive whatever happens next; returns when they do."""
        self._start_commit()
        self._committer.wait()

    def _start_commit(self) -> None:
        pending, self._pending = self._pending, []
        written, self._unsynced_masks = self._unsynced_masks, []
        self._last_commit_time = time.monotonic()
        if pending:
            self._committer.begin(pending, written, self._shards.duplicate())

    def finish(
        self,
        split: Mapping[str, str | None] | None = None,
        *,
        fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
        seed: int = 0,
        quarantine: QuarantineRows = (),
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
            raise MedpriorError("no image was added", where=self.path.name, fix="check the input folder")
        self.commit()
        rule = PatientSplitRule(seed, fractions)
        fixed = load_previous_splits(self.path, rule) | dict(split or {})
        publish_cohort(
            self.path,
            self._records,
            fixed,
            rule,
            quarantine,
            {"store_size": self.store_size, **(summary or {})},
            settings or {"store_size": self.store_size},
        )
