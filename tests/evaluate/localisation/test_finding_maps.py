"""Maps of a classifier for its findings, and the fixed maps they are held against."""

import numpy as np
import pytest

from medprior.cohort import Cohort
from medprior.evaluate.inputs import load_inputs
from medprior.evaluate.localisation.boxes import load_finding_boxes
from medprior.evaluate.localisation.finding_maps import (
    ClassifierMapSource,
    ConstantMapSource,
    OrganPriorSource,
    list_map_kinds,
)
from medprior.evaluate.localisation.finding_masks import FindingTruth
from medprior.evaluate.localisation.map_sources import PriorSource
from medprior.priors import SpatialPrior
from tests.evaluate.planted import NAMES
from tests.evaluate.untrained import build_untrained_model


def test_maps_are_of_their_class(planted_home, planted_models):
    """With both findings in one picture each map has more in its own patch than the other has."""
    cohort = Cohort.open(planted_home)
    truth = FindingTruth(load_finding_boxes(cohort))
    both = np.flatnonzero(truth.find_located(cohort, NAMES).all(axis=1))
    some = cohort.select([cohort.image_ids[row] for row in both])
    source = ClassifierMapSource(
        load_inputs([("m", planted_models["pooled"])], "model")[0].item, "class_rollout", NAMES
    )
    maps = np.concatenate(list(source.batches(some, 64)))
    masks = truth.load_masks(some, NAMES, 64)
    inside = np.einsum("nchw,nkhw->nck", maps, masks.astype(np.float32))
    assert inside[:, 0, 0].mean() > inside[:, 1, 0].mean()
    assert inside[:, 1, 1].mean() > inside[:, 0, 1].mean()


def test_a_network_without_attention_is_named():
    class Model:
        class network:
            @property
            def vit(self):
                raise RuntimeError("no vit")

    kinds, why = list_map_kinds(Model())
    assert kinds == ()
    assert "no Vision Transformer" in why


@pytest.mark.parametrize(
    ("head", "kinds", "reason"),
    [
        ("pooled", ("head", "pooled", "rollout", "class_rollout"), ""),
        ("cls", ("head", "rollout", "class_rollout"), "no pooled map"),
        ("cls_mean", ("head", "rollout", "class_rollout"), "no pooled map"),
        ("test_resnet", (), "no Vision Transformer"),
    ],
)
def test_kinds_of_map_depend_on_the_classification_head(head, kinds, reason):
    model_kinds, missing_reason = list_map_kinds(build_untrained_model(["spot"], head))
    assert model_kinds == kinds
    assert reason in missing_reason
    assert bool(missing_reason) == bool(reason)


@pytest.mark.parametrize(
    ("kind", "count", "assigned", "has_selectable_maps"),
    [
        ("head", 4, {}, True),
        ("rollout", 1, {"hole": 0, "spot": 0}, False),
        ("pooled", 2, {"hole": 0, "spot": 1}, False),
        ("class_rollout", 2, {"hole": 0, "spot": 1}, False),
    ],
)
def test_maps_belong_to_heads_to_all_findings_or_to_each(kind, count, assigned, has_selectable_maps):
    source = ClassifierMapSource(build_untrained_model(["spot", "other", "hole"], "pooled"), kind, ["hole", "spot"])
    assert (source.count, source.assigned, source.has_selectable_maps) == (count, assigned, has_selectable_maps)


@pytest.mark.parametrize("kind", ["pooled", "class_rollout"])
def test_each_finding_has_the_map_of_its_own_output(cohort, kind):
    model = build_untrained_model(["spot", "other", "hole"], "pooled")
    some = cohort.take(2, 0)
    every = next(ClassifierMapSource(model, kind, ["spot", "other", "hole"]).batches(some, 16))
    two = next(ClassifierMapSource(model, kind, ["hole", "spot"]).batches(some, 16))
    np.testing.assert_allclose(two, every[:, [2, 0]], atol=1e-6)
    assert np.abs(every[:, 0] - every[:, 2]).max() > 1e-4


def test_maps_of_heads_sum_to_one_and_batches_do_not_matter(cohort):
    model = build_untrained_model(["spot"])
    some = cohort.take(3, 0)
    images, _ = model.create_views(some.squares(model.source_size), some.aspect)
    maps = ClassifierMapSource(model, "head", ["spot"]).compute_maps(images)
    assert maps.shape == (3, 4, 4, 4)
    np.testing.assert_allclose(maps.sum((-1, -2)), 1, atol=1e-5)
    rollout = ClassifierMapSource(model, "rollout", ["spot"]).compute_maps(images)
    assert rollout.shape == (3, 1, 4, 4)
    whole = next(ClassifierMapSource(model, "rollout", ["spot"]).batches(some, 16))
    parts = list(ClassifierMapSource(model, "rollout", ["spot"], batch=2).batches(some, 16))
    assert [len(part) for part in parts] == [2, 1]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_fixed_maps_are_flat_or_a_gaussian_of_a_quarter_of_the_side(cohort):
    """Pixel centres of four lie 0.5 and 1.5 standard deviations off the middle."""
    some = cohort.take(5, 0)
    flat = list(ConstantMapSource("uniform", ["spot"], batch=2).batches(some, 4))
    assert [part.shape for part in flat] == [(2, 1, 4, 4), (2, 1, 4, 4), (1, 1, 4, 4)]
    assert (flat[0] == 1).all()
    centre = next(ConstantMapSource("centre", ["spot"]).batches(some, 4))
    assert len(centre) == 5
    expected = np.exp([-(1.5**2 + 1.5**2) / 2, -(1.5**2 + 0.5**2) / 2, -(0.5**2 + 0.5**2) / 2])
    np.testing.assert_allclose([centre[0, 0, 0, 0], centre[0, 0, 0, 1], centre[0, 0, 1, 1]], expected, rtol=1e-6)
    assert ConstantMapSource("centre", ["spot", "hole"]).assigned == {"spot": 0, "hole": 0}


def test_any_organ_may_answer_for_a_finding():
    maps = np.zeros((2, 4, 4), np.float32)
    prior = PriorSource(SpatialPrior(maps, ("heart", "lungs"), "static", "annotation"), per_image=False, batch=3)
    organs = OrganPriorSource(prior)
    assert prior.assigned == {"heart": 0, "lungs": 1}
    assert (organs.assigned, organs.has_selectable_maps, organs.count, organs.batch) == ({}, True, 2, 3)
    assert prior.has_selectable_maps is False
