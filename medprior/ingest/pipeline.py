"""Runs an ingest: lists sources, decodes them under limits, writes and publishes the cohort."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from medprior.cohort import Cohort, CohortWriter
from medprior.cohort.columns import SPLITS
from medprior.cohort.journal import Journal
from medprior.cohort.kept_splits import PatientSplitRule
from medprior.dicom import Policy
from medprior.dicom.burned_in_text import require_text_detector
from medprior.errors import MedpriorError
from medprior.ingest.boxes import FindingBox, write_finding_boxes
from medprior.ingest.corrections import Correction
from medprior.ingest.decoding import DecodedImage, RejectedFile
from medprior.ingest.descriptor import DatasetDescriptor, load_descriptor
from medprior.ingest.dispatch import decode_sources
from medprior.ingest.identity import (
    Pseudonymizer,
    create_public_pseudonymizer,
    is_valid_uid,
    load_private_pseudonymizer,
)
from medprior.ingest.measurements import ImageMeasurement, write_measurements
from medprior.ingest.metadata import MetadataJoiner, digest_decoding_rules, digest_metadata_rules
from medprior.ingest.origin import LocalFolder, RemoteFolder, open_input
from medprior.ingest.pixel_check import check_stored_pixels
from medprior.ingest.plan import ImageSource, sample_sources
from medprior.ingest.remote import DISK_FULL_ERRNOS
from medprior.ingest.report.contact_sheet import write_contact_sheet
from medprior.ingest.report.ingest_report import REPORT_FILE, write_ingest_report
from medprior.ingest.settings import IngestSettings
from medprior.ingest.source_journal import FileStamp, SourceJournal, private_folder
from medprior.ingest.summary import format_cohort_counts, format_next_command, summarize_cohort
from medprior.ingest.tables import SourceMetadata, TableJoins, list_join_keys
from medprior.observer import progress_bar


def ingest_images(
    source: Path | str,
    cohort: Path,
    dataset: str | None = None,
    settings: IngestSettings | None = None,
    key: Path | None = None,
    resplit: bool = False,
) -> Cohort:
    """Read every image of a folder into a cohort; a rejected file never ends the run.

    A second run resumes the first; a run with another folder adds to the cohort. Where the data set's tables or
    descriptor changed, labels and metadata are corrected in place, and images that have another id now replace
    the old ones.

    Args:
        source: folder or file, or the URL of one (`s3://bucket/prefix`) or of an archive; see `origin`.
        cohort: cohort folder to create or extend.
        dataset: name of, or path to, a data set descriptor; None for any folder.
        settings: the defaults if None.
        key: identity key file; see `medprior.ingest.identity`.
        resplit: split the whole cohort anew.

    Raises:
        MedpriorError: the folder holds no usable image, another run writes the cohort, the store or the cluster
            cannot be used, a text detector is asked for and missing, or a correction would move images between splits.
    """
    settings = settings or IngestSettings()
    descriptor = load_descriptor(dataset)
    if descriptor.policy:
        policy = settings.policy.model_dump() | descriptor.policy
        settings = settings.model_copy(update={"policy": Policy.from_values(policy, f"policy of {descriptor.name}")})
    if settings.policy.detect_text:
        require_text_detector()
    origin = open_input(source)
    all_sources = origin.sources(descriptor, (cohort, private_folder(cohort)), settings.follow_links)
    joins = TableJoins(list_join_keys(all_sources, descriptor))
    tables = origin.tables(descriptor, joins)
    known_sources = [source for source in all_sources if not tables.get(source.key, SourceMetadata()).is_excluded]
    sources = sample_sources(known_sources, settings.limit, settings.seed)
    counts = joins.counts | count_unread_files(all_sources, len(known_sources))
    if descriptor.identity == "public":
        pseudonyms = create_public_pseudonymizer(descriptor.name)
    else:
        local = None if origin.remote else Path(origin.location)
        pseudonyms = load_private_pseudonymizer(key, cohort, local)
    with explain_full_disk(cohort), CohortWriter(cohort, settings.store_size) as writer:
        run = IngestRun(writer, SourceJournal(cohort), descriptor, pseudonyms, tables)
        # Paths may hold names of patients: what is kept is keyed.
        digest = pseudonyms.pseudonym("tables", digest_metadata_rules(descriptor, joins.digests, sources))
        try:
            run.execute(sources, origin, settings, digest, counts, resplit)
        finally:
            with suppress(OSError):
                run.outcomes.close()
    return Cohort.open(cohort)


@contextmanager
def explain_full_disk(cohort: Path) -> Iterator[None]:
    """Raise MedpriorError in place of an error of the block that says that the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL_ERRNOS:
            raise
        raise MedpriorError(
            f"the disk is full ({error.strerror}); images read so far are kept",
            where=cohort.name,
            fix="free some space and run the same command again",
        ) from None


