"""`medprior serve` as a process, asked over real sockets by well and by badly behaved visitors."""

import base64
import concurrent.futures
import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pydicom
import pytest
from PIL import Image

from medprior.bench.deploy_inputs import create_good_files, create_hostile_bodies
from medprior.cli import main
from medprior.deploy import load_model
from medprior.deploy.inference.example import create_example_dicom
from medprior.deploy.service.responses import PredictionResponse

CANARY = "CANARYDOE"
TOKEN = "correct-horse-battery-staple"


@contextlib.contextmanager
def serving(model: Path, segmenter: Path | None, log: Path, *options: str):
    """Address and process of a server that has passed its self-test."""
    command = [sys.executable, "-m", "medprior", "serve", "--model", str(model), "--port", "0"]
    command += ["--segmenter", str(segmenter)] if segmenter else []
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        url = line.split()[-1]
        deadline = time.monotonic() + 60
        while httpx.get(urlsplit(url)._replace(path="/ready").geturl()).status_code != 200:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield url.partition("?")[0], process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("serve") / "log"


@pytest.fixture(scope="module")
def server(classifier, segmenter, log):
    with serving(classifier, segmenter, log, "--max-mb", "4") as (url, _):
        yield url


def predict(url: str, data: bytes, kind: str = "application/dicom", **params) -> httpx.Response:
    headers = {"Content-Type": kind} if kind else {}
    return httpx.post(url + "v1/predict", content=data, headers=headers, params=params, timeout=60)


def test_answers_are_the_predictors(server, classifier, segmenter, dicom):
    want = load_model(classifier, segmenter=segmenter).predict(dicom)
    response = predict(server, dicom.read_bytes())
    assert response.status_code == 200
    answer = response.json()
    version = answer.pop("medprior_version")
    assert version
    assert answer == want.record() | {"spacing_mm": list(want.facts["spacing_mm"])}
    assert len(answer["model_digest"]) == 64
    PredictionResponse.model_validate(response.json())


def test_extras_are_what_was_asked(server, classifier, segmenter, dicom):
    want = load_model(classifier, segmenter=segmenter).predict(dicom)
    answer = predict(server, dicom.read_bytes(), include="masks,attention,contours,pixels").json()
    for name, mask in want.masks.items():
        image = Image.open(io.BytesIO(base64.b64decode(answer["masks"][name])))
        assert np.array_equal(np.asarray(image) > 0, mask)
        xs, ys = np.concatenate([np.array(line) for line in answer["contours"][name]]).T
        found = np.nonzero(mask)
        assert xs.min() == pytest.approx(found[1].min(), abs=1.5)
        assert xs.max() == pytest.approx(found[1].max() + 1, abs=1.5)
        assert ys.min() == pytest.approx(found[0].min(), abs=1.5)
        assert ys.max() == pytest.approx(found[0].max() + 1, abs=1.5)
    for name, looked in want.attention.items():
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["attention"][name]))))
        scaled = image / 255 * answer["attention_peak"][name]
        assert np.abs(scaled - looked).max() < 0.01 * looked.max()
    pixels = answer["pixels"]
    values = np.frombuffer(base64.b64decode(pixels["data"]), "<u2")
    shown = values.reshape(pixels["rows"], pixels["columns"]) / 65535
    assert np.abs(shown - want.pixels).max() < 1e-4
    assert set(predict(server, dicom.read_bytes()).json()).isdisjoint({"masks", "pixels"})
    assert predict(server, dicom.read_bytes(), include="everything").status_code == 422


@pytest.mark.parametrize("name", ["uncompressed", "jpeg_2000", "jpeg_ls", "rle", "jpeg_lossless"])
def test_transfer_syntaxes_answer_alike(server, name):
    files = create_good_files(192)
    plain = predict(server, files["uncompressed"]).json()
    assert predict(server, files[name]).json() == plain


def test_forms_octets_and_pictures(server, dicom):
    data = dicom.read_bytes()
    want = predict(server, data).json()
    for kind in ("application/octet-stream", "", "application/dicom; transfer-syntax=*"):
        assert predict(server, data, kind).json() == want
    form = httpx.post(server + "v1/predict", files={"file": (f"{CANARY}.dcm", data)}, data={"note": "x"})
    assert form.json() == want
    picture = predict(server, create_good_files(192, ("png",))["png"], "image/png")
    assert picture.status_code == 200
    two = [("file", ("a", data)), ("file", ("b", data))]
    assert httpx.post(server + "v1/predict", files=two).status_code == 400
    assert httpx.post(server + "v1/predict", files={"file": data[:0]}).status_code == 400


