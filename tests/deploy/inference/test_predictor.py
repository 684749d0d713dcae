"""Trained (briefly) on phantoms, then asked about a phantom's DICOM file."""

import io
import json

import numpy as np
import pytest

from medprior.deploy import load_model
from medprior.dicom import Radiograph, read_image
from medprior.errors import Rejected
from medprior.finetune.model import load_finetuned_model as load_finetuned
from medprior.metrics.cardiothoracic_ratio import measure_cardiothoracic_ratio
from medprior.phantom import render_phantom


def test_a_reading_is_what_the_models_say(classifier, segmenter, dicom):
    predictor = load_model(classifier, segmenter=segmenter)
    reading = predictor.predict(dicom)
    pixels = read_image(dicom).pixels
    want = load_finetuned(classifier).predict_pixels(pixels)
    masks = load_finetuned(segmenter).predict_pixels(pixels).masks
    assert reading.findings == want.probabilities
    assert set(reading.findings) == set(reading.thresholds)
    assert set(masks) == set(reading.masks) == {"left_lung", "right_lung", "heart"}
    assert all(np.array_equal(masks[name], reading.masks[name]) for name in masks)
    assert all(mask.shape == pixels.shape for mask in reading.masks.values())
    assert list(reading.attention) == ["all_heads"]
    assert reading.attention["all_heads"].shape == pixels.shape
    assert reading.attention["all_heads"].mean() == pytest.approx(1, abs=0.2)
    record = json.loads(json.dumps(reading.record()))
    assert record["view"] in {"PA", "AP"}
    assert record["model_digest"] == predictor.digest
    for name, entry in record["findings"].items():
        assert entry["present"] == (want.probabilities[name] >= reading.thresholds[name])


def test_path_bytes_and_stream_agree(classifier, dicom):
    predictor = load_model(str(classifier))
    data = dicom.read_bytes()
    answers = [predictor.predict(item).record() for item in (dicom, str(dicom), data, io.BytesIO(data))]
    assert all(answer == answers[0] for answer in answers)


def test_the_heart_ratio_follows_the_masks(segmenter):
    predictor = load_model(segmenter)
    measured = 0
    for seed in range(2000, 2008):
        image = render_phantom(seed, size=256)
        reading = predictor.predict_pixels(image.pixels)
        assert reading.cardiothoracic == measure_cardiothoracic_ratio(reading.masks)
        flagged = "implausible_cardiothoracic_ratio" in reading.flags
        assert reading.cardiothoracic is None or flagged != reading.cardiothoracic.plausible
        measured += reading.cardiothoracic is not None
    assert measured > 0


def test_true_masks_give_the_phantoms_own_ratio():
    errors = []
    for seed in range(8):
        image = render_phantom(seed, size=256)
        found = measure_cardiothoracic_ratio(image.masks)
        assert found is not None
        errors.append(abs(found.ratio - image.facts["ctr"]))
    assert np.mean(errors) < 0.01


def test_doubts_are_flagged(segmenter):
    predictor = load_model(segmenter)
    image = render_phantom(2000, size=256)
    valid = np.ones(image.pixels.shape, bool)
    side = predictor.predict_radiograph(Radiograph(image.pixels, valid, view="LL", age=9, flags=("dark",)))
    assert side.flags == ("dark", "not_frontal", "child")
    assert side.cardiothoracic is None
    lying = predictor.predict_radiograph(Radiograph(image.pixels, valid, view="AP"))
    assert "ap_magnifies_heart" in lying.flags


def test_no_radiograph_is_rejected_with_its_code(classifier):
    predictor = load_model(classifier)
    with pytest.raises(Rejected) as caught:
        predictor.predict(b"no radiograph at all")
    assert caught.value.code
    with pytest.raises(Rejected):
        predictor.predict(b"")
