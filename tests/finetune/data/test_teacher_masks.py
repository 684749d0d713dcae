"""Self-training: the teachers' masks, the weight of an image, masks of the cohort."""

import json

import numpy as np
import pytest
import torch

from medprior.errors import ConfigError, InputMissing
from medprior.finetune import finetune_model, load_finetuned_model
from medprior.finetune.data import teacher_masks
from medprior.finetune.data.splits import build_train_val_datasets
from medprior.finetune.data.teacher_masks import (
    FULL_AGREEMENT,
    MIN_AGREEMENT,
    change_views,
    load_teachers,
    predict_teacher_masks,
)
from medprior.geometry import create_whole_image_views
from medprior.metrics.overlap import compute_dice
from tests.finetune.conftest import make_cohort, tiny, write_cohort


def student(**changes):
    return tiny(task="segmentation", targets="teacher", **changes)


@pytest.fixture(scope="module")
def teacher(cohort, tmp_path_factory):
    """A segmenter that finds the disc, trained on the cohort's masks."""
    out = tmp_path_factory.mktemp("teacher") / "m"
    return finetune_model(cohort, out, settings=tiny(task="segmentation", epochs=25, lr=3e-3, checkpoint_every=25))


def test_views_are_scaled_about_their_centre_and_shifted():
    views = create_whole_image_views(np.array([1.0, 2.0]), (4, 4))
    changed = change_views(views, 0.5, 0.25, -0.1)
    np.testing.assert_allclose(changed.box, [[0.5, 0.15, 0.5, 0.5], [0.5, 0.15, 1.0, 0.5]])
    np.testing.assert_allclose(change_views(views, 1, 0, 0).box, views.box)


def test_the_compared_views_are_the_plain_one_and_opposite_pairs():
    changes = np.array(teacher_masks.VIEW_CHANGES)
    assert changes[0].tolist() == [1, 0, 0]
    np.testing.assert_allclose(changes[1] + changes[2], [2, 0, 0])
    np.testing.assert_allclose(changes[3] + changes[4], [2, 0, 0])
    np.testing.assert_allclose(np.abs(changes - [1, 0, 0]).max(axis=0), [0.08, 0.03, 0.04])


def test_masks_are_those_of_the_mean_pass_and_the_weight_is_the_least_agreement(cohort, teacher, monkeypatch):
    square = np.zeros((40, 40), bool)
    square[10:30, 10:30] = True
    smaller = np.zeros((40, 40), bool)
    smaller[10:30, 10:26] = True  # Dice with `square` is 2 * 320 / 720
    same, shrunk = torch.from_numpy(np.stack([square] * 5)), torch.from_numpy(np.stack([square] * 4 + [smaller]))
    passes = torch.stack([same, shrunk], dim=1)[:, :, None].float()
    monkeypatch.setattr(teacher_masks, "predict_changed_views", lambda *_: iter([passes]))
    part = cohort.select(cohort.image_ids[:2])
    taught = predict_teacher_masks([], part, ("heart",), 40)
    assert ((taught.coverage[:, 0] == 255) == square).all()
    agreement = (4 + 640 / 720) / 5
    expected = np.clip((agreement - MIN_AGREEMENT) / (FULL_AGREEMENT - MIN_AGREEMENT), 0, 1)
    np.testing.assert_allclose(taught.weight, [1.0, expected])


def test_an_empty_mask_teaches_nothing(cohort, monkeypatch):
    monkeypatch.setattr(teacher_masks, "predict_changed_views", lambda *_: iter([torch.zeros(5, 1, 1, 40, 40)]))
    taught = predict_teacher_masks([], cohort.select(cohort.image_ids[:1]), ("heart",), 40)
    assert taught.weight.tolist() == [0.0]
    assert not taught.coverage.any()


def test_a_trained_teacher_marks_images_without_masks(cohort, teacher, tmp_path):
    unmasked = make_cohort(tmp_path / "c", 40, per_patient=1, masks=False)
    truth = make_cohort(tmp_path / "t", 40, per_patient=1)
    taught = predict_teacher_masks([load_finetuned_model(teacher)], unmasked, ("heart",), 40)
    squares, known = truth.mask_squares("heart", 40)
    dice = compute_dice(taught.coverage[known, 0] > 127, np.asarray(squares)[known] >= 0.5)
    assert np.nanmean(dice) > 0.7
    assert taught.weight.max() > 0


def test_masks_of_the_cohort_stay_and_others_are_taught(cohort, teacher, monkeypatch):
    monkeypatch.setattr(teacher_masks, "MIN_AGREEMENT", -1.0)
    settings = student().resolved(False, 32)
    train, val = build_train_val_datasets(cohort, settings, teachers=[teacher])
    annotated = {i for i in train.cohort.image_ids if cohort.mask(i, "heart") is not None}
    assert annotated < set(train.cohort.image_ids), "images without a mask are added"
    squares, _ = train.cohort.mask_squares("heart", 40)
    for row, image_id in enumerate(train.cohort.image_ids):
        if image_id in annotated:
            assert train[row]["weight"] == 1
            np.testing.assert_array_equal(train.targets[row, 0], np.rint(np.asarray(squares[row]) * 255))
        else:
            assert 0 < train[row]["weight"] <= 1
    assert all(cohort.mask(i, "heart") is not None for i in val.cohort.image_ids)
    limited, _ = build_train_val_datasets(cohort, student(masks=2).resolved(False, 32), teachers=[teacher])
    own = [i for i in annotated if np.array_equal(
        limited.targets[limited.cohort.image_ids.index(i), 0],
        np.rint(np.asarray(cohort.select([i]).mask_squares("heart", 40)[0][0]) * 255),
    )] if annotated <= set(limited.cohort.image_ids) else []  # fmt: skip
    assert len({cohort.select([i]).patient_ids[0] for i in own}) <= 2


def test_requested_structures_need_no_teacher_for_the_others(teacher, tmp_path):
    """A cohort with masks of heart and left lung; by default both are learnt, of which the teacher knows one."""
    inside = np.zeros((16, 16), bool)
    inside[4:12, 4:12] = True
    masks = {image_id: {"heart": inside, "left_lung": inside} for image_id in "wxyz"}
    both = write_cohort(tmp_path / "c", dict(zip("wxyz", ("train", "train", "train", "val"), strict=True)), masks=masks)
    train, val = build_train_val_datasets(both, student(structures=("heart",)).resolved(False, 32), teachers=[teacher])
    assert train.names == val.names == ("heart",)
    assert train.cohort.image_ids == ("w", "x", "y")
    with pytest.raises(ConfigError, match="no output for left_lung"):
        build_train_val_datasets(both, student().resolved(False, 32), teachers=[teacher])


def test_self_training_records_its_teachers_and_repeats(cohort, teacher, tmp_path):
    settings = student(epochs=1)
    for name in ("a", "b"):
        finetune_model(cohort, tmp_path / name, settings=settings, teachers=[teacher])
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b"))
    assert first == second
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert "teacher" in config["inputs"]


def test_bad_teachers_are_refused(cohort, teacher, tmp_path):
    with pytest.raises(InputMissing, match="needs trained segmenters"):
        build_train_val_datasets(cohort, student().resolved(False, 32))
    with pytest.raises(ConfigError, match="no output for spleen"):
        load_teachers([teacher], ("spleen",))
