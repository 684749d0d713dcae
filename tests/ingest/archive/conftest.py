import pytest

from tests.deploy.servers import free_port
from tests.ingest.archive.archived_radiographs import CALLING_AET, fill_as_archived, list_urls, upload_files
from tests.ingest.radiograph_files import encode_radiograph
from tests.orthanc import Modality, OrthancServer

MOVE_PORT = free_port()


@pytest.fixture(scope="package")
def archived_folder(tmp_path_factory):
    """Eight chest radiographs and two of hands, in five studies."""
    folder = fill_as_archived(tmp_path_factory.mktemp("archived") / "in")
    return fill_as_archived(folder, 2, 8, BodyPartExamined="HAND")


@pytest.fixture(scope="package")
def archive(tmp_path_factory, archived_folder):
    """An archive with those radiographs, and a CT image in the first study."""
    other = tmp_path_factory.mktemp("other") / "ct.dcm"
    ct = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT", "SeriesInstanceUID": "1.2.5.99"}
    other.write_bytes(encode_radiograph(0, sop="1.2.3.99", **ct))
    server = OrthancServer(tmp_path_factory.mktemp("orthanc"), modalities=[Modality(CALLING_AET, MOVE_PORT)])
    with server:
        upload_files(server, [*sorted(archived_folder.rglob("*.dcm")), other])
        assert server.count_instances() == 11
        yield server


@pytest.fixture
def urls(archive):
    """Protocol -> URL of the archive."""
    return list_urls(archive, MOVE_PORT)


@pytest.fixture
def build_urls(archive):
    """A function: attributes to match -> protocol -> URL of the archive."""
    return lambda query: list_urls(archive, MOVE_PORT, query)
