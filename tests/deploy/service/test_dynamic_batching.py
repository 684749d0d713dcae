"""Shared batches change nothing that a predictor says."""

import threading

import numpy as np
import pytest
import torch

from medprior.bench.deploy_inputs import create_random_model
from medprior.deploy import load_model
from medprior.deploy.service.dynamic_batching import DynamicBatcher
from medprior.phantom import render_phantom

SMALL = {"width": 24, "depth": 3, "heads": 3, "patch": 8, "image_size": 64}


@pytest.fixture(scope="module")
def predictor(classifier, segmenter):
    return load_model(classifier, segmenter=segmenter)


@pytest.fixture
def batcher():
    made = DynamicBatcher(max_batch=4, window_seconds=0.05)
    yield made
    made.close()


def test_a_single_request_is_answered_bit_for_bit_as_without_batching(predictor, batcher):
    batched = batcher.predictor(predictor)
    for seed in range(3):
        pixels = render_phantom(seed, size=256).pixels
        want, found = predictor.predict_pixels(pixels), batched.predict_pixels(pixels)
        assert found.record() == want.record()
        assert found.findings == want.findings
        assert all(np.array_equal(found.masks[n], want.masks[n]) for n in want.masks)
        assert all(np.array_equal(found.attention[n], want.attention[n]) for n in want.attention)
    assert batcher.batches == batcher.images == 6


def test_the_backbone_runs_once(predictor, batcher):
    vit = predictor.models["classification"].vit
    calls = []
    handle = vit.register_forward_hook(lambda *_: calls.append(1))
    try:
        batcher.predictor(predictor).predict_pixels(render_phantom(0, size=128).pixels)
    finally:
        handle.remove()
    assert len(calls) == 1


def test_simultaneous_requests_share_batches(predictor, batcher):
    batched = batcher.predictor(predictor)
    pictures = [render_phantom(seed, size=128).pixels for seed in range(8)]
    want = [predictor.predict_pixels(pixels).findings for pixels in pictures]
    found: dict[int, dict[str, float]] = {}
    batcher.count_incoming(8)

    def read(number: int) -> None:
        found[number] = batched.predict_pixels(pictures[number]).findings

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert batcher.images == 16
    assert batcher.batches < 16
    for number, findings in enumerate(want):
        assert found[number] == pytest.approx(findings, abs=1e-5)


def test_an_error_reaches_its_caller_and_the_thread_goes_on(predictor, batcher):
    network = predictor.models["classification"].network
    with pytest.raises(Exception, match="multiple of the patch"):
        batcher.run(network, torch.zeros(1, 1, 63, 63))
    assert batcher.run(network, torch.zeros(1, 1, 64, 64)).logits.shape[0] == 1


def test_random_models_are_models(tmp_path):
    one = create_random_model(tmp_path / "c", "classification", SMALL)
    two = create_random_model(tmp_path / "s", "segmentation", SMALL)
    reading = load_model(one, segmenter=two).predict_pixels(render_phantom(0, size=128).pixels)
    assert len(reading.findings) == 14
    assert set(reading.masks) == {"left_lung", "right_lung", "heart"}
    assert set(reading.attention) == {"left_lung", "right_lung", "heart"}
