"""A folder of files becomes a cohort: plan, decode under limits, write, publish."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
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
from medprior.ingest.descriptor import DatasetDescriptor, load_descriptor
from medprior.ingest.dispatch import decode_sources
from medprior.ingest.identity import (
    Pseudonymizer,
    create_public_pseudonyms,
    is_valid_uid,
    load_private_pseudonyms,
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
    """Read every image of a folder into a cohort; a file that is refused never ends the run.

    Run again, it goes on where it was; run with another folder, it adds to the cohort.

    Args:
        source: folder or file, or the URL of one (`s3://bucket/prefix`; see `origin`).
        cohort: cohort folder to make or extend.
        dataset: name of, or path to, a data set descriptor; None for any folder.
        settings: the defaults if None.
        key: identity key file; see `medprior.ingest.identity`.

    Raises:
        MedpriorError: nothing usable in the folder, another run writes the cohort, or store or
            cluster cannot be used.
    """
    settings = settings or IngestSettings()
    described = load_descriptor(dataset)
    if described.policy:
        accepted = settings.policy.model_dump() | described.policy
        settings = settings.model_copy(update={"policy": Policy.checked(accepted, f"policy of {described.name}")})
    origin = open_input(source)
    found = sample_sources(origin.sources(described, (cohort, private_folder(cohort))), settings.limit, settings.seed)
    public = described.identity == "public"
    names = create_public_pseudonyms(described.name) if public else load_private_pseudonyms(key, cohort)
    with CohortWriter(cohort, settings.store_size) as writer:
        run = IngestRun(writer, SourceJournal(cohort), described, names, origin.tables(described))
        try:
            run.check_key()
            run.decode(found, origin, settings)
            run.publish(settings, origin.boxes(described))
        except OSError as error:
            if error.errno not in DISK_FULL_ERRNOS:
                raise
            raise MedpriorError(
                f"the disk is full ({error.strerror}); what was read so far is kept",
                where=cohort.name,
                fix="make room and run the same command again",
            ) from None
        finally:
            with suppress(OSError):
                run.outcomes.close()
    return Cohort.open(cohort)


class IngestRun:
    """One ingest run: where results go, and what they are called."""

    def __init__(
        self,
        writer: CohortWriter,
        outcomes: SourceJournal,
        described: DatasetDescriptor,
        names: Pseudonymizer,
        tables: Mapping[str, SourceMetadata],
    ) -> None:
        self.writer, self.outcomes, self.described = writer, outcomes, described
        self.names, self.tables = names, tables

    def check_key(self) -> None:
        """MedpriorError where the cohort was begun with another identity key."""
        path = self.writer.path / "keys.jsonl"
        journal = Journal(path)
        try:
            kept = {record["dataset"]: record["key_id"] for record in journal.records}
            begun = kept.get(self.described.name)
            if begun is None:
                journal.append({"dataset": self.described.name, "key_id": self.names.key_id})
            elif begun != self.names.key_id:
                raise MedpriorError(
                    "this cohort was begun with another identity key",
                    where="--key",
                    fix="use the key it was begun with, or another cohort folder",
                )
        finally:
            journal.close()

    def decode(self, found: list[ImageSource], origin: LocalFolder | RemoteFolder, settings: IngestSettings) -> None:
        """Read all sources that were not dealt with before."""
        name, stamps = self.described.name, [origin.stamp(source) for source in found]
        todo = [
            (source, stamp)
            for source, stamp in zip(found, stamps, strict=True)
            if not self.outcomes.is_done(source.path, stamp, name, self.writer)
        ]
        if not todo:
            return
        begun = len(found) - len(todo)
        bar = progress_bar(total=len(found), initial=begun, desc="ingest", unit="file")
        refused = 0
        files = [source for source, _ in todo]
        with bar, decode_sources(files, origin, settings, self.outcomes.folder) as answers:
            for (source, stamp), answer in zip(todo, answers, strict=True):
                refused += not self.keep(source, stamp, answer)
                bar.set_postfix(refused=refused, refresh=False)
                bar.update()

    def keep(self, source: ImageSource, stamp: FileStamp, answer: DecodedImage | RejectedFile) -> bool:
        """Write one answer: to the cohort first, then to the private journal."""
        item = self.names.of("item", source.relative)
        image_id, code, message = "", "", ""
        if isinstance(answer, RejectedFile):
            code, message = answer.code, answer.message
        else:
            image_id = self.image_id(source, answer)
            known = image_id in self.writer
            if known and self.writer.get_pixel_sha256(image_id) != answer.facts.pixel_sha256:
                code, message = "conflict", "the instance was seen before with another picture"
                image_id = ""
            elif not known:
                self.add(image_id, source, answer)
        said = {"item": item, "image_id": image_id, "code": code, "message": message}
        self.outcomes.keep(source.path, stamp, self.described.name, **said)
        return not code

    def image_id(self, source: ImageSource, item: DecodedImage) -> str:
        """A data set's own id, else the instance's, else the picture's; always hidden."""
        if self.described.images[0].match != r"^(?P<id>.*)$":
            return self.names.of("image", f"{self.described.name}\0{source.key}")
        if is_valid_uid(item.identity.sop):
            return self.names.of("instance", item.identity.sop)
        return self.names.of("picture", item.facts.pixel_sha256)

    def add(self, image_id: str, source: ImageSource, item: DecodedImage) -> None:
        """Write one image with all that header, tables and file name say of it."""
        named = parse_file_name(source.relative, self.described)
        table = self.tables.get(source.key, SourceMetadata())
        study = self.tables.get(STUDY_KEY_PREFIX + named.known.get("study_id", ""), SourceMetadata())
        known, facts = named.known | study.known | table.known, item.facts
        patient_id, study_id = self.people(image_id, item, known)
        view = facts.view if facts.view != "UNKNOWN" else parse_table_view(known.get("view"))
        age = facts.age if facts.age is not None else parse_table_age(known.get("age"))
        self.writer.add(
            image_id=image_id,
            pixels=item.stored,
            patient_id=patient_id,
            labels=named.labels | study.labels | table.labels,
            masks=item.masks,
            valid=item.valid,
            source_size=item.size,
            study_id=study_id,
            dataset=self.described.name,
            view=view or self.described.view or "UNKNOWN",
            sex=facts.sex or parse_table_sex(known.get("sex")),
            age=age,
            spacing_mm=math.sqrt(math.prod(facts.spacing_mm)) if facts.spacing_mm else None,
            spacing_kind=facts.spacing_kind,
            polarity_inverted=facts.polarity_inverted,
            flags=facts.flags,
            pixel_sha256=facts.pixel_sha256,
            official=known.get("split"),
        )

    def people(self, image_id: str, item: DecodedImage, known: Mapping[str, str]) -> tuple[str, str]:
        """Pseudonyms of patient and study; a patient without id is a new one for every study."""
        identity = item.identity
        said = known.get("study_id") or (identity.study if is_valid_uid(identity.study) else "")
        study = self.names.of("study", said or image_id)
        if known.get("patient_id"):
            return self.names.of("patient", f"{self.described.name}\0{known['patient_id']}"), study
        if identity.patient:
            return self.names.of("patient", identity.patient), study
        return self.names.of("patient of study", study), study

    def publish(self, settings: IngestSettings, boxes: Sequence[FindingBox] = ()) -> None:
        """Write everything that a cohort consists of; the manifest and `config.json` come last."""
        self.outcomes.write_sources()
        refused = sorted(
            (str(record["item"]), str(record["code"]), str(record["message"]))
            for record in self.outcomes.records()
            if record["code"]
        )
        codes = Counter(code for _, code, _ in refused)
        if not len(self.writer):
            said = ", ".join(f"{code} {count}" for code, count in codes.most_common())
            raise MedpriorError(
                f"no usable radiograph among {len(self.outcomes)} file(s) ({said})",
                where="INPUT",
                fix=f"see {self.outcomes.folder.name}/sources.csv and the ingest room's README",
            )
        manifest = self.writer.manifest()
        write_contact_sheet(self.writer.path / "contact_sheet.png", manifest, self.writer.pixels, self.writer.masks)
        counts = write_finding_boxes(self.writer.path, boxes, self.described.name, self.names, manifest)
        self.writer.finish(
            fractions=settings.fractions,
            seed=settings.seed,
            quarantine=refused,
            summary=summarize_cohort(manifest, self.outcomes.records()) | counts,
            settings=settings.lasting() | {"dataset": self.described.name},
        )
        self.tell(manifest.patient_id.nunique(), len(manifest), codes)

    def tell(self, patients: int, images: int, codes: Mapping[str, int]) -> None:
        """Say on stderr what came out, and where a split is empty."""
        said = ", ".join(f"{code} {count}" for code, count in sorted(codes.items()))
        lines = [f"{images} image(s) of {patients} patient(s)" + (f"; refused: {said}" if said else "")]
        cohort = Cohort.open(self.writer.path)
        empty = [name for name in SPLITS if not (cohort.manifest.split == name).any()]
        if empty:
            lines.append(f"note: split {', '.join(empty)} is empty: {patients} patient(s) are too few")
        print("\n".join(lines), file=sys.stderr)
