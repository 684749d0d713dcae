"""A real archive over DICOMweb, C-GET and C-MOVE: the same cohort as from the folder with the same files."""

import stat
from pathlib import Path

import pytest

from medprior.cli import main
from medprior.dicom import Policy
from medprior.errors import InputMissing, Rejected
from medprior.ingest import fetching as fetching_module
from medprior.ingest import ingest_images
from medprior.ingest.archive.store import ArchiveStore
from tests.ingest.archive.archived_radiographs import fill_as_archived, list_urls, upload_files
from tests.ingest.radiograph_files import CANARY, ONE_WORKER, encode_radiograph, read_files
from tests.orthanc import OrthancServer

PROTOCOLS = ["dicomweb", "get", "move"]
SECRET = "hidden7"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_cohort_has_the_bytes_of_the_folders(tmp_path, urls, archived_folder, protocol):
    ingest_images(archived_folder, tmp_path / "local", settings=ONE_WORKER)
    cohort = ingest_images(urls[protocol], tmp_path / "remote", settings=ONE_WORKER)
    assert len(cohort) == 8
    assert read_files(tmp_path / "remote") == read_files(tmp_path / "local")
    assert b"body_part" in (tmp_path / "remote" / "quarantine.csv").read_bytes()
    assert not (tmp_path / "remote.private" / "fetched").exists()


def test_a_folder_with_other_names_has_the_same_images(tmp_path, urls, archived_folder):
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted(archived_folder.rglob("*.dcm"), reverse=True)):
        (flat / f"{number}.dcm").write_bytes(path.read_bytes())
    local = ingest_images(flat, tmp_path / "local", settings=ONE_WORKER)
    remote = ingest_images(urls["dicomweb"], tmp_path / "remote", settings=ONE_WORKER)
    assert local.manifest.equals(remote.manifest)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_only_chest_radiographs_are_fetched_and_only_once(tmp_path, build_urls, protocol, monkeypatch, archive):
    asked = []
    real = ArchiveStore._retrieve
    monkeypatch.setattr(
        ArchiveStore, "_retrieve", lambda self, uids, *rest: (asked.append(uids[2]), real(self, uids, *rest))[1]
    )
    url = build_urls("ModalitiesInStudy=DX")[protocol]
    ingest_images(url, tmp_path / "c", settings=ONE_WORKER)
    assert sorted(asked) == [f"1.2.3.{number}" for number in range(8)]
    before, asked[:] = read_files(tmp_path / "c"), []
    ingest_images(url, tmp_path / "c", settings=ONE_WORKER)
    assert asked == []
    assert read_files(tmp_path / "c") == before


def test_the_command_names_no_patient(tmp_path, build_urls, capfd):
    url = build_urls(f"PatientID={CANARY}-1")["dicomweb"]
    assert main(["ingest", url, str(tmp_path / "c"), "--workers", "1", "--no-tracking"]) == 0
    printed = "".join(capfd.readouterr())
    for content in (printed.encode(), *read_files(tmp_path / "c").values()):
        assert CANARY.encode() not in content
        assert b"127.0.0.1" not in content


def test_what_was_left_out_is_said(tmp_path, urls, capfd):
    assert main(["ingest", urls["get"], str(tmp_path / "c"), "--workers", "1", "--no-tracking"]) == 0
    assert "note: dimse: not read: 1 series of modality CT" in capfd.readouterr().err


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_that_matches_is_one_line(tmp_path, build_urls, protocol, capfd):
    url = build_urls(f"PatientID={CANARY}-none")[protocol]
    assert main(["ingest", url, str(tmp_path / "c"), "--workers", "1", "--no-tracking"]) == 2
    error = capfd.readouterr().err
    assert "no radiograph of the archive matches" in error
    assert CANARY not in error
    assert error.count("\n") == 1
    assert not (tmp_path / "c").exists()


