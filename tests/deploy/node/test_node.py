"""The node between a real sender and a real archive: the right objects, once, in the right study."""

import io
import socket
import ssl
import struct
import subprocess

import httpx
import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian
from pynetdicom import AE

from medprior.dicom import read_image
from medprior.dicom.derived.seg import read_seg
from tests.deploy.node.running import CALLER, CANARY, count_objects, run_local_node, wait_until
from tests.orthanc import find_program, store_files

DX = "1.2.840.10008.5.1.4.1.1.1.1"


@pytest.mark.parametrize("way", ["dimse", "web"])
def test_objects_come_back_to_their_study_once(way, archive, radiographs, predictor, tmp_path):
    archive.store(radiographs)
    send_to = f"{archive.aet}@127.0.0.1:{archive.port}" if way == "dimse" else archive.dicomweb_url
    wanted = {"SEG": 8, "SR": 4, "PR": 4, "OT": 4}
    kinds = ("seg", "sr", "sc", "gsps", "labelmap")
    with run_local_node(tmp_path / "queue", predictor, send_to, objects=kinds) as node:
        for _ in range(2):  # the second time, the archive has all of it
            store_files(radiographs, node.port, "MEDPRIOR")
            wait_until(lambda: not any(node.queue.count_files().values()))
            assert {**count_objects(archive), "PR": archive.count_instances("PR")} == wanted
    sources = {str((data := pydicom.dcmread(path)).SOPInstanceUID): (path, data) for path in radiographs}
    for content in archive.read_instances("SEG"):
        segmentation = pydicom.dcmread(io.BytesIO(content))
        path, source = sources[
            str(segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID)
        ]
        assert segmentation.StudyInstanceUID == source.StudyInstanceUID
        assert segmentation.PatientID == source.PatientID
        if segmentation.SegmentationType == "BINARY":
            masks = predictor.predict(path).masks
            read = read_seg(io.BytesIO(content), read_image(path))
            assert all(np.array_equal(read[name], masks[name]) for name in masks)


def test_little_endian_is_taken_of_all_that_a_caller_offers(archive, predictor, tmp_path):
    with run_local_node(tmp_path / "queue", predictor, archive.dicomweb_url) as node:
        entity = AE(CALLER)
        entity.add_requested_context(DX, [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian])
        association = entity.associate("127.0.0.1", node.port, ae_title="MEDPRIOR")
        (context,) = association.accepted_contexts
        assert context.transfer_syntax == [ExplicitVRLittleEndian]
        association.release()


def test_only_known_titles_may_call(archive, radiographs, predictor, tmp_path):
    with run_local_node(tmp_path / "queue", predictor, archive.dicomweb_url) as node:
        for calling, called in (("STRANGER", "MEDPRIOR"), (CALLER, "OTHER")):
            with pytest.raises(subprocess.CalledProcessError):
                store_files(radiographs[:1], node.port, called, calling)
        echo = [find_program("echoscu"), "-aet", CALLER, "-aec", "MEDPRIOR", "127.0.0.1", str(node.port)]
        assert subprocess.run(echo, timeout=60).returncode == 0
        metrics = httpx.get(f"http://127.0.0.1:{node.http_port}/metrics").text
        assert 'closed_connections_total{reason="unknown_title"} 2.0' in metrics
        assert sum(node.queue.count_files().values()) == 0


def call(port: int, sop_class: str = DX):
    """An association with the node."""
    entity = AE(CALLER)
    entity.add_requested_context(sop_class)
    return entity.associate("127.0.0.1", port, ae_title="MEDPRIOR")


def send_garbage(port: int) -> None:
    """Connections that break each rule of the protocol."""
    announced = struct.pack(">BBL", 1, 0, 2**32 - 1)  # an association request of 4 GiB
    for content in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 4096, announced + b"x" * 70_000, b"\x01\0\0\0"):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            try:
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1024)
            except OSError:
                pass  # the node has closed it


def call_when_free(port):
    """An association; stalled peers hold the node's places until their time is over."""
    established = []
    wait_until(lambda: established.append(call(port)) or established[-1].is_established, seconds=60)
    return established[-1]


