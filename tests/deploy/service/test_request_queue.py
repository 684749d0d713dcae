"""The queue between requests and the models."""

import concurrent.futures
import io

import httpx
import numpy as np
import pytest
from PIL import Image

from medprior.bench.deploy_inputs import create_good_files
from medprior.deploy.inference.example import create_example_dicom
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
