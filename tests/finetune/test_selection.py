import numpy as np
import pytest
import torch
from torch import nn

from medprior.errors import InputMissing
from medprior.finetune import finetune_model
from medprior.finetune.calibration import fit_temperature
from medprior.finetune.data.dataset import build_label_dataset, build_mask_dataset
from medprior.finetune.selection import (
    calibrate_labels,
    calibrate_structures,
    check_validation_labels,
    describe_validation_data,
    predict_batches,
)
from tests.finetune.conftest import tiny, write_cohort


def test_a_validation_split_without_both_classes_is_refused(cohort, tmp_path):
    table = cohort.manifest
    wanted = (table.split != "val") | (table["large"] == 0)
    part = cohort.select(tuple(table.image_id[wanted]))
    with pytest.raises(InputMissing, match="both positive and negative validation images"):
        finetune_model(part, tmp_path / "m", settings=tiny(labels=("large",)))
    only = cohort.select(tuple(table.image_id[table.split == "train"]))
    with pytest.raises(InputMissing, match="split 'val' is empty"):
        finetune_model(only, tmp_path / "m", settings=tiny())


class ConstantNetwork(nn.Module):
    """A network that says the same of an image whatever its weights: `respond` of the batch."""

    def __init__(self, respond):
        super().__init__()
        self.respond = respond

    def forward(self, images):
        return self.respond(images)


CPU = torch.device("cpu")
INSIDE = np.zeros((16, 16), bool)
INSIDE[4:12, 4:12] = True


def segmented(tmp_path, masks):
    """Images that are 0.3 inside the square, 0.14 outside; a network of that probability."""
    picture = np.where(INSIDE, 0.3, 0.14).astype(np.float32)
    ids = "wxyz"
    cohort = write_cohort(tmp_path / "c", dict.fromkeys(ids, "val"), masks=masks, pixels=dict.fromkeys(ids, picture))
    settings = tiny(task="segmentation", size=16, source_size=16, batch=3)
    return build_mask_dataset(cohort, ("heart", "lungs"), settings), settings


def test_the_threshold_is_the_first_with_the_best_mean_dice(tmp_path):
    halves = np.zeros((16, 16), bool)
    halves[:, :8] = True
    data, settings = segmented(tmp_path, {i: {"heart": INSIDE, "lungs": ~halves | halves} for i in "wxyz"})
    result = calibrate_structures(ConstantNetwork(lambda x: x.logit().repeat(1, 2, 1, 1)), data, settings, CPU)
    assert result["threshold"] == {"heart": 0.15, "lungs": 0.1}
    assert result["validation"]["dice"] == {"heart": 1.0, "lungs": 1.0}
    assert result["validation"]["mean_dice"] == 0.0, "at one half nothing is called"
    assert result["calibration"] == {"temperature": {"heart": 1.0, "lungs": 1.0}}
    assert (result["validation"]["on"], result["validation"]["images"]) == ("masks of val", 4)
    assert result["validation"]["known"] == {"heart": 4, "lungs": 4}


def test_images_without_a_mask_do_not_count_for_its_structure(tmp_path):
    wrong = {"heart": ~INSIDE}
    data, settings = segmented(tmp_path, {"w": wrong, "x": {"lungs": INSIDE}, "y": {"lungs": INSIDE}})
    network = ConstantNetwork(lambda x: x.logit().repeat(1, 2, 1, 1))
    result = calibrate_structures(network, data, settings, CPU)
    everything = 2 * 192 / (256 + 192)  # all 256 pixels called, 192 of them right
    assert result["validation"]["dice"] == {"heart": pytest.approx(everything), "lungs": 1.0}
    assert result["threshold"] == {"heart": 0.1, "lungs": 0.15}
    assert result["validation"]["known"] == {"heart": 1, "lungs": 2}


def test_with_few_masks_the_threshold_stays_at_one_half(tmp_path):
    data, settings = segmented(tmp_path, {i: {"heart": INSIDE, "lungs": INSIDE} for i in "wxyz"})
    few = settings.model_copy(update={"masks": 1})
    brighter = ConstantNetwork(lambda x: (x * 2).logit().repeat(1, 2, 1, 1))
    result = calibrate_structures(brighter, data, few, CPU)
    assert result["threshold"] == {"heart": 0.5, "lungs": 0.5}
    assert result["validation"]["mean_dice"] == 1.0
    assert result["validation"]["on"] == "the training images: no other mask is known"


def test_a_structure_no_threshold_can_judge_stays_at_one_half(tmp_path):
    data, settings = segmented(tmp_path, {i: {"heart": INSIDE, "lungs": INSIDE & False} for i in "wxyz"})
    none = ConstantNetwork(lambda x: torch.full((len(x), 2, 16, 16), -20.0))
    result = calibrate_structures(none, data, settings, CPU)
    assert result["threshold"] == {"heart": 0.1, "lungs": 0.5}
    assert result["validation"]["dice"] == {"heart": 0.0, "lungs": None}


