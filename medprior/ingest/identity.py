"""Derives pseudonyms from identifiers by HMAC-SHA-256 under a secret key."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path

from medprior.errors import ConfigError, InputMissing

KEY_VARIABLE = "MEDPRIOR_IDENTITY_KEY"
MIN_KEY_BYTES = 32
UID_PATTERN = re.compile(r"[0-9]+(\.[0-9]+)+")


class Pseudonymizer:
    """Turns identifiers into hex pseudonyms of 80 bits.

    Args:
        key: secret bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"Pseudonymizer(key_id={self.key_id!r})"

    @property
    def key_id(self) -> str:
        """A short name of the key that does not reveal it."""
        return self.pseudonym("key id", "")[:8]

    def pseudonym(self, kind: str, name: str) -> str:
        """The pseudonym of `name` among names of this `kind`: 20 hex digits."""
        message = f"{kind}\0".encode() + name.encode("utf-8", "surrogateescape")
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()[:20]

    def key_digest(self, digest: str) -> str:
        """The keyed form of a picture's digest: 64 hex digits that nobody without the key can compute."""
        return hmac.new(self._key, b"pixels\0" + digest.encode(), hashlib.sha256).hexdigest()


def create_public_pseudonymizer(dataset: str) -> Pseudonymizer:
    """Pseudonyms that are the same for everybody, for data sets whose ids are published."""
    return Pseudonymizer(f"medprior public data set {dataset}".encode())


def load_private_pseudonymizer(path: Path | None, cohort: Path, source: Path | None = None) -> Pseudonymizer:
    """Pseudonyms under the key in `path`, `MEDPRIOR_IDENTITY_KEY` or the user's configuration.

    The key file is created on first use, readable by its owner only.

    Args:
        path: the key file, or None.
        cohort: the cohort folder.
        source: the input, where it is local.

    Raises:
        ConfigError: the key is too short, open to others, or beside the data.
        InputMissing: the key cannot be read or created.
    """
    path = (path or default_key_path()).absolute()
    data_folders = [cohort.absolute(), cohort.absolute().with_name(cohort.name + ".private")]
    data_folders += [source.absolute()] if source is not None else []
    # Links lead into the data as well as plain paths do.
    data_folders += [folder.resolve() for folder in data_folders]
    if any(place.is_relative_to(folder) for place in (path, path.resolve()) for folder in data_folders):
        raise ConfigError(
            "the identity key must not lie beside the data",
            where="--key",
            fix="name a file elsewhere, for instance in your home folder",
        )
    try:
        if not path.exists():
            create_key_file(path)
        mode = path.stat().st_mode
        key = path.read_bytes().strip()
    except OSError as error:
        raise InputMissing(f"the identity key cannot be read or created ({error.strerror})", where="--key") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError("the identity key is open to other users", where="--key", fix="chmod 600 the file")
    if len(key) < MIN_KEY_BYTES:
        raise ConfigError("the identity key is too short", where="--key", expected=f"{MIN_KEY_BYTES} bytes or more")
    return Pseudonymizer(key)


def load_existing_pseudonymizer() -> Pseudonymizer | None:
    """Pseudonyms under the key that is used without `--key`; None where there is no readable one."""
    try:
        return Pseudonymizer(default_key_path().read_bytes().strip())
    except OSError:
        return None


def default_key_path() -> Path:
    """The key file that is used without `--key`."""
    key_path = os.environ.get(KEY_VARIABLE)
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(key_path) if key_path else Path(config) / "medprior" / "identity.key"


def create_key_file(path: Path) -> None:
    """Write a new random key, readable by its owner only, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(MIN_KEY_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        # The link fails where another process was first; then the key of that process is used.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def is_valid_uid(text: str) -> bool:
    """Whether `text` has the form of a DICOM UID."""
    return len(text) <= 64 and UID_PATTERN.fullmatch(text) is not None
