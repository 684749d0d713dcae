"""Flags and refusals of what models should not be asked about."""

import json

import numpy as np
import pytest

from medprior.deploy import load_model
from medprior.deploy.inference.out_of_distribution import (
    compute_mask_centroid,
    find_implausible_masks,
    refuse_unfamiliar,
    select_familiarity,
)
from medprior.dicom import read_image
from medprior.errors import Rejected
from medprior.finetune.familiarity import OutOfDistributionScore
from medprior.finetune.model import Prediction
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


def draw_chest(rows=(50, 150), columns=(50, 150), lung_columns=25, heart=((100, 130), (95, 125))):
    """Masks on 200 x 200 pixels: both lungs as columns at the sides of a box, and a heart within."""
    masks = {name: np.zeros((200, 200), bool) for name in ("right_lung", "left_lung", "heart")}
    masks["right_lung"][slice(*rows), columns[0] : columns[0] + lung_columns] = True
    masks["left_lung"][slice(*rows), columns[1] - lung_columns : columns[1]] = True
    masks["heart"][slice(*heart[0]), slice(*heart[1])] = True
    return masks


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"columns": (50, 149)}, ["lungs' width"]), ({"columns": (0, 200), "lung_columns": 50}, []),
        ({"rows": (70, 134)}, []), ({"rows": (70, 133)}, ["lungs' height"]), ({"rows": (0, 200)}, []),
        ({"lung_columns": 11}, []), ({"lung_columns": 37}, []),
        ({"lung_columns": 10}, ["left lung's area", "right lung's area"]),
        ({"lung_columns": 38}, ["left lung's area", "right lung's area"]),
        ({"heart": ((105, 120), (100, 120))}, []), ({"heart": ((105, 120), (100, 119))}, ["heart's area"]),
        ({"heart": ((80, 130), (75, 145))}, []), ({"heart": ((80, 130), (75, 146))}, ["heart's area"]),
        ({"heart": ((105, 125), (82, 103))}, []), ({"heart": ((105, 125), (81, 102))}, ["heart's place across"]),
        ({"heart": ((105, 125), (118, 139))}, []), ({"heart": ((105, 125), (119, 140))}, ["heart's place across"]),
        ({"heart": ((80, 101), (100, 120))}, []), ({"heart": ((79, 100), (100, 120))}, ["heart's place down"]),
        ({"heart": ((135, 156), (100, 120))}, []), ({"heart": ((136, 157), (100, 120))}, ["heart's place down"]),
    ],
)  # fmt: skip
def test_each_limit_of_a_plausible_chest(changes, expected):
    """The box around both lungs is a quarter of the picture: a column of a lung is a hundredth of the box."""
    assert find_implausible_masks(draw_chest(**changes)) == expected


def test_the_areas_of_the_lungs_are_told_apart_and_equal_sides_are_no_sides():
    masks = draw_chest()
    thin = masks["right_lung"].copy()
    thin[:, 61:] = False
    thin[60, 60] = False  # 1099 of 10 000 pixels of the box
    assert find_implausible_masks(masks | {"right_lung": thin}) == ["right lung's area"]
    both = masks["left_lung"].copy()
    both[:, 50:100] = True
    same = {"left_lung": both, "right_lung": both}
    assert "lungs' sides" in find_implausible_masks(same)


def test_the_centre_of_a_mask_is_its_mean_row_and_column():
    mask = np.zeros((5, 7), bool)
    mask[1, 2:5], mask[4, 6] = True, True
    assert compute_mask_centroid(mask) == (7 / 4, 15 / 4)


def test_the_classifier_tells_familiarity_before_the_segmenter():
    def answer(score):
        familiarity = None if score is None else OutOfDistributionScore(score, 2.0, 0.05)
        return Prediction({}, {}, {}, familiarity=familiarity)

    both = {"segmentation": answer(1.0), "classification": answer(3.0)}
    assert select_familiarity(both).score == 3.0
    assert select_familiarity({"segmentation": answer(1.0), "classification": answer(None)}).score == 1.0
    assert select_familiarity({"segmentation": answer(None)}) is None
    assert select_familiarity({}) is None
