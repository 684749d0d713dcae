"""kill -9 at any moment of a run that reads an archive, start again: the bytes of the folder's cohort."""

import shutil
import time

import numpy as np
import pytest

from tests.deploy.servers import free_port
from tests.ingest.archive.archived_radiographs import CALLING_AET, fill_as_archived, list_urls, upload_files
from tests.ingest.radiograph_files import read_files
from tests.ingest.test_killing import command, ended, kill_after
from tests.orthanc import Modality, OrthancServer

PROTOCOLS = ["dicomweb", "get", "move"]


def kill_runs(tmp_path, protocol, kills, files):
    """`kills` kills of runs over one protocol, two in each cohort; how many came with some images kept."""
    folder, port = fill_as_archived(tmp_path / "in", files), free_port()
    with OrthancServer(tmp_path / "orthanc", modalities=[Modality(CALLING_AET, port)]) as server:
        upload_files(server, sorted(folder.rglob("*.dcm")))
        url = list_urls(server, port)[protocol]
        ended(command(folder, tmp_path / "local"))
        expected = read_files(tmp_path / "local")
        start = time.monotonic()
        ended(command(url, tmp_path / "whole"))
        length = time.monotonic() - start
        assert read_files(tmp_path / "whole") == expected
        rng = np.random.default_rng(0)
        landed = halfway = number = 0
        while landed < kills:
            number += 1
            cohort = tmp_path / f"c{number}"
            for _ in range(2):
                # The first half of a run is its start.
                landed += kill_after(rng.uniform(0.4, 1.0) * length, command(url, cohort))
                journal = cohort / "journal.jsonl"
                halfway += 0 < (journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0) < files
            ended(command(url, cohort))
            assert read_files(cohort) == expected
            shutil.rmtree(cohort)
            assert number <= kills + 2, "the runs end before they can be killed"
    print(f"{protocol}: {landed} kills, {halfway} with some images kept, {number} cohorts")
    return halfway


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_two_kills(tmp_path, protocol):
    kill_runs(tmp_path, protocol, 2, 24)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_ten_kills(tmp_path, protocol):
    assert kill_runs(tmp_path, protocol, 10, 120) >= 1
