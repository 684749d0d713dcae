"""Lists object stores and other remote folders and fetches their files through fsspec."""

from __future__ import annotations

import errno
import importlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from medprior.dicom import Policy
from medprior.dicom.file_opening import check_file_size
from medprior.errors import ConfigError, InputMissing, MedpriorError, Rejected
from medprior.ingest.source_journal import FileStamp

URL_PATTERN = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.\-]*(://|::)")
URL_SECRET_PATTERN = re.compile(r"://[^/@]*:[^/@]*@")
BLOCK_BYTES = 2**22
BACKEND_PACKAGES = {"s3": "medprior[s3]", "s3a": "medprior[s3]", "gs": "gcsfs", "gcs": "gcsfs"}
VERSION_FIELDS = ("ETag", "etag", "md5Hash", "generation", "mtime", "LastModified", "updated", "created")
DISK_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
CREDENTIAL_ERRORS = {"NoCredentialsError", "DefaultCredentialsError", "PartialCredentialsError"}


class ObjectChanged(Exception):
    """An object changed after it was listed."""


class FileStore(Protocol):
    """A remote source of files: `RemoteStore`, or an archive; see `medprior.ingest.archive.store`."""

    scheme: str

    def entries(self) -> dict[str, FileStamp]:
        """Path below the root -> stamp that changes with the file."""
        ...

    def url(self, relative: str) -> str:
        """The full URL of a file, for the private list of sources."""
        ...

    def fetch(self, url: str, target: Path, policy: Policy) -> None:
        """Copy one file into `target`, which is created with mode 0600."""
        ...

    def close(self) -> None:
        """Close connections; a later use opens new ones."""
        ...


class RemoteStore:
    """One folder, or one file, of a remote store. The backend finds its own credentials.

    Messages contain only the scheme of a URL, since bucket and key names may name people.

    Args:
        url: any URL that fsspec supports.

    Raises:
        ConfigError: the URL contains a password, its scheme is unknown, or its backend is not
            installed.
        MedpriorError: the store cannot be used.
    """

    def __init__(self, url: str) -> None:
        self.scheme = url.split(":", 1)[0].lower()
        if URL_SECRET_PATTERN.search(url):
            raise ConfigError(
                "a URL must not contain credentials",
                where=f"{self.scheme}://",
                fix="configure them as the store's own client expects: environment or configuration",
            )
        with translate_store_errors(self.scheme):
            core: Any = importlib.import_module("fsspec.core")
            # A cached connection would ignore new credentials and a new address.
            self._filesystem, root = core.url_to_fs(url, skip_instance_cache=True)
            self.root = str(root).rstrip("/")
        self._last_readable: str | None = None

    def entries(self) -> dict[str, FileStamp]:
        """Path below the root -> stamp of every file (size and a version that changes with the content).

        Raises:
            InputMissing: the folder is empty.
            MedpriorError: the store cannot be used.
        """
        with translate_store_errors(self.scheme):
            self._filesystem.invalidate_cache()
            entries = self._filesystem.find(self.root, detail=True)
            files = {str(p): i for p, i in entries.items() if i.get("type", "file") == "file"}
        if self.root in files:
            name = self.root.rsplit("/", 1)[-1]
            info, self.root = files[self.root], self.root[: -len(name)].rstrip("/")
            return {name: get_size_and_version(info)}
        head = self.root + "/" if self.root else ""
        inside = {path.removeprefix(head): info for path, info in files.items()}
        # Object stores mark folders with empty objects whose names end with a slash.
        result = {path: get_size_and_version(info) for path, info in inside.items() if not path.endswith("/")}
        if not result:
            raise InputMissing("no files found", where=f"{self.scheme}://", fix="check bucket and prefix")
        return result

    def url(self, relative: str) -> str:
        """The full URL of a file, for the private list of sources."""
        return str(self._filesystem.unstrip_protocol(f"{self.root}/{relative}" if self.root else relative))

    def fetch(self, url: str, target: Path, policy: Policy) -> None:
        """Copy one file into `target`, which is created with mode 0600.

        Raises:
            Rejected: `unreadable`, gone or forbidden; `too_large`; `empty`.
            MedpriorError: the store is no longer usable.
            OSError: the local disk is full.
        """
        path = self._filesystem._strip_protocol(url)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            for may_retry in (True, False):
                try:
                    self._copy(path, file, policy)
                    break
                except ObjectChanged:
                    if not may_retry:
                        raise Rejected("unreadable", "the object keeps changing") from None
                    self._filesystem.invalidate_cache()
                    file.seek(0)
                    file.truncate()
                except FileNotFoundError:
                    raise Rejected("unreadable", "the object is gone") from None
                except PermissionError:
                    if self._has_store_access():
                        raise Rejected("unreadable", "access to the object is forbidden") from None
                    raise build_access_error(self.scheme) from None
        self._last_readable = path

    def close(self) -> None:
        """Do nothing: the backend closes its connections."""

    def _copy(self, path: str, file: Any, policy: Policy) -> None:
        byte_count = 0
        with translate_store_errors(self.scheme, (Rejected, ObjectChanged, FileNotFoundError, PermissionError)):
            with self._filesystem.open(path, "rb", block_size=BLOCK_BYTES) as stream:
                while block := stream.read(BLOCK_BYTES):
                    byte_count += len(block)
                    check_file_size(byte_count, policy)
                    file.write(block)
            check_file_size(byte_count, policy)

    def _has_store_access(self) -> bool:
        """Whether the last readable file still is; if not, the credentials have expired."""
        if self._last_readable is None:
            return False
        try:
            with self._filesystem.open(self._last_readable, "rb", block_size=BLOCK_BYTES) as stream:
                return bool(stream.read(1))
        except Exception:
            return False


def open_store(url: str) -> FileStore:
    """The archive or the remote folder that a URL names.

    Raises:
        ConfigError: the URL cannot be used.
    """
    from medprior.ingest.archive.address import is_archive_url

    if not is_archive_url(url):
        return RemoteStore(url)
    from medprior.ingest.archive.store import ArchiveStore

    return ArchiveStore(url)


def is_url(source: object) -> bool:
    """Whether `source` is a URL for fsspec."""
    return isinstance(source, str) and URL_PATTERN.match(source) is not None


def get_size_and_version(info: dict[str, Any]) -> FileStamp:
    """Size, and the first version field that the store reports."""
    version = next((str(info[name]) for name in VERSION_FIELDS if info.get(name) is not None), "")
    return [int(info.get("size") or 0), version]


def build_access_error(scheme: str) -> MedpriorError:
    """The error for refused access to the store."""
    return MedpriorError(
        "the store refuses access",
        where=f"{scheme}://",
        fix="check bucket, credentials and their rights; images read so far are kept",
    )


@contextmanager
def translate_store_errors(scheme: str, unchanged: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Replace a store's errors, which quote names and keys; those in `unchanged` pass through."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (MedpriorError, *unchanged)):
            raise
        if ObjectChanged in unchanged and type(error).__name__ == "FileExpired":
            raise ObjectChanged from None
        if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS:
            raise
        raise build_remote_error(error, scheme) from None


def build_remote_error(error: Exception, scheme: str) -> MedpriorError:
    """The error for a store that cannot be used, derived from the kind of error alone."""
    where, kind = f"{scheme}://", type(error).__name__
    if isinstance(error, ImportError):
        extra = BACKEND_PACKAGES.get(scheme)
        fix = f"pip install '{extra}'" if extra else "install the fsspec backend of this scheme"
        return ConfigError("this kind of store is not installed", where=where, fix=fix)
    if isinstance(error, FileNotFoundError):
        return InputMissing("no such bucket or folder", where=where, fix="check bucket and prefix")
    if isinstance(error, PermissionError):
        return build_access_error(scheme)
    if kind in CREDENTIAL_ERRORS:
        return ConfigError(
            "the store found no credentials",
            where=where,
            fix="set them as its own client expects, for instance AWS_PROFILE or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if isinstance(error, ValueError):
        return ConfigError("not a URL of a known kind of store", where=where, expected="s3://, gs://, https:// ...")
    return MedpriorError(
        f"the store does not answer ({kind})",
        where=where,
        fix="check address and network and run the same command again; images read so far are kept",
    )
