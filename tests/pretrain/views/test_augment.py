"""Views of a step: those of several processes are those of one."""

import numpy as np
import pytest
import torch

from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.augment import ViewMaker


@pytest.mark.parametrize("step", range(8))
def test_processes_together_make_the_views_of_one(step):
    settings = PretrainSettings.checked({"batch": 4, "crops": {"locals": 2}})
    images, aspect = torch.rand(4, 1, 144, 144), np.ones(4)
    maker = ViewMaker(settings)
    whole = maker(images, aspect, step, slice(0, 4), 4)
    halves = [maker(images[p], aspect, step, p, 4) for p in (slice(0, 2), slice(2, 4))]
    for kind in range(2):
        parts = [half[kind].pixels.unflatten(0, (2, 2)) for half in halves]
        assert torch.equal(whole[kind].pixels.unflatten(0, (2, 4)), torch.cat(parts, dim=1))
