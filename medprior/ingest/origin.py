"""Opens the input of an ingest run, a local folder, a remote one or an archive, behind one interface."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from medprior.dicom import Policy
from medprior.errors import ConfigError, InputMissing, Rejected
from medprior.ingest.boxes import FindingBox, read_finding_boxes
from medprior.ingest.descriptor import DatasetDescriptor
from medprior.ingest.measurements import ImageMeasurement, read_measurements
from medprior.ingest.plan import FollowLinks, ImageSource, list_sources, match_sources
from medprior.ingest.remote import FileStore, is_url, open_store
from medprior.ingest.source_journal import FileStamp, get_size_and_mtime
from medprior.ingest.tables import SourceMetadata, TableJoins, read_tables


class LocalFolder:
    """A local folder, or one local file.

    Attributes:
        remote: None, since local files need no fetching.
        location: absolute path of the input.
    """

    remote = None

    def __init__(self, path: Path) -> None:
        self._path, self.location = path, str(path.absolute())

    @property
    def _folder(self) -> Path:
        """Where the tables are: the folder, or that of a single file."""
        return self._path if self._path.is_dir() else self._path.parent

    def sources(
        self, descriptor: DatasetDescriptor, skipped: tuple[Path, ...], follow_links: FollowLinks = "none"
    ) -> list[ImageSource]:
        """All images of the data set; see `plan.list_sources`."""
        return list_sources(self._path, descriptor, skipped, follow_links)

    def tables(self, descriptor: DatasetDescriptor, joins: TableJoins | None = None) -> dict[str, SourceMetadata]:
        """Metadata from the data set's tables; see `tables.read_tables`."""
        return read_tables(self._folder, descriptor, joins)

    def boxes(self, descriptor: DatasetDescriptor) -> list[FindingBox]:
        """The data set's boxes of findings; see `boxes.read_finding_boxes`."""
        return read_finding_boxes(self._folder, descriptor)

    def measurements(self, descriptor: DatasetDescriptor) -> list[ImageMeasurement]:
        """The data set's measurements of images; see `measurements.read_measurements`."""
        return read_measurements(self._folder, descriptor)

    def stamp(self, source: ImageSource) -> FileStamp:
        """A stamp that changes with the file."""
        return get_size_and_mtime(source.file_path)


class RemoteFolder:
    """A remote folder, one remote file, or an archive.

    Attributes:
        remote: store that fetches the files.
        location: URL of the input.
    """

    def __init__(self, url: str) -> None:
        self.remote, self.location = open_store(url), url
        self._entries: dict[str, FileStamp] = {}

    def sources(
        self, descriptor: DatasetDescriptor, skipped: tuple[Path, ...], follow_links: FollowLinks = "none"
    ) -> list[ImageSource]:
        """All images of the data set; masks come from the same store, which knows no links."""
        self._entries = self.remote.entries()
        return match_sources(sorted(self._entries), self.remote.url, descriptor)

    def tables(self, descriptor: DatasetDescriptor, joins: TableJoins | None = None) -> dict[str, SourceMetadata]:
        """Metadata from the data set's tables, fetched into a temporary folder."""
        names = [name for table in descriptor.tables for name in table.files]
        names += [name for rule in descriptor.splits for name in rule.files]
        with self._fetch_tables(names) as folder:
            return read_tables(folder, descriptor, joins)

    def boxes(self, descriptor: DatasetDescriptor) -> list[FindingBox]:
        """The data set's boxes of findings; see `boxes.read_finding_boxes`."""
        with self._fetch_tables([name for rule in descriptor.boxes for name in rule.files]) as folder:
            return read_finding_boxes(folder, descriptor)

    def measurements(self, descriptor: DatasetDescriptor) -> list[ImageMeasurement]:
        """The data set's measurements of images; see `measurements.read_measurements`."""
        with self._fetch_tables([name for rule in descriptor.measurements for name in rule.files]) as folder:
            return read_measurements(folder, descriptor)

    @contextmanager
    def _fetch_tables(self, names: list[str]) -> Iterator[Path]:
        """A temporary folder with those of the files that exist."""
        with tempfile.TemporaryDirectory(prefix="medprior-") as folder:
            for name in dict.fromkeys(names):
                if name in self._entries and ".." not in Path(name).parts:
                    target = Path(folder) / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self._copy(name, target)
            yield Path(folder)

    def _copy(self, name: str, target: Path) -> None:
        try:
            self.remote.fetch(self.remote.url(name), target, Policy())
        except Rejected as error:
            raise InputMissing("a table of the data set cannot be read", where=name, found=error.code) from None

    def stamp(self, source: ImageSource) -> FileStamp:
        """A stamp that changes with the object, from the listing."""
        return self._entries[source.relative]


def open_input(source: Path | str) -> LocalFolder | RemoteFolder:
    """A local folder for a path or a `file://` URL, a remote one for any other URL.

    Raises:
        ConfigError: the URL cannot be used.
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


def fetch_source(source: ImageSource, remote: FileStore, folder: Path, number: int, policy: Policy) -> ImageSource:
    """The source with its files, masks included, fetched into `folder`.

    Local names are numbers, so that object names never become local paths. A mask that cannot be
    fetched is skipped by the reader, as a missing local one is.

    Raises:
        Rejected: the image cannot be fetched.
        MedpriorError: the store is no longer usable.
    """
    image = folder / f"{number}.image"
    remote.fetch(source.path, image, policy)
    masks = []
    for index, mask in enumerate(source.masks):
        target = folder / f"{number}.{index}.mask"
        try:
            remote.fetch(mask.path, target, policy)
        except Rejected:
            target.unlink(missing_ok=True)
        masks.append(replace(mask, path=str(target)))
    return replace(source, path=str(image), masks=tuple(masks))


def remove_fetched_files(folder: Path, number: int) -> None:
    """Remove the fetched files of one source."""
    for path in folder.glob(f"{number}.*"):
        path.unlink(missing_ok=True)
