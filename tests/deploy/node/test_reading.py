"""What becomes of each radiograph in the queue: sent, ended, tried again, or put aside."""

import io
import threading

import numpy as np
import pytest
from PIL import Image

from medprior.deploy import load_model
from medprior.deploy.node.metrics import NodeMetrics
from medprior.deploy.node.reading import FAULT_CODES, QueueReader
from medprior.deploy.node.settings import NodeSettings
from medprior.deploy.node.work_queue import WorkQueue
from medprior.dicom.bounded_reader import BoundedReader
from tests.deploy.node.running import wait_until


@pytest.fixture
def start(classifier, tmp_path):
    """A function that makes a reader of a queue with some settings, not yet started."""
    made = []

    def build(bounded=None, **settings):
        queue = WorkQueue(tmp_path / "queue")
        metrics, built = NodeMetrics(queue.count_files), threading.Event()
        bounded = bounded or BoundedReader()
        values = NodeSettings.from_values({"workers": 1, "objects": ["sr"]} | settings)
        reader = QueueReader(load_model(classifier), bounded, queue, metrics, values, threading.Condition(), built)
        made.append((reader, bounded))
        return reader, queue, metrics, built

    yield build
    for reader, bounded in made:
        reader._batcher.close()
        bounded.close()


def read_codes(metrics):
    """Code -> number of radiographs read."""
    lines = metrics.format_text().decode().splitlines()
    return {
        line.split('"')[1]: float(line.split()[-1]) for line in lines if line.startswith("medprior_node_read_total")
    }


def test_a_radiograph_becomes_its_objects(start, dicom):
    reader, queue, metrics, built = start(objects=["sr", "sc"])
    queue.add(dicom.read_bytes())
    reader._read(queue.take())
    assert queue.count_files() == {"incoming": 0, "outgoing": 2, "failed": 0}
    assert [path.name for path in queue.list_outgoing()] == ["0.sr.dcm", "1.sc.dcm"]
    assert built.is_set()
    assert read_codes(metrics) == {"ok": 1}


def test_what_is_no_radiograph_is_ended_at_once(start):
    reader, queue, metrics, built = start()
    queue.add(b"no radiograph")
    reader._read(queue.take())
    assert queue.count_files() == {"incoming": 0, "outgoing": 0, "failed": 0}
    assert not built.is_set()
    assert read_codes(metrics) == {"not_dicom": 1}


@pytest.mark.parametrize("code", [*sorted(FAULT_CODES), "not_dicom", "size"])
def test_a_fault_is_tried_again_until_its_attempts_are_used(start, code):
    reader, queue, _, _ = start(attempts=2)
    queue.add(b"x")
    first = queue.take()
    assert first.attempts == 1
    reader._refuse(first, code)
    if code not in FAULT_CODES:
        assert queue.count_files() == {"incoming": 0, "outgoing": 0, "failed": 0}
        return
    assert queue.count_files() == {"incoming": 1, "outgoing": 0, "failed": 0}
    second = queue.take()
    assert second.attempts == 2
    reader._refuse(second, code)
    assert queue.count_files() == {"incoming": 0, "outgoing": 0, "failed": 1}


def test_a_reading_that_meets_a_fault_is_tried_again_without_its_text(start, dicom, caplog):
    """The processes that decode are closed, as after an error of this machine."""
    bounded = BoundedReader()
    bounded.close()
    reader, queue, metrics, _ = start(bounded, attempts=2)
    queue.add(dicom.read_bytes())
    for counts in ({"incoming": 1, "outgoing": 0, "failed": 0}, {"incoming": 0, "outgoing": 0, "failed": 1}):
        reader._read(queue.take())
        assert queue.count_files() == counts
    assert read_codes(metrics) == {"ValueError": 2}
    assert "closed" not in caplog.text


def test_a_file_that_ended_the_node_several_times_is_not_read_again(start, dicom):
    """Killed while reading, twice: the third time it is put aside; at the second it is still read."""
    reader, queue, metrics, _ = start(attempts=2)
    queue.add(dicom.read_bytes())
    queue.release(queue.take())
    second = queue.take()
    queue.release(second)
    third = queue.take()
    assert third.attempts == 3
    reader._read(third)
    assert queue.count_files() == {"incoming": 0, "outgoing": 0, "failed": 1}
    assert read_codes(metrics) == {"worker_died": 1}
    queue.add(dicom.read_bytes())
    queue.release(queue.take())
    reader._read(queue.take())
    assert read_codes(metrics) == {"worker_died": 1, "ok": 1}


def test_unfamiliar_images_are_ended_only_where_asked(start):
    noise = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    reader, queue, metrics, _ = start(refuse_unfamiliar=True)
    queue.add(stream.getvalue())
    reader._read(queue.take())
    assert read_codes(metrics) == {"far_from_training": 1}
    assert queue.count_files() == {"incoming": 0, "outgoing": 0, "failed": 0}


def test_the_threads_empty_the_queue_and_end(start, dicom):
    reader, queue, metrics, _ = start(workers=2)
    for content in (dicom.read_bytes(), b"no radiograph", dicom.read_bytes()):
        queue.add(content)
    assert not reader.is_alive
    reader.start()
    assert reader.is_alive
    wait_until(lambda: not queue.count_incoming(), seconds=120)
    reader.close()
    assert not reader.is_alive
    assert read_codes(metrics) == {"ok": 2, "not_dicom": 1}
    assert queue.count_files()["outgoing"] == 2
