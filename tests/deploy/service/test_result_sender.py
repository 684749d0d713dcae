"""Store requests whose results go on to a real archive: none is lost by a kill or an archive that is down."""

import asyncio
import signal
import stat
import time

import httpx
import pytest

from medprior.cli import main
from medprior.deploy import load_model
from medprior.deploy.node.destinations import parse_destination
from medprior.deploy.node.settings import DeliverySettings
from medprior.deploy.service.request_queue import RequestQueue
from medprior.deploy.service.result_sender import ResultSender
from medprior.deploy.service.settings import ServiceSettings
from medprior.dicom.bounded_reader import BoundedReader
from medprior.locks import LOCK_FILE, hold_lock
from medprior.pages.problem import Problem
from tests.deploy.node.running import CANARY, count_objects, wait_until, write_radiographs
from tests.deploy.serving import run_service

STORE_TYPE = 'multipart/related; type="application/dicom"; boundary=x'


def store_instances(url: str, *instances: bytes) -> httpx.Response:
    """One store request."""
    head = b"--x\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + instance + b"\r\n" for instance in instances) + b"--x--\r\n"
    return httpx.post(url + "studies", content=body, headers={"Content-Type": STORE_TYPE}, timeout=120)


@pytest.mark.parametrize("way", ["dimse", "web"])
def test_results_outlive_a_kill_and_an_archive_that_is_down(way, archive, classifier, segmenter, tmp_path):
    radiographs = [path.read_bytes() for path in write_radiographs(tmp_path / "in", 3)]
    send_to = f"{archive.aet}@127.0.0.1:{archive.port}" if way == "dimse" else archive.dicomweb_url
    queue, log = tmp_path / "results", tmp_path / "log"
    options = ("--send-to", send_to, "--send-queue", str(queue))
    archive.stop()
    with run_service(classifier, segmenter, log, *options) as (url, process):
        answer = store_instances(url, radiographs[0], b"nothing", radiographs[1])
        assert answer.status_code == 202
        kinds = [part.get("objects") for part in answer.json()["instances"]]
        assert kinds == [["seg", "sr"], None, ["seg", "sr"]]
        wait_until(lambda: httpx.get(url + "health").json()["failed_deliveries"] > 0, 60)
        said = httpx.get(url + "metrics").text
        process.send_signal(signal.SIGKILL)
        process.wait()
    said += log.read_text()
    names = [str(path.relative_to(queue)) for path in queue.rglob("*")]
    for path in queue.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    archive.start()
    with run_service(classifier, segmenter, log, *options) as (url, _):
        wait_until(lambda: count_objects(archive)["SR"] == 2, 60)
        answer = store_instances(url, *radiographs)  # two of them once more
        assert answer.status_code == 200
        wait_until(lambda: httpx.get(url + "health").json()["queue"]["outgoing"] == 0, 60)
        assert count_objects(archive) == {"SEG": 3, "SR": 3, "PR": 0, "OT": 0}
        metrics = httpx.get(url + "metrics").text
        assert 'medprior_service_answers_total{code="ok"} 3.0' in metrics
        assert 'medprior_service_deliveries_total{kind="seg",outcome="sent"}' in metrics
        assert 'medprior_service_queue{folder="outgoing"} 0.0' in metrics
    assert 'answers_total{code="not_dicom"} 1.0' in said
    for secret in (CANARY, "19370519"):
        assert secret not in said + metrics + log.read_text() + " ".join(names)


def test_one_radiograph_alone_is_answered_and_not_sent(archive, classifier, tmp_path):
    radiograph = write_radiographs(tmp_path / "in", 1)[0].read_bytes()
    options = ("--send-to", archive.dicomweb_url, "--send-queue", str(tmp_path / "results"), "--objects", "sr")
    with run_service(classifier, None, tmp_path / "log", *options) as (url, _):
        assert "objects" not in httpx.post(url + "v1/predict", content=radiograph, timeout=60).json()
        assert store_instances(url, radiograph).json()["instances"][0]["objects"] == ["sr"]
        wait_until(lambda: count_objects(archive)["SR"] == 1, 60)
        assert archive.count_instances() == 1


def test_a_result_that_cannot_be_kept_is_no_success(classifier, tmp_path):
    radiograph = write_radiographs(tmp_path / "in", 1)[0].read_bytes()
    destination = parse_destination("ARCHIVE@127.0.0.1:1", "MEDPRIOR")
    sender = ResultSender(tmp_path / "results", destination, DeliverySettings(objects=("sr",), min_free_mb=10**9))
    with BoundedReader() as reader:
        queue = RequestQueue(load_model(classifier), reader, ServiceSettings(), sender)
        with pytest.raises(Problem) as refused:
            asyncio.run(queue.predict_instance(radiograph, set()))
        queue.close()
    assert (refused.value.status_code, refused.value.code) == (503, "queue_full")
    assert not list((tmp_path / "results" / "outgoing").iterdir())


def test_a_sender_that_ended_is_not_healthy(tmp_path):
    sender = ResultSender(tmp_path, parse_destination("ARCHIVE@127.0.0.1:1", "MEDPRIOR"), DeliverySettings())
    sender.start()
    assert sender.read_health()["status"] == "alive"
    sender.close()
    deadline = time.monotonic() + 10
    while sender.read_health()["status"] == "alive":
        assert time.monotonic() < deadline
    assert sender.read_health()["status"] == "stopped: sending"


def test_wrong_archives_and_a_queue_in_use_are_one_line(classifier, tmp_path, capsys):
    held = tmp_path / "held"
    model = ("--model", str(classifier), "--port", "0")
    with hold_lock(held / LOCK_FILE, "this queue"):
        for options, words in (
            (("--send-to", "PACS"), "AET@host:port"),
            (("--send-to", "http://pacs.example/dicom-web"), "https://"),
            (("--send-to", "PACS@127.0.0.1:104", "--objects", "nrrd"), "nrrd"),
            (("--send-to", "PACS@127.0.0.1:104", "--send-queue", str(held)), "this queue"),
        ):
            assert main(["serve", *model, *options]) == 2
            error = capsys.readouterr().err
            assert words in error
            assert error.count("\n") == 1
