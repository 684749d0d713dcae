import fsspec

from medprior.ingest import ingest_images
from medprior.ingest.origin import LocalFolder, open_input
from tests.ingest.radiograph_files import CANARY, ONE_WORKER, fill_with_dicom, read_files, upload_folder


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
