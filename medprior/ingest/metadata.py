"""Joins what header, tables and file name say about an image into the metadata of the cohort."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from medprior.cohort.records import ImageMetadata
from medprior.ingest.decoding import DecodedImage
from medprior.ingest.descriptor import DatasetDescriptor
from medprior.ingest.identity import Pseudonymizer, is_valid_uid
from medprior.ingest.plan import ImageSource
from medprior.ingest.tables import (
    STUDY_KEY_PREFIX,
    SourceMetadata,
    parse_file_name,
    parse_table_age,
    parse_table_sex,
    parse_table_view,
)


@dataclass(frozen=True)
class HeaderFacts:
    """What a file itself says about its image, free of raw identifiers.

    Attributes:
        patient: pseudonym of the patient, empty without an id.
        study: pseudonym of the study, empty without a valid UID.
        view: PA, AP, LATERAL, LL, RL or UNKNOWN.
        sex: M, F, O or None.
        age: years, or None.
    """

    patient: str
    study: str
    view: str
    sex: str | None
    age: float | None

    def record(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


class MetadataJoiner:
    """Joins header, tables and file names of one data set.

    Args:
        descriptor: the data set.
        pseudonyms: of its patients and studies.
        tables: metadata by image id, and by study after `STUDY_KEY_PREFIX`.
    """

    def __init__(
        self, descriptor: DatasetDescriptor, pseudonyms: Pseudonymizer, tables: Mapping[str, SourceMetadata]
    ) -> None:
        self.descriptor, self.pseudonyms, self.tables = descriptor, pseudonyms, tables

    def read_header_facts(self, image: DecodedImage) -> HeaderFacts:
        """What the file of a decoded image says about it."""
        identity, metadata = image.identity, image.metadata
        return HeaderFacts(
            patient=self.pseudonyms.pseudonym("patient", identity.patient) if identity.patient else "",
            study=self.pseudonyms.pseudonym("study", identity.study) if is_valid_uid(identity.study) else "",
            view=metadata.view,
            sex=metadata.sex,
            age=metadata.age,
        )

    def join(
        self, image_id: str, source: ImageSource, header: HeaderFacts
    ) -> tuple[str, dict[str, float], ImageMetadata]:
        """Patient, labels and metadata of one image as tables and descriptor have them now.

        Tables come before the file name, and view, sex and age of the header before both.
        """
        from_name = parse_file_name(source.relative, self.descriptor)
        table = self.tables.get(source.key, SourceMetadata())
        study = self.tables.get(STUDY_KEY_PREFIX + from_name.fields.get("study_id", ""), SourceMetadata())
        fields = from_name.fields | study.fields | table.fields
        patient_id, study_id = self.assign_patient_and_study(image_id, header, fields)
        view = header.view if header.view != "UNKNOWN" else parse_table_view(fields.get("view"))
        metadata: ImageMetadata = {
            "study_id": study_id,
            "view": view or self.descriptor.view or "UNKNOWN",
            "sex": header.sex or parse_table_sex(fields.get("sex")),
            "age": self.round_age(header.age if header.age is not None else parse_table_age(fields.get("age"))),
            "official": fields.get("split"),
        }
        return patient_id, from_name.labels | study.labels | table.labels, metadata

    def join_image(
        self, image_id: str, source: ImageSource, image: DecodedImage, decoding: str
    ) -> tuple[str, dict[str, float], ImageMetadata]:
        """Patient, labels and all metadata of one decoded image; `decoding` is from `digest_decoding_rules`."""
        patient_id, labels, joined = self.join(image_id, source, self.read_header_facts(image))
        header = image.metadata
        return (
            patient_id,
            labels,
            {
                **joined,
                "dataset": self.descriptor.name,
                "spacing_mm": math.sqrt(math.prod(header.spacing_mm)) if header.spacing_mm else None,
                "spacing_kind": header.spacing_kind,
                "polarity_inverted": header.polarity_inverted,
                "flags": header.flags,
                "pixel_sha256": self.digest_pixels(image),
                "decoding": decoding,
            },
        )

    def round_age(self, age: float | None) -> float | None:
        """An age in full years for private data, since days of an infant's age tell the birthday; our choice."""
        if age is None or self.descriptor.identity == "public":
            return age
        return float(math.floor(age))

    def digest_pixels(self, image: DecodedImage) -> str:
        """Digest of the stored pixels, 64 hex digits; of private data under the key: nobody else can match it."""
        digest = image.metadata.pixel_sha256
        return digest if self.descriptor.identity == "public" else self.pseudonyms.key_digest(digest)

    def assign_patient_and_study(
        self, image_id: str, header: HeaderFacts, fields: Mapping[str, str]
    ) -> tuple[str, str]:
        """Pseudonyms of patient and study; without an id every study is a new patient."""
        study_uid = fields.get("study_id")
        study = self.pseudonyms.pseudonym("study", study_uid) if study_uid else header.study
        study = study or self.pseudonyms.pseudonym("study", image_id)
        if fields.get("patient_id"):
            return self.pseudonyms.pseudonym("patient", f"{self.descriptor.name}\0{fields['patient_id']}"), study
        return header.patient or self.pseudonyms.pseudonym("patient of study", study), study


def digest_metadata_rules(
    descriptor: DatasetDescriptor, table_digests: Mapping[str, str], sources: Iterable[ImageSource]
) -> str:
    """Hex digest of a descriptor, its tables' contents and the run's files; with another one labels may differ.

    Args:
        descriptor: the data set.
        table_digests: file name -> sha256.
        sources: images of the run, since other images may have been corrected by earlier tables.
    """
    values = {"descriptor": descriptor.model_dump(mode="json", exclude_defaults=True), "tables": dict(table_digests)}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for source in sources:
        digest.update(source.relative.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def digest_decoding_rules(source: ImageSource, descriptor: DatasetDescriptor) -> str:
    """Hex digest, 16 digits, of the rules by which a file is decoded: with another one it is decoded again."""
    rules: list[Any] = [descriptor.policy, source.stretch]
    rules += [source.raw.model_dump(mode="json", exclude_defaults=True) if source.raw else None]
    rules += [[mask.structure, mask.rule.model_dump(mode="json", exclude_defaults=True)] for mask in source.masks]
    return hashlib.blake2b(json.dumps(rules, sort_keys=True).encode(), digest_size=8).hexdigest()
