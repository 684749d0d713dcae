"""Flags and refusals of what models should not be asked about."""

import json

import numpy as np
import pytest

from medprior.deploy import load_model
from medprior.deploy.inference.out_of_distribution import find_implausible_masks, refuse_unfamiliar
from medprior.dicom import read_image
from medprior.errors import Rejected
from medprior.phantom import render_phantom


def test_a_chest_is_familiar_and_noise_is_not(classifier, dicom):
    predictor = load_model(classifier)
    chest = predictor.predict(dicom)
    assert refuse_unfamiliar(chest) is chest
    record = json.loads(json.dumps(chest.record()))["familiarity"]
    assert record["score"] <= record["threshold"]
    assert 0.02 < record["false_alarm_rate"] < 0.2
    assert not {"far_from_training", "familiarity_unknown"} & set(chest.flags)
    noise = np.random.default_rng(0).random((128, 128), dtype=np.float32)
    odd = predictor.predict_pixels(noise)
    assert "far_from_training" in odd.flags
    assert odd.record()["familiarity"]["score"] > record["threshold"]
    with pytest.raises(Rejected) as caught:
        refuse_unfamiliar(odd)
    assert caught.value.code == "far_from_training"


def test_an_old_model_loads_and_says_that_it_does_not_know(old_model, classifier, dicom):
    reading = load_model(old_model).predict(dicom)
    assert "familiarity_unknown" in reading.flags
    assert reading.record()["familiarity"] is None
    assert refuse_unfamiliar(reading) is reading
    assert reading.findings == load_model(classifier).predict(dicom).findings


def test_true_masks_are_plausible():
    images = [render_phantom(seed, size=192) for seed in range(40)]
    assert [find_implausible_masks(image.masks) for image in images].count([]) >= 38


def test_masks_of_no_chest_are_told():
    masks = {k: v for k, v in render_phantom(3, size=192).masks.items()
             if k in {"left_lung", "right_lung", "heart"}}  # fmt: skip
    mirrored = {name: np.fliplr(mask) for name, mask in masks.items()}
    assert "lungs' sides" in find_implausible_masks(mirrored)
    upside_down = {name: np.flipud(mask) for name, mask in masks.items()}
    assert "heart's place down" in find_implausible_masks(upside_down)
    assert find_implausible_masks(masks | {"heart": np.zeros_like(masks["heart"])}) == ["heart's area"]
    assert find_implausible_masks(masks | {"left_lung": masks["heart"] & False}) == ["a lung is missing"]
    assert find_implausible_masks({"heart": masks["heart"]}) == []


def test_flags_of_the_file_stay(classifier, dicom):
    radiograph = read_image(dicom)
    reading = load_model(classifier).predict_radiograph(radiograph)
    assert reading.flags[: len(radiograph.flags)] == radiograph.flags
    assert reading.native.stored_shape == (256, 256)
