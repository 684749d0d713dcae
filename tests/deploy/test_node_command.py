"""`medprior node` as a process: killed at any time, it loses and doubles nothing, and names no patient."""

import argparse
import os
import random
import ssl
import subprocess
import time
from types import SimpleNamespace

import pytest

from medprior.cli import main
from medprior.deploy.node.destinations import load_authorities
from medprior.deploy.node.settings import NodeSettings
from medprior.deploy.node_command import (
    SENT_KINDS,
    build_server_tls,
    configure,
    print_node_address,
    read_settings,
    warn_of_plain_connections,
)
from medprior.errors import ConfigError, InputMissing
from tests.deploy.node.running import CANARY, NodeProcess, count_objects, wait_until, write_radiographs
from tests.orthanc import OrthancServer, store_files


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--send-to", "PACS"], "AET@host:port"),
        (["--send-to", "https://host/dicom-web"], "--known"),
        (["--send-to", "PACS@host:104", "--objects", "segg"], "seg"),
        (["--send-to", "PACS@host:104", "--objects", "nrrd"], "nrrd"),
        (["--send-to", "PACS@host:104", "--aet", "SEVENTEEN_LETTERS"], "AE title"),
        (["--send-to", "PACS@host:104", "--tls-cert", "cert.pem"], "--tls-key"),
        (["--send-to", "PACS@host:104", "--tls-cert", "none.pem", "--tls-key", "none.pem"], "cannot be read"),
    ],
)
def test_wrong_options_are_one_line_and_status_2(options, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["node", *options]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error
    assert "\n" not in error


def parse(*options):
    parser = argparse.ArgumentParser()
    configure(parser)
    return parser.parse_args(["--send-to", "PACS@host:104", *options])


def test_without_options_the_settings_are_the_defaults_and_the_archive_may_call():
    settings, destination = read_settings(parse())
    assert settings == NodeSettings.from_values({"known": ["PACS"]})
    assert (destination.aet, destination.calling, destination.tls) == ("PACS", "MEDPRIOR", None)
    assert SENT_KINDS == ("seg", "sr", "sc", "gsps", "labelmap")


def test_every_option_reaches_its_setting():
    settings, destination = read_settings(
        parse(
            "--aet", "NODE", "--host", "0.0.0.0", "--port", "1104", "--http-port", "1105", "--known", "A", "--known",
            "B", "--objects", "sr,gsps", "--workers", "3", "--max-mb", "7", "--associations", "5",
            "--refuse-unfamiliar",
        )
    )  # fmt: skip
    expected = {
        "aet": "NODE", "host": "0.0.0.0", "port": 1104, "http_port": 1105, "known": ["A", "B"], "workers": 3,
        "objects": ["sr", "gsps"], "max_mb": 7, "max_associations": 5, "refuse_unfamiliar": True,
    }  # fmt: skip
    assert settings == NodeSettings.from_values(expected)
    assert destination.calling == "NODE"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    command += ["-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return files


def test_tls_needs_both_files_and_asks_callers_for_a_certificate_only_with_authorities(certificate):
    cert, key = certificate
    assert build_server_tls(None, None, None) is None
    assert build_server_tls(cert, key, None).verify_mode is ssl.CERT_NONE
    assert build_server_tls(cert, key, cert).verify_mode is ssl.CERT_REQUIRED
    for files in ((cert, None, None), (None, key, None), (None, None, cert), (cert, None, cert)):
        with pytest.raises(ConfigError, match="TLS needs a certificate and its key"):
            build_server_tls(*files)
    with pytest.raises(InputMissing, match="cannot be read"):
        build_server_tls(cert, key, key.with_name("none"))


def test_authorities_of_the_archive_are_read(certificate):
    context = load_authorities(certificate[0], "--send-tls-ca")
    assert context.verify_mode is ssl.CERT_REQUIRED
    with pytest.raises(InputMissing, match="--send-tls-ca"):
        load_authorities(certificate[0].with_name("none"), "--send-tls-ca")
    destination = read_settings(parse("--send-tls-ca", str(certificate[0])))[1]
    assert isinstance(destination.tls, ssl.SSLContext)


def test_the_address_is_printed_with_the_ports_that_were_taken(capsys):
    settings = NodeSettings.from_values({"host": "127.0.0.2", "port": 0, "http_port": 0})
    print_node_address(SimpleNamespace(port=1104, http_port=1105), settings)
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "medprior node: MEDPRIOR@127.0.0.2:1104, objects seg,sr"
    assert second == "metrics: http://127.0.0.2:1105/metrics"
    assert "not for diagnosis" in third


@pytest.mark.parametrize(
    ("host", "has_tls", "is_told"),
    [("127.0.0.1", False, False), ("127.0.0.1", True, False), ("0.0.0.0", False, True), ("0.0.0.0", True, False)],
)
def test_an_open_address_without_tls_is_told(capsys, host, has_tls, is_told):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if has_tls else None
    warn_of_plain_connections(NodeSettings.from_values({"host": host}), tls)
    assert ("callers send patient data unencrypted" in capsys.readouterr().err) is is_told


def test_kills_and_an_archive_that_is_down_lose_and_double_nothing(tmp_path):
    """Two kills, fewer than the attempts that a radiograph has: on a slow machine each may meet the same one."""
    count, batch = 12, 6
    assert count // batch < NodeSettings().attempts
    paths = write_radiographs(tmp_path / "in", count)
    with OrthancServer(tmp_path / "archive") as archive:
        send_to = f"{archive.aet}@127.0.0.1:{archive.port}"
        dice = random.Random(1)
        metrics = ""
        for start in range(0, count, batch):
            node = NodeProcess(tmp_path, send_to)
            store_files(paths[start : start + batch], node.port, "MEDPRIOR")
            metrics += node.read_metrics()
            time.sleep(dice.uniform(0, 1.5))
            if start == batch:
                archive.stop(kill=True)
                time.sleep(1)
            node.kill()
            if start == batch:
                archive.start()
        node = NodeProcess(tmp_path, send_to)
        wait_until(lambda: count_objects(archive) == {"SEG": count, "SR": count, "PR": 0, "OT": 0})
        wait_until(lambda: 'queue{folder="outgoing"} 0.0' in node.read_metrics())
        metrics += node.read_metrics()
        names = [str(path) for path in node.folder.rglob("*")]
        assert node.end() == 0
    said = node.log.read_text() + metrics + " ".join(names)
    assert "received" in said
    for secret in (CANARY, "19370519", *(os.fsdecode(path.name) for path in paths)):
        assert secret not in said
