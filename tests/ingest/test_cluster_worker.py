"""The plugin of a worker, without its cluster: `test_cluster.py` has a real one."""

import types
from dataclasses import replace

import fsspec
import numpy as np
import pytest

from medprior.dicom import Policy
from medprior.errors import MedpriorError
from medprior.ingest.cluster_worker import DecodingPlugin, decode_packed_source
from medprior.ingest.decoding import RejectedFile, serialize_source
from medprior.ingest.plan import ImageSource
from medprior.ingest.pool import ProcessLimits
from medprior.workers.secret_bytes import pack_message, unpack_message
from tests.ingest.radiograph_files import EIGHT_BITS, write_png


@pytest.fixture
def start_plugin(tmp_path):
    """A function that starts the plugin of an input in a worker whose folder is `tmp_path/worker`."""
    (tmp_path / "worker").mkdir()
    worker, started = types.SimpleNamespace(local_directory=str(tmp_path / "worker")), []

    def start(url="", folder=""):
        location = pack_message({"url": url, "folder": str(folder)}, [])
        plugin = DecodingPlugin(Policy(), 64, ProcessLimits(), location)
        plugin.setup(worker)
        started.append(plugin)
        return plugin

    yield start
    for plugin in started:
        plugin.teardown(worker)
    assert list((tmp_path / "worker").iterdir()) == []


def source_of(path) -> ImageSource:
    return ImageSource(str(path), "a", "a", None, ())


def test_files_are_decoded_one_after_another_by_one_process(tmp_path, start_plugin):
    write_png(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    plugin = start_plugin(folder=tmp_path)
    image, refused = plugin.read(source_of(tmp_path / "a.png")), plugin.read(source_of(tmp_path / "b.png"))
    assert image.size == EIGHT_BITS.shape
    assert max(image.stored.shape) == 64
    assert refused.code == "empty"
    assert plugin._idle.qsize() == 1


def test_a_worker_that_does_not_see_the_folder_or_is_of_another_version_reads_nothing(tmp_path, start_plugin):
    with pytest.raises(MedpriorError, match="does not see the input"):
        start_plugin(folder=tmp_path / "gone").read(source_of("a"))
    plugin = start_plugin(folder=tmp_path)
    plugin._version = "0.0.other"
    with pytest.raises(MedpriorError, match="another version"):
        plugin.read(source_of("a"))


def test_objects_are_fetched_by_the_worker_and_gone_ones_refused(tmp_path, start_plugin):
    fs = fsspec.filesystem("memory")
    write_png(tmp_path / "a.png", np.fliplr(EIGHT_BITS))
    fs.pipe_file("/worker-input/a.png", (tmp_path / "a.png").read_bytes())
    plugin = start_plugin(url="memory://worker-input")
    try:
        image = plugin.read(source_of("memory://worker-input/a.png"))
        refused = plugin.read(replace(source_of("memory://worker-input/gone.png")))
    finally:
        fs.rm("/worker-input", recursive=True)
    assert image.size == EIGHT_BITS.shape
    assert refused == RejectedFile("unreadable", "the object is gone")
    assert list(plugin._folder.iterdir()) == []


def test_a_fault_of_the_worker_is_a_sealed_answer_of_its_kind_alone():
    sealed = pack_message(serialize_source(source_of("/secret")), [])
    message, arrays = unpack_message(decode_packed_source("no plugin", sealed))
    assert (message, arrays) == ({"stop": "unexpected ValueError in a worker"}, [])
