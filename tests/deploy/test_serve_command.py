"""`medprior serve` as a process: its start, its end and what it refuses."""

import concurrent.futures
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest

from medprior.bench.deploy_inputs import create_good_files
from medprior.cli import main
from medprior.deploy import load_model
from tests.deploy.serving import post_radiograph, run_service


@pytest.fixture
def taken_port():
    """A port of this machine on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_what_cannot_be_served_is_said_in_one_line(taken_port, classifier, tmp_path, capsys):
    model = ["--model", str(classifier)]
    for options, words in (
        ((*model, "--host", "0.0.0.0"), "token"),
        ((*model, "--port", str(taken_port)), "in use"),
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
    with run_service(classifier, None, tmp_path / "log") as (url, process):
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            waiting = [pool.submit(post_radiograph, url, slow) for _ in range(6)]
            time.sleep(0.5)
            assert not all(item.done() for item in waiting)
            process.send_signal(signal.SIGTERM)
            answers = [item.result() for item in waiting]
        assert [answer.status_code for answer in answers] == [200] * 6
        with pytest.raises(httpx.ConnectError):
            httpx.get(url + "health")
        assert process.wait(timeout=30) == 0


@pytest.mark.slow
def test_a_registered_model_is_served(tracking_uri, classifier, segmenter, tmp_path, dicom):
    from medprior.deploy import register_model

    register_model(classifier, "cxr", segmenter=segmenter, tracking_uri=tracking_uri)
    options = ("--tracking-uri", tracking_uri)
    model = Path("models:/cxr@champion")
    want = load_model(classifier, segmenter=segmenter).predict(dicom)
    with run_service(model, None, tmp_path / "log", *options) as (url, _):
        assert post_radiograph(url, dicom.read_bytes()).json()["model_digest"] == want.model_digest
