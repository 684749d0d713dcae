"""Finds segmentations in an archive that refer to images of a cohort, such as masks corrected in a viewer."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medprior.annotate.annotation import Annotation
from medprior.annotate.mask_inputs import MaskInputs
from medprior.annotate.sources import annotate_cohort_image
from medprior.annotate.typicality import select_typical_images
from medprior.dicom import Policy
from medprior.dicom.derived.seg import SEGMENTATION_SOP_CLASSES, read_referenced_images
from medprior.dicom.file_opening import open_regular_file
from medprior.dicom.header import Header
from medprior.dicom.parsing import convert_parser_errors, parse_header
from medprior.errors import ConfigError, InputMissing, Rejected
from medprior.ingest.archive.address import ArchiveAddress, parse_archive_url
from medprior.ingest.archive.listing import ArchiveConnection, TransferBroken
from medprior.ingest.archive.store import connect_archive
from medprior.ingest.identity import Pseudonymizer, default_key_path, is_valid_uid, load_private_pseudonymizer

if TYPE_CHECKING:
    from medprior.cohort import Cohort

SEGMENTATION_POLICY = Policy(max_bytes=2**28)
SEGMENTATION_FIX = "store it with a reference to the radiograph, and check the attributes after ?"
TRIES = 3
MAX_NAME_CHARACTERS = 64


@dataclass(frozen=True)
class ArchivedSegmentation:
    """One segmentation of an image of the cohort.

    Attributes:
        path: its file, in a temporary folder.
        image_id: of the image to which it refers.
        created: date and time of its content, which sort as text.
        origin: where it comes from, free of identifiers of the patient.
    """

    path: Path
    image_id: str
    created: str
    origin: str


def annotate_from_archive(
    cohort: Cohort,
    url: str,
    image_id: str = "auto",
    key: Path | None = None,
    author: str = "",
    notes: str = "",
    refused: Path | None = None,
) -> Annotation:
    """An annotation of an image of a cohort with the newest segmentation of it that an archive holds.

    Args:
        cohort: a cohort whose images were ingested from DICOM files.
        url: of the archive; see `medprior.ingest.archive.address`.
        image_id: `auto` for the most typical of the training images that have a segmentation.
        key: identity key of the cohort; see `medprior.ingest.identity`.
        author: who annotated it, free text.
        notes: free text; where the segmentation comes from is added.
        refused: preview to write where the masks are readable but invalid.

    Raises:
        InputMissing: the archive has no segmentation of the image.
        MedpriorError: the archive or the key cannot be used, or the masks are invalid.
    """
    address = parse_archive_url(url)
    pseudonyms = load_cohort_key(cohort, key)
    with fetch_segmentations(cohort, address, pseudonyms) as segmentations:
        newest = {item.image_id: item for item in sorted(segmentations, key=lambda item: (item.created, item.origin))}
        image_id = choose_image(cohort, sorted(newest)) if image_id == "auto" else image_id
        if image_id not in newest:
            raise InputMissing(
                "the archive holds no segmentation of this image",
                where=f"--image-id {image_id}",
                found=f"segmentations of {len(newest)} image(s) of the cohort",
                fix=SEGMENTATION_FIX,
            )
        chosen = newest[image_id]
        inputs = MaskInputs(annotations=chosen.path)
        origin = "; ".join(part for part in (notes, chosen.origin) if part)
        return annotate_cohort_image(cohort, image_id, inputs, author, origin, refused)


def choose_image(cohort: Cohort, image_ids: Sequence[str]) -> str:
    """The most typical training image among those that have a segmentation.

    Raises:
        InputMissing: there is none.
    """
    candidates = cohort.select(image_ids)
    if (candidates.manifest.split == "train").any():
        return select_typical_images(candidates, 1)[0]
    raise InputMissing(
        "the archive holds no segmentation of a training image",
        where=cohort.path.name,
        found=f"segmentations of {len(image_ids)} image(s) of other splits",
        fix=f"{SEGMENTATION_FIX}; --image-id takes an image of any split",
    )


def load_cohort_key(cohort: Cohort, key: Path | None) -> Pseudonymizer:
    """Pseudonyms under the key with which the cohort was ingested; no key is created.

    Raises:
        InputMissing: there is no key.
        ConfigError: it is another one.
    """
    if not (key or default_key_path()).exists():
        raise InputMissing("no such identity key", where="--key", fix="give the key with which COHORT was ingested")
    pseudonyms = load_private_pseudonymizer(key, cohort.path)
    records = (cohort.path / "keys.jsonl").read_text(encoding="utf-8").splitlines()
    if pseudonyms.key_id not in {json.loads(line)["key_id"] for line in records}:
        raise ConfigError(
            "the cohort was ingested with another identity key", where="--key", fix="give the key it was begun with"
        )
    return pseudonyms


@contextmanager
def fetch_segmentations(
    cohort: Cohort, address: ArchiveAddress, pseudonyms: Pseudonymizer
) -> Iterator[list[ArchivedSegmentation]]:
    """The segmentations of the cohort's images, as files that exist within the block."""
    connection = connect_archive(address, sorted(SEGMENTATION_SOP_CLASSES))
    with tempfile.TemporaryDirectory(prefix="medprior-") as folder:
        try:
            segmentations: list[ArchivedSegmentation] = []
            for number, uids in enumerate(list_segmentations(connection, address, cohort, pseudonyms)):
                path = Path(folder) / f"{number}.dcm"
                if retrieve_segmentation(connection, uids, path):
                    segmentations += match_segmentation(path, set(cohort.image_ids), pseudonyms)
        finally:
            connection.close()
        yield segmentations


