"""Records the outcome of every source in the cohort's private folder (mode 0700)."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from medprior.cohort.journal import Journal, encode_json_line
from medprior.errors import InputMissing
from medprior.provenance import atomic_write

SOURCE_COLUMNS = ("source", "image_id", "code")
FileStamp = list[int | str]


class SourceJournal:
    """Outcomes of all sources so far, appended one by one; a kill loses none.

    Args:
        cohort: the cohort folder; the private folder is `<cohort>.private`.
    """

    def __init__(self, cohort: Path) -> None:
        self.folder = private_folder(cohort)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)
            self._lines: dict[str, bytes] = {}
            self._superseded: set[str] = set()
            self._journal = Journal(self.folder / "journal.jsonl", 0o600, self._remember)
        except OSError as error:
            raise InputMissing(f"cannot be written ({error.strerror})", where=self.folder.name) from None
        for draft in self.folder.glob(".*"):
            draft.unlink()

    def _remember(self, record: dict[str, Any], line: bytes) -> None:
        earlier = self._lines.get(record["source"])
        if earlier is not None:
            previous = json.loads(earlier)
            is_same_file = record["stamp"] == previous["stamp"]
            is_same_file |= bool(record.get("pixels")) and record["pixels"] == previous.get("pixels")
            # Other pixels under the old name, and conflicts, leave the earlier image as it is.
            is_superseded = is_same_file and record["code"] != "conflict"
            if previous["image_id"] not in {"", record["image_id"]} and is_superseded:
                self._superseded.add(previous["image_id"])
        self._lines[record["source"]] = line

    def __len__(self) -> int:
        return len(self._lines)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def find_outcome(self, path: str) -> dict[str, Any] | None:
        """The last outcome of a file, None without one."""
        line = self._lines.get(path)
        return dict(json.loads(line)) if line is not None else None

    def list_superseded_images(self) -> set[str]:
        """Ids of images that no file stands for any more, since their files have other ids or are refused now."""
        if not self._superseded:
            return set()
        return self._superseded.difference(record["image_id"] for record in self.records())

    def is_done(
        self, path: str, stamp: FileStamp, dataset: str, image_ids: Container[object], decoding: str = ""
    ) -> bool:
        """Whether this unchanged file has an outcome in this data set; see `find_finished`."""
        return self.find_finished(path, stamp, dataset, image_ids, decoding) is not None

    def find_finished(
        self, path: str, stamp: FileStamp, dataset: str, image_ids: Container[object], decoding: str = ""
    ) -> dict[str, Any] | None:
        """The outcome of an unchanged file in a data set, None where it must be decoded.

        Args:
            path: the file, or its URL.
            stamp: changes with the file.
            dataset: the data set's name.
            image_ids: images of the cohort; images lost in a power cut are missing there.
            decoding: digest of the rules by which the file is decoded.
        """
        record = self.find_outcome(path)
        if record is None or (record["dataset"], record.get("decoding", "")) != (dataset, decoding):
            return None
        is_kept = not record["image_id"] or record["image_id"] in image_ids
        return record if is_kept and record["stamp"] == stamp else None

    def record_outcome(
        self,
        path: str,
        stamp: FileStamp,
        dataset: str,
        *,
        item: str,
        image_id: str,
        code: str,
        message: str,
        decoding: str = "",
        pixels: str = "",
        header: Mapping[str, Any] | None = None,
    ) -> None:
        """Record one outcome: an image id, or a reject code with its message.

        Args:
            path: the file, or its URL.
            stamp: changes with the file.
            dataset: the data set's name.
            item: pseudonym of the file.
            image_id: of an accepted file, else empty.
            code: of a rejected file, else empty.
            message: of a rejected file, else empty.
            decoding: digest of the rules by which the file was decoded.
            pixels: start of the digest of the decoded pixels, empty for a rejected file.
            header: what the file says about its image, free of raw identifiers.
        """
        record = {
            "source": path,
            "dataset": dataset,
            "stamp": stamp,
            "item": item,
            "image_id": image_id,
            "code": code,
            "message": message,
            "decoding": decoding,
            "pixels": pixels,
            **({"header": dict(header)} if header else {}),
        }
        line = encode_json_line(record)
        self._journal.append_line(line)
        self._remember(record, line)

    def records(self) -> Iterator[dict[str, Any]]:
        """The last outcome of every source, sorted by source."""
        return (json.loads(self._lines[path]) for path in sorted(self._lines))

    def write_sources(self) -> None:
        """Write `sources.csv` (source, image_id, code), mode 0600."""
        path = self.folder / "sources.csv"
        with atomic_write(path) as temporary:
            temporary.chmod(0o600)
            with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
                writer = csv.writer(file)
                writer.writerow(SOURCE_COLUMNS)
                writer.writerows([record[name] for name in SOURCE_COLUMNS] for record in self.records())
        path.chmod(0o600)


def private_folder(cohort: Path) -> Path:
    """The private folder beside a cohort."""
    cohort = cohort.absolute()
    return cohort.with_name(cohort.name + ".private")


def get_size_and_mtime(path: str) -> FileStamp:
    """Size in bytes and modification time in ns of a file; [-1, -1] where it is missing."""
    try:
        status = os.lstat(path)
    except OSError:
        return [-1, -1]
    return [status.st_size, status.st_mtime_ns]
