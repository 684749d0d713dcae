"""`medprior serve` as a process, asked over real sockets by well and by badly behaved visitors."""

import asyncio
import contextlib
import io
import socket
import time
from urllib.parse import urlsplit

import httpx
import pydicom
import pytest
from starlette.testclient import TestClient

from medprior.bench.deploy_inputs import create_good_files, create_hostile_bodies
from medprior.deploy import load_model
from medprior.deploy.inference.example import create_example_dicom
from medprior.deploy.service.app import build_app, predict_instance
from medprior.deploy.service.request_queue import RequestQueue
from medprior.deploy.service.responses import PredictionResponse
from medprior.deploy.service.settings import ServiceSettings
from medprior.dicom.bounded_reader import BoundedReader
from medprior.pages.problem import Problem
from tests.deploy.discs import changed
from tests.deploy.serving import CANARY, TOKEN, post_radiograph, run_service


def test_answers_are_the_predictors(server, classifier, segmenter, dicom):
    want = load_model(classifier, segmenter=segmenter).predict(dicom)
    response = post_radiograph(server, dicom.read_bytes())
    assert response.status_code == 200
    answer = response.json()
    version = answer.pop("medprior_version")
    assert version
    assert answer == want.record() | {"spacing_mm": list(want.facts["spacing_mm"])}
    assert len(answer["model_digest"]) == 64
    PredictionResponse.model_validate(response.json())


@pytest.mark.parametrize(("kind", "modality"), [("seg", "SEG"), ("sr", "SR")])
def test_an_answer_can_be_fetched_as_a_dicom_object_of_its_patient(server, dicom, kind, modality):
    headers = {"Content-Type": "application/dicom"}
    response = httpx.post(f"{server}v1/dicom/{kind}", content=dicom.read_bytes(), headers=headers, timeout=120)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/dicom"
    made, source = pydicom.dcmread(io.BytesIO(response.content)), pydicom.dcmread(dicom)
    assert made.Modality == modality
    assert (made.PatientID, made.StudyInstanceUID) == (source.PatientID, source.StudyInstanceUID)


def test_a_picture_has_no_dicom_object_and_other_kinds_do_not_exist(server):
    example = httpx.get(f"{server}example.png")
    assert example.headers["content-type"] == "image/png"
    refused = httpx.post(f"{server}v1/dicom/seg", content=example.content, timeout=120)
    assert (refused.status_code, refused.json()["code"]) == (422, "no_dicom")
    assert httpx.post(f"{server}v1/dicom/pdf", content=example.content).status_code == 422


@pytest.mark.parametrize("name", ["uncompressed", "jpeg_2000", "jpeg_ls", "rle", "jpeg_lossless"])
def test_transfer_syntaxes_answer_alike(server, name):
    files = create_good_files(192)
    plain = post_radiograph(server, files["uncompressed"]).json()
    assert post_radiograph(server, files[name]).json() == plain


def test_hostile_bodies_are_answered_with_a_code(server):
    before = post_radiograph(server, create_example_dicom()).json()
    for name, (body, kind) in create_hostile_bodies().items():
        response = post_radiograph(server, body, kind)
        assert 400 <= response.status_code < 500, (name, response.text)
        assert set(response.json()) == {"code", "message"}, name
        assert "Traceback" not in response.text
    assert post_radiograph(server, create_example_dicom()).json() == before


def test_oversize_is_refused_chunked_or_announced(server):
    assert post_radiograph(server, b"\0" * (4 * 2**20 + 1)).status_code == 413

    def endless():
        for _ in range(100):
            yield b"\0" * 65536

    response = httpx.post(server + "v1/predict", content=endless(), timeout=60)
    assert response.status_code == 413
    assert response.json()["code"] == "too_large"


def test_a_slow_visitor_holds_up_nobody(server, dicom):
    address = urlsplit(server)
    with contextlib.ExitStack() as visitors:
        slow_visitors = []
        for _ in range(20):
            slow = visitors.enter_context(socket.create_connection((address.hostname, address.port)))
            slow_visitors.append(slow)
            slow.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc")
        assert post_radiograph(server, dicom.read_bytes()).status_code == 200
        for slow in slow_visitors:  # The answer came before any of them was told that it took too long.
            slow.setblocking(False)
            with pytest.raises(BlockingIOError):
                slow.recv(1)