def list_segmentations(
    connection: ArchiveConnection, address: ArchiveAddress, cohort: Cohort, pseudonyms: Pseudonymizer
) -> Iterator[tuple[str, str, str]]:
    """UIDs of study, series and instance of the segmentations in studies of the cohort."""
    known = set(cohort.manifest.study_id)
    keys = {"StudyInstanceUID": "", **address.study_filters, "ModalitiesInStudy": "SEG"}
    for match in connection.find_matches("STUDY", keys):
        study = match.get("StudyInstanceUID", "")
        if not is_valid_uid(study) or pseudonyms.pseudonym("study", study) not in known:
            continue
        wanted = {"StudyInstanceUID": study, "SeriesInstanceUID": "", **address.series_filters, "Modality": "SEG"}
        for series in connection.find_matches("SERIES", wanted):
            uid = series.get("SeriesInstanceUID", "")
            if not is_valid_uid(uid):
                continue
            instance_keys = {"StudyInstanceUID": study, "SeriesInstanceUID": uid, "SOPInstanceUID": ""}
            for instance in connection.find_matches("IMAGE", instance_keys):
                if is_valid_uid(instance.get("SOPInstanceUID", "")):
                    yield study, uid, instance["SOPInstanceUID"]


def retrieve_segmentation(connection: ArchiveConnection, uids: tuple[str, str, str], path: Path) -> bool:
    """Write one segmentation to `path`; False where the archive cannot send it."""
    for _ in range(TRIES):
        try:
            with path.open("wb") as file:
                connection.retrieve_instance(uids, file, SEGMENTATION_POLICY)
            return True
        except TransferBroken:
            continue
        except Rejected:
            return False
    return False


def match_segmentation(path: Path, image_ids: set[str], pseudonyms: Pseudonymizer) -> Sequence[ArchivedSegmentation]:
    """The segmentation where it refers to one image of the cohort and to no other; else nothing."""
    try:
        with open_regular_file(path, SEGMENTATION_POLICY) as (stream, size), convert_parser_errors():
            header = parse_header(stream, size, SEGMENTATION_POLICY).header
            references = read_referenced_images(header)
    except Rejected:
        return ()
    matches = {pseudonyms.pseudonym("instance", sop) for sop in references}
    if len(matches) != 1 or not matches <= image_ids or header.text(0x00080016) not in SEGMENTATION_SOP_CLASSES:
        return ()
    created = header.text(0x00080023).ljust(8) + header.text(0x00080033)
    return (ArchivedSegmentation(path, matches.pop(), created, describe_origin(header, path, pseudonyms)),)


def describe_origin(header: Header, path: Path, pseudonyms: Pseudonymizer) -> str:
    """Pseudonym, software and digest of a segmentation, in one line."""
    tags = (0x00080070, 0x00081090, 0x00181020)
    software = " ".join(part for part in (header.unicode(tag).strip() for tag in tags) if part)
    name = "".join(char for char in software if char.isprintable())[:MAX_NAME_CHARACTERS] or "unknown software"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    item = pseudonyms.pseudonym("segmentation", header.text(0x00080018))
    return f"DICOM SEG {item} of an archive, written by {name}, sha256 {digest}"