def count_unread_files(sources: Sequence[ImageSource], read_count: int) -> dict[str, dict[str, int]]:
    """Entries of `joins` for files that are not read: superseded by another kind, or excluded by a table."""
    counts = {
        "superseded_files": sum(source.superseded for source in sources),
        "files_excluded_by_tables": len(sources) - read_count,
    }
    counts = {name: count for name, count in counts.items() if count}
    return {"INPUT": counts} if counts else {}


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
        self.writer, self.outcomes, self.descriptor, self.pseudonyms = writer, outcomes, descriptor, pseudonyms
        self.joiner = MetadataJoiner(descriptor, pseudonyms, tables)
        self._replaced: set[str] = set()

    def execute(
        self,
        sources: list[ImageSource],
        origin: LocalFolder | RemoteFolder,
        settings: IngestSettings,
        digest: str,
        join_counts: Mapping[str, Mapping[str, int]],
        resplit: bool,
    ) -> None:
        """Decode new files, correct the others, publish; `digest` is that of tables, descriptor and files."""
        self.check_identity_key()
        rule = PatientSplitRule(settings.seed, settings.fractions)
        correction = Correction(self.writer, self.outcomes, self.joiner, sources)
        is_corrected = correction.is_needed(digest)
        if is_corrected:
            correction.check_splits(rule, resplit)
        self.writer.begin_tables(self.descriptor.name, digest)
        self.decode(sources, origin, settings)
        if settings.check_pixels:
            check_stored_pixels(self.writer, self.outcomes.folder)
        if is_corrected:
            correction.apply(rule, resplit)
        self.publish(
            settings, origin.boxes(self.descriptor), join_counts, resplit, origin.measurements(self.descriptor)
        )
        if is_corrected:
            correction.report()

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
        """Decode all sources without an earlier outcome by the same rules."""
        stamps = [origin.stamp(source) for source in sources]
        pending = [
            (source, stamp) for source, stamp in zip(sources, stamps, strict=True) if not self.is_done(source, stamp)
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

    def is_done(self, source: ImageSource, stamp: FileStamp) -> bool:
        """Whether this unchanged file has an outcome by the same descriptor."""
        decoding = digest_decoding_rules(source, self.descriptor)
        outcome = self.outcomes.find_finished(source.path, stamp, self.descriptor.name, self.writer, decoding)
        if outcome is None or not (outcome["image_id"] and self.descriptor.has_image_ids):
            return outcome is not None
        return bool(outcome["image_id"] == self.assign_key_id(source))

    def store_result(self, source: ImageSource, stamp: FileStamp, result: DecodedImage | RejectedFile) -> bool:
        """Store one result, first in the cohort, then in the private journal; True if accepted."""
        outcome: dict[str, Any] = {"item": self.pseudonyms.pseudonym("item", source.relative), "image_id": ""}
        outcome |= {"code": "", "message": "", "decoding": digest_decoding_rules(source, self.descriptor)}
        if isinstance(result, RejectedFile):
            outcome |= {"code": result.code, "message": result.message}
        else:
            image_id = self.assign_image_id(source, result)
            is_known = image_id in self.writer
            if is_known and self.writer.get_pixel_sha256(image_id) != self.joiner.digest_pixels(result):
                outcome["code"] = "conflict"
                outcome["message"] = "an earlier file has the same image id (or SOP instance UID) but other pixels"
            else:
                header, pixels = self.joiner.read_header_facts(result), result.metadata.pixel_sha256[:16]
                outcome |= {"image_id": image_id, "header": header.record(), "pixels": pixels}
                if not is_known or self.is_decoded_anew(source, outcome):
                    self.add_image(image_id, source, result, outcome["decoding"], replace=is_known)
        self.outcomes.record_outcome(source.path, stamp, self.descriptor.name, **outcome)
        return not outcome["code"]

    def is_decoded_anew(self, source: ImageSource, outcome: Mapping[str, Any]) -> bool:
        """Whether a file gave the same image before by other rules; of several files the first one counts."""
        image_id, decoding = outcome["image_id"], outcome["decoding"]
        previous = self.outcomes.find_outcome(source.path) or {}
        if previous.get("image_id") != image_id or previous.get("decoding", decoding) == decoding:
            return False
        return image_id not in self._replaced and self.writer.records[image_id].get("decoding") != decoding

    def assign_image_id(self, source: ImageSource, image: DecodedImage) -> str:
        """Pseudonym of the data set's own id, else of the SOP instance, else of the pixels."""
        if self.descriptor.has_image_ids:
            return self.assign_key_id(source)
        if is_valid_uid(image.identity.sop):
            return self.pseudonyms.pseudonym("instance", image.identity.sop)
        return self.pseudonyms.pseudonym("picture", image.metadata.pixel_sha256)

    def assign_key_id(self, source: ImageSource) -> str:
        """Pseudonym of the data set's own id."""
        return self.pseudonyms.pseudonym("image", f"{self.descriptor.name}\0{source.key}")

    def add_image(
        self, image_id: str, source: ImageSource, image: DecodedImage, decoding: str, replace: bool = False
    ) -> None:
        """Add or replace one image with the metadata of header, tables and file name."""
        patient_id, labels, metadata = self.joiner.join_image(image_id, source, image, decoding)
        self.writer.add(
            image_id=image_id,
            pixels=image.stored,
            patient_id=patient_id,
            labels=labels,
            masks=image.masks,
            valid=image.valid,
            source_size=image.size,
            replace=replace,
            **metadata,
        )
        if replace:
            # Only now may the private journal say that the file is done by the new rules.
            self.writer.commit()
            self._replaced.add(image_id)

    def publish(
        self,
        settings: IngestSettings,
        boxes: Sequence[FindingBox],
        join_counts: Mapping[str, Mapping[str, int]],
        resplit: bool,
        measurements: Sequence[ImageMeasurement],
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
        measurement_counts = write_measurements(
            self.writer.path, measurements, self.descriptor.name, self.pseudonyms, manifest
        )
        self.writer.finish(
            fractions=settings.fractions,
            seed=settings.seed,
            resplit=resplit,
            quarantine=quarantine,
            summary=summarize_cohort(manifest, self.outcomes.records())
            | box_counts
            | measurement_counts
            | ({"joins": join_counts} if join_counts else {}),
            settings=settings.dump_cohort_settings() | {"dataset": self.descriptor.name},
        )
        cohort = Cohort.open(self.writer.path)
        write_ingest_report(self.writer.path / REPORT_FILE, cohort.manifest, quarantine)
        self.report(cohort, codes)
        for name, counts in join_counts.items():
            text = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items())
            print(f"note: {name}: {text}", file=sys.stderr)

    def report(self, cohort: Cohort, codes: Mapping[str, int]) -> None:
        """Print counts, empty splits and the next command to stderr."""
        counts_text = ", ".join(f"{code} {count}" for code, count in sorted(codes.items()))
        manifest = cohort.manifest
        patients = manifest.patient_id.nunique()
        lines = [
            f"{len(manifest)} image(s) of {patients} patient(s)" + (f"; refused: {counts_text}" if counts_text else "")
        ]
        lines += format_cohort_counts(manifest)
        empty_splits = [name for name in SPLITS if not (manifest.split == name).any()]
        if empty_splits:
            lines.append(f"note: split {', '.join(empty_splits)} is empty: {patients} patient(s) are too few")
        lines.append(format_next_command(self.writer.path, bool(cohort.structures)))
        print("\n".join(lines), file=sys.stderr)
