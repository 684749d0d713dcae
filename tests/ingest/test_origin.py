from pathlib import Path

import fsspec
import pytest

from medprior.dicom import Policy
from medprior.errors import ConfigError
from medprior.ingest import ingest_images
from medprior.ingest.descriptor import DatasetDescriptor, MaskRule
from medprior.ingest.origin import LocalFolder, RemoteFolder, fetch_source, open_input, remove_fetched_files
from medprior.ingest.plan import ImageSource, MaskFile
from medprior.ingest.remote import RemoteStore
from tests.ingest.radiograph_files import CANARY, ONE_WORKER, fill_with_dicom, read_files, upload_folder, write_png


def test_memory_store_file_urls_and_single_files(tmp_path):
    fs = fsspec.filesystem("memory")
    folder = fill_with_dicom(tmp_path / "in", 4)
    upload_folder(fs, folder, "/set")
    ingest_images(folder, tmp_path / "local", settings=ONE_WORKER)
    try:
        ingest_images("memory://set", tmp_path / "remote", settings=ONE_WORKER)
        assert read_files(tmp_path / "remote") == read_files(tmp_path / "local")
        one = ingest_images(f"memory://set/{CANARY}_001/x.dcm", tmp_path / "one", settings=ONE_WORKER)
        assert len(one) == 1
    finally:
        fs.rm("/set", recursive=True)
    assert isinstance(open_input(folder.as_uri()), LocalFolder)
    ingest_images(folder.as_uri(), tmp_path / "uri", settings=ONE_WORKER)
    assert read_files(tmp_path / "uri") == read_files(tmp_path / "local")


def test_addresses_choose_the_kind_of_input(tmp_path):
    (tmp_path / "a b").mkdir()
    for address in (tmp_path / "a b", str(tmp_path / "a b"), f"FILE://localhost{tmp_path}/a%20b"):
        opened = open_input(address)
        assert isinstance(opened, LocalFolder)
        assert (opened.location, opened.remote) == (str(tmp_path / "a b"), None)
    remote = open_input("memory://x")
    assert (type(remote), remote.location) == (RemoteFolder, "memory://x")
    with pytest.raises(ConfigError, match="not on this machine"):
        open_input("file://elsewhere/x")


def test_tables_of_a_single_file_lie_beside_it(tmp_path):
    write_png(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("id,sex\na,F\n")
    table = {"files": ["t.csv"], "key": ["id"], "facts": {"sex": ["sex"]}}
    described = DatasetDescriptor.from_values(
        {"name": "own", "title": "t", "licence": "x", "images": [{"match": "^(?P<id>.*)$"}], "tables": [table]}
    )
    for path in (tmp_path, tmp_path / "a.png"):
        assert open_input(path).tables(described)["a"].fields == {"sex": "F"}


def test_images_and_masks_are_fetched_under_numbers_and_removed_by_number(tmp_path):
    fs = fsspec.filesystem("memory")
    for name in ("image", "mask"):
        fs.pipe_file(f"/origin/{name}", name.encode())
    store = RemoteStore("memory://origin")
    rule = MaskRule(match="(?P<id>x)")
    masks = tuple(MaskFile(store.url(name), name, rule) for name in ("gone", "mask"))
    source = ImageSource(store.url("image"), "image", "key", None, masks)
    try:
        local = fetch_source(source, store, tmp_path, 1, Policy())
    finally:
        fs.rm("/origin", recursive=True)
    assert Path(local.path) == tmp_path / "1.image"
    assert [mask.path for mask in local.masks] == [str(tmp_path / "1.0.mask"), str(tmp_path / "1.1.mask")]
    assert (local.key, local.masks[1].structure) == ("key", "mask")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.1.mask", "1.image"]
    assert (tmp_path / "1.1.mask").read_bytes() == b"mask"
    (tmp_path / "11.image").touch()
    remove_fetched_files(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["11.image"]
