"""Lists the radiographs of an archive by attributes of studies, series and instances, before any is fetched."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, Protocol

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from medprior.dicom import Policy
from medprior.dicom.eligibility import (
    FILM_MODALITIES,
    MODALITIES,
    SECONDARY_CAPTURE,
    check_body_part,
    check_secondary_capture,
    check_sop_class,
)
from medprior.dicom.header import Header
from medprior.ingest.archive.address import ArchiveAddress
from medprior.ingest.identity import is_valid_uid
from medprior.ingest.source_journal import FileStamp

Attributes = dict[str, str]
QueryLevel = Literal["STUDY", "SERIES", "IMAGE"]
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
# Of studies, where the URL names none; captures of modality OT and SC are mostly documents.
SEARCHED_MODALITIES = ("CR", "DR", "DX", "RG")
SEARCH_THREADS = 4


class TransferBroken(Exception):
    """An instance did not arrive whole; another try may succeed."""


class ArchiveConnection(Protocol):
    """What DICOMweb and DIMSE have in common; methods are called from several threads."""

    def find_matches(self, level: QueryLevel, keys: Mapping[str, str]) -> list[Attributes]:
        """Attributes of all matches.

        Args:
            level: what is asked for.
            keys: keyword -> value to match, empty for one to be returned.

        Raises:
            MedpriorError: the archive cannot be used.
        """
        ...

    def retrieve_instance(self, uids: tuple[str, str, str], file: BinaryIO, policy: Policy) -> None:
        """Write an instance in the syntax in which it is stored.

        Args:
            uids: of study, series and instance.
            file: takes the bytes.
            policy: its `max_bytes` bounds the instance.

        Raises:
            Rejected: the archive refuses or lacks this instance, or it is too large.
            TransferBroken: it did not arrive whole.
            MedpriorError: the archive cannot be used.
        """
        ...

    def close(self) -> None:
        """Close connections; a later use opens new ones."""
        ...


@dataclass(frozen=True, slots=True)
class ArchiveInstance:
    """One instance and what the archive says about it.

    Attributes:
        uids: of study, series and instance.
        sop_class: SOP class UID.
        modality: of the series.
        body_part: of the series, empty where the archive does not say.
        conversion: conversion type of a secondary capture, empty where the archive does not say.
    """

    uids: tuple[str, str, str]
    sop_class: str
    modality: str
    body_part: str
    conversion: str

    @property
    def relative(self) -> str:
        """Path below the archive, `STUDY/SERIES/INSTANCE.dcm`."""
        return "/".join(self.uids) + ".dcm"

    @property
    def stamp(self) -> FileStamp:
        """Changes with the attributes; an instance itself never changes under its UID."""
        text = "\0".join((self.sop_class, self.modality, self.body_part, self.conversion))
        return [0, hashlib.blake2b(text.encode(), digest_size=8).hexdigest()]


@dataclass
class ArchiveListing:
    """Radiographs that an archive may have, and what was left out.

    Attributes:
        instances: by their path.
        other_series: number of series by modality that hold no radiographs.
        invalid: matches without valid UIDs, which cannot be asked for.
    """

    instances: dict[str, ArchiveInstance] = field(default_factory=dict)
    other_series: Counter[str] = field(default_factory=Counter)
    invalid: int = 0

    def describe_rest(self) -> str:
        """What was left out, in one line; empty for nothing."""
        parts = [f"{count} series of modality {name or '?'}" for name, count in sorted(self.other_series.items())]
        parts += [f"{self.invalid} match(es) without valid UIDs"] if self.invalid else []
        return ", ".join(parts)


def list_radiographs(connection: ArchiveConnection, address: ArchiveAddress) -> ArchiveListing:
    """Instances of all matching series whose modality may be that of a radiograph.

    Raises:
        MedpriorError: the archive cannot be used.
    """
    listing = ArchiveListing()
    studies: dict[str, None] = {}
    named = address.study_filters.get("ModalitiesInStudy", "")
    for modality in named.split(",") if named else SEARCHED_MODALITIES:
        keys = {"StudyInstanceUID": "", **address.study_filters, "ModalitiesInStudy": modality}
        studies.update((match.get("StudyInstanceUID", ""), None) for match in connection.find_matches("STUDY", keys))
    with ThreadPoolExecutor(SEARCH_THREADS, thread_name_prefix="medprior-search") as executor:
        try:
            parts = executor.map(lambda study: list_study(connection, study, address.series_filters), studies)
            for part in parts:
                listing.instances |= part.instances
                listing.other_series += part.other_series
                listing.invalid += part.invalid
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
    return listing


def list_study(connection: ArchiveConnection, study: str, filters: Mapping[str, str]) -> ArchiveListing:
    """The radiographs of one study."""
    listing = ArchiveListing()
    if not is_valid_uid(study):
        return ArchiveListing(invalid=1)
    keys = {"StudyInstanceUID": study, "SeriesInstanceUID": "", "Modality": "", "BodyPartExamined": "", **filters}
    for series in connection.find_matches("SERIES", keys):
        modality, uid = series.get("Modality", "").strip().upper(), series.get("SeriesInstanceUID", "")
        if modality not in FILM_MODALITIES:
            listing.other_series[modality] += 1
            continue
        if not is_valid_uid(uid):
            listing.invalid += 1
            continue
        wanted = {"StudyInstanceUID": study, "SeriesInstanceUID": uid, "SOPInstanceUID": "", "SOPClassUID": ""}
        wanted |= {} if modality in MODALITIES else {"ConversionType": ""}
        for match in connection.find_matches("IMAGE", wanted):
            instance = build_instance((study, uid, match.get("SOPInstanceUID", "")), modality, series, match)
            if is_valid_uid(instance.uids[2]):
                listing.instances[instance.relative] = instance
            else:
                listing.invalid += 1
    return listing


def build_instance(uids: tuple[str, str, str], modality: str, series: Attributes, match: Attributes) -> ArchiveInstance:
    """An instance from the attributes of its series and its own."""
    return ArchiveInstance(
        uids,
        match.get("SOPClassUID", ""),
        modality,
        series.get("BodyPartExamined", ""),
        match.get("ConversionType", ""),
    )


def check_listed_instance(instance: ArchiveInstance, policy: Policy) -> None:
    """Refuse what the file would be refused for, where the listed attributes tell.

    Raises:
        Rejected: with the code that reading the file would give.
    """
    values = {
        0x00080016: instance.sop_class,
        0x00080060: instance.modality,
        0x00080064: instance.conversion,
        0x00180015: instance.body_part,
    }
    header = Header(Dataset({Tag(tag): encode_element(tag, value) for tag, value in values.items() if value}))
    if instance.sop_class == SECONDARY_CAPTURE:
        if instance.conversion:
            check_secondary_capture(header, policy)
    elif instance.sop_class:
        check_sop_class(header, policy)
    check_body_part(header, policy)


def encode_element(tag: int, value: str) -> RawDataElement:
    """A text element as in a file, for `Header`."""
    raw = value.encode("latin-1", "replace")
    return RawDataElement(Tag(tag), "CS", len(raw), raw, 0, False, True)
