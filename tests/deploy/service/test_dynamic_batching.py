"""Shared batches change nothing that a predictor says."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from medprior.bench.deploy_inputs import create_random_model
from medprior.deploy import load_model
from medprior.deploy.service.dynamic_batching import DynamicBatcher
from medprior.networks.encoder import Tokens
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
    batcher.change_incoming_count(8)

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


class BlockingNetwork:
    """Records the batches it is given by their first pixels, and waits in the first for `release`."""

    def __init__(self):
        self.batches = []
        self.started, self.release = threading.Event(), threading.Event()

    def forward_with_tokens(self, images):
        self.batches.append(images[:, 0, 0, 0].tolist())
        self.started.set()
        assert self.release.wait(30)
        count = len(images)
        row = torch.zeros(count, 1, 1), torch.zeros(count, 1)
        return images[:, 0, 0, :1] * 10, Tokens(torch.zeros(count, 1), torch.zeros(count, 1, 1), (1, 1), *row)


def view(number, side=4):
    return torch.full((1, 1, side, side), float(number))


def queue_behind_first(batcher, pool, *views, network=None):
    """Queue `views` in order while a first one, of value 0, is being run; the network and the answers."""
    network = network or BlockingNetwork()
    answers = [pool.submit(batcher.run, network, view(0))]
    assert network.started.wait(30)
    for number, images in enumerate(views, start=1):
        answers.append(pool.submit(batcher.run, network, images))
        while batcher._queue.qsize() < number:
            pass
    return network, answers


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as threads:
        yield threads


def test_a_batch_is_no_larger_than_allowed_and_each_caller_has_its_own_row(pool):
    batcher = DynamicBatcher(max_batch=3, window_seconds=0.02)
    network, answers = queue_behind_first(batcher, pool, *(view(number) for number in (1, 2, 3, 4)))
    batcher.change_incoming_count(9)
    network.release.set()
    assert [answer.result(30).logits.item() for answer in answers] == [0, 10, 20, 30, 40]
    batcher.close()
    assert network.batches == [[0], [1, 2, 3], [4]]
    assert (batcher.batches, batcher.images) == (3, 5)


def test_a_batch_waits_for_no_more_views_than_there_are_requests(pool):
    batcher = DynamicBatcher(max_batch=4, window_seconds=30)
    network, answers = queue_behind_first(batcher, pool, *(view(number) for number in (1, 2, 3)))
    batcher.change_incoming_count(3)
    batcher.change_incoming_count(-1)
    network.release.set()
    assert len([answer.result(20) for answer in answers[:3]]) == 3
    batcher.close()
    assert network.batches == [[0], [1, 2], [3]]


def test_views_of_another_size_or_network_are_a_batch_of_their_own(pool):
    batcher = DynamicBatcher(max_batch=4, window_seconds=0.02)
    other = BlockingNetwork()
    other.release.set()
    network, answers = queue_behind_first(batcher, pool, view(1), view(2), view(3, side=8), view(4, side=8))
    answers.append(pool.submit(batcher.run, other, view(5, side=8)))
    while batcher._queue.qsize() < 5:
        pass
    batcher.change_incoming_count(9)
    network.release.set()
    assert [answer.result(30).logits.item() for answer in answers] == [0, 10, 20, 30, 40, 50]
    batcher.close()
    assert (network.batches, other.batches) == ([[0], [1, 2], [3, 4]], [[5]])


def test_closing_answers_what_is_queued_without_waiting_for_requests_on_their_way(pool):
    batcher = DynamicBatcher(max_batch=4, window_seconds=60)
    network, answers = queue_behind_first(batcher, pool, view(1))
    batcher.change_incoming_count(9)
    closing = pool.submit(batcher.close)
    while batcher._queue.qsize() < 2:
        pass
    network.release.set()
    assert [answer.result(20).logits.item() for answer in answers] == [0, 10]
    closing.result(20)
    assert not batcher._thread.is_alive()


def test_a_batch_holds_at_least_one_view():
    batcher = DynamicBatcher(max_batch=0)
    assert batcher.max_batch == 1
    batcher.close()
