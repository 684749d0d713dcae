"""Roll-out maps of fine-tuned models on a cohort, and their figures in the evidence."""

import numpy as np
import pytest
import torch

from medprior.evaluate.inputs import load_inputs
from medprior.evaluate.localisation.rollout_maps import (
    compute_image_mae,
    compute_model_rollout,
    select_most_positive_outputs,
)
from medprior.networks.class_rollout import compute_classifier_rollout


@pytest.fixture(scope="module")
def models(model_paths):
    return {name: load_inputs([(name, path)], "model")[0] for name, path in model_paths.items()}


def test_maps_are_the_networks_over_unit_squares(models, cohort):
    model, part = models["ours"].item, cohort.take(3)
    rollout = compute_model_rollout(model, part, 48)
    assert rollout.maps.shape == (3, len(model.labels), 48, 48)
    assert rollout.is_predicted.all()
    images, _ = model.create_views(part.squares(model.source_size), part.aspect)
    expected = compute_classifier_rollout(model.network, images)
    lost = (expected.cls_mass + expected.register_mass).numpy()
    assert np.allclose(rollout.dropped_share, lost)
    # Outside the view nothing; inside, the mean is what was kept, up to sampling.
    assert rollout.maps.min() >= 0
    assert np.allclose(rollout.maps.mean((-1, -2)), 1 - lost, rtol=0.25)
    assert not torch.is_inference_mode_enabled()


def test_a_structure_that_is_not_drawn_has_no_map(models, cohort):
    model = models["masks"].item
    with torch.no_grad():
        bias = model.network.decoder.head.bias
        before = bias.clone()
        bias[0] = -1e4
        rollout = compute_model_rollout(model, cohort.take(2), 32)
        bias.copy_(before)
    assert not rollout.is_predicted[:, 0].any()
    assert not rollout.maps[:, 0].any()


def test_what_is_shown():
    truth = np.array([[1, 0, np.nan, 1], [1, 0, 1, 0], [0, 0, np.nan, 0]], dtype=float)
    assert select_most_positive_outputs(truth, 2) == [0, 2]
    error = compute_image_mae(truth, np.full((3, 4), 0.25))
    assert np.allclose(error, [(0.75 + 0.25 + 0.75) / 3, (0.75 + 0.25 + 0.75 + 0.25) / 4, 0.25])
    assert np.isnan(compute_image_mae(np.full((1, 2), np.nan), np.zeros((1, 2)))).all()
