"""Where the files of an ingest come from: a local folder, or a remote one in the same words."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from medprior.dicom import Policy
from medprior.errors import ConfigError, InputMissing, Rejected
from medprior.ingest.boxes import FindingBox, read_finding_boxes
from medprior.ingest.descriptor import DatasetDescriptor
from medprior.ingest.plan import ImageSource, list_sources, match_sources
from medprior.ingest.remote import RemoteStore, is_url
from medprior.ingest.source_journal import FileStamp, file_stamp
from medprior.ingest.tables import SourceMetadata, read_tables


class LocalFolder:
    """A local folder, or one local file.

    Attributes:
        remote: None: its files are read where they are.
        place: its absolute path.
    """

    remote = None

    def __init__(self, path: Path) -> None:
        self._path, self.place = path, str(path.absolute())

    def sources(self, described: DatasetDescriptor, without: tuple[Path, ...]) -> list[ImageSource]:
        """All images of the data set; see `plan.sources`."""
        return list_sources(self._path, described, without)

    def tables(self, described: DatasetDescriptor) -> dict[str, SourceMetadata]:
        """What the data set's tables say; see `tables.read_tables`."""
        return read_tables(self._path if self._path.is_dir() else self._path.parent, described)

    def boxes(self, described: DatasetDescriptor) -> list[FindingBox]:
        """The data set's boxes of findings; see `boxes.read_boxes`."""
        return read_finding_boxes(self._path if self._path.is_dir() else self._path.parent, described)

    def stamp(self, source: ImageSource) -> FileStamp:
        """What changes when the file does."""
        return file_stamp(source.path)


class RemoteFolder:
    """A remote folder, or one remote file.

    Attributes:
        remote: fetches its files.
        place: its URL.
    """

    def __init__(self, url: str) -> None:
        self.remote, self.place = RemoteStore(url), url
        self._entries: dict[str, FileStamp] = {}

    def sources(self, described: DatasetDescriptor, without: tuple[Path, ...]) -> list[ImageSource]:
        """All images of the data set; masks come from the same store."""
        self._entries = self.remote.entries()
        return match_sources(sorted(self._entries), self.remote.url, described)

    def tables(self, described: DatasetDescriptor) -> dict[str, SourceMetadata]:
        """What the data set's tables say; they are copied into a folder of ours and read there."""
        wanted = [name for table in described.tables for name in table.files]
        wanted += [name for rule in described.splits for name in rule.files]
        with tempfile.TemporaryDirectory(prefix="medprior-") as folder:
            self._copy_tables(wanted, Path(folder))
            return read_tables(Path(folder), described)

    def boxes(self, described: DatasetDescriptor) -> list[FindingBox]:
        """The data set's boxes of findings; see `boxes.read_boxes`."""
        with tempfile.TemporaryDirectory(prefix="medprior-") as folder:
            self._copy_tables([name for rule in described.boxes for name in rule.files], Path(folder))
            return read_finding_boxes(Path(folder), described)

    def _copy_tables(self, wanted: list[str], folder: Path) -> None:
        for name in dict.fromkeys(wanted):
            if name in self._entries and ".." not in Path(name).parts:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                self._copy(name, target)

    def _copy(self, name: str, target: Path) -> None:
        try:
            self.remote.fetch(self.remote.url(name), target, Policy())
        except Rejected as error:
            raise InputMissing("a table of the data set cannot be read", where=name, found=error.code) from None

    def stamp(self, source: ImageSource) -> FileStamp:
        """What changes when the object does, as the listing said."""
        return self._entries[source.relative]


def open_input(source: Path | str) -> LocalFolder | RemoteFolder:
    """A local folder for a path or a `file://` URL, a remote one for any other URL.

    Raises:
        ConfigError: a URL that cannot be used.
    """
    if not is_url(source):
        return LocalFolder(Path(source))
    text = str(source)
    if not text.lower().startswith("file://"):
        return RemoteFolder(text)
    parts = urlsplit(text)
    if parts.netloc not in {"", "localhost"}:
        raise ConfigError("not on this machine", where="file://", fix="give file:///path")
    return LocalFolder(Path(unquote(parts.path)))


def fetch_source(source: ImageSource, remote: RemoteStore, folder: Path, number: int, policy: Policy) -> ImageSource:
    """The source with its files, masks included, fetched into `folder`.

    Names of ours are given to the files: what a store calls them never becomes a local path. A
    mask that cannot be had is left out by the reader, as a local one is.

    Raises:
        Rejected: the image itself cannot be had.
        MedpriorError: the store cannot be used any more.
    """
    here = folder / f"{number}.image"
    remote.fetch(source.path, here, policy)
    masks = []
    for index, mask in enumerate(source.masks):
        target = folder / f"{number}.{index}.mask"
        try:
            remote.fetch(mask.path, target, policy)
        except Rejected:
            target.unlink(missing_ok=True)
        masks.append(replace(mask, path=str(target)))
    return replace(source, path=str(here), masks=tuple(masks))


def remove_fetched_files(folder: Path, number: int) -> None:
    """Remove what was fetched for one source."""
    for path in folder.glob(f"{number}.*"):
        path.unlink(missing_ok=True)