def test_stow_requests(server, dicom):
    def stow(*parts: bytes) -> httpx.Response:
        head = b"--x\r\nContent-Type: application/dicom\r\n\r\n"
        body = b"".join(head + part + b"\r\n" for part in parts) + b"--x--\r\n"
        kind = 'multipart/related; type="application/dicom"; boundary=x'
        return httpx.post(server + "studies", content=body, headers={"Content-Type": kind}, timeout=60)

    data = dicom.read_bytes()
    whole = post_radiograph(server, data).json()
    both = stow(data, create_example_dicom())
    assert both.status_code == 200
    assert both.json()["instances"][0] == whole
    some = stow(b"nothing", data)
    assert some.status_code == 202
    assert some.json()["instances"][0]["code"] == "not_dicom"
    assert some.json()["instances"][1] == whole
    assert stow(b"nothing").status_code == 409
    assert post_radiograph(server, data, "multipart/related").status_code == 415
    assert httpx.post(server + "studies", content=data).status_code == 415


def test_state_and_description(server):
    assert httpx.get(server + "health").json()["status"] == "alive"
    ready = httpx.get(server + "ready").json()
    assert len(ready["model_digest"]) == 64
    described = httpx.get(server + "openapi.json").json()
    assert set(described["paths"]) == {"/health", "/ready", "/v1/predict", "/v1/dicom/{kind}", "/studies"}
    content = described["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    assert {"application/dicom", "multipart/form-data"} <= set(content)
    assert "/v1/predict" not in httpx.get(server + "v1/predict").text


def test_nothing_of_a_visitor_is_logged(server, log):
    dataset = pydicom.dcmread(io.BytesIO(create_example_dicom()))
    dataset.PatientName = dataset.PatientID = CANARY
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    whole = buffer.getvalue()
    answers = [post_radiograph(server, whole), post_radiograph(server, whole[: len(whole) // 2])]
    answers.append(httpx.post(server + "v1/predict", files={"file": (f"{CANARY}.dcm", whole)}))
    answers.append(httpx.get(server + CANARY))
    answers.append(post_radiograph(server, whole, f"text/{CANARY}"))
    answers.append(post_radiograph(server, whole, include=CANARY))
    assert [answer.status_code for answer in answers] == [200, 400, 200, 404, 415, 422]
    assert not any(CANARY in answer.text for answer in answers)
    text = log.read_text()
    assert "POST /v1/predict 200" in text
    assert CANARY not in text
    assert "Traceback" not in text


def test_token_and_host(classifier, tmp_path, dicom):
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    with run_service(classifier, None, tmp_path / "log", "--token-file", str(path)) as (url, _):
        assert post_radiograph(url, dicom.read_bytes()).status_code == 401
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        answer = httpx.post(url + "v1/predict", content=dicom.read_bytes(), headers=bearer)
        assert answer.status_code == 200
        assert answer.json()["structures"] == []
        assert httpx.get(url, params={"token": TOKEN}).status_code == 200
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"Host": "evil.example"} | bearer).status_code == 400
        assert httpx.get(url + "health").status_code == 200
    assert TOKEN not in (tmp_path / "log").read_text()


def test_a_service_that_failed_its_self_test_is_alive_and_not_ready(classifier, tmp_path):
    broken = load_model(changed(classifier, tmp_path / "broken", scale=1e25))
    with BoundedReader() as reader:
        app = build_app(broken, reader)
        with TestClient(app, base_url="http://127.0.0.1:8080") as visitor:
            deadline = time.monotonic() + 60
            while (ready := visitor.get("/ready")).json()["code"] == "starting":
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert (ready.status_code, ready.json()["code"]) == (503, "failed")
            assert ready.headers["Retry-After"] == "2"
            assert visitor.get("/health").status_code == 200


def test_a_busy_service_ends_a_store_request_and_a_refused_instance_does_not(classifier):
    with BoundedReader() as reader:
        queue = RequestQueue(load_model(classifier), reader, ServiceSettings(queue=1))
        refused = asyncio.run(predict_instance(queue, b"no radiograph", set()))
        assert (refused["status"], refused["code"]) == ("rejected", "not_dicom")
        queue.pending_count = 1
        with pytest.raises(Problem, match="too many"):
            asyncio.run(predict_instance(queue, b"no radiograph", set()))
        queue.close()
