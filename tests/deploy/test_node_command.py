"""`medprior node` as a process: killed at any time, it loses and doubles nothing, and names no patient."""

import os
import random
import time

import pytest

from medprior.cli import main
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


def test_kills_and_an_archive_that_is_down_lose_and_double_nothing(tmp_path):
    count = 12
    paths = write_radiographs(tmp_path / "in", count)
    with OrthancServer(tmp_path / "archive") as archive:
        send_to = f"{archive.aet}@127.0.0.1:{archive.port}"
        dice = random.Random(1)
        metrics = ""
        for start in range(0, count, 4):
            node = NodeProcess(tmp_path, send_to)
            store_files(paths[start : start + 4], node.port, "MEDPRIOR")
            metrics += node.read_metrics()
            time.sleep(dice.uniform(0, 1.5))
            if start == 4:
                archive.stop(kill=True)
                time.sleep(1)
            node.kill()
            if start == 4:
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
