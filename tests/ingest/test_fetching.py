import stat
from pathlib import Path

import fsspec
import pytest

from medprior.dicom import Policy
from medprior.ingest import IngestSettings, ingest_images
from medprior.ingest import fetching as fetching_module
from medprior.ingest.fetching import PrefetchedSources
from medprior.ingest.plan import ImageSource
from medprior.ingest.remote import RemoteStore
from tests.ingest.radiograph_files import fill_with_dicom, read_files, upload_folder


def test_many_remote_files_keep_their_order_and_only_a_few_lie_here(tmp_path, monkeypatch):
    fs = fsspec.filesystem("memory")
    folder = fill_with_dicom(tmp_path / "in", 40)
    upload_folder(fs, folder, "/set")
    monkeypatch.setattr(fetching_module, "FETCH_AHEAD", 6)
    seen = []
    real = fetching_module.remove_fetched_files

    def counted(place, number):
        seen.append(len(list(Path(place).iterdir())))
        real(place, number)

    monkeypatch.setattr(fetching_module, "remove_fetched_files", counted)
    two = IngestSettings(workers=2, store_size=64)
    try:
        ingest_images("memory://set", tmp_path / "remote", settings=two)
    finally:
        fs.rm("/set", recursive=True)
    ingest_images(folder, tmp_path / "local", settings=two)
    assert read_files(tmp_path / "remote") == read_files(tmp_path / "local")
    assert len(seen) == 40
    assert max(seen) <= 6 + 16


@pytest.fixture
def memory_store():
    fs = fsspec.filesystem("memory")
    for number in range(5):
        fs.pipe_file(f"/fetch/{number}", f"content {number}".encode())
    yield RemoteStore("memory://fetch")
    fs.rm("/fetch", recursive=True)


def test_files_are_fetched_ahead_and_gone_ones_keep_their_url(tmp_path, memory_store, monkeypatch):
    monkeypatch.setattr(fetching_module, "FETCH_AHEAD", 3)
    urls = [memory_store.url(name) for name in ("0", "1", "gone", "3", "4")]
    sources = [ImageSource(url, url, url, None, ()) for url in urls]
    folder = tmp_path / "fetched"
    folder.mkdir()
    (folder / "old").touch()
    with PrefetchedSources(sources, memory_store, folder, Policy()) as fetched:
        assert list(folder.iterdir()) == []
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert len(fetched) == 5
        assert Path(fetched[0].path).read_bytes() == b"content 0"
        assert fetched._fetch_count == 3
        assert fetched[2].path == urls[2]
        assert Path(fetched[4].path).read_bytes() == b"content 4"
        with pytest.raises(TypeError, match="slices"):
            fetched[0:2]
    assert not folder.exists()
