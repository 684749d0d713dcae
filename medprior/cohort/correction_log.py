"""Follows the corrections in a cohort's journal: digests of tables, changed metadata, images that left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

CORRECTED_FIELDS = ("patient_id", "study_id", "view", "sex", "age", "official")


class CorrectionLog:
    """State of a cohort's corrections after all journal records so far.

    A correction begins with the digest of a data set's tables and descriptor. A record whose image exists replaces
    it; a record with `removed` ends an image. The counts are those of the last correction, and follow from the
    journal alone, so that a killed run counts as an undisturbed one.

    Attributes:
        digests: data set -> last digest of its tables and descriptor.
        changed_official: images whose official split was changed.
        unused_masks: mask files below the cohort folder that no image names any more.
    """

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}
        self.changed_official: set[str] = set()
        self.unused_masks: set[str] = set()
        self._datasets: set[str] = set()
        self._uncorrected: set[str] = set()
        self._images: set[str] = set()
        self._fields: Counter[str] = Counter()
        self._labels: Counter[str] = Counter()

    def note_record(self, record: Mapping[str, Any], previous: Mapping[str, Any] | None) -> None:
        """Follow one journal record; `previous` is the record of the same image that it replaces."""
        if "tables" in record:
            self._note_digest(str(record["dataset"]), str(record["tables"]))
        elif "image_id" in record:
            self._datasets.add(str(record.get("dataset", "")))
            if previous is not None:
                self._note_change(record, previous)
            if not record.get("removed"):
                self.unused_masks -= {*record["masks"].values(), locate_valid_mask(str(record["image_id"]))}

    def _note_digest(self, dataset: str, digest: str) -> None:
        self.digests[dataset] = digest
        (self._uncorrected.discard if dataset in self._datasets else self._uncorrected.add)(dataset)
        self._images, self._fields, self._labels = set(), Counter(), Counter()

    def _note_change(self, record: Mapping[str, Any], previous: Mapping[str, Any]) -> None:
        image_id = str(record["image_id"])
        self.unused_masks |= set(previous["masks"].values())
        if record.get("removed"):
            self.unused_masks.add(locate_valid_mask(image_id))
            self._fields["removed_images"] += 1
            return
        self._images.add(image_id)
        self._fields["images_read_again"] += (previous["shard"], previous["offset"]) != (
            record["shard"],
            record["offset"],
        )
        self._fields.update(name for name in CORRECTED_FIELDS if record[name] != previous[name])
        if record["official"] != previous["official"]:
            self.changed_official.add(image_id)
        old, new = previous["labels"], record["labels"]
        self._labels.update(name for name in {**old, **new} if old.get(name) != new.get(name))

    def is_uncorrected(self, dataset: str, digest: str) -> bool:
        """Whether all images of a data set were added under this digest."""
        return dataset in self._uncorrected and self.digests.get(dataset) == digest

    def count_corrections(self) -> dict[str, Any]:
        """JSON-able counts of the last correction: images, changed fields and labels by name; empty without any."""
        fields = {name: count for name, count in sorted(self._fields.items()) if count}
        labels = {"labels": dict(sorted(self._labels.items()))} if self._labels else {}
        return {"images": len(self._images), **fields, **labels} if fields or labels else {}


def locate_valid_mask(image_id: str) -> str:
    """Where the mask of an image's valid pixels lies below the cohort folder, if it has one."""
    return f"masks/valid/{image_id}.png"
