"""Corrects a cohort whose tables or descriptor changed: metadata in place, images with other ids replaced."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from medprior.cohort import CohortWriter
from medprior.cohort.correcting import check_corrected_splits, correct_images, is_metadata_current
from medprior.cohort.journal import encode_json_line
from medprior.cohort.kept_splits import PatientSplitRule
from medprior.cohort.records import ImageRecords, correct_record
from medprior.ingest.metadata import HeaderFacts, MetadataJoiner
from medprior.ingest.plan import ImageSource
from medprior.ingest.source_journal import SourceJournal


class Correction:
    """Compares the images of one input with its tables and descriptor as they are now.

    Args:
        writer: of the cohort.
        outcomes: of all files so far.
        joiner: of header, tables and file names.
        sources: the input's images.
    """

    def __init__(
        self, writer: CohortWriter, outcomes: SourceJournal, joiner: MetadataJoiner, sources: Sequence[ImageSource]
    ) -> None:
        self.writer, self.outcomes, self.joiner, self.sources = writer, outcomes, joiner, sources

    def is_needed(self, digest: str) -> bool:
        """Whether images may have metadata of other tables or another descriptor, or are superseded.

        Args:
            digest: of tables, descriptor and files; see `digest_metadata_rules`.
        """
        if not len(self.writer):
            return False
        is_current = is_metadata_current(self.writer, self.joiner.descriptor.name, digest)
        return not is_current or bool(self.list_removed_images())

    def check_splits(self, rule: PatientSplitRule, resplit: bool) -> None:
        """Raise MedpriorError where a correction would move images between splits; see `correct_images`."""
        check_corrected_splits(self.writer, self.list_corrections(), (), rule, resplit)

    def apply(self, rule: PatientSplitRule, resplit: bool) -> None:
        """Correct metadata and remove superseded images; see `correct_images`."""
        correct_images(self.writer, self.list_corrections(), self.list_removed_images(), rule, resplit)

    def list_removed_images(self) -> set[str]:
        """Ids of images whose files have another id, or are refused, by the descriptor as it is now."""
        return {image_id for image_id in self.outcomes.list_superseded_images() if image_id in self.writer}

    def list_corrections(self) -> ImageRecords:
        """Corrected records of the input's images, in the order of the files; the first file of an image decides."""
        corrections, seen = ImageRecords(), set[str]()
        for source in self.sources:
            outcome = self.outcomes.find_outcome(source.path) or {}
            image_id = str(outcome.get("image_id", ""))
            if "header" not in outcome or image_id in seen or image_id not in self.writer:
                continue
            seen.add(image_id)
            record = self.writer.records[image_id]
            if record["dataset"] != self.joiner.descriptor.name:
                continue
            patient_id, labels, metadata = self.joiner.join(image_id, source, HeaderFacts(**outcome["header"]))
            corrected = correct_record(record, patient_id, labels, metadata)
            if corrected != record:
                corrections.add(corrected, encode_json_line(corrected))
        return corrections

    def report(self) -> None:
        """Print what the last correction changed to stderr, if anything."""
        counts = self.writer.corrections.count_corrections()
        if not counts:
            return
        labels = counts.pop("labels", {})
        parts = [f"{name.replace('_', ' ')} {count}" for name, count in counts.items()]
        parts += [f"label {name} {count}" for name, count in labels.items()]
        print(f"note: corrected: {', '.join(parts)}", file=sys.stderr)
