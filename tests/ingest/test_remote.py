"""A real S3 server on loopback, and fsspec's memory store: the same cohort as from a folder."""

import errno
import os
import stat
from pathlib import Path

import fsspec
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from medprior.cli import main
from medprior.dicom import Policy
from medprior.errors import ConfigError, InputMissing, MedpriorError, Rejected
from medprior.ingest import fetching as fetching_module
from medprior.ingest import ingest_images
from medprior.ingest.remote import RemoteStore, build_remote_error, get_size_and_version, is_url, translate_store_errors
from tests.ingest.radiograph_files import (
    CANARY,
    ONE_WORKER,
    encode_radiograph,
    fill_with_dicom,
    read_files,
    read_sources,
    upload_folder,
)

SECRET = "testing-secret-7"


@pytest.fixture(scope="module")
def server():
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def s3(server, monkeypatch):
    """A file system with one empty bucket; credentials and address come from the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fs = fsspec.filesystem("s3", skip_instance_cache=True)
    fs.mkdir(BUCKET)
    yield fs
    fs.rm(BUCKET, recursive=True)
    type(fs).clear_instance_cache()


BUCKET = f"bucket-{CANARY.lower()}"


def described(folder):
    """Phantom-shaped input: images, masks and a table, and one image that is none."""
    for number in range(6):
        for name in ("dicom", f"masks/x{number}"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "dicom" / f"x{number}.dcm").write_bytes(encode_radiograph(number))
        picture = Image.new("1", (80, 96))
        picture.paste(1, (20 + number, 20, 60, 70))
        picture.save(folder / "masks" / f"x{number}" / "heart.png")
    (folder / "dicom" / "bad.dcm").write_bytes(b"no radiograph")
    rows = "".join(f"dicom/x{i}.dcm,{CANARY}{i // 2},{i % 2}\n" for i in range(6))
    (folder / "labels.csv").write_text("image,patient_id,effusion\n" + rows)
    return folder


def test_s3_gives_the_same_bytes_as_the_folder(tmp_path, s3):
    folder = fill_with_dicom(tmp_path / "in", 8)
    (folder / "note.txt").write_text("not a picture")
    (folder / "empty.dcm").touch()
    upload_folder(s3, folder, f"{BUCKET}/some/prefix")
    s3.pipe_file(f"{BUCKET}/some/prefix2/other.dcm", encode_radiograph(20))
    s3.pipe_file(f"{BUCKET}/some/prefix/folder/", b"")
    ingest_images(folder, tmp_path / "local", settings=ONE_WORKER)
    ingest_images(f"s3://{BUCKET}/some/prefix", tmp_path / "remote", settings=ONE_WORKER)
    assert read_files(tmp_path / "remote") == read_files(tmp_path / "local")
    assert read_sources(tmp_path / "remote")[f"{CANARY}_003/x.dcm"].source.startswith("s3://")
    assert not (tmp_path / "remote.private" / "fetched").exists()


def test_masks_and_tables_come_from_the_same_store(tmp_path, s3):
    folder = described(tmp_path / "in")
    upload_folder(s3, folder, f"{BUCKET}/set")
    ingest_images(folder, tmp_path / "local", "phantom", ONE_WORKER)
    cohort = ingest_images(f"s3://{BUCKET}/set/", tmp_path / "remote", "phantom", ONE_WORKER)
    assert read_files(tmp_path / "remote") == read_files(tmp_path / "local")
    assert cohort.structures == ("heart",)
    assert cohort.label_names == ("effusion",)


def test_the_command_says_nothing_of_names_and_credentials(tmp_path, s3, capfd):
    upload_folder(s3, fill_with_dicom(tmp_path / "in", 4), f"{BUCKET}/{CANARY}")
    arguments = [f"s3://{BUCKET}/{CANARY}", str(tmp_path / "c"), "--workers", "1", "--no-tracking"]
    assert main(["ingest", *arguments]) == 0
    printed = "".join(capfd.readouterr())
    for content in (printed.encode(), *read_files(tmp_path / "c").values()):
        for word in (CANARY, CANARY.lower(), SECRET, "127.0.0.1"):
            assert word.encode() not in content
    private = b"".join(path.read_bytes() for path in (tmp_path / "c.private").iterdir())
    assert SECRET.encode() not in private


def test_a_second_run_reads_only_what_changed(tmp_path, s3, monkeypatch):
    folder = fill_with_dicom(tmp_path / "in", 4)
    upload_folder(s3, folder, f"{BUCKET}/set")
    ingest_images(f"s3://{BUCKET}/set", tmp_path / "c", settings=ONE_WORKER)
    before = read_files(tmp_path / "c")
    fetched = []
    real = fetching_module.fetch_source
    monkeypatch.setattr(
        fetching_module, "fetch_source", lambda s, *rest: (fetched.append(s.relative), real(s, *rest))[1]
    )
    ingest_images(f"s3://{BUCKET}/set", tmp_path / "c", settings=ONE_WORKER)
    assert fetched == []
    assert read_files(tmp_path / "c") == before
    s3.pipe_file(f"{BUCKET}/set/new.dcm", encode_radiograph(30))
    s3.pipe_file(f"{BUCKET}/set/{CANARY}_001/x.dcm", encode_radiograph(31))
    assert len(ingest_images(f"s3://{BUCKET}/set", tmp_path / "c", settings=ONE_WORKER)) == 6
    assert sorted(fetched) == [f"{CANARY}_001/x.dcm", "new.dcm"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://no-such-bucket-7/x", "no such bucket"),
        (f"s3://{BUCKET}/nothing", "no files found"),
        ("s3://user:password@bucket/x", "a URL must not contain credentials"),
        ("nosuchstore://x/y", "not a URL of a known kind of store"),
        ("gs://bucket/x", "not installed"),
        ("file://elsewhere/x", "not on this machine"),
    ],
)
def test_bad_urls_are_one_line(tmp_path, s3, url, words, capfd):
    arguments = [url, str(tmp_path / "c"), "--workers", "1", "--no-tracking"]
    assert main(["ingest", *arguments]) == 2
    error = capfd.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1
    for hidden in (url.split("://")[1], "password", "Traceback"):
        assert hidden not in error


def test_no_credentials_and_no_server_are_said(tmp_path, s3, monkeypatch, capfd):
    arguments = [f"s3://{BUCKET}/x", str(tmp_path / "c"), "--workers", "1", "--no-tracking"]
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    type(s3).clear_instance_cache()
    with monkeypatch.context() as without:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            without.delenv(name)
        assert main(["ingest", *arguments]) == 2
        assert "no credentials" in capfd.readouterr().err
    type(s3).clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert main(["ingest", *arguments]) == 2
    assert "does not answer" in capfd.readouterr().err


def test_fetched_files_are_private_bounded_and_gone_objects_are_refused(tmp_path, s3):
    s3.pipe_file(f"{BUCKET}/set/a", b"x" * 1000)
    remote = RemoteStore(f"s3://{BUCKET}/set")
    assert remote.entries()["a"][0] == 1000
    target = tmp_path / "t"
    remote.fetch(remote.url("a"), target, Policy())
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert target.read_bytes() == b"x" * 1000
    with pytest.raises(FileExistsError):
        remote.fetch(remote.url("a"), target, Policy())
    with pytest.raises(Rejected, match="too_large"):
        remote.fetch(remote.url("a"), tmp_path / "u", Policy(max_bytes=999))
    with pytest.raises(Rejected, match="unreadable"):
        remote.fetch(remote.url("b"), tmp_path / "v", Policy())


def test_a_forbidden_object_costs_itself_and_lost_rights_end_the_run(tmp_path, s3, monkeypatch):
    s3.pipe_file(f"{BUCKET}/set/a", b"x")
    s3.pipe_file(f"{BUCKET}/set/b", b"y")
    remote = RemoteStore(f"s3://{BUCKET}/set")
    real = remote._filesystem.open
    closed = {f"{BUCKET}/set/b"}

    def guarded(path, *rest, **more):
        if path in closed:
            raise PermissionError(path)
        return real(path, *rest, **more)

    monkeypatch.setattr(remote._filesystem, "open", guarded)
    remote.fetch(remote.url("a"), tmp_path / "a", Policy())
    with pytest.raises(Rejected, match="unreadable"):
        remote.fetch(remote.url("b"), tmp_path / "b", Policy())
    closed.add(f"{BUCKET}/set/a")
    with pytest.raises(MedpriorError, match="refuses access"):
        remote.fetch(remote.url("b"), tmp_path / "c", Policy())


def test_objects_that_vanish_after_listing_are_quarantined(tmp_path, s3, monkeypatch):
    upload_folder(s3, fill_with_dicom(tmp_path / "in", 5), f"{BUCKET}/set")
    real = RemoteStore.entries

    def listing(self):
        entries = real(self)
        s3.rm(f"{BUCKET}/set/{CANARY}_002/x.dcm")
        return entries

    monkeypatch.setattr(RemoteStore, "entries", listing)
    assert len(ingest_images(f"s3://{BUCKET}/set", tmp_path / "c", settings=ONE_WORKER)) == 4
    assert read_sources(tmp_path / "c")[f"{CANARY}_002/x.dcm"].code == "unreadable"


def test_objects_written_again_after_listing_are_read_as_they_are_now(tmp_path, s3):
    s3.pipe_file(f"{BUCKET}/set/a", b"old")
    remote = RemoteStore(f"s3://{BUCKET}/set")
    remote.entries()
    fsspec.filesystem("s3", skip_instance_cache=True).pipe_file(f"{BUCKET}/set/a", b"newer")
    remote.fetch(remote.url("a"), tmp_path / "t", Policy())
    assert (tmp_path / "t").read_bytes() == b"newer"


def test_a_new_address_is_used_at_once(tmp_path, s3, monkeypatch):
    s3.pipe_file(f"{BUCKET}/set/a", b"x")
    assert list(RemoteStore(f"s3://{BUCKET}/set").entries()) == ["a"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(MedpriorError, match="does not answer"):
        RemoteStore(f"s3://{BUCKET}/set").entries()


def test_faults_are_told_by_kind_alone():
    secret = f"{CANARY} in the text of the error"
    for error in (ImportError(secret), FileNotFoundError(secret), OSError(secret)):
        assert CANARY not in str(build_remote_error(error, "s3"))
    assert isinstance(build_remote_error(FileNotFoundError(), "s3"), InputMissing)
    assert "medprior[s3]" in str(build_remote_error(ImportError(), "s3"))
    assert isinstance(build_remote_error(ValueError(), "x"), ConfigError)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("s3://bucket", True), ("simplecache::s3://bucket", True), ("S3+x.y-z://b", True), ("/data/s3://x", False),
        ("C:/data", False), ("3s://b", False), (Path("s3://b"), False),
    ],
)  # fmt: skip
def test_urls_begin_with_a_scheme(source, expected):
    assert is_url(source) is expected


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"size": 7, "ETag": "e", "mtime": 3}, [7, "e"]),
        ({"size": 7, "ETag": None, "mtime": 3, "created": 1}, [7, "3"]),
        ({"size": None}, [0, ""]),
    ],
)
def test_a_stamp_is_the_size_and_the_first_version(info, expected):
    assert get_size_and_version(info) == expected


@pytest.mark.parametrize(("url", "is_refused"), [("memory://a:b@c/x", True), ("memory://a@c/x", False)])
def test_a_url_with_a_password_is_refused(url, is_refused):
    if is_refused:
        with pytest.raises(ConfigError, match=r"^memory://: a URL must not contain credentials"):
            RemoteStore(url)
    else:
        assert RemoteStore(url).scheme == "memory"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_local_disk_is_no_fault_of_the_store(number):
    with pytest.raises(OSError) as caught, translate_store_errors("s3"):
        raise OSError(number, "full")
    assert type(caught.value) is OSError
    with (
        pytest.raises(MedpriorError, match=r"does not answer \(OSError\)"),
        translate_store_errors("s3"),
    ):
        raise OSError(errno.EIO, "broken")
