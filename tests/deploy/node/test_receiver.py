"""What the node takes: titles, sizes, times and places; each refusal is counted."""

import io
import logging
import socket
import threading

import numpy as np
import pydicom
import pytest
from pynetdicom import AE

from medprior.deploy.node.metrics import NodeMetrics
from medprior.deploy.node.receiver import MAX_PDU_BYTES, BoundedSocket, LimitExceededError, Receiver
from medprior.deploy.node.settings import NodeSettings
from medprior.deploy.node.work_queue import WorkQueue
from medprior.dicom.decoding.samples import create_sample_dataset
from tests.deploy.node.running import CALLER, QUICK

CR, DX, CAPTURE, CT = (
    f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("1", "1.1", "7", "2")
)  # fmt: skip


@pytest.fixture
def bounded():
    """A socket of the node and its peer, with a limit of 100 bytes a message; reasons of refusals."""
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    near, reasons = BoundedSocket.__new__(BoundedSocket), []
    near.socket, near.max_message_bytes, near.on_limit = ours, 100, reasons.append
    with ours, theirs:
        yield near, theirs, reasons


def test_a_socket_gives_what_is_asked_for_or_what_came_before_the_end(bounded):
    near, peer, reasons = bounded
    peer.sendall(b"a" * 30 + b"b" * 12)
    peer.close()
    assert near.recv(30) == b"a" * 30
    assert near.recv(30) == b"b" * 12
    assert near.recv(5) == b""
    assert reasons == []


def test_a_message_has_its_limit_and_the_next_one_has_it_again(bounded):
    near, peer, reasons = bounded
    peer.sendall(bytes(200))
    assert len(near.recv(60)) + len(near.recv(40)) == 100
    near.received_bytes = 0
    assert len(near.recv(60)) == 60
    with pytest.raises(LimitExceededError, match="too_large"):
        near.recv(41)
    assert reasons == ["too_large"]


def test_a_data_unit_has_its_limit_whatever_a_message_may_have(bounded):
    near, peer, reasons = bounded
    near.max_message_bytes = 10 * MAX_PDU_BYTES
    sender = threading.Thread(target=peer.sendall, args=(bytes(MAX_PDU_BYTES),))
    sender.start()
    assert len(near.recv(MAX_PDU_BYTES)) == MAX_PDU_BYTES
    sender.join()
    with pytest.raises(LimitExceededError, match="too_large"):
        near.recv(MAX_PDU_BYTES + 1)
    assert reasons == ["too_large"]


def test_a_data_unit_that_comes_too_slowly_is_given_up(bounded):
    near, peer, reasons = bounded
    near.unit_seconds = 0
    peer.sendall(b"a")
    with pytest.raises(LimitExceededError, match="too_slow"):
        near.recv(2)
    assert reasons == ["too_slow"]


@pytest.fixture
def receive(tmp_path):
    """A function that starts a receiver with some settings; its queue and metrics beside it."""
    started = []

    def start(**settings):
        queue = WorkQueue(tmp_path / f"queue{len(started)}")
        metrics, arrived = NodeMetrics(queue.count_files), threading.Event()
        receiver = Receiver(NodeSettings.from_values(QUICK | settings), queue, metrics, arrived.set)
        receiver.start()
        started.append(receiver)
        return receiver, queue, metrics, arrived

    yield start
    for receiver in started:
        receiver.close()


def associate(receiver, *classes, calling=CALLER, called="MEDPRIOR"):
    entity = AE(calling)
    for sop_class in classes or (DX,):
        entity.add_requested_context(sop_class)
    return entity.associate("127.0.0.1", receiver.port, ae_title=called)


def build_image(side=96, **elements):
    dataset = create_sample_dataset(np.arange(side * side, dtype="u2").reshape(side, side) % 4096, **elements)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def read_count(metrics, line):
    """The value of the metric whose line holds `line`; 0 without one."""
    lines = [text for text in metrics.format_text().decode().splitlines() if line in text and text[0] != "#"]
    return float(lines[0].split()[-1]) if lines else 0


