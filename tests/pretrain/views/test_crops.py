"""Random crops: their area, their aspect, and that they lie inside."""

import numpy as np

from medprior.pretrain.views.crops import sample_crops


def test_crops_have_the_asked_area_and_true_aspect():
    aspect = np.array([0.8, 1.25, 1.0])
    views = sample_crops(np.random.default_rng(0), aspect, 200, (0.5, 1.0), (4, 4))
    area = views.box[:, 2] * views.box[:, 3]
    assert 0.49 < area.min() < 0.52
    assert 0.98 < area.max() <= 1.001
    physical = views.box[:, 3] * np.tile(aspect, 200) / views.box[:, 2]
    assert physical.min() > 0.74
    assert physical.max() < 1.34
    inside = (views.box[:, :2] >= 0) & (views.box[:, :2] + views.box[:, 2:] <= 1)
    fits = views.box[:, 2:] <= 1
    assert inside[fits].all()