def test_labels_are_calibrated_on_images_of_known_value(tmp_path):
    """Logits -1, 0, 1, 2 of the four images; `b` has no negative, so it keeps its defaults."""
    labels = {"w": {"a": 0.0, "b": 1.0}, "x": {"a": 1.0}, "y": {"a": 0.0}, "z": {"a": 1.0, "b": 1.0}}
    levels = {i: np.full((16, 16), 0.1 * (n + 1), np.float32) for n, i in enumerate("wxyz")}
    cohort = write_cohort(tmp_path / "c", dict.fromkeys("wxyz", "val"), labels, pixels=levels)
    settings = tiny(size=16, source_size=16, batch=3)
    data = build_label_dataset(cohort, ("a", "b"), settings)
    network = ConstantNetwork(lambda x: (x.mean((2, 3)) * 10 - 2).round().repeat(1, 2))
    result = calibrate_labels(network, data, settings, CPU)
    temperature = result["calibration"]["temperature"]
    assert temperature["a"] == fit_temperature(np.array([-1.0, 0, 1, 2]), np.array([0.0, 1, 0, 1])) != 1
    assert temperature["b"] == 1
    assert result["threshold"]["b"] == 0.5
    middle = sum(1 / (1 + np.exp(-z / temperature["a"])) for z in (1, 2)) / 2
    assert result["threshold"]["a"] == pytest.approx(middle, abs=1e-6)
    assert result["validation"] == {
        "mean_auc": 0.75, "auc": {"a": 0.75, "b": None}, "images": 4,
        "positive": {"a": 2, "b": 2}, "negative": {"a": 2, "b": 0},
    }  # fmt: skip


def test_one_label_with_both_classes_is_enough(tmp_path):
    def dataset(name, *values):
        labels = {i: {"a": a, "b": b} for i, (a, b) in zip("xyz", values, strict=True)}
        cohort = write_cohort(tmp_path / name, dict.fromkeys("xyz", "val"), labels)
        return build_label_dataset(cohort, ("a", "b"), tiny(uncertain="soft"))

    check_validation_labels(dataset("both", (1.0, 1.0), (1.0, 0.0), (1.0, 0.5)))
    with pytest.raises(InputMissing, match="found 3 images, 4 positive"):
        check_validation_labels(dataset("positive", (1.0, 1.0), (1.0, 0.5), (0.5, float("nan"))))


def test_predictions_are_made_in_order_in_evaluation_mode(tmp_path):
    levels = {i: np.full((16, 16), 0.1 * (n + 1), np.float32) for n, i in enumerate("xyz")}
    cohort = write_cohort(tmp_path / "c", dict.fromkeys("xyz", "val"), {i: {"a": 1.0} for i in "xyz"}, pixels=levels)
    settings = tiny(size=16, source_size=16, batch=2)
    network = ConstantNetwork(lambda x: x.mean((2, 3))).train()
    batches = list(predict_batches(network, build_label_dataset(cohort, ("a",), settings), settings, CPU))
    assert not network.training
    assert [len(pred) for pred, _ in batches] == [2, 1]
    found = torch.cat([pred for pred, _ in batches])[:, 0].tolist()
    assert found == pytest.approx([0.1, 0.2, 0.3], abs=1e-4)


def test_the_validation_data_is_described():
    pseudo = tiny(task="segmentation", targets="prior", masks=1)
    assert describe_validation_data(pseudo) == "pseudo-masks of the prior"
    assert describe_validation_data(tiny(task="segmentation", mask_images=("a",))).startswith("the training images")
    assert describe_validation_data(tiny(task="segmentation")) == "masks of val"


def test_rates_at_the_threshold_are_those_of_the_validation_images(tmp_path):
    """Logits -1, 0, 1, 2: above the threshold between 0 and 1 lie one negative and one positive image."""
    labels = {"w": {"a": 1.0}, "x": {"a": 0.0, "b": 1.0}, "y": {"a": 0.0}, "z": {"a": 1.0, "b": 1.0}}
    levels = {i: np.full((16, 16), 0.1 * (n + 1), np.float32) for n, i in enumerate("wxyz")}
    cohort = write_cohort(tmp_path / "c", dict.fromkeys("wxyz", "val"), labels, pixels=levels)
    data = build_label_dataset(cohort, ("a", "b"), tiny(size=16, source_size=16, batch=3))
    network = ConstantNetwork(lambda x: (x.mean((2, 3)) * 10 - 2).round().repeat(1, 2))
    result = calibrate_labels(network, data, tiny(size=16, source_size=16, batch=3), CPU)
    assert result["threshold"]["a"] > 0.7  # only the image z reaches it
    assert result["operating_point"]["sensitivity"]["a"] == 0.5
    assert result["operating_point"]["specificity"]["a"] == 1.0
    assert result["operating_point"]["specificity"]["b"] is None  # no image without b
