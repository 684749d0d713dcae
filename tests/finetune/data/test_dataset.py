import numpy as np
import pytest
import torch

from medprior.finetune.data.dataset import (
    LabelledImages,
    build_completed_mask_dataset,
    build_label_dataset,
    build_mask_dataset,
)
from medprior.finetune.span import PriorTargets
from tests.finetune.conftest import tiny, write_cohort
from tests.finetune.priors import SIDE, write_prior

NAN = float("nan")


def labelled(path):
    """Three images with known, uncertain and unknown values of the labels `a` and `b`."""
    labels = {"x": {"a": 1.0, "b": NAN}, "y": {"a": 0.5, "b": 0.5}, "z": {"a": NAN, "b": NAN}}
    return write_cohort(path, dict.fromkeys("xyz", "train"), labels)


@pytest.mark.parametrize(("policy", "ids", "targets"), [
    ("ignore", ("x",), [[1, NAN]]), ("ones", ("x", "y"), [[1, NAN], [1, 1]]),
    ("zeros", ("x", "y"), [[1, NAN], [0, 0]]), ("soft", ("x", "y"), [[1, NAN], [0.5, 0.5]]),
])  # fmt: skip
def test_images_without_a_known_label_are_left_out_after_the_policy(tmp_path, policy, ids, targets):
    data = build_label_dataset(labelled(tmp_path / "c"), ("a", "b"), tiny(uncertain=policy))
    assert data.cohort.image_ids == ids
    np.testing.assert_array_equal(data.targets, targets)
    np.testing.assert_array_equal(data.known, ~np.isnan(targets))


def test_images_without_a_mask_are_left_out_and_coverage_is_in_255ths(tmp_path):
    left = np.zeros((16, 16), bool)
    left[:, :3] = True
    masks = {"w": {"heart": left}, "x": {"heart": left, "lungs": ~left}, "z": {"lungs": left}}
    cohort = write_cohort(tmp_path / "c", dict.fromkeys("wxyz", "train"), masks=masks)
    data = build_mask_dataset(cohort, ("heart", "lungs"), tiny(task="segmentation", source_size=16))
    assert data.cohort.image_ids == ("w", "x", "z")
    assert data.known.tolist() == [[True, False], [True, True], [False, True]]
    assert data.targets.dtype == np.uint8
    assert data.targets[:, :, 0, 0].tolist() == [[255, 0], [255, 0], [0, 255]]
    assert data.targets[:, :, 0, 15].tolist() == [[0, 0], [0, 255], [0, 0]]
    only_hearts = build_mask_dataset(cohort, ("heart",), tiny(task="segmentation", source_size=16))
    assert only_hearts.cohort.image_ids == ("w", "x")


def test_partial_coverage_is_rounded_to_the_nearest_255th(tmp_path):
    column = np.zeros((16, 16), bool)
    column[:, 0] = True
    cohort = write_cohort(tmp_path / "c", {"x": "train"}, masks={"x": {"heart": column}})
    data = build_mask_dataset(cohort, ("heart",), tiny(task="segmentation", source_size=16))
    exact, known = cohort.mask_squares("heart", 24)
    coarse = build_mask_dataset(cohort, ("heart",), tiny(task="segmentation", source_size=24)).targets[0, 0]
    assert known.all()
    assert data.targets[0, 0, 0].tolist() == [255] + [0] * 15
    np.testing.assert_allclose(coarse, exact[0] * 255, atol=0.5 + 1e-4)
    assert 0 < coarse[0, 1] < 255


def test_allowed_masks_replace_pseudo_masks_where_they_are_known(tmp_path):
    """Of x the heart alone is known; y is not allowed; z is allowed and has both."""
    half = np.zeros((16, 16), bool)
    half[:, :8] = True
    masks = {"x": {"heart": half}, "y": {"heart": half, "lungs": half}, "z": {"heart": half, "lungs": ~half}}
    cohort = write_cohort(tmp_path / "c", dict.fromkeys("xyz", "train"), masks=masks)
    pseudo, weight = np.full((3, 2, 16, 16), 100, np.uint8), np.array([1.0, 0.5, 0.25])
    data = build_completed_mask_dataset(cohort, ("heart", "lungs"), pseudo, {"x", "z"}, weight)
    assert data.targets[:, :, 0, 0].tolist() == [[255, 100], [100, 100], [255, 0]]
    assert data.targets[:, :, 0, 15].tolist() == [[0, 100], [100, 100], [0, 255]]
    assert data.known.all()
    assert data.known.shape == (3, 2)
    assert [data[row]["weight"].item() for row in range(3)] == [1.0, 0.5, 0.25]
    none = build_completed_mask_dataset(cohort, ("heart",), pseudo[:, :1] * 0, set(), weight)
    assert not none.targets.any()


def test_a_sample_holds_its_own_row(tmp_path):
    tall = np.full((16, 8), 0.5, np.float32)
    cohort = write_cohort(tmp_path / "c", dict.fromkeys("xy", "train"), pixels={"y": tall})
    labels = np.array([[0, NAN], [1, 0]], np.float32)
    data = LabelledImages(cohort, labels, ~np.isnan(labels), ("a", "b"), 16, weight=np.array([1.0, 0.25]))
    assert len(data) == 2
    sample = data[1]
    assert sample.keys() == {"image", "aspect", "label", "known", "index", "weight"}
    assert sample["image"].shape == (1, 16, 16)
    torch.testing.assert_close(sample["image"], torch.full((1, 16, 16), 0.5), atol=1e-4, rtol=0)
    assert (sample["aspect"].item(), sample["index"].item(), sample["weight"].item()) == (0.5, 1, 0.25)
    assert sample["label"].tolist() == [1, 0]
    assert data[0]["known"].tolist() == [True, False]
    sample["label"][:] = 7
    assert data[1]["label"].tolist() == [1, 0], "a sample is a copy"


def test_a_sample_holds_the_prior_of_its_image_if_heads_follow_one(tmp_path):
    cohort = write_cohort(tmp_path / "c", dict.fromkeys("xy", "train"))
    levels = {"x": 0.2, "y": 0.6}
    prior = write_prior(tmp_path / "p", cohort, lambda i: np.full((1, SIDE, SIDE), levels[i]), {"y": 0.5})
    labels = np.zeros((2, 1), np.float32)
    data = LabelledImages(cohort, labels, labels == 0, ("a",), 16)
    assert "maps" not in data[1]
    assert "weight" not in data[1]
    data.prior_targets = PriorTargets(prior, ("heart",))
    assert data[1]["trust"].item() == 0.5
    assert data[1]["maps"].unique().tolist() == pytest.approx([0.6])
    assert data[0]["maps"].unique().tolist() == pytest.approx([0.2])
