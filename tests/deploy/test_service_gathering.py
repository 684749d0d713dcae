"""One pass and shared batches change nothing that a predictor says."""

import threading

import numpy as np
import pytest
import torch

from medprior.bench.deploy_inputs import create_random_model
from medprior.deploy import load_model
from medprior.deploy.service.dynamic_batching import DynamicBatcher
from medprior.finetune.single_pass import run_single_pass
from medprior.networks.attention import compute_attention_maps
from medprior.phantom import render_phantom

SMALL = {"width": 24, "depth": 3, "heads": 3, "patch": 8, "image_size": 64}


@pytest.fixture(scope="module")
def predictor(classifier, segmenter):
    return load_model(classifier, segmenter=segmenter)


@pytest.fixture
def gathering():
    made = DynamicBatcher(max_batch=4, window_seconds=0.05)
    yield made
    made.close()


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_one_pass_gives_what_several_gave(task, predictor):
    model = predictor.models[task]
    images = torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits, tokens = model.network(images), model.vit(images, capture=True)
        seen = run_single_pass(model.network, images)
    assert torch.equal(seen.logits, logits)
    for name in ("cls", "patches", "cls_logits", "cls_mass"):
        assert torch.equal(getattr(seen.tokens, name), getattr(tokens, name)), name
    assert seen.tokens.grid == tokens.grid
    looked = seen.tokens.cls_logits.softmax(-1).reshape(3, -1, 8, 8)
    assert torch.equal(compute_attention_maps(model.vit, images), looked)


def test_alone_the_answer_is_the_same_bits(predictor, gathering):
    gathered = gathering.predictor(predictor)
    for seed in range(3):
        pixels = render_phantom(seed, size=256).pixels
        want, found = predictor.predict_pixels(pixels), gathered.predict_pixels(pixels)
        assert found.record() == want.record()
        assert found.findings == want.findings
        assert all(np.array_equal(found.masks[n], want.masks[n]) for n in want.masks)
        assert all(np.array_equal(found.attention[n], want.attention[n]) for n in want.attention)
    assert gathering.batches == gathering.images == 6


def test_the_backbone_runs_once(predictor, gathering):
    vit = predictor.models["classification"].vit
    calls = []
    handle = vit.register_forward_hook(lambda *_: calls.append(1))
    try:
        gathering.predictor(predictor).predict_pixels(render_phantom(0, size=128).pixels)
    finally:
        handle.remove()
    assert len(calls) == 1


def test_together_they_share_batches(predictor, gathering):
    gathered = gathering.predictor(predictor)
    pictures = [render_phantom(seed, size=128).pixels for seed in range(8)]
    want = [predictor.predict_pixels(pixels).findings for pixels in pictures]
    found: dict[int, dict[str, float]] = {}
    gathering.count_incoming(8)

    def read(number: int) -> None:
        found[number] = gathered.predict_pixels(pictures[number]).findings

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gathering.images == 16
    assert gathering.batches < 16
    for number, findings in enumerate(want):
        assert found[number] == pytest.approx(findings, abs=1e-5)


def test_a_fault_reaches_who_asked_and_ends_nothing(predictor, gathering):
    network = predictor.models["classification"].network
    with pytest.raises(Exception, match="multiple of the patch"):
        gathering.run(network, torch.zeros(1, 1, 63, 63))
    assert gathering.run(network, torch.zeros(1, 1, 64, 64)).logits.shape[0] == 1


def test_random_models_are_models(tmp_path):
    one = create_random_model(tmp_path / "c", "classification", SMALL)
    two = create_random_model(tmp_path / "s", "segmentation", SMALL)
    reading = load_model(one, segmenter=two).predict_pixels(render_phantom(0, size=128).pixels)
    assert len(reading.findings) == 14
    assert set(reading.masks) == {"left_lung", "right_lung", "heart"}
    assert set(reading.attention) == {"left_lung", "right_lung", "heart"}
