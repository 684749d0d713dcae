"""Pseudo-masks from a prior: threshold, weight of an image, annotated images."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from medprior.errors import InputMissing
from medprior.finetune import finetune_model, load_finetuned_model
from medprior.finetune.data.few_masks import select_mask_images
from medprior.finetune.data.pseudo_masks import (
    CHUNK_IMAGES,
    build_pseudo_mask_dataset,
    choose_prior_structures,
    threshold_prior_maps,
)
from medprior.finetune.data.splits import build_train_val_datasets
from medprior.priors import SpatialPrior
from tests.finetune.conftest import make_cohort, tiny, write_cohort
from tests.finetune.priors import SIDE, discs, write_prior


def few(**changes):
    return tiny(task="segmentation", **changes)


def resolved(**changes):
    return few(**changes).resolved(False, 32)


def test_pseudo_masks_are_thresholded_at_one_half(cohort, tmp_path):
    layers = discs(cohort)
    prior = write_prior(tmp_path / "p", cohort, lambda i: gaussian_filter(layers(i), (0, 1, 1)))
    ids = cohort.image_ids[:3]
    found = threshold_prior_maps(prior, ids, ("heart",), SIDE)
    for row, image_id in enumerate(ids):
        assert ((found[row] == 255) == (prior.maps_for(image_id) >= 0.5)).all()
    large = threshold_prior_maps(prior, ids, ("heart",), 40)
    assert large.shape == (3, 1, 40, 40)
    assert large.mean() == pytest.approx(found.mean(), rel=0.1)


def test_images_are_weighted_by_trust_and_annotated_images_keep_their_masks(cohort, tmp_path):
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


@pytest.mark.slow
def test_a_segmenter_is_learned_from_maps_alone(tmp_path):
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


def test_a_map_value_of_one_half_is_inside(cohort):
    levels = np.array([[[[127, 128], [0, 255]]]], np.uint8).repeat(16, axis=-1).repeat(16, axis=-2)
    table = pd.DataFrame({"image_id": [cohort.image_ids[0]], "trust": [1.0]})
    prior = SpatialPrior(levels[0] / np.float32(255), ("heart",), "affine", "annotation", per_image=levels, table=table)
    found = threshold_prior_maps(prior, cohort.image_ids[:1], ("heart",), SIDE)[0, 0]
    assert [found[0, 0], found[0, 31], found[31, 0], found[31, 31]] == [0, 255, 0, 255]
    exactly_half = SpatialPrior(np.full((1, SIDE, SIDE), 0.5, np.float32), ("heart",), "affine", "annotation")
    assert (threshold_prior_maps(exactly_half, ("any",), ("heart",), SIDE) == 255).all()


def test_every_image_of_a_long_list_has_its_own_mask(cohort, tmp_path):
    """More images than are resampled at once."""
    layers = discs(cohort)
    prior = write_prior(tmp_path / "p", cohort, layers)
    ids = (*cohort.image_ids, *cohort.image_ids[:10])
    assert len(ids) > CHUNK_IMAGES
    found = threshold_prior_maps(prior, ids, ("heart",), SIDE)
    assert all(((found[row] == 255) == (layers(image_id) > 0)).all() for row, image_id in enumerate(ids))


def test_structures_are_those_of_the_prior_and_lungs_join_the_two():
    maps = np.zeros((3, 4, 4), np.float32)
    maps[0, :, :2], maps[1, :, 2:] = 1, 0.25
    prior = SpatialPrior(maps, ("left_lung", "right_lung", "heart"), "affine", "annotation")
    assert choose_prior_structures(prior, None) == ("left_lung", "right_lung", "heart")
    assert choose_prior_structures(prior, ()) == ("left_lung", "right_lung", "heart")
    assert choose_prior_structures(prior, ("lungs", "heart")) == ("lungs", "heart")
    with pytest.raises(InputMissing, match="no map of spleen"):
        choose_prior_structures(prior, ("heart", "spleen"))
    masks = threshold_prior_maps(prior, ("any",), ("heart", "lungs"), 4)
    assert masks[0, :, 0].tolist() == [[0, 0, 0, 0], [255, 255, 0, 0]]


def test_trust_decides_which_images_are_kept_and_annotation_overrides_it(tmp_path):
    whole = np.ones((16, 16), bool)
    cohort = write_cohort(tmp_path / "c", dict.fromkeys("uvwxy", "train"), masks={"y": {"heart": whole}})
    trust = {"u": 0.0, "v": 0.5, "w": 1.0, "x": 0.0, "y": 0.0}
    prior = write_prior(tmp_path / "p", cohort, lambda _: np.zeros((1, SIDE, SIDE)), trust)
    settings = resolved(source_size=16)

    def kept(*annotated, min_trust=0.0):
        data = build_pseudo_mask_dataset(cohort, ("heart",), settings, prior, frozenset(annotated), min_trust)
        return dict(zip(data.cohort.image_ids, data.weight.tolist(), strict=True)), data

    assert kept()[0] == {"v": 0.5, "w": 1.0}
    assert kept(min_trust=0.5)[0] == {"v": 0.5, "w": 1.0}
    assert kept(min_trust=1.0)[0] == {"w": 1.0}
    weights, data = kept("x", "y")
    assert weights == {"v": 0.5, "w": 1.0, "x": 1.0, "y": 1.0}
    assert data.known.all()
    assert data.targets[:, 0].all(axis=(1, 2)).tolist() == [False, False, False, True], "x has no mask: its map stands"