def test_hostile_peers_and_files_stop_nothing(archive, radiographs, predictor, tmp_path):
    with run_local_node(tmp_path / "queue", predictor, archive.dicomweb_url, message_seconds=5, max_mb=1) as node:
        stalled = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(4)]
        for connection in stalled:
            connection.sendall(b"\x01\0\0")
        send_garbage(node.port)
        association = call_when_free(node.port)
        association.abort()
        assert not call(node.port, "1.2.840.10008.5.1.4.1.1.2").is_established  # CT is not received
        association = call_when_free(node.port)
        large = pydicom.dcmread(radiographs[0])
        large.PixelData = b"\0" * (3 * 2**20)
        assert "Status" not in association.send_c_store(large)  # the node has closed the connection
        association = call_when_free(node.port)
        broken = pydicom.dcmread(radiographs[0])
        broken.Rows, broken.SOPInstanceUID = 7, "1.2.3.4.99"
        assert association.send_c_store(broken).Status == 0
        lateral = pydicom.dcmread(radiographs[0])
        lateral.BodyPartExamined, lateral.SOPInstanceUID = "FOOT", "1.2.3.4.98"
        assert association.send_c_store(lateral).Status == 0
        association.release()
        store_files(radiographs, node.port, "MEDPRIOR")
        wait_until(lambda: count_objects(archive)["SR"] == 4)
        wait_until(lambda: not any(node.queue.count_files().values()))
        metrics = httpx.get(f"http://127.0.0.1:{node.http_port}/metrics").text
        assert 'read_total{code="ok"} 4.0' in metrics
        assert 'read_total{code="body_part"} 1.0' in metrics
        assert 'closed_connections_total{reason="too_large"}' in metrics
        health = httpx.get(f"http://127.0.0.1:{node.http_port}/health")
        assert health.json()["status"] == "alive"
        for connection in stalled:
            connection.close()


def test_the_queue_waits_for_an_archive_that_is_down(archive, radiographs, predictor, tmp_path, caplog):
    archive.stop()
    send_to = f"{archive.aet}@127.0.0.1:{archive.port}"
    with run_local_node(tmp_path / "queue", predictor, send_to) as node:
        store_files(radiographs[:2], node.port, "MEDPRIOR")
        wait_until(lambda: node.queue.count_files()["outgoing"] == 4)
        wait_until(lambda: node.read_health()["failed_deliveries"] >= 2)
    with run_local_node(tmp_path / "queue", predictor, send_to) as node:
        store_files(radiographs[2:], node.port, "MEDPRIOR")
        archive.start()
        wait_until(lambda: not any(node.queue.count_files().values()))
    assert count_objects(archive) == {"SEG": 4, "SR": 4, "PR": 0, "OT": 0}
    assert CANARY not in caplog.text


def test_a_full_queue_refuses_so_that_the_sender_keeps_the_image(archive, radiographs, predictor, tmp_path):
    with run_local_node(tmp_path / "queue", predictor, archive.dicomweb_url, min_free_mb=10**9) as node:
        association = call(node.port)
        assert association.send_c_store(pydicom.dcmread(radiographs[0])).Status == 0xA700
        association.release()
        assert sum(node.queue.count_files().values()) == 0


def test_callers_use_tls_where_the_node_has_a_certificate(archive, radiographs, predictor, tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    with run_local_node(tmp_path / "queue", predictor, archive.dicomweb_url, tls=server) as node:
        with pytest.raises(subprocess.CalledProcessError):
            store_files(radiographs[:1], node.port, "MEDPRIOR", CALLER, "-to", "5", "-ta", "5")
        entity = AE(CALLER)
        entity.add_requested_context(DX)
        tls = (ssl.create_default_context(cafile=certificate), "localhost")
        association = entity.associate("127.0.0.1", node.port, ae_title="MEDPRIOR", tls_args=tls)
        assert association.is_established
        assert association.send_c_store(pydicom.dcmread(radiographs[0])).Status == 0
        association.release()
        wait_until(lambda: count_objects(archive)["SR"] == 1)
