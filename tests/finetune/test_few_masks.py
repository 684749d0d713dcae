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
from medprior.finetune.data.pseudo_masks import threshold_prior_maps
from medprior.finetune.data.splits import build_train_val_datasets
from medprior.finetune.losses import masked_dice_bce
from medprior.finetune.settings import FEW_MASKS_DEFAULTS, FinetuneSettings
from tests.finetune.conftest import make_cohort, tiny
from tests.finetune.priors import SIDE, discs, write_prior


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
            FinetuneSettings.checked({"task": "segmentation"} | wrong)


def test_few_masks_train_longer_unless_told():
    plain = FinetuneSettings.checked({"task": "segmentation", "masks": 1})
    assert plain.epochs == FEW_MASKS_DEFAULTS["epochs"]
    assert FinetuneSettings.checked({"task": "segmentation", "masks": 1, "epochs": 7}).epochs == 7
    pseudo = FinetuneSettings.checked({"task": "segmentation", "masks": 1, "targets": "prior"})
    assert pseudo.epochs == 15


def test_pseudo_masks_are_the_half_level(cohort, tmp_path):
    from scipy.ndimage import gaussian_filter

    layers = discs(cohort)
    prior = write_prior(tmp_path / "p", cohort, lambda i: gaussian_filter(layers(i), (0, 1, 1)))
    ids = cohort.image_ids[:3]
    found = threshold_prior_maps(prior, ids, ("heart",), SIDE)
    for row, image_id in enumerate(ids):
        assert ((found[row] == 255) == (prior.maps_for(image_id) >= 0.5)).all()
    large = threshold_prior_maps(prior, ids, ("heart",), 40)
    assert large.shape == (3, 1, 40, 40)
    assert large.mean() == pytest.approx(found.mean(), rel=0.1)


def test_what_an_image_counts(cohort, tmp_path):
    train, val = cohort.split("train"), cohort.split("val")
    doubtful, failed, drawn = train.image_ids[1], train.image_ids[2], train.image_ids[5]
    assert train.mask(drawn, "heart") is not None
    trust = {doubtful: 0.5, failed: 0.0, val.image_ids[0]: 0.5}
    empty = np.zeros((1, SIDE, SIDE))
    prior = write_prior(tmp_path / "p", cohort, lambda _: empty, trust, excluded=[drawn])
    data, held = build_train_val_datasets(cohort, resolved(targets="prior"), prior)
    ids = list(data.cohort.image_ids)
    assert failed not in ids
    assert len(ids) == len(train) - 1
    assert data[ids.index(doubtful)]["weight"] == 0.5
    assert data[ids.index(ids[0])]["weight"] == 1
    assert data[ids.index(drawn)]["label"].sum() > 0, "its own mask is taken"
    assert sum(data[i]["label"].sum() > 0 for i in range(len(data))) == 1
    assert val.image_ids[0] not in held.cohort.image_ids
    assert held.targets.sum() == 0, "no mask of validation is read"
    more, _ = build_train_val_datasets(cohort, resolved(targets="prior", masks=3), prior)
    own = set(select_mask_images(train, ("heart",), few(masks=3)).image_ids) - {failed}
    hard = {more.cohort.image_ids[i] for i in range(len(more)) if more[i]["label"].sum() > 0}
    assert own <= hard <= own | {failed}
    other = make_cohort(tmp_path / "c", 30)
    stranger = write_prior(tmp_path / "q", other.take(1), lambda _: empty)
    with pytest.raises(InputMissing, match="no trusted map"):
        build_train_val_datasets(cohort, resolved(targets="prior"), stranger)
    with pytest.raises(InputMissing, match="no map of spleen"):
        build_train_val_datasets(cohort, resolved(targets="prior", structures=("spleen",)), prior)


def test_half_the_weight_is_half_the_gradient():
    torch.manual_seed(0)
    logits = torch.randn(3, 2, 8, 8, requires_grad=True)
    targets = (torch.rand(3, 2, 8, 8) > 0.5).float()
    targets[1, 0] = torch.nan
    weight = torch.tensor([1.0, 0.5, 0.0])
    each = []
    for row in range(3):
        alone = masked_dice_bce(logits[row : row + 1], targets[row : row + 1])
        each.append(alone * (~torch.isnan(targets[row])).all(-1).all(-1).sum())
    wanted = sum(w * one for w, one in zip(weight.tolist(), each, strict=True)) / 5
    found = masked_dice_bce(logits, targets, weight=weight)
    torch.testing.assert_close(found, wanted)
    (grad,) = torch.autograd.grad(found, logits)
    assert grad[2].abs().max() == 0
    assert torch.equal(masked_dice_bce(logits, targets, weight=torch.ones(3)),
                       masked_dice_bce(logits, targets))  # fmt: skip


@pytest.mark.slow
def test_a_prior_teaches_where_no_mask_is(tmp_path):
    """No image has a mask; the maps alone make a segmenter that finds the disc on test images."""
    unmasked = make_cohort(tmp_path / "c", 120, per_patient=1, masks=False)
    write_prior(tmp_path / "p", unmasked, discs(unmasked))
    settings = few(targets="prior", epochs=20, lr=3e-3, checkpoint_every=20)
    finetune_model(unmasked, tmp_path / "m", settings=settings, prior=tmp_path / "p")
    record = json.loads((tmp_path / "m" / "config.json").read_text())
    assert record["validation"]["on"] == "pseudo-masks of the prior"
    assert "prior" in record["inputs"]
    test = unmasked.split("test")
    found = load_finetuned_model(tmp_path / "m").predict_cohort(test)[:, 0] >= 0.5
    truth = np.asarray(test.squares(40)) > 0.5
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.75


def test_a_prior_is_asked_for_and_unused_ones_are_not_read(cohort, tmp_path):
    with pytest.raises(InputMissing, match="need a spatial prior"):
        finetune_model(cohort, tmp_path / "m", settings=few(targets="prior"))
    finetune_model(cohort, tmp_path / "n", settings=few(epochs=1), prior=tmp_path / "nothing")
    record = json.loads((tmp_path / "n" / "config.json").read_text())
    assert "prior" not in record["inputs"]
