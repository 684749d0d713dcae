"""Views of a step: those of several processes are those of one."""

import numpy as np
import pytest
import torch

from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.augment import ViewMaker


@pytest.mark.parametrize("step", range(8))
def test_processes_together_make_the_views_of_one(step):
    settings = PretrainSettings.from_values({"batch": 4, "crops": {"locals": 2}})
    images, aspect = torch.rand(4, 1, 144, 144), np.ones(4)
    maker = ViewMaker(settings)
    whole = maker(images, aspect, step, slice(0, 4), 4)
    halves = [maker(images[p], aspect, step, p, 4) for p in (slice(0, 2), slice(2, 4))]
    for kind in range(2):
        parts = [half[kind].pixels.unflatten(0, (2, 2)) for half in halves]
        assert torch.equal(whole[kind].pixels.unflatten(0, (2, 4)), torch.cat(parts, dim=1))


def views_of(step=0, **crops):
    settings = PretrainSettings.from_values({"batch": 2, "crops": crops})
    torch.manual_seed(0)
    return ViewMaker(settings)(torch.rand(2, 1, 48, 48), np.ones(2), step, slice(0, 2), 2)


def test_grids_and_rounds_are_those_of_the_settings():
    globals_, locals_ = views_of(global_size=32, local_size=16, locals=3)
    assert globals_.pixels.shape == (4, 1, 32, 32)
    assert locals_.pixels.shape == (6, 1, 16, 16)
    assert (globals_.geometry.grid, locals_.geometry.grid) == ((4, 4), (2, 2))
    assert globals_.index.tolist() == [0, 1, 0, 1]
    assert locals_.index.tolist() == [0, 1, 0, 1, 0, 1]


def test_without_local_views_there_are_none():
    globals_, locals_ = views_of(global_size=32, locals=0)
    assert locals_ is None
    again, _ = views_of(global_size=32, local_size=16, locals=3)
    assert torch.equal(globals_.pixels, again.pixels)  # they do not change the global ones


def test_scales_are_of_their_own_round_and_every_step_is_another():
    options = {"global_size": 32, "local_size": 16, "globals_scale": (0.5, 0.5), "locals_scale": (0.25, 0.25)}
    globals_, locals_ = views_of(**options)
    np.testing.assert_allclose(globals_.geometry.box[:, 2:].prod(1), 0.5)
    np.testing.assert_allclose(locals_.geometry.box[:, 2:].prod(1), 0.25)
    for views, area in ((globals_, 0.5), (locals_, 0.25)):
        np.testing.assert_allclose(views.area, area, rtol=1e-6)
        np.testing.assert_allclose(views.theta, views.geometry.affine(), atol=1e-6)
    assert not np.allclose(globals_.geometry.box, views_of(1, **options)[0].geometry.box)


def test_the_reference_may_stay_unmirrored():
    globals_, locals_ = views_of(global_size=32, local_size=16, locals=2, flip_p=1.0, flip_reference=False)
    assert globals_.geometry.flip.tolist() == [False, False, True, True]
    assert locals_.geometry.flip.all()
    assert views_of(global_size=32, locals=0, flip_p=1.0)[0].geometry.flip.all()