def test_hostile_bodies_are_answered_with_a_code(server):
    before = predict(server, create_example_dicom()).json()
    for name, (body, kind) in create_hostile_bodies().items():
        response = predict(server, body, kind)
        assert 400 <= response.status_code < 500, (name, response.text)
        assert set(response.json()) == {"code", "message"}, name
        assert "Traceback" not in response.text
    assert predict(server, create_example_dicom()).json() == before


@pytest.mark.parametrize(
    ("harm", "status", "code"),
    [
        ({"Modality": "CT"}, 422, "modality"),
        ({"BodyPartExamined": "KNEE"}, 422, "body_part"),
        ({"PhotometricInterpretation": "RGB"}, 422, None),
        ({"Rows": 20000}, 422, "size"),
    ],
)
def test_whole_files_that_are_refused(server, harm, status, code):
    dataset = pydicom.dcmread(io.BytesIO(create_example_dicom()))
    for key, value in harm.items():
        setattr(dataset, key, value)
    dataset.PatientName = CANARY
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    response = predict(server, buffer.getvalue())
    assert response.status_code == status
    assert code in (None, response.json()["code"])
    assert CANARY not in response.text


def test_oversize_is_refused_chunked_or_announced(server):
    assert predict(server, b"\0" * (4 * 2**20 + 1)).status_code == 413

    def endless():
        for _ in range(100):
            yield b"\0" * 65536

    response = httpx.post(server + "v1/predict", content=endless(), timeout=60)
    assert response.status_code == 413
    assert response.json()["code"] == "too_large"


def test_a_slow_visitor_holds_up_nobody(server, dicom):
    address = urlsplit(server)
    with contextlib.ExitStack() as visitors:
        for _ in range(20):
            slow = visitors.enter_context(socket.create_connection((address.hostname, address.port)))
            slow.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc")
        start = time.monotonic()
        assert predict(server, dicom.read_bytes()).status_code == 200
        assert time.monotonic() - start < 10


def test_stow_requests(server, dicom):
    def stow(*parts: bytes) -> httpx.Response:
        head = b"--x\r\nContent-Type: application/dicom\r\n\r\n"
        body = b"".join(head + part + b"\r\n" for part in parts) + b"--x--\r\n"
        kind = 'multipart/related; type="application/dicom"; boundary=x'
        return httpx.post(server + "studies", content=body, headers={"Content-Type": kind}, timeout=60)

    data = dicom.read_bytes()
    whole = predict(server, data).json()
    both = stow(data, create_example_dicom())
    assert both.status_code == 200
    assert both.json()["instances"][0] == whole
    some = stow(b"nothing", data)
    assert some.status_code == 202
    assert some.json()["instances"][0]["code"] == "not_dicom"
    assert some.json()["instances"][1] == whole
    assert stow(b"nothing").status_code == 409
    assert predict(server, data, "multipart/related").status_code == 415
    assert httpx.post(server + "studies", content=data).status_code == 415


def test_many_at_once_answer_as_one_does(server):
    files = [create_example_dicom(seed=seed) for seed in range(4)]
    alone = [predict(server, data).json() for data in files]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda n: predict(server, files[n % 4]).json(), range(48)))
    for n, answer in enumerate(together):
        want = alone[n % 4]
        for name, finding in answer["findings"].items():
            # The order of sums in a batch moves the last bits (measured: 1.2e-7).
            assert finding["probability"] == pytest.approx(want["findings"][name]["probability"], abs=2e-6)
        assert {k: v for k, v in answer.items() if k != "findings"} == {
            k: v for k, v in want.items() if k != "findings"
        }


