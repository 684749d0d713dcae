"""The queue between requests and the models."""

import asyncio
import concurrent.futures
import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image

from medprior.bench.deploy_inputs import create_good_files
from medprior.deploy import load_model
from medprior.deploy.inference.example import create_example_dicom
from medprior.deploy.service.request_queue import RequestQueue
from medprior.deploy.service.settings import ServiceSettings
from medprior.dicom.bounded_reader import BoundedReader
from medprior.pages.problem import Problem
from tests.deploy.discs import changed
from tests.deploy.serving import post_radiograph, run_service


def test_many_at_once_answer_as_one_does(server):
    files = [create_example_dicom(seed=seed) for seed in range(4)]
    alone = [post_radiograph(server, data).json() for data in files]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda n: post_radiograph(server, files[n % 4]).json(), range(48)))
    for n, answer in enumerate(together):
        want = alone[n % 4]
        for name, finding in answer["findings"].items():
            # The order of sums in a batch moves the last bits (measured: 1.2e-7).
            assert finding["probability"] == pytest.approx(want["findings"][name]["probability"], abs=2e-6)
        assert {k: v for k, v in answer.items() if k != "findings"} == {
            k: v for k, v in want.items() if k != "findings"
        }


def test_unfamiliar_pictures_are_refused_where_asked(classifier, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    with run_service(classifier, None, tmp_path / "log", "--refuse-unfamiliar") as (url, _):
        response = post_radiograph(url, buffer.getvalue(), "image/png")
        assert response.status_code == 422
        assert response.json()["code"] == "far_from_training"
        assert httpx.get(url + "ready").status_code == 200


def test_a_full_queue_says_when_to_come_again(classifier, tmp_path):
    slow = create_good_files(1024, ("jpeg_2000",))["jpeg_2000"]
    with run_service(classifier, None, tmp_path / "log", "--queue", "2") as (url, _):
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: post_radiograph(url, slow), range(12)))
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 503}
        busy = answers[statuses.index(503)]
        assert busy.json()["code"] == "busy"
        assert int(busy.headers["Retry-After"]) >= 1
        assert post_radiograph(url, slow).status_code == 200


@pytest.fixture(scope="module")
def predictor(classifier):
    return load_model(classifier)


@pytest.fixture(scope="module")
def reader():
    with BoundedReader() as bounded:
        yield bounded


@pytest.mark.parametrize(("mean_seconds", "seconds"), [(0.01, "1"), (2.0, "4"), (40.0, "60")])
def test_the_time_to_come_again_follows_the_queue_between_1_and_60_seconds(predictor, reader, mean_seconds, seconds):
    """8 radiographs of 2 s each on 4 threads are 4 s."""
    queue = RequestQueue(predictor, reader, ServiceSettings(queue=8, threads=4))
    queue.pending_count, queue.mean_seconds = 8, mean_seconds
    with pytest.raises(Problem) as caught:
        asyncio.run(queue.predict_json(b"", set()))
    queue.close()
    assert (caught.value.status_code, caught.value.code) == (503, "busy")
    assert caught.value.headers == {"Retry-After": seconds}


def test_a_place_is_given_back_after_an_answer_and_after_a_refusal(predictor, reader, dicom):
    queue = RequestQueue(predictor, reader, ServiceSettings(queue=1))

    async def ask() -> None:
        answer = json.loads(await queue.predict_json(dicom.read_bytes(), set()))
        assert answer["model_digest"] == predictor.digest
        await asyncio.sleep(0)
        assert queue.pending_count == 0
        with pytest.raises(Problem) as caught:
            await queue.predict_json(b"no radiograph", set())
        assert (caught.value.status_code, caught.value.code) == (400, "not_dicom")
        await asyncio.sleep(0)
        assert (queue.pending_count, queue.batcher.incoming_requests) == (0, 0)

    asyncio.run(ask())
    queue.close()


def test_an_answer_after_the_time_limit_is_504(predictor, reader, dicom):
    queue = RequestQueue(predictor, reader, ServiceSettings(seconds=1e-6))

    async def ask() -> None:
        with pytest.raises(Problem) as caught:
            await queue.predict_json(dicom.read_bytes(), set())
        assert (caught.value.status_code, caught.value.code) == (504, "too_slow")
        while queue.pending_count:
            await asyncio.sleep(0.01)

    asyncio.run(ask())
    queue.close()


def test_the_self_test_fails_a_model_whose_probabilities_are_not_finite(predictor, classifier, reader, tmp_path):
    broken = load_model(changed(classifier, tmp_path / "broken", scale=1e25))
    for model, state in ((predictor, "ready"), (broken, "failed")):
        queue = RequestQueue(model, reader, ServiceSettings())
        assert queue.state == "starting"
        queue.start()
        queue.close()
        assert queue.state == state
