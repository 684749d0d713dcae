"""Segmentation from few masks, and from one mask and a prior: what may be seen is all that is."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medprior.cohort import Cohort
from medprior.errors import ConfigError, InputMissing
from medprior.finetune import finetune_model, load_finetuned_model
from medprior.finetune.data.few_masks import select_mask_images
from medprior.finetune.data.splits import build_train_val_datasets
from medprior.finetune.settings import FinetuneSettings
from tests.finetune.conftest import tiny, write_cohort


def few(**changes):
    return tiny(task="segmentation", **changes)


def resolved(**changes):
    return few(**changes).resolved(False, 32)


def same(one, two):
    one, two = (load_file(f / "model.safetensors") for f in (one, two))
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.fixture(scope="module")
def poisoned(cohort, tmp_path_factory):
    """The same images, every mask turned inside out but those of two training patients."""
    folder = tmp_path_factory.mktemp("poisoned") / "cohort"
    shutil.copytree(cohort.path, folder)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    twin = Cohort.open(folder)
    kept = set(select_mask_images(cohort.split("train"), ("heart",), few(masks=2)).image_ids)
    from PIL import Image

    for image_id, path in zip(twin.image_ids, twin.manifest.mask_heart, strict=True):
        if isinstance(path, str) and image_id not in kept:
            mask = twin.mask(image_id, "heart")
            Image.fromarray((~mask * 255).astype(np.uint8)).save(folder / path)
    return Cohort.open(folder)


def test_smaller_numbers_are_parts_of_larger_ones(cohort):
    train = cohort.split("train")
    found = [set(select_mask_images(train, ("heart",), few(masks=k)).image_ids) for k in (1, 2, 5)]
    assert found[0] < found[1] < found[2]
    patients = dict(zip(train.image_ids, train.patient_ids.tolist(), strict=True))
    for k, ids in zip((1, 2, 5), found, strict=True):
        assert len({patients[i] for i in ids}) == k
        assert all(train.mask(i, "heart") is not None for i in ids)
    other = select_mask_images(train, ("heart",), few(masks=1, seed=3)).image_ids
    assert set(other) != found[0]


def test_masks_that_are_unknown_change_nothing(cohort, poisoned, tmp_path):
    """Neither training nor what is kept, nor a threshold, has seen another mask."""
    torch.set_num_threads(1)
    for name, of in (("a", cohort), ("b", poisoned)):
        finetune_model(of, tmp_path / name, settings=few(masks=2, epochs=3))
    assert same(tmp_path / "a", tmp_path / "b")
    first, second = (json.loads((tmp_path / n / "config.json").read_text()) for n in "ab")
    for key in ("validation", "threshold", "training"):
        assert first[key] == second[key]
    assert first["threshold"] == {"heart": 0.5}
    assert first["training"]["kept"] == "last epoch"
    assert first["training"]["best_epoch"] == 3
    assert "no other mask" in first["validation"]["on"]
    assert load_finetuned_model(tmp_path / "a").familiarity is not None
    finetune_model(poisoned, tmp_path / "c", settings=few(masks=5, epochs=3))
    finetune_model(cohort, tmp_path / "d", settings=few(masks=5, epochs=3))
    assert not same(tmp_path / "c", tmp_path / "d"), "the others' masks would have changed it"


def test_named_images_and_their_faults(cohort):
    train = cohort.split("train")
    drawn = select_mask_images(train, ("heart",), few(masks=1)).image_ids[0]
    data, val = build_train_val_datasets(cohort, resolved(mask_images=(drawn,)))
    assert data is val
    assert data.cohort.image_ids == (drawn,) or list(data.cohort.image_ids) == [drawn]
    with pytest.raises(InputMissing, match="not among the training images"):
        build_train_val_datasets(cohort, resolved(mask_images=(cohort.split("val").image_ids[0],)))
    with pytest.raises(InputMissing, match="fewer training patients"):
        build_train_val_datasets(cohort, resolved(masks=500))
    for wrong in ({"task": "classification", "masks": 1}, {"masks": 0}, {"mask_images": ()},
                  {"masks": 1, "mask_images": ("a",)},
                  {"task": "classification", "targets": "prior"}):  # fmt: skip
        with pytest.raises(ConfigError):
            FinetuneSettings.from_values({"task": "segmentation"} | wrong)


def test_only_patients_with_a_mask_of_a_wanted_structure_count(tmp_path):
    whole = np.ones((16, 16), bool)
    masks = {"w": {"lungs": whole}, "x": {"heart": whole}, "z": {"heart": whole, "lungs": whole}}
    cohort = write_cohort(tmp_path / "c", dict.fromkeys("wxyz", "train"), masks=masks)
    assert select_mask_images(cohort, ("heart",), few(masks=2)).image_ids == ("x", "z")
    assert select_mask_images(cohort, ("heart", "lungs"), few(masks=3)).image_ids == ("w", "x", "z")
    with pytest.raises(InputMissing, match="expected 3, found 2"):
        select_mask_images(cohort, ("heart",), few(masks=3))


def test_named_images_are_taken_once_in_the_order_given(cohort):
    first, second = cohort.split("train").image_ids[:2]
    settings = few(mask_images=(second, first, second))
    assert select_mask_images(cohort.split("train"), ("heart",), settings).image_ids == (second, first)
