"""The archive that other tests start: stores, keeps its storage, finds and sends."""

import subprocess

import httpx
import pytest

from medprior.deploy.inference.example import create_example_dicom
from tests.deploy.servers import free_port
from tests.orthanc import Modality, OrthancServer, find_program


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    """Three phantom files."""
    folder = tmp_path_factory.mktemp("radiographs")
    paths = [folder / f"{seed}.dcm" for seed in range(3)]
    for seed, path in enumerate(paths):
        path.write_bytes(create_example_dicom(seed=seed, side=128))
    return paths


def test_storage_outlives_the_server(radiographs, tmp_path):
    with OrthancServer(tmp_path / "archive") as archive:
        archive.store(radiographs)
        assert archive.count_instances() == 3
        archive.stop(kill=True)
        archive.start()
        assert archive.count_instances() == archive.count_instances("DX") == 3
        found = httpx.get(f"{archive.dicomweb_url}/instances", headers={"Accept": "application/dicom+json"})
        assert len(found.json()) == 3
        with pytest.raises(subprocess.CalledProcessError):
            archive.store([tmp_path / "archive" / "orthanc.json"])


def test_known_modalities_receive_moved_studies(radiographs, tmp_path):
    receiver = Modality("RECEIVER", free_port())
    with OrthancServer(tmp_path / "archive", modalities=[receiver]) as archive:
        archive.store(radiographs)
        command = [
            find_program("movescu"), "-S", "-aec", archive.aet, "-aem", receiver.aet, "+P", str(receiver.port),
            "-od", str(tmp_path), "-k", "0008,0052=STUDY", "-k", "0020,000D=",
        ]  # fmt: skip
        for study in archive.get("/studies?expand"):
            command[-1] = f"0020,000D={study['MainDicomTags']['StudyInstanceUID']}"
            subprocess.run([*command, "127.0.0.1", str(archive.port)], check=True, capture_output=True, timeout=60)
    assert len(list(tmp_path.glob("DX*"))) == 3


def test_users_need_their_password(radiographs, tmp_path):
    with OrthancServer(tmp_path / "archive", users={"reader": "secret"}) as archive:
        archive.store(radiographs)
        assert archive.count_instances() == 3
        assert httpx.get(f"{archive.dicomweb_url}/studies").status_code == 401
        assert httpx.get(f"{archive.dicomweb_url}/studies", auth=("reader", "secret")).status_code == 200
