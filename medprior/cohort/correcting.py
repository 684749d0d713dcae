"""Corrects labels, patients and metadata of images in a cohort, and removes images, once the splits allow it."""

from __future__ import annotations

from collections.abc import Collection

from medprior.cohort.kept_splits import PatientSplitRule, PublishedSplits, SplitRequest
from medprior.cohort.publishing import load_published_tables
from medprior.cohort.records import ImageRecords
from medprior.cohort.writer import CohortWriter


def is_metadata_current(writer: CohortWriter, dataset: str, digest: str) -> bool:
    """Whether no image of a data set can have metadata of other tables or another descriptor than `digest` names."""
    is_published = load_published_tables(writer.path).get(dataset) == digest
    is_last = writer.corrections.digests.get(dataset) == digest
    return writer.corrections.is_uncorrected(dataset, digest) or (is_published and is_last)


def correct_images(
    writer: CohortWriter,
    corrections: ImageRecords,
    removed: Collection[str],
    rule: PatientSplitRule,
    resplit: bool = False,
) -> None:
    """Replace the records of images, and remove images; pixels and masks of the others stay.

    Args:
        writer: of the cohort.
        corrections: the images' records from `correct_record`.
        removed: ids of images to remove.
        rule: as for `CohortWriter.finish`.
        resplit: as for `CohortWriter.finish`.

    Raises:
        MedpriorError: an image would leave its published split; nothing is changed.
    """
    check_corrected_splits(writer, corrections, removed, rule, resplit)
    for image_id in corrections:
        writer.append_record(corrections[image_id])
    for image_id in sorted(removed):
        writer.append_record({"image_id": image_id, "removed": True})


def check_corrected_splits(
    writer: CohortWriter,
    corrections: ImageRecords,
    removed: Collection[str],
    rule: PatientSplitRule,
    resplit: bool = False,
) -> None:
    """Raise MedpriorError where images would leave their published splits; see `correct_images`."""
    published = PublishedSplits.load(writer.path, rule)
    if resplit or not published.by_image or not (corrections or removed):
        return
    image_ids, patient_ids, hashes = list[str](), list[str](), list[str]()
    official, changed = list[str | None](), set(writer.corrections.changed_official)
    for image_id in sorted(set(writer.records).difference(removed)):
        record = writer.records[image_id]
        corrected = corrections.get(image_id, record)
        if corrected["official"] != record["official"]:
            changed.add(image_id)
        image_ids.append(image_id)
        patient_ids.append(str(corrected["patient_id"]))
        hashes.append(str(corrected["pixel_sha256"]))
        official.append(corrected["official"])
    SplitRequest(rule, published, {}, changed).assign(image_ids, patient_ids, hashes, official)
