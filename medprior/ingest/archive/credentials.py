"""Finds the credentials for an archive, in a private file or in the environment."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

import yaml
from pydantic import SecretStr

from medprior.errors import ConfigError, InputMissing
from medprior.settings import Settings

FILE_VARIABLE = "MEDPRIOR_ARCHIVE_CREDENTIALS"
VARIABLES = {
    "user": "MEDPRIOR_ARCHIVE_USER",
    "password": "MEDPRIOR_ARCHIVE_PASSWORD",
    "token": "MEDPRIOR_ARCHIVE_TOKEN",
}
LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}
CA_VARIABLE = "REQUESTS_CA_BUNDLE"


class ArchiveCredentials(Settings):
    """What an archive asks for; all of it is optional.

    Attributes:
        user: for HTTP basic authentication.
        password: of `user`.
        token: bearer token, instead of user and password.
        certificate: file with this program's TLS certificate, in PEM form.
        private_key: file with its key; empty where `certificate` holds it.
    """

    user: str = ""
    password: SecretStr = SecretStr("")
    token: SecretStr = SecretStr("")
    certificate: str = ""
    private_key: str = ""

    @property
    def certificate_files(self) -> tuple[str, str] | str | None:
        """The TLS certificate as `requests` takes it."""
        if self.certificate and self.private_key:
            return self.certificate, self.private_key
        return self.certificate or None


def load_archive_credentials() -> ArchiveCredentials:
    """Credentials from the file that `MEDPRIOR_ARCHIVE_CREDENTIALS` names, else from the environment.

    Raises:
        ConfigError: the file is open to other users, or does not fit the schema; no message quotes a value.
        InputMissing: there is no such file.
    """
    name = os.environ.get(FILE_VARIABLE)
    if not name:
        return ArchiveCredentials.model_validate(
            {field: os.environ[variable] for field, variable in VARIABLES.items() if os.environ.get(variable)}
        )
    path = Path(name)
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8 text"
        raise InputMissing(f"the credentials cannot be read ({reason})", where=FILE_VARIABLE) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError("the file is open to other users", where=FILE_VARIABLE, fix="chmod 600 the file")
    try:
        # All values are texts to this loader: a password may look like a number.
        values = yaml.BaseLoader(text).get_single_data()
    except yaml.YAMLError:
        values = None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ConfigError("not a mapping of names to values", where=FILE_VARIABLE, expected="user: NAME, password: ...")
    return ArchiveCredentials.from_values(values, FILE_VARIABLE)


def create_tls_context(credentials: ArchiveCredentials) -> ssl.SSLContext:
    """A TLS context that verifies the archive by the system's authorities or those in `REQUESTS_CA_BUNDLE`.

    Raises:
        ConfigError: a certificate cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=os.environ.get(CA_VARIABLE) or None)
        if credentials.certificate:
            context.load_cert_chain(credentials.certificate, credentials.private_key or None)
    except OSError:
        raise ConfigError("a certificate cannot be read", where=f"{CA_VARIABLE}, {FILE_VARIABLE}") from None
    return context
