"""Credentials come from a private file or from the environment, and no message quotes them."""

import ssl

import pytest

from medprior.errors import ConfigError, InputMissing
from medprior.ingest.archive.credentials import create_tls_context, load_archive_credentials

SECRET = "hidden7"


@pytest.fixture
def private_file(tmp_path, monkeypatch):
    """A function that writes the credentials file and names it in the environment."""

    def write(text, mode=0o600):
        path = tmp_path / "credentials.yaml"
        path.write_text(text)
        path.chmod(mode)
        monkeypatch.setenv("MEDPRIOR_ARCHIVE_CREDENTIALS", str(path))
        return path

    return write


def test_without_any_there_are_none():
    credentials = load_archive_credentials()
    assert (credentials.user, credentials.token.get_secret_value(), credentials.certificate_files) == ("", "", None)


def test_the_environment_gives_them(monkeypatch):
    monkeypatch.setenv("MEDPRIOR_ARCHIVE_USER", "reader")
    monkeypatch.setenv("MEDPRIOR_ARCHIVE_PASSWORD", SECRET)
    credentials = load_archive_credentials()
    assert (credentials.user, credentials.password.get_secret_value()) == ("reader", SECRET)
    assert SECRET not in repr(credentials)


def test_a_private_file_gives_them_and_digits_stay_text(private_file):
    private_file("user: reader\npassword: 0123\ncertificate: c.pem\nprivate_key: k.pem\n")
    credentials = load_archive_credentials()
    assert credentials.password.get_secret_value() == "0123"
    assert credentials.certificate_files == ("c.pem", "k.pem")
    private_file('{"token": "hidden7", "certificate": "c.pem"}')
    credentials = load_archive_credentials()
    assert (credentials.token.get_secret_value(), credentials.certificate_files) == (SECRET, "c.pem")


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        (f"password: {SECRET}", 0o640, "open to other users"),
        (f"password: {SECRET}", 0o604, "open to other users"),
        (f"pasword: {SECRET}", 0o600, "unknown key 'pasword'"),
        (f"password: [{SECRET}]", 0o600, "not a mapping"),
        (f"password: '{SECRET}", 0o600, "not a mapping"),
        (SECRET, 0o600, "not a mapping"),
    ],
)
def test_an_unsafe_or_broken_file_is_refused(private_file, text, mode, words):
    private_file(text, mode)
    with pytest.raises(ConfigError, match=words) as raised:
        load_archive_credentials()
    assert SECRET not in str(raised.value)


def test_a_missing_file_is_an_error(private_file):
    private_file("").unlink()
    with pytest.raises(InputMissing, match="No such file"):
        load_archive_credentials()


def test_tls_always_verifies(monkeypatch, tmp_path):
    context = create_tls_context(load_archive_credentials())
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    with pytest.raises(ConfigError, match="a certificate cannot be read"):
        create_tls_context(load_archive_credentials())
