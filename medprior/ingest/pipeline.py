"""Runs an ingest: lists sources, decodes them under limits, writes and publishes the cohort."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from medprior.cohort import Cohort, CohortWriter
from medprior.cohort.columns import SPLITS
from medprior.cohort.journal import Journal
from medprior.dicom import Policy
from medprior.errors import MedpriorError
from medprior.ingest.boxes import FindingBox, write_finding_boxes
from medprior.ingest.contact_sheet import write_contact_sheet
from medprior.ingest.decoding import DecodedImage, RejectedFile
from medprior.ingest.descriptor import DatasetDescriptor, load_descriptor, search_pattern
from medprior.ingest.dispatch import decode_sources
from medprior.ingest.identity import (
    Pseudonymizer,
    create_public_pseudonymizer,
    is_valid_uid,
    load_private_pseudonymizer,
)
from medprior.ingest.origin import LocalFolder, RemoteFolder, open_input
from medprior.ingest.plan import ImageSource, sample_sources
from medprior.ingest.remote import DISK_FULL_ERRNOS
from medprior.ingest.settings import IngestSettings
from medprior.ingest.source_journal import FileStamp, SourceJournal, private_folder
from medprior.ingest.summary import summarize_cohort
from medprior.ingest.tables import (
    STUDY_KEY_PREFIX,
    SourceMetadata,
    TableJoins,
    parse_file_name,
    parse_table_age,
    parse_table_sex,
    parse_table_view,
)
from medprior.observer import progress_bar


def ingest_images(
    source: Path | str,
    cohort: Path,
    dataset: str | None = None,
    settings: IngestSettings | None = None,
    key: Path | None = None,
) -> Cohort:
    """Read every image of a folder into a cohort; a rejected file never ends the run.

    A second run resumes the first; a run with another folder adds to the cohort.

    Args:
        source: folder or file, or the URL of one (`s3://bucket/prefix`; see `origin`).
        cohort: cohort folder to create or extend.
        dataset: name of, or path to, a data set descriptor; None for any folder.
        settings: the defaults if None.
        key: identity key file; see `medprior.ingest.identity`.

    Raises:
        MedpriorError: the folder holds no usable image, another run writes the cohort, or the
            store or the cluster cannot be used.
    """
    settings = settings or IngestSettings()
    descriptor = load_descriptor(dataset)
    if descriptor.policy:
        policy = settings.policy.model_dump() | descriptor.policy
        settings = settings.model_copy(update={"policy": Policy.from_values(policy, f"policy of {descriptor.name}")})
    origin = open_input(source)
    all_sources = origin.sources(descriptor, (cohort, private_folder(cohort)))
    sources = sample_sources(all_sources, settings.limit, settings.seed)
    joins = TableJoins(list_join_keys(all_sources, descriptor))
    tables = origin.tables(descriptor, joins)
    superseded = sum(source.superseded for source in all_sources)
    counts = joins.counts | ({"INPUT": {"superseded_files": superseded}} if superseded else {})
    public = descriptor.identity == "public"
    pseudonyms = create_public_pseudonymizer(descriptor.name) if public else load_private_pseudonymizer(key, cohort)
    with CohortWriter(cohort, settings.store_size) as writer:
        run = IngestRun(writer, SourceJournal(cohort), descriptor, pseudonyms, tables)
        try:
            run.check_identity_key()
            run.decode(sources, origin, settings)
            run.publish(settings, origin.boxes(descriptor), counts)
        except OSError as error:
            if error.errno not in DISK_FULL_ERRNOS:
                raise
            raise MedpriorError(
                f"the disk is full ({error.strerror}); images read so far are kept",
                where=cohort.name,
                fix="free some space and run the same command again",
            ) from None
        finally:
            with suppress(OSError):
                run.outcomes.close()
    return Cohort.open(cohort)


def list_join_keys(sources: Sequence[ImageSource], descriptor: DatasetDescriptor) -> Iterator[str]:
    """Ids of images, and of their studies after `STUDY_KEY_PREFIX`."""
    yield from (source.key for source in sources)
    if descriptor.study_from_name and any(table.about == "study" for table in descriptor.tables):
        studies = (search_pattern(descriptor.study_from_name, source.relative) for source in sources)
        yield from (STUDY_KEY_PREFIX + study["id"] for study in studies if study)


class IngestRun:
    """One ingest run: its writer, private journal, pseudonyms and tables."""

    def __init__(
        self,
        writer: CohortWriter,
        outcomes: SourceJournal,
        descriptor: DatasetDescriptor,
        pseudonyms: Pseudonymizer,
        tables: Mapping[str, SourceMetadata],
    ) -> None:
        self.writer, self.outcomes, self.descriptor = writer, outcomes, descriptor
        self.pseudonyms, self.tables = pseudonyms, tables

    def check_identity_key(self) -> None:
        """Raise MedpriorError where the cohort was begun with another identity key."""
        path = self.writer.path / "keys.jsonl"
        journal = Journal(path)
        try:
            key_ids = {record["dataset"]: record["key_id"] for record in journal.records}
            begun_key_id = key_ids.get(self.descriptor.name)
            if begun_key_id is None:
                journal.append({"dataset": self.descriptor.name, "key_id": self.pseudonyms.key_id})
            elif begun_key_id != self.pseudonyms.key_id:
                raise MedpriorError(
                    "this cohort was begun with another identity key",
                    where="--key",
                    fix="use the key it was begun with, or another cohort folder",
                )
        finally:
            journal.close()

    def decode(self, sources: list[ImageSource], origin: LocalFolder | RemoteFolder, settings: IngestSettings) -> None:
        """Decode all sources without an earlier outcome."""
        name, stamps = self.descriptor.name, [origin.stamp(source) for source in sources]
        pending = [
            (source, stamp)
            for source, stamp in zip(sources, stamps, strict=True)
            if not self.outcomes.is_done(source.path, stamp, name, self.writer)
        ]
        if not pending:
            return
        finished = len(sources) - len(pending)
        bar = progress_bar(total=len(sources), initial=finished, desc="ingest", unit="file")
        rejected = 0
        pending_sources = [source for source, _ in pending]
        with bar, decode_sources(pending_sources, origin, settings, self.outcomes.folder) as results:
            for (source, stamp), result in zip(pending, results, strict=True):
                rejected += not self.store_result(source, stamp, result)
                bar.set_postfix(refused=rejected, refresh=False)
                bar.update()

    def store_result(self, source: ImageSource, stamp: FileStamp, result: DecodedImage | RejectedFile) -> bool:
        """Store one result, first in the cohort, then in the private journal; True if accepted."""
        item = self.pseudonyms.pseudonym("item", source.relative)
        image_id, code, message = "", "", ""
        if isinstance(result, RejectedFile):
            code, message = result.code, result.message
        else:
            image_id = self.assign_image_id(source, result)
            is_known = image_id in self.writer
            if is_known and self.writer.get_pixel_sha256(image_id) != result.metadata.pixel_sha256:
                code = "conflict"
                message = "an earlier file has the same image id (or SOP instance UID) but other pixels"
                image_id = ""
            elif not is_known:
                self.add_image(image_id, source, result)
        outcome = {"item": item, "image_id": image_id, "code": code, "message": message}
        self.outcomes.record_outcome(source.path, stamp, self.descriptor.name, **outcome)
        return not code

    def assign_image_id(self, source: ImageSource, image: DecodedImage) -> str:
        """Pseudonym of the data set's own id, else of the SOP instance, else of the pixels."""
        if self.descriptor.images[0].match != r"^(?P<id>.*)$":
            return self.pseudonyms.pseudonym("image", f"{self.descriptor.name}\0{source.key}")
        if is_valid_uid(image.identity.sop):
            return self.pseudonyms.pseudonym("instance", image.identity.sop)
        return self.pseudonyms.pseudonym("picture", image.metadata.pixel_sha256)

    def add_image(self, image_id: str, source: ImageSource, image: DecodedImage) -> None:
        """Add one image with the metadata of header, tables and file name."""
        from_name = parse_file_name(source.relative, self.descriptor)
        table = self.tables.get(source.key, SourceMetadata())
        study = self.tables.get(STUDY_KEY_PREFIX + from_name.fields.get("study_id", ""), SourceMetadata())
        fields, metadata = from_name.fields | study.fields | table.fields, image.metadata
        patient_id, study_id = self.assign_patient_and_study(image_id, image, fields)
        view = metadata.view if metadata.view != "UNKNOWN" else parse_table_view(fields.get("view"))
        age = metadata.age if metadata.age is not None else parse_table_age(fields.get("age"))
        self.writer.add(
            image_id=image_id,
            pixels=image.stored,
            patient_id=patient_id,
            labels=from_name.labels | study.labels | table.labels,
            masks=image.masks,
            valid=image.valid,
            source_size=image.size,
            study_id=study_id,
            dataset=self.descriptor.name,
            view=view or self.descriptor.view or "UNKNOWN",
            sex=metadata.sex or parse_table_sex(fields.get("sex")),
            age=age,
            spacing_mm=math.sqrt(math.prod(metadata.spacing_mm)) if metadata.spacing_mm else None,
            spacing_kind=metadata.spacing_kind,
            polarity_inverted=metadata.polarity_inverted,
            flags=metadata.flags,
            pixel_sha256=metadata.pixel_sha256,
            official=fields.get("split"),
        )

    def assign_patient_and_study(
        self, image_id: str, image: DecodedImage, fields: Mapping[str, str]
    ) -> tuple[str, str]:
        """Pseudonyms of patient and study; without an id every study is a new patient."""
        identity = image.identity
        study_uid = fields.get("study_id") or (identity.study if is_valid_uid(identity.study) else "")
        study = self.pseudonyms.pseudonym("study", study_uid or image_id)
        if fields.get("patient_id"):
            return self.pseudonyms.pseudonym("patient", f"{self.descriptor.name}\0{fields['patient_id']}"), study
        if identity.patient:
            return self.pseudonyms.pseudonym("patient", identity.patient), study
        return self.pseudonyms.pseudonym("patient of study", study), study

    def publish(
        self,
        settings: IngestSettings,
        boxes: Sequence[FindingBox] = (),
        join_counts: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        """Write all files of the cohort; the manifest and `config.json` come last; `join_counts` are this run's."""
        self.outcomes.write_sources()
        quarantine = sorted(
            (str(record["item"]), str(record["code"]), str(record["message"]))
            for record in self.outcomes.records()
            if record["code"]
        )
        codes = Counter(code for _, code, _ in quarantine)
        if not len(self.writer):
            counts_text = ", ".join(f"{code} {count}" for code, count in codes.most_common())
            raise MedpriorError(
                f"no usable radiograph among {len(self.outcomes)} file(s) ({counts_text})",
                where="INPUT",
                fix=f"see {self.outcomes.folder.name}/sources.csv and medprior/ingest/README.md",
            )
        manifest = self.writer.manifest()
        write_contact_sheet(self.writer.path / "contact_sheet.png", manifest, self.writer.pixels, self.writer.masks)
        box_counts = write_finding_boxes(self.writer.path, boxes, self.descriptor.name, self.pseudonyms, manifest)
        self.writer.finish(
            fractions=settings.fractions,
            seed=settings.seed,
            quarantine=quarantine,
            summary=summarize_cohort(manifest, self.outcomes.records())
            | box_counts
            | ({"joins": join_counts} if join_counts else {}),
            settings=settings.dump_cohort_settings() | {"dataset": self.descriptor.name},
        )
        self.report(manifest.patient_id.nunique(), len(manifest), codes)
        for name, counts in (join_counts or {}).items():
            text = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items())
            print(f"note: {name}: {text}", file=sys.stderr)

    def report(self, patients: int, images: int, codes: Mapping[str, int]) -> None:
        """Print counts and empty splits to stderr."""
        counts_text = ", ".join(f"{code} {count}" for code, count in sorted(codes.items()))
        lines = [f"{images} image(s) of {patients} patient(s)" + (f"; refused: {counts_text}" if counts_text else "")]
        cohort = Cohort.open(self.writer.path)
        empty_splits = [name for name in SPLITS if not (cohort.manifest.split == name).any()]
        if empty_splits:
            lines.append(f"note: split {', '.join(empty_splits)} is empty: {patients} patient(s) are too few")
        print("\n".join(lines), file=sys.stderr)