def test_an_acknowledged_image_is_on_disk_as_it_was_sent(receive):
    receiver, queue, metrics, arrived = receive()
    assert receiver.is_alive
    association = associate(receiver)
    dataset = build_image()
    assert association.send_c_store(dataset).Status == 0
    association.release()
    assert arrived.is_set()
    item = queue.take()
    stored = pydicom.dcmread(io.BytesIO(item.path.read_bytes()))
    assert stored.SOPInstanceUID == dataset.SOPInstanceUID
    np.testing.assert_array_equal(stored.pixel_array, dataset.pixel_array)
    assert read_count(metrics, "medprior_node_received_total") == 1


def test_radiographs_and_captures_are_received_and_nothing_else(receive):
    receiver, *_ = receive()
    association = associate(receiver, CR, DX, CAPTURE, CT)
    assert {str(context.abstract_syntax) for context in association.accepted_contexts} == {CR, DX, CAPTURE}
    association.release()


def test_a_full_queue_refuses_until_there_is_room(receive):
    receiver, queue, metrics, _ = receive(waiting=1)
    association = associate(receiver)
    answers = [association.send_c_store(build_image()).Status for _ in range(2)]
    item = queue.take()
    answers.append(association.send_c_store(build_image()).Status)  # what is being read still waits
    queue.finish(item, {})
    answers.append(association.send_c_store(build_image()).Status)
    association.release()
    assert answers == [0, 0xA700, 0xA700, 0]
    assert read_count(metrics, 'refused_stores_total{status="a700"}') == 2
    assert read_count(metrics, "medprior_node_received_total") == 2


def test_too_little_free_space_refuses(receive):
    receiver, queue, metrics, arrived = receive(min_free_mb=10**9)
    association = associate(receiver)
    assert association.send_c_store(build_image()).Status == 0xA700
    association.release()
    assert read_count(metrics, 'refused_stores_total{status="a700"}') == 1
    assert queue.count_incoming() == 0
    assert not arrived.is_set()


def test_a_disk_that_fails_refuses_and_says_why(receive, caplog):
    receiver, queue, metrics, arrived = receive()
    queue.incoming.rmdir()  # as a disk that is gone
    queue.incoming.write_text("")
    association = associate(receiver)
    with caplog.at_level(logging.ERROR, "medprior.node"):
        status = association.send_c_store(build_image()).Status
    association.release()
    assert status == 0xA700
    assert "an image cannot be written: Not a directory" in caplog.text
    assert not arrived.is_set()
    queue.incoming.unlink()
    queue.incoming.mkdir()
    assert read_count(metrics, 'refused_stores_total{status="a700"}') == 1


def test_the_limit_is_of_one_message_and_not_of_a_connection(receive):
    """Three images of half a MiB pass a limit of one; an image of two does not."""
    receiver, queue, metrics, _ = receive(max_mb=1)
    association = associate(receiver)
    for _ in range(3):
        assert association.send_c_store(build_image(side=512)).Status == 0
    assert "Status" not in association.send_c_store(build_image(side=1024))
    assert queue.count_incoming() == 3
    assert read_count(metrics, 'closed_connections_total{reason="too_large"}') == 1


def test_strangers_are_named_in_the_log_and_counted(receive, caplog):
    receiver, _, metrics, _ = receive()
    with caplog.at_level(logging.WARNING, "medprior.node"):
        assert associate(receiver, calling="STRANGER").is_rejected
        assert associate(receiver, called="OTHER").is_rejected
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "refused a call from 'STRANGER' to 'MEDPRIOR'", f"refused a call from '{CALLER}' to 'OTHER'",
    ]  # fmt: skip
    assert read_count(metrics, 'closed_connections_total{reason="unknown_title"}') == 2


def test_one_association_too_many_is_busy_and_not_unknown(receive, caplog):
    receiver, _, metrics, _ = receive(max_associations=1)
    first = associate(receiver)
    assert first.is_established
    with caplog.at_level(logging.WARNING, "medprior.node"):
        assert associate(receiver).is_rejected
    first.release()
    assert read_count(metrics, 'closed_connections_total{reason="busy"}') == 1
    assert read_count(metrics, "unknown_title") == 0
    assert not caplog.records