def test_users_give_their_password_by_a_private_file(tmp_path, monkeypatch, capfd):
    folder = fill_as_archived(tmp_path / "in", 2)
    with OrthancServer(tmp_path / "orthanc", users={"reader": SECRET}) as server:
        upload_files(server, sorted(folder.rglob("*.dcm")))
        url = list_urls(server, 1)["dicomweb"]
        arguments = ["ingest", url, str(tmp_path / "c"), "--workers", "1", "--no-tracking"]
        assert main(arguments) == 2
        assert "the archive refuses access (HTTP 401)" in capfd.readouterr().err
        path = tmp_path / "credentials.yaml"
        path.write_text(f"user: reader\npassword: {SECRET}\n")
        path.chmod(0o600)
        monkeypatch.setenv("MEDPRIOR_ARCHIVE_CREDENTIALS", str(path))
        assert main(arguments) == 0
    written = b"".join(path.read_bytes() for path in (tmp_path / "c.private").iterdir())
    assert SECRET.encode() not in written + "".join(capfd.readouterr()).encode()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_instance_is_fetched_within_limits(tmp_path, urls, protocol, archived_folder):
    store = ArchiveStore(urls[protocol])
    try:
        url = store.url("1.2.4.0/1.2.5.0/1.2.3.1.dcm")
        store.fetch(url, tmp_path / "x", Policy())
        content = (tmp_path / "x").read_bytes()
        stored = (archived_folder / "1.2.4.0" / "1.2.5.0" / "1.2.3.1.dcm").read_bytes()
        assert content[-1000:] == stored[-1000:]
        assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600
        with pytest.raises(Rejected) as raised:
            store.fetch(url, tmp_path / "y", Policy(max_bytes=len(content) - 1))
        assert raised.value.code == "too_large"
        with pytest.raises(Rejected) as raised:
            store.fetch(store.url("1.2.4.0/1.2.5.0/1.2.3.777.dcm"), tmp_path / "z", Policy())
        assert raised.value.code == "unreadable"
    finally:
        store.close()


def test_a_disk_without_room_is_no_fault_of_the_archive(urls):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    for protocol in PROTOCOLS:
        store = ArchiveStore(urls[protocol])
        try:
            with open("/dev/full", "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                store._connection.retrieve_instance(("1.2.4.0", "1.2.5.0", "1.2.3.1"), file, Policy())
        finally:
            store.close()


def test_new_instances_are_added_later(tmp_path, monkeypatch):
    folder = fill_as_archived(tmp_path / "in", 4)
    fetched = []
    real = fetching_module.fetch_source
    monkeypatch.setattr(
        fetching_module, "fetch_source", lambda s, *rest: (fetched.append(s.relative), real(s, *rest))[1]
    )
    with OrthancServer(tmp_path / "orthanc") as server:
        upload_files(server, sorted(folder.rglob("*.dcm")))
        url = list_urls(server, 1)["get"]
        ingest_images(url, tmp_path / "c", settings=ONE_WORKER)
        (tmp_path / "new.dcm").write_bytes(encode_radiograph(30, SeriesInstanceUID="1.2.5.15"))
        upload_files(server, [tmp_path / "new.dcm"])
        fetched.clear()
        assert len(ingest_images(url, tmp_path / "c", settings=ONE_WORKER)) == 5
        assert fetched == ["1.2.4.15/1.2.5.15/1.2.3.30.dcm"]
        server.stop()
        monkeypatch.setattr("medprior.ingest.archive.dimse.BACKOFF_SECONDS", (0.1,))
        before = read_files(tmp_path / "c")
        with pytest.raises(Exception, match="the archive does not answer"):
            ingest_images(url, tmp_path / "c", settings=ONE_WORKER)
        assert read_files(tmp_path / "c") == before


@pytest.mark.parametrize("scheme", ["dicomweb+http", "dimse"])
def test_an_unknown_machine_is_said_at_once(scheme):
    url = f"{scheme}://A@no-such-host.invalid:104" if scheme == "dimse" else f"{scheme}://no-such-host.invalid/x"
    with pytest.raises(InputMissing, match=r"no such machine.*'no-such-host.invalid'"):
        ArchiveStore(url).entries()


def test_workers_of_a_cluster_do_not_read_over_dimse(tmp_path, urls):
    settings = ONE_WORKER.model_copy(update={"scheduler": "tcp://127.0.0.1:1"})
    with pytest.raises(Exception, match="workers do not read an archive over DIMSE"):
        ingest_images(urls["get"], tmp_path / "c", settings=settings)
