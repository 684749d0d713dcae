from pathlib import Path

import fsspec

from medprior.ingest import IngestSettings, ingest_images
from medprior.ingest import fetching as fetching_module
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