def test_state_and_description(server):
    assert httpx.get(server + "health").json()["status"] == "alive"
    ready = httpx.get(server + "ready").json()
    assert len(ready["model_digest"]) == 64
    described = httpx.get(server + "openapi.json").json()
    assert set(described["paths"]) == {"/health", "/ready", "/v1/predict", "/studies"}
    content = described["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    assert {"application/dicom", "multipart/form-data"} <= set(content)
    assert "/v1/predict" not in httpx.get(server + "v1/predict").text


def test_nothing_of_a_visitor_is_logged(server, log):
    dataset = pydicom.dcmread(io.BytesIO(create_example_dicom()))
    dataset.PatientName = dataset.PatientID = CANARY
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    whole = buffer.getvalue()
    answers = [predict(server, whole), predict(server, whole[: len(whole) // 2])]
    answers.append(httpx.post(server + "v1/predict", files={"file": (f"{CANARY}.dcm", whole)}))
    answers.append(httpx.get(server + CANARY))
    answers.append(predict(server, whole, f"text/{CANARY}"))
    answers.append(predict(server, whole, include=CANARY))
    assert [answer.status_code for answer in answers] == [200, 400, 200, 404, 415, 422]
    assert not any(CANARY in answer.text for answer in answers)
    text = log.read_text()
    assert "POST /v1/predict 200" in text
    assert CANARY not in text
    assert "Traceback" not in text


def test_token_and_host(classifier, tmp_path, dicom):
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    with serving(classifier, None, tmp_path / "log", "--token-file", str(path)) as (url, _):
        assert predict(url, dicom.read_bytes()).status_code == 401
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        answer = httpx.post(url + "v1/predict", content=dicom.read_bytes(), headers=bearer)
        assert answer.status_code == 200
        assert answer.json()["structures"] == []
        assert httpx.get(url, params={"token": TOKEN}).status_code == 200
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"Host": "evil.example"} | bearer).status_code == 400
        assert httpx.get(url + "health").status_code == 200
    assert TOKEN not in (tmp_path / "log").read_text()


def test_unfamiliar_pictures_are_refused_where_asked(classifier, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    with serving(classifier, None, tmp_path / "log", "--refuse-unfamiliar") as (url, _):
        response = predict(url, buffer.getvalue(), "image/png")
        assert response.status_code == 422
        assert response.json()["code"] == "far_from_training"
        assert httpx.get(url + "ready").status_code == 200


def test_what_cannot_be_served_is_said_in_one_line(server, classifier, tmp_path, capsys):
    model = ["--model", str(classifier)]
    for options, words in (
        ((*model, "--host", "0.0.0.0"), "token"),
        ((*model, "--port", str(urlsplit(server).port)), "in use"),
        ((*model, "--port", "99999"), "65535"),
        ((*model, "--port", "0", "--token-file", str(tmp_path / "none")), "no token"),
        ((*model, "--port", "0", "--queue", "0"), "queue"),
        (("--model", str(tmp_path), "--port", "0"), "finished result"),
    ):
        assert main(["serve", *options]) == 2
        errors = capsys.readouterr().err
        assert words in errors
        assert errors.count("\n") == 1


def test_sigterm_finishes_what_is_in_work(classifier, tmp_path):
    slow = create_good_files(1536, ("jpeg_2000",))["jpeg_2000"]
    with serving(classifier, None, tmp_path / "log") as (url, process):
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            waiting = [pool.submit(predict, url, slow) for _ in range(6)]
            time.sleep(0.5)
            assert not all(item.done() for item in waiting)
            process.send_signal(signal.SIGTERM)
            answers = [item.result() for item in waiting]
        assert [answer.status_code for answer in answers] == [200] * 6
        with pytest.raises(httpx.ConnectError):
            httpx.get(url + "health")
        assert process.wait(timeout=30) == 0


def test_a_full_queue_says_when_to_come_again(classifier, tmp_path):
    slow = create_good_files(1024, ("jpeg_2000",))["jpeg_2000"]
    with serving(classifier, None, tmp_path / "log", "--queue", "2") as (url, _):
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: predict(url, slow), range(12)))
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 503}
        busy = answers[statuses.index(503)]
        assert busy.json()["code"] == "busy"
        assert int(busy.headers["Retry-After"]) >= 1
        assert predict(url, slow).status_code == 200


@pytest.mark.slow
def test_a_registered_model_is_served(tracking_uri, classifier, segmenter, tmp_path, dicom):
    from medprior.deploy import register_model

    register_model(classifier, "cxr", segmenter=segmenter, tracking_uri=tracking_uri)
    options = ("--tracking-uri", tracking_uri)
    model = Path("models:/cxr@champion")
    want = load_model(classifier, segmenter=segmenter).predict(dicom)
    with serving(model, None, tmp_path / "log", *options) as (url, _):
        assert predict(url, dicom.read_bytes()).json()["model_digest"] == want.model_digest
